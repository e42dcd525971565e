"""gradcheck: gradients against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy

from ..backend import Array, array_module, device_of, to_device
from ..errors import GradientError, message
from .functional import vjp
from .modes import no_grad
from .tensor import Tensor, tensor

STEP = 1e-4
ATTEMPTS = 8
SHOWN_ELEMENTS = 1000


class GradcheckError(GradientError):
    """A gradient that differs from the finite difference."""


def gradcheck(
    function: Callable[..., Any],
    inputs: Sequence[Any],
    order: int = 1,
    elements: bool = False,
    rtol: float = 1e-6,
    atol: float = 1e-7,
    seed: int = 0,
) -> float:
    """Compares the gradient of `function` at `inputs` with central differences in float64; returns the largest error.

    Args:
        function: takes tensors, returns a tensor or a tuple of them.
        inputs: numbers, arrays or tensors; floating ones are cast to float64, others passed on as they are.
        order: 2 checks the gradient's gradient as well.
        elements: check each element of each input, instead of three random directions through all of them.
        rtol, atol: a derivative d may be off by atol + rtol * |d|.
        seed: of the random directions.

    Differences have error O(step**4). Where two step sizes disagree there is a kink (as in relu at 0) near by, and the
    inputs are moved a little at random. Raises GradcheckError naming the argument, the element, both numbers and the
    tolerance.

    >>> import tinygrad_edu as tg
    >>> tg.gradcheck(lambda x: tg.sin(x) * x, [[1.0, 2.0]], order=2) < 1e-6
    True
    """
    if order not in (1, 2):
        raise ValueError(message("gradcheck", "order 1 or 2", repr(order)))
    if not isinstance(inputs, (tuple, list)):
        raise TypeError(message("gradcheck", "a list of inputs", type(inputs).__name__, "put it in a list: [x]."))
    tensors = [x if isinstance(x, Tensor) else tensor(x) for x in inputs]
    floating = [i for i, t in enumerate(tensors) if t.dtype.kind == "f"]
    if not floating:
        raise TypeError(message("gradcheck", "an input of floating dtype", ", ".join(str(t.dtype) for t in tensors)))
    points = [tensors[i].data.astype("float64") for i in floating]

    def of_floats(*xs: Any) -> tuple[Tensor, ...]:
        args: list[Any] = list(tensors)
        for i, x in zip(floating, xs, strict=True):
            args[i] = x
        result = function(*args)
        outputs = result if isinstance(result, (tuple, list)) else (result,)
        checked = tuple(y for y in outputs if isinstance(y, Tensor) and y.dtype.kind == "f")
        if not checked:
            found = ", ".join(str(getattr(y, "dtype", type(y).__name__)) for y in outputs)
            raise TypeError(message("gradcheck", "a function that returns a tensor of floating dtype", found))
        return checked

    random = numpy.random.default_rng(seed)
    worst = _compare(of_floats, points, floating, elements, rtol, atol, random, "")
    if order == 2:
        cotangents = [_random_like(y.data, random) for y in of_floats(*map(Tensor, points))]

        def gradient(*args: Any) -> tuple[Tensor, ...]:
            xs, us = args[: len(points)], args[len(points) :]
            return vjp(of_floats, *xs)[1](*us)

        places = [*floating, *(f"cotangent {i}" for i in range(len(cotangents)))]
        worst = max(
            worst, _compare(gradient, points + cotangents, places, elements, rtol, atol, random, "second order, ")
        )
    return worst


def _compare(
    function: Callable[..., Any],
    points: list[Array],
    places: Sequence[Any],
    elements: bool,
    rtol: float,
    atol: float,
    random: numpy.random.Generator,
    label: str,
) -> float:
    for _ in range(ATTEMPTS):
        outputs, pullback = vjp(function, *map(Tensor, points))
        weights = [_random_like(y.data, random) for y in outputs]
        gradients = [g.data for g in pullback(*map(Tensor, weights))]
        worst, smooth = 0.0, True
        directions = _elements(points) if elements else _directions(points, random)
        for directed, name in directions:
            analytic = sum(float((g * v).sum()) for g, v in zip(gradients, directed, strict=True))
            numeric = _derivative(function, points, directed, weights, STEP)
            tolerance = atol + rtol * max(abs(analytic), abs(numeric))
            if abs(analytic - numeric) <= tolerance:
                worst = max(worst, abs(analytic - numeric))
            elif abs(numeric - _derivative(function, points, directed, weights, STEP / 2)) > 0.1 * tolerance or _kinked(
                function, points, directed, weights, tolerance
            ):
                smooth = False
                break
            elif not elements and sum(p.size for p in points) <= SHOWN_ELEMENTS:
                return _compare(function, points, places, True, rtol / 10, atol / 10, random, label)
            else:
                element = name[1] if name else ""
                where = f"argument {places[name[0]]}" if name else "a random direction"
                found = f"analytic {analytic:.9g}, numeric {numeric:.9g}, tolerance {tolerance:.2g}"
                raise GradcheckError(f"gradcheck: {label}{where}{element}: {found}")
        if smooth:
            return worst
        points = [p + to_device(random.uniform(-0.02, 0.02, p.shape), device_of(p)) for p in points]
    raise GradcheckError(f"gradcheck: {label}no smooth point found in {ATTEMPTS} attempts near the inputs")


def _along(
    function: Callable[..., Any], points: list[Array], directed: list[Array], weights: list[Array]
) -> Callable[[float], float]:
    """The weighted output as a function of the distance from the points along a direction."""

    def value(t: float) -> float:
        with no_grad():
            outputs = function(*(Tensor(p + t * v) for p, v in zip(points, directed, strict=True)))
        return sum(float((y.data * w).sum()) for y, w in zip(outputs, weights, strict=True))

    return value


def _kinked(
    function: Callable[..., Any],
    points: list[Array],
    directed: list[Array],
    weights: list[Array],
    tolerance: float,
) -> bool:
    """Whether there is a kink at the very points: then second differences shrink with the step, not with its square."""
    value = _along(function, points, directed, weights)
    centre = value(0.0)
    wide, narrow = (abs(value(step) - 2.0 * centre + value(-step)) for step in (STEP, STEP / 2))
    return wide > STEP * tolerance + 1e-13 * abs(centre) and narrow > 0.35 * wide


def _derivative(
    function: Callable[..., Any], points: list[Array], directed: list[Array], weights: list[Array], step: float
) -> float:
    """The derivative of the weighted output along a direction by the central five-point formula."""

    value = _along(function, points, directed, weights)
    return (8.0 * (value(step) - value(-step)) - (value(2 * step) - value(-2 * step))) / (12.0 * step)


def _directions(points: list[Array], random: numpy.random.Generator) -> Iterator[tuple[list[Array], Any]]:
    for _ in range(3):
        yield [_random_like(p, random) for p in points], None


def _elements(points: list[Array]) -> Iterator[tuple[list[Array], Any]]:
    for i, p in enumerate(points):
        for index in numpy.ndindex(p.shape):
            directed = [array_module(q).zeros_like(q) for q in points]
            directed[i][index] = 1.0
            yield directed, (i, f", element {index}" if index else "")


def _random_like(array: Array, random: numpy.random.Generator) -> Array:
    return to_device(numpy.asarray(random.uniform(-1.0, 1.0, array.shape)), device_of(array))
