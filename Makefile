# What there is to do here. Everything works on a fresh Debian or Ubuntu machine; scripts/ has the how.

FILE ?= forewarn.toml

.PHONY: help run test test-compose bench check faults servers stop clean-data

help:
	@echo 'make run            install what is missing, build, start everything here and show what it sees'
	@echo 'make test           all tests, on real Kafka, InfluxDB and PostgreSQL: parts, and the whole under kill -9'
	@echo 'make test-compose   docker-compose.yml from nothing to rows in SQL, where Docker runs or root can start it'
	@echo 'make check FILE=my.toml   whether every service understands these settings'
	@echo 'make bench          speed beside a peer, and from a sample to its committed row'
	@echo 'make faults KILLS=100   kill -9 at random instants; the stores must equal the reference'
	@echo 'make servers        only Kafka, InfluxDB and PostgreSQL; make stop ends them'
	@echo 'make clean-data     stop them and delete what they hold'

run:
	@scripts/run

test:
	@scripts/test

test-compose:
	@scripts/test-compose $(SERVICES)

bench:
	@scripts/bench

check:
	@scripts/check $(FILE)

KILLS ?= 100
faults:
	@scripts/faults $(KILLS)

servers:
	@scripts/servers start
	@scripts/servers env

stop:
	@scripts/servers stop

clean-data:
	@scripts/servers wipe
	@rm -rf .forewarn
