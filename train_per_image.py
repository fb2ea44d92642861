r"""Fit an adapter to one face, or to each face of a folder, and segment it.

Commands:
    python train_per_image.py --target_img ./dataset/processed_data/test_01.png \
        --ref_img ./dataset/processed_data/test_01_ref.png \
        --parsing_mask ./dataset/processed_data/test_01_parsing_mask.npy --epochs 100
    python train_per_image.py --datapath ./dataset/processed_data/val --resume
"""

from __future__ import annotations

import sys

from s3pot.commands.train_per_image import build_parser, main

__all__ = ["build_parser", "main"]

if __name__ == "__main__":
    sys.exit(main())
