"""Recognizing the model that a state dict belongs to, from its keys and shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SAM_BY_WIDTH = {768: "ViT-B", 1024: "ViT-L", 1280: "ViT-H"}
_SEGNEXT_BY_DEPTH = {4: "small", 5: "tiny", 12: "base", 27: "large"}  # depth of the third stage
_ADAPTER_KEYS = 6  # our adapter has exactly these


def recognize(state_dict: Mapping[str, Any]) -> str | None:
    """Name the model of a state dict, such as ``SAM ViT-L``.

    Args:
        state_dict: Tensors, or anything with their shape, by key.

    Returns:
        The name in words; None if the model is unknown.
    """
    state = {key.removeprefix("module."): value for key, value in state_dict.items()}
    if "image_encoder.pos_embed" in state:
        width = state["image_encoder.pos_embed"].shape[-1]
        return f"SAM {_SAM_BY_WIDTH.get(width, 'of another size')}"
    if "backbone.patch_embed1.proj.0.weight" in state:
        blocks = {key.split(".")[2] for key in state if key.startswith("backbone.block3.")}
        return f"SegNeXt parser, {_SEGNEXT_BY_DEPTH.get(len(blocks), 'another size')}"
    if "cp.resnet.conv1.weight" in state:
        return "BiSeNet parser"
    if "MLPs.0.mlp.0.weight" in state:
        return "regional inverter E4S"
    if any(key.startswith("transformer_decoder.transformer_self_attention") for key in state):
        return "prompt adapter of the authors' release"
    has_attention = any(key.endswith("in_proj_weight") for key in state)
    if has_attention and len(state) <= _ADAPTER_KEYS:
        return "prompt adapter of s3pot"
    return None
