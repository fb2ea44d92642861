from __future__ import annotations

from pathlib import Path
from typing import Callable

import numpy as np
import pytest
import torch

from s3pot.data.face_folder import FaceFiles, find_faces, load_aligned_face
from s3pot.data.image import write_png
from s3pot.pipeline import to_sam_frame
from s3pot.types import AlignedFace, S3potError, SamInputs

Make = Callable[..., Path]


def read(face: FaceFiles, size: int = 64, oracle: bool = False) -> SamInputs:
    return to_sam_frame(load_aligned_face(face, oracle), size)


def test_pairs_of_a_folder(processed_folder: Make) -> None:
    faces = find_faces(processed_folder(3, size=48))
    assert len(faces) == 3
    for face in faces:
        inputs = read(face, 32)
        assert inputs.name == face.name
        assert inputs.image_sam.shape == inputs.reference_sam.shape == (3, 32, 32)
        assert inputs.region_sam.dtype == torch.bool
        assert 0 < int(inputs.region_sam.sum()) < 32 * 32


def test_a_picture_of_sams_size_is_taken_as_it_is() -> None:
    random = np.random.default_rng(0)
    raw, ref = random.integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    labels = random.integers(0, 12, (16, 16), dtype=np.uint8)
    inputs = to_sam_frame(AlignedFace("x", raw, labels, ref), 16)
    pixels = (inputs.image_sam * 255).round().byte().permute(1, 2, 0)
    np.testing.assert_array_equal(pixels.numpy(), raw)
    inside = np.isin(labels, [1, 2, 3, 5, 6, 9, 10])
    np.testing.assert_array_equal(inputs.region_sam.numpy(), inside)


@pytest.mark.parametrize(("height", "width"), [(5, 7), (500, 333), (1, 1)])
def test_region_is_sampled_at_pixel_centers(height: int, width: int) -> None:
    labels = np.random.default_rng(1).integers(0, 12, (height, width), dtype=np.uint8)
    pixels = np.zeros((4, 9, 3), np.uint8)
    size = 64
    rows = [int((i + 0.5) * height / size) for i in range(size)]
    columns = [int((i + 0.5) * width / size) for i in range(size)]
    want = np.isin(labels[np.ix_(rows, columns)], [1, 2, 3, 5, 6, 9, 10])
    found = to_sam_frame(AlignedFace("x", pixels, labels, pixels), size).region_sam
    np.testing.assert_array_equal(found.numpy(), want)


def test_oracle(processed_folder: Make) -> None:
    folder = processed_folder(1)
    write_png(folder / "face_00_clean.png", np.zeros((64, 64, 3), np.uint8))
    (face,) = find_faces(folder)
    assert not read(face, oracle=True).reference_sam.any()
    assert read(face).reference_sam.any()


def test_frames_that_disagree_are_named(processed_folder: Make) -> None:
    folder = processed_folder(1)
    write_png(folder / "face_00_ref.png", np.zeros((30, 64, 3), np.uint8))
    with pytest.raises(S3potError, match=r"64 x 64.*64 x 30"):
        read(find_faces(folder)[0])
