"""RG's last step: three arrays of one size, sampled at pixel centres."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from s3pot.labels import resize_labels
from s3pot.rg.align import identity
from s3pot.rg.inverter import make_reference
from s3pot.types import Photo


@pytest.mark.parametrize("shape", [((5, 7), (5, 7)), ((5, 7), (16, 9)), ((32, 32), (13, 80))])
def test_resize_labels_is_torch_nearest_exact(shape):
    labels = np.random.default_rng(0).integers(0, 12, shape[0]).astype(np.uint8)
    grid = torch.from_numpy(labels)[None, None].float()
    wanted = F.interpolate(grid, size=shape[1], mode="nearest-exact")[0, 0].byte().numpy()
    assert (resize_labels(labels, shape[1]) == wanted).all()


class HalfParser(torch.nn.Module):
    """Labels at half size: 6 where red is bright."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def parse(self, image):
        return ((image[:, 0, ::2, ::2] > 0.5) * 6).byte()


class GreyInverter:
    """The mean colour of each region, at a size of its own."""

    def invert(self, image, labels):
        assert labels.shape == (1, 4, 6)
        return image.mean(dim=(2, 3), keepdim=True).expand(1, 3, 16, 16)


def test_all_three_take_the_working_size():
    pixels = np.zeros((8, 12, 3), np.uint8)
    pixels[:4] = 255
    made = make_reference(HalfParser(), GreyInverter(), Photo("a", pixels, identity(pixels)))
    assert made.raw is pixels
    assert (made.labels[:4] == 6).all() and not made.labels[4:].any()
    assert (made.reference == 128).all()
    assert made.reference.shape == (8, 12, 3) and made.labels.dtype == np.uint8
