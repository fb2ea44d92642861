"""Coverage-guided fuzzing of the readers: inputs that reach new code are mutated further.

    pip install atheris
    python -m benchmarks.reliability.guided --seconds 60
    python -m benchmarks.reliability.guided --readers pickle npy --corpus corpus

Each reader runs in its own process with atheris's own options: it starts with the valid files of
``mutate``, and has limits on the time of a single input and on memory. A reader may refuse an input
with the errors that it documents; any other error, a hang or too much memory is a finding, whose
input is written beside the corpus. Findings belong in ``tests/faults``.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import io
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.reliability import mutate
from s3pot.io import write_bytes

MODULES = (
    "s3pot.stored_zip",
    "s3pot.io",
    "s3pot.weights.safe_pickle",
    "s3pot.weights.pickle_walk",
    "s3pot.weights.pickle_values",
    "s3pot.data.labelme",
    "s3pot.data.labelme_shapes",
    "s3pot.data.masks",
    "s3pot.data.two_values",
    "s3pot.data.image",
    "s3pot.data.image_formats",
    "s3pot.geometry",
)
# The modules are imported here first, because atheris instruments modules as they are imported.
PROGRAM = """
import sys
import atheris
with atheris.instrument_imports(include=["s3pot"], enable_loader_override=False):
    import {modules}
from benchmarks.reliability import guided
guided.fuzz_here("{name}", sys.argv[1:])
"""
SLOWEST_INPUT = 20  # seconds
MOST_MEMORY = 4096  # MiB
LONGEST_INPUT = 20_000  # bytes


@dataclass(frozen=True)
class Reader:
    """A reader to fuzz.

    Attributes:
        good: Valid files to start with.
        read: Reads the bytes of a file.
    """

    good: Callable[[], Sequence[bytes]]
    read: Callable[[bytes], object]


def readers() -> Mapping[str, Reader]:
    """Return all readers by name."""
    from s3pot.data.image import read_rgb
    from s3pot.data.labelme import read_labelme
    from s3pot.data.masks import read_mask
    from s3pot.io import read_json, read_npy_stream, read_yaml
    from s3pot.stored_zip import read_members
    from s3pot.weights.safe_pickle import check_checkpoint

    place = Path(tempfile.mkdtemp(prefix="s3pot-guided-")) / "input"

    def from_disk(read: Callable[[Path], object]) -> Callable[[bytes], object]:
        def write_and_read(content: bytes) -> object:
            place.write_bytes(content)
            return read(place)

        return write_and_read

    limit = 1_000_000  # pixels
    return {
        "pickle": Reader(_checkpoints, lambda content: check_checkpoint(io.BytesIO(content))),
        "zip": Reader(_checkpoints, lambda content: read_members(io.BytesIO(content))),
        "npy": Reader(
            _arrays, lambda content: read_npy_stream(io.BytesIO(content), len(content), "x")
        ),
        "json": Reader(lambda: [mutate.labelme_file()], from_disk(read_json)),
        "yaml": Reader(lambda: [b"a: &x {b: [1, 2.5, no]}\nc: *x\n"], from_disk(read_yaml)),
        "labelme": Reader(
            lambda: [mutate.labelme_file()],
            from_disk(lambda path: read_labelme(path, (64, 64))),
        ),
        "mask": Reader(_images, lambda content: read_mask(io.BytesIO(content), "x", limit)),
        "image": Reader(_images, lambda content: read_rgb(io.BytesIO(content), limit)),
    }


def _checkpoints() -> list[bytes]:
    content = {"kind": "x", "adapter": {"w": torch.ones(3), "b": torch.zeros(2, 2)}, "epoch": 1}
    files = []
    for zipped in (True, False):
        stream = io.BytesIO()
        torch.save(content, stream, _use_new_zipfile_serialization=zipped)
        files.append(stream.getvalue())
    return files


def _arrays() -> list[bytes]:
    files = []
    for array in (np.zeros((4, 4), np.uint8), np.zeros((2, 3, 1)), np.array(5)):
        stream = io.BytesIO()
        np.save(stream, array)
        files.append(stream.getvalue())
    return files


def _images() -> list[bytes]:
    return list(mutate.images().values())


def fuzz_here(name: str, options: Sequence[str]) -> None:
    """Fuzz one reader in this process; atheris ends it."""
    atheris = importlib.import_module("atheris")
    reader = readers()[name]
    from s3pot.stored_zip import BadArchive
    from s3pot.types import S3potError
    from s3pot.weights.pickle_values import DamagedPickle, UnsafePickle

    def try_input(content: bytes) -> None:
        with suppress(S3potError, BadArchive, DamagedPickle, UnsafePickle):
            reader.read(content)

    atheris.Setup([sys.argv[0], *options], try_input)
    atheris.Fuzz()


def fuzz(name: str, seconds: int, corpus: Path) -> str:
    """Fuzz a reader in a separate process; returns a summary."""
    folder = corpus / name
    for number, content in enumerate(readers()[name].good()):
        write_bytes(folder / f"good_{number}", content)
    program = PROGRAM.format(modules=", ".join(MODULES), name=name)
    options = [
        f"-max_total_time={seconds}",
        f"-timeout={SLOWEST_INPUT}",
        f"-rss_limit_mb={MOST_MEMORY}",
        f"-max_len={LONGEST_INPUT}",
        f"-artifact_prefix={corpus}/{name}-",
        "-print_final_stats=1",
        "-seed=1",
        str(folder),
    ]
    root = Path(__file__).resolve().parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", program, *options], cwd=root, capture_output=True, text=True
    )
    count = re.search(r"number_of_executed_units:\s*(\d+)", ended.stderr)
    tried = f"{int(count.group(1)):,} inputs" if count else "ended early"
    covered = re.findall(r"cov: (\d+)", ended.stderr)
    tried += f", {covered[-1]} places reached" if covered else ""
    if ended.returncode == 0:
        return f"{name:<10} {tried}: no find"
    return f"{name:<10} {tried}: FOUND\n{ended.stdout[-1500:]}{ended.stderr[-2500:]}"


def main(argv: list[str] | None = None) -> int:
    """Fuzz all readers; returns 1 on a finding, 2 if atheris is not installed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reliability.guided",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--seconds", type=int, default=60, help="for each reader (default: 60)")
    add("--readers", nargs="*", choices=readers(), default=list(readers()), help="only these")
    add("--corpus", type=Path, help="folder that keeps the inputs (default: a temporary one)")
    args = parser.parse_args(argv)
    if importlib.util.find_spec("atheris") is None:
        sys.stderr.write(
            "atheris is not installed: pip install atheris (Linux, Python 3.11 to 3.13)\n"
        )
        return 2
    corpus = args.corpus or Path(tempfile.mkdtemp(prefix="s3pot-corpus-"))
    has_finding = False
    for name in args.readers:
        line = fuzz(name, args.seconds, corpus.resolve())
        has_finding = has_finding or "FOUND" in line
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    return int(has_finding)


if __name__ == "__main__":
    sys.exit(main())
