# One command each; all of them build .venv on a fresh machine and install nothing the second time.
PYTHON ?= $(shell command -v python3.12 >/dev/null 2>&1 && python3.12 -c '' 2>/dev/null && echo python3.12 || echo python3.11)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: install demo test check chaos reliability clean

install: $(VENV)/.installed

# Two steps, because basicsr's setup asks for torch at build time: with isolation pip would download torch a second time.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -q -c constraints.txt setuptools wheel cython numpy torch torchvision
	$(PIP) install -q -c constraints.txt --no-build-isolation -e '.[worker,local,dev]'
	touch $@

demo: install
	$(BIN)/python samples/demo.py

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: install
	$(BIN)/pytest

SEED ?= 1
chaos: install
	$(BIN)/python -m benchmarks.chaos --seed $(SEED)

reliability: install
	$(BIN)/python -m benchmarks.chaos --seed $(SEED) --table docs/reliability.md

clean:
	rm -rf $(VENV) demo-out
