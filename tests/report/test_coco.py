"""Masks as COCO instances, in the frames of their photos."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s3pot.geometry import Alignment, as_quad
from s3pot.report.coco import (
    COCO_FOLDER,
    PhotoPlace,
    refuse_foreign_coco,
    write_coco_face,
    write_coco_folder,
)
from s3pot.types import Masks, S3potError

SIZE = 64
PHOTO = (100, 220)


def masks_of(top: int) -> Masks:
    occlusion = np.zeros((SIZE, SIZE), dtype=bool)
    occlusion[top : top + 20, 5:40] = True
    face = np.zeros_like(occlusion)
    face[:10] = True
    return Masks(face=face, occlusion=occlusion, parsing=np.zeros((SIZE, SIZE), dtype=np.uint8))


def place_at(left: int, file_name: str = "photo.jpg") -> PhotoPlace:
    x, y = left - 0.5, 9.5
    quad = np.array([[x, y], [x, y + SIZE], [x + SIZE, y + SIZE], [x + SIZE, y]])
    return PhotoPlace(file_name, Alignment(as_quad(quad), (SIZE, SIZE), PHOTO))


def collected(folder: Path, *names: str, is_wanted: bool = True) -> dict[str, Any]:
    write_coco_folder(folder, [{"name": name} for name in names], is_wanted)
    content: dict[str, Any] = json.loads((folder / COCO_FOLDER).read_text())
    return content


def test_pycocotools_reads_the_masks_of_all_faces_of_a_photo(tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    for name, left, top in (("a/b", 20, 12), ("a/b_face2", 120, 30)):
        write_coco_face(tmp_path, name, masks_of(top), place_at(left))
    write_coco_face(tmp_path, "alone", masks_of(40), None)
    collected(tmp_path, "a/b", "a/b_face2", "alone")

    data = coco.COCO(str(tmp_path / COCO_FOLDER))
    images = {image["file_name"]: image for image in data.imgs.values()}
    assert {name: (i["height"], i["width"]) for name, i in images.items()} == {
        "a/photo.jpg": PHOTO,
        "alone.png": (SIZE, SIZE),
    }
    (occlusion,) = data.getCatIds(catNms=["occlusion"])
    drawn = [
        data.annToMask(instance).astype(bool)
        for instance in data.loadAnns(
            data.getAnnIds(imgIds=images["a/photo.jpg"]["id"], catIds=[occlusion])
        )
    ]
    for mask, left, top in zip(drawn, (20, 120), (12, 30)):
        expected = np.zeros(PHOTO, dtype=bool)
        expected[10 : 10 + SIZE, left : left + SIZE] = masks_of(top).occlusion
        assert np.array_equal(mask, expected)
    assert len(drawn) == 2


def test_an_unoccluded_face_has_no_occlusion(tmp_path: Path) -> None:
    masks = masks_of(0)
    bare = replace(masks, occlusion=np.zeros_like(masks.occlusion))
    write_coco_face(tmp_path, "a", bare, None)
    content = collected(tmp_path, "a")
    names = {category["id"]: category["name"] for category in content["categories"]}
    assert [names[i["category_id"]] for i in content["annotations"]] == ["visible_face"]


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[]", b'{"file_name": "b.png"'])
def test_faces_without_a_readable_file_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes | None
) -> None:
    write_coco_face(tmp_path, "a", masks_of(12), None)
    if content is not None:
        (tmp_path / "b_coco.json").write_bytes(content)
    assert len(collected(tmp_path, "a", "b")["images"]) == 1
    (message,) = caplog.messages
    assert "lacks 1 face without a readable *_coco.json: b. The same command" in message


def test_the_file_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    refuse_foreign_coco(tmp_path)
    (tmp_path / COCO_FOLDER).write_text('{"images": [{"id": 1}], "annotations": []}')
    with pytest.raises(S3potError, match="was not written by s3pot"):
        refuse_foreign_coco(tmp_path)
    (tmp_path / COCO_FOLDER).unlink()
    write_coco_folder(tmp_path, [], is_wanted=True)
    refuse_foreign_coco(tmp_path)


def test_the_file_of_an_earlier_run_agrees_with_the_summary(tmp_path: Path) -> None:
    write_coco_folder(tmp_path, [], is_wanted=False)
    assert not (tmp_path / COCO_FOLDER).exists()
    for name in ("a", "b"):
        write_coco_face(tmp_path, name, masks_of(12), None)
    collected(tmp_path, "a", "b")
    assert [i["file_name"] for i in collected(tmp_path, "b", is_wanted=False)["images"]] == [
        "b.png"
    ]


def test_a_face_called_like_the_file_of_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(S3potError, match=r"occlusions_coco\.json cannot hold .* leave out --save"):
        write_coco_face(tmp_path, "occlusions", masks_of(12), None)
    assert write_coco_face(tmp_path, "sub/occlusions", masks_of(12), None).is_file()
