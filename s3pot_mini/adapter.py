"""Recipe of the bundled general adapters: the project's own commands, without occlusion labels.

There is one adapter for each of the two mini SAMs, trained on the same faces and references.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from s3pot.commands import generate_reference, train_general
from s3pot.weights.load import read_checkpoint
from s3pot_mini.loop import export
from s3pot_synthetic.__main__ import main as draw

FIRST_FACE = 1_000_000  # faces that no other recipe has seen
FACES = 150


@dataclass(frozen=True)
class AdapterSchedule:
    """The schedule of one adapter; docs/MINI_MODELS.md says how it was chosen."""

    sam: str  # ``model.sam`` of the config
    epochs: int
    rate: float


# By the name of the exported file.
SCHEDULES = {
    "adapter": AdapterSchedule("mini", epochs=3, rate=1e-4),
    "adapter_generic": AdapterSchedule("mini_generic", epochs=3, rate=1e-4),
}
CONFIG = Path(__file__).resolve().parents[1] / "configs" / "mini.yaml"


def train(folder: Path, target: Path, device: str) -> None:
    """Draw faces, generate references, train the general adapters, and export them.

    Args:
        folder: Work directory.
        target: Folder of the bundled weights; parser, generator and both SAMs are used.
        device: ``--device`` of the commands.

    Raises:
        RuntimeError: A command failed; its own message precedes this one.
    """
    drawn, processed = folder / "adapter_faces", folder / "adapter_pairs"
    mini = ["--config", str(CONFIG), "--device", device, f"model.weights_dir={target}"]
    mini.append("align.mode=never")  # drawn faces are framed as portraits
    paths = ["--input_dir", str(drawn / "raw_images"), "--output_dir", str(processed)]
    _check("drawing", draw(["--out", str(drawn), "--count", str(FACES), "--seed", str(FIRST_FACE)]))
    _check("generate_reference.py", generate_reference.main([*paths, *mini]))
    for name, schedule in SCHEDULES.items():
        run = folder / f"{name}_run"
        training = ["--datapath", str(processed), "--output_dir", str(run), "--resume"]
        training += ["--epochs", str(schedule.epochs), "--lr", str(schedule.rate)]
        chosen = [*mini, f"model.sam={schedule.sam}"]
        _check("train_general.py", train_general.main([*training, *chosen]))
        checkpoint = run / f"model_epoch_{schedule.epochs}.pth"
        state = read_checkpoint(checkpoint)["adapter"]
        export(name, {"width": len(state["norm.weight"]), "heads": 4}, state, target)


def _check(step: str, exit_code: int) -> None:
    if exit_code:
        raise RuntimeError(f"{step} failed in the adapter recipe with exit code {exit_code}")
