"""The tested sets of versions name every requirement, and the oldest set is as promised."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
FILES = ["constraints-oldest.txt", "constraints-py39.txt", "constraints-latest.txt"]


def requirements(name: str) -> list[Requirement]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    wanted = [line for line in lines if line and not line.startswith(("#", "-r"))]
    return [Requirement(line) for line in wanted]


def pins(name: str) -> dict[str, Version]:
    pinned = {}
    for requirement in requirements(name):
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", requirement
        pinned[canonicalize_name(requirement.name)] = Version(specifier.version)
    return pinned


@pytest.mark.parametrize("name", FILES)
def test_every_requirement_is_pinned_to_a_version_that_it_allows(name: str) -> None:
    pinned = pins(name)
    for file in ("requirements.txt", "requirements-dev.txt"):
        for requirement in requirements(file):
            version = pinned[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(version), requirement


def test_the_oldest_versions_are_the_lowest_that_are_allowed() -> None:
    pinned = pins("constraints-oldest.txt")
    for requirement in requirements("requirements.txt"):
        (specifier,) = requirement.specifier
        version = pinned[canonicalize_name(requirement.name)]
        assert version.release[:2] == Version(specifier.version).release[:2], requirement
