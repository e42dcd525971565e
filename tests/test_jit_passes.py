"""The passes of jit, one by one: programs in, programs out; and plans against eager mode where they write in place."""

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_edu as tg
from tinygrad_edu import Tensor
from tinygrad_edu.jit import fusion, memory, passes, planned
from tinygrad_edu.jit.planned import Planned
from tinygrad_edu.jit.program import Variable
from tinygrad_edu.jit.trace import Trace
from tinygrad_edu.kernels.registry import has_compiler
from tinygrad_edu.tree import leaves

RANDOM = numpy.random.default_rng(0)
X = RANDOM.standard_normal((4, 3)).astype("float32")
W = tg.tensor(RANDOM.standard_normal((3, 5)).astype("float32"))
B = tg.tensor(RANDOM.standard_normal(5).astype("float32"))
IDS = numpy.array([0, 2, 1, 2])


def recorded(function, *arrays):
    """The program of a function of tensors."""
    trace = Trace()
    trace.run(function, tuple(map(Tensor, arrays)), {})
    return trace.program


def names(calls):
    return [call.primitive.name.strip("_") for call in calls]


def twice(x):
    y = tg.exp(x)
    return (y + tg.exp(x)).sum()


def in_checkpoint(x):
    w = tg.ones((4, 3), requires_grad=True)
    tg.checkpoint(lambda w: tg.exp(w * x).sum(), w).backward()
    return w.grad


def checked(x, **options):
    tg.cross_entropy(x, tg.tensor(IDS), **options)
    return x + 1.0


DEAD = {
    "unused": (lambda x: (tg.exp(x), x + 1.0)[1], ["add"]),
    "used by what is unused": (lambda x: (tg.exp(x) * 2.0, x + 1.0)[1], ["add"]),
    "draws stay": (lambda x: (tg.uniform((2,)), x + 1.0)[1], ["draw", "add"]),
    "ranges stay": (checked, ["convert", "outside", "refuse_if", "add"]),
    "checks stay": (lambda x: checked(x, ignore_index=0), ["convert", "look_at", "add"]),
    "what is written stays": (lambda x: (B.assign_(B * 2.0), x)[1], ["multiply"]),
}


@pytest.mark.parametrize("name", DEAD)
def test_dead_code(name):
    function, expected = DEAD[name]
    program = recorded(function, X)
    found = passes.without_dead_code(program)
    assert names(found.calls) == expected
    assert len(program.calls) >= len(found.calls)


REPEATED = {
    "equal calls": (twice, "exp", 1),
    "other operands": (lambda x: tg.exp(x) + tg.exp(x + 1.0), "exp", 2),
    "other attributes": (lambda x: x.sum(axis=0).sum() + x.sum(axis=1).sum(), "sum", 4),
    "1 and 1.0": (lambda x: x * 1 + x * 1.0, "multiply", 2),
    "draws": (lambda x: tg.uniform((4, 3)) + tg.uniform((4, 3)) * x, "draw", 2),
    "what a checkpoint computes again": (in_checkpoint, "exp", 2),
    "views of equal calls": (lambda x: (tg.exp(x).T + tg.exp(x).T).sum(), "transpose", 1),
}


@pytest.mark.parametrize("name", REPEATED)
def test_repetitions(name):
    function, primitive, count = REPEATED[name]
    program = recorded(function, X)
    found = passes.without_repetitions(program)
    assert names(found.calls).count(primitive) == count
    made = {v for call in found.calls for v in call.makes()} | found.inputs.keys()
    assert all(v in made for call in found.calls for v in call.reads())
    assert all(end in made for end in found.ends() if type(end) is Variable)


LOWERED = {
    "linear": (lambda x: tg.linear(x, W, B), ["matmul", "add"]),
    "mean of all": (lambda x: x.mean(), ["sum", "sum", "divide"]),
    "mean of rows": (lambda x: x.mean(axis=1), ["sum", "divide"]),
    "largest of all": (lambda x: x.max(), ["max", "max"]),
    "sum of columns": (lambda x: x.sum(axis=0), ["sum"]),
    "parts": (lambda x: tg.split(x, [1, 1], axis=1), ["part_of"] * 3),
}


@pytest.mark.parametrize("name", LOWERED)
def test_lowered(name):
    function, expected = LOWERED[name]
    assert names(passes.lowered(recorded(function, X)).calls) == expected


@pytest.mark.skipif(not has_compiler(), reason="no machine code: small arrays are left to Python calls")
def test_nothing_runs_for_the_parts_of_a_split():
    def function(x):
        first, rest = tg.split(tg.exp(x), [1], axis=1)
        _, last = tg.split(rest * first, 2, axis=1)
        return tg.tanh(last), rest

    jitted, x = tg.jit(function), tg.tensor(X)
    for _ in range(2):
        for made, expected in zip(jitted(x), function(x), strict=True):
            numpy.testing.assert_allclose(made.numpy(), expected.numpy(), rtol=1e-6)
    replay = jitted.plans[0].replay
    assert not any(map(replay.is_python, replay.fusion.units))


JOINED = {
    "made here": (lambda x: tg.concatenate([(x + 1.0).ravel(), (x * 2.0).ravel()]), 0),
    "an input": (lambda x: tg.concatenate([(x + 1.0).ravel(), x.ravel()]), 1),
    "one thing twice": (lambda x: tg.concatenate([y := (x + 1.0).ravel(), y]), 1),
    "a transposed array": (lambda x: tg.concatenate([(x + 1.0).T.ravel(), (x * 2.0).ravel()]), 1),
    "made by a Python call": (lambda x: tg.concatenate([tg.cumsum(x), x.ravel() * 2.0]), 1),
    "joined before": (lambda x: tg.concatenate([tg.concatenate([x.ravel() * 2.0, x.ravel() * 3.0]), x[0]]), 2),
    "rows": (lambda x: tg.concatenate([x + 1.0, x[:2] * 2.0, x]), 1),
    "side by side": (lambda x: tg.concatenate([wide(x) * 2.0, tg.exp(wide(x))[:, 1:], wide(x)], axis=1), 3),
    "along the last axis": (lambda x: tg.concatenate([wide(x) + 1.0, wide(x).sum(axis=0) * wide(x)], axis=-1), 2),
    "one thing twice side by side": (lambda x: tg.concatenate([y := wide(x) - 1.0, y], axis=2) * 2.0, 2),
    "with the sums of its rows": (lambda x: tg.concatenate([tg.softmax(wide(x)), wide(x)], axis=1).sum(axis=-1), 2),
    "a product": (lambda x: tg.concatenate([x @ tg.ones((3, 16)), tg.exp(x) @ tg.ones((3, 20))], axis=1), 2),
    "joined before side by side": (lambda x: tg.concatenate([tg.concatenate([wide(x)] * 2, axis=1), wide(x)], 1), 4),
    "short stretches": (lambda x: tg.concatenate([x * 2.0, x], axis=1), 0),
}


IMAGES = RANDOM.standard_normal((2, 5, 6, 3))
FILTERS = tg.tensor(RANDOM.standard_normal((3, 2, 3, 4)), requires_grad=True)
AROUND = ((0, 0), (1, 0), (2, 1), (0, 0))


def convolved_twice(x):
    x = tg.pad(x, AROUND)
    return tg.conv2d(x, FILTERS, padding=(1, (0, 2))), x.mean()


def gradients(x):
    x = x.detach().requires_grad_()
    FILTERS.grad = None
    tg.square(tg.conv2d(tg.pad(x, AROUND), FILTERS, strides=2)).sum().backward()
    made, FILTERS.grad = FILTERS.grad, None
    return made, x.grad


BORDERS = {
    "zeros": (lambda x: tg.conv2d(tg.pad(x, AROUND), FILTERS, strides=2, padding="same"), ["conv"]),
    "numbers": (lambda x: tg.conv2d(tg.pad(x, AROUND, 1.0), FILTERS), ["pad", "conv"]),
    "of channels, too": (lambda x: tg.conv2d(tg.pad(x[..., :1], (*AROUND[:-1], (1, 1))), FILTERS), ["pad", "conv"]),
    "of the batch, too": (lambda x: tg.conv2d(tg.pad(x, ((0, 1), *AROUND[1:])), FILTERS), ["pad", "conv"]),
    "twice": (lambda x: tg.conv2d(tg.pad(tg.pad(x, AROUND), AROUND), FILTERS), ["pad", "conv"]),
    "that are needed": (convolved_twice, ["pad", "conv"]),
    "gradients": (gradients, ["conv", "conv_transpose", "conv_kernel"]),
}


@pytest.mark.parametrize("name", BORDERS)
def test_zeros_around_images(name):
    function, expected = BORDERS[name]
    program = recorded(function, IMAGES)
    found = names(passes.optimize(program, join=True).calls)
    assert [call for call in found if call in ("pad", "conv", "conv_kernel", "conv_transpose")] == expected
    assert names(passes.optimize(program, join=False).calls).count("pad") == max(1, names(program.calls).count("pad"))
    pytest.importorskip("llvmlite")
    pairs = zip(leaves(tg.jit(function)(Tensor(IMAGES))), leaves(function(Tensor(IMAGES))), strict=True)
    for made, defined in pairs:
        numpy.testing.assert_allclose(made.detach().numpy(), defined.detach().numpy(), 1e-11, 1e-11)


def wide(x):
    return tg.broadcast_to(x.reshape((4, 3, 1)), (4, 3, 16))


@pytest.mark.parametrize("name", JOINED)
def test_joined(name):
    """How many copies there are, and that all comes out as in eager mode."""
    function, copies = JOINED[name]
    assert names(passes.joined(recorded(function, X)).calls).count("convert") == copies
    step = tg.jit(function)
    for x in (X, X * 2, X * 3):
        numpy.testing.assert_allclose(step(Tensor(x)).numpy(), function(Tensor(x)).numpy(), rtol=1e-6)


@pytest.mark.parametrize("dtypes", [("float64", "float32"), ("float32", "float64"), ("float16", "float32")])
def test_arrays_of_several_dtypes_are_not_made_in_their_places(dtypes):
    def function(a, b):
        return tg.concatenate([a, b, b + a.sum()])

    parts = [numpy.arange(5).astype(dtype) for dtype in dtypes]
    joined = tg.jit(function)(*parts)
    assert joined.dtype == numpy.result_type(*dtypes)
    assert joined.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 10, 11, 12, 13, 14]


UNITS = {
    "a chain": (lambda x: tg.tanh(tg.exp(x) * 2.0 + 1.0), [["exp", "multiply", "add", "tanh"]]),
    "softmax": (lambda x: tg.softmax(x) * 2.0, [["softmax", "multiply"]]),
    "softmax over columns": (lambda x: tg.softmax(x, axis=0) * 2.0, [["softmax"], ["multiply"]]),
    "a sum over rows in a chain": (lambda x: x / tg.exp(x).sum(axis=1, keepdims=True), [["exp", "sum", "divide"]]),
    "a sum over columns ends it": (lambda x: tg.exp(x).sum(axis=0) * 2.0, [["exp", "sum"], ["multiply"]]),
    "rows, then columns": (lambda x: tg.softmax(x).sum(axis=0), [["softmax"], ["sum"]]),
    "two heads": (lambda x: (x * 2.0) + tg.exp(x), [["multiply", "exp", "add"]]),
    "a product between": (
        lambda x: (y := tg.exp(x)) + ((y @ W) @ W.T),
        [["exp"], ["matmul"], ["matmul"], ["add"]],
    ),
    "another shape": (lambda x: tg.exp(x)[0] * 2.0, [["exp"], ["multiply"]]),
    "a transposed operand": (lambda x: (y := tg.exp(x[:3])) + y.T, [["exp"], ["add"]]),
    "bias and activation": (lambda x: tg.relu(tg.linear(x, W, B)), [["matmul"], ["add", "relu"]]),
    "a norm": (
        lambda x: (x - x.mean(axis=1, keepdims=True)) / tg.sqrt(x.var(axis=1, keepdims=True) + 1e-5),
        [["sum", "divide", "subtract", "var", "add", "sqrt", "divide"]],
    ),
    "0-d": (lambda x: tg.exp(x.sum()) * 2.0, [["sum"], ["sum", "exp", "multiply"]]),
    "half precision": (lambda x: tg.exp(x.astype("float16")) * 2.0, [["convert"], ["exp"], ["multiply"]]),
}


@pytest.mark.parametrize("name", UNITS)
def test_units(name):
    function, expected = UNITS[name]
    program = passes.optimize(recorded(function, X), join=True)
    units = fusion.Fusion(program).units
    assert sorted(names(unit.calls) for unit in units) == sorted(expected)
    done = set()
    for unit in units:
        assert unit.above <= done, "a unit runs before one that it needs"
        done.add(unit)
    step = tg.jit(function)
    for x in (X, X * 2, X + 1):
        numpy.testing.assert_allclose(step(Tensor(x)).numpy(), function(Tensor(x)).numpy(), rtol=2e-5, atol=1e-6)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5), st.integers(0, 300)), max_size=12))
def test_blocks_alive_together_do_not_overlap(drawn):
    blocks = [memory.Block(first, first + length, size) for first, length, size in drawn]
    end = memory.place(blocks)
    assert end >= memory.peak(blocks)
    for i, a in enumerate(blocks):
        assert a.offset % memory.ALIGNMENT == 0
        assert a.offset + a.size <= end
        for b in blocks[:i]:
            apart = a.offset + max(a.size, 1) <= b.offset or b.offset + max(b.size, 1) <= a.offset
            assert apart or a.last < b.first or b.last < a.first


def test_an_output_takes_the_place_of_an_input_that_ends():
    plan = Planned(recorded(lambda x: tg.exp(x @ W) @ W.T, X), compiled=True)
    made = [v for v in plan.blocks if v.shape == (4, 5)]
    assert len(made) == 2
    assert plan.blocks[made[0]] is plan.blocks[made[1]]


def test_an_output_takes_the_place_of_an_input_of_another_shape():
    plan = Planned(recorded(lambda x: tg.exp((x @ W).reshape((2, 2, 5))).reshape((4, 5)) @ W.T, X), compiled=True)
    product, exponential = (next(v for v in plan.blocks if v.shape == shape) for shape in ((4, 5), (2, 2, 5)))
    assert plan.blocks[product] is plan.blocks[exponential]
    function = tg.jit(lambda x: tg.exp((x @ W).reshape((2, 2, 5))).reshape((4, 5)) @ W.T)
    for _ in range(2):
        expected = numpy.exp(X @ W.numpy()) @ W.numpy().T
        numpy.testing.assert_allclose(function(tg.tensor(X)).numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("part", [lambda h: h[1:], lambda h: h.T[::-1], lambda h: h[::-1]])
def test_an_output_takes_not_the_place_of_a_part_or_of_an_input_that_lies_otherwise(part):
    def function(x):
        return tg.matmul(tg.exp(part(x @ W)), 2.0 * tg.ones((part(x @ W).shape[1], 2)))

    plan = Planned(recorded(function, X), compiled=True)
    product = next(v for v in plan.blocks if v.shape == (4, 5))
    assert [plan.blocks[v] is plan.blocks[product] for v in plan.blocks].count(True) == 1
    expected = numpy.exp(part(X @ W.numpy())).sum(axis=1, keepdims=True) * [2.0, 2.0]
    for _ in range(2):
        numpy.testing.assert_allclose(tg.jit(function)(tg.tensor(X)).numpy(), expected, rtol=1e-5)


def test_of_two_products_the_one_that_frees_more_is_made_first():
    def both(x):
        h = tg.exp(x @ W)  # (4, 5), read by the second product last
        g = tg.ones((4, 3)) * x
        return g @ W, h.T @ g, h

    def last(x):
        h = tg.exp(x @ W)
        g = tg.ones((4, 3)) * x
        return g @ W, h.T @ g

    def needs(x):
        h = tg.exp(x @ W)
        return (x @ W) @ (h.T @ x)

    for function, order in ((both, [(4, 5), (4, 5), (5, 3)]), (last, [(4, 5), (5, 3), (4, 5)])):
        program = passes.frugal(recorded(function, X))
        assert [call.outputs.shape for call in program.calls if call.primitive.name == "_matmul"] == order
    for function in (both, last, needs):
        for made, expected in zip(leaves(tg.jit(function)(tg.tensor(X))), leaves(function(tg.tensor(X))), strict=True):
            numpy.testing.assert_allclose(made.numpy(), expected.numpy(), rtol=1e-5)


# Writing in place: each of these would be wrong if a group wrote what another one still reads


def swap(a, b, x):
    a.assign_(b * 1.5)
    b.assign_(a * 0.5 + x)


def cross(a, b, x):
    old = a + 0.0
    a.assign_(b + x)
    b.assign_(old - x)


def read_after(a, b, x):
    a.assign_(a + x)
    b.assign_(a * 2.0)


def transposed(a, b, x):
    a.assign_(a.T + x)


def window(a, b, x):
    a.assign_(a + x)
    b.assign_(b + a[0, 0])


def twice_written(a, b, x):
    a.assign_(a + x)
    b.assign_(tg.softmax(a))
    a.assign_(a * 0.5)


def return_old(a, b, x):
    old = a.detach() * 1.0
    a.assign_(a * 2.0)
    return old + x


def same_value(a, b, x):
    y = a * 0.5 + x
    a.assign_(y)
    b.assign_(y)


WRITES = [swap, cross, read_after, transposed, window, twice_written, return_old, same_value]


@pytest.mark.parametrize("fuse", [False, True])
@pytest.mark.parametrize("function", WRITES, ids=lambda function: function.__name__)
def test_writes(function, fuse):
    def world():
        return tg.tensor(numpy.eye(3) + 1.0, dtype="float32"), tg.tensor(numpy.arange(9.0).reshape(3, 3) * 0.1)

    x = tg.tensor([[0.1, 0.2, 0.3]] * 3)
    eager, traced = world(), world()
    eager, traced = ([t.astype("float32") for t in pair] for pair in (eager, traced))
    step = tg.jit(lambda x: function(*traced, x), fuse=fuse)
    for _ in range(4):
        expected, found = function(*eager, x), step(x)
        for a, b in zip((*eager, expected), (*traced, found), strict=True):
            if a is not None:
                numpy.testing.assert_allclose(b.numpy(), a.numpy(), rtol=1e-6)


COLUMN = tg.tensor([[1.0], [2.0], [3.0], [4.0]])
HALVES = numpy.array([[True, False], [False, False], [True, True], [False, True]])

LIKE_EAGER = {
    "ones times a sum": lambda x: tg.ones_like(x) * x.sum(axis=-1, keepdims=True),
    "a repeated column": lambda x: tg.broadcast_to(COLUMN, (4, 3)) + x.sum(axis=-1, keepdims=True),
    "softmax of a repeated column": lambda x: tg.softmax(tg.broadcast_to(COLUMN, (4, 3))) + 0.0 * x,
    "a repeated sum": lambda x: tg.broadcast_to(tg.tanh(x).sum(axis=-1, keepdims=True), (4, 3)) * 2.0,
    "zeros and a mean": lambda x: tg.zeros_like(x) + tg.exp(x).mean(axis=-1, keepdims=True),
    "0.0 and -0.0": lambda x: tg.concatenate([1.0 / (x * x * 0.0 + 0.0), 1.0 / (x * x * -0.0 - 0.0)]),
    "largest of booleans": lambda x: tg.tensor(HALVES).max(axis=-1).astype("float32") + x[:, 0],
    "integers and a large float": lambda x: (tg.tensor([16777217, 5, 1, 2]) > 16777216.5) + x[:, 0],
    "two groups and a sum over both axes": lambda x: (
        (lambda a: a - a.sum(axis=(1, 2), keepdims=True))(tg.exp(x.reshape(2, 3, 2)))
        + tg.tanh((x * 2.0).reshape(2, 2, 3).transpose(0, 2, 1)) * x.reshape(2, 3, 2)
    ),
}


WIDE = numpy.random.default_rng(0).standard_normal((20_000, 4), dtype="float32")
LIKE_EAGER_IF_LARGE = {
    "negative, transposed": lambda x: -tg.transpose(x),
    "negative, transposed, and used": lambda x: (lambda y: y * 2.0 + tg.transpose(x) + y)(-tg.transpose(x)),
    "finite, transposed": lambda x: tg.isfinite(tg.transpose(x)),
    "softmax of one row": lambda x: tg.softmax(tg.broadcast_to(x[0], (256, 4)).reshape(4, 256)) * 2.0,
    "softmax of a repeated row": lambda x: tg.softmax(tg.broadcast_to(x[:256, 0], (256, 256))),
}


@pytest.mark.parametrize("compiled", ["0", "1"])
@pytest.mark.parametrize("name", LIKE_EAGER_IF_LARGE)
def test_like_eager_if_large(name, compiled, monkeypatch):
    monkeypatch.setenv("TINYGRAD_EDU_FAST", compiled)
    function = LIKE_EAGER_IF_LARGE[name]
    expected = function(Tensor(WIDE)).numpy()
    other = Tensor(numpy.ones(expected.shape, "float32"))
    step = tg.jit(lambda x: (lambda y: (y, y + other))(function(x)))
    for found, more in zip(step(Tensor(WIDE)), (0.0, 1.0), strict=True):
        numpy.testing.assert_allclose(found.numpy(), expected + more, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("compiled", ["0", "1"])
@pytest.mark.parametrize("name", LIKE_EAGER)
def test_like_eager(name, compiled, monkeypatch):
    monkeypatch.setenv("TINYGRAD_EDU_FAST", compiled)
    monkeypatch.setattr(planned, "LARGE", 0)
    step = tg.jit(LIKE_EAGER[name])
    for x in (X, X * 2, X - 1):
        with numpy.errstate(divide="ignore"):
            expected, found = LIKE_EAGER[name](Tensor(x)).numpy(), step(Tensor(x)).numpy()
        numpy.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("compiled", ["0", "1"])
def test_no_mask_is_kept_for_the_gradient_of_relu(compiled, monkeypatch):
    monkeypatch.setenv("TINYGRAD_EDU_FAST", compiled)
    w = tg.tensor(numpy.ones((3, 3), "float32"), requires_grad=True)

    @tg.jit
    def step(x):
        tg.square(tg.relu(x @ w) @ w).sum().backward()
        g, w.grad = w.grad, None
        return g

    numpy.testing.assert_allclose(step(Tensor(X)).numpy(), step(Tensor(X)).numpy())
    made = step.plans[0].replay.lifetimes
    assert made
    assert all(v.dtype == "float32" for v in made)


def test_other_byte_orders():
    step = tg.jit(lambda x: x * 2 + 1)
    for kind in (">f4", ">i8", "<f4"):
        assert step(Tensor(numpy.arange(3, dtype=kind))).tolist() == [1, 3, 5]


def test_sums_of_long_rows():
    x = numpy.full(3_000_000, 0.1, dtype="float32")
    step = tg.jit(lambda x: ((x * 1.5).sum(), x.mean()))
    total, mean = step(Tensor(x))
    assert total.item() == pytest.approx(450_000, rel=1e-6)
    assert mean.item() == pytest.approx(0.1, rel=1e-6)
