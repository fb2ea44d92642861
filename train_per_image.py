"""Fit an adapter to one face, or to each face of a folder, and segment it (paper section 3.4).

The options and examples are in ``s3pot/commands/train_per_image.py``.
"""

from __future__ import annotations

import sys

from s3pot.commands.exit_codes import interruptible_imports

with interruptible_imports():
    from s3pot.commands.train_per_image import build_parser, main

__all__ = ["build_parser", "main"]

if __name__ == "__main__":
    sys.exit(main())
