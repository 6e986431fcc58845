# `make demo` and `make test` need nothing but Python 3.11 or later: each makes its environment and does its job.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet -c constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Data sets that lie beside the checkout are used where the user names none.
ifndef DEEPER_DATA
ifneq ($(wildcard ../shared/data),)
export DEEPER_DATA := $(abspath ../shared/data)
endif
endif

.PHONY: help demo test check types format guide docs long benchmark test-tensorflow clean .venv-tensorflow

help:            ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 20

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is missing or older than 3.11; name another one: make PYTHON=python3.12 …" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.made pyproject.toml constraints.txt
	$(PIP) -e .
	@touch $@

# Not after `.installed`: pip would work out the same versions twice.
$(VENV)/.installed-dev: $(VENV)/.made pyproject.toml constraints.txt
	$(PIP) -e '.[dev]'
	@touch $(VENV)/.installed $@

# torchvision and timm are compared with, never needed: without their own dependencies, beside the environment.
$(VENV)/parity/timm: $(VENV)/.installed-dev
	rm -rf $(VENV)/parity
	$(PIP) --no-deps --target $(VENV)/parity torchvision==0.28.0 timm==1.0.31
	@touch $@

# What is compared with: the versions that docs/results.md names.
.venv-tensorflow/.installed: $(VENV)/.made pyproject.toml
	$(PYTHON) -m venv .venv-tensorflow
	.venv-tensorflow/bin/python -m pip install --quiet tensorflow-cpu==2.21.0 keras==3.15.1 pillow pytest onnx safetensors h5py flask
	@touch $@

.venv-tensorflow: .venv-tensorflow/.installed

demo: $(VENV)/.installed            ## train NielsenNet on MNIST (or embedded digits) and test it
	$(BIN)/deeper demo

test: $(VENV)/.installed-dev $(VENV)/parity/timm  ## all tests that fit into CI
	$(BIN)/python -m pytest -n 2 -m "not long and not tensorflow"

check: $(VENV)/.installed-dev       ## style, types, architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev      ## put the code into its shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

guide: $(VENV)/.installed-dev       ## run the guide's five notebooks and write what they show (DEEPER_GUIDE=full: all)
	$(BIN)/python docs/guide/execute.py

docs: $(VENV)/.installed-dev        ## the documentation as a site, into site/; fails on a warning or a dead link
	$(BIN)/python docs/site.py

long: $(VENV)/.installed-dev        ## soaks: fifty kills, property tests twenty times as long
	$(BIN)/python -m pytest -n 2 -m "(long or hypothesis) and not tensorflow" --hypothesis-profile=long

test-tensorflow: $(VENV)/.installed-dev .venv-tensorflow/.installed  ## against real TensorFlow and Keras
	$(BIN)/python -m pytest -m tensorflow

benchmark: $(VENV)/.installed-dev .venv-tensorflow/.installed        ## the benchmarks that take minutes; docs/results.md names one for every figure
	$(BIN)/python benchmarks/start_time.py
	$(BIN)/python benchmarks/build_time.py
	$(BIN)/python benchmarks/throughput_nielsen.py
	$(BIN)/python benchmarks/monitor_cost.py
	$(BIN)/python benchmarks/demo_seeds.py

clean:                              ## remove environments and caches
	rm -rf .venv .venv-tensorflow .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
