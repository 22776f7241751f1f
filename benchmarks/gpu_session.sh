#!/usr/bin/env bash
# The first ten minutes on a card: what it can do, and whether the kernels that were written without one are right and fast.
#   benchmarks/gpu_session.sh [FOLDER [--only STEP...]]
# Prints at most 2,000 characters; everything else is in FOLDER ($OUT if that is set), one file a step. Without a card its steps are
# skipped by name. PYTHON names another interpreter than .venv's, SECONDS_LEFT another limit than 570 s for everything.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-${OUT:?name a folder for the tables}}
python=${PYTHON:-.venv/bin/python}
[ -x "$python" ] || python=$(command -v "$python" || command -v python3)
exec "$python" -m benchmarks.speed.gpu_session "$folder" --seconds "${SECONDS_LEFT:-570}" "${@:2}"
