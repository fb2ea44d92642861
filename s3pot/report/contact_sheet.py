"""A contact sheet: many small pictures with their names in one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw

from s3pot.labels import COLORS
from s3pot.report import vis

CELL = 160  # side of a picture, in pixels
_CAPTION = 16  # height in pixels
_GAP = 6
_PAGE = (250, 250, 250)
_LONGEST_CAPTION = 26  # number of characters that fit below a picture
_IGNORED: vis.Color = (128, 128, 128)


@dataclass(frozen=True, eq=False)
class Cell:
    """One picture of a sheet.

    Attributes:
        picture: uint8 (H, W, 3).
        caption: Text below it; a long one is shortened at its beginning.
    """

    picture: np.ndarray
    caption: str


def labeled_picture(
    image: np.ndarray,
    occlusion: np.ndarray | None = None,
    visible_face: np.ndarray | None = None,
    ignored: np.ndarray | None = None,
    parsing: np.ndarray | None = None,
) -> np.ndarray:
    """Draw a small picture of an image with its labels.

    Args:
        image: uint8 (H, W, 3).
        occlusion: bool (H, W), drawn in red.
        visible_face: bool (H, W), drawn in green.
        ignored: bool (H, W), drawn in gray.
        parsing: Class map, uint8 (H, W), drawn beside the image.

    Returns:
        uint8 (h, w, 3), at most ``CELL`` high and, without a class map, at most ``CELL`` wide.
    """
    size = _fitting(image.shape)
    picture: np.ndarray = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    drawn = ((visible_face, vis.FACE_COLOR), (occlusion, vis.OCCLUSION_COLOR), (ignored, _IGNORED))
    for mask, color in drawn:
        if mask is not None:
            small = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
            picture = vis.overlay(picture, small > 0, color)
    if parsing is None:
        return picture
    small = cv2.resize(parsing, size, interpolation=cv2.INTER_NEAREST)
    return np.concatenate([picture, COLORS[small]], axis=1)


def contact_sheet(cells: Sequence[Cell], columns: int = 6) -> np.ndarray:
    """Arrange pictures in rows, each centered in its cell.

    Args:
        cells: At least one; their pictures are at most ``CELL`` high.
        columns: The number of pictures in a row.

    Returns:
        uint8 (H, W, 3).
    """
    width = max(cell.picture.shape[1] for cell in cells) + _GAP
    height = CELL + _CAPTION + _GAP
    columns = min(columns, len(cells))
    rows = -(-len(cells) // columns)
    page = Image.new("RGB", (columns * width + _GAP, rows * height + _GAP), _PAGE)
    draw = ImageDraw.Draw(page)
    for number, cell in enumerate(cells):
        left = _GAP + number % columns * width
        top = _GAP + number // columns * height
        shift_x = (width - _GAP - cell.picture.shape[1]) // 2
        shift_y = (CELL - cell.picture.shape[0]) // 2
        page.paste(Image.fromarray(cell.picture), (left + shift_x, top + shift_y))
        draw.text((left, top + CELL + 2), _caption(cell.caption), fill=(40, 40, 40))
    return np.asarray(page)


def _caption(text: str) -> str:
    """Shorten a caption, and replace characters that Pillow's own font may lack."""
    readable = text.encode("ascii", errors="replace").decode("ascii")
    if len(readable) <= _LONGEST_CAPTION:
        return readable
    return f"...{readable[3 - _LONGEST_CAPTION :]}"


def _fitting(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the width and height in a cell of an image of height and width ``shape``."""
    scale = CELL / max(shape[0], shape[1])
    return max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale))
