"""Masks, checked where a layer is given one: tensors of booleans that tell which elements count."""

from __future__ import annotations

from typing import Any

from ..autograd import Tensor, tensor
from ..errors import ShapeError, message


def as_mask(where: str, mask: Any, shape: tuple[int, ...], name: str = "a mask") -> Any:
    """A mask of that shape as a tensor of booleans; integers count as True where they are not 0, and None stays None.

    Raises TypeError for floats, ShapeError for another shape.
    """
    if mask is None:
        return None
    mask = _booleans(where, mask, name)
    if mask.shape != tuple(shape):
        raise ShapeError(message(where, f"{name} of shape {tuple(shape)}", f"{mask.shape}"))
    return mask


def as_broadcast_mask(where: str, mask: Any, shape: tuple[int, ...], name: str = "a mask") -> Any:
    """As `as_mask`, for one that need only broadcast to that shape."""
    if mask is None:
        return None
    mask = _booleans(where, mask, name)
    if mask.ndim > len(shape) or any(n not in (1, m) for n, m in zip(mask.shape[::-1], shape[::-1], strict=False)):
        raise ShapeError(message(where, f"{name} that broadcasts to {tuple(shape)}", f"{mask.shape}"))
    return mask


def _booleans(where: str, mask: Any, name: str) -> Any:
    mask = mask if isinstance(mask, Tensor) else tensor(mask)
    if mask.dtype.kind not in "biu":
        raise TypeError(message(where, f"{name} of booleans", str(mask.dtype), "use .astype(bool)."))
    return mask if mask.dtype.kind == "b" else mask != 0
