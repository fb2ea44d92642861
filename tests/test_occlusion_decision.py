"""Which parts of a raw mask count as an occlusion."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3pot.labels import CLASSES
from s3pot.occlusion_decision import (
    CLASSES_OF_PARTS,
    OcclusionDecision,
    decide,
    occluded_share,
    occluded_share_by_part,
    remove_slivers,
    remove_small_pieces,
)

SIZE = 128
CENTER = (64, 64)
SHARES = st.floats(0, 0.2)


def oval(shrink: int = 0) -> np.ndarray:
    """A face region of about 7,500 pixels whose border is ``shrink`` pixels further inside."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    cv2.ellipse(mask, CENTER, (42 - shrink, 57 - shrink), 0, 0, 360, 1, -1)
    return mask > 0


REGION = oval()


def bar(top: int, bottom: int) -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), bool)
    mask[top:bottom] = True
    return mask & REGION


@st.composite
def faces(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """A region and an occlusion in it, of blobs."""
    seed = draw(st.integers(0, 2**32 - 1))
    coarse = draw(st.integers(1, 12))
    random = np.random.default_rng(seed)
    height, width = random.integers(1, 60, 2)
    cells = random.random((2, -(-height // coarse), -(-width // coarse)))
    fine = cells.repeat(coarse, 1).repeat(coarse, 2)[:, :height, :width]
    region = fine[0] < random.random()
    return region & (fine[1] < random.random()), region


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(faces(), SHARES, SHARES, SHARES)
def test_what_counts_is_part_of_the_mask_and_large_enough(
    face: tuple[np.ndarray, np.ndarray], width: float, piece: float, share: float
) -> None:
    occlusion, region = face
    before = occlusion.copy()
    kept = decide(occlusion, region, OcclusionDecision(width, piece, share))
    assert kept.dtype == bool and kept.shape == occlusion.shape
    assert not (kept & ~occlusion).any()
    np.testing.assert_array_equal(occlusion, before)
    if kept.any():
        assert kept.sum() >= share * region.sum()
        count, pieces = cv2.connectedComponents(kept.astype(np.uint8), connectivity=8)
        sizes = np.bincount(pieces.ravel(), minlength=count)[1:]
        assert sizes.min() >= piece * region.sum()


@settings(max_examples=50, deadline=None)
@given(faces())
def test_by_default_everything_counts(face: tuple[np.ndarray, np.ndarray]) -> None:
    np.testing.assert_array_equal(decide(*face, OcclusionDecision()), face[0])


@settings(max_examples=50, deadline=None)
@given(faces(), SHARES, SHARES)
def test_more_is_asked_less_is_kept(
    face: tuple[np.ndarray, np.ndarray], piece: float, more: float
) -> None:
    strict = decide(*face, OcclusionDecision(min_piece=piece + more))
    mild = decide(*face, OcclusionDecision(min_piece=piece))
    assert not (strict & ~mild).any()


@settings(max_examples=50, deadline=None)
@given(faces(), SHARES)
def test_small_pieces_are_gone_for_good(face: tuple[np.ndarray, np.ndarray], piece: float) -> None:
    decision = OcclusionDecision(min_piece=piece, min_share=piece)
    once = decide(*face, decision)
    np.testing.assert_array_equal(decide(once, face[1], decision), once)


@settings(max_examples=50, deadline=None)
@given(faces(), st.sampled_from([np.fliplr, np.flipud, np.transpose]), SHARES)
def test_a_mirrored_face_is_decided_alike(
    face: tuple[np.ndarray, np.ndarray], turn: object, width: float
) -> None:
    assert callable(turn)
    decision = OcclusionDecision(sliver_width=width, min_piece=0.01)
    turned = decide(turn(face[0]), turn(face[1]), decision)
    np.testing.assert_array_equal(turned, turn(decide(*face, decision)))


@pytest.mark.parametrize("thickness", [1, 2])
def test_a_rim_that_does_not_fit_is_no_occlusion(thickness: int) -> None:
    rim = REGION & ~oval(thickness)
    assert rim.any()
    assert not remove_slivers(rim, REGION, 4).any()
    assert remove_slivers(REGION & ~oval(9), REGION, 4).sum() > 0.95 * (REGION & ~oval(9)).sum()


def test_a_rim_goes_and_a_thing_across_the_face_stays() -> None:
    hand = bar(70, 95)
    mask = hand | (REGION & ~oval(2))
    kept = remove_slivers(mask, REGION, 4)
    assert (kept & hand).sum() > 0.98 * hand.sum()
    assert (kept & ~hand).sum() < 0.1 * (mask & ~hand).sum()


def thickened_opening(mask: np.ndarray, radius: int) -> np.ndarray:
    """Open a mask by a drawn disc and dilate the result by it; outside, the mask is empty."""
    reach = np.arange(-radius, radius + 1)
    squares = reach[:, None] ** 2 + reach[None, :] ** 2
    disc = (squares <= radius**2 + radius / 2).astype(np.uint8)
    opened = cv2.dilate(cv2.erode(np.pad(mask.astype(np.uint8), radius), disc), disc)
    return cv2.dilate(opened, disc)[radius:-radius, radius:-radius] > 0


@pytest.mark.parametrize("radius", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("grain", [1, 3, 9])
def test_thin_is_what_an_opening_by_a_drawn_disc_removes(radius: int, grain: int) -> None:
    rng = np.random.default_rng((radius, grain))
    noise = cv2.GaussianBlur(rng.standard_normal((SIZE, SIZE)), (0, 0), grain)
    mask = noise > np.quantile(noise, 0.4)
    # The whole region is close to its rim, so that everything thin goes.
    narrow = np.zeros((SIZE, SIZE), bool)
    narrow[: 2 * radius] = True
    mask &= narrow
    thick = thickened_opening(mask, radius)
    np.testing.assert_array_equal(remove_slivers(mask, narrow, 2 * radius), mask & thick)


def test_a_hair_across_the_face_stays() -> None:
    strand = np.zeros((SIZE, SIZE), np.uint8)
    cv2.line(strand, (40, 0), (75, 127), 1, 2)
    mask = REGION & (strand > 0)
    np.testing.assert_array_equal(remove_slivers(mask, REGION, 5), mask)


def test_a_mask_at_the_edge_of_the_picture_is_not_thicker_there() -> None:
    region = np.ones((40, 40), bool)
    mask = np.zeros((40, 40), bool)
    mask[:2] = True
    assert not remove_slivers(mask, region, 4).any()
    mask[:20] = True
    np.testing.assert_array_equal(remove_slivers(mask, region, 4), mask)


def test_numbers_are_shares_of_the_region_at_any_size() -> None:
    mask = bar(60, 64) | (REGION & ~oval(2))
    decision = OcclusionDecision(sliver_width=0.05, min_piece=0.01, min_share=0.02)
    small = decide(mask, REGION, decision)
    large = decide(mask.repeat(4, 0).repeat(4, 1), REGION.repeat(4, 0).repeat(4, 1), decision)
    assert small.any() and large.mean() == pytest.approx(small.mean(), rel=0.05)


def test_pieces_touch_at_corners_too() -> None:
    mask = np.eye(6, dtype=bool)
    assert remove_small_pieces(mask, 6).sum() == 6
    assert not remove_small_pieces(mask, 7).any()


def test_a_face_with_little_occlusion_is_bare() -> None:
    mask = bar(64, 66)
    share = occluded_share(mask, REGION)
    assert decide(mask, REGION, OcclusionDecision(min_share=share * 0.99)).any()
    assert not decide(mask, REGION, OcclusionDecision(min_share=share * 1.01)).any()


def test_without_a_region_nothing_is_occluded() -> None:
    empty = np.zeros((5, 5), bool)
    assert not decide(empty, empty, OcclusionDecision(0.1, 0.1, 0.1)).any()
    assert occluded_share(empty, empty) == 0


def test_shares_by_part() -> None:
    parsing = np.zeros((10, 10), np.uint8)
    parsing[:5] = CLASSES.index("skin")
    parsing[5] = CLASSES.index("lip")
    parsing[6] = CLASSES.index("mouth")
    parsing[7] = CLASSES.index("hair")
    occlusion = np.zeros((10, 10), bool)
    occlusion[:, :4] = True
    occlusion[6] = True
    assert occluded_share_by_part(occlusion, parsing) == {
        "skin": pytest.approx(0.4),
        "eyes": None,
        "brows": None,
        "nose": None,
        "lips_and_mouth": pytest.approx(0.7),
        "glasses": None,
    }


def test_every_class_of_the_region_belongs_to_one_part() -> None:
    from s3pot.labels import REGION_CLASSES

    names = [name for part in CLASSES_OF_PARTS.values() for name in part]
    assert sorted(CLASSES.index(name) for name in names) == sorted(REGION_CLASSES)
