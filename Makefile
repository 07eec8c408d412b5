# What a newcomer needs: make demo, make test. Every target sets up what it needs (README.md).

SEED ?= 1
TRIALS ?= 5

# Any Python 3 can run the set-up; it looks for 3.11 or 3.12 itself (S3K_PYTHON names one).
SETUP := $(firstword $(shell command -v python3 python3.11 python3.12) python3) tools/setup_env.py
RUN := .venv/bin/s3k-env
REPORT := out/demo/report.json
# Processes that were killed leave their shared memory behind; what is in use stays untouched.
CLEAN_SHM := $(RUN) env -u PYTHONSAFEPATH fastdds shm clean > /dev/null 2>&1 || true

.PHONY: demo test check setup setup-train setup-bench lock clean

## make demo [SEED=n] [TRIALS=n]: the simulated cell sees, locates and grasps; exit 0 when it holds
demo: setup
	@rm -f $(REPORT)
	@$(CLEAN_SHM)
	$(RUN) ros2 launch s3k_ros demo.launch.xml seed:=$(SEED) trials:=$(TRIALS)
	@$(RUN) python -m s3k_ros.demo.verdict $(REPORT)

## make test: all tests; those of training run in .venv-train, which has PyTorch
test: setup-train
	@$(CLEAN_SHM)
	$(RUN) pytest --ignore=test/training
	$(RUN) .venv-train/bin/python -m pytest test/training

## make check: format, lint, types
check: setup
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy

## make setup: .venv alone; make setup-train: .venv-train too; make setup-bench: peers of s3k bench
setup:
	@$(SETUP)

setup-train:
	@$(SETUP) --train

setup-bench:
	@$(SETUP) --bench

## make lock: writes the locks anew after a change of requirements/*.in; needs uv (pip install uv)
LOCK := uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
lock:
	$(LOCK) -o requirements/build-lock.txt requirements/build.in
	$(LOCK) -o requirements/lock.txt $(filter-out requirements/bench.in,$(wildcard requirements/*.in))
	$(LOCK) --no-deps -o requirements/bench-lock.txt requirements/bench.in

## make clean: removes everything that make made
clean:
	rm -rf .venv .venv-train out build install log .pytest_cache .mypy_cache .ruff_cache .hypothesis
