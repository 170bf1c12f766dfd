# make demo: the main job. make test: the tests. Both set up .venv themselves.
PYTHON ?= python3
BIN := .venv/bin
RUNTIME := .venv/.runtime
DEV := .venv/.dev

# The tests start dozens of processes: where the environment forbids kept bytecode, each would compile all of it anew.
test verify: export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test check verify bench install lock clean

demo: $(RUNTIME)
	$(BIN)/nbo demo

test: $(DEV)
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not long"

check: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/basedpyright

verify: $(DEV)
	$(BIN)/python -m pytest -n auto -m long

bench: $(DEV)
	$(BIN)/python -m benchmarks $(NAME)

install: $(DEV)

# Everything comes from the hashed locks; nothing but packages is downloaded.
$(RUNTIME): requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "Python 3.11, 3.12 or 3.13 is needed; this is " + sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index --editable .
	touch $@

$(DEV): requirements-dev.lock $(RUNTIME)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	touch $@

# Maintainers: after a change in pyproject.toml. On Python 3.11, or the forks for it are lost.
lock:
	uv pip compile pyproject.toml --extra build --extra data --extra verify --extra spark --extra lake --extra streams --extra dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header -q -o requirements-dev.lock
	uv pip compile pyproject.toml --extra build --extra data --extra verify --extra streams -c requirements-dev.lock --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header -q -o requirements.lock

clean:
	rm -rf .venv bank build dist *.egg-info
