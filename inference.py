r"""Segment the occlusions of every face that generate_reference.py prepared (paper section 3).

    python inference.py --datapath ./dataset/processed_data/val \
        --checkpoint ./checkpoint/train_general/model_epoch_50.pth --output_dir ./results --save_vis
    python inference.py --datapath processed --output_dir results --config configs/mini.yaml

Results that are finished are kept; --overwrite makes them again.
"""

from __future__ import annotations

import sys

from s3pot.commands.inference import build_parser, main

__all__ = ["build_parser", "main"]

if __name__ == "__main__":
    sys.exit(main())
