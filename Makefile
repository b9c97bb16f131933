# Every verb of the project. `make help` lists them.
# Needs Python 3.11 to 3.14 with venv, git and make; everything else is fetched into this folder.

STAGE ?= dev
MODELS ?= models
BROKER ?= sqs
VENV := .venv
BIN := $(VENV)/bin
EMULATOR := .venv-emulator
SCANNERS := .venv-scanners
UV := $(BIN)/uv
CDK = $(BIN)/cdk
CONTEXT = -c stage=$(STAGE) -c models=$(MODELS)
# Templates name no account; without this the CDK would read one from ~/.aws, credential processes and all.
NO_AWS := env -u AWS_PROFILE -u AWS_DEFAULT_PROFILE -u AWS_ACCESS_KEY_ID -u AWS_SECRET_ACCESS_KEY -u AWS_SESSION_TOKEN \
  AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true
COMPILE := $(UV) pip compile --universal --generate-hashes --python-version 3.11 --quiet --no-header $(if $(UPGRADE),--upgrade)
SETUP := $(VENV)/.stamp-packages $(BIN)/cdk node_modules/.stamp $(EMULATOR)/.stamp

export JSII_RUNTIME_PACKAGE_CACHE_ROOT := $(CURDIR)/$(VENV)/jsii
export JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION := 1
export CDK_DISABLE_CLI_TELEMETRY := true
# Packages are fetched with the certificates that this machine trusts, where it has a list of them: behind a
# company's proxy only those are right. Without a list, uv and Node go by the ones that they bring.
ifneq ($(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem),)
export UV_SYSTEM_CERTS ?= true
export NODE_USE_SYSTEM_CA ?= 1
endif

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup dev check test test-faults fault fuzz synth deploy destroy bench bench-check load lock environment scanners audit-packages sbom

help: ## list the verbs
	@awk -F ' *## ' '/^[a-z-]+:.*## / {split($$1, verb, ":"); printf "  make %-14s %s\n", verb[1], $$2}' $(MAKEFILE_LIST)

setup: environment ## fetch the tools and the example models into this folder
	@$(BIN)/laneway models pull --models $(MODELS)

dev: environment ## run the service on this machine: make dev [MODELS=folder] [BROKER=rabbitmq] [LANEWAY_PORT=4566]
	@exec $(BIN)/laneway dev --models $(MODELS) --broker $(BROKER)

check: environment ## lint, format, types, who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Three processes for two cores: of the three groups that start first, tests of faults wait for leases most of the time.
test: check setup scanners ## check and every test, the deployed service too
	$(BIN)/pytest -n 3 --dist loadgroup

test-faults: setup ## 10,000 jobs while their workers are killed, and every fault case
	LANEWAY_FAULT_JOBS=$${LANEWAY_FAULT_JOBS:-10000} $(BIN)/pytest -s tests/faults tests/performance/test_batch_memory.py

fault: setup ## the tests of one row of docs/fault-matrix.md: make fault CASE=21
	$(BIN)/python -m tests.faults.matrix $(CASE)

fuzz: setup ## make calls out of the API's description, many more than `make test` does: make fuzz [LANEWAY_API_SEED=7]
	LANEWAY_API_EXAMPLES=$${LANEWAY_API_EXAMPLES:-500} LANEWAY_API_SEED=$${LANEWAY_API_SEED:-$$(date +%s)} $(BIN)/pytest -n0 -s tests/flow/test_described_api.py

synth: setup ## templates into cdk.out: make synth STAGE=prod
	$(NO_AWS) $(CDK) synth --quiet --no-notices $(CONTEXT) --output cdk.out

deploy: setup ## to your AWS account: make deploy STAGE=dev [MODELS=folder]
	$(CDK) deploy --all $(CONTEXT)

# Twice: `prod` protects its tables and its bucket, and what is protected would stay and bill.
destroy: setup ## remove a stage and its data from your AWS account: make destroy STAGE=dev
	LANEWAY_OLD_PYTHON=allowed $(CDK) deploy laneway-$(STAGE)-storage $(CONTEXT) -c keep_data=false
	$(CDK) destroy --all $(CONTEXT) -c keep_data=false

bench: setup ## measure the speed bars, as ratios in one run
	$(BIN)/python -m benchmarks

bench-check: setup ## a short run: has a ratio been lost since it was recorded
	$(BIN)/python -m benchmarks.check

load: setup ## hold an arrival rate, and ten times that rate, against the handlers and the worker
	$(BIN)/python -m benchmarks.load

sbom: setup ## what is in the layers, packages and images, as CycloneDX in build/sbom
	$(BIN)/python -m stacks.bills --models $(MODELS)

audit-packages: scanners ## look up the locked packages' known weaknesses
	$(BIN)/python scripts/audit_packages.py $(SCANNERS)/bin/pip-audit

scanners: environment $(SCANNERS)/.stamp ## fetch checkov and pip-audit, in an environment of their own

lock: environment ## lock what pyproject.toml and the layers ask for: make lock [UPGRADE=1]
	$(COMPILE) --all-extras --group dev --group bench --output-file requirements/dev.txt pyproject.toml
	$(COMPILE) --constraints requirements/dev.txt --output-file requirements/bootstrap.txt requirements/bootstrap.in
	$(COMPILE) --output-file requirements/emulator.txt requirements/emulator.in
	$(COMPILE) --output-file requirements/scanners.txt requirements/scanners.in
	for folder in layers/*/ functions/send/ functions/authorizer/; do $(COMPILE) --constraints requirements/dev.txt --output-file $${folder}requirements.txt $${folder}requirements.in; done
	for device in cuda cpu; do $(COMPILE) --constraints requirements/dev.txt --output-file gpu_workers/requirements-$$device.txt gpu_workers/requirements-$$device.in; done

# What `setup` makes. Each step leaves a stamp, so that a warm start skips it; an environment whose
# Python is gone (an upgrade of the system's) has lost its stamp, and so has one that runs another
# version than was asked for: make setup PYTHON=python3.13.
VERSION_OF = $(shell $(1) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
HERE := $(call VERSION_OF,$(BIN)/python)
ASKED := $(if $(PYTHON),$(or $(call VERSION_OF,"$$(PYTHON='$(PYTHON)' scripts/find-python 2>&1)"),none))
ifneq ($(HERE),$(or $(ASKED),$(HERE),none))
$(shell rm -f $(VENV)/.stamp-bootstrap)
endif

environment: $(SETUP)

$(VENV)/.stamp-bootstrap: requirements/bootstrap.txt
	@[ -n '$(HERE)' ] && [ '$(HERE)' = '$(or $(ASKED),$(HERE))' ] || { python=$$(scripts/find-python) && echo "· $(VENV) on $$python" && "$$python" -m venv --clear $(VENV); }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/bootstrap.txt
	@touch $@

$(VENV)/.stamp-packages: $(VENV)/.stamp-bootstrap requirements/dev.txt pyproject.toml
	@echo "· packages into $(VENV)"
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes --requirement requirements/dev.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

$(BIN)/cdk: scripts/cdk | $(VENV)/.stamp-packages
	@install -m 755 scripts/cdk $@

node_modules/.stamp: package-lock.json package.json | $(VENV)/.stamp-packages
	@echo "· the CDK command line into node_modules"
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/npm ci --silent
	@touch $@

$(SCANNERS)/.stamp: requirements/scanners.txt $(VENV)/.stamp-bootstrap | $(VENV)/.stamp-packages
	@echo "· checkov and pip-audit into $(SCANNERS)"
	@$(UV) venv --quiet --clear --python $(BIN)/python $(SCANNERS)
	@$(UV) pip install --quiet --python $(SCANNERS)/bin/python --require-hashes --requirement requirements/scanners.txt
	@touch $@

$(EMULATOR)/.stamp: requirements/emulator.txt $(VENV)/.stamp-bootstrap | $(VENV)/.stamp-packages
	@echo "· the AWS emulator into $(EMULATOR)"
	@$(UV) venv --quiet --clear --python $(BIN)/python $(EMULATOR)
	@$(UV) pip install --quiet --python $(EMULATOR)/bin/python --require-hashes --requirement requirements/emulator.txt
	@touch $@
