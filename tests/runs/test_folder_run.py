"""The runner with a job of numbers: order, failures in every stage, records, shards."""

from __future__ import annotations

import errno
import json
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Callable

import pytest
import torch

from s3pot.report.summary import write_failures
from s3pot.runs import folder_run
from s3pot.runs.each import run_each
from s3pot.runs.folder_job import FolderJob, Outcome, Written
from s3pot.runs.folder_run import run_folder
from s3pot.runs.records import ItemProvenance, hash_inputs
from s3pot.runs.shard import Shard
from s3pot.types import S3potError
from tests.builders import read_csv


class SquareJob(FolderJob[int, int, "tuple[int, int]"]):
    """Squares numbers into text files; any stage can be made to fail for some of them."""

    unit = "numbers"

    def __init__(self, folder: Path, settings: str = "", batch_size: int = 1) -> None:
        self.folder = folder
        self.settings = settings
        self.batch_size = batch_size
        self.bad: dict[tuple[str, int], BaseException] = {}
        self.computed: list[list[int]] = []
        self.summaries: list[Outcome] = []
        self.delay: Callable[[int], float] = lambda number: 0.0

    def name(self, item: int) -> str:
        return f"n{item}"

    def record_path(self, item: int) -> Path:
        return self.folder / f"{item}.json"

    def provenance(self, item: int) -> ItemProvenance:
        return ItemProvenance(settings={"settings": self.settings, "pair": (1, 2)})

    def _enter(self, stage: str, number: int) -> None:
        if (stage, number) in self.bad:
            raise self.bad[stage, number]

    def read(self, item: int) -> int:
        time.sleep(self.delay(item))
        self._enter("read", item)
        return item

    def compute(self, inputs: Sequence[int]) -> list[tuple[int, int]]:
        for number in inputs:
            self._enter("compute", number)
        self.computed.append(list(inputs))
        return [(number, number**2) for number in inputs]

    def write(self, output: tuple[int, int], provenance: ItemProvenance) -> Written:
        number, square = output
        time.sleep(self.delay(number))
        self._enter("write", number)
        path = self.folder / f"{number}.txt"
        path.write_text(str(square))
        return Written(files=[path], content={"square": square})

    def summarize(self, outcome: Outcome) -> None:
        self.summaries.append(outcome)


def squares(outcome: Outcome) -> list[int]:
    return [content["square"] for content in outcome.contents]


@pytest.mark.parametrize("batch_size", [1, 3, 50])
def test_results_are_in_the_order_of_the_items(tmp_path: Path, batch_size: int) -> None:
    job = SquareJob(tmp_path, batch_size=batch_size)
    job.delay = lambda number: 0.004 if number % 5 == 0 else 0.0  # some threads are slower
    outcome = run_folder(job, range(20))
    assert squares(outcome) == [number**2 for number in range(20)]
    assert [number for batch in job.computed for number in batch] == list(range(20))
    assert max(len(batch) for batch in job.computed) == min(batch_size, 20)
    assert {path.name for path in tmp_path.glob("*.txt")} == {f"{n}.txt" for n in range(20)}
    assert job.summaries == [outcome]


def test_an_item_whose_files_change_while_they_are_read_fails(tmp_path: Path) -> None:
    """Its record would name other files than those that the results come from."""
    source = tmp_path / "source.txt"
    source.write_text("before")
    job = SquareJob(tmp_path)
    plain_read = job.read

    def provenance(item: int) -> ItemProvenance:
        paths = {"source": source if item == 2 else None}
        return ItemProvenance(hash_inputs(paths))

    def disturbed_read(item: int) -> int:
        if item == 2:
            source.unlink(missing_ok=True)
        return plain_read(item)

    job.provenance, job.read = provenance, disturbed_read  # type: ignore[method-assign]
    outcome = run_folder(job, range(4))
    assert squares(outcome) == [0, 1, 9]
    (failure,) = outcome.failures
    assert (failure.name, failure.stage) == ("n2", "read")
    assert "changed while they were read" in failure.reason
    assert squares(run_folder(job, range(4))) == [0, 1, 4, 9]  # undisturbed now


def test_no_more_is_read_ahead_than_said(tmp_path: Path) -> None:
    job, read, gap = SquareJob(tmp_path), 0, 0
    plain_read, plain_compute = job.read, job.compute

    def counted_read(item: int) -> int:
        nonlocal read
        read += 1
        return plain_read(item)

    def slow_compute(inputs: Sequence[int]) -> list[tuple[int, int]]:
        nonlocal gap
        time.sleep(0.002)
        gap = max(gap, read - len(job.computed))
        return plain_compute(inputs)

    job.read, job.compute = counted_read, slow_compute  # type: ignore[method-assign]
    run_folder(job, range(40))
    assert 1 < gap <= folder_run.AHEAD + job.batch_size + 1


@pytest.mark.parametrize("batch_size", [1, 3])
def test_several_threads_compute_at_once(tmp_path: Path, batch_size: int) -> None:
    job = SquareJob(tmp_path, batch_size=batch_size)
    job.workers = 3
    plain_compute, together = job.compute, threading.Barrier(3, timeout=20)

    def compute(inputs: Sequence[int]) -> list[tuple[int, int]]:
        together.wait()  # each waits for two others: one thread alone would never end
        time.sleep(0.01 if inputs[0] % 2 else 0.0)
        return plain_compute(inputs)

    job.compute = compute  # type: ignore[method-assign]
    threads = torch.get_num_threads()
    outcome = run_folder(job, range(6 * batch_size))
    assert squares(outcome) == [number**2 for number in range(6 * batch_size)]
    numbers = [number for batch in job.computed for number in batch]
    assert sorted(numbers) == list(range(6 * batch_size))
    assert torch.get_num_threads() == threads


def test_an_interrupt_of_several_threads_keeps_what_was_computed(tmp_path: Path) -> None:
    job = SquareJob(tmp_path)
    job.workers = 2
    job.bad = {("compute", 3): KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        run_folder(job, range(40))
    done = {number for batch in job.computed for number in batch}
    assert {0, 1, 2} <= done < set(range(40))  # items that had not been started were dropped
    assert squares(job.summaries[0]) == [number**2 for number in sorted(done)]
    assert job.summaries[0].done("number") == f"{len(done)} of 40 numbers are"
    again = SquareJob(tmp_path)
    assert squares(run_folder(again, range(40))) == [number**2 for number in range(40)]
    assert {number for batch in again.computed for number in batch} == set(range(40)) - done


@pytest.fixture
def interrupts() -> Iterator[None]:
    """Let SIGINT interrupt, which a shell ignores for what it starts in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_while_the_last_items_are_written_loses_none(
    tmp_path: Path, interrupts: None
) -> None:
    job = SquareJob(tmp_path)
    plain_write = job.write

    def interrupted_write(output: tuple[int, int], provenance: ItemProvenance) -> Written:
        if output[0] == 2:
            main_thread = threading.main_thread().ident
            assert main_thread is not None
            signal.pthread_kill(main_thread, signal.SIGINT)
        time.sleep(0.2)
        return plain_write(output, provenance)

    job.write = interrupted_write  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        run_folder(job, range(3))
    assert squares(job.summaries[0]) == [0, 1, 4]


def test_an_interrupt_between_the_items_of_a_batch_loses_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain_collect = folder_run._Run._collect_oldest
    interrupts_left = [KeyboardInterrupt()]

    def collect(run: Any) -> None:
        if interrupts_left:
            raise interrupts_left.pop()
        plain_collect(run)

    monkeypatch.setattr(folder_run, "AHEAD", 2)
    monkeypatch.setattr(folder_run._Run, "_collect_oldest", collect)
    job = SquareJob(tmp_path, batch_size=4)
    with pytest.raises(KeyboardInterrupt):
        run_folder(job, range(40))
    assert job.computed == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert squares(job.summaries[0]) == [number**2 for number in range(8)]


def test_a_failure_that_another_process_cured_does_not_count(tmp_path: Path) -> None:
    job = SquareJob(tmp_path)
    job.bad = {("read", 1): S3potError("odd"), ("read", 2): S3potError("odd")}
    failures = run_folder(job, [1, 2, 3]).failures
    job.bad = {}
    run_folder(job, [1], shard=Shard(0, 2))
    outcome = run_folder(job, [3], left_out=[1, 2], earlier_failures=failures)
    assert [failure.name for failure in outcome.still_failed] == ["n2"]


def test_a_failed_item_does_not_hide_one_with_the_same_record(tmp_path: Path) -> None:
    """``a.jpg`` and ``a.png`` have one name; the second fails."""
    job = SquareJob(tmp_path)
    job.record_path = lambda item: tmp_path / f"{item % 10}.json"  # type: ignore[method-assign]
    run_folder(job, [1, 2])
    job.bad = {("read", 11): S3potError("its name is that of another item")}

    def outdated(*items: int, left_out: Sequence[int] = ()) -> frozenset[Path]:
        return run_folder(job, items, left_out=left_out, keep_finished=False).outdated

    assert outdated(1, 2, 11) == outdated(11, left_out=[1, 2]) == frozenset()
    assert outdated(11) == {tmp_path / "1.json", tmp_path / "1.txt"}


@pytest.mark.parametrize("stage", ["read", "compute", "write"])
@pytest.mark.parametrize(
    "error",
    [
        S3potError("no face"),
        OSError(errno.EACCES, "denied"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "odd byte"),
        ValueError("odd"),
        MemoryError(),
        RuntimeError("CUDA out of memory"),
        ZeroDivisionError("by zero"),
    ],
)
@pytest.mark.parametrize(("batch_size", "workers"), [(1, 1), (4, 1), (1, 3), (2, 2)])
def test_a_bad_item_is_named_and_the_rest_is_done(
    tmp_path: Path,
    stage: str,
    error: Exception,
    batch_size: int,
    workers: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    job = SquareJob(tmp_path, batch_size=batch_size)
    job.workers = workers
    job.bad = {(stage, 2): error}
    outcome = run_folder(job, range(6))
    assert squares(outcome) == [0, 1, 9, 16, 25]
    (failure,) = outcome.failures
    assert (failure.name, failure.stage) == ("n2", stage)
    assert str(error) in failure.reason
    assert any(message.startswith("failed: n2: ") for message in caplog.messages)
    assert not job.record_path(2).exists()


def test_a_reason_that_begins_with_the_name_does_not_repeat_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = SquareJob(tmp_path)
    job.bad = {("read", 2): S3potError("n2 is not a readable image")}
    run_folder(job, range(4))
    assert "failed: n2 is not a readable image" in caplog.messages


@pytest.mark.parametrize("stage", ["read", "compute", "write"])
@pytest.mark.parametrize("workers", [1, 2])
def test_mistakes_in_the_program_and_a_full_disk_end_the_run(
    tmp_path: Path, stage: str, workers: int
) -> None:
    for error in (AttributeError("a bug"), OSError(errno.ENOSPC, "no space left")):
        job = SquareJob(tmp_path)
        job.workers = workers
        job.bad = {(stage, 2): error}
        with pytest.raises(type(error)):
            run_folder(job, range(6), keep_finished=False)
        (outcome,) = job.summaries
        if workers == 1:  # otherwise an item that no thread has started is dropped
            assert squares(outcome)[:2] == [0, 1]
        assert 4 not in squares(outcome)


def test_all_failed(tmp_path: Path) -> None:
    job = SquareJob(tmp_path)
    job.bad = {("read", number): ValueError("odd") for number in range(3)}
    outcome = run_folder(job, range(3))
    assert len(outcome.failures) == 3
    with pytest.raises(S3potError, match="none of the numbers could be processed: 3 failed"):
        outcome.require_some("numbers")
    Outcome().require_some("numbers")


def test_finished_items_are_kept_until_something_differs(tmp_path: Path) -> None:
    def computed(settings: str = "", keep_finished: bool = True) -> list[int]:
        job = SquareJob(tmp_path, settings)
        outcome = run_folder(job, range(4), keep_finished=keep_finished)
        assert squares(outcome) == [0, 1, 4, 9]
        return [number for batch in job.computed for number in batch]

    assert computed() == [0, 1, 2, 3]
    assert computed() == []
    (tmp_path / "1.txt").unlink()
    (tmp_path / "3.txt").write_text("damaged")
    assert computed() == [1, 3]
    (tmp_path / "2.json").write_text(json.dumps(["no", "record"]))
    assert computed() == [2]
    assert computed("other") == [0, 1, 2, 3]
    assert computed("other", keep_finished=False) == [0, 1, 2, 3]


def test_an_interrupted_run_keeps_what_was_computed(tmp_path: Path) -> None:
    job = SquareJob(tmp_path)
    job.delay = lambda number: 0.01
    job.bad = {("compute", 3): KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        run_folder(job, range(9))
    assert squares(job.summaries[0]) == [0, 1, 4]
    assert sorted(path.name for path in tmp_path.glob("*.json")) == ["0.json", "1.json", "2.json"]
    again = SquareJob(tmp_path)
    assert squares(run_folder(again, range(9))) == [number**2 for number in range(9)]
    assert again.computed == [[number] for number in range(3, 9)]


def test_threads_end_with_the_run(tmp_path: Path) -> None:
    before = threading.active_count()
    run_folder(SquareJob(tmp_path), range(5))
    assert threading.active_count() == before


def test_shards_do_every_item_once_and_a_last_run_sums_up(tmp_path: Path) -> None:
    done: list[int] = []
    for index in range(3):
        job = SquareJob(tmp_path)
        run_folder(job, range(8), shard=Shard(index, 3))
        done += [number for batch in job.computed for number in batch]
        assert job.summaries == []
    assert sorted(done) == list(range(8))
    last = SquareJob(tmp_path)
    assert squares(run_folder(last, range(8))) == [number**2 for number in range(8)]
    assert last.computed == []
    assert len(last.summaries) == 1


def test_more_shards_than_items(tmp_path: Path) -> None:
    outcome = run_folder(SquareJob(tmp_path), range(2), shard=Shard(5, 7))
    assert outcome == Outcome()


def test_failures_as_a_file(tmp_path: Path) -> None:
    job = SquareJob(tmp_path)
    job.bad = {("read", 1): ValueError("odd, very\nodd")}
    write_failures(tmp_path, run_folder(job, range(3)).failures)
    rows = read_csv(tmp_path / "failures.csv")
    assert rows == [{"name": "n1", "stage": "read", "reason": "ValueError: odd, very\nodd"}]
    write_failures(tmp_path, [])
    assert not (tmp_path / "failures.csv").exists()


def test_run_each_keeps_values_in_memory() -> None:
    def halved(value: int) -> Any:
        if value % 2:
            raise S3potError("odd")
        return {value // 2}

    assert run_each({"a": 2, "b": 3, "c": 4}, halved, "numbers") == [{1}, {2}]
    with pytest.raises(S3potError, match="none of the numbers could be processed: 1 failed"):
        run_each({"b": 3}, halved, "numbers")
