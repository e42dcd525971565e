"""Mixed precision: policies, products of rounded factors on CUDA, and the scaling of losses."""

import copy
import warnings

import numpy
import pytest
from test_cuda_products import LAYOUTS, SHAPES, check, numbers

import tinygrad_edu as tg
from tinygrad_edu import callbacks, layers, models
from tinygrad_edu.errors import GradientError, TraceError
from tinygrad_edu.kernels import registry
from tinygrad_edu.kernels.cuda import halves, rounding
from tinygrad_edu.kernels.cuda.launches import Moved, Product
from tinygrad_edu.kernels.gemm import Gemm
from tinygrad_edu.optimizers import LBFGS, SGD, Adam, LossScaleOptimizer, schedules
from tinygrad_edu.state import state


def as_bfloat16(x):
    """Numbers rounded to 8 significant bits, ties to even; below 2^-126 to multiples of 2^-133."""
    wide = x.astype("f8")
    last = numpy.maximum(numpy.frexp(wide)[1], -125) - 8
    near = numpy.ldexp(numpy.rint(numpy.ldexp(wide, -last)), last)
    return numpy.where(abs(near) >= 2.0**128, numpy.copysign(numpy.inf, near), near).astype(x.dtype)


ROUNDED = {"bfloat16": as_bfloat16, "float16": lambda x: x.astype("f2").astype(x.dtype)}


def rounded(x, policy):
    return ROUNDED[policy](x) if policy in ROUNDED else x


def from_bits(bits, policy):
    """The floats that 16 bits each stand for."""
    return bits.view("f2").astype("f4") if policy == "float16" else (bits.astype("u4") << 16).view("f4")


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


def test_a_jitted_function_has_one_precision():
    @tg.jit
    def step(x):
        with tg.mixed_precision("bfloat16"):
            return x @ x

    with pytest.raises(TraceError, match="expected one precision for a jitted function, received 'bfloat16' inside"):
        step(tg.ones((2, 2)))
    with tg.mixed_precision("bfloat16"):
        assert step(tg.ones((2, 2))).shape == (2, 2)


def test_threads_of_data_take_it_over():
    with tg.mixed_precision("bfloat16"):
        found = list(tg.data.Dataset.range(1).map(lambda i: i + (state.matmul_precision == "bfloat16")).prefetch(1))
    assert found == [1]


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
@pytest.mark.filterwarnings("ignore:.*encountered in (cast|multiply):RuntimeWarning")
@pytest.mark.parametrize("last", [0, 1])  # of elements, which makes wide reads impossible
@pytest.mark.parametrize("policy", ROUNDED)
def test_rounding_of_every_kind_of_float(policy, last):
    import cupy

    x = edges()
    x = x[: x.size // 4 * 4 - last]
    source, target = cupy.asarray(x), cupy.empty(x.size, "uint16")
    rounding.Rows(1, 1, x.size, x.size, 0).round(source.data.ptr, target.data.ptr, policy)
    expected, found = rounded(x, policy), from_bits(target.get(), policy)
    numpy.testing.assert_array_equal(found, expected)  # NaN equals NaN
    numpy.testing.assert_array_equal(numpy.signbit(found), numpy.signbit(expected))


@pytest.mark.gpu
@pytest.mark.parametrize("policy", ROUNDED)
@pytest.mark.parametrize("apart", [0, 4, 1])
@pytest.mark.parametrize(("first", "more"), [(0, 0), (0, 4), (4, 0), (1, 3), (0, 1)])
def test_rounding_of_parts_of_rows(first, more, apart, policy):
    import cupy

    step = first + 12 + more
    stride = 70 * step + apart
    x = numbers((3, stride))
    source, target = cupy.asarray(x), cupy.full((3, 70, 12), 7, "uint16")
    rounding.Rows(3, 70, 12, step, stride).round(source.data.ptr + 4 * first, target.data.ptr, policy)
    expected = x[:, : 70 * step].reshape(3, 70, step)[:, :, first : first + 12]
    numpy.testing.assert_array_equal(from_bits(target.get(), policy), rounded(expected, policy))


@pytest.mark.parametrize(
    ("source", "rows", "width"),
    [
        (4096, (3, 70, 12, 16, 1120), 4),
        (4096, (3, 7, 9, 9, 63), 1),  # 189 in one row
        (4096, (4, 7, 9, 9, 63), 4),
        (4100, (3, 70, 12, 16, 1120), 1),
        (4096, (3, 70, 11, 16, 1120), 1),
        (4096, (3, 70, 12, 15, 1120), 1),
        (4096, (3, 70, 12, 16, 1121), 1),
    ],
)
def test_four_are_read_at_once_where_they_are_aligned(source, rows, width, monkeypatch):
    """An emulator does not mind other addresses, a GPU does."""
    found = []
    monkeypatch.setattr(rounding, "_kernel", lambda dtype, width: found.append(width) or (lambda *launch: None))
    rounding.Rows(*rows).round(source, 0, "bfloat16")
    assert found == [width]


@pytest.mark.gpu
def test_a_stack_that_repeats_a_factor_rounds_it_once():
    import cupy

    from tinygrad_edu.kernels.cuda import blas

    a, b = cupy.ones((5, 7), "float32"), cupy.ones((4, 3, 7), "float32").swapaxes(1, 2)
    product = blas.product_of(a, b, cupy.empty((4, 5, 3), "float32"))
    assert rounding.factors_of(product) == (rounding.Rows(1, 5, 7, 7, 0), rounding.Rows(4, 3, 7, 7, 21))


@pytest.mark.gpu
@pytest.mark.parametrize("policy", ROUNDED)
def test_each_factor_is_rounded_once_by_the_loops_that_make_it(policy, capsys):
    """x, two weights, the hidden values, and the gradients of both products; not the bias or what is not multiplied."""
    with tg.use_device("cuda"), tg.mixed_precision(policy):
        w, v = (tg.tensor(numbers((8, 8), seed=i) / 4, requires_grad=True) for i in range(2))
        b = tg.zeros((8,), requires_grad=True)

        @tg.jit
        def gradients(x):
            loss = tg.square(tg.relu(tg.linear(x, w, b)) @ v).sum()
            loss.backward()
            found = loss.detach(), w.grad, v.grad, b.grad
            w.grad = v.grad = b.grad = None
            return found

        x = numbers((16, 8), seed=2)
        found = [[a.numpy() for a in gradients(tg.tensor(x))] for _ in range(3)]  # the last two by a graph
    tg.jit.explain(gradients)
    text = capsys.readouterr().out
    assert text.count("convert") == text.count(f"{policy}[") == 6
    assert text.count(": convert ->") == 3  # x and the weights, which no loops make

    def product(a, b):
        return rounded(a, policy) @ rounded(b, policy)

    w, v = (numbers((8, 8), seed=i) / 4 for i in range(2))
    a = product(x, w)
    h = numpy.maximum(a, 0)
    y = product(h, v)
    g = product(2 * y, v.T) * (a > 0)
    expected = (y * y).sum(), product(x.T, g), product(h.T, 2 * y), g.sum(axis=0)
    for made in found:
        for value, right in zip(made, expected, strict=True):
            numpy.testing.assert_allclose(value, right, 1e-5, 1e-5 * numpy.abs(right).max())


@pytest.mark.gpu
@pytest.mark.parametrize("jit", [False, True])
def test_factors_that_lie_transposed_give_the_same_numbers(jit):
    def values(kernel, recurrent):
        zeros = tg.zeros((3, 4))
        return tg.lstm(x, kernel, recurrent, None, zeros, zeros)[0]

    with tg.use_device("cuda"), tg.mixed_precision("bfloat16"):
        x, kernel, recurrent = (tg.tensor(numbers(shape)) for shape in ((3, 5, 6), (6, 16), (4, 16)))
        turned = [tg.tensor(a.numpy().T.copy()) for a in (kernel, recurrent)]
        step = tg.jit(values) if jit else values
        for _ in range(3):
            expected = step(kernel, recurrent).numpy()
            numpy.testing.assert_array_equal(step(*(a.T for a in turned)).numpy(), expected)


GAPS = {  # of arrays with gaps, and of what is the same all along a row
    "a transposed slice": lambda x, w: tg.transpose(x[:, :6]) @ x,
    "a slice": lambda x, w: x[:, :6] @ w[:6],
    "parts": lambda x, w: (lambda q, k: q @ k.T)(*tg.split(x * 1.0, 2, axis=-1)),
    "every other row": lambda x, w: tg.transpose(x[::2]) @ x[::2],
    "means of rows": lambda x, w: (tg.zeros_like(x) + x.mean(axis=1, keepdims=True)) @ w,
    "a broadcast row": lambda x, w: tg.broadcast_to(tg.tanh(x.max(axis=-1, keepdims=True)), (16, 8)) @ w,
}


@pytest.mark.gpu
@pytest.mark.parametrize("policy", ROUNDED)
@pytest.mark.parametrize("case", GAPS)
def test_factors_of_any_layout_under_jit(case, policy):
    """As in eager mode, where each product rounds its factors itself; and their gradients."""
    with tg.use_device("cuda"), tg.mixed_precision(policy):
        x, w = (tg.tensor(numbers((n, 8), seed=i), requires_grad=True) for i, n in enumerate((16, 8)))

        def gradients():
            y = GAPS[case](x, w)
            tg.square(y).sum().backward()
            found = y.detach(), x.grad, w.grad
            x.grad = w.grad = None
            return [a for a in found if a is not None]

        expected, step = gradients(), tg.jit(gradients)
        for _ in range(3):
            for a, b in zip(step(), expected, strict=True):
                scale = abs(b.numpy()).max()
                numpy.testing.assert_allclose(a.numpy(), b.numpy(), 1e-2, 1e-2 * scale)  # a tie may fall the other way


@pytest.mark.gpu
def test_a_bias_at_any_address():
    with tg.use_device("cuda"):
        x, w, flat = (tg.tensor(numbers(shape, seed=i)) for i, shape in enumerate(((6, 5), (5, 4), (9,))))
        step = tg.jit(lambda: tg.linear(x, w, flat[1:5]))
        expected = x.numpy().astype("f8") @ w.numpy() + flat.numpy()[1:5]
        for _ in range(3):
            numpy.testing.assert_allclose(step().numpy(), expected, 1e-5, 1e-5)


@pytest.mark.parametrize("scale", [0.0, 2.0**127, -1.0])
def test_a_scale_that_would_make_nan_is_not_loaded(scale):
    optimizer = LossScaleOptimizer(Adam()).build([tg.tensor([1.0], requires_grad=True)])
    state_dict = optimizer.state_dict()
    with pytest.raises(ValueError, match=r"load_state_dict: expected dynamic_scale from 1\.17549e-38"):
        optimizer.load_state_dict(state_dict | {"dynamic_scale": numpy.array(scale, "float32")})
    optimizer.load_state_dict(state_dict)


def test_weight_decay_is_the_inner_one():
    optimizer = LossScaleOptimizer(SGD(0.1, weight_decay=0.25))
    assert optimizer.weight_decay == 0.25
    optimizer.weight_decay = 0.5
    assert optimizer.inner_optimizer.weight_decay == 0.5


def fitted(optimizer, device, compiled_under="float32", scale=1.0):
    """The warnings of a training in float16."""
    with tg.use_device(device), tg.mixed_precision(compiled_under):
        model = models.Sequential([layers.Input((2,)), layers.Dense(1)])
        model.compile(optimizer, "mse")
    with tg.mixed_precision("float16"), warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        model.fit(numbers((8, 2)) * scale, numbers((8, 1), seed=1), verbose=0)
    return [str(warning.message) for warning in found]


@pytest.mark.gpu
def test_fit_in_float16_without_scaling_warns():
    assert fitted("sgd", "cuda", "float16") == []
    (text,) = fitted("sgd", "cuda")
    assert "expected an optimizer that scales the loss under the policy float16" in text
    assert "Hint: compile under this policy, or take bfloat16; without it small gradients become 0." in text
    (text,) = fitted(LBFGS(), "cuda", "float16")
    assert "Hint: take bfloat16; without it" in text


@pytest.mark.gpu
def test_a_diverged_training_in_float16_is_told_of_its_range():
    (text,) = fitted("sgd", "cuda", "float16", scale=1e30)
    assert "float16 ends at 65504: scale the inputs" in text


def test_on_the_cpu_nothing_is_rounded_and_nobody_is_warned():
    assert fitted("sgd", "cpu") == []
    (text,) = fitted("sgd", "cpu", "float16", scale=1e30)
    assert "65504" not in text


def test_a_switch_says_what_it_did():
    with tg.mixed_precision("bfloat16"):
        switch = tg.mixed_precision("float16")
        assert repr(switch) == "<matmul_precision is 'float16', 'bfloat16' before>"


@pytest.mark.gpu
def test_a_recording_is_of_one_precision():
    with tg.use_device("cuda"):
        x = tg.tensor(numbers((8, 8)))
        square = tg.jit(lambda x: x @ x)
        for policy in ("float32", "bfloat16", "float32", "float16"):
            with tg.mixed_precision(policy):
                for _ in range(3):
                    expected = rounded(numbers((8, 8)), policy) @ rounded(numbers((8, 8)), policy)
                    numpy.testing.assert_allclose(square(x).numpy(), expected, 2e-6, 2e-6)
        assert len(square.plans) == 3


@pytest.mark.gpu
def test_float64_products_stay():
    a, b = numbers((5, 7), "float64"), numbers((7, 3), "float64", seed=1)
    with tg.mixed_precision("bfloat16"):
        check((tg.tensor(a, device="cuda") @ tg.tensor(b, device="cuda")).data, a, b)


@pytest.mark.parametrize("between", ["float32", halves.FACTORS])
def test_factors_of_a_recipe(between):
    """Operands are rounded first; a product of what kernels write in float32 rounds by itself."""
    x, made = registry.Form((4, 4), numpy.dtype("f4"), (16, 4)), ((4, 4), "float32")
    gemm = Gemm("float32", 4, 4, 4, 0, 2, 1, False, False, 4, 4, 4)
    recipe = registry.Recipe((made,), (Moved(gemm, (32, 16, 32)),), (((4, 4), between),))
    with tg.mixed_precision("bfloat16"):
        found = halves.with_rounded_factors(recipe, [x])
        if between == "float32":
            assert found == recipe
            return
        with pytest.raises(ValueError, match="recipe: expected two factors of 16 bits, received Gemm"):
            halves.with_rounded_factors(recipe, [x._replace(strides=(32, 4))])
    assert found.outputs == (made,)
    assert found.between == (((4, 4), halves.FACTORS), ((16,), halves.FACTORS))
    assert found.tasks[0].arrays == (0, 3)
    assert found.tasks[1:] == (Moved(Product(gemm.on(3, 2, 1), factors="bfloat16"), (16, 8, 32, 0)),)


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
    if how == "eager":  # where NumPy would warn of inf * 0
        optimizer._update = optimizer._updated
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


@pytest.mark.parametrize("how", ["minimize", "by hand", "eager", "recorded"])
@pytest.mark.parametrize("case", INNER)
def test_steps_as_simulated(case, how):
    numpy.testing.assert_allclose(scaled(case, how), simulated(case), rtol=1e-12)


@pytest.mark.gpu
@pytest.mark.parametrize("case", INNER)
def test_steps_as_simulated_in_a_graph(case):
    numpy.testing.assert_allclose(scaled(case, "recorded", "cuda"), simulated(case), rtol=1e-12)


@pytest.mark.parametrize(
    ("bad", "means"),
    [
        ({}, [(0, 1), (2, 3)]),
        ({0}, [(1,), (2, 3)]),  # counts as zeros
        ({1}, [(), (2, 3)]),  # no update
        ({0, 1, 2}, [(), (3,)]),
    ],
)
def test_accumulated_gradients(bad, means):
    slopes = numpy.array([[1.0, 3.0], [5.0, 0.5], [2.0, 4.0], [0.25, 8.0]])
    w = tg.tensor([100.0, 100.0], dtype="float64", requires_grad=True)
    optimizer = LossScaleOptimizer(SGD(0.5, gradient_accumulation_steps=2)).build([w])
    expected = numpy.full(2, 100.0)
    for number, slope in enumerate(slopes):
        optimizer.minimize((w * tg.tensor(slope) * (numpy.inf if number in bad else 1.0)).sum())
        if number % 2:
            expected = expected - 0.5 * slopes[list(means[number // 2])].sum(axis=0) / 2
            numpy.testing.assert_allclose(w.detach().numpy(), expected, rtol=1e-12)
    assert optimizer.iterations == 2
    assert optimizer.dynamic_scale.item() == 2.0 ** (15 - len(bad))


@pytest.mark.parametrize(("start", "factor", "end"), [(2.0**126, 1e-30, 2.0**126), (2.0**-126, numpy.nan, 2.0**-126)])
def test_the_scale_stays_a_number(start, factor, end):
    w = tg.tensor([1.0], requires_grad=True)
    optimizer = LossScaleOptimizer(SGD(0.5), start, 1).build([w])
    optimizer.minimize((w * factor).sum())
    assert optimizer.dynamic_scale.item() == end


@pytest.mark.parametrize("jit", [False, True])
def test_weights_of_float16(jit):
    w = tg.tensor([1.0, 2.0], dtype="float16", requires_grad=True)
    optimizer = LossScaleOptimizer(SGD(0.5, momentum=0.5), 2.0**10).build([w])

    def step():
        optimizer.minimize((w * 2.0**-26).sum())  # of which the gradient alone is 0 in float16

    step = tg.jit(step) if jit else step
    step()
    assert str(w.dtype) == "float16"
    assert optimizer.states[0]["momentum"].dtype == "float16"
    assert optimizer.dynamic_scale.item() == 2.0**10


@pytest.mark.parametrize("jit", [False, True])
def test_rows_of_a_table(jit):
    def trained(optimizer):
        tg.seed(0)
        table = tg.normal((20_000, 8)).requires_grad_()
        optimizer.build([table])

        def step(ids, factor):
            optimizer.minimize((tg.square(tg.embedding(table, ids)) * factor).mean())

        step = tg.jit(step) if jit else step
        for ids, factor in (([7, 3, 7], 1.0), ([5, 3, 1], numpy.inf), ([7, 9, 2], 1.0)):
            if factor == 1.0 or type(optimizer) is LossScaleOptimizer:
                step(tg.tensor(ids), tg.tensor(factor))
        return table.detach().numpy()

    found, expected = trained(LossScaleOptimizer(SGD(10.0, momentum=0.5))), trained(SGD(10.0, momentum=0.5))
    numpy.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: LossScaleOptimizer("sgd"), TypeError, "expected inner_optimizer to be an optimizer"),
        (lambda: LossScaleOptimizer(LBFGS()), TypeError, "that takes gradients"),
        (lambda: LossScaleOptimizer(LossScaleOptimizer(SGD())), TypeError, "and scales no loss itself"),
        (lambda: LossScaleOptimizer(SGD(), 0.0), ValueError, "from 1.17549e-38 to 8.5"),
        (lambda: LossScaleOptimizer(SGD(), dynamic_growth_steps=0), ValueError, "dynamic_growth_steps"),
        (lambda: LossScaleOptimizer(SGD()).minimize(weight().sum()), ValueError, "expected build"),
        (lambda: LossScaleOptimizer(SGD()).build([weight()]).step(), GradientError, "expected gradients"),
        (lambda: LossScaleOptimizer(SGD()).build([]), ValueError, "at least one parameter"),
    ],
)
def test_errors(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_other_growth_is_noticed():
    optimizer = LossScaleOptimizer(SGD(0.5), 1.0).build([w := weight()])
    for optimizer.dynamic_growth_steps in (100, 2):
        optimizer.minimize(w.sum())
    assert optimizer.dynamic_scale.item() == 2.0


def weight():
    return tg.tensor([1.0, 2.0], requires_grad=True)


def test_it_shows_what_the_inner_optimizer_has():
    w = weight()
    inner = SGD(0.25, use_ema=True, name="slow").build([w])
    optimizer = LossScaleOptimizer(inner)
    assert (optimizer.learning_rate, optimizer.use_ema, optimizer.name) == (0.25, True, "slow")
    optimizer.learning_rate = 0.5
    assert inner.learning_rate == 0.5
    assert optimizer.parameters == [w]
    assert repr(optimizer) == "<LossScaleOptimizer of <SGD 'slow' learning_rate=0.5>>"
    optimizer.minimize(w.sum())
    optimizer.minimize(w.sum())
    optimizer.swap_ema()
    numpy.testing.assert_allclose(w.tolist(), [0.495, 1.495], rtol=1e-6)
    optimizer.release()
    assert inner.parameters == []
    optimizer.exclude_from_weight_decay(var_list=[w])
    assert inner.build([w])._groups[0].weight_decay == 0.0


# Models


def data():
    random = numpy.random.default_rng(0)
    x = random.standard_normal((48, 6)).astype("float32")
    return x, (x[:, :1] * x[:, 1:2] > 0).astype("float32")


def made(optimizer, policy="float32", **options):
    tg.seed(0)
    model = models.Sequential([layers.Input((6,)), layers.Dense(16, "tanh"), layers.Dense(1)])
    with tg.mixed_precision(policy):
        model.compile(optimizer, "mse", **options)
    return model


def weights_of(model):
    return numpy.concatenate([w.ravel() for w in model.get_weights()])


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_fit_in_float16_on_the_cpu(optimizer, jit):
    found = []
    for policy in ("float32", "mixed_float16"):
        model = made(optimizer, policy, jit=jit)
        assert isinstance(model.optimizer, LossScaleOptimizer) == (policy != "float32")
        history = model.fit(*data(), batch_size=8, epochs=3, verbose=0).history["loss"]
        found.append((history, weights_of(model)))
    (losses, expected), (scaled_losses, weights) = found
    assert losses[-1] < losses[0]
    numpy.testing.assert_allclose(scaled_losses, losses, rtol=1e-5)
    numpy.testing.assert_allclose(weights, expected, rtol=1e-4, atol=1e-6)


def test_compile_keeps_what_it_scales():
    inner = Adam(0.01)
    model = made(inner, "float16")
    first = model.optimizer
    assert first.inner_optimizer is inner
    model.fit(*data(), verbose=0)
    for policy, optimizer in (("float16", inner), ("float16", first), ("float32", first)):
        with tg.mixed_precision(policy):
            model.compile(optimizer, "mse")
        assert model.optimizer is first
        assert inner.iterations == 2
    model.compile(inner, "mse")  # without scaling it goes on, too
    assert model.optimizer is inner
    assert inner.iterations == 2
    with tg.mixed_precision("bfloat16"):
        model.compile("adam", "mse")
    assert type(model.optimizer) is Adam
    assert inner.parameters == []
    with tg.mixed_precision("float16"):
        model.compile(LBFGS(), "mse")
    assert type(model.optimizer) is LBFGS


def test_continues_from_its_state_bit_for_bit():
    def trained(saved, first, last):
        w = tg.tensor(START, dtype="float32", requires_grad=True)
        optimizer = LossScaleOptimizer(Adam(0.1), 8.0, 3).build([w])
        if saved is not None:
            w.assign_(saved[0])
            optimizer.load_state_dict(saved[1])
        for number in range(first, last):
            optimizer.minimize(quadratic(w, tg.tensor(TARGET, dtype="float32"), numpy.inf if number in BAD else 1.0))
        return w.detach().numpy().copy(), optimizer.state_dict()

    whole = trained(None, 0, STEPS)
    parts = trained(trained(None, 0, 9), 9, STEPS)
    assert {"dynamic_scale", "step_counter", "0.velocity", "iterations", "learning_rate"} < whole[1].keys()
    for name, value in whole[1].items():
        numpy.testing.assert_array_equal(parts[1][name], value)
    numpy.testing.assert_array_equal(parts[0], whole[0])
    with pytest.raises(ValueError, match="dynamic_scale"):
        LossScaleOptimizer(SGD()).build([weight()]).load_state_dict(SGD().build([weight()]).state_dict())


def test_a_training_is_resumed_bit_for_bit(tmp_path):
    def trained(epochs, file):
        model = made("adam", "float16")
        backup = callbacks.BackupAndRestore(tmp_path / file, delete_checkpoint=False)
        model.fit(*data(), batch_size=8, epochs=epochs, verbose=0, callbacks=[backup])
        return weights_of(model), model.optimizer.step_counter.item()

    whole, counter = trained(4, "whole")
    trained(2, "parts")
    found, found_counter = trained(4, "parts")
    numpy.testing.assert_array_equal(found, whole)
    assert counter == found_counter == 24


def test_a_copied_model_scales_its_own_loss():
    model = made("adam", "float16")
    model.fit(*data(), batch_size=8, verbose=0)
    other = copy.deepcopy(model)
    for one in (model, other):
        one.fit(*data(), batch_size=8, verbose=0, shuffle=False)
    assert [one.optimizer.step_counter.item() for one in (model, other)] == [12, 12]
    numpy.testing.assert_array_equal(weights_of(model), weights_of(other))


def simulated_training(policy, steps, rate=0.5):
    """The weights after some steps of gradient descent on all rows, in float64 but for the factors of products."""
    x, t = data()
    w, b, v, c = (part.astype("float64") for part in made("sgd").get_weights())

    def product(p, q):
        return rounded(p.astype("f4"), policy).astype("f8") @ rounded(q.astype("f4"), policy).astype("f8")

    for _ in range(steps):
        h = numpy.tanh(product(x, w) + b)
        dy = 2 * (product(h, v) + c - t) / t.size
        dz = product(dy, v.T) * (1 - h * h)
        gradients = product(x.T, dz), dz.sum(axis=0), product(h.T, dy), dy.sum(axis=0)
        w, b, v, c = (part - rate * g for part, g in zip((w, b, v, c), gradients, strict=True))
    return numpy.concatenate([part.ravel() for part in (w, b, v, c)])


@pytest.mark.gpu
@pytest.mark.parametrize("policy", [*ROUNDED, "float32"])
def test_a_recorded_training(policy):
    with tg.use_device("cuda"), tg.mixed_precision(policy):
        model = made(SGD(0.5), policy)
        model.fit(*data(), batch_size=48, epochs=4, verbose=0)
    (step,) = model._steps.values()
    assert step.plans[0].replay.graph is not None
    # float32 may round a few factors to the other side, by one unit of 16 bits
    errors = {name: abs(weights_of(model) - simulated_training(name, 4)).max() for name in (*ROUNDED, "float32")}
    assert errors.pop(policy) < 1e-5
    assert all(error > 2e-5 for error in errors.values())


@pytest.mark.gpu
def test_an_overflow_of_float16_skips_a_replayed_step():
    emugpu = pytest.importorskip("emugpu", reason="only the emulator counts launches")
    w = tg.tensor(numbers((4, 2)), device="cuda", requires_grad=True)
    optimizer = LossScaleOptimizer(Adam(0.1), 2.0**10).build([w])

    @tg.jit
    def step(x):
        optimizer.minimize((x @ w).sum())

    good, bad = (tg.tensor(numpy.full((3, 4), x, "f4"), device="cuda") for x in (1.0, 70_000.0))  # of at most 65504
    before, skipped = [], []
    with tg.mixed_precision("float16"):
        for x in (good, good, good, bad, good, bad):
            before.append(state_of(optimizer, *optimizer.states[0].values()))
            with emugpu.count_launches() as counts:
                step(x)
            assert not counts.device_to_host
            after = state_of(optimizer, *optimizer.states[0].values())
            skipped.append(bool((after[:8] == before[-1][:8]).all() and (after[10:] == before[-1][10:]).all()))
        assert step.plans[0].replay.graph is not None
        assert skipped == [False, False, False, True, False, True]
        assert (optimizer.dynamic_scale.item(), optimizer.iterations, len(step.plans)) == (2.0**8, 6, 1)
    step(bad)  # which float32 holds
    assert (state_of(optimizer)[:8] != after[:8]).all()
