# Every target sets up what it needs, in .venv, from pyproject.toml and constraints.txt.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
EXTRAS := $(VENV)/.extras
# Apart from .venv: with the AMD binding that Zeus brings, Ray fails on machines without an AMD board.
ZEUS := build/zeus
# Apart as well: optimum-benchmark needs another transformers.
OPTIMUM := build/optimum
HAS_GPU := nvidia-smi -L 2>/dev/null | grep -q '^GPU '

# An interpreter that has this package and a torch for its GPU already may take the place of .venv:
# make test-gpu GPU_PYTHON=python3
GPU_PYTHON ?= $(BIN)/python

.PHONY: help demo check format test test-gpu test-long test-extra test-view bench docs reference constraints clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

demo: $(INSTALLED) ## run the quickstart sweep, on the GPUs there or on two simulated ones
	@if $(HAS_GPU); then \
	  $(BIN)/llem-sweep sweeps/quickstart.yaml; \
	else \
	  $(BIN)/llem-sweep sweeps/quickstart.yaml --simulate-gpus 2; \
	fi

check: $(INSTALLED) ## formatting, lint, types and layers
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED) ## format the code and fix what lint can fix
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

test: $(INSTALLED) ## every test that needs neither a GPU nor a Debian package nor minutes
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal --ignore tests/integration
	$(BIN)/pytest tests/integration

test-gpu: $(if $(filter $(BIN)/python,$(GPU_PYTHON)),$(INSTALLED)) ## the tests on a real GPU, without Ray
	@$(HAS_GPU) || { echo 'make test-gpu: no GPU here (nvidia-smi -L lists none)' >&2; exit 1; }
	@mkdir -p build
	$(GPU_PYTHON) -m pytest -m gpu tests/gpu | tee build/test-gpu.log
	@grep -qE '[0-9]+ passed' build/test-gpu.log || { echo 'make test-gpu: no test ran' >&2; exit 1; }

test-long: $(INSTALLED) ## the tests of a minute each: cut cables, lost heads, Slurm, autoscaling, fifty experiments
	$(BIN)/pytest -m 'long and not extra'

# pytest ends with 5 when it collects nothing: there may be no such test, but a failure stays a failure.
test-extra: $(EXTRAS) ## the tests that need optional extras, or Debian packages (Slurm), which must be there
	@mkdir -p build; code=0; $(BIN)/pytest -m extra > build/test-extra.log 2>&1 || code=$$?; \
	if [ $$code -eq 5 ]; then echo 'make test-extra: there are no such tests'; exit; fi; \
	cat build/test-extra.log; exit $$code

test-view: $(INSTALLED) ## the tests in a browser and with Prometheus (Debian's chromium, chromium-driver and prometheus)
	$(BIN)/pytest -m extra tests/report/page/test_browser.py tests/integration/test_prometheus.py

bench: $(INSTALLED) $(ZEUS)/.installed $(OPTIMUM)/.installed ## every benchmark, one after the other
	@short=0; for benchmark in benchmarks/*.py; do \
	  [ -e "$$benchmark" ] || { echo 'make bench: there are no benchmarks' >&2; exit 1; }; \
	  echo "== $$benchmark"; \
	  $(BIN)/python "$$benchmark" || short=1; \
	done; exit $$short

docs: $(INSTALLED) ## build the documentation as a site, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

reference: $(INSTALLED) ## make anew what of the documentation comes from the program
	$(BIN)/python tests/cli_page.py > docs/cli.md
	$(BIN)/python tests/options_table.py > docs/options.md
	$(BIN)/python tests/results_page.py > docs/results.md
	$(BIN)/python tests/schema_page.py > docs/schema.md
	$(BIN)/llem-sweep schema > sweeps/schema.json

constraints: ## pin the newest versions that fit pyproject.toml
	python=$$($(FIND_PYTHON)); rm -rf build/constraints; "$$python" -m venv build/constraints
	build/constraints/bin/pip install -e '.[dev,carbon,datasets,bitsandbytes,peft,quanto]' 'zeus>=0.16'
	pins=$$(build/constraints/bin/pip freeze --all --exclude-editable --exclude pip); \
	{ grep '^#' constraints.txt; sed -E 's/\+[a-z0-9.]+$$//' <<<"$$pins" | LC_ALL=C sort -f; } > build/constraints.txt
	mv build/constraints.txt constraints.txt
	rm -rf build/constraints

clean: ## remove everything made here, but not results
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests benchmarks -name __pycache__ -prune -exec rm -rf {} +

# Named interpreters may be there and not work (version managers' shims), so each is asked.
define FIND_PYTHON
for python in python3.11 python3.12 python3; do \
  if "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then \
    echo "$$python"; exit 0; \
  fi; \
done; \
echo 'make: Python 3.11 or 3.12 is needed, and none was found on PATH' >&2; exit 1
endef

$(BIN)/pip:
	python=$$($(FIND_PYTHON)); "$$python" -m venv --clear $(VENV)

$(INSTALLED): pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/pip install -c constraints.txt -e '.[dev]'
	@touch $@

$(EXTRAS): $(INSTALLED)
	$(BIN)/pip install -c constraints.txt -e '.[dev,carbon,bitsandbytes,peft,quanto]'
	@touch $@

$(ZEUS)/.installed: $(INSTALLED)
	$(BIN)/pip install -c constraints.txt --upgrade --target $(ZEUS) zeus
	@touch $@

$(OPTIMUM)/.installed: benchmarks/optimum-constraints.txt
	python=$$($(FIND_PYTHON)); "$$python" -m venv --clear $(OPTIMUM)
	$(OPTIMUM)/bin/pip install -c $< optimum-benchmark
	@touch $@
