"""segment-anything's modules are loaded without its predictors, without a visible difference."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fresh_python import FreshPython

# All questions to a fresh Python, in this order: later ones load more.
PROGRAM = """
import json, sys

import s3pot.api, s3pot.build, s3pot.runs.inference
found = {"heavy": sorted({"torchvision", "torch._dynamo", "matplotlib"} & set(sys.modules))}

import segment_anything
found["dunder"] = hasattr(segment_anything, "__nothing__")
import segment_anything.modeling as modeling
from segment_anything import SamPredictor, sam_model_registry
sams = (segment_anything.modeling.Sam, modeling.Sam, s3pot.sam.frozen.Sam)
found["different"] = len(set(sams)) - 1
found["predictor"] = SamPredictor.__name__
found["registry"] = "default" in sam_model_registry
found["name"] = hasattr(segment_anything, "nothing")
print(json.dumps(found))
"""
# The other way around: the package comes first.
PACKAGE_FIRST = """
import json, sys

import segment_anything
before = segment_anything
import s3pot.sam.frozen
same = sys.modules["segment_anything"] is before
print(json.dumps({"same": same, "predictor": hasattr(before, "SamPredictor")}))
"""


def output_of(program: str, fresh_python: FreshPython) -> dict[str, Any]:
    done = fresh_python.run(program)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def found(fresh_python: FreshPython) -> dict[str, Any]:
    return output_of(PROGRAM, fresh_python)


@pytest.mark.slow
def test_no_command_loads_torchvision_or_the_compiler(found: dict[str, Any]) -> None:
    assert found["heavy"] == []


@pytest.mark.slow
def test_the_whole_package_is_there_for_who_asks(found: dict[str, Any]) -> None:
    assert found["different"] == 0
    assert found["predictor"] == "SamPredictor" and found["registry"]


@pytest.mark.slow
def test_names_that_are_nowhere_are_missing_as_ever(found: dict[str, Any]) -> None:
    assert not found["dunder"] and not found["name"]


@pytest.mark.slow
def test_a_package_that_is_loaded_stays_as_it_is(fresh_python: FreshPython) -> None:
    assert output_of(PACKAGE_FIRST, fresh_python) == {"same": True, "predictor": True}
