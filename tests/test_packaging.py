"""The set-up scripts and the project's metadata fit together."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

import s3pot

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ("demo.sh", "test.sh", "tools/environment.sh", ".ci/run")
MODULES = {  # requirement → module it brings
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
}
needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="no bash on this machine")


def prepare(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the environment set-up in a copy of its surroundings, with no environment active."""
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
    assert done.returncode == 2 and "no environment" in done.stderr
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["a.jpg"]


@needs_bash
def test_active_environment_is_used_as_it_is(tmp_path: Path) -> None:
    python = fake_python(tmp_path / "mine" / "bin" / "python", "3.12.0", answer=0)
    done = prepare(tmp_path, VIRTUAL_ENV=str(tmp_path / "mine"))
    assert done.returncode == 0, done.stderr
    assert f"PY={python}" in done.stdout
    assert "installing" not in done.stdout and not (tmp_path / ".venv").exists()


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
