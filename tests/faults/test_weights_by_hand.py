"""Weight files that were placed manually, on any disk: the message says what they really are.

Reported at pixel2style2pixel #267, pix2vertex #13, pytorch_geometric #10806 (what came instead),
smodels #37, cargo #3666, miniwdl #483 (no locks), huggingface_hub #3714, datasets #6589 (shared
folders), nnUNet #2681, sam3 #606 (weights of NaN).
"""

from __future__ import annotations

import errno
import json
import os
import stat
import struct
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest
import torch
from torch import nn

from s3pot.data.cache import FeatureCache
from s3pot.io import BadFile, shared_mode
from s3pot.locks import _file_lock, exclusive
from s3pot.pipeline import split_region
from s3pot.types import Prediction, Prompts, S3potError
from s3pot.weights.__main__ import main
from s3pot.weights.contents import foreign_kind
from s3pot.weights.hashing import LOCK_NAME, check_hash
from s3pot.weights.load import CheckpointError, load_strict, read_checkpoint

HTML = (
    b"<!DOCTYPE html><html lang='fr'><head><title>Quota d\xc3\xa9pass\xc3\xa9</title></head></html>"
)


def saved(folder: Path, content: Any, **options: Any) -> bytes:
    torch.save(content, folder / "tmp", **options)
    content = (folder / "tmp").read_bytes()
    (folder / "tmp").unlink()
    return content


FOREIGN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "page": (HTML, "a web page titled 'Quota dépassé'"),
    "page in capitals": (b"\n\n  <HTML><BODY>Sign in</BODY>", "a web page"),
    "page with a byte order mark": (b"\xef\xbb\xbf" + HTML, "a web page"),
    "page in UTF-16": ("<html></html>".encode("utf-16"), "a web page"),
    "LFS pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1234567\n",
        "a Git LFS pointer",
    ),
    "XML": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "an XML message"),
    "JSON": (b'{"error": "Repository not found"}', "JSON text"),
    "text": (b"Entry not found", "text and not a checkpoint; it starts with 'Entry not found'"),
    "PDF": (b"%PDF-1.7\n\x00", "a PDF"),
    "PNG": (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    "gzip": (b"\x1f\x8b\x08\x00", "a gzip archive"),
    "array": (b"\x93NUMPY\x01\x00v\x00", "a NumPy array"),
    "tar": (bytes(257) + b"ustar\x00" + bytes(100), "a tar archive"),
    "zeros": (bytes(5000), "not a checkpoint: it begins with zeros"),
    "cut zip": (b"PK\x03\x04" + bytes(500), "cut off: its end is missing after 504 bytes"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("S3POT_WEIGHTS_DIR", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("name", ["iteration_300000.pt", "79999_iter.pth"])
def test_what_came_is_named_and_nothing_is_pinned(
    folder: Path, kind: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    content, said = FOREIGN[kind]
    (folder / name).write_bytes(content)
    assert main(["verify"]) == 2
    assert (
        f"{name} is {said}" in caplog.text
        or f"{name} is not a checkpoint but {said}" in caplog.text
    )
    assert not (folder / LOCK_NAME).exists()


def test_the_right_file_is_taken_afterwards(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "iteration_300000.pt"
    path.write_bytes(HTML)
    assert main(["verify"]) == 2
    path.write_bytes(saved(folder, {"state_dict": {"a": torch.ones(3)}}))
    assert main(["verify"]) == 0
    assert "is seen for the first time; no hash is published" in capsys.readouterr().out
    assert main(["verify"]) == 0
    assert "is unchanged since it was first seen" in capsys.readouterr().out


@pytest.mark.parametrize("zipped", [True, False])
def test_checkpoints_are_no_strangers(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "a.pth"
    torch.save({"a": torch.ones(3)}, path, _use_new_zipfile_serialization=zipped)
    assert foreign_kind(path) is None
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    assert foreign_kind(path) is None  # its hash, or loading it, will show what it is
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "a zip archive of other files" in str(foreign_kind(path))


def refuse(number: int) -> Callable[..., None]:
    def flock(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    return flock


@pytest.mark.skipif(sys.platform == "win32", reason="flock is POSIX")
@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EPERM])
def test_a_disk_without_locks_is_no_obstacle(
    folder: Path, number: int, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr("fcntl.flock", refuse(number))
    (folder / "iteration_300000.pt").write_bytes(b"\x80weights")
    for _ in range(2):
        assert main(["verify"]) == 0
    assert "iteration_300000.pt" in (folder / LOCK_NAME).read_text()
    assert [str(warning.message) for warning in recwarn if "flock" in str(warning.message)] == []


def test_a_lock_is_held_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from filelock import FileLock, Timeout

    with exclusive(tmp_path / "lock"), pytest.raises(Timeout):
        FileLock(tmp_path / "lock").acquire(timeout=0)
    with exclusive(tmp_path / "lock"):
        pass  # it was given back


def test_a_lock_of_an_old_version_is_not_tried_with_new_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The object whose options were refused would print a traceback when it is collected."""
    created = []

    class OldLock:
        def __new__(cls, *paths: Path, **options: Any) -> OldLock:
            created.append((paths, set(options)))
            return super().__new__(cls)

        def __init__(self, path: Path, mode: int) -> None:
            pass

    monkeypatch.setattr("s3pot.locks.FileLock", OldLock)
    _file_lock(tmp_path / "lock")
    assert created == [((tmp_path / "lock",), {"mode"})]


@pytest.mark.slow
def test_waiting_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import threading

    caplog.set_level("INFO")
    monkeypatch.setattr("s3pot.locks.SECONDS_UNTIL_WAIT_IS_TOLD", 0.05)
    held = threading.Event()
    told = threading.Event()

    def hold() -> None:
        with exclusive(tmp_path / "lock"):
            held.set()
            told.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    threading.Timer(0.3, told.set).start()
    with exclusive(tmp_path / "lock"):
        assert "waiting for another process" in caplog.text
    thread.join()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork") or os.getuid() != 0, reason="becomes two users")
@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_two_users_share_a_folder(mode: int) -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folder is closed to others
        lab = Path(name)
        lab.chmod(mode)
        (lab / "a.pth").write_bytes(b"\x80weights")
        (lab / "a.pth").chmod(0o644)
        check_hash(lab / "a.pth", None)
        for user in (2001, 2002, 2001):
            process = os.fork()
            if process == 0:
                status = 1
                try:
                    os.umask(0o022)
                    os.setgid(user)
                    os.setuid(user)
                    check_hash(lab / "a.pth", None, rehash=True)
                    status = 0
                finally:
                    os._exit(status)
            assert os.waitpid(process, 0)[1] == 0


def test_what_is_written_is_open_to_those_who_may_write_there(tmp_path: Path) -> None:
    for mode, expected in ((0o755, 0o644), (0o775, 0o664), (0o777, 0o666)):
        lab = tmp_path / oct(mode)
        lab.mkdir()
        lab.chmod(mode)
        (lab / "a.pth").write_bytes(b"\x80weights")
        check_hash(lab / "a.pth", None)
        assert shared_mode(lab) == expected
        assert stat.S_IMODE((lab / LOCK_NAME).stat().st_mode) == expected


def test_the_cache_of_a_shared_data_folder_is_open_too(tmp_path: Path) -> None:
    tmp_path.chmod(0o775)
    prompts = Prompts(
        name="a",
        image_embedding=torch.zeros(2, 3, 3, dtype=torch.float16),
        points_sam=torch.zeros(1, 2),
        point_labels=torch.ones(1, dtype=torch.int64),
        similarity=torch.zeros(3, 3, dtype=torch.float16),
        first_point_sam=torch.zeros(2),
        region_sam=torch.ones(8, 8, dtype=torch.bool),
    )
    cache = FeatureCache(tmp_path / ".s3pot_cache", 1 << 20)
    cache.write("k" * 64, prompts)
    (entry,) = (tmp_path / ".s3pot_cache").iterdir()
    assert stat.S_IMODE((tmp_path / ".s3pot_cache").stat().st_mode) == 0o775
    assert stat.S_IMODE(entry.stat().st_mode) == 0o664


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("count", [1, 6])
def test_weights_that_are_no_numbers_are_refused(value: float, count: int) -> None:
    net = nn.Linear(3, 2)
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    state = {key: tensor.clone() for key, tensor in before.items()}
    state["weight"].view(-1)[:count] = value
    for given in (state, {"state_dict": {f"module.{key}": v for key, v in state.items()}}):
        with pytest.raises(
            CheckpointError, match="a.pth holds values that are not finite numbers.*weight"
        ):
            load_strict(net, given, "a.pth")
    assert all(torch.equal(before[key], tensor) for key, tensor in net.state_dict().items())


def test_checkpoints_as_people_save_them(tmp_path: Path) -> None:
    net = nn.Linear(3, 2)
    state = net.state_dict()
    good = {
        "plain": state,
        "wrapped": {"state_dict": state, "epoch": 3},
        "parallel": {f"module.{key}": value for key, value in state.items()},
        "half": {key: value.half() for key, value in state.items()},
        "parameters": {key: nn.Parameter(value) for key, value in state.items()},
    }
    for name, content in good.items():
        torch.save(content, tmp_path / f"{name}.pth")
        load_strict(nn.Linear(3, 2), read_checkpoint(tmp_path / f"{name}.pth"), name)
    bad = {
        "module": (net, "was refused: it wants torch.nn.modules.linear.Linear"),
        "path": ({"state_dict": state, "path": tmp_path}, "was refused: it wants pathlib"),
        "number": ({"state_dict": state, "loss": np.float64(0.1)}, "was refused: it wants numpy"),
        "list": ([1], "holds a value of type list"),
    }
    for name, (content, said) in bad.items():
        torch.save(content, tmp_path / f"{name}.pth")
        with pytest.raises(CheckpointError, match=f"{name}.pth {said}"):
            read_checkpoint(tmp_path / f"{name}.pth")


def test_safetensors(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    net = nn.Linear(3, 2)
    save_file(net.state_dict(), str(tmp_path / "a.safetensors"))
    other = nn.Linear(3, 2)
    load_strict(other, read_checkpoint(tmp_path / "a.safetensors"), "a")
    assert torch.equal(net.weight, other.weight)
    offsets = {"weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 0]}}
    head = json.dumps(offsets).encode()
    (tmp_path / "b.safetensors").write_bytes(struct.pack("<Q", len(head)) + head)
    (tmp_path / "c.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes()[:-3])
    for name in ("b", "c"):
        with pytest.raises(CheckpointError, match=f"{name}.safetensors is cut off, damaged"):
            read_checkpoint(tmp_path / f"{name}.safetensors")


def test_a_damaged_lock_file_is_named(folder: Path) -> None:
    (folder / "a.pth").write_bytes(b"\x80weights")
    (folder / LOCK_NAME).write_text("[1]")
    with pytest.raises(BadFile, match="is damaged. Delete it"):
        check_hash(folder / "a.pth", None)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("count", [1, 64])
def test_logits_that_are_no_numbers_are_refused(value: float, count: int) -> None:
    logits = torch.full((8, 8), -1.0)
    logits.view(-1)[:count] = value
    prediction = Prediction(logits, None)
    with pytest.raises(S3potError, match="logits are not finite numbers"):
        split_region(prediction, np.full((4, 4), 6, np.uint8), (8, 8))
