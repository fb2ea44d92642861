"""The output folder of general training: the files of a run, and protection of other runs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from s3pot.locks import exclusive
from s3pot.types import S3potError
from s3pot.wording import brief

LOCK = ".training.lock"
LAST = "last.pth"
BEST = "best.pth"
BOARD = "tensorboard"


def epoch_checkpoint(output_dir: Path, epoch: int) -> Path:
    """Return the path of an epoch's checkpoint."""
    return output_dir / f"model_epoch_{epoch}.pth"


def files_of_a_run(output_dir: Path) -> list[Path]:
    """List the checkpoints and histories that a run left in a folder, sorted."""
    names = [LAST, BEST, "history.csv", "history.jsonl", "loss_curve.png", BOARD]
    paths = [output_dir / name for name in names]
    existing = [path for path in paths if path.exists()]
    return sorted([*existing, *output_dir.glob("model_epoch_*.pth")])


def describe_files(output_dir: Path) -> str:
    """List the files of a finished run for its log; the checkpoints of the epochs count as one."""
    names = [path.name for path in files_of_a_run(output_dir)]
    others = [name for name in names if not name.startswith("model_epoch_")]
    shown = [f"{name} (that epoch)" if name == BEST else name for name in others]
    if len(others) < len(names):
        shown.append("model_epoch_N.pth")
    return ", ".join(shown)


def refuse_another_run(output_dir: Path) -> None:
    """Refuse to overwrite the run that a folder holds.

    Raises:
        S3potError: The folder holds a run.
    """
    files = files_of_a_run(output_dir)
    if files:
        names = brief([path.name for path in files])
        raise S3potError(
            f"--output_dir {output_dir} holds another run ({names}). "
            "Pass --resume to continue it, --overwrite to replace it, or choose another folder."
        )


@contextmanager
def only_training_in(output_dir: Path) -> Iterator[None]:
    """Create a folder and keep other training processes out of it while the block runs.

    Raises:
        S3potError: Another process is training into the folder.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    busy = (
        f"Another process is training into --output_dir {output_dir}. Wait for it to end, or "
        "choose another folder."
    )
    with exclusive(output_dir / LOCK, busy):
        yield


def remove_earlier_run(output_dir: Path) -> None:
    """Remove the files of an earlier run, and nothing else."""
    for path in files_of_a_run(output_dir):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
