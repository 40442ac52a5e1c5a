# Two commands for a fresh clone: `make demo` and `make test`. Both need Python 3.11 or newer and make, nothing else.

# torch is pinned here and not in the package's dependencies: which build to run is a user's own choice, while these
# targets need a known one, installed first so that no dependency brings a newer build and several GB of CUDA with it.
# On Linux the default package index serves a CUDA build under this name; where that is not wanted:
#   make demo TORCH='torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu'
TORCH ?= torch==2.13.0

VENV := .venv
OLDEST := .venv-oldest
BIN := $(VENV)/bin
# Bytecode is made of what is imported, when it is: installing is half a minute shorter.
PIP := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-compile
# The first interpreter on the path that is new enough; `make PYTHON=/path/to/python3.12 ...` overrides.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)

# Nothing here may ask a model hub: the demo's encoder is an ordinary package.
export HF_HUB_OFFLINE := 1

.DEFAULT_GOAL := help
.PHONY: help demo docs test test-crash test-docs test-fuzz test-model test-properties test-stores test-scale test-oldest test-wheel lint format clean

help: ## Say what can be made
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | while IFS='|' read -r name text; do \
		printf '  make %-15s %s\n' "$$name" "$$text"; done

demo: $(VENV)/.demo ## Install what the demo needs into .venv, then run it (about two minutes)
	@echo "==> nudge demo"
	@$(BIN)/nudge demo

test: lint ## Install the development extras into .venv, then run ruff, mypy --strict and pytest
	@echo "==> pytest"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=logical --dist=loadfile # a worker and a thread a core

docs: $(VENV)/.docs ## Build the site into build/site; a dead link or an unlisted page is an error
	@$(BIN)/mkdocs build --strict --quiet
	@echo "==> build/site/index.html"

test-docs: $(VENV)/.dev ## Run the code of README.md and of every page on the whole of the demo's data (a few minutes)
	@NUDGE_DOCS=whole $(BIN)/python -m pytest tests/package/test_docs.py

test-crash: $(VENV)/.dev ## Kill 3,200 processes at every step of every writer, cut the power 12,000 times, race 200 overwrites
	@NUDGE_KILLS=$${NUDGE_KILLS:-3200} NUDGE_CUTS=$${NUDGE_CUTS:-12000} NUDGE_OVERWRITES=$${NUDGE_OVERWRITES:-200} \
		$(BIN)/python -m pytest -rP tests/crash tests/processes tests/sabotage

test-fuzz: $(VENV)/.dev ## Read twenty thousand damaged files of every format: errors of this package, or the right content
	@NUDGE_MUTANTS=$${NUDGE_MUTANTS:-20000} $(BIN)/python -m pytest tests/fuzz

test-model: $(VENV)/.dev ## Try 1,000 sequences of 50 changes of what serves and of a store against a dictionary
	@NUDGE_RUNS=$${NUDGE_RUNS:-1000} NUDGE_STEPS=$${NUDGE_STEPS:-50} $(BIN)/python -m pytest tests/model

test-properties: $(VENV)/.dev ## Try 10,000 random fits for what every fit promises
	@NUDGE_CASES=$${NUDGE_CASES:-10000} $(BIN)/python -m pytest -rP tests/properties

test-stores: $(VENV)/.dev ## Kill 400 processes a vector store, half of them while they apply, and run all tests of live stores
	@NUDGE_STORE_KILLS=$${NUDGE_STORE_KILLS:-200} $(BIN)/python -m pytest -rP \
		tests/stores tests/cli/test_store.py tests/llama_index/test_stores.py tests/langchain/test_stores.py

test-scale: $(VENV)/.dev ## Install Lance and Ray, and run the tests of corpora in files, fifty partitionings each
	@$(PIP) -e '.[dev,dev-scale]'
	@NUDGE_SCALE=1 NUDGE_PARTITIONINGS=$${NUDGE_PARTITIONINGS:-50} $(BIN)/python -m pytest tests/scale

test-oldest: $(OLDEST)/.installed ## Run the tests of both edges with the oldest frameworks that they support
	@$(OLDEST)/bin/python -m pytest -o filterwarnings=default tests/langchain tests/llama_index

test-wheel: $(VENV)/.torch ## Build, install the wheel with each extra alone into empty environments, import, run the demo
	@$(PIP) build
	@$(BIN)/python tests/package/try_wheel.py

lint: $(VENV)/.dev ## Check style and types
	@echo "==> ruff check"
	@$(BIN)/ruff check .
	@echo "==> ruff format --check"
	@$(BIN)/ruff format --check .
	@echo "==> mypy --strict"
	@$(BIN)/mypy --num-workers=2

format: $(VENV)/.dev ## Rewrite the code in the project's style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean: ## Remove .venv, what was built, and every cache
	rm -rf $(VENV) $(OLDEST) .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp says "this is installed"; a change of the dependencies (pyproject.toml) makes it again.
$(VENV)/.torch:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer was not found; say where it is: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "==> creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@echo "==> installing $(TORCH) (a few hundred MB the first time)"
	@$(PIP) $(TORCH)
	@touch $@

$(VENV)/.demo: $(VENV)/.torch pyproject.toml
	@echo "==> installing the package with what the demo needs"
	@$(PIP) -e '.[demo]'
	@touch $@

$(VENV)/.dev: $(VENV)/.torch pyproject.toml
	@echo "==> installing the package with its development extras"
	@$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.demo

$(VENV)/.docs: $(VENV)/.dev
	@echo "==> installing what builds the site"
	@$(PIP) -e '.[docs]'
	@touch $@

$(OLDEST)/.installed: pyproject.toml
	@$(PYTHON) -m venv $(OLDEST)
	@$(OLDEST)/bin/python -m pip install --quiet --quiet --disable-pip-version-check $(TORCH)
	@$(OLDEST)/bin/python -m pip install --quiet --quiet --disable-pip-version-check -e '.[demo]' \
		langchain-core==1.0.0 langchain-classic==1.0.0 langchain-tests==1.0.0 llama-index-core==0.13.0 \
		hypothesis pytest pytest-asyncio pytest-socket
	@touch $@
