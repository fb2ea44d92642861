"""The provenance of numbers: the commit of the code, the config and the hashes of the weights."""

from __future__ import annotations

import hashlib
import json
import logging
import subprocess
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from s3pot.config import Config, config_to_dict, load_config
from s3pot.report.rows import Provenance
from s3pot.report.summary import model_hashes_of, read_summary
from s3pot.types import S3potError
from s3pot.version import __version__

logger = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
HASH_DIGITS = 12


def provenance_of(config: Config, weights: Mapping[str, str]) -> Provenance:
    """Describe a run.

    Args:
        config: The config of the run.
        weights: Model → SHA-256 of its file.
    """
    return _provenance(config, {model: {sha256} for model, sha256 in weights.items()})


def _provenance(config: Config, hashes: Mapping[str, Collection[str]]) -> Provenance:
    """Describe a run whose faces may have used different weights of a model."""
    weights = [
        f"{model} {min(of_model)[:HASH_DIGITS]}"
        if len(of_model) == 1
        else f"{model} ({len(of_model)} different)"
        for model, of_model in sorted(hashes.items())
    ]
    return replace(
        provenance_of_code(),
        seed=str(config.train.seed),
        config=config_hash(config),
        weights=" ".join(weights),
    )


def provenance_of_code() -> Provenance:
    """Describe the running code: its commit in a checkout, elsewhere its version."""
    commit = code_commit()
    return Provenance(commit=commit or "", version="" if commit else __version__)


def provenance_of_results(results: Path) -> Provenance:
    """Describe the scores of a result folder.

    The code is the running one, which scores: a result folder does not name the code that wrote it.
    Seed, config and weights are those of the results, as far as the folder records them.
    """
    path = results / "config.yaml"
    if not path.is_file():
        return provenance_of_code()
    try:
        config = load_config(path)
        hashes = model_hashes_of(read_summary(results).rows)
    except (S3potError, LookupError, TypeError, AttributeError) as error:
        logger.warning("the table does not state the provenance of %s: %s", results, error)
        return provenance_of_code()
    return _provenance(config, hashes)


def config_hash(config: Config) -> str:
    """Hash all values that results may depend on, briefly; those of the machine are left out."""
    values = config_to_dict(config)
    del values["cache"]
    del values["run"]
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:HASH_DIGITS]


def code_commit(root: Path = ROOT) -> str | None:
    """Return a checkout's commit, with ``+`` if files differ from it; elsewhere None."""
    if not (root / ".git").exists():
        return None
    commit = _git(root, "rev-parse", f"--short={HASH_DIGITS}", "HEAD")
    if commit is None:
        return None
    changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}+" if changes else commit


def _git(root: Path, *arguments: str) -> str | None:
    """Return git's output; None if git is missing or fails."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), *arguments],
            check=True,
            capture_output=True,
            text=True,
            timeout=20,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
