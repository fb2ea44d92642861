"""TensorBoard's files beside the others, where it is asked for and installed."""

from __future__ import annotations

from pathlib import Path

from s3pot.training.history import EpochRecord
from s3pot.types import S3potError

FOLDER = "tensorboard"


class Board:
    """Event files in ``<output_dir>/tensorboard``.

    Raises:
        S3potError: TensorBoard is not installed.
    """

    def __init__(self, output_dir: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise S3potError(
                "train.tensorboard=true needs TensorBoard, which is not installed: "
                "pip install tensorboard"
            ) from error
        self._writer = SummaryWriter(output_dir / FOLDER)

    def write(self, record: EpochRecord) -> None:
        """Add an epoch's losses and learning rate, under the names of the history's columns."""
        for name, value in record.as_row().items():
            if name != "epoch":
                self._writer.add_scalar(name, value, record.epoch)
        self._writer.flush()

    def close(self) -> None:
        """Finish the files."""
        self._writer.close()
