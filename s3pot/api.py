"""The Python API: load the models once, segment images one by one.

Example:
    import s3pot

    model = s3pot.load("mini")
    result = model.segment("photo.jpg")

The arrays are those that the commands write, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from s3pot.build import build_aligner, build_reference_generator, build_segmenter, weights_path
from s3pot.config import Config, load_config
from s3pot.data.image import ImageSource, read_rgb
from s3pot.device import pick_device
from s3pot.geometry import Alignment
from s3pot.pipeline import S3POT
from s3pot.rg.align import FaceAligner
from s3pot.rg.warp import crop
from s3pot.seeding import use_determinism
from s3pot.training.checkpoint import new_adapter
from s3pot.types import Masks


@dataclass(frozen=True)
class Segmentation(Masks):
    """A segmented face; all arrays in the working frame: the image or the aligned crop of it.

    Attributes:
        raw: The working image, uint8 (H, W, 3).
        reference: The clean face, uint8 (H, W, 3).
        points: Prompt points, float (N, 2), x, y, pixels.
        labels: 1 is visible face, 0 is occlusion, int64 (N,).
        alignment: The way back to the image, for ``s3pot.rg.warp.to_photo``.
    """

    raw: np.ndarray
    reference: np.ndarray
    points: np.ndarray
    labels: np.ndarray
    alignment: Alignment


@dataclass(frozen=True)
class FaceSegmenter:
    """Loaded models; see ``load``."""

    config: Config
    aligner: FaceAligner
    pipeline: S3POT

    def segment(self, image: ImageSource) -> Segmentation:
        """Segment the largest face of an image.

        Args:
            image: A path, a PIL image, or an array, uint8 (H, W, 3), RGB.

        Raises:
            S3potError: The image cannot be read, or there is no face in it.
        """
        photo = read_rgb(image, self.config.run.max_pixels)
        alignment = self.aligner.align(photo)[0]
        result = self.pipeline.segment(crop(photo, alignment))
        size = result.face.image.shape[:2]
        prompts = result.prompts.to("cpu")
        side = self.pipeline.segmenter.sam.grid.size
        points = (prompts.points_sam + 0.5) * torch.tensor(size[::-1]) / side - 0.5
        return Segmentation(
            occlusion=result.masks.occlusion,
            face=result.masks.face,
            parsing=result.masks.parsing,
            raw=result.face.image,
            reference=result.face.reference,
            points=points.numpy(),
            labels=prompts.point_labels.numpy(),
            alignment=alignment,
        )


def load(
    name: str | Path = "paper", device: str = "auto", checkpoint: str | Path | None = None
) -> FaceSegmenter:
    """Load all models.

    Args:
        name: "mini", the bundled small models; "paper", the official ones; or the path of a config
            file.
        device: auto, cpu, cuda, cuda:N or mps.
        checkpoint: Adapter trained by ``train_general.py``; None takes the mini set's own.

    Raises:
        S3potError: A weight file is missing, the config is wrong, or there is no adapter.
    """
    config = load_config(name, [f"run.device={device}"])
    return load_from_config(config, Path(checkpoint) if checkpoint else None)


def load_from_config(config: Config, checkpoint: Path | None = None) -> FaceSegmenter:
    """Load the models of a config; see ``load``."""
    weights_path(config, "sam")  # a missing SAM is the first to be named
    adapter_path = checkpoint or weights_path(config, "adapter")
    chosen = pick_device(config.run.device)
    use_determinism(config.run.deterministic)
    segmenter = build_segmenter(config, chosen)
    adapter = new_adapter(config, segmenter.sam, adapter_path).eval()
    pipeline = S3POT(build_reference_generator(config, chosen), segmenter, adapter)
    return FaceSegmenter(config, build_aligner(config), pipeline)
