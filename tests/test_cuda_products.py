"""Matrix products by cuBLASLt: all layouts and stacks, against NumPy in float64."""

from dataclasses import replace

import numpy
import pytest

import tinygrad_edu as tg
from tinygrad_edu.kernels.cuda import blas
from tinygrad_edu.kernels.cuda import launches as launches_module
from tinygrad_edu.kernels.cuda.launches import Launches, Product

pytestmark = pytest.mark.gpu
UNITS = {"float16": 1e-3, "float32": 2e-6, "float64": 4e-15}


def numbers(shape, dtype="float32", seed=0):
    return numpy.random.default_rng(seed).standard_normal(shape).astype(dtype)


def as_is(x):
    return x


def transposed(x):
    """The same values, lying the other way round."""
    return x.swapaxes(-1, -2).copy().swapaxes(-1, -2)


def wide(x):
    """The same values as a part of longer rows."""
    import cupy

    whole = cupy.zeros((*x.shape[:-1], x.shape[-1] + 5), x.dtype)
    whole[..., : x.shape[-1]] = x
    return whole[..., : x.shape[-1]]


def spread(x):
    """The same values, each row's apart, which cuBLASLt does not take."""
    import cupy

    whole = cupy.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    whole[..., ::2] = x
    return whole[..., ::2]


LAYOUTS = {"as is": as_is, "transposed": transposed, "wide": wide, "spread": spread}
SHAPES = {
    "matrices": ((5, 7), (7, 3)),
    "a row": ((1, 7), (7, 3)),
    "a column": ((5, 7), (7, 1)),
    "one number": ((1, 1), (1, 1)),
    "stacks": ((4, 5, 7), (4, 7, 3)),
    "stacks of stacks": ((2, 3, 5, 7), (2, 3, 7, 4)),
    "one right matrix": ((4, 5, 7), (7, 3)),
    "one left matrix": ((5, 7), (4, 7, 3)),
    "broadcast, inner": ((2, 1, 5, 7), (2, 3, 7, 4)),
    "broadcast, both": ((2, 1, 5, 7), (1, 3, 7, 4)),
    "nothing to add": ((5, 0), (0, 3)),
    "no rows": ((0, 7), (7, 3)),
    "vectors": ((7,), (7,)),
    "vector and stack": ((7,), (2, 7, 3)),
}


def check(found, a, b):
    dtype = found.dtype.name
    exact = numpy.matmul(a.astype("float64"), b.astype("float64"))
    bound = numpy.matmul(abs(a).astype("float64"), abs(b).astype("float64"))
    assert found.shape == exact.shape
    assert (abs(found.get() - exact) <= UNITS[dtype] * bound + 1e-300).all()


@pytest.mark.parametrize("dtype", UNITS)
@pytest.mark.parametrize("right", LAYOUTS)
@pytest.mark.parametrize("left", LAYOUTS)
@pytest.mark.parametrize("shapes", SHAPES)
def test_products_of_any_layout(shapes, left, right, dtype):
    import cupy

    a, b = (numbers(shape, dtype, seed) for seed, shape in enumerate(SHAPES[shapes]))
    x, y = cupy.asarray(a), cupy.asarray(b)
    if min(x.ndim, y.ndim) > 1 and x.size and y.size:
        x, y = LAYOUTS[left](x), LAYOUTS[right](y)
    check(blas.matmul(x, y), a, b)


@pytest.mark.parametrize("shapes", [((5, 7), (7, 3)), ((4, 5, 7), (4, 7, 3)), ((4, 5, 7), (7, 3))], ids=str)
def test_into_an_array(shapes):
    import cupy

    a, b = (numbers(shape, seed=seed) for seed, shape in enumerate(shapes))
    whole = cupy.full((*a.shape[:-1], b.shape[-1] + 2), 9, "float32")
    out = whole[..., : b.shape[-1]]
    assert blas.matmul(cupy.asarray(a), cupy.asarray(b), out) is out
    check(out, a, b)
    assert (whole[..., b.shape[-1] :] == 9).all()


def test_which_products_cublas_does():
    import cupy

    def product(a, b, stack=()):
        return blas.product_of(a, b, cupy.empty((*stack, a.shape[-2], b.shape[-1]), a.dtype))

    flat = product(cupy.ones((4, 5, 7), "float32"), cupy.ones((7, 3), "float32"), (4,))
    assert (flat.m, flat.batch) == (20, 1)  # one product of all rows
    repeated = product(cupy.ones((5, 7), "float32"), cupy.ones((4, 7, 3), "float32"), (4,))
    assert (repeated.batch, repeated.strides) == (4, (0, 21, 15))
    heads = cupy.ones((2, 6, 3, 4), "float32").transpose(0, 2, 1, 3)  # not one stride over both axes of the stack
    assert product(heads, heads.swapaxes(-1, -2), (2, 3)) is None
    assert product(cupy.ones((2, 2), "int32"), cupy.ones((2, 2), "int32")) is None


@pytest.mark.parametrize("shape", [(2, 6, 3, 4), (2, 6, 1, 4)])
def test_stacks_of_heads_are_copied(shape, monkeypatch):
    import cupy

    monkeypatch.setattr(cupy, "matmul", None)  # which cannot be recorded in a graph
    a, b = numbers(shape), numbers((2, 6, 3, 4), seed=1)
    x, y = cupy.asarray(a).swapaxes(1, 2), cupy.asarray(b).transpose(0, 2, 3, 1)
    a, b = a.swapaxes(1, 2), b.transpose(0, 2, 3, 1)
    check(blas.matmul(x, y), a, b)
    out = cupy.empty((2, 6, 3, 6), "float32").swapaxes(1, 2)
    assert blas.matmul(x, y, out) is out
    check(out, a, b)


@pytest.mark.parametrize(("a", "b"), [((2, 3), (2, 3)), ((2, 3, 4), (3, 4, 5))])
def test_shapes_that_do_not_fit_are_refused(a, b):
    with pytest.raises(ValueError, match="expected two stacks of matrices"):
        tg.matmul(tg.ones(a, device="cuda"), tg.ones(b, device="cuda"))


@pytest.mark.parametrize("dtype", UNITS)
def test_a_product_is_recorded_in_a_graph(dtype):
    import cupy

    a, b = cupy.asarray(numbers((5, 7), dtype)), cupy.asarray(numbers((7, 3), dtype, seed=1))
    c = blas.matmul(a, b)
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        blas.matmul(a, b, c)
        graph = stream.end_capture()
    a *= 2
    graph.launch(stream)
    stream.synchronize()
    check(c, a.get(), b.get())


@pytest.mark.parametrize("dtype", UNITS)
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (-0.5, 0.0), (2.0, 3.0)])
def test_a_product_is_added(alpha, beta, dtype):
    import cupy

    a, b, c = (numbers(shape, dtype, seed) for seed, shape in enumerate([(4, 5, 7), (4, 7, 3), (4, 5, 3)]))
    x, y, z = map(cupy.asarray, (a, b, c if beta else numpy.full_like(c, numpy.nan)))  # which is not read
    product = replace(blas.product_of(x, y, z), alpha=alpha, beta=beta)
    launches = Launches([product], 3, [])
    launches.pointers[:] = [array.data.ptr for array in (x, y, z)]
    launches.run()
    exact = alpha * numpy.matmul(a.astype("float64"), b.astype("float64")) + beta * c.astype("float64")
    bound = abs(alpha) * numpy.matmul(abs(a), abs(b)) + beta * abs(c)
    assert (abs(z.get() - exact) <= UNITS[dtype] * bound).all()


BIASED = [(dtype, takes) for dtype in UNITS for takes in (True, False) if takes or dtype != "float16"]


@pytest.mark.parametrize(("dtype", "takes"), BIASED)
@pytest.mark.parametrize("shapes", [((5, 7), (7, 3)), ((1, 7), (7, 1)), ((64, 32), (32, 48))], ids=str)
def test_a_bias(shapes, dtype, takes, monkeypatch):
    """By cuBLASLt or, where that takes none, by loops behind the product, which know no float16."""
    import cupy

    def without_bias(product, alignment, device, precision, bias=0, is_rounded=False):
        if bias:
            raise RuntimeError("cublasLt: expected an algorithm, received none")
        return blas.plan_of(product, alignment, device, precision)

    if not takes:
        monkeypatch.setattr(launches_module, "plan_of", without_bias)

    (m, k), (_, n) = shapes
    x, w, bias = (numbers(shape, dtype, seed) for seed, shape in enumerate(((m, k), (k, n), (n,))))
    arrays = [*map(cupy.asarray, (x, w, bias)), cupy.zeros((m, n), dtype)]
    product = blas.product_of(arrays[0], arrays[1], arrays[3])
    launches = Launches([Product(product.on(0, 1, 3), 2)], 4, [])
    launches.pointers[:] = [a.data.ptr for a in arrays]
    launches.run()
    expected = x.astype("float64") @ w.astype("float64") + bias
    numpy.testing.assert_allclose(arrays[3].get(), expected, UNITS[dtype], UNITS[dtype] * k)


def test_products_of_float16_under_jit(capsys):
    a, b = numbers((5, 7), "float16"), numbers((7, 3), "float16", seed=1)
    step = tg.jit(lambda x, y: x @ y)
    for _ in range(3):
        check(step(tg.tensor(a, device="cuda"), tg.tensor(b, device="cuda")).data, a, b)
    assert step.plans[0].replay.graph is not None
    tg.jit.explain(step)
    assert "matrix product: matmul -> float16[5, 3]" in capsys.readouterr().out


def test_tf32():
    a, b = numbers((40, 70)), numbers((70, 30), seed=1)
    x, y = tg.tensor(a, device="cuda"), tg.tensor(b, device="cuda")
    exact, step = a.astype("float64") @ b, tg.jit(lambda x, y: x @ y)

    def error(product):
        return abs(product(x, y).to("cpu").numpy() - exact).max() / abs(exact).max()

    for product in (tg.matmul, step, step, step):  # the last two times from a graph
        assert error(product) < 1e-6
        with tg.set_matmul_precision("tf32"):
            assert 1e-5 < error(product) < 2e-3
        assert error(product) < 1e-6
    with pytest.raises(ValueError, match="expected 'float32' or 'tf32', received 'fast'"):
        tg.set_matmul_precision("fast")


def test_the_algorithm_is_asked_for_once():
    import cupy

    a = cupy.ones((3, 4), "float32")
    blas.matmul(a, a.T)
    before = blas.plan_of.cache_info()
    blas.matmul(cupy.ones((3, 4), "float32"), a.T)
    after = blas.plan_of.cache_info()
    assert (after.hits - before.hits, after.misses - before.misses) == (1, 0)
    assert [blas.alignment_of(at) for at in (512, 4, 48)] == [256, 4, 16]
