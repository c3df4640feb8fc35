# plumbline: `make demo` shows it, `make test` tests it, `make check` runs every gate.
# PYTHON  the interpreter that makes .venv (3.11 or newer)
# PIP_ARGS  options for installing torch, e.g. another index for a GPU build
# ARGS  options for `make demo`, e.g. ARGS="--seeds 1 --prompts 104"
# TESTS  what `make test` and `make check` run, e.g. TESTS=tests/losses
PYTHON ?= python3
PIP_ARGS ?=
ARGS ?=
TESTS ?= tests
BIN := .venv/bin

.PHONY: setup demo test check lint types mutate bench-setup lens-setup clean

setup: .venv/.ready

.venv/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "plumbline needs Python 3.11 or newer: make setup PYTHON=python3.12"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check torch==2.13.0 $(PIP_ARGS)
	$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -e .
	@touch $@

demo: setup
	$(BIN)/plumbline quickstart $(ARGS)

test: setup
	$(BIN)/python -m pytest -q $(TESTS)

check: setup lint types
	$(BIN)/python -m pytest -q $(TESTS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/pyright

mutate: setup
	$(BIN)/python tools/mutate.py

# The libraries that `plumbline bench` and the parity tests compare with live apart from ours.
bench-setup: setup .peers/.ready .peers/ppo/.ready

.peers/.ready: tools/peers.lock
	@test -x .peers/bin/python || $(PYTHON) -m venv .peers
	.peers/bin/python -m pip install -q --disable-pip-version-check torch==2.13.0 $(PIP_ARGS)
	.peers/bin/python -m pip install -q --disable-pip-version-check -r tools/peers.lock
	@touch $@

# TRL 1.13 dropped its experimental PPO: the last version that has it, on the same libraries, for that row alone.
.peers/ppo/.ready: .peers/.ready
	.peers/bin/python -m pip install -q --disable-pip-version-check --no-deps --upgrade --target .peers/ppo trl==1.12.0
	@touch $@

# TransformerLens, which the tests of `interp` compare with: it brings thirty packages that TRL does not want, so it has a place of its own.
lens-setup: setup .peers/lens/.ready

.peers/lens/.ready: tools/lens.lock
	@test -x .peers/lens/bin/python || $(PYTHON) -m venv .peers/lens
	.peers/lens/bin/python -m pip install -q --disable-pip-version-check torch==2.13.0 $(PIP_ARGS)
	.peers/lens/bin/python -m pip install -q --disable-pip-version-check -r tools/lens.lock
	@touch $@

clean:
	rm -rf .venv .peers build dist .pytest_cache .ruff_cache .hypothesis
