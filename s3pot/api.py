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

from s3pot.commands.generate_reference import Generator, align, load_generator
from s3pot.commands.inference import Segmenter, load_segmenter
from s3pot.config import Config, load_config
from s3pot.data.cache import rounded
from s3pot.data.face_folder import make_pair
from s3pot.data.image import ImageSource, read_rgb
from s3pot.geometry import Alignment
from s3pot.pipeline import prepare
from s3pot.report.writer import Masks, masks_from
from s3pot.rg.inverter import make_reference
from s3pot.rg.warp import crop
from s3pot.types import Photo

NAMED = {"paper": (), "mini": ("model.set=mini", "model.sam=mini", "align.mode=never")}


@dataclass(frozen=True)
class Segmentation(Masks):
    """A segmented face; all arrays in the working frame: the picture or the aligned crop of it."""

    raw: np.ndarray  # the working image, uint8 (H, W, 3)
    reference: np.ndarray  # the clean face, uint8 (H, W, 3)
    points: np.ndarray  # prompt points, float (N, 2), x, y, pixels
    labels: np.ndarray  # 1 visible face, 0 occlusion, int64 (N,)
    alignment: Alignment  # the way back to the picture, for ``s3pot.rg.warp.to_photo``


@dataclass(frozen=True)
class FaceSegmenter:
    """Loaded models of both halves; see ``load``."""

    config: Config
    generator: Generator
    segmenter: Segmenter

    def segment(self, image: ImageSource) -> Segmentation:
        """Segment the largest face of a path, PIL image or uint8 RGB array (H, W, 3).

        Raises:
            S3potError: No picture, or no face in it.
        """
        pixels = read_rgb(image)
        alignment = align(self.generator, pixels)[0]
        photo = Photo("picture", crop(pixels, alignment), alignment)
        made = make_reference(self.generator.parser, self.generator.inverter, photo)
        sam, size = self.segmenter.sam, made.raw.shape[:2]
        pair = make_pair(photo.name, made, sam.grid.size)
        prompts = rounded(prepare(sam, [pair], self.segmenter.settings)[0])  # as the commands do
        logits = self.segmenter.segment(prompts).logits_sam if len(prompts.labels) else None
        points = (prompts.points_sam + 0.5) * torch.tensor(size[::-1]) / sam.grid.size - 0.5
        masks = masks_from(logits, made.labels, size)
        arrays = (made.raw, made.reference, points.numpy(), prompts.labels.numpy())
        return Segmentation(masks.occlusion, masks.face, masks.parsing, *arrays, alignment)


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
    overrides = [*NAMED.get(str(name), ()), f"run.device={device}"]
    config = load_config(None if str(name) in NAMED else name, overrides)
    segmenter = load_segmenter(config, Path(checkpoint) if checkpoint else None)
    return FaceSegmenter(config, load_generator(config), segmenter)
