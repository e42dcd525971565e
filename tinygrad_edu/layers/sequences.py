"""SimpleRNN, LSTM and GRU: recurrent layers that compute the whole sequence at once where they can."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from .. import ops
from ..errors import ShapeError, message
from ..state import state
from .recurrent import GRUCell, LSTMCell, Recurrent, SimpleRNNCell
from .symbolic import Shape


def _of_cell(name: str) -> Any:
    """An argument of a layer that its cell keeps."""
    return property(lambda layer: getattr(layer.cell, name), lambda layer, value: setattr(layer.cell, name, value))


def _weights(cell: Any) -> tuple[Any, Any, Any]:
    return cell.kernel, cell.recurrent_kernel, cell.bias


class _WholeSequence(Recurrent):
    """A layer whose cell is one of this package, so that one operation can do what the cell does step by step."""

    initial = SimpleRNNCell.initial
    units, activation, use_bias = map(_of_cell, ("units", "activation", "use_bias"))
    dropout, recurrent_dropout = map(_of_cell, ("dropout", "recurrent_dropout"))
    kernel_initializer, recurrent_initializer, bias_initializer = map(
        _of_cell, ("kernel_initializer", "recurrent_initializer", "bias_initializer")
    )
    kernel_regularizer, recurrent_regularizer, bias_regularizer = map(
        _of_cell, ("kernel_regularizer", "recurrent_regularizer", "bias_regularizer")
    )
    kernel_constraint, recurrent_constraint, bias_constraint = map(
        _of_cell, ("kernel_constraint", "recurrent_constraint", "bias_constraint")
    )

    def __init__(self, **options: Any):
        self.cell = SimpleNamespace()  # takes the initializers, regularizers and constraints until there is a cell
        super().__init__(**options)

    def make_cell(self, kind: Any, units: int, **arguments: Any) -> None:
        """Makes the cell, with the layer's initializers, regularizers and constraints."""
        self.cell = kind(units, **arguments, **vars(self.cell))

    def check_shape(self, shape: Shape) -> None:
        super().check_shape(shape)
        if len(shape) != 3:
            raise ShapeError(message(self.where, "sequences (batch, time, features)", f"shape {tuple(shape)}"))
        if self.cell.built and shape[2] != self.cell.kernel.shape[0]:
            raise ShapeError(
                message(self.where, f"{self.cell.kernel.shape[0]} input features", f"shape {tuple(shape)}")
            )

    def process(self, x: Any, states: list[Any], mask: Any) -> tuple[Any, Any, list[Any]]:
        if not self.is_standard or (state.training and self.recurrent_dropout):
            return super().process(x, states, mask)
        factors, _ = self.cell.dropout_factors(x.shape[0])
        if factors is not None:
            x = x * ops.expand_dims(factors[0], 1)
        y, *states = self.whole(x, states, mask)
        if mask is None:
            return y, states[0], states
        if self.zero_output_for_mask:
            kept = ops.flip(mask, axis=1) if self.go_backwards else mask
            y = ops.where(ops.expand_dims(kept, 2), y, 0.0)
            return y, y[:, -1], states
        last = ops.where(ops.any(mask, axis=1, keepdims=True), states[0], 0.0)  # instead of a part of y: y's gradient
        return y, last, states

    @property
    def is_standard(self) -> bool:
        """Whether the activations are those that `whole` computes."""
        raise NotImplementedError

    def whole(self, x: Any, states: list[Any], mask: Any) -> tuple[Any, ...]:
        """The outputs of all steps and the last states, by one operation."""
        raise NotImplementedError


class SimpleRNN(_WholeSequence):
    """The fully connected recurrent layer: h = activation(x_t @ kernel + bias + h @ recurrent_kernel), the output of
    the step t. Elman, "Finding structure in time", 1990.

    (batch, time, features) becomes (batch, units), or (batch, time, units) with `return_sequences`.

    Args:
        units: the length of the state and of the output.
        activation: a name, a function, or None.
        use_bias: whether to add a bias.
        dropout, recurrent_dropout: rates at which, in training, features of the input and units of the state are set to
            0, the same ones at all steps; see `Dropout`.
        options: those of `RNN` and of `Layer`; `kernel`, `recurrent` (the recurrent_kernel) and `bias` have an
            initializer, a regularizer and a constraint.

    `layer(x, initial_state=..., mask=...)`: as for `RNN`. Parameters, all of the `cell`: kernel (features, units),
    recurrent_kernel (units, units), bias (units,). One operation computes all steps; only with
    another activation than tanh, relu, sigmoid or None, and in training with `recurrent_dropout`, it is a loop over the
    cell, which takes longer. Raises ShapeError for inputs that are no sequences.

    >>> import tinygrad_edu as tg
    >>> layer = tg.layers.SimpleRNN(4, return_sequences=True, return_state=True)
    >>> y, h = layer(tg.ones((2, 5, 3)))
    >>> y.shape, h.shape
    ((2, 5, 4), (2, 4))
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        *,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        **options: Any,
    ):
        super().__init__(**options)
        rates = {"dropout": dropout, "recurrent_dropout": recurrent_dropout}
        self.make_cell(SimpleRNNCell, units, activation=activation, use_bias=use_bias, **rates)

    @property
    def is_standard(self) -> bool:
        return self.activation in STANDARD

    def whole(self, x: Any, states: list[Any], mask: Any) -> tuple[Any, ...]:
        (h,), (kernel, recurrent_kernel, bias) = states, _weights(self.cell)
        return ops.simple_rnn(x, kernel, recurrent_kernel, bias, h, mask, self.go_backwards, STANDARD[self.activation])


STANDARD = {None: "linear", ops.relu: "relu", ops.sigmoid: "sigmoid", ops.tanh: "tanh"}
"""The activations of `ops.simple_rnn`."""


class _Gated(_WholeSequence):
    """What LSTM and GRU have in common."""

    recurrent_activation = _of_cell("recurrent_activation")

    def __init__(self, use_cudnn: bool | str = "auto", **options: Any):
        super().__init__(**options)
        if use_cudnn not in ("auto", True, False):
            raise ValueError(message(self.where, "use_cudnn to be 'auto', True or False", repr(use_cudnn)))
        self.use_cudnn = use_cudnn

    @property
    def is_standard(self) -> bool:
        return self.activation is ops.tanh and self.recurrent_activation is ops.sigmoid


class LSTM(_Gated):
    """Long short-term memory: for each step c = f * c + i * activation(a_c) and h = o * activation(c), the output, with
    the gates i, f and o the recurrent_activation of a_i, a_f and a_o, where (a_i, a_f, a_c, a_o) = x_t @ kernel + bias
    + h @ recurrent_kernel. Hochreiter and Schmidhuber, "Long short-term memory", 1997; Gers et al., "Learning to
    forget", 2000.

    (batch, time, features) becomes (batch, units), or (batch, time, units) with `return_sequences`.

    Args:
        units: the length of the states and of the output.
        activation, recurrent_activation: names, functions, or None.
        use_bias: whether to add a bias.
        unit_forget_bias: whether the bias of f begins as 1, so that much is remembered: Jozefowicz et al., "An
            empirical exploration of recurrent network architectures", 2015.
        dropout, recurrent_dropout: rates at which, in training, features of the input and units of h are set to 0, the
            same ones at all steps; see `Dropout`. With `recurrent_dropout` each gate has its own draw.
        use_cudnn: makes no difference.
        options: those of `RNN` and of `Layer`; `kernel`, `recurrent` (the recurrent_kernel) and `bias` have an
            initializer, a regularizer and a constraint.

    `layer(x, initial_state=[h, c], mask=...)`: as for `RNN`; with `return_state` it returns the output, h and c.
    Parameters, all of the `cell`: kernel (features, 4 * units), recurrent_kernel (units, 4 * units), bias (4 * units,),
    their columns those of i, f, c, o. One operation computes all steps; only with other activations, and in training
    with `recurrent_dropout`, it is a loop over the cell, which takes longer. Raises ShapeError for inputs that are no
    sequences.

    >>> import tinygrad_edu as tg
    >>> layer = tg.layers.LSTM(4, return_sequences=True, return_state=True)
    >>> y, h, c = layer(tg.ones((2, 5, 3)))
    >>> y.shape, h.shape, c.shape
    ((2, 5, 4), (2, 4), (2, 4))
    """

    unit_forget_bias = _of_cell("unit_forget_bias")

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        *,
        unit_forget_bias: bool = True,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        **options: Any,
    ):
        super().__init__(**options)
        self.make_cell(
            LSTMCell,
            units,
            activation=activation,
            recurrent_activation=recurrent_activation,
            use_bias=use_bias,
            unit_forget_bias=unit_forget_bias,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
        )

    def whole(self, x: Any, states: list[Any], mask: Any) -> tuple[Any, ...]:
        (h, c), (kernel, recurrent_kernel, bias) = states, _weights(self.cell)
        return ops.lstm(x, kernel, recurrent_kernel, bias, h, c, mask, self.go_backwards)


class GRU(_Gated):
    """Gated recurrent unit: for each step h = z * h + (1 - z) * activation(a_h + r * (h @ U_h + b_h)), the output, with
    the gates z the recurrent_activation of a_z + h @ U_z + b_z, r likewise, where (a_z, a_r, a_h) = x_t @ kernel +
    bias[0] and recurrent_kernel and bias[1] have the columns U and b. Cho et al., "Learning phrase representations
    using RNN encoder-decoder", 2014.

    (batch, time, features) becomes (batch, units), or (batch, time, units) with `return_sequences`.

    Args:
        units: the length of the state and of the output.
        activation, recurrent_activation: names, functions, or None.
        use_bias: whether to add a bias.
        reset_after: whether r multiplies the product with U_h, as in cuDNN; or h before it, as in the paper: there is
            no b then, and the candidate is activation(a_h + (r * h) @ U_h).
        dropout, recurrent_dropout: rates at which, in training, features of the input and units of h are set to 0, the
            same ones at all steps; see `Dropout`. With `recurrent_dropout` each gate has its own draw.
        use_cudnn: makes no difference.
        options: those of `RNN` and of `Layer`; `kernel`, `recurrent` (the recurrent_kernel) and `bias` have an
            initializer, a regularizer and a constraint.

    `layer(x, initial_state=h, mask=...)`: as for `RNN`. Parameters, all of the `cell`: kernel (features, 3 * units),
    recurrent_kernel (units, 3 * units), bias (2, 3 * units), or (3 * units,) without `reset_after`, their columns those
    of z, r, h. One operation computes all steps; only with other activations, and in training with
    `recurrent_dropout`, it is a loop over the cell, which takes longer. Raises ShapeError for inputs that are no
    sequences.

    >>> import tinygrad_edu as tg
    >>> layer = tg.layers.GRU(4)
    >>> layer(tg.ones((2, 5, 3))).shape, layer.cell.bias.shape
    ((2, 4), (2, 12))
    """

    reset_after = _of_cell("reset_after")

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        *,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        reset_after: bool = True,
        **options: Any,
    ):
        super().__init__(**options)
        self.make_cell(
            GRUCell,
            units,
            activation=activation,
            recurrent_activation=recurrent_activation,
            use_bias=use_bias,
            reset_after=reset_after,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
        )

    def whole(self, x: Any, states: list[Any], mask: Any) -> tuple[Any, ...]:
        (h,), (kernel, recurrent_kernel, bias) = states, _weights(self.cell)
        return ops.gru(x, kernel, recurrent_kernel, bias, h, mask, self.go_backwards, self.reset_after)
