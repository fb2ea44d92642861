#!/usr/bin/env bash
# The tests that need a GPU, then the benchmark of one: a check of about four minutes on a machine that has both.
#   DEVICE=cuda|cpu   SIZE=vit_h|vit_b|mini   TEST_SECONDS=80   MINUTES=2.5
#   OUT=DIR           where logs and the benchmark's JSON go (default: nowhere but the screen)
# Installs nothing. With DEVICE=cpu the tests are skipped one by one: a rehearsal.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PYTHONUNBUFFERED=1
device="${DEVICE:-cuda}" size="${SIZE:-vit_h}" minutes="${MINUTES:-2.5}"
logs="${OUT:-$(mktemp -d)}"
python="${PYTHON:-python3}"

timeout "${TEST_SECONDS:-80}" "$python" -m pytest -m gpu -q -x --maxfail=20 -p no:cacheprovider \
    --durations=5 tests/test_gpu.py tests/ps/test_greedy.py 2>&1 | tee "$logs/tests.log" | tail -60
tests=${PIPESTATUS[0]}

# Whatever a stage does, the benchmark ends: the rows so far are in its JSON file.
limit=$("$python" -c "print(int(60 * $minutes) + 40)")
timeout "$limit" "$python" -m benchmarks --device "$device" --size "$size" --minutes "$minutes" \
    --json "$logs/speed.json" 2>"$logs/benchmark.err" | tee "$logs/benchmark.log"
benchmark=${PIPESTATUS[0]}
tail -5 "$logs/benchmark.err"
echo "tests: exit code $tests, benchmark: exit code $benchmark"
