"""Log messages beside progress bars, without the warning of tqdm's import in notebooks."""

from __future__ import annotations

import warnings

from tqdm import TqdmWarning

with warnings.catch_warnings():
    # The package that this comes from also prepares bars for notebooks, which are not used here,
    # and complains if ipywidgets is missing.
    warnings.simplefilter("ignore", TqdmWarning)
    from tqdm.contrib.logging import logging_redirect_tqdm

__all__ = ["logging_redirect_tqdm"]
