"""Feeding prompts to training: kept in memory as far as they fit, otherwise prefetched."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from s3pot.data.face_folder import FaceFiles
from s3pot.types import Prompts
from s3pot.wording import subject

logger = logging.getLogger(__name__)

READ_AHEAD = 8  # number of faces that are read from disk ahead of time


class PromptFeed:
    """Provides the prompts of faces, epoch after epoch.

    A face that fits into memory is read, and thereby checked, once per run; otherwise it is read
    once per epoch, by a separate thread, ahead of time.

    Args:
        load: Reads the prompts of a face, on the CPU. It is called in one thread, never
            concurrently.
        device: The device on which training needs them.
        max_bytes: How much is kept in memory. The first faces that fit are kept, so that no face
            evicts another one of the same epoch.
    """

    def __init__(
        self, load: Callable[[FaceFiles], Prompts], device: torch.device, max_bytes: int
    ) -> None:
        self._load = load
        self._device = device
        self._max_bytes = max_bytes
        self._bytes = 0
        self._is_full = False
        self._kept: dict[FaceFiles, Prompts] = {}
        self._coming: deque[FaceFiles] = deque()
        self._reading: dict[FaceFiles, Future[Prompts]] = {}
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prompts")

    def plan(self, faces: Iterable[FaceFiles]) -> None:
        """Announce the order in which faces will be requested, each at most once."""
        self._coming = deque(face for face in faces if face not in self._kept)
        self._read_ahead()

    def get(self, face: FaceFiles) -> Prompts:
        """Return a face's prompts on the device, whether planned or not.

        Raises:
            S3potError: A file has gone missing or was damaged since the run began.
        """
        prompts = self._kept.get(face)
        if prompts is None:
            reading = self._reading.pop(face, None) or self._reader.submit(self._load, face)
            prompts = self._keep(face, reading.result())
            self._read_ahead()
        return prompts.to(self._device, non_blocking=True)

    def close(self) -> None:
        """Stop reading."""
        self._coming.clear()
        self._reader.shutdown(wait=True, cancel_futures=True)

    def _read_ahead(self) -> None:
        while self._coming and len(self._reading) < READ_AHEAD:
            face = self._coming.popleft()
            if face not in self._kept and face not in self._reading:
                self._reading[face] = self._reader.submit(self._load, face)

    def _keep(self, face: FaceFiles, prompts: Prompts) -> Prompts:
        """Keep a face in memory if there is room; returns it in the form in which it is kept."""
        if self._bytes + prompts.nbytes > self._max_bytes:
            if not self._is_full:
                self._is_full = True
                logger.info(
                    "%s kept in memory (cache.memory_gb); the others are read again in each epoch",
                    subject(len(self._kept), "face"),
                )
            return prompts
        if self._device.type == "cuda":
            prompts = prompts.pin_memory()
        self._bytes += prompts.nbytes
        self._kept[face] = prompts
        return prompts
