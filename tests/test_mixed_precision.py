"""Mixed precision: policies, products of rounded factors on CUDA, and the scaling of losses."""

import ml_dtypes
import numpy
import pytest
from test_cuda_products import LAYOUTS, SHAPES, check, numbers

import tinygrad_edu as tg
from tinygrad_edu.optimizers import SGD, Adam, LossScaleOptimizer, schedules
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
@pytest.mark.parametrize("apart", [0, 4, 1])
@pytest.mark.parametrize(("first", "more"), [(0, 0), (0, 4), (4, 0), (1, 3), (0, 1)])
def test_rounding_of_parts_of_rows(first, more, apart, policy):
    import cupy

    from tinygrad_edu.kernels.cuda.rounding import Rows

    step = first + 12 + more
    stride = 70 * step + apart
    x = numbers((3, stride))
    source, target = cupy.asarray(x), cupy.full((3, 70, 12), 7, "uint16")
    Rows(3, 70, 12, step, stride).round(source.data.ptr + 4 * first, target.data.ptr, policy)
    expected = x[:, : 70 * step].reshape(3, 70, step)[:, :, first : first + 12].astype(ROUNDED[policy])
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


# The scaling of losses

START, TARGET = numpy.array([1.0, -2.0, 3.0]), numpy.array([0.5, 0.25, -1.0])
BAD = {3, 4, 9}  # the steps with a gradient that is not finite
STEPS = 14
INNER = {
    "sgd": lambda: SGD(0.1, momentum=0.5),
    "adam": lambda: Adam(0.1),
    "clipped": lambda: SGD(0.1, clipnorm=0.3),
    "by value": lambda: SGD(0.1, clipvalue=0.2),
    "global norm, decay": lambda: SGD(0.1, global_clipnorm=0.3, weight_decay=0.1),
    "averages": lambda: SGD(0.1, use_ema=True, ema_momentum=0.5),
    "schedule": lambda: SGD(schedules.ExponentialDecay(0.1, 5, 0.5)),
}


def simulated(case, growth=4, scale=8.0):
    """The parameter, the scale and the counter after each step, in float64: what the docstring says."""
    w, count, found = START.copy(), 0, []
    m, v, average = numpy.zeros(3), numpy.zeros(3), START.copy()
    for step in range(1, STEPS + 1):
        if step in BAD:
            scale, count = scale / 2, 0
        else:
            scale, count = (scale * 2, 0) if count + 1 == growth else (scale, count + 1)
            g = 2 * (w - TARGET)
            norm = numpy.sqrt((g * g).sum())
            if case in ("clipped", "global norm, decay"):
                g = g * min(1.0, 0.3 / norm)
            if case == "by value":
                g = g.clip(-0.2, 0.2)
            if case == "global norm, decay":
                w = w - 0.1 * 0.1 * w
            if case == "adam":  # with a number of steps that counts the bad ones
                m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
                w = w - 0.1 * numpy.sqrt(1 - 0.999**step) / (1 - 0.9**step) * m / (numpy.sqrt(v) + 1e-7)
            elif case == "schedule":
                w = w - 0.1 * 0.5 ** ((step - 1) / 5) * g
            else:
                m = (0.5 if case == "sgd" else 0.0) * m - 0.1 * g
                w = w + m
            average = w if step == 1 else 0.5 * average + 0.5 * w
        found.append([*w, scale, count, *(average if case == "averages" else [])])
    return numpy.array(found)


def quadratic(w, target, factor):
    """A loss with the gradient 2 * (w - target), which a factor of inf spoils."""
    return ((w - target) ** 2).sum() * factor


def state_of(optimizer, *more):
    parts = [*optimizer.parameters, optimizer.dynamic_scale, optimizer.step_counter, *more]
    return numpy.concatenate([part.detach().to("cpu").numpy().reshape(-1) for part in parts])


def scaled(case, how, device="cpu"):
    w, target = (tg.tensor(x, dtype="float64", device=device) for x in (START, TARGET))
    optimizer = LossScaleOptimizer(INNER[case](), 8.0, 4).build([w.requires_grad_()])

    def step(factor):
        if how == "by hand":
            optimizer.scale_loss(quadratic(w, target, factor)).backward()
            optimizer.step()
            optimizer.zero_grad()
        else:
            optimizer.minimize(quadratic(w, target, factor))

    if how == "recorded":
        step = tg.jit(step)
    found = []
    averages = [own["ema"] for own in optimizer.states if "ema" in own]
    for number in range(1, STEPS + 1):
        step(tg.tensor(numpy.inf if number in BAD else 1.0, dtype="float64", device=device))
        found.append(state_of(optimizer, *averages))
    assert optimizer.iterations == optimizer.inner_optimizer.iterations == STEPS
    if how == "recorded":
        assert len(step.plans) == 1
        assert device == "cpu" or step.plans[0].replay.graph is not None
    return numpy.array(found)


@pytest.mark.parametrize("how", ["minimize", "by hand", "recorded"])
@pytest.mark.parametrize("case", INNER)
def test_steps_as_simulated(case, how):
    numpy.testing.assert_allclose(scaled(case, how), simulated(case), rtol=1e-12)


@pytest.mark.gpu
@pytest.mark.parametrize("case", INNER)
def test_steps_as_simulated_in_a_graph(case):
    numpy.testing.assert_allclose(scaled(case, "recorded", "cuda"), simulated(case), rtol=1e-12)
