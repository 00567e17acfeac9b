# `make reproduce` trains, plots and says where the figures are; `make test` runs the tests.
# Both work on a fresh clone: they make .venv and install what they need.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TEST_INSTALLED := $(VENV)/.installed-test
REPRODUCED := results/reproduced

# quick: generated images, minutes. cpu: CIFAR-10, reduced. paper: the paper's scale, for a GPU.
PROFILE ?= $(shell $(BIN)/python -c 'import torch; print("paper" if torch.cuda.is_available() else "quick")')

.PHONY: reproduce test test-all lint format clean

$(INSTALLED): setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(TEST_INSTALLED): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

reproduce: $(INSTALLED)
	PATH="$(CURDIR)/$(BIN):$$PATH" ./reproduce.sh $(PROFILE) $(REPRODUCED)

test: $(TEST_INSTALLED)
	$(BIN)/python -m pytest -m 'not slow'

test-all: $(TEST_INSTALLED)
	$(BIN)/python -m pytest

lint: $(TEST_INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(TEST_INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .hypothesis
