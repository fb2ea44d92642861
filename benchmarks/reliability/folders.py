"""The files that a command left in a folder, compared byte by byte."""

from __future__ import annotations

from pathlib import Path

from s3pot.data.face_folder import CACHE

TEMPORARY = ".tmp"  # ending of the partial files that a kill leaves; nothing reads them


def snapshot(folder: Path) -> dict[str, bytes]:
    """Read all files below a folder by relative name, except temporary and lock files."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix not in (TEMPORARY, ".lock")
    }


def temporaries(folder: Path) -> list[Path]:
    """List the partial files below a folder."""
    return sorted(folder.rglob(f"*{TEMPORARY}"))


def differences(found: dict[str, bytes], wanted: dict[str, bytes]) -> list[str]:
    """List how two snapshots differ, a line for each file; empty if they are equal."""
    lines = [f"missing: {name}" for name in wanted if name not in found]
    lines += [f"surplus: {name}" for name in found if name not in wanted]
    lines += [
        f"differs: {name}" for name in found if name in wanted and found[name] != wanted[name]
    ]
    return lines


def result_differences(found: dict[str, bytes], wanted: dict[str, bytes]) -> list[str]:
    """List how two snapshots differ, except for missing features in the cache.

    A run that cannot write its cache keeps the features in memory. A rerun does not need those of
    finished items, so it does not write them either.
    """
    return differences(
        found,
        {name: content for name, content in wanted.items() if name in found or CACHE not in name},
    )
