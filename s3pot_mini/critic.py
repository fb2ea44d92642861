"""A small patch critic (Isola et al., 2017), for the generator's adversarial loss."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from s3pot.rg.nets.stylegan_ops import scaled_leaky_relu

WIDTHS = (24, 48, 64, 64)
SHARE = 0.2  # gradient of the critic on the picture, as a share of that of the absolute error


class Critic(nn.Module):
    """Scores how real each patch of about 46 px looks; weights are scaled as in StyleGAN2."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [(3, WIDTHS[0]), *zip(WIDTHS, WIDTHS[1:]), (WIDTHS[-1], 1)]
        self.weights = nn.ParameterList(torch.randn(o, i, 4, 4) for i, o in sizes)
        self.biases = nn.ParameterList(torch.zeros(o) for _, o in sizes)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, S, S) in [0, 1] to scores (B, 1, S / 16 - 1, S / 16 - 1); above 0: real."""
        x, last = images * 2 - 1, len(self.weights) - 1
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases)):
            scale = 1 / math.sqrt(weight[0].numel())
            x = F.conv2d(x, weight * scale, bias, stride=1 if k == last else 2, padding=1)
            x = x if k == last else scaled_leaky_relu(x)
        return x


def adversarial(
    critic: Critic, drawn: Tensor, clean: Tensor, pixels: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute the hinge losses of generator and critic; neither trains the other's weights.

    Args:
        critic: The critic in training.
        drawn: The generator's pictures, (B, 3, S, S), with gradient.
        clean: Real pictures, same shape.
        pixels: The generator's absolute error, differentiable with respect to ``drawn``: the
            adversarial gradient on the pictures is scaled to SHARE of the length of its gradient
            (after Esser et al., 2021).

    Returns:
        The generator's loss, scaled, and the critic's.
    """
    frozen = {name: p.detach() for name, p in critic.named_parameters()}
    fool = -functional_call(critic, frozen, (drawn,)).float().mean()
    wanted = torch.autograd.grad(pixels, drawn, retain_graph=True)[0].norm()
    given = torch.autograd.grad(fool, drawn, retain_graph=True)[0].norm()
    weight = SHARE * wanted / given.clamp_min(1e-12)
    fake, real = critic(drawn.detach()).float(), critic(clean).float()
    tell = F.relu(1 + fake).mean() + F.relu(1 - real).mean()
    return weight.detach() * fool, tell
