"""Properties of SegNeXt; the numbers are in tests/parity."""

from __future__ import annotations

import pytest
import torch

from s3pot.rg.nets.segnext import Hamburger, SegNeXt, SegNeXtSize

SMALL = SegNeXtSize((8, 8, 16, 32), (1, 1, 1, 1), 32)


def test_two_nets_have_the_same_bases() -> None:
    """The release draws new bases at every call; two of our runs must agree."""
    bases = SegNeXt(SMALL).decode_head.hamburger.bases
    torch.manual_seed(5)
    assert torch.equal(bases, SegNeXt(SMALL).decode_head.hamburger.bases)
    torch.testing.assert_close(bases.norm(dim=1), torch.ones(1, 16))


def test_factorization_lowers_the_error() -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 32, 5) @ torch.rand(2, 5, 60)
    errors = []
    for steps in (1, 7, 60):
        errors.append(float((Hamburger(32, steps=steps).factorize(x) - x).norm() / x.norm()))
    assert errors[0] > errors[1] > errors[2] and errors[2] < 0.05


def test_any_size_and_batch() -> None:
    torch.manual_seed(0)
    net = SegNeXt(SMALL, classes=4).eval()
    x = torch.randn(2, 3, 40, 72)
    with torch.no_grad():
        logits = net(x)
        assert logits.shape == (2, 4, 5, 9)
        torch.testing.assert_close(net.forward_main(x[1:])[0], logits[1])


def test_unknown_size() -> None:
    with pytest.raises(ValueError, match="tiny, small, base, large"):
        SegNeXt("huge")
