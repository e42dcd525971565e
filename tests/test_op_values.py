"""Values of operations where the table cannot look: kinks and ties, zeros and infinities, weak scalars, methods."""

import math

import numpy
import pytest

import tinygrad_edu as tg
from tinygrad_edu import Tensor
from tinygrad_edu.autograd import Primitive
from tinygrad_edu.ops import bind, networks, pooling, reductions

INF, NAN = math.inf, math.nan


def gradient(f, *arrays):
    """The gradients of the sum of f at arrays."""
    inputs = [tg.tensor(a, dtype="float64", requires_grad=True) for a in arrays]
    f(*inputs).sum().backward()
    return [t.grad.tolist() for t in inputs]


KINKS = {
    "absolute": (tg.absolute, [0.0], [0.0]),
    "relu": (tg.relu, [-1.0, 0.0, 1.0], [0.0, 0.0, 1.0]),
    "sign": (tg.sign, [0.0], [0.0]),
    "clip at its bounds": (lambda x: tg.clip(x, -1.0, 1.0), [-2.0, -1.0, 0.0, 1.0, 2.0], [0.0, 1.0, 1.0, 1.0, 0.0]),
    "max": (tg.max, [1.0, 3.0, 3.0, 2.0], [0.0, 0.5, 0.5, 0.0]),
    "max of three": (lambda x: tg.max(x, axis=0), [2.0, 2.0, 2.0], [1 / 3] * 3),
    "min": (tg.min, [[1.0, 1.0], [0.0, 1.0]], [[0.0, 0.0], [1.0, 0.0]]),
    "norm of zeros": (tg.norm, [0.0, 0.0], [0.0, 0.0]),
    "norm of order 1": (lambda x: tg.norm(x, ord=1), [0.0, -2.0], [0.0, -1.0]),
    "norm of order inf": (lambda x: tg.norm(x, ord=INF), [-2.0, 2.0, 1.0], [-0.5, 0.5, 0.0]),
    "norm of order 3": (lambda x: tg.norm(x, axis=1, ord=3), [[0.0, 0.0], [0.0, 2.0]], [[0.0, 0.0], [0.0, 1.0]]),
    "power 0": (lambda x: x**0, [0.0, -2.0, 3.0], [0.0, 0.0, 0.0]),
    "power 1": (lambda x: x**1, [0.0, -2.0], [1.0, 1.0]),
    "power 2": (lambda x: x**2, [0.0, -2.0], [0.0, -4.0]),
    "power of two arrays": (
        lambda x: x ** tg.tensor([0.0, 1.0, 2.0, 2.0], dtype="float64"),
        [0.0, 0.0, 0.0, -3.0],
        [0.0, 1.0, 0.0, -6.0],
    ),
    "prod with one zero": (tg.prod, [2.0, 0.0, 3.0], [0.0, 6.0, 0.0]),
    "prod with two zeros": (tg.prod, [2.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
    "cumprod with two zeros": (tg.cumprod, [2.0, 0.0, 3.0, 0.0], [1.0, 8.0, 0.0, 0.0]),
    "sort of equal elements": (lambda x: tg.sort(x) * tg.arange(3.0), [1.0, 0.0, 1.0], [1.0, 0.0, 2.0]),
    "logsumexp with -inf": (tg.logsumexp, [-INF, 0.0, 0.0], [0.0, 0.5, 0.5]),
    "logsumexp of -inf": (tg.logsumexp, [-INF, -INF], [0.0, 0.0]),
    "std of equal values": (tg.std, [3.0, 3.0], [0.0, 0.0]),
    "std along an axis": (lambda x: tg.std(x, axis=1), [[2.0, 2.0], [0.0, 2.0]], [[0.0, 0.0], [-0.5, 0.5]]),
    "norm of order 0.5": (lambda x: tg.norm(x, ord=0.5), [0.0, 4.0], [0.0, 1.0]),
    "softmax with -inf": (lambda x: tg.softmax(x)[1], [-INF, 0.0, 0.0], [0.0, 0.25, -0.25]),
    "where, the other side NaN": (lambda x: tg.where(x > 0, x, tg.log(tg.where(x > 0, 1.0, 0.5))), [1.0], [1.0]),
    "where, a NaN not chosen": (lambda x: tg.where(tg.isfinite(x), x, 0.0), [NAN, 1.0], [0.0, 1.0]),
    "max_pool2d": (
        lambda x: tg.max_pool2d(x.reshape(1, 2, 2, 1), 2),
        [1.0, 1.0, 0.0, 1.0],
        [1.0, 0.0, 0.0, 0.0],
    ),
    "adaptive_max_pool1d, the last of a part": (  # the parts are 0 to 2, 1 to 4, 3 to 5
        lambda x: tg.adaptive_max_pool1d(x.reshape(1, 5, 1), 3),
        [0.0, 1.0, 0.0, 0.0, 2.0],
        [0.0, 2.0, 0.0, 0.0, 1.0],
    ),
    "adaptive_max_pool1d of equal ones": (
        lambda x: tg.adaptive_max_pool1d(x.reshape(1, 5, 1), 3),
        [1.0, 1.0, 1.0, 1.0, 1.0],
        [1.0, 1.0, 0.0, 1.0, 0.0],
    ),
    "global_max_pool": (
        lambda x: tg.global_max_pool(x.reshape(1, 2, 2, 1)),
        [1.0, 3.0, 3.0, 2.0],
        [0.0, 0.5, 0.5, 0.0],
    ),
    "sigmoid far out": (tg.sigmoid, [-1000.0, 0.0, 1000.0], [0.0, 0.25, 0.0]),
    "softplus far out": (tg.softplus, [-1000.0, 0.0, 1000.0], [0.0, 0.5, 1.0]),
    "log_sigmoid far out": (tg.log_sigmoid, [-1000.0, 0.0, 1000.0], [1.0, 0.5, 0.0]),
    "elu at 0": (tg.elu, [0.0], [1.0]),
    "heaviside": (lambda x: tg.heaviside(x, 0.5), [0.0, 1.0], [0.0, 0.0]),
    # those of PyTorch 2.13, at the ends of each piece
    "relu6": (tg.relu6, [0.0, 6.0], [0.0, 0.0]),
    "hard_tanh": (tg.hard_tanh, [-1.0, 1.0], [0.0, 0.0]),
    "hard_sigmoid": (tg.hard_sigmoid, [-3.0, 3.0], [0.0, 0.0]),
    "hard_swish": (tg.hard_swish, [-3.0, 3.0], [0.0, 1.0]),
    "soft_shrink": (tg.soft_shrink, [-0.5, 0.5], [0.0, 0.0]),
    "hard_shrink": (tg.hard_shrink, [-0.5, 0.5], [0.0, 0.0]),
    "threshold": (lambda x: tg.threshold(x, 0.5, 7.0), [0.5, 0.6], [0.0, 1.0]),
    "prelu at 0": (lambda x: tg.prelu(x, 0.25), [0.0], [0.25]),
    "celu at 0": (lambda x: tg.celu(x, 0.5), [0.0], [1.0]),
    "sparse_plus": (tg.sparse_plus, [-1.0, 1.0], [0.0, 1.0]),
}


@pytest.mark.parametrize("name", KINKS)
def test_gradients_at_kinks(name):
    f, x, expected = KINKS[name]
    (found,) = gradient(f, x)
    numpy.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-300)


TIES = {
    "maximum": (tg.maximum, [1.0, 2.0, 3.0], [2.0, 2.0, 2.0], [0.0, 0.5, 1.0], [1.0, 0.5, 0.0]),
    "minimum": (tg.minimum, [1.0, 2.0, 3.0], [2.0, 2.0, 2.0], [1.0, 0.5, 0.0], [0.0, 0.5, 1.0]),
    "heaviside": (tg.heaviside, [0.0, 1.0, -1.0], [0.5, 0.5, 0.5], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]),
    "power at 0": (tg.power, [0.0, 0.0, 2.0], [2.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, math.log(2.0)]),
    "power of a scalar": (lambda a, b: 0.0**b + 0 * a, [0.0, 0.0], [2.0, 0.5], [0.0, 0.0], [0.0, 0.0]),
    "clip by arrays": (lambda a, b: tg.clip(a, b, None), [0.0, 1.0], [1.0, 1.0], [0.0, 0.5], [1.0, 0.5]),
}


@pytest.mark.parametrize("name", TIES)
def test_gradients_of_two_arguments_at_ties(name):
    f, a, b, *expected = TIES[name]
    numpy.testing.assert_allclose(gradient(f, a, b), expected, rtol=1e-12, atol=1e-300)


SECOND = {
    "prod with a zero": (tg.prod, [2.0, 0.0, 3.0], [[0, 3, 0], [3, 0, 2], [0, 2, 0]]),
    "cumprod with zeros": (lambda x: tg.cumprod(x)[2], [0.0, 0.0, 3.0], [[0, 3, 0], [3, 0, 0], [0, 0, 0]]),
    "power 2 at 0": (lambda x: (x**2).sum(), [0.0], [[2.0]]),
    "power 1 at 0": (lambda x: (x**1).sum(), [0.0], [[0.0]]),
    "power 3 at a negative base": (lambda x: (x**3).sum(), [-2.0], [[-12.0]]),
    "logsumexp with -inf": (tg.logsumexp, [-INF, 0.0, 0.0], [[0, 0, 0], [0, 0.25, -0.25], [0, -0.25, 0.25]]),
    "norm of zeros": (tg.norm, [0.0, 0.0], [[0.0, 0.0], [0.0, 0.0]]),
    "norm of order 3 with a zero": (lambda x: tg.norm(x, ord=3), [0.0, 2.0], [[0.0, 0.0], [0.0, 0.0]]),
}


@pytest.mark.parametrize("name", SECOND)
def test_second_derivatives_at_special_points(name):
    f, x, expected = SECOND[name]
    numpy.testing.assert_allclose(tg.hessian(f)(tg.tensor(x, dtype="float64")).tolist(), expected, atol=1e-15)


def test_cumprod_overflows_only_where_its_result_does():
    found = tg.cumprod(tg.tensor([1e-30, 1e30, 1e30, 0.0, 1e30, 1e30]))
    numpy.testing.assert_allclose(found.numpy(), [1e-30, 1.0, 1e30, 0.0, 0.0, 0.0], rtol=1e-6)


@pytest.mark.parametrize("descending", [False, True])
def test_not_a_number_sorts_as_the_largest(descending):
    x = tg.tensor([1.0, NAN, INF, NAN])
    assert tg.argsort(x, descending=descending).tolist() == ([1, 3, 2, 0] if descending else [0, 2, 1, 3])


def test_gradient_of_logsumexp_of_inf_is_not_a_number():
    with numpy.errstate(invalid="ignore"):
        found = gradient(tg.logsumexp, [0.0, INF])
    numpy.testing.assert_equal(found, [[0.0, NAN]])  # as PyTorch's


@pytest.mark.parametrize("ord", [1, 2, 3, math.inf])
@pytest.mark.parametrize("size", [300.0, 1e-4])
def test_norms_of_float16(size, ord):
    x = tg.tensor([size, -size, 0.0], dtype="float16", requires_grad=True)
    found = tg.norm(x, ord=ord)
    found.backward()
    exact = x.detach().numpy().astype("float64")
    assert found.dtype == x.grad.dtype == "float16"
    numpy.testing.assert_allclose(found.item(), numpy.linalg.norm(exact, ord), rtol=1e-3)
    if ord == 2:
        numpy.testing.assert_allclose(x.grad.numpy(), exact / numpy.linalg.norm(exact), rtol=1e-3)


@pytest.mark.parametrize("approximate", [False, True])
def test_gelu_of_large_float16_numbers(approximate):
    x = tg.tensor([-300.0, 300.0], dtype="float16", requires_grad=True)
    with numpy.errstate(over="ignore"):
        y = tg.gelu(x, approximate)
        y.sum().backward()
    assert y.tolist() == [0.0, 300.0]
    assert x.grad.tolist() == [0.0, 1.0]


def test_the_count_of_kept_ids_is_computed_by_primitives(monkeypatch):
    """So that a step that is recorded counts the ids of each batch anew."""
    seen = []
    forward = reductions._sum.forward
    monkeypatch.setattr(reductions._sum, "forward", lambda xp, a, **k: seen.append(a.dtype.kind) or forward(xp, a, **k))
    loss = tg.cross_entropy(tg.zeros((3, 2)), tg.tensor([0, 9, 1]), ignore_index=9)
    assert sorted(seen) == ["b", "f"]
    assert loss.dtype == "float32"
    assert float(loss) == pytest.approx(math.log(2.0))
    half = tg.cross_entropy(tg.zeros((3, 2), dtype="float16"), tg.tensor([0, 9, 1]), ignore_index=9)
    assert half.dtype == "float16"
    assert float(tg.cross_entropy(tg.zeros((1, 2)), tg.tensor([9]), ignore_index=9)) == 0.0


INDEXED = {
    "array": lambda x, ids: x[ids],
    "0-d": lambda x, ids: x[ids[0]],
    "take": lambda x, ids: tg.take(x, ids, axis=0),
    "embedding": lambda x, ids: tg.embedding(x, ids),
    "take_along_axis": lambda x, ids: tg.take_along_axis(x, ids.reshape(2, 1), 0),
    "scatter_add": lambda x, ids: tg.scatter_add(x, ids, 1.0),
    "index_put": lambda x, ids: tg.index_put(x, ids, 1.0),
}


@pytest.mark.parametrize("name", INDEXED)
def test_index_tensors_are_operands(name, monkeypatch):
    """So that a step that is recorded reads them anew."""
    operands = []
    original = Primitive.__call__
    monkeypatch.setattr(Primitive, "__call__", lambda p, *a, **k: operands.append((p.name, *a)) or original(p, *a, **k))
    x, ids = tg.tensor([[1.0], [2.0]]), tg.tensor([1, 0])
    INDEXED[name](x, ids)
    gathered = [args for args in operands if args[0] in ("_gather", "_scatter")]
    assert any(isinstance(a, Tensor) and a.dtype.kind == "i" for args in gathered for a in args[2:])


def test_einsum_of_one_operand_is_no_view():
    x = tg.ones((2, 3))
    assert not numpy.shares_memory(tg.einsum("ij->ji", x).data, x.data)


def test_attention_ignores_masked_keys():
    random = numpy.random.default_rng(0)
    q, k, v = (random.normal(size=(3, 2)) for _ in range(3))
    mask = numpy.array([[True, True, False], [False, False, False], [True, False, False]])
    y = tg.scaled_dot_product_attention(*map(tg.tensor, (q, k, v)), mask=tg.tensor(mask))
    assert y[1].tolist() == [0.0, 0.0]  # sees nothing
    assert y[2].tolist() == v[0].tolist()
    gq, gk, gv = gradient(lambda *t: tg.scaled_dot_product_attention(*t, mask=tg.tensor(mask)), q, k, v)
    assert gq[1] == gk[2] == gv[2] == [0.0, 0.0]


@pytest.mark.parametrize("used", [(0,), (1,), (2,), (0, 2)])
def test_split_with_unused_parts(used):
    def f(x):
        parts = tg.split(x, (1, 3), axis=1)
        return tuple(parts[i] * parts[i] for i in used)

    tg.gradcheck(f, [numpy.arange(8.0).reshape(2, 4)], order=2)
    x = tg.tensor(numpy.arange(8.0).reshape(2, 4), requires_grad=True)
    tg.split(x, (1, 3), axis=1)[1].sum().backward()
    assert x.grad.tolist() == [[0.0, 1.0, 1.0, 0.0]] * 2


@pytest.mark.parametrize("used", [(0,), (1,), (2,), (1, 2), (0, 2)])
def test_batch_norm_with_some_of_its_outputs(used):
    random = numpy.random.default_rng(0)
    inputs = [random.normal(size=(5, 3)), random.normal(size=3), random.normal(size=3)]
    tg.gradcheck(lambda *t: tuple(tg.batch_norm(*t)[i] for i in used), inputs, order=2)


PARTS = {
    "slogdet": (tg.slogdet, (3, 3), [(0,), (1,)]),
    "eigh": (lambda x: tg.eigh(0.5 * (x + x.T)), (3, 3), [(0,), (1,)]),
    "svd": (tg.svd, (3, 3), [(0,), (1,), (2,), (0, 2)]),
    "svd, tall": (tg.svd, (4, 2), [(0,), (1,), (2,), (0, 1)]),
    "svd, wide": (tg.svd, (2, 4), [(0,), (1,), (2,), (1, 2)]),
}


@pytest.mark.parametrize("name", PARTS)
def test_decompositions_with_some_of_their_outputs(name):
    f, shape, choices = PARTS[name]
    x = numpy.random.default_rng(3).normal(size=shape)
    for used in choices:
        tg.gradcheck(lambda t, used=used: tuple(f(t)[i] ** 2 for i in used), [x], order=2)


def test_decompositions_multiply_to_the_matrix():
    x = numpy.random.default_rng(4).normal(size=(2, 4, 3))
    u, s, vh = tg.svd(tg.tensor(x))
    numpy.testing.assert_allclose(((u * s[:, None, :]) @ vh).numpy(), x, rtol=0, atol=1e-14)
    a = numpy.swapaxes(x, 1, 2) @ x
    w, v = tg.eigh(tg.tensor(a))
    numpy.testing.assert_allclose(((v * w[:, None, :]) @ v.swapaxes(1, 2)).numpy(), a, rtol=0, atol=1e-13)
    lower = tg.cholesky(tg.tensor(a))
    numpy.testing.assert_allclose((lower @ lower.swapaxes(1, 2)).numpy(), a, rtol=0, atol=1e-13)
    numpy.testing.assert_array_equal(numpy.triu(lower.numpy(), 1), 0.0)


@pytest.mark.parametrize("f", [tg.cholesky, lambda x: tg.eigh(x)[0], lambda x: tg.eigh(x)[1] ** 2])
def test_gradients_of_symmetric_matrices_are_symmetric(f):
    x = numpy.array([[4.0, 1.0, 0.5], [1.0, 3.0, -0.5], [0.5, -0.5, 1.0]])
    weights = numpy.random.default_rng(5).normal(size=f(tg.tensor(x)).shape)
    (found,) = gradient(lambda t: f(t) * tg.tensor(weights), x)
    assert numpy.abs(found).max() > 0.1
    numpy.testing.assert_array_equal(found, numpy.transpose(found))


def test_eigenvalues_that_are_equal_have_a_gradient():
    (found,) = gradient(lambda x: tg.eigh(x)[0] * tg.tensor([1.0, 1.0]), [[2.0, 0.0], [0.0, 2.0]])
    assert found == [[1.0, 0.0], [0.0, 1.0]]


@pytest.mark.parametrize("used", [(0,), (1,), (2,), (1, 2), (0, 2)])
@pytest.mark.parametrize("wanted", [range(6), (0,), (2, 4), (3, 5)])
def test_lstm_with_some_of_its_outputs_and_arguments(used, wanted):
    random = numpy.random.default_rng(0)
    inputs = [random.normal(size=shape) for shape in ((2, 3, 2), (2, 8), (2, 8), (8,), (2, 2), (2, 2))]
    mask = tg.tensor([[False, True, True], [True, False, True]])

    def f(*t):
        given = dict(zip(wanted, t, strict=True))
        args = [given.get(i, tg.tensor(a)) for i, a in enumerate(inputs)]
        return sum((tg.lstm(*args, mask=mask)[i] ** 2).sum() for i in used)

    chosen = [inputs[i] for i in wanted]
    tg.gradcheck(f, chosen, order=2)
    tensors = [tg.tensor(a, requires_grad=True) for a in chosen]
    y = f(*tensors)
    y.backward(retain_graph=True)
    y.backward()  # which finds what the forward pass has left as it was
    for t, g in zip(tensors, tg.vjp(f, *tensors)[1](tg.tensor(1.0, dtype="float64", requires_grad=True)), strict=True):
        assert g.requires_grad  # by the other rule
        numpy.testing.assert_allclose(t.grad.numpy(), 2 * g.detach().numpy(), rtol=1e-12)


def test_recurrent_gates_far_out():
    x, one, zero = tg.tensor([[[-1000.0], [1000.0]]]), tg.ones((1, 4)), tg.zeros((1, 1))
    y, h, c = tg.lstm(x, one, one, None, zero, zero + 3.0)
    assert y.tolist() == [[[0.0], [h.item()]]]
    assert c.tolist() == [[1.0]]  # the first step forgets, the second takes in tanh(1000)
    assert h.item() == pytest.approx(math.tanh(1.0), rel=1e-6)


HALVES = pooling.Windows((2, 2), (2, 2), ((0, 0), (0, 0)))


@pytest.mark.parametrize("which", ["_max_pick", "_max_unpool"])
def test_the_inner_primitives_of_max_pooling(which):
    x = numpy.random.default_rng(0).normal(size=(1, 4, 4, 2))
    if which == "_max_pick":
        f = lambda v: pooling._max_pick(v, Tensor(x), output=(2, 2), windows=HALVES)  # noqa: E731
        tg.gradcheck(f, [x], order=2)
    else:
        f = lambda g: pooling._max_unpool(g, Tensor(x), windows=HALVES)  # noqa: E731
        tg.gradcheck(f, [x[:, :2, :2]], order=2)


def test_cross_entropy_with_everything_at_once():
    logits = numpy.random.default_rng(0).normal(size=(2, 4, 3))
    ids = tg.tensor([[0, 7, 2], [3, 1, 7]])

    def f(t):
        return tg.cross_entropy(t, ids, axis=1, label_smoothing=0.1, ignore_index=7)

    tg.gradcheck(f, [logits], order=2, elements=True)
    assert tg.grad(f)(tg.tensor(logits)).numpy()[0, :, 1].tolist() == [0.0] * 4


def test_dropout_draws_anew_and_scales():
    tg.seed(1)
    x = tg.ones((1000,), dtype="float64")
    first, second = tg.dropout(x, 0.25), tg.dropout(x, 0.25)
    assert set(first.tolist()) == {0.0, 1.0 / 0.75}
    assert first.tolist() != second.tolist()
    assert abs(float(first.mean()) - 1.0) < 0.06


# Scalars stay weak

BINARY = ["add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "arctan2", "logaddexp", "heaviside"]
SCALARS = {
    "float": 1.5,
    "int": 2,
    "numpy float64": numpy.float64(1.5),
    "numpy float32": numpy.float32(1.5),
    "numpy int64": numpy.int64(2),
    "0-d float64 array": numpy.array(1.5),
    "0-d int64 array": numpy.array(2),
}


@pytest.mark.parametrize("scalar", SCALARS)
@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_scalars_stay_weak(name, scalar, dtype):
    operation, value = getattr(tg, name), SCALARS[scalar]
    x = tg.tensor([0.5, 2.0], dtype=dtype, requires_grad=True)
    for y in (operation(x, value), operation(value, x), operation(x[0], value)):
        assert y.dtype == dtype
        assert tg.vjp(lambda t: operation(t, value), x.detach())[1](tg.ones((2,), dtype=dtype))[0].dtype == dtype
    expected = getattr(numpy, name)(x.detach().numpy().astype("float64"), float(value))
    numpy.testing.assert_allclose(
        operation(x, value).detach().numpy(), expected, rtol=4e-3 if dtype == "float16" else 1e-6
    )


OPERATORS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "**": lambda a, b: a**b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


@pytest.mark.parametrize("scalar", SCALARS)
@pytest.mark.parametrize("sign", OPERATORS)
def test_operators_with_scalars_and_arrays(sign, scalar):
    operator, value = OPERATORS[sign], SCALARS[scalar]
    array = numpy.array([0.5, 2.0], dtype="float32")
    x = tg.tensor(array)
    for found, expected in (
        (operator(x, value), operator(array, float(value))),
        (operator(value, x), operator(float(value), array)),
        (operator(x, array), operator(array, array)),
        (operator(array, x), operator(array, array)),
    ):
        assert type(found) is Tensor
        assert found.dtype == expected.dtype
        numpy.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["where", "clip", "full"])
def test_scalars_in_other_operations(name):
    x = tg.tensor([0.5, 2.0])
    calls = {
        "where": [lambda s: tg.where(x > 1, x, s), lambda s: tg.where(x > 1, s, x), lambda s: tg.where(x > 1, s, s)],
        "clip": [lambda s: tg.clip(x, s, None), lambda s: tg.clip(x, None, s), lambda s: tg.clip(x, s, 2)],
        "full": [lambda s: tg.full((2,), s)],
    }
    for value in (1.5, numpy.float64(1.5), numpy.array(1.5)):
        assert all(call(value).dtype == "float32" for call in calls[name])


def test_clip_between_a_numpy_scalar_and_a_number():
    (found,) = gradient(lambda x: tg.clip(x, numpy.float64(0.0), 1), [-1.0, 0.0, 1.0])
    assert found == [0.0, 1.0, 1.0]  # as between two numbers, where bounds that are arrays share


def test_integers_take_the_dtype_of_floats():
    ids, x16 = tg.tensor([1, 2]), tg.ones((2,), dtype="float16")
    assert (ids * x16).dtype == (x16 / ids).dtype == "float16"
    assert (ids * tg.ones((2,), dtype="float64")).dtype == "float64"
    assert tg.concatenate([ids, x16]).dtype == tg.stack([x16, ids]).dtype == "float16"
    assert tg.where(ids > 1, ids, x16).dtype == "float16"
    assert (ids * 2).dtype == (ids + ids).dtype == ids.sum().dtype == "int64"
    assert (
        (ids * 2.0).dtype == (ids / 2).dtype == (ids / ids).dtype == ids.mean().dtype == tg.exp(ids).dtype == "float32"
    )
    with tg.use_dtype("float64"):
        assert (ids * 2.0).dtype == (ids / ids).dtype == ids.mean().dtype == tg.exp(ids).dtype == "float64"
    assert (x16 * tg.ones((2,))).dtype == "float32"  # floats of two widths give the wider one


# Methods and operators are the functions


def test_methods_are_the_functions():
    x = tg.tensor([[0.25, 0.5, 0.75], [1.0, 1.25, 1.5]])
    arguments = {"astype": ("float64",), "clip": (0.5, 1.0), "reshape": (3, 2), "swapaxes": (0, 1)}
    arguments |= {"expand_dims": (0,), "repeat": (2,), "dot": (x.T,), "take": ([0, 4],), "to": ("cpu",)}
    for function in bind.METHODS:
        args = arguments.get(function.__name__, ())
        found, expected = getattr(x, function.__name__)(*args), function(x, *args)
        assert found.tolist() == expected.tolist()
        assert getattr(Tensor, function.__name__).__doc__ == function.__doc__
    assert x.T.tolist() == x.transpose().tolist() == x.transpose(1, 0).tolist() == x.transpose((1, 0)).tolist()
    assert (-x).tolist() == tg.negative(x).tolist()
    assert abs(-x).tolist() == x.tolist()
    assert (~(x > 1)).tolist() == (x <= 1).tolist()
    assert ((x > 0.3) & (x < 1)).tolist() == [[False, True, True], [False, False, False]]
    assert ((x < 0.3) | (x > 1) ^ (x > 1.25)).tolist() == [[True, False, False], [False, True, False]]
    assert (x @ x.T).tolist() == tg.matmul(x, x.T).tolist()
    assert x[1, ::2].tolist() == [1.0, 1.5]
    assert [row.tolist() for row in x] == x.tolist()


def test_reductions_of_losses_agree():
    losses = tg.tensor([1.0, 2.0, 3.0])
    assert networks.reduce_losses("here", losses, "mean").item() == 2.0
    assert networks.reduce_losses("here", losses, "sum").item() == 6.0
    assert networks.reduce_losses("here", losses, "none") is losses
