from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Callable

import numpy as np
import pytest
import torch

from s3pot.build import build_segmenter
from s3pot.config import load_config
from s3pot.data.face_folder import FaceFiles, find_faces
from s3pot.data.image import write_png
from s3pot.io import write_npy
from s3pot.runs.prompt_store import PromptSource, PromptStore
from s3pot.types import Prompts, S3potError

Make = Callable[..., Path]


class Counted:
    """A store whose SAM counts the images it encodes."""

    def __init__(self, options: list[str], datapath: Path | None, *more: str) -> None:
        self.config = load_config(None, [*options, *more])
        segmenter = build_segmenter(self.config, torch.device("cpu"))
        self.encoded = 0
        segmenter.sam.sam.image_encoder.register_forward_pre_hook(self._count)
        self.store = PromptStore(segmenter, self.config, datapath)

    def _count(self, module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        self.encoded += len(inputs[0])


def same(one: Prompts, two: Prompts) -> bool:
    return all(torch.equal(vars(one)[key], vars(two)[key]) for key in vars(one) if key != "name")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "second", "third"), [("disk", 0, 0), ("memory", 0, 6), ("off", 0, 6)]
)
def test_modes_compute_as_often_as_they_say_and_agree(
    processed_folder: Make, mini_options: list[str], mode: str, second: int, third: int
) -> None:
    folder = processed_folder(3)
    faces = find_faces(folder)
    plain = Counted(mini_options, None, "cache.mode=off")
    want = [plain.store.get(face) for face in faces]
    first = Counted(mini_options, folder, f"cache.mode={mode}")
    points = first.store.fill(faces).points
    assert points == {face: len(prompts.point_labels) for face, prompts in zip(faces, want)}
    assert min(points.values()) > 0
    assert first.encoded == 6
    assert all(same(first.store.get(face), prompts) for face, prompts in zip(faces, want))
    assert first.encoded == 6 + second
    assert all(same(first.store.get(face), prompts) for face, prompts in zip(faces, want))
    assert first.encoded == 6 + second + (6 if mode == "off" else 0)
    again = Counted(mini_options, folder, f"cache.mode={mode}")
    assert all(same(again.store.get(face), prompts) for face, prompts in zip(faces, want))
    assert again.encoded == third


@pytest.mark.slow
def test_entries_of_other_settings_are_not_taken(
    processed_folder: Make, mini_options: list[str]
) -> None:
    folder = processed_folder(1)
    faces = find_faces(folder)
    Counted(mini_options, folder).store.fill(faces)
    for option in (
        "sam.normalize=false",
        "prompt.features=encoder",
        "prompt.initial_anchor=corner",
        "prompt.initial_pick=product",
    ):
        other = Counted(mini_options, folder, option)
        other.store.fill(faces)
        assert other.encoded == 2, option
    kept = Counted(mini_options, folder, "train.lr=1", "mask.align_corners=false")
    kept.store.fill(faces)
    assert kept.encoded == 0


def test_a_damaged_entry_is_computed_again(processed_folder: Make, mini_options: list[str]) -> None:
    folder = processed_folder(1)
    faces = find_faces(folder)
    want = Counted(mini_options, folder).store.get(faces[0])
    (entry,) = (folder / ".s3pot_cache").iterdir()
    entry.write_bytes(entry.read_bytes()[:-9])
    again = Counted(mini_options, folder)
    assert same(again.store.get(faces[0]), want)
    assert again.encoded == 2


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_is_one_warning_and_memory(
    processed_folder: Make, mini_options: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    folder = processed_folder(3)
    faces = find_faces(folder)
    want = [Counted(mini_options, None, "cache.mode=off").store.get(face) for face in faces]
    (folder / ".s3pot_cache").write_text("in the way")
    counted = Counted(mini_options, folder)
    counted.store.fill(faces)
    for _ in range(2):
        assert all(same(counted.store.get(face), prompts) for face, prompts in zip(faces, want))
    assert counted.encoded == 6
    assert [message for message in caplog.messages if "no feature cache" in message] == [
        f"no feature cache in {folder.resolve() / '.s3pot_cache'} (File exists); features stay in "
        "memory for this run"
    ]


@pytest.mark.parametrize("mode", ["disk", "memory"])
def test_memory_has_a_limit(
    processed_folder: Make,
    mini_options: list[str],
    caplog: pytest.LogCaptureFixture,
    mode: str,
) -> None:
    folder = processed_folder(3)
    faces = find_faces(folder)
    (folder / ".s3pot_cache").write_text("in the way")
    room = 1.5 * Counted(mini_options, None).store.get(faces[0]).nbytes / 2**30
    counted = Counted(mini_options, folder, f"cache.mode={mode}", f"cache.memory_gb={room}")
    counted.store.fill(faces)
    counted.store.fill(faces)
    assert counted.encoded == 6 + 4  # one of the three was kept
    assert caplog.text.count("1 face is kept in memory (cache.memory_gb)") == 1


@pytest.mark.parametrize("command", ["inference", "train_per_image"])
def test_commands_that_need_a_face_once_keep_nothing_in_memory(
    command: str,
    processed_folder: Make,
    mini_options: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stores = []
    keep = PromptStore.keep

    def observed(self: PromptStore, face: FaceFiles, prompts: Prompts) -> None:
        keep(self, face, prompts)
        stores.append(self)

    monkeypatch.setattr(PromptStore, "keep", observed)
    folder = processed_folder(2)
    main = importlib.import_module(f"s3pot.commands.{command}").main
    options = ["--datapath", str(folder), "--output_dir", str(tmp_path / "memory")]
    assert main([*options, *mini_options, "cache.mode=memory", "per_image.epochs=1"]) == 0
    assert len(stores) == 2
    assert all(store._memory == {} for store in stores)
    (folder / ".s3pot_cache").write_text("in the way")
    options = ["--datapath", str(folder), "--output_dir", str(tmp_path / "disk")]
    assert main([*options, *mini_options, "per_image.epochs=1"]) == 0
    assert len(stores) == 4
    assert all(store._memory == {} for store in stores)
    assert caplog.text.count("(File exists); features are not kept") == 1


def test_faces_are_sorted_by_what_came_out(processed_folder: Make, mini_options: list[str]) -> None:
    folder = processed_folder(5)
    write_npy(folder / "face_01_parsing_mask.npy", np.zeros((64, 64), np.uint8))
    (folder / "face_02_ref.png").unlink()
    write_png(folder / "face_03_ref.png", np.zeros((9, 9, 3), np.uint8))
    faces = find_faces(folder)
    counted = Counted(mini_options, None)
    filled = counted.store.fill(faces)
    found = {face.name: count > 0 for face, count in filled.points.items()}
    assert found == {"face_00": True, "face_01": False, "face_04": True}
    assert [failure.name for failure in filled.failures] == ["face_02", "face_03"]
    assert "face_02_ref.png" in filled.failures[0].reason
    with pytest.raises(S3potError, match="face_02_ref.png"):
        counted.store.get(faces[2])


def test_filling_leaves_cached_prompts_on_the_cpu(
    processed_folder: Make, mini_options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    faces = find_faces(processed_folder(3))
    store = Counted(mini_options, None).store
    points = store.fill(faces[:1]).points
    computed: list[str] = []
    compute = store.compute

    def counted(sources: Sequence[PromptSource]) -> list[Prompts]:
        computed.extend(source.name for source in sources)
        return compute(sources)

    monkeypatch.setattr(store, "compute", counted)
    all_points = store.fill(faces).points
    assert computed == ["face_01", "face_02"]
    assert all_points[faces[0]] == points[faces[0]] > 0


def test_oracle_references_have_entries_of_their_own(
    processed_folder: Make, mini_options: list[str]
) -> None:
    folder = processed_folder(1)
    write_png(folder / "face_00_clean.png", np.full((64, 64, 3), 99, np.uint8))
    (face,) = find_faces(folder)
    counted = Counted(mini_options, folder)
    one, two = counted.store.get(face), counted.store.get(face, oracle=True)
    assert counted.encoded == 4
    assert not torch.equal(one.similarity, two.similarity)
    assert same(counted.store.get(face, oracle=True), two)
    assert counted.encoded == 4
