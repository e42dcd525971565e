"""Moving tensors between devices, as a differentiable operation."""

from __future__ import annotations

from typing import Any

from ..autograd import Tensor, primitive
from ..backend import Array, Device, device, device_of, to_device


@primitive("opaque")
def _transfer(xp: Any, a: Array, *, target: Device, source: Device) -> Array:
    return to_device(a, target)


_transfer.defvjp(lambda g, y, a, target, source: _transfer(g, target=source, source=target))


def to(x: Tensor, target: str | Device) -> Tensor:
    """`x` on another device: itself if it is there already, else a copy. Its gradient comes back to the device of `x`.

    Raises DeviceError if the device cannot be used.
    """
    wanted, source = device(target), device_of(x.data if isinstance(x, Tensor) else x)
    return x if wanted == source else _transfer(x, target=wanted, source=source)
