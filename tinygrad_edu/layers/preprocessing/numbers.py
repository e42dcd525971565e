"""Numbers are scaled, put into bins, or encoded as categories."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy

from ... import ops
from ...autograd import Tensor, check_array, live, tensor
from ...backend import device_of, to_device, to_host
from ...errors import ShapeError, check_bool, check_integer, check_integers, check_number, choice, message
from ...ops.indexing import check_ids
from ...state import state
from .. import config
from ..base import Layer
from ..symbolic import Shape
from .lookup import batches_of

BLOCK = 2**20
"""How many numbers `adapt` looks at together."""


def floating(x: Any) -> Any:
    """`x` with integers as floats of the default dtype."""
    return x if x.dtype.kind == "f" else ops.astype(x, state.dtype)


def like(values: Any, x: Any) -> Any:
    """An array of these values, of the dtype of `x` and on its device."""
    return to_device(numpy.asarray(values, dtype=x.dtype), device_of(x.data))


class Rescaling(Layer):
    """x * scale + offset, as floats; the shape stays. `scale` and `offset` are numbers, or lists with one per channel.

    Raises ShapeError for inputs to which these do not broadcast.

    >>> import tinygrad_edu as tg
    >>> tg.layers.Rescaling(1 / 127.5, offset=-1)(tg.tensor([[0, 255]]))
    tensor([[-1.,  1.]])
    """

    supports_masking = True

    def __init__(self, scale: Any, offset: Any = 0.0, **options: Any):
        super().__init__(**options)
        self.scale = _numbers(self.where, "scale", scale)
        self.offset = _numbers(self.where, "offset", offset)

    def call(self, x: Any) -> Any:
        x = floating(x)
        scale, offset = numpy.shape(self.scale), numpy.shape(self.offset)
        try:
            fits = numpy.broadcast_shapes(x.shape, scale, offset) == x.shape
        except ValueError:
            fits = False
        if not fits:
            expected = f"a shape that scale {scale} and offset {offset} broadcast to"
            raise ShapeError(message(self.where, expected, f"{x.shape}"))
        return x * like(self.scale, x) + like(self.offset, x)


def _numbers(where: str, name: str, value: Any) -> Any:
    """A number as a float, or an array (or lists) of numbers as an array."""
    array = numpy.asarray(value.data if isinstance(value, Tensor) else value)
    if array.dtype.kind not in "fiu" or not numpy.isfinite(array).all():
        raise ValueError(message(where, f"{name} to be finite numbers", repr(value)))
    return array.astype("float64") if array.ndim else float(array)


class Normalization(Layer):
    """(x - mean) / sqrt(variance), with the mean and variance of some data; the shape stays.

    Args:
        axis: the axis, or several, whose elements each have a mean and variance of their own; None has one for all
            numbers. It is not the batch axis.
        mean, variance: numbers, or lists of one for each place along `axis`. Without them, call `adapt`.
        invert: True computes x * sqrt(variance) + mean instead.
        options: those of `Layer`.

    Buffers, if `mean` was not given: mean and variance, of the lengths of those axes, NaN before `adapt`; count, how
    many numbers each was found from. The deviation is at least 1e-7. Raises ValueError before `adapt`, ShapeError for
    inputs that differ along `axis` from those of the first call.

    >>> import tinygrad_edu as tg
    >>> layer = tg.layers.Normalization()
    >>> layer.adapt([[0.0, 5.0], [4.0, 9.0]])
    >>> layer([[2.0, 9.0]])
    tensor([[0., 1.]])
    """

    supports_masking = True
    mean: Any
    variance: Any
    count: Tensor
    _lengths: tuple[int, ...]

    def __init__(self, axis: Any = -1, mean: Any = None, variance: Any = None, invert: bool = False, **options: Any):
        super().__init__(**options)
        self.axis = tuple(axis) if isinstance(axis, (list, tuple)) else axis
        given = () if axis is None else self.axis if isinstance(self.axis, tuple) else (axis,)
        self._axes = check_integers(self.where, "axis to be an integer, a tuple of integers, or None", given)
        if (mean is None) != (variance is None):
            raise ValueError(message(self.where, "mean and variance together", f"mean={mean}, variance={variance}"))
        self.mean = None if mean is None else _numbers(self.where, "mean", mean)
        self.variance = None if variance is None else _numbers(self.where, "variance", variance)
        if variance is not None and numpy.min(self.variance) < 0:
            raise ValueError(message(self.where, "variance of at least 0", repr(variance)))
        self._given = (self.mean, self.variance)
        if numpy.shape(self.mean) != numpy.shape(self.variance):
            found = f"{numpy.shape(mean)} and {numpy.shape(variance)}"
            raise ShapeError(message(self.where, "mean and variance of one shape", found))
        self.invert = check_bool(self.where, "invert", invert)

    def get_config(self) -> dict[str, Any]:
        """The arguments; `mean` and `variance` as they were given, for those that `adapt` finds are buffers."""
        twin = copy.copy(self)
        twin.mean, twin.variance = self._given
        return config.config_of(twin)

    def build(self, input_shape: Shape) -> None:
        known = [n for n in (input_shape[i] for i in self._kept(len(input_shape))) if n is not None]
        if len(known) < len(self._axes):
            expected = f"known lengths along the axis {self.axis}"
            raise ShapeError(message(self.where, expected, f"shape {input_shape}"))
        self._lengths = lengths = tuple(known)
        if self._given[0] is None:
            self.mean = self.add_weight(lengths, _nan, trainable=False)
            self.variance = self.add_weight(lengths, _nan, trainable=False)
            self.count = self.add_weight((), "zeros", trainable=False, dtype="int64")
        else:
            try:
                numpy.broadcast_to(self.mean, lengths)
            except ValueError:
                found = f"shape {numpy.shape(self.mean)}"
                raise ShapeError(message(self.where, f"a mean and variance for {lengths} places", found)) from None
        super().build(input_shape)

    def _kept(self, ndim: int) -> tuple[int, ...]:
        """The axes with numbers of their own, in order."""
        kept = tuple(sorted(i % ndim if -ndim <= i < ndim else -1 for i in self._axes))
        if -1 in kept or 0 in kept or len(set(kept)) < len(kept):
            hint = "axis=None has one mean and variance for all numbers." if ndim == 1 else ""
            expected = f"an input with the axis {self.axis}, which is not the batch axis"
            raise ShapeError(message(self.where, expected, f"{ndim} axes", hint))
        return kept

    def call(self, x: Any) -> Any:
        x = floating(x)
        kept = self._kept(x.ndim)
        shape = tuple(n if i in kept else 1 for i, n in enumerate(x.shape))
        lengths = tuple(x.shape[i] for i in kept)
        if lengths != self._lengths:
            raise ShapeError(message(self.where, f"lengths {self._lengths} along axis {self.axis}", f"shape {x.shape}"))
        mean, variance = self.mean, self.variance
        if not isinstance(mean, Tensor):
            mean, variance = (like(numpy.broadcast_to(value, lengths), x) for value in (mean, variance))
        elif not state.made_up:
            check_array(live(mean.data), self._check_adapted)
        mean, deviation = ops.reshape(mean, shape), ops.reshape(ops.maximum(ops.sqrt(variance), 1e-7), shape)
        return x * deviation + mean if self.invert else (x - mean) / deviation

    def _check_adapted(self, mean: Any) -> None:
        if bool((mean != mean).any()):
            hint = "call Normalization.adapt(data), or give it mean and variance."
            raise ValueError(message(self.where, "a mean and variance", "none yet", hint))

    def adapt(self, data: Any) -> None:
        """Finds the mean and variance of the data: an array or list, or something else to iterate over, such as a
        generator, that gives arrays, or tuples of which these are the first.

        Parts are combined in float64 by the formula of Chan, Golub and LeVeque, "Updating formulae and a pairwise
        algorithm for computing sample variances" (1979), so the sizes of batches make no difference.
        """
        count, mean, squares = 0, numpy.float64(0), numpy.float64(0)
        for block in _blocks(data):
            if self._given[0] is not None:
                raise ValueError(message(f"{self.where} adapt", "no mean and variance given before", "both"))
            self.build_once(block.shape)
            kept = self._kept(block.ndim)
            reduced = tuple(i for i in range(block.ndim) if i not in kept)
            if tuple(block.shape[i] for i in kept) != self._lengths:
                expected = f"data of lengths {self._lengths} along axis {self.axis}"
                raise ShapeError(message(f"{self.where} adapt", expected, f"shape {block.shape}"))
            new = math.prod(block.shape[i] for i in reduced)
            new_mean = block.mean(reduced, dtype="float64")
            new_squares = ((block - block.mean(reduced, dtype="float64", keepdims=True)) ** 2).sum(reduced)
            difference = new_mean - mean
            squares = squares + new_squares + difference**2 * (count * new / (count + new))
            mean = mean + difference * (new / (count + new))
            count += new
        if not count or not numpy.isfinite(mean).all():
            raise ValueError(message(f"{self.where} adapt", "finite data", "NaN or inf" if count else "none"))
        for buffer, value in ((self.mean, mean), (self.variance, squares / count), (self.count, count)):
            buffer.assign_(to_device(numpy.asarray(value, dtype=buffer.dtype), buffer.device))


def _nan(shape: tuple[int, ...], dtype: Any) -> Any:
    return numpy.full(shape, numpy.nan, dtype)


def _blocks(data: Any) -> Any:
    """The data as arrays that are not large, with the batch axis first."""
    for batch in batches_of(data):
        batch = batch[0] if isinstance(batch, tuple) and batch is not data else batch
        array = to_host(batch.data) if isinstance(batch, Tensor) else numpy.asarray(batch)
        if array.dtype.kind not in "fiub" or array.ndim == 0:
            raise TypeError(message("adapt", "arrays of numbers", f"{type(batch).__name__} of dtype {array.dtype}"))
        rows = max(1, BLOCK // max(1, math.prod(array.shape[1:])))
        for start in range(0, len(array), rows):
            yield array[start : start + rows]


MODES = ("count", "multi_hot", "one_hot")


def encode(where: str, ids: Any, depth: int, mode: str, weights: Any = None) -> Any:
    """Ids as rows of length `depth`: "one_hot" gives each id one, in place of a last axis of length 1, "multi_hot" and
    "count" one to all ids along the last axis."""
    ids = ops.expand_dims(ids, 0) if ids.ndim == 0 else ids
    if mode == "one_hot":
        single = ids.ndim > 1 and ids.shape[-1] == 1
        return ops.one_hot(ops.squeeze(ids, -1) if single else ids, depth)
    if ids.ndim > 2:
        raise ShapeError(message(where, f"at most two axes for output_mode={mode!r}", f"shape {ids.shape}"))
    encoded = ops.one_hot(ids, depth)
    if mode == "multi_hot":
        return ops.max(encoded, axis=-2)
    return ops.sum(encoded if weights is None else encoded * ops.expand_dims(weights, -1), axis=-2)


class CategoryEncoding(Layer):
    """Ids from 0 to num_tokens - 1 as rows of length `num_tokens`.

    Args:
        num_tokens: how many ids there are.
        output_mode: "multi_hot" has a 1 at each id in a row, "count" how often it is there; (n, k) becomes
            (n, num_tokens). "one_hot" has a row for each id: (n,) and (n, 1) become (n, num_tokens).
        options: those of `Layer`.

    `layer(ids, count_weights=weights)` adds up weights, one for each id, instead of ones in the mode "count". Raises
    IndexError for other ids, TypeError for what is no integer, ShapeError for weights of another shape.

    >>> import tinygrad_edu as tg
    >>> tg.layers.CategoryEncoding(3, "count")([[0, 2, 2]])
    tensor([[1., 0., 2.]])
    """

    input_dtype = "int64"

    def __init__(self, num_tokens: int | None = None, output_mode: str = "multi_hot", **options: Any):
        super().__init__(**options)
        self.num_tokens = check_integer(self.where, "num_tokens", num_tokens, 1)
        if output_mode not in MODES:
            raise choice(self.where, "output_mode", output_mode, MODES)
        self.output_mode = output_mode

    def call(self, x: Any, count_weights: Any = None) -> Any:
        if count_weights is not None:
            if self.output_mode != "count":
                found = f"output_mode={self.output_mode!r}"
                raise ValueError(message(self.where, "output_mode='count', because of count_weights", found))
            count_weights = count_weights if isinstance(count_weights, Tensor) else tensor(count_weights, state.dtype)
            if count_weights.shape != x.shape:
                raise ShapeError(message(self.where, f"count_weights of shape {x.shape}", f"{count_weights.shape}"))
        check_ids(self.where, x, self.num_tokens)
        return encode(self.where, x, self.num_tokens, self.output_mode, count_weights)


class Discretization(Layer):
    """The number of the bin in which each number lies: bin i is from boundary i - 1 up to below boundary i.

    Args:
        bin_boundaries: a rising list, or None.
        num_bins: without boundaries, how many bins `adapt` makes.
        epsilon: the share of the data to which `adapt` may be wrong about how many numbers a bin holds; it is exact.
        output_mode: "int" for the numbers of bins (int32), or as for `CategoryEncoding`.
        options: those of `Layer`.

    Raises ValueError before `adapt`, and for NaN, which is in no bin.

    >>> import tinygrad_edu as tg
    >>> tg.layers.Discretization([0.0, 1.0])([[-5.0, 0.0, 3.0]])
    tensor([[0, 1, 2]], dtype=int32)
    """

    def __init__(
        self,
        bin_boundaries: Any = None,
        num_bins: int | None = None,
        epsilon: float = 0.01,
        output_mode: str = "int",
        **options: Any,
    ):
        super().__init__(**options)
        if bin_boundaries is None and num_bins is None:
            raise ValueError(message(self.where, "bin_boundaries or num_bins", "none of them"))
        self.num_bins = None if num_bins is None else check_integer(self.where, "num_bins", num_bins, 2)
        self.epsilon = check_number(self.where, "epsilon", epsilon, "in (0, 1)", lambda value: 0 < value < 1)
        if output_mode not in ("int", *MODES):
            raise choice(self.where, "output_mode", output_mode, ("int", *MODES))
        self.output_mode = output_mode
        self.bin_boundaries = None if bin_boundaries is None else self._checked(bin_boundaries)

    def _checked(self, boundaries: Any) -> list[float]:
        found = _numbers(self.where, "bin_boundaries", boundaries)
        if numpy.ndim(found) != 1 or not len(found) or (numpy.diff(found) < 0).any():
            raise ValueError(message(self.where, "bin_boundaries to be a rising list", repr(boundaries)))
        return found.tolist()

    def _check_numbers(self, x: Any) -> None:
        if bool((x != x).any()):
            raise ValueError(message(self.where, "numbers", "nan"))

    def adapt(self, data: Any) -> None:
        """Chooses boundaries so that every bin holds as many of the data, an array or something that gives arrays.

        Boundary i is where the share i / num_bins of the sorted numbers ends, interpolated between them.
        """
        if self.num_bins is None:
            raise ValueError(message(f"{self.where} adapt", "num_bins", "bin_boundaries"))
        blocks = [block.ravel().astype("float64") for block in _blocks(data)]
        values = numpy.sort(numpy.concatenate(blocks)) if blocks else numpy.zeros(0)
        if not values.size or not numpy.isfinite(values).all():
            raise ValueError(message(f"{self.where} adapt", "finite data", "none" if not values.size else "NaN or inf"))
        shares = numpy.arange(1, values.size + 1) / values.size
        self.bin_boundaries = numpy.interp(numpy.arange(1, self.num_bins) / self.num_bins, shares, values).tolist()

    def call(self, x: Any) -> Any:
        if self.bin_boundaries is None:
            hint = "call Discretization.adapt(data), or give it bin_boundaries."
            raise ValueError(message(self.where, "bin_boundaries", "none yet", hint))
        x = floating(x)
        check_array(x.data, self._check_numbers)
        above = ops.greater_equal(ops.expand_dims(x, -1), like(self.bin_boundaries, x))
        bins = ops.sum(ops.astype(above, "int64"), axis=-1)
        if self.output_mode == "int":
            return ops.astype(bins, "int32")
        return encode(self.where, bins, len(self.bin_boundaries) + 1, self.output_mode)
