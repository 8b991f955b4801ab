# poolcast: every target brings the environment it needs (.venv, from the hash-pinned locks) and then runs one thing.
BIN := .venv/bin
export PYTHON RECORDING DUMP_BIN FOLDER
# Where it is set, each process of ours compiles the 1,700 modules that it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo up test bench soak reference lock clean-env audit screenshots

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: ## run the whole loop once: simulated pools, or a recording with RECORDING=DIR
	@scripts/bootstrap.sh runtime
	@$(BIN)/poolcast demo $(if $(RECORDING),--recording "$$RECORDING")

up: ## start PostgreSQL, MLflow and Dagster on loopback; Ctrl-C stops them
	@scripts/bootstrap.sh runtime
	@exec $(BIN)/poolcast up

test: ## run every check: ruff, mypy, import-linter, pytest with doctests
	@scripts/bootstrap.sh test
	@echo '== ruff check'
	@$(BIN)/ruff check .
	@echo '== ruff format'
	@$(BIN)/ruff format --check .
	@echo '== mypy'
	@$(BIN)/mypy
	@echo '== import-linter'
	@$(BIN)/lint-imports
	@echo '== pytest'
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

audit: ## look up every pinned package in PyPI's list of known vulnerabilities
	@scripts/bootstrap.sh runtime
	@scripts/audit.sh

screenshots: ## take the pictures of docs/ui.md anew, of what `make demo` made
	@scripts/bootstrap.sh test
	@PICTURES_INTO=docs/images PICTURES_OF=data $(BIN)/python -m pytest -q tests/ui

bench: ## measure the whole beside what people would use instead; writes docs/benchmarks.md
	@scripts/bootstrap.sh test
	@$(BIN)/python benchmarks/whole.py --write docs $(if $(DUMP_BIN),--dump-bin "$$DUMP_BIN")

soak: ## run everything for 48 hours of a fast market, disturbed on purpose (about five hours)
	@scripts/bootstrap.sh test
	@$(BIN)/python -m benchmarks.soak "$${FOLDER:-data/soak}"

reference: ## write the pages of docs/reference that are made from the code
	@scripts/bootstrap.sh runtime
	@$(BIN)/python scripts/reference.py

lock: ## resolve pyproject.toml anew into requirements.lock and requirements-test.lock
	@scripts/bootstrap.sh runtime
	@scripts/lock.sh

clean-env: ## remove .venv
	@rm -rf .venv
