"""Operations at the limits of numbers: NaN and infinities stay where they belong, narrow dtypes do not overflow."""

import math

import numpy
import pytest

import tinygrad_edu as tg
from tinygrad_edu import Tensor
from tinygrad_edu.ops import convolution

INF, NAN = math.inf, math.nan


def gradient(f, *arrays, dtype="float64"):
    """The gradients of the sum of f at arrays."""
    inputs = [tg.tensor(a, dtype=dtype, requires_grad=True) for a in arrays]
    with numpy.errstate(all="ignore"):
        f(*inputs).sum().backward()
    return [t.grad.tolist() for t in inputs]


# Pooling and resizing


def test_average_pooling_of_float16_sums_in_float32():
    x = tg.full((1, 300, 300, 1), 3.0, dtype="float16", requires_grad=True)
    for y in (tg.average_pool2d(x, 300), tg.average_pool2d(x, 300, padding="same"), tg.adaptive_average_pool2d(x, 1)):
        assert y.dtype == "float16"
        assert y.ravel().tolist() == [3.0]
    tg.average_pool2d(x, 300).sum().backward()
    assert x.grad.dtype == "float16"


def test_average_pooling_of_booleans():
    x = tg.tensor(numpy.arange(6).reshape(1, 6, 1) % 3 == 0)
    assert tg.average_pool1d(x).ravel().tolist() == [0.5, 0.5, 0.0]
    assert tg.average_pool1d(x, 4, padding=1).tolist() == tg.average_pool1d(x.astype("float32"), 4, padding=1).tolist()


PIXEL = {
    "adaptive_average_pool1d": (lambda x: tg.adaptive_average_pool1d(x, 3), 5, [[0, 1], [1, 2, 3], [3, 4]]),
    "resize by 2": (lambda x: tg.resize(x[:, None], (1, 4), "bilinear")[:, 0], 2, [[0], [0, 1], [0, 1], [1]]),
    "resize by 1": (lambda x: tg.resize(x[:, None], (1, 3), "bilinear")[:, 0], 3, [[0], [1], [2]]),
    "resize by 3/5": (lambda x: tg.resize(x[:, None], (1, 3), "bilinear")[:, 0], 5, [[0, 1], [2], [3, 4]]),
}


@pytest.mark.parametrize("bad", [NAN, INF])
@pytest.mark.parametrize("name", PIXEL)
def test_an_infinite_pixel_stays_in_its_windows(name, bad):
    f, length, windows = PIXEL[name]
    for i in range(length):
        x = numpy.ones((1, length, 2))
        x[0, i, 0] = bad
        expected = [bad if i in window else 1.0 for window in windows]
        y = f(tg.tensor(x)).numpy()[0]
        numpy.testing.assert_allclose(y[:, 0], expected, rtol=1e-15)
        numpy.testing.assert_allclose(y[:, 1], 1.0, rtol=1e-15)


def test_max_pooling_sends_the_gradient_to_the_first_nan():
    assert gradient(lambda x: tg.max_pool1d(x.reshape(1, 3, 1), 3), [1.0, NAN, NAN]) == [[0.0, 1.0, 0.0]]
    assert gradient(lambda x: tg.max_pool1d(x.reshape(1, 2, 1), 2), [INF, NAN]) == [[0.0, 1.0]]


def test_max_pooling_sends_no_gradient_to_the_padding():
    f = lambda x: tg.max_pool1d(x.reshape(1, 3, 1), 2, padding=1)  # noqa: E731
    assert gradient(f, [-INF, 1.0, -INF]) == [[1.0, 1.0, 0.0]]
    least = tg.max_pool1d(tg.full((1, 3, 1), -INF), 2, padding=1)
    assert least.ravel().tolist() == [-INF, -INF]


def test_max_pooling_of_booleans():
    x = numpy.zeros((1, 3, 4, 1), dtype=bool)
    x[0, 1, 2, 0] = True
    y = tg.max_pool2d(tg.tensor(x), 2, padding=((1, 0), (0, 0)))
    assert y.dtype == "bool"
    assert y.numpy()[0, ..., 0].tolist() == [[False, False], [False, True]]


# Activations


def test_shrinking_keeps_nan():
    x = tg.tensor([NAN, 2.0, -INF])
    assert math.isnan(tg.hard_shrink(x)[0].item())
    assert math.isnan(tg.soft_shrink(x)[0].item())
    assert math.isnan(tg.threshold(x, 0.5, 7.0)[0].item())
    assert tg.hard_shrink(x)[1:].tolist() == [2.0, -INF]
    assert tg.threshold(x, 0.5, 7.0)[1:].tolist() == [2.0, 7.0]


@pytest.mark.parametrize(("dtype", "large"), [("float16", 60000.0), ("float32", 1e30), ("float64", 1e300)])
def test_squareplus_of_large_numbers(dtype, large):
    x = tg.tensor([-large, 0.0, 3.0, large], dtype=dtype, requires_grad=True)
    y = tg.squareplus(x, 16.0)
    y.sum().backward()
    eps = numpy.finfo(dtype).eps
    numpy.testing.assert_allclose(y.detach().numpy(), x.dtype.type([4.0 / large, 2.0, 4.0, large]), rtol=4 * eps)
    numpy.testing.assert_allclose(x.grad.numpy(), [0.0, 0.5, 0.8, 1.0], rtol=4 * eps)


# Products


def true_cumprod_gradient(a):
    """By the definition, in float64: the sum over j of the product of a[k], k up to j but not i."""
    a = numpy.asarray(a, dtype="float64")
    with numpy.errstate(all="ignore"):
        others = [numpy.where(numpy.arange(len(a)) == i, 1.0, a) for i in range(len(a))]
        return numpy.array([numpy.cumprod(b)[i:].sum() for i, b in enumerate(others)])


LONG = {
    "a zero, and products beyond float32 behind it": [1e-30, 1e30, 1e30, 0.0, 1e30, 1e30],
    "a zero first": [0.0] + [2.0] * 200,
    "a zero last": [2.0] * 100 + [0.0],
    "products behind an element beyond float32": [1e-30] + [10.0] * 50,
    "signs": [1.0, 0.0, 0.0] + [1e30, 1e30, -1e5] * 3,
    "two zeros": [1e30, 0.0, 1e30, 1e30, 0.0, 3.0],
}


@pytest.mark.parametrize("name", LONG)
def test_gradient_of_cumprod_overflows_only_where_it_must(name):
    (found,) = gradient(tg.cumprod, LONG[name], dtype="float32")
    with numpy.errstate(over="ignore"):
        expected = true_cumprod_gradient(LONG[name]).astype("float32")
    numpy.testing.assert_allclose(found, expected, rtol=1e-5)


def test_gradient_of_cumprod_is_not_finite_where_products_underflow_and_overflow():
    (found,) = gradient(tg.cumprod, [1e-30, 1e-30, 1e30, 1e30], dtype="float32")
    assert found[0] == pytest.approx(1e30)
    assert found[1] == INF  # 1e30, of products from 1e-60 to 1e60


def test_gradient_of_cumprod_keeps_nan():
    (found,) = gradient(tg.cumprod, [2.0, 0.0, NAN])
    assert all(map(math.isnan, found))


# Linear algebra


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("name", ["eigh", "svd"])
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_decompositions_of_matrices_that_are_not_finite(name, bad, device):
    for place in ((0, 0), (0, 1), (1, 0)):
        x = numpy.ones((2, 3, 3), dtype="float32")
        x[(1, *place)] = bad
        with pytest.raises(ValueError, match=f"{name}: expected a matrix without NaN or infinities"):
            getattr(tg, name)(tg.tensor(x, device=device))


# float16


def test_depthwise_convolution_of_float16_sums_in_float32():
    random = numpy.random.default_rng(0)
    x, kernel = random.uniform(size=(1, 40, 40, 2)), random.uniform(size=(20, 20, 2, 1)) / 400
    x, kernel = x.astype("float16"), kernel.astype("float16")
    inputs = [tg.tensor(a, requires_grad=True) for a in (x, kernel)]
    wide = [tg.tensor(a.astype("float64"), requires_grad=True) for a in (x, kernel)]
    for args in (inputs, wide):
        tg.depthwise_conv2d(*args).sum().backward()
    for y, z in zip(
        (tg.depthwise_conv2d(*inputs), *(t.grad for t in inputs)),
        (tg.depthwise_conv2d(*wide), *(t.grad for t in wide)),
        strict=True,
    ):
        assert y.dtype == "float16"
        numpy.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=2**-11 * 1.01)


def test_depthwise_convolution_of_no_images():
    x, kernel = tg.zeros((0, 5, 5, 2), requires_grad=True), tg.ones((3, 3, 2, 2), requires_grad=True)
    tg.depthwise_conv2d(x, kernel).sum().backward()
    assert x.grad.shape == x.shape
    assert kernel.grad.ravel().tolist() == [0.0] * 36


def test_convolution_of_float16_sums_in_float32(monkeypatch):
    """Also where the parts of a batch are added up."""
    monkeypatch.setattr(convolution, "PATCHES", 1)
    random = numpy.random.default_rng(0)
    x, kernel = random.uniform(size=(40, 12, 12, 4)), random.uniform(size=(3, 3, 4, 2)) / 36
    inputs = [tg.tensor(a, dtype="float16", requires_grad=True) for a in (x, kernel)]
    wide = [tg.tensor(t.detach().numpy(), dtype="float64", requires_grad=True) for t in inputs]
    results = []
    for args in (inputs, wide):
        y = tg.conv2d(*args)
        (y * (1 / 64)).sum().backward()
        results.append((y, *(t.grad for t in args)))
    for y, z in zip(*results, strict=True):
        assert y.dtype == "float16"
        numpy.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=2**-11 * 1.01)


NORMS = {
    "layer_norm": (lambda x, w, b: tg.layer_norm(x, w, b), 3),
    "rms_norm": (lambda x, w: tg.rms_norm(x, w), 2),
    "group_norm": (lambda x, w, b: tg.group_norm(x, w, b, 2), 3),
    "batch_norm": (lambda x, w, b: tg.batch_norm(x, w, b)[0], 3),
}


@pytest.mark.parametrize("name", NORMS)
def test_norms_of_large_float16_numbers(name):
    f, count = NORMS[name]
    random = numpy.random.default_rng(0)
    arrays = [random.uniform(-3e4, 3e4, (6, 8)), random.uniform(1, 2, 8), random.uniform(1, 2, 8)][:count]
    arrays = [a.astype("float16") for a in arrays]
    weight = random.normal(size=(6, 8))
    found, expected = ([tg.tensor(a.astype(dtype), requires_grad=True) for a in arrays] for dtype in ("f2", "f8"))
    with numpy.errstate(over="ignore"):  # the variance that batch_norm returns
        for inputs in (found, expected):
            y = f(*inputs)
            (y * tg.tensor(weight, dtype=y.dtype)).sum().backward()
        y, z = f(*found), f(*expected)
    assert y.dtype == "float16"
    numpy.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=2e-3, atol=2e-3)
    for a, b in zip(found, expected, strict=True):
        assert a.grad.dtype == "float16"
        scale = numpy.abs(b.grad.numpy()).max()
        numpy.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=4e-3, atol=max(4e-3 * scale, 1e-7))


# Recurrence


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("name", ["simple_rnn", "lstm", "gru", "gru, reset before"])
def test_masked_steps_may_hold_anything(name, order):
    function, states = getattr(tg, name.split(",")[0]), 2 if name == "lstm" else 1
    blocks = {"simple_rnn": 1, "lstm": 4}.get(name, 3)
    options = {"reset_after": False} if "before" in name else {}
    random = numpy.random.default_rng(0)
    bias = (2, 6) if name == "gru" else (2 * blocks,)
    shapes = [(2, 4, 3), (3, 2 * blocks), (2, 2 * blocks), bias, *[(2, 2)] * states]
    arrays = [random.normal(size=shape) for shape in shapes]
    mask = numpy.array([[True, False, True, False], [False, True, True, True]])

    def gradients(value):
        arrays[0][~mask] = value
        inputs = [tg.tensor(a, requires_grad=True) for a in arrays]
        f = lambda *t: (function(*t, mask=tg.tensor(mask), **options)[0] ** 2).sum()  # noqa: E731
        if order == 1:
            f(*inputs).backward()
            return [t.grad.numpy() for t in inputs]
        cotangent = tg.tensor(1.0, dtype="float64", requires_grad=True)
        return [g.detach().numpy() for g in tg.vjp(f, *inputs)[1](cotangent)]

    for found, expected in zip(gradients(NAN), gradients(0.0), strict=True):
        numpy.testing.assert_array_equal(found, expected)


def test_plain_arrays_pool_and_resize_alike():
    x = numpy.random.default_rng(0).normal(size=(1, 5, 4, 2)).astype("float16")
    for f in (
        lambda a: tg.average_pool2d(a, 2),
        lambda a: tg.adaptive_average_pool2d(a, 3),
        lambda a: tg.resize(a, 3, "bilinear"),
    ):
        y = f(x)
        assert type(y) is numpy.ndarray
        assert y.dtype == "float16"
        assert y.tolist() == f(Tensor(x)).tolist()


def test_searchsorted_beside_nan():
    found = tg.searchsorted(tg.tensor([1.0, 2.0, NAN, NAN]), tg.tensor([1.5, 3.0, NAN]))
    assert found.tolist() == [1, 2, 2]


@pytest.mark.parametrize("call", [tg.max_pool2d, lambda x, k: tg.average_pool2d(x, 2, k), tg.resize])
def test_a_traced_number_where_an_integer_is_needed(call):
    step = tg.jit(call)
    with pytest.raises(tg.TraceError, match="pass it by keyword"):
        step(tg.ones((1, 4, 4, 1)), 3)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize(
    "values", [[0.0, 1.0], [-INF, 0.0, INF], [0.0, NAN], [0.0] * 40 + [NAN], [NAN], [False, True], [-3, 2, 7]]
)
def test_the_few_largest_of_many_are_the_first_of_the_sorted(values, axis):
    x = numpy.random.default_rng(0).choice(values, (20, 40, 24))
    for k in (1, 2):
        found, indices = tg.topk(tg.tensor(x), k, axis)
        expected = tg.argsort(tg.tensor(x), axis, descending=True).numpy().take(range(k), axis)
        assert indices.dtype == "int64"
        numpy.testing.assert_array_equal(indices.numpy(), expected)
        numpy.testing.assert_array_equal(found.numpy(), numpy.take_along_axis(x, expected, axis))


@pytest.mark.parametrize("shape", [(6, 3, 20), (3, 6, 20), (2, 3, 6, 20), (2, 6, 3, 7)])
@pytest.mark.parametrize("repeats", [1, 3, 40])
def test_the_gradient_of_take_adds_what_repeats(shape, repeats):
    """Of long parts along any axis, of which add.at is not asked."""
    random, axis = numpy.random.default_rng(0), shape.index(6)
    ids = numpy.concatenate([numpy.full(repeats, 4), random.integers(0, 4, 5)])
    x = tg.tensor(random.normal(size=shape), requires_grad=True)
    for kept in (ids, ids - 6, ids.reshape(-1, 1)):
        y = tg.take(x, kept, axis)
        weights = random.normal(size=y.shape)
        x.grad = None
        (y * tg.tensor(weights)).sum().backward()
        expected = numpy.zeros(shape)
        numpy.add.at(expected, (slice(None),) * axis + (kept,), weights)
        numpy.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-13, atol=1e-13)


# The same in every way


WAYS = {
    "small": lambda f, a: f(tg.tensor(a)).numpy(),
    "large": lambda f, a: f(tg.tensor(numpy.tile(a, 1 << 17))).numpy()[: len(a)],
    "jit": lambda f, a: tg.jit(f)(tg.tensor(a)).numpy(),
}
EDGES = [0.0, -0.0, INF, -INF, NAN, 1e-30, -1e-30, 1e17, -1e17, -100.0, 100.0, -3.0, 5.0]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("b", [0.0, 1e-3, 4.0, 1e6])
def test_squareplus_far_out(b, dtype, way):
    """By 80 bits: its root less x, where x is below 0, as b over their sum."""
    a = numpy.array(EDGES, dtype)
    x, root = a.astype("longdouble"), numpy.sqrt(numpy.longdouble(b))
    with numpy.errstate(all="ignore"):
        hypotenuse = numpy.hypot(x, root)
        expected = numpy.where(x < 0, b / (hypotenuse - x), hypotenuse + x) / 2
    found = WAYS[way](lambda x: tg.squareplus(x, b), a)
    numpy.testing.assert_allclose(found, expected.astype(dtype), rtol=4 * numpy.finfo(dtype).eps)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("exponent", [0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 3, -1, -2, -3])
def test_powers_of_signed_zeros_and_infinities(exponent, way):
    """As C's pow has them, and so NumPy; but x ** 0.5 is the root of x, here as there."""
    a = numpy.array(EDGES)
    with numpy.errstate(all="ignore"):
        found = WAYS[way](lambda x: x**exponent, a)
        expected = numpy.sqrt(a) if exponent == 0.5 else numpy.float_power(a, exponent)
    numpy.testing.assert_allclose(found, expected, rtol=1e-15)
    numpy.testing.assert_array_equal(numpy.signbit(found[:4]), numpy.signbit(expected[:4]))
