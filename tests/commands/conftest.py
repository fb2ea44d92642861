"""Fixtures of the tests of the commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.datasets.layouts import Layout, make

pytest.register_assert_rewrite("tests.commands.data_commands")


@pytest.fixture
def layout(request: pytest.FixtureRequest, tmp_path: Path) -> Layout:
    """A small data set in the layout that the test is parametrized with; see ``every_format``."""
    return make(request.param, tmp_path / "source")
