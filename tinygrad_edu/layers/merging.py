"""Layers that make one tensor of several."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, SupportsIndex

from .. import ops
from ..errors import ShapeError, check_bool, message
from ..ops.shape import normalize_axis
from .base import Layer
from .normalization import unit


class _Merge(Layer):
    """A layer that is called on a list of tensors."""

    supports_masking = True

    def _several(self, inputs: Any, count: int | None = None) -> list[Any]:
        """The inputs. Raises TypeError unless they are a list, ShapeError for another count or batches of different
        size."""
        if not isinstance(inputs, (list, tuple)) or not inputs:
            found = "an empty list" if isinstance(inputs, (list, tuple)) else type(inputs).__name__
            raise TypeError(message(self.where, "a list of tensors", found))
        shapes = [tuple(x.shape) for x in inputs]
        if count not in (None, len(inputs)):
            raise ShapeError(message(self.where, f"a list of {count} tensors", f"{len(inputs)}"))
        if any(shape[:1] != shapes[0][:1] for shape in shapes):
            raise ShapeError(message(self.where, "batches of one size", f"shapes {', '.join(map(str, shapes))}"))
        return list(inputs)


class _ElementByElement(_Merge):
    """Merges by a function of two tensors, element by element. Axes of length 1 are broadcast; inputs of fewer axes get
    axes of length 1 behind the batch axis."""

    merged: ClassVar[Callable[[Any, Any], Any]]

    def call(self, inputs: Any) -> Any:
        return functools.reduce(type(self).merged, self._aligned(inputs))

    def _aligned(self, inputs: Any, count: int | None = None) -> list[Any]:
        inputs = self._several(inputs, count)
        ndim = max(x.ndim for x in inputs)
        aligned = [
            ops.reshape(x, (x.shape[0], *[1] * (ndim - x.ndim), *x.shape[1:])) if x.ndim < ndim else x for x in inputs
        ]
        for lengths in zip(*(x.shape for x in aligned), strict=True):
            if len(set(lengths) - {1}) > 1:
                shapes = ", ".join(str(x.shape) for x in inputs)
                raise ShapeError(message(self.where, "shapes that are equal, or 1 where not", shapes))
        return aligned

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        """A time step counts where it does in one of the inputs; all do, if one has no mask."""
        if mask is None or any(one is None for one in mask):
            return None
        return functools.reduce(ops.logical_or, mask)


class Add(_ElementByElement):
    """The sum of tensors, element by element. Raises ShapeError for shapes that do not fit together.

    >>> import tinygrad_edu as tg
    >>> tg.layers.Add()([tg.tensor([[1.0, 2.0]]), tg.tensor([[3.0, 5.0]])])
    tensor([[4., 7.]])
    """

    merged = staticmethod(ops.add)


class Subtract(_ElementByElement):
    """The first of two tensors without the second, element by element. Raises ShapeError for shapes that do not fit
    together, and for other than two inputs.

    >>> import tinygrad_edu as tg
    >>> tg.layers.Subtract()([tg.tensor([[1.0, 2.0]]), tg.tensor([[3.0, 5.0]])])
    tensor([[-2., -3.]])
    """

    merged = staticmethod(ops.subtract)

    def _aligned(self, inputs: Any, count: int | None = None) -> list[Any]:
        return super()._aligned(inputs, 2)


class Multiply(_ElementByElement):
    """The product of tensors, element by element. Raises ShapeError for shapes that do not fit together.

    >>> import tinygrad_edu as tg
    >>> tg.layers.Multiply()([tg.tensor([[1.0, 2.0]]), tg.tensor([[3.0, 5.0]])])
    tensor([[ 3., 10.]])
    """

    merged = staticmethod(ops.multiply)


class Average(_ElementByElement):
    """The mean of tensors, element by element. Raises ShapeError for shapes that do not fit together.

    >>> import tinygrad_edu as tg
    >>> tg.layers.Average()([tg.tensor([[1.0, 2.0]]), tg.tensor([[3.0, 5.0]])])
    tensor([[2. , 3.5]])
    """

    merged = staticmethod(ops.add)

    def call(self, inputs: Any) -> Any:
        return super().call(inputs) / float(len(inputs))


class _Extreme(_ElementByElement):
    """Merges what the inputs' masks let count: where an input is masked, that of the others is taken."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        aligned = self._aligned(inputs)
        if mask is None or len({x.ndim for x in inputs}) > 1:
            return functools.reduce(type(self).merged, aligned)
        pairs = zip(aligned, mask, strict=True)
        y, counts = next((x, _spread(m, x)) for x, m in pairs)
        for x, m in pairs:
            m = _spread(m, x)
            x = x if m is None else ops.where(m, x, y)
            y = y if counts is None else ops.where(counts, y, x)
            counts = None if m is None or counts is None else ops.logical_or(counts, m)
            y = type(self).merged(y, x)
        return y


def _spread(mask: Any, x: Any) -> Any:
    """A mask with axes of length 1 for those that it lacks, which are the last of `x`."""
    return None if mask is None else ops.reshape(mask, (*mask.shape, *[1] * (x.ndim - mask.ndim)))


class Maximum(_Extreme):
    """The largest of tensors, element by element; where one is masked, of the others. Raises ShapeError for shapes that
    do not fit together.

    >>> import tinygrad_edu as tg
    >>> tg.layers.Maximum()([tg.tensor([[1.0, 9.0]]), tg.tensor([[3.0, 5.0]])])
    tensor([[3., 9.]])
    """

    merged = staticmethod(ops.maximum)


class Minimum(_Extreme):
    """The smallest of tensors, element by element; where one is masked, of the others. Raises ShapeError for shapes
    that do not fit together.

    >>> import tinygrad_edu as tg
    >>> tg.layers.Minimum()([tg.tensor([[1.0, 9.0]]), tg.tensor([[3.0, 5.0]])])
    tensor([[1., 5.]])
    """

    merged = staticmethod(ops.minimum)


class Concatenate(_Merge):
    """Tensors one after the other along an axis. Raises ShapeError unless their shapes are equal but for the axis.

    >>> import tinygrad_edu as tg
    >>> tg.layers.Concatenate()([tg.zeros((8, 3)), tg.zeros((8, 5))]).shape
    (8, 8)
    """

    def __init__(self, axis: int = -1, **options: Any):
        super().__init__(**options)
        if isinstance(axis, bool) or not isinstance(axis, SupportsIndex):
            raise TypeError(message(self.where, "axis to be an integer", repr(axis)))
        self.axis = operator.index(axis)

    def call(self, inputs: Any) -> Any:
        inputs = self._several(inputs)
        axis = normalize_axis(self.where, self.axis, inputs[0])
        if len({(*x.shape[:axis], *x.shape[axis + 1 :]) for x in inputs}) > 1 or len({x.ndim for x in inputs}) > 1:
            shapes = ", ".join(str(x.shape) for x in inputs)
            raise ShapeError(message(self.where, f"shapes that are equal but for axis {self.axis}", shapes))
        return ops.concatenate(inputs, axis)

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        """The masks one after the other; along the axis of features, a time step counts where it does in one of the
        inputs. All time steps of an input without a mask count."""
        if mask is None:
            return None
        masks = [
            ops.ones(t.shape, "bool", t.device) if m is None else ops.broadcast_to(_spread(m, t), t.shape)
            for t, m in zip(x, mask, strict=True)
        ]
        steps = next(m.ndim for m in mask if m is not None)
        return ops.concatenate(masks, self.axis).any(axis=tuple(range(steps, x[0].ndim)))


class Dot(_Merge):
    """The products of the rows of two tensors, summed along an axis of each: (batch, *a) and (batch, *b) become
    (batch, *a without its axis, *b without its axis), or (batch, 1) if no axis is left.

    Args:
        axes: the axis of both, or that of each; not the batch axis.
        normalize: whether to divide by the lengths along the axes, which makes products cosines.

    Raises ShapeError for other than two inputs, and if the axes are not equally long.

    >>> import tinygrad_edu as tg
    >>> tg.layers.Dot(axes=1)([tg.tensor([[1.0, 2.0]]), tg.tensor([[3.0, 5.0]])])
    tensor([[13.]])
    """

    def __init__(self, axes: int | Sequence[int], normalize: bool = False, **options: Any):
        super().__init__(**options)
        given = axes if isinstance(axes, (list, tuple)) else (axes, axes)
        if len(given) != 2 or any(isinstance(n, bool) or not isinstance(n, SupportsIndex) for n in given):
            raise TypeError(message(self.where, "axes to be an integer or two of them", repr(axes)))
        if 0 in given:
            raise ValueError(message(self.where, "axes other than that of the batch", repr(axes)))
        self.axes, self.normalize = axes, check_bool(self.where, "normalize", normalize)

    def call(self, inputs: Any) -> Any:
        x, y = self._several(inputs, 2)
        i, j = self.axes if isinstance(self.axes, (list, tuple)) else (self.axes, self.axes)
        i, j = normalize_axis(self.where, i, x), normalize_axis(self.where, j, y)
        if 0 in (i, j) or x.shape[i] != y.shape[j]:
            expected = f"inputs of equal lengths along axes {self.axes}, which are not the batch"
            raise ShapeError(message(self.where, expected, f"shapes {x.shape}, {y.shape}"))
        if self.normalize:
            x, y = unit(x, i, 1e-7), unit(y, j, 1e-7)
        x, y = ops.moveaxis(x, i, -1), ops.moveaxis(y, j, 1)
        batch, length, left, right = x.shape[0], x.shape[-1], x.shape[1:-1], y.shape[2:]
        product = ops.matmul(
            ops.reshape(x, (batch, math.prod(left), length)), ops.reshape(y, (batch, length, math.prod(right)))
        )
        return ops.reshape(product, (batch, *(left + right or (1,))))

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        """None: what the output's axes are, is not known."""
        return None
