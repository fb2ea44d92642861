"""The version, in a file of its own so that packaging tools read it without importing torch."""

from __future__ import annotations

__version__ = "0.1.0"
