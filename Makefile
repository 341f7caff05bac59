PYTHON ?= python3
BIN := .venv/bin
IMAGE := formulacode-data
CODE := fc_assets fc_resources fc_sensors tests benchmarks
GITHUB_SCHEMA := 15.26.1
GITHUB_SCHEMA_SHA256 := 053e74249dafce2118fd9b7ae499b067d57c5f910c57745699ac45108bc68d1e
# The newest of each that ran under node 20 when it was chosen, whatever its `engines` say.
AGENTS := @anthropic-ai/claude-code@2.1.330 @openai/codex@0.169.0 @google/gemini-cli@0.61.0 \
	@qwen-code/qwen-code@0.24.4

.PHONY: help setup demo test lint format ui image requirements clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.installed  ## Create .venv with the locked dependencies and this project in it

# pip checks the hash of uv, then uv those of everything else in a fraction of the time.
.venv/.installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed; name one with: make $(MAKECMDGOALS) PYTHON=/path/to/python3")'
	@$(PYTHON) -m venv .venv
	@awk '/^uv==/ { on = 1 } on { print } on && !/\\$$/ { exit }' requirements.txt > .venv/uv.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

demo: setup  ## Run the whole pipeline on the sample that ships with it
	$(BIN)/fc-data demo

ui: setup  ## Open Dagster's web interface
	$(BIN)/fc-data ui

test: setup lint .venv/github.graphql .venv/agents/.installed  ## Lint, check types, run every test
	$(BIN)/basedpyright
	$(BIN)/pytest --numprocesses 2 --dist loadfile

# GitHub's own schema, which the tests' loopback GitHub executes; they are skipped without it.
.venv/github.graphql: Makefile | .venv/.installed
	@if ! command -v npm >/dev/null; then \
		echo "npm is not installed: tests that need GitHub's GraphQL schema are skipped"; exit; \
	fi; \
	set -e; scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; \
	npm pack --loglevel error --cache "$$scratch/cache" --pack-destination "$$scratch" \
		@octokit/graphql-schema@$(GITHUB_SCHEMA) >/dev/null; \
	archive="$$scratch/octokit-graphql-schema-$(GITHUB_SCHEMA).tgz"; \
	echo "$(GITHUB_SCHEMA_SHA256)  $$archive" | sha256sum --check --quiet; \
	tar -xzf "$$archive" -C "$$scratch" package/schema.graphql; \
	mv "$$scratch/package/schema.graphql" $@; touch $@

# The coding agents' own tools, which tests drive; without them those tests are skipped. No script
# of a package runs but claude's, which puts the program for this machine in its place.
.venv/agents/.installed: Makefile | .venv/.installed
	@if ! command -v npm >/dev/null; then \
		echo "npm is not installed: tests of the coding agents are skipped"; exit; \
	fi; \
	set -e; scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; \
	rm -rf .venv/agents; mkdir .venv/agents; \
	npm install --prefix .venv/agents --cache "$$scratch" --no-audit --no-fund --no-package-lock \
		--ignore-scripts --loglevel error $(AGENTS); \
	cd .venv/agents/node_modules/@anthropic-ai/claude-code; node install.cjs; touch $(abspath $@)

lint: setup  ## Check format and lint
	$(BIN)/ruff format --check
	$(BIN)/ruff check

format: setup  ## Format, and fix what lint can fix
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

# From a tar stream of what git does not ignore, so that neither data nor tokens.env are sent.
image:  ## Build the image that deploy/compose.yaml runs; BASE= names another Python image
	git ls-files -z --cached --others --exclude-standard | tar --null --files-from - --create \
		| docker build --file deploy/Dockerfile --tag $(IMAGE) \
		$(if $(BASE),--build-arg BASE=$(BASE)) $(if $(TARGET),--target $(TARGET)) -

requirements: setup  ## Lock requirements.txt again from pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --all-extras \
		--no-emit-index-url --no-emit-find-links --no-header --upgrade pyproject.toml -o requirements.txt

clean:  ## Remove what make and the tools created, but no data
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
