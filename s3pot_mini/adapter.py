"""Recipe of the bundled general adapter: the project's own commands, no occlusion label."""

from __future__ import annotations

from pathlib import Path

from s3pot.commands import generate_reference, train_general
from s3pot.weights.load import read_checkpoint
from s3pot_mini.loop import export
from s3pot_synthetic.__main__ import main as draw

FIRST_FACE = 1_000_000  # faces no other recipe has seen
FACES = 300
EPOCHS = 2  # of 1 and 2, at 3e-5 and 1e-4: lowest validation loss (docs/MINI_MODELS.md)
RATE = 1e-4
CONFIG = Path(__file__).resolve().parents[1] / "configs" / "mini.yaml"


def train(folder: Path, target: Path, device: str) -> None:
    """Draw, make references, train the general adapter, export it.

    Args:
        folder: Work folder.
        target: Folder of the bundled weights; its other three models are used.
        device: ``--device`` of the commands.

    Raises:
        RuntimeError: A command failed; its own message stands above.
    """
    drawn, processed, run = (folder / f"adapter_{part}" for part in ("faces", "pairs", "run"))
    mini = ["--config", str(CONFIG), "--device", device, f"model.weights_dir={target}"]
    paths = ["--input_dir", str(drawn / "raw_images"), "--output_dir", str(processed)]
    training = ["--datapath", str(processed), "--output_dir", str(run)]
    training += ["--epochs", str(EPOCHS), "--lr", str(RATE)]
    steps = (
        lambda: draw(["--out", str(drawn), "--count", str(FACES), "--seed", str(FIRST_FACE)]),
        lambda: generate_reference.main([*paths, *mini]),
        lambda: train_general.main([*training, "--resume", *mini]),
    )
    for number, step in enumerate(steps, start=1):
        if step():
            raise RuntimeError(f"step {number} of the adapter recipe failed")
    state = read_checkpoint(run / f"model_epoch_{EPOCHS}.pth")["adapter"]
    export("adapter", {"width": len(state["norm.weight"]), "heads": 4}, state, target)
