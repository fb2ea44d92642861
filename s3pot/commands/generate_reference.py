r"""Make clean reference, parsing and alignment of every photo in a folder (RG, paper section 3.1).

    python generate_reference.py --input_dir ./dataset/raw_images \
        --output_dir ./dataset/processed_data --faceParser_name bisenet
    python generate_reference.py --input_dir faces --output_dir processed --config configs/mini.yaml

Photos that are finished are skipped; --overwrite does them again.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from s3pot.build import build_aligner, build_reference_generator, model_hashes, weights_path
from s3pot.commands.cli import Setting, new_parser, run
from s3pot.config import Config, save_config
from s3pot.data.face_folder import ALIGN, CLEAN, OCCLUSION, output_files
from s3pot.data.image import read_rgb, write_png
from s3pot.data.truth import load_truth
from s3pot.device import pick_device
from s3pot.geometry import Alignment
from s3pot.io import file_sha256, write_npy
from s3pot.pipeline import ReferenceGenerator
from s3pot.rg.align import FaceAligner
from s3pot.rg.warp import crop
from s3pot.runs.folder_run import each, read_finished, write_record
from s3pot.seeding import use_determinism
from s3pot.types import AlignedFace, S3potError

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
class ReferenceModels:
    """The models of RG."""

    config: Config
    aligner: FaceAligner
    generator: ReferenceGenerator
    hashes: Mapping[str, str]  # model → SHA-256


def generate(config: Config, job: ReferenceJob) -> int:
    """Do every photo that is not finished; returns how many failed, each named in the log.

    Raises:
        S3potError: Nothing can be done: no photos, or missing weights.
    """
    photos = find_photos(job.input_dir, job.output_dir)
    if job.truth_dir is not None and not job.truth_dir.is_dir():
        raise S3potError(f"--truth_dir {job.truth_dir} is no folder")
    models = load_models(config)
    save_config(config, job.output_dir)
    owners: dict[Path, Path] = {}

    def one(path: Path) -> None:
        name = path.relative_to(job.input_dir).with_suffix("").as_posix()
        for file in list(vars(output_files(Path(), name)).values())[1:]:
            other = owners.setdefault(file, path)
            if other != path:  # a.jpg and a.png
                raise S3potError(f"it would overwrite files of {other}; rename one of the two")
        _write_photo(job, models, path, name)

    done = len(list(each({str(path): path for path in photos}, one, "photos")))
    logger.info("%d of %d photos are in %s", done, len(photos), job.output_dir)
    return len(photos) - done


def find_photos(input_dir: Path, output_dir: Path) -> list[Path]:
    """All files that are not hidden, sorted; the output folder may lie inside and is left out.

    Raises:
        S3potError: No such folder, nothing in it, or it is the output folder too.
    """
    results = output_dir.resolve()
    if input_dir.resolve() == results:
        raise S3potError(f"--output_dir is the input folder {input_dir}; choose another one")
    photos = [
        path
        for path in sorted(input_dir.rglob("*"))
        if path.is_file() and results not in path.resolve().parents
        if not any(part.startswith(".") for part in path.relative_to(input_dir).parts)
    ]
    if not photos:
        raise S3potError(f"--input_dir {input_dir} holds no files; expected a folder of photos")
    return photos


def load_models(config: Config) -> ReferenceModels:
    """Build the models, the detector only when the config aligns; S3potError lacking weights."""
    hashes = model_hashes(config, ("parser", "generator"))
    aligner = build_aligner(config)
    if config.align.mode != "never":
        hashes["detector"] = file_sha256(weights_path(config, "detector"))
    device = pick_device(config.run.device)
    use_determinism(config.run.deterministic)
    generator = build_reference_generator(config, device)
    return ReferenceModels(config, aligner, generator, hashes)


def _write_photo(job: ReferenceJob, models: ReferenceModels, path: Path, name: str) -> None:
    """All faces of one photo; the record of the first closes them all, so it is written last."""
    config, ends, folder = models.config, (OCCLUSION, CLEAN), job.truth_dir
    beside = {end: folder / (name + end) for end in ends} if folder else {}
    truths = {end: file for end, file in beside.items() if file.is_file()}
    if beside and not truths:
        logger.warning("%s: no truth %s", name, beside[OCCLUSION])
    made_by = {
        "photo": file_sha256(path),
        "models": dict(models.hashes),
        "align": asdict(config.align),
        "reference": asdict(config.reference),
        "all_faces": job.all_faces,
        "truth": {end: file_sha256(file) for end, file in truths.items()},
    }
    if not job.overwrite and read_finished(job.output_dir / (name + ALIGN), made_by):
        return
    pixels = read_rgb(path)
    faces = models.aligner.align(pixels, job.all_faces)
    written: list[Path] = []
    for index, alignment in reversed(list(enumerate(faces))):
        face = f"{name}_face{index + 1}" if index else name
        made = models.generator.generate(crop(pixels, alignment), face)
        written += _write_face(job.output_dir, made, alignment, path, truths)
        record = job.output_dir / (face + ALIGN)
        write_record(record, made_by, written, {**asdict(alignment), "source": path.name})
        written.append(record)


def _write_face(
    folder: Path,
    face: AlignedFace,
    alignment: Alignment,
    source: Path,
    truths: Mapping[str, Path],
) -> list[Path]:
    """Write one face's files but the record; returns their paths."""
    files = output_files(folder, face.name)
    pictures = {files.raw: face.image, files.reference: face.reference}
    truth = load_truth(replace(files, raw=source, occlusion_truth=truths.get(OCCLUSION)))
    if truth is not None:
        pictures[folder / (face.name + OCCLUSION)] = crop(truth, alignment)
    if CLEAN in truths:
        pictures[folder / (face.name + CLEAN)] = crop(read_rgb(truths[CLEAN]), alignment)
    write_npy(files.parsing, face.parsing)
    for path, pixels in pictures.items():
        write_png(path, pixels)
    return [files.parsing, *pictures]


SETTINGS = (Setting("--faceParser_name", "model.parser", "face parser: bisenet or segnext"),)


def build_parser() -> argparse.ArgumentParser:
    """The script's options."""
    parser = new_parser(__doc__, "./dataset/processed_data", SETTINGS)
    add = parser.add_argument
    add(
        "--input_dir",
        default="./dataset/raw_images",
        help="folder of photos (default: %(default)s)",
    )
    add(
        "--truth_dir",
        type=Path,
        help="folder with <stem>_occlusion.png and <stem>_clean.png, if known",
    )
    add("--all_faces", action="store_true", help="every face of a photo, not only the largest")
    add("--overwrite", action="store_true", help="also do photos that are finished")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    args = build_parser().parse_args(argv)
    job = ReferenceJob(
        Path(args.input_dir), Path(args.output_dir), args.truth_dir, args.all_faces, args.overwrite
    )

    def body(config: Config) -> int:
        return generate(config, job)

    return run(args, body)
