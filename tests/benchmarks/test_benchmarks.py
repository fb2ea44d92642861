"""The plain loops give the same results as the package, and the table is printed."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.optim import SGD

from benchmarks import plain, training
from benchmarks.__main__ import groups_for, main
from benchmarks.clock import Clock, Limits, Report, Row, Timing, facts_of
from benchmarks.models import class_map, encoder_operations, new_prompts, new_sam, sizes_of
from benchmarks.stages import Bench, encode_fast
from benchmarks.tiny import TINY_GENERATOR, TINY_SAM
from benchmarks.training import later_epoch
from s3pot.adapter import PromptAdapter
from s3pot.losses import point_losses
from s3pot.pipeline import OcclusionSegmenter, batch_prompts
from s3pot.ps.greedy import greedy_match
from s3pot.rg.nets.e4s import E4SNet
from s3pot.sam.frozen import FrozenSam, freeze
from s3pot.sam.mini import build_mini_sam
from s3pot.sam.official import build_official_sam
from s3pot.types import SamInputs

CPU = torch.device("cpu")


def test_sorted_loop_is_the_definition_of_matching() -> None:
    scores = torch.randint(5, (12, 30), generator=torch.Generator().manual_seed(0)).float()
    for want, got in zip(plain.sorted_loop(scores), greedy_match(scores)):
        assert torch.equal(want, got)


@pytest.mark.slow
def test_plain_training_step_equals_the_packages() -> None:
    torch.manual_seed(0)
    sam = FrozenSam(new_sam("mini", CPU))
    faces = [new_prompts(sam.sam, points, seed) for seed, points in enumerate((30, 21))]
    adapter = PromptAdapter(256)
    loss = plain.training_step(sam, adapter, SGD(adapter.parameters(), 0.0), faces)
    want = [parameter.grad.clone() for parameter in adapter.parameters()]
    adapter.zero_grad()
    segmenter, batch = OcclusionSegmenter(sam), batch_prompts(faces)
    logits = segmenter.predict_point_logits(adapter, batch)
    total = point_losses(logits, batch.point_labels).total.mean()
    total.backward()
    assert float(total.detach()) == pytest.approx(loss, rel=1e-4)
    for parameter, gradient in zip(adapter.parameters(), want):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-6)


def test_plain_prompts_equal_the_packages() -> None:
    torch.manual_seed(0)
    sam = FrozenSam(build_mini_sam(TINY_SAM))
    random = torch.Generator().manual_seed(1)
    region = torch.zeros(64, 64, dtype=torch.bool)
    region[16:56, 8:56] = True
    image, reference = torch.rand(2, 3, 64, 64, generator=random)
    face = SamInputs("face", image, reference, region)
    (want,) = OcclusionSegmenter(sam).select_prompts([face])
    got = plain.select_prompts(sam, face)
    assert torch.equal(got.points_sam, want.points_sam)
    assert torch.equal(got.point_labels, want.point_labels)
    assert torch.equal(got.first_point_sam, want.first_point_sam)
    assert 0 < int(got.point_labels.sum()) < len(got.point_labels)


def test_every_region_everywhere_draws_the_same_image() -> None:
    torch.manual_seed(0)
    net = E4SNet(TINY_GENERATOR).eval()
    labels = torch.from_numpy(class_map(64).astype(np.int64))[None]
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        tiles = net(image, labels)
        with plain.every_region_everywhere(net):
            whole = net(image, labels)
        again = net(image, labels)
    torch.testing.assert_close(whole, tiles, rtol=1e-4, atol=1e-4)
    assert torch.equal(again, tiles)


@pytest.mark.slow
def test_operations_of_vit_b_are_those_of_the_literature() -> None:
    assert encoder_operations(build_official_sam("vit_b")) == pytest.approx(2 * 486e9, rel=0.01)


def test_clock_warms_up_and_takes_the_median() -> None:
    calls: list[int] = []
    timing = Clock(CPU, minutes=1).measure(lambda: calls.append(1), seconds=10, most=5)
    assert len(calls) == 6
    assert timing.repeats == 5
    assert 0 <= timing.seconds < 1
    assert timing.peak_bytes > 2**20


def test_no_time_left_still_gives_a_number() -> None:
    assert Clock(CPU, minutes=0).measure(lambda: None).repeats == 1


def test_row_and_share() -> None:
    limits = Limits(float32=1e12, bfloat16=8e12)
    assert limits.share(5e11, 1.0, "exact") == pytest.approx(0.5)
    assert limits.share(4e12, 1.0, "fast") == pytest.approx(0.5)
    row = Row("encode", "exact", 4, Timing(0.5, 2**30, 3), 0.25, "a note")
    assert row.images_per_second == 8
    assert str(row) == "| encode | exact | 4 | 500.00 | 8.00 | 25.0 | 1.00 | a note |"


@pytest.mark.slow
def test_the_command_prints_a_table_and_writes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "speed.json"
    assert main(["--size", "mini", "--only", "parse", "--json", str(path)]) == 0
    content = json.loads(path.read_text(encoding="utf-8"))
    assert [row["stage"] for row in content["rows"]] == ["parse"]
    assert {"device", "versions", "commit"} <= set(content)
    assert "| parse | float32 | 1 |" in capsys.readouterr().out


@pytest.mark.slow
def test_a_device_that_is_missing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--device", "cuda:99"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("there is no device cuda:99")


def test_when_the_time_is_over_the_rest_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--minutes", "0"]) == 0
    said = capsys.readouterr().out
    assert all(f"(no time left for {group.__name__})" in said for group in groups_for(CPU))


@pytest.mark.slow
def test_an_epoch_is_measured_after_the_encoder_was_rounded(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_sam = freeze(build_mini_sam(TINY_SAM))
    monkeypatch.setattr(training, "new_sam", lambda name, device: copy.deepcopy(tiny_sam))
    limits = Limits(1e12, 1e12)
    clock = Clock(CPU, minutes=0)
    bench = Bench(
        sizes=replace(sizes_of("mini"), image=64, points=40),  # of 8 x 8 cells
        clock=clock,
        limits=limits,
        report=Report(facts_of(clock, "mini", limits), None),
        operations=1.0,
        sam=copy.deepcopy(tiny_sam),
    )
    encode_fast(bench)
    later_epoch(bench)
    assert "| epoch after the first | plain loop | 3 |" in capsys.readouterr().out
