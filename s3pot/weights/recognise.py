"""Tell which model a state dict belongs to, from its keys and shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SAM = {(768, 12): "ViT-B", (1024, 24): "ViT-L", (1280, 32): "ViT-H"}
_SEGNEXT: dict[tuple[int, ...], str] = {
    (3, 3, 5, 2): "tiny",
    (2, 2, 4, 2): "small",
    (3, 3, 12, 3): "base",
    (3, 5, 27, 3): "large",
}
_Shapes = dict[str, tuple[int, ...]]


def recognise(state_dict: Mapping[str, Any]) -> str | None:
    """Name the model of a state dict, such as ``SAM ViT-L``; None when it is no model known here.

    Args:
        state_dict: Keys and tensors; a leading ``module.`` is allowed.
    """
    shapes = {
        key.removeprefix("module."): tuple(getattr(value, "shape", ()))
        for key, value in state_dict.items()
    }
    if "image_encoder.pos_embed" in shapes:
        size = (shapes["image_encoder.pos_embed"][-1], _count(shapes, "image_encoder.blocks."))
        return f"SAM {_SAM.get(size, 'of width {} and depth {}'.format(*size))}"
    if "cp.resnet.conv1.weight" in shapes and "conv_out.conv_out.weight" in shapes:
        width, classes = shapes["cp.resnet.conv1.weight"][0], shapes["conv_out.conv_out.weight"][0]
        return f"BiSeNet parser of width {width} with {classes} classes"
    if "encoder.input_layer.0.weight" in shapes and "MLPs.0.mlp.0.weight" in shapes:
        width = shapes["encoder.input_layer.0.weight"][0]
        return f"regional inverter E4S of width {width} with {_count(shapes, 'MLPs.')} regions"
    if "backbone.patch_embed1.proj.0.weight" in shapes:
        depths = tuple(_count(shapes, f"backbone.block{stage}.") for stage in (1, 2, 3, 4))
        return f"SegNeXt {_SEGNEXT.get(depths, f'of depths {depths}')} parser"
    return _adapter(shapes)


def _adapter(shapes: _Shapes) -> str | None:
    if any(key.startswith("transformer_decoder.transformer_self_attention") for key in shapes):
        return "prompt adapter of the authors' release"
    attention = any(key.endswith("in_proj_weight") for key in shapes)
    return "prompt adapter of s3pot" if attention and len(shapes) <= 6 else None


def _count(shapes: _Shapes, prefix: str) -> int:
    """Count the numbered children under a prefix such as ``blocks.``."""
    return len({key[len(prefix) :].split(".")[0] for key in shapes if key.startswith(prefix)})
