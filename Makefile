# Everything starts here: `make help`.

PYTHON3 ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 6
SEED ?= 1
MINUTES ?= 3
ENGINE ?= diffusers
DATABASE ?= sqlite
SHOTS ?= 20000

# Otherwise each of the many processes that a target starts compiles the farm anew.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev lock demo observe check test test-newest lint bench chaos soak fuzz reference clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup:  ## Create .venv with all dependencies; does nothing if it is up to date
	@$(PYTHON3) .ci/bootstrap.py

setup-dev:  ## Same as setup, plus dependencies for tests and lint
	@$(PYTHON3) .ci/bootstrap.py --dev

lock:  ## Pin dependencies with hashes in .ci/requirements; make lock UPGRADE=1 upgrades them
	@$(PYTHON3) .ci/lock.py $(if $(UPGRADE),--upgrade)

demo: setup  ## Start a farm, render manifests/demo.yaml and create a contact sheet
	@$(BIN)/farm run manifests/demo.yaml --settings manifests/demo-farm.yaml --out demo

observe: setup  ## Start Prometheus beside the demo's farm, and show the dashboards' queries on pages of it
	@$(BIN)/python helm/dashboards/observe.py manifests/demo-farm.yaml

lint: setup-dev  ## Run ruff, mypy --strict and import-linter
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint  ## Run lint, unit tests and the contract of the ledger on SQLite: for everyday work
	$(BIN)/python -m pytest tests/unit tests/contract/ledger -n logical --dist loadfile -k "not postgresql" -m "not slow" -p no:schemathesis

test: lint  ## Run lint and all tests that this machine supports; lists skipped tests with reasons
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

test-newest:  ## Run unit tests with the newest versions that pyproject.toml allows, in .venv-newest
	@$(PYTHON3) .ci/bootstrap.py --newest
	.venv-newest/bin/python -m pytest tests/unit -n $(JOBS)

bench: setup-dev  ## Run benchmarks; only ratios can fail
	$(BIN)/python -m tests.benchmarks

chaos: setup-dev  ## Run a farm under seeded faults and check its invariants: make chaos SEED=7 MINUTES=3
	$(BIN)/python -m tests.faults.chaos --seed $(SEED) --minutes $(MINUTES) --engine $(ENGINE) --database $(DATABASE)

soak: setup-dev  ## Render 20,000 images and check that no process grows: make soak SHOTS=20000
	$(BIN)/python -m tests.faults.soak --shots $(SHOTS)

fuzz: setup-dev  ## Plan random files and look for crashes and hangs: make fuzz MINUTES=10
	FARM_FUZZ_MINUTES=$(MINUTES) $(BIN)/python -m pytest -n 0 tests/unit/manifests/test_fuzzed_files.py

reference: setup-dev  ## Generate docs/reference/farm.md from command help
	$(BIN)/python -m typer coordinator.cli.all_commands utils docs --name farm --output docs/reference/farm.md

clean:  ## Stop the farm; remove the environment, farm data, rendered images and caches
	@if [ -x $(BIN)/farm ]; then $(BIN)/farm down; fi
	rm -rf $(VENV) .venv-newest .farm demo build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
