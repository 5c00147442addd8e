# The whole artifact. `make` alone lists the targets; README.md tells the story.

SYSTEM_PYTHON ?= python3
CORES := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
MAKEFLAGS += -j$(CORES)
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# One core for each notebook, as many notebooks side by side as there are cores: steady timings, the same bits. And no
# mathematics of one processor alone: a division by a square root, as in a clipped gradient, would start from its own
# approximation. XLA reads no flag behind what it does not take for one.
export XLA_FLAGS ?= --xla_cpu_enable_platform_dependent_math=false --xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1
export JAX_PLATFORMS ?= cpu
export OMP_NUM_THREADS ?= 1
export JUPYTER_PLATFORM_DIRS := 1
export PYDEVD_DISABLE_FILE_VALIDATION := 1
# Nobody's own settings change a figure, and a home that cannot be written does not matter.
export IPYTHONDIR := $(CURDIR)/build/ipython
export MPLCONFIGDIR := $(CURDIR)/build/matplotlib

# The same kernels on every x86-64 processor since 2013: OpenBLAS and NumPy would choose theirs by its instruction set.
ifeq (x86_64,$(shell uname -m))
export OPENBLAS_CORETYPE ?= Haswell
export NPY_DISABLE_CPU_FEATURES ?= X86_V4 AVX512_ICL AVX512_SPR
endif

# Programs that XLA has compiled, for all that follows: `make XLA_CACHE= …` does without. A size makes writing safe.
XLA_CACHE ?= $(CURDIR)/build/xla
ifneq (,$(XLA_CACHE))
export JAX_COMPILATION_CACHE_DIR ?= $(XLA_CACHE)
export JAX_COMPILATION_CACHE_MAX_SIZE ?= 4294967296
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS ?= 0.2
endif

# The active conda environment if it is the one of environment.yml, else a .venv.
ifeq (rtrl,$(CONDA_DEFAULT_ENV))
PYTHON := $(CONDA_PREFIX)/bin/python
ENV := build/.environment$(subst /,-,$(CONDA_PREFIX))
else
PYTHON := $(CURDIR)/.venv/bin/python
ENV := .venv/.complete
endif

NOTEBOOKS := $(sort $(basename $(notdir $(wildcard notebooks/[0-9]*.ipynb))))
SOURCES := $(shell find rtrl artifact -name '*.py') requirements.lock notebooks/tiers.toml
LAWS := $(wildcard tests/test_laws.py tests/test_cuts.py)
LONG := $(shell sed -n 's/^\[\(.*\)\.extended\]$$/\1/p' notebooks/tiers.toml)
MEMORY := $(if $(wildcard notebooks/05_long_memory.ipynb),build/extended/long_memory)
CONTROL := $(if $(wildcard notebooks/11_control.ipynb),build/extended/control)
TEXT := $(if $(wildcard notebooks/06_language.ipynb),build/extended/text)
SITE := $(ENV)-site
TEX := $(firstword $(foreach tool,latexmk tectonic,$(shell command -v $(tool) 2>/dev/null)))

# Beside other goals these two must have the folders to themselves.
ifneq (,$(filter clean test,$(MAKECMDGOALS)))
.NOTPARALLEL:
endif

.PHONY: help env figures test elsewhere lint bench smoke extended rehearse lab freeze paper site status clean

help: ## this list
	@echo "Targets (times on 2 cores):"
	@sed -n 's/^\([a-z]*\):.*## /  make \1:/p' Makefile | awk -F: '{printf "%-16s %s\n", $$1, $$2}'

env: $(ENV) $(if $(filter 1,$(CUDA)),$(ENV)-cuda) ## the Python environment, from requirements.lock; 2 minutes, once; CUDA=1 adds what an NVIDIA GPU needs
figures: $(NOTEBOOKS:%=build/paper/%.ipynb) paper/generated/numbers.tex ## every figure, table and number of the paper; 15 to 30 minutes, by the processor

test: $(ENV) ## every notebook against its reference outputs, and the unit tests; 35 to 80 minutes, by the processor
	$(PYTHON) -m pytest --nbval --nbval-current-env --nbval-kernel-startup-timeout 600 \
	  -n $(CORES) --dist loadfile --no-loadscope-reorder --durations=40 notebooks tests

elsewhere: $(ENV) ## what breaks pipelines on other machines: odd folders, clocks, kills, a full disk; 10 minutes
	$(PYTHON) -m pytest tests/elsewhere.py

lint: $(ENV) ## formatting, style and types; 1 minute
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m pyright --pythonpath $(PYTHON)

bench: $(ENV) ## time per step against floors and targets, into data/measured/; 10 minutes
	env -u XLA_FLAGS -u OMP_NUM_THREADS $(PYTHON) -m pytest benchmarks --benchmark-only --benchmark-quiet

# Here the question is whether everything runs: XLA compiles twice as fast when it optimises less.
smoke: export JAX_DISABLE_MOST_OPTIMIZATIONS := 1
smoke: export XLA_FLAGS := --xla_cpu_use_fusion_emitters=false $(XLA_FLAGS)
smoke: $(NOTEBOOKS:%=build/smoke/%.ipynb) ## every notebook on tiny parameters, into build/smoke/; 8 minutes the first time
extended: $(LONG:%=build/extended/%.ipynb) $(MEMORY) $(TEXT) $(CONTROL) $(if $(filter 1,$(CUDA)),build/extended/accelerator) $(if $(LAWS),build/extended/laws) ## the long studies, into data/measured/, and 20,000 examples of the two laws; 5 hours

build/extended/laws: $(LAWS) $(SOURCES) | $(ENV)
	RTRL_EXAMPLES=20000 $(PYTHON) -m pytest -n $(CORES) $(LAWS)
	@mkdir -p $(@D) && touch $@

build/extended/long_memory: $(SOURCES) | $(ENV)
	$(PYTHON) -m artifact.memory_study
	@mkdir -p $(@D) && touch $@

build/extended/text: $(SOURCES) | $(ENV)
	$(PYTHON) -m artifact.language.several
	$(PYTHON) -m artifact.language.mixed beginning whole whole_chunks
	$(if $(shell command -v zpaq),$(PYTHON) -m artifact.language.mixed source && $(PYTHON) -m artifact.language.programs,@echo "zpaq is not installed (Debian: zpaq); what was kept of all programs stays")
	@mkdir -p $(@D) && touch $@

build/extended/accelerator: $(SOURCES) | $(ENV)
	env -u JAX_PLATFORMS -u XLA_FLAGS $(PYTHON) -m artifact.cost.accelerator
	@mkdir -p $(@D) && touch $@

build/extended/control: $(SOURCES) | $(ENV)
	$(PYTHON) -m artifact.control.study
	@mkdir -p $(@D) && touch $@

rehearse: $(ENV) ## what comes out otherwise with another machine's rounding, or with SEED=1; as long as figures
	@$(PYTHON) -m artifact.rehearse $(if $(SEED),--seed $(SEED))

lab: $(ENV) ## JupyterLab, opened on the first notebook
	$(PYTHON) -m jupyterlab --notebook-dir notebooks --LabApp.default_url=/lab/tree/00_start_here.ipynb

freeze: figures ## execute what is stale and store the outputs in notebooks/; as long as figures
	@$(PYTHON) -m artifact.freeze

paper: $(if $(TEX),figures) ## build/paper.pdf, with latexmk or tectonic; figures, then 1 minute
ifeq (,$(TEX))
	@echo "error: the paper needs latexmk or tectonic, neither was found; install one (Debian: latexmk and texlive-latex-extra; conda: tectonic)" >&2; exit 1
else ifeq (latexmk,$(notdir $(TEX)))
	cd paper && $(TEX) -pdf -interaction=nonstopmode -halt-on-error -outdir=../build paper.tex
else
	cd paper && $(TEX) --outdir ../build paper.tex
endif

site: $(SITE) ## build/site from docs/, notebooks and figures as they are, checked in a browser if there is one; 2 minutes
	@$(PYTHON) -m artifact.site
	@NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --quiet --strict
	$(PYTHON) -m pytest -n $(CORES) tests/browser.py

status: $(ENV) ## which figure came from which inputs, and what is stale; 3 seconds
	@$(PYTHON) -m artifact.status

clean: ## remove build/; the environment and the committed outputs stay
	rm -rf build

# A notebook depends on the kept studies that bear its name.
.SECONDEXPANSION:
define TIER
build/$(1)/%.ipynb: notebooks/%.ipynb $$(SOURCES) $(2) | $$(ENV)
	@$$(PYTHON) -m artifact.execute $$* --tier $(1)
endef
$(eval $(call TIER,smoke,$$$$(wildcard data/measured/$$$$*_*)))
$(eval $(call TIER,paper,$$$$(wildcard data/measured/$$$$*_*)))
$(eval $(call TIER,extended))

# The ledger reads the claims of all other notebooks.
LEDGER := 20_claims
$(foreach tier,smoke paper,$(eval build/$(tier)/$(LEDGER).ipynb: $(patsubst %,build/$(tier)/%.ipynb,$(filter-out $(LEDGER),$(NOTEBOOKS)))))

# What each executed notebook published, so that a missing or altered output runs its notebook again.
-include $(NOTEBOOKS:%=build/paper/%.mk)

paper/generated/numbers.tex: $(NOTEBOOKS:%=build/paper/%.ipynb) paper/paper.tex
	@$(PYTHON) -m artifact.collect

.venv/.complete: requirements.lock
	@test -w . || { echo "error: cannot write into $(CURDIR); give yourself the right to, or clone into a folder of your own" >&2; exit 1; }
	@$(SYSTEM_PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "error: expected Python 3.11 or newer, got $$($(SYSTEM_PYTHON) --version 2>&1 | head -n 1); name a newer one: make SYSTEM_PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "making .venv from requirements.lock (2 minutes, once)"
	@$(SYSTEM_PYTHON) -m venv --clear .venv
	@$(call INSTALL,$(CURDIR)/.venv/bin/python)
	@touch $@

build/.environment%: requirements.lock
	@echo "completing the conda environment $(CONDA_PREFIX)"
	@$(call INSTALL,$(PYTHON))
	@mkdir -p build && touch $@

# What only a GPU or the site needs lies beside the rest, at versions that go with it.
$(ENV)-cuda: requirements-cuda.lock
$(SITE): docs/requirements.lock
$(ENV)-cuda $(SITE): $(ENV)
	@echo "adding what $(filter %.lock,$^) pins"
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r $(filter %.lock,$^)
	@touch $@

INSTALL = $(1) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock \
	&& $(1) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
