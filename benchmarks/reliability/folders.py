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


def differences(actual: dict[str, bytes], expected: dict[str, bytes]) -> list[str]:
    """List how two snapshots differ, a line for each file; empty if they are equal."""
    lines = [f"missing: {name}" for name in expected if name not in actual]
    lines += [f"surplus: {name}" for name in actual if name not in expected]
    lines += [
        f"differs: {name}" for name in actual if name in expected and actual[name] != expected[name]
    ]
    return lines


def result_differences(actual: dict[str, bytes], expected: dict[str, bytes]) -> list[str]:
    """List how two snapshots differ, except for missing features in the cache.

    A run that cannot write its cache keeps the features in memory. A rerun does not need those of
    finished items, so it does not write them either.
    """
    return differences(
        actual,
        {name: data for name, data in expected.items() if name in actual or CACHE not in name},
    )
