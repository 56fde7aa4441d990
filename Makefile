# The two commands: `make demo` and `make test`. Both do their own set-up: a virtual environment in
# .venv with locked packages, Bireme installed in it for editing, and whatever Debian packages the
# step needs. A second run only redoes what changed. `make help` lists everything.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The first interpreter that is new enough; a name that only exists as a stub of a version manager is
# not one.
ifndef PYTHON
PYTHON := $(shell for python in python3 python3.11 python3.12 python3.13; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && \
	command -v "$$python" && break; done)
endif
export PYTHON
JOBS ?= 2
FUZZ_SECONDS ?= 60
MINUTES ?= 10
MODELS ?=

BIN := .venv/bin
DONE := build/done
export CMAKE_BUILD_PARALLEL_LEVEL := $(JOBS)
export PATH := $(CURDIR)/$(BIN):$(PATH)

NATIVE_SOURCES := $(sort $(shell find CMakeLists.txt cmake runtime -type f \
	\( -name '*.cc' -o -name '*.h' -o -name '*.hpp' -o -name '*.def' -o -name '*.fbs' -o -name '*.txt' -o -name '*.cmake' -o -name '*.in' \) 2>/dev/null))

# The C++ side alone, with its tests: for release, and under the sanitizers.
CMAKE_FLAGS_native := -DCMAKE_BUILD_TYPE=Release
CMAKE_FLAGS_asan := -DCMAKE_BUILD_TYPE=Debug -DBIREME_SANITIZE=address,undefined -DBIREME_SHARED=OFF
CMAKE_FLAGS_tsan := -DCMAKE_BUILD_TYPE=Debug -DBIREME_SANITIZE=thread -DBIREME_SHARED=OFF
BUILDS := native asan tsan

.PHONY: help demo test setup lint format native-test python-test bench bench-all bench-dynamic records conformance size fuzz fuzz-artefacts fuzz-onnx fuzz-graphs docs lock clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-20s %s\n", $$1, $$2}'

demo: setup ## compile three real networks, read the text in a picture with them
	$(BIN)/python -m examples.demo

test: lint native-test python-test ## everything CI checks

setup: $(DONE)/editable ## virtual environment, locked packages, editable install

lint: setup ## ruff, mypy, clang-format, import-linter, generated docs
	PRE_COMMIT_HOME=build/pre-commit $(BIN)/pre-commit run --all-files --show-diff-on-failure

format: setup ## rewrite the sources in the house style
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format --quiet .
	git ls-files '*.cc' '*.h' | xargs $(BIN)/clang-format -i

native-test: $(BUILDS:%=$(DONE)/%) ## GoogleTest suite of the runtime, plain and under the sanitizers
	for build in $(BUILDS); do ctest --test-dir build/$$build --no-tests=error --output-on-failure --parallel $(JOBS); done

python-test: setup $(DONE)/native ## pytest
	$(BIN)/python -m pytest -n $(JOBS)

bench: setup ## latency beside other engines, those that are quickly installed
	$(BIN)/python -m benchmarks

bench-all: setup ## latency beside every engine; writes docs/benchmarks.md
	$(BIN)/python -m benchmarks --engines all --page

bench-dynamic: setup ## one artefact for all sizes beside artefacts for one size
	$(BIN)/python -m benchmarks.dynamic

records: setup ## tune the networks of the benchmarks, MINUTES for each; writes targets/x86/records.jsonl
	$(BIN)/python -m benchmarks.records --minutes $(MINUTES) $(MODELS)

conformance: setup ## the ONNX backend node tests, by operator; writes docs/conformance.md
	$(BIN)/python -m tests.conformance --backend onnxruntime > build/conformance-peer.log || true
	$(BIN)/python -m tests.conformance --page

size: $(DONE)/native ## size of the runtime in a stripped program
	$(BIN)/python -m tools.size

fuzz: fuzz-artefacts fuzz-onnx fuzz-graphs ## look for faults, FUZZ_SECONDS with each fuzzer

fuzz-artefacts: $(DONE)/packages ## feed the artefact loader with damaged files
	@tools/host_packages.sh build fuzz
	cmake -S . -B build/fuzz -G Ninja -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_BUILD_TYPE=RelWithDebInfo \
		-DBIREME_FUZZ=ON -DBIREME_SANITIZE=address,undefined -DBIREME_SHARED=OFF
	cmake --build build/fuzz
	mkdir -p build/fuzz/corpus
	build/fuzz/runtime/model_fuzz -max_total_time=$(FUZZ_SECONDS) -timeout=10 build/fuzz/corpus

fuzz-onnx: setup $(DONE)/fuzz-packages ## feed the ONNX importer with mutated models
	$(BIN)/python -m tests.frontend.onnx.fuzz.guided -max_total_time=$(FUZZ_SECONDS)

fuzz-graphs: setup ## compile random graphs and compare them with the reference
	for property in passes onnx compiled; do \
		$(BIN)/python -m tests.random $$property --seconds $(FUZZ_SECONDS) --jobs $(JOBS); done

docs: setup ## write the generated pages of docs/
	$(BIN)/python -m tools.generate_docs

LOCK := build/uv/bin/uv pip compile --python-version 3.11 --generate-hashes \
	--no-annotate --no-header --quiet

lock: ## pin the whole dependency tree of pyproject.toml in requirements/
	@test -x build/uv/bin/uv || { $(PYTHON) -m venv build/uv && build/uv/bin/pip install --quiet uv==0.13.9; }
	$(LOCK) pyproject.toml --output-file requirements/runtime.txt
	$(LOCK) pyproject.toml --group dev --output-file requirements/dev.txt
	$(LOCK) --group fuzz --output-file requirements/fuzz.txt

clean: ## remove build outputs; the virtual environment stays
	rm -rf build dist

# ---- Steps that leave a stamp ----------------------------------------------------------------

$(DONE)/packages: requirements/dev.txt tools/host_packages.sh
	@test -n "$(PYTHON)" || { echo "Bireme needs Python 3.11 or newer; make PYTHON=... names one" >&2; exit 2; }
	@tools/host_packages.sh python
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing the locked packages into .venv"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt
	@mkdir -p $(@D) && touch $@

$(DONE)/fuzz-packages: $(DONE)/packages requirements/fuzz.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/fuzz.txt
	@mkdir -p $(@D) && touch $@

$(DONE)/editable: $(DONE)/packages pyproject.toml $(NATIVE_SOURCES)
	@tools/host_packages.sh build
	@echo "building the runtime and installing Bireme into .venv"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	$(BIN)/python -m tools.package_view
	@mkdir -p $(@D) && touch $@

$(BUILDS:%=$(DONE)/%): $(DONE)/%: $(DONE)/packages $(NATIVE_SOURCES)
	@tools/host_packages.sh build test
	cmake -S . -B build/$* -G Ninja -DBIREME_BUILD_TESTS=ON $(CMAKE_FLAGS_$*)
	cmake --build build/$*
	@mkdir -p $(@D) && touch $@
