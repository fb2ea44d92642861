"""Score results against the ground truth, or run a table of variants and baselines.

The options and examples are in ``s3pot/commands/evaluate.py``.
"""

from __future__ import annotations

import sys

from s3pot.commands.exit_codes import interruptible_imports

with interruptible_imports():
    from s3pot.commands.evaluate import build_parser, main

__all__ = ["build_parser", "main"]

if __name__ == "__main__":
    sys.exit(main())
