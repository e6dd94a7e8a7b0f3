# Everything is set up on the way: a bare Debian 12 with python3 (3.11 to 3.13), its venv module and make is enough.
# The lock files say what is installed; a second call finds its stamp and installs nothing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.installed
DEVELOPMENT := $(VENV)/.installed-development
# The lock names every package, so pip has nothing to look for: --no-deps.
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --no-deps
TESTS ?= mc_pipeline_tests
PYTEST := $(BIN)/pytest -n auto --dist worksteal
# What make check tests: the rules by their tables, and what holds for the repository as a whole.
FAST_TESTS := $(addprefix mc_pipeline_tests/,domain test_architecture.py test_definitions.py test_readme.py \
	test_repository.py test_rule_book.py test_settings.py test_version.py)

# Another search of the rules' tests each time; the seed is printed, and SEED=… repeats it.
SEED := $(or $(SEED),$(shell od -An -N4 -tu4 /dev/urandom | tr -d ' '))

.PHONY: help demo check test test-long test-random coverage dev bench lint lock clean chromium

help:  ## say what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

demo: $(RUNTIME)  ## run the whole pipeline on stand-in servers, and tell the story
	@$(BIN)/mc-pipeline demo

dev: $(RUNTIME)  ## open the Dagster UI on the stand-in servers
	@$(BIN)/mc-pipeline sandbox --with-dagster

check: lint  ## before each commit, about a minute: style, types and the fast tests
	$(PYTEST) -q -m "not long and not hypothesis" $(FAST_TESTS)

test: $(DEVELOPMENT) chromium  ## run the tests but those of many minutes (TESTS=… for some of them)
	$(PYTEST) -m "not long" $(TESTS)

test-long: $(DEVELOPMENT)  ## run the long tests: stories, kills, every call in trouble (TESTS=… for some of them)
	$(PYTEST) -m long $(TESTS)

test-random: $(DEVELOPMENT)  ## test the rules with other examples each time (SEED=… repeats one)
	@echo "Hypothesis seed: $(SEED)  (again: make test-random SEED=$(SEED))"
	env -u CI $(BIN)/pytest -q -n auto --dist worksteal -m hypothesis --hypothesis-seed=$(SEED) \
		mc_pipeline_tests/domain \
		|| { echo "Failed with Hypothesis seed $(SEED): make test-random SEED=$(SEED)" >&2; exit 1; }

# Measuring takes nearly twice the time of the tests, so it is no part of .ci/run.
coverage: $(DEVELOPMENT) chromium  ## run all tests, long ones too, and say which lines and branches they reached (TESTS=… for some)
	@$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q -n auto --dist worksteal $(TESTS)
	@$(BIN)/coverage combine -q
	@$(BIN)/coverage report

bench: $(RUNTIME)  ## measure how fast and how large, on stand-in servers
	@$(BIN)/python -m benchmarks.odoo_extraction
	@$(BIN)/python -m benchmarks.order_load
	@$(BIN)/python -m benchmarks.opt_out_start
	@$(BIN)/python -m benchmarks.opt_out_requests

lint: $(DEVELOPMENT)  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# make lock UPGRADE= adds a package and leaves all other versions as they are.
lock: $(DEVELOPMENT)  ## choose the versions in the lock files anew (needs uv; UPGRADE= keeps those that fit)
	@command -v uv > /dev/null || { echo "make lock needs uv: pip install uv" >&2; exit 1; }
	echo 'setuptools>=80' | uv pip compile $(LOCK_OPTIONS) --extra dev pyproject.toml - -o requirements-dev.lock
	echo 'setuptools>=80' | uv pip compile $(LOCK_OPTIONS) -c requirements-dev.lock pyproject.toml - -o requirements.lock

UPGRADE ?= --upgrade
LOCK_OPTIONS := --quiet $(UPGRADE) --universal --python-version 3.11 --generate-hashes \
	--no-strip-extras --no-annotate --no-header --no-emit-index-url

clean:  ## remove the installation and what the tools keep
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.*

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "Python 3.11, 3.12 or 3.13 is needed: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "python3's venv module is needed: apt-get install python3-venv" >&2; exit 1; }

$(RUNTIME): requirements.lock pyproject.toml | $(BIN)/python
	@echo "Installing into $(VENV), about a minute …"
	@$(INSTALL) --require-hashes -r requirements.lock
	@$(INSTALL) --no-build-isolation --editable .
	@touch $@

$(DEVELOPMENT): requirements-dev.lock $(RUNTIME)
	@echo "Installing what the tests need …"
	@$(INSTALL) --require-hashes -r requirements-dev.lock
	@touch $@

# The tests of the Dagster UI need a browser; without one they skip, and say so.
chromium:
	@if ! command -v chromium > /dev/null && [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
		echo "Installing chromium for the browser tests …"; \
		{ apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium; } \
			> /dev/null || echo "chromium could not be installed: the browser tests will be skipped"; \
	fi
