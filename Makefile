# Fairlead. `make` lists the targets.

GO          ?= go
CACHE       ?= $(or $(FAIRLEAD_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/fairlead)
GOLANGCI    := $(CACHE)/bin/golangci-lint
GOLANGCI_AT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
PACKAGES    := iptables
TEST_PACKAGES := $(PACKAGES) nftables etcd-server iproute2 gcc libc6-dev
VM_PACKAGES := $(PACKAGES) ipset ipvsadm qemu-system-x86 kmod busybox-static cpio xz-utils
MODE        ?= iptables

# STEP NAME LIMIT COMMAND... is part of a long run: it has a limit of its own and says how long it took.
STEP        := hack/step.sh

# Tests from outside never come from Go's cache, which does not know of the program under test.
E2E         := FAIRLEAD_PROGRAM=$(CURDIR)/bin/fairlead CGO_ENABLED=0 $(GO) test -vet=off -count 1
# Those of IPVS mode run in the virtual machine. Its limit is longer than Go's, so that Go says first where a test hangs.
IPVS        := FAIRLEAD_MODE=ipvs FAIRLEAD_VARIANTS=$(or $(FAIRLEAD_VARIANTS),nft) FAIRLEAD_PATIENCE=2
VM_TEST      = VM_TIMEOUT=$(1) $(IPVS) $(E2E) -parallel 1 -timeout $(2) -exec $(CURDIR)/e2e/vm/run.sh

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/fairlead
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/fairlead ./cmd/fairlead

.PHONY: demo
demo: build ## Show Fairlead at work between network namespaces (root; installs iptables if missing)
	hack/install.sh $(PACKAGES)
	$(GO) run ./e2e/demo -fairlead bin/fairlead -examples examples

.PHONY: test
test: test-setup ## Run every test that counts: unit, simulated, lab, API server, beside kube-proxy, IPVS (root; installs and builds what is missing)
	$(STEP) 'unit tests' 10m $(MAKE) unit
	$(STEP) manifests 10m $(MAKE) manifests
	$(MAKE) -j2 -Otarget test-lab test-ipvs

.PHONY: test-all
test-all: test soak ## Run all tests: make test, then make soak

.PHONY: test-setup
test-setup:
	hack/sweep.sh
	$(STEP) packages 15m hack/install.sh $(TEST_PACKAGES) $(VM_PACKAGES)
	$(STEP) modules 10m hack/retry.sh $(GO) mod download
	$(STEP) 'modules of manifests' 10m sh -c 'cd hack/manifests && ../retry.sh $(GO) list -deps -test . >/dev/null'
	$(STEP) kubernetes 20m hack/kube/build.sh kube-apiserver kube-proxy
	$(STEP) build 10m $(MAKE) build

.PHONY: test-lab
test-lab: ## Run the tests from outside in iptables mode (after make test-setup)
	$(STEP) 'lab tests' 15m env $(E2E) -timeout 8m -p 2 ./e2e/...

.PHONY: test-ipvs
test-ipvs: ## Run a core of the tests of IPVS mode, in a virtual machine with a kernel that has it (after make test-setup)
	$(STEP) 'kernel' 10m e2e/vm/kernel.sh 6.1
	$(STEP) 'IPVS: kernel' 10m env $(call VM_TEST,570,8m) -tags ipvs ./pkg/ipvs -run '^TestKernel'
	$(STEP) 'IPVS: cases' 10m env $(call VM_TEST,570,8m) ./e2e/cases -run '^TestPackets$$' -core
	$(STEP) 'IPVS: packets' 10m env $(call VM_TEST,570,8m) ./e2e/packets -run '^$(VM_PACKETS)$$'
	$(STEP) 'IPVS: own tests' 15m env $(call VM_TEST,870,13m) -tags ipvs ./e2e/ipvs
	$(STEP) 'IPVS: switch' 10m env $(call VM_TEST,570,8m) -tags ipvs ./e2e/modeswitch
VM_PACKETS  := (TestEveryWayIn|TestConnectionsOutliveChanges|TestFlushedRulesComeBack|TestCleanupLeavesWhatOthersMade)

.PHONY: soak
soak: test-setup ## Run what observes for long, repeats or measures: churn, storm, spread, all seeds, -race, all of IPVS (root; 25 minutes)
	$(STEP) 'unit tests, all seeds' 20m $(GO) test -race -tags soak -timeout 18m ./cmd/... ./pkg/...
	# One at a time: they measure.
	$(STEP) 'lab tests with -race' 60m env $(subst CGO_ENABLED=0,CGO_ENABLED=1,$(E2E)) -race -tags soak -p 1 -timeout 30m ./e2e/...
	$(STEP) 'IPVS: kernel' 20m env $(call VM_TEST,1140,18m) -tags 'ipvs soak' ./pkg/ipvs -run '^TestKernel'
	$(STEP) 'IPVS: cases' 20m env $(call VM_TEST,1140,18m) -tags soak ./e2e/cases -run '^TestPackets$$'
	# Not the spread: that is the kernel's, and 24,000 connections take minutes here. Not the lock: it is that of legacy iptables.
	$(STEP) 'IPVS: packets' 20m env $(call VM_TEST,1140,18m) -tags soak ./e2e/packets -skip '^(TestConnectionsSpreadEvenly|TestAHeldLock.*)$$'
	$(STEP) 'IPVS: own tests' 40m env $(call VM_TEST,2340,38m) -tags 'ipvs soak' ./e2e/ipvs
	$(STEP) 'IPVS: switches' 40m env $(call VM_TEST,2340,38m) -tags 'ipvs soak' ./e2e/modeswitch

.PHONY: case
case: build ## Send the packets of the cases that have CASE in their name, in MODE=iptables or MODE=ipvs (root)
	$(if $(filter ipvs,$(MODE)),$(call VM_TEST,1140,18m),$(E2E)) -v ./e2e/cases -run '^TestPackets$$' -case '$(CASE)'

.PHONY: unit
unit: ## Run the quick tests, those of the packages (root, for the addresses of a node)
	$(GO) test -race -timeout 8m ./cmd/... ./pkg/...

# A number of inputs, not a time: with a time, Go's fuzzer can end in an error of its own (golang/go#75804).
FUZZ        ?= 200000x
FUZZ_FILES  ?= 5000x

.PHONY: fuzz
fuzz: ## Fuzz everything that parses, each with FUZZ inputs
	$(GO) test ./pkg/source -run '^$$' -fuzz FuzzParseManifest -fuzztime $(FUZZ)
	$(GO) test ./pkg/xtables -run '^$$' -fuzz FuzzReadSaved -fuzztime $(FUZZ)
	$(GO) test ./pkg/conntrack -run '^$$' -fuzz FuzzFlowsAreReadFromAnything -fuzztime $(FUZZ)
	# Fewer: each is read as several kinds of documents, and written and read again.
	$(GO) test ./pkg/config -run '^$$' -fuzz FuzzFilesAreReadWhateverTheyHold -fuzztime $(FUZZ_FILES)
	$(GO) test ./e2e/tracer -run '^$$' -fuzz FuzzParse -fuzztime $(FUZZ)

.PHONY: bench
bench: ## Measure against kube-proxy's rule shape (root); see docs/benchmarks.md
	hack/install.sh $(PACKAGES)
	$(GO) test ./pkg/service -run '^$$' -bench .
	$(GO) test ./e2e/bench -run '^$$' -bench . -timeout 60m

.PHONY: bench-ipvs
bench-ipvs: build ## Measure IPVS mode against kube-proxy's, in the virtual machine, with SERVICES (root); see docs/benchmarks.md
	hack/install.sh $(VM_PACKAGES) conntrack
	hack/kube/build.sh kube-proxy
	FAIRLEAD_PROGRAM=$(CURDIR)/bin/fairlead CGO_ENABLED=0 VM_MEMORY=4096 VM_TIMEOUT=14400 $(GO) test -vet=off -timeout 4h \
		-exec $(CURDIR)/e2e/vm/run.sh ./e2e/bench/ipvsbench -run '^$$' -bench . -services $(or $(SERVICES),1000)

.PHONY: lint
lint: ## Check formatting and style
	@test -z "$$(gofmt -l .)" || { echo "run gofmt -w on:"; gofmt -l .; exit 1; }
	@GOBIN=$(dir $(GOLANGCI)) hack/retry.sh $(GO) install $(GOLANGCI_AT)
	$(GOLANGCI) run --allow-parallel-runners --build-tags ipvs ./...
	$(GOLANGCI) run --allow-parallel-runners --build-tags ipvs,soak ./...
	cd hack/manifests && $(GOLANGCI) run --allow-parallel-runners ./...
	hack/install.sh shellcheck
	shellcheck hack/image/*.sh hack/kind/*.sh

.PHONY: clean
clean: ## Remove what was built here
	rm -rf bin

# What follows needs more than make test installs, and is part of neither make test nor .ci/run.

FROM        ?= IPVS
TO          ?= ipvs

.PHONY: takeover-ipvs
takeover-ipvs: build ## Take over from kube-proxy's mode FROM=IPVS or IPTables, in mode TO=ipvs or iptables, in the virtual machine (after make test-setup)
	$(subst FAIRLEAD_MODE=ipvs,FAIRLEAD_MODE=$(TO),$(call VM_TEST,1440,23m)) -tags 'ipvs soak' ./e2e/takeover -run '^TestFrom$(FROM)$$'

.PHONY: kubeproxy-ipvs
kubeproxy-ipvs: ## Remove what kube-proxy's IPVS mode has left in a kernel, in the virtual machine (after make test-setup)
	$(call VM_TEST,1260,20m) -tags ipvs ./pkg/kubeproxy -run '^TestKernel'

.PHONY: image
image: ## Build the container image with Docker, Podman or Buildah, as IMAGE (docker.io/fairlead/fairlead:dev)
	hack/image/image.sh

.PHONY: test-image
test-image: ## Build the container image without a registry, inspect it, and send packets through it (root; installs what is missing)
	hack/install.sh buildah debootstrap iproute2
	$(GO) test -count 1 -timeout 40m ./hack/image

# Without cgo and vet, as the tests from outside, so that both use the same compiled packages.
.PHONY: manifests
manifests: ## Check manifests/: overlays and chart against the API's types, Fairlead and each other; the scripts for kind and the image
	cd hack/manifests && CGO_ENABLED=0 $(GO) test -vet=off -count 1 .
	CGO_ENABLED=0 $(GO) test -vet=off -count 1 ./hack/kind

.PHONY: kind
kind: ## Create a kind cluster with Fairlead instead of kube-proxy, and wait until a Service answers (needs docker, kind and kubectl)
	hack/kind/up.sh
