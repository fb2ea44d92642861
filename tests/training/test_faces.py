from __future__ import annotations

from pathlib import Path

from s3pot.data.face_folder import output_files
from s3pot.training.faces import FaceHashes, TrainingFaces
from s3pot.types import Prompts


def no_prompts(_: object) -> Prompts:
    raise AssertionError("hashing needs no prompts")


def test_hashes_do_not_depend_on_the_folder() -> None:
    hashes = [
        TrainingFaces(
            train=[output_files(folder, "a"), output_files(folder, "b/c")],
            val=[output_files(folder, "d")],
            load=no_prompts,
            inputs_sha256=lambda face: f"hash of {face.name}",
        ).hashes()
        for folder in (Path("here"), Path("/there"))
    ]
    assert hashes[0] == hashes[1]
    assert hashes[0].train == {"a": "hash of a", "b/c": "hash of b/c"}
    assert FaceHashes.from_dict(hashes[0].to_dict()) == hashes[0]
    assert hashes[1].changes_since(hashes[0]) == []


def test_changes_name_some_faces() -> None:
    before = FaceHashes(train=dict.fromkeys("abcdefg", "0"), val={"x": "0", "y": "0"})
    now = FaceHashes(train={"a": "1", "y": "0"}, val={"x": "0"})
    assert now.changes_since(before) == [
        "missing from training: b, c, d, e and 2 more",
        "new in training: y",
        "changed in training: a",
        "missing from validation: y",
    ]
    reordered = FaceHashes(train=dict(reversed(before.train.items())), val=before.val)
    assert reordered.changes_since(before) == []
