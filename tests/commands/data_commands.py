"""Running ``s3pot data`` on small data sets in every layout, and damaging them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from s3pot.__main__ import main
from s3pot.data.masks import read_mask
from tests.data.datasets.layouts import LAYOUTS, Layout, save

KINDS = ("occlusion", "visible_face", "ignore")

# For tests with the fixture ``layout``.
every_format = pytest.mark.parametrize("layout", list(LAYOUTS), indirect=True)


def convert(layout: Layout, output_dir: Path, *options: str) -> int:
    """Run ``s3pot data convert`` on a data set; returns the exit code."""
    folders = ["--input_dir", str(layout.root), "--output_dir", str(output_dir)]
    return main(["data", "convert", *layout.options, *folders, *options])


def validate(layout: Layout, output_dir: Path, *options: str) -> int:
    """Run ``s3pot data validate``, which recognizes all formats but ``folders``."""
    given = layout.options if layout.options[1] == "folders" else []
    target = ["--output_dir", str(output_dir)]
    return main(["data", "validate", str(layout.root), *given, *target, *options])


def check(folder: Path, layout: Layout, kinds: tuple[str, ...] = (*KINDS, "true_parsing")) -> None:
    """Check that a folder of raw_images and truth matches a data set exactly."""
    images = {
        path.relative_to(folder / "raw_images").with_suffix("").as_posix(): path
        for path in (folder / "raw_images").rglob("*.*")
    }
    assert set(images) == set(layout.truth)
    for name, labels in layout.truth.items():
        for kind in kinds:
            ending = "npy" if kind == "true_parsing" else "png"
            path = folder / "truth" / f"{name}_{kind}.{ending}"
            assert path.exists() == (kind in labels), path
            if kind in labels:
                found = np.load(path) if ending == "npy" else read_mask(path)
                np.testing.assert_array_equal(found, labels[kind], err_msg=str(path))


def sources(layout: Layout) -> dict[str, bytes]:
    """The files of a data set with their contents."""
    return {path.as_posix(): path.read_bytes() for path in layout.root.rglob("*") if path.is_file()}


def edit_json(path: Path, edit: Callable[[dict], None]) -> None:  # type: ignore[type-arg]
    """Change a JSON file in place."""
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def break_realocc(root: Path) -> None:
    save(root / "mask" / "b.png", np.arange(32 * 32, dtype=np.uint8).reshape(32, 32) // 90)


def break_cofw(root: Path) -> None:
    (root / "COFW_test" / "mask" / "2.png").unlink()


def break_celebamask_hq(root: Path) -> None:
    save(root / "CelebAMask-HQ-mask-anno" / "1" / "02001_hair.png", np.zeros((64, 64), np.uint8))


def break_folders(root: Path) -> None:
    (root / "labels" / "sub" / "b_mask.png").write_bytes(b"\x89PNG cut off")


def break_coco(root: Path) -> None:
    def shorten(content: dict) -> None:  # type: ignore[type-arg]
        content["annotations"][1]["segmentation"]["counts"].pop()

    edit_json(root / "annotations" / "instances.json", shorten)


def break_labelme(root: Path) -> None:
    def without_points(content: dict) -> None:  # type: ignore[type-arg]
        del content["shapes"][0]["points"]

    edit_json(root / "b.json", without_points)


def break_authors(root: Path) -> None:
    np.save(root / "12" / "12_parsing_mask.npy", np.full((32, 32), 77, np.uint8))


def break_s3pot(root: Path) -> None:
    save(root / "truth" / "sub" / "b_ignore.png", np.zeros((5, 5), np.uint8))


# How one image of a format is damaged, and what the message names: the file, and the key in it.
ERRORS: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "realocc": (break_realocc, "mask/b.png", "3 values"),
    "cofw": (break_cofw, "mask/2.png", "has no mask"),
    "celebamask-hq": (break_celebamask_hq, "02001_hair.png", "64 x 64; the masks of"),
    "folders": (break_folders, "b_mask.png", "not a readable image"),
    "coco": (break_coco, "instances.json", "segmentation of annotation 112"),
    "labelme": (break_labelme, "b.json", "'points'"),
    "authors": (break_authors, "12_parsing_mask.npy", "77"),
    "s3pot": (break_s3pot, "b_ignore.png", "5 x 5"),
}
