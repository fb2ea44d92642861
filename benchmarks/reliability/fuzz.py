"""Fuzzing the real commands with broken and hostile files: each is processed or reported.

Files that belong to a folder are the items of one run; the others have one run each. The runs are
watched child processes with a memory limit: a crash, an error that no command should let through
and a hang are faults of the file being processed.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.reliability import mutate
from benchmarks.reliability.children import CRASHED, Call, Child, run_here
from benchmarks.reliability.report import Trial
from benchmarks.reliability.workplace import fresh
from benchmarks.tiny import tiny_options, write_face
from s3pot.data.face_folder import ALIGN, CACHE, CLEAN, OCCLUSION, PARSING, REFERENCE
from s3pot.io import write_bytes
from s3pot.weights.load import read_checkpoint

LIMIT = 30.0  # seconds that a single file may take
BATCH = 60  # number of items in one folder run
GOOD_CONFIG = b"train:\n  lr: 1.0e-4\n  epochs: 3\nmask: {min_piece: 0.1}\nmodel: {set: mini}\n"
MANY = 20  # from this many files of a kind on, the fixed hostile ones are tried everywhere
MEMORY = 3 << 30  # bytes in addition to what a child starts with
CODES = (0, 1, 2)  # valid exit codes of a command


@dataclass(frozen=True)
class Kind:
    """A kind of file and the command that reads it.

    Attributes:
        name: Name in the report.
        place: Path of the file, relative to the work folder.
        call: The command.
        setup: Called in the work folder before the first file, with valid files of everything.
    """

    name: str
    place: str
    call: Call
    setup: Callable[[Path], None] = lambda folder: None


def _limit_memory() -> None:
    """Let a child fail with MemoryError instead of exhausting the machine."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


# Folders: the files are the items of one run.


def photo_trials(inputs: Path, folder: Path, photos: Mapping[str, bytes]) -> Iterator[Trial]:
    """Run photos through generate_reference.py."""
    arguments = ["--input_dir", "photos", "--output_dir", "out", *tiny_options("weights")]
    call = Call("generate_reference", arguments)
    names = list(photos)
    for start in range(0, len(names), BATCH):
        batch = names[start : start + BATCH]
        fresh(inputs, folder)
        for name in batch:
            write_bytes(folder / "photos" / name, photos[name])
        wanted = {name: Path(name).stem for name in batch}
        yield from _folder_run(folder, call, wanted, "_align.json")


def face_trials(
    inputs: Path, folder: Path, ending: str, contents: Sequence[bytes], options: Sequence[str] = ()
) -> Iterator[Trial]:
    """Run faces with one broken file each through inference.py.

    Args:
        inputs: The folder written by ``make_inputs``.
        folder: The work folder.
        ending: Ending of the broken file, such as ``_ref.png``.
        contents: Its contents for each face.
        options: Options of the command.
    """
    arguments = ["--datapath", "data", "--output_dir", "out", *options, *tiny_options("weights")]
    call = Call("inference", arguments)
    for start in range(0, len(contents), BATCH):
        fresh(inputs, folder)
        wanted = {}
        for number, content in enumerate(contents[start : start + BATCH], start):
            name = f"broken_{number:04d}"
            write_face(folder / "data", name, seed=number)
            if ending == ".json":  # LabelMe replaces the PNG
                (folder / "data" / f"{name}_occlusion.png").unlink()
            write_bytes(folder / "data" / f"{name}{ending}", content)
            wanted[f"{name}{ending}"] = name
        yield from _folder_run(folder, call, wanted, "_result.json")


def _folder_run(
    folder: Path, call: Call, wanted: Mapping[str, str], record: str
) -> Iterator[Trial]:
    """Run a folder command once and check each of its broken files.

    Args:
        folder: The work folder.
        call: The command, whose results go to ``out``.
        wanted: Stem of the results by the name of the broken file.
        record: Ending of the file that marks an item as done.
    """
    ended = Child(call, folder, _limit_memory).wait(LIMIT + 2 * len(wanted))
    failed = _failures(folder / "out" / "failures.csv")
    for name, stem in wanted.items():
        if ended.timed_out or ended.code not in CODES:
            how = "standstill" if ended.timed_out else f"code {ended.code}"
            yield Trial(call.command, name, (f"{how}: {ended.output[-600:]}",))
            continue
        is_done = (folder / "out" / f"{stem}{record}").is_file()
        is_named = name in failed or stem in failed
        is_passed_over = not is_done and not is_named and "skipped" in ended.output
        if is_done or is_named or is_passed_over:
            note = "done" if is_done else "named" if is_named else "skipped as not an image"
            yield Trial(call.command, name, note=note)
        else:
            yield Trial(call.command, name, (f"neither done nor named: {ended.output[-600:]}",))


def _failures(path: Path) -> set[str]:
    if not path.is_file():
        return set()
    with path.open(encoding="utf-8", newline="") as file:
        return {row["name"] for row in csv.DictReader(file)}


# Single files, with one run each.


def file_trials(
    inputs: Path, folder: Path, kind: Kind, contents: Sequence[bytes]
) -> Iterator[Trial]:
    """Run a command once for each content of a file, in as few children as possible."""
    next_number = 0
    while next_number < len(contents):
        fresh(inputs, folder)
        kind.setup(folder)
        journal = folder.with_name(f"{folder.name}.journal")
        journal.write_text("", encoding="utf-8")
        work = partial(_each_content, kind, contents, next_number, journal)
        child = Child(work, folder, _limit_memory)
        how = _watch(child, journal)
        done = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
        for entry in done:
            yield _judged(kind, entry)
        next_number += len(done)
        if next_number < len(contents):  # the child died on this one
            yield Trial(kind.name, f"{kind.name} {next_number}", (how,))
            next_number += 1


def _each_content(kind: Kind, contents: Sequence[bytes], first: int, journal: Path) -> int:
    """Run the command repeatedly in a child, and record the outcomes."""
    place = Path(kind.place)
    for number in range(first, len(contents)):
        place.write_bytes(contents[number])
        stream = io.StringIO()
        sys.stdout = sys.stderr = stream
        code = run_here(kind.call)
        entry = {"number": number, "code": code, "output": stream.getvalue()[-1500:]}
        with journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
    return 0


def _watch(child: Child, journal: Path) -> str:
    """Wait for a child as long as it makes progress; returns how it ended."""
    size = -1
    since = time.monotonic()
    while child.is_alive():
        time.sleep(0.02)
        now = journal.stat().st_size
        if now != size:
            size = now
            since = time.monotonic()
        elif time.monotonic() - since > LIMIT:
            child.kill()
            child.wait()
            return f"standstill for {LIMIT:.0f} s"
    ended = child.wait()
    return f"the process ended with code {ended.code}: {ended.output[-600:]}"


def _judged(kind: Kind, entry: Mapping[str, object]) -> Trial:
    what = f"{kind.name} {entry['number']}"
    output = str(entry["output"])
    if entry["code"] == CRASHED or entry["code"] not in CODES:
        return Trial(kind.name, what, (f"crash: {output[-900:]}",))
    if entry["code"] == 2 and Path(kind.place).name not in output:
        return Trial(kind.name, what, (f"refused without its name: {output}",))
    return Trial(kind.name, what, note="refused" if entry["code"] == 2 else "taken")


def single_files() -> dict[str, Kind]:
    """Return the kinds of files that have one run each, by name."""
    models = tiny_options("weights")
    data = ["--datapath", "data", "--output_dir", "out", *models]
    photos = ["--input_dir", "photos", "--output_dir", "out", *models]
    suite = ["--suite", "suite.yaml", "--output_dir", "out", *models]
    scores = ["--datapath", "data", "--results", "out", "--output_dir", "scores"]
    training = [*data, "--epochs", "1", "--resume"]
    config = [*data, "--config", "strange.yaml"]
    checkpoint = [*data, "--checkpoint", "strange.pth"]
    start = [*data, "--init_checkpoint", "strange.safetensors", "--epochs", "1", "--overwrite"]
    infer = partial(_run_once, Call("inference", data))
    train = partial(_run_once, Call("train_general", training))
    sam = "weights/sam.safetensors"
    parser = "weights/parser.safetensors"
    mask = "out/face_00_occlusion.png"
    record = "out/face_00_result.json"
    file_kinds = (
        Kind("config YAML", "strange.yaml", Call("inference", config)),
        Kind("suite YAML", "suite.yaml", Call("evaluate", suite)),
        Kind("adapter .pth", "strange.pth", Call("inference", checkpoint), infer),
        Kind("adapter .safetensors", "strange.safetensors", Call("train_general", start)),
        Kind("training state", "out/last.pth", Call("train_general", training), train),
        Kind("mini SAM", sam, Call("inference", data)),
        Kind("mini parser", parser, Call("generate_reference", photos)),
        Kind("result record", record, Call("inference", data), infer),
        Kind("summary", "out/summary.json", Call("evaluate", scores), infer),
        Kind("result mask", mask, Call("evaluate", scores), infer),
    )
    return {kind.name: kind for kind in file_kinds}


def _run_once(call: Call, folder: Path) -> None:
    Child(call, folder).wait()


def cache_trials(
    inputs: Path, folder: Path, random: np.random.Generator, count: int
) -> Iterator[Trial]:
    """Break entries of the feature cache, with a valid digest or not: all must be recomputed."""
    fresh(inputs, folder)
    arguments = [
        "--datapath",
        "data",
        "--output_dir",
        "out",
        "--overwrite",
        *tiny_options("weights"),
    ]
    call = Call("inference", arguments)
    Child(call, folder).wait()
    wanted = _masks(folder)
    entries = sorted((folder / "data" / CACHE).glob("*.feat"))
    good = {path: path.read_bytes() for path in entries}
    size = hashlib.sha256().digest_size
    for start in range(0, count, len(entries)):
        for path in entries:
            payload = mutate.mutated(random, good[path][size:])
            digest = hashlib.sha256(path.stem.encode() + payload).digest()
            fits = random.random() < 0.7
            path.write_bytes((digest if fits else good[path][:size]) + payload)
        ended = Child(call, folder, _limit_memory).wait(LIMIT + 10)
        faults = [] if ended.code == 0 else [f"code {ended.code}: {ended.output[-800:]}"]
        for number, path in enumerate(entries, start):
            # A changed entry with valid shapes may be used: it is the user's own folder.
            same = _masks(folder) == wanted
            yield Trial(
                "cache", f"{path.name} {number}", tuple(faults), "same masks" if same else ""
            )


def _masks(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "out").glob("*_occlusion.png")}


def trials(
    inputs: Path, folder: Path, count: int, seed: int, only: Sequence[str] = ()
) -> Iterator[tuple[str, Iterator[Trial]]]:
    """Yield the name and the trials of each kind of file.

    Args:
        inputs: The folder written by ``make_inputs``.
        folder: The work folder.
        count: Approximate number of each kind; if it is small, hostile images are only tried as
            photos.
        seed: Seed of all mutations.
        only: Names of kinds; empty for all.
    """
    maker = _Maker(inputs, folder, count, np.random.default_rng((seed, 4)))
    trials_by_kind: dict[str, Callable[[], Iterator[Trial]]] = {
        "photos": maker.photos,
        "class maps": maker.class_maps,
        "LabelMe files": maker.labelme_files,
        "alignments": maker.alignments,
        "cache entries": maker.cache_entries,
    }
    for ending in (".png", REFERENCE, OCCLUSION, CLEAN):
        trials_by_kind[f"{ending} of a face"] = partial(maker.images_of_faces, ending)
    for name, kind in single_files().items():
        trials_by_kind[name] = partial(maker.single_files, kind)
    for name, make in trials_by_kind.items():
        if not only or name in only:
            yield name, make()


class _Maker:
    """Creates broken files of each kind and tries them."""

    def __init__(self, inputs: Path, folder: Path, count: int, random: np.random.Generator) -> None:
        self.inputs = inputs
        self.folder = folder
        self.count = count
        self.random = random
        self.hostile_images: list[bytes] = []
        self.hostile_yaml: list[bytes] = []
        if count >= MANY:
            self.hostile_images = list(mutate.hostile_images().values())
            self.hostile_yaml = mutate.hostile_yaml()

    def photos(self) -> Iterator[Trial]:
        files = dict(mutate.hostile_images())
        good = list(mutate.images().items())
        for number in range(2 * self.count):
            ending, content = good[number % len(good)]
            files[f"{number:04d}{ending}"] = mutate.mutated(self.random, content)
        return photo_trials(self.inputs, self.folder, files)

    def images_of_faces(self, ending: str) -> Iterator[Trial]:
        sample = self.folder.with_name("sample")
        write_face(sample, "sample", seed=0)
        good = (sample / f"sample{ending}").read_bytes()
        contents = self._mutated(good, self.count // 2) + self.hostile_images
        return face_trials(self.inputs, self.folder, ending, contents)

    def class_maps(self) -> Iterator[Trial]:
        maps = list(mutate.class_maps(self.random, self.count))
        return face_trials(self.inputs, self.folder, PARSING, maps)

    def labelme_files(self) -> Iterator[Trial]:
        contents = self._mutated(mutate.labelme_file(), self.count, mutate.mutated_json)
        return face_trials(self.inputs, self.folder, ".json", contents)

    def alignments(self) -> Iterator[Trial]:
        fresh(self.inputs, self.folder)
        arguments = ["--input_dir", "photos", "--output_dir", "out", *tiny_options("weights")]
        Child(Call("generate_reference", arguments), self.folder).wait()
        good = (self.folder / "out" / f"photo_00{ALIGN}").read_bytes()
        contents = self._mutated(good, self.count, mutate.mutated_json)
        return face_trials(self.inputs, self.folder, ALIGN, contents, ["--to_photo"])

    def cache_entries(self) -> Iterator[Trial]:
        return cache_trials(self.inputs, self.folder, self.random, self.count)

    def single_files(self, kind: Kind) -> Iterator[Trial]:
        fresh(self.inputs, self.folder)
        kind.setup(self.folder)
        return file_trials(self.inputs, self.folder, kind, self._contents(kind))

    def _contents(self, kind: Kind) -> list[bytes]:
        path = self.folder / kind.place
        if kind.name == "config YAML":
            return self.hostile_yaml + self._mutated(GOOD_CONFIG, self.count)
        if kind.name == "adapter .pth":
            return list(mutate.checkpoints(self.random, _adapters(self.folder), self.count))
        if kind.name == "adapter .safetensors":
            path = self.folder / "weights" / "adapter.safetensors"
        good = path.read_bytes()
        if path.suffix == ".yaml":
            return self.hostile_yaml + self._mutated(good, self.count // 2)
        if path.suffix == ".json":
            return self._mutated(good, self.count // 2, mutate.mutated_json)
        if path.suffix == ".png":
            return self.hostile_images + self._mutated(good, self.count // 2)
        return list(mutate.checkpoints(self.random, [good], self.count))

    def _mutated(
        self,
        good: bytes,
        count: int,
        change: Callable[[np.random.Generator, bytes], bytes] = mutate.mutated,
    ) -> list[bytes]:
        return [change(self.random, good) for _ in range(count)]


def _adapters(folder: Path) -> list[bytes]:
    """Return a valid adapter in torch's format, as written by current and old versions."""
    content = read_checkpoint(folder / "weights" / "adapter.safetensors")
    state = {"kind": "s3pot-adapter", "adapter": content["state_dict"], "config": {}, "epoch": 1}
    new, old = io.BytesIO(), io.BytesIO()
    torch.save(state, new)
    torch.save(state, old, _use_new_zipfile_serialization=False)
    return [new.getvalue(), old.getvalue()]
