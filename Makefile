# Isolet's one entry point: `make run` starts the platform, `make test` proves it. `make` alone lists the targets.

VENV := .venv
BIN := $(VENV)/bin
PAGES := node_modules/isolet-dashboard

# Debian packages, as command or command:package. They are installed only when the command is missing.
TEST_PACKAGES := gcc:build-essential pg_createcluster:postgresql chromium-headless-shell tmux
UNPACKED := nginx caddy
BENCH_PACKAGES := wrk

# The tool that writes the Python locks. It gets an environment of its own, made only by `make lock`.
UV := uv==0.13.9
LOCK_VENV := .venv-lock
PIP_COMPILE := $(LOCK_VENV)/bin/uv pip compile --no-config --quiet --universal \
	--python-version 3.11 --generate-hashes --custom-compile-command "make lock"

# Two times quiet: only errors are shown, and no warning about an index or a folder that pip is configured to look in.
PIP_INSTALL := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check
INSTALL_SELF := $(PIP_INSTALL) --no-deps --no-build-isolation --no-index --editable .

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run setup setup-dev wheel test lint bench chaos screenshots lock clean

help:
	@echo 'make run        set everything up and start the platform with an example; ARGS="--port 8080" adds flags'
	@echo 'make setup      install what the platform needs: .venv and node_modules, both as locked'
	@echo 'make setup-dev  install what the tests need as well'
	@echo 'make wheel      build a wheel in dist that runs with Python only: no Node.js, no npm, no compiler'
	@echo 'make test       set up, lint and run every test; ARGS="-k name" narrows the tests'
	@echo 'make lint       ruff, mypy and the rules for imports'
	@echo 'make bench      measure; installs wrk when it is missing'
	@echo 'make chaos      kill the server a hundred times while clients call, and look for what is lost'
	@echo 'make screenshots  take pictures of all pages of the dashboard'
	@echo 'make lock       remake the lock files; LOCK_ARGS=--upgrade takes the newest versions'
	@echo 'make clean      remove everything that setup made'

run: setup
	$(BIN)/isolet serve --example $(ARGS)

setup: $(VENV)/.stamp-runtime node_modules/.stamp-runtime $(PAGES)/.stamp
	@:

setup-dev: $(VENV)/.stamp-dev $(VENV)/generator/.stamp node_modules/.stamp-dev $(PAGES)/.stamp
	@scripts/system-packages $(TEST_PACKAGES)
	@scripts/unpack-packages $(VENV)/debian $(UNPACKED)

wheel: setup
	@$(BIN)/python scripts/wheel $(ARGS)

test: setup-dev
	@scripts/test $(ARGS)

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup-dev
	@scripts/system-packages $(BENCH_PACKAGES)
	$(BIN)/python -m tests.bench $(ARGS)

screenshots: setup-dev
	$(BIN)/python -m tests.screenshots $(ARGS)

chaos: setup-dev
	$(BIN)/python -m tests.chaos $(ARGS)

lock: $(LOCK_VENV)/bin/uv
	$(PIP_COMPILE) pyproject.toml --group build --output-file requirements.lock $(LOCK_ARGS)
	$(PIP_COMPILE) pyproject.toml --extra postgres --constraint requirements.lock \
		--output-file requirements-postgres.lock $(LOCK_ARGS)
	$(PIP_COMPILE) --group generator --output-file requirements-generator.lock $(LOCK_ARGS)
	$(PIP_COMPILE) --group node --output-file requirements-node.lock $(LOCK_ARGS)
	$(PIP_COMPILE) pyproject.toml --group build --group dev --group node --extra postgres \
		--constraint requirements-postgres.lock --constraint requirements-node.lock \
		--output-file requirements-dev.lock $(LOCK_ARGS)
	scripts/npm install --package-lock-only --loglevel=error

clean:
	rm -rf $(VENV) $(LOCK_VENV) node_modules build dist src/*.egg-info \
		.mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests -type d -name __pycache__ -prune -exec rm -rf {} +

# Each stamp is newer than the lock that it was installed from. A dev install contains the runtime one.

$(BIN)/python:
	@python=$$(scripts/check-tools) || exit 1; \
	echo "Making $(VENV) with $$python"; \
	"$$python" -m venv --clear $(VENV)

$(VENV)/.stamp-runtime: requirements.lock pyproject.toml | $(BIN)/python
	@echo 'Installing the Python packages of requirements.lock'
	@$(PIP_INSTALL) --require-hashes --requirement requirements.lock
	@$(INSTALL_SELF)
	@touch $@

$(VENV)/.stamp-dev: requirements-dev.lock requirements.lock pyproject.toml | $(BIN)/python
	@echo 'Installing the Python packages of requirements-dev.lock'
	@$(PIP_INSTALL) --require-hashes --requirement requirements-dev.lock
	@$(INSTALL_SELF)
	@touch $(VENV)/.stamp-runtime $@

$(VENV)/generator/.stamp: requirements-generator.lock | $(BIN)/python
	@echo 'Installing the Python packages of requirements-generator.lock'
	@rm -rf $(@D)
	@$(PIP_INSTALL) --target $(@D) --require-hashes --requirement requirements-generator.lock
	@touch $@

node_modules/.stamp-runtime: package.json package-lock.json | $(BIN)/python
	@echo 'Installing the npm packages that the platform needs'
	@scripts/npm ci --omit=dev --loglevel=error
	@touch $@

node_modules/.stamp-dev: package.json package-lock.json | $(BIN)/python
	@echo 'Installing the npm packages that the platform and its tests need'
	@scripts/npm ci --loglevel=error
	@touch node_modules/.stamp-runtime $@

# What the dashboard's pages load. A new install of npm's packages removes it.
$(PAGES)/.stamp: node_modules/.stamp-runtime scripts/dashboard-assets $(wildcard src/isolet/dashboard/scripts/*) \
		$(wildcard src/isolet/dashboard/styles/*)
	@echo 'Bundling the scripts and styles of the dashboard'
	@scripts/dashboard-assets $(PAGES)
	@touch $@

$(LOCK_VENV)/bin/uv: Makefile
	@python=$$(scripts/check-tools) || exit 1; \
	"$$python" -m venv --clear $(LOCK_VENV)
	@$(LOCK_VENV)/bin/python -m pip install --quiet --disable-pip-version-check '$(UV)'
	@touch $@
