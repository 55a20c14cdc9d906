# make run: the main job on a fresh machine.  make test: the tests.  make ui: the Dagster UI.
.DEFAULT_GOAL := help
.PHONY: docs help setup run test test-all lint ui validators litellm clean
VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.installed
EXTRAS := $(VENV)/.extras
RECIPE ?= review_sentiment
WORKERS := -n auto --dist loadgroup --no-loadscope-reorder
export TOKENIZERS_PARALLELISM = false
PIP := $(PYTHON) -m pip install --disable-pip-version-check --progress-bar on

help: ## show these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## make .venv from the lock file (constraints.txt)

$(STAMP): constraints.txt pyproject.toml
	test -x $(PYTHON) || python3 -m venv $(VENV)
	$(PIP) -q "$$(grep '^pip==' constraints.txt)"
	$(PIP) -q "$$(grep '^torch==' constraints.txt)"
	$(PIP) -q -c constraints.txt -e '.[dev]'
	touch $@

$(EXTRAS): $(STAMP)
	$(PIP) -q -c constraints.txt -e '.[dev,pii,noise,language,sql,endpoint,gguf,compressed-tensors,onnx,mlx]'
	touch $@

run: setup ## run a recipe's chain (RECIPE=review_sentiment)
	$(VENV)/bin/supply-chain run $(RECIPE)

validators: setup ## KServe's models, which the tests of its compiler use if they are there
	$(PIP) -q --no-deps --target .validators kserve==0.21.0

litellm: ## LiteLLM's proxy in an environment of its own (it asks for another huggingface_hub), for the plug-in
	python3 -m venv .litellm
	.litellm/bin/pip install -q 'litellm[proxy]==1.106.2' numpy safetensors rfc8785 fsspec filelock pydantic-settings cronsim scipy

ui: setup ## open the assets and runs in the Dagster UI on port 3000
	$(VENV)/bin/supply-chain ui

docs: setup ## build the documentation site into .site
	$(PIP) -q -c constraints.txt -e '.[docs]'
	$(VENV)/bin/mkdocs build

lint: setup ## ruff and mypy
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

test: $(EXTRAS) lint ## lint, types and the tests
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest $(WORKERS) -m "not slow"

test-all: $(EXTRAS) lint ## the slow tests, too
	$(PIP) -q --no-deps executorch==1.5.1 torchao==0.18.0 ruamel.yaml==0.19.1
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest $(WORKERS)

clean: ## remove everything that was made here, but not .venv
	rm -rf .supply_chain
