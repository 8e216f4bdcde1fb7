# make train · make test · make check · make docs: each sets up .venv first, once.

PYTHON ?= python3
ENV ?= Catch
TESTS ?= 3
BIN := .venv/bin
INSTALLED := .venv/.installed
DOCS_INSTALLED := .venv/.installed-docs

.PHONY: help install train test test-long check format docs clean

help:
	@echo "make train [ENV=ALE/Pong-v5] [ARGS=...]  set up, then train an agent (Catch by default)"
	@echo "make test [TESTS=3]                      set up, then check and test everything that is fast, so many tests at once"
	@echo "make test-long                           learning tests of several minutes"
	@echo "make format                              format the code"
	@echo "make docs                                set up, then build the documentation's site into site/"

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "asyncrl needs Python 3.11 or newer, and $(PYTHON) is older: make PYTHON=python3.12 ..."; exit 1; }
	@echo "[1/2] making the virtual environment .venv"
	@$(PYTHON) -m venv .venv
	@echo "[2/2] installing asyncrl and what it needs (torch is the largest; a few minutes on a slow line)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[classic-control,box2d,mujoco,minatar,minigrid,labyrinth,vizdoom,fast,analysis,export,wandb,mlflow,tuning,ray,dev]"
	@touch $(INSTALLED)
	@echo "installed: $(BIN)/asyncrl"

train: install
	@$(BIN)/asyncrl train $(ENV) $(ARGS)

test: check

check: install
	$(BIN)/ruff format --check src tests benchmarks agents docs/hooks.py
	$(BIN)/ruff check src tests benchmarks agents docs/hooks.py
	$(BIN)/mypy --num-workers 2
	$(BIN)/pytest --numprocesses $(TESTS) --dist loadgroup

test-long: install
	$(BIN)/pytest -m long

format: install
	$(BIN)/ruff format src tests benchmarks agents docs/hooks.py
	$(BIN)/ruff check --fix src tests benchmarks agents docs/hooks.py

docs: $(DOCS_INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "built site/index.html; for the search it must be served: python3 -m http.server --directory site"

$(DOCS_INSTALLED): $(INSTALLED)
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[docs]"
	@touch $(DOCS_INSTALLED)

clean:
	rm -rf .venv site .mypy_cache .pytest_cache .ruff_cache .hypothesis
