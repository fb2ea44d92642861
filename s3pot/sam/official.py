"""The official SAMs by name, without their weights."""

from __future__ import annotations

import torch
from segment_anything.build_sam import sam_model_registry
from segment_anything.modeling import Sam


def build_official_sam(name: str) -> Sam:
    """Build the modules of a SAM; they hold no memory before weights are assigned to them.

    Args:
        name: vit_h, vit_l or vit_b.
    """
    with torch.device("meta"):  # saves the time and memory of weights to be replaced
        sam: Sam = sam_model_registry[name]()
    return sam
