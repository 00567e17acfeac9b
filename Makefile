# `make reproduce` trains and plots; `make test` runs the tests. Both work on a fresh clone: they
# create .venv and install what they need.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TEST_INSTALLED := $(VENV)/.installed-test
REPRODUCED := results/reproduced

# The committed experiments that a figure shows side by side.
FIFTY := $(addprefix results/,gpu-densenet cpu-wideresnet gpu-vgg)
ELSEWHERE := $(addprefix results/cpu-,resnet18 vit convnext)
QUICK := $(addprefix results/quick-,densenet wideresnet vgg resnet18)

# quick: generated images, minutes. cpu: CIFAR, reduced. paper: the paper's scale, for a GPU.
PROFILE ?= $(shell $(BIN)/python -c 'import torch; print("paper" if torch.cuda.is_available() else "quick")')
CONFIGS = $(wildcard configs/$(PROFILE)/*.toml)
EXPERIMENTS = $(patsubst configs/$(PROFILE)/%.toml,$(REPRODUCED)/$(PROFILE)-%,$(CONFIGS))

.PHONY: reproduce figures prepare-quick prepare-cpu prepare-paper test test-all lint docs evidence \
  format clean

$(INSTALLED): setup.cfg pyproject.toml
	@echo "Installing into $(VENV): torch is large, this takes minutes."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(TEST_INSTALLED): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

# PROFILE is evaluated once, in the recipe: it needs an installed torch and takes seconds.
reproduce: $(INSTALLED)
	@profile=$(PROFILE); [ -d configs/$$profile ] || { \
	  echo "PROFILE=$$profile: give quick, cpu or paper" >&2; exit 2; }; \
	$(MAKE) --no-print-directory prepare-$$profile figures PROFILE=$$profile

# One experiment after another, each with its figures before the next starts. If a run does not
# finish, the figures and the report of the others are made, and make fails at the end. The networks
# of the quick profile are too small for two threads, which wait for each other on a busy machine.
figures:
	@[ $(PROFILE) != quick ] || export OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1}; \
	$(BIN)/fobench run $(CONFIGS) --results $(REPRODUCED) --dry-run >/dev/null || exit $$?; \
	status=0; \
	for experiment in $(EXPERIMENTS); do \
	  config=configs/$(PROFILE)/$${experiment#$(REPRODUCED)/$(PROFILE)-}.toml; \
	  $(BIN)/fobench run $$config --results $(REPRODUCED); ran=$$?; \
	  [ $$ran -le 1 ] || exit $$ran; \
	  [ $$ran -eq 0 ] || status=1; \
	  echo "Figures of $$experiment:"; \
	  $(BIN)/fobench plot $$experiment --kind all || status=1; \
	done; \
	echo "All experiments side by side:"; \
	$(BIN)/fobench plot $(EXPERIMENTS) -o $(REPRODUCED)/$(PROFILE)-speedup-error.svg || status=1; \
	echo "Report, as Markdown and as a page for the browser:"; \
	for form in md html; do \
	  $(BIN)/fobench report $(EXPERIMENTS) -o $(REPRODUCED)/$(PROFILE)-report.$$form || status=1; \
	done; \
	exit $$status

# Some of the networks are timm's.
prepare-quick:
	$(BIN)/python -m pip install --quiet --editable '.[timm]'

prepare-cpu: prepare-quick
	$(BIN)/fobench data cifar10 cifar100
	$(BIN)/fobench predict $(CONFIGS) --results $(REPRODUCED)

prepare-paper:
	$(BIN)/fobench data cifar100
	$(BIN)/fobench predict $(CONFIGS) --results $(REPRODUCED)

# Two processes of one thread are faster than one of two threads; timing tests run separately.
test test-all: export OMP_NUM_THREADS ?= 1
WORKERS ?= 2

test: $(TEST_INSTALLED)
	$(BIN)/python -m pytest -m 'timing and not slow'
	$(BIN)/python -m pytest -m 'not timing and not slow' --numprocesses=$(WORKERS)

# With new random examples each time.
test-all: $(TEST_INSTALLED)
	$(BIN)/python -m pytest -m timing
	$(BIN)/python -m pytest -m 'not timing' --hypothesis-profile=exploring --numprocesses=$(WORKERS)

lint: $(TEST_INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The JSON Schema and the reference page of configs, generated from the declared options; and the
# numbers and tables in the pages, from the committed results.
docs: $(INSTALLED)
	$(BIN)/fobench schema -o configs/fobench.schema.json
	$(BIN)/fobench schema --markdown -o docs/configs.md
	$(BIN)/python -m docs.numbers

# The figures and reports of the runs in results/; benchmarks/gpu/figure.py draws that of a card.
evidence: $(INSTALLED)
	for folder in $(patsubst %/speedup-error.svg,%,$(wildcard results/*/speedup-error.svg)); do \
	  $(BIN)/fobench plot $$folder --kind all || exit; \
	done
	for report in $(wildcard results/*/report.md results/*/report.html); do \
	  $(BIN)/fobench report $${report%/*} -o $$report || exit; \
	done
	$(BIN)/fobench plot $(FIFTY) -o results/fifty-epochs.svg
	$(BIN)/fobench plot $(ELSEWHERE) -o results/cpu-elsewhere.svg
	$(BIN)/fobench plot $(QUICK) -o results/quick-speedup-error.svg

format: $(TEST_INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .hypothesis
