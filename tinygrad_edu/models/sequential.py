"""Sequential: layers one after the other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import choice, message
from ..layers import ActivatedLayer, Input, Layer, check_input
from .model import Model


class Sequential(Model):
    """A model whose layers are called one after the other.

    Args:
        layers: a list; or use `add`. If the first is an `Input`, or has an `input_shape` or `input_dim`, the
            model is built at once, else at the first call.
        name: shown in errors and in `summary`.

    Attributes:
        layers: the list, without the `Input`.

    >>> import tinygrad_edu as tg
    >>> from tinygrad_edu import layers, models
    >>> model = models.Sequential([layers.Input((4,)), layers.Dense(8, activation="relu"), layers.Dense(3)])
    >>> model(tg.zeros((2, 4))).shape, model.count_params()
    ((2, 3), 67)
    """

    def __init__(self, layers: Iterable[Layer] | None = None, name: str | None = None, trainable: bool = True):
        super().__init__(name=name, trainable=trainable)
        self.layers: list[Layer] = []
        self.output_shapes: list[tuple[int | None, ...]] = []
        for layer in layers or ():
            self.add(layer)

    def add(self, layer: Layer) -> None:
        """Appends a layer, and builds it if the shape of its input is known.

        Raises TypeError for what is no layer, ValueError for a name or a layer that is there already.
        """
        if not isinstance(layer, Layer):
            hint = f"write {layer.__name__}(...)." if isinstance(layer, type) else ""
            raise TypeError(message(f"{self.where} add", "a layer", repr(layer), hint))
        if isinstance(layer, Input) and self.layers:
            found = f"it as number {len(self.layers)}"
            raise ValueError(message(f"{self.where} add", "Input as the first layer", found))
        names = {other.name for other in self.layers}
        if layer in self.layers or (layer.name is not None and layer.name in names):
            hint = "" if layer in self.layers else "set the name of one of them, which a model may have chosen."
            raise ValueError(
                message(f"{self.where} add", "layers with different names", f"a second {layer.name!r}", hint)
            )
        before = self.input_shape, self.input_dtype
        if not self.layers:
            self.input_shape = self.input_shape or layer.input_shape
            self.input_dtype = self.input_dtype or layer.input_dtype
        if isinstance(layer, Input):
            return
        self.layers.append(layer)
        if self.input_shape is not None or self.output_shapes:
            try:
                self._build_from(len(self.layers) - 1)
            except BaseException:
                self.layers.pop()
                self.input_shape, self.input_dtype = before
                raise
        if layer.name is None:
            base = _snake(type(layer).__name__)
            free = (f"{base}_{i}" if i else base for i in range(len(names) + 1))
            layer.name = next(name for name in free if name not in names)
        if not self.trainable:
            layer.trainable = False
        self._forget_steps()

    def pop(self) -> Layer:
        """Takes the last layer off and returns it."""
        self._forget_steps()
        self.output_shapes = self.output_shapes[: len(self.layers) - 1]
        return self.layers.pop()

    def get_layer(self, name: str) -> Layer:
        """The layer of that name. Raises ValueError for an unknown one and suggests the nearest."""
        layers = {str(layer.name): layer for layer in self.layers}
        if name not in layers:
            raise choice(self.where, "the name of a layer", name, layers)
        return layers[name]

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """The shape of the output, None for the batch axis and for lengths that are not known."""
        if not self.output_shapes:
            raise ValueError(message(self.where, "a model that is built", "one that is not"))
        return self.output_shapes[-1]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Builds all layers for inputs of this shape, batch axis included."""
        self.build_shape = tuple(input_shape[1:])
        self._build_from(len(self.output_shapes))
        super().build(input_shape)

    def _build_from(self, start: int) -> None:
        """Builds layer number `start` and the later ones, each by running it on one row, and notes their output
        shapes."""
        shape = self.output_shapes[-1] if self.output_shapes else (None, *(self.input_shape or self.build_shape or ()))
        for layer in self.layers[start:]:
            if self._device is not None and layer._device is None:
                layer.to(self._device)
            try:
                shape = layer.compute_output_shape(shape)
            except Exception as error:
                self._locate(error)
                raise
            self.output_shapes.append(shape)
        self.built = bool(self.layers)

    @property
    def is_split(self) -> bool:  # type: ignore[override]
        return super().is_split and bool(self.layers) and self.layers[-1].is_split

    @property
    def activation(self) -> Any:  # type: ignore[override]
        """The activation of the last layer, if its output is that of a `preactivation`."""
        last = self.layers[-1] if self.layers else None
        return last.activation if isinstance(last, ActivatedLayer) and last.is_split else None

    def preactivation(self, x: Any) -> Any:
        """The output before the activation of the last layer."""
        if not self.layers:
            raise ValueError(message(self.where, "at least one layer", "none", "add one with model.add(...)."))
        if self.input_shape is not None:
            check_input(self.where, x.shape, self.input_shape)
        for layer in self.layers[:-1]:
            x = layer(x)
        last = self.layers[-1]
        if isinstance(last, ActivatedLayer) and last.is_split:
            return last.run(last.preactivation, x)
        return last(x)

    def _step_to(self, inner: Layer) -> str:
        for i, layer in enumerate(self.layers):
            if layer is inner:
                return f"{type(self).__name__}[{i}]"
        return super()._step_to(inner)

    def get_config(self) -> dict[str, Any]:
        from .saving import serialize

        config = super().get_config()
        config.pop("input_shape", None)
        inputs = [] if self.input_shape is None else [Input(self.input_shape, self.input_dtype)]
        return {**config, "layers": [serialize(layer) for layer in (*inputs, *self.layers)]}


def _snake(name: str) -> str:
    """Dense -> dense, LayerNormalization -> layer_normalization, Conv2D -> conv2d."""
    return "".join(f"_{c}" if i and c.isupper() and name[i - 1].islower() else c for i, c in enumerate(name)).lower()
