# Each target works alone on a fresh machine: it makes .venv first, where there is none.
# Another interpreter than the first of these: make demo PYTHON=/path/to/python
PYTHON ?= python3.13 python3.12 python3.11 python3
BIN := .venv/bin
READY := .venv/installed

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow check bench gpu docs planted statistics

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

demo: $(READY) ## compare two searches of 1-bit networks on three seeds, and write the page of it (about five minutes)
	$(BIN)/bnas-bench demo

test: $(READY) ## run the tests that a change needs at once
	$(BIN)/pytest -m "not slow" -n auto --dist worksteal

test-slow: $(READY) ## run the others: whole sweeps, more seeds, long fuzzing
	$(BIN)/pytest -m slow -n auto --dist worksteal -rP

check: $(READY) ## lint, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY) ## time the packed engine, search steps, the harness and reports; of it one file: ONLY=bench_layers
	$(BIN)/pytest tests/benchmarks -s -o python_files='bench_*.py' -k '$(ONLY)'

gpu: $(READY) ## try and time a GPU, in ten minutes; writes docs/gpu/HARDWARE.json
	$(BIN)/python scripts/gpu.py

docs: $(READY) ## write docs/matrix.md, docs/papers.md and docs/audit.md, and the site in build/site
	$(BIN)/python -c 'from bnas_bench.plugins.matrix import matrix; print(matrix(), end="")' > docs/matrix.md.new
	$(BIN)/bnas-bench papers --markdown > docs/papers.md.new
	$(BIN)/bnas-bench audit --markdown > docs/audit.md.new
	for page in matrix papers audit; do mv docs/$$page.md.new docs/$$page.md; done
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

planted: $(READY) ## search the planted tasks with every method, in some twenty minutes; writes docs/planted.md
	$(BIN)/python -c 'from bnas_bench.plugins.planted_page import planted_page; print(planted_page(), end="")' \
		> docs/planted.md.new
	mv docs/planted.md.new docs/planted.md

statistics: $(READY) ## simulate the error rates of the statistics, in two minutes; writes docs/statistics.md
	$(BIN)/python -c 'from bnas_bench.analysis.error_rates import statistics_page; print(statistics_page(), end="")' \
		> docs/statistics.md.new
	mv docs/statistics.md.new docs/statistics.md

$(READY): pyproject.toml
	@for python in $(PYTHON); do \
		$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		echo "making .venv with $$python; the first time this downloads torch"; \
		$$python -m venv .venv; \
		exit; \
	done; \
	echo "no Python >= 3.11 found (tried: $(PYTHON)): install one, or name one with PYTHON=" >&2; \
	exit 1
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
