"""Which model a state dict is of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SAM = {768: "ViT-B", 1024: "ViT-L", 1280: "ViT-H"}  # width


_SEGNEXT = {4: "small", 5: "tiny", 12: "base", 27: "large"}  # depth of the third stage


def recognise(state_dict: Mapping[str, Any]) -> str | None:
    """Name the model of a state dict, such as ``SAM ViT-L``; None when it is unknown."""
    state = {key.removeprefix("module."): value for key, value in state_dict.items()}
    if "image_encoder.pos_embed" in state:
        return f"SAM {_SAM.get(state['image_encoder.pos_embed'].shape[-1], 'of another size')}"
    if "backbone.patch_embed1.proj.0.weight" in state:
        depth = len({key.split(".")[2] for key in state if key.startswith("backbone.block3.")})
        return f"SegNeXt parser, {_SEGNEXT.get(depth, 'another size')}"
    if "cp.resnet.conv1.weight" in state:
        return "BiSeNet parser"
    if "MLPs.0.mlp.0.weight" in state:
        return "regional inverter E4S"
    if any(key.startswith("transformer_decoder.transformer_self_attention") for key in state):
        return "prompt adapter of the authors' release"
    attention = any(key.endswith("in_proj_weight") for key in state)
    return "prompt adapter of s3pot" if attention and len(state) <= 6 else None
