"""The work folder of each trial, and the calls of the five commands in it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from benchmarks.reliability.children import Call
from benchmarks.tiny import SIDE, tiny_options, write_face, write_tiny_set
from s3pot.data.image import write_png
from s3pot.io import write_bytes

FACES = 3
EPOCHS = 3
SUITE = """\
datapath: data
rows:
  - {name: parser, method: parser}
  - {name: fitted, adapter: per_image, faces: 2, overrides: {per_image.epochs: 2}}
  - {name: bundled, adapter: bundled}
"""


def calls() -> dict[str, Call]:
    """Return the commands as a user types them, with paths relative to the work folder."""
    models = tiny_options("weights")
    return {
        "generate_reference": Call(
            "generate_reference",
            ["--input_dir", "photos", "--output_dir", "out", *models, "align.size=64"],
        ),
        "train_general": Call(
            "train_general",
            ["--datapath", "data", "--output_dir", "out", "--epochs", str(EPOCHS), "--resume"]
            + models,
        ),
        "train_per_image": Call(
            "train_per_image",
            ["--datapath", "data", "--output_dir", "out", "--epochs", "5", *models],
        ),
        "inference": Call(
            "inference",
            ["--datapath", "data", "--output_dir", "out", "--save_vis", *models],
        ),
        "evaluate": Call("evaluate", ["--suite", "suite.yaml", "--output_dir", "out", *models]),
    }


def make_inputs(folder: Path, faces: int = FACES) -> Path:
    """Write photos, faces, weights and a suite into a new folder."""
    random = np.random.default_rng(0)
    for index in range(faces):
        write_face(folder / "data", f"face_{index:02d}", seed=index)
        photo = random.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
        write_png(folder / "photos" / f"photo_{index:02d}.png", photo)
    write_tiny_set(folder / "weights")
    write_bytes(folder / "suite.yaml", SUITE.encode("utf-8"))
    return folder


def fresh(inputs: Path, folder: Path) -> Path:
    """Copy the inputs to a new work folder."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(inputs, folder)
    return folder
