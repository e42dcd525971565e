"""Model: a layer that can be compiled, fitted, evaluated and saved."""

from __future__ import annotations

import collections
import itertools
import os
from collections.abc import Sequence
from typing import Any

from ..autograd import Tensor
from ..errors import choice, message
from ..layers import ActivatedLayer, Layer, Symbol
from ..layers.config import OF_ANY, arguments, plain, revived
from ..layers.masks import as_mask
from ..layers.symbolic import shapes_of, symbols_in
from ..tree import leaves, rebuild
from .graph import Graph
from .trainer import Trainer


class _InnerLayers:
    """The layers that a model's attributes hold. An attribute `layers` of the model itself hides it."""

    def __get__(self, model: Model | None, owner: type) -> Any:
        members = () if model is None else model._members()
        return [member for _, member in members if isinstance(member, Layer)]


class Model(Trainer):
    """A model: `compile` once, then `fit`, `evaluate` and `predict`.

    Either it is made of the symbols that lead from `inputs` to `outputs`, or a subclass defines `call`, as any layer.

    Args:
        inputs: the symbol that `layers.Input` made, or a list or dict of them.
        outputs: what layers returned that were called on them: a symbol, or a list or dict.
        name, trainable: as for any layer.

    Attributes:
        layers: the layers, in Keras's order.

    >>> import tinygrad_edu as tg
    >>> x = tg.layers.Input((4,))
    >>> hidden = tg.layers.Dense(8, activation="relu")(x)
    >>> model = tg.models.Model(x, [tg.layers.Dense(2)(hidden), hidden])
    >>> [y.shape for y in model(tg.zeros((5, 4)))]
    [(5, 2), (5, 8)]

    A subclass defines `call(x)`, and may define `train_step` too:

    >>> import tinygrad_edu as tg
    >>> class Line(tg.models.Model):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.dense = tg.layers.Dense(1)
    ...     def call(self, x):
    ...         return self.dense(x)
    >>> model = Line()
    >>> model.compile(optimizer="sgd", loss="mse")
    >>> history = model.fit([[0.0], [1.0]], [1.0, 3.0], epochs=3, verbose=0)
    >>> len(history.history["loss"])
    3
    """

    layers: Any = _InnerLayers()
    graph: Graph | None = None

    def __init__(
        self, inputs: Any = None, outputs: Any = None, name: str | None = None, trainable: bool = True, **options: Any
    ):
        super().__init__(name=name, trainable=trainable, **options)
        if inputs is None and outputs is None:
            return
        self.graph = Graph(self.where, inputs, outputs)
        self.layers = list(self.graph.layers)
        name_layers(self.where, self.layers)
        given = symbols_in(inputs)
        self.input_dtype = given[0].dtype.name if given[0].dtype != self.dtype else None
        self.build_shape = self.input_shape = tuple(given[0].shape[1:]) if len(given) == 1 else None
        self.built = True
        if not trainable:
            self.trainable = False

    @property
    def _has_call(self) -> bool:
        return self.graph is not None or type(self).call is not Model.call

    def call(self, inputs: Any) -> Any:
        if self.graph is None:
            raise NotImplementedError(f"{type(self).__name__} defines no call(x), and has no inputs and outputs")
        return self.graph.run(self._inputs_in_order(inputs))

    def preactivation(self, inputs: Any, outputs: frozenset[int] = frozenset({0})) -> Any:
        """What `call` gives, with the outputs of these numbers before their last activation."""
        if self.graph is None:
            raise NotImplementedError(f"{type(self).__name__} defines no preactivation(x)")
        return self.graph.run(self._inputs_in_order(inputs), outputs)

    def _activated(self, y: Any, outputs: Any = frozenset({0})) -> Any:
        activations = [activation if i in outputs else None for i, (_, activation) in enumerate(self._lasts())]
        given = zip(leaves(y), activations, strict=True)
        return rebuild(y, (part if activation is None else activation(part) for part, activation in given))

    def run(self, function: Any, x: Any, *args: Any, **keywords: Any) -> Any:
        """As for any layer; a mask given by keyword becomes that of the input, for the layers inside."""
        if keywords.get("mask") is not None and "mask" not in self._call_takes:
            x = self._as_tensors(x)
            if not isinstance(x, Tensor):
                hint = "layers such as Embedding and Masking give each input its own."
                raise TypeError(message(self.where, "a mask for one input", f"one for {type(x).__name__}", hint))
            mask = as_mask(self.where, keywords["mask"], x.shape[:2])
            x = x.reshape(x.shape)  # the mask is not the caller's
            x.mask = mask
        return super().run(function, x, *args, **keywords)

    def _with_mask(self, x: Any, mask: Any, y: Any) -> Any:
        """Each output has the mask that its layer gave it, unless a subclass says otherwise."""
        return super()._with_mask(x, mask, y) if self._makes_mask else y

    def _inputs_in_order(self, inputs: Any) -> list[Any]:
        """The inputs of a functional model as a list: a dict may name its `Input` layers."""
        assert self.graph is not None
        known = symbols_in(self.graph.inputs)
        if isinstance(inputs, dict):
            names = list(self.graph.inputs) if isinstance(self.graph.inputs, dict) else self.input_names
            if inputs.keys() != set(names):
                raise ValueError(message(self.where, f"inputs named {', '.join(names)}", ", ".join(map(str, inputs))))
            return list(leaves([inputs[name] for name in names]))
        if isinstance(self.graph.inputs, dict) and len(known) > 1:
            expected = f"a dict of the inputs {', '.join(self.graph.inputs)}"
            raise ValueError(message(self.where, expected, f"a {type(inputs).__name__}"))
        given = list(leaves(inputs))
        if len(given) != len(known):
            expected = "one input" if len(known) == 1 else f"{len(known)} inputs"
            raise ValueError(message(self.where, expected, f"{len(given)}"))
        return given

    @property
    def input(self) -> Any:
        """The symbol, or list or dict of symbols, that a functional model begins with."""
        return super().input if self.graph is None else self.graph.inputs

    @property
    def output(self) -> Any:
        """The symbol, or list or dict of symbols, that a functional model ends with."""
        return super().output if self.graph is None else self.graph.outputs

    @property
    def output_shape(self) -> Any:
        """The shape of the output, or a list or dict of shapes: None for the batch axis and for lengths that are not
        known."""
        return shapes_of(self.output)

    @property
    def inputs(self) -> list[Symbol]:
        """The symbols that a functional model begins with."""
        return [] if self.graph is None else symbols_in(self.graph.inputs)

    @property
    def outputs(self) -> list[Symbol]:
        """The symbols that a functional model ends with."""
        return [] if self.graph is None else symbols_in(self.graph.outputs)

    @property
    def input_names(self) -> list[str]:
        return [] if self.graph is None else [str(layer.name) for layer in self.graph.input_layers]

    @property
    def batch_size(self) -> int | None:
        return next((symbol.shape[0] for symbol in self.inputs), None)

    @property
    def is_split(self) -> bool:  # type: ignore[override]
        """Whether the one output is the activation of a layer's `preactivation`."""
        return self.graph is not None and type(self).call is Model.call and self._last is not None

    @property
    def activation(self) -> Any:  # type: ignore[override]
        """The activation of the last layer, if its output is that of a `preactivation`."""
        return None if self._last is None else self._last.activation

    @property
    def output_names(self) -> list[str]:
        return self.graph.output_names if self.graph else []

    @property
    def input_dtypes(self) -> list[str | None]:
        return [symbol.dtype.name if symbol.dtype.kind != "f" else None for symbol in self.inputs]

    def _in_form(self, x: Any) -> Any:
        if self.graph is None:
            return x
        if len(self.inputs) > 1:
            return rebuild(self.graph.inputs, leaves(self._inputs_in_order(x)))
        alone = isinstance(x, (list, tuple)) and len(x) == 1 and getattr(x[0], "ndim", 0) > 0
        return self._inputs_in_order(x)[0] if isinstance(x, dict) else x[0] if alone else x

    def _is_column(self, number: int) -> bool:
        return super()._is_column(number) if self.graph is None else self.inputs[number].shape[1:] == (1,)

    def _lasts(self) -> tuple[tuple[bool, Any], ...]:
        if self.graph is None or type(self).call is not Model.call:
            return super()._lasts()
        apart = map(activated, self.graph.last_layers)
        return tuple((layer is not None, layer and layer.activation) for layer in apart)

    @property
    def _last(self) -> ActivatedLayer | None:
        last = [] if self.graph is None else self.graph.last_layers
        return activated(last[0]) if len(last) == 1 else None

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer of that name, or number. Raises ValueError for an unknown one and suggests the nearest."""
        if index is not None:
            return self.layers[index]
        layers = {str(layer.name): layer for layer in self.layers}
        if name not in layers:
            raise choice(self.where, "the name of a layer", name, layers)
        return layers[name]

    def get_config(self) -> dict[str, Any]:
        if self.graph is None or "inputs" not in arguments(type(self)):
            return {name: value for name, value in super().get_config().items() if name not in ("inputs", "outputs")}
        self._check_arguments(Model)
        return {**self._options(), **self.graph.get_config()}

    def _options(self) -> dict[str, Any]:
        """What a model is given beside its layers, as JSON."""
        penalty = plain(self.where, "activity_regularizer", self.activity_regularizer)
        given = {"name": self.name, "activity_regularizer": penalty}
        frozen = {} if self.trainable else {"trainable": False}
        return {name: value for name, value in given.items() if value} | frozen

    def _check_arguments(self, base: type[Layer]) -> None:
        """Raises TypeError if the constructor takes more than what this base class saves."""
        for name in arguments(type(self)).keys() - arguments(base).keys():
            expected = f"a get_config for its argument {name!r}"
            raise TypeError(message(f"{type(self).__name__} get_config", expected, "none", "and a from_config."))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The model that `get_config` described."""
        config = revived(config)
        if "calls" not in config:
            return cls(**config)
        inputs, outputs = Graph.from_config(config)
        return cls(inputs, outputs, **{name: config[name] for name in OF_ANY if name in config})

    # Saving and showing

    def summary(self, print_fn: Any = None) -> None:
        """Prints a table of the layers: name and type, output shape, number of parameters, their memory, that of the
        outputs for one row of inputs, and in a functional model what each layer is connected to.

        `print_fn` gets the whole text in place of `print`.
        """
        from .summary import print_summary

        print_summary(self, print_fn)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes architecture and weights to one safetensors file, whole or not at all; `models.load_model` reads
        it."""
        from .saving import save_model

        save_model(self, path)

    def save_weights(self, path: str | os.PathLike[str]) -> None:
        """Writes the weights to a safetensors file, whole or not at all."""
        from ..files import write_weights

        write_weights(self.state_dict(), path)

    def load_weights(self, path: str | os.PathLike[str]) -> None:
        """Reads the weights from a file written by `save_weights` or `save`: all of them, or none. See
        `load_state_dict`."""
        from ..files import read_weights

        self.load_state_dict(read_weights(path)[0])


def activated(layer: Layer) -> ActivatedLayer | None:
    """The layer, if its last step is an activation that is kept apart."""
    return layer if isinstance(layer, ActivatedLayer) and layer.is_split else None


def name_layers(where: str, layers: Sequence[Layer]) -> None:
    """Gives each layer without a name one of its class, as "dense_1". Raises ValueError for a name that two have; one
    that a model chose is changed instead."""
    names = [layer.name for layer in layers if layer.name is not None and not is_automatic(layer)]
    if len(set(names)) < len(names):
        found = next(name for name in names if names.count(name) > 1)
        raise ValueError(
            message(where, "layers with different names", f"a second {found!r}", "set the name of one of them.")
        )
    taken = set(names)
    for layer in layers:
        if layer.name is None or (is_automatic(layer) and layer.name in taken):
            base = _snake(type(layer).__name__)
            first = 0 if layer.name is None else _numbers[base]  # another model may have chosen the smaller ones
            free = ((i, f"{base}_{i}" if i else base) for i in itertools.count(first))
            number, layer.name = next((i, name) for i, name in free if name not in taken)
            layer._automatic_name = layer.name  # type: ignore[attr-defined]
            _numbers[base] = max(_numbers[base], number + 1)
        taken.add(layer.name)


_numbers: collections.Counter[str] = collections.Counter()
"""For each class the number after the largest in a name that a model chose."""


def is_automatic(layer: Layer) -> bool:
    """Whether a model chose the layer's name."""
    return layer.name is not None and getattr(layer, "_automatic_name", None) == layer.name


def _snake(name: str) -> str:
    """Dense -> dense, LayerNormalization -> layer_normalization, Conv2D -> conv2d."""
    return "".join(f"_{c}" if i and c.isupper() and name[i - 1].islower() else c for i, c in enumerate(name)).lower()
