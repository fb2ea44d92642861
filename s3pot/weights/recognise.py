"""Tell which model a state dict belongs to, from its keys and shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SAM = {(768, 12): "ViT-B", (1024, 24): "ViT-L", (1280, 32): "ViT-H"}  # width and depth
_SEGNEXT: dict[tuple[int, ...], str] = {
    (3, 3, 5, 2): "tiny",
    (2, 2, 4, 2): "small",
    (3, 3, 12, 3): "base",
    (3, 5, 27, 3): "large",
}


def recognise(state_dict: Mapping[str, Any]) -> str | None:
    """Name the model of a state dict, such as ``SAM ViT-L``; None when it is unknown."""
    state = {key.removeprefix("module."): value for key, value in state_dict.items()}

    def children(prefix: str) -> int:
        return len({key[len(prefix) :].split(".")[0] for key in state if key.startswith(prefix)})

    if "image_encoder.pos_embed" in state:
        size = (state["image_encoder.pos_embed"].shape[-1], children("image_encoder.blocks."))
        return f"SAM {_SAM.get(size, 'of another size')}"
    if "backbone.patch_embed1.proj.0.weight" in state:
        depths = tuple(children(f"backbone.block{stage}.") for stage in (1, 2, 3, 4))
        return f"SegNeXt parser, {_SEGNEXT.get(depths, 'another size')}"
    if "cp.resnet.conv1.weight" in state:
        return "BiSeNet parser"
    if "MLPs.0.mlp.0.weight" in state:
        return "regional inverter E4S"
    if any(key.startswith("transformer_decoder.transformer_self_attention") for key in state):
        return "prompt adapter of the authors' release"
    attention = any(key.endswith("in_proj_weight") for key in state)
    return "prompt adapter of s3pot" if attention and len(state) <= 6 else None
