"""The ground truth of a photo, cropped for a face."""

from __future__ import annotations

import numpy as np

from s3pot.data.face_folder import CLEAN, IGNORE, OCCLUSION, TRUE_PARSING, VISIBLE_FACE
from s3pot.geometry import Alignment
from s3pot.rg.align import identity
from s3pot.runs.photo_truths import cropped_truths

SIZE = (20, 20)


def beyond_the_left_edge() -> Alignment:
    """A working image of the photo's size whose left half lies outside the photo."""
    quad = ((-10.5, -0.5), (-10.5, 19.5), (9.5, 19.5), (9.5, -0.5))
    return Alignment(quad=quad, size=SIZE, photo_size=SIZE)


def truths() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        OCCLUSION: rng.random(SIZE) < 0.5,
        VISIBLE_FACE: rng.random(SIZE) < 0.5,
        IGNORE: rng.random(SIZE) < 0.5,
        TRUE_PARSING: rng.integers(0, 12, SIZE).astype(np.uint8),
        CLEAN: rng.integers(0, 256, (*SIZE, 3)).astype(np.uint8),
    }


def test_a_whole_photo_keeps_its_truths() -> None:
    photo = truths()
    face = cropped_truths(photo, identity(photo[CLEAN]))
    assert set(face) == set(photo)
    for ending, truth in photo.items():
        np.testing.assert_array_equal(face[ending], truth, err_msg=ending)


def test_a_visible_face_says_nothing_of_what_lies_outside_the_photo() -> None:
    photo = truths()
    face = cropped_truths(photo, beyond_the_left_edge())
    assert face[IGNORE][:, :10].all()
    np.testing.assert_array_equal(face[IGNORE][:, 11:], photo[IGNORE][:, 1:10])
    np.testing.assert_array_equal(face[TRUE_PARSING][:, 11:], photo[TRUE_PARSING][:, 1:10])
    del photo[IGNORE]
    face = cropped_truths(photo, beyond_the_left_edge())
    assert face[IGNORE][:, :10].all() and not face[IGNORE][:, 11:].any()


def test_an_occlusion_mask_alone_leaves_all_pixels_counted() -> None:
    photo = {OCCLUSION: truths()[OCCLUSION]}
    assert set(cropped_truths(photo, beyond_the_left_edge())) == {OCCLUSION}
