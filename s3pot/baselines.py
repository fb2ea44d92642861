"""The simple baselines that the tables compare the method with.

A baseline is a function from a ``Case``, one face, to a mask of the pixels it considers occluded.
To add one, write the function and list it in ``BASELINES``; then ``method: <name>`` in a table's
YAML runs it (``configs/tables``). The table removes whatever a mask marks outside the region.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from s3pot.labels import region_of, resize_labels
from s3pot.pipeline import OcclusionSegmenter
from s3pot.ps.variants import FIXED, OTSU, otsu_threshold
from s3pot.sam.mini import MiniImageEncoder
from s3pot.types import AlignedFace, Prediction, Prompts, S3potError

CELLS_PER_POINT = 2  # for SAM's automatic masks: 32 points a side on 64 cells, as SAM's authors use
POINTS_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class Case:
    """The inputs of a baseline.

    Attributes:
        face: Image, parsing and reference.
        prompts: The prompts that FE and PS computed for the face, on SAM's device.
        segmenter: For baselines that use parts of the method.
        threshold: The threshold of the row, in [0, 2], for baselines that need one.
        threshold_rule: "fixed" uses ``threshold``; "otsu" finds one for each face, without labels.
        truth: True occlusion, bool (H, W), for baselines that use it, which no real method does.
    """

    face: AlignedFace
    prompts: Prompts
    segmenter: OcclusionSegmenter
    threshold: float = 0.0
    threshold_rule: str = FIXED
    truth: np.ndarray | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the working image, and therefore of the mask."""
        return self.face.size

    @property
    def region(self) -> np.ndarray:
        """The region in which occlusions are searched for, bool (H, W)."""
        return region_of(resize_labels(self.face.parsing, self.size))


# From one face to its occlusion, bool (H, W).
Baseline = Callable[[Case], np.ndarray]


def nothing(case: Case) -> np.ndarray:
    """The parser alone: everything it labels as face is considered visible."""
    return np.zeros(case.size, dtype=bool)


def whole_region(case: Case) -> np.ndarray:
    """Everything is considered occluded."""
    return np.ones(case.size, dtype=bool)


def pixel_threshold(case: Case) -> np.ndarray:
    """Pixels where the colors of image and reference differ by more than the threshold."""
    return _above_threshold(pixel_contrast(case.face), case)


def token_threshold(case: Case) -> np.ndarray:
    """Pixels where SAM's encodings of image and reference differ by more than the threshold."""
    return _above_threshold(token_contrast(case.prompts, case.size), case)


def single_point(case: Case) -> np.ndarray:
    """SAM prompted with FE's first point only, without PS and adapter."""
    prompts = case.prompts
    if prompts.has_points:
        prompts = replace(
            prompts,
            points_sam=prompts.first_point_sam[None],
            point_labels=prompts.point_labels.new_ones(1),
        )
    return case.segmenter.segment(case.face, prompts, adapter=None).masks.occlusion


def region_box(case: Case) -> np.ndarray:
    """SAM prompted with the bounding box of the region, without points."""
    rows, columns = case.prompts.region_sam.nonzero(as_tuple=True)
    if len(rows) == 0:
        return _region_minus_face(None, case)
    corners = torch.stack((columns.min(), rows.min(), columns.max(), rows.max())).float()
    segmenter = case.segmenter
    with torch.no_grad():
        prompt_tokens = segmenter.sam.sam.prompt_encoder(
            points=None, boxes=corners[None], masks=None
        )[0]
        embedding = case.prompts.image_embedding.float()[None]
        low_res_logits = segmenter.sam.decode(embedding, prompt_tokens).logits[:, 0]
        logits_sam = segmenter.enlarge_logits(low_res_logits)[0]
    return _region_minus_face(Prediction(logits_sam, attention=None), case)


def best_automatic_mask(case: Case) -> np.ndarray:
    """Of all masks that SAM predicts for a grid of points, the one that fits the truth best.

    The truth makes the choice, and no mask is discarded for its predicted quality: this is an upper
    bound for every rule that chooses among SAM's automatic masks without looking at the truth.

    Raises:
        S3potError: The case has no truth.
    """
    if case.truth is None:
        raise S3potError("SAM's automatic masks need the ground truth, which selects one of them")
    logits = automatic_logits(case)
    low_res = logits.shape[-2:]
    region = _at_low_res(case.region, low_res)
    truth = _at_low_res(case.truth, low_res)
    masks = (logits > 0) & region
    union = (masks | truth).flatten(1).sum(dim=1).clamp_min(1)
    best = int(((masks & truth).flatten(1).sum(dim=1) / union).argmax())
    logits_sam = case.segmenter.enlarge_logits(logits[best][None].float())[0]
    # The mask is the occlusion, so its complement is the face.
    return _region_minus_face(Prediction(-logits_sam, attention=None), case)


def automatic_logits(case: Case) -> Tensor:
    """Predict SAM's masks for a grid of single points over the whole image.

    Returns:
        Logits on the CPU, float16 (N, 4G, 4G): three for each point, or one with the mini SAMs,
        which were trained to predict only one.
    """
    sam = case.segmenter.sam
    embedding = case.prompts.image_embedding.float()[None]
    points_per_side = sam.grid.side // CELLS_PER_POINT
    step = sam.grid.size / points_per_side
    places = (torch.arange(points_per_side, device=embedding.device) + 0.5) * step
    rows, columns = torch.meshgrid(places, places, indexing="ij")
    points_sam = torch.stack((columns, rows), dim=-1).reshape(-1, 1, 2)
    gives_three = not isinstance(sam.sam.image_encoder, MiniImageEncoder)
    encoder = sam.sam.prompt_encoder
    dense = encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand_as(embedding)
    logits = []
    with torch.no_grad():
        for some_points in points_sam.split(POINTS_AT_ONCE):
            labels = torch.ones(len(some_points), 1, dtype=torch.int64, device=embedding.device)
            masks, _ = sam.sam.mask_decoder(
                image_embeddings=embedding,
                image_pe=encoder.get_dense_pe(),
                sparse_prompt_embeddings=sam.embed_points(some_points, labels),
                dense_prompt_embeddings=dense.expand(len(some_points), -1, -1, -1),
                multimask_output=gives_three,
            )
            logits.append(masks.flatten(0, 1).half().cpu())
    return torch.cat(logits)


def negative_cells(case: Case) -> np.ndarray:
    """The token cells of PS's occlusion points, without adapter and mask decoder."""
    grid = case.segmenter.sam.grid
    negative = case.prompts.points_sam[case.prompts.point_labels == 0]
    cells = np.zeros(grid.side * grid.side, dtype=bool)
    cells[grid.cells(negative).cpu().numpy()] = True
    return resize_labels(cells.reshape(grid.side, grid.side), case.size)


BASELINES: dict[str, Baseline] = {
    "parser": nothing,
    "region": whole_region,
    "pixel": pixel_threshold,
    "token": token_threshold,
    "single_point": single_point,
    "region_box": region_box,
    "automatic": best_automatic_mask,
    "greedy": negative_cells,
}
SEE_THE_TRUTH = ("automatic",)  # baselines that use the true occlusion


def pixel_contrast(face: AlignedFace) -> np.ndarray:
    """Average the absolute difference of image and reference over channels: (H, W) in [0, 1]."""
    difference = face.image.astype(np.float32) - face.reference.astype(np.float32)
    return np.asarray(np.abs(difference).mean(axis=2) / 255)


def token_contrast(prompts: Prompts, size: tuple[int, ...]) -> np.ndarray:
    """Compute 1 - cosine of tokens at the same place, enlarged to ``size``: in [0, 2]."""
    return resize_labels(1 - prompts.similarity.float().cpu().numpy(), size)


def _above_threshold(contrast: np.ndarray, case: Case) -> np.ndarray:
    """Find where a contrast (H, W) is above the threshold; Otsu's rule finds it in the region."""
    threshold = case.threshold
    if case.threshold_rule == OTSU:
        threshold = otsu_threshold(contrast[case.region])
    return np.asarray(contrast > threshold)


def _region_minus_face(prediction: Prediction | None, case: Case) -> np.ndarray:
    """Apply the last line of the method: occlusion, bool (H, W)."""
    return case.segmenter.masks_of(case.face, prediction).occlusion


def _at_low_res(mask: np.ndarray, size: tuple[int, ...]) -> Tensor:
    """Bring a mask to the size of SAM's logits by the nearest pixel center, bool (h, w)."""
    return torch.from_numpy(resize_labels(mask, size).copy())
