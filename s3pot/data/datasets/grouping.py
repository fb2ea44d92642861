"""Dividing images into parts, such as train and val, so that each person is in only one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from s3pot.data.image_formats import IMAGE_SUFFIXES
from s3pot.io import read_bytes
from s3pot.types import S3potError
from s3pot.wording import counted

NONE = "none"  # each image is its own group
FOLDER = "folder"  # images of one folder belong together
PREFIX = "prefix"  # images whose names agree up to the first _ or -
_PART_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_TOLERANCE = 1e-9


def parse_parts(texts: Sequence[str]) -> dict[str, float | int]:
    """Parse parts as they are typed.

    Args:
        texts: ``train=0.8`` is a share, ``train=100`` a number of images; all must be of one kind.

    Returns:
        Shares, float, or numbers, int, by the part's name, in order.

    Raises:
        S3potError: A part is invalid or occurs twice, or the shares exceed 1.
    """
    parts: dict[str, float | int] = {}
    for text in texts:
        name, sign, amount = text.partition("=")
        if not sign or not _PART_NAME.fullmatch(name) or name in parts:
            raise S3potError(
                f"--parts holds {text!r}; expected different names with a share or a number, such "
                "as train=0.8 val=0.2 or train=100 val=20."
            )
        try:
            parts[name] = float(amount) if "." in amount else int(amount)
        except ValueError as error:
            raise S3potError(
                f"--parts: the amount of {name} is {amount!r}; expected a share such as 0.8, or a "
                "number of images such as 100."
            ) from error
    amount_types = {type(amount) for amount in parts.values()}
    if len(amount_types) != 1 or any(not amount > 0 for amount in parts.values()):
        raise S3potError(
            f"--parts {' '.join(texts)}: expected shares above 0 or numbers of images above 0, not "
            "both."
        )
    if amount_types == {float} and sum(parts.values()) > 1 + _TOLERANCE:
        raise S3potError(f"--parts {' '.join(texts)}: the shares add up to more than 1.")
    return parts


def group_names(names: Sequence[str], group_by: str) -> dict[str, str]:
    """Find the group of each image.

    Args:
        names: The names of the images, with their folders.
        group_by: ``NONE``, ``FOLDER``, ``PREFIX``, or the path of a file whose lines are a name and
            its group, such as CelebA's ``identity_CelebA.txt``.

    Raises:
        S3potError: The file does not exist, or lacks an image.
    """
    if group_by == NONE:
        return {name: name for name in names}
    if group_by == FOLDER:
        return {name: PurePosixPath(name).parent.as_posix() for name in names}
    if group_by == PREFIX:
        return {name: re.split("[_-]", name.rpartition("/")[2])[0] for name in names}
    groups = _read_groups(Path(group_by))
    missing = [name for name in names if name not in groups]
    if missing:
        raise S3potError(
            f"{group_by} has no line for {len(missing)} of {counted(len(names), 'image')}, such as "
            f"{missing[0]}; expected a name and its group on each line."
        )
    return {name: groups[name] for name in names}


def _read_groups(path: Path) -> dict[str, str]:
    """Read lines with a name, with or without an image extension, and a group."""
    if not path.is_file():
        raise S3potError(
            f"--group_by is {str(path)!r}; expected {NONE}, {FOLDER}, {PREFIX} or a file of names "
            "and groups."
        )
    groups = {}
    for number, line in enumerate(read_bytes(path).decode("utf-8-sig", "replace").splitlines(), 1):
        words = [word for word in re.split(r"[,;\s]+", line.strip()) if word]
        if not words:
            continue
        if len(words) != 2:
            raise S3potError(f"{path}, line {number}: {line!r} is not a name with its group.")
        name = PurePosixPath(words[0])
        is_file_name = name.suffix.lower() in IMAGE_SUFFIXES
        groups[str(name.with_suffix("") if is_file_name else name)] = words[1]
    return groups


def divide(
    groups: Mapping[str, str], parts: Mapping[str, float | int], seed: int
) -> dict[str, str]:
    """Divide images into parts, keeping groups together.

    Large groups are assigned first, and groups of the same size in an order that depends only on
    the seed, each to the part that lacks the most images. The result therefore does not depend on
    the order in which the images are listed.

    Args:
        groups: The group of each image.
        parts: The share of the images, or the maximum number of images, of each part.
        seed: Seed of the order.

    Returns:
        The part of each image; images for which no part has room are left out. Parts whose shares
        add up to 1 take all.
    """
    members: dict[str, list[str]] = {}
    for name in sorted(groups):
        members.setdefault(groups[name], []).append(name)
    lacking = {part: _wanted(amount, len(groups)) for part, amount in parts.items()}
    takes_all = _are_shares(parts) and sum(parts.values()) > 1 - _TOLERANCE
    parts_of_images: dict[str, str] = {}
    for group in sorted(members, key=lambda group: (-len(members[group]), _rank(group, seed))):
        part = max(lacking, key=lambda part: lacking[part])
        if takes_all or lacking[part] >= len(members[group]) - _TOLERANCE:
            lacking[part] -= len(members[group])
            parts_of_images.update(dict.fromkeys(members[group], part))
    return parts_of_images


def _are_shares(parts: Mapping[str, float | int]) -> bool:
    return all(isinstance(amount, float) for amount in parts.values())


def _wanted(amount: float | int, images: int) -> float:
    """Return the target number of images of a part, which is fractional for a share."""
    return amount * images if isinstance(amount, float) else amount


def _rank(group: str, seed: int) -> str:
    return hashlib.sha256(f"{seed} {group}".encode("utf-8", "surrogateescape")).hexdigest()
