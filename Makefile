# From a checkout: `make demo [IMAGE=stack.tif]` shows the plugin at work, `make test` runs the suite.
# Everything is installed into .venv, at the versions that constraints.txt pins.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
IMAGE ?=
CHECKPOINT ?=
DATA ?=
PYTEST_ARGS ?=
# The versions to install; `make test PINS=` takes the newest ones instead.
PINS ?= constraints.txt
PIP := -m pip install --disable-pip-version-check $(if $(PINS),-c $(PINS))
# Tests run in this number of processes, each file in one of them; more threads of torch would only hinder each other.
PROCESSES ?= 2

# Waiting threads of torch give their core away, which costs nothing on an idle machine and saves much on a busy one.
export OMP_WAIT_POLICY ?= passive

# A screen that is always the same size, for tests and for a demo on a machine without a display.
XVFB := env -u WAYLAND_DISPLAY QT_QPA_PLATFORM=xcb xvfb-run -a -s "-screen 0 1920x1080x24"
LINUX := $(filter Linux,$(shell uname -s))
ON_XVFB := $(if $(LINUX),$(XVFB))
# The screen of the user, if there is one: the demo's window then stays open.
SCREEN := $(or $(DISPLAY),$(WAYLAND_DISPLAY),$(if $(LINUX),,macOS))

# A window needs Qt's libraries; without a screen, and for tests, Xvfb as well. Tests need a compiler, too.
NEEDS := window $(if $(and $(SCREEN),$(filter-out test%,$(MAKECMDGOALS))),,xvfb) $(if $(filter test%,$(MAKECMDGOALS)),compiler)

# Rivals that the benchmarks measure stay out of the environment of the tests: RedLionfish is a plugin of napari
# as well. Their environment also sees all packages of the other one.
BENCH := $(VENV)/bench
RIVALS := matplotlib onnx onnxruntime openvino RedLionfish
QUICK ?=
QUICK_FLAG := $(if $(QUICK),--quick)

# The lowest versions that pyproject.toml allows, in an environment of their own.
LOWEST := .venv-lowest

# The model zoo's own test does not work with the pydantic that napari takes, so it has an environment of its own,
# which sees the other one after its own packages.
ZOO := $(VENV)/bioimageio

.PHONY: demo test test-lowest export-test browser-test check docs dist results bench bench-gpu install system clean help
help:
	@echo "make demo [IMAGE=stack.tif]   deconvolve a sample (or your stack) in napari"
	@echo "make test                     run the test suite"
	@echo "make test-lowest              the same with the lowest versions that pyproject.toml allows"
	@echo "make export-test              export models, and put the packages to the test of bioimage.io"
	@echo "make browser-test             drive the documentation's browser page in a headless Chromium"
	@echo "make check                    lint, types, plugin manifest"
	@echo "make docs                     build the documentation as a site, build/site; warnings are errors"
	@echo "make dist                     build the source distribution and the wheel, dist"
	@echo "make results                   measure every table, draw every figure of the docs' results"
	@echo "make bench                     measure speed and memory, write docs/benchmarks.md; half an hour"
	@echo "make bench-gpu                 the same for a CUDA device, and the tests that need one"
	@echo "make clean                    remove .venv and everything that was built"

install: $(VENV)/installed

system:
	@test -n "$(PYTHON)" || { echo "napari-lucyd needs Python 3.11 or newer; none was found on the PATH." \
		"On Debian 12: apt-get install python3. Elsewhere: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@scripts/system_packages.sh $(PYTHON) $(NEEDS)

$(VENV)/installed: pyproject.toml constraints.txt | system
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { rm -rf $(VENV) && $(PYTHON) -m venv $(VENV); }
	@echo "Installing into $(VENV): torch, napari and more, some minutes the first time"
	$(BIN)/python $(PIP) hatchling editables
	$(BIN)/python $(PIP) --no-build-isolation -e '.[all,test,docs]'
	@touch $@

demo: install
ifneq ($(SCREEN),)
	$(BIN)/python -m napari_lucyd._napari.demo $(if $(IMAGE),"$(IMAGE)")
else
	$(ON_XVFB) $(BIN)/python -m napari_lucyd._napari.demo $(if $(IMAGE),"$(IMAGE)") --save demo
endif

test: install
	OMP_NUM_THREADS=1 $(ON_XVFB) $(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile $(PYTEST_ARGS)

# uv, because pip cannot choose the lowest versions.
test-lowest: | system
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --disable-pip-version-check uv
	$(LOWEST)/bin/uv pip install --python $(LOWEST)/bin/python --resolution lowest-direct -e '.[all,test]' 'hatchling>=1.27'
	OMP_NUM_THREADS=1 $(ON_XVFB) $(LOWEST)/bin/python -m pytest -n $(PROCESSES) --dist loadfile $(PYTEST_ARGS)

$(ZOO)/installed: $(VENV)/installed
	$(BIN)/python -m venv $(ZOO)
	$(ZOO)/bin/python -m pip install --disable-pip-version-check 'bioimageio.core>=0.11' 'pydantic<2.14'
	@$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
		> "$$($(ZOO)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/zz-package.pth"
	@touch $@

# A failing package ends it with an error.
EXPORTS ?= general planes lucyd lucyd-planes
export-test: $(ZOO)/installed
	@mkdir -p build/export
	@set -e; for model in $(EXPORTS); do \
		$(BIN)/lucyd export $$model -o build/export/$$model.zip --overwrite; \
		$(ZOO)/bin/bioimageio test build/export/$$model.zip; done

# Debian's Chromium is installed if there is none; `make test` then skips these tests.
browser-test: install
	@scripts/system_packages.sh $(PYTHON) browser
	$(BIN)/python -m pytest -rP tests/site $(PYTEST_ARGS)

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	QT_QPA_PLATFORM=offscreen $(BIN)/npe2 validate napari-lucyd --imports

docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

dist: install
	$(BIN)/python $(PIP) build
	$(BIN)/python -m build

results: install
	$(BIN)/python scripts/curves.py
	$(BIN)/python scripts/figures.py $(if $(DATA),--data "$(DATA)")
	$(BIN)/python scripts/results.py $(if $(CHECKPOINT),--checkpoint "$(CHECKPOINT)") $(if $(DATA),--data "$(DATA)")

$(BENCH)/installed: $(VENV)/installed
	$(BIN)/python -m venv --without-pip $(BENCH)
	@$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
		> "$$($(BENCH)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/tests.pth"
	@for rival in $(RIVALS); do \
		$(BIN)/python -m pip --python $(BENCH)/bin/python install --quiet --disable-pip-version-check \
			-c constraints.txt $$rival || echo "$$rival could not be installed: it is not measured"; done
	@touch $@

# One after the other, each in a process of its own: imports are first ones, and peaks of memory their own. On a
# user's own screen, if there is one. Torch's threads wait as they do for users.
bench: install $(BENCH)/installed
	$(if $(SCREEN),,$(ON_XVFB)) $(BIN)/python benchmarks/startup.py $(QUICK_FLAG)
	@set -e; for part in roofline other_networks throughput small_volumes estimates halo out_of_core host preview training_step; do \
		echo "$$part"; env -u OMP_WAIT_POLICY $(BIN)/python benchmarks/$$part.py $(QUICK_FLAG); done
	@set -e; for part in forward rivals; do \
		echo "$$part"; env -u OMP_WAIT_POLICY $(BENCH)/bin/python benchmarks/$$part.py $(QUICK_FLAG); done
	$(BENCH)/bin/python benchmarks/page.py $(QUICK_FLAG)

bench-gpu: install $(BENCH)/installed
	env -u OMP_WAIT_POLICY $(BIN)/python benchmarks/gpu.py $(QUICK_FLAG)
	$(BENCH)/bin/python benchmarks/page.py $(QUICK_FLAG)

clean:
	rm -rf $(VENV) $(LOWEST) build dist demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
