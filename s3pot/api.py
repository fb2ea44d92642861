"""The Python API: load the models once, segment pictures one by one.

import s3pot
model = s3pot.load("mini")
result = model.segment("photo.jpg")
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from s3pot.config import Config, load_config
from s3pot.data.cache import rounded
from s3pot.data.dataset import make_pair
from s3pot.data.image import ImageSource, read_rgb
from s3pot.engine.predict import Segmenter, load_segmenter
from s3pot.engine.reference import Generator, align, load_generator
from s3pot.engine.results import masks_from
from s3pot.pipeline import prepare
from s3pot.rg.reference import make_reference
from s3pot.rg.warp import Alignment, crop
from s3pot.types import Photo

NAMED = {"paper": (), "mini": ("model.set=mini", "model.sam=mini", "align.mode=never")}


@dataclass(frozen=True)
class Segmentation:
    """A segmented face; all arrays in the working frame.

    Attributes:
        occlusion: Covered face, bool (H, W).
        face: Visible face inside the prompt region, bool (H, W).
        parsing: The 12 classes of ``s3pot.labels``, occluded pixels 12, uint8 (H, W).
        raw: The working image, uint8 (H, W, 3): the picture itself or the aligned crop of it.
        reference: The clean face, uint8 (H, W, 3).
        points: Prompt points, float (N, 2), x, y, pixels.
        labels: 1 visible face, 0 occlusion, int64 (N,).
        alignment: The way back to the picture, for ``s3pot.rg.warp.to_photo``.
    """

    occlusion: np.ndarray
    face: np.ndarray
    parsing: np.ndarray
    raw: np.ndarray
    reference: np.ndarray
    points: np.ndarray
    labels: np.ndarray
    alignment: Alignment


class FaceSegmenter:
    """Loaded models; see ``load``.

    Args:
        config: Settings.
        generator: Models of reference generation.
        segmenter: SAM and adapter.
    """

    def __init__(self, config: Config, generator: Generator, segmenter: Segmenter) -> None:
        self.config, self.generator, self.segmenter = config, generator, segmenter

    def segment(self, image: ImageSource) -> Segmentation:
        """Segment the largest face of a picture.

        Args:
            image: Path, PIL image or uint8 array (H, W, 3), RGB.

        Raises:
            S3potError: No picture, or no face in it.
        """
        pixels = read_rgb(image)
        alignment = align(self.config, self.generator, pixels)[0]
        photo = Photo("picture", crop(pixels, alignment), alignment)
        made = make_reference(self.generator.parser, self.generator.inverter, photo)
        sam, settings = self.segmenter.sam, self.segmenter.settings
        pair = make_pair(photo.name, made, sam.grid.size)
        prompts = rounded(prepare(sam, [pair], settings)[0])  # as every command does
        prediction = self.segmenter.segment(prompts)
        size = (made.raw.shape[0], made.raw.shape[1])
        masks = masks_from(None if prediction is None else prediction.logits_sam, made.labels, size)
        scale = torch.tensor([size[1], size[0]]) / sam.grid.size
        points = (prompts.points_sam.cpu() + 0.5) * scale - 0.5
        return Segmentation(
            masks.occlusion,
            masks.face,
            masks.parsing,
            made.raw,
            made.reference,
            points.numpy(),
            prompts.labels.cpu().numpy(),
            alignment,
        )


def load(
    name: str | Path = "paper", device: str = "auto", checkpoint: str | Path | None = None
) -> FaceSegmenter:
    """Load all models.

    Args:
        name: "mini", the bundled small models; "paper", the official ones; or a config file.
        device: auto, cpu, cuda, cuda:N or mps.
        checkpoint: Adapter trained by ``train_general.py``; None takes the mini set's own.

    Raises:
        S3potError: A weight file is missing, the config is wrong, or there is no adapter.
    """
    path = None if str(name) in NAMED else Path(name)
    overrides = [*NAMED.get(str(name), ()), f"run.device={device}"]
    config = load_config(path, overrides)
    segmenter = load_segmenter(config, None if checkpoint is None else Path(checkpoint))
    return FaceSegmenter(config, load_generator(config), segmenter)
