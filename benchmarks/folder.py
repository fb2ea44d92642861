"""The stages that read and write files, and ``inference.py`` as a whole, from disk to disk."""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import torch

from benchmarks.clock import Row, Timing
from benchmarks.stages import Bench
from s3pot.adapter import PromptAdapter
from s3pot.commands import inference
from s3pot.data.face_folder import load_aligned_face, output_files
from s3pot.data.image import read_rgb, write_png
from s3pot.geometry import Alignment
from s3pot.io import write_npy
from s3pot.rg.warp import crop
from s3pot.training.checkpoint import save_checkpoint
from s3pot.weights.registry import find, weight_files
from s3pot_synthetic import draw_face

WARM_UP = 2  # faces of the call that only loads and warms up


def write_faces(folder: Path, count: int, size: int) -> None:
    """Write drawn faces under the folder contract; at most four are drawn, the others copies."""
    for index in range(count):
        files = output_files(folder, f"face_{index:03d}")
        if index >= 4:
            source = output_files(folder, f"face_{index % 4:03d}")
            for kind in ("raw", "reference", "parsing"):
                shutil.copyfile(getattr(source, kind), getattr(files, kind))
            continue
        face = draw_face(index, 256, "bench")
        for path, picture in ((files.raw, face.raw), (files.reference, face.clean)):
            write_png(path, cv2.resize(picture, (size, size), interpolation=cv2.INTER_CUBIC))
        labels = cv2.resize(face.labels, (size, size), interpolation=cv2.INTER_NEAREST)
        write_npy(files.parsing, labels)


def files(bench: Bench) -> None:
    """Read a face, align a photo, write a mask and a picture."""
    size = bench.sizes.picture
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_faces(folder, 1, size)
        face = output_files(folder, "face_000")
        timing = bench.clock.measure(lambda: load_aligned_face(face))
        bench.report.add(Row("read", "photo, reference, class map", 1, timing))
        picture = read_rgb(face.raw)
        low, high = 0.15 * size, 0.9 * size
        corners = ((low, low), (low, high), (high, high), (high, low))
        alignment = Alignment(corners, (size, size), (size, size))
        timing = bench.clock.measure(lambda: crop(picture, alignment))
        bench.report.add(Row("align", "crop", 1, timing))
        mask = picture[..., 0] > 128
        timing = bench.clock.measure(lambda: write_png(folder / "mask.png", mask))
        bench.report.add(Row("write", "mask, PNG", 1, timing))
        timing = bench.clock.measure(lambda: write_png(folder / "picture.png", picture))
        bench.report.add(Row("write", "picture, PNG", 1, timing))


@contextlib.contextmanager
def _random_weights_allowed(name: str) -> Iterator[None]:
    """Take hash and size of a SAM out of the registry for a while."""
    published = weight_files()[name]
    weight_files()[name] = replace(published, sha256=None, size=None)
    try:
        yield
    finally:
        weight_files()[name] = published


def inference_from_disk(bench: Bench) -> None:
    """``inference.py`` on a folder, nothing cached, files written; loading does not count."""
    name = bench.sizes.name
    count = 48 if bench.on_gpu else (16 if name == "mini" else 3)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_faces(work / "all", count + WARM_UP, bench.sizes.picture)
        write_faces(work / "few", WARM_UP, bench.sizes.picture)
        options = ["cache.mode=off", f"run.device={bench.device}"]
        if name == "mini":
            options += ["model.set=mini", "model.sam=mini", "align.mode=never"]
        else:
            official = find(f"sam_{name}").file
            state = {key: value.float().cpu() for key, value in bench.sam.state_dict().items()}
            torch.save(state, work / official)
            del state
            adapter = PromptAdapter(bench.sam.prompt_encoder.embed_dim)
            save_checkpoint(work / "adapter.pth", adapter, epoch=0, config={}, sam_sha256="")
            options += [f"model.sam={name}", f"model.weights_dir={work}"]
            options += ["--checkpoint", str(work / "adapter.pth")]
        allowed = (
            contextlib.nullcontext() if name == "mini" else _random_weights_allowed(f"sam_{name}")
        )
        with allowed:
            for speed in ("fast", "exact"):
                if bench.clock.seconds_left < 0:
                    return
                _infer(bench, work, count, speed, options)


def _infer(bench: Bench, work: Path, count: int, speed: str, options: list[str]) -> None:
    seconds = {}
    peak = 0
    for part in ("few", "all"):
        output = work / f"results_{speed}_{part}"
        arguments = ["--datapath", str(work / part), "--output_dir", str(output)]
        timing = _once(bench, [*arguments, *options, f"run.speed={speed}"])
        seconds[part] = timing.seconds
        peak = max(peak, timing.peak_bytes)
    timing = Timing(seconds["all"] - seconds["few"], peak, 1)
    note = f"{count} pairs; loading and {WARM_UP} pairs took {seconds['few']:.1f} s"
    bench.report.add(Row("inference.py", speed, count, timing, note=note))


def _once(bench: Bench, arguments: list[str]) -> Timing:
    codes = []
    said = io.StringIO()

    def call() -> None:
        with contextlib.redirect_stderr(said):
            codes.append(inference.main(arguments))

    timing = bench.clock.once(call)
    if codes != [0]:
        last = said.getvalue().strip().splitlines()[-1:]
        raise RuntimeError(f"inference.py ended with exit code {codes}: {last}")
    return timing
