from __future__ import annotations

import json
import signal
import socket
from datetime import timedelta
from pathlib import Path
from typing import Callable

import pytest
import torch
from torch import distributed

import inference
import train_general
from s3pot.distributed import Place, place_of_process, processes, wait_for_other_processes
from tests.fresh_python import CAN_FORK, TORCHRUN, FreshPython

# Seconds. The test took 7 on idle cores and up to 167 on a core with twelve other processes.
LONGEST = 900


@pytest.mark.slow
@pytest.mark.ddp
def test_two_processes_equal_one(
    processed_folder: Callable[..., Path],
    mini_options: list[str],
    tmp_path: Path,
    fresh_python: FreshPython,
) -> None:
    """Steps of 3, 3 and 1 images: shares of 2 and 1, and one process without any."""
    processed_folder(7, "data/train")
    processed_folder(3, "data/val")
    arguments = [
        "--datapath",
        str(tmp_path / "data"),
        "--bsz",
        "3",
        "--epochs",
        "2",
        "--lr",
        "1e-3",
    ]
    one, two = tmp_path / "one", tmp_path / "two"
    assert train_general.main([*arguments, "--output_dir", str(one), *mini_options]) == 0
    command = ["train_general.py", *arguments, "--output_dir", str(two), *mini_options]
    done = fresh_python.run(TORCHRUN, *command, timeout=LONGEST)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("training on 7 faces, validating on 3") == 1
    rows = []
    for folder in (one, two):
        lines = (folder / "history.jsonl").read_text().splitlines()  # the CSV file is rounded
        rows.append([json.loads(line) for line in lines])
    assert len(rows[0]) == len(rows[1]) == 2
    for a, b in zip(*rows):
        assert b == pytest.approx(a, rel=1e-5, abs=1e-6)
    weights = [torch.load(f / "last.pth", weights_only=True)["adapter"] for f in (one, two)]
    for key, value in weights[0].items():
        got, want = weights[1][key], value
        if key == "self_attn.in_proj_bias":
            # Softmax does not depend on the key's bias, where AdamW only amplifies rounding.
            got, want = (torch.cat((b[:32], b[64:])) for b in (got, want))
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    assert sorted(path.name for path in one.iterdir()) == sorted(
        path.name for path in two.iterdir()
    )


# Processes that join another one which never starts; each is sent a signal while it waits.
JOINING = """
import os, signal, time
from torch import distributed
from s3pot.distributed import Place, place_of_process, processes, wait_for_other_processes
join = distributed.init_process_group
told, teller = os.pipe()
def say_and_join(backend, timeout):
    os.write(teller, b"joining ")
    join(backend, timeout=timeout)
distributed.init_process_group = say_and_join
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, signal.default_int_handler)  # as the commands do
started = {}
for number in (signal.SIGINT, signal.SIGTERM):
    started[number] = os.fork()
    if started[number] == 0:
        signal.alarm(60)
        with processes("cpu"):
            pass
        os._exit(0)
    assert os.read(told, 8) == b"joining "
time.sleep(1)  # until they wait
for number, process in started.items():
    os.kill(process, number)
print(*(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in started.values()))
"""


@pytest.mark.slow
@pytest.mark.ddp
@pytest.mark.skipif(not CAN_FORK, reason="this system does not fork")
def test_a_process_that_waits_for_the_others_can_be_ended(fresh_python: FreshPython) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    place = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    done = fresh_python.run(JOINING, environment=place)
    assert done.stdout.split() == [str(-signal.SIGINT), str(-signal.SIGTERM)], done.stderr


@pytest.mark.parametrize("is_under_torchrun", [True, False])
def test_handlers_of_signals_are_back_after_the_others_have_been_joined(
    monkeypatch: pytest.MonkeyPatch, is_under_torchrun: bool
) -> None:
    def handler(number: int, frame: object) -> None:
        pass

    during = []

    def join(backend: str, timeout: timedelta | None) -> None:
        if is_under_torchrun:  # one process may prepare faces long after the others
            assert timeout is not None and timeout > timedelta(days=1)
        else:  # nobody ends this process if another one was never started
            assert timeout is None
        during.extend(signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM))

    monkeypatch.setattr(distributed, "init_process_group", join)
    monkeypatch.setattr(distributed, "destroy_process_group", lambda: None)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    if is_under_torchrun:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    before = [signal.signal(signal.SIGINT, signal.SIG_IGN), signal.signal(signal.SIGTERM, handler)]
    try:
        with processes("cpu"):
            after = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    finally:
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])
    assert during == [signal.SIG_IGN, signal.SIG_DFL]
    assert after == [signal.SIG_IGN, handler]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ({"RANK": "x"}, "RANK is 'x'; expected a number"),
        ({"WORLD_SIZE": "-1"}, "WORLD_SIZE is '-1'; expected a number"),
        ({"LOCAL_RANK": "0.5"}, "LOCAL_RANK is '0.5'; expected a number"),
        ({"RANK": "1"}, "RANK is 1 and WORLD_SIZE is 1"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK is 2 and WORLD_SIZE is 2"),
        ({"WORLD_SIZE": "0"}, "RANK is 0 and WORLD_SIZE is 0"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "the other processes cannot be joined"),
    ],
)
def test_a_wrong_place_is_an_error_message(
    processed_folder: Callable[..., Path],
    mini_options: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    place: dict[str, str],
    said: str,
) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    data = ["--datapath", str(processed_folder(2)), *mini_options]
    assert train_general.main([*data, "--output_dir", str(tmp_path / "adapter")]) == 2
    assert said in caplog.text
    if "joined" not in said:  # inference does not join the others: each handles its share
        caplog.clear()
        assert inference.main([*data, "--output_dir", str(tmp_path / "results")]) == 2
        assert said in caplog.text


def test_empty_variables_are_no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.setenv(name, "")
    assert place_of_process() == Place()


def test_only_processes_of_torchrun_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Job schedulers set some of the same variables, but not the address to meet at."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    for name in ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    wait_for_other_processes()
