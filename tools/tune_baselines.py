r"""Tune the thresholds of the baselines in configs/tables for the mean IoU on training faces.

    python -m tools.tune_baselines --datapath ./dataset/processed_data/train \
        --config configs/mini.yaml

Prints, for the pixel and the token contrast with generated and true references, the best threshold.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from s3pot.baselines import pixel_contrast, token_contrast
from s3pot.build import build_segmenter, truth_policy
from s3pot.commands.cli import new_parser, run
from s3pot.config import Config
from s3pot.data.face_folder import find_faces, load_aligned_face
from s3pot.data.truth import require_truth
from s3pot.device import pick_device
from s3pot.runs.prompt_store import PromptStore
from s3pot.types import S3potError

STEPS = 200  # number of thresholds between the smallest and the largest contrast of the faces


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the tool's options."""
    parser = new_parser(__doc__)
    parser.prog = "python -m tools.tune_baselines"
    parser.add_argument("--datapath", type=Path, required=True, help="training faces with a truth")
    return parser


def best_threshold(
    contrasts: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
) -> tuple[float, float]:
    """Try evenly spaced thresholds.

    Args:
        contrasts: Per face contrast float (H, W), truth bool (H, W), region bool (H, W).

    Returns:
        The best threshold and its mean IoU over the faces with true occlusion.
    """
    low = min(float(contrast.min()) for contrast, _, _ in contrasts)
    high = max(float(contrast.max()) for contrast, _, _ in contrasts)
    thresholds = np.linspace(low, high, STEPS)
    curves = [_ious(*face, thresholds) for face in contrasts if face[1].any()]
    mean = np.mean(curves, axis=0)
    best = int(mean.argmax())
    return float(thresholds[best]), float(mean[best])


def _ious(
    contrast: np.ndarray, truth: np.ndarray, region: np.ndarray, thresholds: np.ndarray
) -> np.ndarray:
    """Compute the IoU at every threshold by counting sorted contrasts."""
    occluded = np.sort(contrast[region & truth])
    candidates = np.sort(contrast[region])
    hits = len(occluded) - np.searchsorted(occluded, thresholds, side="right")
    predicted = len(candidates) - np.searchsorted(candidates, thresholds, side="right")
    return np.asarray(hits / (truth.sum() + predicted - hits))


def tune(config: Config, datapath: Path) -> Iterator[str]:
    """Yield one line of text per contrast and kind of reference.

    Raises:
        S3potError: No face has a ground truth, or one is damaged.
    """
    faces = [face for face in find_faces(datapath) if face.occlusion_truth is not None]
    if not faces:
        raise S3potError(f"{datapath} has no face with a ground truth <stem>_occlusion.png")
    segmenter = build_segmenter(config, pick_device(config.run.device))
    store = PromptStore(segmenter, config, datapath)
    policy = truth_policy(config.truth)
    for oracle in (False, True):
        if oracle and any(face.clean is None for face in faces):
            continue
        pixel_contrasts = []
        token_contrasts = []
        for face in tqdm(faces, desc="oracle" if oracle else "generated", disable=None):
            truth = require_truth(face, policy)
            occlusion = truth.occlusion
            pixels = pixel_contrast(load_aligned_face(face, oracle))
            tokens = token_contrast(store.get(face, oracle), occlusion.shape)
            pixel_contrasts.append((pixels, occlusion, truth.region))
            token_contrasts.append((tokens, occlusion, truth.region))
        for name, contrasts in (("pixel", pixel_contrasts), ("token", token_contrasts)):
            threshold, iou = best_threshold(contrasts)
            kind = "oracle" if oracle else "generated"
            yield f"{name:5} {kind:9} threshold {threshold:.4f} mean IoU {iou:.4f}\n"


def main(argv: list[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    args = build_parser().parse_args(argv)

    def body(config: Config) -> int:
        for line in tune(config, args.datapath):
            sys.stdout.write(line)
        return 0

    return run(args, body, keeps_items=False)


if __name__ == "__main__":
    sys.exit(main())
