# The doors to this repository: `make demo`, `make test`, `make check`, `make accept`.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && command -v $$p && break; done)
IS_CHOSEN := $(if $(filter command environment,$(origin PYTHON)),--exactly)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
MODEL ?=
RUNS ?=
YES ?=
MINUTES ?=
WORKERS ?=
ONLY ?=
SCALE ?=
SEED ?=
CELLS ?=
SLICE ?=
STORY ?=
FAULT ?=
STORE ?=
RESUME ?=
PYTEST_ARGS ?=
# What `make test STORE=postgres` runs: the API and its stories on that store, and whatever is of it by name.
ON_POSTGRES := tests/api tests/conformance/test_stores.py tests/conformance/test_catalogs.py tests/conformance/test_postgres.py tests/e2e/test_two_servers.py
# Of `make test`; PYTEST_WORKERS=0 runs them in one process, where a debugger and the timings of single tests make sense.
PYTEST_WORKERS ?= auto

.PHONY: FORCE demo demo-rate test long check accept format lint types types-src types-tests quick layers faults zoo cheats walls bench bench-turn bench-verification load soak clean help

help:
	@echo "make demo [MODEL=ID]   real remits on a scripted model, in under a minute; MODEL=local adds one on a real small one (1.1 GB)"
	@echo "make demo-rate         how often that one carries out ten fixed tasks [MODEL=ID] [RUNS=20]"
	@echo "make test              set up and run all tests [STORE=postgres: the API on that store]"
	@echo "make long              the tests of five seconds and more that make test leaves out; CI runs both [STORE=postgres: with the fuzzer, on that store]"
	@echo "make check             format, lint, types, layers, tests of single parts (about a minute)"
	@echo "make bench [ONLY=W1]   the workloads of docs/performance.md, each beside a raw limit of this machine [SCALE=0.1]"
	@echo "make load [ONLY=storm] the load shapes of docs/load.md; none may fail [SCALE=0.1]"
	@echo "make soak              sessions made, used and deleted: what of them stays behind [MINUTES=10] [WORKERS=24]"
	@echo "make faults            every story struck by every fault at every point [SEED=22] [CELLS=500] [RESUME=1]"
	@echo "make cheats            every row of the tables of cheats, of which make test runs some [PYTEST_ARGS=…]"
	@echo "make walls             sandboxes and hostile programs, as root also whole as an ordinary user"
	@echo "make zoo               real public projects: honest changes, cheats [SEED=8] [SLICE=6] [ONLY=name,name]"
	@echo "make accept            one script per promise of the first release, in a fresh clone"

# Asked by every make: an installation that is whole says nothing, any other is mended or says what it lacks.
define install
@python="$(or $(PYTHON),$(BIN)/python)"; \
"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
|| { echo "Remit needs Python 3.11 or newer, and $$python is none; name one: make PYTHON=/path/to/python3.11"; exit 1; }; \
"$$python" -B scripts/install.py --venv "$(VENV)" $(IS_CHOSEN) $(1)
endef

FORCE:

$(STAMP): FORCE
	$(call install)

$(DEV_STAMP): FORCE
	$(call install,--extra dev)

demo: $(STAMP)
	@$(BIN)/python scripts/demo.py $(if $(MODEL),--model "$(MODEL)") $(if $(YES),--yes)

demo-rate: $(STAMP)
	@$(BIN)/python scripts/demo_rate.py $(if $(MODEL),--model "$(MODEL)") $(if $(RUNS),--runs $(RUNS))

test: $(DEV_STAMP)
	@$(if $(STORE),REMIT_TEST_STORE=$(STORE) )$(BIN)/python -m pytest $(if $(filter postgres,$(STORE)),$(ON_POSTGRES)) -m "not long" -n $(PYTEST_WORKERS) --maxprocesses 4 --dist worksteal $(PYTEST_ARGS)

long: $(DEV_STAMP)
	@$(if $(STORE),REMIT_TEST_STORE=$(STORE) )$(BIN)/python -m pytest $(if $(filter postgres,$(STORE)),$(ON_POSTGRES)) -m long -n $(PYTEST_WORKERS) --maxprocesses 4 --dist worksteal $(PYTEST_ARGS)

# What to run before each commit: about a minute. What is left out, `make test` runs.
check: lint layers
	@$(MAKE) --no-print-directory -j3 types-src types-tests quick

quick: $(DEV_STAMP)
	@$(BIN)/python -m pytest -q -n $(PYTEST_WORKERS) --maxprocesses 4 --dist worksteal -m "not slow and not long" $(PYTEST_ARGS) tests/unit tests/parity tests/replay tests/test_*.py

lint: $(DEV_STAMP)
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .

types: types-src types-tests

types-src: $(DEV_STAMP)
	@$(BIN)/pyright

types-tests: $(DEV_STAMP)
	@$(BIN)/pyright -p tests

layers: $(DEV_STAMP)
	@$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

format: $(DEV_STAMP)
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix .

accept: $(STAMP)
	@$(BIN)/python scripts/accept/run.py

faults: $(DEV_STAMP)
	@PYTHONPATH=tests $(BIN)/python -m fault_matrix $(if $(SEED),--seed $(SEED)) $(if $(CELLS),--slice $(CELLS)) $(if $(STORY),--story "$(STORY)") $(if $(FAULT),--fault "$(FAULT)") $(if $(STORE),--store $(STORE)) $(if $(RESUME),--resume)
	@$(BIN)/python scripts/kill_test.py --wounds 12

walls: $(DEV_STAMP)
	@REMIT_TEST_TABLES=whole $(BIN)/python -m pytest tests/conformance/test_sandboxes.py tests/conformance/test_hostile.py tests/conformance/test_egress.py $(PYTEST_ARGS)

cheats: $(DEV_STAMP)
	@REMIT_TEST_TABLES=whole $(BIN)/python -m pytest -m table $(PYTEST_ARGS)

zoo: $(DEV_STAMP)
	@PYTHONPATH=tests $(BIN)/python -m zoo --prepare $(if $(SEED),--seed $(SEED)) $(if $(SLICE),--slice $(SLICE)) $(if $(ONLY),--only "$(ONLY)")

bench: $(STAMP)
	@$(BIN)/python scripts/bench $(if $(ONLY),--only "$(ONLY)") $(if $(SCALE),--scale $(SCALE))

load: $(STAMP)
	@$(BIN)/python scripts/load $(if $(ONLY),--only "$(ONLY)") $(if $(SCALE),--scale $(SCALE))

soak: $(STAMP)
	@$(BIN)/python scripts/soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(WORKERS),--workers $(WORKERS))

bench-turn: $(DEV_STAMP)
	@$(BIN)/python scripts/bench_turn.py

# What recording and read-only files cost a verification.
bench-verification: $(DEV_STAMP)
	@$(BIN)/python scripts/bench_verification.py $(ROUNDS)

clean:
	rm -rf $(VENV)
