"""segment-anything's modules are loaded without its predictors, without a visible difference."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def output_of(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.slow
@pytest.mark.parametrize("module", ["s3pot.runs.inference", "s3pot.build", "s3pot.api"])
def test_no_command_loads_torchvision_or_the_compiler(module: str) -> None:
    program = (
        f"import sys, {module}; "
        "print(*sorted({'torchvision', 'torch._dynamo', 'matplotlib'} & set(sys.modules)))"
    )
    assert output_of(program) == ""


@pytest.mark.slow
def test_the_whole_package_is_there_for_who_asks() -> None:
    program = (
        "import s3pot.sam.frozen, segment_anything.modeling as modeling; "
        "from segment_anything import SamPredictor, sam_model_registry; "
        "import segment_anything; "
        "print(segment_anything.modeling.Sam is modeling.Sam is s3pot.sam.frozen.Sam, "
        "SamPredictor.__name__, sorted(sam_model_registry)[0])"
    )
    assert output_of(program) == "True SamPredictor default"


@pytest.mark.slow
def test_a_package_that_is_loaded_stays_as_it_is() -> None:
    program = (
        "import segment_anything; before = segment_anything; import s3pot.sam.frozen, sys; "
        "print(sys.modules['segment_anything'] is before, hasattr(before, 'SamPredictor'))"
    )
    assert output_of(program) == "True True"


@pytest.mark.slow
def test_names_that_are_nowhere_are_missing_as_ever() -> None:
    program = (
        "import s3pot.sam.frozen, segment_anything; "
        "print(hasattr(segment_anything, '__nothing__'), hasattr(segment_anything, 'nothing'))"
    )
    assert output_of(program) == "False False"
