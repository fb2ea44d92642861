"""The training data of the mini SAMs: prompts, pasted occluders, images and losses."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from s3pot.grid import Grid
from s3pot.labels import CLASSES
from s3pot.ps.greedy import greedy_match
from s3pot.sam.frozen import Attended, Decoded
from s3pot_mini import augment, pasting, prompts, sam, sam_generic, tasks
from s3pot_mini.pool import FaceBatch, SceneBatch

SIZE = 64
GRID = Grid(SIZE, 8)
SKIN, HAIR = CLASSES.index("skin"), CLASSES.index("hair")


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def disc(count: int = 4, radius: float = 15.0) -> Tensor:
    """A disk in the middle of each image, float (B, S, S)."""
    axis = torch.arange(SIZE) - SIZE / 2 + 0.5
    inside = (axis[:, None].square() + axis[None].square()).sqrt() < radius
    return inside.float().expand(count, -1, -1).clone()


def faces(count: int = 4) -> FaceBatch:
    """Disks of skin in front of hair, and a bar as occluder."""
    labels = torch.where(disc(count) > 0.5, SKIN, HAIR)
    occluder = torch.zeros(count, SIZE, SIZE, dtype=torch.bool)
    occluder[:, 30:34, 10:50] = True
    clean = torch.rand(count, 3, SIZE, SIZE) * 0.6 + 0.2
    raw = torch.where(occluder[:, None], 0.05, clean)
    return FaceBatch(raw, clean, labels, occluder)


def scenes(count: int = 4) -> SceneBatch:
    """A square of segment 3 on a background of segment 1."""
    parts = torch.ones(count, SIZE, SIZE, dtype=torch.long)
    parts[:, 20:44, 20:44] = 3
    return SceneBatch(torch.rand(count, 3, SIZE, SIZE), parts, parts)


# --- prompts ----------------------------------------------------------------------------------


def test_cells_are_drawn_where_allowed_without_repetition() -> None:
    allowed = torch.zeros(3, 64, dtype=torch.bool)
    allowed[0, 10:30] = True
    allowed[1, :4] = True  # too few: they are used repeatedly
    cells = prompts.choose_cells(allowed, 12)
    assert allowed[0][cells[0]].all()
    assert cells[0].unique().numel() == 12
    assert sorted(cells[1].tolist()) == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert cells[2].unique().numel() == 12  # none allowed: any


def test_clicks_tell_the_truth_and_the_first_is_inside() -> None:
    target = disc(32)
    asked = prompts.clicks(target, 6)
    assert asked.points.shape == (32, 6, 2)
    assert asked.labels.equal(prompts.labels_at(target, asked.points))
    assert asked.labels[:, 0].all()
    assert 0.4 < asked.labels[:, 1:].float().mean() < 0.8


def test_the_correcting_click_lies_where_the_answer_is_wrong() -> None:
    target = disc(8)
    answer = target.clone()
    answer[:, :, 32:] = 0  # right half missed
    asked = prompts.clicks(target, 1)
    logits = F.interpolate((answer * 2 - 1)[:, None], (32, 32), mode="bilinear")
    more = prompts.corrected(asked, logits)
    assert more.points.shape == (8, 2, 2)
    new = more.points[:, 1]
    assert (new[:, 0] >= 30).all()  # border pixels may be off by two in the smaller logits
    assert more.labels[:, 1].equal(prompts.labels_at(target, new[:, None])[:, 0])
    assert more.labels[:, 1].float().mean() > 0.5


def test_dense_points_have_few_wrong_labels() -> None:
    target = disc(40)
    everywhere = torch.ones(40, 64, dtype=torch.bool)
    asked = prompts.dense_points(GRID, target, everywhere, 64)
    wrong = (asked.labels != prompts.labels_at(target, asked.points)).float().mean(1)
    assert 0 < wrong.mean() < prompts.LARGEST_NOISE
    assert (wrong == 0).any()


def test_boxes_enclose_the_target() -> None:
    boxes = prompts.boxes_of(disc(3), wobble=0.0)
    rows = disc(1)[0].any(1).nonzero()[:, 0]
    low, high = float(rows[0]), float(rows[-1])
    assert boxes.tolist() == [[low, low, high, high]] * 3


@pytest.mark.parametrize("window", [1, 3, 31])
def test_the_largest_value_nearby_is_that_of_the_whole_window(window: int) -> None:
    maps = torch.randn(2, 40, 40)
    largest = F.max_pool2d(maps[:, None], window, stride=1, padding=window // 2)[:, 0]
    assert prompts.largest_nearby(maps, window).equal(largest)


def test_matching_on_a_batch_is_the_greedy_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "MATCHING_ROUNDS", 64)  # until nothing changes
    raw, ref = torch.randn(3, 16, 8, 8), torch.randn(3, 16, 8, 8)
    region = torch.rand(3, 8, 8) < 0.6
    matched = prompts.matched_tokens(raw, ref, region)
    scores = prompts.token_scores(raw, ref)
    for index in range(3):
        _, columns = greedy_match(scores[index][region[index].flatten()])
        expected = torch.zeros(64, dtype=torch.bool)
        expected[columns] = True
        assert matched[index].equal(expected)


# --- pictures ---------------------------------------------------------------------------------


def test_a_pasted_segment_changes_the_photo_and_the_occluder_only() -> None:
    batch = faces(16)
    after, laid = pasting.pasted(batch, scenes(16), share=1.0)
    assert laid.any()
    assert after.clean is batch.clean
    assert after.labels is batch.labels
    assert after.occluder.equal(batch.occluder | laid)
    untouched = ~laid.flatten(1).any(1)
    assert after.raw[untouched].equal(batch.raw[untouched])
    hidden = (after.occluder & batch.region).flatten(1).sum(1) / batch.region.flatten(1).sum(1)
    assert hidden[~untouched].max() < pasting.LARGEST_SHARE


def test_no_segment_is_pasted_at_share_zero() -> None:
    batch = faces()
    after, laid = pasting.pasted(batch, scenes(), share=0.0)
    assert not laid.any()
    assert after.raw.equal(batch.raw)


def test_photo_and_clean_face_have_one_lamp_and_one_camera() -> None:
    batch = faces(12)
    same = FaceBatch(batch.clean, batch.clean, batch.labels, torch.zeros_like(batch.occluder))
    tone = augment.Tone.draw(12, SIZE, torch.device("cpu"))
    silent = augment.Tone(
        **{
            f.name: torch.zeros_like(tone.noise) if f.name == "noise" else getattr(tone, f.name)
            for f in fields(tone)
        }
    )
    assert silent.take(same.raw).equal(silent.take(same.clean))
    taken = augment.photographed(same)
    assert (taken.raw - taken.clean).abs().mean() < 0.05  # noise alone
    assert (taken.raw - same.raw).abs().mean() > (taken.raw - taken.clean).abs().mean()


def test_a_beard_grows_on_both_pictures_but_not_on_the_occluder() -> None:
    batch = faces(24)
    after = augment.bearded(batch, share=1.0)
    grown = (after.clean - batch.clean).abs().sum(1) > 1e-3
    assert grown.any()
    skin = F.max_pool2d((batch.labels == SKIN)[:, None].float(), 3, stride=1, padding=1)[:, 0] > 0
    assert not (grown & ~skin).any()
    covered = batch.occluder[:, None].expand_as(batch.raw)
    assert after.raw[covered].equal(batch.raw[covered])


def test_quantization_of_step_zero_changes_nothing() -> None:
    image = torch.rand(2, 3, SIZE, SIZE)
    kept = augment.quantized(image, torch.zeros(2, 1, 1, 1))
    assert torch.allclose(kept, image, atol=1e-5)
    coarse = augment.quantized(image, torch.full((2, 1, 1, 1), 0.1))
    assert (coarse - image).abs().mean() > 0.01


# --- targets and losses -----------------------------------------------------------------------


def test_targets_are_segments_of_the_picture() -> None:
    target = tasks.random_target(scenes(64)) > 0.5
    square = scenes(1).parts[0] == 3
    for mask in target:
        assert mask.equal(square) or mask.equal(~square) or mask.all()
    assert len({int(mask.sum()) for mask in target}) > 1


def test_a_face_is_a_scene_with_its_occluder_as_a_thing() -> None:
    batch = faces()
    scene = tasks.faces_as_scenes(batch)
    assert (scene.parts == tasks.OCCLUDER_NUMBER).equal(batch.occluder)
    visible = batch.region & ~batch.occluder
    assert (scene.things == tasks.OCCLUDER_NUMBER + 1).equal(visible)
    assert scene.parts[~batch.occluder].equal(batch.labels[~batch.occluder])


def test_the_mask_loss_falls_with_a_better_answer() -> None:
    target = disc(2)
    want = F.interpolate(target[:, None], (32, 32), mode="area") * 2 - 1

    def loss(logits: Tensor, asked: Tensor) -> Tensor:
        tokens = torch.zeros(2, 4, 8, 8)
        return tasks.mask_loss(Decoded(logits, torch.ones(2, 1), Attended(tokens, tokens)), asked)

    assert loss(want * 8, target) < loss(want, target) < loss(want * -8, target)
    assert torch.isfinite(loss(want * 0, target * 0))


def test_tokens_that_agree_where_visible_and_not_where_hidden_cost_least() -> None:
    region = torch.zeros(1, 8, 8, dtype=torch.bool)
    region[:, 2:6, 2:6] = True
    hidden = torch.zeros_like(region)
    hidden[:, 2:4, 2:4] = True
    reference = torch.linalg.qr(torch.randn(64, 64)).Q[None].view(1, 64, 8, 8)
    other = torch.linalg.qr(torch.randn(64, 64)).Q[None].view(1, 64, 8, 8)
    good = torch.where(hidden[:, None], -reference.mean((2, 3), keepdim=True), reference)
    same = sam.pair_loss(reference, reference, region, hidden)
    apart = sam.pair_loss(other, reference, region, hidden)
    assert sam.pair_loss(good, reference, region, hidden) < same < apart


def test_the_pair_loss_has_a_gradient_without_anything_hidden() -> None:
    region = torch.ones(2, 8, 8, dtype=torch.bool)
    raw = torch.randn(2, 16, 8, 8, requires_grad=True)
    loss = sam.pair_loss(raw, torch.randn(2, 16, 8, 8), region, torch.zeros_like(region))
    loss.backward()
    assert raw.grad is not None
    assert torch.isfinite(raw.grad).all()
    assert raw.grad.abs().max() > 0


def dense_pair_loss(raw: Tensor, ref: Tensor, region: Tensor, hidden: Tensor) -> Tensor:
    """Compute the pair loss with gradients through the cosines of all pairs of tokens."""
    scores = prompts.token_scores(raw, ref)
    same = scores.diagonal(dim1=1, dim2=2)
    near = F.max_pool2d(hidden[:, None].float(), 3, stride=1, padding=1)[:, 0].flatten(1)
    inside, covered = region.flatten(1), hidden.flatten(1)
    beyond, occluded = ~inside & ~covered, inside & covered
    weight = (1 + (sam.EDGE_WEIGHT - 1) * near) * (inside & ~covered)
    outside = scores.masked_fill(~beyond[:, None], -1).amax(2)
    best_hidden = scores.masked_fill(~occluded[:, :, None], -1).amax(1)
    like = scores.masked_fill(~inside[:, :, None], -1).amax(1)
    mean = (scores * inside[:, :, None]).sum(1) / inside.sum(1, keepdim=True).clamp_min(1)
    terms = [
        (F.relu(sam.AGREEMENT - same), weight),
        (F.relu(sam.RIVAL_MARGIN + torch.maximum(outside, best_hidden) - same), weight),
        (F.relu(like + 0.1), occluded.float()),
        (0.5 * F.relu((mean - 0.2).abs() - 0.1), beyond.float()),
    ]
    return sum((v * w).sum(1) / w.sum(1).clamp_min(1) for v, w in terms).mean()


@pytest.mark.parametrize("is_all_visible", [False, True])
def test_the_pair_loss_and_its_gradients_are_those_over_all_pairs(is_all_visible: bool) -> None:
    region = torch.zeros(3, 8, 8, dtype=torch.bool)
    region[:2, 1:7, 2:6] = True  # the third image has no region
    hidden = torch.rand(3, 8, 8) < (0.0 if is_all_visible else 0.4)
    tokens = torch.randn(3, 16, 8, 8)
    others = tokens + 0.7 * torch.randn(3, 16, 8, 8)
    results = []
    for loss in (sam.pair_loss, dense_pair_loss):
        raw, ref = tokens.clone().requires_grad_(), others.clone().requires_grad_()
        value = loss(raw, ref, region, hidden)
        results.append((value, *torch.autograd.grad(value, (raw, ref))))
    for got, want in zip(*results):
        assert torch.allclose(got, want, atol=1e-6)
    assert results[0][1].abs().max() > 0


def test_a_place_is_found_again_in_its_own_view() -> None:
    tokens = torch.randn(4, 16, 8, 8)
    everywhere = sam_generic.kept_cells([0, 0], 8)
    same = sam_generic.place_loss(tokens, tokens, everywhere)
    moved = sam_generic.place_loss(tokens, tokens.roll(3, -1), everywhere)
    assert same < 0.5 < moved


def test_kept_cells_are_those_that_a_shifted_view_shows() -> None:
    for shift in ([2, 0], [-3, 1], [0, -2], [0, 0]):
        kept = sam_generic.kept_cells(shift, 8)
        view = torch.arange(64).view(8, 8)
        padded = F.pad(view, (8, 8, 8, 8), value=-1).roll(shift, (0, 1))[8:16, 8:16]
        assert kept.equal(torch.isin(view, padded))
