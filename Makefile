# make serve   everything on this machine: Redis, one worker, the API; Ctrl-C stops it all
# make test    all tests that need no GPU        make check   format, lint, types, import rules, manifests
# (the web page's tests drive Debian's Chromium and are skipped, by name, where there is none)
# make chaos   kills, sleeps and restarts under load for minutes; counts what was lost (nothing)
# make gpu     the tests that need a CUDA GPU    make gpu-bench   what one does, in minutes
# make install set up .venv for all of these
# make test-compose   builds, starts and breaks the containers; needs a Docker engine
# make openapi  writes docs/openapi.json anew, which `make check` compares with what is served
# make wheel   dist/emaki-*.whl, with the shipped model
# make audit   known vulnerabilities of what is pinned   make sbom   what it all is, as CycloneDX
#
# PYTHON=python3.12 chooses the interpreter (3.11 or newer). TORCH_INDEX=<url> adds a package
# index for PyTorch, for example the one with its CPU builds, which are much smaller.

PYTHON ?= python3
TORCH_INDEX ?=
BIN := .venv/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	--constraint constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
# What is compiled once is not compiled again by each of the processes, of which tests start hundreds.
unexport PYTHONDONTWRITEBYTECODE
# Tests write a gigabyte and keep little of it: into memory, where it has room and runs programs.
MEMORY := $(shell df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 && $$4 > 4000000 {print $$6}')
MEMORY := $(if $(shell grep " $(MEMORY) .*noexec" /proc/mounts 2>/dev/null),,$(MEMORY))
# Torch's threads must not spin while they wait: processes share the cores.
export OMP_WAIT_POLICY ?= passive

.PHONY: install serve test test-compose check format openapi wheel chaos gpu gpu-bench bench audit sbom clean

install: $(BIN)/.dev

serve: $(BIN)/.serve
	@exec $(BIN)/python -m serve

test: $(BIN)/.dev
	$(if $(MEMORY),TMPDIR=$(MEMORY)) $(BIN)/python -m pytest -m "not gpu and not compose" --numprocesses 3 --dist worksteal $(ARGS)

test-compose: $(BIN)/.dev
	$(BIN)/python -m pytest -m compose -v --durations=0 $(ARGS) tests/compose

check: $(BIN)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m app.description docs/openapi.json
	$(BIN)/python -m pytest -q tests/deploy/test_kubernetes.py

openapi: $(BIN)/.dev
	$(BIN)/python -m app.description docs/openapi.json --write

wheel: $(BIN)/.dev
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

format: $(BIN)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

chaos: $(BIN)/.dev
	$(BIN)/python -m tests.chaos $(ARGS)

gpu: $(BIN)/.dev
	$(BIN)/python -m pytest -m gpu $(ARGS)

gpu-bench: $(BIN)/.dev
	$(BIN)/python -m benchmarks.gpu $(ARGS)

bench: $(BIN)/.dev
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.batching
	$(BIN)/python -m benchmarks.api
	$(BIN)/python -m benchmarks.loader
	$(BIN)/python -m benchmarks.training --precision fp32
	$(BIN)/python -m benchmarks.training --precision bf16

# Tools with dependencies of their own, so not in .venv, which the tools look at.
audit: .cache/tools/.ready
	.cache/tools/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict

sbom: .cache/tools/.ready $(BIN)/.serve
	.cache/tools/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
		--output-file sbom.cdx.json $(BIN)/python

.cache/tools/.ready:
	$(PYTHON) -m venv .cache/tools
	.cache/tools/bin/python -m pip install --quiet --disable-pip-version-check \
		'pip-audit==2.10.1' 'cyclonedx-bom==7.5.0'
	@touch $@

clean:
	rm -rf .venv .cache .data .*_cache *.egg-info

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Emaki needs Python 3.11 or newer; choose one with: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .venv

$(BIN)/.serve: $(BIN)/python pyproject.toml constraints.txt
	@echo "installing what serving needs into .venv (PyTorch is large; once)"
	$(PIP_INSTALL) --editable '.[serve]'
	@touch $@

$(BIN)/.dev: $(BIN)/python pyproject.toml constraints.txt
	@echo "installing what serving, testing and checking need into .venv (once)"
	$(PIP_INSTALL) --editable '.[dev]'
	@touch $@ $(BIN)/.serve
