"""Masks from another program: names, sizes, errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from s3pot.data.image import write_png
from s3pot.data.mask_folder import MaskFolder
from s3pot.types import S3potError

MASK = np.zeros((10, 20), bool)
MASK[2:5, 3:9] = True


def test_names(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", MASK)
    write_png(tmp_path / "sub" / "b_occlusion.png", MASK)
    write_png(tmp_path / "sub" / "b.png", ~MASK)
    write_png(tmp_path / "sub" / "b_face.png", ~MASK)
    masks = MaskFolder(tmp_path, "occlusion", "exact")
    assert np.array_equal(masks.read("a", (10, 20)), MASK)
    assert masks.find("sub/b") == tmp_path / "sub" / "b_occlusion.png"
    assert not masks.marks_the_face
    faces = MaskFolder(tmp_path, "visible_face", "exact")
    assert faces.find("sub/b") == tmp_path / "sub" / "b_face.png"
    assert faces.marks_the_face
    assert masks.find("c") is None
    with pytest.raises(S3potError, match=r"no mask of c.*c_occlusion\.png nor c\.png"):
        masks.read("c", (10, 20))


def test_a_mask_may_be_an_array_or_have_its_extension_in_capitals(tmp_path: Path) -> None:
    masks = MaskFolder(tmp_path, "occlusion", "exact")
    np.save(tmp_path / "a.npy", MASK)
    write_png(tmp_path / "b_occlusion.png", MASK)
    (tmp_path / "b_occlusion.png").rename(tmp_path / "b_occlusion.PNG")
    for name in ("a", "b"):
        assert np.array_equal(masks.read(name, (10, 20)), MASK)


def test_sizes(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", MASK)
    with pytest.raises(S3potError, match="20 x 10, but its image is 40 x 20.*size: resize"):
        MaskFolder(tmp_path, "occlusion", "exact").read("a", (20, 40))
    twice = MaskFolder(tmp_path, "occlusion", "resize").read("a", (20, 40))
    assert np.array_equal(twice, MASK.repeat(2, axis=0).repeat(2, axis=1))


def test_what_is_no_mask(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", np.arange(200, dtype=np.uint8).reshape(10, 20))
    with pytest.raises(S3potError, match="a.png"):
        MaskFolder(tmp_path, "occlusion", "exact").read("a", (10, 20))


def test_one_mask_is_not_that_of_two_faces(tmp_path: Path) -> None:
    names = ["a", "a_occlusion", "b"]
    write_png(tmp_path / "a_occlusion.png", MASK)
    write_png(tmp_path / "b.png", MASK)
    masks = MaskFolder(tmp_path, "occlusion", "exact")
    with pytest.raises(S3potError, match=r"a_occlusion\.png would be the mask of two faces, a and"):
        masks.require_distinct(names)
    masks.require_distinct(["a", "b"])
    write_png(tmp_path / "a_occlusion_occlusion.png", MASK)
    masks.require_distinct(names)
