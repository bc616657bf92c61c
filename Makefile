# Fairlead. `make` lists the targets.

GO          ?= go
GOLANGCI    := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
CACHE       ?= $(or $(FAIRLEAD_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/fairlead)
FUZZTIME    ?= 30s
PACKAGES    := iptables
TEST_PACKAGES := $(PACKAGES) etcd-server iproute2 gcc libc6-dev
VM_PACKAGES := $(PACKAGES) ipset ipvsadm qemu-system-x86 kmod busybox-static cpio xz-utils
MODE        ?= iptables

# Tests of a mode, with the program in bin. Those of ipvs run in the virtual machine. As all is emulated there, what runs in it is
# built outside and without the race detector, and tests have it for themselves.
MODE_TEST    = FAIRLEAD_PROGRAM=$(CURDIR)/bin/fairlead FAIRLEAD_MODE=$(MODE) CGO_ENABLED=0 $(ENV_$(MODE)) \
               $(GO) test -vet=off -count 1 -v -timeout 20m $(GO_TEST_$(MODE))
ENV_ipvs    := FAIRLEAD_VARIANTS=$(or $(FAIRLEAD_VARIANTS),nft) FAIRLEAD_PATIENCE=4 VM_TIMEOUT=1200
GO_TEST_ipvs := -parallel 1 -exec $(CURDIR)/e2e/vm/run.sh
# What -v says, without the starts of tests and the details of those that went well.
BRIEF       := sed -u -E '/^=== /d; /^ {8,}--- PASS/d'

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/fairlead
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/fairlead ./cmd/fairlead

.PHONY: demo
demo: build ## Show Fairlead at work between network namespaces (root; installs iptables if missing)
	hack/install.sh $(PACKAGES)
	$(GO) run ./e2e/demo -fairlead bin/fairlead -examples examples

.PHONY: test
test: ## Run all tests: unit, simulated, lab, API server, beside kube-proxy, IPVS (root; installs and builds what is missing)
	hack/install.sh $(TEST_PACKAGES)
	hack/kube/build.sh kube-apiserver kube-proxy
	$(GO) vet -tags ipvs ./...
	$(GO) test -race ./cmd/... ./pkg/...
	# One at a time: they measure and wait for packets. Never from Go's cache: it does not know of the program that they build.
	$(GO) test -race -count 1 -p 1 -timeout 40m ./e2e/...
	$(MAKE) test-ipvs

.PHONY: test-ipvs
test-ipvs: MODE := ipvs
test-ipvs: SHELL := /bin/bash
test-ipvs: .SHELLFLAGS := -o pipefail -c
test-ipvs: build ## Run the tests of IPVS mode in a small virtual machine with a kernel that has it (root; installs what is missing)
	hack/install.sh $(VM_PACKAGES)
	$(GO) vet -tags ipvs ./pkg/ipvs ./e2e/ipvs
	$(MODE_TEST) -tags ipvs ./pkg/ipvs -run '^TestKernel' | $(BRIEF)
	$(MODE_TEST) ./e2e/cases -run '^TestPackets$$' | $(BRIEF)
	# Not the spread: that is the kernel's, and 24,000 connections take minutes here. Not the lock: it is that of legacy iptables.
	$(MODE_TEST) ./e2e/packets -skip '^(TestConnectionsSpreadEvenly|TestAHeldLock.*)$$' | $(BRIEF)
	$(MODE_TEST) -tags ipvs ./e2e/ipvs | $(BRIEF)

.PHONY: case
case: build ## Send the packets of the cases that have CASE in their name, in MODE=iptables or MODE=ipvs (root)
	$(MODE_TEST) ./e2e/cases -run '^TestPackets$$' -case '$(CASE)'

.PHONY: unit
unit: ## Run the quick tests, those of the packages (root, for the addresses of a node)
	$(GO) test -race ./cmd/... ./pkg/...

.PHONY: fuzz
fuzz: ## Fuzz everything that parses, each for FUZZTIME
	$(GO) test ./pkg/source -run '^$$' -fuzz FuzzParseManifest -fuzztime $(FUZZTIME)
	$(GO) test ./pkg/xtables -run '^$$' -fuzz FuzzReadSaved -fuzztime $(FUZZTIME)
	$(GO) test ./pkg/conntrack -run '^$$' -fuzz FuzzFlowsAreReadFromAnything -fuzztime $(FUZZTIME)
	$(GO) test ./e2e/tracer -run '^$$' -fuzz FuzzParse -fuzztime $(FUZZTIME)

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
	$(GO) run $(GOLANGCI) run ./...

.PHONY: clean
clean: ## Remove what was built here
	rm -rf bin
