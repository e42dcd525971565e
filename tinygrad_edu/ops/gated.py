"""LSTM and GRU over a whole sequence, each one primitive; see `recurrent`."""

from __future__ import annotations

from typing import Any

from ..autograd import primitive
from ..backend import Array
from ..kernels.matmul import matmul_of
from ..kernels.registry import compiled
from .elementwise import expit, tanh
from .linalg import _matmul
from .networks import linear
from .recurrent import (
    _arranged,
    _carry,
    _check,
    _clear,
    _columns,
    _cotangents,
    _define_rule,
    _outputs,
    _pass_on,
    _project,
    _projection_gradients,
    _rows,
    _skipped,
    _states,
    _tracked,
    _unroll,
)
from .shape import split

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
        gate += matmul_of(xp, h[t], recurrent, out=product)
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
        dh[t] += matmul_of(xp, d[t], back, out=product)
        _pass_on(xp, dh, skip, t)
    dx, dk, db = _projection_gradients(xp, d, x, kernel, (needs[0], needs[1], needs[3]), reverse)
    return dx, dk, matmul_of(xp, _rows(h[:-1]).T, _rows(d)) if needs[2] else None, db, dh[0].copy(), dc


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
        matmul_of(xp, h[t], first, out=product)
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
            candidate[t] += matmul_of(xp, inner[t], last, out=h[t + 1])
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
            dh[t] += matmul_of(xp, d[t][:, : 3 * units], back, out=product)
        else:
            by_gate[t, :, ::2] *= dh[t + 1][:, None]
            matmul_of(xp, dcandidate[t], back[2 * units :], out=product)
            dr[t] *= product
            product *= r[t]
            dh[t] += product
            dh[t] += matmul_of(xp, d[t][:, : 2 * units], back[: 2 * units], out=product)
        dh[t] += xp.multiply(dh[t + 1], keep[t], out=product)
    before, rows = _rows(h[:-1]).T, _rows(d)
    if reset_after:
        du = matmul_of(xp, before, rows[:, : 3 * units]) if needs[2] else None
        state_db = rows[:, : 3 * units].sum(axis=0)
        dinner[0][...] = dcandidate
        d = d[..., : 3 * units]
    elif needs[2]:
        parts = matmul_of(xp, before, rows[:, : 2 * units]), matmul_of(xp, _rows(inner).T, rows[:, 2 * units :])
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
