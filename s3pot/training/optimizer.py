"""AdamW without PyTorch's compiler, whose import takes as long as that of PyTorch itself."""

from __future__ import annotations

from inspect import unwrap

import torch
from torch.optim import AdamW, Optimizer


class PlainAdamW(AdamW):
    """PyTorch's AdamW without the wrappers of its methods.

    They only tell the compiler what to leave alone, and import it for this purpose.
    """

    add_param_group = unwrap(Optimizer.add_param_group)
    load_state_dict = unwrap(Optimizer.load_state_dict)
    state_dict = unwrap(Optimizer.state_dict)
    step = torch.no_grad()(unwrap(AdamW.step))
    zero_grad = unwrap(Optimizer.zero_grad)
