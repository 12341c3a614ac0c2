# Every target sets itself up from a fresh clone: it needs python3 (3.11 or newer, with venv) and, for the
# installation alone, a package index. PERRIN_DATA names the folder of sample datasets that some tests read.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUN ?= runs/quickstart
PIP := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-compile -c constraints.txt
EXTRAS := audio,dev,medical,molecules,music,parquet,peers,pretrained,series,text

# One thread a process: pytest-xdist brings the parallelism, and small tensors gain nothing from more.
TEST := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 HF_HUB_DISABLE_TELEMETRY=1 $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: help quickstart test test-all test-slow lint format docs constraints clean

help:
	@echo "make quickstart  train on real digits, draw new ones, judge them (a few minutes)"
	@echo "make test        the tests that take seconds each;  make test-all  adds the slow ones"
	@echo "make lint        ruff, mypy and the pins;  make format  rewrites;  make docs  the reference tables"

quickstart: $(VENV)/.ready
	$(BIN)/perrin train digits --out $(RUN) --evaluate

test: $(VENV)/.ready-dev
	$(TEST) -m "not slow"

test-slow: $(VENV)/.ready-dev
	$(TEST) -m slow

test-all: $(VENV)/.ready-dev
	$(TEST)

lint: $(VENV)/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.ready-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.ready-dev
	$(BIN)/python docs/generate.py

# The small environment: what a user gets. The large one adds every extra to it.
$(VENV)/.ready: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing perrin into $(VENV)"
	$(PIP) -e .
	@touch $@

$(VENV)/.ready-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing perrin[$(EXTRAS)] into $(VENV)"
	$(PIP) -e ".[$(EXTRAS)]"
	@touch $(VENV)/.ready $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than 3.11; name a newer one: make PYTHON=python3.12 ..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

# Pins what a fresh environment with every extra resolves to today, torch kept at the version pinned now.
constraints:
	rm -rf .venv-constraints
	$(PYTHON) -m venv .venv-constraints
	.venv-constraints/bin/pip install --quiet "$$(grep '^torch==' constraints.txt)" -e ".[$(EXTRAS)]"
	grep '^#' constraints.txt > .venv-constraints/new
	.venv-constraints/bin/pip freeze --exclude-editable | sed 's/^\(torch==[^+]*\)+.*/\1/' >> .venv-constraints/new
	cp .venv-constraints/new constraints.txt
	rm -rf .venv-constraints

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .hypothesis
