# make run and make test do everything on a fresh Debian machine that has Python 3.11, make and git.

VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
ONCE   ?=
# Of the tests: one more than CI has processors, for many wait. More of them, and their deadlines pass on a busy machine.
PROCESSES ?= 3
SHELL  := /bin/bash
# Below the server: what has no input and output, and every branch of it a test.
CORE   := constants errors wording codecs dnsnames fqdn records definitions formats locations spaces registry options packet parameters \
          leases packing leasetable nonces expression_syntax expression_printing expressions classes filters reservations requestors subnets explanation exchange serveroptions \
          verdicts policies hookspecs serverspecs implementations hooktable registration shadows hookcalls hooks relays virtual leaseindex freemap usage addresses placement \
          forcerenew replies leasequery rules engine
comma  := ,
space  := $(subst ,, )
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help run test check docs docs-serve bench bench-quick bench-engine bench-hooks bench-callouts bench-workers format clean

help:
	@echo "make run          install, and show the server at work (ONCE=1: end by itself)"
	@echo "make test         install what the tests need, and run them all (PROCESSES=1: one after the other)"
	@echo "make check        format, lint, types, tests: the habit before a commit"
	@echo "make docs         the documentation as a site, into site/ (make docs-serve: on http://127.0.0.1:8000, as you write)"
	@echo "make bench        every bar of speed, next to Kea, ISC dhcpd and dnsmasq: half an hour (needs root)"
	@echo "make bench-quick  the main ones, next to Kea, in two minutes"
	@echo "make bench-engine what the engine alone costs, step by step"
	@echo "make bench-hooks  what hooks cost (needs root); bench-callouts: what native callouts cost"
	@echo "make bench-workers what two servers on two cores would bring, in three minutes (needs root)"
	@echo "make clean        remove what these made"

# $(call packages,NAMES): Debian packages that are missing, when we may install them; otherwise what is missing is done
# without. None of them starts a service.
define packages
	@missing=$$(dpkg-query -W -f='$${db:Status-Abbrev} $${Package}\n' $(1) 2>/dev/null | sed -n 's/^ii *//p' | sort); \
	missing=$$(comm -13 <(echo "$$missing") <(printf '%s\n' $(1) | sort)); \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing" $$missing; \
		(apt-get update -qq && DEBIAN_FRONTEND=noninteractive benchmarks/no-services.sh \
		 apt-get install -qq -y --no-install-recommends $$missing) >$(VENV)/apt.log 2>&1 \
		|| { tail -n 5 $(VENV)/apt.log; echo "going on without them"; }; \
	elif [ -n "$$missing" ]; then \
		echo "not installed, and done without:" $$missing; \
	fi
endef

# Debian's python3 has no venv without python3-venv.
$(BIN)/python:
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || { \
		rm -rf $(VENV); \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo "installing python3-venv"; \
			(apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y python3-venv) >/dev/null && $(PYTHON) -m venv $(VENV); \
		else \
			echo "$(PYTHON) can't make a virtual environment: install the package python3-venv first"; exit 1; \
		fi; }

$(VENV)/.runs: pyproject.toml | $(BIN)/python
	@echo "installing aiodhcp into $(VENV)"
	@$(BIN)/pip install -q -e .
	@touch $@

$(VENV)/.tests: pyproject.toml | $(BIN)/python
	@echo "installing aiodhcp and what its tests need into $(VENV)"
	@$(BIN)/pip install -q --upgrade 'pip>=25.1'
	@$(BIN)/pip install -q -e '.[aioudp]' --group test --group check --group docs
	@touch $@ $(VENV)/.runs $(VENV)/.docs

$(VENV)/.docs: pyproject.toml | $(BIN)/python
	@echo "installing aiodhcp and what its documentation is built with into $(VENV)"
	@$(BIN)/pip install -q --upgrade 'pip>=25.1'
	@$(BIN)/pip install -q -e . --group docs
	@touch $@ $(VENV)/.runs

run: $(VENV)/.runs
	$(call packages,iproute2 udhcpc)
	@exec $(BIN)/aiodhcp demo $(if $(ONCE),--once)

test: $(VENV)/.tests
	$(call packages,$(shell sed 's/#.*//' tests/system-packages.txt))
	@# Whatever the surroundings say: without compiled modules, each of some hundred processes compiles them for itself.
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(PROCESSES) --no-loadscope-reorder --cov --cov-report=term:skip-covered
	@$(BIN)/coverage report --include='$(subst $(space),$(comma),$(CORE:%=aiodhcp/%.py))' --fail-under=100 >/dev/null \
	|| { echo "below the server every branch is to be covered:"; \
	     $(BIN)/coverage report --include='$(subst $(space),$(comma),$(CORE:%=aiodhcp/%.py))' --skip-covered -m; exit 1; }

check: $(VENV)/.tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(MAKE) --no-print-directory test

format: $(VENV)/.tests
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: $(VENV)/.docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "open site/index.html (for the search: make docs-serve)"

docs-serve: $(VENV)/.docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve

bench bench-quick: $(VENV)/.runs
	@PYTHON=$(BIN)/python benchmarks/setup.sh
	@$(BIN)/python benchmarks/run.py $(if $(filter bench-quick,$@),--quick)

bench-hooks: $(VENV)/.runs
	@benchmarks/setup.sh
	@$(BIN)/python benchmarks/hooks.py

bench-engine: $(VENV)/.runs
	@$(BIN)/python benchmarks/engine.py

bench-callouts: $(VENV)/.runs
	@benchmarks/setup.sh
	@$(BIN)/python benchmarks/callouts.py

bench-workers: $(VENV)/.runs
	@benchmarks/setup.sh
	@$(BIN)/python benchmarks/workers.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage dist site benchmarks/build
	find . -name __pycache__ -prune -exec rm -rf {} +
