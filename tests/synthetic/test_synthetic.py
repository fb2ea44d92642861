"""Synthetic faces: determinism, truth, registries, the written folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from s3pot.labels import CLASSES, NUM_CLASSES, region_of
from s3pot.types import S3potError
from s3pot_synthetic import FaceSample, __main__, draw_face
from s3pot_synthetic.__main__ import main
from s3pot_synthetic.canvas import Frame, ellipse, ribbon, spline
from s3pot_synthetic.face import draw_clean
from s3pot_synthetic.head import draw_head
from s3pot_synthetic.layers import SOLID, Layer, compose, coverage
from s3pot_synthetic.occluders import BENCH_KINDS, TRAIN_KINDS, draw_kind, draw_occluder
from s3pot_synthetic.processes import draw_each
from s3pot_synthetic.sample import difficulty
from s3pot_synthetic.textures import BENCH_TEXTURES, TRAIN_TEXTURES
from tools import contact_sheet

SIZE = 64
COUNT = 40
SEED_OF_EARLY_BARE_FACE = 63  # only to keep the search below short


@pytest.fixture(scope="module", params=["train", "bench"])
def samples(request: pytest.FixtureRequest) -> list[FaceSample]:
    return [draw_face(i, SIZE, request.param, seed=11) for i in range(COUNT)]


def as_bytes(sample: FaceSample) -> bytes:
    arrays = (sample.raw, sample.clean, sample.labels, sample.occluder, sample.occlusion)
    return b"".join(a.tobytes() for a in arrays) + repr(sample.meta).encode()


@pytest.mark.slow
def test_shapes_and_types(samples: list[FaceSample]) -> None:
    for sample in samples:
        assert sample.raw.shape == sample.clean.shape == (SIZE, SIZE, 3)
        assert sample.raw.dtype == sample.clean.dtype == sample.labels.dtype == np.uint8
        assert sample.labels.shape == sample.occluder.shape == sample.occlusion.shape
        assert sample.occluder.dtype == sample.occlusion.dtype == np.bool_
        assert sample.labels.max() < NUM_CLASSES
        json.dumps(sample.meta)


@pytest.mark.slow
def test_occlusion_is_the_occluder_on_the_region(samples: list[FaceSample]) -> None:
    for sample in samples:
        expected = sample.occluder & region_of(sample.labels)
        np.testing.assert_array_equal(sample.occlusion, expected)
        share = expected.sum() / region_of(sample.labels).sum()
        assert sample.meta["occluded_share"] == pytest.approx(share, abs=1e-4)


def test_occluded_shares(samples: list[FaceSample]) -> None:
    shares = np.array([s.meta["occluded_share"] for s in samples])
    assert ((shares >= 0.05) & (shares <= 0.6)).mean() > 0.8
    assert (shares == 0).mean() < 0.2


def test_every_grade_occurs(samples: list[FaceSample]) -> None:
    assert {s.meta["difficulty"] for s in samples} == {"easy", "medium", "hard"}


def test_every_class_occurs_and_the_face_is_whole(samples: list[FaceSample]) -> None:
    seen = set(np.unique(np.stack([s.labels for s in samples])))
    assert seen == set(range(NUM_CLASSES))
    for sample in samples:
        for name in ("skin", "nose", "lip"):
            assert (sample.labels == CLASSES.index(name)).any(), (sample.meta, name)


def test_raw_differs_where_it_is_occluded(samples: list[FaceSample]) -> None:
    """The image changes far more under the occluder than outside it."""
    inside, outside = [], []
    for sample in samples:
        change = np.abs(sample.raw.astype(int) - sample.clean).mean(2)
        core = cv2.erode(sample.occluder.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        if core.any():
            inside.append(change[core].mean())
        far = cv2.dilate(sample.occluder.astype(np.uint8), np.ones((15, 15), np.uint8)) == 0
        outside.append(change[far].mean())
    assert np.mean(inside) > 5 * np.mean(outside)


def test_without_occluder_only_the_noise_differs() -> None:
    for index in range(400):
        sample = draw_face(index, 32, seed=SEED_OF_EARLY_BARE_FACE)
        if sample.meta["kinds"] == []:
            break
    else:
        pytest.fail("no sample without occluder in 400")
    assert not sample.occluder.any()
    assert np.abs(sample.raw.astype(int) - sample.clean).mean() < 12


@pytest.mark.slow
def test_same_arguments_same_bytes_in_another_process() -> None:
    code = (
        "import hashlib; from s3pot_synthetic import draw_face\n"
        "s = draw_face(7, 80, 'bench', seed=5)\n"
        "a = (s.raw, s.clean, s.labels, s.occluder, s.occlusion)\n"
        "import sys; sys.stdout.buffer.write(b''.join(x.tobytes() for x in a)"
        " + repr(s.meta).encode())"
    )
    root = Path(__file__).resolve().parents[2]
    other = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, check=True)
    draw_face(3, 80)  # earlier drawings must not matter
    assert as_bytes(draw_face(7, 80, "bench", seed=5)) == other.stdout


def test_thread_count_does_not_matter() -> None:
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        one = as_bytes(draw_face(2, 128))
        cv2.setNumThreads(4)
        assert as_bytes(draw_face(2, 128)) == one
    finally:
        cv2.setNumThreads(before)


def test_every_argument_counts() -> None:
    base = draw_face(1, SIZE, seed=1)
    others = [draw_face(2, SIZE, seed=1), draw_face(1, SIZE, seed=2)]
    others.append(draw_face(1, SIZE, "bench", seed=1))
    for other in others:
        assert not np.array_equal(base.clean, other.clean)


@pytest.mark.slow
def test_the_scene_is_the_same_at_every_size() -> None:
    same_kinds = 0  # an occluder is redrawn depending on the share it hides, so rounding can matter
    for index in range(6):
        small, large = draw_face(index, 64), draw_face(index, 256)
        for key in ("pose", "skin_tone", "hair"):
            assert small.meta[key] == large.meta[key]
        same_kinds += small.meta["kinds"] == large.meta["kinds"]
        reduced = cv2.resize(large.labels, (64, 64), interpolation=cv2.INTER_NEAREST)
        assert (reduced == small.labels).mean() > 0.9
    assert same_kinds >= 4


@pytest.mark.parametrize("size", [32, 33, 100, 300])
def test_odd_sizes(size: int) -> None:
    assert draw_face(0, size, "bench").raw.shape == (size, size, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 256, "test"), "expected one of train, bench"),
        ((0, 8, "train"), "at least 32"),
        ((-1, 64, "train"), "from 0"),
    ],
)
def test_bad_arguments(arguments: tuple[int, int, str], message: str) -> None:
    with pytest.raises(S3potError, match=message):
        draw_face(*arguments)


def test_held_out_registries_are_disjoint() -> None:
    assert not set(TRAIN_KINDS) & set(BENCH_KINDS)
    assert not {p for p, _ in TRAIN_KINDS.values()} & {p for p, _ in BENCH_KINDS.values()}
    assert len(BENCH_KINDS) >= 3
    assert not set(TRAIN_TEXTURES) & set(BENCH_TEXTURES)
    assert not set(TRAIN_TEXTURES.values()) & set(BENCH_TEXTURES.values())
    assert len(BENCH_TEXTURES) >= 3


@pytest.mark.slow
def test_train_never_draws_held_out_things(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("a held-out texture or kind was drawn")

    for name in BENCH_TEXTURES:
        monkeypatch.setitem(BENCH_TEXTURES, name, fail)
    kinds: set[str] = set()
    for index in range(30):
        kinds.update(draw_face(index, 32, "train", seed=9).meta["kinds"])
    assert kinds <= set(TRAIN_KINDS)
    with pytest.raises(AssertionError, match="held-out"):
        for index in range(20):
            draw_face(index, 32, "bench", seed=9)


def test_bench_draws_its_own_kinds_about_half_the_time() -> None:
    rng = np.random.default_rng(0)
    kinds = [draw_kind(rng, "bench") for _ in range(600)]
    assert set(kinds) == {*TRAIN_KINDS, *BENCH_KINDS}
    assert 0.42 < np.mean([kind in BENCH_KINDS for kind in kinds]) < 0.58
    assert {draw_kind(rng, "train") for _ in range(600)} == set(TRAIN_KINDS)


@pytest.mark.parametrize("kind", sorted({**TRAIN_KINDS, **BENCH_KINDS}))
def test_thin_layers_lie_on_solid_ones(kind: str) -> None:
    """Painted pixels that do not count as occluder must not reach far beyond it."""
    face = draw_clean(np.random.default_rng(3), 128, "bench")
    for seed in range(6):
        layers = draw_occluder(np.random.default_rng(seed), face, "bench", kind)
        solid = coverage(layers)
        assert solid.any()
        reach = cv2.dilate((solid > 10).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        for layer in layers:
            assert 0 < layer.alpha <= 1
            if layer.alpha < SOLID:
                assert not ((layer.mask > 127) & ~reach).any()


def test_cast_shadow_is_not_part_of_the_mask() -> None:
    face = draw_clean(np.random.default_rng(1), 128, "train")
    mask = face.head.frame.fill(ellipse((128, 128), (20, 20)))
    layers = [Layer(mask, (1.0, 0.0, 0.0))]
    changed = np.zeros(mask.shape, bool)
    for seed in range(4):
        image = compose(np.random.default_rng(seed), face, layers)
        changed |= np.abs(image - face.image).max(2) > 0.01
        assert (image[mask == 255, 1:] == 0).all()
    assert (changed & (coverage(layers) == 0)).any()


def test_difficulty_follows_its_definition() -> None:
    skin = CLASSES.index("skin")
    labels = np.full((256, 256), skin, np.uint8)
    clean = np.full((256, 256, 3), 150, np.uint8)
    block, line = np.zeros((256, 256), bool), np.zeros((256, 256), bool)
    block[50:150, 50:150] = True
    line[:, 100:104] = True

    def grade(where: np.ndarray, value: int, alpha: float) -> str:
        raw = clean.copy()
        raw[where] = value
        layer = Layer(where.astype(np.uint8) * 255, (0, 0, 0), 0.0, alpha)
        return str(difficulty(clean, raw, labels, where, [layer])["difficulty"])

    assert grade(block, 0, 1.0) == "easy"
    assert grade(block, 0, 0.7) == "medium"
    assert grade(block, 128, 1.0) == "medium"
    assert grade(block, 148, 1.0) == "hard"
    assert grade(line, 0, 1.0) == "medium"
    assert grade(line, 0, 0.7) == "hard"
    nothing = difficulty(clean, clean, labels, block & line & ~block, [])
    assert nothing["difficulty"] == "easy"


def test_heads_are_asymmetric_and_only_by_their_asymmetry() -> None:
    sides = np.array([(-0.4, -0.15), (0.4, -0.15), (-0.3, 0.5), (0.3, 0.5), (0, -1), (0, 1)])
    spreads = []
    for seed in range(20):
        drawn = draw_head(np.random.default_rng(seed), Frame(SIZE))
        head = replace(drawn, roll=0.0, yaw=0.0, center=(0.0, 0.0))
        assert max(abs(u) for u in head.asymmetry) <= 0.07
        even = replace(head, asymmetry=(0.0,) * 5).turn(sides)
        np.testing.assert_allclose(even[[0, 2]] * (-1, 1), even[[1, 3]], atol=1e-9)
        uneven = head.turn(sides) - even
        assert np.abs(uneven).max() < 0.25 * head.half[1]
        spreads.append(np.abs(uneven).max() / head.half[1])
    assert np.median(spreads) > 0.01
    lower = replace(head, asymmetry=(0.0, 0.0, 0.0, 0.0, 0.05)).turn(sides[:2])
    assert lower[1, 1] - lower[0, 1] == pytest.approx(2 * 0.05 * 0.4 * head.half[1])


def test_drawing_primitives() -> None:
    frame = Frame(256)
    disc = frame.fill(ellipse((100.0, 60.0), (30.0, 20.0), count=200)) > 127
    area, edge = np.pi * 30 * 20, 158.7  # OpenCV fills half a pixel beyond the outline
    assert area - 10 < disc.sum() < area + 0.75 * edge
    y, x = np.nonzero(disc)
    assert (x.mean(), y.mean()) == pytest.approx((100, 60), abs=0.6)
    small = Frame(64).fill(ellipse((100.0, 60.0), (30.0, 20.0), count=200)) > 127
    assert area - 60 < small.sum() * 16 < area + 0.75 * edge * 4
    square = np.array([(0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (0.0, 10.0)])
    np.testing.assert_allclose(spline(square, 4)[::4], square)
    np.testing.assert_allclose(spline(square, 4, closed=False)[[0, -1]], square[[0, -1]])
    band = ribbon(np.array([(0.0, 0.0), (10.0, 0.0)]), [4.0, 4.0])
    np.testing.assert_allclose(np.abs(band[:, 1]), 2.0)
    line = frame.soften(frame.stroke(np.array([(20.0, 50.0), (90.0, 50.0)]), 4), 2)
    full = cv2.GaussianBlur(frame.stroke(np.array([(20.0, 50.0), (90.0, 50.0)]), 4), (0, 0), 2)
    assert np.abs(line.astype(int) - full).max() <= 2


def folder_bytes(folder: Path) -> dict[str, bytes]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def test_command_writes_the_folder(tmp_path: Path) -> None:
    out = tmp_path / "set"
    command = ["--out", str(out), "--count", "3", "--seed", "4", "--size", "64"]
    assert main(command) == 0
    written = folder_bytes(out)
    assert len(written) == 3 * 5 + 1
    sample = draw_face(1, 64, seed=4)
    raw = cv2.imread(str(out / "raw_images" / "train_4_000001.png"))[..., ::-1]
    np.testing.assert_array_equal(raw, sample.raw)
    truth = out / "truth"
    labels = np.load(truth / "train_4_000001_labels.npy")
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, sample.labels)
    for name, expected in (("occlusion", sample.occlusion), ("occluder", sample.occluder)):
        mask = cv2.imread(str(truth / f"train_4_000001_{name}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(mask, expected.astype(np.uint8) * 255)
    lines = [json.loads(line) for line in (out / "meta.jsonl").read_text().splitlines()]
    assert [line["index"] for line in lines] == [0, 1, 2]
    assert {"seed", "kinds", "difficulty", "skin_tone", "pose"} <= set(lines[0])


@pytest.mark.slow
def test_command_goes_on_where_it_stopped(tmp_path: Path) -> None:
    out = tmp_path / "set"
    command = ["--out", str(out), "--count", "4", "--size", "64"]
    assert main(command) == 0
    whole = folder_bytes(out)
    (out / "truth" / "train_0_000002_clean.png").unlink()
    meta = out / "meta.jsonl"
    meta.write_bytes(meta.read_bytes()[:-30])  # a line cut off by a kill: sample 3
    kept = out / "raw_images" / "train_0_000000.png"
    stamp = kept.stat().st_mtime_ns
    assert main(command) == 0
    assert kept.stat().st_mtime_ns == stamp
    assert folder_bytes(out) == whole


@pytest.mark.slow
def test_workers_write_the_same_bytes(tmp_path: Path) -> None:
    for name, workers in (("one", "1"), ("two", "2")):
        arguments = ["--count", "5", "--size", "48", "--split", "bench", "--workers", workers]
        assert main(["--out", str(tmp_path / name), *arguments]) == 0
    assert folder_bytes(tmp_path / "one") == folder_bytes(tmp_path / "two")


def test_the_progress_bar_is_for_terminals_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--out", str(tmp_path / "set"), "--count", "1", "--size", "32"]) == 0
    assert "face/s" not in capsys.readouterr().err


def test_sigterm_ends_drawing_as_ctrl_c_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def write_folder(*arguments: object) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
        return 0

    monkeypatch.setattr(__main__, "write_folder", write_folder)
    assert main(["--out", str(tmp_path), "--count", "1"]) == 130
    assert "interrupted; run the same command again to resume" in caplog.text


@pytest.mark.slow
def test_ctrl_c_is_left_to_the_process_that_started_the_others() -> None:
    before = signal.getsignal(signal.SIGINT)
    handlers = list(draw_each(signal.getsignal, [signal.SIGINT, signal.SIGINT], workers=2))
    assert handlers == [signal.SIG_IGN, signal.SIG_IGN]
    assert signal.getsignal(signal.SIGINT) is before


def test_command_refuses_with_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    assert main(["--out", str(tmp_path / "file"), "--count", "1", "--size", "64"]) == 2
    assert "choose another --out" in caplog.text
    assert main(["--output_dir", str(tmp_path / "new"), "--count", "0"]) == 2
    assert main(["--out", str(tmp_path / "new"), "--count", "1", "--size", "5"]) == 2
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_contact_sheet_tool(tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    assert (
        contact_sheet.main(["--out", str(out), "--count", "3", "--size", "32", "--columns", "2"])
        == 0
    )
    picture = cv2.imread(str(out))[..., ::-1]
    assert picture.shape == (64, 2 * 4 * 32, 3)
    np.testing.assert_array_equal(picture[:32, :32], draw_face(0, 32).raw)
    assert not picture[32:, 128:].any()
