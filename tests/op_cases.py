"""What the tests of operations share: the rows of the table, their samples as tensors, and comparisons."""

import numpy
import pytest

import tinygrad_edu as tg
from tinygrad_edu import Tensor
from tinygrad_edu.backend import to_host
from tinygrad_edu.optable import TABLE

ROWS = [pytest.param(row, id=row.name) for row in TABLE.values()]
DIFFERENTIABLE = [
    pytest.param(row, id=row.name)
    for row in TABLE.values()
    if any(row.sample_order(number) for number in range(len(row.samples)))
]


def numbers(row, order=0):
    """The samples of a row that can be differentiated `order` times, by number."""
    return [number for number in range(len(row.samples)) if row.sample_order(number) >= order]


def title(row, number):
    return f"{row.name}, sample {number}: {row.samples[number].args} {row.samples[number].keywords}"


def tensors(arrays, requires_grad=False):
    """Tensors on the very arrays, whatever their layout."""
    return [Tensor(a, requires_grad and a.dtype.kind == "f") for a in arrays]


def outputs(result):
    return list(result) if isinstance(result, tuple) else [result]


def floating(results):
    """Those results that have a gradient."""
    return [t for t in results if t.dtype.kind == "f" and t.requires_grad]


def cotangents(results):
    """A fixed cotangent for each result, on its device."""
    random = numpy.random.default_rng(1)
    return [tg.tensor(random.uniform(-1, 1, y.shape), dtype=y.dtype, device=y.device) for y in results]


def gradients(row, number, arrays, create_graph=False):
    """The gradients of a sample's floating arrays, and theirs: of a weighted sum of the first gradients."""
    inputs = tensors(arrays, requires_grad=True)
    wanted = [t for t in inputs if t.requires_grad]

    def of_floats(*xs):
        remaining = iter(xs)
        args = [next(remaining) if t.requires_grad else t for t in inputs]
        return tuple(floating(outputs(row.call(number, args))))

    def pull(xs, seeds):
        ys, pullback = tg.vjp(of_floats, *xs)
        return pullback(*(cotangents(ys) if seeds is None else seeds))

    if not create_graph:
        ys = floating(outputs(row.call(number, inputs)))
        for y, seed in zip(ys, cotangents(ys), strict=True):
            y.backward(seed, retain_graph=True)
        assert any(t.grad is not None for t in wanted), f"{title(row, number)}: no gradient"
        return [tg.zeros_like(t.detach()) if t.grad is None else t.grad for t in wanted], None
    seeds = [seed.requires_grad_() for seed in cotangents(of_floats(*wanted))]
    first = pull(wanted, seeds)
    second = [g for g in first if g.requires_grad]
    for g, weight in zip(second, cotangents(second), strict=True):
        g.backward(weight, retain_graph=True)
    return first, [t.grad for t in (*wanted, *seeds) if t.grad is not None]


def assert_near(found, expected, slack, where, eps=None):
    """Every element within `slack` rounding errors of the largest magnitude; infinities and NaN in the same places."""
    found, expected = (to_host(a.data if isinstance(a, Tensor) else numpy.asarray(a)) for a in (found, expected))
    assert found.shape == expected.shape, f"{where}: shape {found.shape} instead of {expected.shape}"
    if expected.size == 0:
        return
    if found.dtype.kind != "f":
        assert (found == expected).all(), f"{where}: {found} instead of {expected}"
        return
    wide, expected = found.astype("float64"), expected.astype("float64")
    finite = numpy.isfinite(expected)
    odd = ~finite
    same = (wide[odd] == expected[odd]) | (numpy.isnan(wide[odd]) & numpy.isnan(expected[odd]))
    assert same.all(), f"{where}: {found} instead of {expected}"
    if finite.any():
        scale = max(1.0, float(numpy.abs(expected[finite]).max()))
        error = float(numpy.abs(wide[finite] - expected[finite]).max())
        limit = slack * (numpy.finfo(found.dtype).eps if eps is None else eps) * scale
        assert error <= limit, f"{where}: off by {error:.3g}, allowed {limit:.3g}: {found} instead of {expected}"
