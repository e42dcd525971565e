"""New tensors: constants and random numbers. Shapes are tuples; dtype and device default to the thread's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from ..autograd import Tensor, primitive
from ..backend import Array, Device, as_dtype, chosen_device, default_generator, device_of
from ..errors import check_cast, check_integer, message
from ..state import state
from .shape import as_shape

Shape = int | Sequence[int]


def _dtype(where: str, dtype: Any) -> numpy.dtype[Any]:
    return state.dtype if dtype is None else as_dtype(where, dtype)


def _made(device: str | Device | None, make: str, *args: Any, **keywords: Any) -> Tensor:
    """What the array module's function `make` gives on a device."""
    target = chosen_device(device)
    with target.active():
        return Tensor(getattr(target.xp, make)(*args, **keywords))


def full(
    shape: Shape, value: float, dtype: Any = None, device: str | Device | None = None, requires_grad: bool = False
) -> Tensor:
    """A tensor filled with one value.

    >>> import tinygrad_edu as tg
    >>> tg.full((2,), 3.0)
    tensor([3., 3.])
    """
    resolved = _dtype("full", dtype)
    if resolved.kind != "f":
        value = check_cast("full", "value", numpy.asarray(value), resolved)
    return _made(device, "full", as_shape("full", shape), value, dtype=resolved).requires_grad_(requires_grad)


def zeros(shape: Shape, dtype: Any = None, device: str | Device | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros."""
    return full(shape, 0, dtype, device, requires_grad)


def ones(shape: Shape, dtype: Any = None, device: str | Device | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor of ones."""
    return full(shape, 1, dtype, device, requires_grad)


def eye(rows: int, columns: int | None = None, dtype: Any = None, device: str | Device | None = None) -> Tensor:
    """The identity matrix."""
    rows = check_integer("eye", "rows", rows, 0)
    columns = rows if columns is None else check_integer("eye", "columns", columns, 0)
    return _made(device, "eye", rows, columns, dtype=_dtype("eye", dtype))


def arange(*range_: float, dtype: Any = None, device: str | Device | None = None) -> Tensor:
    """Numbers from start (0) to stop, stop excluded, by step (1): integers (int64) if all three are, else the default
    dtype.

    >>> import tinygrad_edu as tg
    >>> tg.arange(1, 4)
    tensor([1, 2, 3], dtype=int64)
    """
    if not 1 <= len(range_) <= 3:
        raise TypeError(message("arange", "from one to three numbers", f"{len(range_)}"))
    if len(range_) == 3 and range_[2] == 0:
        raise ValueError(message("arange", "a step other than 0", f"{range_}"))
    if dtype is None and all(isinstance(n, (int, numpy.integer)) for n in range_):
        dtype = numpy.int64
    return _made(device, "arange", *range_, dtype=_dtype("arange", dtype))


def linspace(start: float, stop: float, count: int, dtype: Any = None, device: str | Device | None = None) -> Tensor:
    """`count` numbers from start to stop, both included, at equal distances."""
    count = check_integer("linspace", "count", count, 0)
    return _made(device, "linspace", start, stop, count, dtype=_dtype("linspace", dtype))


# Random numbers, all from the generator that `tg.seed` starts


@primitive("random")
def _draw(
    xp: Any, *, distribution: str, shape: Any, device: Device, seed: int | None = None, **parameters: Any
) -> Array:
    with default_generator.keyed(seed):
        return getattr(default_generator, distribution)(shape, device=device, **parameters)


@primitive("random")
def keep_mask(
    xp: Any, *, shape: tuple[int, ...], rate: float, dtype: Any, device: Device, seed: int | None = None
) -> Array:
    """0 with probability `rate`, else 1 / (1 - rate): the factors of dropout."""
    with device.active(), default_generator.keyed(seed):
        return default_generator.kept(shape, rate, dtype, device)


def normal_like(x: Any, mean: float, std: float, seed: int | None = None) -> Any:
    """Random numbers from a normal distribution, of the shape and dtype of `x` and on its device."""
    device = device_of(x.data if isinstance(x, Tensor) else x)
    return Tensor(
        _draw(distribution="normal", shape=x.shape, device=device, seed=seed, mean=mean, std=std, dtype=x.dtype)
    )


def _drawn(distribution: str, shape: Shape, device: str | Device | None, **parameters: Any) -> Tensor:
    shape = as_shape(distribution, shape)
    return Tensor(_draw(distribution=distribution, shape=shape, device=chosen_device(device), **parameters))


def uniform(
    shape: Shape,
    low: float = 0.0,
    high: float = 1.0,
    dtype: Any = None,
    device: str | Device | None = None,
    requires_grad: bool = False,
    seed: int | None = None,
) -> Tensor:
    """Random numbers, uniform in [low, high). With a `seed` the draws depend on it instead of on that of `tg.seed`.

    >>> import tinygrad_edu as tg
    >>> tg.seed(0)
    >>> bool((tg.uniform((100,)) < 1.0).all())
    True
    """
    drawn = _drawn("uniform", shape, device, low=low, high=high, dtype=dtype or state.dtype, seed=seed)
    return drawn.requires_grad_(requires_grad)


def normal(
    shape: Shape,
    mean: float = 0.0,
    std: float = 1.0,
    dtype: Any = None,
    device: str | Device | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Random numbers from a normal distribution. Raises ValueError for a negative `std`."""
    if std < 0:
        raise ValueError(message("normal", "std of at least 0", f"{std}"))
    drawn = _drawn("normal", shape, device, mean=mean, std=std, dtype=dtype or state.dtype)
    return drawn.requires_grad_(requires_grad)


def integers(shape: Shape, low: int, high: int, device: str | Device | None = None, seed: int | None = None) -> Tensor:
    """Random integers (int64), uniform in [low, high). With a `seed` the draws depend on it instead of on that of
    `tg.seed`. Raises ValueError unless low < high."""
    return _drawn("integers", shape, device, low=low, high=high, seed=seed)


def permutation(count: int, device: str | Device | None = None) -> Tensor:
    """The integers below `count` (int64) in random order."""
    count = check_integer("permutation", "count", count, 0)
    return Tensor(_draw(distribution="permutation", shape=count, device=chosen_device(device)))
