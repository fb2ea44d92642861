"""The setup scripts and the project's metadata agree."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

import s3pot

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ("demo.sh", "test.sh", "tools/environment.sh", ".ci/run")
MODULES = {  # requirement → module it provides
    "torch": "torch",
    "torchvision": "torchvision",
    "segment-anything": "segment_anything",
    "numpy": "numpy",
    "opencv-python": "cv2",
    "pillow": "PIL",
    "tqdm": "tqdm",
    "pyyaml": "yaml",
    "matplotlib": "matplotlib",
    "filelock": "filelock",
    "jinja2": "jinja2",
    "safetensors": "safetensors",
    "typing-extensions": "typing_extensions",
}
needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="no bash on this machine")


def prepare(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the environment setup in a copy of its folder, without an active environment."""
    (folder / "tools").mkdir(exist_ok=True)
    shutil.copy(ROOT / "tools" / "environment.sh", folder / "tools")
    (folder / "requirements.txt").write_text("", encoding="utf-8")
    script = "set -euo pipefail; source tools/environment.sh; "
    script += 'prepare_environment requirements.txt; echo "PY=$PY"'
    return subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def fake_python(path: Path, version: str, answer: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && {{ echo Python {version}; exit 0; }}\nexit {answer}\n',
        encoding="utf-8",
    )
    path.chmod(0o755)
    return path


@needs_bash
@pytest.mark.parametrize("name", SCRIPTS)
def test_script_is_valid_bash(name: str) -> None:
    subprocess.run(["bash", "-n", str(ROOT / name)], check=True)


@needs_bash
def test_old_python_is_one_clear_error(tmp_path: Path) -> None:
    old = fake_python(tmp_path / "old", "3.8.1", answer=1)
    done = prepare(tmp_path, PYTHON=str(old))
    assert done.returncode == 2
    assert "3.8.1" in done.stderr and ">= 3.9" in done.stderr and "PYTHON=" in done.stderr
    assert not (tmp_path / ".venv").exists()


@needs_bash
def test_a_folder_that_is_no_environment_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    python = fake_python(tmp_path / "python", "3.12.0", answer=0)
    done = prepare(tmp_path, PYTHON=str(python), S3POT_VENV="photos")
    assert done.returncode == 2 and "not an environment" in done.stderr
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["a.jpg"]


@needs_bash
def test_active_environment_is_used_as_it_is(tmp_path: Path) -> None:
    python = fake_python(tmp_path / "mine" / "bin" / "python", "3.12.0", answer=0)
    done = prepare(tmp_path, VIRTUAL_ENV=str(tmp_path / "mine"))
    assert done.returncode == 0, done.stderr
    assert f"PY={python}" in done.stdout
    assert "installing" not in done.stdout and not (tmp_path / ".venv").exists()


FAKE_PYTHON = """\
#!/bin/sh
[ "$1" = - ] && exit 0  # the look for missing packages
printf '%s: %s\\n' "$(basename "$PWD")" "$*" >>"$LOG"
if [ "$2" = s3pot_synthetic ]; then
    mkdir -p dataset/raw_images/val dataset/truth/val
    touch dataset/raw_images/val/a.png
    touch dataset/truth/val/a_occlusion.png dataset/truth/val/a_clean.png
fi
"""


@needs_bash
def test_the_demo_stays_in_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    for name in ("demo.sh", "tools/environment.sh"):
        shutil.copy(ROOT / name, tmp_path / name)
    python = fake_python(tmp_path / "mine" / "bin" / "python", "3.12.0", answer=0)
    python.write_text(FAKE_PYTHON, encoding="utf-8")
    for name in ("dataset/raw_images", "results", "checkpoint/train_general"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "mine.txt").write_text("mine", encoding="utf-8")
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    log = tmp_path / "commands.log"
    done = subprocess.run(
        ["bash", str(tmp_path / "demo.sh")],
        cwd="/",
        env={
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "VIRTUAL_ENV": str(tmp_path / "mine"),
            "LOG": str(log),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = log.read_text(encoding="utf-8").splitlines()
    assert [line.split(" --")[0] for line in lines[-8:]] == [
        "demo: -m s3pot_synthetic",
        "demo: -m s3pot_synthetic",
        "demo: ../generate_reference.py",
        "demo: ../train_general.py",
        "demo: ../train_per_image.py",
        "demo: ../inference.py",
        "demo: ../evaluate.py",
        "demo: ../evaluate.py",
    ]
    after = {path for path in tmp_path.rglob("*") if path.is_file()}
    added = {path.relative_to(tmp_path).parts[0] for path in after - before}
    assert added == {"demo", "commands.log"}
    assert (tmp_path / "demo" / "dataset" / "raw_images" / "test_01.png").is_file()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The built wheel; nothing is downloaded for it."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_all_that_the_package_reads_travels_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    inside = set(wheel.namelist())
    for package in ("s3pot", "s3pot_synthetic", "s3pot_mini"):
        for path in (ROOT / package).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert path.relative_to(ROOT).as_posix() in inside
    for path in (ROOT / "configs").rglob("*.yaml"):
        assert f"s3pot/{path.relative_to(ROOT).as_posix()}" in inside


def test_nothing_else_travels_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    info = f"s3pot-{s3pot.__version__}.dist-info"
    assert tops == {"s3pot", "s3pot_synthetic", "s3pot_mini", info}
    entry_points = wheel.read(f"{info}/entry_points.txt").decode()
    assert "s3pot = s3pot.__main__:main" in entry_points


def test_the_wheel_needs_what_requirements_txt_lists() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = re.search(r"^dependencies = \[.*?\n(.*?)^\]", pyproject, re.M | re.S)
    assert block is not None
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").split()
    assert re.findall(r'"([^"]+)"', block[1]) == lines


def test_every_requirement_is_looked_for_in_an_active_environment() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").split()
    names = {re.split(r"[<>=!~]", line)[0] for line in lines}
    assert names == set(MODULES)
    setup = (ROOT / "tools" / "environment.sh").read_text(encoding="utf-8")
    looked_for = re.search(r'local modules="([^"]+)"', setup)
    assert looked_for is not None
    assert set(looked_for[1].split()) == set(MODULES.values())


def test_every_requirement_has_a_lower_bound() -> None:
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").split():
        assert re.fullmatch(r"[a-z0-9-]+>=[\d.]+", line), line


def test_citation_has_the_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == s3pot.__version__
    assert "2602.00635" in str(citation["references"])
