# One command each; all of them build .venv on a fresh machine and install nothing the second time.
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))
PYTHON ?= $(shell for p in python3 python3.12 python3.11; do $$p -c '$(FITS)' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: install demo test check tools sbom chaos fidelity reliability clean

install: $(VENV)/.installed

# Two steps, because basicsr's setup asks for torch at build time: with isolation pip would download torch a second time.
# So what others need to build is here too: without setuptools-scm bagit takes itself for version 0.0.0.
$(VENV)/.installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Respool needs Python 3.11 or 3.12; install one, or name it: make PYTHON=/path/to/python"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -q -c constraints.txt setuptools setuptools-scm wheel cython numpy torch torchvision
	$(PIP) install -q -c constraints.txt --no-build-isolation -e '.[worker,local,formats,dev]'
	touch $@

demo: install
	$(BIN)/python samples/demo.py

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Validators of the deployment files; the tests that need them are skipped without.
tools: install
	deploy/tools.sh

sbom: tools
	.tools/bin/cyclonedx-py environment $(BIN)/python --output-reproducible --of JSON -o sbom.json

test: install
	$(BIN)/pytest -n 3 --dist loadfile

SEED ?= 1
chaos: install
	$(BIN)/python -m benchmarks.reliability.storm --seed $(SEED)

fidelity: install
	$(BIN)/python -m benchmarks.fidelity.films
	$(BIN)/python -m benchmarks.fidelity.images

reliability: install
	$(BIN)/python -m benchmarks.reliability --seed $(SEED)

clean:
	rm -rf $(VENV) demo-out
