"""What is written for a segmented face: masks, pictures, a record; and a folder's summary."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from s3pot import vis
from s3pot.data.image import atomic_path, read_rgb, write_json, write_npy, write_png
from s3pot.data.layout import FaceFiles, load_labels, load_truth
from s3pot.engine.record import write_record
from s3pot.gallery import Card, write_gallery
from s3pot.labels import OCCLUSION, region_of
from s3pot.metrics import mask_scores
from s3pot.rg.reference import resize_labels
from s3pot.rg.warp import Alignment, to_photo
from s3pot.types import Prediction, Prompts, S3potError

PICTURES = ("pair", "classes", "points", "attention", "overlay")
CAPTIONS = {
    "pair": "photo and reference",
    "classes": "parsing",
    "points": "prompts: face green, occlusion red",
    "attention": "attention on the prompts",
    "overlay": "occlusion",
}


@dataclass(frozen=True)
class Masks:
    """A segmented face in the working image's frame.

    Attributes:
        occlusion: Region minus visible face, bool (H, W).
        face: Visible face inside the region, bool (H, W).
        parsing: The 12 classes, occluded pixels set to 12, uint8 (H, W).
    """

    occlusion: np.ndarray
    face: np.ndarray
    parsing: np.ndarray


@dataclass(frozen=True)
class ResultOptions:
    """What is written beside the masks.

    Attributes:
        save_vis: Pictures and the gallery.
        to_photo: The masks in the original photo's frame too.
    """

    save_vis: bool = False
    to_photo: bool = False


def masks_from(logits_sam: Tensor | None, labels: np.ndarray, size: tuple[int, int]) -> Masks:
    """Bring face logits to the working image and split the region by them.

    Args:
        logits_sam: Visible-face logits, (S, S); None, without prompts, marks nothing.
        labels: 12-class map at any size.
        size: Height and width of the working image.
    """
    labels = resize_labels(labels, size)
    region = region_of(labels)
    face = region
    if logits_sam is not None:
        logits = logits_sam.detach().float()[None, None]
        resized = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
        face = region & (resized[0, 0] > 0).cpu().numpy()
    occlusion = region & ~face
    return Masks(occlusion, face, np.where(occlusion, OCCLUSION, labels).astype(np.uint8))


def record_path(output_dir: Path, name: str) -> Path:
    """The file that closes a result, ``<stem>_result.json``."""
    return output_dir / f"{name}_result.json"


def write_result(
    output_dir: Path,
    face: FaceFiles,
    prompts: Prompts,
    prediction: Prediction | None,
    *,
    models: Mapping[str, str],
    seconds: Mapping[str, float],
    options: ResultOptions,
    made_by: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write everything of one face, its record last.

    Args:
        output_dir: Folder of the results; sub-folders of the name are kept.
        face: Its input files.
        prompts: FE and PS of it.
        prediction: Output of ``segment``; None where there was no prompt point.
        models: Model name → SHA-256.
        seconds: Stage → seconds.
        options: What else to write.
        made_by: See ``record.write_record``; None when nobody resumes from it.

    Returns:
        The face's row of the summary.

    Raises:
        S3potError: An input file is bad, or the way back to the photo is asked for and not known.
    """
    raw, labels = read_rgb(face.raw), load_labels(face.parsing)
    size = (raw.shape[0], raw.shape[1])
    masks = masks_from(None if prediction is None else prediction.logits_sam, labels, size)
    files = _write_masks(output_dir, face, masks, options)
    if options.save_vis:
        files += _write_pictures(output_dir, face, raw, masks, prompts, prediction)
    row = _row(face, masks, prompts, models, seconds)
    write_record(record_path(output_dir, face.name), made_by or {}, files, {"row": row})
    return row


def write_summary(output_dir: Path, rows: Sequence[Mapping[str, Any]], gallery: bool) -> None:
    """Write ``summary.csv``, ``summary.json`` and, with pictures, ``index.html``.

    Args:
        output_dir: Folder of the results.
        rows: What ``write_result`` gave, one per face.
        gallery: Whether the pictures were written.
    """
    write_json(output_dir / "summary.json", list(rows))
    write_csv(output_dir / "summary.csv", rows)
    if gallery:
        cards = [_card(output_dir, row) for row in rows]
        write_gallery(output_dir / "index.html", "S³POT: occluded faces", cards)


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of plain values; columns are all keys in order of appearance; None is empty."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with atomic_path(path) as temporary:
        temporary.write_bytes(text.getvalue().encode("utf-8"))


def _row(
    face: FaceFiles,
    masks: Masks,
    prompts: Prompts,
    models: Mapping[str, str],
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    region, occluded = int(masks.occlusion.sum() + masks.face.sum()), int(masks.occlusion.sum())
    positive = int((prompts.labels == 1).sum())
    truth = load_truth(face)
    scores = None if truth is None else mask_scores(masks.occlusion, truth)
    return {
        "name": face.name,
        "occluded": "yes" if occluded else "no",
        "occluded_share": round(occluded / region, 6) if region else 0.0,
        "region_pixels": region,
        "positive_points": positive,
        "negative_points": len(prompts.labels) - positive,
        "occlusion_iou": None if scores is None else round(scores.iou, 6),
        **{f"seconds_{stage}": round(value, 4) for stage, value in seconds.items()},
        **{f"sha256_{model}": value for model, value in models.items()},
    }


def _write_masks(
    output_dir: Path, face: FaceFiles, masks: Masks, options: ResultOptions
) -> list[Path]:
    pictures = {"occlusion": masks.occlusion, "face": masks.face}
    if options.to_photo:
        alignment = _alignment(face)
        for kind in ("occlusion", "face"):
            pictures[f"{kind}_photo"] = to_photo(pictures[kind], alignment)
    parsing = output_dir / f"{face.name}_parsing.npy"
    write_npy(parsing, masks.parsing)
    return [parsing, *_write_pngs(output_dir, face.name, pictures)]


def _alignment(face: FaceFiles) -> Alignment:
    if face.align is None:
        raise S3potError(
            f"{face.name}: no {face.name}_align.json, which knows the way back to the photo; "
            "run generate_reference.py, or leave out --to_photo"
        )
    try:
        return Alignment.from_dict(json.loads(face.align.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise S3potError(
            f"{face.align}: not readable ({error}); run generate_reference.py again"
        ) from error


def _write_pictures(
    output_dir: Path,
    face: FaceFiles,
    raw: np.ndarray,
    masks: Masks,
    prompts: Prompts,
    prediction: Prediction | None,
) -> list[Path]:
    size = prompts.region_sam.shape[-1]
    points = (prompts.points_sam.cpu().numpy() + 0.5) / size
    first = (prompts.first_point_sam.cpu().numpy() + 0.5) / size if len(points) else None
    large = vis.enlarged(raw)
    pictures = {
        "pair": vis.side_by_side([raw, read_rgb(face.reference)]),
        "classes": vis.colour_labels(masks.parsing),
        "points": vis.draw_points(large, points, prompts.labels.cpu().numpy(), first),
        "overlay": vis.overlay(raw, masks.occlusion),
    }
    if prediction is not None and prediction.attention is not None:
        attention = prediction.attention.detach().cpu().numpy()
        weights = vis.attention_of_points(attention, len(points))
        pictures["attention"] = vis.draw_attention(large, points, weights)
    return _write_pngs(output_dir, face.name, pictures)


def _write_pngs(output_dir: Path, name: str, pictures: Mapping[str, np.ndarray]) -> list[Path]:
    paths = []
    for kind, pixels in pictures.items():
        paths.append(output_dir / f"{name}_{kind}.png")
        write_png(paths[-1], pixels)
    return paths


def _card(output_dir: Path, row: Mapping[str, Any]) -> Card:
    name = row["name"]
    found = [kind for kind in PICTURES if (output_dir / f"{name}_{kind}.png").is_file()]
    pictures = [(CAPTIONS[kind], f"{name}_{kind}.png") for kind in found]
    numbers = [
        ("occluded", f"{row['occluded']}, {100 * row['occluded_share']:.1f} % of the region"),
        ("prompts", f"{row['positive_points']} face, {row['negative_points']} occlusion"),
    ]
    if row["occlusion_iou"] is not None:
        numbers.append(("occlusion IoU", f"{row['occlusion_iou']:.3f}"))
    return Card(name, pictures, numbers)
