# One command each; all of them build .venv on a fresh machine and install nothing the second time.
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))
PYTHON ?= $(shell for p in python3 python3.12 python3.11; do $$p -c '$(FITS)' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: install lock demo test test-fast check picture docs tools sbom release-files release-dry-run chaos fidelity reliability clean

install: $(VENV)/.installed

# Three steps: what source distributions need while they are built (requirements/build.in says why), the other packages,
# each held against its hash in the lock file of the Python at hand, and last Respool itself.
LOCK = requirements/$(1)py$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])').txt
$(VENV)/.installed: pyproject.toml constraints.txt $(wildcard requirements/*.txt)
	@test -n "$(PYTHON)" || { echo "Respool needs Python 3.11 or 3.12; install one, or name it: make PYTHON=/path/to/python"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install -q --require-hashes -r $(call LOCK,build-)
	$(PIP) install -q --require-hashes --no-build-isolation -r $(call LOCK)
	$(PIP) install -q --no-deps --no-build-isolation -e .
	touch $@

# Write the lock files anew from pyproject.toml and the versions in constraints.txt.
COMPILE = $(BIN)/uv pip compile -q --universal --generate-hashes --no-build-isolation --no-annotate -c constraints.txt \
	--python $(BIN)/python --custom-compile-command "make lock"
lock: install
	for version in 3.11 3.12; do \
		$(COMPILE) --python-version $$version requirements/build.in -o requirements/build-py$$version.txt && \
		$(COMPILE) --python-version $$version pyproject.toml --all-extras -o requirements/py$$version.txt || exit 1; \
	done

demo: install
	$(BIN)/python samples/demo.py

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m benchmarks.pages.rooms --check
	$(BIN)/pytest -q -p no:cacheprovider tests/test_rooms.py

# The rooms and their imports, drawn from the code for docs/architecture.md.
picture: install
	$(BIN)/python -m benchmarks.pages.rooms

# The documentation site, in site/; broken links and pages that the navigation lacks fail.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Validators of the deployment files; the tests that need them are skipped without.
tools: install
	deploy/tools.sh

sbom: tools
	.tools/bin/cyclonedx-py environment $(BIN)/python --output-reproducible --of JSON -o sbom.json

# Wheel, source distribution, chart and SHA256SUMS in dist/, of one version; nothing is published. With a TAG, the changelog must have it.
release-files: tools
	rm -rf dist build
	$(BIN)/python deploy/release.py build dist $(if $(TAG),--tag $(TAG))

release-dry-run:
	$(MAKE) release-files TAG=

# An answer in under three minutes: everything but the tests marked slow.
test-fast: install
	$(BIN)/pytest -n 2 --dist loadfile --max-worker-restart 0 -m "not slow"

# A process of tests that crashes ends the run: where another takes its place, pytest-xdist may wait for ever for the last tests.
test: install
	$(BIN)/pytest -n 3 --dist loadfile --max-worker-restart 0

SEED ?= 1
chaos: install
	$(BIN)/python -m benchmarks.reliability.storm --seed $(SEED)

fidelity: install
	$(BIN)/python -m benchmarks.fidelity.films
	$(BIN)/python -m benchmarks.fidelity.images

reliability: install
	$(BIN)/python -m benchmarks.reliability --seed $(SEED)

clean:
	rm -rf $(VENV) demo-out site dist build
