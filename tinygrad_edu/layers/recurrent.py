"""Recurrent cells, which compute one time step, and RNN, which runs a cell over a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from .. import ops
from ..autograd import Tensor, settled, tensor
from ..errors import GradientError, ShapeError, check_bool, check_integer, check_number, message
from ..ops.creation import keep_mask
from ..state import state
from ..tree import leaves, mapped, rebuild
from . import activations
from .base import Layer
from .masks import as_mask
from .symbolic import Shape

Factors = tuple[list[Any] | None, list[Any] | None]
"""What dropout multiplies the input and the state with, None for nothing: one array for all gates, or one for each."""


AFTER_ANOTHER = "or give the recurrent layer before this one return_sequences=True."
"""The other half of the hint where the axis of time is missing."""


class _Cell(Layer):
    """What the cells of this package have in common: weights of `gates` blocks of columns, and dropout.

    One draw of dropout is for all time steps (Gal and Ghahramani, "A theoretically grounded application of dropout in
    recurrent neural networks", 2016): `dropout_factors` makes it, and RNN hands it to each call.
    """

    initial: ClassVar = {"kernel": "glorot_uniform", "recurrent": "orthogonal", "bias": "zeros"}
    gates: ClassVar[int] = 1
    kernel: Tensor
    recurrent_kernel: Tensor
    bias: Tensor | None = None

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
        self.units = check_integer(self.where, "units", units, 1)
        self.activation = activations.get(activation, self.where)
        self.use_bias = check_bool(self.where, "use_bias", use_bias)
        self.dropout = check_number(self.where, "dropout", dropout, "in [0, 1)", _is_rate)
        self.recurrent_dropout = check_number(self.where, "recurrent_dropout", recurrent_dropout, "in [0, 1)", _is_rate)

    @property
    def state_size(self) -> Any:
        """The units of the state; a list for several states."""
        return self.units

    @property
    def output_size(self) -> int:
        return self.units

    @property
    def bias_shape(self) -> tuple[int, ...]:
        return (self.gates * self.units,)

    def get_initial_state(self, batch_size: int) -> list[Tensor]:
        """Zeros (batch, units) for each state."""
        return zero_states(self, self.state_size, batch_size)

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) != 2 or input_shape[-1] is None:
            raise ShapeError(message(self.where, "inputs of shape (batch, features)", f"shape {input_shape}"))
        columns = self.gates * self.units
        self.make("kernel", (input_shape[-1], columns))
        self.make("recurrent_kernel", (self.units, columns), "recurrent")
        if self.use_bias:
            self.make("bias", self.bias_shape)
        super().build(input_shape)

    def dropout_factors(self, rows: int) -> Factors:
        """A new draw of dropout for that many rows; (None, None) outside of training."""
        if not state.training:
            return None, None
        # as in Keras the gates share one draw, unless there is recurrent_dropout
        count = self.gates if self.recurrent_dropout else 1
        return tuple(  # type: ignore[return-value]
            [
                keep_mask(shape=(rows, columns), rate=rate, dtype=self.kernel.dtype, device=self.kernel.device)
                for _ in range(count)
            ]
            if rate
            else None
            for rate, columns in ((self.dropout, self.kernel.shape[0]), (self.recurrent_dropout, self.units))
        )

    def call(self, x: Any, states: Any, factors: Factors | None = None) -> tuple[Any, Any]:
        """The output and the new states, as a list if `states` is one; `factors` of dropout, drawn anew if None."""
        given = list(mapped(_as_tensor, states)) if isinstance(states, (list, tuple)) else [_as_tensor(states)]
        count = len(list(leaves(self.state_size)))
        if x.ndim != 2 or x.shape[1] != self.kernel.shape[0]:
            raise ShapeError(
                message(self.where, f"one time step (batch, {self.kernel.shape[0]})", f"shape {tuple(x.shape)}")
            )
        if len(given) != count:
            raise ValueError(message(self.where, f"{count} states (batch, {self.units})", f"{len(given)}"))
        for t in given:
            if t.shape != (x.shape[0], self.units):
                raise ShapeError(message(self.where, f"states of shape {(x.shape[0], self.units)}", f"{t.shape}"))
        new = self.step(x, *given, self.dropout_factors(x.shape[0]) if factors is None else factors)
        return new[0], new if isinstance(states, (list, tuple)) else new[0]

    def step(self, x: Any, *args: Any) -> list[Any]:
        """The new states, of which the first is the output, for the input, the states and the factors of dropout."""
        raise NotImplementedError


class SimpleRNNCell(_Cell):
    """One step of `SimpleRNN`: h = activation(x @ kernel + bias + h @ recurrent_kernel). Elman, "Finding structure in
    time", 1990.

    Args: those of `SimpleRNN` that concern one step.

    `cell(x, states)` takes x (batch, features) and the state h (batch, units), in a list, and returns the output, which
    is the new h, and the new states. Parameters: kernel (features, units), recurrent_kernel (units, units), bias
    (units,). Raises ShapeError for another number of features, ValueError for another number of states.

    >>> import tinygrad_edu as tg
    >>> cell = tg.layers.SimpleRNNCell(4)
    >>> y, [h] = cell(tg.ones((2, 3)), [tg.zeros((2, 4))])
    >>> y.shape, h.shape
    ((2, 4), (2, 4))
    """

    def step(self, x: Any, h: Any, factors: Factors) -> list[Any]:
        y = _product(x, self.kernel, self.bias, factors[0]) + _product(h, self.recurrent_kernel, None, factors[1])
        return [activated(self.activation, y)]


class LSTMCell(_Cell):
    """One step of `LSTM`: c = f * c + i * activation(a_c), h = o * activation(c), with the gates i, f and o the
    recurrent_activation of a_i, a_f and a_o, where (a_i, a_f, a_c, a_o) = x @ kernel + bias + h @ recurrent_kernel.
    Hochreiter and Schmidhuber, "Long short-term memory", 1997; Gers et al., "Learning to forget", 2000.

    Args: those of `LSTM` that concern one step.

    `cell(x, [h, c])` takes x (batch, features) and states (batch, units), and returns the output, which is the new h,
    and [h, c]. Parameters: kernel (features, 4 * units), recurrent_kernel (units, 4 * units), bias (4 * units,), their
    columns those of i, f, c, o. Raises ShapeError for another number of features, ValueError for another number of
    states.

    >>> import tinygrad_edu as tg
    >>> cell = tg.layers.LSTMCell(4)
    >>> y, (h, c) = cell(tg.ones((2, 3)), cell.get_initial_state(2))
    >>> y.shape, h.shape, c.shape
    ((2, 4), (2, 4), (2, 4))
    """

    gates = 4

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        *,
        unit_forget_bias: bool = True,
        **options: Any,
    ):
        super().__init__(units, activation, use_bias, **options)
        self.recurrent_activation = activations.get(recurrent_activation, self.where)
        self.unit_forget_bias = check_bool(self.where, "unit_forget_bias", unit_forget_bias)

    @property
    def state_size(self) -> list[int]:
        return [self.units, self.units]

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        if self.bias is not None and self.unit_forget_bias:
            before, _, after = ops.split(self.bias.detach(), (self.units, 2 * self.units))
            self.bias.assign_(ops.concatenate([before, ops.ones_like(before), after]))

    def step(self, x: Any, h: Any, c: Any, factors: Factors) -> list[Any]:
        a = _product(x, self.kernel, self.bias, factors[0]) + _product(h, self.recurrent_kernel, None, factors[1])
        i, f, candidate, o = ops.split(a, 4, axis=1)
        i, f, o = (activated(self.recurrent_activation, gate) for gate in (i, f, o))
        c = f * c + i * activated(self.activation, candidate)
        return [o * activated(self.activation, c), c]


class GRUCell(_Cell):
    """One step of `GRU`: h = z * h + (1 - z) * activation(a_h + r * (h @ U_h + b_h)), with the gates z the
    recurrent_activation of a_z + h @ U_z + b_z, r likewise, where (a_z, a_r, a_h) = x @ kernel + bias[0] and
    recurrent_kernel and bias[1] have the columns U and b. Without `reset_after` there is no b, and the candidate is
    activation(a_h + (r * h) @ U_h). Cho et al., "Learning phrase representations using RNN encoder-decoder", 2014.

    Args: those of `GRU` that concern one step.

    `cell(x, [h])` takes x (batch, features) and h (batch, units), and returns the output, which is the new h, and [h].
    Parameters: kernel (features, 3 * units), recurrent_kernel (units, 3 * units), bias (2, 3 * units), or
    (3 * units,) without `reset_after`, their columns those of z, r, h. Raises ShapeError for another number of
    features, ValueError for another number of states.

    >>> import tinygrad_edu as tg
    >>> cell = tg.layers.GRUCell(4)
    >>> y, [h] = cell(tg.ones((2, 3)), cell.get_initial_state(2))
    >>> y.shape, cell.bias.shape
    ((2, 4), (2, 12))
    """

    gates = 3

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        *,
        reset_after: bool = True,
        **options: Any,
    ):
        super().__init__(units, activation, use_bias, **options)
        self.recurrent_activation = activations.get(recurrent_activation, self.where)
        self.reset_after = check_bool(self.where, "reset_after", reset_after)

    @property
    def bias_shape(self) -> tuple[int, ...]:
        return (2, 3 * self.units) if self.reset_after else (3 * self.units,)

    def step(self, x: Any, h: Any, factors: Factors) -> list[Any]:
        bias, state_bias = self.bias, None
        if self.reset_after and self.bias is not None:
            bias, state_bias = self.bias[0], self.bias[1]
        az, ar, candidate = ops.split(_product(x, self.kernel, bias, factors[0]), 3, axis=1)
        if self.reset_after:
            bz, br, inner = ops.split(_product(h, self.recurrent_kernel, state_bias, factors[1]), 3, axis=1)
            candidate = candidate + activated(self.recurrent_activation, ar + br) * inner
        else:
            gates, last = ops.split(self.recurrent_kernel, (2 * self.units,), axis=1)
            bz, br = ops.split(_product(h, gates, None, factors[1] and factors[1][:2]), 2, axis=1)
            r = activated(self.recurrent_activation, ar + br)
            candidate = candidate + _product(r * h, last, None, factors[1] and factors[1][2:])
        z = activated(self.recurrent_activation, az + bz)
        return [z * h + (1.0 - z) * activated(self.activation, candidate)]


class StackedRNNCells(Layer):
    """Cells as one: the output of each is the input of the next. The states are a list with those of each cell.

    Raises TypeError for what is no cell, ValueError for another number of states than cells.

    >>> import tinygrad_edu as tg
    >>> from tinygrad_edu import layers
    >>> rnn = layers.RNN(layers.StackedRNNCells([layers.LSTMCell(4), layers.LSTMCell(5)]))
    >>> rnn(tg.ones((2, 6, 3))).shape
    (2, 5)
    """

    def __init__(self, cells: Sequence[Layer], **options: Any):
        super().__init__(**options)
        if not isinstance(cells, (list, tuple)) or not cells:
            raise TypeError(message(self.where, "a list of cells", repr(cells)))
        for cell in cells:
            check_cell(self.where, cell)
        self.cells: list[Any] = list(cells)

    @property
    def state_size(self) -> list[Any]:
        return [cell.state_size for cell in self.cells]

    @property
    def output_size(self) -> int:
        return output_size(self.cells[-1])

    def get_initial_state(self, batch_size: int) -> list[Any]:
        """The initial states of each cell, in a list."""
        return [initial_states(cell, batch_size) for cell in self.cells]

    def build(self, input_shape: Shape) -> None:
        for cell in self.cells:
            cell.build_once(input_shape)
            input_shape = (input_shape[0], output_size(cell))
        super().build(input_shape)

    def dropout_factors(self, rows: int) -> list[Any]:
        """A new draw of dropout for each cell."""
        return [dropout_factors(cell, rows) for cell in self.cells]

    def call(self, x: Any, states: Any, factors: list[Any] | None = None) -> tuple[Any, list[Any]]:
        if not isinstance(states, (list, tuple)) or len(states) != len(self.cells):
            found = f"{len(states)}" if isinstance(states, (list, tuple)) else f"a {type(states).__name__}"
            raise ValueError(message(self.where, f"a list of {len(self.cells)} states, those of each cell", found))
        new = []
        factors = self.dropout_factors(x.shape[0]) if factors is None else factors
        for cell, before, factor in zip(self.cells, states, factors, strict=True):
            x, after = stepped(self.where, cell, x, before, factor)
            new.append(after)
        return x, new


class Recurrent(Layer):
    """What RNN, SimpleRNN, LSTM and GRU have in common: all but how the steps are computed. They set `cell`."""

    supports_masking = True
    passing = frozenset({"states"})
    cell: Any
    states: Any = None
    """With `stateful`: the states that the next call begins with, buffers."""

    def __init__(
        self,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        **options: Any,
    ):
        super().__init__(**options)
        self.return_sequences = check_bool(self.where, "return_sequences", return_sequences)
        self.return_state = check_bool(self.where, "return_state", return_state)
        self.go_backwards = check_bool(self.where, "go_backwards", go_backwards)
        self.stateful = check_bool(self.where, "stateful", stateful)
        self.unroll = check_bool(self.where, "unroll", unroll)
        self.zero_output_for_mask = check_bool(self.where, "zero_output_for_mask", zero_output_for_mask)

    @property
    def state_size(self) -> list[Any]:
        """The sizes of the states, one each."""
        size = self.cell.state_size
        return list(size) if isinstance(size, (list, tuple)) else [size]

    def check_shape(self, shape: Shape) -> None:
        """Raises ShapeError for inputs that are no sequences."""
        if len(shape) < 3 or shape[1] == 0:
            hint = "add a time axis: x[:, None], or x[..., None] for sequences of one number; " + AFTER_ANOTHER
            expected = "sequences (batch, time, features) of at least one step"
            raise ShapeError(message(self.where, expected, f"shape {tuple(shape)}", hint if len(shape) == 2 else ""))

    def build(self, input_shape: Shape) -> None:
        self.check_shape(input_shape)
        self.cell.build_once((input_shape[0], *input_shape[2:]))
        if self.stateful:
            if input_shape[0] is None:
                hint = "write Input(batch_shape=(32, None, 8)), or batch_input_shape=... in the first layer."
                raise ValueError(message(self.where, "a batch size, for it is stateful", "none", hint))
            self.states = mapped(lambda s: Tensor(s.data.copy()), self.get_initial_state(input_shape[0]))
        super().build(input_shape)

    def get_initial_state(self, batch_size: int) -> list[Any]:
        """The states of the cell for a first step, in a list: zeros, unless the cell says otherwise."""
        states = initial_states(self.cell, batch_size)
        return list(states) if isinstance(states, (list, tuple)) else [states]

    def reset_state(self) -> None:
        """Sets the states of a `stateful` layer to 0."""
        for t in leaves(self.states or ()):
            t.assign_(0.0)

    reset_states = reset_state

    def call(self, x: Any, initial_state: Any = None, mask: Any = None) -> Any:
        """The last output, or those of all steps; followed by the last states with `return_state`.

        Args:
            x: (batch, time, features).
            initial_state: a tensor, or a list of those of each state, (batch, units); by default zeros.
            mask: booleans (batch, time). Where False, the step leaves the states as they are, and the output is that of
                the step before, 0 if there is none, or with `zero_output_for_mask`.
        """
        self.check_shape(x.shape)
        settled(self.cell)
        mask = as_mask(self.where, mask, x.shape[:2])
        y, last, states = self.process(x, self._first_states(x, initial_state), mask)
        if self.stateful:
            if state.repeating:
                raise GradientError(
                    message(self.where, "no checkpoint around a stateful layer", "one", "call it outside.")
                )
            for t, new in zip(leaves(self.states), leaves(states), strict=True):
                t.assign_(new)
        y = y if self.return_sequences else last
        return (y, *states) if self.return_state else y

    def _first_states(self, x: Any, given: Any) -> list[Any]:
        if self.stateful:
            rows = next(leaves(self.states)).shape[0]
            if x.shape[0] != rows:
                expected = f"batches of {rows} rows, for it is stateful"
                hint = "leave out the rest of the data, or make the model for another batch size."
                raise ShapeError(message(self.where, expected, f"{x.shape[0]}", hint))
            if given is None:  # a copy, for the states are overwritten while the graph needs these
                return list(mapped(lambda t: t * 1.0, self.states))
        if given is None:
            return self.get_initial_state(x.shape[0])
        given = list(mapped(_as_tensor, given)) if isinstance(given, (list, tuple)) else [_as_tensor(given)]
        sizes, found = list(leaves(self.state_size)), list(leaves(given))
        if len(found) != len(sizes):
            expected = f"initial_state of {len(sizes)} tensors, of {' and '.join(map(str, sizes))} units"
            raise ValueError(message(self.where, expected, f"{len(found)}"))
        for t, size in zip(found, sizes, strict=True):
            if t.ndim < 2 or (t.shape[0], t.shape[-1]) != (x.shape[0], size):
                raise ShapeError(message(self.where, f"initial_state of shape {(x.shape[0], size)}", f"{t.shape}"))
        return given

    def process(self, x: Any, states: list[Any], mask: Any) -> tuple[Any, Any, list[Any]]:
        """The outputs of all steps in the order of processing, the last output and the last states, by the cell step
        by step."""
        rows, time = x.shape[:2]
        steps = [ops.reshape(part, (rows, *x.shape[2:])) for part in ops.split(x, time, axis=1)]
        kept = [None] * time if mask is None else ops.split(mask, time, axis=1)
        factors, output, outputs = dropout_factors(self.cell, rows), None, []
        for part, keep in list(zip(steps, kept, strict=True))[:: -1 if self.go_backwards else 1]:
            new, found = stepped(self.where, self.cell, part, states, factors)
            after = list(leaves(found))
            if keep is not None:
                before = ops.zeros_like(new) if output is None or self.zero_output_for_mask else output
                new = _chosen(keep, new, before)
                after = [_chosen(keep, a, b) for a, b in zip(after, leaves(states), strict=True)]
            output, states = new, rebuild(states, iter(after))
            outputs.append(output)
        return ops.stack(outputs, axis=1) if self.return_sequences else None, output, states

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        """That of the input for the outputs of all steps; none for the last output and the states."""
        first = as_mask(self.where, mask, x.shape[:2]) if self.return_sequences else None
        return [first, *(None for _ in leaves(self.state_size))] if self.return_state else first


class RNN(Recurrent):
    """A cell, applied to each time step of a sequence.

    (batch, time, features) becomes (batch, units), or (batch, time, units) with `return_sequences`.

    Args:
        cell: a layer with `call(x, states)`, which for the input and the states of one step returns the output and the
            new states, and `state_size`, the length of the state's rows or a list of those of several states; also
            `output_size` if the output is longer or shorter than the first state, and `get_initial_state(batch_size)`
            if states begin other than with 0. Or a list of cells, see `StackedRNNCells`.
        return_sequences: whether to return the outputs of all steps and not the last one only.
        return_state: whether to return the last states as well.
        go_backwards: begins with the last step; the outputs are in the order of processing.
        stateful: begins each batch with the states in which the batch before it ended, row by row. The batch size must
            be known; `reset_state` sets the states to 0.
        unroll: makes no difference, for the steps are always a Python loop.
        zero_output_for_mask: the output is 0 at steps that the mask leaves out.
        options: those of `Layer`.

    `rnn(x, initial_state=..., mask=...)`: see `call`. Parameters: those of the cell. Raises TypeError for what is no
    cell or for one that returns anything else, ShapeError for inputs that are no sequences and for states of other
    shapes.

    >>> import tinygrad_edu as tg
    >>> class Sums(tg.layers.Layer):
    ...     state_size = 3
    ...     def call(self, x, states):
    ...         total = states[0] + x
    ...         return total, [total]
    >>> tg.layers.RNN(Sums(), return_sequences=True)(tg.ones((1, 2, 3)))
    tensor([[[1., 1., 1.],
             [2., 2., 2.]]])
    """

    def __init__(self, cell: Any, return_sequences: bool = False, return_state: bool = False, **options: Any):
        super().__init__(return_sequences, return_state, **options)
        if isinstance(cell, (list, tuple)):
            cell = StackedRNNCells(cell)
        check_cell(self.where, cell)
        self.cell = cell


# Cells of any kind


def check_cell(where: str, cell: Any) -> None:
    """Raises TypeError for what is no cell."""
    if not isinstance(cell, Layer) or not hasattr(cell, "state_size"):
        found = f"a {type(cell).__name__} without state_size" if isinstance(cell, Layer) else repr(cell)
        hint = f"write {cell.__name__}(...)." if isinstance(cell, type) else ""
        raise TypeError(message(where, "a cell, which is a layer with call(x, states) and state_size", found, hint))


def output_size(cell: Any) -> int:
    """How many numbers a cell returns for a row: by default as many as its first state has."""
    size = getattr(cell, "output_size", None)
    return next(leaves(cell.state_size)) if size is None else size


def initial_states(cell: Any, rows: int) -> Any:
    """What the cell says, or zeros."""
    made = getattr(cell, "get_initial_state", None)
    return zero_states(cell, cell.state_size, rows) if made is None else made(batch_size=rows)


def zero_states(cell: Layer, sizes: Any, rows: int) -> list[Tensor]:
    return [ops.zeros((rows, units), dtype=cell.dtype, device=cell.device) for units in leaves(sizes)]


def dropout_factors(cell: Any, rows: int) -> dict[str, Any]:
    """The keyword with which the cells of this package are given their draw of dropout."""
    return {"factors": cell.dropout_factors(rows)} if isinstance(cell, (_Cell, StackedRNNCells)) else {}


# Parts of a step


def stepped(where: str, cell: Any, x: Any, states: Any, factors: dict[str, Any]) -> tuple[Any, Any]:
    """What a cell, which may be anyone's, returns for one time step."""
    found, where = cell(x, states, **factors), f"{where}, what its {type(cell).__name__} returns"
    if not isinstance(found, (list, tuple)) or len(found) != 2 or not isinstance(found[0], Tensor):
        parts = [type(part).__name__ for part in found] if isinstance(found, (list, tuple)) else []
        received = f"({', '.join(parts)})" if parts else f"a {type(found).__name__}"
        raise TypeError(message(where, "(output, states), of which the output is a tensor", received))
    after, shapes = [getattr(t, "shape", type(t).__name__) for t in leaves(found[1])], [t.shape for t in leaves(states)]
    if after != shapes:
        raise ShapeError(message(where, f"states of the shapes it was given, {shapes}", f"{after}"))
    return found[0], found[1]


def _as_tensor(a: Any) -> Tensor:
    return a if isinstance(a, Tensor) else tensor(a)


def _is_rate(rate: float) -> bool:
    return 0.0 <= rate < 1.0


def activated(activation: Any, a: Any) -> Any:
    return a if activation is None else activation(a)


def _product(x: Any, kernel: Any, bias: Any, factors: list[Any] | None) -> Any:
    """(x * factor) @ kernel + bias, with a factor for all columns of the kernel, or one for each block of them."""
    if factors is None:
        return ops.linear(x, kernel, bias)
    if len(factors) == 1:
        return ops.linear(x * factors[0], kernel, bias)
    blocks = zip(factors, ops.split(kernel, len(factors), axis=1), strict=True)
    y = ops.concatenate([ops.linear(x * factor, block, None) for factor, block in blocks], axis=1)
    return y if bias is None else y + bias


def _chosen(keep: Any, a: Any, b: Any) -> Any:
    """The rows of `a` where `keep` (batch, 1) holds, else those of `b`."""
    return ops.where(ops.reshape(keep, (keep.shape[0], *(1 for _ in a.shape[1:]))), a, b)
