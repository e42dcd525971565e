"""The layers that every network has: Input, Dense, Activation, Dropout, Flatten, Reshape."""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy

from .. import ops
from ..autograd import Tensor
from ..errors import ShapeError, check_integer, check_number, message
from ..state import state
from . import activations
from .base import ActivatedLayer, Layer, check_shape
from .symbolic import Node, Shape, Symbol


class InputLayer(Layer):
    """States the shape of one input, without the batch axis; passes inputs on. See `Input`, which makes one.

    `dtype` is one of numbers, or "string" for texts.

    Raises ShapeError for an input of another shape.
    """

    def __init__(
        self,
        input_shape: tuple[int | None, ...] | None = None,
        dtype: str | None = None,
        batch_input_shape: tuple[int | None, ...] | None = None,
        name: str | None = None,
    ):
        super().__init__(name=name, input_shape=input_shape, batch_input_shape=batch_input_shape)
        if self.input_shape is None:
            raise TypeError(message(self.where, "the shape of an input", "none", "write Input((3,))."))
        if dtype in ("string", "object"):
            self.input_dtype = "object"
        elif dtype is not None:
            try:
                known = numpy.dtype(dtype)
            except TypeError:
                known = numpy.dtype(object)
            if known.kind not in "fiub":
                raise ValueError(message(self.where, "dtype to be one of numbers, such as 'int64'", repr(dtype)))
            self.input_dtype = known.name

    @property
    def dtype(self) -> Any:
        return numpy.dtype(self.input_dtype or state.dtype)

    def symbol(self) -> Symbol:
        """A symbol for the inputs."""
        node = Node(self, (), {})
        assert self.input_shape is not None
        node.outputs = Symbol(self.batch_input_shape or (None, *self.input_shape), self.dtype, node)
        self.calls = (weakref.ref(node),)
        return node.outputs

    def call(self, x: Any) -> Any:
        assert self.input_shape is not None
        check_input(self.where, x.shape, self.input_shape)
        return x

    def get_config(self) -> dict[str, Any]:
        shape = {"batch_input_shape": self.batch_input_shape} if self.batch_input_shape else {}
        config = {"input_shape": self.input_shape, "dtype": self.input_dtype, "name": self.name, **shape}
        return {key: value for key, value in config.items() if value is not None}


def Input(
    shape: tuple[int | None, ...] | None = None,
    batch_size: int | None = None,
    dtype: str | None = None,
    name: str | None = None,
    batch_shape: tuple[int | None, ...] | None = None,
) -> Symbol:
    """A symbol for inputs of that shape, without the batch axis: the beginning of a functional model, or the first
    entry of a `Sequential`.

    `Input((64,))` stands for batches (n, 64); None in the shape is an axis of any length. `batch_size` fixes n, and so
    does `batch_shape` in place of `shape`.

    >>> import tinygrad_edu as tg
    >>> x = tg.layers.Input((3,))
    >>> tg.layers.Dense(2)(x)
    <Symbol (None, 2) float32>
    """
    if batch_size is not None and shape is not None:
        batch_shape = (check_integer("Input", "batch_size", batch_size, 1), *check_shape("Input", "shape", shape))
    return InputLayer(None if batch_shape is not None else shape, dtype, batch_shape, name).symbol()


def check_input(where: str, received: tuple[int, ...], shape: tuple[int | None, ...]) -> None:
    """Raises ShapeError unless `received` is a batch of rows of that shape."""
    fits = len(received) == len(shape) + 1 and all(
        n is None or n == m for n, m in zip(shape, received[1:], strict=True)
    )
    if not fits:
        hint = "add a batch axis: x[None]." if received == shape else ""
        hint = "make it a column: x.reshape(-1, 1)." if len(received) == 1 and shape == (1,) else hint
        raise ShapeError(message(where, f"a batch of shape {(None, *shape)}", f"shape {received}", hint))


ONE_AXIS = "for one number a row use x.reshape(-1, 1), for one row x[None]."


class Dense(ActivatedLayer):
    """activation(x @ kernel + bias): every output sees every input. (..., inputs) becomes (..., units).

    Args:
        units: the number of outputs.
        activation: a name ("relu", "softmax", ...), a function, or None.
        use_bias: whether to add a bias.
        options: those of `Layer`; `kernel` and `bias` have an initializer and a regularizer.

    Parameters: kernel (inputs, units), bias (units,). Raises ShapeError if the last axis of an input is not `inputs`.

    >>> import tinygrad_edu as tg
    >>> layer = tg.layers.Dense(3, activation="relu")
    >>> layer(tg.ones((8, 5))).shape, layer.kernel.shape
    ((8, 3), (5, 3))
    """

    initial: ClassVar = {"kernel": "glorot_uniform", "bias": "zeros"}
    supports_masking = True
    kernel: Tensor
    bias: Tensor | None = None

    def __init__(self, units: int, activation: Any = None, use_bias: bool = True, **options: Any):
        super().__init__(**options)
        self.units = check_integer(self.where, "units", units, 1)
        self.activation = activations.get(activation, self.where)
        self.use_bias = bool(use_bias)

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) < 2 or input_shape[-1] is None:
            hint = ONE_AXIS if len(input_shape) == 1 else ""
            raise ShapeError(
                message(self.where, "inputs of shape (batch, ..., features)", f"shape {input_shape}", hint)
            )
        self.make("kernel", (input_shape[-1], self.units))
        if self.use_bias:
            self.make("bias", (self.units,))
        super().build(input_shape)

    def preactivation(self, x: Any) -> Any:
        features = self.kernel.shape[0]
        if x.ndim < 2 or x.shape[-1] != features:
            hint = f"build it with Dense(..., input_shape=({x.shape[-1]},))." if x.ndim > 1 else ONE_AXIS
            raise ShapeError(message(self.where, f"{features} input features", f"shape {x.shape}", hint))
        return ops.linear(x, self.kernel, self.bias)


class Activation(ActivatedLayer):
    """An activation function, by name or as a function, as a layer; the shape stays.

    >>> import tinygrad_edu as tg
    >>> tg.layers.Activation("relu")(tg.tensor([[-1.0, 2.0]]))
    tensor([[0., 2.]])
    """

    supports_masking = True

    def __init__(self, activation: Any, **options: Any):
        super().__init__(**options)
        self.activation = activations.get(activation, self.where)

    def preactivation(self, x: Any) -> Any:
        return x


class Dropout(Layer):
    """In training, sets each element to 0 with probability `rate` and divides the others by 1 - rate; else passes all
    on.

    `noise_shape`, with the batch axis, has 1 for axes along which all elements share their fate.
    Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting" (2014). Raises ValueError for
    a rate outside [0, 1).

    >>> import tinygrad_edu as tg
    >>> tg.layers.Dropout(0.5)(tg.ones((2,)), training=False)
    tensor([1., 1.])
    """

    supports_masking = True

    def __init__(self, rate: float, noise_shape: Sequence[int | None] | None = None, **options: Any):
        super().__init__(**options)
        self.rate = check_number(self.where, "rate", rate, "in [0, 1)", lambda rate: 0 <= rate < 1)
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)

    def call(self, x: Any) -> Any:
        return ops.dropout(x, self.rate, self.noise_shape) if state.training else x


class Flatten(Layer):
    """All axes but the first as one: (batch, 8, 8) becomes (batch, 64).

    >>> import tinygrad_edu as tg
    >>> tg.layers.Flatten()(tg.zeros((2, 3, 4))).shape
    (2, 12)
    """

    def call(self, x: Any) -> Any:
        return ops.reshape(x, (x.shape[0], math.prod(x.shape[1:])))


class Reshape(Layer):
    """Rows of another shape, with as many elements: (batch, ...) becomes (batch, *target_shape); one length may be -1.

    Raises ShapeError for an input with another number of elements.

    >>> import tinygrad_edu as tg
    >>> tg.layers.Reshape((2, -1))(tg.zeros((5, 6))).shape
    (5, 2, 3)
    """

    def __init__(self, target_shape: tuple[int, ...], **options: Any):
        super().__init__(**options)
        fixed = check_shape(self.where, "target_shape", [1 if n == -1 else n for n in target_shape])
        if list(target_shape).count(-1) > 1 or None in fixed:
            raise ValueError(message(self.where, "target_shape with at most one -1", repr(target_shape)))
        self.target_shape = tuple(int(n) for n in target_shape)

    def call(self, x: Any) -> Any:
        size, known = math.prod(x.shape[1:]), math.prod(n for n in self.target_shape if n != -1)
        if size % known if -1 in self.target_shape else size != known:
            expected = f"rows that can be reshaped to {self.target_shape}"
            raise ShapeError(message(self.where, expected, f"shape {x.shape}"))
        shape = tuple(size // known if n == -1 else n for n in self.target_shape)
        return ops.reshape(x, (x.shape[0], *shape))
