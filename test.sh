#!/usr/bin/env bash
# All checks of the project: bash test.sh; only some tests: bash test.sh tests/ps -k greedy
# Mutation testing, which checks that the tests notice a broken method: bash test.sh --mutants (tools/mutants.py)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=tools/environment.sh
source tools/environment.sh
prepare_environment requirements-dev.txt
# Keep bytecode even if the environment says otherwise: each worker would compile all tests anew, for seconds.
unset PYTHONDONTWRITEBYTECODE

if [ "${1:-}" = --mutants ]; then
    shift
    exec "$PY" -m tools.mutants "$@"
fi
if [ "$#" -gt 0 ]; then
    exec "$PY" -m pytest "$@"
fi
failed=()
check() {
    echo
    echo "== $*"
    "$PY" -m "$@" || failed+=("$1")
}
check ruff check .
check ruff format --check .
check mypy
check pytest -n auto --maxprocesses 8 --dist worksteal
if [ "${#failed[@]}" -gt 0 ]; then
    echo "failed: ${failed[*]}" >&2
    exit 1
fi
