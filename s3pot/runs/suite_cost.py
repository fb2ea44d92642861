"""Estimated cost of a table in seconds, from stated rates, before it is run.

The rates of the mini models, of an image pair with ViT-H on a CPU, and of ViT-H's encoder and
training step on a GPU are those measured in docs/PERFORMANCE.md, rounded up. ViT-B and ViT-L are
scaled by their number of operations; the other rates of the published models are guesses. Other
machines are faster or slower; the purpose is to tell whether a table takes minutes, hours or days.
"""

from __future__ import annotations

from dataclasses import dataclass

from s3pot.baselines import CELLS_PER_POINT
from s3pot.config import MINI_SAMS, Config
from s3pot.runs.suite_file import FOLDER, MODEL, Row

# Operations of the published image encoders as shares of ViT-H's (2,976 GFLOP per image).
ENCODER_SHARE = {"vit_h": 1.0, "vit_l": 0.51, "vit_b": 0.17}
OFFICIAL_CELLS = 64  # token cells per side of the published SAMs
MINI_CELLS = 32


@dataclass(frozen=True)
class Rates:
    """Seconds that operations take on one machine.

    Attributes:
        pair: Image and reference through SAM's encoder, FE and PS.
        decode: Adapter, mask decoder, files and scores of a face.
        step: One training step on one face.
        point: One of SAM's automatic masks.
    """

    pair: float
    decode: float
    step: float
    point: float


MINI_CPU = Rates(pair=0.15, decode=0.10, step=0.15, point=0.04)
VIT_H_CPU = Rates(pair=131, decode=6, step=12, point=0.5)
VIT_H_GPU = Rates(pair=0.30, decode=0.07, step=0.02, point=0.002)
VIT_H_GPU_FAST = Rates(pair=0.05, decode=0.07, step=0.02, point=0.002)
GPU = "one H200"
CPU = "one CPU thread"


@dataclass(frozen=True)
class Cost:
    """Seconds on both kinds of machine; None if no rate is known."""

    cpu: float
    gpu: float | None

    def __add__(self, other: Cost) -> Cost:
        """Add the seconds of two costs."""
        both_known = self.gpu is not None and other.gpu is not None
        gpu = (self.gpu or 0) + (other.gpu or 0) if both_known else None
        return Cost(self.cpu + other.cpu, gpu)


@dataclass(frozen=True)
class Work:
    """Amounts of work, one for each rate."""

    pairs: int = 0
    decodes: int = 0
    steps: int = 0
    points: int = 0

    def seconds(self, rates: Rates, encoder_share: float) -> float:
        """Return the seconds on a machine whose rates hold for the largest encoder."""
        return (
            self.pairs * rates.pair * encoder_share
            + self.decodes * rates.decode
            + self.steps * rates.step
            + self.points * rates.point
        )


def cost_of(work: Work, config: Config) -> Cost:
    """Estimate the cost of some work with the models of a config."""
    if config.model.sam in MINI_SAMS:
        return Cost(work.seconds(MINI_CPU, 1.0), None)
    share = ENCODER_SHARE[config.model.sam]
    gpu_rates = VIT_H_GPU if config.run.speed == "exact" else VIT_H_GPU_FAST
    return Cost(work.seconds(VIT_H_CPU, share), work.seconds(gpu_rates, share))


def scoring_work(row: Row, config: Config, faces: int) -> Work:
    """Return the work of scoring a row, without the pairs, which rows share."""
    if row.method == FOLDER:
        return Work()
    if row.method == "automatic":
        cells = MINI_CELLS if config.model.sam in MINI_SAMS else OFFICIAL_CELLS
        return Work(decodes=faces, points=faces * (cells // CELLS_PER_POINT) ** 2)
    if row.method == MODEL and row.is_fitted:
        return Work(decodes=faces, steps=faces * config.per_image.epochs)
    return Work(decodes=faces)


def training_work(config: Config, faces: int) -> Work:
    """Return the work of training a row's adapter, without the pairs."""
    return Work(steps=faces * config.train.epochs)
