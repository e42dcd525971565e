"""The recurrent networks' kernels for CUDA: PyTorch's values and gradients in double precision, masks, NaN, and how
many launches there are."""

import inspect

import numpy as np
import pytest
from op_cases import assert_near
from test_mixed_precision import ROUNDED

import tinygrad_edu as tg
from tinygrad_edu.autograd.primitive import primitives
from tinygrad_edu.kernels.cuda import recipes
from tinygrad_edu.kernels.registry import Form

torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")
references = pytest.importorskip("torch_references")

from torch_rounded import Rounded  # noqa: E402  (needs torch)

pytestmark = pytest.mark.gpu

NETWORKS = {  # blocks of columns, states, attributes
    "linear": ("simple_rnn", 1, 1, {"activation": "linear"}),
    "relu": ("simple_rnn", 1, 1, {"activation": "relu"}),
    "sigmoid": ("simple_rnn", 1, 1, {"activation": "sigmoid"}),
    "tanh": ("simple_rnn", 1, 1, {"activation": "tanh"}),
    "lstm": ("lstm", 4, 2, {}),
    "gru": ("gru", 3, 1, {"reset_after": True}),
    "gru, reset before": ("gru", 3, 1, {"reset_after": False}),
}
CASES = {  # batch, time, features, units; options
    "ones": ((1, 1, 1, 1), ()),
    "odd": ((3, 5, 7, 11), ()),
    "vectors": ((4, 6, 8, 32), ("reverse",)),
    "several blocks": ((2, 3, 5, 131), ("mask",)),
    "without bias": ((3, 4, 2, 5), ("no bias", "mask", "reverse")),
    "long": ((5, 70, 2, 3), ("mask",)),
    "long, reversed": ((5, 70, 2, 3), ("mask", "reverse")),
    "outputs only": ((3, 4, 2, 5), ("outputs only", "mask")),
    "states only": ((3, 4, 2, 5), ("states only", "mask")),
    "one masked step": ((1, 1, 2, 3), ("mask",)),
}
SLACK = 20
"""Rounding errors, of the largest number: sums have up to 350 terms. Five were seen, and a GPU's functions add some."""

ERRORS = {"bfloat16": 2.0**-8 / SLACK / 32, "float16": 2.0**-11 / SLACK / 32}
"""What errors count in 16 bits: altogether a 32nd of one rounding, for a number of a state that lies just between two
may be rounded to the other side, as one factor of many."""


def masked(rng, batch, time):
    """Rows without any step, that begin late, that end early, and others."""
    mask = rng.random((batch, time)) < 0.6
    mask[0] = False
    mask[1:2, : time // 2 + 1] = False
    mask[2:3, 2:] = False
    return mask


def arrays_of(rng, network, sizes, options=()):
    """x, kernel, recurrent kernel, bias or None, and initial states."""
    (_, blocks, states, attributes), (batch, time, features, units) = NETWORKS[network], sizes
    shapes = [(batch, time, features), (features, blocks * units), (units, blocks * units)]
    bias = (2, blocks * units) if attributes.get("reset_after") else (blocks * units,)
    made = [rng.normal(size=shape) for shape in (*shapes, bias, *[(batch, units)] * states)]
    made[2] /= 2 * np.sqrt(units)  # so that errors do not grow from step to step
    return [*made[:3], None if "no bias" in options else made[3], *made[4:]]


def simple_rnn(x, kernel, recurrent, bias, h, mask, reverse, activation):
    def cell(x, h, w, u):
        a = x @ w.T + h @ u.T + (0 if bias is None else bias)
        return a if activation == "linear" else getattr(torch, activation)(a)

    return references._recurrent(cell, x, kernel, recurrent, (), (h,), mask, reverse)


def gru(x, kernel, recurrent, bias, h, mask, reverse, reset_after):
    if reset_after:
        return references._gru(x, kernel, recurrent, bias, h, mask, reverse)

    def cell(x, h, w, u):
        az, ar, ac = (x @ w.T + (0 if bias is None else bias)).chunk(3, dim=1)
        uz, ur, uc = (part.T for part in u.chunk(3))
        z, r = (az + h @ uz).sigmoid(), (ar + h @ ur).sigmoid()
        return z * h + (1 - z) * (ac + (r * h) @ uc).tanh()

    return references._recurrent(cell, x, kernel, recurrent, (), (h,), mask, reverse)


TORCH = {"simple_rnn": simple_rnn, "lstm": references._lstm, "gru": gru}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("network", NETWORKS)
def test_values_and_gradients_are_those_of_pytorch(network, case, dtype):
    compare(network, case, dtype)


@pytest.mark.parametrize("precision", ROUNDED)
@pytest.mark.parametrize("case", ["odd", "vectors", "without bias", "outputs only", "states only"])
@pytest.mark.parametrize("network", NETWORKS)
def test_products_in_16_bits(network, case, precision):
    with tg.mixed_precision(precision), Rounded(ROUNDED[precision]):
        compare(network, case, "float32", ERRORS[precision])


@pytest.mark.parametrize("network", NETWORKS)
def test_mixed_precision_leaves_float64(network):
    with tg.mixed_precision("bfloat16"):
        compare(network, "odd", "float64")


def compare(network, case, dtype, error=None):
    import cupy

    (name, _, states, attributes), (sizes, options) = NETWORKS[network], CASES[case]
    rng = np.random.default_rng(0)
    arrays = [None if a is None else a.astype(dtype) for a in arrays_of(rng, network, sizes, options)]
    attributes = {**attributes, "reverse": "reverse" in options}
    mask = masked(rng, *sizes[:2]) if "mask" in options else None
    used = range(states + 1)
    used = used[:1] if "outputs only" in options else used[1:] if "states only" in options else used
    shapes = [(*sizes[:2], sizes[3]), *[(sizes[0], sizes[3])] * states]
    slopes = [rng.normal(size=shape).astype(dtype) for shape in shapes]

    theirs = [None if a is None else torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in arrays]
    wanted = TORCH[name](*theirs, mask=None if mask is None else torch.tensor(mask), **attributes)
    sum((wanted[i] * torch.tensor(slopes[i])).sum() for i in used).backward()
    if mask is not None:
        arrays[0][~mask] = np.nan  # which reaches nothing
    ours = [None if a is None else tg.Tensor(cupy.asarray(a), requires_grad=True) for a in arrays]
    found = getattr(tg, name)(*ours, mask=None if mask is None else tg.Tensor(cupy.asarray(mask)), **attributes)
    sum((found[i] * tg.Tensor(cupy.asarray(slopes[i]))).sum() for i in used).backward()
    for y, z in zip(found, wanted, strict=True):
        assert_near(y.detach(), z.detach().numpy(), SLACK, f"{network}, {case}", error)
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if a is not None:
            assert a.grad.dtype == dtype
            right = np.zeros(b.shape) if b.grad is None else b.grad.numpy()
            assert_near(a.grad, right, SLACK, f"{network}, {case}: gradient {i}", error)


@pytest.mark.parametrize("value", [1.0, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("network", NETWORKS)
def test_values_and_residuals_are_those_of_the_definition_also_where_they_are_not_finite(network, value):
    import cupy

    name, *_, attributes = NETWORKS[network]
    rng = np.random.default_rng(1)
    arrays = arrays_of(rng, network, (3, 5, 4, 6))
    arrays[0][1, 2, 3] = value
    mask = np.ones((3, 5), bool)
    mask[1, 3] = False
    attributes = {**attributes, "tracked": True, "reverse": False}
    path = primitives[f"_{name}"].forward.recipe
    made = recipes.run(path, [cupy.asarray(a) for a in (*arrays, mask)], attributes)
    with np.errstate(invalid="ignore", over="ignore"):
        defined, residuals = inspect.unwrap(primitives[f"_{name}"].forward)(np, *arrays, mask, **attributes)
    for y, z in zip(made, (*defined, *residuals), strict=True):
        assert_near(y.get(), z, SLACK, network)
    if np.isnan(value):
        assert np.isnan(made[0].get()[1, 2:]).all()
        assert np.isfinite(made[0].get()[[0, 2]]).all()


@pytest.mark.parametrize("network", NETWORKS)
def test_what_overflowed_in_a_masked_step_reaches_nothing(network):
    """None of the residuals of that step, but for the states."""
    import cupy

    name, _, states, attributes = NETWORKS[network]
    rng = np.random.default_rng(2)
    arrays, mask = arrays_of(rng, network, (3, 4, 2, 5)), np.ones((3, 4), bool)
    mask[:, 1] = False
    forward, gradient = primitives[f"_{name}"].forward, primitives[f"_{name}_gradient"].forward.recipe
    attributes = {**attributes, "reverse": False}
    made = recipes.run(forward.recipe, [cupy.asarray(a) for a in (*arrays, mask)], attributes | {"tracked": True})
    (y, *last), residuals = made[: 1 + states], made[1 + states :]
    given = [y, *last, *(cupy.asarray(a) for a in (*arrays[:3], mask))]
    attributes |= {"needs": (True,) * (4 + states)}
    expected = recipes.run(gradient, [*given, *residuals], attributes)
    for a in residuals:
        if len(a) == 4:
            a[1] = np.inf
    for found, right in zip(recipes.run(gradient, [*given, *residuals], attributes), expected, strict=True):
        np.testing.assert_array_equal(found.get(), right.get())


@pytest.mark.parametrize("precision", ROUNDED)
def test_recorded_in_16_bits(precision):
    rng = np.random.default_rng(6)
    shapes = [(2, 6, 5, 4), (3, 3, 4, 8), (1, 1, 8, 4), (20, 32), (8, 32), (32,), (2, 8)]
    arrays = [rng.normal(size=shape).astype("float32") / 2 for shape in shapes]
    with tg.use_device("cuda"), tg.mixed_precision(precision):
        x, *weights = (tg.tensor(a, requires_grad=i > 0) for i, a in enumerate(arrays))

        @tg.jit
        def gradients(x):
            y = tg.relu(tg.conv2d(x, weights[0], padding="same"))
            y = tg.reshape(tg.conv2d(y, weights[1]), (2, 6, 20))
            tg.square(tg.lstm(y, *weights[2:], weights[-1])[0]).sum().backward()
            found = [w.grad for w in weights]
            for w in weights:
                w.grad = None
            return found

        found = [gradients(x) for _ in range(3)]  # the last two by a graph
        assert gradients.plans[0].replay.graph is not None
    with Rounded(ROUNDED[precision]):
        x, *weights = (torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in arrays)
        y = torch.relu(references.TORCH["conv2d"](x, weights[0], padding="same"))
        y = references.TORCH["conv2d"](y, weights[1]).reshape(2, 6, 20)
        references._lstm(y, *weights[2:], weights[-1])[0].square().sum().backward()
    for made in found:
        for i, (a, w) in enumerate(zip(made, weights, strict=True)):
            assert_near(a, w.grad.numpy(), SLACK, f"gradient {i}", ERRORS[precision])


LAUNCHES = {"gru, reset before": 4}
"""Of a step, where it takes more than two."""


@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize("network", NETWORKS)
def test_there_are_two_launches_a_step(network, tracked):
    name, _, states, attributes = NETWORKS[network]
    batch, time, units = 3, 9, 4
    form = [
        Form(a.shape, a.dtype, a.strides) for a in arrays_of(np.random.default_rng(3), network, (batch, time, 2, units))
    ]
    forward, gradient = (primitives[f"_{name}{end}"].forward.recipe for end in ("", "_gradient"))
    attributes = {**attributes, "reverse": True}
    made = recipes.recipe(forward, [*form, None], attributes | {"tracked": tracked})
    a_step = LAUNCHES.get(network, 2)
    assert len(made.tasks) == 1 + a_step * time
    if not tracked:
        assert len(made.outputs) == 1 + states
        return
    kept = [Form(shape, np.dtype(dtype), ()) for shape, dtype in made.outputs]
    kept = [f._replace(strides=np.empty(f.shape, f.dtype).strides) for f in kept]
    given = [*kept[: 1 + states], *form[:3], None, *kept[1 + states :]]
    back = recipes.recipe(gradient, given, attributes | {"needs": (True,) * (4 + states)})
    more = {"gru": 6, "gru, reset before": 6}.get(network, 5)  # dh, dx, and one a weight; or two
    assert len(back.tasks) == more + a_step * time


@pytest.mark.parametrize("precision", ["float32", *ROUNDED])
@pytest.mark.parametrize("network", NETWORKS)
def test_in_16_bits_one_more_launch_rounds_what_does_not_change(network, precision):
    import cupy

    emugpu = pytest.importorskip("emugpu", reason="only the emulator counts launches")
    name, _, states, attributes = NETWORKS[network]
    batch, time, units = 4, 9, 4
    arrays = [cupy.asarray(a, "float32") for a in arrays_of(np.random.default_rng(4), network, (batch, time, 4, units))]
    attributes = {**attributes, "reverse": False}
    forward, gradient = (primitives[f"_{name}{end}"].forward.recipe for end in ("", "_gradient"))
    a_step, more = LAUNCHES.get(network, 2), {"gru": 6, "gru, reset before": 6}.get(network, 5)
    with tg.mixed_precision(precision):
        for _ in range(2):  # once to compile
            with emugpu.count_launches() as counts:
                made = recipes.run(forward, [*arrays, None], attributes | {"tracked": True})
            given = [*made[: 1 + states], *arrays[:3], None, *made[1 + states :]]
            with emugpu.count_launches() as of_gradient:
                recipes.run(gradient, given, attributes | {"needs": (True,) * (4 + states)})
    rounding = precision != "float32"
    assert len(counts) == 1 + a_step * time + rounding
    assert len(of_gradient) == more + a_step * time + rounding
