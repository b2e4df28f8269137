# Everything on a machine with nothing but Python 3.11 and make: `make run`, `make test`.

PYTHON ?= python3
UV_VERSION := 0.13.9
BIN := .venv/bin
INSTALLED := .venv/installed
WORKERS ?= 2
RECIPES := jobs/recipes/bccd.yaml jobs/recipes/nuclei.yaml

# Ray's workers and torch's threads would otherwise spin while they wait, on cores that others need.
export OMP_WAIT_POLICY := passive

.PHONY: run test check gallery lock clean help

help:
	@echo 'make run    augment the sample datasets, and say where to look'
	@echo 'make test   check everything: format, lint, types, tests'
	@echo 'make check  the same, for those who have installed already'
	@echo 'make gallery  a contact sheet of every op, for docs/gallery.md'
	@echo 'make lock   resolve requirements.lock again'
	@echo 'make clean  remove the environment and what runs have left'

run: $(INSTALLED)
	@for recipe in $(RECIPES); do $(BIN)/noiseloom run $$recipe || exit $$?; done

test: check

# A file's tests stay in one process, so that what they share is made once; in the order of the files,
# for those that run whole commands come first, and the last to end are short.
check: export OMP_NUM_THREADS := 1
check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "Python 3.11 to 3.13 is needed: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

gallery: $(INSTALLED)
	$(BIN)/python docs/make_gallery.py

LOCK := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-emit-find-links --no-annotate --no-header

# The images have the versions that are tested, without what only tests need.
lock: $(INSTALLED)
	$(LOCK) --group dev pyproject.toml -o requirements.lock
	$(LOCK) -c requirements.lock --extra cluster pyproject.toml -o infra/container/requirements.lock
	echo 'uv==$(UV_VERSION)' | $(LOCK) -c requirements.lock - -o infra/container/uv.lock
	$(LOCK) -c requirements.lock infra/mlflow/requirements.in -o infra/mlflow/requirements.lock

clean:
	rm -rf .venv out mlruns mlflow.db
