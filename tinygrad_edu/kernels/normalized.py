"""Normalization of rows as steps of fused loops."""

from __future__ import annotations

from .loops import Builder, Step, Value, expand


def layer_norm(
    loops: Builder, x: Step, weight: Value, bias: Value, axes: tuple[int, ...], epsilon: float
) -> tuple[Step, Step, Step]:
    """The rows with mean 0 and variance 1, times the weight, plus the bias; their means, and 1 / their deviations."""
    average = _mean(loops, x)
    centred = loops.apply("subtract", x, average)
    inverse = _inverse(loops, centred, epsilon)
    values = {"centred": centred, "inverse": inverse, "weight": weight, "bias": bias}
    return expand("centred * inverse * weight + bias", values, loops), average, inverse


def rms_norm(loops: Builder, x: Step, weight: Value, axes: tuple[int, ...], epsilon: float) -> tuple[Step, Step]:
    """The rows with mean square 1, times the weight; and 1 / the roots of their mean squares."""
    inverse = _inverse(loops, x, epsilon)
    return expand("x * inverse * weight", {"x": x, "inverse": inverse, "weight": weight}, loops), inverse


def _mean(loops: Builder, x: Step) -> Step:
    return loops.apply("divide", loops.reduce("row_sum", x), loops.shape[-1])


def _inverse(loops: Builder, x: Step, epsilon: float) -> Step:
    values: dict[str, Value] = {"variance": _mean(loops, loops.apply("multiply", x, x)), "epsilon": epsilon}
    return expand("1.0 / sqrt(variance + epsilon)", values, loops)
