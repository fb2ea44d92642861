"""From embeddings to loss, gradient and two optimizer steps, with the release's settings."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Callable

import numpy as np
import pytest
import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import Tensor, nn

from s3pot.adapter import PromptAdapter, from_authors
from s3pot.fe import cosine_map, enhance
from s3pot.losses import PointLosses, point_losses
from s3pot.pipeline import OcclusionSegmenter, PipelineSettings, batch_prompts
from s3pot.ps.greedy import greedy_match
from s3pot.ps.select import match_scores, select_points
from s3pot.sam.frozen import FrozenSam
from s3pot.types import EnhancedTokens, Prompts

RTOL, ATOL = 1e-3, 1e-4
RELEASE = PipelineSettings(initial_anchor="corner", initial_pick="product")


class NoEncoder(nn.Module):
    """Replaces SAM's image encoder, because the vectors start from embeddings."""

    img_size = 1024


@dataclass(frozen=True)
class Case:
    sam: FrozenSam
    adapter: PromptAdapter
    raw: Tensor
    ref: Tensor
    region: Tensor
    tokens: EnhancedTokens
    prompts: Prompts


def _sam(fill: ModuleType, seed: int) -> FrozenSam:
    sam = Sam(
        image_encoder=NoEncoder(),
        prompt_encoder=PromptEncoder(256, (64, 64), (1024, 1024), 16),
        mask_decoder=MaskDecoder(
            transformer_dim=256,
            transformer=TwoWayTransformer(depth=2, embedding_dim=256, num_heads=8, mlp_dim=2048),
        ),
    )
    _load(sam, fill, seed)
    return FrozenSam(sam)


def _load(module: nn.Module, fill: ModuleType, seed: int) -> None:
    shapes = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    filled = fill.fill_state_dict(shapes, seed)
    module.load_state_dict(
        {key: torch.from_numpy(value) for key, value in filled.items()}, strict=True
    )


@pytest.fixture(scope="module")
def want(vectors: Callable) -> dict[str, np.ndarray]:
    return vectors("fe_ps")


@pytest.fixture(scope="module")
def case(fill: ModuleType, contract: Callable, parity_seed: int) -> Case:
    sam = _sam(fill, parity_seed)
    shapes = {key: shape for key, (shape, _) in contract("authors_adapter").items()}
    state = fill.fill_state_dict(shapes, parity_seed)
    adapter = PromptAdapter()
    adapter.load_state_dict(from_authors({k: torch.from_numpy(v) for k, v in state.items()}))
    raw, ref = (torch.from_numpy(tokens)[0] for tokens in fill.sam_embeddings(parity_seed))
    region = torch.from_numpy(fill.face_region(fill.label_map(parity_seed)))
    tokens = enhance(sam, raw, ref, sam.grid.on_grid(region), anchor="corner", pick="product")
    points, labels = select_points(tokens.image_tokens, tokens.reference_tokens, region, sam.grid)
    prompts = Prompts(
        name="face",
        image_embedding=raw,
        points_sam=points,
        point_labels=labels,
        similarity=tokens.similarity,
        first_point_sam=tokens.first_point_sam,
        region_sam=region,
    )
    return Case(sam, adapter, raw, ref, region, tokens, prompts)


@pytest.fixture(scope="module")
def logits(case: Case) -> Tensor:
    with torch.no_grad():
        segmenter = OcclusionSegmenter(case.sam, RELEASE)
        return segmenter.predict_visible_face(case.adapter, case.prompts).logits_sam


def close(got: Tensor, want: np.ndarray, name: str = "") -> None:
    array = got.detach().numpy()
    np.testing.assert_allclose(array.reshape(want.shape), want, rtol=RTOL, atol=ATOL, err_msg=name)


@pytest.mark.slow
def test_step_1_region_tokens_cosine_and_first_point(case: Case, want: dict) -> None:
    region_grid = case.sam.grid.on_grid(case.region)
    np.testing.assert_array_equal(
        region_grid.flatten().nonzero()[:, 0].numpy(), want["region_tokens"]
    )
    close(cosine_map(case.raw[None], case.ref[None])[0, ::4, ::4], want["cosine_strided"])
    point = case.tokens.first_point_sam
    assert int(case.sam.grid.cells(point[None])) == int(want["initial_token"])
    np.testing.assert_array_equal(point.numpy(), want["initial_point"].reshape(2))


def test_step_2_prompt_tokens_of_the_first_point(case: Case, want: dict) -> None:
    tokens = case.sam.embed_points(
        case.tokens.first_point_sam[None, None], torch.ones(1, 1, dtype=torch.int64)
    )
    close(tokens, want["initial_sparse"])


def test_step_3_attended_tokens(case: Case, want: dict) -> None:
    close(case.tokens.image_tokens[::4, ::4, ::4], want["attended_raw"])
    close(case.tokens.reference_tokens[::4, ::4, ::4], want["attended_ref"])
    tokens = case.sam.embed_points(
        case.tokens.first_point_sam[None, None], torch.ones(1, 1, dtype=torch.int64)
    )
    low = case.sam.decode(case.ref[None], tokens).logits
    close(low[0, 0, ::8, ::8], want["initial_low_res_reference"])


def test_step_4_scores_and_matching(case: Case, want: dict) -> None:
    scores = match_scores(
        case.tokens.image_tokens, case.tokens.reference_tokens, case.sam.grid.on_grid(case.region)
    )
    close(scores[::16, ::64], want["scores_strided"])
    rows, cols = greedy_match(scores)
    np.testing.assert_array_equal(cols[rows.argsort()].numpy(), want["matched_token_of_row"])


@pytest.mark.parametrize(("label", "name"), [(1, "positive_points"), (0, "negative_points")])
def test_step_5_points(case: Case, want: dict, label: int, name: str) -> None:
    points = case.prompts.points_sam[case.prompts.point_labels == label].numpy()
    order = np.lexsort((points[:, 0], points[:, 1]))
    np.testing.assert_array_equal(points[order], want[name])


def test_positives_come_first(case: Case) -> None:
    labels = case.prompts.point_labels
    assert torch.equal(labels, labels.sort(descending=True).values)


def test_step_6_prompt_encoder_and_adapter(case: Case, want: dict) -> None:
    tokens = case.sam.embed_points(case.prompts.points_sam[None], case.prompts.point_labels[None])
    first = torch.from_numpy(want["positive_points"][:1]).float()
    row = (case.prompts.points_sam == first).all(dim=1).nonzero()[0, 0]
    close(tokens[0, -1], want["prompt_tokens_pad"])
    close(tokens[0, row], want["prompt_token_of_first_positive"])
    refined, weights = case.adapter(tokens)
    got = {
        "refined_pad": refined[0, -1],
        "refined_mean": refined[0].mean(dim=0),
        "refined_std": refined[0].std(dim=0),
        "weights_pad_row_sorted": weights[0, -1].sort().values,
        "weights_column_sums_sorted": weights[0].sum(dim=0).sort().values,
    }
    for name, value in got.items():
        close(value, want[name], name)


@pytest.mark.slow
def test_step_7_mask(case: Case, want: dict, logits: Tensor) -> None:
    prompts = case.sam.embed_points(case.prompts.points_sam[None], case.prompts.point_labels[None])
    tokens = case.adapter(prompts)[0]
    close(case.sam.decode(case.raw[None], tokens).logits, want["low_res_logits"])
    close(logits[3::8, 3::8], want["logits_1024_strided"])
    close(logits[:16, :16], want["logits_1024_corner"])
    close((logits > 0).float().mean(), want["mask_fraction"])


def _losses(case: Case, adapter: nn.Module) -> PointLosses:
    segmenter, batch = OcclusionSegmenter(case.sam, RELEASE), batch_prompts([case.prompts])
    logits = segmenter.predict_point_logits(adapter, batch)
    return point_losses(logits[0], case.prompts.point_labels)


def _terms(losses: PointLosses) -> Tensor:
    return torch.stack((losses.face, losses.occlusion, losses.hinge, losses.total)).detach()


def test_step_8_objectives(case: Case, want: dict, logits: Tensor) -> None:
    x, y = case.prompts.points_sam.long().unbind(dim=1)
    losses = point_losses(logits[y, x], case.prompts.point_labels)
    close(-losses.face, want["p_positive_mean"])
    close(losses.occlusion, want["p_negative_mean"])
    close(_terms(losses), want["loss_terms"])


@pytest.mark.slow
def test_step_9_gradients_and_course(case: Case, want: dict) -> None:
    state = {key: value.clone() for key, value in case.adapter.state_dict().items()}
    adapter = PromptAdapter()
    adapter.load_state_dict(state)
    optimizer = torch.optim.AdamW(adapter.parameters(), lr=1e-4, weight_decay=1e-6)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    course = []
    for step in range(3):
        losses = _losses(case, adapter)
        course.append(_terms(losses))
        optimizer.zero_grad()
        losses.total.backward()
        if step == 0:
            _check_gradients(adapter, want)
        optimizer.step()
        schedule.step()
    close(torch.stack(course), want["loss_course"])


def _check_gradients(adapter: PromptAdapter, want: dict) -> None:
    strides = {"in_proj_weight": (12, 8), "out_proj_weight": (8, 8)}
    checked = 0
    for key, parameter in adapter.named_parameters():
        name = key.replace("self_attn.", "").replace(".", "_")
        assert parameter.grad is not None
        grad = parameter.grad
        if name in strides:
            grad = grad[:: strides[name][0], :: strides[name][1]]
        close(grad, want[f"grad_{name}"], name)
        checked += 1
    assert checked == 6


def test_nothing_but_the_adapter_is_trained(case: Case) -> None:
    assert not [name for name, p in case.sam.named_parameters() if p.requires_grad]
