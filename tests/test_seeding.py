"""Seeds and determinism of a run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from s3pot.seeding import use_determinism


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    was_enabled = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(was_enabled)


@pytest.mark.parametrize("own_choice", [False, True])
def test_a_program_keeps_its_own_choice_unless_a_run_asks_for_determinism(own_choice: bool) -> None:
    torch.use_deterministic_algorithms(own_choice)
    use_determinism(False)
    assert torch.are_deterministic_algorithms_enabled() == own_choice
    use_determinism(True)
    assert torch.are_deterministic_algorithms_enabled()
