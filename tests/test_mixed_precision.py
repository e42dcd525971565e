"""Mixed precision: policies, products of rounded factors on CUDA, and the scaling of losses."""

import ml_dtypes
import numpy
import pytest
from test_cuda_products import LAYOUTS, SHAPES, check, numbers

import tinygrad_edu as tg
from tinygrad_edu.state import state

ROUNDED = {"bfloat16": ml_dtypes.bfloat16, "float16": numpy.float16}


def rounded(x, policy):
    return x.astype(ROUNDED[policy]).astype(x.dtype)


# Policies


@pytest.mark.parametrize(
    ("policy", "precision"),
    [
        ("float32", "float32"),
        ("bfloat16", "bfloat16"),
        ("mixed_bfloat16", "bfloat16"),
        ("float16", "float16"),
        ("mixed_float16", "float16"),
    ],
)
def test_policies(policy, precision):
    with tg.set_matmul_precision("tf32"):
        with tg.mixed_precision(policy):
            assert state.matmul_precision == precision
            assert (tg.ones((2, 3)) @ tg.ones((3, 2))).dtype == "float32"
        assert state.matmul_precision == "tf32"
    assert state.matmul_precision == "float32"


@pytest.mark.parametrize(
    ("switch", "name", "text"),
    [
        (tg.mixed_precision, "half", "mixed_precision: expected 'float32', 'bfloat16', .*, received 'half'"),
        (tg.mixed_precision, "mixed_float32", "received 'mixed_float32'"),
        (tg.mixed_precision, "tf32", "received 'tf32'. Hint: use set_matmul_precision"),
        (tg.set_matmul_precision, "bfloat16", "received 'bfloat16'. Hint: use mixed_precision"),
    ],
)
def test_other_names_are_refused(switch, name, text):
    with pytest.raises(ValueError, match=text):
        switch(name)
    assert state.matmul_precision == "float32"


def test_the_cpu_takes_no_notice():
    a, b = numbers((5, 7)), numbers((7, 3), seed=1)
    with tg.mixed_precision("bfloat16"):
        numpy.testing.assert_array_equal((tg.tensor(a) @ tg.tensor(b)).numpy(), a @ b)


# Products on CUDA


@pytest.mark.gpu
@pytest.mark.parametrize("policy", ROUNDED)
@pytest.mark.parametrize("right", LAYOUTS)
@pytest.mark.parametrize("left", LAYOUTS)
@pytest.mark.parametrize("shapes", SHAPES)
def test_products_of_any_layout(shapes, left, right, policy):
    import cupy

    from tinygrad_edu.kernels.cuda import blas

    a, b = (numbers(shape, "float32", seed) for seed, shape in enumerate(SHAPES[shapes]))
    x, y = cupy.asarray(a), cupy.asarray(b)
    if min(x.ndim, y.ndim) > 1:
        if x.size and y.size:
            x, y = LAYOUTS[left](x), LAYOUTS[right](y)
        a, b = rounded(a, policy), rounded(b, policy)
    with tg.mixed_precision(policy):
        check(blas.matmul(x, y), a, b)


def edges():
    """Floats of every sign and exponent, those between two of 16 bits and their neighbours, NaN and inf among them."""
    bits = numpy.arange(2**16, dtype="uint32")
    halves = [(bits << 16) + d for d in (0, 0x7FFF, 0x8000, 0x8001)]
    for shift in (1 << 12, 1 << 13):  # float16 has 10 bits behind the point, of which the upper half may be any
        halves += [(bits << 16) + d for d in (shift - 1, shift, shift + 1)]
    low = numpy.arange(0x33000000, 0x38800000, 0x800, dtype="uint32")  # subnormal in float16
    return numpy.concatenate([*halves, low, low + 1, numpy.arange(0x477FE000, 0x47800100, dtype="uint32")]).view("f4")


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:.*encountered in cast:RuntimeWarning")
@pytest.mark.parametrize("last", [0, 1])  # of elements, which makes wide reads impossible
@pytest.mark.parametrize("policy", ROUNDED)
def test_rounding_of_every_kind_of_float(policy, last):
    import cupy

    from tinygrad_edu.kernels.cuda.rounding import Rows

    x = edges()
    x = x[: x.size // 4 * 4 - last]
    source, target = cupy.asarray(x), cupy.empty(x.size, "uint16")
    Rows(1, 1, x.size, x.size, 0).round(source.data.ptr, target.data.ptr, policy)
    expected, found = x.astype(ROUNDED[policy]), target.get().view(ROUNDED[policy])
    numpy.testing.assert_array_equal(found.astype("f4"), expected.astype("f4"))  # NaN equals NaN
    numpy.testing.assert_array_equal(numpy.signbit(found), numpy.signbit(expected))


@pytest.mark.gpu
@pytest.mark.parametrize("policy", ROUNDED)
@pytest.mark.parametrize(("first", "more"), [(0, 0), (0, 4), (4, 0), (1, 3), (0, 1)])
def test_rounding_of_parts_of_rows(first, more, policy):
    import cupy

    from tinygrad_edu.kernels.cuda.rounding import Rows

    x = numbers((3, 70, first + 12 + more))
    source, target = cupy.asarray(x), cupy.full((3, 70, 12), 7, "uint16")
    Rows(3, 70, 12, x.shape[2], 70 * x.shape[2]).round(source.data.ptr + 4 * first, target.data.ptr, policy)
    expected = x[:, :, first : first + 12].astype(ROUNDED[policy])
    numpy.testing.assert_array_equal(target.get().view(ROUNDED[policy]).astype("f4"), expected.astype("f4"))


@pytest.mark.gpu
def test_a_stack_that_repeats_a_factor_rounds_it_once():
    import cupy

    from tinygrad_edu.kernels.cuda import blas
    from tinygrad_edu.kernels.cuda.rounding import Rows, factors_of

    a, b = cupy.ones((5, 7), "float32"), cupy.ones((4, 3, 7), "float32").swapaxes(1, 2)
    product = blas.product_of(a, b, cupy.empty((4, 5, 3), "float32"))
    assert factors_of(product) == (Rows(1, 5, 7, 7, 0), Rows(4, 3, 7, 7, 21))


@pytest.mark.gpu
def test_float64_products_stay():
    a, b = numbers((5, 7), "float64"), numbers((7, 3), "float64", seed=1)
    with tg.mixed_precision("bfloat16"):
        check((tg.tensor(a, device="cuda") @ tg.tensor(b, device="cuda")).data, a, b)
