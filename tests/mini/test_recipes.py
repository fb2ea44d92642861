"""The recipes of the mini models run, go on where they stopped, and export files that load."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from s3pot.build import build_inverter, build_parser, build_sam
from s3pot.config import load_config
from s3pot.labels import REGION_CLASSES
from s3pot.rg.nets.e4s import E4SSize
from s3pot.sam.mini import MiniSamSize
from s3pot.weights.load import read_mini
from s3pot_synthetic import draw_face

CPU = torch.device("cpu")
SHARD, SIZE = 10, 64
GENERATOR = E4SSize(
    style_dim=16,
    channels=(16, 16, 16, 8, 8),
    masked_codes=10,
    encoder_input=64,
    encoder_widths=(8, 8, 8, 8, 8),
    encoder_units=(1, 1, 1, 1),
    mlp_hidden=16,
    mapping_layers=0,
)
SAM = MiniSamSize(
    image=SIZE, patch=8, widths=(8, 16, 16), depths=(1, 1, 1), tokens=32, decoder_mlp=32
)


@pytest.fixture(scope="module")
def tools() -> Iterator[SimpleNamespace]:
    """``train_mini`` and the modules of its recipes, all sizes small."""
    with pytest.MonkeyPatch.context() as patch:
        names = ("loop", "pool", "parser", "generator", "sam", "adapter")
        names += ("prompts", "mixing", "critic")
        modules = {name: importlib.import_module(f"s3pot_mini.{name}") for name in names}
        schedule = modules["loop"].Schedule(steps=2, batch=2, lr=1e-3)
        small: dict[str, dict[str, Any]] = {
            "pool": {"SHARD": SHARD, "SIZE": SIZE},
            "parser": {"INPUT": SIZE, "WIDTH": 4, "SCHEDULE": schedule},
            "generator": {"SHARD": SHARD, "SIZE": GENERATOR, "IMAGE": SIZE, "SCHEDULE": schedule},
            "sam": {"SIZE": SAM, "CLEAN_STEPS": 1, "MIXED_STEPS": 1, "SCHEDULE": schedule},
            "mixing": {"SHIFT": 10},
            "adapter": {"FACES": 3, "EPOCHS": 1},
        }
        for name, values in small.items():
            for key, value in values.items():
                patch.setattr(modules[name], key, value)
        yield SimpleNamespace(main=importlib.import_module("s3pot_mini.__main__").main, **modules)


@pytest.fixture(scope="module")
def trained(tools: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where every stage has run: ``work`` and ``weights`` in it."""
    folder = tmp_path_factory.mktemp("mini")
    common = ["--work_dir", str(folder / "work"), "--target_dir", str(folder / "weights")]
    common += ["--device", "cpu", "--faces", "20", "--pair_faces", "20", "--workers", "1"]
    assert tools.main(["all", *common]) == 0
    return folder


def rows_of(folder: Path, name: str) -> list[dict[str, float]]:
    lines = (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


class Stop(Exception):
    """A kill in the midst of training."""


def fit_toy(
    loop: Any, folder: Path, stop_at: int | None = None, seed: int = 321
) -> dict[str, torch.Tensor]:
    """Train a toy with random data and dropout to step 7; returns its weights."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))

    def losses(rng: np.random.Generator, step: int) -> dict[str, torch.Tensor]:
        if step == stop_at:
            raise Stop
        x = torch.from_numpy(rng.normal(size=(16, 4)).astype(np.float32))
        return {"total": (model(x).float() - x.sum(1, keepdim=True)).square().mean()}

    schedule = loop.Schedule(steps=7, batch=16, lr=0.1, seed=seed)
    loop.fit("toy", model, losses, schedule, folder, CPU, lambda step: {"at": step})
    return model.state_dict()


def test_training_resumed_equals_training_never_stopped(
    tools: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools.loop, "SAVE_EVERY", 2)
    monkeypatch.setattr(tools.loop, "LOG_EVERY", 1)
    folders = [tmp_path / name for name in ("whole", "stopped", "other")]
    for folder in folders:
        folder.mkdir()
    whole = fit_toy(tools.loop, folders[0])
    with pytest.raises(Stop):
        fit_toy(tools.loop, folders[1], stop_at=5)
    assert torch.load(folders[1] / "toy_last.pt", weights_only=True)["step"] == 4
    resumed = fit_toy(tools.loop, folders[1])
    other = fit_toy(tools.loop, folders[2], seed=1)
    assert all(whole[k].equal(resumed[k]) for k in whole)
    assert not any(whole[k].equal(other[k]) for k in whole)
    again = fit_toy(tools.loop, folders[1], stop_at=0)  # done: no step is taken
    assert all(whole[k].equal(again[k]) for k in whole)
    assert rows_of(folders[0], "toy")[-1]["at"] == 6
    names = {"toy_last.pt", "toy.jsonl", "toy.png"}
    assert {path.name for path in folders[1].iterdir()} == names


def test_the_rate_rises_holds_and_falls(tools: SimpleNamespace) -> None:
    schedule = tools.loop.Schedule(steps=1000, batch=1, lr=1.0, decay=0.4)
    assert schedule.rate(0) == 0.01
    assert schedule.rate(99) == schedule.rate(600) == 1.0
    assert schedule.rate(800) == pytest.approx(0.5)
    assert 0 < schedule.rate(999) < 0.01
    restarts = ((1000, 1.0), (2000, 0.5))
    thrice = tools.loop.Schedule(steps=3000, batch=1, lr=1.0, decay=0.4 / 3, restarts=restarts)
    once = [schedule.rate(step) for step in range(1000)]
    want = once + once + [rate / 2 for rate in once]
    assert [thrice.rate(step) for step in range(3000)] == pytest.approx(want)
    assert thrice.until(1500).restarts == restarts[:1]


def test_pool_holds_the_drawn_faces(tools: SimpleNamespace, trained: Path) -> None:
    pool = tools.pool.Pool(trained / "work")
    assert (pool.total, pool.held_back) == (20, 10)
    batch = pool.take(np.array([3, 17]), CPU)
    for row, index in enumerate((3, 17)):
        face = draw_face(index, size=SIZE)
        for got, want in ((batch.raw, face.raw), (batch.clean, face.clean)):
            assert np.array_equal((got[row] * 255).round().permute(1, 2, 0).numpy(), want)
        assert np.array_equal(batch.labels[row].numpy(), face.labels)
        assert np.array_equal(batch.occluder[row].numpy(), face.occluder)
    assert batch.region.equal(torch.isin(batch.labels, torch.tensor(REGION_CLASSES)))


def test_pool_mirrors_all_planes_of_a_face(tools: SimpleNamespace, trained: Path) -> None:
    pool = tools.pool.Pool(trained / "work", pairs=True)
    plain = pool.take(np.array([4, 4]), CPU)
    mixed = pool.take(np.array([4, 4]), CPU, np.array([True, False]))
    for name, value in vars(plain).items():
        assert getattr(mixed, name)[0].equal(value[0].flip(-1)), name
        assert getattr(mixed, name)[1].equal(value[1]), name
    region = torch.isin(mixed.predicted, torch.tensor(REGION_CLASSES))
    assert mixed.region.equal(region)


def test_pool_draws_no_held_back_face(tools: SimpleNamespace, trained: Path) -> None:
    pool = tools.pool.Pool(trained / "work")
    seen = pool.draw(np.random.default_rng(0), 40, CPU).raw
    held = pool.take(np.arange(pool.held_back), CPU).raw
    both = torch.cat((held, held.flip(-1)))
    assert not (seen[:, None] == both).flatten(2).all(2).any()
    with pytest.raises(FileNotFoundError, match="run the step before"):
        tools.pool.Pool(trained)


def test_finished_shards_are_kept(tools: SimpleNamespace, trained: Path) -> None:
    shards = sorted((trained / "work").glob("*_00*.npy"))
    assert [p.name[:5] for p in shards] == ["faces", "faces", "pairs", "pairs"]
    before = [p.stat().st_mtime_ns for p in shards]
    common = ["--work_dir", str(trained / "work"), "--target_dir", str(trained / "weights")]
    for stage in ("pool", "pairs"):
        assert tools.main([stage, *common, "--device", "cpu", "--faces", "20"]) == 0
    assert [p.stat().st_mtime_ns for p in shards] == before


@pytest.mark.parametrize("name", ["parser", "generator", "sam", "adapter"])
def test_exports_are_half_precision_and_plain(trained: Path, name: str) -> None:
    weights = read_mini(name, trained / "weights")
    kinds = {v.dtype for v in weights["state_dict"].values() if v.is_floating_point()}
    assert kinds == {torch.float16}
    assert json.loads(json.dumps(weights["size"]))


@pytest.mark.parametrize("name", ["parser", "generator", "sam"])
def test_exports_are_what_was_trained_and_it_moved(
    trained: Path, tools: SimpleNamespace, name: str
) -> None:
    state = torch.load(trained / "work" / f"{name}_last.pt", weights_only=True)
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
    scores = {"parser": "region_iou", "generator": "psnr_hidden", "sam": "iou_ps"}
    assert scores[name] in row


def test_the_package_loads_and_runs_the_exports(trained: Path) -> None:
    options = ["model.set=mini", "model.sam=mini", f"model.weights_dir={trained / 'weights'}"]
    config = load_config(overrides=options)
    face = torch.from_numpy(draw_face(0, size=SIZE).raw).permute(2, 0, 1)[None] / 255
    labels = build_parser(config, CPU).parse(face)
    reference = build_inverter(config, CPU).invert(face, labels)
    sam = build_sam(config, CPU)
    tokens = sam.encode(torch.cat((face, reference)))
    assert tokens.shape == (2, 32, 8, 8)
    assert torch.isfinite(tokens).all()


def test_few_clicks_start_inside_their_target(tools: SimpleNamespace, trained: Path) -> None:
    batch = tools.pool.Pool(trained / "work").take(np.arange(10), CPU)
    for seed in range(20):
        prompts = tools.prompts.sparse_prompts(batch, np.random.default_rng(seed))
        x, y = prompts.points.long().unbind(-1)
        inside = torch.stack([t[b, a] for t, a, b in zip(prompts.target, x, y)])
        assert prompts.labels[:, 0].eq(1).all()
        assert inside.equal(prompts.labels.float())


def test_correction_points_lie_where_the_answer_is_wrong(
    tools: SimpleNamespace, trained: Path
) -> None:
    batch = tools.pool.Pool(trained / "work").take(np.arange(8), CPU)
    asked = tools.prompts.sparse_prompts(batch, np.random.default_rng(1))
    for answer in (-torch.ones(8, 1, 16, 16), torch.ones(8, 1, 16, 16)):  # nothing, everything
        more = tools.prompts.corrected(asked, answer, np.random.default_rng(2))
        assert more.points[:, :-1].equal(asked.points)
        wanted = int(answer[0, 0, 0, 0] < 0)
        for i in range(8):
            x, y = more.points[i, -1].long().tolist()
            assert int(more.labels[i, -1]) == wanted == int(asked.target[i, y, x])
    size = asked.target.shape[-1]
    right = (asked.target[:, None] - 0.5).reshape(8, 1, size, size)
    same = tools.prompts.corrected(asked, right, np.random.default_rng(3))
    assert same.points[:, -1].equal(asked.points[:, 0])


def test_mixing_hides_more_of_a_face_and_touches_nothing_else(
    tools: SimpleNamespace, trained: Path
) -> None:
    batch = tools.pool.Pool(trained / "work", pairs=True).take(np.arange(10), CPU)
    changed = 0
    for seed in range(10):
        mixed = tools.mixing.mixed(batch, np.random.default_rng(seed))
        again = tools.mixing.mixed(batch, np.random.default_rng(seed))
        assert mixed.raw.equal(again.raw)
        for name in ("clean", "labels", "reference", "predicted"):
            assert getattr(mixed, name) is getattr(batch, name)
        assert (mixed.occluder | batch.occluder).equal(mixed.occluder)
        laid = (mixed.raw != batch.raw).any(1)
        edge = nn.functional.max_pool2d(mixed.occluder[:, None].float(), 3, 1, 1)[:, 0] > 0
        assert not (laid & ~edge).any()
        new = (mixed.occluder & ~batch.occluder).flatten(1).any(1)
        changed += int(new.sum())
        assert 0 <= mixed.raw.min() and mixed.raw.max() <= 1
    share = tools.mixing.OCCLUDER_SHARE + tools.mixing.BLOB_SHARE
    assert 0.3 * share < changed / 100 <= 1.5 * share


@pytest.mark.parametrize("shift", [(0, 0), (7, -9), (-10, 10)])
def test_what_leaves_the_picture_does_not_come_back(
    tools: SimpleNamespace, shift: tuple[int, int]
) -> None:
    mask = torch.rand(24, 24, generator=torch.Generator().manual_seed(1)) < 0.3
    want = torch.zeros_like(mask)
    for y, x in mask.nonzero().tolist():
        if 0 <= y + shift[0] < 24 and 0 <= x + shift[1] < 24:
            want[y + shift[0], x + shift[1]] = True
    assert tools.mixing._moved(mask, list(shift)).equal(want)


def test_pair_loss_asks_for_what_the_matching_needs(tools: SimpleNamespace) -> None:
    """A column of tokens: two outside, two visible, two hidden; every pair orthogonal or equal."""
    side, axes = 6, torch.eye(8)
    region = torch.zeros(1, side, side, dtype=torch.bool)
    region[0, 2:] = True
    hidden = torch.zeros_like(region)
    hidden[0, 4:] = True

    def loss(outside: int, hidden_reference: int, hidden_raw: int = 2) -> float:
        rows = [outside, outside, 1, 1, hidden_raw, hidden_raw]
        raw = axes[rows].T[None, :, :, None].expand(1, 8, side, side)
        rows = [3, 3, 1, 1, hidden_reference, hidden_reference]
        ref = axes[rows].T[None, :, :, None].expand(1, 8, side, side)
        return float(tools.sam.pair_loss(raw, ref, region, hidden))

    good = loss(outside=4, hidden_reference=5)
    assert good == pytest.approx(0.1 + 0.5 * 0.1)  # right angles, where -0.1 and 0.1 are wanted
    assert loss(outside=1, hidden_reference=5) > good + tools.sam.RIVAL_MARGIN - 1e-6
    assert loss(outside=4, hidden_reference=1) > good + tools.sam.RIVAL_MARGIN - 1e-6
    assert loss(outside=4, hidden_reference=5, hidden_raw=5) > good + 0.9
    assert loss(outside=4, hidden_reference=5, hidden_raw=1) > good + 0.9
    nothing = torch.zeros_like(region)
    tokens = torch.randn(1, 8, side, side)
    for masks in ((~nothing, nothing), (~nothing, ~nothing), (region, ~nothing)):
        assert np.isfinite(float(tools.sam.pair_loss(tokens, tokens, *masks)))


def test_adversarial_losses_move_their_own_side_only(tools: SimpleNamespace) -> None:
    torch.manual_seed(0)
    critic, clean = tools.critic.Critic(), torch.rand(2, 3, 64, 64)
    drawn = torch.rand(2, 3, 64, 64, requires_grad=True)
    pixels = (drawn - clean).abs().mean()
    fool, tell = tools.critic.adversarial(critic, drawn, clean, pixels)
    mine = torch.autograd.grad(fool, drawn, retain_graph=True)[0].norm()
    theirs = torch.autograd.grad(pixels, drawn, retain_graph=True)[0].norm()
    assert float(mine / theirs) == pytest.approx(tools.critic.SHARE, rel=1e-4)
    fool.backward(retain_graph=True)
    assert all(p.grad is None for p in critic.parameters())
    drawn.grad = None
    tell.backward()
    assert drawn.grad is None
    assert all(w.grad.abs().max() > 0 for w in critic.weights)
