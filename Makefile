# `make` alone lists what there is. Each target makes the environment it needs, once.

# Which Python to use; empty: the first of python3, 3.12, 3.11, 3.10 that runs and fits.
PYTHON ?=
# More options for pip, such as --index-url to take PyTorch's builds from another index.
PIP_ARGS ?=
# Options of `make stream`.
SOURCE ?= demo
OUT ?= runs/demo
MAX_FRAMES ?= 120
# How many processes share the tests: one per core, of which each takes up to 2 GB of memory.
WORKERS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); [ $$n -gt 8 ] && echo 8 || echo $$n)
# More options for pytest.
PYTEST_ARGS ?=
# The scripts that `make bench` runs, and options that all of them know.
BENCH ?= stream_efficiency startup memory
BENCH_ARGS ?=

ROBOT := .venv
TEST := .venv-test
MANIFESTS := pyproject.toml constraints.txt

# The tests of a file stay together as far as the workers are busy without that.
PYTEST = $(TEST)/bin/python -m pytest -p no:cacheprovider --durations=10 \
	--numprocesses $(WORKERS) --dist worksteal

# Errors only: pip's own configuration stays in force, its chatter does not.
PIP_INSTALL = -m pip install -qq --disable-pip-version-check -c constraints.txt $(PIP_ARGS)
# On a Jetson, OpenCV comes with the system, and a closed environment would not see it.
ifeq ($(shell uname -m),aarch64)
VENV_ARGS := --system-site-packages
endif
# OpenVINO is faster than ONNX Runtime on these processors.
ROBOT_MB := 430
ifeq ($(shell uname -m),x86_64)
ROBOT_EXTRAS := [cpu]
ROBOT_MB := 610
endif

# $(call make_venv,FOLDER): the folder's environment, made anew where its Python no longer runs.
define make_venv
	@$(1)/bin/python -c '' 2>/dev/null || { \
		python=$$(tools/find-python "$(PYTHON)") && \
		echo "==> Making the environment $(1) with $$python ($$($$python --version))" && \
		$$python -m venv --clear $(VENV_ARGS) $(1); }
endef

.DEFAULT_GOAL := help
.PHONY: help stream inspect test test-slow lint format bench clean

help: ## List the targets and the variables
	@echo "edgecrack: make TARGET [VARIABLE=value ...]"
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | column -t -s '|' 2>/dev/null \
		|| sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1: \2/p' Makefile
	@echo
	@echo "Variables:"
	@echo "  SOURCE=demo        what to stream: demo, camera:0, a video, a folder, rtsp://..."
	@echo "  OUT=runs/demo      where the results of stream go; runs/demo-2 where some are there already"
	@echo "  MAX_FRAMES=120     after how many frames to stop"
	@echo "  PYTHON=python3.11  the Python to use (3.10 to 3.12); else the first that fits"
	@echo "  PIP_ARGS=...       more options for pip. On Linux, the ordinary index's PyTorch brings"
	@echo "                     gigabytes of CUDA; without a GPU, give make test and make lint"
	@echo "                     PIP_ARGS='--extra-index-url URL' with PyTorch's CPU index as URL"
	@echo "  WORKERS=4          how many processes share the tests; 0: one after the other, in this one"
	@echo "  PYTEST_ARGS=...    more options for pytest"
	@echo "  BENCH=memory       which of benchmarks/*.py to run; else three of them"
	@echo "  BENCH_ARGS=...     more options for the scripts named by BENCH"

stream: $(ROBOT)/.installed ## Install for running only (no PyTorch) and stream the demo
	@echo "==> Looking for cracks in '$(SOURCE)', at most $(MAX_FRAMES) frames"
	@said=$$($(ROBOT)/bin/edgecrack stream --source "$(SOURCE)" --out "$(OUT)" \
			--max-frames $(MAX_FRAMES)); \
		code=$$?; \
		[ -z "$$said" ] || printf '%s\n' "$$said"; \
		[ $$code -eq 0 ] || exit $$code; \
		folder=$$(printf '%s\n' "$$said" | sed -n 's/^results: //p'); \
		echo "==> Done. The results are in $$folder:"; \
		ls "$$folder" | head -n 20 | sed 's/^/      /'

inspect: $(ROBOT)/.reports ## Inspect the demo, and write its map and report
	@echo "==> Inspecting '$(SOURCE)', at most $(MAX_FRAMES) frames"
	@$(ROBOT)/bin/edgecrack inspect "$(SOURCE)" --out "$(if $(filter runs/demo,$(OUT)),runs/inspection,$(OUT))" \
		--max-frames $(MAX_FRAMES)

test: $(TEST)/.installed ## Install everything and run the tests but the slow ones
	@echo "==> Running the tests"
	@$(PYTEST) -m "not slow" $(PYTEST_ARGS)

test-slow: $(TEST)/.installed ## The tests that take longest: whole runs, long outages
	@echo "==> Running the slow tests"
	@$(PYTEST) -m slow $(PYTEST_ARGS)

lint: $(TEST)/.installed ## Check style, types and imports
	@echo "==> Checking style (ruff), types (mypy) and imports (import-linter)"
	@$(TEST)/bin/ruff check
	@$(TEST)/bin/ruff format --check
	@$(TEST)/bin/mypy
	@$(TEST)/bin/lint-imports

format: $(TEST)/.installed ## Put imports and layout in order
	@$(TEST)/bin/ruff check --fix
	@$(TEST)/bin/ruff format

bench: $(TEST)/.installed ## Measure speed, start-up and memory on this machine
	@for script in $(BENCH); do \
		echo "==> benchmarks/$$script.py"; \
		$(TEST)/bin/python benchmarks/$$script.py $(BENCH_ARGS) || exit 1; \
	done

clean: ## Remove the environments and caches (never runs/)
	rm -rf $(ROBOT) $(TEST) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find edgecrack tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps hold until the manifests change. Both environments read the code from this folder,
# so a change to the code needs no new install.
$(ROBOT)/.installed: $(MANIFESTS)
	$(call make_venv,$(ROBOT))
	@echo "==> Installing what a robot needs, without PyTorch (about $(ROBOT_MB) MB on disk, a minute or two)"
	@$(ROBOT)/bin/python $(PIP_INSTALL) -e '.$(ROBOT_EXTRAS)'
	@touch $@

$(ROBOT)/.reports: $(ROBOT)/.installed
	@$(ROBOT)/bin/python $(PIP_INSTALL) -e '.[report]'
	@touch $@

$(TEST)/.installed: $(MANIFESTS)
	$(call make_venv,$(TEST))
	@echo "==> Installing everything for tests: PyTorch, ONNX, TensorRT for RTX, linters (some minutes)"
	@$(TEST)/bin/python $(PIP_INSTALL) -e '.[train,export,quantize,cpu,rtx,record,serve,heic,maps,report,dev]'
	@touch $@
