"""Each baseline against its definition, on one face."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from s3pot import baselines
from s3pot.baselines import BASELINES, Case, automatic_logits
from s3pot.pipeline import OcclusionSegmenter, split_region
from s3pot.sam.frozen import FrozenSam
from s3pot.types import AlignedFace, Prediction, Prompts, S3potError

SIZE = (64, 96)


@pytest.fixture
def face() -> AlignedFace:
    image, reference = np.full((2, *SIZE, 3), 100, np.uint8)
    image[10:20, 30:40] = 200
    return AlignedFace("face", image, np.full(SIZE, 6, np.uint8), reference)


@pytest.fixture
def prompts() -> Prompts:
    similarity = torch.ones(8, 8)
    similarity[2, 3] = 0.25
    return Prompts(
        name="face",
        image_embedding=torch.randn(32, 8, 8, generator=torch.Generator().manual_seed(0)).half(),
        points_sam=torch.tensor([[4.0, 4.0], [60.0, 12.0]]),
        point_labels=torch.tensor([1, 0]),
        similarity=similarity.half(),
        first_point_sam=torch.tensor([20.0, 20.0]),
        region_sam=torch.ones(64, 64, dtype=torch.bool),
    )


def run(
    name: str, face: AlignedFace, prompts: Prompts, sam: FrozenSam, threshold: float = 0.0
) -> np.ndarray:
    mask = BASELINES[name](Case(face, prompts, OcclusionSegmenter(sam), threshold))
    assert mask.shape == SIZE
    assert mask.dtype == bool
    return mask


def test_nothing_and_everything(face: AlignedFace, prompts: Prompts, tiny_sam: FrozenSam) -> None:
    assert not run("parser", face, prompts, tiny_sam).any()
    assert run("region", face, prompts, tiny_sam).all()


def test_pixels_that_differ(face: AlignedFace, prompts: Prompts, tiny_sam: FrozenSam) -> None:
    expected = np.zeros(SIZE, bool)
    expected[10:20, 30:40] = True
    assert (run("pixel", face, prompts, tiny_sam, 0.3) == expected).all()
    assert not run("pixel", face, prompts, tiny_sam, 0.4).any()  # 100 / 255 is less


def test_tokens_that_differ(face: AlignedFace, prompts: Prompts, tiny_sam: FrozenSam) -> None:
    expected = np.zeros(SIZE, bool)
    expected[2 * 8 : 3 * 8, 3 * 12 : 4 * 12] = True
    assert (run("token", face, prompts, tiny_sam, 0.7) == expected).all()


def test_cells_of_negative_points(face: AlignedFace, prompts: Prompts, tiny_sam: FrozenSam) -> None:
    expected = np.zeros(SIZE, bool)
    expected[1 * 8 : 2 * 8, 7 * 12 : 8 * 12] = True
    assert (run("greedy", face, prompts, tiny_sam) == expected).all()


def test_the_first_point_alone(face: AlignedFace, prompts: Prompts, tiny_sam: FrozenSam) -> None:
    tokens = tiny_sam.embed_points(
        prompts.first_point_sam[None, None], torch.ones(1, 1, dtype=torch.int64)
    )
    with torch.no_grad():
        low_res_logits = tiny_sam.decode(prompts.image_embedding[None].float(), tokens).logits
        logits = torch.nn.functional.interpolate(
            low_res_logits, (64, 64), mode="bilinear", align_corners=True
        )[0, 0]
    expected = split_region(Prediction(logits, None), face.parsing, SIZE).occlusion
    assert (run("single_point", face, prompts, tiny_sam) == expected).all()


def test_without_points_nothing_is_marked(
    face: AlignedFace, prompts: Prompts, tiny_sam: FrozenSam
) -> None:
    empty = replace(
        prompts, points_sam=torch.zeros(0, 2), point_labels=torch.zeros(0, dtype=torch.int64)
    )
    for name in ("single_point", "greedy"):
        assert not run(name, face, empty, tiny_sam).any()


def test_otsu_finds_the_threshold_that_no_label_told(
    face: AlignedFace, prompts: Prompts, tiny_sam: FrozenSam
) -> None:
    expected = np.zeros(SIZE, bool)
    expected[10:20, 30:40] = True
    case = Case(face, prompts, OcclusionSegmenter(tiny_sam), threshold_rule="otsu")
    assert (BASELINES["pixel"](case) == expected).all()
    cell = np.zeros((8, 8), bool)
    cell[2, 3] = True
    tokens = BASELINES["token"](case)
    assert (tokens == cell.repeat(8, axis=0).repeat(12, axis=1)).all()


def test_the_region_box_is_sams_own_box_prompt(
    face: AlignedFace, prompts: Prompts, tiny_sam: FrozenSam
) -> None:
    region = torch.zeros(64, 64, dtype=torch.bool)
    region[8:40, 16:61] = True
    boxed = replace(prompts, region_sam=region)
    sam = tiny_sam.sam
    with torch.no_grad():
        sparse, dense = sam.prompt_encoder(
            points=None, boxes=torch.tensor([[16.0, 8.0, 60.0, 39.0]]), masks=None
        )
        low_res, _ = sam.mask_decoder(
            image_embeddings=prompts.image_embedding.float()[None],
            image_pe=sam.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
    segmenter = OcclusionSegmenter(tiny_sam)
    prediction = Prediction(segmenter.enlarge_logits(low_res[:, 0])[0], None)
    expected = split_region(prediction, face.parsing, SIZE).occlusion
    assert (run("region_box", face, boxed, tiny_sam) == expected).all()
    nowhere = replace(prompts, region_sam=torch.zeros(64, 64, dtype=torch.bool))
    assert not run("region_box", face, nowhere, tiny_sam).any()


def test_there_is_an_automatic_mask_for_each_point_of_a_grid(
    face: AlignedFace, prompts: Prompts, tiny_sam: FrozenSam
) -> None:
    logits = automatic_logits(Case(face, prompts, OcclusionSegmenter(tiny_sam)))
    assert logits.shape == (4 * 4, 32, 32)
    points_sam = torch.tensor([[[24.0, 40.0]]])  # the points are 16 pixels apart: column 1, row 2
    tokens = tiny_sam.embed_points(points_sam, torch.ones(1, 1, dtype=torch.int64))
    with torch.no_grad():
        expected = tiny_sam.decode(prompts.image_embedding.float()[None], tokens).logits[0, 0]
    assert torch.allclose(logits[2 * 4 + 1].float(), expected, atol=0.02)


def test_the_best_automatic_mask_is_the_one_that_fits_the_truth(
    face: AlignedFace, prompts: Prompts, tiny_sam: FrozenSam, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = torch.full((3, 32, 32), -4.0)
    logits[0, :, :20] = 4
    logits[1, 4:16, 8:24] = 4
    logits[2, 4:6] = 4
    monkeypatch.setattr(baselines, "automatic_logits", lambda case: logits.half())
    truth = np.zeros(SIZE, bool)
    truth[8:30, 24:70] = True
    plain = Case(face, prompts, OcclusionSegmenter(tiny_sam))
    found = BASELINES["automatic"](replace(plain, truth=truth))
    assert (found & truth).sum() / (found | truth).sum() > 0.85
    with pytest.raises(S3potError, match="truth"):
        BASELINES["automatic"](plain)
