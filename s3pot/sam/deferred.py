"""Importing modules of a package without running its ``__init__`` until it is needed."""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec
from typing import Any


def defer_init(package: str) -> None:
    """Let modules of a package be imported alone; ``__init__`` runs when its names are used.

    Nothing happens if the package is already loaded, or not installed: then the import that needs
    it reports that.

    Args:
        package: The name of a top-level package.
    """
    if package in sys.modules:
        return
    spec = find_spec(package)
    if spec is None or spec.loader is None or spec.submodule_search_locations is None:
        return
    loader = spec.loader
    module = module_from_spec(spec)

    def load(name: str) -> Any:
        """Run ``__init__`` and look again; Python calls this for missing names."""
        if name.startswith("__"):
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        del module.__dict__["__getattr__"]
        loader.exec_module(module)
        return getattr(module, name)

    module.__dict__["__getattr__"] = load
    sys.modules[package] = module
