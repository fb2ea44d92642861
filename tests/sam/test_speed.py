"""The speed settings of SAM compared with each other, on drawn faces with the bundled models."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from s3pot.build import build_segmenter, weights_path
from s3pot.config import load_config
from s3pot.losses import point_losses
from s3pot.pipeline import batch_prompts
from s3pot.sam.frozen import FrozenSam
from s3pot.sam.mini import MiniSamSize, build_mini_sam
from s3pot.sam.speed import has_compiler, prepare_encoder
from s3pot.training.checkpoint import new_adapter
from s3pot.types import AlignedFace
from s3pot_synthetic import draw_face

MINI = ["model.set=mini", "model.sam=mini", "align.mode=never", "run.device=cpu"]
CPU = torch.device("cpu")


def visible_faces(speed: str, faces: list[AlignedFace]) -> list[Tensor]:
    """Masks of the bundled models, bool (S, S) each."""
    config = load_config(overrides=[*MINI, f"run.speed={speed}"])
    segmenter = build_segmenter(config, CPU)
    adapter = new_adapter(config, segmenter.sam, weights_path(config, "adapter")).eval()
    masks = []
    with torch.no_grad():
        for face in faces:
            (prompts,) = segmenter.select_prompts([segmenter.prepare(face)])
            masks.append(segmenter.predict_visible_face(adapter, prompts).logits_sam > 0)
    return masks


@pytest.fixture(scope="module")
def faces() -> list[AlignedFace]:
    samples = [draw_face(index, 256, "bench") for index in range(4)]
    return [
        AlignedFace(
            f"face_{index}", image=sample.raw, parsing=sample.labels, reference=sample.clean
        )
        for index, sample in enumerate(samples)
    ]


@pytest.mark.slow
def test_fast_masks_agree_with_exact_ones(faces: list[AlignedFace]) -> None:
    scores = []
    for exact, fast in zip(visible_faces("exact", faces), visible_faces("fast", faces)):
        assert exact.float().mean() > 0.05
        scores.append(float((exact & fast).sum() / (exact | fast).sum()))
    assert sum(scores) / len(scores) >= 0.99, scores
    assert min(scores) >= 0.97, scores


@pytest.mark.slow
def test_fast_training_goes_the_same_way(faces: list[AlignedFace]) -> None:
    totals, gradients = [], []
    for speed in ("exact", "fast"):
        config = load_config(overrides=[*MINI, f"run.speed={speed}"])
        segmenter = build_segmenter(config, CPU)
        adapter = new_adapter(config, segmenter.sam)
        if not totals:
            prompts = segmenter.select_prompts([segmenter.prepare(face) for face in faces[:2]])
        batch = batch_prompts(prompts)
        prompt_tokens, _ = segmenter.refine_prompts(adapter, batch)
        assert segmenter.decode(batch, prompt_tokens).dtype == torch.float32
        point_logits = segmenter.predict_point_logits(adapter, batch)
        assert point_logits.dtype == torch.float32
        total = point_losses(point_logits, batch.point_labels).total.mean()
        total.backward()
        totals.append(float(total.detach()))
        parts = [p.grad.flatten() for p in adapter.parameters() if p.grad is not None]
        gradients.append(torch.cat(parts))
    assert totals[1] == pytest.approx(totals[0], abs=0.01)
    assert float(torch.cosine_similarity(gradients[0], gradients[1], dim=0)) > 0.98


@pytest.mark.long
@pytest.mark.skipif(not has_compiler(), reason="torch.compile needs a C++ compiler")
def test_compiled_tokens_agree_with_fast_ones() -> None:
    """The same arithmetic in another order; the encoder is small, because compiling is slow."""
    torch.manual_seed(0)
    size = MiniSamSize(image=64, widths=(8, 8, 8), depths=(1, 1, 1), tokens=32, decoder_mlp=32)
    sam = build_mini_sam(size)
    images = torch.rand(2, 3, 64, 64)
    exact = FrozenSam(copy.deepcopy(sam)).encode(images)
    compiled = FrozenSam(copy.deepcopy(sam), speed="max").encode(images)
    cosine = torch.nn.functional.cosine_similarity(compiled, exact, dim=1)
    assert float(cosine.mean()) > 0.999


def test_another_word_is_refused() -> None:
    with pytest.raises(ValueError, match="speed is 'quick'; it must be one of exact, fast, max"):
        prepare_encoder(torch.nn.Identity(), "quick")


def test_exact_leaves_the_weights_alone() -> None:
    layer = torch.nn.Linear(2, 2)
    prepare_encoder(layer, "exact")
    assert layer.weight.dtype == torch.float32


def test_a_small_encoder_has_its_weights_in_the_order_in_which_it_computes() -> None:
    torch.manual_seed(0)
    size = MiniSamSize(image=64, widths=(8, 8, 8), depths=(1, 1, 1), tokens=32, decoder_mlp=32)
    sam = build_mini_sam(size)
    images = torch.rand(2, 3, 64, 64)
    plain = sam.image_encoder(images)
    prepare_encoder(sam.image_encoder, "exact")
    weight = sam.image_encoder.late[0].first.weight
    assert weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
    torch.testing.assert_close(sam.image_encoder(images), plain)
