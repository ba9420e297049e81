# The verbs of the project; `make help` lists them.
PY ?= python3
V := .venv/bin
TLX := $(V)/tlx
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all docs bench bench-gpu bench-full check lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

# uv installs from the lock with hashes. UV_FIND_LINKS is unset because uv refuses hashes for a local wheel folder.
.venv/.stamp: requirements.lock pyproject.toml
	$(PY) -m venv .venv
	$(V)/python -m pip install -q --disable-pip-version-check uv==0.13.8
	env -u UV_FIND_LINKS $(V)/uv pip sync -q --python $(V)/python --require-hashes requirements.lock
	$(V)/uv pip install -q --python $(V)/python --no-deps --no-build-isolation -e .
	touch $@

setup: .venv/.stamp ## install everything into .venv

demo: .venv/.stamp ## the first study: letters -> handwritten digits, to the table
	$(TLX) train -m experiment=letters_to_digits
	$(TLX) table runs/letters_to_digits

test: .venv/.stamp ## the default tests: offline, CPU, under 10 minutes on 2 cores
	$(V)/python -m pytest -n 2 --dist worksteal -q

test-all: .venv/.stamp ## the default tests and the slow ones
	$(V)/python -m pytest -n 2 --dist worksteal -q -m 'not gpu and not network'

# The peers that `make bench` compares with are nobody's dependency. Without a network their rows are left out, and said to be.
.venv/.peers: .venv/.stamp
	env -u UV_FIND_LINKS $(V)/uv pip install -q --python $(V)/python --no-build-isolation -c requirements.lock -e '.[bench]' \
		&& touch $@ || echo "the peers could not all be installed"

# Rows take one thread each, so two scripts go on at a time; the long ones begin.
BENCHES := frozen finetuning growth vision sweep speech prepared
MEASURE = $(MAKE) --no-print-directory -j 2 --output-sync=target $(BENCHES:%=measure-%)

measure-%:
	$(V)/python benchmarks/$*.py $(WHOLE)

bench: .venv/.peers ## measure what tlx claims of its speed (quiet machine; TLX_MINILM, TLX_DATA: see benchmarks/warm.py)
	$(V)/python benchmarks/table.py
	$(MEASURE)
	$(V)/python benchmarks/planning.py

bench-gpu: .venv/.peers ## the same on a GPU, with a larger network
	TLX_ACCELERATOR=gpu $(V)/python benchmarks/gpu.py

bench-full: .venv/.peers ## the same, with every row run to its end (hours)
	$(V)/python benchmarks/table.py
	$(MEASURE) WHOLE=--full
	$(V)/python benchmarks/planning.py

check: .venv/.stamp ## ruff (lint, format) and mypy over tlx/
	$(V)/ruff check .
	$(V)/ruff format --check .
	$(V)/mypy

# No version check and no network: what the pages need lies in the packages.
docs: .venv/.stamp ## build the pages of docs/ into build/docs; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(V)/mkdocs build -q --strict -d build/docs

lock: ## compile requirements.in into requirements.lock (needs .venv)
	env -u UV_FIND_LINKS $(V)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -q requirements.in -o requirements.lock

clean: ## remove caches and build output; keeps runs, registry and .venv
	rm -rf build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find tlx tests -name __pycache__ -type d -prune -exec rm -rf {} +
