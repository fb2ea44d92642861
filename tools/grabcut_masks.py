r"""Compute masks with OpenCV's GrabCut, an example of another program in a table.

    python -m tools.grabcut_masks --datapath ./dataset/bench/processed_data \
        --output_dir masks/grabcut

GrabCut (Rother et al., 2004) needs no training and no weights: it learns the colors of the parsed
region and of its surroundings, and assigns each pixel of the region to the better-fitting color
model. The pixels that it removes from the region are written as the occlusion,
``<stem>_occlusion.png``, for rows with ``method: folder``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from s3pot.commands.cli import new_parser, run
from s3pot.config import Config
from s3pot.data.face_folder import find_faces, load_labels
from s3pot.data.image import read_rgb, write_png
from s3pot.labels import region_of, resize_labels
from s3pot.wording import subject

ROUNDS = 5


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the tool's options."""
    parser = new_parser(__doc__, "masks/grabcut")
    parser.prog = "python -m tools.grabcut_masks"
    parser.add_argument("--datapath", type=Path, required=True, help="faces in the folder contract")
    return parser


def grabcut_occlusion(image: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Find the pixels of a region that do not have the region's colors.

    Args:
        image: The working image, uint8 (H, W, 3), RGB.
        region: Where the parser sees a face, bool (H, W).

    Returns:
        bool (H, W); empty where the region or its surroundings are.
    """
    if not region.any() or region.all():
        return np.zeros(region.shape, dtype=bool)
    labels = np.where(region, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    cv2.setRNGSeed(0)
    models = np.zeros((2, 1, 65))
    bgr = np.ascontiguousarray(image[..., ::-1])
    cv2.grabCut(bgr, labels, None, models[0], models[1], ROUNDS, cv2.GC_INIT_WITH_MASK)
    is_face = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    return np.asarray(region & ~is_face)


def main(argv: list[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    args = build_parser().parse_args(argv)

    def body(config: Config) -> int:
        faces = find_faces(args.datapath)
        for face in tqdm(faces, desc="faces", disable=None):
            image = read_rgb(face.raw)
            region = region_of(resize_labels(load_labels(face.parsing), image.shape[:2]))
            path = args.output_dir / f"{face.name}_occlusion.png"
            write_png(path, grabcut_occlusion(image, region))
        sys.stdout.write(f"{subject(len(faces), 'mask')} in {args.output_dir}\n")
        return 0

    return run(args, body, keeps_items=False)


if __name__ == "__main__":
    sys.exit(main())
