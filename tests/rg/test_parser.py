"""The parser wrapper: sizes, class table, preprocessing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s3pot.data.pixels import bicubic_reduce, pil_bilinear
from s3pot.labels import NATIVE_12
from s3pot.precision import tensor_float32
from s3pot.rg.nets.bisenet import BiSeNet
from s3pot.rg.parser import Parser


class Brightness(nn.Module):
    """Three classes by red, green, blue; logits at 1 / `stride` of the input."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride

    def forward_main(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self.stride)


def flag() -> Tensor:
    """Red left, green middle, blue right; (1, 3, 24, 24)."""
    image = torch.full((1, 3, 24, 24), 0.4)
    for channel in range(3):
        image[:, channel, :, 8 * channel : 8 * channel + 8] = 0.6
    return image


def test_table_and_frame() -> None:
    labels = Parser(Brightness(), 24, (7, 0, 11)).parse(flag())
    assert labels.dtype == torch.uint8 and labels.shape == (1, 24, 24)
    assert labels[0, 5].tolist() == [7] * 8 + [0] * 8 + [11] * 8


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("shape", [(48, 48), (12, 12), (60, 36), (1, 1)])
def test_any_size_is_born_at_the_nets_size(shape: tuple[int, int], native: bool) -> None:
    image = F.interpolate(flag(), shape, mode="nearest-exact")
    labels = Parser(Brightness(), 24, (0, 1, 2), native_resize=native).parse(image)
    assert labels.shape == (1, 24, 24)
    if shape == (48, 48):
        assert labels[0, 5].tolist() == [0] * 8 + [1] * 8 + [2] * 8


def test_way_in_by_width() -> None:
    parser = Parser(Brightness(), 24, (0, 1, 2))
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    torch.manual_seed(0)
    wide, narrow = torch.rand(1, 3, 30, 48), torch.rand(1, 3, 48, 23)
    want = (bicubic_reduce(wide, 24).clamp(0, 1) - mean) / std
    torch.testing.assert_close(parser.preprocess(wide), want)
    torch.testing.assert_close(parser.preprocess(narrow), (pil_bilinear(narrow, 24) - mean) / std)


def test_small_logits_are_enlarged_before_the_argmax() -> None:
    image = flag()
    labels = Parser(Brightness(stride=8), 24, (0, 1, 2), output_size=48).parse(image)
    logits = F.avg_pool2d((image - 0.45) / 0.225, 8)
    assert labels.shape == (1, 48, 48) and logits.shape[-1] == 3
    assert labels[0, 0, [0, 24, 47]].tolist() == [0, 1, 2]


def test_wrong_table_is_refused() -> None:
    with pytest.raises(ValueError, match="3 classes, but its table has 12"):
        Parser(Brightness(), 24, NATIVE_12).parse(flag())


class SaysPrecision(Brightness):
    """Remembers whether TF32 was allowed in convolutions."""

    def forward_main(self, x: Tensor) -> Tensor:
        self.allowed = torch.backends.cudnn.allow_tf32
        return super().forward_main(x)


def test_the_network_computes_in_full_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = Parser(SaysPrecision(), 24, (0, 1, 2))
    parser.parse(flag())
    assert parser.net.allowed  # PyTorch's default, which does not affect a CPU
    monkeypatch.setattr("s3pot.rg.parser.full_float32", lambda device: tensor_float32(False))
    parser.parse(flag())
    assert not parser.net.allowed


def test_same_picture_same_map_and_batch_equals_single() -> None:
    torch.manual_seed(0)
    parser = Parser(BiSeNet(classes=12, width=8).train(), 64, NATIVE_12)
    image = torch.rand(3, 3, 64, 64)
    labels = parser.parse(image)
    assert torch.equal(labels, parser.parse(image))
    assert all(torch.equal(parser.parse(image[i : i + 1])[0], labels[i]) for i in range(3))
    assert labels.max() < 12 and not labels.is_inference()
