"""E4S at a small size: the same code, trainable, batched; the numbers are in tests/parity."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from s3pot.rg.nets.e4s import E4SNet, E4SSize
from s3pot.rg.nets.regions import RegionPlan

SMALL = {
    "regions": 4,
    "style_dim": 8,
    "channels": (8, 8, 8, 6),
    "encoder_input": 32,
    "encoder_widths": (4, 4, 4, 8, 8),
    "encoder_units": (1, 1, 1, 1),
    "mlp_hidden": 8,
    "mapping_layers": 0,
}


def labels(batch: int, size: int = 32) -> Tensor:
    maps = torch.zeros(batch, size, size, dtype=torch.int64)
    for i in range(batch):
        maps[i, 4 + i : 20, 3:17] = 1
        maps[i, 22:30, 10 + i :] = 2
    return maps


def test_derived_sizes() -> None:
    official = E4SSize()
    assert (official.output, official.codes, official.vector_dim) == (1024, 18, 1280)
    small = E4SSize(**SMALL, masked_codes=8)
    assert (small.output, small.codes, small.vector_dim) == (32, 8, 20)


# Code i feeds the i-th convolution; the to-RGB layers share 1, 3, 5, 7 with the next resolution.
@pytest.mark.parametrize(
    ("masked", "sizes"),
    [(2, (4, 8)), (3, (4, 8)), (4, (4, 8, 16)), (5, (4, 8, 16)), (8, (4, 8, 16, 32))],
)
def test_masked_sizes(masked: int, sizes: tuple[int, ...]) -> None:
    assert E4SNet(E4SSize(**SMALL, masked_codes=masked)).G.masked_sizes == sizes


@pytest.mark.parametrize("masked", [1, 9])
def test_impossible_sizes_are_refused(masked: int) -> None:
    with pytest.raises(ValueError, match="expected 2 to 8"):
        E4SSize(**SMALL, masked_codes=masked)
    with pytest.raises(ValueError, match="4 unit counts"):
        E4SSize(**{**SMALL, "encoder_units": (1, 1, 1)}, masked_codes=8)


@pytest.mark.parametrize("masked", [5, 8])
def test_batch_equals_single_samples(masked: int) -> None:
    torch.manual_seed(0)
    net = E4SNet(E4SSize(**SMALL, masked_codes=masked))
    net.latent_avg.normal_()
    image, maps = torch.randn(3, 3, 32, 32), labels(3)
    with torch.no_grad():
        together = net(image, maps)
        for i in range(3):
            alone = net(image[i : i + 1], maps[i : i + 1])
            torch.testing.assert_close(alone[0], together[i], rtol=0, atol=1e-4)


def test_codes_beyond_the_masked_are_the_mean_latent() -> None:
    net = E4SNet(E4SSize(**SMALL, masked_codes=5))
    net.latent_avg.normal_()
    codes = net.style_codes(torch.randn(2, 4, 20))
    assert codes.shape == (2, 4, 8, 8)
    assert torch.equal(codes[:, :, 5:], net.latent_avg[5:].expand(2, 4, 3, 8))
    assert (codes[:, :, :5] != net.latent_avg[:5]).any()


def test_one_code_for_all_regions_makes_the_mask_vanish() -> None:
    """With equal codes the regional generator is plain StyleGAN2, so there must be no seam."""
    torch.manual_seed(0)
    net = E4SNet(E4SSize(**SMALL, masked_codes=8))
    codes = torch.randn(1, 1, 8, 8).expand(1, 4, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(
            net.generate(codes, labels(1)), net.generate(codes, labels(1) * 0), rtol=0, atol=1e-4
        )


def test_a_region_owns_its_pixels() -> None:
    torch.manual_seed(0)
    net = E4SNet(E4SSize(**SMALL, masked_codes=8))
    codes = torch.randn(1, 4, 8, 8)
    changed = codes.clone()
    changed[:, 3] += 1  # absent from the map
    with torch.no_grad():
        assert torch.equal(net.generate(codes, labels(1)), net.generate(changed, labels(1)))
        changed[:, 2, 7] += 1  # the last to-RGB: exactly region 2's pixels change
        moved = (net.generate(codes, labels(1)) - net.generate(changed, labels(1))).abs().sum(1)
    assert torch.equal(moved > 0, labels(1) == 2)


def test_every_parameter_is_trained() -> None:
    torch.manual_seed(0)
    net = E4SNet(E4SSize(**SMALL, masked_codes=8))
    maps = labels(2)
    maps[:, :3] = 3
    net(torch.randn(2, 3, 32, 32), maps, noise="random").square().mean().backward()
    dead = {n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    # The gate after an InstanceNorm without affine is constant, so its weights get no gradient.
    assert {name for name in dead if ".fc1." not in name and ".fc2." not in name} == set()


def test_no_mapping_network_at_depth_0() -> None:
    assert not [k for k in E4SNet(E4SSize(**SMALL, masked_codes=8)).state_dict() if "style" in k]
    deep = E4SNet(E4SSize(**{**SMALL, "mapping_layers": 2}, masked_codes=8))
    assert deep.G.style(torch.randn(3, 8)).shape == (3, 8)


def test_bad_arguments() -> None:
    net = E4SNet(E4SSize(**SMALL, masked_codes=8))
    with pytest.raises(ValueError, match="stored, random"):
        net.generate(torch.zeros(1, 4, 8, 8), labels(1), noise="none")
    with pytest.raises(ValueError, match="0 to 3"):
        net(torch.zeros(1, 3, 32, 32), labels(1) + 2)


def test_plan_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    original = RegionPlan.__init__

    def counting(self: RegionPlan, *args: object) -> None:
        made.append(args[2])
        original(self, *args)

    monkeypatch.setattr(RegionPlan, "__init__", counting)
    E4SNet(E4SSize(**SMALL, masked_codes=8))(torch.zeros(1, 3, 32, 32), labels(1))
    assert made == [(4, 8, 16, 32)]
