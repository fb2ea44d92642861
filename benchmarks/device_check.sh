#!/usr/bin/env bash
# The tests that need a GPU, then the benchmark of one, in a bounded time altogether.
#   DEVICE=cuda|cpu      SIZE=vit_h|vit_b|mini
#   SECONDS_IN_ALL=225   the benchmark gets what the tests leave
#   TEST_SECONDS=80      of the tests at most
#   OUT=DIR              where logs and the benchmark's JSON go (default: a new temporary folder)
# Installs nothing. If there is no such device, one sentence says so (exit code 2). DEVICE=cpu is a
# rehearsal: those tests run that a CPU can run, too.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PYTHONUNBUFFERED=1
device="${DEVICE:-cuda}" size="${SIZE:-vit_h}" in_all="${SECONDS_IN_ALL:-225}"
logs="${OUT:-$(mktemp -d)}"
python="${PYTHON:-python3}"

"$python" -c '
import sys
from s3pot.device import pick_device
from s3pot.types import S3potError
try:
    pick_device(sys.argv[1])
except S3potError as error:
    sys.exit(str(error))
' "$device" || exit 2

if [ "$device" = cpu ]; then
    marked="not gpu" files=(tests/test_gpu.py)
else
    marked="gpu"
    mapfile -t files < <(grep -rl --include="test_*.py" "mark\.gpu" tests)
fi
timeout "${TEST_SECONDS:-80}" "$python" -m pytest -m "$marked" -q --maxfail=20 --tb=short -p no:cacheprovider \
    --durations=5 "${files[@]}" 2>&1 | tee "$logs/tests.log" | tail -60
tests=${PIPESTATUS[0]}

# A stage that hangs is ended, too; the rows until then are in the JSON file.
left=$((in_all - SECONDS))
minutes=$("$python" -c "print(max($left - 25, 10) / 60)")
timeout "$((left > 35 ? left : 35))" "$python" -m benchmarks --device "$device" --size "$size" \
    --minutes "$minutes" --json "$logs/speed.json" 2>"$logs/benchmark.err" | tee "$logs/benchmark.log"
benchmark=${PIPESTATUS[0]}
tail -5 "$logs/benchmark.err"
echo "tests: exit code $tests, benchmark: exit code $benchmark"
