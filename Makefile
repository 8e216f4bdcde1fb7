# make train · make test · make check: each sets up .venv first, once.

PYTHON ?= python3
ENV ?= Catch
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: help install train test test-long check format clean

help:
	@echo "make train [ENV=ALE/Pong-v5] [ARGS=...]  set up, then train an agent (Catch by default)"
	@echo "make test                                set up, then check and test everything that is fast"
	@echo "make test-long                           learning tests of several minutes"
	@echo "make format                              format the code"

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "asyncrl needs Python 3.11 or newer, and $(PYTHON) is older: make PYTHON=python3.12 ..."; exit 1; }
	@echo "[1/2] making the virtual environment .venv"
	@$(PYTHON) -m venv .venv
	@echo "[2/2] installing asyncrl and what it needs (torch is the largest; a few minutes on a slow line)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[classic-control,box2d,mujoco,minatar,fast,export,wandb,mlflow,dev]"
	@touch $(INSTALLED)
	@echo "installed: $(BIN)/asyncrl"

train: install
	@$(BIN)/asyncrl train $(ENV) $(ARGS)

test: check

check: install
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/pytest

test-long: install
	$(BIN)/pytest -m long

format: install
	$(BIN)/ruff format src tests benchmarks
	$(BIN)/ruff check --fix src tests benchmarks

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis
