# Fairlead. `make` lists the targets.

GO          ?= go
GOLANGCI    := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
CACHE       ?= $(or $(FAIRLEAD_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/fairlead)
FUZZTIME    ?= 30s
PACKAGES    := iptables
TEST_PACKAGES := $(PACKAGES) etcd-server iproute2 gcc libc6-dev

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
test: ## Run all tests: unit, simulated, lab, API server, beside kube-proxy (root; installs and builds what is missing)
	hack/install.sh $(TEST_PACKAGES)
	hack/kube/build.sh kube-apiserver kube-proxy
	$(GO) vet ./...
	$(GO) test -race ./cmd/... ./pkg/...
	# One at a time: they measure and wait for packets. Never from Go's cache: it does not know of the program that they build.
	$(GO) test -race -count 1 -p 1 -timeout 40m ./e2e/...

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

.PHONY: lint
lint: ## Check formatting and style
	@test -z "$$(gofmt -l .)" || { echo "run gofmt -w on:"; gofmt -l .; exit 1; }
	$(GO) run $(GOLANGCI) run ./...

.PHONY: clean
clean: ## Remove what was built here
	rm -rf bin
