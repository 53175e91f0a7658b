# README.md needs two of these: make demo, make test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH_STAMP := $(VENV)/.installed-bench

.PHONY: demo test check soak bench bench-counts fix setup clean

# Installs what the tests and tools need as well, so that there is one environment.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[test,dev]"
	touch $@

setup: $(STAMP)

# A server with real jobs on real files; Ctrl-C ends it.
demo: $(STAMP)
	@$(BIN)/python -m middlewared_demo

test: $(STAMP)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

# Lint, types, contracts, docs.
check: $(STAMP)
	@! git grep -nE '^(<{7}|>{7}) ' || { echo "conflicts are left in these files" >&2; exit 1; }
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/cog --check -P docs/commands.md docs/plugins.md docs/reference/*.md
	$(BIN)/python -m pytest -q docs README.md

# The full counts that take longer than a coffee.
soak: $(STAMP)
	SOAK=1 $(BIN)/python -m pytest -q --timeout 1800

# What others use, for measuring beside them.
$(BENCH_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[bench]"
	touch $@

# All rows, into docs/performance.md; make bench ROW="1 4" prints some.
bench: $(BENCH_STAMP)
	PYTHONPATH=tests $(BIN)/python -m benchmarks $(ROW)

# Writes the figures that .ci/run compares with; they are of one build of Python.
bench-counts: $(STAMP)
	PYTHONPATH=tests $(BIN)/python -m benchmarks.counts $(COUNTS)

fix: $(STAMP)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/cog -r -P docs/commands.md docs/plugins.md docs/reference/*.md

clean:
	rm -rf $(VENV) build dist demo-data .mypy_cache .ruff_cache .pytest_cache .hypothesis
