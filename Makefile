# Peyda's commands. Each makes .venv and installs what it needs first; a second run is quick.
# PYTHON=/path/to/python3.12 chooses the Python that .venv is made with (3.11 or later).

SHELL := bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo test setup check format docs lock clean

RUN := .venv/bin/python
PHOTOS ?= samples
SERVE ?= 1
PORT ?=
PYTEST_ARGS ?=
export PYTHON PHOTOS PORT

help: ## Show these commands
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

demo: .venv/.ready-demo ## Find sample photographs in Persian, then serve the page (PHOTOS=DIR|online SERVE=0 PORT=8000)
	@PEYDA_HOME="$${PEYDA_HOME:-demo-gallery}" $(RUN) -m peyda demo --photos "$$PHOTOS" \
		$(if $(PORT),--port "$$PORT") $(if $(filter 0 no false,$(SERVE)),--no-serve)

test: .venv/.ready-test ## Run all tests (PYTEST_ARGS="tests/unit -k text")
	$(RUN) -m pytest $(PYTEST_ARGS)

setup: .venv/.ready-setup ## Make .venv with everything for developing, training and measuring

check: .venv/.ready-check ## Lint, format, types, import rules, documentation; no tests
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(RUN) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()' --no-cache
	$(RUN) scripts/check_docs.py

format: .venv/.ready-check ## Format the code and fix what lint can fix
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

docs: .venv/.ready-check ## Write docs/cli.md anew from the commands' own help
	$(RUN) scripts/check_docs.py --write

lock: .venv/.ready-setup ## Write requirements/*.txt anew from pyproject.toml (needs uv)
	scripts/lock.sh

clean: ## Remove .venv, caches and the demo gallery
	rm -rf .venv build dist demo-gallery .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.ready-%: requirements/%.txt requirements/torch.txt pyproject.toml scripts/environment.sh
	@scripts/environment.sh $*
