"""Writing a folder of samples: atomic, resumable, in any number of processes."""

from __future__ import annotations

import functools
import json
import logging
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from s3pot.data.folder_kinds import refuse_folder_of_a_run
from s3pot.io import write_bytes, write_npy
from s3pot.types import S3potError
from s3pot_synthetic.canvas import Array
from s3pot_synthetic.processes import draw_each
from s3pot_synthetic.sample import FaceSample, draw_face

logger = logging.getLogger(__name__)

META_NAME = "meta.jsonl"


def stem_of(index: int, split: str, seed: int) -> str:
    """Return the stem of a sample's files, which is unique across seeds and splits."""
    return f"{split}_{seed}_{index:06d}"


def paths_of(out: Path, stem: str, subdir: str = "") -> dict[str, Path]:
    """List the files of one sample: raw, occlusion, occluder, clean, labels."""
    truth = out / "truth" / subdir
    return {
        "raw": out / "raw_images" / subdir / f"{stem}.png",
        "occlusion": truth / f"{stem}_occlusion.png",
        "occluder": truth / f"{stem}_occluder.png",
        "clean": truth / f"{stem}_clean.png",
        "labels": truth / f"{stem}_labels.npy",
    }


def _png(image: Array) -> bytes:
    """Encode RGB (S, S, 3), or a mask (S, S) bool as 0/255."""
    pixels = image[..., ::-1] if image.ndim == 3 else image.astype(np.uint8) * 255
    return cv2.imencode(".png", np.ascontiguousarray(pixels))[1].tobytes()


def write_sample(out: Path, sample: FaceSample, subdir: str = "") -> None:
    """Write the five files of one sample; the raw picture is written last."""
    stem = stem_of(*(sample.meta[key] for key in ("index", "split", "seed")))  # type: ignore[arg-type]
    paths = paths_of(out, stem, subdir)
    write_npy(paths["labels"], sample.labels)
    for name in ("occlusion", "occluder", "clean", "raw"):
        write_bytes(paths[name], _png(getattr(sample, name)))


def _draw_and_write(
    index: int, out: Path, size: int, split: str, seed: int, subdir: str
) -> dict[str, object]:
    sample = draw_face(index, size, split, seed=seed)
    write_sample(out, sample, subdir)
    return {"stem": stem_of(index, split, seed), **sample.meta}


def read_meta(out: Path) -> dict[str, dict[str, object]]:
    """Read the metadata of a folder by stem; a line truncated by a kill is left out."""
    path = out / META_NAME
    entries = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
                entries[str(entry["stem"])] = entry
            except (ValueError, KeyError, TypeError):
                logger.warning("%s: a damaged line is skipped; its sample is drawn again", path)
    return entries


def _write_meta(out: Path, meta: dict[str, dict[str, object]]) -> None:
    lines = [json.dumps(meta[stem], sort_keys=True) + "\n" for stem in sorted(meta)]
    write_bytes(out / META_NAME, "".join(lines).encode())


def write_folder(
    out: Path,
    count: int,
    size: int = 256,
    split: str = "train",
    seed: int = 0,
    workers: int = 1,
    subdir: str = "",
) -> int:
    """Draw samples 0 to ``count`` - 1 into a folder; complete ones of an earlier run are kept.

    Args:
        out: The folder for ``raw_images/``, ``truth/`` and ``meta.jsonl``.
        count: Number of samples.
        size: Side in pixels.
        split: ``train`` or ``bench``.
        seed: Seed of the set.
        workers: Number of processes.
        subdir: Folder inside ``raw_images/`` and ``truth/`` for the samples; empty for none.

    Returns:
        The number of samples drawn in this call.

    Raises:
        S3potError: An argument is out of range, or the folder cannot be written or holds something
            else.
    """
    if count < 1 or workers < 1:
        raise S3potError(f"count is {count} and workers is {workers}; expected at least 1 of each")
    if Path(subdir).is_absolute() or ".." in Path(subdir).parts:
        raise S3potError(f"subdir is {subdir!r}; expected a folder name such as train")
    refuse_folder_of_a_run(out)
    draw_face(0, size, split, seed=seed)  # an invalid argument fails here, before any file exists
    try:
        for name in ("raw_images", "truth"):
            (out / name / subdir).mkdir(parents=True, exist_ok=True)
        meta = read_meta(out)
        todo = [i for i in range(count) if not _complete(out, meta, i, size, split, seed, subdir)]
        _write_meta(out, meta)
        job = functools.partial(
            _draw_and_write, out=out, size=size, split=split, seed=seed, subdir=subdir
        )
        with (out / META_NAME).open("a", encoding="utf-8") as file:
            drawn = draw_each(job, todo, workers, chunk=4)
            for entry in tqdm(drawn, total=len(todo), unit="face", disable=None):
                meta[str(entry["stem"])] = entry
                file.write(json.dumps(entry, sort_keys=True) + "\n")
                file.flush()
        _write_meta(out, meta)
    except OSError as error:
        raise S3potError(
            f"cannot write to {out}: {error}; choose another --out or free space"
        ) from error
    return len(todo)


def _complete(
    out: Path,
    meta: dict[str, dict[str, object]],
    index: int,
    size: int,
    split: str,
    seed: int,
    subdir: str,
) -> bool:
    stem = stem_of(index, split, seed)
    entry = meta.get(stem)
    return (
        entry is not None
        and entry.get("size") == size
        and all(path.is_file() for path in paths_of(out, stem, subdir).values())
    )
