"""Recurrent networks over a whole sequence: the simple one, and what LSTM and GRU (in `gated`) have in common with it.
Each is one primitive.

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
from ..kernels.matmul import matmul_of
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
    y = matmul_of(xp, _rows(x), kernel).reshape(*x.shape[:2], kernel.shape[1])
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
        dx = matmul_of(xp, _rows(d), kernel.T).reshape(*d.shape[:2], kernel.shape[0])
        found[0] = (dx[::-1] if reverse else dx).swapaxes(0, 1)
    if needs[1]:
        found[1] = matmul_of(xp, _rows(_time_major(xp, x, reverse)).T, _rows(d))
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
        matmul_of(xp, h[t], recurrent, out=h[t + 1])
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
        dh[t] += matmul_of(xp, d[t], back, out=product)
        _pass_on(xp, dh, skip, t)
    dx, dk, db = _projection_gradients(xp, d, x, kernel, (needs[0], needs[1], needs[3]), reverse)
    return dx, dk, matmul_of(xp, _rows(h[:-1]).T, _rows(d)) if needs[2] else None, db, dh[0].copy()


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
