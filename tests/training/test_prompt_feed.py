from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from s3pot.data.face_folder import FaceFiles, output_files
from s3pot.training.prompt_feed import READ_AHEAD, PromptFeed
from s3pot.types import Prompts, S3potError

CPU = torch.device("cpu")
FACES = [output_files(Path(), f"face_{index:02d}") for index in range(20)]


def prompts(face: FaceFiles) -> Prompts:
    return Prompts(
        name=face.name,
        image_embedding=torch.zeros(4, 2, 2, dtype=torch.float16),
        points_sam=torch.zeros(3, 2),
        point_labels=torch.zeros(3, dtype=torch.int64),
        similarity=torch.zeros(2, 2, dtype=torch.float16),
        first_point_sam=torch.zeros(2),
        region_sam=torch.zeros(8, 8, dtype=torch.bool),
    )


BYTES = 16 * 2 + 6 * 4 + 3 * 8 + 4 * 2 + 2 * 4 + 64  # of one face


class Reader:
    """Counts what is read."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, face: FaceFiles) -> Prompts:
        self.names.append(face.name)
        return prompts(face)


@pytest.fixture
def make() -> Callable[..., tuple[PromptFeed, Reader]]:
    feeds: list[PromptFeed] = []

    def call(faces_in_memory: float) -> tuple[PromptFeed, Reader]:
        reader = Reader()
        feeds.append(PromptFeed(reader, CPU, int(faces_in_memory * BYTES)))
        return feeds[-1], reader

    yield call
    for feed in feeds:
        feed.close()


def epochs(feed: PromptFeed, count: int) -> None:
    for epoch in range(count):
        order = FACES if epoch % 2 else FACES[::-1]
        feed.plan(order)
        assert [feed.get(face).name for face in order] == [face.name for face in order]


def test_size_of_prompts() -> None:
    assert prompts(FACES[0]).nbytes == BYTES


def test_what_fits_is_read_once(make: Callable[..., tuple[PromptFeed, Reader]]) -> None:
    feed, reader = make(20)
    epochs(feed, 3)
    assert sorted(reader.names) == [face.name for face in FACES]


def test_what_does_not_fit_is_read_once_an_epoch(
    make: Callable[..., tuple[PromptFeed, Reader]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="s3pot")
    feed, reader = make(5.5)
    epochs(feed, 3)
    assert len(reader.names) == 20 + 15 + 15
    kept = {face.name for face in FACES[-5:]}  # the first of the first epoch
    assert all(reader.names.count(name) == (1 if name in kept else 3) for name in set(reader.names))
    assert caplog.text.count("5 faces are kept in memory") == 1


def test_the_next_faces_are_read_before_they_are_asked_for(
    make: Callable[..., tuple[PromptFeed, Reader]],
) -> None:
    feed, reader = make(0)
    feed.plan(FACES)
    deadline = time.monotonic() + 10
    while len(reader.names) < READ_AHEAD and time.monotonic() < deadline:
        time.sleep(0.001)
    assert reader.names == [face.name for face in FACES[:READ_AHEAD]]
    feed.get(FACES[0])
    while len(reader.names) < READ_AHEAD + 1 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert reader.names[-1] == FACES[READ_AHEAD].name


def test_a_face_that_was_not_planned_is_read_when_it_is_asked_for(
    make: Callable[..., tuple[PromptFeed, Reader]],
) -> None:
    feed, reader = make(20)
    assert feed.get(FACES[3]).name == "face_03"
    assert reader.names == ["face_03"]


def test_an_error_comes_with_its_face() -> None:
    def load(face: FaceFiles) -> Prompts:
        if face is FACES[2]:
            raise S3potError("face_02 is gone")
        return prompts(face)

    feed = PromptFeed(load, CPU, 0)
    feed.plan(FACES)
    feed.get(FACES[0])
    feed.get(FACES[1])
    with pytest.raises(S3potError, match="face_02 is gone"):
        feed.get(FACES[2])
    feed.close()


def test_no_thread_is_left_behind() -> None:
    before = threading.active_count()
    feed = PromptFeed(prompts, CPU, 0)
    feed.plan(FACES)
    feed.get(FACES[0])
    feed.close()
    assert threading.active_count() == before


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_what_is_kept_lies_pinned_on_the_host() -> None:
    feed = PromptFeed(prompts, torch.device("cuda"), 10 * BYTES)
    for _ in range(2):
        given = feed.get(FACES[0])
        assert given.image_embedding.is_cuda and given.point_labels.is_cuda
    kept = feed._kept[FACES[0]]
    assert kept.image_embedding.is_pinned() and not kept.image_embedding.is_cuda
    assert torch.equal(given.points_sam.cpu(), kept.points_sam)
    feed.close()
