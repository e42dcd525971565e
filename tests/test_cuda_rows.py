"""Gradients of tables on CUDA against sums in float64: counts around chunks and shares, repeated numbers, layouts."""

import math

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu.kernels.cuda import recipes

pytestmark = pytest.mark.gpu

UNITS = {"float32": 2.0**-23, "float64": 2.0**-52}
COUNTS = [1, 2, 63, 64, 65, 128, 129, 1023, 1024, 1025, 2500]
KINDS = {
    "random": lambda rng, count: rng.integers(0, 300, count),
    "always 0": lambda rng, count: np.zeros(count, int),
    "always the last": lambda rng, count: np.full(count, 299),
    "two": lambda rng, count: rng.integers(0, 2, count),
    "each once": lambda rng, count: rng.permutation(max(300, count))[:count],
    "mostly 0": lambda rng, count: rng.integers(0, 300, count) * (rng.random(count) < 0.1),
    "negative": lambda rng, count: rng.integers(-300, 300, count),
}


def scattered(g, ids, shape):
    import cupy

    arrays = [cupy.asarray(a) for a in (g, ids)]
    return recipes.run("rows.scattered", arrays, {"key": (("array",),), "shape": shape})


def check(g, ids, shape):
    ((found,), dtype) = scattered(g, ids, shape), g.dtype.name
    assert (found.shape, found.dtype.name) == (shape, dtype)
    exact, bound = np.zeros((2, *shape))
    np.add.at(exact, ids, g.astype("float64"))
    np.add.at(bound, ids, abs(g).astype("float64"))
    assert (abs(found.get() - exact) <= 80 * UNITS[dtype] * bound).all()


@pytest.mark.parametrize("dtype", UNITS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", COUNTS)
def test_counts_and_numbers(count, kind, dtype):
    rng = np.random.default_rng(count)
    ids = KINDS[kind](rng, count)
    check(rng.normal(size=(count, 3)).astype(dtype), ids, (max(300, count), 3))


@pytest.mark.parametrize("kind", ["int64", "int32", "uint8"])
@pytest.mark.parametrize("row", [(), (1,), (31,), (32,), (33,), (3, 30)], ids=str)
def test_rows_and_dtypes(row, kind):
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 40, (5, 30)).astype(kind)
    check(rng.normal(size=(5, 30, *row)).astype("float32"), ids, (40, *row))


def test_one_row():
    check(np.ones((200, 2), "float32"), np.zeros(200, int), (1, 2))


def test_numbers_that_no_row_has_stand_for_the_first_or_the_last_one():
    """Recorded steps do not look at values after the first call."""
    ids, g = np.array([0, 7, 8, 15, -1, -8, -9, 1000]), np.arange(16, dtype="float32").reshape(8, 2)
    expected = np.zeros((7, 2), "float32")
    np.add.at(expected, [0, 6, 6, 6, 6, 0, 0, 6], g)
    (found,) = scattered(g, ids, (7, 2))
    np.testing.assert_array_equal(found.get(), expected)


def test_a_table_reads_and_gets_gradients_at_the_same_rows():
    import tinygrad_edu as tg

    with tg.use_device("cuda"):
        table = tg.tensor(np.arange(10, dtype="float32").reshape(5, 2), requires_grad=True)

        @tg.jit
        def step(ids):
            y = tg.embedding(table, ids)
            y.sum().backward()
            found, table.grad = table.grad, None
            return y.detach(), found

        for ids in ([0, 1], [2, 3], [0, 1000]):  # looked at in the first call alone
            y, g = step(tg.tensor(ids))
        rows = np.flatnonzero(g.numpy()[:, 0])
        assert rows.tolist() == [0, 4]
        np.testing.assert_array_equal(y.numpy(), table.detach().numpy()[rows])


def test_nan_stays_in_its_row():
    g, ids = np.ones((130, 2), "float32"), np.arange(130) // 65
    g[0, 1] = math.nan
    (found,) = scattered(g, ids, (3, 2))
    np.testing.assert_array_equal(found.get(), [[65, math.nan], [65, 65], [0, 0]])


AXES = [  # shapes of an array and of numbers, and along which axis
    ((7, 3), (5,), 0),
    ((2, 7), (4,), 1),
    ((2, 7, 3), (2, 5), 1),
    ((2, 3, 7), (1100,), 2),
    ((3, 1, 40), (6,), 1),
]


@pytest.mark.parametrize("kind", ["int64", "int32", "uint8"])
@pytest.mark.parametrize(("shape", "count", "axis"), AXES, ids=str)
def test_rows_along_an_axis(shape, count, axis, kind):
    import cupy

    rng = np.random.default_rng(axis)
    ids = rng.integers(0 if kind == "uint8" else -shape[axis], shape[axis], count).astype(kind)
    key, whole = ((None, None, None),) * axis + (("array",),), (slice(None),) * axis + (ids,)
    for dtype in ("float32", "int64", "bool"):
        a = rng.integers(0, 9, shape).astype(dtype)
        (found,) = recipes.run("rows.gathered", [cupy.asarray(a), cupy.asarray(ids)], {"key": key})
        np.testing.assert_array_equal(found.get(), a[whole], strict=True)
    g, sums = rng.normal(size=a[whole].shape), np.zeros(shape)
    np.add.at(sums, whole, g)
    (found,) = recipes.run("rows.scattered", [cupy.asarray(g), cupy.asarray(ids)], {"key": key, "shape": shape})
    np.testing.assert_allclose(found.get(), sums, 1e-12, 1e-12, strict=True)


def test_gathered_numbers_that_no_row_has_are_the_nearest():
    import cupy

    a, ids = np.arange(4.0), np.array([-9, -5, -4, 3, 4, 9])
    given = {"key": (("array",),)}
    (found,) = recipes.run("rows.gathered", [cupy.asarray(a), cupy.asarray(ids)], given)
    np.testing.assert_array_equal(found.get(), [0, 0, 0, 3, 3, 3])


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
@pytest.mark.parametrize("kind", ["int64", "int32", "uint8"])
def test_one_hot(kind, dtype):
    import cupy

    ids = np.array([[0, 3], [9, 2], [255, 1]]).astype(kind)
    ids = ids if kind == "uint8" else ids * np.array([-1, 1], kind)
    (found,) = recipes.run("rows.one_hot", [cupy.asarray(ids)], {"depth": 4, "dtype": dtype})
    np.testing.assert_array_equal(found.get(), (ids[..., None] == np.arange(4)).astype(dtype), strict=True)


def test_what_the_kernels_do_not_take():
    g, ids = np.ones((3, 2), "float32"), np.zeros(3, int)
    assert scattered(g, ids.astype("int16"), (3, 2)) is None
    assert scattered(g.astype("int64"), ids, (3, 2)) is None


@pytest.mark.parametrize("jit", [False, True])
def test_the_gradient_of_an_embedding(jit, monkeypatch):
    monkeypatch.setattr("cupy.add", None)  # of the definition
    rng = np.random.default_rng(3)
    ids, g = rng.integers(0, 20, (4, 50)), rng.normal(size=(4, 50, 5))
    table = tg.tensor(rng.normal(size=(20, 5)), device="cuda", requires_grad=True)

    def step(ids, g):
        tg.take(table, ids, axis=0).backward(g)
        found, table.grad = table.grad, None
        return found

    call = tg.jit(step) if jit else step
    for turn in range(3):
        found = call(tg.tensor(ids + turn * (ids < 17), device="cuda"), tg.tensor(g * turn, device="cuda"))
        expected = np.zeros((20, 5))
        np.add.at(expected, ids + turn * (ids < 17), g * turn)
        np.testing.assert_allclose(found.to("cpu").numpy(), expected, 1e-13, 1e-13)
