"""Sequential: layers one after the other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..autograd import Tensor
from ..errors import message
from ..layers import ActivatedLayer, InputLayer, Layer, Symbol
from ..layers.base import check_input
from ..layers.config import arguments, serialize
from .model import Model, activated, is_automatic, name_layers


class Sequential(Model):
    """A model whose layers are called one after the other.

    Args:
        layers: a list; or use `add`. If the first is an `Input`, or has an `input_shape` or `input_dim`, the
            model is built at once, else at the first call.
        name: shown in errors and in `summary`.
        trainable, activity_regularizer: as for any layer.

    Attributes:
        layers: the list, without the `Input`.

    >>> import tinygrad_edu as tg
    >>> from tinygrad_edu import layers, models
    >>> model = models.Sequential([layers.Input((4,)), layers.Dense(8, activation="relu"), layers.Dense(3)])
    >>> model(tg.zeros((2, 4))).shape, model.count_params()
    ((2, 3), 67)
    """

    def __init__(
        self,
        layers: Iterable[Layer | Symbol] | None = None,
        name: str | None = None,
        trainable: bool = True,
        activity_regularizer: Any = None,
    ):
        super().__init__(name=name, trainable=trainable, activity_regularizer=activity_regularizer)
        self.layers: list[Layer] = []
        self.symbols: list[Symbol] = []  # the input, and what each built layer makes of it
        for layer in layers or ():
            self.add(layer)

    def add(self, layer: Layer | Symbol) -> None:
        """Appends a layer, and builds it if the shape of its input is known.

        Raises TypeError for what is no layer, ValueError for a name or a layer that is there already.
        """
        if isinstance(layer, Symbol) and layer.node is not None and isinstance(layer.node.layer, InputLayer):
            layer = layer.node.layer
        if not isinstance(layer, Layer):
            hint = f"write {layer.__name__}(...)." if isinstance(layer, type) else ""
            raise TypeError(message(f"{self.where} add", "a layer", repr(layer), hint))
        if isinstance(layer, InputLayer) and self.layers:
            found = f"it as number {len(self.layers)}"
            raise ValueError(message(f"{self.where} add", "Input as the first layer", found))
        names = {other.name for other in self.layers if not is_automatic(other)} - {None}
        if layer in self.layers or (layer.name in names and not is_automatic(layer)):
            hint = "" if layer in self.layers else "set the name of one of them."
            raise ValueError(
                message(f"{self.where} add", "layers with different names", f"a second {layer.name!r}", hint)
            )
        before = self.input_shape, self.batch_input_shape, self.input_dtype
        if not self.layers:
            self.input_shape = self.input_shape or layer.input_shape
            self.batch_input_shape = self.batch_input_shape or layer.batch_input_shape
            self.input_dtype = self.input_dtype or layer.input_dtype
        if isinstance(layer, InputLayer):
            return
        self.layers.append(layer)
        if self.input_shape is not None or self.symbols:
            try:
                self._build_from(len(self.layers) - 1)
            except BaseException:
                self.layers.pop()
                self.input_shape, self.batch_input_shape, self.input_dtype = before
                self.symbols = self.symbols if self.layers else []
                raise
        name_layers(self.where, self.layers)
        if not self.trainable:
            layer.trainable = False
        self._forget_steps()

    def pop(self) -> Layer:
        """Takes the last layer off and returns it."""
        self._forget_steps()
        self.symbols = self.symbols[: len(self.layers)]
        return self.layers.pop()

    @property
    def input(self) -> Symbol:
        """The symbol of the input."""
        return self._known_symbols()[0]

    @property
    def output(self) -> Symbol:
        """The symbol of the output."""
        return self._known_symbols()[-1]

    @property
    def inputs(self) -> list[Symbol]:
        """The symbol of the input, in a list, as functional models have it."""
        return self._known_symbols()[:1]

    @property
    def outputs(self) -> list[Symbol]:
        """The symbol of the output, in a list, as functional models have it."""
        return self._known_symbols()[-1:]

    @property
    def batch_size(self) -> int | None:
        return (self.batch_input_shape or (None,))[0]

    def _known_symbols(self) -> list[Symbol]:
        if not self.symbols:
            hint = "call it once, or give its first layer an input_shape."
            raise ValueError(message(self.where, "a model that is built", "one that is not", hint))
        return self.symbols

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Builds all layers for inputs of this shape, batch axis included."""
        self.build_shape = tuple(input_shape[1:])
        self._build_from(max(0, len(self.symbols) - 1))
        super().build(input_shape)

    def _build_from(self, start: int) -> None:
        """Builds layer number `start` and the later ones, each by calling it on the symbol before."""
        if not self.symbols:
            self.symbols = [self._input_layer().symbol()]
        for layer in self.layers[start:]:
            if self._device is not None and layer._device is None:
                layer.to(self._device)
            try:
                output = layer(self.symbols[-1])
                if not isinstance(output, Symbol):
                    hint = "use Model(inputs, outputs) for layers of several outputs."
                    raise TypeError(message(layer.where, "one output", f"a {type(output).__name__}", hint))
                self.symbols.append(output)
            except Exception as error:
                self._locate(error)
                raise
        self.built = bool(self.layers)

    def _input_layer(self) -> InputLayer:
        shape = None if self.batch_input_shape else self.input_shape or self.build_shape or ()
        return InputLayer(shape, self.input_dtype, self.batch_input_shape)

    def _as_tensors(self, x: Any) -> Any:
        return x if isinstance(x, Tensor) else super()._as_tensors(x)

    def _in_form(self, x: Any) -> Any:
        axes = len(self.input_shape or self.build_shape or (None,))
        alone = isinstance(x, (list, tuple)) and len(x) == 1 and getattr(x[0], "ndim", 0) > axes
        return x[0] if alone else x

    def _on_host(self, x: Any) -> Any:
        if self.input_dtype != "object" or not self.layers:
            return x
        self.build_once(x.shape)
        return self.layers[0](x).data

    def call(self, x: Any) -> Any:
        return self._through(self.layers, x)

    def _through(self, layers: list[Layer], x: Any) -> Any:
        if not self.layers:
            raise ValueError(message(self.where, "at least one layer", "none", "add one with model.add(...)."))
        if self.input_dtype == "object" and isinstance(x, Tensor):
            layers = layers[1:]  # the first one was called by `_on_host`
        elif self.input_shape is not None:
            check_input(self.where, x.shape, self.input_shape)
        for layer in layers:
            x = layer(x)
        return x

    @property
    def is_split(self) -> bool:  # type: ignore[override]
        return type(self).call is Sequential.call and bool(self.layers) and self.layers[-1].is_split

    @property
    def output_names(self) -> list[str]:
        return [str(layer.name) for layer in self.layers[-1:]]

    @property
    def input_dtypes(self) -> list[str | None]:
        return [self.input_dtype]

    def _lasts(self) -> tuple[tuple[bool, Any], ...]:
        last = self._last if type(self).call is Sequential.call else None
        return ((last is not None, last and last.activation),)

    @property
    def _last(self) -> ActivatedLayer | None:
        return activated(self.layers[-1]) if self.layers else None

    def preactivation(self, x: Any, outputs: Any = None) -> Any:
        """The output before the activation of the last layer."""
        x, last = self._through(self.layers[:-1], x), self._last
        return self.layers[-1](x) if last is None else last.run(last.preactivation, x)

    def _step_to(self, inner: Layer) -> str:
        for i, layer in enumerate(self.layers):
            if layer is inner:
                return f"{type(self).__name__}[{i}]"
        return super()._step_to(inner)

    def get_config(self) -> dict[str, Any]:
        if "layers" not in arguments(type(self)):
            return super().get_config()
        self._check_arguments(Sequential)
        inputs = [] if self.input_shape is None else [self._input_layer()]
        return {**self._options(), "layers": [serialize(layer) for layer in (*inputs, *self.layers)]}
