# Each target does all its own set-up, in .venv; a second run starts at once. GNU make 3.81 (macOS) is enough.

VENV := .venv
PY := $(VENV)/bin/python
PIP_INSTALL := $(PY) -m pip --disable-pip-version-check --quiet install --constraint constraints.txt
SETUP_FILES := pyproject.toml constraints.txt
ARGS :=
SEEDS := 50

.DEFAULT_GOAL := help
.PHONY: help lab demo test lint compat chaos bench bench-quick bench-memory bench-faults bench-train bench-ps bench-ps-scale soak-ps binder-check lectures screenshots labextension clean

help:
	@echo "make lab            JupyterLab on the start notebook        (ARGS=\"--no-browser\" goes to JupyterLab)"
	@echo "make demo           the start notebook without a browser: prints its claims, writes out/00-start.html"
	@echo "make test           every test                              (ARGS=\"-k shuffle\" goes to pytest)"
	@echo "make lint           ruff and mypy"
	@echo "make compat         the same programs on PySpark and on sparklab: results, layouts, job counts"
	@echo "make bench-quick    log mining, word count, sort and tiny jobs against PySpark, dask.bag and plain processes"
	@echo "make bench          all workloads in full size (25 minutes), how cost grows, what being watched costs: reports in out/"
	@echo "make bench-memory   shuffles of four times the executors' memory, and what the executors took"
	@echo "make bench-faults   what a death costs beyond the recomputation; memory over 2,000 jobs"
	@echo "make bench-train    trainers against Vowpal Wabbit and scikit-learn at equal held-out loss; jobs beside training"
	@echo "make bench-ps       the parameter server against a Ray actor and raw sockets"
	@echo "make bench-ps-scale 10^9 dense and 10^8 sparse keys on two servers, memory per key (7 GB; ARGS=\"--dense 1000000\")"
	@echo "make soak-ps        random deaths, arrivals, splits and merges under a bad network, for 600 s from seed 0 (ARGS=\"SECONDS SEED\")"
	@echo "make binder-check   binder/'s steps in a fresh environment, on one core and 2 GB"
	@echo "make lectures       the lectures without a browser, their recorded runs written anew"
	@echo "make screenshots    pictures of real runs, light, dark and grey: out/screenshots, and the README's (needs chromium)"
	@echo "make labextension   the JupyterLab extension's bundle from its source (needs node and npm)"
	@echo "make chaos          random programs under random faults       (SEEDS=500 says how many)"
	@echo "make clean          removes what the targets above have made, .venv too"

lab: $(VENV)/.stamp-run
	$(PY) -m sparklab lab $(ARGS)

demo: $(VENV)/.stamp-run
	$(PY) -m sparklab demo $(ARGS)

test: $(VENV)/.stamp-test
	$(PY) -m pytest $(ARGS)

lint: $(VENV)/.stamp-lint
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy --strict sparklab

# needs Java 17
compat: $(VENV)/.stamp-bench
	$(PY) -m tests.compat $(ARGS)

bench-train: $(VENV)/.stamp-bench
	$(PY) -m tests.benchmarks.train $(ARGS)

# the parameter server against a Ray actor and raw sockets
# (ARGS="--sparse-keys 100000000" holds that many keys: 5 GB)
bench-ps: $(VENV)/.stamp-bench
	$(PY) -m tests.benchmarks.ps $(ARGS)

bench-ps-scale: $(VENV)/.stamp-test
	$(PY) -m tests.benchmarks.ps_scale $(ARGS)

soak-ps: $(VENV)/.stamp-test
	$(PY) -m tests.ps.soak $(if $(ARGS),$(ARGS),600)

# bench-quick, and bench-NAME for each other benchmark of tests/benchmarks
bench-%: $(VENV)/.stamp-bench
	$(PY) -m tests.benchmarks $* $(ARGS)

bench-quick: $(VENV)/.stamp-bench
	$(PY) -m tests.benchmarks quick $(ARGS)

bench: $(VENV)/.stamp-bench
	$(PY) -m tests.benchmarks.whole $(ARGS)

bench-memory: $(VENV)/.stamp-run
	$(PY) -m tests.benchmarks.memory $(ARGS)

bench-faults: $(VENV)/.stamp-test
	$(PY) -m tests.benchmarks.faults $(ARGS)

chaos: $(VENV)/.stamp-test
	$(PY) -m tests.chaos $(SEEDS) $(ARGS)

binder-check: $(VENV)/.stamp-run
	$(PY) binder/check.py $(ARGS)

# Each lecture without a browser; what its run was, as a journal and as a page, stands in notebooks/recorded.
lectures: $(VENV)/.stamp-run
	@set -e; for lecture in notebooks/0[1-9]-*.ipynb; do \
	  $(PY) -m sparklab demo --notebook $$lecture --record notebooks/recorded $(ARGS); done

# The same runs in a JupyterLab, photographed; the README's pictures stand in notebooks/images.
screenshots: $(VENV)/.stamp-test
	$(PY) -m tests.browser.picture $(ARGS)

# The bundle is committed, so that nobody else needs node; a test builds it again and compares.
labextension: $(VENV)/.stamp-run
	cd extensions/labextension && npm ci --ignore-scripts --no-fund --no-audit && \
	  JUPYTERLAB_STAGING="$$(../../$(PY) -c 'import jupyterlab, pathlib; print(pathlib.Path(jupyterlab.__file__).parent / "staging")')" \
	  npm run build

clean:
	rm -rf $(VENV) out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find sparklab tests binder -name __pycache__ -type d -prune -exec rm -rf {} +

# --- set-up: .venv, then one stamp for each set of packages -------------------------------------------------

# An environment whose Python is gone or too old (the system moved on) is made anew.
$(PY):
	@set -e; \
	for candidate in "$(PYTHON)" python3.11 python3 python3.12 python3.13 python; do \
	  [ -n "$$candidate" ] || continue; \
	  "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
	  echo "Making $(VENV) with $$candidate ($$($$candidate --version 2>&1))"; \
	  if "$$candidate" -m venv --clear $(VENV); then exit 0; fi; \
	  echo "$$candidate cannot make environments; trying the next one." >&2; \
	done; \
	rm -rf $(VENV); \
	echo "Making $(VENV), the environment that everything here runs in." >&2; \
	echo "Found: no Python 3.11 or newer that can make one (tried python3.11, python3, python3.12, python3.13)." >&2; \
	echo "To do: install Python 3.11 (on Debian with its python3-venv), or name yours: make PYTHON=/path/to/python3" >&2; \
	exit 1

$(VENV)/.stamp-run: $(PY) $(SETUP_FILES)
	@echo "Installing sparklab and what it needs into $(VENV) (the first time takes a minute or two)"
	@$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/.stamp-test: $(PY) $(SETUP_FILES)
	@echo "Installing sparklab and what its tests need into $(VENV) (the first time takes a minute or two)"
	@$(PIP_INSTALL) --editable '.[test]'
	@touch $@ $(VENV)/.stamp-run

$(VENV)/.stamp-lint: $(PY) $(SETUP_FILES)
	@echo "Installing sparklab and the linters into $(VENV) (the first time takes a minute or two)"
	@$(PIP_INSTALL) --editable '.[lint,test]'
	@touch $@ $(VENV)/.stamp-run $(VENV)/.stamp-test

$(VENV)/.stamp-bench: $(PY) $(SETUP_FILES)
	@echo "Installing sparklab and what it is compared with into $(VENV) (the first time takes a few minutes)"
	@$(PIP_INSTALL) --editable '.[bench]'
	@touch $@ $(VENV)/.stamp-run
