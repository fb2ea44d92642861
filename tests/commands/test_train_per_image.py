from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest
import torch

import inference
import train_per_image
from s3pot.build import build_adapter, build_segmenter
from s3pot.config import load_config
from s3pot.data.face_folder import find_faces
from s3pot.io import write_npy
from s3pot.losses import point_losses
from s3pot.pipeline import OcclusionSegmenter
from s3pot.runs import train_per_image as per_image
from s3pot.runs.prompt_store import PromptStore
from s3pot.sam.frozen import FrozenSam
from s3pot.training import trainer
from s3pot.training.history import MeanLosses
from s3pot.training.trainer import AdapterTrainer
from s3pot.types import S3potError
from tests.builders import prompts_of, read_csv

Make = Callable[..., Path]
CPU = torch.device("cpu")


def run(folder: Path, output: Path, options: list[str], *more: str) -> int:
    where = ["--datapath", str(folder), "--output_dir", str(output), "--epochs", "4"]
    return train_per_image.main([*where, *more, *options])


@pytest.mark.figures
@pytest.mark.slow
def test_one_face_by_its_files(
    processed_folder: Make, mini_options: list[str], tmp_path: Path
) -> None:
    folder, output = processed_folder(1), tmp_path / "out"
    files = ["--target_img", "face_00.png", "--ref_img", "face_00_ref.png"]
    files += ["--parsing_mask", "face_00_parsing_mask.npy"]
    given = [word if word.startswith("--") else str(folder / word) for word in files]
    code = train_per_image.main(
        [*given, "--epochs", "3", "--output_dir", str(output), *mini_options]
    )
    assert code == 0
    names = {path.name for path in output.iterdir()}
    wanted = {"adapter.pth", "history.csv", "history.jsonl", "loss_curve.png", "occlusion.png"}
    wanted |= {"face.png", "parsing.npy", "overlay.png", "attention.png", "points.png"}
    assert {f"face_00_{end}" for end in wanted} <= names
    assert {"summary.csv", "summary.json", "index.html", "config.yaml"} <= names
    content = torch.load(output / "face_00_adapter.pth", weights_only=True)
    assert content["kind"] == "s3pot-adapter"
    rows = read_csv(output / "face_00_history.csv")
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    (row,) = json.loads((output / "summary.json").read_text())
    assert row["sha256_adapter"]


@pytest.mark.figures
@pytest.mark.slow
def test_same_bytes_on_one_core_and_on_two(
    processed_folder: Make, mini_options: list[str], tmp_path: Path, two_threads: None
) -> None:
    folder, output = processed_folder(3), tmp_path / "out"
    written = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        assert run(folder, output, mini_options) == 0
        paths = [path for path in output.iterdir() if path.suffix in (".pth", ".png", ".npy")]
        written.append({path.name: path.read_bytes() for path in paths})
    assert written[0] == written[1]
    assert sum(name.endswith("_adapter.pth") for name in written[0]) == 3


@pytest.mark.slow
def test_a_face_does_not_depend_on_those_before_it(
    processed_folder: Make, mini_options: list[str], tmp_path: Path
) -> None:
    folder = processed_folder(2)
    assert run(folder, tmp_path / "both", mini_options) == 0
    for path in folder.glob("face_00*"):
        path.unlink()
    assert run(folder, tmp_path / "one", mini_options) == 0
    for name in ("face_01_adapter.pth", "face_01_history.csv", "face_01_occlusion.png"):
        both, one = ((tmp_path / f / name).read_bytes() for f in ("both", "one"))
        assert both == one


@pytest.mark.slow
def test_resume_keeps_what_is_finished(
    processed_folder: Make, mini_options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, output = processed_folder(3), tmp_path / "out"
    plain, fitted = per_image.fit_adapter, []

    def interrupted(segmenter: Any, prompts: Any, *rest: Any) -> Any:
        if len(fitted) == 2:
            raise KeyboardInterrupt
        fitted.append(prompts.name)
        return plain(segmenter, prompts, *rest)

    monkeypatch.setattr(per_image, "fit_adapter", interrupted)
    assert run(folder, output, mini_options) == 130
    assert len(json.loads((output / "summary.json").read_text())) == 2
    fitted.clear()
    assert run(folder, output, mini_options) == 0
    assert fitted == ["face_02"]
    assert len(json.loads((output / "summary.json").read_text())) == 3
    fitted.clear()
    assert run(folder, output, [*mini_options, "train.lr=1e-2"]) == 130
    assert fitted == ["face_00", "face_01"]  # other settings: all are computed again


@pytest.mark.slow
def test_bad_and_empty_faces(
    processed_folder: Make,
    mini_options: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = processed_folder(3)
    write_npy(folder / "face_00_parsing_mask.npy", np.zeros((64, 64), np.uint8))
    (folder / "face_01_ref.png").unlink()
    assert run(folder, tmp_path / "out", mini_options) == 1
    text = capsys.readouterr().err
    assert "failed: face_01" in text
    assert "face_00: no prompt point" in text
    rows = json.loads((tmp_path / "out" / "summary.json").read_text())
    by_name = {row["name"]: row for row in rows}
    assert by_name["face_00"]["occluded"] == "no"
    assert by_name["face_01"]["failed"]["stage"] == "read"
    assert not (tmp_path / "out" / "face_00_adapter.pth").exists()


def test_nothing_could_be_done(
    processed_folder: Make, mini_options: list[str], tmp_path: Path
) -> None:
    folder = processed_folder(1)
    (folder / "face_00_ref.png").unlink()
    assert run(folder, tmp_path / "out", mini_options) == 2


@pytest.mark.parametrize(
    "given", [[], ["--target_img", "a.png"], ["--target_img", "a", "--datapath", "b"]]
)
def test_files_or_a_folder(
    given: list[str], mini_options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert train_per_image.main([*given, *mini_options]) == 2
    assert "--parsing_mask, or --datapath" in capsys.readouterr().err


@pytest.mark.slow
def test_before_and_after_beside_each_other(
    processed_folder: Make,
    mini_options: list[str],
    tmp_path: Path,
    mini_dir: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, output = processed_folder(2), tmp_path / "out"
    (folder / "face_01_occlusion.png").unlink()
    assert run(folder, output, mini_options, "--lr", "1e-2") == 0
    text = capsys.readouterr().err
    rows = read_csv(output / "adapters.csv")
    assert [(row["name"], row["adapter"]) for row in rows] == [
        (name, adapter)
        for name in ("face_00", "face_01")
        for adapter in ("fresh", "general", "fitted")
    ]
    fresh, _, fitted, *without_truth = rows
    losses = [float(row["total"]) for row in read_csv(output / "face_00_history.csv")]
    assert float(fresh["loss"]) == pytest.approx(losses[0], abs=1e-6)
    assert float(fitted["loss"]) <= min(losses)
    (summary, _) = json.loads((output / "summary.json").read_text())
    assert float(fitted["occluded_share"]) == summary["occluded_share"]
    assert float(fitted["occlusion_iou"]) == pytest.approx(summary["occlusion_iou"], rel=1e-5)
    assert all(row["occlusion_iou"] == "" for row in without_truth)
    for adapter in ("fresh", "general", "fitted"):
        assert f"| {adapter} | 2 | " in text
    assert f"face_00: fresh loss {losses[0]:.4f}" in text
    assert (output / "face_00_before.png").is_file()
    assert "face_00_before.png" in (output / "index.html").read_text(encoding="utf-8")
    record = json.loads((output / "face_00_result.json").read_text())
    assert {"face_00_before.png", "face_00_adapter.pth"} <= set(record["files"])
    assert [entry["adapter"] for entry in record["adapters"]] == ["fresh", "general", "fitted"]
    # Starting from the general adapter: the same three, and "before" is the general one.
    start = ["--init_checkpoint", str(mini_dir / "adapter.safetensors"), "--lr", "1e-30"]
    assert run(folder, tmp_path / "general", mini_options, *start) == 0
    again = read_csv(tmp_path / "general" / "adapters.csv")
    for column in ("loss", "occluded_share", "occlusion_iou"):  # nothing was learned
        assert float(again[1][column]) == pytest.approx(float(again[2][column]), abs=1e-6)


@pytest.mark.slow
def test_neither_inference_nor_fitting_replaces_results_of_the_other(
    processed_folder: Make,
    mini_options: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = processed_folder(1)
    fitted, inferred = tmp_path / "fitted", tmp_path / "inferred"

    def infer(output: Path) -> int:
        folders = ["--datapath", str(folder), "--output_dir", str(output)]
        return inference.main([*folders, *mini_options])

    assert run(folder, fitted, mini_options) == 0
    assert infer(inferred) == 0
    before = {path: path.read_bytes() for path in tmp_path.glob("*ed/*")}
    capsys.readouterr()
    assert infer(fitted) == 2
    assert "fitted holds results of train_per_image (config.yaml)" in capsys.readouterr().err
    assert run(folder, inferred, mini_options) == 2
    assert "holds results of inference (config.yaml)" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.glob("*ed/*")} == before


@pytest.mark.slow
def test_the_table_is_complete_after_a_resume(
    processed_folder: Make, mini_options: list[str], tmp_path: Path
) -> None:
    folder, output = processed_folder(2), tmp_path / "out"
    assert run(folder, output, mini_options) == 0
    before = (output / "adapters.csv").read_bytes()
    (output / "face_01_before.png").unlink()  # so it is computed again; the other one is kept
    assert run(folder, output, mini_options) == 0
    assert (output / "adapters.csv").read_bytes() == before
    assert (output / "face_01_before.png").is_file()


@pytest.mark.slow
def test_a_run_of_some_faces_leaves_the_others_in_summary_and_table(
    processed_folder: Make, mini_options: list[str], tmp_path: Path
) -> None:
    folder, output = processed_folder(2), tmp_path / "out"
    reference = (folder / "face_01_ref.png").read_bytes()
    (folder / "face_01_ref.png").unlink()
    assert run(folder, output, mini_options) == 1
    (folder / "face_01_ref.png").write_bytes(reference)
    assert run(folder, output, mini_options, "--retry_failed") == 0
    assert {row["name"] for row in read_csv(output / "adapters.csv")} == {"face_00", "face_01"}
    items = json.loads((output / "summary.json").read_text())
    assert [item["name"] for item in items if "failed" not in item] == ["face_00", "face_01"]


@pytest.mark.slow
def test_start_from_a_general_adapter(
    processed_folder: Make, mini_options: list[str], tmp_path: Path, mini_dir: Path
) -> None:
    folder = processed_folder(1)
    start = ["--init_checkpoint", str(mini_dir / "adapter.safetensors")]
    assert run(folder, tmp_path / "general", mini_options, *start) == 0
    assert run(folder, tmp_path / "fresh", mini_options) == 0
    first = []
    for name in ("general", "fresh"):
        first.append(read_csv(tmp_path / name / "face_00_history.csv")[0]["total"])
    assert first[0] != first[1]
    broken = ["--init_checkpoint", str(mini_dir / "parser.safetensors")]
    assert run(folder, tmp_path / "broken", mini_options, *broken) == 2


@pytest.fixture
def fit(processed_folder: Make, mini_options: list[str]) -> Callable[..., Any]:
    """Fit one face; returns the fit, adapter, prompts and SAM."""
    folder = processed_folder(1)

    def call(*more: str) -> Any:
        config = load_config(None, [*mini_options, "cache.mode=off", *more])
        segmenter = build_segmenter(config, CPU)
        prompts = PromptStore(segmenter, config, folder).get(find_faces(folder)[0])
        torch.manual_seed(0)
        adapter = build_adapter(segmenter.sam)
        fit = per_image.fit_adapter(segmenter, prompts, adapter, config)
        return fit, adapter, prompts, segmenter

    return call


@pytest.mark.parametrize(("epochs", "lr"), [(1, "1e-4"), (8, "1e-2")])
def test_the_loss_falls_and_its_lowest_weights_stay(
    fit: Callable[..., Any], epochs: int, lr: str
) -> None:
    fitted, adapter, prompts, segmenter = fit(f"per_image.epochs={epochs}", f"train.lr={lr}")
    losses = [record.losses.total for record in fitted.history]
    assert len(losses) == epochs
    assert fitted.loss < min(losses)  # the last step counts, too
    with torch.no_grad():
        logits = segmenter.predict_visible_face(adapter, prompts).logits_sam
        x, y = prompts.points_sam.long().unbind(dim=1)
        loss = point_losses(logits[y, x], prompts.point_labels).total
    assert float(loss) == pytest.approx(fitted.loss, abs=1e-5)


def test_weights_that_the_last_step_makes_worse_are_not_kept(fit: Callable[..., Any]) -> None:
    fitted, adapter, _, _ = fit("per_image.epochs=1", "train.lr=100")
    _, fresh, _, _ = fit("per_image.epochs=1", "train.lr=1e-30")
    assert fitted.loss == fitted.history[0].losses.total
    assert all(
        torch.equal(weight, fresh.state_dict()[name])
        for name, weight in adapter.state_dict().items()
    )


def test_a_last_step_without_a_finite_loss_is_not_kept(
    fit: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: AdapterTrainer, get: Any, count: int) -> MeanLosses:
        raise S3potError("the loss is not a finite number")

    monkeypatch.setattr(AdapterTrainer, "validate", failing)
    fitted, _, _, _ = fit("per_image.epochs=2", "train.lr=1e-3")
    assert fitted.loss == min(record.losses.total for record in fitted.history)


def test_a_small_image_is_fitted_to_the_same_bytes_on_one_core_and_on_two(
    tiny_sam: FrozenSam, two_threads: None
) -> None:
    config = load_config(None, ["per_image.epochs=3", "train.lr=1e-2"])
    weights = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        adapter = build_adapter(tiny_sam)
        prompts = prompts_of(seed=1, count=900)  # so many that an operation could be shared
        per_image.fit_adapter(OcclusionSegmenter(tiny_sam), prompts, adapter, config)
        weights.append(torch.cat([weight.flatten() for weight in adapter.parameters()]))
    assert torch.equal(weights[0], weights[1])


def test_a_large_image_is_fitted_with_all_cores(
    fit: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "SMALL_IMAGE", 32)  # the image has 64 pixels
    threads: list[int] = []
    losses_of = AdapterTrainer._losses

    def counting(self: AdapterTrainer, *arguments: Any) -> Any:
        threads.append(torch.get_num_threads())
        return losses_of(self, *arguments)

    monkeypatch.setattr(AdapterTrainer, "_losses", counting)
    torch.set_num_threads(6)
    try:
        fit("per_image.epochs=2", "train.batch_size=3")
    finally:
        torch.set_num_threads(1)
    assert threads == [6, 6, 6]  # two epochs, and the loss of the last weights


@pytest.mark.slow
def test_a_fit_depends_on_the_general_adapter_and_the_code(
    processed_folder: Make,
    mini_options: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, output = processed_folder(1), tmp_path / "out"
    assert run(folder, output, mini_options) == 0
    record = json.loads((output / "face_00_result.json").read_text())
    assert set(record["provenance"]["models"]) == {"sam", "general"}
    stamp = (output / "face_00_adapter.pth").stat().st_mtime_ns
    assert run(folder, output, mini_options) == 0
    assert (output / "face_00_adapter.pth").stat().st_mtime_ns == stamp
    monkeypatch.setattr(per_image, "code_sha256", lambda parts: "other code")
    assert run(folder, output, mini_options) == 0
    assert (output / "face_00_adapter.pth").stat().st_mtime_ns > stamp


@pytest.mark.parametrize(
    ("losses", "patience", "epochs"),
    [
        ([1.0, 0.9, 0.9, 0.9, 0.9], 3, 5),
        ([1.0, 1.0, 1.0, 1.0], 2, 3),
        ([1.0, 0.9, 0.95, 0.8, 0.8, 0.8], 2, 6),
        ([1.0 - 0.00004 * i for i in range(20)], 3, None),
    ],
)
def test_early_stop(
    fit: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    losses: list[float],
    patience: int,
    epochs: int | None,
) -> None:
    left = iter(losses)

    def planned(self: AdapterTrainer, get: Any, order: Any) -> MeanLosses:
        return MeanLosses(face=0.0, occlusion=0.0, hinge=0.0, total=next(left))

    monkeypatch.setattr(AdapterTrainer, "train_epoch", planned)
    count = len(losses)
    fitted = fit(f"per_image.patience={patience}", f"per_image.epochs={count}")[0]
    # Small steady gains below min_delta add up: they count from the last mark, not the last step.
    assert len(fitted.history) == (count if epochs is None else epochs)


@pytest.mark.slow
def test_a_record_names_all_files_of_its_face(
    processed_folder: Make, mini_options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, output = processed_folder(2), tmp_path / "out"
    assert run(folder, output, mini_options) == 0
    record = json.loads((output / "face_00_result.json").read_text())
    files = {path.name for path in output.glob("face_00_*")} - {"face_00_result.json"}
    assert set(record["files"]) == files
    plain, fitted = per_image.fit_adapter, []

    def counted(segmenter: Any, prompts: Any, *rest: Any) -> Any:
        fitted.append(prompts.name)
        return plain(segmenter, prompts, *rest)

    monkeypatch.setattr(per_image, "fit_adapter", counted)
    assert run(folder, output, mini_options) == 0
    assert run(folder, output, mini_options, "--resume") == 0  # as scripts of earlier versions do
    assert fitted == []
    assert run(folder, output, mini_options, "--overwrite") == 0
    assert fitted == ["face_00", "face_01"]
    for ending in ("adapter.pth", "history.csv", "history.jsonl", "loss_curve.png"):
        fitted.clear()
        (output / f"face_00_{ending}").unlink()
        assert run(folder, output, mini_options) == 0
        assert fitted == ["face_00"]
        assert (output / f"face_00_{ending}").is_file()
