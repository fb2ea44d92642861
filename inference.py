"""Segment the occlusions of every face that generate_reference.py prepared (paper section 3).

The options and examples are in ``s3pot/commands/inference.py``.
"""

from __future__ import annotations

import sys

from s3pot.commands.exit_codes import interruptible_imports

with interruptible_imports():
    from s3pot.commands.inference import build_parser, main

__all__ = ["build_parser", "main"]

if __name__ == "__main__":
    sys.exit(main())
