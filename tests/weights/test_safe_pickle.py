"""Checkpoints that contain code, bombs or false sizes are refused before torch reads them."""

from __future__ import annotations

import argparse
import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest
import torch
from torch import nn

from s3pot.weights import pickle_walk, safe_pickle
from s3pot.weights.pickle_values import DamagedPickle, UnsafePickle
from s3pot.weights.safe_pickle import check_checkpoint

Save = Callable[[Any], bytes]


class Call:
    """Is pickled as a call of ``function`` with ``arguments``."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function = function
        self.arguments = arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return (self.function, self.arguments)


def as_zip(content: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def as_old_format(content: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


def check(content: bytes) -> None:
    check_checkpoint(io.BytesIO(content))


def with_pickle(pickled: bytes, storages: dict[str, bytes] | None = None) -> bytes:
    """An archive as torch writes it, with a given pickle."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", b"3\n")
        for key, value in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", value)
    return stream.getvalue()


@pytest.fixture(params=[as_zip, as_old_format])
def save(request: pytest.FixtureRequest) -> Save:
    result: Save = request.param
    return result


def trained_optimizer() -> dict[str, Any]:
    net = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return {"net": net.state_dict(), "optimizer": optimizer.state_dict()}


GOOD = [
    {},
    {"a": torch.ones(3), "half": torch.ones(2, 2).half(), "empty": torch.ones(0, 3)},
    {
        "a": torch.arange(6).reshape(2, 3).t(),
        "scalar": torch.tensor(1.5),
        "b": torch.tensor([True]),
    },
    trained_optimizer(),
    nn.Sequential(nn.BatchNorm2d(3), nn.Linear(2, 2)).state_dict(),
    {"p": nn.Parameter(torch.ones(2)), "dtype": torch.float32, "size": torch.Size([2, 3])},
    {"n": None, "t": (1, 2, (3, [4.5, -1, 10**15, True])), "text": "ä", "o": OrderedDict(a=1)},
    {"opts": argparse.Namespace(a=1, b=[1, 2]), "device": torch.device("cpu")},
    {"view": torch.arange(10)[2:5], "shared": [torch.ones(4)] * 3},
    [1, 2],
]


@pytest.mark.parametrize("content", GOOD, ids=range(len(GOOD)))
def test_tensors_and_plain_values_pass(save: Save, content: Any) -> None:
    check(save(content))


HOSTILE = {
    "a command": Call(os.system, "true"),
    "an evaluation": Call(eval, "1"),
    "an import": Call(__import__, "os"),
    "a getattr": Call(getattr, [], "append"),
    "torch.load": Call(torch.load, "x"),
    "a class of ours": Path("x"),
    "an array": np.ones(3),
    "a NumPy number": np.float64(1),
    "bytes": b"x",
    "a set": {1},
    "a lambda's home": Call(pickle.loads, b"N."),
    "a function": os.system,
    "a module's class": nn.Linear(1, 1),
    "a complex number": 1j,
    "a huge number": 1 << 2000,
    "a sparse tensor": torch.eye(3).to_sparse(),
    "a tuple as key": {(1, 2): 3},
}
PLACES: dict[str, Callable[[Any], Any]] = {
    "alone": lambda value: value,
    "in a state dict": lambda value: {"state_dict": {"w": torch.ones(2), "x": value}},
    "nested": lambda value: {"a": [{"b": (1, [value])}]},
    "in the optimizer": lambda value: {"optimizer": {"state": {0: {"exp_avg": value}}}},
    "in attributes": lambda value: {"opts": argparse.Namespace(x=value)},
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("what", HOSTILE)
def test_anything_else_is_refused_wherever_it_is(save: Save, what: str, place: str) -> None:
    with pytest.raises(UnsafePickle):
        check(save(PLACES[place](HOSTILE[what])))


def test_the_message_names_what_it_wants() -> None:
    with pytest.raises(UnsafePickle, match=r"wants \w+\.system, but must not contain code"):
        check(as_zip({"a": HOSTILE["a command"]}))


def test_containers_that_contain_themselves_are_refused(save: Save) -> None:
    alone: list[Any] = []
    alone.append(alone)
    first: dict[str, Any] = {}
    second: dict[str, Any] = {"first": first}
    first["second"] = second
    for content in (alone, first, {"a": [second]}):
        with pytest.raises(UnsafePickle, match="itself|already part"):
            check(save(content))


def test_alias_bombs_and_deep_nesting_are_refused(save: Save) -> None:
    bomb: list[Any] = ["x"] * 10
    for _ in range(9):
        bomb = [bomb] * 10
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    with pytest.raises(UnsafePickle, match="more than .* values"):
        check(save({"a": bomb}))
    with pytest.raises(UnsafePickle, match="nested"):
        check(save(deep))


def rebuilt(offset: int, size: tuple[int, ...], stride: tuple[int, ...], count: int = 4) -> bytes:
    """A pickle of one float tensor on a storage of ``count`` elements."""

    def number(value: int) -> bytes:
        return b"\x8a\x08" + value.to_bytes(8, "little", signed=True)

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(map(number, values)) + b"t"

    storage = b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0" + b"0X\3\0\0\0cpu"
    storage += number(count) + b"tQ"
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(offset) + numbers(size)
    call += numbers(stride) + b"\x89ccollections\nOrderedDict\n)RtR"
    return b"\x80\2" + call + b"."


def test_a_tensor_inside_its_storage_passes() -> None:
    for offset, size, stride in (
        (0, (4,), (1,)),
        (1, (3,), (1,)),
        (0, (2, 2), (1, 2)),
        (4, (0,), (1,)),
    ):
        check(with_pickle(rebuilt(offset, size, stride), {"0": bytes(16)}))


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (5,), (1,)),
        (1, (4,), (1,)),
        (0, (2, 2), (3, 1)),
        (5, (0,), (1,)),
        (-1, (2,), (1,)),
        (0, (2,), (-1,)),
        (0, (-2,), (1,)),
        (0, (1 << 62,), (1,)),
        (0, (1 << 40,), (0,)),  # little memory until it is copied
        (0, (2, 2), (1,)),
    ],
)
def test_a_tensor_outside_its_storage_is_refused(
    offset: int, size: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    with pytest.raises(UnsafePickle, match="storage|size"):
        check(with_pickle(rebuilt(offset, size, stride), {"0": bytes(16)}))


@pytest.mark.parametrize("held", [0, 12, 20])
def test_a_storage_of_another_size_is_refused(held: int) -> None:
    with pytest.raises(UnsafePickle, match="should have 16 bytes"):
        check(with_pickle(rebuilt(0, (4,), (1,)), {"0": bytes(held)}))
    with pytest.raises(UnsafePickle, match="and has 0"):
        check(with_pickle(rebuilt(0, (4,), (1,))))


@pytest.mark.parametrize(
    ("pickled", "said"),
    [
        (b"\x80\2]K\1K\2s.", "sets items of something that is not a dict"),  # CVE-2026-24747
        (b"\x80\2]K\1K\2(u.", "sets items|damaged"),
        (b"\x80\2}K\1a.", "appends to something that is not a list"),
        (b"\x80\2}}b.", "sets attributes"),
        (b"\x80\2ctorch\ndevice\n)R}b.", "sets attributes"),
        (b"\x80\2ctorch\nFloatStorage\n)\x81.", "not an argparse.Namespace"),
        (b"\x80\2ctorch\nFloatStorage\n)R.", "unusual way"),
        (b"\x80\2cos\nsystem\nX\4\0\0\0true\x85R.", "wants os.system"),
        (b"\x80\2cposix\nsystem\nq\0" + b"0N.", "wants posix.system"),
        (b"\x80\4\x8c\2os\x8c\6system\x93.", "version 4"),
        (b"\x80\2\x8c\2os\x8c\6system\x93.", "SHORT_BINUNICODE|STACK_GLOBAL"),
        (b"(S'true'\nios\nsystem\n.", "STRING|INST"),
        (b"\x80\2\x82\1.", "EXT1"),
        (b"\x80\2X\1\0\0\0aQ.", "not a storage"),
        (
            b"\x80\2(X\6\0\0\0modulectorch\nFloatStorage\nX\1\0\0\0" + b"0X\3\0\0\0cpuK\1tQ.",
            "not a storage",
        ),
        (b"\x80\2N.N.", "follows"),
    ],
)
def test_written_by_hand(pickled: bytes, said: str) -> None:
    with pytest.raises(UnsafePickle, match=said):
        check(with_pickle(pickled))


@pytest.mark.parametrize(
    "pickled", [b"", b"\x80\2", b"\x80\2}", b"\x80\2(.", b"\x80\2NN.", b"\x80\2h\7.", b"\x80\2t."]
)
def test_damaged_by_hand(pickled: bytes) -> None:
    with pytest.raises(DamagedPickle):
        check(with_pickle(pickled))


def test_an_empty_archive_is_refused() -> None:
    stream = io.BytesIO()
    zipfile.ZipFile(stream, "w").close()
    with pytest.raises(DamagedPickle):
        check(stream.getvalue())


def test_other_members_are_refused() -> None:
    for name in ("archive/code/x.py", "archive/constants.pkl", "other/version", "archive/x"):
        stream = io.BytesIO(as_zip({}))
        with zipfile.ZipFile(stream, "a") as archive:
            archive.writestr(name, b"")
        with pytest.raises(UnsafePickle, match="which no checkpoint does|zip structure"):
            check(stream.getvalue())


def test_two_archives_are_refused() -> None:
    harmless, hostile = as_zip({"a": 1}), as_zip(Call(os.system, "true"))
    for content in (hostile + harmless, harmless + hostile):
        with pytest.raises(UnsafePickle, match="zip structure"):
            check(content)


def test_a_compressed_archive_is_refused() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"a": "x" * 10**6}, protocol=2))
    with pytest.raises(UnsafePickle, match="compressed"):
        check(stream.getvalue())


def test_old_tar_files_are_refused() -> None:
    """torch before 2.6 ran code in them even with weights_only (CVE-2025-32434)."""
    import tarfile

    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            archive.addfile(tarfile.TarInfo(name))
    with pytest.raises((UnsafePickle, DamagedPickle)):
        check(stream.getvalue())


def test_old_format_with_wrong_storages() -> None:
    whole = as_old_format({"a": torch.ones(4)})
    data_at = len(whole) - 16
    longer = bytearray(whole)
    struct.pack_into("<q", longer, data_at - 8, 5)
    with pytest.raises(UnsafePickle, match="differs in size"):
        check(bytes(longer))
    with pytest.raises(UnsafePickle, match="follow"):
        check(whole + b"x")
    with pytest.raises(DamagedPickle, match="too early"):
        check(whole[:-1])


def test_sizes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (safe_pickle, pickle_walk):  # of a zip archive, of the old format
        monkeypatch.setattr(module, "MAX_PICKLE_BYTES", 1 << 10)
    for save in (as_zip, as_old_format):
        check(save({"a": 1}))
        with pytest.raises(UnsafePickle, match="bytes|larger"):
            check(save({"a": "x" * 5000, "b": 1}))
    monkeypatch.setattr(pickle_walk, "MOST_VALUES", 50)
    with pytest.raises(UnsafePickle, match="more than 50 values"):
        check(as_zip(list(range(100))))


@pytest.mark.parametrize("cut", [True, False])
def test_damage_is_refused_or_loads(save: Save, cut: bool) -> None:
    """After any bit flip or truncation: refused, or torch reads tensors and plain values."""
    whole = save({"a": torch.arange(6.0), "b": [1, "x", {"c": torch.ones(2)}]})
    random = np.random.default_rng(1)
    refused = 0
    for _ in range(300):
        content = bytearray(whole)
        content[random.integers(len(content))] ^= 1 << random.integers(8)
        if cut:
            content = content[: random.integers(len(content))]
        try:
            check(bytes(content))
        except (UnsafePickle, DamagedPickle):
            refused += 1
    assert refused > 20


def test_a_text_that_claims_to_be_longer_than_the_file_takes_no_memory() -> None:
    for pickled in (b"\x80\2X\xff\xff\xff\xff", b"\x80\2\x8d" + b"\xff" * 7 + b"\x7f"):
        with pytest.raises((UnsafePickle, DamagedPickle)):
            check(pickled)
