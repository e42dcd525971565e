"""Layer: what all layers and models have in common: arguments, building, calling, modes, masks, errors."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import numpy

from .. import constraints, initializers, regularizers
from ..autograd import Tensor, settled, tensor
from ..backend import Device, default_device, to_device
from ..errors import ShapeError, check_cast, check_integer, choice, message
from ..state import Switch, state
from ..tree import leaves, mapped, rebuild
from . import config
from .config import revived
from .module import Module
from .penalties import Penalties
from .symbolic import Node, Symbol, call_on_symbols, infer, is_shape, shapes_of


class Layer(Module):
    """A function with parameters, and the base class of every layer and model.

    A subclass defines `call(x)`, which computes, and, if it has parameters whose shapes depend on the input,
    `build(input_shape)`, which makes them with `add_weight`. `layer(x)` builds at the first call and then calls.
    Tensors and layers held by attributes, also inside lists, tuples and dicts, belong to the layer: a tensor that
    requires grad is a parameter, another one a buffer (saved and moved, not trained). The arguments of `__init__`,
    kept in attributes of the same names, are what `save` writes; a layer with others defines `get_config`.

    Args:
        name: shown in errors and in `summary`.
        trainable: False freezes the parameters.
        input_shape: the shape of one input, without the batch axis; lets a model build before its first call.
        input_dim: short for `input_shape=(input_dim,)`.
        batch_input_shape: the shape of an input with the batch axis, for layers that keep a state per row.
        activity_regularizer: a penalty on the outputs; what it returns is divided by the number of rows.
        others: for each weight of the layer, `..._initializer`, `..._regularizer` and `..._constraint`.

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

    initial: ClassVar[dict[str, Any]] = {}
    """The default initial values of each weight that has the arguments `..._initializer`, `..._regularizer` and
    `..._constraint`."""
    # Defaults on the class, so that a subclass that forgets super().__init__() works too.
    input_shape: tuple[int | None, ...] | None = None
    batch_input_shape: tuple[int | None, ...] | None = None
    input_dtype: str | None = None
    """What `fit` casts inputs to; None is the floating dtype of the model. A layer that takes ids says "int64", one
    that takes texts "object": these are no tensors but arrays of Python strings, on the host and outside of jit."""
    built = False
    build_shape: Any = None
    """The shape of one input when the layer was built; a list or dict of shapes for several inputs."""
    training_mode: bool | None = None
    """The training mode set by `train()` and `eval()`; None inherits."""
    supports_masking = False
    """Whether a mask of the time steps (see `compute_mask`) is valid for the output as well."""
    calls: tuple[Any, ...] = ()
    """Weak references to the calls of this layer on symbols."""
    is_split = False
    """Whether the output is the `activation` of the `preactivation`; see `ActivatedLayer`."""
    activity_regularizer: Any = None
    _call_takes: frozenset[str] = frozenset()
    _makes_mask = False
    _takes_one = False

    def __init__(
        self,
        name: str | None = None,
        trainable: bool = True,
        input_shape: tuple[int | None, ...] | None = None,
        input_dim: int | None = None,
        batch_input_shape: tuple[int | None, ...] | None = None,
        activity_regularizer: Any = None,
        **others: Any,
    ):
        self.name = name
        self.activity_regularizer = regularizers.get(activity_regularizer, self.where)
        for weight, default in self.initial.items():
            given = others.pop(f"{weight}_initializer", default)
            setattr(self, f"{weight}_initializer", initializers.get(given, self.where))
            for what, get in (("regularizer", regularizers.get), ("constraint", constraints.get)):
                setattr(self, f"{weight}_{what}", get(others.pop(f"{weight}_{what}", None), self.where))
        if others:
            names = config.arguments(type(self))
            raise TypeError(*choice(self.where, "each argument", next(iter(others)), names).args)
        if not isinstance(trainable, (bool, numpy.bool_)):
            raise TypeError(message(self.where, "trainable to be True or False", repr(trainable)))
        if not (name is None or isinstance(name, str)):
            hint = "give several layers in a list." if isinstance(name, Layer) else ""
            raise TypeError(message(type(self).__name__, "name to be a text", repr(name), hint))
        self._trainable = bool(trainable)
        shapes = {"input_shape": input_shape, "input_dim": input_dim, "batch_input_shape": batch_input_shape}
        given = [argument for argument, value in shapes.items() if value is not None]
        if len(given) > 1:
            raise ValueError(message(self.where, "the shape of an input once", " and ".join(given)))
        if input_dim is not None:
            input_shape = (check_integer(self.where, "input_dim", input_dim, 1),)
        if batch_input_shape is not None:
            self.batch_input_shape = check_shape(self.where, "batch_input_shape", batch_input_shape)
            input_shape = self.batch_input_shape[1:]
        self.input_shape = None if input_shape is None else check_shape(self.where, "input_shape", input_shape)

    def __init_subclass__(cls, **keywords: Any):
        super().__init_subclass__(**keywords)
        config.note(cls)
        parameters = list(inspect.signature(cls.call).parameters)
        cls._call_takes = frozenset(parameters) & {"training", "mask"}
        cls._makes_mask = cls.compute_mask is not Layer.compute_mask
        # among the layers of this package a first argument `x` is one tensor, `inputs` may be several
        cls._takes_one = config.is_built_in(cls) and parameters[1:2] == ["x"]

    # What a subclass defines

    def build(self, input_shape: Any) -> None:
        """Makes the parameters for inputs of this shape, batch axis included. Called once, before the first `call`."""
        self.built = True

    def call(self, *args: Any, **keywords: Any) -> Any:
        """Computes the output. `state.training` tells the mode; arguments named `training` and `mask` are given it and
        the input's mask as well."""
        raise NotImplementedError(f"{type(self).__name__} defines no call(x)")

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        """The mask of the output: a tensor of booleans that tells which time steps count, or None.

        By default that of the input, if the layer says `supports_masking`.
        """
        return mask

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this layer again, as JSON."""
        return config.config_of(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The layer that `get_config` described."""
        return cls(**revived(config))

    def add_weight(
        self,
        shape: tuple[int, ...],
        initializer: Any = "glorot_uniform",
        trainable: bool = True,
        dtype: Any = None,
        name: str | None = None,
        regularizer: Any = None,
        constraint: Any = None,
    ) -> Tensor:
        """A new parameter (a buffer if not `trainable`) of that shape; assign it to an attribute, which names it."""
        dtype = numpy.dtype(dtype or state.dtype)
        if trainable and dtype.kind != "f":
            raise TypeError(message(self.where, "a floating dtype of what is trained", str(dtype), "trainable=False?"))
        values = initializers.get(initializer, self.where)(tuple(shape), dtype=dtype)
        array = values.data if isinstance(values, Tensor) else values
        array = array if hasattr(array, "dtype") else numpy.asarray(array)
        if array.shape != tuple(shape):
            raise ShapeError(message(self.where, f"initial values of shape {tuple(shape)}", f"{array.shape}"))
        if array.dtype.kind not in "fiub":
            raise TypeError(message(self.where, "initial values to be numbers", f"dtype {array.dtype}"))
        array = check_cast(self.where, "initial values", array, dtype)
        # a copy, for the array may be the user's own, and training overwrites parameters
        weight = Tensor(to_device(array, default_device()).copy(), requires_grad=trainable)
        if regularizer is not None:
            self._penalized = [*self._penalized, (weight, regularizers.get(regularizer, self.where))]
        weight.constraint = constraints.get(constraint, self.where)
        return weight

    def make(self, name: str, shape: tuple[int, ...], argument: str | None = None, trainable: bool = True) -> None:
        """Makes the weight that becomes the attribute `name`, as the layer's arguments say: `kernel_initializer`,
        `kernel_regularizer` and `kernel_constraint` for the `argument` "kernel", which is the name unless given."""
        argument = argument or name
        initializer, constraint = getattr(self, f"{argument}_initializer"), getattr(self, f"{argument}_constraint")
        setattr(self, name, self.add_weight(shape, initializer, trainable, constraint=constraint))
        regularizer = getattr(self, f"{argument}_regularizer")
        if regularizer is not None:
            self._regularized = {**self._regularized, name: regularizer}

    def add_loss(self, loss: Any) -> None:
        """Adds a number, a tensor of shape (), or several in a list, to the loss that `fit` and `evaluate` compute: for
        `call`, which may make it of the values that it computes. It counts until the next call of the layer.

        Raises TypeError for what is no tensor, ShapeError for a tensor of another shape.

        >>> import tinygrad_edu as tg
        >>> class Far(tg.layers.Layer):
        ...     def call(self, x):
        ...         self.add_loss(0.5 * abs(x).mean())
        ...         return x
        >>> layer = Far()
        >>> y = layer(tg.tensor([[1.0, -3.0]]))
        >>> layer.losses
        [tensor(1.)]
        """
        for value in leaves(loss):
            if not isinstance(value, Tensor):
                raise TypeError(message(self.where, "a tensor to add to the loss", type(value).__name__))
            if value.shape != ():
                expected, hint = "a tensor of shape () to add to the loss", "take its sum or mean."
                raise ShapeError(message(self.where, expected, f"shape {value.shape}", hint))
            if not (state.made_up or state.repeating):
                noted = self._noted = state.penalties or self._noted or Penalties()
                noted.note(self, value)

    def _activated(self, y: Any, *args: Any) -> Any:
        """The output, for what another method than `call` returned for these further arguments; see `run`."""
        return y

    def _add_activity(self, y: Any) -> None:
        """Adds the penalty on the outputs."""
        if state.made_up or state.repeating:
            return
        for output in leaves(y):
            if isinstance(output, Tensor):
                settled(self.activity_regularizer)
                penalty = self.activity_regularizer(output)
                self.add_loss(penalty / max(1, output.shape[0]) if output.ndim else penalty)

    @property
    def losses(self) -> list[Tensor]:
        """What `fit` adds to the loss: what this layer and those inside have added since the last call of this one,
        by `add_loss` or by an `activity_regularizer`, and then the penalties on their weights that are not frozen, each
        once.

        What a function under `jit` has added is here while that is recorded, and gone after it.
        """
        since = 0 if self._noted is None else self._noted.number
        found = [(layer, layer._noted) for _, layer in self._layers()]
        added = [value for layer, noted in found if noted and noted.number >= since for value in noted.of(layer)]
        return added + self._weight_penalties()

    def _weight_penalties(self) -> list[Tensor]:
        found: dict[int, Any] = {}
        for _, layer in self._layers():
            named = [(getattr(layer, name), regularizer) for name, regularizer in layer._regularized.items()]
            found |= {id(weight): (weight, regularizer) for weight, regularizer in (*named, *layer._penalized)}
        for _, regularizer in found.values():
            settled(regularizer)
        return [regularizer(weight) for weight, regularizer in found.values() if weight.requires_grad]

    # Calling

    def __call__(self, x: Any, *args: Any, training: bool | None = None, **keywords: Any) -> Any:
        """Builds at the first call, then runs `call`. Called on symbols, it returns symbols.

        Args:
            x: a tensor; arrays and lists become one. Layers of several inputs take lists, tuples and dicts of them.
            training: the mode. If not given, that of the last `train()` or `eval()` of this layer; without these the
                mode of the layer that calls this one, or `tg.state.training`. It holds for the layers inside as well.
            mask: of the time steps, if it is not the input's own.

        An error names the layer and its place in the model.
        """
        if type(x) is not Tensor or args or keywords:
            given = {**keywords, "training": training} if training is not None else keywords
            if any(isinstance(leaf, Symbol) for leaf in leaves((x, args, keywords))):
                return call_on_symbols(self, (x, *args), given)
        return self.run(self.call, x, *args, training=training, **keywords)

    def run(
        self, function: Callable[..., Any], x: Any, *args: Any, training: bool | None = None, **keywords: Any
    ) -> Any:
        """What `layer(x)` does, for another method of this layer in place of `call`."""
        if training is None:
            training = state.training if self.training_mode is None else self.training_mode
        settled(self, "training_mode", "_trainable")
        outer = state.penalties
        if outer is None:
            state.penalties = Penalties()
        if not state.repeating:
            vars(self)["_noted"] = state.penalties  # no setting, of which `Owner` would take note
        before, state.training = state.training, training
        try:
            if type(x) is not Tensor:
                x = self._as_tensors(x)
            mask = keywords.pop("mask") if "mask" in keywords else mask_of(x)
            if self._call_takes and function == self.call:
                if "training" in self._call_takes:
                    keywords["training"] = training
                if "mask" in self._call_takes:
                    keywords["mask"] = mask
            if not self.built:
                self.build_for(x, *args, **keywords)
            y = function(x, *args, **keywords)
            if self.activity_regularizer is not None:
                self._add_activity(y if function == self.call else self._activated(y, *args))
            return self._with_mask(x, mask, y) if mask is not None or self._makes_mask else y
        except Exception as error:
            self._locate(error)
            raise
        finally:
            state.training, state.penalties = before, outer

    def _as_tensors(self, x: Any) -> Any:
        """Arrays and lists of numbers as tensors; lists, tuples and dicts of arrays stay lists, tuples and dicts."""
        if self.input_dtype == "object":
            return as_texts(self.where, x)
        several = isinstance(x, (dict, list, tuple)) and any(_is_input(leaf) for leaf in leaves(x))
        rows = self._takes_one and all(not isinstance(a, Tensor) and getattr(a, "ndim", 0) < 2 for a in leaves(x))
        if not several or rows:
            return x if isinstance(x, Tensor) else tensor(x)
        self.check_one(x)
        return mapped(lambda leaf: tensor(leaf) if not isinstance(leaf, Tensor) and leaf is not None else leaf, x)

    def check_one(self, x: Any) -> None:
        """Raises TypeError for several inputs of a layer of this package that takes one."""
        if self._takes_one and isinstance(x, (dict, list, tuple)):
            raise TypeError(message(self.where, "one tensor", f"a {type(x).__name__} of {len(x)}"))

    def build_for(self, x: Any, *args: Any, **keywords: Any) -> None:
        """Builds for these arguments of `call`; a layer whose weights depend on more than the first overrides it."""
        self.build_once(shapes_of(x), next((leaf.device for leaf in leaves(x) if isinstance(leaf, Tensor)), None))

    @property
    def waits_for_input(self) -> bool:
        """Whether it makes weights when it is first called."""
        return not self.built and type(self).build is not Layer.build

    def build_once(self, input_shape: Any, target: Device | None = None) -> None:
        """Builds, if that was not done, on the device chosen by `to`, or on `target`, or on the default device."""
        if not self.built:
            if self.input_shape is not None and is_shape(input_shape):
                check_input(self.where, tuple(input_shape), self.input_shape)
            if state.trace is not None and self.waits_for_input:
                hint = "call it once before the jitted function."
                state.trace.forbid("a layer that is built", "one that is not", hint)
            try:
                with Switch("device", self._device or target or state.device):
                    self.build(input_shape)
            except Exception as error:
                self._locate(error)
                raise
            self.built = True
            self.build_shape = map_shapes(lambda shape: tuple(shape[1:]), input_shape)
            if not self._trainable:
                self.trainable = False

    def compute_output_shape(self, *input_shapes: Any) -> Any:
        """The shape of the output for arguments of these shapes, found by running the layer on made-up rows."""
        dtype = self.input_dtype or self.dtype
        symbols = [map_shapes(lambda shape: Symbol(tuple(shape), dtype), shape) for shape in input_shapes]
        if not self.built:
            self.build_for(*symbols)
        return shapes_of(infer(self, tuple(symbols), {}))

    def train(self) -> Layer:
        """Sets the training mode for the coming calls of this layer, and of those inside that have no mode of their
        own."""
        self.training_mode = True
        return self

    def eval(self) -> Layer:
        """Sets the evaluation mode, as `train` sets the training mode: dropout passes everything on."""
        self.training_mode = False
        return self

    # Symbols

    @property
    def output(self) -> Any:
        """The symbol that the layer returned in the one call on symbols of a model that is still there.

        Raises ValueError if there is no such call, or several.
        """
        return self._the_call().outputs

    @property
    def input(self) -> Any:
        """The symbol on which the layer was called; see `output`."""
        node = self._the_call()
        return node.args[0] if node.args else node.outputs

    def _the_call(self) -> Node:
        calls = [node for reference in self.calls if (node := reference()) is not None]
        if len(calls) != 1:
            raise ValueError(message(self.where, "one call on symbols in a model", f"{len(calls)}"))
        return calls[0]

    # Masks

    def _with_mask(self, x: Any, mask: Any, y: Any) -> Any:
        """The outputs, with their masks."""
        if not self.supports_masking and not self._makes_mask:
            warnings.warn(
                f"{self.where}: the mask of its input ends here, for the layer does not support masking: later layers "
                "and the loss count every time step.",
                stacklevel=4,
            )
            return y
        masks = self.compute_mask(x, mask)
        outputs = list(leaves(y))
        masks = masks if isinstance(masks, (list, tuple)) else [masks] * len(outputs)
        given = {id(leaf) for leaf in leaves(x)}
        return rebuild(y, (_masked(a, one, id(a) in given) for a, one in zip(outputs, masks, strict=True)))

    # Errors

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

    def __getstate__(self) -> dict[str, Any]:
        """For copies: they know nothing of the calls of the original."""
        return {name: value for name, value in vars(self).items() if name not in ("calls", "_noted")}

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
        return self._activated(self.preactivation(x))

    def _activated(self, y: Any, *args: Any) -> Any:
        return y if self.activation is None else self.activation(y)

    @property
    def is_split(self) -> bool:  # type: ignore[override]
        return type(self).call is ActivatedLayer.call


def mask_of(x: Any) -> Any:
    """The mask that a layer gave to a tensor, or None; for a list or dict of tensors one of masks, or None."""
    if not isinstance(x, (dict, list, tuple)):
        return getattr(x, "mask", None)
    masks = mapped(mask_of, x)
    return None if all(mask is None for mask in leaves(masks)) else masks


def _masked(output: Any, mask: Any, is_input: bool) -> Any:
    """The output with that mask. One that is an input is left as it is: its mask is its own."""
    if is_input and getattr(output, "mask", None) is not mask:
        output = output.reshape(output.shape)
    if mask is not None:
        output.mask = mask
    return output


def _is_input(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) or (hasattr(leaf, "dtype") and leaf.ndim > 0)


def as_texts(where: str, x: Any) -> numpy.ndarray[Any, Any]:
    """A text, or texts in lists or an array, as an array of Python strings; bytes are read as UTF-8.

    Raises TypeError for what is no text.
    """
    array = numpy.array(x.data if isinstance(x, Tensor) else x, dtype=object)
    texts = [item.decode() if isinstance(item, bytes) else item for item in array.flat]
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(message(where, "texts", type(text).__name__))
    made = numpy.empty(len(texts), dtype=object)
    made[:] = texts
    return made.reshape(array.shape)


def map_shapes(function: Callable[[Any], Any], shapes: Any) -> Any:
    """The function's value for each shape in a list or dict of them, or for the one shape."""
    if is_shape(shapes):
        return function(shapes)
    if isinstance(shapes, dict):
        return {key: map_shapes(function, shape) for key, shape in shapes.items()}
    return type(shapes)(map_shapes(function, shape) for shape in shapes)


def check_shape(where: str, name: str, shape: Any) -> tuple[int | None, ...]:
    """`shape` as a tuple, if it is one of positive integers, or None for an axis of any length."""
    if isinstance(shape, int) or not hasattr(shape, "__iter__"):
        hint = f"write ({shape},)." if isinstance(shape, int) else ""
        raise TypeError(message(where, f"{name} to be a tuple of integers, without the batch axis", repr(shape), hint))
    return tuple(None if n is None else check_integer(where, f"each length in {name}", n, 1) for n in shape)


def check_input(where: str, received: tuple[int, ...], shape: tuple[int | None, ...]) -> None:
    """Raises ShapeError unless `received` is a batch of rows of that shape."""
    fits = received[1:] == shape or (
        len(received) == len(shape) + 1 and all(n is None or n == m for n, m in zip(shape, received[1:], strict=True))
    )
    if not fits:
        hint = "add a batch axis: x[None]." if received == shape else ""
        hint = "make it a column: x.reshape(-1, 1)." if len(received) == 1 and shape == (1,) else hint
        raise ShapeError(message(where, f"a batch of shape {(None, *shape)}", f"shape {received}", hint))
