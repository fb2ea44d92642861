"""The benchmark at official sizes: filled weights, the registry, what it runs, what it reports."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from s3pot.rg.inverter import load_e4s
from s3pot.rg.nets.e4s import E4SNet, E4SSize
from s3pot.weights.hashing import HashMismatch
from s3pot.weights.load import load_strict
from s3pot.weights.locate import locate
from s3pot.weights.registry import weight_files

ROOT = Path(__file__).resolve().parents[2]
TINY = E4SSize(
    style_dim=8,
    channels=(8, 8, 8),
    masked_codes=4,
    encoder_widths=(8, 8, 8, 8, 8),
    encoder_units=(1, 1, 1, 1),
    mlp_hidden=8,
    mapping_layers=0,
)


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    path = ROOT / "benchmarks" / "official_sizes.py"
    spec = importlib.util.spec_from_file_location("official_sizes_benchmark", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # its dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_lie_in_official_containers(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    monkeypatch.setattr(
        program, "NETS", {"bisenet": lambda: nn.Linear(3, 2), "e4s": lambda: E4SNet(TINY)}
    )
    recipe = program.load_recipe(program.RECIPE)
    program.write_weights(tmp_path / "weights", program.RECIPE, 1, prefix)
    plain = torch.load(tmp_path / "weights" / weight_files()["bisenet"].file, weights_only=True)
    linear = nn.Linear(3, 2)
    load_strict(linear, plain, "bisenet")
    assert torch.equal(linear.weight, torch.from_numpy(recipe.fill_tensor("weight", (2, 3), 1)))
    content = torch.load(tmp_path / "weights" / weight_files()["e4s"].file, weights_only=True)
    assert all(key.startswith(prefix) for key in content["state_dict"])
    assert content["latent_avg"].shape == (18, 512)
    net, key = E4SNet(TINY), "encoder.input_layer.0.weight"
    content["latent_avg"] = net.latent_avg + 1
    load_e4s(net, content, "e4s")
    want = recipe.fill_tensor(key, net.state_dict()[key].shape, 1)
    assert torch.equal(net.state_dict()[key], torch.from_numpy(want))


def test_registry_lets_filled_files_in_only_meanwhile(program: ModuleType, tmp_path: Path) -> None:
    before = dict(weight_files())
    path = tmp_path / weight_files()["bisenet"].file
    with path.open("wb") as file:
        file.truncate(weight_files()["bisenet"].size or 0)
    with pytest.raises(RuntimeError, match="end"), program.filled_files_allowed():
        assert locate("bisenet", tmp_path) == path
        assert weight_files()["yunet"] == before["yunet"] and weight_files()["yunet"].sha256
        raise RuntimeError("end")
    assert before == weight_files()
    with pytest.raises(HashMismatch):
        locate("bisenet", tmp_path)


def test_stage_is_the_command_itself(
    program: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    faces = ["--datapath", str(tmp_path / "none")]
    assert program.main(["--stage", "inference", *faces]) == 2
    assert "there is no folder" in caplog.text


def test_stages_are_understood_by_their_commands(program: ModuleType, tmp_path: Path) -> None:
    found = program.stages(tmp_path)
    names = ["generate_reference", "train_general", "train_per_image", "inference", "inference"]
    assert [stage.script for stage in found] == names
    for stage in found:
        command = program.command_of(stage, tmp_path / "weights")
        at = command.index("--stage")
        assert command[at + 1] == stage.script
        parsed = importlib.import_module(stage.script).build_parser().parse_args(command[at + 2 :])
        assert parsed.output_dir == stage.folder
        assert Path(parsed.config).name == "paper.yaml"
        assert parsed.overrides[-2:] == ["model.sam=vit_b", f"model.weights_dir={tmp_path}/weights"]


def test_processes_are_measured(program: ModuleType) -> None:
    code = "import sys, time; block = b'x' * {}; time.sleep(0.3); sys.exit({})"
    size = 1 << 28
    idle, busy = (
        program.measure([sys.executable, "-c", code.format(*values)])
        for values in ((1, 0), (size, 3))
    )
    assert (idle.exit_code, busy.exit_code) == (0, 3)
    assert 0.3 <= idle.seconds < 30
    assert 1 << 20 < idle.peak_bytes < 1 << 36  # the system's unit is understood
    assert busy.peak_bytes >= size


def test_table_and_what_ends_it(
    program: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stages = program.stages(tmp_path)
    for stage in stages[:2]:
        stage.folder.mkdir()
        for name in stage.files:
            (stage.folder / name).write_text("x")
    (stages[1].folder / "best.pth").write_text("")
    cost = program.Cost(0, 1.25, 3 << 29)
    monkeypatch.setattr(program, "measure", lambda command: cost)
    assert program.run_all(tmp_path) == 1
    out, err = capsys.readouterr()
    assert "| generate_reference (processed_data) | 1.2 | 1.50 |" in out.splitlines()
    assert err.splitlines() == [
        "train_general (train_general) failed: exit code 0, missing: best.pth"
    ]


def test_old_results_are_not_measured(program: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "left").write_text("over")
    options = ["--photo", "a.jpg", "--detector", "b.onnx", "--work_dir", str(tmp_path)]
    with pytest.raises(SystemExit) as stop:
        program.main(options)
    assert stop.value.code == 2
