# Sourced by demo.sh and test.sh: makes $PY a Python with the requirements installed.
# shellcheck shell=bash

# The models are small: two threads that sleep while waiting are faster than many that spin, especially on a busy
# machine or in a container that may use fewer processors than it sees.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-2}" OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-PASSIVE}"

die() {
    echo "error: $*" >&2
    exit 2
}

# The interpreter to use: $PYTHON, or else the first one on the path.
find_python() {
    local name
    for name in "${PYTHON:-}" python3 python; do
        if [ -n "$name" ] && command -v "$name" >/dev/null 2>&1; then
            command -v "$name"
            return
        fi
        [ -z "${PYTHON:-}" ] || die "PYTHON=$PYTHON is not a program; set it to a Python >= 3.9"
    done
    die "no python3 on the path; install Python >= 3.9 or set PYTHON=/path/to/python"
}

check_version() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 9))' \
        || die "$1 is $("$1" --version 2>&1); s3pot needs Python >= 3.9: set PYTHON=/path/to/a/newer/python"
}

# pip is either quiet or floods the screen; show one line per package instead.
pip_install() {
    "$PY" -m pip --version >/dev/null 2>&1 || die "$PY has no pip; run: $PY -m ensurepip"
    echo "installing $1 (a few minutes the first time)"
    "$PY" -m pip install --progress-bar off --disable-pip-version-check -r "$1" | while IFS= read -r line; do
        case "$line" in
            Collecting* | Processing*) echo "  ${line%% (from*}" ;;
            *Downloading*MB* | *Downloading*GB*) echo "  $line" ;;
            Installing\ collected*) echo "  installing" ;;
        esac
    done || die "pip could not install $1 (its reason is above); run the command again to retry"
}

# An environment created by the user is used as it is; only what cannot be imported is installed.
use_active() {
    PY="$1/bin/python"
    [ -x "$PY" ] || PY="$1/Scripts/python.exe"
    [ -x "$PY" ] || PY="$1/python.exe"
    [ -x "$PY" ] || die "the active environment $1 has no Python; deactivate it or activate another"
    check_version "$PY"
    echo "using the active environment $1"
    shift
    local modules="torch torchvision segment_anything numpy cv2 PIL tqdm yaml matplotlib filelock jinja2 safetensors typing_extensions"
    [ "$1" = requirements.txt ] || modules="$modules pytest xdist ruff mypy"
    # shellcheck disable=SC2086  # one argument per module
    "$PY" - $modules <<'PYTHON' || pip_install "$1"
import importlib.util
import sys

missing = [name for name in sys.argv[1:] if importlib.util.find_spec(name) is None]
if missing:
    print("not in it yet:", ", ".join(missing))
sys.exit(bool(missing))
PYTHON
}

# Our own environment is created once; pip runs again only when the requirements change.
use_own() {
    local venv="$1" requirements="$2" base stamp
    base="$(find_python)"
    check_version "$base"
    if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1 \
        && ! "$venv/Scripts/python.exe" -m pip --version >/dev/null 2>&1; then
        [ -e "$venv/pyvenv.cfg" ] || [ -z "$(ls -A "$venv" 2>/dev/null)" ] \
            || die "$venv exists and is not an environment; move it away or set S3POT_VENV to another place"
        echo "creating the environment $venv with $("$base" --version 2>&1)"
        "$base" -m venv --clear "$venv" \
            || die "cannot create $venv; on Debian and Ubuntu install python3-venv, or activate an environment first"
    fi
    PY="$venv/bin/python"
    [ -x "$PY" ] || PY="$venv/Scripts/python.exe"
    stamp="$venv/s3pot-$requirements"
    if ! cat requirements.txt "$requirements" | cmp -s - "$stamp"; then
        pip_install "$requirements"
        cat requirements.txt "$requirements" >"$stamp.new"
        mv "$stamp.new" "$stamp"
    fi
}

# Usage: prepare_environment requirements.txt|requirements-dev.txt
prepare_environment() {
    local active="${VIRTUAL_ENV:-${CONDA_PREFIX:-}}"
    if [ -n "$active" ] && [ -z "${S3POT_VENV:-}" ] && [ -z "${PYTHON:-}" ]; then
        use_active "$active" "$1"
    else
        use_own "${S3POT_VENV:-.venv}" "$1"
    fi
}
