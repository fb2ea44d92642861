"""What is written for a segmented face: masks, pictures, a record; and a folder's summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s3pot.data.face_folder import FaceFiles, load_labels
from s3pot.data.image import read_rgb, write_png
from s3pot.data.truth import load_truth
from s3pot.geometry import Alignment
from s3pot.io import write_csv, write_json, write_npy
from s3pot.metrics import mask_scores
from s3pot.pipeline import split_region
from s3pot.report import vis
from s3pot.report.gallery import write_gallery
from s3pot.rg.warp import to_photo
from s3pot.runs.folder_run import write_record
from s3pot.types import Masks, Prediction, Prompts, S3potError


@dataclass(frozen=True)
class ResultOptions:
    """What is written beside the masks."""

    save_vis: bool = False  # pictures and the gallery
    to_photo: bool = False  # the masks in the original photo's frame too


def record_path(output_dir: Path, name: str) -> Path:
    """The file that closes a result, ``<stem>_result.json``."""
    return output_dir / f"{name}_result.json"


def write_result(
    output_dir: Path,
    face: FaceFiles,
    prompts: Prompts,
    prediction: Prediction | None,
    options: ResultOptions,
    made_by: Mapping[str, Any],
    more: Mapping[str, Any],
) -> dict[str, Any]:
    """Write everything of one face, its record last; returns its row of the summary.

    ``prediction`` is None where there was no prompt point; ``made_by`` as in
    ``items.write_record``; ``more`` are further columns of the row.

    Raises:
        S3potError: An input file is bad, or the way back to the photo is asked for and not known.
    """
    raw = read_rgb(face.raw)
    masks = split_region(prediction, load_labels(face.parsing), raw.shape[:2])
    truth = load_truth(face)
    pictures = {"occlusion": masks.occlusion, "face": masks.face}
    if options.to_photo:
        if face.align is None:
            raise S3potError(f"{face.name} has no _align.json; make it, or leave out --to_photo")
        alignment = Alignment.read(face.align)
        pictures.update({f"{k}_photo": to_photo(mask, alignment) for k, mask in pictures.items()})
    if options.save_vis:
        pictures.update(_drawn(face, raw, masks, prompts, prediction, truth))
    files = {kind: output_dir / f"{face.name}_{kind}.png" for kind in pictures}
    for kind, pixels in pictures.items():
        write_png(files[kind], pixels)
    parsing = output_dir / f"{face.name}_parsing.npy"
    write_npy(parsing, masks.parsing)
    occluded, visible = int(masks.occlusion.sum()), int(masks.face.sum())
    positive = int((prompts.point_labels == 1).sum())
    row = {
        "name": face.name,
        "occluded": "yes" if occluded else "no",
        "occluded_share": round(occluded / max(occluded + visible, 1), 6),
        "region_pixels": occluded + visible,
        "positive_points": positive,
        "negative_points": len(prompts.point_labels) - positive,
        "occlusion_iou": None if truth is None else mask_scores(masks.occlusion, truth).iou,
        "true_share": None if truth is None else _true_share(masks, truth),
        **more,
    }
    record = record_path(output_dir, face.name)
    write_record(record, made_by, [parsing, *files.values()], {"row": row})
    return row


def write_summary(output_dir: Path, rows: Sequence[Mapping[str, Any]], gallery: bool) -> None:
    """Write ``summary.csv``, ``summary.json`` and, where pictures are, the page ``index.html``."""
    write_json(output_dir / "summary.json", list(rows))
    write_csv(output_dir / "summary.csv", rows)
    if gallery:
        write_gallery(output_dir, rows)


def _true_share(masks: Masks, truth: np.ndarray) -> float:
    """How much of the region and the truth together is truly occluded; 0 for a bare face."""
    region = masks.occlusion | masks.face
    return round(float(truth.sum() / max((region | truth).sum(), 1)), 6)


def _drawn(
    face: FaceFiles,
    raw: np.ndarray,
    masks: Masks,
    prompts: Prompts,
    prediction: Prediction | None,
    truth: np.ndarray | None,
) -> dict[str, np.ndarray]:
    """Pictures by their key in ``gallery.VIEWS``, and ``pair``."""
    prompts, size = prompts.to("cpu"), prompts.region_sam.shape[-1]
    points = (prompts.points_sam.numpy() + 0.5) / size
    first = (prompts.first_point_sam.numpy() + 0.5) / size if len(points) else None
    large = vis.enlarged(raw)
    reference = read_rgb(face.reference)
    pictures = {
        "raw": raw,
        "reference": reference,
        "pair": vis.side_by_side(raw, reference),
        "classes": vis.color_labels(masks.parsing),
        "points": vis.draw_points(large, points, prompts.point_labels.numpy(), first),
        "overlay": vis.overlay(raw, masks.occlusion),
    }
    if prediction is not None and prediction.attention is not None:
        attention = prediction.attention.detach().cpu().numpy()
        pictures["attention"] = vis.draw_attention(large, points, attention)
    if truth is not None:
        pictures["truth"] = vis.overlay(raw, truth, vis.HIT)
        pictures["error"] = vis.error_map(large, masks.occlusion, truth)
    return pictures
