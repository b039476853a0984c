#!/usr/bin/env bash
# Features per second of the engine, of pandas and of polars, in one run and on one thread each, and their ratios.
set -euo pipefail
cd "$(dirname "$0")/.."
FOREWARN_BENCH_PYTHON=${FOREWARN_BENCH_PYTHON:-$(scripts/python)}
export FOREWARN_BENCH_PYTHON
exec cargo bench --quiet -p forewarn-features --bench transforms
