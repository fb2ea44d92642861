"""Writing the results of a segmented face: masks, pictures and a row of the summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s3pot.data.image import write_png
from s3pot.data.truth import FaceTruth
from s3pot.geometry import Alignment
from s3pot.io import write_npy
from s3pot.labels import resize_labels
from s3pot.metrics import mask_iou, true_share_of
from s3pot.occlusion_decision import occluded_share, occluded_share_by_part
from s3pot.pipeline import aligned_logits
from s3pot.report import vis
from s3pot.report.gallery import has_gallery, write_gallery
from s3pot.report.summary import Failure, Summary, write_summary_files
from s3pot.rg.warp import to_photo
from s3pot.types import Masks, SegmentedFace


@dataclass(frozen=True)
class ResultOptions:
    """Which files are written besides the masks.

    Attributes:
        save_vis: Pictures and the gallery.
        to_photo: The masks in the original photo's frame as well.
        save_logits: The visible-face logits, for thresholds other than 0.
        save_coco: The masks as COCO instances; see ``report/coco.py``.
    """

    save_vis: bool = False
    to_photo: bool = False
    save_logits: bool = False
    save_coco: bool = False

    def extras(self) -> tuple[str, ...]:
        """Name the kinds of optional files; see ``ItemProvenance``."""
        return tuple(kind for kind, is_wanted in asdict(self).items() if is_wanted)


@dataclass(frozen=True)
class ResultRow:
    """One face in ``summary.csv`` and ``summary.json``; the fields are the columns.

    Attributes:
        name: The name of the face; sub-folders are kept.
        occluded: "yes" or "no".
        quality: "ok", or "doubtful: " followed by the reasons.
        occluded_share: Share of the region, in [0, 1].
        occluded_share_skin: Share of this part of the face; None if the parser found no such part.
        occluded_share_eyes: As above.
        occluded_share_brows: As above.
        occluded_share_nose: As above.
        occluded_share_lips_and_mouth: As above.
        occluded_share_glasses: As above.
        region_pixels: Number of pixels in which an occlusion could be found.
        positive_points: Number of face points.
        negative_points: Number of occlusion points.
        occlusion_iou: IoU with the ground truth; None if there is none.
        true_share: Truly occluded share of the union of region and truth; None without a ground
            truth.
        seconds_prompts: Time to read the face and to find or compute its prompts.
        seconds_segment: Time of adapter and mask, or of fitting the adapter.
        sha256_sam: Hash of SAM's weights.
        sha256_adapter: Hash of the adapter's file; None if there was no point and it was not used.
    """

    name: str
    occluded: str
    quality: str
    occluded_share: float
    occluded_share_skin: float | None
    occluded_share_eyes: float | None
    occluded_share_brows: float | None
    occluded_share_nose: float | None
    occluded_share_lips_and_mouth: float | None
    occluded_share_glasses: float | None
    region_pixels: int
    positive_points: int
    negative_points: int
    occlusion_iou: float | None
    true_share: float | None
    seconds_prompts: float
    seconds_segment: float
    sha256_sam: str
    sha256_adapter: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values by column."""
        return asdict(self)


def result_row(  # noqa: PLR0913  # columns, given by their names
    result: SegmentedFace,
    truth: FaceTruth | None,
    *,
    quality: str,
    seconds_prompts: float,
    seconds_segment: float,
    sha256_sam: str,
    sha256_adapter: str | None,
) -> ResultRow:
    """Summarize a face; ``truth`` is its ground truth, or None if it is not known.

    The other arguments are columns, see ``ResultRow``.
    """
    masks = result.masks
    parsing = resize_labels(result.face.parsing, masks.occlusion.shape)
    by_part = {
        part: None if share is None else round(share, 6)
        for part, share in occluded_share_by_part(masks.occlusion, parsing).items()
    }
    iou = None
    if truth is not None:
        iou = mask_iou(masks.occlusion, truth.occlusion, truth.ignored)
    positive_points = int((result.prompts.point_labels == 1).sum())
    return ResultRow(
        name=result.face.name,
        occluded="yes" if masks.occlusion.any() else "no",
        quality=quality,
        occluded_share=round(occluded_share(masks.occlusion, masks.region), 6),
        occluded_share_skin=by_part["skin"],
        occluded_share_eyes=by_part["eyes"],
        occluded_share_brows=by_part["brows"],
        occluded_share_nose=by_part["nose"],
        occluded_share_lips_and_mouth=by_part["lips_and_mouth"],
        occluded_share_glasses=by_part["glasses"],
        region_pixels=int(masks.region.sum()),
        positive_points=positive_points,
        negative_points=len(result.prompts.point_labels) - positive_points,
        occlusion_iou=iou,
        true_share=None if truth is None else _true_share(masks, truth),
        seconds_prompts=round(seconds_prompts, 4),
        seconds_segment=round(seconds_segment, 4),
        sha256_sam=sha256_sam,
        sha256_adapter=sha256_adapter,
    )


def _true_share(masks: Masks, truth: FaceTruth) -> float:
    return round(true_share_of(truth.occlusion, masks.region, truth.ignored), 6)


def _counted(mask: np.ndarray, truth: FaceTruth) -> np.ndarray:
    """Return the pixels of a mask, bool (H, W), that scores count."""
    return mask if truth.ignored is None else mask & ~truth.ignored


def write_result(
    output_dir: Path,
    result: SegmentedFace,
    truth: FaceTruth | None,
    alignment: Alignment | None,
    options: ResultOptions,
) -> list[Path]:
    """Write masks and pictures of one face as ``<output_dir>/<name>_*``.

    Args:
        output_dir: Result folder.
        result: The face, its tensors on the CPU.
        truth: Its ground truth; None if it is not known.
        alignment: The transform to the photo, for masks in its frame; None leaves them out.
        options: Which files are written besides.

    Returns:
        All files.
    """
    pictures = {"occlusion": result.masks.occlusion, "face": result.masks.face}
    if alignment is not None:
        pictures["occlusion_photo"] = to_photo(result.masks.occlusion, alignment)
        pictures["face_photo"] = to_photo(result.masks.face, alignment)
    if options.save_vis:
        pictures.update(draw_pictures(result, truth))
    parsing_path = output_dir / f"{result.face.name}_parsing.npy"
    write_npy(parsing_path, result.masks.parsing)
    files = [parsing_path]
    if options.save_logits and result.prediction is not None:
        logits = aligned_logits(result.prediction, result.masks.occlusion.shape)
        logits_path = output_dir / f"{result.face.name}_logits.npy"
        write_npy(logits_path, logits.astype(np.float16))
        files.append(logits_path)
    for kind, pixels in pictures.items():
        path = output_dir / f"{result.face.name}_{kind}.png"
        write_png(path, pixels)
        files.append(path)
    return files


def draw_pictures(result: SegmentedFace, truth: FaceTruth | None) -> dict[str, np.ndarray]:
    """Draw the pictures of a face, by their keys in ``gallery.VIEWS``, and ``pair``.

    Args:
        result: The face, its tensors on the CPU.
        truth: Its ground truth; None if it is not known.
    """
    image = result.face.image
    reference = result.face.reference
    prompts = result.prompts
    size = prompts.region_sam.shape[-1]
    points = (prompts.points_sam.numpy() + 0.5) / size
    first_point = (prompts.first_point_sam.numpy() + 0.5) / size if prompts.has_points else None
    large = vis.enlarged(image)
    pictures = {
        "raw": image,
        "reference": reference,
        "pair": vis.side_by_side(image, reference),
        "classes": vis.color_labels(result.masks.parsing),
        "points": vis.draw_points(large, points, prompts.point_labels.numpy(), first_point),
        "overlay": vis.overlay(image, result.masks.occlusion),
    }
    if result.prediction is not None and result.prediction.attention is not None:
        attention = result.prediction.attention.numpy()
        pictures["attention"] = vis.draw_attention(large, points, attention)
    if truth is not None:
        occlusion = _counted(truth.occlusion, truth)
        prediction = _counted(result.masks.occlusion, truth)
        pictures["truth"] = vis.overlay(image, occlusion, vis.HIT)
        pictures["error"] = vis.error_map(large, prediction, occlusion)
    return pictures


def write_summary(
    output_dir: Path,
    rows: Sequence[Mapping[str, Any]],
    gallery: bool,
    failures: Sequence[Failure] = (),
) -> None:
    """Write the summary and, with pictures, the page ``index.html``.

    Args:
        output_dir: Result folder.
        rows: Rows of ``ResultRow.to_dict``.
        gallery: Whether this run writes pictures. The page of an earlier run is written anew in any
            case, so that it agrees with the summary.
        failures: Faces without a row.
    """
    write_summary_files(output_dir, Summary(rows, failures))
    if gallery or has_gallery(output_dir):
        write_gallery(output_dir, rows, failures)
