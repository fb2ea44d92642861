"""Face parsing into the 12 classes (paper section 3.1, "face parser")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s3pot.data.pixels import bicubic_reduce, pil_bilinear
from s3pot.finite import require_finite
from s3pot.precision import full_float32

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def standardize(image: Tensor) -> Tensor:
    """Apply ImageNet's mean and standard deviation to images, (B, 3, H, W) in [0, 1]."""
    mean = image.new_tensor(IMAGENET_MEAN)[:, None, None]
    std = image.new_tensor(IMAGENET_STD)[:, None, None]
    return (image - mean) / std


class Parser(nn.Module):
    """A parsing network with its preprocessing and postprocessing.

    Args:
        net: Network whose ``forward_main`` returns logits (B, classes, h, w); it is put into
            evaluation mode.
        input_size: Side of the images that the network was trained on (512 in the official models).
        table: The number, among the 12 classes, of each of the network's classes.
        native_resize: Resize as E4S does for BiSeNet: with its cubic filter for images at least
            ``input_size`` wide, with Pillow's bilinear filter for narrower ones. False resizes
            bilinearly, as for SegNeXt.
        output_size: Side of the label map; None for ``input_size``. Smaller logits are enlarged
            bilinearly before the argmax.
    """

    table: Tensor

    def __init__(
        self,
        net: nn.Module,
        input_size: int,
        table: Sequence[int],
        native_resize: bool = True,
        output_size: int | None = None,
    ) -> None:
        super().__init__()
        self.net: Any = net.eval()
        self.input_size = input_size
        self.output_size = output_size or input_size
        self.native_resize = native_resize
        self.register_buffer("table", torch.tensor(table, dtype=torch.uint8), persistent=False)

    def preprocess(self, image: Tensor) -> Tensor:
        """Resize images to the network's input size and normalize them.

        Args:
            image: RGB, (B, 3, H, W) in [0, 1], any size.

        Returns:
            (B, 3, S, S), normalized with ImageNet's mean and std.
        """
        if image.shape[-2:] != (self.input_size, self.input_size):
            image = self._resize(image).clamp(0, 1)
        return standardize(image)

    def _resize(self, image: Tensor) -> Tensor:
        size = self.input_size
        if not self.native_resize:
            return F.interpolate(image, (size, size), mode="bilinear", align_corners=False)
        if image.shape[-1] < size:
            return pil_bilinear(image, size)
        return bicubic_reduce(image, size)

    @torch.no_grad()
    def parse(self, image: Tensor) -> Tensor:
        """Label every pixel.

        Args:
            image: RGB, (B, 3, H, W) in [0, 1], any size.

        Returns:
            uint8 (B, S, S), values 0..11, where S is ``output_size``: the image's frame at the
            parser's resolution.

        Raises:
            ValueError: The network's number of classes differs from the table's.
            S3potError: The scores of the classes are not finite numbers.
        """
        with full_float32(image.device):
            logits = self.net.forward_main(self.preprocess(image))
        require_finite("The parser's scores", logits)
        if logits.shape[1] != len(self.table):
            raise ValueError(
                f"the net has {logits.shape[1]} classes, but its table has {len(self.table)}"
            )
        size = (self.output_size, self.output_size)
        if logits.shape[-2:] != size:
            logits = F.interpolate(logits, size, mode="bilinear", align_corners=False)
        return self.table[logits.argmax(dim=1)]
