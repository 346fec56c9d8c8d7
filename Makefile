# The verbs of this repository; CONTRIBUTING.md says what each promises. Nothing has to be set up
# first: every verb makes the environment it needs, pinned by hash, and reuses it afterwards.
#
#   .venv               what developers use: every extra, the tests and the tools
#   .cache/venv-runtime what `make demo` runs in: the released dependencies alone
#   .cache/venv-proto   the pinned protobuf generator
#   .cache/venv-lock    the pinned resolver of requirements/
#   .cache/venv-peers   clients of what else people use, for the comparison

SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules
unexport PYTHONPATH PYTHONHOME
ENVIRONMENT := sh scripts/setup_venv.sh
ARGS ?=

.PHONY: help
help: ## List the verbs
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | while IFS="$$(printf '\t')" read -r verb text; \
	do printf '  make %-11s %s\n' "$$verb" "$$text"; done

.PHONY: setup
setup: ## Make .venv with everything developers use, and .venv/bin/ottla
	@$(ENVIRONMENT) .venv requirements/dev.lock self

.PHONY: fmt
fmt: setup ## Format the Python sources and apply safe fixes
	@.venv/bin/ruff check --fix --quiet . || true
	@.venv/bin/ruff format .

.PHONY: lint
lint: setup ## Check style, formatting, types and the direction of imports
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/mypy tests bench demo scripts
	@.venv/bin/lint-imports

.PHONY: test
test: setup ## Run the tests (ARGS goes to pytest); the list of skips comes last
	@sh scripts/install_etcd.sh
	@.venv/bin/python -m pytest $(ARGS)

.PHONY: interop
interop: setup ## Send 100,000 records and read them back from every language, plaintext and TLS
	@sh scripts/install_cpp_grpc.sh
	@cd tests && ../.venv/bin/python -m interop $(ARGS)

.PHONY: bench
bench: setup ## Measure, and fail when a floor of docs/performance.md is missed
	@sh scripts/install_etcd.sh
	@.venv/bin/python -m bench $(ARGS)

.PHONY: bench-peers
bench-peers: ## Measure Ottla beside what else people use, where they can run (installs their clients)
	@$(ENVIRONMENT) .cache/venv-peers requirements/peers.lock self
	@.cache/venv-peers/bin/python -m bench.peers $(ARGS)

.PHONY: proto
proto: ## Generate the Python modules of proto/
	@$(ENVIRONMENT) .cache/venv-proto requirements/proto.lock
	@.cache/venv-proto/bin/python scripts/generate_protos.py $(ARGS)

.PHONY: docs
docs: setup ## Rewrite the pages made from settings, docstrings and commands
	@.venv/bin/python scripts/write_settings_reference.py
	@.venv/bin/python scripts/write_api_reference.py
	@.venv/bin/python -m ottla_cli.reference docs/cli.md

.PHONY: verify
verify: setup lint ## Run every check there is: lint, protos, tests, wheel, runtimes
	@$(MAKE) --no-print-directory proto ARGS=--check
	@.venv/bin/python scripts/check_protos.py
	@sh scripts/install_etcd.sh
	@OTTLA_CRASH_SECONDS=60 .venv/bin/python -m pytest $(ARGS)
	@.venv/bin/python scripts/check_wheel.py
	@.venv/bin/python scripts/check_runtimes.py

.PHONY: demo
demo: ## Stream real flights through real services (installs runtime dependencies only)
	@$(ENVIRONMENT) .cache/venv-runtime requirements/runtime.lock self
	@.cache/venv-runtime/bin/python -m demo $(ARGS)

.PHONY: release
release: verify ## Build sdist and wheel into dist/ and take the new baseline of the protos
	@.venv/bin/python scripts/release.py $(ARGS)

.PHONY: lock
lock: ## Resolve the dependencies of pyproject.toml into requirements/
	@$(ENVIRONMENT) .cache/venv-lock requirements/lock.lock
	@sh scripts/lock_requirements.sh $(ARGS)
