# Everything is installed into .venv; nothing outside of it is used or changed, except by
# `make browser` as root on Debian or Ubuntu, which installs Chromium when there is none.

PYTHON ?= python3
PORT ?= 8000
# Two workers: the suite is bound by two cores' worth of database and server processes.
TEST_WORKERS ?= 2
# More words for pytest: make test PYTEST_ARGS="-k waiting_room -x"
PYTEST_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# What the developer's account has installed must not decide whether this works.
export PYTHONNOUSERSITE := 1
# A .env file somewhere above would be read by flask wherever python-dotenv happens to be.
export FLASK_SKIP_DOTENV := 1
unexport PYTHONPATH PYTHONHOME

.PHONY: help install run check test bench queue-demo rush soak mutants audit screenshots postgres browser constraints clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## create .venv and install everything into it

# One stamp for the whole environment: pip runs again only when what it reads has changed.
# setuptools comes from constraints.txt too, instead of pip fetching whatever is newest for
# the build: the same clone must still install next year.
$(STAMP): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Jari needs Python 3.11 or newer; $(PYTHON) is not. Try: make PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/python && $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || \
	    { echo "$(PYTHON) cannot make a virtual environment. On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --constraint constraints.txt setuptools
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[dev]'
	@touch $@

# exec, so that no shell stands between the server and a signal; with-parent, because whoever
# kills make means the server too. DATABASE_URL passes through.
run: $(STAMP) ## serve the demo at PORT (8000), on DATABASE_URL or var/jari.sqlite3
	@PORT='$(PORT)' exec $(BIN)/flask --app wsgi serve --demo --with-parent

check: $(STAMP) ## style, types, layers, the laws of the house and what must match the code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m pytest -q tests/test_house.py tests/test_failures.py tests/test_mutants.py tests/test_readme.py

# Races and outages start processes of their own and have the machine to themselves.
test: $(STAMP) browser ## the whole suite, on both databases and in a browser
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadscope --ignore tests/races --ignore tests/outages $(PYTEST_ARGS)
	$(BIN)/python -m pytest tests/races tests/outages $(PYTEST_ARGS)

# All of them, also after one that missed a goal.
bench: $(STAMP) ## measure, as ratios against references; fails when a stated goal is missed
	@missed=0; for bench in bench bench.waiting bench.refusals bench.snapshots bench.halls; do \
	    echo "== $$bench"; $(BIN)/python -m tests.$$bench || missed=1; \
	done; exit $$missed

queue-demo: $(STAMP) ## a rush of 20,000 into a real server, as it happens, and a summary with plots
	$(BIN)/python -m tests.queue_demo

rush: $(STAMP) ## whole sales under load, gated: make rush RUSH="incident-2 --scale 0.1"
	$(BIN)/python -m tests.rush $(RUSH)

soak: $(STAMP) ## two minutes of faults, histories checked; SOAK=1000000 for so many operations, SEED=…
	$(BIN)/python -m tests.soak

mutants: $(STAMP) ## take each guard out in turn: the named test must notice
	$(BIN)/python -m tests.mutants

audit: $(STAMP) ## known vulnerabilities of what is installed; fails when it could not look
	$(BIN)/python -m pip_audit --requirement constraints.txt --disable-pip --no-deps --strict

screenshots: $(STAMP) browser ## refresh the pictures of every page in docs/screenshots
	$(BIN)/python -m tests.browser.screenshots

postgres: $(STAMP) ## run a throw-away PostgreSQL until Ctrl-C
	@exec $(BIN)/python -m tests.postgres

browser: $(STAMP) ## install a Chromium for the tests if there is none
	@$(BIN)/python -m tests.chromium --install

constraints: ## pin today's newest versions in constraints.txt
	@temporary=$$(mktemp -d) && trap 'rm -rf "$$temporary"' EXIT && \
	$(PYTHON) -m venv "$$temporary/venv" && \
	"$$temporary/venv/bin/python" -m pip install --quiet --upgrade pip setuptools && \
	"$$temporary/venv/bin/python" -m pip install --quiet --no-build-isolation --editable '.[dev]' && \
	{ sed -n '/^#/p;/^[^#]/q' constraints.txt && \
	  "$$temporary/venv/bin/python" -m pip freeze --all --exclude pip --exclude jari; } > "$$temporary/new" && \
	cp "$$temporary/new" constraints.txt && echo "constraints.txt: $$(grep -c == constraints.txt) packages"

clean: ## remove .venv, var and everything that was generated
	rm -rf $(VENV) var build dist *.egg-info .coverage .coverage.* htmlcov \
	    .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
