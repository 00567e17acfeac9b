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
CONFIGS = $(wildcard configs/$(PROFILE)/*.toml)
EXPERIMENTS = $(patsubst configs/$(PROFILE)/%.toml,$(REPRODUCED)/$(PROFILE)-%,$(CONFIGS))

.PHONY: reproduce figures prepare-quick prepare-cpu prepare-paper test test-all lint format clean

$(INSTALLED): setup.cfg pyproject.toml
	@echo "Installing into $(VENV): torch is large, this takes minutes."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(TEST_INSTALLED): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

# PROFILE is settled in the recipe, once: to ask torch for a GPU takes seconds, and an installation.
reproduce: $(INSTALLED)
	@profile=$(PROFILE); [ -d configs/$$profile ] || { \
	  echo "PROFILE=$$profile: give quick, cpu or paper" >&2; exit 2; }; \
	$(MAKE) --no-print-directory prepare-$$profile figures PROFILE=$$profile

# A run that did not finish leaves figures and report of the others, and make with an error.
figures:
	@$(BIN)/fobench run $(CONFIGS) --results $(REPRODUCED); status=$$?; \
	[ $$status -le 1 ] || exit $$status; \
	echo "Figures:"; \
	for experiment in $(EXPERIMENTS); do \
	  $(BIN)/fobench plot $$experiment --kind all || status=1; \
	done; \
	echo "Report:"; \
	$(BIN)/fobench report $(EXPERIMENTS) -o $(REPRODUCED)/$(PROFILE)-report.md || status=1; \
	exit $$status

prepare-quick:

prepare-cpu:
	$(BIN)/fobench data cifar10

prepare-paper:
	$(BIN)/fobench data cifar100
	$(BIN)/fobench run $(CONFIGS) --results $(REPRODUCED) --estimate

# The tests' networks are so small that more threads would only wait for each other.
test test-all: export OMP_NUM_THREADS ?= 2

test: $(TEST_INSTALLED)
	$(BIN)/python -m pytest -m 'not slow'

# With new examples each time.
test-all: $(TEST_INSTALLED)
	$(BIN)/python -m pytest --hypothesis-profile=exploring

lint: $(TEST_INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(TEST_INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .hypothesis
