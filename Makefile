# Two commands do everything: `make study` and `make test`. The rest are their parts.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The benchmarks' peers have an environment of their own.
PEERS := .venv-bench
PEERS_STAMP := $(PEERS)/.installed

.PHONY: study report test test-full bench lint clean

study: $(STAMP)
	@$(BIN)/headstart study cifar10-quick

# The published report, made again from report/trials alone: no data, weights or network.
report: $(STAMP)
	@$(BIN)/headstart report report/trials --to report

test: $(STAMP)
	@$(BIN)/ruff check src tests benchmarks
	@$(BIN)/mypy
	@$(BIN)/python -m pytest

test-full: $(STAMP)
	@$(BIN)/python -m pytest -m "slow or not slow"

bench: $(STAMP) $(PEERS_STAMP)
	@$(BIN)/python benchmarks/run.py --peers $(PEERS)/bin/python

# Pinned versions: the CPU build of torch where pip can find it, else the plain one.
$(STAMP): pyproject.toml constraints-cpu.txt constraints-gpu.txt tools/install.sh
	@sh tools/install.sh "$(PYTHON)" "$(VENV)"
	@touch $(STAMP)

$(PEERS_STAMP): benchmarks/requirements.txt benchmarks/install.sh
	@sh benchmarks/install.sh "$(PYTHON)" "$(PEERS)"
	@touch $(PEERS_STAMP)

clean:
	rm -rf $(VENV) $(PEERS) build dist src/*.egg-info
