"""The optimizer of the trainer against PyTorch's own."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.optim import AdamW, Optimizer

from s3pot.training.optimizer import PlainAdamW
from tests.fresh_python import FreshPython

WITHOUT_COMPILER = """
import sys
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR
from s3pot.training.optimizer import PlainAdamW

net = torch.nn.Linear(3, 2)
optimizer = PlainAdamW(net.parameters(), lr=0.1)
schedule = CosineAnnealingLR(optimizer, T_max=2)
optimizer.zero_grad()
net(torch.ones(3)).sum().backward()
optimizer.step()
schedule.step()
optimizer.load_state_dict(optimizer.state_dict())
sys.exit("torch._dynamo" in sys.modules)
"""


def take_steps(net: nn.Module, optimizer: Optimizer, count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    for _ in range(count):
        optimizer.zero_grad()
        net(torch.randn(4, 5, generator=generator)).square().sum().backward()
        optimizer.step()


def test_steps_and_states_equal_those_of_pytorchs_adamw() -> None:
    torch.manual_seed(0)
    net = nn.Linear(5, 3)
    plain_net = copy.deepcopy(net)
    optimizer = AdamW(net.parameters(), lr=0.1, weight_decay=0.2)
    plain = PlainAdamW(plain_net.parameters(), lr=0.1, weight_decay=0.2)
    take_steps(net, optimizer, 5)
    take_steps(plain_net, plain, 5)
    assert torch.equal(net.weight, plain_net.weight)
    for number, slots in optimizer.state_dict()["state"].items():
        for name, value in slots.items():
            assert torch.equal(value, plain.state_dict()["state"][number][name])
    resumed = PlainAdamW(plain_net.parameters(), lr=1.0)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    take_steps(net, optimizer, 3)
    take_steps(plain_net, resumed, 3)
    assert torch.equal(net.weight, plain_net.weight)


def test_a_step_has_no_gradient() -> None:
    net = nn.Linear(5, 3)
    take_steps(net, PlainAdamW(net.parameters(), lr=0.1), 1)
    assert net.weight.is_leaf and net.weight.grad_fn is None


def test_pytorchs_compiler_is_not_imported(fresh_python: FreshPython) -> None:
    assert fresh_python.run(WITHOUT_COMPILER).returncode == 0
