"""Align, parse and generate a clean reference of every photo in a folder (RG, paper section 3.1).

The options and examples are in ``s3pot/commands/generate_reference.py``.
"""

from __future__ import annotations

import sys

from s3pot.commands.exit_codes import interruptible_imports

with interruptible_imports():
    from s3pot.commands.generate_reference import build_parser, main

__all__ = ["build_parser", "main"]

if __name__ == "__main__":
    sys.exit(main())
