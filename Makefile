# make demo   everything set up, then the shipped models on real pictures; open out/demo/index.html
# make test   everything set up, then the tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp

.PHONY: setup demo test test-all lint docs wheel sbom audit matrix results clean
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
	$(BIN)/ruff check src tests tools examples docs
	$(BIN)/ruff format --check src tests tools examples docs
	$(BIN)/mypy
	$(BIN)/lint-imports

# Pages in out/docs; a warning is an error. Asks the network for nothing.
docs: $(STAMP)
	$(BIN)/python -c 'import sphinx' 2>/dev/null || $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs out/docs
	@echo "open out/docs/index.html"

wheel: $(STAMP)
	rm -rf dist
	$(BIN)/python -m pip wheel -q --disable-pip-version-check --no-deps -w dist .
	@find dist -name '*.whl' -size +60M | grep . && echo "the wheel is larger than 60 MB" && exit 1 || ls -sh dist

# What this environment is made of: dist/sbom.json (CycloneDX). The tool lives in an environment of its own.
sbom: $(STAMP)
	test -x $(VENV)-sbom/bin/cyclonedx-py || $(PYTHON) -m venv $(VENV)-sbom
	$(VENV)-sbom/bin/python -m pip install -q --disable-pip-version-check 'cyclonedx-bom>=7'
	mkdir -p dist
	$(VENV)-sbom/bin/cyclonedx-py environment $(BIN)/python --pyproject pyproject.toml --of JSON -o dist/sbom.json

# Known weaknesses of the tested versions. Asks the network (the advisories are there), and fails without it.
audit:
	test -x $(VENV)-audit/bin/pip-audit || $(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/python -m pip install -q --disable-pip-version-check 'pip-audit>=2.9'
	$(VENV)-audit/bin/pip-audit --strict --no-deps --disable-pip -r constraints.txt


# The tests on every other Python that runs here, and on the oldest packages that pyproject.toml allows (torch 2.9)
# and that have wheels for this Python.
LOW := -e '.[export,data,search,postgres]' 'pytest>=8' 'pytest-xdist>=3.6' 'pytest-cov>=5' 'hypothesis>=6.100' 'pymunk>=7' \
       'pytorch_optimizer>=3.5' 'embreex>=4.4'
matrix:
	@for v in 3.11 3.12 3.13; do \
	  if python$$v -c '' 2>/dev/null; then \
	    echo "== Python $$v"; $(MAKE) test PYTHON=python$$v VENV=.venv-$$v || exit 1; \
	  else echo "== Python $$v: not on this machine, left out"; fi; done
	@echo "== oldest packages"; test -x .venv-low/bin/uv || { $(PYTHON) -m venv .venv-low && .venv-low/bin/python -m pip install -q uv; }
	.venv-low/bin/uv pip install -q --python .venv-low/bin/python --resolution lowest-direct --only-binary :all: $(LOW)
	.venv-low/bin/python -m pytest -m "not slow"

results: $(STAMP)
	$(BIN)/mien results --check

clean:
	rm -rf out dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
