"""What a table costs: seconds by stated rates, for a table that is planned but not yet run.

Rates of the mini models, of ViT-H's pair on a CPU and of its encoder and training step on a GPU
are those measured in docs/PERFORMANCE.md, rounded up. ViT-B and ViT-L are scaled by arithmetic; the
other rates of the published models are guesses. Other machines are faster or slower; what counts is
whether a table takes minutes, hours or days.
"""

from __future__ import annotations

from dataclasses import dataclass

from s3pot.baselines import CELLS_PER_POINT
from s3pot.config import MINI_SAMS, Config
from s3pot.runs.suite_file import FOLDER, MODEL, Row

# Arithmetic of the published image encoders in shares of ViT-H's (2,976 GFLOP an image).
ENCODER_SHARE = {"vit_h": 1.0, "vit_l": 0.51, "vit_b": 0.17}
OFFICIAL_CELLS = 64  # token cells a side, of the published SAMs
MINI_CELLS = 32


@dataclass(frozen=True)
class Rates:
    """Seconds of one machine.

    Attributes:
        pair: Image and reference through SAM's encoder, FE and PS.
        decode: Adapter, mask decoder, files and scores of a face.
        step: One training step on one face.
        point: One mask of SAM's automatic ones.
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
    """Seconds of something on both kinds of machine; None where no rate is known."""

    cpu: float
    gpu: float | None

    def __add__(self, other: Cost) -> Cost:
        """Seconds of both, one after the other."""
        both_known = self.gpu is not None and other.gpu is not None
        gpu = (self.gpu or 0) + (other.gpu or 0) if both_known else None
        return Cost(self.cpu + other.cpu, gpu)


@dataclass(frozen=True)
class Work:
    """What is done, by what the rates are for."""

    pairs: int = 0
    decodes: int = 0
    steps: int = 0
    points: int = 0

    def seconds(self, rates: Rates, encoder_share: float) -> float:
        """Seconds on a machine whose rates are those of the largest encoder."""
        return (
            self.pairs * rates.pair * encoder_share
            + self.decodes * rates.decode
            + self.steps * rates.step
            + self.points * rates.point
        )


def cost_of(work: Work, config: Config) -> Cost:
    """Estimate what some work costs with the models of a config."""
    if config.model.sam in MINI_SAMS:
        return Cost(work.seconds(MINI_CPU, 1.0), None)
    share = ENCODER_SHARE[config.model.sam]
    gpu_rates = VIT_H_GPU if config.run.speed == "exact" else VIT_H_GPU_FAST
    return Cost(work.seconds(VIT_H_CPU, share), work.seconds(gpu_rates, share))


def scoring_work(row: Row, config: Config, faces: int) -> Work:
    """What scoring a row takes, beside the pairs, which rows share."""
    if row.method == FOLDER:
        return Work()
    if row.method == "automatic":
        cells = MINI_CELLS if config.model.sam in MINI_SAMS else OFFICIAL_CELLS
        return Work(decodes=faces, points=faces * (cells // CELLS_PER_POINT) ** 2)
    if row.method == MODEL and row.is_fitted:
        return Work(decodes=faces, steps=faces * config.per_image.epochs)
    return Work(decodes=faces)


def training_work(config: Config, faces: int) -> Work:
    """What training a row's adapter takes, beside the pairs."""
    return Work(steps=faces * config.train.epochs)
