# Everything runs through deploy/local, which needs no more than Python and makes the rest.
PYTHON ?= python3
export ODOO ODOO_SRC DEBIAN

# One test in seconds: make test-bridge K=test_that_name
only = $(if $(K),-k '$(K)')
stack = cd "$(CURDIR)" && $(PYTHON) -m deploy.local.bootstrap

.DEFAULT_GOAL := help
.PHONY: help setup demo up down status logs test test-bridge test-store test-addon test-install test-neighbours test-e2e test-browser test-faults test-docs test-deploy test-images test-move move test-server soak year scale bench screenshots translations generate constraints docs lint format clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  ODOO=18.0 (default) or ODOO=19.0 chooses the version; ODOO_SRC=DIR an Odoo tree of your own."
	@echo "  K=... runs only the tests whose names it matches: make test-bridge K=\"pause and not resume\"."
	@echo "  PYTHON=... names the Python to start with (3.10 or newer)."

setup: ## everything the other targets need, ahead of time
	@$(stack) setup

demo: ## the whole way: set up, start, send ManyChat's example events, show each one's way into Odoo
	@$(stack) demo

up: ## start what the demo made again
	@$(stack) up

down: ## stop everything; data stays
	@$(stack) down

status: ## what runs, and where
	@$(stack) status

logs: ## the running programs' last log lines
	@$(stack) logs

test: ## lint and every suite
	@$(stack) test

test-bridge: ## contract and bridge, without Odoo
	@$(stack) test bridge $(only)

test-store: ## the SQL store, on SQLite and on PostgreSQL
	@$(stack) test store $(only)

test-addon: ## the addon inside a real Odoo
	@$(stack) test addon $(only)

test-install: ## the addon installed on a database in use, upgraded from the first release, uninstalled
	@$(stack) test install $(only)

test-neighbours: ## the addon and an event's way beside other apps, companies, leads, assignment
	@$(stack) test neighbours $(only)

test-e2e: ## events through a running system, from webhook to pipeline
	@$(stack) test e2e $(only)

test-browser: ## what people see of it, in a browser
	@$(stack) test browser $(only)

test-faults: ## a running system, broken in every way for a minute; properties and concurrency
	@$(stack) test faults $(only)

test-docs: ## README and docs: links, names and the commands in them
	@$(stack) test docs $(only)

test-deploy: ## images, compose files, units, manifests and workflows: what can be checked without the cloud
	@$(stack) test deploy $(only)

test-move: ## the move from an old system: plan, run, verify, rollback
	@$(stack) test move $(only)

CONTACTS ?= 10000
move: ## the same for CONTACTS=10000 invented people, with the figures at the end
	@$(stack) move $(CONTACTS)

test-server: ## docs/one-server.md followed on a fresh Debian (DEBIAN=bookworm or trixie), as root; not part of `make test`
	@$(stack) test server $(only)

test-images: ## both images, built by buildah and run; needs root, and 2 GB in ~/.cache; not part of make test
	@$(stack) test images $(only)

MINUTES ?= 10
soak: ## the same for MINUTES=10, with a table at the end; FAULT_SEED=N repeats a run
	@$(stack) soak $(MINUTES)

EVENTS ?= 100000
year: ## what everything costs with EVENTS=9000000 events, beside an empty system, and the disk they take
	@$(stack) year $(EVENTS)

scale: ## 1, 2 and 4 bridges on one queue: events a second, and whether each event counts once
	@$(stack) scale

ROUNDS ?=
bench: ## what everything costs beside what a user would have instead: CASE=move,webhook ROUNDS=3 SHORT=1
	@$(stack) bench $(if $(CASE),--cases '$(CASE)') $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SHORT),--short)

screenshots: ## the pictures of README and app page anew, from a running system full of invented people
	@$(stack) screenshots $(PICTURES)

translations: ## the addon's terms anew into i18n/*.pot and *.po; says which lack a translation
	@$(stack) translations

generate: ## the files that come from others: settings page, .env.example, addon's README, the proxy's paths
	@$(stack) generate

constraints: ## the newest versions of all libraries, for images and environments: deploy/constraints*.txt
	@$(stack) constraints

docs: ## the documentation as a site, in .miasalud/site
	@$(stack) docs

lint: ## ruff, pylint-odoo, mypy
	@$(stack) test lint

format: ## let ruff put the code in order
	@$(stack) format

clean: down ## stop everything and delete all that was made here
	@$(stack) clean
