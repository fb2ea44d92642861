"""The recipes of the mini models run, resume after an interruption, and export loadable files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

import s3pot_mini.__main__ as recipes
from benchmarks.tiny import TINY_GENERATOR, TINY_SAM
from s3pot.build import build_face_parser, build_inverter, build_sam
from s3pot.config import load_config
from s3pot.rg.nets.face_detector import FaceDetectorSize
from s3pot.weights.mini_set import read_mini
from s3pot_mini import (
    adapter,
    critic,
    detector,
    generator,
    loop,
    pairs,
    parser,
    pool,
    sam,
    sam_generic,
)
from s3pot_mini.__main__ import main
from s3pot_synthetic import draw_face
from tests.conftest import Sketch

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
SHARD, SIZE = 4, 64
FACES = 3 * SHARD
TRAINED = ("parser", "generator", "generator_fine", "sam_generic", "sam")
EXPORTED = ("parser", "generator", "sam_generic", "sam")
SCHEDULE = loop.Schedule(steps=2, batch=4, lr=1e-3)
ADAPTERS = {name: replace(schedule, epochs=1) for name, schedule in adapter.SCHEDULES.items()}
SMALL: dict[Any, dict[str, Any]] = {
    pool: {"SHARD": SHARD, "SIZE": SIZE},
    parser: {"INPUT": SIZE, "WIDTH": 4, "SCHEDULE": SCHEDULE},
    generator: {
        "SIZE": TINY_GENERATOR,
        "IMAGE": SIZE,
        "SCHEDULE": SCHEDULE,
        "FINE_SCHEDULE": SCHEDULE,
    },
    sam_generic: {"SIZE": TINY_SAM, "SCHEDULE": SCHEDULE, "PAIRS_AT_A_TIME": 4, "PAIR_CAPACITY": 8},
    sam: {"SIZE": TINY_SAM, "SCHEDULE": SCHEDULE, "PAIR_CAPACITY": 8, "FIRST_REFILLS": 1},
    adapter: {"FACES": 3, "SCHEDULES": ADAPTERS},
    detector: {
        "SIZE": FaceDetectorSize(stem=(4, 4), widths=(8, 8, 8), depths=(1, 1, 1), neck=8),
        "SIDE": SIZE,
        "HELD_OUT": 2,
        "SCHEDULE": SCHEDULE,
        "PEOPLE_PER_FACE": 0.1,
    },
}


@pytest.fixture(scope="module")
def small() -> Iterator[None]:
    """Make all sizes of the recipes small."""
    with pytest.MonkeyPatch.context() as patch:
        for module, values in SMALL.items():
            for key, value in values.items():
                patch.setattr(module, key, value)
        yield


@pytest.fixture(scope="module")
def trained(small: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every stage has run, with ``work`` and ``weights``."""
    folder = tmp_path_factory.mktemp("mini")
    draw = Figure.savefig

    @wraps(draw)
    def draw_or_sketch(figure: Figure, path: Path, **settings: Any) -> None:
        """Draw the curves of one stage only, because it takes longer than the training."""
        if path.stem == "parser":
            draw(figure, path, **settings)
        else:
            Sketch().savefig(path, "png")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", draw_or_sketch)
        assert main(["all", *options(folder), "--faces", str(FACES), "--workers", "0"]) == 0
    return folder


def options(folder: Path) -> list[str]:
    paths = ["--work_dir", str(folder / "work"), "--target_dir", str(folder / "weights")]
    return [*paths, "--device", "cpu"]


def rows_of(folder: Path, name: str) -> list[dict[str, float]]:
    lines = (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


class Stop(Exception):
    """The process is killed during training."""


def fit_toy(folder: Path, stop_at: int | None = None, seed: int = 321) -> dict[str, torch.Tensor]:
    """Train a toy network with random data and dropout up to step 7; returns its weights."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))

    def losses(step: int) -> dict[str, torch.Tensor]:
        if step == stop_at:
            raise Stop
        x = torch.randn(16, 4)
        return {"total": (model(x).float() - x.sum(1, keepdim=True)).square().mean()}

    schedule = loop.Schedule(steps=7, batch=16, lr=0.1, seed=seed)
    loop.fit("toy", model, losses, schedule, folder, CPU, lambda step: {"at": step})
    return model.state_dict()


def test_training_resumed_equals_training_never_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SAVE_EVERY", 2)
    monkeypatch.setattr(loop, "LOG_EVERY", 1)
    folders = [tmp_path / name for name in ("whole", "stopped", "other")]
    for folder in folders:
        folder.mkdir()
    whole = fit_toy(folders[0])
    with pytest.raises(Stop):
        fit_toy(folders[1], stop_at=5)
    assert torch.load(folders[1] / "toy_last.pt", weights_only=True)["step"] == 4
    resumed = fit_toy(folders[1])
    other = fit_toy(folders[2], seed=1)
    assert all(whole[k].equal(resumed[k]) for k in whole)
    assert not any(whole[k].equal(other[k]) for k in whole)
    again = fit_toy(folders[1], stop_at=0)  # done: no step is taken
    assert all(whole[k].equal(again[k]) for k in whole)
    assert rows_of(folders[0], "toy")[-1]["at"] == 7
    assert {path.name for path in folders[1].iterdir()} == {"toy_last.pt", "toy.jsonl"}


def test_a_step_without_finite_gradient_changes_no_weight_to_nan(tmp_path: Path) -> None:
    model = nn.Linear(2, 1)

    def losses(step: int) -> dict[str, torch.Tensor]:
        scale = torch.tensor(float("nan") if step == 1 else 1.0)
        return {"total": (model(torch.ones(3, 2)) * scale).float().sum()}

    schedule = loop.Schedule(steps=3, batch=1, lr=0.1)
    loop.fit("toy", model, losses, schedule, tmp_path, CPU)
    assert torch.isfinite(model.weight).all()


def test_the_rate_rises_holds_and_falls() -> None:
    schedule = loop.Schedule(steps=1000, batch=1, lr=1.0, decay=0.4)
    assert schedule.rate(0) == 0.01
    assert schedule.rate(99) == schedule.rate(600) == 1.0
    assert schedule.rate(800) == pytest.approx(0.5)
    assert 0 < schedule.rate(999) < 0.01


def test_the_clock_ends_a_run_and_lets_the_rate_fall(tmp_path: Path) -> None:
    schedule = loop.Schedule(steps=10**6, batch=1, lr=1.0, decay=0.5, seconds=10.0)
    assert schedule.rate(200, elapsed=4.0) == 1.0
    assert schedule.rate(200, elapsed=7.5) == pytest.approx(0.5)
    assert schedule.rate(200, elapsed=11.0) == 0.0
    model = nn.Linear(1, 1)
    short = loop.Schedule(steps=10**6, batch=1, lr=1.0, seconds=0.3)
    loop.fit("toy", model, lambda step: {"total": model.weight.sum()}, short, tmp_path, CPU)
    assert 0 < rows_of(tmp_path, "toy")[-1]["step"] < 10**6
    assert (tmp_path / "toy_last.pt").exists()


def test_a_finished_run_is_left_as_it_is(trained: Path) -> None:
    shards = sorted((trained / "work").glob("*_00*.npy"))
    kinds = [path.name[:5] for path in shards]
    assert kinds == ["faces", "faces", "faces", "scene", "scene"]
    drawn = {path: path.stat().st_mtime_ns for path in shards}
    weights = {path: path.read_bytes() for path in (trained / "weights").iterdir()}
    curves = {path: path.stat().st_mtime_ns for path in (trained / "work").glob("*.png")}
    assert {path.stem for path in curves} == {*TRAINED, "detector"}
    assert main(["all", *options(trained), "--faces", str(FACES), "--workers", "0"]) == 0
    assert {path: path.stat().st_mtime_ns for path in shards} == drawn
    assert {path: path.read_bytes() for path in (trained / "weights").iterdir()} == weights
    assert {path: path.stat().st_mtime_ns for path in curves} == curves
    for name in TRAINED:
        assert rows_of(trained / "work", name)[-1]["step"] == SCHEDULE.steps


@pytest.mark.parametrize("name", [*EXPORTED, *ADAPTERS])
def test_exports_are_half_precision_and_plain(trained: Path, name: str) -> None:
    weights = read_mini(name, trained / "weights")
    kinds = {v.dtype for v in weights["state_dict"].values() if v.is_floating_point()}
    assert kinds == {torch.float16}
    assert json.loads(json.dumps(weights["size"]))


def trained_state(trained: Path, stage: str) -> dict[str, Any]:
    """The checkpoint that a stage left."""
    state = torch.load(trained / "work" / f"{stage}_last.pt", weights_only=True)
    return dict(state)


@pytest.mark.parametrize("name", EXPORTED)
def test_exports_are_what_was_trained_and_it_moved(trained: Path, name: str) -> None:
    state = trained_state(trained, "generator_fine" if name == "generator" else name)
    assert state["step"] == 2
    exported = read_mini(name, trained / "weights")["state_dict"]
    model = {k: v for k, v in state["model"].items() if not k.startswith("critic.")}
    for name_there, value in model.items():
        key = name_there.removeprefix("net.")
        want = value.half() if value.is_floating_point() else value
        assert exported[key].equal(want), key
    moments = [s["exp_avg"].abs().max() for s in state["optimizer"]["state"].values()]
    assert max(moments) > 0
    row = rows_of(trained / "work", name)[-1]
    assert all(np.isfinite(value) for value in row.values())
    scores = {
        "parser": "region_iou",
        "generator": "own_error",
        "sam_generic": "iou_segments",
        "sam": "iou_ps",
    }
    assert scores[name] in row


def test_the_generator_is_trained_further_and_not_anew(trained: Path) -> None:
    first, fine = (trained_state(trained, stage)["model"] for stage in TRAINED[1:3])
    keys = [key for key in first if key.startswith("net.") and first[key].is_floating_point()]
    moved = [float((fine[key] - first[key]).abs().max()) for key in keys]
    assert 0 < max(moved) < 2 * SCHEDULE.steps * SCHEDULE.lr  # fresh weights would differ by more


def test_the_second_stage_continues_the_first_whatever_that_started_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = {}

    def train_one(stage: str, options: Any, *rest: object) -> None:
        starts[stage] = options.start

    monkeypatch.setattr(recipes, "train_one", train_one)
    monkeypatch.setattr(recipes, "open_pool", lambda options: None)
    folders = ["--work_dir", str(tmp_path), "--target_dir", str(tmp_path), "--start", "there"]
    assert main(["train", *folders, "--device", "cpu"]) == 0
    assert starts == {stage: Path("there") for stage in TRAINED} | {"generator_fine": None}


def test_what_a_stopped_run_left_can_be_exported(
    trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    work = ["--work_dir", str(trained / "work"), "--target_dir", str(tmp_path)]
    assert main(["export", *work, "--device", "cpu"]) == 0
    assert "not exported" not in caplog.text
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert main(["export", *work, "--device", "cpu"]) == 0
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    for name in EXPORTED:
        stage = "generator_fine" if name == "generator" else name
        checkpoint = trained / "work" / f"{stage}_last.pt"
        reason = f"{checkpoint} is not exported, because {tmp_path} already holds one"
        assert reason in caplog.text
    for name in EXPORTED:
        want = read_mini(name, trained / "weights")["state_dict"]
        got = read_mini(name, tmp_path)["state_dict"]
        assert want.keys() == got.keys()
        assert all(want[key].equal(got[key]) for key in want)


def test_an_export_without_checkpoints_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folders = ["--work_dir", str(tmp_path / "work"), "--target_dir", str(tmp_path / "weights")]
    assert main(["export", *folders, "--device", "cpu"]) == 0
    assert f"{tmp_path / 'work'} holds no checkpoint of a stopped run" in caplog.text


def test_the_help_says_what_is_replaced_and_how_much_is_drawn(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "whose files are replaced (default: the bundled weights)" in text
    fewest = [name for name in pool.shard_names(1) if name.startswith(pool.FACES)]
    assert f"in shards of {pool.SHARD}, at least {pool.SHARD * len(fewest)}" in text


def test_the_package_loads_and_runs_the_exports(trained: Path) -> None:
    chosen = ["model.set=mini", "model.sam=mini", f"model.weights_dir={trained / 'weights'}"]
    config = load_config(overrides=chosen)
    face = torch.from_numpy(draw_face(0, size=SIZE).raw).permute(2, 0, 1)[None] / 255
    labels = build_face_parser(config, CPU).parse(face)
    reference = build_inverter(config, CPU).invert(face, labels)
    tokens = build_sam(config, CPU).encode(torch.cat((face, reference)))
    assert tokens.shape == (2, 32, 8, 8)
    assert torch.isfinite(tokens).all()


def test_regions_on_the_whole_picture_draw_what_tiles_draw(small: None) -> None:
    torch.manual_seed(0)
    net = generator.E4SNet(TINY_GENERATOR).eval()
    coarse = torch.randint(12, (2, 1, 8, 8)).float()
    labels = nn.functional.interpolate(coarse, (SIZE, SIZE), mode="nearest")[:, 0].long()
    image = torch.rand(2, 3, SIZE, SIZE) * 2 - 1
    with torch.no_grad():
        tiles = net(image, labels)
        codes = net.style_codes(net.style_vectors(image, labels))
        whole = net.G(codes, generator.WholePlan(labels, 12, net.G.masked_sizes))
    assert torch.allclose(tiles, whole, atol=1e-5)


def test_the_buffer_keeps_the_newest_pairs(trained: Path) -> None:
    pictures = pool.Pool(trained / "work", CPU)
    nets = generator.E4SNet(TINY_GENERATOR).eval(), parser.BiSeNet(12, 4).eval()
    torch.manual_seed(0)
    buffer = pairs.PairBuffer(pictures, *nets, capacity=8, batch=4)
    for expected in (4, 8, 8):
        buffer.refill()
        assert len(buffer) == expected
    bare = pairs.PairBuffer(pictures, *nets, capacity=4, batch=4, unoccluded_only=True)
    bare.refill()
    batch = bare.draw(6)
    assert not batch.occluder.any()
    assert batch.raw.shape == batch.reference.shape == (6, 3, SIZE, SIZE)


def test_adversarial_losses_move_their_own_side_only() -> None:
    torch.manual_seed(0)
    judge, clean = critic.Critic(), torch.rand(2, 3, 64, 64)
    drawn = torch.rand(2, 3, 64, 64, requires_grad=True)
    pixels = (drawn - clean).abs().mean()
    fool, tell = critic.adversarial(judge, drawn, clean, pixels)
    mine = torch.autograd.grad(fool, drawn, retain_graph=True)[0].norm()
    theirs = torch.autograd.grad(pixels, drawn, retain_graph=True)[0].norm()
    assert float(mine / theirs) == pytest.approx(critic.SHARE, rel=1e-4)
    fool.backward(retain_graph=True)
    assert all(p.grad is None for p in judge.parameters())
    drawn.grad = None
    tell.backward()
    assert drawn.grad is None
    assert all(w.grad.abs().max() > 0 for w in judge.weights)
