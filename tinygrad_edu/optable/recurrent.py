"""Recurrent networks, and the loss of alignments with their outputs. The references go through the steps of each
sequence alone, as Keras describes them, and through all alignments."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy
from scipy import special

from .. import ops
from .sample import S0, R, Row, S, V


def _steps(step: Callable[..., Any], x: Any, mask: Any, reverse: bool, states: tuple[Any, ...]) -> tuple[Any, ...]:
    """The outputs and last states, by `step(x_t, *states)` on vectors."""
    batch, time, _ = x.shape
    outputs = numpy.zeros((batch, time, states[0].shape[1]))
    last = [numpy.zeros(s.shape) for s in states]
    for n in range(batch):
        now, output = [s[n] for s in states], outputs[n, 0]
        for position, t in enumerate(range(time)[::-1] if reverse else range(time)):
            if mask is None or mask[n, t]:
                now = step(x[n, t], *now)
                output = now[0]
            outputs[n, position] = output
        for s, value in zip(last, now, strict=True):
            s[n] = value
    return (outputs, *last)


ACTIVATIONS = {
    "tanh": numpy.tanh,
    "relu": lambda a: numpy.maximum(a, 0),
    "sigmoid": special.expit,
    "linear": lambda a: a,
}


def _simple_rnn(
    x: Any,
    kernel: Any,
    recurrent: Any,
    bias: Any,
    h: Any,
    mask: Any = None,
    reverse: bool = False,
    activation: str = "tanh",
) -> Any:
    bias = 0.0 if bias is None else bias
    return _steps(lambda x, h: [ACTIVATIONS[activation](x @ kernel + h @ recurrent + bias)], x, mask, reverse, (h,))


def _lstm(
    x: Any, kernel: Any, recurrent: Any, bias: Any, h: Any, c: Any, mask: Any = None, reverse: bool = False
) -> Any:
    bias = 0.0 if bias is None else bias

    def step(x: Any, h: Any, c: Any) -> Any:
        i, f, candidate, o = numpy.split(x @ kernel + h @ recurrent + bias, 4)
        c = special.expit(f) * c + special.expit(i) * numpy.tanh(candidate)
        return special.expit(o) * numpy.tanh(c), c

    return _steps(step, x, mask, reverse, (h, c))


def _gru(
    x: Any,
    kernel: Any,
    recurrent: Any,
    bias: Any,
    h: Any,
    mask: Any = None,
    reverse: bool = False,
    reset_after: bool = True,
) -> Any:
    if bias is None or not reset_after:
        bias = numpy.stack([numpy.zeros(kernel.shape[1]) if bias is None else bias, numpy.zeros(kernel.shape[1])])
    (bz, br, bh), (cz, cr, ch) = numpy.split(bias[0], 3), numpy.split(bias[1], 3)
    (wz, wr, wh), (uz, ur, uh) = numpy.split(kernel, 3, axis=1), numpy.split(recurrent, 3, axis=1)

    def step(x: Any, h: Any) -> Any:
        z = special.expit(x @ wz + bz + h @ uz + cz)
        r = special.expit(x @ wr + br + h @ ur + cr)
        inner = r * (h @ uh + ch) if reset_after else (r * h) @ uh
        return [z * h + (1 - z) * numpy.tanh(x @ wh + bh + inner)]

    return _steps(step, x, mask, reverse, (h,))


def _ctc_loss(
    logits: Any,
    labels: Any,
    logit_lengths: Any = None,
    label_lengths: Any = None,
    blank: int = 0,
    zero_infinity: bool = False,
) -> Any:
    """By all sequences of a class a step, of which those count that give the labels."""
    batch, time, classes = logits.shape
    p, losses = special.softmax(logits, axis=2), numpy.zeros(batch)
    for n in range(batch):
        steps = time if logit_lengths is None else int(logit_lengths[n])
        wanted = list(labels[n] if label_lengths is None else labels[n, : int(label_lengths[n])])
        total = 0.0
        for path in itertools.product(range(classes), repeat=steps):
            merged = [k for k, _ in itertools.groupby(path) if k != blank]
            total += merged == wanted and float(p[n, range(steps), path].prod())
        losses[n] = -numpy.log(total) if total or not zero_infinity else 0.0
    return losses


HOLES = V([[True, False, True], [False, True, False], [False, False, False]])  # within, before, after, everywhere


def _samples(gates: int, states: int = 1, biases: tuple[int, ...] = (), **keywords: Any) -> tuple[Any, ...]:
    """Calls with (batch, time, features, units) and all that an argument may be."""

    def sample(
        n: int, t: int, f: int, u: int, layout: str = "", bias: bool = True, mask: Any = None, **more: Any
    ) -> Any:
        weights = R(f, gates * u), R(u, gates * u), R(*biases, gates * u) if bias else None
        initial = (R(n, u) for _ in range(states))
        return S(R(n, t, f, layout=layout), *weights, *initial, *(() if mask is None else (mask,)), **keywords, **more)

    return (
        sample(2, 3, 2, 2),
        sample(3, 2, 1, 2, bias=False),
        sample(2, 3, 3, 1, reverse=True),
        sample(3, 3, 2, 2, mask=HOLES),
        sample(3, 3, 1, 2, mask=HOLES, reverse=True, bias=False),
        sample(1, 1, 1, 1),
        sample(0, 2, 2, 3),
        sample(2, 4, 3, 2, layout="T"),
        sample(2, 2, 2, 2, layout="N", reverse=True),
    )


ROWS = (
    Row(
        "simple_rnn",
        ops.simple_rnn,
        _simple_rnn,
        (
            *_samples(1),
            *_samples(1, activation="relu")[2:4],
            *_samples(1, activation="sigmoid")[2:4],
            *_samples(1, activation="linear")[2:4],
        ),
        slack=64.0,
    ),
    Row("lstm", ops.lstm, _lstm, _samples(4, states=2), slack=64.0),
    Row(
        "ctc_loss",
        ops.ctc_loss,
        _ctc_loss,
        (
            S(R(3, 4, 3), V([[1, 2], [2, 2], [1, 1]])),
            S(R(3, 4, 3), V([[1, 2, 1], [2, 1, 9], [9, 9, 9]]), V([4, 3, 2]), V([3, 2, 0])),
            S(R(2, 3, 4, layout="T"), V([[0, 1], [3, 0]]), blank=2),
            S(R(2, 4, 2, layout="N"), V([[1, 1], [1, 0]]), None, V([2, 1])),
            S(R(2, 3, 3), V([[1], [2]]), V([1, 3]), zero_infinity=True),
            S(R(2, 3, 3), V([[1, 1], [1, 2]]), V([2, 2]), zero_infinity=True),
            S(R(2, 3, 2), V(numpy.zeros((2, 0), "int64"))),
            S(R(1, 1, 2), V([[1]])),
            S(R(0, 2, 3), V(numpy.zeros((0, 1), "int64"))),
            S0(R(2, 3, 3), V([[1, 1], [1, 2]]), V([2, 2])),
        ),
        slack=16.0,
    ),
    Row("gru", ops.gru, _gru, (*_samples(3, biases=(2,)), *_samples(3, reset_after=False)), slack=64.0),
)
