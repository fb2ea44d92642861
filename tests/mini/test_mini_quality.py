"""Quality and verdict with the bundled models: faces are accepted, other images are doubtful."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from s3pot.build import build_reference_generator, build_segmenter, quality_limits
from s3pot.config import load_config
from s3pot.device import pick_device
from s3pot.pipeline import OcclusionSegmenter, ReferenceGenerator
from s3pot.quality import Evidence, find_doubts
from s3pot_synthetic import draw_face

ROOT = Path(__file__).resolve().parents[2]
SIZE = 256
CONFIG = load_config(ROOT / "configs" / "mini.yaml", ["run.device=cpu"])


@pytest.fixture(scope="module")
def generator() -> ReferenceGenerator:
    return build_reference_generator(CONFIG, pick_device("cpu"))


@pytest.fixture(scope="module")
def segmenter() -> OcclusionSegmenter:
    return build_segmenter(CONFIG, pick_device("cpu"))


def doubts_about(
    image: np.ndarray, generator: ReferenceGenerator, segmenter: OcclusionSegmenter
) -> list[str]:
    face = generator.generate(image)
    (prompts,) = segmenter.select_prompts([segmenter.prepare(face)])
    evidence = Evidence(face, prompts.similarity.float().numpy())
    return find_doubts(evidence, quality_limits(CONFIG))


def landscape() -> np.ndarray:
    rows, columns = np.mgrid[:SIZE, :SIZE]
    hills = rows > 130 + 20 * np.sin(columns / 30)
    sky = np.stack([110 + rows // 4, 150 + rows // 4, np.full_like(rows, 225)], axis=2)
    return np.where(hills[..., None], (70, 120, 50), sky).astype(np.uint8)


@pytest.mark.slow
def test_a_black_square_is_no_face(
    generator: ReferenceGenerator, segmenter: OcclusionSegmenter
) -> None:
    assert doubts_about(np.zeros((SIZE, SIZE, 3), np.uint8), generator, segmenter)


@pytest.mark.slow
def test_a_landscape_is_no_face(
    generator: ReferenceGenerator, segmenter: OcclusionSegmenter
) -> None:
    assert doubts_about(landscape(), generator, segmenter)


@pytest.mark.slow
def test_noise_is_no_face(generator: ReferenceGenerator, segmenter: OcclusionSegmenter) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
    assert doubts_about(noise, generator, segmenter)


@pytest.mark.slow
@pytest.mark.parametrize("index", range(2))
def test_a_drawn_face_is_believed(
    index: int, generator: ReferenceGenerator, segmenter: OcclusionSegmenter
) -> None:
    sample = draw_face(index, SIZE, "bench", seed=0)
    assert doubts_about(sample.raw, generator, segmenter) == []
