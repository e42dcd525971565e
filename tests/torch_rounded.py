"""PyTorch's products and convolutions, and their gradients, of factors rounded to 16 bits."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

ATEN = torch.ops.aten
FACTORS = {  # which arguments these are
    ATEN.mm.default: (0, 1),
    ATEN.addmm.default: (1, 2),
    ATEN.bmm.default: (0, 1),
    ATEN.convolution.default: (0, 1),
    ATEN.convolution_backward.default: (0, 1, 2),
}


class Rounded(TorchDispatchMode):
    """In a `with` block, also around the backward pass; `rounded` is a function of a NumPy array."""

    def __init__(self, rounded):
        super().__init__()
        self._rounded = rounded

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        args = list(args)
        for i in FACTORS.get(function, ()):
            args[i] = torch.from_numpy(self._rounded(args[i].detach().numpy()))
        return function(*args, **(kwargs or {}))
