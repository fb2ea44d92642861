"""The faces of general training, and the record of them that a resumed run is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from s3pot.data.face_folder import FaceFiles
from s3pot.types import Prompts
from s3pot.wording import brief

Load = Callable[[FaceFiles], Prompts]


@dataclass(frozen=True)
class TrainingFaces:
    """The faces of a run, each with at least one prompt point.

    Attributes:
        train: Faces to train on.
        val: Faces to validate on.
        load: Reads the prompts of a face, on the CPU.
        inputs_sha256: Hashes the files that the prompts of a face are computed from.
    """

    train: Sequence[FaceFiles]
    val: Sequence[FaceFiles]
    load: Load
    inputs_sha256: Callable[[FaceFiles], str]

    def hashes(self) -> FaceHashes:
        """Hash all faces, without their folders, so that the data may be moved."""
        return FaceHashes(train=self._hashes_of(self.train), val=self._hashes_of(self.val))

    def _hashes_of(self, faces: Sequence[FaceFiles]) -> dict[str, str]:
        return {face.name: self.inputs_sha256(face) for face in faces}


@dataclass(frozen=True)
class FaceHashes:
    """The names of a run's faces, each with the SHA-256 of its files.

    Attributes:
        train: Those of training, in the order in which the run numbers them.
        val: Those of validation, likewise.
    """

    train: Mapping[str, str]
    val: Mapping[str, str]

    @classmethod
    def from_dict(cls, values: Mapping[str, Mapping[str, str]]) -> FaceHashes:
        """Build the hashes from the values of ``to_dict``.

        Raises:
            LookupError: A part is missing.
            TypeError, ValueError, AttributeError: A value has the wrong type.
        """
        hashes = cls(train=dict(values["train"].items()), val=dict(values["val"].items()))
        for name, sha256 in [*hashes.train.items(), *hashes.val.items()]:
            if not (isinstance(name, str) and isinstance(sha256, str)):
                raise TypeError("its list of faces holds values that are not texts")
        return hashes

    def to_dict(self) -> dict[str, dict[str, str]]:
        """Return the hashes as plain values."""
        return {"train": dict(self.train), "val": dict(self.val)}

    def changes_since(self, earlier: FaceHashes) -> list[str]:
        """Describe how these faces differ from those of an earlier run; empty if they do not."""
        return [
            *_changes("training", earlier.train, self.train),
            *_changes("validation", earlier.val, self.val),
        ]


def _changes(part: str, before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Describe the changes of one part, such as ``missing from training: a, b``."""
    common = [name for name in before if name in now]
    names_by_change = {
        f"missing from {part}": [name for name in before if name not in now],
        f"new in {part}": [name for name in now if name not in before],
        f"changed in {part}": [name for name in common if before[name] != now[name]],
    }
    return [f"{change}: {brief(names)}" for change, names in names_by_change.items() if names]
