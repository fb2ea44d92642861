"""The authors' algorithm as plain loops, against which the package's stages are measured.

Each loop gives the same result as the corresponding stage.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from s3pot.adapter import PromptAdapter
from s3pot.rg.nets.e4s import E4SNet
from s3pot.rg.nets.regions import RegionPlan
from s3pot.rg.nets.stylegan2 import ModulatedConv, ModulatedToRGB
from s3pot.sam.frozen import FrozenSam
from s3pot.types import Prompts, SamInputs


def sorted_loop(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Greedy matching by definition: visit all pairs of (R, C) scores in sorted order."""
    width = scores.shape[1]
    order = torch.sort(scores.flatten(), descending=True, stable=True).indices
    rows, cols, used_rows, used_cols = [], [], set(), set()
    for index in order.tolist():
        row, col = divmod(index, width)
        if row not in used_rows and col not in used_cols:
            used_rows.add(row)
            used_cols.add(col)
            rows.append(row)
            cols.append(col)
            if len(rows) == min(scores.shape):
                break
    return torch.tensor(rows), torch.tensor(cols)


def select_prompts(sam: FrozenSam, face: SamInputs) -> Prompts:
    """Encode both images and run FE and PS for one face, as a training run does in every epoch.

    Args:
        sam: SAM, whose modules are called as pip's package calls them.
        face: The face on SAM's device; its region covers at least one token's center.
    """
    model, grid = sam.sam, sam.grid
    with torch.no_grad():
        image, reference = (
            sam.encode(picture[None]) for picture in (face.image_sam, face.reference_sam)
        )
        region = grid.on_grid(face.region_sam)
        similarity = F.cosine_similarity(image, reference)[0]
        first = similarity.masked_fill(~region, -torch.inf).argmax()
        first_point = grid.centers(first[None])
        points = (first_point[None], torch.ones(1, 1, device=first.device))
        tokens, dense = model.prompt_encoder(points=points, boxes=None, masks=None)
        decoder = model.mask_decoder
        ahead = torch.cat((decoder.iou_token.weight, decoder.mask_tokens.weight))
        prompts = torch.cat((ahead[None], tokens), dim=1)
        position = model.prompt_encoder.get_dense_pe()
        image_tokens, reference_tokens = (
            F.normalize(decoder.transformer(encoded + dense, position, prompts)[1][0], dim=1)
            for encoded in (image, reference)
        )
        inside = region.flatten()
        columns = sorted_loop(reference_tokens[inside] @ image_tokens.T)[1]
        matched = torch.zeros_like(inside)
        matched[columns.to(matched.device)] = True
        positive = (inside & matched).nonzero()[:, 0]
        negative = (inside & ~matched).nonzero()[:, 0]
    return Prompts(
        name=face.name,
        image_embedding=image[0].half(),
        points_sam=grid.centers(torch.cat((positive, negative))),
        point_labels=torch.cat((torch.ones_like(positive), torch.zeros_like(negative))),
        similarity=similarity.half(),
        first_point_sam=first_point[0],
        region_sam=face.region_sam,
    )


def training_epoch(
    sam: FrozenSam, adapter: PromptAdapter, optimizer: Optimizer, faces: Sequence[SamInputs]
) -> float:
    """Train one epoch of one batch without results of earlier epochs; returns the mean loss."""
    return training_step(sam, adapter, optimizer, [select_prompts(sam, face) for face in faces])


def training_step(
    sam: FrozenSam, adapter: PromptAdapter, optimizer: Optimizer, batch: Sequence[Prompts]
) -> float:
    """Take one optimizer step, image by image: whole masks, sampled losses, a sync for each.

    Returns:
        Mean loss.
    """
    model, size = sam.sam, sam.grid.size
    total = 0.0
    optimizer.zero_grad()
    for prompts in batch:
        points = (prompts.points_sam[None], prompts.point_labels[None].float())
        tokens, dense = model.prompt_encoder(points=points, boxes=None, masks=None)
        tokens, _ = adapter(tokens)
        low, _ = model.mask_decoder(
            image_embeddings=prompts.image_embedding[None].float(),
            image_pe=model.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=tokens,
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
        logits = F.interpolate(low, (size, size), mode="bilinear", align_corners=True)[0, 0]
        x, y = prompts.points_sam.long().unbind(dim=1)
        p = torch.sigmoid(10 * logits[y, x])
        positive, negative = p[prompts.point_labels == 1], p[prompts.point_labels == 0]
        hinge = (0.5 - positive).clamp_min(0).mean()
        loss = negative.mean() - positive.mean() + 0.5 * hinge
        (loss / len(batch)).backward()
        total += loss.item() / len(batch)
    optimizer.step()
    return total


@contextmanager
def every_region_everywhere(net: E4SNet) -> Iterator[None]:
    """Let E4S compute each region on the whole map and mask it, instead of on its tiles."""
    changed: list[tuple[nn.Module, str]] = []
    for module in net.modules():
        if isinstance(module, ModulatedConv):
            module.regional = partial(_loop_conv, module)  # type: ignore[method-assign]
            changed.append((module, "regional"))
        elif isinstance(module, ModulatedToRGB):
            module.forward = partial(_loop_rgb, module)  # type: ignore[method-assign]
            changed.append((module, "forward"))
    try:
        yield
    finally:
        for module, name in changed:
            delattr(module, name)


def _loop_conv(layer: ModulatedConv, x: Tensor, codes: Tensor, plan: RegionPlan) -> Tensor:
    """Compute every region on the whole map, multiply by its mask, and sum."""
    maps = plan.level(x.shape[-1] * (2 if layer.up else 1)).labels[:, None]
    first, *rest = (
        layer(x, codes[:, region]) * (maps == region) for region in range(codes.shape[1])
    )
    return sum(rest, first)


def _loop_rgb(
    layer: ModulatedToRGB, x: Tensor, codes: Tensor, plan: RegionPlan | None = None
) -> Tensor:
    """Do the same for a to-RGB layer."""
    if plan is None:
        return ModulatedToRGB.forward(layer, x, codes, None)
    maps = plan.level(x.shape[-1]).labels[:, None]
    first, *rest = (
        ModulatedToRGB.forward(layer, x, codes[:, region : region + 1], None) * (maps == region)
        for region in range(codes.shape[1])
    )
    return sum(rest, first)
