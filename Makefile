# Everything starts here: `make help`.

PYTHON3 ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 3
SEED ?= 1
MINUTES ?= 3
ENGINE ?= diffusers
DATABASE ?= sqlite
SHOTS ?= 20000

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev lock demo test test-newest lint bench chaos soak fuzz reference clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup:  ## Make .venv with everything the farm needs; instant when nothing changed
	@$(PYTHON3) .ci/bootstrap.py

setup-dev:  ## The same with what tests and lint need
	@$(PYTHON3) .ci/bootstrap.py --dev

lock:  ## Pin what pyproject.toml needs, with hashes, in .ci/requirements; make lock UPGRADE=1 takes newer versions
	@$(PYTHON3) .ci/lock.py $(if $(UPGRADE),--upgrade)

demo: setup  ## Start a farm here, render manifests/demo.yaml, show the contact sheet
	@$(BIN)/farm run manifests/demo.yaml --settings manifests/demo-farm.yaml --out demo

lint: setup-dev  ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint  ## Lint and every test this machine can run; lists what it skipped and why
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

test-newest:  ## Unit tests with the newest versions that pyproject.toml allows, in .venv-newest
	@$(PYTHON3) .ci/bootstrap.py --newest
	.venv-newest/bin/python -m pytest tests/unit -n $(JOBS)

bench: setup-dev  ## Measure; only ratios decide
	$(BIN)/python -m tests.benchmarks

chaos: setup-dev  ## A farm under seeded faults: make chaos SEED=7 MINUTES=3; all rules must hold
	$(BIN)/python -m tests.faults.chaos --seed $(SEED) --minutes $(MINUTES) --engine $(ENGINE) --database $(DATABASE)

soak: setup-dev  ## A farm that makes 20,000 pictures; no process may grow: make soak SHOTS=20000
	$(BIN)/python -m tests.faults.soak --shots $(SHOTS)

fuzz: setup-dev  ## Plan people's files at random and look for crashes and hangs: make fuzz MINUTES=10
	FARM_FUZZ_MINUTES=$(MINUTES) $(BIN)/python -m pytest -n 0 tests/unit/manifests/test_fuzzed_files.py

reference: setup-dev  ## Write docs/reference/farm.md from the commands' own help
	$(BIN)/python -m typer coordinator.cli.main utils docs --name farm --output docs/reference/farm.md

clean:  ## Remove the environment, the embedded farm's folder and everything rendered here
	@if [ -x $(BIN)/farm ]; then $(BIN)/farm down; fi
	rm -rf $(VENV) .venv-newest .farm demo build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
