# Everything that this repository can do. Works with GNU make 3.81, the one that macOS ships.
#
# Options:  PROFILE=quick|ci|paper   CORES=4   DEVICE=auto|cpu|cuda   PYTHON=python3.12   PAPER=A4|Letter   ID=a-figure
#           ON=slurm

PROFILE ?= ci
DEVICE ?= auto
ID ?=
CORES ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
PYTHON ?= python3
PAPER ?= A4
# Where jobs run, if not here: workflow/profiles/.
ON ?=
# Handed to Snakemake as it is, for example SNAKEMAKE="--default-resources slurm_account=mine".
SNAKEMAKE ?=

# Many containers set it. A chapter or a run is a process: without bytecode each compiles torch anew, for six seconds.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help book pdf figure study check test test-all links lab bench gpu env clean distclean check-options
.SUFFIXES:

BIN := .venv/bin
LOCKED := .venv/.locked
READY := .venv/.ready
BUILD = $(BIN)/python workflow/build.py --profile '$(PROFILE)' --device '$(DEVICE)' --cores '$(CORES)' --on '$(ON)' $(SNAKEMAKE)

help: ## list what can be made
	@echo "Gates as learning rates. Targets:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r target what; do \
	    printf '%-18s %s\n' "$$target" "$$what"; done
	@echo "Options (now): PROFILE=$(PROFILE) CORES=$(CORES) DEVICE=$(DEVICE)"
	@echo "Profiles: $$(sed -n 's/^\([a-z][a-z0-9_-]*\):.*/\1/p' profiles.yaml | tr '\n' ' ')"

book: check-options $(READY) ## run what has changed and build the book
	@$(BUILD)

pdf: check-options $(READY) ## bind the book into one PDF, on PAPER=A4 or Letter
	@$(BUILD) --pdf '$(PAPER)'

figure: check-options $(READY) ## make the figure ID=… again, and say how far it is from before
	@$(BUILD) --figure '$(ID)'

study: check-options $(READY) ## make the tables of a profile that is a study, such as PROFILE=thousand
	@$(BUILD) --study

# Three tiers, each with all of the one before; CONTRIBUTING.md says which is for what.
PYTEST = $(BIN)/python -m pytest -n $(CORES) --dist loadgroup

check: $(READY) ## a minute: lint, types, the library and the chapters' sources
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTEST) tests/lib tests/sources -m 'not slow and not weekly'

test: book ## all that the README promises, on the book, which is built first
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTEST) -m 'not weekly'

test-all: book pdf ## each page in every light, the PDF, fresh environments: a long while
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTEST)

links: book ## try every link to another host
	@$(BIN)/jupyter-book build --builder linkcheck --path-output _build/links .

.PHONY: compare
compare: $(READY) ## say what moved between another build and this one: WITH=path
	@$(BIN)/python workflow/compare.py '$(WITH)'

.PHONY: release-check
release-check: check-options $(READY) ## rehearse a release in a clean clone, before its tag is pushed
	@$(BIN)/python workflow/release.py --profile '$(PROFILE)' --cores '$(CORES)'

lab: $(READY) ## open the chapters in JupyterLab
	@$(BIN)/jupyter lab --LabApp.app_settings_dir=workflow/lab notebooks

bench: $(READY) ## time the library against its peers
	@$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(if $(PROTOCOLS),--protocols)

gpu: $(READY) ## test and time the library on a CUDA device, in minutes
	@$(BIN)/python -m benchmarks.gpu

env: $(READY) ## make the virtual environment only

# Torch stays as it is locked, since there are builds of it for one machine; TORCH=2.14.1 takes another.
TORCH ?= $(shell sed -n 's/^torch==//p' requirements.lock)
COMPILE := --upgrade --allow-unsafe --strip-extras --no-header --no-annotate --no-emit-index-url --no-emit-find-links
EXTRAS := $(patsubst %,--extra %,book experiments record symbolic test)

.PHONY: lock
lock: ## take the newest packages that pyproject.toml allows into requirements.lock
	@mkdir -p _build && echo 'torch==$(TORCH)' > _build/torch.txt
	@'$(PYTHON)' -m venv --clear _build/lock && _build/lock/bin/python -m pip install -qq pip-tools
	@_build/lock/bin/pip-compile -q $(COMPILE) $(EXTRAS) -c _build/torch.txt -o _build/packages.txt pyproject.toml
	@sed -e '/^gatelr/d' -e '/^#/d' -e '/^$$/d' -e 's/+cpu$$//' _build/packages.txt | LC_ALL=C sort -f > requirements.lock
	@git diff --stat -- requirements.lock

RESOLUTION ?= highest
# Of these an old version may have no wheel for a new Python, and would be compiled for an hour.
WHEELS := $(patsubst %,--only-binary %,matplotlib numpy pandas scikit-learn scipy statsmodels)

# What old and new packages warn of each other is not ours: here warnings are no errors.
.PHONY: versions
versions: ## the library's tests with other versions: PYTHON=python3.13, RESOLUTION=highest or lowest-direct
	@'$(PYTHON)' -m venv --clear _build/versions && _build/versions/bin/python -m pip install -qq uv
	@_build/versions/bin/uv pip install -q --python _build/versions --resolution '$(RESOLUTION)' $(WHEELS) -e '.[book,test]'
	@_build/versions/bin/uv pip list -q --python _build/versions | grep -E '^(torch|numpy|sympy|matplotlib|pandas|scipy) '
	@_build/versions/bin/python -m pytest -W default -n $(CORES) --dist loadgroup tests/lib -m 'not slow and not weekly'

clean: ## remove all that was made, but not .venv
	rm -rf _build artifacts book/generated notebooks/*.ipynb notebooks/drafts notebooks/.ipynb_checkpoints .snakemake
	rm -rf .hypothesis .benchmarks
	find . -path ./.venv -prune -o -type d \( -name __pycache__ -o -name '.*_cache' \) -prune -exec rm -rf {} +

distclean: clean ## remove .venv too
	rm -rf .venv lib/*.egg-info

# Before anything is installed: a wrong word should not cost two minutes.
check-options:
	@known=$$(sed -n 's/^\([a-z][a-z0-9_-]*\):.*/\1/p' profiles.yaml | tr '\n' ' '); \
	case " $$known" in *" $(PROFILE) "*) ;; *) \
	    echo "unknown profile '$(PROFILE)': PROFILE is one of $$known(profiles.yaml)" >&2; exit 2;; esac
	@case '$(DEVICE)' in auto|cpu|cuda) ;; *) \
	    echo "unknown device '$(DEVICE)': DEVICE is one of auto, cpu, cuda" >&2; exit 2;; esac
	@case '$(PAPER)' in A4|Letter) ;; *) \
	    echo "unknown paper '$(PAPER)': PAPER is one of A4, Letter" >&2; exit 2;; esac

# A stamp is written last, so that an environment that was interrupted is made again. Bytecode is left to the first import:
# half of the time went into compiling what nothing imports.
$(LOCKED): requirements.lock
	@command -v '$(PYTHON)' >/dev/null || { \
	    echo "there is no '$(PYTHON)' here: install Python 3.11 or newer, or say which with PYTHON=" >&2; exit 2; }
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "'$(PYTHON)' is $$('$(PYTHON)' --version 2>&1), expected 3.11 or newer: say which with PYTHON=python3.12" >&2; exit 2; }
	@'$(PYTHON)' -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "'$(PYTHON)' comes without its venv module: on Debian and Ubuntu run 'apt install python3-venv'" >&2; exit 2; }
	@echo "Making .venv from requirements.lock: some minutes, once."
	@'$(PYTHON)' -m venv --clear .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-compile -r requirements.lock
	@touch $(LOCKED)

$(READY): $(LOCKED) pyproject.toml
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)
