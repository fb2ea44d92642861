"""One runner for all commands that work through a folder.

A command is a ``FolderJob`` (``folder_job``) with three functions, and ``run_folder`` runs it:

        read     one item's files             in threads, ahead of the computation
    compute  a batch of items             here, or in as many threads as the job allows
        write    one item's files             in threads, after the computation

Everything that the commands have in common is implemented here and nowhere else: an item that fails
is reported and counted, and the rest is processed; finished items are recognized (``records``);
several processes divide the items (``shard``); progress; and results in the order of the items,
whichever thread finishes first.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import cv2
import torch
from tqdm import tqdm

from s3pot.device import shared_cores
from s3pot.io import disk_is_full
from s3pot.progress_log import logging_redirect_tqdm
from s3pot.report.summary import Failure
from s3pot.runs.folder_job import FolderJob, Input, Item, Outcome, Output
from s3pot.runs.records import ItemProvenance, read_finished, read_record, write_record
from s3pot.runs.shard import Shard
from s3pot.types import S3potError
from s3pot.wording import OUT_OF_GPU_MEMORY

logger = logging.getLogger(__name__)

Value = TypeVar("Value")

# Number of reader threads, and of writer threads: decoders and zlib release the GIL, and a GPU
# computes faster than two threads can decode images of 1024 pixels.
THREADS = max(2, min(4, (os.cpu_count() or 1) // 4))
AHEAD = THREADS  # items that may be read beyond a batch, and items that may wait to be written

# Errors that a single item may cause: its files, too little memory, values that do not fit. Errors
# of other types are bugs in the program and end the run.
ITEM_ERRORS = (
    S3potError,
    OSError,
    ValueError,  # includes UnicodeError
    ArithmeticError,
    EOFError,
    MemoryError,
    RuntimeError,  # of PyTorch, including out of GPU memory
    cv2.error,
)


def run_folder(  # noqa: PLR0913  # given by name, and few callers need more than two
    job: FolderJob[Item, Input, Output],
    items: Sequence[Item],
    *,
    keep_finished: bool = True,
    shard: Shard | None = None,
    left_out: Sequence[Item] = (),
    earlier_failures: Sequence[Failure] = (),
    progress: bool = True,
    log_failures: bool = True,
) -> Outcome:
    """Process all items, or this process's share of them.

    Args:
        job: The work to do on each item.
        items: The items.
        keep_finished: Skip items that are finished and would give the same result again.
        shard: The share of this process. Only a run of all items is summarized: a final call
            without a shard finds the others finished.
        left_out: Items of the folder that are not processed now; the summary keeps what is known
            about them.
        earlier_failures: Failures of the last run, each of which counts until its item is
            processed.
        progress: Show a progress bar.
        log_failures: Log failures; if not, the caller reports them.

    Raises:
        OSError: There is no space left on the disk.
        KeyboardInterrupt: After everything that was computed is written.
    """
    shard = shard or Shard()
    run = _Run(job, shard.of(items), keep_finished, log_failures)
    try:
        with logging_redirect_tqdm([logging.getLogger("s3pot")]):
            run.do_all(progress)
    finally:
        outcome = run.outcome(left_out, earlier_failures)
        if shard.is_whole:
            job.summarize(outcome)
    shard.log_end()
    return outcome


def finished_content(job: FolderJob[Item, Any, Any], item: Item) -> dict[str, Any] | None:
    """Return the ``Written.content`` of a finished item; None if it is not finished."""
    try:
        return _finished(job, item, job.provenance(item))
    except ITEM_ERRORS:  # the run reports it
        return None


def _finished(
    job: FolderJob[Item, Any, Any], item: Item, provenance: ItemProvenance
) -> dict[str, Any] | None:
    record = job.record_path(item)
    return None if record is None else read_finished(record, provenance, job.files_folder)


def describe(error: BaseException) -> str:
    """Describe the error of an item; errors that are not ours are named by their type."""
    if isinstance(error, (S3potError, OSError)):
        return str(error)
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return f"{OUT_OF_GPU_MEMORY} PyTorch says: {error}"
    return f"{type(error).__name__}: {error}"


@dataclass(frozen=True)
class _Read(Generic[Input]):
    """An item that was read: its provenance, and its input or, if finished, its content."""

    provenance: ItemProvenance
    input: Input | None = None
    finished: dict[str, Any] | None = None


class _Run(Generic[Item, Input, Output]):
    """One run; see ``run_folder``. Positions refer to the run's own items."""

    def __init__(
        self,
        job: FolderJob[Item, Input, Output],
        items: Sequence[Item],
        keep_finished: bool,
        log_failures: bool,
    ) -> None:
        self.job = job
        self.items = items
        self.keep_finished = keep_finished
        self.failure_level = logging.ERROR if log_failures else logging.DEBUG
        self.contents: dict[int, dict[str, Any]] = {}
        self.failures: dict[int, Failure] = {}
        batches = -(-len(items) // job.batch_size)
        self.workers = max(1, min(job.workers, batches))
        self.computing: dict[Future[list[Any]], Sequence[tuple[int, _Read[Input]]]] = {}
        self.writing: deque[tuple[int, Future[dict[str, Any]]]] = deque()

    def outcome(
        self, left_out: Sequence[Item] = (), earlier_failures: Sequence[Failure] = ()
    ) -> Outcome:
        """Collect the results in the order of the items."""
        done = self.contents.keys() | self.failures.keys()
        undone = [item for at, item in enumerate(self.items) if at not in done]
        waiting = {self.job.name(item): item for item in (*undone, *left_out)}
        still_failed = self._still_failed(waiting, earlier_failures)
        failed_names = {entry.name for entry in still_failed}
        failed = [self.items[position] for position in self.failures]
        others = [self.items[position] for position in self.contents]
        for name, item in waiting.items():
            if name in failed_names:
                failed.append(item)
            else:
                others.append(item)
        return Outcome(
            contents=[self.contents[position] for position in sorted(self.contents)],
            failures=[self.failures[position] for position in sorted(self.failures)],
            left_out=frozenset(waiting),
            still_failed=still_failed,
            outdated=self._outdated_files(failed, others),
            unreached=len(undone),
        )

    def _still_failed(
        self, waiting: Mapping[str, Item], earlier_failures: Sequence[Failure]
    ) -> list[Failure]:
        """Return the earlier failures of items that were not processed, neither here nor elsewhere.

        Args:
            waiting: The items that this run did not process, by name.
            earlier_failures: The failures of the last run.
        """
        done = self.contents.keys() | self.failures.keys()
        done_names = {self.job.name(self.items[position]) for position in done}
        return [
            entry
            for entry in earlier_failures
            if entry.name not in done_names and not self._is_cured(waiting.get(entry.name))
        ]

    def _outdated_files(self, failed: Iterable[Item], others: Iterable[Item]) -> frozenset[Path]:
        """List the files of earlier results of failed items, except those that others share."""
        outdated = self._files_of(failed)
        if not outdated:  # the common case, in which the others' records need not be read
            return outdated
        return outdated - self._files_of(others)

    def _is_cured(self, item: Item | None) -> bool:
        """Whether an item that failed has been finished since, by another process."""
        return item is not None and finished_content(self.job, item) is not None

    def _files_of(self, items: Iterable[Item]) -> frozenset[Path]:
        """List the records of items and the files that these name."""
        files: set[Path] = set()
        for item in items:
            path = self.job.record_path(item)
            if path is not None:
                record = read_record(path)
                folder = self.job.files_folder or path.parent
                files |= {path, *(folder / name for name in (record.files if record else ()))}
        return frozenset(files)

    def do_all(self, progress: bool) -> None:
        """Read, compute and write everything."""
        self.bar = tqdm(
            total=len(self.items), desc=self.job.unit, disable=None if progress else True
        )
        with self.bar, _threads(THREADS) as readers, _threads(THREADS) as writers:
            try:
                with self._computers() as computers:
                    self._compute_all(readers, computers, writers)
            finally:  # computed items are written in any case
                self._collect_written()

    def _compute_all(
        self,
        readers: ThreadPoolExecutor,
        computers: ThreadPoolExecutor | None,
        writers: ThreadPoolExecutor,
    ) -> None:
        """Compute batches as they are read; in this thread if there are no ``computers``."""
        try:
            for batch in self._batches(readers):
                if computers is None:
                    self._hand_over(batch, self._compute(batch), writers)
                    continue
                self.computing[computers.submit(self._compute, batch)] = batch
                if len(self.computing) == 2 * self.workers:
                    self._collect_computed(writers)
            while self.computing:
                self._collect_computed(writers)
        finally:  # after an interrupt: running work is finished, the rest is not started
            for future in list(self.computing):
                if future.cancel():
                    del self.computing[future]
            while self.computing:
                self._collect_computed(writers)

    @contextmanager
    def _computers(self) -> Iterator[ThreadPoolExecutor | None]:
        """Provide the threads that compute; None if the main thread does."""
        if self.workers == 1:
            yield None
            return
        with shared_cores(self.workers), _threads(self.workers) as pool:
            yield pool

    def _batches(self, readers: ThreadPoolExecutor) -> Iterator[list[tuple[int, _Read[Input]]]]:
        """Yield batches of unfinished items with their inputs."""
        batch: list[tuple[int, _Read[Input]]] = []
        for position, entry in self._read_ahead(readers):
            if entry.finished is not None:
                self._finish(position, entry.finished)
                continue
            batch.append((position, entry))
            if len(batch) == self.job.batch_size:
                yield batch
                batch = []
        if batch:
            yield batch

    def _read_ahead(self, readers: ThreadPoolExecutor) -> Iterator[tuple[int, _Read[Input]]]:
        """Read items in threads and yield them in order; those that fail are left out."""
        ahead = AHEAD + self.job.batch_size
        reading: deque[Future[_Read[Input]]] = deque()
        for position in range(len(self.items) + ahead):
            if position < len(self.items):
                reading.append(readers.submit(self._read, self.items[position]))
            oldest = position - ahead
            if oldest >= 0:
                entry = self._result_of(oldest, "read", reading.popleft())
                if entry is not None:
                    yield oldest, entry

    def _read(self, item: Item) -> _Read[Input]:
        provenance = self.job.provenance(item)
        if self.keep_finished:
            finished = _finished(self.job, item, provenance)
            if finished is not None:
                return _Read(provenance, finished=finished)
        item_input = self.job.read(item)
        if self.job.provenance(item).inputs != provenance.inputs:
            # The record would say that the results are those of files that were never read.
            raise S3potError("Its files changed while they were read; run the command again.")
        return _Read(provenance, input=item_input)

    def _compute(self, batch: Sequence[tuple[int, _Read[Input]]]) -> list[Output | BaseException]:
        """Compute a batch; an item that fails gets its error in place of an output."""
        inputs: list[Any] = [entry.input for _, entry in batch]
        try:
            return list(self.job.compute(inputs))
        except ITEM_ERRORS as error:
            if len(batch) == 1 or disk_is_full(error):
                return [error for _ in batch]
        # Find out which item caused the error.
        return [output for single in batch for output in self._compute([single])]

    def _collect_computed(self, writers: ThreadPoolExecutor) -> None:
        """Wait until a batch is computed, and pass all computed ones to the writers."""
        done, _ = wait(self.computing, return_when=FIRST_COMPLETED)
        for future in done:
            self._hand_over(self.computing.pop(future), future.result(), writers)

    def _hand_over(
        self,
        batch: Sequence[tuple[int, _Read[Input]]],
        outputs: Sequence[Output | BaseException],
        writers: ThreadPoolExecutor,
    ) -> None:
        """Pass computed items to the writers; an interrupt while it waits for them loses none."""
        failed: list[tuple[int, BaseException]] = []
        for (position, entry), output in zip(batch, outputs):
            if isinstance(output, BaseException):
                failed.append((position, output))
                continue
            future = writers.submit(self._write, self.items[position], output, entry.provenance)
            self.writing.append((position, future))
        for position, error in failed:
            self._fail(position, "compute", error)
        while len(self.writing) > AHEAD + self.job.batch_size:
            self._collect_oldest()

    def _write(self, item: Item, output: Output, provenance: ItemProvenance) -> dict[str, Any]:
        written = self.job.write(output, provenance)
        record = self.job.record_path(item)
        if record is not None:
            folder = self.job.files_folder
            write_record(record, provenance, written.files, written.content, folder)
        return written.content

    def _collect_written(self) -> None:
        """Wait for all writers; an interrupt takes effect after them, a second one at once."""
        try:
            while self.writing:
                self._collect_oldest()
        except KeyboardInterrupt:
            while self.writing:
                self._collect_oldest()
            raise

    def _collect_oldest(self) -> None:
        """Wait for the item whose writing started first."""
        position, future = self.writing[0]
        wait([future])  # an interrupt here must not lose the item
        self.writing.popleft()
        content = self._result_of(position, "write", future)
        if content is not None:
            self._finish(position, content)

    def _result_of(self, position: int, stage: str, future: Future[Value]) -> Value | None:
        """Wait for a thread's work on an item; None if the item failed."""
        try:
            return future.result()
        except ITEM_ERRORS as error:
            self._fail(position, stage, error)
            return None

    def _finish(self, position: int, content: dict[str, Any]) -> None:
        self.contents[position] = content
        self.bar.update()

    def _fail(self, position: int, stage: str, error: BaseException) -> None:
        """Report and count a failed item; raise errors that will affect all other items too."""
        if disk_is_full(error):
            raise error
        item = self.items[position]
        failure = Failure(self.job.name(item), stage, describe(error))
        self.failures[position] = failure
        label = self.job.label(item)
        names_item = failure.reason.startswith(label)
        message = failure.reason if names_item else f"{label}: {failure.reason}"
        logger.log(self.failure_level, "failed: %s", message)
        logger.debug("where it arose:", exc_info=error)
        self.bar.update()


@contextmanager
def _threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Provide threads; at the end, work that has not started is canceled."""
    pool = ThreadPoolExecutor(count)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
