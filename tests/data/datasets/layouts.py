"""Small data sets in the real layouts of their formats, with their ground truth."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from s3pot.data.datasets import run_lengths
from s3pot.data.datasets.celebamask_hq import MASK_PARTS

SIDE = 32
NAMES = ("a", "b", "c")


@dataclass(frozen=True)
class Layout:
    """A data set on disk.

    Attributes:
        root: Its folder.
        truth: The ground truth by image and kind of label: masks, bool (H, W), or a class map.
        options: Options of ``s3pot data convert`` in addition to the folders.
    """

    root: Path
    truth: dict[str, dict[str, np.ndarray]]
    options: list[str]


def picture(seed: int, side: int = SIDE) -> np.ndarray:
    """A smooth image that differs from all others."""
    noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC))


def blob(seed: int, side: int = SIDE) -> np.ndarray:
    """A mask of a disk with a hole, bool (side, side); empty for seed 0."""
    mask = np.zeros((side, side), np.uint8)
    if seed:
        center = (side // 2 + seed, side // 2 - seed)
        cv2.circle(mask, center, side // 4 + seed, 1, -1)
        cv2.circle(mask, center, side // 8, 0, -1)
    return mask.astype(bool)


def save(path: Path, pixels: np.ndarray, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def realocc(root: Path) -> Layout:
    truth = {}
    for seed, name in enumerate(NAMES):
        visible = blob(seed + 1)
        save(root / "image" / f"{name}.jpg", picture(seed), quality=95)
        save(root / "mask" / f"{name}.png", visible.astype(np.uint8))  # 0 and 1
        truth[name] = {"visible_face": visible}
    (root / "split").mkdir()
    (root / "split" / "train.txt").write_text("a\nb\n")
    (root / "split" / "val.txt").write_text("c.jpg\n")
    return Layout(root, truth, ["--from", "realocc"])


def cofw(root: Path) -> Layout:
    truth = {}
    for seed, name in enumerate(("1", "2", "10")):
        visible = blob(seed + 1)
        save(root / "COFW_test" / "img" / f"{name}.jpg", picture(seed), quality=95)
        save(root / "COFW_test" / "mask" / f"{name}.png", visible.astype(np.uint8) * 255)
        truth[name] = {"visible_face": visible}
    return Layout(root, truth, ["--from", "cofw"])


# A row of the mask for each part, and the s3pot class it becomes; some rows have two parts.
_CELEB_CLASSES = {
    "skin": 6,
    "nose": 5,
    "eye_g": 10,
    "l_eye": 3,
    "r_brow": 2,
    "l_ear": 7,
    "mouth": 9,
    "u_lip": 1,
    "hair": 4,
    "hat": 0,
    "ear_r": 11,
    "neck_l": 0,
    "neck": 8,
    "cloth": 0,
}


def celebamask_hq(root: Path) -> Layout:
    truth = {}
    for number in (0, 7, 2001):
        save(root / "CelebA-HQ-img" / f"{number}.jpg", picture(number, 64), quality=95)
        classes = np.zeros((512, 512), np.uint8)
        for place, (part, label) in enumerate(_CELEB_CLASSES.items()):
            if part == "hat" and number == 0:
                continue  # absent parts have no file
            mask = np.zeros((512, 512), np.uint8)
            mask[place * 32 : place * 32 + 48, number % 3 * 64 :] = 255  # covers the previous part
            classes[mask > 0] = label
            folder = root / "CelebAMask-HQ-mask-anno" / str(number // 2000)
            save(folder / f"{number:05d}_{part}.png", mask)
            assert part in MASK_PARTS
        small = classes[4::8, 4::8]  # at the centers of 64 pixels
        region = np.isin(small, (1, 2, 3, 5, 6, 9, 10))
        truth[str(number)] = {"true_parsing": small, "visible_face": region}
    return Layout(root, truth, ["--from", "celebamask-hq"])


def folders(root: Path) -> Layout:
    truth = {}
    for seed, name in enumerate(("a", "sub/b", "c")):
        occlusion = blob(seed)
        ignored = np.zeros((SIDE, SIDE), bool)
        ignored[:3] = True
        save(root / "photos" / f"{name}.png", picture(seed))
        save(root / "labels" / f"{name}_mask.png", occlusion.astype(np.uint8) * 200)
        save(root / "void" / f"{name}_mask.png", ignored.astype(np.uint8) * 255)
        truth[name] = {"occlusion": occlusion, "ignore": ignored}
    options = ["--from", "folders", "--images", "photos", "--masks", "labels"]
    options += ["--ignore_masks", "void", "--mask_ending", "_mask", "--polarity", "occlusion"]
    return Layout(root, truth, options)


def coco(root: Path) -> Layout:
    """Run lengths as text and as numbers, polygons, an image without instances, other keys."""
    square = np.zeros((SIDE, SIDE), bool)
    square[4:9, 6:20] = True
    masks = {"a": blob(1), "b": blob(2), "c": square, "d": np.zeros((SIDE, SIDE), bool)}
    images = []
    annotations: list[dict[str, Any]] = []
    for number, (name, mask) in enumerate(masks.items(), 11):
        save(root / "images" / f"{name}.png", picture(number))
        image = {"id": number, "file_name": f"{name}.png", "width": SIDE, "height": SIDE}
        images.append({**image, "license": 1, "date_captured": ""})
        counts = run_lengths.encode(mask)
        segmentations: dict[str, Any] = {
            "a": {"size": [SIDE, SIDE], "counts": run_lengths.to_text(counts)},
            "b": {"size": [SIDE, SIDE], "counts": counts},
            "c": [[6, 4, 13, 4, 13, 9, 6, 9], [13, 4, 20, 4, 20, 9, 13, 9]],
        }
        if name in segmentations:
            entry = {"image_id": number, "category_id": 3, "segmentation": segmentations[name]}
            annotations.append({"id": 100 + number, "iscrowd": 0, "area": 1, "bbox": [], **entry})
    face = {"id": 99, "image_id": 11, "category_id": 4, "segmentation": [[0, 0, 9, 0, 9, 9]]}
    content = {
        "info": {"year": 2020},
        "licenses": [],
        "images": images,
        "annotations": [*annotations, face],
        "categories": [{"id": 3, "name": "hand"}, {"id": 4, "name": "face"}],
    }
    (root / "annotations").mkdir()
    (root / "annotations" / "instances.json").write_text(json.dumps(content))
    truth = {name: {"occlusion": mask} for name, mask in masks.items()}
    return Layout(root, truth, ["--from", "coco"])


def labelme_content(name: str, shapes: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": name,
        "imageData": None,
        "imageHeight": SIDE,
        "imageWidth": SIDE,
    }


def rectangle(label: str, left: int, top: int, right: int, bottom: int) -> dict[str, Any]:
    points = [[left, top], [right, bottom]]
    return {"label": label, "points": points, "shape_type": "rectangle", "flags": {}}


def labelme(root: Path) -> Layout:
    truth = {}
    for seed, name in enumerate(NAMES):
        occlusion = np.zeros((SIDE, SIDE), bool)
        ignored = np.zeros((SIDE, SIDE), bool)
        occlusion[5 : 11 + seed, 3:21] = True
        ignored[:, 28:31] = True
        shapes = [
            rectangle("hand", 3, 5, 20, 10 + seed),
            rectangle("left eye", 0, 0, 30, 30),
            rectangle("__ignore__", 28, 0, 30, SIDE),
        ]
        save(root / f"{name}.jpg", picture(seed), quality=95)
        content = labelme_content(f"{name}.jpg", shapes)
        (root / f"{name}.json").write_text(json.dumps(content))
        truth[name] = {"occlusion": occlusion, "ignore": ignored}
    return Layout(root, truth, ["--from", "labelme"])


def authors(root: Path) -> Layout:
    truth = {}
    for seed in (1, 12):
        folder = root / str(seed)
        save(folder / f"{seed}.jpg", picture(seed), quality=95)
        save(folder / "Reference_0.png", picture(seed + 100))
        parsing = np.full((SIDE, SIDE), 6, np.uint8)
        np.save(folder / f"{seed}_parsing_mask.npy", parsing)
        occlusion = np.zeros((SIDE, SIDE), bool)
        occlusion[seed : seed + 6, 3:21] = True
        shapes = [rectangle("occlusion", 3, seed, 20, seed + 5)]
        content = labelme_content(f"{seed}.jpg", shapes)
        (folder / f"{seed}.json").write_text(json.dumps(content))
        truth[str(seed)] = {"occlusion": occlusion}
    return Layout(root, truth, ["--from", "authors"])


def own(root: Path) -> Layout:
    truth = {}
    for seed, name in enumerate(("a", "sub/b")):
        labels = {"occlusion": blob(seed), "visible_face": blob(seed + 1), "ignore": blob(seed + 2)}
        save(root / "raw_images" / f"{name}.png", picture(seed))
        for kind, mask in labels.items():
            save(root / "truth" / f"{name}_{kind}.png", mask.astype(np.uint8) * 255)
        parsing = (picture(seed)[..., 0] % 12).astype(np.uint8)
        np.save(root / "truth" / f"{name}_true_parsing.npy", parsing)
        truth[name] = {**labels, "true_parsing": parsing}
    (root / "splits").mkdir()
    (root / "splits" / "train.txt").write_text("sub/b\n")
    return Layout(root, truth, ["--from", "s3pot"])


LAYOUTS = {
    "realocc": realocc,
    "cofw": cofw,
    "celebamask-hq": celebamask_hq,
    "folders": folders,
    "coco": coco,
    "labelme": labelme,
    "authors": authors,
    "s3pot": own,
}


def make(name: str, root: Path) -> Layout:
    """Write a data set of a format into a new folder."""
    root.mkdir(parents=True)
    return LAYOUTS[name](root)
