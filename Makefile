# Every target works on a fresh clone: what is missing is installed into .venv first.
PYTHON3 ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test cover check docs table site bench bench-peers golden lock clean install
.DEFAULT_GOAL := demo

install: $(INSTALLED)

# torch and torchvision must come from one index: uv takes both from the lock file, by hash.
$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON3) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one with make PYTHON3=python3.12"; exit 2; }
	test -x $(BIN)/python || $(PYTHON3) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip sync --quiet --python $(BIN)/python requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

demo: $(INSTALLED)  ## score the two shipped checkpoints, show the leaderboard
	$(BIN)/rbs demo

check: $(INSTALLED)  ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# A file of tests stays whole in one process, and a process takes one core (tests/conftest.py). Bytecode is kept, also
# where the environment forbids it: compiling torch anew in each process that imports it costs 4 s a time.
PROCESSES := 2
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder

test: check  ## the same, and the tests: as many processes as PROCESSES says
	$(PYTEST)

cover: $(INSTALLED)  ## the tests, and which lines and branches they reach: half as long again
	$(PYTEST) --cov

golden: $(INSTALLED)  ## the longer checks: the demo's checkpoints to the bit, the table of CIFAR-10-C, published models
	$(BIN)/python -m robustbench_safety.recipes.digits build/demo
	for f in digits_plain digits_augmented; do \
	  cmp build/demo/$$f.safetensors robustbench_safety/demo/$$f.safetensors || exit 1; done
	RBS_LONG=1 $(BIN)/pytest tests/corruptions/test_end_to_end.py tests/corruptions/test_agreement.py \
	  tests/submitted/test_published_models.py tests/metrics/test_published_calibration.py \
	  tests/metrics/test_calibration_intervals.py tests/attacks/test_auto.py \
	  tests/attacks/test_published_networks.py tests/models/graphs/test_same_weights.py tests/docs/test_commands.py
	$(BIN)/python -m tests.golden.cifar10_safety

# The theme would announce its successor on every build.
docs: $(INSTALLED)  ## the documentation as a site: build/docs/index.html, which needs no server
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

table: $(INSTALLED)  ## make the tables of the leaderboard from its records
	$(BIN)/rbs leaderboard build --no-site

site: $(INSTALLED)  ## the tables and the pages: open leaderboard/site/index.html
	$(BIN)/rbs leaderboard build

bench: $(INSTALLED)  ## time the suite against the bare network, as ratios in one run
	OMP_WAIT_POLICY=passive $(BIN)/python -m benchmarks.predict
	OMP_WAIT_POLICY=passive $(BIN)/python -m benchmarks.wrapper
	OMP_WAIT_POLICY=passive $(BIN)/python -m benchmarks.rescore
	$(BIN)/python -m benchmarks.leaderboard

# imagecorruptions has not been released since NumPy 2 and asks for pkg_resources, which newer setuptools lack.
PEERS := benchmarks/.peers
bench-peers: $(INSTALLED) $(PEERS)/.installed  ## time the corruptions against imagecorruptions on one core
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.corruptions $(if $(TEXTURES),--textures $(TEXTURES))

$(PEERS)/.installed: $(INSTALLED)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(PEERS)
	$(BIN)/uv pip install --quiet --python $(PEERS)/bin/python 'setuptools<80' wheel numba numpy \
	  opencv-python-headless Pillow scikit-image scipy
	$(BIN)/uv pip install --quiet --python $(PEERS)/bin/python --no-deps --no-build-isolation imagecorruptions==1.1.2
	touch $@

lock: $(INSTALLED)  ## choose newer versions for requirements.lock
	$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --group dev \
	  --custom-compile-command "make lock" pyproject.toml -o requirements.lock
	! grep -E '://' requirements.lock

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage dist build rbs-demo bench-results $(PEERS)
