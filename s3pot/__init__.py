"""S³POT: face occlusion segmentation without occlusion labels (arXiv 2602.00635).

This is the Python API, see ``s3pot.api``; heavy modules are imported on first use.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from s3pot.types import S3potError
from s3pot.version import __version__

if TYPE_CHECKING:
    from s3pot.api import FaceSegmenter, load
    from s3pot.segmentation import Segmentation

__all__ = ["FaceSegmenter", "S3potError", "Segmentation", "__version__", "load"]


# The modules that define public names.
_HOMES = {
    "FaceSegmenter": "s3pot.api",
    "Segmentation": "s3pot.segmentation",
    "load": "s3pot.api",
}
# Modules that belong to the public API: reachable after ``import s3pot`` alone.
_MODULES = {"metrics": "s3pot.metrics", "ps": "s3pot.ps.greedy"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name in _MODULES:
        importlib.import_module(_MODULES[name])
        return sys.modules[f"{__name__}.{name}"]
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """Return the public names, for completion."""
    return sorted((*__all__, *_MODULES))
