# One line each: run the demo, test everything quick, test everything, check style.
# Needs python3.11, make and pip. A stamp file in .venv remembers finished installations.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-warn-script-location
# Plain pip on Linux brings gigabytes of CUDA; without an NVIDIA card, and where it can be reached, the CPU index serves.
CPU_WHEELS := https://download.pytorch.org/whl/cpu
CPU_INDEX = $(shell command -v nvidia-smi >/dev/null 2>&1 || { $(PYTHON) -c "import urllib.request as web; web.urlopen('$(CPU_WHEELS)/torch/', timeout=5)" 2>/dev/null && echo --extra-index-url $(CPU_WHEELS); })
RUN_STAMP := $(VENV)/.installed-run
DEV_STAMP := $(VENV)/.installed-dev
SOURCES := src tests docs benchmarks

.PHONY: run test test-all check
.DELETE_ON_ERROR:

run: $(RUN_STAMP)
	@$(BIN)/python -m healthgpt.cli.main demo --output demo

test: check
	$(BIN)/python -m pytest -q

test-all: check
	$(BIN)/python -m pytest -q -m "slow or not slow"

check: $(DEV_STAMP)
	$(BIN)/python -m ruff check $(SOURCES)
	$(BIN)/python -m ruff format --check $(SOURCES)
	$(BIN)/python -m mypy
	$(BIN)/python -m pytest -q tests/test_layout.py

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found; next: install Python 3.11 or run 'make PYTHON=/path/to/python'" >&2; exit 2; }
	@echo "making $(VENV) (once)" >&2
	@$(PYTHON) -m venv $(VENV)

$(RUN_STAMP): pyproject.toml | $(BIN)/python
	@echo "installing healthgpt and what it needs into $(VENV) (once, a few minutes)" >&2
	@$(INSTALL) $(CPU_INDEX) --editable .
	@touch $@

$(DEV_STAMP): $(RUN_STAMP)
	@echo "installing what the tests need into $(VENV) (once)" >&2
	@$(INSTALL) --editable ".[dev]"
	@touch $@
