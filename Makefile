# What a person, and CI, calls. The work is in tools/; this says in which order.
# Variables: PYTHON (which interpreter), FOR (seconds of the demo), ARGS (passed on), UPGRADE (of locks),
# SECONDS (of fuzz), QUICK (short forms of faults), JOBS (faults at once: they mostly wait), LAB (its name).

SHELL = /bin/sh
BIN = .venv/bin
LAB = lab

.DEFAULT_GOAL = help
.PHONY: help venv venv-demo venv-ansible venv-release demo test check faults fuzz fleet-lab fleet-lab-down fleet-test lint lint-ansible bench bench-delivery generate lock wheels-aarch64 release clean

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

venv: ## Make .venv with all that tests and checks need (again only if the locks changed)
	@sh tools/make_venv.sh dev

venv-demo:
	@sh tools/make_venv.sh demo

venv-ansible: venv ## Make .venv-ansible with what plays and checks deploy/ansible (again only if its lock changed)
	@sh tools/make_tool_venv.sh ansible

venv-release: venv
	@sh tools/make_tool_venv.sh release

demo: venv-demo ## Show the agent at work; FOR=30 stops after 30 seconds
	$(BIN)/nanofleet demo $(if $(FOR),--for $(FOR)) $(ARGS)

test: venv ## Run all tests but the faults; ARGS="-k outbox" chooses
	$(BIN)/python -m pytest -m "not faults and not fleet" -n $(or $(JOBS),2) --dist loadfile $(ARGS)

check: lint ## Format, lint, types, import rings, docs and the fast tests
	$(BIN)/python -m pytest -m "not slow and not faults and not fleet" $(ARGS)

faults: venv ## Harm real processes, and write docs/faults.md; QUICK=1 takes the short forms
	$(BIN)/python -m pytest tests/faults -n $(or $(JOBS),4) --dist load --maxschedchunk 1 \
		$(if $(QUICK),,--long) --faults-report docs/faults.md $(ARGS)

fuzz: venv ## Send a node hostile documents for 2 minutes; SECONDS=10, or ARGS="--cases 100000 --seed 7", says otherwise
	$(BIN)/python -m tools.fuzz_control $(if $(findstring --cases,$(ARGS)),,--seconds $(or $(SECONDS),120)) $(ARGS)

fleet-lab: venv venv-ansible venv-release ## Bring up three nodes and a broker host, and run site.yml against them; make fleet-lab-down ends it
	$(BIN)/python -m tools.fleet_lab up --name $(LAB)
	$(BIN)/python -m tools.release --target cp311-$$(uname -m) --unaudited
	cd deploy/ansible && ../../.venv-ansible/bin/ansible-playbook -i ../../build/fleet-lab/$(LAB)/inventory site.yml \
		-e nanofleet_accept_unaudited=true $(ARGS)

fleet-lab-down: venv ## Take the lab away
	$(BIN)/python -m tools.fleet_lab down --name $(LAB)

fleet-test: venv venv-ansible venv-release ## Tell the story of a fleet on real hosts (root; up to 40 minutes); QUICK=1: 12
	$(BIN)/python -m pytest tests/fleet_lab $(if $(QUICK),--bounded -m "fleet and not slow",-m fleet) $(ARGS)

lint: venv ## The part of check that runs no test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy .
	$(BIN)/lint-imports --no-cache
	$(BIN)/python tools/check_docs.py

lint-ansible: venv-ansible ## Lint deploy/ansible: ansible-lint (production profile) and yamllint, without network
	@# In its folder, where ansible.cfg and both configurations are; the linter calls ansible by PATH.
	cd deploy/ansible && PATH="$(CURDIR)/.venv-ansible/bin:$$PATH" && yamllint --strict . && ansible-lint --offline $(ARGS)

bench: venv ## Measure the pipeline; ARGS="--json FILE" writes the figures
	$(BIN)/python -m benchmarks.pipeline $(ARGS)

bench-delivery: venv ## Measure outbox and delivery; ARGS="--backlog 1000000" starts with a backlog as well
	$(BIN)/python -m benchmarks.delivery $(ARGS)

generate: venv ## Write schemas and references anew from the models
	$(BIN)/python tools/generate.py

lock: venv ## Make requirements/*.txt anew; UPGRADE=1 takes the newest releases
	@sh tools/lock.sh $(if $(UPGRADE),--upgrade)

wheels-aarch64: venv ## Show that every core dependency has a wheel for 64-bit ARM
	$(BIN)/python tools/check_wheels.py requirements/run-cpu.txt requirements/run-signed.txt

release: venv-release ## Make dist/release/VERSION, what nodes install from; ARGS="--target native --unaudited"
	$(BIN)/python -m tools.release $(ARGS)

clean: ## Remove what make made: environments, caches, build products
	@# The disks of a lab are mounted below build.
	@for root in build/fleet-lab/*/hosts/*/root; do \
		if mountpoint -q "$$root"; then echo "a fleet lab is up ($$root): make fleet-lab-down first" >&2; exit 1; fi; done
	rm -rf .venv .venv-ansible .venv-release build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find agent tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
