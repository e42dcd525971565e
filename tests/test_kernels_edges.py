"""Every recipe at the edges, against the definition that it stands for: arrays with gaps, sizes of 1, no elements, NaN
and infinities; float32 and float64, one thread and two in turns. The families of test_kernels_registry.py give the
arrays."""

import importlib.util
import inspect
import math

import numpy as np
import pytest
from test_kernels_registry import FAMILIES, RECIPES, TOLERANCE, primitives, small_calls_too

from tinygrad_edu.kernels import pool, registry
from tinygrad_edu.tree import leaves

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("llvmlite") is None, reason="llvmlite is not installed: no machine code"
)

assert small_calls_too  # a fixture, for all tests of this file too


class Edges(np.random.Generator):
    """Draws the lowest integers that are allowed, always or in some of the draws: most sizes are 1."""

    def __init__(self, seed, share):
        super().__init__(np.random.PCG64(seed))
        self.share = share

    def integers(self, low, high=None, size=None, **options):
        drawn = super().integers(low, high, size, **options)
        if high is None:
            return drawn
        lowest = np.broadcast_to(low, np.shape(drawn)).astype(np.asarray(drawn).dtype)
        found = np.where(self.random(np.shape(drawn)) < self.share, lowest, drawn)
        return found[()] if np.shape(drawn) else int(found)


def with_gaps(a, rng):
    """The same numbers in memory with gaps between rows or numbers, or backwards."""
    if a is None or not a.ndim:
        return a
    axis, step = int(rng.integers(a.ndim)), int(rng.choice([-1, 2, 3, -2]))
    part = (*[slice(None)] * axis, slice(None, None, step))
    shape = [n * abs(step) if i == axis else n for i, n in enumerate(a.shape)]
    whole = np.full(shape, 99, a.dtype)
    view = whole[part]
    view[...] = a
    return view


def cast(arrays, dtype):
    return tuple(a.astype(dtype, order="K") if a is not None and a.dtype.kind == "f" else a for a in arrays)


STATISTICS = {"_attention": (1,), "_batch_norm": (1, 2, 3), "_cross_entropy_ids_gradient": (0,)}
"""Outputs whose sums run in another order than the definition's: of infinities they may make NaN."""

LEAVES_OUT = ("_attention", "_conv", "_cross_entropy")
"""Kernels that leave out what is hidden, padding or ignored, where the definition has 0 * NaN."""


def compare(name, arrays, attributes, dtype):
    """Where the kernels take these arrays, they make what the definition makes."""
    with np.errstate(all="ignore"):
        made = registry.run(RECIPES[name], arrays, attributes)
        expected = list(leaves(inspect.unwrap(primitives[name].forward)(np, *arrays, **attributes)))
    has_infinities = any(a is not None and a.dtype.kind == "f" and np.isinf(a).any() for a in arrays)
    is_masked = any(a is not None and a.dtype.kind == "b" for a in arrays)
    for number, (found, defined) in enumerate(zip(made or expected, expected, strict=True)):
        if found is None:  # not needed
            continue
        assert (found.shape, found.dtype) == (defined.shape, defined.dtype)
        if number in STATISTICS.get(name, ()) and has_infinities:
            defined = np.where(np.isnan(found), math.nan, defined)
        if name.startswith(LEAVES_OUT) or (is_masked and name.endswith("_gradient")):  # so are masked steps
            defined = np.where(np.isnan(defined), found, defined)
        scale = np.abs(np.where(np.isfinite(defined), defined, 0)).max(initial=1.0)
        shapes = [None if a is None else a.shape for a in arrays]
        text = f"output {number} of {shapes}, {attributes}"
        np.testing.assert_allclose(found, defined, TOLERANCE[dtype], TOLERANCE[dtype] * scale, err_msg=text)


EVERY = pytest.mark.parametrize("name", FAMILIES)
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def threads(request):
    pool.set_threads(request.param)
    yield request.param
    pool.set_threads(None)


@EVERY
@DTYPES
def test_gaps_and_other_orders(name, dtype, threads):
    rng = np.random.default_rng(10 + threads)
    arrays, attributes = FAMILIES[name](rng)[name]
    compare(name, tuple(with_gaps(a, rng) for a in cast(arrays, dtype)), attributes, dtype)


@EVERY
@DTYPES
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_sizes_of_one(name, dtype, share, threads):
    arrays, attributes = FAMILIES[name](Edges(5 + threads, share))[name]
    compare(name, cast(arrays, dtype), attributes, dtype)


@EVERY
def test_no_elements(name):
    """They are left to the definition, whichever array and axis has none."""
    arrays, attributes = FAMILIES[name](np.random.default_rng(3))[name]
    for i, a in enumerate(arrays):
        for axis in range(0 if a is None else a.ndim):
            none = np.take(a, [], axis)
            assert registry.run(RECIPES[name], (*arrays[:i], none, *arrays[i + 1 :]), attributes) is None


@EVERY
@DTYPES
def test_nan_and_infinities(name, dtype, threads):
    """In each array in turn; with them in one place the other numbers stay what they are."""
    rng = np.random.default_rng(16 + threads)
    arrays, attributes = FAMILIES[name](rng)[name]
    arrays = cast(arrays, dtype)
    for i, whole in enumerate(arrays):
        if whole is None or whole.dtype.kind != "f":
            continue
        for value in (math.nan, math.inf, -math.inf):
            a = whole.copy(order="K")
            a[tuple(int(rng.integers(n)) for n in a.shape)] = value
            compare(name, (*arrays[:i], a, *arrays[i + 1 :]), attributes, dtype)
