# Two commands do everything: `make study` and `make test`. The rest are their parts.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What a study needs, and beside it what tests, notebooks, documentation and the published report need.
STAMP := $(VENV)/.installed
ALL := $(VENV)/.installed-all
# A process a usable core (tests/conftest.py), a file's tests in one process: what its fixtures make is made once.
# The longest files come first (tests/conftest.py), so that no process ends long after the others.
PARALLEL := -n auto --dist loadfile --no-loadscope-reorder
# The benchmarks' peers have an environment of their own.
PEERS := .venv-bench
PEERS_STAMP := $(PEERS)/.installed

.PHONY: install study report lint test test-full test-processors bench notebooks notebooks-fast docs clean

# The environment alone: what studies, advice, server and app need.
install: $(STAMP)

study: $(STAMP)
	@$(BIN)/headstart study cifar10-quick

# The published report, made again from report/trials alone: no data, weights or network.
report: $(ALL)
	@$(BIN)/headstart report report/trials --to report
	@$(BIN)/headstart report report/cnn/trials --to report/cnn
	@$(BIN)/headstart report report/cpu/trials --to report/cpu
	@$(BIN)/headstart report report/equal/trials --to report/equal
	@$(BIN)/headstart report report/gpu/trials --to report/gpu
	@$(BIN)/headstart report report/fashion/trials --to report/fashion

lint: $(ALL)
	@$(BIN)/ruff check src tests benchmarks tools
	@$(BIN)/ruff format --check --quiet src tests benchmarks tools
	@$(BIN)/mypy
	@$(BIN)/python tools/dead_code.py

test: lint
	@$(BIN)/python -m pytest $(PARALLEL)

# The slow tests one after the other: they measure peak memory, or take every core themselves.
test-full: $(ALL)
	@$(BIN)/python -m pytest $(PARALLEL)
	@$(BIN)/python -m pytest -m slow

# The tests that compute, as three older processors would compute them: half an hour on two cores.
test-processors: $(ALL)
	@$(BIN)/python tools/processors.py

bench: $(ALL) $(PEERS_STAMP)
	@$(BIN)/python benchmarks/run.py --peers $(PEERS)/bin/python

# Executes the notebooks with outputs kept; the fast mode takes small slices, in under 5 minutes, and keeps nothing.
notebooks: $(ALL)
	@$(BIN)/python tools/run_notebooks.py

notebooks-fast: $(ALL)
	@$(BIN)/python tools/run_notebooks.py --fast

# The documentation as static pages in site/; needs no network.
docs: $(ALL)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "site/index.html"

# From locks: the CPU build of torch where pip can find it, else the plain one.
$(STAMP): pyproject.toml tools/install.sh locks/study.txt locks/torch-cpu.txt locks/torch-gpu.txt
	@sh tools/install.sh "$(PYTHON)" "$(VENV)" study
	@touch $(STAMP)

$(ALL): $(STAMP) locks/all.txt
	@sh tools/install.sh "$(PYTHON)" "$(VENV)" all
	@touch $(ALL)

$(PEERS_STAMP): benchmarks/requirements.txt benchmarks/install.sh
	@sh benchmarks/install.sh "$(PYTHON)" "$(PEERS)"
	@touch $(PEERS_STAMP)

clean:
	rm -rf $(VENV) $(PEERS) build dist site notebooks/runs src/*.egg-info
