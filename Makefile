# Copyright (c) 2026 The gce.guest authors
# SPDX-License-Identifier: GPL-3.0-or-later
# Targets create the virtual environment that they need. Requirements: Python 3.11 or newer with venv, git, make.

VENV := .venv
PYTHON := $(VENV)/bin/python
# Contains a link to the checkout as ansible_collections/gce/guest.
COLLECTIONS := $(VENV)/collections
READY := $(VENV)/.ready
# Most tests wait for processes. Those of one file share emulators and daemons.
PYTEST := $(PYTHON) -m pytest --numprocesses 4 --dist loadfile
# The connection plugin for `make molecule`.
PODMAN := $(COLLECTIONS)/ansible_collections/containers/podman

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/$(COLLECTIONS)
export ANSIBLE_HOME := $(CURDIR)/$(VENV)/ansible
# Ansible requires a UTF-8 locale.
export LC_ALL := C.UTF-8
# No frames around the output of Ansible.
export MOLECULE_COMMAND_BORDERS := false

.PHONY: demo eda test unit coverage integration matrix sanity proof molecule zero-loss lint bench docs screenshots build release clean

demo: $(READY)
	$(PYTHON) -m demo

test: $(READY)
	molecule test --scenario-name default
	$(PYTHON) -m demo
	$(PYTEST)
	$(PYTHON) tools/integration.py

unit: $(READY)
	$(PYTEST) $(TESTS)

coverage: $(READY)
	tools/coverage --numprocesses 4 --dist loadfile

# Requires Java 17, and Python 3.12 or 3.13 as EDA_PYTHON.
EDA_PYTHON ?= python3
eda: $(READY) build/eda/bin/ansible-rulebook
	ANSIBLE_RULEBOOK=build/eda/bin/ansible-rulebook $(PYTHON) -m pytest tests/unit/extensions/eda

build/eda/bin/ansible-rulebook:
	$(EDA_PYTHON) -m venv build/eda
	build/eda/bin/pip install --quiet 'ansible-rulebook>=1.3.2' ansible-core requests google-auth

integration: $(READY)
	$(PYTHON) tools/integration.py

matrix: $(READY)
	$(PYTHON) tools/matrix.py $(CORES:%=--core %)

sanity: $(READY)
	$(PYTHON) -m tools.sanity_matrix $(CORES:%=--core %)

molecule: $(PODMAN)
	molecule test --scenario-name systemd

zero-loss: $(PODMAN)
	PYTHONPATH=tests $(PYTHON) -m drill --guide docs/docsite/rst/zero_loss.rst

lint: $(READY)
	tools/lint

proof: $(READY)
	$(PYTHON) -m pytest tests/proof -m "proof or not proof" --reliability-table docs/docsite/rst/reliability.rst

bench: $(READY)
	$(PYTHON) -m bench.notice
	$(PYTHON) -m bench.notice --threaded
	$(PYTHON) -m bench.footprint
	$(PYTHON) -m bench.reading
	$(PYTHON) -m bench.custom_metadata
	$(PYTHON) -m bench.fleet_status
	$(PYTHON) -m bench.large_fleet --plot docs/docsite/rst/images/growth.svg

docs: $(READY)
	tools/docs

screenshots: $(READY)
	PYTHONPATH=tests $(PYTHON) -m tools.screenshots

build: $(READY)
	mkdir -p build
	ansible-galaxy collection build --force --output-path build

release: $(READY)
	$(PYTHON) tools/release.py $(VERSION)

clean:
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(READY): requirements-dev.txt tools/venv
	tools/venv $(VENV)
	touch $@

$(PODMAN): | $(READY)
	tools/podman_collection $(PYTHON) $(COLLECTIONS)
