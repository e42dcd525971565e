"""Products of a few rows by a matrix, and of a matrix by a column, against NumPy's in double precision."""

import numpy
import pytest
from test_kernels_native import needs_llvm, run_on, share_all

import tinygrad_edu as tg
from tinygrad_edu.kernels import gemv, native, pool, products

pytestmark = needs_llvm

assert share_all  # a fixture
BOTH = pytest.mark.parametrize("dtype", ["float32", "float64"])


@pytest.fixture(autouse=True)
def _threads():
    before = pool.threads()
    pool.set_threads(2)
    yield
    pool.set_threads(before)


@pytest.fixture
def small_parts(monkeypatch):
    """Threads share the rows of all matrices."""
    monkeypatch.setattr(gemv, "_LARGE", 0)
    monkeypatch.setattr(gemv, "_LONG", 32)


def sizes():
    """(m, n, k): edges, and some by chance."""
    random = numpy.random.default_rng(8)
    for m in range(1, 9):
        for _ in range(2):
            yield (m, *random.choice((1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 130), 2))
        yield (m, *random.integers(1, 200, 2))
    for m in (1, 2, 9, 150):
        yield from ((m, 1, k) for k in (1, 16, 70))


def matrix(random, rows, columns, transposed, gap, dtype):
    """Random numbers, with gaps between rows, or columns if it lies transposed."""
    shape = (columns, rows) if transposed else (rows, columns)
    whole = random.standard_normal((shape[0], shape[1] + gap)).astype(dtype)[:, : shape[1]]
    return whole.T if transposed else whole


def run(cases, threads):
    """The products of pairs of matrices, by one program."""
    steps, arrays, results = [], [], []
    for a, b in cases:
        form = gemv.form_of(a, b)
        if form is None or (form.transposed and form.along != 1):
            continue
        c = numpy.full((a.shape[0], b.shape[1]), numpy.nan, a.dtype)
        parts = numpy.full((pool.threads(), *c.shape), numpy.nan, a.dtype)
        steps += [task.on(range(len(arrays), len(arrays) + 4)) for task in gemv.tasks_of(form, a.dtype.name)]
        arrays += [a, b, c, parts]
        results.append((a, b, c))
    program = native.program(steps, threads)
    assert program.threads == threads
    run_on(program, arrays[: len(program.pointers)])
    return results, steps


@pytest.mark.parametrize("threads", [1, 2])
@BOTH
@pytest.mark.parametrize("transposed", [(False, False), (False, True), (True, False), (True, True)])
def test_they_equal_numpys(share_all, small_parts, threads, dtype, transposed):
    pool.set_threads(threads)
    random = numpy.random.default_rng(1)
    pairs = [
        (
            matrix(random, m, k, transposed[0], number % 3, dtype),
            matrix(random, k, n, transposed[1], number % 2 * 3, dtype),
        )
        for number, (m, n, k) in enumerate(sizes())
    ]
    results, steps = run(pairs, threads)
    assert len(results) > len(pairs) / 3
    if transposed != (False, True):
        assert any(step.kernel is gemv.rows_by_parts for step in steps) == (threads == 2)
    for a, b, c in results:
        left, right = a.astype("float64"), b.astype("float64")
        bound = numpy.finfo(dtype).eps * (2 + a.shape[1] / 8) * (abs(left) @ abs(right))
        assert numpy.all(abs(c - left @ right) <= bound), (a.shape, b.shape, a.strides, b.strides)


@BOTH
@pytest.mark.parametrize("size", [(1, 70, 40), (3, 40, 70), (40, 1, 70)])
@pytest.mark.parametrize("transposed", [False, True])
def test_nan_and_inf_go_where_they_belong(small_parts, share_all, dtype, size, transposed):
    (m, n, k), random = size, numpy.random.default_rng(0)
    a, b = matrix(random, m, k, False, 0, dtype), matrix(random, k, n, transposed, 0, dtype)
    a[0, 3], b[5, n // 2], b[k - 1, 0], a[m - 1, k - 1] = numpy.inf, numpy.nan, -numpy.inf, 0.0
    (((*_, c),), _) = run([(a, b)], 2)
    with numpy.errstate(invalid="ignore"):
        numpy.testing.assert_allclose(c, a @ b, 1e-4 if dtype == "float32" else 1e-12)


def arrays_of(m, n, k, transposed=(False, False), dtype="float32"):
    shapes = (k, m) if transposed[0] else (m, k), (n, k) if transposed[1] else (k, n)
    return [numpy.empty(s, dtype).T if t else numpy.empty(s, dtype) for s, t in zip(shapes, transposed, strict=True)]


@pytest.mark.parametrize(
    ("size", "more", "expected"),
    [
        ((1, 1024, 1024), {}, [gemv.rows_by_parts, gemv.add_parts]),
        ((1, 1024, 256), {}, [gemv.rows_by_matrix]),  # few rows to share
        ((1, 32, 512), {}, [gemv.rows_by_matrix]),
        ((3, 128, 128), {}, [gemv.rows_by_matrix]),
        ((4, 512, 500), {"transposed": (True, False)}, [gemv.rows_by_matrix]),
        ((1, 128, 128), {"transposed": (False, True), "dtype": "float64"}, [gemv.rows_by_rows]),
        ((4, 1024, 1024), {"transposed": (False, True)}, [gemv.rows_by_rows]),
        ((1000, 1, 64), {}, [gemv.rows_by_rows]),
        ((1000, 1, 64), {"transposed": (True, False)}, [gemv.rows_by_matrix]),
        ((9, 1024, 1024), {}, None),  # more rows than few
        ((4, 128, 128), {}, None),  # for which BLAS has kernels of its own
        ((2, 128, 128), {"transposed": (False, True)}, None),
        ((1, 64, 64), {}, None),  # little to gain
        ((1, 4, 4096), {}, None),  # do not fill a vector
        ((5000, 1, 4), {}, None),
        ((4, 1024, 1024), {"transposed": (True, True)}, None),  # rows with gaps between their elements
        ((1, 1024, 1024), {"dtype": "float16"}, None),
    ],
)
def test_which_products_they_make(monkeypatch, size, more, expected):
    monkeypatch.setattr(gemv, "registers", lambda: (32, 64))
    monkeypatch.setattr(gemv, "lanes", lambda dtype: 64 // numpy.dtype(dtype).itemsize)
    found = products.matmul(*arrays_of(*size, **more))
    assert (found and [task.kernel for task in found.tasks]) == expected


def test_without_vectors_of_512_bits_rows_are_fewer(monkeypatch):
    monkeypatch.setattr(gemv, "registers", lambda: (16, 32))
    assert gemv.recipe(*arrays_of(4, 1024, 1024))
    assert gemv.recipe(*arrays_of(5, 1024, 1024)) is None


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("rows", [1, 3])
def test_a_prediction_of_few_rows(rows, threads):
    pool.set_threads(threads)
    tg.seed(0)
    model = tg.models.Sequential(
        [tg.layers.Input((600,)), *(tg.layers.Dense(n, activation="tanh") for n in (1300, 40, 1))]
    )
    x = numpy.random.default_rng(0).standard_normal((rows, 600), "float32")
    expected = x.astype("float64")
    for layer in model.layers:
        kernel, bias = (weight.detach().numpy().astype("float64") for weight in layer.weights)
        expected = numpy.tanh(expected @ kernel + bias)
    numpy.testing.assert_allclose(model.predict_on_batch(x), expected, rtol=2e-5, atol=2e-6)
