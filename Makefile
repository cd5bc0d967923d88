# make demo: the main job on the miniature world. make test: the tests. Both set up .venv themselves.
PYTHON := .venv/bin/python
ARGS ?=
EXTRAS ?= cpu,dev
WORKERS ?= 2
comma := ,
STAMP = .venv/.installed-$(subst $(comma),-,$(EXTRAS))
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: setup demo test test-all lint

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@python3 -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else f"error: Python 3.11 to 3.13 is needed, python3 is {sys.version.split()[0]}")'
	test -x $(PYTHON) || python3 -m venv .venv
	$(PYTHON) -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[$(EXTRAS)]'
	touch $@

demo: $(STAMP)
	$(PYTHON) scripts/demo.py $(ARGS)

test: $(STAMP)
	$(PYTHON) -m pytest -n $(WORKERS) --dist worksteal -m "not slow" $(ARGS)

test-all: $(STAMP)
	$(PYTHON) -m pytest $(ARGS)

lint: $(STAMP)
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
