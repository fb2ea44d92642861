"""Data that cannot be written to: no cache then, but nothing is encoded twice.

Reported at ultralytics #1599, yolov5 #2214.
"""

from __future__ import annotations

from pathlib import Path
from typing import Callable

import pytest
import torch
from torch import Tensor

import train_general
from s3pot.sam.frozen import FrozenSam

Make = Callable[..., Path]
CACHE = ".s3pot_cache"


def put_a_file(place: Path) -> None:
    place.write_text("in the way")


def put_a_dead_link(place: Path) -> None:
    place.symlink_to(place.parent / "missing" / "folder", target_is_directory=True)


def put_a_link_to_a_file(place: Path) -> None:
    (place.parent / "notes.txt").write_text("notes")
    place.symlink_to(place.parent / "notes.txt")


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of images of each call of SAM's image encoder."""
    counts: list[int] = []
    plain = FrozenSam.encode

    def counted(sam: FrozenSam, images: Tensor) -> Tensor:
        counts.append(len(images))
        return plain(sam, images)

    monkeypatch.setattr(FrozenSam, "encode", counted)
    return counts


@pytest.mark.parametrize("obstruct", [put_a_file, put_a_dead_link, put_a_link_to_a_file])
def test_training_encodes_each_image_once(
    tmp_path: Path,
    processed_folder: Make,
    mini_options: list[str],
    encoded: list[int],
    caplog: pytest.LogCaptureFixture,
    obstruct: Callable[[Path], None],
) -> None:
    command = ["--epochs", "3", "--bsz", "2", *mini_options]
    with_cache = processed_folder(3, name="writable")
    arguments = ["--datapath", str(with_cache), "--output_dir", str(tmp_path / "wanted")]
    assert train_general.main([*arguments, *command]) == 0
    wanted = sum(encoded)
    assert wanted == 6  # an image and its reference for each of three faces
    encoded.clear()
    data = processed_folder(3)
    obstruct(data / CACHE)
    arguments = ["--datapath", str(data), "--output_dir", str(tmp_path / "out")]
    assert train_general.main([*arguments, *command]) == 0
    assert sum(encoded) == wanted
    assert len([line for line in caplog.messages if "no feature cache in" in line]) == 1
    first, second = (
        torch.load(tmp_path / name / "last.pth", weights_only=True)["adapter"]
        for name in ("wanted", "out")
    )
    assert all(torch.equal(first[key], second[key]) for key in first)
