# `make` alone lists what there is. Every target sets up what it needs, in .venv.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:

# The first interpreter that is new enough; `make PYTHON=…` chooses another.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo "$$python" && break; done)
PORT ?= 8000
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
# Empty files that say which parts of pyproject.toml are installed, and when.
BASE := $(VENV)/.installed
TEST := $(VENV)/.installed-test
PIP := $(BIN)/python -m pip --disable-pip-version-check install
LOG := build/pytest.log
# ASYNC114 wants a list of every function that a nursery can start. Those from 900 on are off by
# default, which naming any other would end.
UNASKED := ASYNC114,ASYNC9

# What `make test` runs, in this order.
CHECKS := lint types unit prove wheel

say = @printf '\n== %s\n' "$(1)"

.PHONY: help serve test lint types unit wheel prove bench docs format programs clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

serve: $(BASE) ## serve rooms and the chat page (PORT=8000, HOST=127.0.0.1)
	@exec $(BIN)/roomactors serve --port $(PORT) $(if $(HOST),--host $(HOST))

test: $(CHECKS) ## run every check; the last line is pytest's summary
	$(call say,all checks passed; pytest said:)
	@tail -n 1 $(LOG)

lint: $(TEST) ## check style: ruff and flake8-async
	$(call say,ruff)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(call say,flake8-async)
	$(BIN)/flake8-async --disable $(UNASKED) $$(find roomactors -name '*.py')

types: $(TEST) ## check types: mypy --strict
	$(call say,mypy --strict)
	$(BIN)/mypy --strict

unit: $(TEST) programs ## run the tests with branch coverage
	$(call say,pytest)
	@mkdir -p $(dir $(LOG))
	@$(BIN)/coverage erase
	PYTHONUNBUFFERED=1 $(BIN)/coverage run -m pytest -n $(WORKERS) | tee $(LOG)
	$(call say,coverage)
	@$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
	$(call say,coverage of core and protocol: all of it)
	$(BIN)/coverage report --include='roomactors/core/*,roomactors/protocol/*' --fail-under=100

wheel: $(TEST) ## build the wheel, install it into an empty environment, serve from it
	$(call say,the wheel)
	$(BIN)/python -m tests.wheel.check_wheel

prove: $(TEST) ## break each promise on purpose, and see its test fail
	$(call say,one-line patches that must each be caught)
	$(BIN)/python -m tests.prove

bench: $(TEST) ## measure, print a table and draw it
	$(call say,benchmarks)
	$(BIN)/python -m tests.benchmarks

docs: $(TEST) ## write the generated pages of docs anew
	$(BIN)/python -m tests.docs.generate
	$(BIN)/python -m tests.prove --write

format: $(TEST) ## format the code, and mend what ruff can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

programs: # what the tests drive, and what they make certificates with
	@missing=; \
	command -v chromium >/dev/null || missing+=" chromium"; \
	command -v chromedriver >/dev/null || missing+=" chromium-driver"; \
	command -v curl >/dev/null || missing+=" curl"; \
	command -v openssl >/dev/null || missing+=" openssl"; \
	[ -z "$$missing" ] || .ci/install-debian $$missing

clean: ## remove all that is not source, the environment too
	rm -rf $(VENV) build dist .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	@[ -n '$(PYTHON)' ] || { echo 'Python 3.11 or newer is needed, and none was found.' >&2; exit 1; }
	$(call say,a virtual environment in $(VENV), with $(PYTHON))
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || .ci/install-debian python3-venv
	$(PYTHON) -m venv $(VENV)

$(BASE): pyproject.toml | $(BIN)/python
	$(call say,installing roomactors)
	$(PIP) --editable .
	@touch $@

$(TEST): pyproject.toml | $(BIN)/python
	$(call say,installing roomactors with what its tests and benchmarks need)
	$(PIP) --editable '.[all,test,dev,bench]'
	@touch $@ $(BASE)
