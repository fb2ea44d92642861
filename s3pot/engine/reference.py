"""Reference generation over a folder: photos in, the folder contract out."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from s3pot.build import build_inverter, build_parser, model_hashes
from s3pot.config import Config, save_config
from s3pot.data.image import read_rgb, write_npy, write_png
from s3pot.data.layout import ALIGN, CLEAN, OCCLUSION, FaceFiles, load_truth, output_files
from s3pot.engine.device import pick_device
from s3pot.engine.record import digest, read_finished, write_record
from s3pot.engine.seed import seed_everything
from s3pot.rg.align import NoFace, find_alignments, from_landmarks, identity
from s3pot.rg.detect import FaceDetector
from s3pot.rg.inverter import Inverter
from s3pot.rg.parser import Parser
from s3pot.rg.reference import make_reference
from s3pot.rg.warp import Alignment, crop
from s3pot.types import Photo, S3potError
from s3pot.weights.registry import locate

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReferenceJob:
    """What to do.

    Attributes:
        input_dir: Photos, also in sub-folders.
        output_dir: Where the folder contract goes.
        truth_dir: Holds ``<stem>_occlusion.png`` and ``<stem>_clean.png`` ; None for none.
        all_faces: Every face of a photo instead of the largest.
        overwrite: Also do what is finished.
    """

    input_dir: Path
    output_dir: Path
    truth_dir: Path | None = None
    all_faces: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class Generator:
    """The models of RG.

    Attributes:
        parser: Finds the 12 classes.
        inverter: Draws the clean face.
        detector: Finds faces; None takes every picture as it is.
        hashes: Model → SHA-256.
    """

    parser: Parser
    inverter: Inverter
    detector: FaceDetector | None
    hashes: Mapping[str, str]


def generate(config: Config, job: ReferenceJob) -> int:
    """Write photo, reference, parsing and alignment of every photo that is not finished.

    Returns:
        How many photos failed; each is named in the log.

    Raises:
        S3potError: Nothing can be done: no photos, or missing weights.
    """
    photos = find_photos(job.input_dir, job.output_dir)
    if job.truth_dir is not None and not job.truth_dir.is_dir():
        raise S3potError(f"--truth_dir {job.truth_dir} is no folder")
    models = load_generator(config)
    save_config(config, job.output_dir)
    failed = 0
    owners: dict[str, Path] = {}
    with logging_redirect_tqdm([logging.getLogger("s3pot")]):
        for path in tqdm(photos, desc="references", unit="photo", disable=None):
            try:
                _claim(owners, path, _name(path, job))
                _one(config, job, models, path)
            except S3potError as error:
                failed += 1
                logger.error("failed: %s: %s", path, error)
    if failed == len(photos):
        raise S3potError(f"none of the {failed} photos could be done")
    logger.info("%d of %d photos are in %s", len(photos) - failed, len(photos), job.output_dir)
    return failed


def find_photos(input_dir: Path, output_dir: Path) -> list[Path]:
    """All files that are not hidden, sorted; the output folder may lie inside and is left out.

    Raises:
        S3potError: No such folder, nothing in it, or it is the output folder too.
    """
    if not input_dir.is_dir():
        raise S3potError(f"--input_dir {input_dir} is no folder; expected a folder of photos")
    inside, outside = input_dir.resolve(), output_dir.resolve()
    if inside == outside:
        raise S3potError(f"--output_dir is the input folder {input_dir}; choose another one")
    photos = []
    for path in sorted(inside.rglob("*")):
        parts = path.relative_to(inside).parts
        hidden = any(part.startswith(".") for part in parts)
        if path.is_file() and not hidden and outside not in path.parents:
            photos.append(input_dir.joinpath(*parts))
    if not photos:
        raise S3potError(f"--input_dir {input_dir} holds no files; expected photos")
    return photos


def load_generator(config: Config) -> Generator:
    """Build the models; the detector is only asked for when the config aligns.

    Raises:
        S3potError: Weights are missing or do not fit.
    """
    hashes, detector = model_hashes(config, ("parser", "generator")), None
    if config.align.mode != "never":
        folder = config.model.weights_dir
        path = locate("yunet", Path(folder).expanduser() if folder else None)
        detector = FaceDetector(path, config.align.min_score)
        hashes["detector"] = digest(path)
    device = pick_device(config.run.device)
    return Generator(build_parser(config, device), build_inverter(config, device), detector, hashes)


def align(
    config: Config, models: Generator, pixels: np.ndarray, all_faces: bool = False
) -> list[Alignment]:
    """The crops of one photo, uint8 (H, W, 3), that are worked on, by ``align.mode``.

    Raises:
        NoFace: None was found where one is needed.
    """
    options = config.align
    if models.detector is None:
        return [identity(pixels)]
    if options.mode == "auto":
        return find_alignments(pixels, models.detector, options.size, options.borders, all_faces)
    faces = models.detector.detect(pixels)
    if not faces:
        raise NoFace("no face found; align.mode=auto takes a square picture as it is, never any")
    size = (pixels.shape[0], pixels.shape[1])
    return [
        from_landmarks(face.landmarks, size, options.size, options.borders, face.score)
        for face in (faces if all_faces else faces[:1])
    ]


def _name(path: Path, job: ReferenceJob) -> str:
    return path.relative_to(job.input_dir).with_suffix("").as_posix()


def _claim(owners: dict[str, Path], path: Path, name: str) -> None:
    """Refuse a photo whose files would replace an earlier one's: ``a.jpg`` and ``a.png``."""
    files = {str(value) for value in asdict(output_files(Path(), name)).values()} - {name}
    taken = next((owners[file] for file in sorted(files) if file in owners), None)
    if taken is not None:
        raise S3potError(f"its files would overwrite those of {taken}; rename one of the two")
    owners.update(dict.fromkeys(files, path))


def _one(config: Config, job: ReferenceJob, models: Generator, path: Path) -> None:
    """All faces of one photo."""
    name, truths = _name(path, job), _truth_files(job, _name(path, job))
    made_by = {
        "photo": _photo_digest(path),
        "models": dict(models.hashes),
        "align": asdict(config.align),
        "reference": asdict(config.reference),
        "all_faces": job.all_faces,
        "truth": {suffix: digest(file) for suffix, file in truths.items()},
    }
    if not job.overwrite and _is_finished(job, name, made_by):
        return
    pixels = read_rgb(path)
    faces = align(config, models, pixels, job.all_faces)
    # The first face's record says how many there are, so it is written last.
    for index in reversed(range(len(faces))):
        files = output_files(job.output_dir, _face_name(name, index))
        if config.reference.noise == "random":
            # The same noise whichever photos are done.
            seed_everything(config.reference.seed, config.run.deterministic)
        written = list(_write_face(models, files, (path, pixels), faces[index], truths))
        content = {**faces[index].to_dict(), "source": path.name, "faces": len(faces)}
        write_record(job.output_dir / (files.name + ALIGN), made_by, written, content)


def _is_finished(job: ReferenceJob, name: str, made_by: Mapping[str, Any]) -> bool:
    first = read_finished(job.output_dir / (name + ALIGN), made_by)
    others = range(1, first["faces"]) if first else ()
    paths = [job.output_dir / (_face_name(name, index) + ALIGN) for index in others]
    return first is not None and all(read_finished(path, made_by) for path in paths)


def _face_name(name: str, index: int) -> str:
    return name if index == 0 else f"{name}_face{index + 1}"


def _photo_digest(path: Path) -> str:
    try:
        return digest(path)
    except OSError as error:
        raise S3potError(f"cannot be read ({error.strerror})") from error


def _truth_files(job: ReferenceJob, name: str) -> dict[str, Path]:
    """What is known about a photo: suffix → file."""
    if job.truth_dir is None:
        return {}
    paths = {suffix: job.truth_dir / (name + suffix) for suffix in (OCCLUSION, CLEAN)}
    found = {suffix: path for suffix, path in paths.items() if path.is_file()}
    if not found:
        logger.warning("%s: no truth %s", name, paths[OCCLUSION])
    return found


def _write_face(
    models: Generator,
    files: FaceFiles,
    photo: tuple[Path, np.ndarray],
    alignment: Alignment,
    truths: Mapping[str, Path],
) -> Iterator[Path]:
    """Write one face's files but the record; gives their paths."""
    path, pixels = photo
    made = make_reference(
        models.parser, models.inverter, Photo(files.name, crop(pixels, alignment), alignment)
    )
    write_png(files.raw, made.raw)
    write_png(files.reference, made.reference)
    write_npy(files.parsing, made.labels)
    yield from (files.raw, files.reference, files.parsing)
    truth = load_truth(replace(files, raw=path, occlusion_truth=truths.get(OCCLUSION)))
    if truth is not None and files.occlusion_truth:
        write_png(files.occlusion_truth, crop(truth, alignment))
        yield files.occlusion_truth
    if CLEAN in truths and files.clean:
        write_png(files.clean, crop(read_rgb(truths[CLEAN]), alignment))
        yield files.clean
