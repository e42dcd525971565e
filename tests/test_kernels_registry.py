"""Every recipe against the definition that it stands for: random shapes, windows and paddings, edges, both dtypes."""

import ctypes
import importlib.util
import inspect
import math
import threading
import tracemalloc

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import ops
from tinygrad_edu.autograd.primitive import primitives as registered
from tinygrad_edu.jit.checks import outside
from tinygrad_edu.jit.fusion import LONGEST
from tinygrad_edu.jit.sparse import sum_rows
from tinygrad_edu.kernels import blas, convolution, forms, native, pool, pooling, recurrent, registry, tiles
from tinygrad_edu.ops.convolution import Geometry
from tinygrad_edu.ops.pooling import Windows
from tinygrad_edu.tree import leaves

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("llvmlite") is None, reason="llvmlite is not installed: no machine code"
)

assert ops  # which defines the primitives
primitives = registered | {p.name: p for p in (sum_rows, outside)}


def cast(a, dtype):
    """The same numbers, lying in memory as they do."""
    whole = a if a.base is None else a.base
    before, size = (a.ctypes.data - whole.ctypes.data) // whole.itemsize, np.dtype(dtype).itemsize
    strides = [stride // whole.itemsize * size for stride in a.strides]
    return np.lib.stride_tricks.as_strided(whole.astype(dtype).ravel()[before:], a.shape, strides)


def convolutions(rng):
    """Arrays and attributes of `_conv`, `_conv_transpose` and `_conv_kernel` for one random convolution."""
    axes = rng.integers(1, 4)
    window, size = rng.integers(1, 5 - axes // 2, axes), rng.integers(1, 15 - 3 * axes, axes)
    strides, dilation = rng.integers(1, 4, axes), rng.integers(1, 3, axes)
    dilation[strides > 1] = 1  # of both the transpose has no kernel
    reach = (window - 1) * dilation + 1
    padding = tuple(
        (int(rng.integers(0, r + 1)), int(rng.integers(0, r + 1)) + max(0, r - s))
        for r, s in zip(reach, size, strict=True)
    )
    if rng.random() < 0.3:
        padding = tuple((0, max(0, int(r - s))) for r, s in zip(reach, size, strict=True))
    whole = size + np.array([sum(border) for border in padding])
    output = tuple(int(n) for n in (whole - reach) // strides + 1)
    groups = int(rng.choice([1, 2, rng.integers(3, 40)]))
    # of all: whole vectors and more, some elements; of each of many groups one channel, or several
    deep, group = (int(k) for k in rng.integers(1, [[150, 150], [30, 30], [6, 6], [2, 4]][max(0, rng.integers(-1, 4))]))
    if groups > 2:
        deep, group = min(deep, 6), min(group, 20)
    geometry = Geometry(tuple(map(int, strides)), padding, tuple(map(int, dilation)), groups)
    n, size, window = int(rng.integers(1, 6)), tuple(map(int, size)), tuple(map(int, window))
    x = rng.normal(size=(n, *size, groups * deep))
    kernel = rng.normal(size=(*window, deep, groups * group))
    g = rng.normal(size=(n, *output, groups * group))
    return {
        "_conv": ((x, kernel), {"output": output, "geometry": geometry}),
        "_conv_transpose": ((g, kernel), {"image": size, "geometry": geometry}),
        "_conv_kernel": ((x, g), {"window": window, "geometry": geometry}),
    }


def poolings(rng):
    axes = rng.integers(1, 3)
    size, strides = rng.integers(1, 4, axes), rng.integers(1, 4, axes)
    image = size + rng.integers(0, 9, axes)
    output = tuple(int(n) for n in (image - size) // strides + 1)
    padding = tuple((int(rng.integers(0, s)), int(rng.integers(0, s))) for s in size)
    n, channels = (int(k) for k in rng.integers(1, 20, 2))
    x = np.round(rng.normal(size=(n, *image, channels)), 1)  # some are equal
    x[rng.random(x.shape) < 0.03] = rng.choice([math.nan, -math.inf, math.inf])
    padded = np.full_like(x, -math.inf)
    inside = (slice(None), *(slice(low, n - high) for n, (low, high) in zip(image, padding, strict=True)))
    padded[inside] = x[inside]
    x = padded
    g = rng.normal(size=(n, *output, channels))
    g[rng.random(g.shape) < 0.03] = rng.choice([math.nan, math.inf])
    size, strides = tuple(map(int, size)), tuple(map(int, strides))
    windows = Windows(size, strides, padding)
    finite, finite_g = (np.nan_to_num(a, posinf=3.0, neginf=-3.0) for a in (x, g))
    image = tuple(map(int, image))
    return {
        "_max_pool": ((x,), {"output": output, "windows": windows}),
        "_max_unpool": ((g, x), {"windows": windows}),
        "_sum_pool": ((finite,), {"output": output, "window": size, "strides": strides}),
        "_sum_unpool": ((finite_g,), {"image": image, "window": size, "strides": strides}),
    }


def by_rows(rng, a):
    """The same numbers; the rows may lie in memory in another order, and with something between them."""
    if rng.random() < 0.5:
        return a
    turned = rng.random() < 0.5
    whole = np.concatenate([a, a], axis=2)
    whole = np.ascontiguousarray(whole.swapaxes(0, 1)).swapaxes(0, 1) if turned else whole
    return whole[..., : a.shape[2]] if turned else np.ascontiguousarray(whole[:, ::-1])[:, ::-1, a.shape[2] :]


def resizings(rng):
    n, channels, *lengths = (int(k) for k in rng.integers(1, [4, 20, 9, 9, 14, 14]))
    image, size, bilinear = tuple(lengths[:2]), tuple(lengths[2:]), bool(rng.random() < 0.6)
    x, g = rng.normal(size=(n, *image, channels)), rng.normal(size=(n, *size, channels))
    x[rng.random(x.shape) < 0.03] = rng.choice([math.nan, math.inf])
    g[rng.random(g.shape) < 0.03] = rng.choice([math.nan, math.inf])
    return {
        "_resize": ((x,), {"size": size, "bilinear": bilinear}),
        "_resize_transpose": ((g,), {"image": image, "bilinear": bilinear}),
    }


def recurrence(rng, gates, states, extra, activation, size=None):
    """Arrays and attributes of a recurrent network, and of its gradient, whose residuals the definition makes."""
    large = [21, 20, 20, 40] if rng.random() < 0.25 else [9, 6, 5, 9]
    batch, time, features, units = size or (int(k) for k in rng.integers(1, large))
    x, kernel, recurrent = (
        rng.normal(size=size) for size in ((batch, time, features), (features, gates * units), (units, gates * units))
    )
    recurrent /= np.sqrt(units)  # or differences grow from step to step, whatever made them
    bias = rng.normal(size=(*extra, gates * units)) if rng.random() < 0.7 else None
    initial = [rng.normal(size=(batch, 2, units))[:, int(rng.random() < 0.5)] for _ in range(states)]
    mask = rng.random((batch, time)) < 0.6 if rng.random() < 0.5 else None
    attributes = {"reverse": bool(rng.random() < 0.5)}
    if extra:
        attributes["reset_after"] = True
    if activation:
        attributes["activation"] = str(rng.choice(["linear", "relu", "sigmoid", "tanh"]))
    x = by_rows(rng, x)
    forward = (x, kernel, recurrent, bias, *initial, mask)
    name = {1: "_simple_rnn", 3: "_gru", 4: "_lstm"}[gates]
    _, residuals = primitives[name].forward.__wrapped__(np, *forward, tracked=True, **attributes)
    g = [
        by_rows(rng, rng.normal(size=(batch, time, units))),
        *(rng.normal(size=(2, batch, states, units))[0].swapaxes(0, 1)),
    ]
    g = [None if rng.random() < 0.3 else a for a in g]
    needs = (*(bool(rng.random() < 0.7) for _ in range(3)), bias is not None, *(True for _ in range(states)))
    gradient = (*g, x, kernel, recurrent, mask, *residuals)
    wanted = {"tracked": bool(rng.random() < 0.7)}
    return {name: (forward, attributes | wanted), f"{name}_gradient": (gradient, attributes | {"needs": needs})}


def in_some_order(rng, a):
    """The same numbers, lying in memory in another order of the axes."""
    axes = rng.permutation(a.ndim)
    return np.ascontiguousarray(a.transpose(axes)).transpose(np.argsort(axes))


def heads(rng, *shape):
    """(batch, heads, rows, columns) as attention layers have them: a view of (batch, rows, heads, columns)."""
    batch, count, rows, columns = shape
    return rng.normal(size=(batch, rows, count, columns)).transpose(0, 2, 1, 3)


def masks(rng, shape):
    """One that broadcasts to that shape: of booleans, or floats to be added; or none."""
    shape = [n if rng.random() < 0.6 else 1 for n in shape][int(rng.integers(0, 4)) :]
    kind = rng.random()
    if kind < 0.5:
        return rng.random(shape) < 0.7 if kind < 0.3 else rng.normal(size=shape)
    return None


def attention(rng, least, most):
    """Arrays and attributes of attention over so many steps, and of its gradient."""
    batch, count = (int(n) for n in rng.integers(1, 4, 2))
    queries, keys = (int(n) for n in rng.integers(least, most, 2))
    depth, features = (int(n) for n in rng.integers(1, 9, 2))
    sizes = ((queries, depth), (keys, depth), (keys, features), (queries, features))
    q, k, v, g = (heads(rng, batch, count, rows, columns) for rows, columns in sizes)
    mask = masks(rng, (batch, count, queries, keys))
    attributes = {"scale": float(rng.random()), "causal": bool(rng.random() < 0.5), "time_first": rng.random() < 0.5}
    if attributes["time_first"]:
        q, k, v, g = (a.transpose(0, 2, 1, 3) for a in (q, k, v, g))
    y, (logs,) = primitives["_attention"].forward.__wrapped__(np, q, k, v, mask, **attributes)
    return (q, k, v, mask), attributes, (g, y, q, k, v, mask, logs)


def attentions(rng):
    given, attributes, gradient = attention(rng, *((130, 300) if rng.random() < 0.4 else (1, 20)))
    batch, count, queries, keys, depth = (int(n) for n in rng.integers(1, 9, 5))
    a = heads(rng, batch, count, queries, depth)
    b = heads(rng, 1 if rng.random() < 0.2 else batch, count, depth, keys)
    if rng.random() < 0.4:
        b = np.ascontiguousarray(b.swapaxes(-1, -2)).swapaxes(-1, -2)
    if rng.random() < 0.2:
        b = b[0]
    whole = in_some_order(rng, rng.normal(size=tuple(rng.integers(1, 6, rng.integers(1, 5)))))
    return {
        "_attention": (given, attributes),
        "_attention_gradient": (gradient, attributes | {"needs": (True, True, True, False)}),
        "_matmul": ((a, b), {}),
        "_reshape": ((whole,), {"shape": (whole.size,)}),
    }


def normalizations(rng):
    shape = tuple(int(n) for n in rng.integers(1, 9, 3))
    axes = (2,) if rng.random() < 0.6 else (1, 2)
    x, weight, bias = rng.normal(size=shape), *rng.normal(size=(2, *(shape[i] for i in axes)))
    rows = rng.normal(3.0, 2.0, size=(*rng.integers(1, 40, 2), int(rng.integers(1, 40))))
    scale, shift = rng.normal(size=(2, rows.shape[-1]))
    return {
        "_layer_norm": ((x, weight, bias), {"axes": axes, "epsilon": 1e-5}),
        "_batch_norm": ((rows, scale, shift), {"axis": 2, "epsilon": 1e-3}),
    }


def tables(rng):
    """Rows of a table by their numbers, many of them more than once."""
    rows, kind = int(rng.integers(1, 40)), str(rng.choice(["int64", "int32", "uint8"]))
    least = 0 if kind == "uint8" else -rows
    row = tuple(int(n) for n in rng.integers(1, 40, rng.integers(0, 3)))
    ids = rng.integers(least, rows, rng.integers(1, 7, rng.integers(1, 3))).astype(kind)
    if ids.ndim == 1 and rng.random() < 0.4:
        ids = np.repeat(ids, 3)[::3]
    elif ids.ndim == 2 and rng.random() < 0.6:
        ids = np.repeat(ids, 2, axis=1)[:, ::2] if rng.random() < 0.5 else np.ascontiguousarray(ids.T).T
    g = rng.normal(size=(*ids.shape, *row))
    return {
        "_scatter": ((g, ids), {"key": (("array",),), "shape": (rows, *row)}),
        "_sum_rows": ((g, ids), {"rows": rows}),
    }


def cross_entropies(rng):
    rows, columns = int(rng.integers(1, 30)), int(rng.integers(1, 40 if rng.random() < 0.7 else 6000))
    logits = rng.normal(scale=3.0, size=(rows, columns))
    logits[rng.random(logits.shape) < 0.02] = -math.inf
    ids = rng.integers(0, columns, rows)
    logits[np.arange(rows), ids] = 1.0
    attributes = {"smoothing": 0.0, "ignore": None}
    if rng.random() < 0.4:
        logits = np.maximum(logits, -9.0)  # with -inf the loss were infinite
        attributes["smoothing"] = float(rng.random())
    if rng.random() < 0.5:
        attributes["ignore"] = int(rng.choice([-1, 0, ids[0]]))
        ids[rng.random(rows) < 0.3] = attributes["ignore"]
    ids = ids.astype(rng.choice(["int64", "int32"]))
    _, kept = primitives["_cross_entropy_ids"].forward.__wrapped__(np, logits, ids, **attributes)
    g = rng.normal(size=rows) if rng.random() < 0.5 else np.broadcast_to(rng.normal(size=1), rows)
    return {
        "_cross_entropy_ids": ((logits, ids), attributes),
        "_cross_entropy_ids_gradient": ((g, logits, ids, *kept), attributes),
    }


def ranges(rng):
    """Arrays in any order, and bounds that hold for them, or which some values are outside of, or NaN."""
    shape = rng.integers(1, [9, 40])
    x = rng.integers(0, 200, shape) if rng.random() < 0.5 else rng.normal(size=shape)
    low, high = x.min().item(), x.max().item()
    wrong = [low - 1, high + 1, *([math.nan, math.inf, -math.inf] if x.dtype.kind == "f" else [])]
    if rng.random() < 0.6:
        x[tuple(rng.integers(0, shape))] = rng.choice(wrong)
    x = x.astype(rng.choice(["int32", "int64", "uint8"])) if x.dtype.kind == "i" and low > 0 and high < 255 else x
    x = [x, x.T, x[:, ::3], x[0], x[:, 0], np.broadcast_to(x, (3, *x.shape))][rng.integers(6)]
    slack = 1e-3 if x.dtype.kind == "f" else 0
    return {"_outside": ((x,), {"low": low - slack, "high": high + slack})}


def sums(rng):
    shape = tuple(int(n) for n in rng.integers(1, [5, 4, 9, 6, 40]))[: int(rng.integers(2, 6))]
    first, last = sorted(int(axis) for axis in rng.choice(len(shape) + 1, 2, replace=False))
    a = rng.normal(size=shape)
    a[rng.random(shape) < 0.01] = rng.choice([math.nan, math.inf, -math.inf])
    return {"_sum": ((a,), {"axes": tuple(range(first, last)), "keepdims": bool(rng.random() < 0.5)})}


FAMILIES = {
    "_outside": ranges,
    "_sum": sums,
    **dict.fromkeys(("_scatter", "_sum_rows"), tables),
    **dict.fromkeys(("_cross_entropy_ids", "_cross_entropy_ids_gradient"), cross_entropies),
    **dict.fromkeys(("_attention", "_attention_gradient", "_matmul", "_reshape"), attentions),
    **dict.fromkeys(("_layer_norm", "_batch_norm"), normalizations),
    **dict.fromkeys(("_lstm", "_lstm_gradient"), lambda rng: recurrence(rng, 4, 2, (), False)),
    **dict.fromkeys(("_gru", "_gru_gradient"), lambda rng: recurrence(rng, 3, 1, (2,), False)),
    **dict.fromkeys(("_simple_rnn", "_simple_rnn_gradient"), lambda rng: recurrence(rng, 1, 1, (), True)),
    **dict.fromkeys(("_conv", "_conv_transpose", "_conv_kernel"), convolutions),
    **dict.fromkeys(("_resize", "_resize_transpose"), resizings),
    **dict.fromkeys(("_max_pool", "_max_unpool", "_sum_pool", "_sum_unpool"), poolings),
}
RECIPES = {name: p.forward.recipe for name, p in primitives.items() if hasattr(p.forward, "recipe")}
RECIPES |= registry.RECORDED
KEPT = {  # of the residuals of a gradient, whether they are of single steps, or the states between them
    "_simple_rnn_gradient": (False,),
    "_gru_gradient": (True, False, True),
    "_lstm_gradient": (True, False, False, True),
}
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


@pytest.fixture(autouse=True)
def small_calls_too(monkeypatch):
    monkeypatch.setattr(registry, "WORTH_CALLING", 0)
    monkeypatch.setattr(native, "_WORTH_SHARING", 0)  # by all threads
    monkeypatch.setattr(native, "_WORTH_WAKING", -1)
    registry._entry.cache_clear()
    yield
    registry._entry.cache_clear()


def test_every_recipe_has_a_family():
    assert set(FAMILIES) == set(RECIPES)


def both(name, arrays, attributes):
    """What the kernels make and what the definition makes, each as a list."""
    forward = primitives[name].forward
    made = registry.run(RECIPES[name], arrays, attributes)
    if made is None:  # one of a stack is repeated
        assert name == "_matmul"
        assert arrays[1].shape[:-2] != arrays[0].shape[:-2]
        return [], []
    return made, list(leaves(inspect.unwrap(forward)(np, *arrays, **attributes)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_kernels_do_what_the_definition_does(name, dtype):
    rng = np.random.default_rng(sum(map(ord, name)))
    try:
        for i in range(12):
            pool.set_threads(1 + i % 3)
            arrays, attributes = FAMILIES[name](rng)[name]
            arrays = tuple(cast(a, dtype) if a is not None and a.dtype.kind == "f" else a for a in arrays)
            for made, defined in zip(*both(name, arrays, attributes), strict=True):
                if made is None:  # not needed
                    continue
                assert (made.shape, made.dtype) == (defined.shape, defined.dtype)
                scale = np.nanmax(np.abs(np.where(np.isfinite(defined), defined, 0)), initial=1.0)
                tolerance = TOLERANCE[dtype] * scale
                np.testing.assert_allclose(made, defined, TOLERANCE[dtype], tolerance, err_msg=str(attributes))
    finally:
        pool.set_threads(None)


@pytest.mark.parametrize("registers", [(32, 64), (16, 32), (32, 16)], ids=["AVX-512", "AVX2", "NEON"])
@pytest.mark.parametrize(("name", "gates", "states", "extra"), [("_lstm", 4, 2, ()), ("_gru", 3, 1, (2,))])
def test_threads_divide_the_units_of_few_rows(name, gates, states, extra, registers, monkeypatch):
    """The numbers are the same however many threads there are, also where one has nothing to do."""
    for module in (recurrent, tiles):
        monkeypatch.setattr(module, "registers", lambda: registers)
    monkeypatch.setattr(recurrent, "SHARED", 0)
    rng = np.random.default_rng(gates)
    try:
        for batch, time, features, units in [(1, 30, 37, 70), (1, 5, 5, 64), (2, 12, 16, 40), (3, 9, 3, 33)][
            : 3 if registers[0] == 16 else 4
        ]:
            arrays, attributes = recurrence(rng, gates, states, extra, False, (batch, time, features, units))[name]
            made = []
            for threads in (1, 2, 3):
                pool.set_threads(threads)
                found, defined = both(name, arrays, attributes)
                made.append(found)
                for a, b, c in zip(found, defined, made[0], strict=True):
                    np.testing.assert_allclose(a, b, 1e-12, 1e-12)
                    np.testing.assert_array_equal(a, c)
            assert registry.recipe(RECIPES[name], arrays, attributes).tasks[-1].length == units
    finally:
        pool.set_threads(None)


@pytest.mark.parametrize("name", ["_simple_rnn_gradient", "_gru_gradient", "_lstm_gradient"])
def test_what_overflowed_in_a_masked_step_reaches_nothing(name):
    """None of the residuals of that step."""
    rng = np.random.default_rng(7)
    arrays, attributes = (), {"reverse": True}
    while attributes["reverse"] or arrays[-len(KEPT[name]) - 1] is None:
        arrays, attributes = FAMILIES[name](rng)[name]
    count = len(KEPT[name])
    mask, residuals = arrays[-count - 1].copy(), [a.copy() for a in arrays[-count:]]
    mask[:, 0] = False
    given = (*arrays[: -count - 1], mask)
    expected, _ = both(name, (*given, *residuals), attributes)
    for a, steps in zip(residuals, KEPT[name], strict=True):
        if steps:
            a[0] = math.inf
    for made, right in zip(both(name, (*given, *residuals), attributes)[0], expected, strict=True):
        np.testing.assert_array_equal(made, right)


def test_kernels_of_many_filters_are_put_in_order(monkeypatch):
    monkeypatch.setattr(convolution, "LARGE", 0)
    rng = np.random.default_rng(0)
    geometry = Geometry((1, 1), ((1, 1), (0, 2)), (1, 2), 1)
    for filters in (64, 77, 5):
        x, kernel = rng.normal(size=(2, 5, 5, 3)), rng.normal(size=(3, 2, 3, filters))
        for made, defined in zip(*both("_conv", (x, kernel), {"output": (5, 5), "geometry": geometry}), strict=True):
            np.testing.assert_allclose(made, defined, 1e-12, 1e-12 * np.abs(defined).max())


def test_sums_without_a_kernel():
    a = np.ones((2, 3, 4, 5), "float32")
    assert pooling.over_pixels(a, (1, 2), False) is not None
    assert pooling.over_pixels(a, (1, 3), False) is None
    assert pooling.over_pixels(a.astype("int64"), (1, 2), False) is None
    assert pooling.over_pixels(np.ones((2, 200, 200, 5), "float32"), (1, 2), False) is None  # would lose digits


@pytest.mark.parametrize(("strides", "before", "after", "dilation"), [
    (1, 1, 1, 1), (1, 0, 2, 1), (2, 2, 0, 1), (2, 1, 2, 1), (3, 1, 2, 1), (1, 2, 4, 2),
    (1, 20, 0, 10), (1, 0, 20, 10),  # more than a tile
])  # fmt: skip
def test_convolutions_of_rows_of_many_tiles(strides, before, after, dilation):
    rng = np.random.default_rng(strides + 2 * before)
    geometry = Geometry((1, strides), ((0, 1), (before, after)), (1, dilation), 1)
    for width, channels, filters in ((37, 3, 70), (64, 2, 5), (90, 5, 33), (90, 4, 1)):
        x, kernel = rng.normal(size=(2, 3, width, channels)), rng.normal(size=(2, 3, channels, filters))
        output = (3, (width + before + after - 2 * dilation - 1) // strides + 1)
        for made, defined in zip(*both("_conv", (x, kernel), {"output": output, "geometry": geometry}), strict=True):
            np.testing.assert_allclose(made, defined, 1e-12, 1e-12 * np.abs(defined).max())


@pytest.mark.parametrize("registers", [(16, 32), (32, 16)], ids=["AVX2", "NEON"])
def test_tiles_for_other_processors(registers, monkeypatch):
    for module in (forms, tiles):
        monkeypatch.setattr(module, "registers", lambda: registers)
    rng = np.random.default_rng(registers[0])
    for _ in range(4):
        for name, (arrays, attributes) in convolutions(rng).items():
            for made, defined in zip(*both(name, arrays, attributes), strict=True):
                np.testing.assert_allclose(made, defined, 1e-12, 1e-12 * np.abs(defined).max(), err_msg=name)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_outside_of_all_bounds(dtype, bad):
    largest = float(np.finfo(dtype).max)
    for i in (0, 17, 36):
        x = np.full(37, largest, dtype)
        bounds = {"low": -largest, "high": largest}
        assert registry.run(RECIPES["_outside"], (x,), bounds) == [False]
        x[i] = bad
        assert registry.run(RECIPES["_outside"], (x,), bounds) == [True]


@pytest.mark.parametrize("causal", [False, True])
def test_attention_to_nan_and_infinity(causal):
    """As defined, but for what no query of a block sees: that reaches nothing, where the definition has 0 * inf."""
    rng = np.random.default_rng(11)
    q, k, v, g = (heads(rng, 1, 2, 150, 4) for _ in range(4))
    q[0, 0, 100], q[0, 1, 3, 0], k[0, 0, 140, 1], k[0, 1, 70, 2] = math.nan, math.inf, math.inf, -math.inf
    mask = rng.random((150, 150)) < 0.9
    mask[20] = False
    with np.errstate(all="ignore"):
        for hidden in (None, mask):
            attributes = {"scale": 0.5, "causal": causal, "time_first": False}
            made, defined = both("_attention", (q, k, v, hidden), attributes)
            for a, b in zip(made, defined, strict=True):
                np.testing.assert_allclose(a, b, 1e-12, 1e-12)
            if not causal:
                v[0, 1, 149] = math.inf
                given = (g, defined[0], q, k, v, hidden, defined[1])
                made, defined = both("_attention_gradient", given, attributes | {"needs": (True, True, True, False)})
                for a, b in zip(made[:3], defined[:3], strict=True):
                    np.testing.assert_allclose(a, b, 1e-12, 1e-12)


def test_attention_over_many_steps_never_holds_their_square():
    steps, count = 2048, 2
    q, k, v = (tg.normal((1, count, steps, 8)).requires_grad_() for _ in range(3))
    mask = tg.ones((1, 1, 1, steps)).astype(bool)

    def step(g):
        tg.scaled_dot_product_attention(q, k, v, mask, causal=True).backward(g)
        found = [a.grad for a in (q, k, v)]
        for a in (q, k, v):
            a.grad = None
        return found

    g = tg.ones((1, count, steps, 8))
    expected = step(g)  # which makes the programs
    tracemalloc.start()
    try:
        step(g)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    square = 4 * steps * steps  # of one head
    assert most < square / 8
    jitted = tg.jit(step)
    for a, b in zip(jitted(g), expected, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-5)
    assert jitted.plans[0].replay.size < square / 8


def test_cross_entropy_of_more_classes_than_loops_add_up():
    rng = np.random.default_rng(2)
    logits, ids = rng.normal(size=(6, LONGEST + 5)), rng.integers(0, LONGEST, 6)
    w = tg.tensor(logits).astype("float32").requires_grad_()

    @tg.jit
    def step(ids):
        loss = tg.cross_entropy(w, ids, label_smoothing=0.1)
        loss.backward()
        g, w.grad = w.grad, None
        return loss, g

    for _ in range(2):
        loss, g = step(tg.tensor(ids))
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        targets = 0.9 * np.eye(LONGEST + 5)[ids] + 0.1 / (LONGEST + 5)
        np.testing.assert_allclose(loss.item(), -(targets * np.log(p)).sum(axis=1).mean(), rtol=1e-6)
        np.testing.assert_allclose(g.numpy(), (p - targets) / 6, rtol=1e-5, atol=1e-9)
    kernels = {unit.calls[0].primitive.name for unit in step.plans[0].replay.tasks}
    assert kernels == {"_outside", "_cross_entropy_ids", "_cross_entropy_ids_gradient"}


def test_what_has_no_recipe_runs_as_defined():
    path = primitives["_conv_transpose"].forward.recipe
    both_steps = {"image": (7, 7), "geometry": Geometry((2, 2), ((0, 0), (0, 0)), (3, 3), 1)}
    g, kernel = np.ones((2, 1, 1, 4), "float32"), np.ones((3, 3, 4, 4), "float32")
    assert registry.run(path, (g, kernel), both_steps) is None
    path = primitives["_conv"].forward.recipe
    x = np.ones((2, 6, 6, 4), "float32")
    one = {"output": (4, 4), "geometry": Geometry((1, 1), ((0, 0), (0, 0)), (1, 1), 1)}
    whole = np.ones((3, 3, 4, 4), "float32")
    for arrays in ((x.astype(int), whole.astype(int)), (x.astype(">f4"), whole), (x[:0], whole)):
        assert registry.run(path, arrays, one) is None


@pytest.mark.parametrize("name", ["_lstm", "_gru", "_simple_rnn"])
def test_booleans_among_the_floats_have_no_recipe(name):
    arrays, attributes = FAMILIES[name](np.random.default_rng(0))[name]
    for i, a in enumerate(arrays[:-1]):
        if a is not None:
            changed = (*arrays[:i], a > 0, *arrays[i + 1 :])
            assert registry.run(primitives[name].forward.recipe, changed, attributes) is None


def test_small_calls_are_left_to_numpy(monkeypatch):
    monkeypatch.undo()
    registry._entry.cache_clear()
    one = {"output": (4, 4), "geometry": Geometry((1, 1), ((0, 0), (0, 0)), (1, 1), 1)}
    path = primitives["_conv"].forward.recipe
    small = np.ones((1, 6, 6, 1), "float32"), np.ones((3, 3, 1, 1), "float32")
    assert registry.run(path, small, one) is None
    large = np.ones((512, 6, 6, 16), "float32"), np.ones((3, 3, 16, 16), "float32")
    assert registry.run(path, large, one) is not None


def test_without_the_compiler(monkeypatch):
    monkeypatch.setenv("TINYGRAD_EDU_FAST", "0")
    monkeypatch.setattr(registry, "run", lambda *_: pytest.fail("no kernel may run"))
    x = tg.ones((1, 6, 6, 1))
    assert tg.conv2d(x, tg.ones((3, 3, 1, 1))).shape == (1, 4, 4, 1)


def test_without_a_blas(monkeypatch):
    """What would call it is done as it is defined, in a plan as well."""
    x, kernel = tg.normal((2, 8, 8, 3)), tg.normal((3, 3, 3, 100))

    def step(x, kernel):
        y = tg.max_pool2d(tg.conv2d(x, kernel), 2)
        return y.reshape((18, 100)) @ tg.ones((100, 200))

    expected = step(x, kernel).numpy()
    monkeypatch.setattr(blas, "find", lambda: None)
    registry._entry.cache_clear()
    for function in (step, tg.jit(step)):
        np.testing.assert_allclose(function(x, kernel).numpy(), expected, rtol=1e-4, atol=1e-4)


class Strict:
    """A BLAS with integers of 32 bits that refuses what the reference BLAS refuses, written in Python."""

    def __init__(self):
        self.refused = []
        gemms = [self.gemm(ctypes.c_float), self.gemm(ctypes.c_double)]
        counts = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 1), ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda n: None)
        self.blas, self.kept = blas.Blas("", 32, *map(blas.address_of, gemms), *counts), gemms

    def gemm(self, real):
        def run(order, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
            wide = (m if ta == blas.TRANSPOSED else k, k if tb == blas.TRANSPOSED else n, n)
            if any(step < max(1, least) for step, least in zip((lda, ldb, ldc), wide, strict=True)):
                self.refused.append((ta, tb, m, n, k, lda, ldb, ldc))
                return
            tall = (k if ta == blas.TRANSPOSED else m, n if tb == blas.TRANSPOSED else k, m)
            places = zip((a, b, c), tall, wide, (lda, ldb, ldc), strict=True)
            left, right, result = (matrix(real, *place) for place in places)
            left, right = left if ta == blas.PLAIN else left.T, right if tb == blas.PLAIN else right.T
            result[...] = left @ right + (beta * result if beta else 0)

        def matrix(real, place, rows, columns, step):
            flat = np.ctypeslib.as_array((real * max(0, (rows - 1) * step + columns)).from_address(place))
            return np.lib.stride_tricks.as_strided(flat, (rows, columns), (step * flat.itemsize, flat.itemsize))

        integer, place = ctypes.c_int32, ctypes.c_void_p
        matrices = [real, place, integer, place, integer, real, place, integer]
        return ctypes.CFUNCTYPE(None, *[integer] * 6, *matrices)(run)


@pytest.mark.parametrize("name", [name for name in FAMILIES if "pool" not in name])
def test_a_blas_of_32_bits_that_checks_its_arguments(name, monkeypatch):
    strict = Strict()
    monkeypatch.setattr(blas, "find", lambda: strict.blas)
    state = blas.one_thread_state.__wrapped__()
    monkeypatch.setattr(blas, "one_thread_state", lambda: state)
    rng = np.random.default_rng(5)
    pool.set_threads(5)  # more than some have to share
    try:
        for _ in range(4):
            arrays, attributes = FAMILIES[name](rng)[name]
            for made, defined in zip(*both(name, arrays, attributes), strict=True):
                if made is not None:
                    np.testing.assert_allclose(made, defined, 1e-9, 1e-9)
    finally:
        pool.set_threads(None)
    assert strict.refused == []


def test_two_callers_do_not_wait_for_each_other(monkeypatch):
    """Otherwise one that runs within `pool.map` might wait for one that waits until `pool.map` is over."""
    x = np.random.default_rng(0).normal(size=(4, 6, 6, 5)).astype("float32")
    kernel = np.ones((3, 3, 5, 7), "float32")
    one = {"output": (4, 4), "geometry": Geometry((1, 1), ((0, 0), (0, 0)), (1, 1), 1)}
    run, arrived, done, found = native.Program.run, threading.Event(), threading.Event(), []

    def slowly(program):
        if threading.current_thread() is other:
            arrived.set()
            assert done.wait(20)
        run(program)

    monkeypatch.setattr(native.Program, "run", slowly)
    other = threading.Thread(target=lambda: found.extend(both("_conv", (x, kernel), one)))
    other.start()
    assert arrived.wait(20)
    mine = both("_conv", (-x, kernel), one)
    done.set()
    other.join()
    for made, defined in (mine, found):
        np.testing.assert_allclose(made[0], defined[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(mine[0][0], -found[0][0])


def test_arrays_in_another_order():
    x = np.random.default_rng(0).normal(size=(2, 4, 6, 6)).astype("float32")
    kernel = np.random.default_rng(1).normal(size=(4, 4, 3, 3)).astype("float32")
    one = {"output": (4, 4), "geometry": Geometry((1, 1), ((0, 0), (0, 0)), (1, 1), 1)}
    for made, defined in zip(*both("_conv", (x.transpose(0, 2, 3, 1)[:, ::-1], kernel.T), one), strict=True):
        np.testing.assert_allclose(made, defined, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("fast", ["0", "1"])
@pytest.mark.parametrize("name", sorted(RECIPES.keys() - registry.RECORDED.keys()))
def test_what_is_made_lies_in_order(name, fast, monkeypatch):
    """A recording notes the strides, and any replay may decide for the kernels or for the definition."""
    monkeypatch.setenv("TINYGRAD_EDU_FAST", fast)
    rng = np.random.default_rng(3)
    for _ in range(8):
        arrays, attributes = FAMILIES[name](rng)[name]
        made = primitives[name].forward(np, *arrays, **attributes)
        assert all(a is None or a.flags.c_contiguous for a in leaves(made))
