r"""Score results against the truth, or run a table of variants and baselines.

    python evaluate.py --datapath ./dataset/processed_data/val --results ./results
    python evaluate.py --suite configs/tables/demo.yaml --output_dir results/demo \
        --config configs/mini.yaml

Prints the table and writes table.csv, table.md and per_image.csv.
"""

from __future__ import annotations

import sys

from s3pot.commands.evaluate import build_parser, main

__all__ = ["build_parser", "main"]

if __name__ == "__main__":
    sys.exit(main())
