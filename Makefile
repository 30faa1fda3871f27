# Copyright (c) 2026, the day2.ops authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# `make` lists the targets. Each of them installs what it needs; what stands already costs nothing.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

# K: which of them, by a part of the name. N: pytest's workers. ARGS: anything else for pytest. FULL=1: everything.
K ?=
N ?= 3
ARGS ?=
FULL ?=
# For `make faults`: leave out the cells that have passed.
MISSING ?=

DEV := tests/tools/within dev
RESULTS := .venv/results
PYTEST = $(DEV) pytest $(if $(K),-k "$(K)") $(ARGS) --junitxml=$(RESULTS)/$@.xml
PARALLEL = -n $(N) --dist loadfile
# A busy machine can upset a test's timing: a failure is tried once more, and is shown all the same.
AGAIN = --reruns 1 --rerun-show-tracebacks -rR
SLICE = $(if $(FULL),,-m "not full")
# Of a part of the fault matrix the table is not the one that is committed.
TABLE = $(if $(K),$(RESULTS)/faults.md)

.PHONY: help
help: ## this list
	@awk -F ' *## *' '/^[a-z-]+:.*##/ { split($$1, target, ":"); printf "  make %-13s %s\n", target[1], $$2 }' Makefile
	@echo
	@echo "  make integration K=mariadb N=4 ARGS=-x    only those, with four workers, to the first failure"

.PHONY: demo demo-clean
demo: ## deploy a sample application, back it up, prove it, damage it, restore it
	@demo/run

demo-clean: ## remove what the demo made
	@demo/clean

PARTS := python-packages docker images unit lint sanity integration molecule demo-test

.PHONY: test test-all
test: ## everything, from nothing: packages, Docker, images, all tests and gates
	@tests/testbed/packages.sh python
	@python3 tests/tools/run_parts.py $(PARTS)

test-all: ## the same with the long matrices in full
	@tests/testbed/packages.sh python
	@FULL=1 python3 tests/tools/run_parts.py $(PARTS) faults

.PHONY: unit lint format sanity integration faults molecule demo-test bench
unit: python-packages ## unit tests, with the coverage of module_utils
	@$(PYTEST) $(PARALLEL) --cov --cov-report=term tests/unit

lint: python-packages ## ruff, mypy, shellcheck, yamllint, ansible-lint, antsibull, galaxy-importer
	@tests/testbed/packages.sh lint
	@$(DEV) python tests/tools/lint.py $(K)

format: python-packages ## let ruff format the code and repair what it can
	@$(DEV) ruff check --fix-only --quiet . && $(DEV) ruff format .

sanity: python-packages ## ansible-test sanity on the oldest and the newest core
	@$(DEV) python tests/tools/sanity.py $(if $(FULL),--full) $(K)

integration: python-packages servers images ## real servers, on the host and in containers
	@$(PYTEST) $(PARALLEL) $(SLICE) $(AGAIN) --timeout=300 $(if $(FULL),--ignore-glob='*/test_fault_matrix_*') tests/integration

faults: python-packages servers images ## the whole fault matrix; writes docs/faults.md
	@$(if $(MISSING),DAY2_FAULTS=missing) $(PYTEST) $(PARALLEL) $(AGAIN) --timeout=600 tests/integration/test_fault_matrix_*.py \
	  || { $(DEV) python tests/tools/faults_table.py $(TABLE); exit 1; }
	@$(DEV) python tests/tools/faults_table.py $(TABLE)

molecule: python-packages images ## roles and playbooks on machines of their own
	@$(DEV) python tests/tools/molecule.py $(K)

demo-test: python-packages images ## the demo on a bare Debian, as root and as an ordinary user
	@$(PYTEST) $(AGAIN) --timeout=900 tests/demo

bench: python-packages servers images ## speed and memory beside what one would use otherwise
	@tests/testbed/packages.sh bench
	@$(DEV) python tests/bench/run.py $(ARGS)

.PHONY: python-packages servers docker images clean
python-packages:
	@tests/testbed/packages.sh python

servers: ## database servers and tools on this machine, and a current restic
	@tests/testbed/packages.sh servers tools
	@tests/testbed/restic.sh
	@tests/testbed/s3.sh

docker: ## a Docker engine with Compose, where none answers
	@tests/testbed/docker.sh

images: docker ## the images of the test bed
	@tests/testbed/images.sh

clean: ## remove what the development made here (images and packages stay)
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .ansible tests/output .coverage*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
