"""Run the four commands at the published sizes on one photo, with filled weights.

    python -m benchmarks.official_sizes --photo PHOTO --detector YUNET.onnx --work_dir DIR

SAM ViT-B, BiSeNet and E4S at 1024 are built, filled by the recipe of tests/data/parity and saved
under the official names in the official containers: real sizes and a real path, pictures without a
meaning. The detector is the published file. Prints a Markdown table, a row for every command, each
a process of its own; 1 when a command fails or leaves a file out. Linux and macOS.

The registry knows the published hashes and rightly refuses filled files. So each process is this
module with ``--stage COMMAND ARGUMENTS``: it takes hash and size of the filled files out of the
registry, in that process alone, and calls the command's ``main``.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from segment_anything import sam_model_registry
from torch import Tensor, nn

from s3pot.rg.nets.bisenet import BiSeNet
from s3pot.rg.nets.e4s import E4SNet
from s3pot.weights.registry import find, weight_files

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "tests" / "data" / "parity" / "fill.py"
STEM = "test_01"
GIB = 2**30
NETS: Mapping[str, Callable[[], nn.Module]] = {
    "sam_vit_b": sam_model_registry["vit_b"],
    "bisenet": BiSeNet,
    "e4s": E4SNet,
}
_FACE = ("_occlusion.png", "_face.png", "_parsing.npy", "_result.json")
_SUMMARY = ("summary.csv", "summary.json", "index.html", "config.yaml")


@dataclass(frozen=True)
class Stage:
    """One row of the table."""

    script: str  # module name of the command
    arguments: Sequence[str]
    folder: Path  # --output_dir
    files: Sequence[str]  # what has to be in it afterwards

    @property
    def title(self) -> str:
        """The command and where its results go."""
        return f"{self.script} ({self.folder.name})"


@dataclass(frozen=True)
class Cost:
    """What a process took."""

    exit_code: int
    seconds: float
    peak_bytes: int  # largest resident set


def load_recipe(path: Path) -> ModuleType:
    """Import the recipe from its file."""
    spec = importlib.util.spec_from_file_location("parity_fill", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"no recipe at {path}: run from a clone of the repository")
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    return recipe


def filled(net: nn.Module, recipe: ModuleType, seed: int) -> dict[str, Tensor]:
    """The network's state dict by the recipe; constants stay as they are."""
    state = net.state_dict()
    values = recipe.fill_state_dict({key: tuple(v.shape) for key, v in state.items()}, seed)
    return {**state, **{key: torch.from_numpy(value) for key, value in values.items()}}


def container(state: dict[str, Tensor], name: str, latent_avg: Any, prefix: str) -> dict[str, Any]:
    """What the official file of this name holds; E4S's keys may carry ``module.``."""
    if name != "e4s":
        return state
    weights = {prefix + key: value for key, value in state.items()}
    return {"state_dict": weights, "latent_avg": torch.from_numpy(latent_avg)}


def write_weights(folder: Path, recipe_path: Path, seed: int, prefix: str) -> None:
    """Save all filled networks into a new folder under their official file names."""
    recipe = load_recipe(recipe_path)
    folder.mkdir(parents=True)
    for name, make in NETS.items():
        state = filled(make(), recipe, seed)
        content = container(state, name, recipe.latent_avg(seed), prefix)
        torch.save(content, folder / find(name).file)


@contextmanager
def filled_files_allowed() -> Iterator[None]:
    """Take hash and size of the filled files out of the registry for a while."""
    published = {name: weight_files()[name] for name in NETS}
    weight_files().update({n: replace(e, sha256=None, size=None) for n, e in published.items()})
    try:
        yield
    finally:
        weight_files().update(published)


def run_stage(script: str, arguments: list[str]) -> int:
    """Call a command's ``main`` on filled files; its exit code."""
    with filled_files_allowed():
        return int(importlib.import_module(script).main(arguments))


def stages(work: Path) -> list[Stage]:
    """The four commands of README.md, and the last once more without the feature cache."""
    data, general = work / "processed_data", work / "train_general"
    face, last = data / STEM, general / "model_epoch_1.pth"
    reference = [".png", "_ref.png", "_parsing_mask.npy", "_align.json"]
    photo = ("_occlusion_photo.png", "_face_photo.png")
    training = ("model_epoch_1.pth", "best.pth", "last.pth", "loss_curve.png", "config.yaml")
    history = ("history.csv", "history.jsonl")
    own = [STEM + end for end in (*_FACE, "_adapter.pth", *(f"_{name}" for name in history))]
    result = [*(STEM + end for end in (*_FACE, *photo)), *_SUMMARY]
    predict = f"--datapath {data} --checkpoint {last} --save_vis --to_photo"
    one = f"--target_img {face}.png --ref_img {face}_ref.png --parsing_mask {face}_parsing_mask.npy"
    photos = f"--input_dir {work / 'raw_images'} --faceParser_name bisenet"
    fit = f"--datapath {data} --bsz 3 --epochs 1"
    made = [*(STEM + end for end in reference), "config.yaml"]
    rows: list[tuple[str, str, Path, list[str]]] = [
        ("generate_reference", photos, data, made),
        ("train_general", fit, general, [*training, *history]),
        ("train_per_image", f"{one} --epochs 2", work / "per_image", [*own, *_SUMMARY]),
        ("inference", predict, work / "results", result),
        ("inference", f"{predict} cache.mode=off", work / "results_uncached", result),
    ]
    return [Stage(script, text.split(), folder, files) for script, text, folder, files in rows]


def command_of(stage: Stage, weights: Path) -> list[str]:
    """The process of a stage."""
    module = [sys.executable, "-m", "benchmarks.official_sizes", "--stage", stage.script]
    config = ["--config", str(ROOT / "configs" / "paper.yaml"), "--device", "cpu"]
    options = [*config, "--output_dir", str(stage.folder), *stage.arguments]
    return [*module, *options, "model.sam=vit_b", f"model.weights_dir={weights}"]


def measure(command: Sequence[str]) -> Cost:
    """Run a process in the checkout and wait for it."""
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(process.returncode, time.perf_counter() - start, usage.ru_maxrss * unit)


def missing(stage: Stage) -> list[str]:
    """Files that a stage should have left and did not, or left empty."""
    paths = [stage.folder / name for name in stage.files]
    return [path.name for path in paths if not path.is_file() or not path.stat().st_size]


def run_all(work: Path) -> int:
    """Run every stage and print its row; stops at the first that fails."""
    sys.stdout.write(f"{torch.get_num_threads()} threads, torch {torch.__version__}\n\n")
    sys.stdout.write("| stage | seconds | peak GiB |\n|---|---|---|\n")
    for stage in stages(work):
        cost = measure(command_of(stage, work / "weights"))
        peak = cost.peak_bytes / GIB
        sys.stdout.write(f"| {stage.title} | {cost.seconds:.1f} | {peak:.2f} |\n")
        sys.stdout.flush()
        absent = missing(stage)
        if cost.exit_code or absent:
            reason = f"exit code {cost.exit_code}, missing: {', '.join(absent) or 'nothing'}"
            sys.stderr.write(f"{stage.title} failed: {reason}\n")
            return 1
    return 0


def main(argv: list[str] | None = None) -> int:
    """Print the table; 1 if a command fails or leaves a file out."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["--stage"]:
        return run_stage(argv[1], argv[2:])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    add = parser.add_argument
    add("--photo", type=Path, required=True, help="photo with a face")
    add("--detector", type=Path, required=True, help="YuNet, the published .onnx file")
    add("--work_dir", type=Path, required=True, help="new folder, gets 1.1 GB of weights")
    add("--recipe", type=Path, default=RECIPE, help="how weights are filled")
    add("--seed", type=int, default=1, help="seed of the recipe (default: 1)")
    add("--prefix", default="module.", help="of E4S's keys (default: %(default)s)")
    options = parser.parse_args(argv)
    work = options.work_dir.resolve()
    if work.exists() and any(work.iterdir()):
        parser.error(f"--work_dir {work} is not empty: finished files would be kept; take another")
    filling = (work / "weights", options.recipe, options.seed, options.prefix)
    # Elsewhere: what this process takes would count as memory of those that it starts.
    writer = multiprocessing.get_context("spawn").Process(target=write_weights, args=filling)
    writer.start()
    writer.join()
    if writer.exitcode:
        return 1
    shutil.copyfile(options.detector, work / "weights" / find("yunet").file)
    (work / "raw_images").mkdir()
    shutil.copyfile(options.photo, work / "raw_images" / f"{STEM}{options.photo.suffix}")
    return run_all(work)


if __name__ == "__main__":
    sys.exit(main())
