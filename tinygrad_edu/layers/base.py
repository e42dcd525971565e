"""Layer: what all layers and models have in common: parameters and their names, building, modes, state, devices."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy

from .. import initializers
from ..autograd import Tensor, settled, tensor
from ..backend import Device, default_device, device, to_device, to_host
from ..errors import ShapeError, check_cast, check_integer, check_names, choice, message
from ..state import Switch, state

Shape = tuple[int | None, ...]
"""A shape with the batch axis first; None where the length is not known."""
MADE_UP_LENGTHS = (12, 24)
"""For axes of unknown length, where a layer is tried out: multiples of many small numbers."""


class Layer:
    """A function with parameters, and the base class of every layer and model.

    A subclass defines `call(x)`, which computes, and, if it has parameters whose shapes depend on the input,
    `build(input_shape)`, which makes them with `add_weight`. `layer(x)` builds at the first call and then calls.
    Tensors and layers held by attributes, also inside lists, tuples and dicts, belong to the layer: a tensor that
    requires grad is a parameter, another one a buffer (saved and moved, not trained).

    Args:
        name: shown in errors and in `summary`.
        trainable: False freezes the parameters.
        input_shape: the shape of one input, without the batch axis; lets a model build before its first call.
        input_dim: short for `input_shape=(input_dim,)`.

    >>> import tinygrad_edu as tg
    >>> class Scale(tg.layers.Layer):
    ...     def build(self, input_shape):
    ...         self.factor = self.add_weight((input_shape[-1],), "ones")
    ...     def call(self, x):
    ...         return x * self.factor
    >>> layer = Scale()
    >>> layer(tg.tensor([[1.0, 2.0]])).shape, [name for name, _ in layer.named_parameters()]
    ((1, 2), ['factor'])
    """

    # Defaults on the class, so that a subclass that forgets super().__init__() works too.
    name: str | None = None
    input_shape: tuple[int | None, ...] | None = None
    input_dtype: str | None = None
    """What `fit` casts inputs to; None is the floating dtype of the model. A layer that takes ids says "int64"."""
    built = False
    build_shape: tuple[int | None, ...] | None = None
    """The shape of one input when the layer was built."""
    mode: bool | None = None
    """The training mode set by `train()` and `eval()`; None inherits."""
    _trainable = True
    _frozen: frozenset[str] = frozenset()
    _device: Device | None = None
    _call_takes_training = False
    is_split = False
    """Whether the output is the `activation` of the `preactivation`; see `ActivatedLayer`."""

    def __init__(
        self,
        name: str | None = None,
        trainable: bool = True,
        input_shape: tuple[int | None, ...] | None = None,
        input_dim: int | None = None,
        **unknown: Any,
    ):
        self.name = name
        if unknown:
            known = {**inspect.signature(type(self)).parameters, **inspect.signature(Layer).parameters}
            names = [argument for argument, kind in known.items() if kind.kind is not kind.VAR_KEYWORD]
            raise TypeError(*choice(self.where, "each argument", next(iter(unknown)), names).args)
        self._trainable = bool(trainable)
        if input_dim is not None:
            input_shape = (check_integer(self.where, "input_dim", input_dim, 1),)
        self.input_shape = None if input_shape is None else check_shape(self.where, "input_shape", input_shape)

    def __init_subclass__(cls, **keywords: Any):
        super().__init_subclass__(**keywords)
        cls._call_takes_training = "training" in inspect.signature(cls.call).parameters

    # What a subclass defines

    def build(self, input_shape: Shape) -> None:
        """Makes the parameters for inputs of this shape, batch axis included. Called once, before the first `call`."""
        self.built = True

    def call(self, x: Any) -> Any:
        """Computes the output. `state.training` tells the mode; an argument named `training` is given it as well."""
        raise NotImplementedError(f"{type(self).__name__} defines no call(x)")

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this layer again, as JSON; a subclass adds its own."""
        given = {"name": self.name, "trainable": self._trainable, "input_shape": self.input_shape}
        defaults = {"name": None, "trainable": True, "input_shape": None}
        return {key: value for key, value in given.items() if value != defaults[key]}

    def add_weight(
        self,
        shape: tuple[int, ...],
        initializer: Any = "glorot_uniform",
        trainable: bool = True,
        dtype: Any = None,
        name: str | None = None,
    ) -> Tensor:
        """A new parameter (a buffer if not `trainable`) of that shape; assign it to an attribute, which names it."""
        dtype = numpy.dtype(dtype or state.dtype)
        values = initializers.get(initializer, self.where)(tuple(shape), dtype=dtype)
        array = values.data if isinstance(values, Tensor) else values
        array = array if hasattr(array, "dtype") else numpy.asarray(array)
        if array.shape != tuple(shape):
            raise ShapeError(message(self.where, f"initial values of shape {tuple(shape)}", f"{array.shape}"))
        if array.dtype.kind not in "fiub":
            raise TypeError(message(self.where, "initial values to be numbers", f"dtype {array.dtype}"))
        array = check_cast(self.where, "initial values", array, dtype)
        # a copy, for the array may be the user's own, and training overwrites parameters
        return Tensor(to_device(array, default_device()).copy(), requires_grad=trainable)

    # Calling

    def __call__(self, x: Any, *args: Any, training: bool | None = None, **keywords: Any) -> Any:
        """Builds at the first call, then runs `call`.

        Args:
            x: a tensor; arrays and lists become one.
            training: the mode. If not given, that of the last `train()` or `eval()` of this layer; without these the
                mode of the layer that calls this one, or `tg.state.training`. It holds for the layers inside as well.

        An error names the layer and its place in the model.
        """
        return self.run(self.call, x, *args, training=training, **keywords)

    def run(
        self, function: Callable[..., Any], x: Any, *args: Any, training: bool | None = None, **keywords: Any
    ) -> Any:
        """What `layer(x)` does, for another method of this layer in place of `call`."""
        if training is None:
            training = state.training if self.mode is None else self.mode
        settled(self, "mode")
        if self._call_takes_training and function == self.call:
            keywords["training"] = training
        try:
            x = x if isinstance(x, Tensor) else tensor(x)
            with Switch("training", training):
                if not self.built:
                    self.build_once(x.shape, x.device)
                return function(x, *args, **keywords)
        except Exception as error:
            self._locate(error)
            raise

    def build_once(self, input_shape: Shape, target: Device | None = None) -> None:
        """Builds, if that was not done, on the device chosen by `to`, or on `target`, or on the default device."""
        if not self.built:
            if state.trace is not None and type(self).build is not Layer.build:
                hint = "call it once before the jitted function."
                state.trace.forbid("a layer that is built", "one that is not", hint)
            try:
                with Switch("device", self._device or target or state.device):
                    self.build(input_shape)
            except Exception as error:
                self._locate(error)
                raise
            self.built = True
            self.build_shape = tuple(input_shape[1:])
            if not self._trainable:
                self.trainable = False

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The shape of the output for inputs of that shape, found by running the layer on a made-up row: two, if
        lengths are not known, for the axes that change with them are not known either."""
        self.build_once((None, *input_shape[1:]))
        lengths = MADE_UP_LENGTHS if None in input_shape[1:] else MADE_UP_LENGTHS[:1]
        shapes = [self._run_made_up(tuple(n or length for n in input_shape[1:])) for length in lengths]
        return (None, *(n if n == m else None for n, m in zip(shapes[0], shapes[-1], strict=True)))

    def _run_made_up(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        xp = self.device.xp
        row = xp.zeros((1, *shape), self.input_dtype) if self.input_dtype else xp.ones((1, *shape), self.dtype)
        with Switch("grad_enabled", False):
            return tuple(self(Tensor(to_device(row, self.device)), training=False).shape[1:])

    def train(self) -> Layer:
        """Sets the training mode for the coming calls of this layer, and of those inside that have no mode of their
        own."""
        self.mode = True
        return self

    def eval(self) -> Layer:
        """Sets the evaluation mode, as `train` sets the training mode: dropout passes everything on."""
        self.mode = False
        return self

    # Errors

    @property
    def where(self) -> str:
        """How errors name this layer: `Dense 'head'`."""
        return type(self).__name__ + (f" {self.name!r}" if self.name else "")

    def _locate(self, error: Exception) -> None:
        """Puts this layer's place before the text of an error in the house form; any other error gets a note."""
        inner = getattr(error, "layer", None)
        if inner is self:
            return
        text = str(error.args[0]) if len(error.args) == 1 else ""
        if ": expected " in text:
            if inner is not None:
                error.args = (f"{self._step_to(inner)} {text}",)
            elif not text.startswith(f"{self.where}:"):
                error.args = (f"{self.where}: {text}",)
        elif inner is None:
            error.add_note(f"in {self.where}")
        error.layer = self  # type: ignore[attr-defined]

    def _step_to(self, inner: Layer) -> str:
        """How errors name the way from this layer to one that it holds: `Encoder.blocks[2]`."""
        for name, member in self._members():
            if member is inner:
                first, *rest = name.split(".")
                return f"{type(self).__name__}.{first}" + "".join(f"[{key}]" for key in rest)
        return type(self).__name__

    # Parameters and buffers

    def _members(self) -> Iterator[tuple[str, Any]]:
        """The tensors and layers that the attributes hold directly or in lists, tuples and dicts, with their names."""
        for name, value in list(vars(self).items()):
            yield from _find(self.where, name, value)

    def _layers(self, prefix: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, Layer]]:
        """This layer and all inside, each once, with the prefix of its names."""
        seen = set() if seen is None else seen
        seen.add(id(self))
        yield prefix, self
        for name, member in self._members():
            if isinstance(member, Layer) and id(member) not in seen:
                yield from member._layers(f"{prefix}{name}.", seen)

    def _tensors(self) -> Iterator[tuple[str, Tensor, bool]]:
        """Every tensor of this layer and of those inside, each once: name, tensor, whether it is a parameter."""
        found: dict[int, tuple[str, Tensor, bool]] = {}
        for prefix, layer in self._layers():
            for name, member in layer._members():
                if isinstance(member, Tensor) and member.is_leaf:
                    first, _, was = found.get(id(member), (prefix + name, member, False))
                    # one that two layers hold may be frozen in either
                    found[id(member)] = first, member, was or member.requires_grad or name in layer._frozen
        yield from found.values()

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Names and parameters, frozen ones included; a parameter that is used twice comes once."""
        return ((name, t) for name, t, is_parameter in self._tensors() if is_parameter)

    def parameters(self) -> list[Tensor]:
        """The parameters, frozen ones included: what an optimizer is built with."""
        return [t for _, t in self.named_parameters()]

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """Names and tensors that are saved and moved with the layer but not trained."""
        return ((name, t) for name, t, is_parameter in self._tensors() if not is_parameter)

    @property
    def weights(self) -> list[Tensor]:
        """The parameters and buffers."""
        return [t for _, t, _ in self._tensors()]

    @property
    def trainable_weights(self) -> list[Tensor]:
        """The parameters that are not frozen."""
        return [t for t in self.parameters() if t.requires_grad]

    def count_params(self) -> int:
        """How many numbers the parameters and buffers hold."""
        return sum(t.size for _, t, _ in self._tensors())

    @property
    def trainable(self) -> bool:
        """False freezes the parameters of this layer and of all inside: no gradient is computed for them. Compile
        again after it."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for _, layer in self._layers():
            layer._trainable = bool(value)
            own = {name: t for name, t in layer._members() if isinstance(t, Tensor) and t.is_leaf}
            if value:
                for name in layer._frozen & own.keys():
                    own[name].requires_grad_(True)
                layer._frozen = frozenset()
            else:
                layer._frozen |= {name for name, t in own.items() if t.requires_grad}
                for name in layer._frozen & own.keys():
                    own[name].requires_grad_(False)

    # State and devices

    def state_dict(self) -> dict[str, numpy.ndarray[Any, Any]]:
        """Names, such as "layers.0.kernel", and copies of the values of all parameters and buffers, as NumPy arrays."""
        return {name: numpy.array(to_host(t.data)) for name, t, _ in self._tensors()}

    def load_state_dict(self, values: Mapping[str, Any], strict: bool = True) -> None:
        """Overwrites parameters and buffers with the arrays (or tensors) of those names: all of them, or none.

        Raises one ValueError that lists every missing, unexpected and mis-shaped name; with `strict=False` only
        shapes count and names found on one side only are left alone.
        """
        own = {name: t for name, t, _ in self._tensors()}
        arrays = {name: v.data if isinstance(v, Tensor) else numpy.asarray(v) for name, v in values.items()}
        hint = "" if own else "build it first: call it once, or give its first layer an input_shape."
        shapes = ({name: t.shape for name, t in own.items()}, {name: a.shape for name, a in arrays.items()})
        check_names(f"{self.where} load_state_dict", *shapes, strict=strict, hint=hint)
        where = f"{self.where} load_state_dict"
        cast = {name: _cast_like(where, name, arrays[name], t.dtype) for name, t in own.items() if name in arrays}
        for name, array in cast.items():
            own[name].assign_(to_device(array, own[name].device))

    def get_weights(self) -> list[numpy.ndarray[Any, Any]]:
        """Copies of all parameters and buffers, in the order of `state_dict`."""
        return list(self.state_dict().values())

    def set_weights(self, weights: list[Any]) -> None:
        """Overwrites all parameters and buffers with arrays in the order of `get_weights`."""
        names = [name for name, _, _ in self._tensors()]
        if len(weights) != len(names):
            raise ValueError(message(f"{self.where} set_weights", f"{len(names)} arrays", f"{len(weights)}"))
        self.load_state_dict(dict(zip(names, weights, strict=True)))

    @property
    def device(self) -> Device:
        """Where the parameters are, or would be made."""
        return next((t.device for _, t, _ in self._tensors()), self._device or default_device())

    @property
    def dtype(self) -> numpy.dtype[Any]:
        """The floating dtype of the parameters, or the one that they would get."""
        return next((t.dtype for _, t, _ in self._tensors() if t.dtype.kind == "f"), state.dtype)

    def to(self, target: str | Device) -> Layer:
        """Moves all parameters and buffers (and their gradients) to a device, now or when they are built; returns the
        layer."""
        chosen = device(target)
        for _, layer in self._layers():
            layer._device = chosen
        for _, t, _ in self._tensors():
            t.data = to_device(t.data, chosen)
            if t.grad is not None:
                t.grad.data = to_device(t.grad.data, chosen)
        return self

    def __repr__(self) -> str:
        return f"<{self.where}>"


class ActivatedLayer(Layer):
    """A layer whose last step is an activation function, kept apart so that a loss can be computed from what comes
    before it.

    A subclass defines `preactivation(x)` and sets `activation`, a function or None. One that overrides `call` too is
    taken at its word: its output is used as it is.
    """

    activation: Callable[[Any], Any] | None = None

    def preactivation(self, x: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} defines no preactivation(x)")

    def call(self, x: Any) -> Any:
        y = self.preactivation(x)
        return y if self.activation is None else self.activation(y)

    @property
    def is_split(self) -> bool:  # type: ignore[override]
        return type(self).call is ActivatedLayer.call


def _cast_like(where: str, name: str, array: Any, dtype: Any) -> Any:
    """`array` in that dtype. Raises TypeError for another kind of numbers: floating or not."""
    if array.dtype.kind not in "fiub" or (array.dtype.kind == "f") != (dtype.kind == "f"):
        raise TypeError(message(where, f"{name} of dtype {dtype}", str(array.dtype)))
    return check_cast(where, name, array, dtype)


def _find(where: str, name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, (Tensor, Layer)):
        yield name, value
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from _find(where, f"{name}.{i}", item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _find(where, f"{name}.{key}", item)
    elif isinstance(value, (set, frozenset)) and any(isinstance(item, (Tensor, Layer)) for item in value):
        raise TypeError(message(where, f"attribute {name!r} to hold its layers in a list, tuple or dict", "a set"))


def check_shape(where: str, name: str, shape: Any) -> tuple[int | None, ...]:
    """`shape` as a tuple, if it is one of positive integers, or None for an axis of any length."""
    if isinstance(shape, int) or not hasattr(shape, "__iter__"):
        hint = f"write ({shape},)." if isinstance(shape, int) else ""
        raise TypeError(message(where, f"{name} to be a tuple of integers, without the batch axis", repr(shape), hint))
    return tuple(None if n is None else check_integer(where, f"each length in {name}", n, 1) for n in shape)
