"""The provenance of results."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from s3pot.config import load_config, save_config
from s3pot.io import write_json
from s3pot.metrics import mask_scores, summarize
from s3pot.report.rows import Provenance, TableRow, provenance_lines
from s3pot.runs import provenance
from s3pot.runs.provenance import (
    code_commit,
    config_hash,
    provenance_of,
    provenance_of_code,
    provenance_of_results,
)
from s3pot.version import __version__

MASK = np.ones((4, 4), bool)


def git(folder: Path, *arguments: str) -> str:
    settings = ["-c", "user.name=n", "-c", "user.email=e@e", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *settings, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_commit_of_a_checkout_and_its_changes(tmp_path: Path) -> None:
    git(tmp_path, "init")
    (tmp_path / "code.py").write_text("1")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "-m", "first", "--no-verify")
    commit = git(tmp_path, "rev-parse", "HEAD")[:12]
    (tmp_path / "result.csv").write_text("not of the code")
    assert code_commit(tmp_path) == commit
    (tmp_path / "code.py").write_text("2")
    assert code_commit(tmp_path) == f"{commit}+"


def test_an_installed_package_has_its_version_and_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert code_commit(tmp_path) is None
    monkeypatch.setattr(provenance, "code_commit", lambda: None)
    installed = provenance_of(load_config(), {})
    assert (installed.commit, installed.version) == ("", __version__)
    row = TableRow("a", summarize([mask_scores(MASK, MASK)]), provenance=installed)
    assert f"seed 321, version {__version__}, config" in provenance_lines([row])[0]


def test_config_hash_goes_by_what_numbers_depend_on() -> None:
    plain = config_hash(load_config())
    assert len(plain) == 12
    assert config_hash(load_config(overrides=["run.device=cpu", "cache.mode=off"])) == plain
    assert config_hash(load_config(overrides=["train.lr=1e-3"])) != plain


def test_provenance_of_a_run() -> None:
    found = provenance_of(
        load_config(overrides=["train.seed=7"]), {"sam": "b" * 64, "adapter": "a" * 64}
    )
    assert found.seed == "7"
    assert found.weights == f"adapter {'a' * 12} sam {'b' * 12}"


def test_provenance_of_results(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    code = provenance_of_code()
    assert code == Provenance(commit=code_commit() or "", version=code.version)
    assert bool(code.commit) != bool(code.version)
    assert provenance_of_results(tmp_path) == code
    config = load_config(overrides=["train.seed=7"])
    save_config(config, tmp_path, "inference")
    rows = [
        {"name": "a", "sha256_sam": "b" * 64, "sha256_adapter": "c" * 64},
        {"name": "b", "sha256_sam": "b" * 64, "sha256_adapter": "d" * 64},
        {"name": "c", "failed": {"stage": "read", "reason": "it is cut off"}},
    ]
    write_json(tmp_path / "summary.json", rows)
    assert provenance_of_results(tmp_path) == replace(
        code, seed="7", config=config_hash(config), weights=f"adapter (2 different) sam {'b' * 12}"
    )
    rows[1] = {"name": "b", "sha256_sam": "b" * 64, "sha256_adapter": None}  # without points
    write_json(tmp_path / "summary.json", rows)
    assert provenance_of_results(tmp_path).weights == f"adapter {'c' * 12} sam {'b' * 12}"
    (tmp_path / "config.yaml").write_text("nonsense: {a: 1}")
    assert provenance_of_results(tmp_path) == code
    assert "nonsense" in caplog.text
