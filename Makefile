# Everything a person or a machine does with this repository. Needs Python 3.11 or newer, make and a C++ compiler.
#   make demo    train a small model, see its perplexity fall, read samples
#   make test    the test suite (ELMAN_DATA=FOLDER adds the tests on public data sets)
#   make check   format, lint, types
#   make check-native   the C++ engine under sanitizers, with memory refused, and on an emulated ARM (Linux, g++)
#   make bench   how exact every cell is, how fast beside its peers, the gradient-flow table, the synthetic problems
#   make docs    the documentation as a static site in site/

PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check --quiet install -c requirements/constraints.txt
INSTALLED := $(VENV)/installed
INSTALLED_DOCS := $(VENV)/installed-docs
INSTALLED_BENCH := $(VENV)/installed-bench

.PHONY: demo test check check-native bench docs clean
.DELETE_ON_ERROR:

demo: $(INSTALLED)
	$(VENV)/bin/elman demo

test: $(INSTALLED)
	$(VENV)/bin/python -m pytest --numprocesses=auto --maxprocesses=8 --dist=worksteal

check: $(INSTALLED)
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

check-native: $(INSTALLED)
	$(VENV)/bin/python csrc/checks/run.py

bench: $(INSTALLED_BENCH)
	$(VENV)/bin/python -m benchmarks.cells
	$(VENV)/bin/python -m benchmarks.engine
	$(VENV)/bin/python -m benchmarks.generation
	$(VENV)/bin/python -m benchmarks.tables
	$(VENV)/bin/python -m benchmarks.gradient_flow
	$(VENV)/bin/python -m benchmarks.synthetic

docs: $(INSTALLED_DOCS)
	$(VENV)/bin/python docs/generate.py docs/reference
	$(VENV)/bin/mkdocs build --strict --quiet

clean:
	rm -rf $(VENV) build dist site docs/reference .mypy_cache .pytest_cache .ruff_cache .hypothesis

# The build backend is installed first and used without isolation, so that it obeys the constraints too.
$(INSTALLED): pyproject.toml requirements/constraints.txt $(wildcard csrc/*.* csrc/targets/*)
	$(PYTHON) -m venv $(VENV)
	$(PIP) scikit-build-core nanobind cmake ninja
	$(PIP) --no-build-isolation -e ".[dev]"
	touch $@

$(INSTALLED_BENCH): $(INSTALLED)
	$(PIP) --no-build-isolation -e ".[bench]"
	touch $@

$(INSTALLED_DOCS): $(INSTALLED)
	$(PIP) --no-build-isolation -e ".[docs]"
	touch $@
