# The commands of this project. `make` alone lists them.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup train demo test test-all lint format bench clean

help: ## list these commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/done ## make the environment .venv with the pinned packages

.venv/done: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

train: setup ## train the default network on simulated galaxies
	$(BIN)/python train.py

demo: setup ## show galaxies on a web page, with the run that finished last
	$(BIN)/galaxy demo run=latest

test: setup ## run the tests, without the slow ones
	$(BIN)/pytest -n 2 --dist worksteal -m "not slow"

test-all: setup ## run every test
	$(BIN)/pytest -n 2 --dist worksteal

lint: setup ## check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: setup ## mend what the linter can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: setup ## run the benchmarks, each printing a table
	@for program in benchmarks/bench_*.py; do \
		$(BIN)/python -m benchmarks.$$(basename $$program .py) || exit 1; done

clean: ## remove the environment, caches and simulated galaxies, but no runs
	rm -rf .venv build dist cache data/simulated .pytest_cache .mypy_cache .ruff_cache *.egg-info
