"""Downloads from a server in this process that misbehaves in all the ways named here."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
import sys
import threading
import time
from collections import namedtuple
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from s3pot.types import S3potError
from s3pot.weights.download import DownloadError, download
from s3pot.weights.registry import MissingWeights, WeightFile

DATA = bytes(reversed(range(256))) * 12_000  # 3 MB: several chunks
SHA = hashlib.sha256(DATA).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves ``DATA`` under paths whose name is the fault."""

    server: Server

    def log_message(self, *args: object) -> None:
        """Be quiet."""

    def do_GET(self) -> None:
        """Record the request, then answer as the path demands."""
        self.server.requests.append((self.path, self.headers.get("Range")))
        path = self.path.split("?")[0].strip("/")
        getattr(self, f"_{path}")()

    def _send(self, code: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        fields = {"Content-Type": "application/octet-stream", "Content-Length": str(len(body))}
        for key, value in {**fields, **(headers or {})}.items():
            if value:
                self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def _file(self, cut: int | None = None) -> None:
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        if start >= len(DATA):
            self._send(416, b"")
            return
        length = str(len(DATA) - start)
        headers = {"Content-Length": length}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"
        self._send(206 if start else 200, DATA[start:cut], headers)
        if cut:
            self.close_connection = True

    def _cut(self) -> None:
        self._file(cut=1_500_000 if len(self.server.requests) == 1 else None)

    def _alwayscut(self) -> None:
        self._file(cut=1_500_000)

    def _norange(self) -> None:
        self._send(200, DATA)

    def _otherplace(self) -> None:
        if self.headers.get("Range"):
            self._send(206, DATA[5:], {"Content-Range": f"bytes 5-{len(DATA) - 1}/{len(DATA)}"})
        else:
            self._send(200, DATA)

    def _wrong(self) -> None:
        self._send(200, DATA[::-1])

    def _short(self) -> None:
        self._send(200, DATA[:-1])

    def _nolength(self) -> None:
        self._send(200, DATA, {"Content-Length": ""})
        self.close_connection = True

    def _gone(self) -> None:
        self._send(404, b"no")

    def _redirect(self) -> None:
        self._send(302, b"", {"Location": "/file"})

    def _slow(self) -> None:
        time.sleep(0.5)
        self._file()

    def _quota(self) -> None:
        page = b"<html><title>Drive &amp; quota exceeded</title></html>"
        self._send(200, page, {"Content-Type": "text/html; charset=utf-8"})


class Server(ThreadingHTTPServer):
    """Remembers the requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str | None]] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """Be quiet about clients that hang up."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    def entry(self, fault: str) -> WeightFile:
        """Return a registry entry that points to a fault."""
        url = f"http://127.0.0.1:{self.server_address[1]}/{fault}"
        return WeightFile("thing", "thing.pth", url, SHA, len(DATA), "free", "a test")


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """Answer requests in a thread."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Run a server; no proxy between it and the test."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with running(Server()) as server:
        yield server


@pytest.mark.parametrize("fault", ["file", "redirect", "norange", "nolength"])
def test_brings_the_file(server: Server, tmp_path: Path, fault: str) -> None:
    path = download(server.entry(fault), tmp_path / "new" / "folder").path
    assert path == tmp_path / "new" / "folder" / "thing.pth"
    assert path.read_bytes() == DATA
    assert not list(path.parent.glob("*.part"))


def test_is_not_fetched_twice(server: Server, tmp_path: Path) -> None:
    download(server.entry("file"), tmp_path)
    download(server.entry("file"), tmp_path)
    assert len(server.requests) == 1


def test_resumes_after_a_cut(server: Server, tmp_path: Path) -> None:
    with pytest.raises(
        DownloadError, match="cut at 1,500,000 of 3,072,000 bytes; run the command again"
    ):
        download(server.entry("cut"), tmp_path)
    assert (tmp_path / "thing.pth.part").read_bytes() == DATA[:1_500_000]
    assert download(server.entry("cut"), tmp_path).path.read_bytes() == DATA
    assert [asked for _, asked in server.requests] == [None, "bytes=1500000-"]


def test_cut_without_known_size_or_hash_is_noticed(server: Server, tmp_path: Path) -> None:
    entry = replace(server.entry("cut"), size=None, sha256=None)
    with pytest.raises(DownloadError, match="cut at"):
        download(entry, tmp_path)
    assert download(entry, tmp_path).path.read_bytes() == DATA


def test_no_length_at_all_is_no_obstacle(server: Server, tmp_path: Path) -> None:
    entry = replace(server.entry("nolength"), size=None, sha256=None)
    check = download(entry, tmp_path)
    assert check.path.read_bytes() == DATA
    assert (check.sha256, check.basis) == (SHA, "first seen")


def test_server_that_cannot_resume(server: Server, tmp_path: Path) -> None:
    (tmp_path / "thing.pth.part").write_bytes(DATA[:1000])
    assert download(server.entry("norange"), tmp_path).path.read_bytes() == DATA


def test_server_that_goes_on_elsewhere(server: Server, tmp_path: Path) -> None:
    (tmp_path / "thing.pth.part").write_bytes(DATA[:1000])
    with pytest.raises(DownloadError, match=r"asked for byte 1000, got bytes 5-.*delete .*\.part"):
        download(server.entry("otherplace"), tmp_path)
    assert (tmp_path / "thing.pth.part").read_bytes() == DATA[:1000]


def test_complete_part_needs_no_server(server: Server, tmp_path: Path) -> None:
    (tmp_path / "thing.pth.part").write_bytes(DATA)
    assert download(server.entry("gone"), tmp_path).path.read_bytes() == DATA
    assert server.requests == []


def test_part_longer_than_the_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "thing.pth.part").write_bytes(DATA + b"more")
    assert download(server.entry("file"), tmp_path).path.read_bytes() == DATA


def test_wrong_bytes_are_removed(server: Server, tmp_path: Path) -> None:
    wrong = hashlib.sha256(DATA[::-1]).hexdigest()
    with pytest.raises(DownloadError, match=f"a wrong file.*{wrong}, expected {SHA}"):
        download(server.entry("wrong"), tmp_path)
    assert not list(tmp_path.glob("thing*"))


def test_damaged_part_is_removed_not_resumed_for_ever(server: Server, tmp_path: Path) -> None:
    (tmp_path / "thing.pth.part").write_bytes(b"x" * 1000)
    with pytest.raises(DownloadError, match="a wrong file"):
        download(server.entry("file"), tmp_path)
    assert download(server.entry("file"), tmp_path).path.read_bytes() == DATA


def test_wrong_size_is_refused_before_the_download(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="offers 3,071,999 bytes, expected 3,072,000"):
        download(server.entry("short"), tmp_path)
    assert not (tmp_path / "thing.pth.part").exists()


def test_404_says_how_to_go_on(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError) as caught:
        download(server.entry("gone"), tmp_path)
    text = str(caught.value)
    assert "HTTP Error 404" in text and str(tmp_path / "thing.pth") in text and SHA in text
    assert "--config mini" in text
    assert len(server.requests) == 1


def test_no_network_says_how_to_go_on(server: Server, tmp_path: Path) -> None:
    entry = replace(server.entry("file"), url="http://127.0.0.1:9/file")
    with pytest.raises(DownloadError, match="refused(.|\n)*HTTPS_PROXY(.|\n)*--config mini"):
        download(entry, tmp_path)


def test_web_page_of_google_drive(server: Server, tmp_path: Path) -> None:
    (tmp_path / "thing.pth.part").write_bytes(DATA[:1000])
    with pytest.raises(DownloadError, match=r"web page instead(.|\n)*by hand"):
        download(server.entry("quota"), tmp_path)
    assert (tmp_path / "thing.pth.part").read_bytes() == DATA[:1000]


def test_no_space(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1, 1, 1_000_000))
    with pytest.raises(DownloadError, match="1,000,000 bytes free, but 70,180,864 are"):
        download(server.entry("file"), tmp_path)
    assert not (tmp_path / "thing.pth.part").exists()


def test_disk_fills_up_in_between(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(DownloadError, match="thing.pth from .*No space left"):
        download(server.entry("file"), tmp_path)


def test_another_file_of_that_name_is_kept(server: Server, tmp_path: Path) -> None:
    (tmp_path / "thing.pth").write_bytes(b"\x80ine")
    with pytest.raises(S3potError, match="4 bytes, expected 3,072,000.*Move it away"):
        download(server.entry("file"), tmp_path)
    assert (tmp_path / "thing.pth").read_bytes() == b"\x80ine"


def test_without_a_link(tmp_path: Path) -> None:
    entry = WeightFile("thing", "thing.pth", None, None, None, "free", "ask Ann")
    with pytest.raises(MissingWeights, match="downloaded by hand(.|\n)*ask Ann(.|\n)*thing.pth"):
        download(entry, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_new_version_of_a_pinned_file_is_refused(server: Server, tmp_path: Path) -> None:
    entry = replace(server.entry("file"), size=None, sha256=None)
    download(entry, tmp_path).path.unlink()
    with pytest.raises(DownloadError, match="changed since its first use"):
        download(replace(entry, url=server.entry("wrong").url), tmp_path)
    assert not (tmp_path / "thing.pth").exists()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="starts its processes by fork")
def test_two_processes_fetch_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server()  # listens, but answers only once its thread runs: after the fork
    fork = multiprocessing.get_context("fork")
    work = [
        fork.Process(target=download, args=(server.entry("slow"), tmp_path)),
        fork.Process(target=download, args=(server.entry("slow"), tmp_path)),
    ]
    for process in work:
        process.start()
    with running(server):
        for process in work:
            process.join(30)
    assert [process.exitcode for process in work] == [0, 0]
    assert (tmp_path / "thing.pth").read_bytes() == DATA
    assert len(server.requests) == 1
