# Every target sets up what it needs by itself. `make help` lists them.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
PROTO_VENV := .venv-proto
BIN := $(VENV)/bin
BASE ?= main

.DEFAULT_GOAL := help
.PHONY: help setup demo run run-cluster test test-servers test-crash test-examples test-wheels check lint type proto proto-check proto-lint docs audit build bench bench-quick lock clean

help: ## Show this list.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

# A stamp a group: a target installs what it needs and no more, and a second run installs nothing.
SOURCES := pyproject.toml client/pyproject.toml
$(VENV)/.%: locks/%.txt $(SOURCES) scripts/setup
	@PYTHON="$(PYTHON)" sh scripts/setup $(VENV) $*

setup: $(VENV)/.dev ## Make the development environment .venv/.

demo: $(VENV)/.demo ## Send a real mail through a real call and show it as it arrived.
	@$(BIN)/python examples/demo.py

run: $(VENV)/.demo ## Serve on 127.0.0.1:50051 with an embedded inbox that prints what arrives.
	@$(BIN)/python examples/demo.py --serve

run-cluster: $(VENV)/.test ## Two servers on one PostgreSQL (STORE=URL, or a private one): kill one, see who sends its mails.
	@$(BIN)/python examples/cluster.py $(ARGS)

test: $(VENV)/.test ## Run every test that needs no installed server.
	@$(BIN)/python -m pytest -m "not needs_server and not wheels and not examples" $(ARGS)

test-servers: $(VENV)/.test ## Run the tests that need installed servers (Postfix, Exim, PostgreSQL); none may skip.
	@$(BIN)/python -m pytest -m needs_server --require-servers $(ARGS)

test-crash: $(VENV)/.test ## Kill the service again and again under load, and hold its answers against what was sent.
	@PYTHONPATH=tests $(BIN)/python -m crash $(ARGS)

test-examples: $(VENV)/.dev $(VENV)/.examples ## Build every example by its README and run it; a missing toolchain skips its own.
	@$(BIN)/python -m pytest -m examples $(ARGS)

test-wheels: $(VENV)/.test ## Try the wheels of dist/ in empty environments.
	@$(BIN)/python -m pytest -m wheels $(ARGS)

check: lint type proto-check proto-lint docs audit ## All that CI checks beside the tests.

docs: $(VENV)/.test ## Run the snippets of README and docs, and follow their links.
	@$(BIN)/python -m pytest -q tests/e2e/test_docs.py -m "not needs_server"

audit: $(VENV)/.dev ## Known vulnerabilities of what the server runs on, and a bill of materials (build/sbom.json).
	@$(BIN)/pip-audit --disable-pip --require-hashes --requirement locks/run.txt --progress-spinner off
	@mkdir -p build && $(BIN)/cyclonedx-py requirements locks/run.txt --output-file build/sbom.json

lint: $(VENV)/.dev ## ruff: lint and format.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

type: $(VENV)/.dev ## mypy --strict, and pyright on the public API.
	@$(BIN)/mypy
	@$(BIN)/mypy --strict tests/typing
	@$(BIN)/pyright --pythonpath $(BIN)/python

proto: $(PROTO_VENV)/.proto ## Generate the stubs in client/src from protos/.
	@$(PROTO_VENV)/bin/python scripts/generate_stubs.py

proto-check: $(PROTO_VENV)/.proto ## Fail if the committed stubs are not those of protos/.
	@$(PROTO_VENV)/bin/python scripts/generate_stubs.py --check

$(PROTO_VENV)/.proto: locks/proto.txt scripts/setup
	@PYTHON="$(PYTHON)" sh scripts/setup $(PROTO_VENV) proto

proto-lint: $(VENV)/.dev ## buf: lint, format and breaking changes against BASE (main).
	@$(BIN)/buf lint protos
	@$(BIN)/buf format --diff --exit-code protos
	@sh scripts/buf-breaking $(BIN)/buf $(BASE)

build: $(VENV)/.dev ## Build the wheels and sdists of both distributions into dist/.
	@rm -rf dist
	@$(BIN)/python -m build --no-isolation --outdir dist client
	@$(BIN)/python -m build --no-isolation --outdir dist .

bench: $(VENV)/.test ## Measure speed beside peers; writes bench/results/ (a quarter of an hour).
	@sh bench/install
	@PYTHONPATH=tests $(BIN)/python -m bench $(ARGS)

bench-quick: $(VENV)/.test ## The same in less than a minute, without results.
	@sh bench/install
	@PYTHONPATH=tests $(BIN)/python -m bench --quick $(ARGS)

lock: ## Refresh locks/ from the pyproject files (needs uv).
	@sh scripts/lock

clean: ## Remove environments, builds and caches.
	@rm -rf $(VENV) $(PROTO_VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
