"""The layers that every network has: Input, Dense, and the plainest of all: Identity, Lambda, Masking."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import numpy

from .. import ops
from ..autograd import Tensor
from ..errors import ShapeError, check_bool, check_integer, check_number, message
from ..regularizers import L1L2
from ..state import state
from . import activations
from .base import ActivatedLayer, Layer, check_input, check_shape
from .symbolic import Node, Shape, Symbol, note_call, shapes_of


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
        node.outputs = symbol = Symbol(self.batch_input_shape or (None, *self.input_shape), self.dtype, node)
        note_call(node)
        return symbol

    def call(self, x: Any) -> Any:
        assert self.input_shape is not None
        check_input(self.where, x.shape, self.input_shape)
        return x

    def get_config(self) -> dict[str, Any]:
        shape = (
            {"batch_input_shape": self.batch_input_shape}
            if self.batch_input_shape
            else {"input_shape": self.input_shape}
        )
        config = {**shape, "dtype": self.input_dtype, "name": self.name}
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
    if batch_shape is not None and (shape is not None or batch_size is not None):
        raise ValueError(message("Input", "batch_shape alone", f"it beside shape {shape} and batch_size {batch_size}"))
    if batch_size is not None and shape is not None:
        batch_shape = (check_integer("Input", "batch_size", batch_size, 1), *check_shape("Input", "shape", shape))
    return InputLayer(None if batch_shape is not None else shape, dtype, batch_shape, name).symbol()


ONE_AXIS = "for one number a row use x.reshape(-1, 1), for one row x[None]."


class Dense(ActivatedLayer):
    """activation(x @ kernel + bias): every output sees every input. (..., inputs) becomes (..., units).

    Args:
        units: the number of outputs.
        activation: a name ("relu", "softmax", ...), a function, or None.
        use_bias: whether to add a bias.
        options: those of `Layer`; `kernel` and `bias` have an initializer, a regularizer and a constraint.

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
        self.use_bias = check_bool(self.where, "use_bias", use_bias)

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


class Identity(Layer):
    """Passes its input on as it is.

    >>> import tinygrad_edu as tg
    >>> tg.layers.Identity()(tg.tensor([1.0]))
    tensor([1.])
    """

    supports_masking = True

    def call(self, inputs: Any) -> Any:
        return inputs


class ActivityRegularization(Layer):
    """Passes its input on, and adds (l1 * sum(|x|) + l2 * sum(x * x)) / batch to the loss.

    >>> import tinygrad_edu as tg
    >>> layer = tg.layers.ActivityRegularization(l2=0.5)
    >>> x = layer(tg.tensor([[1.0, 2.0], [0.0, 1.0]]))
    >>> layer.losses
    [tensor(1.5)]
    """

    supports_masking = True

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **options: Any):
        super().__init__(activity_regularizer=L1L2(l1, l2), **options)
        self.l1, self.l2 = l1, l2

    def call(self, x: Any) -> Any:
        return x

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this layer again: l1 and l2 say all of the regularizer."""
        return {name: value for name, value in super().get_config().items() if name != "activity_regularizer"}


class Lambda(Layer):
    """A function as a layer; one with parameters is better written as a subclass of `Layer`, which finds them.

    Args:
        function: called on the input, with `arguments`, and with `training` and `mask` if it names them.
        output_shape: what is known of the output's shape, without the batch axis, or a function of the input's shape
            (batch axis included). It is checked; there is no need for it, for the function is tried out.
        mask: the mask of the output, or a function `mask(inputs, mask)` that makes it of that of the input.
        arguments: further arguments of the function, by name.

    A saved model with it needs the functions, by name, among the `custom_objects` of `load_model`. Raises ShapeError if
    the output's shape is not `output_shape`.

    >>> import tinygrad_edu as tg
    >>> tg.layers.Lambda(tg.clip, arguments={"high": 2.0})(tg.tensor([1.0, 3.0]))
    tensor([1., 2.])
    """

    def __init__(
        self,
        function: Callable[..., Any],
        output_shape: Any = None,
        mask: Any = None,
        arguments: dict[str, Any] | None = None,
        **options: Any,
    ):
        super().__init__(**options)
        function = activations.get(function, self.where) if isinstance(function, str) else function  # as it is saved
        if not callable(function):
            raise TypeError(message(self.where, "a function", repr(function)))
        self.function, self.mask = function, mask
        try:
            named = list(inspect.signature(function).parameters)
        except ValueError:  # some built-in functions do not tell theirs
            named = []
        self._takes = [name for name in ("training", "mask") if name in named]
        self.supports_masking = self._makes_mask = mask is not None
        given = output_shape is None or callable(output_shape)
        self.output_shape = output_shape if given else check_shape(self.where, "output_shape", output_shape)
        self.arguments = dict(arguments or {})

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        given = {"training": training, "mask": mask}
        y = self.function(inputs, **self.arguments, **{name: given[name] for name in self._takes})
        if y is None:
            raise TypeError(message(self.where, "function to return a tensor", "None"))
        if self.output_shape is not None:
            if not isinstance(y, Tensor):
                expected = f"one tensor, for there is output_shape {self.output_shape}"
                raise TypeError(message(self.where, expected, f"a {type(y).__name__}"))
            stated = self.output_shape
            shape = stated(shapes_of(inputs)) if callable(stated) else (None, *stated)
            if len(shape) != y.ndim or any(n not in (None, m) for n, m in zip(shape, y.shape, strict=True)):
                raise ShapeError(message(self.where, f"an output of shape {tuple(shape)}", f"{y.shape}"))
        return y

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        return self.mask(x, mask) if callable(self.mask) else self.mask


class Masking(Layer):
    """Masks the time steps of sequences (batch, steps, features) whose features all are `mask_value`, and sets them to
    0.

    >>> import tinygrad_edu as tg
    >>> y = tg.layers.Masking(-1.0)(tg.tensor([[[-1.0, -1.0], [-1.0, 2.0]]]))
    >>> y.tolist(), y.mask.tolist()
    ([[[0.0, 0.0], [-1.0, 2.0]]], [[False, True]])
    """

    supports_masking = True

    def __init__(self, mask_value: float = 0.0, **options: Any):
        super().__init__(**options)
        self.mask_value = check_number(self.where, "mask_value", mask_value, "that is finite", lambda _: True)

    def call(self, x: Any) -> Any:
        if x.ndim < 2:
            raise ShapeError(message(self.where, "inputs of shape (batch, ..., features)", f"shape {x.shape}"))
        return ops.where(ops.expand_dims(self.compute_mask(x), -1), x, 0.0)

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        return ops.not_equal(x, self.mask_value).any(axis=-1)
