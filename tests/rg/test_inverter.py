"""The inverter wrapper: frames, ranges, noise, checkpoint container."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from s3pot.precision import tensor_float32
from s3pot.rg.inverter import Inverter, load_e4s
from s3pot.rg.nets.e4s import E4SNet, E4SSize
from s3pot.weights.load import WeightMismatch

TINY = E4SSize(
    regions=4,
    style_dim=8,
    channels=(8, 8, 8, 4),
    masked_codes=6,
    encoder_input=32,
    encoder_widths=(4, 4, 4, 8, 8),
    encoder_units=(1, 1, 1, 1),
    mlp_hidden=8,
    mapping_layers=1,
)


def tiny() -> E4SNet:
    torch.manual_seed(0)
    return E4SNet(TINY)


def face(batch: int, size: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    labels = torch.zeros(batch, size, size, dtype=torch.uint8)
    labels[:, size // 4 : size // 2] = 1
    labels[:, size // 2 :, size // 2 :] = 2
    return torch.rand(batch, 3, size, size), labels


def test_shape_range_and_determinism() -> None:
    inverter = Inverter(tiny(), 32)
    image, labels = face(2, 32)
    out = inverter.invert(image, labels)
    assert out.shape == (2, 3, 32, 32) and out.dtype == torch.float32
    assert out.min() >= 0 and out.max() <= 1 and out.std() > 0.01
    assert torch.equal(out, inverter.invert(image, labels))
    single = inverter.invert(image[1:], labels[1:])
    torch.testing.assert_close(single, out[1:], rtol=0, atol=1e-5)


def test_any_size_in() -> None:
    inverter = Inverter(tiny(), 32)
    image, labels = face(1, 32)
    large = F.interpolate(image, (64, 64), mode="nearest-exact")
    large_labels = F.interpolate(labels[:, None], (96, 96), mode="nearest-exact")[:, 0]
    want = inverter.invert(image, labels)
    # Pillow halves doubled pixels with a 4-tap triangle filter, so the image differs slightly.
    assert (inverter.invert(large, large_labels) - want).abs().mean() < 0.1
    torch.testing.assert_close(inverter.invert(image, large_labels), want)


def test_random_noise_differs() -> None:
    net = tiny()
    with torch.no_grad():
        for name, value in net.named_parameters():
            if name.endswith("noise.weight"):
                value.fill_(1.0)
    image, labels = face(1, 32)
    inverter = Inverter(net, 32, noise="random")
    assert not torch.equal(inverter.invert(image, labels), inverter.invert(image, labels))


def test_half_precision_is_close() -> None:
    image, labels = face(1, 32)
    want = Inverter(tiny(), 32).invert(image, labels)
    got = Inverter(tiny(), 32, half=True).invert(image, labels)
    assert got.dtype == torch.float32
    assert 0 < (got - want).abs().mean() < 0.02


def test_tf32_is_forbidden_unless_half_precision_was_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("s3pot.rg.inverter.full_float32", lambda device: tensor_float32(False))
    allowed = []
    net = tiny()
    net.register_forward_hook(lambda *_: allowed.append(torch.backends.cudnn.allow_tf32))
    image, labels = face(1, 32)
    for half in (False, True):
        Inverter(net, 32, half=half).invert(image, labels)
    assert allowed == [False, True]


def test_unknown_region_is_refused() -> None:
    image, labels = face(1, 32)
    with pytest.raises(ValueError, match="0 to 3"):
        Inverter(tiny(), 32).invert(image, labels + 3)


def test_container() -> None:
    net, other = tiny(), tiny()
    latent = torch.randn(8, 8)
    state = {f"module.{key}": value + 1 for key, value in net.state_dict().items()}
    load_e4s(other, {"state_dict": state, "latent_avg": latent, "opts": {}}, "e4s.pt")
    assert torch.equal(other.latent_avg, latent)
    assert torch.equal(other.G.conv1.conv.weight, net.G.conv1.conv.weight + 1)
    assert "latent_avg" not in other.state_dict()


@pytest.mark.parametrize("latent", [None, torch.zeros(18, 512)])
def test_container_without_fitting_latent(latent: Tensor | None) -> None:
    checkpoint = {"state_dict": tiny().state_dict(), "latent_avg": latent}
    with pytest.raises(WeightMismatch, match=r"e4s.pt: latent_avg is .*expected \(8, 8\)"):
        load_e4s(tiny(), checkpoint, "e4s.pt")
