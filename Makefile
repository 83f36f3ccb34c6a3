# The project's commands. `make` alone lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help setup demo test fuzz soak lint bench onnx clean
.DEFAULT_GOAL := help

help: ## list what there is to make
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The mark is newer than pyproject.toml when the environment holds what it asks for.
$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

setup: $(VENV)/installed ## make .venv and install everything

demo: setup ## find the objects in the bundled photographs; pictures go to demo/
	$(BIN)/frcnn detect tests/data/JPEGImages --save-dir demo

# A thread a process: those of several processes that wait for one another take longer together than one of each.
test: setup ## run the tests
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

fuzz: setup ## feed every reader of files 10,000 damaged ones of each kind
	@FUZZ=10000 $(BIN)/python -m pytest --numprocesses auto tests/test_data/test_fuzz.py

MINUTES ?= 60
soak: setup ## kill the commands at random moments for MINUTES (60), and look what is lost
	@OMP_NUM_THREADS=1 $(BIN)/python scripts/soak.py --minutes $(MINUTES)

lint: setup ## check format and style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

bench: setup ## time a detection, part by part, beside what others would use
	$(BIN)/python scripts/bench_detection.py

onnx: setup ## make the bundled model's ONNX file anew; VOC=VOC2012 says where photographs to calibrate on are
	PATH="$(abspath $(BIN)):$$PATH" scripts/export_bundled.sh "$(VOC)"

clean: ## remove what was made
	rm -rf $(VENV) demo build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
