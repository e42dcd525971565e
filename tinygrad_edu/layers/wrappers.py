"""Layers that apply another layer: Bidirectional, TimeDistributed."""

from __future__ import annotations

import copy
from typing import Any

import numpy

from .. import ops
from ..errors import ShapeError, choice, message
from ..tree import leaves, mapped
from .base import Layer
from .masks import as_mask
from .recurrent import AFTER_ANOTHER
from .symbolic import Shape

MERGES = {
    "concat": lambda a, b: ops.concatenate([a, b], axis=-1),
    "sum": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "ave": lambda a, b: (a + b) / 2.0,
}
ALIKE = ("return_sequences", "return_state", "stateful")
"""What the two layers of a Bidirectional have in common."""


class Bidirectional(Layer):
    """Two recurrent layers over the same sequence, one from its beginning and one from its end: Schuster and Paliwal,
    "Bidirectional recurrent neural networks", 1997.

    (batch, time, features) becomes (batch, 2 * units), or (batch, time, 2 * units) if the layers return sequences, in
    which the outputs of both for a step stand side by side. At steps that the mask leaves out they are 0 then.

    Args:
        layer: an RNN, SimpleRNN, LSTM or GRU (or another layer with `go_backwards`, `return_sequences`, `return_state`
            and `stateful`) that was not called yet. A copy of it is used.
        merge_mode: how the two outputs become one: "concat", "sum", "mul", "ave", or None for both, in a tuple.
        backward_layer: the one that begins at the end; by default a copy of `layer` with `go_backwards`.
        options: those of `Layer`.

    Attributes: forward_layer, backward_layer; their weights come in this order. `layer(x, initial_state=..., mask=...)`
    takes the states of the first layer and then those of the second, and returns them so after the output if the layers
    have `return_state`. Raises TypeError for what is no such layer, ValueError for two layers that do not fit.

    >>> import tinygrad_edu as tg
    >>> from tinygrad_edu import layers
    >>> layers.Bidirectional(layers.LSTM(4, return_sequences=True))(tg.ones((2, 5, 3))).shape
    (2, 5, 8)
    """

    supports_masking = True

    def __init__(self, layer: Any, merge_mode: str | None = "concat", *, backward_layer: Any = None, **options: Any):
        super().__init__(**options)
        if merge_mode is not None and merge_mode not in MERGES:
            raise choice(self.where, "merge_mode", merge_mode, MERGES)
        self.merge_mode = merge_mode
        for part in (layer, backward_layer):
            self._check_part(part, required=part is layer)
        self.forward_layer = copy.deepcopy(layer)
        if backward_layer is None:
            self.backward_layer = copy.deepcopy(layer)
            self.backward_layer.go_backwards = True
        else:
            self.backward_layer = backward_layer
        self._check_both()
        for part in (self.forward_layer, self.backward_layer):
            if hasattr(part, "zero_output_for_mask"):
                part.zero_output_for_mask = part.return_sequences

    def _check_part(self, part: Any, required: bool) -> None:
        if part is None and not required:
            return
        if not isinstance(part, Layer) or not all(hasattr(part, name) for name in ("go_backwards", *ALIKE)):
            hint = f"write {part.__name__}(...)." if isinstance(part, type) else ""
            raise TypeError(message(self.where, "a recurrent layer, such as LSTM(4)", repr(part), hint))
        if part.built or part.weights:
            hint = "give it a new one."
            raise ValueError(message(self.where, "a layer without weights yet", f"{part!r} with some", hint))

    def _check_both(self) -> None:
        ways = [part.go_backwards for part in (self.forward_layer, self.backward_layer)]
        if ways[0] == ways[1]:
            expected = "one layer with go_backwards and one without"
            raise ValueError(message(self.where, expected, f"go_backwards={ways[0]} in both"))
        for name in ALIKE:
            values = [getattr(part, name) for part in (self.forward_layer, self.backward_layer)]
            if values[0] != values[1]:
                expected = f"two layers with the same {name}"
                raise ValueError(message(self.where, expected, f"{values[0]} and {values[1]}"))

    @property
    def layer(self) -> Any:
        """The layer that begins at the beginning."""
        return self.forward_layer

    @property
    def return_sequences(self) -> bool:
        return self.forward_layer.return_sequences

    @property
    def return_state(self) -> bool:
        return self.forward_layer.return_state

    @property
    def stateful(self) -> bool:
        return self.forward_layer.stateful

    def build(self, input_shape: Shape) -> None:
        for part in (self.forward_layer, self.backward_layer):
            part.build_once(input_shape)
        super().build(input_shape)

    def reset_state(self) -> None:
        """Sets the states of both layers, if they are `stateful`, to 0."""
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    reset_states = reset_state

    def call(self, x: Any, initial_state: Any = None, mask: Any = None) -> Any:
        """The merged outputs, followed by the states of both layers with `return_state`."""
        first, second = self._halves(initial_state)
        y, *states = _several(self.forward_layer(x, initial_state=first, mask=mask))
        z, *more = _several(self.backward_layer(x, initial_state=second, mask=mask))
        if self.return_sequences:
            z = ops.flip(z, axis=1)
        merged = (y, z) if self.merge_mode is None else (MERGES[self.merge_mode](y, z),)
        found = (*merged, *states, *more)
        return found if len(found) > 1 else found[0]

    def _halves(self, states: Any) -> tuple[Any, Any]:
        if states is None:
            return None, None
        if not isinstance(states, (list, tuple)) or not states or len(states) % 2:
            expected = "initial_state with the states of the first layer and as many of the second"
            found = f"{len(states)}" if isinstance(states, (list, tuple)) else f"a {type(states).__name__}"
            raise ValueError(message(self.where, expected, found))
        half = len(states) // 2
        return list(states[:half]), list(states[half:])

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        """That of the input for the outputs of all steps; none for the last outputs and the states."""
        mask = as_mask(self.where, mask, x.shape[:2]) if self.return_sequences else None
        outputs = [mask] * (2 if self.merge_mode is None else 1)
        states = 0
        if self.return_state:
            states = sum(len(list(leaves(part.state_size))) for part in (self.forward_layer, self.backward_layer))
        found = [*outputs, *[None] * states]
        return found if len(found) > 1 else found[0]


class TimeDistributed(Layer):
    """A layer, applied to each time step: (batch, time, ...) becomes (batch, time, ...).

    The layer is called once, on (batch * time, ...): so statistics of a batch, as in BatchNormalization, are those of
    all steps together, and its `activity_regularizer` is a mean over all steps; Keras leaves that out.

    Args:
        layer: any layer of one input.
        options: those of `Layer`.

    A mask (batch, time, ...) is passed on to the layer, if that takes one, as (batch * time, ...). Parameters: those of
    the layer. Raises TypeError for what is no layer, ShapeError for inputs of fewer than three axes.

    >>> import tinygrad_edu as tg
    >>> from tinygrad_edu import layers
    >>> layers.TimeDistributed(layers.Dense(4))(tg.ones((2, 5, 3))).shape
    (2, 5, 4)
    """

    supports_masking = True

    def __init__(self, layer: Any, **options: Any):
        super().__init__(**options)
        if not isinstance(layer, Layer):
            hint = f"write {layer.__name__}(...)." if isinstance(layer, type) else ""
            raise TypeError(message(self.where, "a layer", repr(layer), hint))
        self.layer = layer

    def build(self, input_shape: Shape) -> None:
        self._check(input_shape)
        self.layer.build_once((None, *input_shape[2:]))
        super().build(input_shape)

    def _check(self, shape: Shape) -> None:
        if len(shape) < 3:
            hint = f"add a time axis: x[:, None]; {AFTER_ANOTHER}"
            raise ShapeError(message(self.where, "inputs of shape (batch, time, ...)", f"shape {tuple(shape)}", hint))

    def call(self, x: Any, mask: Any = None) -> Any:
        self._check(x.shape)
        rows, time = x.shape[:2]
        given = {}
        if mask is not None and "mask" in self.layer._call_takes:
            mask = self.compute_mask(x, mask)
            given["mask"] = ops.reshape(mask, (rows * time, *mask.shape[2:]))
        y = self.layer(ops.reshape(x, (rows * time, *x.shape[2:])), **given)
        return mapped(lambda part: ops.reshape(part, (rows, time, *part.shape[1:])), y)

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        return as_mask(self.where, mask, (*x.shape[:2], *numpy.shape(mask)[2:]))


def _several(outputs: Any) -> tuple[Any, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)
