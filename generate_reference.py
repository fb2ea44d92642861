r"""Make clean reference, parsing and alignment of every photo in a folder (RG, paper section 3.1).

    python generate_reference.py --input_dir ./dataset/raw_images \
        --output_dir ./dataset/processed_data --faceParser_name bisenet
    python generate_reference.py --input_dir faces --output_dir processed --config configs/mini.yaml

Photos that are finished are skipped; --overwrite does them again.
"""

from __future__ import annotations

import sys

from s3pot.commands.generate_reference import build_parser, main

__all__ = ["build_parser", "main"]

if __name__ == "__main__":
    sys.exit(main())
