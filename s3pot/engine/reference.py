"""Reference generation over a folder: photos in, the folder contract out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from s3pot.build import build_inverter, build_parser, model_hashes
from s3pot.config import Config, save_config
from s3pot.data.image import read_rgb, write_npy, write_png
from s3pot.data.layout import ALIGN, CLEAN, OCCLUSION, load_truth, output_files
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
    """What to do."""

    input_dir: Path  # photos, also in sub-folders
    output_dir: Path  # where the folder contract goes
    truth_dir: Path | None = None  # holds <stem>_occlusion.png and <stem>_clean.png
    all_faces: bool = False  # every face of a photo instead of the largest
    overwrite: bool = False  # also do what is finished


@dataclass(frozen=True)
class Generator:
    """The models of RG."""

    parser: Parser
    inverter: Inverter
    detector: FaceDetector | None  # None takes every picture as it is
    hashes: Mapping[str, str]  # model → SHA-256


def generate(config: Config, job: ReferenceJob) -> int:
    """Do every photo that is not finished; returns how many failed, each named in the log.

    Raises:
        S3potError: Nothing can be done: no photos, or missing weights.
    """
    photos = find_photos(job.input_dir, job.output_dir)
    if job.truth_dir is not None and not job.truth_dir.is_dir():
        raise S3potError(f"--truth_dir {job.truth_dir} is no folder")
    models = load_generator(config)
    save_config(config, job.output_dir)
    failed, owners = 0, dict[Path, Path]()
    with logging_redirect_tqdm([logging.getLogger("s3pot")]):
        for path in tqdm(photos, desc="references", unit="photo", disable=None):
            try:
                name = path.relative_to(job.input_dir).with_suffix("").as_posix()
                _claim(owners, path, name)
                _one(config, job, models, path, name)
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
    outside = output_dir.resolve()
    if input_dir.resolve() == outside:
        raise S3potError(f"--output_dir is the input folder {input_dir}; choose another one")
    photos = []
    for path in sorted(input_dir.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(input_dir).parts)
        if path.is_file() and not hidden and outside not in path.resolve().parents:
            photos.append(path)
    if not photos:
        raise S3potError(f"--input_dir {input_dir} holds no files; expected photos")
    return photos


def load_generator(config: Config) -> Generator:
    """Build the models, the detector only when the config aligns; S3potError lacking weights."""
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
    """The crops of one photo, uint8 (H, W, 3), by ``align.mode``; NoFace where one is needed."""
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


def _claim(owners: dict[Path, Path], path: Path, name: str) -> None:
    """Refuse a photo whose files would replace an earlier one's: ``a.jpg`` and ``a.png``."""
    files = [value for value in vars(output_files(Path(), name)).values() if value != name]
    taken = [owners[file] for file in files if file in owners]
    if taken:
        raise S3potError(f"its files would overwrite those of {taken[0]}; rename one of the two")
    owners.update(dict.fromkeys(files, path))


def _one(config: Config, job: ReferenceJob, models: Generator, path: Path, name: str) -> None:
    """All faces of one photo; the record of the first closes them all, so it is written last."""
    truths = _truth_files(job, name)
    made_by = {
        "photo": digest(path),
        "models": dict(models.hashes),
        "align": asdict(config.align),
        "reference": asdict(config.reference),
        "all_faces": job.all_faces,
        "truth": {suffix: digest(file) for suffix, file in truths.items()},
    }
    if not job.overwrite and read_finished(job.output_dir / (name + ALIGN), made_by):
        return
    pixels = read_rgb(path)
    faces = align(config, models, pixels, job.all_faces)
    written: list[Path] = []
    for index, alignment in reversed(list(enumerate(faces))):
        face = f"{name}_face{index + 1}" if index else name
        # The same noise whichever photos are done.
        seed_everything(config.reference.seed, config.run.deterministic)
        photo = Photo(face, crop(pixels, alignment), alignment)
        written += _write_face(job.output_dir, models, photo, path, truths)
        record = job.output_dir / (face + ALIGN)
        write_record(record, made_by, written, {**alignment.to_dict(), "source": path.name})
        written.append(record)


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
    folder: Path, models: Generator, photo: Photo, source: Path, truths: Mapping[str, Path]
) -> list[Path]:
    """Write one face's files but the record; returns their paths."""
    made = make_reference(models.parser, models.inverter, photo)
    files = output_files(folder, photo.name)
    write_npy(files.parsing, made.labels)
    truth = load_truth(replace(files, raw=source, occlusion_truth=truths.get(OCCLUSION)))
    clean = read_rgb(truths[CLEAN]) if CLEAN in truths else None
    pictures = {files.raw: made.raw, files.reference: made.reference}
    for suffix, whole in ((OCCLUSION, truth), (CLEAN, clean)):
        if whole is not None:
            pictures[folder / (photo.name + suffix)] = crop(whole, photo.alignment)
    for path, pixels in pictures.items():
        write_png(path, pixels)
    return [files.parsing, *pictures]
