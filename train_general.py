r"""Train one adapter for all faces of a folder.

Commands:
    python train_general.py --datapath ./dataset/processed_data --bsz 3 --lr 1e-4 --epochs 50 \
        --output_dir ./checkpoint/train_general
    torchrun --nproc_per_node 2 train_general.py --datapath ./dataset/processed_data
"""

from __future__ import annotations

import sys

from s3pot.commands.train_general import build_parser, main

__all__ = ["build_parser", "main"]

if __name__ == "__main__":
    sys.exit(main())
