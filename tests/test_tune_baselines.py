"""The thresholds that the tool finds are the best ones."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from s3pot.metrics import mask_scores

PATH = Path(__file__).resolve().parents[1] / "tools" / "tune_baselines.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tune_baselines", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_threshold_does_better(tool: ModuleType) -> None:
    rng = np.random.default_rng(0)
    faces = []
    for _ in range(4):
        truth, region = rng.random((2, 12, 12)) < 0.4
        faces.append((rng.random((12, 12)) + truth, truth, region | truth))
    threshold, iou = tool.best_threshold(faces)

    def mean(value: float) -> float:
        scores = [mask_scores((c > value) & region, truth) for c, truth, region in faces]
        return float(np.mean([entry.iou for entry in scores]))

    assert mean(threshold) == pytest.approx(iou)
    low, high = min(c.min() for c, _, _ in faces), max(c.max() for c, _, _ in faces)
    assert max(mean(value) for value in np.linspace(low, high, tool.STEPS)) == pytest.approx(iou)


def test_prints_one_line_per_contrast_and_reference(
    tool: ModuleType,
    processed_folder: Callable[..., Path],
    mini_options: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = processed_folder(3)
    assert tool.main(["--datapath", str(data), *mini_options]) == 0
    lines = capsys.readouterr().out.splitlines()
    kinds = [line.split()[:2] for line in lines]
    assert kinds == [[a, b] for b in ("generated", "oracle") for a in ("pixel", "token")]
    # The reference is the clean face, so the pixel difference is sufficient.
    assert lines[0].endswith("mean IoU 1.0000")
    for path in data.glob("*_occlusion.png"):
        path.unlink()
    assert tool.main(["--datapath", str(data), *mini_options]) == 2
