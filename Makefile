# What people type. Each target does its own set-up on a Debian machine with Go.

GO      ?= go
LISTEN  ?= 127.0.0.1:8080
FUZZTIME ?= 60s
LINT_VERSION := v2.15.0
VULN_VERSION := v1.9.0

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: demo
demo: ## everything on this machine, no account anywhere: prints the page's address
	@scripts/setup go
	@CGO_ENABLED=0 $(GO) build -o bin/mdebot ./cmd/mdebot
	@exec bin/mdebot demo --listen $(LISTEN)

.PHONY: playground
playground: ## the demo with Microsoft's Agents Playground beside it, which draws Teams cards as Microsoft does
	@scripts/setup go npm
	@CGO_ENABLED=0 $(GO) build -o bin/mdebot ./cmd/mdebot
	@program=$$(scripts/playground) && exec bin/mdebot demo --listen $(LISTEN) --playground "$$program"

# SQLite's engine is C turned into Go: one package, without goroutines of its own.
# The detector slows it twentyfold and finds nothing of ours in it; everything
# around it, the driver included, stays under the detector. Its pointers are those of
# C, which the checks of Go's pointers only slow down.
RACE := -race -gcflags='modernc.org/...=-d=checkptr=0' -gcflags='modernc.org/sqlite/lib=-race=false'

.PHONY: test
test: ## all tests, with the race detector, real SQLite, real PostgreSQL and a real browser
	@scripts/setup go gcc postgresql chromium npm
	CGO_ENABLED=1 $(GO) test $(RACE) -shuffle=on -timeout 30m ./...

# The models of the approval workflow, without the race detector. On the engine as
# it is they must find nothing, and on one with a deliberate fault they must find it.
.PHONY: faults
faults: ## the models of the approval workflow, and that they find every deliberate fault
	@scripts/setup go postgresql
	CGO_ENABLED=0 $(GO) test -tags faults -count=1 -timeout 10m -run '^(TestModel|TestFaults|TestExhaustive.*)$$' ./internal/containment

.PHONY: build
build: ## the static binary, in bin/
	@scripts/setup go
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o bin/mdebot ./cmd/mdebot

.PHONY: lint
lint: ## go vet and golangci-lint
	@scripts/setup go
	$(GO) vet ./...
	@test -x "$$($(GO) env GOPATH)/bin/golangci-lint" || $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	"$$($(GO) env GOPATH)/bin/golangci-lint" run ./...

# A database that cannot be reached says nothing about the code.
.PHONY: vuln
vuln: ## known holes in what the binary calls; skipped where the database is out of reach
	@scripts/setup go
	@test -x "$$($(GO) env GOPATH)/bin/govulncheck" || $(GO) install golang.org/x/vuln/cmd/govulncheck@$(VULN_VERSION)
	@out=$$("$$($(GO) env GOPATH)/bin/govulncheck" ./cmd/mdebot 2>&1); code=$$?; echo "$$out"; \
	case "$$out" in *"fetching vulnerabilities"*) echo "skipped: the vulnerability database cannot be reached" ;; *) exit $$code ;; esac

.PHONY: bench
bench: ## the figures of docs/benchmarks.md
	@scripts/setup go
	CGO_ENABLED=0 $(GO) test -p 1 -timeout 10m -run '^$$' -bench . -benchmem ./...

.PHONY: chaos
chaos: ## the figures of docs/reliability.md: a thousand kills on each database, power cuts, storms and loads; an hour and more
	@scripts/setup go postgresql
	CGO_ENABLED=0 $(GO) test ./internal/chaostest -v -timeout 3h -run '^TestKills' -chaos.kills=1000 -chaos.for=1h
	CGO_ENABLED=0 $(GO) test ./internal/chaostest -v -timeout 3h -run '^TestPower' -chaos.kills=500 -chaos.for=1h
	CGO_ENABLED=0 $(GO) test ./internal/chaostest -v -timeout 2h -parallel 1 -chaos.figures \
		-run '^Test(Acknowledgements|Memory|Throughput|LockHeld|Paused|Storm|Clicks)'

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME
	@scripts/setup go
	@for pkg in $$($(GO) list ./internal/...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "== $$pkg $$target"; \
	    $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5s $$pkg || exit 1; \
	  done; \
	done

.PHONY: generate
generate: ## write manifests, sample configuration and the generated parts of README and docs
	@scripts/setup go
	$(GO) test ./internal/app -run '^TestGenerated' -update

.PHONY: screenshots
screenshots: ## screenshots of the page in docs/screenshots
	@scripts/setup go gcc chromium
	MDEBOT_SCREENSHOTS=$(CURDIR)/docs/screenshots $(GO) test ./internal/app -run '^TestBrowser' -count=1 -v
