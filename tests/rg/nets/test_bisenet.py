"""BiSeNet at other widths and sizes; the numbers themselves are in tests/parity."""

from __future__ import annotations

import pytest
import torch

from s3pot.rg.nets.bisenet import BiSeNet


@pytest.mark.parametrize("size", [(64, 64), (32, 96)])
def test_heads_have_the_inputs_size(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    net = BiSeNet(classes=5, width=8).eval()
    x = torch.randn(2, 3, *size)
    with torch.no_grad():
        logits = net(x)
        assert [tuple(one.shape) for one in logits] == [(2, 5, *size)] * 3
        assert torch.equal(net.forward_main(x), logits.out)


@pytest.mark.parametrize("size", [(64, 48), (31, 64), (0, 32)])
def test_odd_sizes_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"{size[0]} x {size[1]}.*multiples of 32"):
        BiSeNet(classes=5, width=8).forward_main(torch.zeros(1, 3, *size))


def test_width_scales_every_channel() -> None:
    full, quarter = BiSeNet().state_dict(), BiSeNet(width=16).state_dict()
    assert full.keys() == quarter.keys()
    for key, value in full.items():
        got, want = quarter[key].shape, list(value.shape)
        free = {0: (19,), 1: (3,)}
        for axis, (a, b) in enumerate(zip(want, got)):
            assert a == b * 4 or a in free.get(axis, ()) or axis > 1, key


def test_every_parameter_is_trained() -> None:
    torch.manual_seed(0)
    net = BiSeNet(classes=5, width=8).train()
    target = torch.randint(0, 5, (2, 64, 64))
    loss = sum(
        torch.nn.functional.cross_entropy(one, target) for one in net(torch.randn(2, 3, 64, 64))
    )
    loss.backward()
    dead = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert dead == []
