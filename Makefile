# make demo   everything set up, then the shipped models on real pictures; open out/demo/index.html
# make test   everything set up, then the tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp

.PHONY: setup demo test test-all lint wheel matrix results clean
setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mien needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -m mien.synth.warm
	touch $@

demo: $(STAMP)
	$(BIN)/mien demo

test: $(STAMP)
	@echo "left out of make test: slow (minutes); make test-all runs it"
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || echo "left out: postgres (apt-get install postgresql)"
	@command -v chromium >/dev/null || echo "left out: browser (apt-get install chromium)"
	@$(BIN)/python -c 'import anny' 2>/dev/null || echo "left out: anny (pip install anny==0.6.2 to compare with it)"
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadgroup

test-all: $(STAMP)
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered --cov-report=xml

lint: $(STAMP)
	$(BIN)/ruff check src tests tools examples
	$(BIN)/ruff format --check src tests tools examples
	$(BIN)/mypy
	$(BIN)/lint-imports

wheel: $(STAMP)
	rm -rf dist
	$(BIN)/python -m pip wheel -q --disable-pip-version-check --no-deps -w dist .

# The tests on every other Python found here, and on the oldest torch that is supported.
matrix:
	@for v in 3.11 3.12 3.13; do \
	  if command -v python$$v >/dev/null; then \
	    echo "== Python $$v"; $(MAKE) test PYTHON=python$$v VENV=.venv-$$v || exit 1; \
	  else echo "== Python $$v: not on this machine, left out"; fi; done
	@echo "== torch 2.9"; test -x .venv-low/bin/python || $(PYTHON) -m venv .venv-low
	.venv-low/bin/python -m pip install -q 'torch==2.9.*' 'torchvision==0.24.*' -e '.[dev]'
	.venv-low/bin/python -m pytest -m "not slow"

results: $(STAMP)
	$(BIN)/mien results --check

clean:
	rm -rf out dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
