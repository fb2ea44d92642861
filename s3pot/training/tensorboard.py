"""Event files for TensorBoard, if they are requested and it is installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from s3pot.training.history import EpochRecord
from s3pot.training.output_folder import BOARD
from s3pot.types import S3potError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


def summary_writer() -> type[SummaryWriter]:
    """Import TensorBoard's writer.

    Raises:
        S3potError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise S3potError(
            "train.tensorboard=true needs TensorBoard, which is not installed: "
            "pip install tensorboard"
        ) from error
    return SummaryWriter


class Board:
    """Event files in ``<output_dir>/tensorboard``; raises the errors of ``summary_writer``."""

    def __init__(self, output_dir: Path) -> None:
        self._writer = summary_writer()(output_dir / BOARD)

    def write(self, record: EpochRecord) -> None:
        """Add an epoch's losses and learning rate, under the names of the history's columns."""
        for name, value in record.as_row().items():
            if name != "epoch":
                self._writer.add_scalar(name, value, record.epoch)
        self._writer.flush()

    def show(self, images: Mapping[str, np.ndarray], epoch: int) -> None:
        """Add images, uint8 (H, W, 3), RGB, by name."""
        for name, image in images.items():
            self._writer.add_image(name, image, epoch, dataformats="HWC")
        self._writer.flush()

    def close(self) -> None:
        """Close the files."""
        self._writer.close()
