# The same few commands for a person and for CI. Each sets up what it needs.
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(CURDIR)/node_modules/.bin:$(PATH)
export UV_PROJECT_ENVIRONMENT := $(CURDIR)/.venv

.PHONY: setup up test lint generate bench

# Everything that is installed, fetched or verified, and what decides that it must be again.
setup: .setup/python .setup/node .setup/models

.setup/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "visionmesh needs Python 3.11 or newer, set PYTHON=")'
	$(PYTHON) -m venv .setup/tools
	.setup/tools/bin/pip install --quiet --disable-pip-version-check uv==0.13.9
	@touch $@

.setup/python: .setup/uv pyproject.toml uv.lock
	.setup/tools/bin/uv sync --quiet --frozen --compile-bytecode --python $(PYTHON)
	@touch $@

.setup/node: .setup/python package.json package-lock.json
	npm ci --ignore-scripts --silent
	@touch $@

.setup/models: .setup/python models/registry.toml $(wildcard services/logo/*.py)
	visionmesh models fetch
	@touch $@

up: setup
	@exec visionmesh up

# Files side by side: most of what a test takes is waiting for processes that start.
WORKERS ?= 2
test: setup
	@tests/packages.sh
	pytest -n $(WORKERS) --dist loadfile

lint: setup
	ruff check .
	ruff format --check .
	mypy
	tsc -p federation/gateway
	buf lint
	tests/breaking.sh
	python -m mesh.generate --check

generate: .setup/node
	python -m mesh.generate

bench: setup
	python -m bench
