#!/usr/bin/env bash
# The isolation forest and scikit-learn's: scores of many rows, of one row, and growing, in one run and on one thread each.
set -euo pipefail
cd "$(dirname "$0")/.."
FOREWARN_BENCH_PYTHON=${FOREWARN_BENCH_PYTHON:-$(scripts/python)}
export FOREWARN_BENCH_PYTHON
exec cargo bench --quiet --locked -p forewarn-models --bench forest
