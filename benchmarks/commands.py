"""Benchmarks of whole commands, each called twice in this process.

The first call gets few items, the second more: the difference is the cost of the items, and loading
and warm-up cancel out.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import torch

from benchmarks.clock import Row, Timing
from benchmarks.models import new_inverter, new_parser
from benchmarks.stages import Bench
from s3pot.adapter import PromptAdapter
from s3pot.data.face_folder import find_faces, load_aligned_face, output_files
from s3pot.data.image import read_rgb, write_png
from s3pot.geometry import Alignment
from s3pot.io import write_npy
from s3pot.rg.warp import crop
from s3pot.training.checkpoint import save_checkpoint
from s3pot.weights.registry import find, weight_files
from s3pot_synthetic import draw_face

FEW = 2  # number of faces in the warm-up call
DRAWN = 4  # number of different faces; the others are copies


@dataclass(frozen=True)
class Work:
    """A folder with weights and faces, and the options that make a command use them.

    Attributes:
        few: Data folder of ``FEW`` faces.
        many: Data folder of ``FEW + count`` faces.
        count: Faces that the rates count.
        outputs: Folder for the results.
        options: Options of every command.
        adapter: Checkpoint of an adapter.
    """

    few: Path
    many: Path
    count: int
    outputs: Path
    options: Sequence[str]
    adapter: Path


@dataclass(frozen=True)
class Call:
    """A command with few and with more items.

    Attributes:
        script: Module of ``s3pot.commands``.
        variant: What the row is called.
        few: Arguments of the first call.
        many: Arguments of the second.
        items: How many more items that one has.
        unit: What the items are.
    """

    script: str
    variant: str
    few: Sequence[str]
    many: Sequence[str]
    items: int
    unit: str = "faces"


def write_faces(folder: Path, count: int, size: int) -> None:
    """Write drawn faces with their ground truth in the folder contract."""
    for index in range(count):
        files = output_files(folder, f"face_{index:03d}")
        members = (files.raw, files.reference, files.parsing, files.clean, files.occlusion_truth)
        if index >= DRAWN:
            first = f"face_{index % DRAWN:03d}"
            for path in filter(None, members):
                shutil.copyfile(path.with_name(path.name.replace(files.name, first)), path)
            continue
        face = draw_face(index, 256, "bench")
        for path, image in ((files.raw, face.raw), (files.reference, face.clean)):
            write_png(path, cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC))
        if files.clean is not None and files.occlusion_truth is not None:
            shutil.copyfile(files.reference, files.clean)
            mask = cv2.resize(face.occlusion.astype("uint8"), (size, size))
            write_png(files.occlusion_truth, mask > 0)
        labels = cv2.resize(face.labels, (size, size), interpolation=cv2.INTER_NEAREST)
        write_npy(files.parsing, labels)


def read_and_write(bench: Bench) -> None:
    """Measure drawing, reading and aligning a face, and writing a mask and an image."""
    size = bench.sizes.image
    timing = bench.clock.measure(lambda: draw_face(0, 256, "train"))
    bench.report.add(Row("draw", "a face of 256 pixels", 1, timing))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_faces(folder, 1, size)
        face = output_files(folder, "face_000")
        timing = bench.clock.measure(partial(load_aligned_face, face))
        bench.report.add(Row("read", "image, reference, class map", 1, timing))
        image = read_rgb(face.raw)
        low, high = 0.15 * size, 0.9 * size
        corners = ((low, low), (low, high), (high, high), (high, low))
        alignment = Alignment(corners, (size, size), (size, size))
        timing = bench.clock.measure(partial(crop, image, alignment))
        bench.report.add(Row("align", "crop", 1, timing))
        for variant, pixels in (("mask, PNG", image[..., 0] > 128), ("image, PNG", image)):
            timing = bench.clock.measure(partial(write_png, folder / "written.png", pixels))
            bench.report.add(Row("write", variant, 1, timing))


def inference(bench: Bench) -> None:
    """Measure pairs per second of ``inference.py`` without a cache."""
    count = 48 if bench.on_gpu else 16 if bench.sizes.name == "mini" else 1
    with _prepared(bench, count) as work:
        for speed in ("fast", "exact"):
            options = ["--checkpoint", str(work.adapter), "cache.mode=off", f"run.speed={speed}"]
            few = ["--datapath", str(work.few), *options]
            many = ["--datapath", str(work.many), *options]
            _run(bench, work, Call("inference", speed, few, many, count, "pairs"))
        few, many = [*few, "--save_vis"], [*many, "--save_vis"]
        _run(bench, work, Call("inference", "exact --save_vis", few, many, count, "pairs"))


def other_commands(bench: Bench) -> None:
    """Measure references per second, and images per second of later training epochs."""
    count = 8 if bench.on_gpu or bench.sizes.name == "mini" else 1
    with _prepared(bench, count, with_generator=True) as work:
        few = ["--input_dir", str(_photos_of(work.few))]
        many = ["--input_dir", str(_photos_of(work.many))]
        _run(bench, work, Call("generate_reference", "float32", few, many, count))
        data = ["--datapath", str(work.many)]
        few, many = [*data, "--epochs", "1"], [*data, "--epochs", "3"]
        passes = 2 * (FEW + count)
        _run(bench, work, Call("train_general", "later epochs", few, many, passes, "passes"))


def _photos_of(folder: Path) -> Path:
    """Create a folder with only the faces' images."""
    photos = folder.with_name(f"{folder.name}_photos")
    photos.mkdir()
    for face in find_faces(folder):
        shutil.copyfile(face.raw, photos / face.raw.name)
    return photos


def _run(bench: Bench, work: Work, call: Call) -> None:
    if bench.clock.seconds_left < 0:
        return
    command = importlib.import_module(f"s3pot.commands.{call.script}")
    timings = []
    for part, arguments in (("few", call.few), ("many", call.many)):
        name = f"{call.script} {call.variant} {part}".replace(" ", "_")
        output = ["--output_dir", str(work.outputs / name)]
        said = io.StringIO()
        codes: list[int] = []

        def once(arguments: Sequence[str] = (*arguments, *output, *work.options)) -> None:
            codes.append(command.main(list(arguments)))  # noqa: B023 - called at once

        with contextlib.redirect_stderr(said):
            timings.append(bench.clock.once(once))
        if codes != [0]:
            last = said.getvalue().strip().splitlines()[-1:]
            raise RuntimeError(f"{call.script} ended with exit code {codes}: {last}")
    few, many = timings
    peak = max(few.peak_bytes, many.peak_bytes)
    timing = Timing(max(many.seconds - few.seconds, 1e-9), peak, 1)
    note = f"{call.items} {call.unit}; the rest took {few.seconds:.1f} s"
    bench.report.add(Row(f"{call.script}.py", call.variant, call.items, timing, note=note))


@contextlib.contextmanager
def _prepared(bench: Bench, count: int, with_generator: bool = False) -> Iterator[Work]:
    """Create a temporary folder with weights and faces."""
    mini = bench.sizes.name == "mini"
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        write_faces(folder / "few", FEW, bench.sizes.image)
        write_faces(folder / "many", FEW + count, bench.sizes.image)
        options = [f"run.device={bench.device}", "align.mode=never"]
        adapter = folder / "adapter.pth"
        if mini:
            options += ["model.set=mini", "model.sam=mini"]
        else:
            options += [f"model.sam={bench.sizes.name}", f"model.weights_dir={folder}"]
            stack.enter_context(_any_hash(f"sam_{bench.sizes.name}", "bisenet", "e4s"))
            _write_weights(bench, folder, with_generator)
        width = bench.sam.prompt_encoder.embed_dim
        save_checkpoint(adapter, PromptAdapter(width), epoch=0, config={}, sam_sha256="")
        yield Work(
            few=folder / "few",
            many=folder / "many",
            count=count,
            outputs=folder / "results",
            options=options,
            adapter=adapter,
        )


def _write_weights(bench: Bench, folder: Path, with_generator: bool) -> None:
    """Save random weights under the official names, in the official file formats."""
    sam = {key: value.float().cpu() for key, value in bench.sam.state_dict().items()}
    torch.save(sam, folder / find(f"sam_{bench.sizes.name}").file)
    if with_generator:
        cpu = torch.device("cpu")
        torch.save(
            new_parser(bench.sizes.name, cpu).net.state_dict(), folder / find("bisenet").file
        )
        net = new_inverter(bench.sizes.name, cpu).net
        content = {"state_dict": net.state_dict(), "latent_avg": net.latent_avg}
        torch.save(content, folder / find("e4s").file)


@contextlib.contextmanager
def _any_hash(*names: str) -> Iterator[None]:
    """Remove the hashes and sizes of official files from the registry inside the block."""
    published = {name: weight_files()[name] for name in names}
    for name, entry in published.items():
        weight_files()[name] = replace(entry, sha256=None, size=None)
    try:
        yield
    finally:
        weight_files().update(published)
