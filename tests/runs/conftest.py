"""Fixtures of the tests of tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import evaluate


@pytest.fixture
def data(processed_folder: Callable[..., Path]) -> Path:
    return processed_folder(3)


@pytest.fixture
def run(tmp_path: Path, data: Path, mini_options: list[str]) -> Callable[..., int]:
    def call(rows: list[Any], *overrides: str, **more: Any) -> int:
        path = tmp_path / "suite.yaml"
        path.write_text(yaml.safe_dump({"datapath": str(data), "rows": rows, **more}))
        out = ["--suite", str(path), "--output_dir", str(tmp_path / "out")]
        return evaluate.main([*out, *mini_options, *overrides])

    return call
