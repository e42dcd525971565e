"""Sums and extremes over any axes on CUDA against NumPy in float64: runs of axes, parts of long ones, NaN."""

import itertools
import math

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu.autograd.primitive import primitives
from tinygrad_edu.kernels.cuda import recipes

pytestmark = pytest.mark.gpu

UNITS = {"float32": 2.0**-24, "float64": 2.0**-53}
SHAPES = [  # with the axes that are reduced
    ((5,), (0,)),
    ((2, 3, 4, 5), (1, 2)),
    ((2, 3, 4, 5), (1, 3)),
    ((2, 3, 4, 5), (0, 2)),
    ((3, 1, 5), (1,)),
    ((2, 33, 31), (1,)),
    ((1, 300, 70), (0, 1)),
    ((300, 2, 3), (1,)),
    ((3, 5000, 3), (1,)),
    ((2, 3, 9000), (0, 2)),
    ((200_003,), (0,)),
    ((3, 70_001), (1,)),
]
NAMES = {"_sum": np.sum, "_max": np.max, "_min": np.min}


def reduced(name, a, **attributes):
    import cupy

    (found,) = recipes.run(recipes.RECORDED[name], [cupy.asarray(a)], attributes)
    return found.get()


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("dtype", UNITS)
@pytest.mark.parametrize(("shape", "axes"), SHAPES, ids=str)
def test_sums(shape, axes, dtype, keepdims):
    a = np.random.default_rng(len(shape)).normal(1.0, 1.0, shape).astype(dtype)
    exact = a.astype("longdouble").sum(axis=axes, keepdims=keepdims)
    bound = abs(a).astype("float64").sum(axis=axes, keepdims=keepdims)
    found = reduced("_sum", a, axes=axes, keepdims=keepdims)
    assert (found.dtype, found.shape) == (dtype, exact.shape)
    assert (abs(found - exact) <= 60 * UNITS[dtype] * bound).all()  # for up to 30 sums in a thread, as many beyond


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "uint8"])
@pytest.mark.parametrize(("shape", "axes"), SHAPES, ids=str)
def test_extremes(shape, axes, dtype):
    a = np.random.default_rng(len(shape)).integers(0, 200, shape).astype(dtype)
    a = a - a.dtype.type(100) if dtype != "uint8" else a
    if a.dtype.kind == "f":
        a[np.random.default_rng(0).random(shape) < 1e-3] = math.nan
    for name, of in (("_max", np.max), ("_min", np.min)):
        np.testing.assert_array_equal(reduced(name, a, axes=axes, keepdims=False), of(a, axis=axes), strict=True)


@pytest.mark.parametrize("chance", [0.0, 0.001, 0.999, 1.0])
@pytest.mark.parametrize(("shape", "axes"), SHAPES, ids=str)
def test_any_and_all(shape, axes, chance):
    a = np.random.default_rng(1).random(shape) < chance
    for name, of in (("_any", np.any), ("_all", np.all)):
        np.testing.assert_array_equal(reduced(name, a, axes=axes, keepdims=True), of(a, axis=axes, keepdims=True))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 1, 70_000])
def test_what_is_not_finite(place, value):
    a = np.random.default_rng(0).normal(size=70_001)
    a[place] = value
    for name, of in NAMES.items():
        np.testing.assert_allclose(reduced(name, a, axes=(0,), keepdims=False), of(a), 1e-12)


@pytest.mark.parametrize("shape", [(5, 4), (1, 4), (3, 1, 1), (1, 1, 4), (4,), (1,), ()], ids=str)
def test_sums_to_a_shape(shape):
    a = np.random.default_rng(0).normal(size=(3, 5, 4))
    found, expected = reduced("sum_to", a, shape=shape), primitives["sum_to"].forward(np, a, shape=shape)
    np.testing.assert_allclose(found, expected, 1e-13, strict=True)


def test_nothing_to_reduce():
    a = np.arange(6.0).reshape(2, 1, 3)
    np.testing.assert_array_equal(reduced("_sum", a, axes=(1,), keepdims=False), a[:, 0])
    np.testing.assert_array_equal(reduced("_max", a, axes=(), keepdims=False), a)


def test_what_has_no_kernel():
    import cupy

    for name, dtype in itertools.product(("_sum", "_max"), ("float16", "bool")):
        given = {"axes": (0,), "keepdims": False}
        assert recipes.run(recipes.RECORDED[name], [cupy.zeros(3, dtype)], given) is None


def test_a_recorded_sum_of_all_numbers_is_spread():
    """A row of 100,000 is no loop of one block."""
    rng = np.random.default_rng(0)
    step = tg.jit(lambda x: (x * x).sum())
    for _ in range(3):
        a = rng.normal(size=100_000)
        np.testing.assert_allclose(step(tg.tensor(a, device="cuda")).to("cpu").numpy(), (a * a).sum(), 1e-13)
    plan = step.plans[0].replay
    assert not any(plan.is_python(unit) for unit in plan.fusion.units)
    (reductions,) = plan.tasks.values()
    assert [step.grid for step in reductions] == [(24,), (1,)]


@pytest.mark.parametrize(
    ("shape", "part", "axes"),
    [
        ((2, 30, 4, 5), (4, 5), (1, 3)),
        ((2, 30, 4, 5), (1, 30, 1, 5), (1, 3)),
        ((3, 40, 7), (1, 40, 1), (1,)),
        ((3, 40, 7), (3, 1, 1), (0,)),
        ((1, 9000, 2, 3), (2, 3), (1, 3)),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", UNITS)
def test_normalization_over_any_axes(shape, part, axes, dtype):
    import cupy

    rng = np.random.default_rng(0)
    x, weight, bias = rng.normal(5.0, 1.0, shape), rng.normal(size=part), rng.normal(size=part)
    x, weight, bias = (a.astype(dtype) for a in (x, weight, bias))
    attributes = {"axes": axes, "epsilon": 1e-3}
    y, average, inverse = recipes.run("normalization.of_rows", [*map(cupy.asarray, (x, weight, bias))], attributes)
    exact = [a.astype("float64") for a in (x, weight, bias)]
    mean, variance = exact[0].mean(axis=axes, keepdims=True), exact[0].var(axis=axes, keepdims=True)
    expected = (exact[0] - mean) / np.sqrt(variance + 1e-3) * exact[1] + exact[2]
    for found, value in ((y, expected), (average, mean), (inverse, 1 / np.sqrt(variance + 1e-3))):
        np.testing.assert_allclose(found.get(), value, 60 * UNITS[dtype], 200 * UNITS[dtype])
        assert found.dtype == dtype


def test_sums_of_integers_are_exact():
    a = np.random.default_rng(0).integers(-(2**62), 2**62, (3, 5000, 2))
    np.testing.assert_array_equal(reduced("_sum", a, axes=(1,), keepdims=False), a.sum(axis=1), strict=True)
