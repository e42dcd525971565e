"""Recurrent networks over a whole sequence: simple RNN, LSTM and GRU, each one primitive.

The input is projected for all steps in one product; a step then costs one product with the recurrent kernel, and
arithmetic in place. The first gradient is backpropagation through time, derived by hand: what multiplies the cotangent
of a state is computed for all steps at once, the loop only chains it, and the gradients of the kernels are one product
each. Under `create_graph` the rule runs the steps anew by differentiable operations and pulls back through them.

Inside, arrays are time-major and in the order of processing. The state h is kept as (time + 1, batch, units), the
initial one first. The weights, their gate order and the formulas are Keras's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..autograd import Primitive, Tensor, primitive, stack, vjp
from ..backend import Array
from ..errors import ShapeError, choice, message
from ..kernels.registry import compiled
from ..state import state
from .activations import relu
from .elementwise import expit, tanh, zeros_like
from .elementwise import where as choose
from .linalg import _matmul
from .networks import linear
from .shape import _reshape, check_arrays, split

# Parts that the three share


def _arranged(count: int) -> Callable[..., Any]:
    """Of what a recipe makes, so many outputs, and the residuals."""
    return lambda *made: (made[:count], made[count:])


def _tracked(*args: Any) -> bool:
    """Whether a gradient may be asked for, so that the residuals are worth their memory."""
    return state.grad_enabled and any(isinstance(a, Tensor) and a.requires_grad for a in args)


def _time_major(xp: Any, a: Array, reverse: bool) -> Array:
    """(batch, time, ...) as (time, batch, ...) without gaps; a step backward in time if `reverse`."""
    a = a.swapaxes(0, 1)
    return xp.ascontiguousarray(a[::-1] if reverse else a)


def _rows(a: Array) -> Array:
    """(time, batch, n) as (time * batch, n)."""
    return a.reshape(a.shape[0] * a.shape[1], a.shape[2])


def _columns(a: Array, count: int) -> list[Array]:
    """Views of the blocks of columns, one a gate."""
    units = a.shape[-1] // count
    return [a[..., i * units : (i + 1) * units] for i in range(count)]


def _project(xp: Any, x: Array, kernel: Array, bias: Array | None, reverse: bool) -> Array:
    """x @ kernel + bias for all steps: (time, batch, columns of the kernel)."""
    x = _time_major(xp, x, reverse)
    y = xp.matmul(_rows(x), kernel).reshape(*x.shape[:2], kernel.shape[1])
    if bias is not None:
        y += bias
    return y


def _states(xp: Any, initial: Array, time: int) -> Array:
    states = xp.empty((time + 1, *initial.shape), dtype=initial.dtype)
    states[0] = initial
    return states


def _skipped(xp: Any, mask: Array | None, reverse: bool) -> Array | None:
    """(time, batch, 1): where a step leaves the state alone."""
    return None if mask is None else ~_time_major(xp, mask, reverse)[..., None]


def _seen(skip: Array) -> Array:
    """Where the state is not the initial one any more."""
    return (~skip).cumsum(axis=0) > 0


def _outputs(xp: Any, states: Array, skip: Array | None) -> Array:
    """(batch, time, units): the states, but zeros before the first step that is not masked."""
    y = states[1:] if skip is None else xp.where(_seen(skip), states[1:], xp.zeros_like(states[1:]))
    return y.swapaxes(0, 1).copy()


def _cotangents(xp: Any, g: Array | None, last: Array | None, states: Array, skip: Array | None) -> Array:
    """Those of the states, of which the loop completes the earlier ones: from the outputs, and from the last state."""
    found = xp.zeros_like(states)
    if g is not None:
        g = g.swapaxes(0, 1)
        found[1:] = g if skip is None else xp.where(_seen(skip), g, xp.zeros_like(g))
    if last is not None:
        found[-1] += last
    return found


def _clear(xp: Any, a: Array, skip: Array | None, value: float = 0.0) -> None:
    """Writes `value` where a step leaves the state alone."""
    if skip is not None:
        xp.copyto(a, xp.asarray(value, dtype=a.dtype), where=skip)


def _carry(xp: Any, a: Array, before: Array, skip: Array | None, t: int) -> None:
    """Keeps what was `before` the step t where that leaves the state alone."""
    if skip is not None:
        xp.copyto(a, before, where=skip[t])


def _pass_on(xp: Any, g: Array, skip: Array | None, t: int) -> None:
    """Adds the cotangent of the state after the step t to that before where the step leaves it alone."""
    if skip is not None:
        g[t] += xp.where(skip[t], g[t + 1], xp.zeros_like(g[t]))


def _projection_gradients(
    xp: Any, d: Array, x: Array, kernel: Array, needs: tuple[bool, ...], reverse: bool
) -> list[Array | None]:
    """The gradients of x, kernel and bias for the cotangent `d` of the projection."""
    found: list[Array | None] = [None, None, None]
    if needs[0]:
        dx = xp.matmul(_rows(d), kernel.T).reshape(*d.shape[:2], kernel.shape[0])
        found[0] = (dx[::-1] if reverse else dx).swapaxes(0, 1)
    if needs[1]:
        found[1] = xp.matmul(_rows(_time_major(xp, x, reverse)).T, _rows(d))
    if needs[2]:
        found[2] = d.sum(axis=(0, 1))
    return found


def _unroll(
    step: Callable[..., tuple[Any, ...]], inputs: Any, mask: Any, states: tuple[Any, ...], reverse: bool
) -> tuple[Any, ...]:
    """The outputs and the last states by `step(input, *states)`, as differentiable operations."""
    batch, time, columns = inputs.shape
    steps = [_reshape(part, shape=(batch, columns)) for part in split(inputs, time, axis=1)]
    kept = [None] * time if mask is None else list(split(mask, time, axis=1))
    output, outputs = zeros_like(states[0]), []
    for part, keep in list(zip(steps, kept, strict=True))[:: -1 if reverse else 1]:
        new = step(part, *states)
        output = new[0] if keep is None else choose(keep, new[0], output)
        states = new if keep is None else tuple(choose(keep, a, b) for a, b in zip(new, states, strict=True))
        outputs.append(output)
    return (stack(*outputs, axis=1), *states)


def _pull_back(function: Callable[..., tuple[Any, ...]], needs: list[bool], g: Any, args: tuple[Any, ...]) -> list[Any]:
    """The gradients of `function(*args)`, differentiable themselves."""
    wanted = [i for i, needed in enumerate(needs) if needed]

    def outputs(*inputs: Any) -> tuple[Any, ...]:
        given = dict(zip(wanted, inputs, strict=True))
        results = function(*(given.get(i, a) for i, a in enumerate(args)))
        return tuple(y for y, part in zip(results, g, strict=True) if part is not None)

    _, pull = vjp(outputs, *(args[i] for i in wanted))
    found = iter(pull(*(part for part in g if part is not None)))
    return [next(found) if needed else None for needed in needs]


def _define_rule(forward: Primitive, gradient: Primitive, steps: Callable[..., tuple[Any, ...]]) -> None:
    """Sets the joint rule: `gradient` on the residuals, or through the differentiable `steps`."""

    def rule(needs: list[bool], residuals: Any, g: Any, y: Any, *args: Any, **attributes: Any) -> list[Any]:
        del attributes["tracked"]
        if residuals is None:
            return _pull_back(lambda *a: steps(*a, **attributes), needs, g, args)
        x, kernel, recurrent, *_, mask = args
        return [*gradient(*g, x, kernel, recurrent, mask, *residuals, needs=tuple(needs), **attributes), None]

    forward.defjoint(rule)


def _check(where: str, gates: int, weights: dict[str, Any], states: dict[str, Any], mask: Any, biases: int = 1) -> None:
    """Raises ShapeError or TypeError for what does not fit together; kernels are `gates` times as wide as the state.
    Then clears the masked steps of x in `weights`."""
    x, kernel, recurrent_kernel, bias = weights.values()
    check_arrays(where, x, kernel, recurrent_kernel, *states.values(), *(a for a in (bias, mask) if a is not None))
    if kernel.dtype.kind != "f":
        raise TypeError(message(where, "floating weights", str(kernel.dtype), "use .astype('float32')."))
    if x.ndim != 3 or not x.shape[1]:
        hint = "a single sequence needs a batch axis: x[None]." if x.ndim == 2 else ""
        raise ShapeError(message(where, "x (batch, time, features) of at least one step", f"shape {x.shape}", hint))
    if recurrent_kernel.ndim != 2 or recurrent_kernel.shape[1] != gates * recurrent_kernel.shape[0]:
        expected = f"recurrent_kernel (units, {'' if gates == 1 else f'{gates} * '}units)"
        raise ShapeError(message(where, expected, f"shape {recurrent_kernel.shape}"))
    (batch, time, features), (units, columns) = x.shape, recurrent_kernel.shape
    bias_shape = (columns,) if biases == 1 else (biases, columns)
    shapes = {"kernel": (kernel, (features, columns)), "bias": (bias, bias_shape), "mask": (mask, (batch, time))}
    for name, (a, shape) in {**shapes, **{name: (a, (batch, units)) for name, a in states.items()}}.items():
        if a is not None and a.shape != shape:
            raise ShapeError(message(where, f"{name} of shape {shape}", f"{a.shape}"))
    if mask is not None and mask.dtype.kind != "b":
        raise TypeError(message(where, "a mask of booleans", str(mask.dtype), "use .astype(bool)."))
    if mask is not None:  # so that a NaN there reaches nothing
        weights["x"] = choose(_reshape(mask, shape=(batch, time, 1)), x, 0)


# Simple RNN


class _Activation(NamedTuple):
    """An activation function, and its derivative as a function of its output."""

    primitive: Primitive | None
    slope: Callable[[Any, Array], Array]

    def __call__(self, a: Any) -> Any:
        return self.primitive(a) if self.primitive else a

    def in_place(self, xp: Any, a: Array) -> None:
        if self.primitive:
            self.primitive.forward(xp, a, out=a)


ACTIVATIONS = {
    "linear": _Activation(None, lambda xp, y: xp.ones_like(y)),
    "relu": _Activation(relu, lambda xp, y: (y > 0).astype(y.dtype)),
    "sigmoid": _Activation(expit, lambda xp, y: y * (1.0 - y)),
    "tanh": _Activation(tanh, lambda xp, y: 1.0 - y * y),
}


@primitive("composite", saves=("x", "kernel", "recurrent", "bias", "h0", "mask"), residuals=True, label="simple_rnn")
@compiled("simple_rnn.simple_rnn", _arranged(2))
def _simple_rnn(
    xp: Any,
    x: Any,
    kernel: Any,
    recurrent: Any,
    bias: Any,
    h0: Any,
    mask: Any,
    *,
    tracked: bool,
    reverse: bool,
    activation: str,
) -> Any:
    skip, h = _skipped(xp, mask, reverse), _states(xp, h0, x.shape[1])
    for t, a in enumerate(_project(xp, x, kernel, bias, reverse)):
        xp.matmul(h[t], recurrent, out=h[t + 1])
        h[t + 1] += a
        ACTIVATIONS[activation].in_place(xp, h[t + 1])
        _carry(xp, h[t + 1], h[t], skip, t)
    return (_outputs(xp, h, skip), h[-1].copy()), (h,) if tracked else ()


@primitive("opaque", differentiable=False, label="gradient of simple_rnn")
@compiled("simple_rnn.simple_rnn_gradient")
def _simple_rnn_gradient(
    xp: Any,
    g: Any,
    last: Any,
    x: Any,
    kernel: Any,
    recurrent: Any,
    mask: Any,
    h: Any,
    *,
    needs: Any,
    reverse: bool,
    activation: str,
) -> tuple[Array | None, ...]:
    """The gradients of all arguments but the mask, for the cotangents of the outputs and the last state."""
    skip, d = _skipped(xp, mask, reverse), ACTIVATIONS[activation].slope(xp, h[1:])
    dh = _cotangents(xp, g, last, h, skip)
    _clear(xp, d, skip)
    back, product = xp.ascontiguousarray(recurrent.T), xp.empty_like(h[0])
    for t in reversed(range(len(d))):
        d[t] *= dh[t + 1]
        dh[t] += xp.matmul(d[t], back, out=product)
        _pass_on(xp, dh, skip, t)
    dx, dk, db = _projection_gradients(xp, d, x, kernel, (needs[0], needs[1], needs[3]), reverse)
    return dx, dk, xp.matmul(_rows(h[:-1]).T, _rows(d)) if needs[2] else None, db, dh[0].copy()


def _simple_rnn_steps(
    x: Any, kernel: Any, recurrent: Any, bias: Any, h0: Any, mask: Any, reverse: bool, activation: str
) -> tuple[Any, ...]:
    def step(a: Any, h: Any) -> tuple[Any]:
        return (ACTIVATIONS[activation](a + _matmul(h, recurrent)),)

    return _unroll(step, linear(x, kernel, bias), mask, (h0,), reverse)


_define_rule(_simple_rnn, _simple_rnn_gradient, _simple_rnn_steps)


def simple_rnn(
    x: Any,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any,
    initial_state: Any,
    mask: Any = None,
    reverse: bool = False,
    activation: str = "tanh",
) -> tuple[Any, Any]:
    """The states h = activation(x[:, t] @ kernel + bias + h @ recurrent_kernel) of all steps, and the last of them.

    Args:
        x: (batch, time, features), of at least one step.
        kernel: (features, units); recurrent_kernel: (units, units); bias: (units,) or None.
        initial_state: (batch, units).
        mask: booleans (batch, time). Where False, the step leaves the state as it is, and the output is that of the
            step before, zeros if there is none (as in Keras on TensorFlow and PyTorch).
        reverse: begins with the last step. The outputs are in the order of processing, as with Keras's `go_backwards`.
        activation: tanh, relu, sigmoid or linear.

    Returns the outputs (batch, time, units) and the last state (batch, units). Raises ShapeError for shapes that do
    not fit, TypeError for a mask that is not boolean, ValueError for another activation. Elman, "Finding structure in
    time", 1990.

    >>> import tinygrad_edu as tg
    >>> x, one = tg.ones((1, 3, 1)), tg.ones((1, 1))
    >>> tg.simple_rnn(x, one, one, None, tg.zeros((1, 1)), activation="relu")
    (tensor([[[1.],
             [2.],
             [3.]]]), tensor([[3.]]))
    """
    if activation not in ACTIVATIONS:
        raise choice("simple_rnn", "activation", activation, ACTIVATIONS)
    weights = {"x": x, "kernel": kernel, "recurrent_kernel": recurrent_kernel, "bias": bias}
    _check("simple_rnn", 1, weights, {"initial_state": initial_state}, mask)
    return _simple_rnn(
        *weights.values(),
        initial_state,
        mask,
        tracked=_tracked(*weights.values(), initial_state),
        reverse=bool(reverse),
        activation=activation,
    )


# LSTM, with the gates i, f, c, o


def _half(xp: Any, kernel: Array, gates: int) -> Array:
    """1/2 in the columns of the sigmoid gates, 0 in those of the third gate, the candidate.

    sigmoid(a) = tanh(a / 2) / 2 + 1/2 never overflows, and makes one function of all gates.
    """
    half = xp.full((gates, kernel.shape[1] // gates), 0.5, dtype=kernel.dtype)
    half[2] = 0.0
    return half.reshape(-1)


@primitive("composite", saves=("x", "kernel", "recurrent", "bias", "h0", "c0", "mask"), residuals=True, label="lstm")
@compiled("lstm.lstm", _arranged(3))
def _lstm(
    xp: Any,
    x: Any,
    kernel: Any,
    recurrent: Any,
    bias: Any,
    h0: Any,
    c0: Any,
    mask: Any,
    *,
    tracked: bool,
    reverse: bool,
) -> Any:
    half = _half(xp, kernel, 4)
    scale = 1.0 - half  # with which tanh(scale * a) * scale + half is each gate's activation
    bias = None if bias is None else bias * scale
    gates, skip = _project(xp, x, kernel * scale, bias, reverse), _skipped(xp, mask, reverse)
    recurrent = recurrent * scale
    h, c = _states(xp, h0, len(gates)), _states(xp, c0, len(gates))
    tanh_c, product = xp.empty_like(c[1:]), xp.empty_like(gates[0])
    i, f, candidate, o = _columns(gates, 4)
    for t, gate in enumerate(gates):
        gate += xp.matmul(h[t], recurrent, out=product)
        xp.tanh(gate, out=gate)
        gate *= scale
        gate += half
        xp.multiply(f[t], c[t], out=c[t + 1])
        c[t + 1] += xp.multiply(i[t], candidate[t], out=h[t + 1])
        _carry(xp, c[t + 1], c[t], skip, t)
        xp.tanh(c[t + 1], out=tanh_c[t])
        xp.multiply(o[t], tanh_c[t], out=h[t + 1])
        _carry(xp, h[t + 1], h[t], skip, t)
    return (_outputs(xp, h, skip), h[-1].copy(), c[-1].copy()), (gates, h, c, tanh_c) if tracked else ()


@primitive("opaque", differentiable=False, label="gradient of lstm")
@compiled("lstm.lstm_gradient")
def _lstm_gradient(
    xp: Any,
    g: Any,
    last_h: Any,
    last_c: Any,
    x: Any,
    kernel: Any,
    recurrent: Any,
    mask: Any,
    gates: Any,
    h: Any,
    c: Any,
    tanh_c: Any,
    *,
    needs: Any,
    reverse: bool,
) -> tuple[Array | None, ...]:
    """The gradients of all arguments but the mask, for the cotangents of the outputs and the last states."""
    skip, (time, batch, units) = _skipped(xp, mask, reverse), tanh_c.shape
    dh, dc = _cotangents(xp, g, last_h, h, skip), xp.zeros_like(c[0]) if last_c is None else last_c.copy()
    i, f, candidate, o = _columns(gates, 4)
    # what multiplies the cotangent of c (that of h for the output gate) to give those of the gates before activation
    d = (1.0 - gates) * gates
    di, df, dcandidate, do = _columns(d, 4)
    di *= candidate
    df *= c[:-1]
    xp.multiply(1.0 - candidate * candidate, i, out=dcandidate)
    do *= tanh_c
    to_c = (1.0 - tanh_c * tanh_c) * o
    _clear(xp, d, skip)
    _clear(xp, to_c, skip)
    if skip is not None:
        f = xp.where(skip, xp.ones_like(f), f)
    back, product = xp.ascontiguousarray(recurrent.T), xp.empty_like(dc)
    by_gate = d.reshape(time, batch, 4, units)
    for t in reversed(range(time)):
        dc += xp.multiply(dh[t + 1], to_c[t], out=product)
        by_gate[t, :, :3] *= dc[:, None]
        by_gate[t, :, 3] *= dh[t + 1]
        dc *= f[t]
        dh[t] += xp.matmul(d[t], back, out=product)
        _pass_on(xp, dh, skip, t)
    dx, dk, db = _projection_gradients(xp, d, x, kernel, (needs[0], needs[1], needs[3]), reverse)
    return dx, dk, xp.matmul(_rows(h[:-1]).T, _rows(d)) if needs[2] else None, db, dh[0].copy(), dc


def _lstm_steps(
    x: Any, kernel: Any, recurrent: Any, bias: Any, h0: Any, c0: Any, mask: Any, reverse: bool
) -> tuple[Any, ...]:
    def step(a: Any, h: Any, c: Any) -> tuple[Any, Any]:
        i, f, candidate, o = split(a + _matmul(h, recurrent), 4, axis=1)
        c = expit(f) * c + expit(i) * tanh(candidate)
        return expit(o) * tanh(c), c

    return _unroll(step, linear(x, kernel, bias), mask, (h0, c0), reverse)


_define_rule(_lstm, _lstm_gradient, _lstm_steps)


def lstm(
    x: Any,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any,
    initial_h: Any,
    initial_c: Any,
    mask: Any = None,
    reverse: bool = False,
) -> tuple[Any, Any, Any]:
    """Long short-term memory over a sequence: c = f * c + i * tanh(a_c), h = o * tanh(c), with the gates i, f and o
    the sigmoids of a_i, a_f and a_o, where (a_i, a_f, a_c, a_o) = x[:, t] @ kernel + bias + h @ recurrent_kernel.

    Args:
        x: (batch, time, features), of at least one step.
        kernel: (features, 4 * units); recurrent_kernel: (units, 4 * units); bias: (4 * units,) or None. Their columns
            are those of i, f, c, o, in this order.
        initial_h, initial_c: (batch, units).
        mask, reverse: as in `simple_rnn`. Before the first step that is not masked the output is 0, although h is
            `initial_h`.

    Returns the outputs h of all steps (batch, time, units), the last h and the last c. Raises ShapeError for shapes
    that do not fit, TypeError for a mask that is not boolean. Hochreiter and Schmidhuber, "Long short-term memory",
    1997; Gers et al., "Learning to forget", 2000.

    >>> import tinygrad_edu as tg
    >>> x, state = tg.ones((2, 5, 3)), tg.zeros((2, 4))
    >>> y, h, c = tg.lstm(x, tg.ones((3, 16)), tg.ones((4, 16)), tg.zeros((16,)), state, state)
    >>> y.shape, h.shape, c.shape
    ((2, 5, 4), (2, 4), (2, 4))
    """
    weights = {"x": x, "kernel": kernel, "recurrent_kernel": recurrent_kernel, "bias": bias}
    _check("lstm", 4, weights, {"initial_h": initial_h, "initial_c": initial_c}, mask)
    return _lstm(
        *weights.values(),
        initial_h,
        initial_c,
        mask,
        tracked=_tracked(*weights.values(), initial_h, initial_c),
        reverse=bool(reverse),
    )


# GRU, with the gates z, r, h


def _biases(bias: Any, reset_after: bool) -> tuple[Any, Any]:
    """Those of the input's projection and of the state's, None where there is none."""
    return (bias[0], bias[1]) if reset_after and bias is not None else (bias, None)


@primitive("composite", saves=("x", "kernel", "recurrent", "bias", "h0", "mask"), residuals=True, label="gru")
@compiled("gru.gru", _arranged(2))
def _gru(
    xp: Any,
    x: Any,
    kernel: Any,
    recurrent: Any,
    bias: Any,
    h0: Any,
    mask: Any,
    *,
    tracked: bool,
    reverse: bool,
    reset_after: bool,
) -> Any:
    both, half = 2 * h0.shape[1], _half(xp, kernel, 3)  # both: the columns of z and r
    scale = 1.0 - half
    input_bias, state_bias = _biases(None if bias is None else bias * scale, reset_after)
    gates, skip = _project(xp, x, kernel * scale, input_bias, reverse), _skipped(xp, mask, reverse)
    h, (z, r, candidate) = _states(xp, h0, len(gates)), _columns(gates, 3)
    recurrent = recurrent * scale
    first, last = (recurrent, None) if reset_after else map(xp.ascontiguousarray, xp.split(recurrent, [both], axis=1))
    inner = xp.empty_like(h[1:])  # what r multiplies, the state's projection; or r * h, which is projected then
    product = xp.empty((len(h0), first.shape[1]), dtype=h.dtype)
    for t, gate in enumerate(gates[..., :both]):
        xp.matmul(h[t], first, out=product)
        if state_bias is not None:
            product += state_bias
        gate += product[:, :both]
        xp.tanh(gate, out=gate)
        gate *= 0.5
        gate += 0.5
        if reset_after:
            inner[t] = product[:, both:]
            candidate[t] += xp.multiply(r[t], inner[t], out=h[t + 1])
        else:
            xp.multiply(r[t], h[t], out=inner[t])
            candidate[t] += xp.matmul(inner[t], last, out=h[t + 1])
        xp.tanh(candidate[t], out=candidate[t])
        xp.subtract(h[t], candidate[t], out=h[t + 1])
        h[t + 1] *= z[t]
        h[t + 1] += candidate[t]
        _carry(xp, h[t + 1], h[t], skip, t)
    return (_outputs(xp, h, skip), h[-1].copy()), (gates, h, inner) if tracked else ()


@primitive("opaque", differentiable=False, label="gradient of gru")
@compiled("gru.gru_gradient")
def _gru_gradient(
    xp: Any,
    g: Any,
    last: Any,
    x: Any,
    kernel: Any,
    recurrent: Any,
    mask: Any,
    gates: Any,
    h: Any,
    inner: Any,
    *,
    needs: Any,
    reverse: bool,
    reset_after: bool,
) -> tuple[Array | None, ...]:
    """The gradients of all arguments but the mask, for the cotangents of the outputs and the last state."""
    skip, (time, batch, units) = _skipped(xp, mask, reverse), inner.shape
    dh, (z, r, candidate) = _cotangents(xp, g, last, h, skip), _columns(gates, 3)
    # what multiplies the cotangent of h (for r without reset_after: of r * h) to give those of z and r, of the state's
    # projection that r multiplies (with reset_after), and of the candidate before activation
    blocks = 4 if reset_after else 3
    d = xp.empty((time, batch, blocks * units), dtype=gates.dtype)
    dz, dr, *dinner, dcandidate = _columns(d, blocks)
    xp.multiply((1.0 - z) * z, h[:-1] - candidate, out=dz)
    xp.multiply(1.0 - z, 1.0 - candidate * candidate, out=dcandidate)
    xp.multiply((1.0 - r) * r, inner * dcandidate if reset_after else h[:-1], out=dr)
    if reset_after:
        xp.multiply(dcandidate, r, out=dinner[0])
    _clear(xp, d, skip)
    keep = z if skip is None else xp.where(skip, xp.ones_like(z), z)
    back, product = xp.ascontiguousarray(recurrent.T), xp.empty_like(h[0])
    by_gate = d.reshape(time, batch, blocks, units)
    for t in reversed(range(time)):
        if reset_after:
            by_gate[t] *= dh[t + 1][:, None]
            dh[t] += xp.matmul(d[t][:, : 3 * units], back, out=product)
        else:
            by_gate[t, :, ::2] *= dh[t + 1][:, None]
            xp.matmul(dcandidate[t], back[2 * units :], out=product)
            dr[t] *= product
            product *= r[t]
            dh[t] += product
            dh[t] += xp.matmul(d[t][:, : 2 * units], back[: 2 * units], out=product)
        dh[t] += xp.multiply(dh[t + 1], keep[t], out=product)
    before, rows = _rows(h[:-1]).T, _rows(d)
    if reset_after:
        du = xp.matmul(before, rows[:, : 3 * units]) if needs[2] else None
        state_db = rows[:, : 3 * units].sum(axis=0)
        dinner[0][...] = dcandidate
        d = d[..., : 3 * units]
    elif needs[2]:
        parts = xp.matmul(before, rows[:, : 2 * units]), xp.matmul(_rows(inner).T, rows[:, 2 * units :])
        du = xp.concatenate(parts, axis=1)
    dx, dk, db = _projection_gradients(xp, d, x, kernel, (needs[0], needs[1], needs[3]), reverse)
    db = xp.stack([db, state_db]) if reset_after and needs[3] else db
    return dx, dk, du if needs[2] else None, db, dh[0].copy()


def _gru_steps(
    x: Any, kernel: Any, recurrent: Any, bias: Any, h0: Any, mask: Any, reverse: bool, reset_after: bool
) -> tuple[Any, ...]:
    units = h0.shape[1]
    input_bias, state_bias = _biases(bias, reset_after)

    def step(a: Any, h: Any) -> tuple[Any]:
        az, ar, candidate = split(a, 3, axis=1)
        if reset_after:
            bz, br, inner = split(linear(h, recurrent, state_bias), 3, axis=1)
            candidate = tanh(candidate + expit(ar + br) * inner)
        else:
            first, last = split(recurrent, (2 * units,), axis=1)
            bz, br = split(_matmul(h, first), 2, axis=1)
            candidate = tanh(candidate + _matmul(expit(ar + br) * h, last))
        z = expit(az + bz)
        return (z * h + (1.0 - z) * candidate,)

    return _unroll(step, linear(x, kernel, input_bias), mask, (h0,), reverse)


_define_rule(_gru, _gru_gradient, _gru_steps)


def gru(
    x: Any,
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any,
    initial_state: Any,
    mask: Any = None,
    reverse: bool = False,
    reset_after: bool = True,
) -> tuple[Any, Any]:
    """Gated recurrent unit over a sequence: h = z * h + (1 - z) * tanh(a_h + r * (h @ U_h + b_h)), with the gates
    z = sigmoid(a_z + h @ U_z + b_z), r likewise, and (a_z, a_r, a_h) = x[:, t] @ kernel + bias[0].

    Args:
        x: (batch, time, features), of at least one step.
        kernel: (features, 3 * units); recurrent_kernel: (units, 3 * units), with columns U_z, U_r, U_h in this order.
        bias: None, or (2, 3 * units): the input's and the state's, b. Without `reset_after` (3 * units,) and no b.
        initial_state: (batch, units).
        mask, reverse: as in `simple_rnn`.
        reset_after: whether r multiplies the product with U_h, as in cuDNN, or (False) h before it: tanh(a_h +
            (r * h) @ U_h), as in the paper.

    Returns the outputs (batch, time, units) and the last state (batch, units). Raises ShapeError for shapes that do
    not fit, TypeError for a mask that is not boolean. Cho et al., "Learning phrase representations using RNN
    encoder-decoder", 2014.

    >>> import tinygrad_edu as tg
    >>> x, state = tg.ones((2, 5, 3)), tg.zeros((2, 4))
    >>> y, h = tg.gru(x, tg.ones((3, 12)), tg.ones((4, 12)), tg.zeros((2, 12)), state)
    >>> y.shape, h.shape
    ((2, 5, 4), (2, 4))
    """
    weights = {"x": x, "kernel": kernel, "recurrent_kernel": recurrent_kernel, "bias": bias}
    _check("gru", 3, weights, {"initial_state": initial_state}, mask, biases=2 if reset_after else 1)
    return _gru(
        *weights.values(),
        initial_state,
        mask,
        tracked=_tracked(*weights.values(), initial_state),
        reverse=bool(reverse),
        reset_after=bool(reset_after),
    )
