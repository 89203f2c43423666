# `make` lists the targets. Each target creates the environment it needs, once.

# The Python to use; empty: the first suitable one of python3, 3.12, 3.11, 3.10.
PYTHON ?=
# More options for pip, such as --index-url for other builds of PyTorch.
PIP_ARGS ?=
# Options of `make stream`.
SOURCE ?= demo
OUT ?= runs/demo
MAX_FRAMES ?= 120
# Test processes: one per core, at most 8; each takes up to 2 GB of memory.
WORKERS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); [ $$n -gt 8 ] && echo 8 || echo $$n)
# More options for pytest.
PYTEST_ARGS ?=
# The scripts that `make bench` runs, and options for all of them.
BENCH ?= stream_efficiency startup memory
BENCH_ARGS ?=

ROBOT := .venv
TEST := .venv-test
FAST := .venv-fast
# These start streams, browsers or long recordings: `make test-fast` leaves them out.
NOT_FAST := runtime survey run_survey run_report run_review mcap benchmarks
MANIFESTS := pyproject.toml constraints.txt

PYTEST_OPTIONS = -p no:cacheprovider --numprocesses $(WORKERS) --dist worksteal
PYTEST = $(TEST)/bin/python -m pytest --durations=10 $(PYTEST_OPTIONS)

# Errors only; pip's own configuration stays in force.
PIP_INSTALL = -m pip install -qq --disable-pip-version-check -c constraints.txt $(PIP_ARGS)
# On a Jetson, OpenCV comes with the system, which a closed environment would hide.
ifeq ($(shell uname -m),aarch64)
VENV_ARGS := --system-site-packages
endif
# OpenVINO is faster than ONNX Runtime on these processors.
ROBOT_MB := 430
ifeq ($(shell uname -m),x86_64)
ROBOT_EXTRAS := [cpu]
ROBOT_MB := 610
endif

# $(call make_venv,FOLDER): creates the environment, again if its Python no longer runs.
define make_venv
	@$(1)/bin/python -c '' 2>/dev/null || { \
		python=$$(tools/find-python "$(PYTHON)") && \
		echo "==> Making the environment $(1) with $$python ($$($$python --version))" && \
		$$python -m venv --clear $(VENV_ARGS) $(1); }
endef

.DEFAULT_GOAL := help
.PHONY: help stream inspect test-fast test test-slow lint format bench clean

help: ## List the targets and the variables
	@echo "edgecrack: make TARGET [VARIABLE=value ...]"
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | column -t -s '|' 2>/dev/null \
		|| sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1: \2/p' Makefile
	@echo
	@echo "Variables:"
	@echo "  SOURCE=demo        what to stream: demo, camera:0, a video, a folder, rtsp://..."
	@echo "  OUT=runs/demo      folder for the results of stream; runs/demo-2 if it exists already"
	@echo "  MAX_FRAMES=120     number of frames"
	@echo "  PYTHON=python3.11  the Python to use (3.10 to 3.12); default: the first suitable one"
	@echo "  PIP_ARGS=...       more options for pip. On Linux, PyTorch from the default index brings"
	@echo "                     gigabytes of CUDA; without a GPU, run make test and make lint with"
	@echo "                     PIP_ARGS='--extra-index-url URL' with PyTorch's CPU index as URL"
	@echo "  WORKERS=4          test processes; 0: run all tests in one process"
	@echo "  PYTEST_ARGS=...    more options for pytest"
	@echo "  BENCH=memory       scripts in benchmarks/ to run; default: three of them"
	@echo "  BENCH_ARGS=...     more options for these scripts"

stream: $(ROBOT)/.installed ## Install without PyTorch and stream the demo
	@echo "==> Looking for cracks in '$(SOURCE)', at most $(MAX_FRAMES) frames"
	@said=$$($(ROBOT)/bin/edgecrack stream --source "$(SOURCE)" --out "$(OUT)" \
			--max-frames $(MAX_FRAMES)); \
		code=$$?; \
		[ -z "$$said" ] || printf '%s\n' "$$said"; \
		[ $$code -eq 0 ] || exit $$code; \
		folder=$$(printf '%s\n' "$$said" | sed -n 's/^results: //p'); \
		echo "==> Done. The results are in $$folder:"; \
		ls "$$folder" | head -n 20 | sed 's/^/      /'

inspect: $(ROBOT)/.reports ## Inspect the demo and write its map and report
	@echo "==> Inspecting '$(SOURCE)', at most $(MAX_FRAMES) frames"
	@$(ROBOT)/bin/edgecrack inspect "$(SOURCE)" --out "$(if $(filter runs/demo,$(OUT)),runs/inspection,$(OUT))" \
		--max-frames $(MAX_FRAMES)

test-fast: $(FAST)/.installed ## Install without PyTorch and run the tests that need nothing more
	@echo "==> Running the fast tests"
	@$(FAST)/bin/python -m pytest $(PYTEST_OPTIONS) --fast -m "not slow" -r f \
		$(NOT_FAST:%=--ignore=tests/%) $(PYTEST_ARGS)

test: $(TEST)/.installed ## Install everything and run all tests except the slow ones
	@echo "==> Running the tests"
	@$(PYTEST) -m "not slow" $(PYTEST_ARGS)

test-slow: $(TEST)/.installed ## Run the slow tests: whole runs, long outages
	@echo "==> Running the slow tests"
	@$(PYTEST) -m slow $(PYTEST_ARGS)

lint: $(TEST)/.installed ## Check style, types and imports
	@echo "==> Checking style (ruff), types (mypy) and imports (import-linter)"
	@$(TEST)/bin/ruff check
	@$(TEST)/bin/ruff format --check
	@$(TEST)/bin/mypy
	@$(TEST)/bin/lint-imports

format: $(TEST)/.installed ## Sort imports and format the code
	@$(TEST)/bin/ruff check --fix
	@$(TEST)/bin/ruff format

bench: $(TEST)/.installed ## Measure speed, start-up and memory on this machine
	@for script in $(BENCH); do \
		echo "==> benchmarks/$$script.py"; \
		$(TEST)/bin/python benchmarks/$$script.py $(BENCH_ARGS) || exit 1; \
	done

clean: ## Remove the environments and caches (never runs/)
	rm -rf $(ROBOT) $(TEST) $(FAST) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find edgecrack tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps are valid until the manifests change. All environments are editable installs, so a
# change to the code needs no new install.
$(ROBOT)/.installed: $(MANIFESTS)
	$(call make_venv,$(ROBOT))
	@echo "==> Installing what a robot needs, without PyTorch (about $(ROBOT_MB) MB on disk, a minute or two)"
	@$(ROBOT)/bin/python $(PIP_INSTALL) -e '.$(ROBOT_EXTRAS)'
	@touch $@

$(ROBOT)/.reports: $(ROBOT)/.installed
	@$(ROBOT)/bin/python $(PIP_INSTALL) -e '.[report]'
	@touch $@

$(FAST)/.installed: $(MANIFESTS)
	$(call make_venv,$(FAST))
	@echo "==> Installing for the fast tests, without PyTorch (about 500 MB on disk, half a minute)"
	@$(FAST)/bin/python $(PIP_INSTALL) -e '.[record,serve,report]' pytest pytest-xdist hypothesis tomli
	@touch $@

$(TEST)/.installed: $(MANIFESTS)
	$(call make_venv,$(TEST))
	@echo "==> Installing everything for tests: PyTorch, ONNX, TensorRT for RTX, linters (some minutes)"
	@$(TEST)/bin/python $(PIP_INSTALL) -e '.[train,export,quantize,cpu,rtx,record,serve,heic,maps,report,dev]'
	@touch $@
