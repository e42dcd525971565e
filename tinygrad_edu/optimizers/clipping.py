"""Clipping: gradients that are not larger than they may be."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from .. import ops
from ..autograd import cast, on_host
from ..errors import check_number, message


def clip_by_value(gradients: Iterable[Any], value: float) -> list[Any]:
    """The gradients, with every number brought into [-value, value]. None stays None.

    >>> import tinygrad_edu as tg
    >>> tg.optimizers.clip_by_value([tg.tensor([-3.0, 0.5]), None], 1.0)
    [tensor([-1. ,  0.5]), None]
    """
    value = _above_zero("clip_by_value", "value", value)
    return [None if g is None else ops.clip(g, -value, value) for g in gradients]


def clip_by_norm(gradients: Iterable[Any], norm: float) -> list[Any]:
    """The gradients, each scaled down to this Euclidean norm if its own is larger. None stays None.

    >>> import tinygrad_edu as tg
    >>> tg.optimizers.clip_by_norm([tg.tensor([3.0, 4.0]), tg.tensor([0.5])], 1.0)
    [tensor([0.6, 0.8]), tensor([0.5])]
    """
    norm = _above_zero("clip_by_norm", "norm", norm)
    return [None if g is None else scaled(g, _scale(global_norm([g]), norm)) for g in gradients]


def clip_by_global_norm(gradients: Iterable[Any], norm: float) -> tuple[list[Any], Any]:
    """The gradients, all scaled by the same factor so that their common Euclidean norm is at most `norm`, and what that
    was. Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks" (2013).

    None stays None, and counts nothing. If the norm is not finite, all become NaN. PyTorch adds 1e-6 to the norm.

    >>> import tinygrad_edu as tg
    >>> tg.optimizers.clip_by_global_norm([tg.tensor([3.0]), tg.tensor([4.0])], 1.0)
    ([tensor([0.6]), tensor([0.8])], tensor(5.))
    """
    norm, gradients = _above_zero("clip_by_global_norm", "norm", norm), list(gradients)
    found = global_norm(gradients)
    scale = _scale(found, norm)
    return [None if g is None else scaled(g, scale) for g in gradients], found


def global_norm(gradients: Iterable[Any]) -> Any:
    """The Euclidean norm of all numbers in these arrays or tensors; None counts nothing. Raises ValueError if all are.

    >>> import tinygrad_edu as tg
    >>> tg.optimizers.global_norm([tg.tensor([3.0]), None, tg.tensor([[4.0]])])
    tensor(5.)
    """
    given = [_wide(g) for g in gradients if g is not None]
    if not given:
        raise ValueError(message("global_norm", "at least one gradient", "none"))
    return ops.sqrt(functools.reduce(ops.add, [ops.sum(g * g) for g in given]))


def _scale(found: Any, norm: float) -> Any:
    """The factor that brings a norm down; NaN for one that is not finite."""
    return norm / ops.maximum(found, norm) + (found - found)


def scaled(gradient: Any, scale: Any) -> Any:
    """The gradient times a number, in its own dtype."""
    wide = _wide(gradient)
    product = wide * cast(scale, wide.dtype)
    return product if wide is gradient else cast(product, gradient.dtype)


def _wide(gradient: Any) -> Any:
    """The gradient, of float16 as float32, where neither squares overflow nor small factors round to nothing."""
    return cast(gradient, "float32") if gradient.dtype == "float16" else gradient


def _above_zero(where: str, name: str, value: Any) -> Any:
    return on_host(functools.partial(check_number, where, name, wanted="above 0", accepts=_is_positive), value)


def _is_positive(value: float) -> bool:
    return value > 0
