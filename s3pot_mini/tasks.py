"""The task of both mini SAMs: masks that follow their prompts, on any segment of any picture."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from s3pot.sam.frozen import Decoded
from s3pot_mini.augment import photographed_scene, turned_scene
from s3pot_mini.parser import training_faces
from s3pot_mini.pasting import random_segment
from s3pot_mini.pool import FaceBatch, Pool, SceneBatch, region_of
from s3pot_mini.prompts import (
    PointPrompts,
    around,
    boxes_of,
    clicks,
    corrected,
    dense_points,
    point_count,
)
from s3pot_mini.trainee import Trainee

EDGE_WEIGHT = 4.0  # weight of pixels next to the target's outline
THINGS_SHARE = 0.5  # share of the targets that are whole objects instead of their finest parts
UNION_SHARE = 0.15  # share of the targets that are the union of two segments
BOX_SHARE = 0.15  # share of the batches whose sparse prompt is a box
OCCLUDER_NUMBER = 20  # segment number of a drawn occluder in a face


def faces_as_scenes(batch: FaceBatch) -> SceneBatch:
    """Convert faces to scenes: classes are parts; the visible face, hair and so on are objects.

    An occluder is just another object.
    """
    parts = torch.where(batch.occluder, OCCLUDER_NUMBER, batch.labels)
    whole = torch.where(region_of(batch.labels), OCCLUDER_NUMBER + 1, batch.labels)
    things = torch.where(batch.occluder, OCCLUDER_NUMBER, whole)
    return SceneBatch(batch.raw, parts, things)


def training_scenes(pool: Pool, count: int) -> SceneBatch:
    """Draw random pictures with known segments: three in four are scenes, the others faces."""
    from_faces = count // 4
    with torch.autocast(pool.device.type, enabled=False):  # positions would be rounded
        scenes = photographed_scene(turned_scene(pool.draw_scenes(count - from_faces)))
    if not from_faces:
        return scenes
    faces = faces_as_scenes(training_faces(pool, from_faces))
    return SceneBatch(
        torch.cat((scenes.image, faces.image)),
        torch.cat((scenes.parts, faces.parts)),
        torch.cat((scenes.things, faces.things)),
    )


def random_target(scenes: SceneBatch) -> Tensor:
    """Pick one segment of each picture, a part or a whole object, sometimes two, (B, S, S)."""
    device = scenes.parts.device
    whole = torch.rand(len(scenes.parts), 1, 1, device=device) < THINGS_SHARE
    numbers = torch.where(whole, scenes.things, scenes.parts)
    first, second = random_segment(numbers), random_segment(numbers)
    two = torch.rand(first.shape, device=device) < UNION_SHARE
    return ((numbers == first) | ((numbers == second) & two)).float()


def obey_losses(trainee: Trainee, tokens: Tensor, scenes: SceneBatch) -> dict[str, Tensor]:
    """Compute the losses of random segments prompted by dense points, and by clicks or a box.

    Args:
        trainee: The SAM in training.
        tokens: Tokens of the pictures, (B, C, G, G).
        scenes: The pictures' segments.

    Returns:
        Losses ``obey_dense`` and ``obey_few``.
    """
    target = random_target(scenes)
    dense = dense_points(trainee.grid, target, around(target, trainee.grid), point_count())
    losses = {"obey_dense": prompt_loss(trainee, tokens, dense)}
    target = random_target(scenes)
    if float(torch.rand(())) < BOX_SHARE:
        decoded = trainee.decode(tokens, trainee.embed_boxes(boxes_of(target)))
        losses["obey_few"] = mask_loss(decoded, target)
    else:
        few = clicks(target, 1 + int(torch.randint(8, ())))
        if float(torch.rand(())) < 0.5:
            few = with_correction(trainee, tokens, few)
        losses["obey_few"] = prompt_loss(trainee, tokens, few)
    return losses


@torch.no_grad()
def with_correction(trainee: Trainee, tokens: Tensor, prompts: PointPrompts) -> PointPrompts:
    """Add a click where the predicted mask is wrong."""
    logits = trainee.decode(tokens, trainee.embed(prompts.points, prompts.labels)).logits
    return corrected(prompts, logits)


def prompt_loss(
    trainee: Trainee, tokens: Tensor, prompts: PointPrompts, emphasis: Tensor | None = None
) -> Tensor:
    """Decode prompts and compare the masks with their targets."""
    decoded = trainee.decode(tokens, trainee.embed(prompts.points, prompts.labels))
    return mask_loss(decoded, prompts.target, emphasis)


def mask_loss(decoded: Decoded, target: Tensor, emphasis: Tensor | None = None) -> Tensor:
    """Cross-entropy with more weight along the outline, dice, and the decoder's own IoU estimate.

    Args:
        decoded: One mask per image, (B, 1, 4G, 4G).
        target: (B, S, S) in [0, 1].
        emphasis: Pixels that count three times more, bool (B, S, S); outside the target, they enter
            the dice as well.

    Returns:
        Scalar.
    """
    logits = decoded.logits[:, 0].float()
    want = F.interpolate(target[:, None], logits.shape[-2:], mode="area")[:, 0]
    weight = 1 + (EDGE_WEIGHT - 1) * outline(want)
    dice = dice_loss(logits.sigmoid(), want)
    if emphasis is not None:
        focus = F.interpolate(emphasis[:, None].float(), logits.shape[-2:], mode="area")[:, 0]
        weight = weight + 3 * focus
        dice = dice + dice_loss((1 - logits.sigmoid()) * focus, (1 - want) * focus)
    entropy = F.binary_cross_entropy_with_logits(logits, want, reduction="none") * weight
    own_estimate = F.mse_loss(decoded.iou[:, 0].float(), iou_of(logits > 0, want > 0.5))
    return entropy.sum() / weight.sum() + 0.5 * dice + 0.1 * own_estimate


def outline(target: Tensor) -> Tensor:
    """Mark pixels within one pixel of the target's edge: 1 there and 0 elsewhere, (B, h, w)."""
    wide = F.max_pool2d(target[:, None], 3, stride=1, padding=1)
    narrow = -F.max_pool2d(-target[:, None], 3, stride=1, padding=1)
    return ((wide - narrow)[:, 0] > 0.5).float()


def dice_loss(probability: Tensor, want: Tensor) -> Tensor:
    """One minus the mean dice coefficient; small targets count less because of their noise."""
    inter = (probability * want).flatten(1).sum(1)
    both = (probability + want).flatten(1).sum(1)
    return (1 - (2 * inter + 20) / (both + 20)).mean()


def iou_of(got: Tensor, want: Tensor) -> Tensor:
    """IoU of bool maps (B, ...), float (B,)."""
    union = (got | want).flatten(1).sum(1).clamp_min(1)
    return (got & want).flatten(1).sum(1) / union
