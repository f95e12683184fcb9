# Everything a person types. `make demo` and `make test` set up what they need first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
UV     := uv==0.13.8

# Every process compiles what it imports anew without bytecode: a second of each start.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-kafka test-clients check format docs dashboards lock benchmark clean

demo: $(READY)
	$(BIN)/spendstream up

# Three at a time on two cores: a quarter of the time tests wait for what they have started.
test: $(READY)
	$(BIN)/pytest -n 3 --dist loadgroup -m "not kafka and not slow"

test-kafka: $(READY)
	$(BIN)/pytest -m "kafka or slow"

test-clients: $(READY)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .cache/clients
	$(BIN)/uv pip install --quiet --python .cache/clients/bin/python -r tests/integration/clients/requirements.txt
	GATEWAY_PYTHON=$(CURDIR)/$(BIN)/python .cache/clients/bin/python -m pytest -W default \
	    --confcutdir=tests/integration/clients tests/integration/clients

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python docs/generate.py --check
	$(BIN)/python -m dashboards.grafana --check

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(READY)
	$(BIN)/python docs/generate.py

dashboards: $(READY)
	$(BIN)/python -m dashboards.grafana

benchmark: $(READY)
	$(BIN)/python -m benchmarks.pipeline
	$(BIN)/python -m benchmarks.anomalies

lock:
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --group dev \
	    --extra semantic --extra tracing \
	    --custom-compile-command "make lock" pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .cache

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "spendstream needs Python 3.11 or newer, found %d.%d: set PYTHON=/path/to/python3.11" % sys.version_info[:2])'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(UV)
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --require-hashes -r requirements.lock
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
