"""Guarding output folders: each command writes only into folders of its own kind.

``<stem>_occlusion.png`` is the ground truth in a data folder and a result in a result folder, and
``config.yaml`` describes the one run of its folder. ``refuse_other_kinds`` is the rule by which
every command decides whether it may write into a folder. In addition, no run replaces files that
s3pot did not write to its output folder (``OutputFiles``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from s3pot.data.face_folder import (
    ALIGN,
    OCCLUSION,
    PARSING,
    RAW,
    REFERENCE,
    TRUTH_ENDINGS,
    VISIBLE_FACE,
)
from s3pot.data.folder_kinds import (
    RESULT_RECORD,
    Kind,
    kind_of,
    kind_of_result,
    other_kind,
    refuse_shared_folder,
)
from s3pot.types import S3potError
from s3pot.wording import counted

# Command → the kinds of folders into which it writes, besides those that hold nothing known.
MAY_WRITE_INTO: Mapping[str, Sequence[Kind]] = {
    "generate_reference": (Kind.FACES,),
    "train_general": (Kind.TRAINING,),
    "inference": (Kind.INFERENCE, Kind.RESULTS),
    "train_per_image": (Kind.PER_IMAGE, Kind.RESULTS),
    "segment": (Kind.SEGMENT, Kind.RESULTS),
    "evaluate": (),
    "evaluate --suite": (Kind.SUITE,),
    "compare": (Kind.SUITE,),
    "figure": (Kind.SUITE,),
    "data validate": (Kind.SUITE,),
}
_OF_FACES = (Kind.INFERENCE, Kind.PER_IMAGE, Kind.SEGMENT, Kind.RESULTS)
FACE = "_face.png"  # ending of the visible face of a result
RESULT_PARSING = "_parsing.npy"  # ending of the first file of a result
RESULT_MARKS = (RESULT_PARSING, RESULT_RECORD)  # one of these is beside all files of a result
# Everything that is written for a face besides the two files by which results are recognized.
RESULT_ENDINGS = (
    OCCLUSION,
    FACE,
    "_occlusion_photo.png",
    "_face_photo.png",
    "_overlay_photo.png",
    "_raw.png",
    "_reference.png",
    "_pair.png",
    "_classes.png",
    "_points.png",
    "_attention.png",
    "_overlay.png",
    "_before.png",
    "_truth.png",
    "_error.png",
    "_logits.npy",
    "_coco.json",
    "_adapter.pth",
    "_history.csv",
    "_history.jsonl",
    "_loss_curve.png",
)


@dataclass(frozen=True)
class OutputFiles:
    """Files that a command writes for a face, as ``<folder>/<name><ending>``.

    Attributes:
        folder: The output folder.
        endings: The files whose names those of other programs and people may have.
        marks: The file that is written before all of these, and the record that is written last.
            Where neither exists, the others are not s3pot's, even if a run was interrupted.
    """

    folder: Path
    endings: Sequence[str]
    marks: Sequence[str]

    def require_written_by_s3pot(self, names: Iterable[str]) -> None:
        """Make sure that everything that would be replaced was written by s3pot for these faces.

        Args:
            names: Names of faces.

        Raises:
            S3potError: There is another file, or the image of another face.
        """
        if not self.folder.is_dir():
            return
        strangers: list[Path] = []
        for name in names:
            existing = self._existing(name)
            strangers += self._strangers(name, existing)
            self._refuse_images_of_others(name, existing)
        if strangers:
            further = len(strangers) - 1
            others = f" (and {counted(further, 'other file')})" if further else ""
            raise S3potError(
                f"{strangers[0]}{others} would be replaced, but is not a result of s3pot: there is "
                f"no *{self.marks[0]} with it. Is it a photo or a ground truth? Choose another "
                "folder for the results, or move the file elsewhere."
            )

    def _existing(self, name: str) -> list[Path]:
        paths = [self.folder / f"{name}{ending}" for ending in self.endings]
        return [path for path in paths if _exists(path)]

    def _refuse_images_of_others(self, name: str, existing: Sequence[Path]) -> None:
        """Raise S3potError if a file, such as ``a_occlusion.png``, is the image of another face."""
        own = self.folder / f"{name}{RAW}"
        for path in existing:
            if path != own and path.suffix == RAW and _exists(path.with_name(path.stem + PARSING)):
                raise S3potError(
                    f"{path} would be replaced by a file of {name}, but it is the image of another "
                    f"face, {path.stem}. Rename the photo of {name}, choose another output folder, "
                    f"or delete the files of {path.stem} if you no longer need them."
                )

    def _strangers(self, name: str, existing: Sequence[Path]) -> Sequence[Path]:
        # Looked for last: another process may be writing them.
        marks = [self.folder / f"{name}{mark}" for mark in self.marks]
        if existing and any(_exists(mark) and mark.is_file() for mark in marks):
            return []
        return existing


def _exists(path: Path) -> bool:
    """Whether there is something, if only a broken link; nothing has a name that is too long."""
    try:
        return path.exists() or path.is_symlink()
    except OSError:
        return False


def reference_files(folder: Path, with_truth: bool) -> OutputFiles:
    """Return the files of reference generation; without a ground truth it writes none."""
    endings = (RAW, REFERENCE, *(TRUTH_ENDINGS if with_truth else ()))
    return OutputFiles(folder, endings, marks=(PARSING, ALIGN))


def result_files(folder: Path, record: str | None = None) -> OutputFiles:
    """Return the files of inference, per-image training and the API.

    Args:
        folder: The result folder.
        record: The ending of the records there; None if none are written.
    """
    marks = (RESULT_PARSING, *(() if record is None else (record,)))
    return OutputFiles(folder, RESULT_ENDINGS, marks)


def refuse_face_or_result(stem: Path) -> None:
    """Make sure that the API writes neither a truth of a prepared face nor into a run's result.

    Args:
        stem: What the paths of the files that are about to be written begin with.

    Raises:
        S3potError: There is a prepared face, or a result that belongs to a run, of that name.
    """
    for file in (f"{stem.name}{OCCLUSION}", f"{stem.name}{FACE}"):
        for ending in (OCCLUSION, VISIBLE_FACE):  # the face of "a_visible" is a_visible_face.png
            name = file[: -len(ending)]
            if file.endswith(ending) and _exists(stem.with_name(name + PARSING)):
                raise S3potError(
                    f"{name} in {stem.parent} is a prepared face ({name}{PARSING}), and {file} "
                    "would count as its ground truth; give another folder for the results, or "
                    "another name of the files."
                )
    record = stem.with_name(stem.name + RESULT_RECORD)
    kind = kind_of_result(record) if _exists(record) else None
    if kind is not None:
        raise S3potError(
            f"The masks of {stem.name} in {stem.parent} belong to the {kind.value} ({record.name}) "
            "and would be replaced, as if that run had made the new ones; give another folder for "
            "the results, or another name of the files."
        )


def refuse_data_folder(output_dir: Path, data_folders: Iterable[Path]) -> None:
    """Make sure that results do not go into a folder of faces, also through links.

    Args:
        output_dir: The result folder; it may be missing.
        data_folders: The data folder, and the folders of its faces.

    Raises:
        S3potError: It is one of them.
    """
    for folder in sorted(set(data_folders)):
        if is_same_folder(output_dir, folder):
            raise S3potError(
                f"--output_dir {output_dir} is the data folder {folder}. Results have the same "
                "names as ground truths (<stem>_occlusion.png) and other files of a data folder "
                "(config.yaml) and would replace them; choose another folder for the results."
            )


def refuse_other_kinds(output_dir: Path, command: str, results: Iterable[Path] = ()) -> None:
    """Make sure that a command may write into a folder; called before anything is written.

    It may if the folder is new, holds what this command writes (finished or not), or holds nothing
    that s3pot knows. See ``folder_kinds`` for what counts.

    Args:
        output_dir: The output folder; it may be missing.
        command: A key of ``MAY_WRITE_INTO``.
        results: Result folders from which the command makes a table or a figure; it may write into
            these as well.

    Raises:
        S3potError: The folder holds something else, or is refused to all commands.
    """
    refuse_shared_folder(output_dir)
    allowed = set(MAY_WRITE_INTO[command])
    if any(is_same_folder(output_dir, folder) for folder in results):
        allowed.update(_OF_FACES)
    kind = kind_of(output_dir)
    if kind is not None and kind[0] not in allowed:
        raise other_kind(output_dir, *kind)


def refuse_leak_into_faces(output_dir: Path) -> None:
    """Make sure that new faces in a folder do not become a part of a data folder around it.

    Raises:
        S3potError: One of the folders that contain it holds prepared faces.
    """
    for place in output_dir.resolve().parents:
        for mark in place.glob(f"*{PARSING}"):
            raise S3potError(
                f"--output_dir {output_dir} lies in {place}, which holds prepared faces "
                f"({mark.name}), and new faces below it would count as its own; choose another "
                "--output_dir."
            )


def refuse_truth_as_result(results: Path, datapath: Path) -> None:
    """Make sure that masks to be scored do not come from the data folder itself.

    Raises:
        S3potError: They do.
    """
    if is_same_folder(results, datapath):
        raise S3potError(
            f"{results} is the data folder itself, so its ground truths would be scored against "
            "themselves; give the folder of the results, such as the --output_dir of inference.py"
        )


def is_same_folder(first: Path, second: Path) -> bool:
    """Whether two paths lead to one existing folder, whatever links and spelling they use."""
    return first.is_dir() and second.is_dir() and first.samefile(second)
