"""grad and its relatives, Function, checkpoint and gradcheck: against formulas, PyTorch and finite differences."""

import gc
import re
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_edu as tg
from tinygrad_edu.autograd import Node, primitive, primitives


@pytest.fixture(autouse=True)
def double():
    with tg.use_dtype("float64"):
        yield


def tracked(data, **keywords):
    return tg.tensor(data, requires_grad=True, **keywords)


def close(actual, expected, tolerance=1e-12):
    np.testing.assert_allclose(values(actual), values(expected), rtol=tolerance, atol=tolerance)


def values(x):
    if isinstance(x, (tuple, list)):
        return [values(part) for part in x]
    return x.detach().numpy() if isinstance(x, tg.Tensor) else np.asarray(x)


X = np.array([0.5, -1.0, 2.0])
Y = np.array([1.5, 0.25, -0.75])


# grad and value_and_grad


def test_grad_against_formulas():
    close(tg.grad(lambda x: tg.exp(tg.sin(x)).sum())(X), np.exp(np.sin(X)) * np.cos(X))
    close(tg.grad(lambda x: (x**2).sum() / x.sum())(X), 2 * X / X.sum() - (X**2).sum() / X.sum() ** 2)
    value, gradient = tg.value_and_grad(lambda x: (x * x).sum())(X)
    close(value, (X * X).sum())
    close(gradient, 2 * X)
    assert not value.requires_grad
    assert not gradient.requires_grad


def test_grad_over_several_arguments():
    def f(x, y, scale=1.0, *, offset=0.0):
        return (x * x * y * scale + offset).sum()

    close(tg.grad(f)(X, Y), 2 * X * Y)
    close(tg.grad(f, 1)(X, Y), X * X)
    close(tg.grad(f, -1)(X, Y, 2.0), (X * X * Y).sum())
    a, b = tg.grad(f, (1, 0))(X, Y, 3.0, offset=1.0)
    close(a, 3 * X * X)
    close(b, 6 * X * Y)
    assert type(tg.grad(f, [0])(X, Y)) is tuple
    value, (gradient,) = tg.value_and_grad(f, (0,))(X, Y)
    close(value, (X * X * Y).sum())
    close(gradient, 2 * X * Y)


def test_grad_of_what_the_function_ignores():
    close(tg.grad(lambda x, y: (x * x).sum(), 1)(X, Y), np.zeros(3))
    close(tg.grad(lambda x: tg.tensor(2.0))(X), np.zeros(3))
    close(tg.grad(lambda x: (x.detach() * 2.0).sum())(X), np.zeros(3))


def test_higher_derivatives():
    f = lambda x: x**5  # noqa: E731
    expected = [32.0, 80.0, 160.0, 240.0, 240.0, 120.0, 0.0]
    for derivative in expected:
        assert f(tg.tensor(2.0)).item() == derivative
        f = tg.grad(f)
    third = tg.grad(tg.grad(tg.grad(tg.sin)))
    close(third(0.7), -np.cos(0.7))
    close(tg.grad(tg.grad(tg.grad(lambda x: tg.exp(x * x))))(0.5), np.exp(0.25) * (8 * 0.125 + 12 * 0.5))


def test_derivatives_of_different_arguments_do_not_mix():
    # perturbation confusion: d/dx (x * d/dy (x + y)) is 1, not 2
    assert tg.grad(lambda x: x * tg.grad(lambda y: x + y)(3.0))(1.0).item() == 1.0
    assert tg.grad(lambda x: x * tg.grad(lambda y: x * y)(3.0))(5.0).item() == 10.0
    assert tg.grad(lambda x: tg.grad(lambda y: x * x * y * y)(x))(2.0).item() == 6 * 4.0


def test_only_paths_to_the_arguments_are_walked():
    """Others, as here to w, would cost time and could even fail."""

    class Forbidden(tg.Function):
        @staticmethod
        def forward(ctx, w):
            return w * 2.0

        @staticmethod
        def backward(ctx, gradient):
            raise AssertionError

    w = tracked(Y)
    close(tg.grad(lambda x: (x * x * Forbidden.apply(w)).sum())(X), 4 * X * Y)
    with pytest.raises(AssertionError):
        (w * Forbidden.apply(w)).sum().backward()


def test_grad_leaves_its_arguments_alone():
    x = tracked(X)
    w = tracked(Y)
    tg.grad(lambda x: (x * x * w).sum())(x)
    assert x.grad is w.grad is None
    array = X.copy()
    tg.grad(lambda x: (x * x).sum())(array)
    assert (array == X).all()


def test_grad_of_float32_stays_float32():
    x = tg.tensor(X, dtype="float32")
    for result in (
        tg.grad(lambda x: (x * 2.0).sum())(x),
        tg.hessian(lambda x: (x**3).sum())(x),
        tg.jvp(lambda x: x * x, [x], [Y])[1],
        tg.hvp(lambda x: (x**3).sum(), [x], [Y])[0],
    ):
        assert result.dtype == np.float32


@pytest.mark.parametrize(
    ("f", "received"),
    [
        (lambda x: x, r"shape \(3,\)"),
        (lambda x: x.sum(keepdims=True), r"shape \(1,\)"),
        (lambda x: (x.sum(), x.sum()), "2 outputs"),
    ],
)
def test_grad_needs_a_scalar(f, received):
    for transform in (tg.grad, tg.value_and_grad, tg.hessian):
        expected = rf"grad: expected a function that returns one 0-d tensor, received {received}\. Hint: sum or average"
        with pytest.raises(tg.ShapeError, match=expected):
            transform(f)(X)
    with pytest.raises(tg.ShapeError, match="hvp: expected a function that returns one 0-d tensor"):
        tg.hvp(f, [X], [Y])


@pytest.mark.parametrize("argument", [2, np.arange(3), True, tg.tensor([1, 2])])
def test_integer_arguments(argument):
    for transform in (tg.grad, tg.jacobian, tg.hessian):
        with pytest.raises(TypeError, match=r"expected argument 0 to be floating, received dtype .*such as 2\.0"):
            transform(lambda x: x)(argument)
    with pytest.raises(TypeError, match="vjp: expected argument 1 to be floating"):
        tg.vjp(lambda x, y: x, 1.0, argument)


@pytest.mark.parametrize("argnums", [2, -3, (0, 2)])
def test_argnums_out_of_range(argnums):
    for transform in (tg.grad, tg.jacobian, tg.hessian):
        with pytest.raises(ValueError, match="expected argnums below 2, the number of arguments, received"):
            transform(lambda x, y: (x * y).sum(), argnums)(X, Y)


@pytest.mark.parametrize("argnums", ["x", 1.0, None, (0, "y"), True])
def test_argnums_that_are_no_integers(argnums):
    for transform in (tg.grad, tg.value_and_grad, tg.jacobian, tg.hessian):
        with pytest.raises(TypeError, match="expected argnums to be an int or a tuple of them, received"):
            transform(lambda x: x, argnums)


# vjp, jvp, hvp, jacobian, hessian


def pair(x, y):
    return x * y + tg.sin(x), (x * y).sum()


def test_vjp():
    (a, b), pullback = tg.vjp(pair, X, Y)
    close(a, X * Y + np.sin(X))
    close(b, (X * Y).sum())
    for _ in range(2):
        dx, dy = pullback(Y, 2.0)
        close(dx, Y * (Y + np.cos(X)) + 2 * Y)
        close(dy, Y * X + 2 * X)
    y, pullback = tg.vjp(tg.exp, X)
    assert type(y) is tg.Tensor
    close(pullback(np.ones(3))[0], np.exp(X))


def test_vjp_errors():
    _, pullback = tg.vjp(pair, X, Y)
    with pytest.raises(ValueError, match="vjp: expected 2 cotangents, received 1"):
        pullback(Y)
    with pytest.raises(tg.ShapeError, match=r"vjp: expected cotangents\[0\] of shape \(3,\), received \(2,\)"):
        pullback(np.ones(2), 1.0)
    with pytest.raises(tg.ShapeError, match=r"jvp: expected tangents\[1\] of shape \(3,\), received \(\)"):
        tg.jvp(pair, [X, Y], [X, 1.0])
    with pytest.raises(ValueError, match="hvp: expected 1 vectors, received 0"):
        tg.hvp(lambda x: x.sum(), [X], [])


def test_jvp():
    (a, b), (da, db) = tg.jvp(pair, [X, Y], [Y, X])
    close(a, X * Y + np.sin(X))
    close(b, (X * Y).sum())
    close(da, Y * Y + X * X + np.cos(X) * Y)
    close(db, (Y * Y + X * X).sum())
    close(tg.jvp(lambda x: tg.tensor([1.0, 2.0]), [X], [Y])[1], [0.0, 0.0])
    close(tg.jvp(lambda x: x * 3.0, [X], [Y])[1], 3.0 * Y)
    close(tg.jvp(lambda x: x, [X], [Y])[1], Y)


def test_jvp_and_vjp_are_adjoint():
    matrix = np.random.default_rng(0).normal(size=(4, 3))

    def f(x):
        return tg.tanh(matrix @ x) * x.sum()

    u = np.array([1.0, -2.0, 0.5, 3.0])
    forward = tg.jvp(f, [X], [Y])[1]
    backward = tg.vjp(f, X)[1](u)[0]
    close((forward * u).sum(), (backward * Y).sum())


def test_transforms_are_differentiable():
    square = lambda x: x * x  # noqa: E731
    close(tg.grad(lambda x: tg.jvp(square, [x], [Y])[1].sum())(X), 2 * Y)
    close(tg.grad(lambda v: tg.jvp(square, [X], [v])[1].sum())(Y), 2 * X)
    close(tg.grad(lambda x: tg.vjp(square, x)[1](Y)[0].sum())(X), 2 * Y)
    close(tg.grad(lambda u: tg.vjp(square, X)[1](u)[0].sum())(Y), 2 * X)
    cube = lambda x: (x**3).sum()  # noqa: E731
    close(tg.grad(lambda x: tg.hvp(cube, [x], [Y])[0].sum())(X), 6 * Y)
    close(tg.grad(lambda v: tg.hvp(cube, [X], [v])[0].sum())(Y), 6 * X)
    close(tg.grad(lambda x: tg.hessian(cube)(x).sum())(X), 6 * np.ones(3))
    close(tg.grad(lambda x: tg.jacobian(square)(x).sum())(X), 2 * np.ones(3))
    close(tg.jvp(tg.grad(cube), [X], [Y])[1], tg.hvp(cube, [X], [Y])[0])
    close(tg.jacobian(lambda x: tg.jvp(square, [x], [Y])[1])(X), np.diag(2 * Y))


def test_hvp_over_several_arguments():
    def f(x, y):
        return (x * x * y).sum()

    a, b = tg.hvp(f, [X, Y], [Y, X])
    close(a, 2 * Y * Y + 2 * X * X)
    close(b, 2 * X * Y)


def test_jacobian():
    matrix = np.random.default_rng(1).normal(size=(2, 3))
    close(tg.jacobian(lambda x: matrix @ x)(X), matrix)
    close(tg.jacobian(lambda x: (x * x).sum())(X), 2 * X)
    m = np.array([[1.0, 2.0], [3.0, 4.0]])
    eye = np.eye(2)
    expected = np.einsum("ik,lj->ijkl", eye, m) + np.einsum("ik,jl->ijkl", m, eye)
    close(tg.jacobian(lambda m: tg.matmul(m, m))(m), expected)
    # outputs and arguments that are not in row-major order
    close(tg.jacobian(lambda m: (m * m).T)(m), 2 * np.einsum("il,jk,kl->ijkl", eye, eye, m))
    close(tg.jacobian(lambda m: m * 2.0)(tg.Tensor(m.T)), 2 * np.einsum("ik,jl->ijkl", eye, eye))
    close(tg.hessian(lambda m: (m.T * m.T).sum())(m), 2 * np.einsum("ik,jl->ijkl", eye, eye))
    first, second = tg.jacobian(pair)(X, Y)
    close(first, np.diag(Y + np.cos(X)))
    close(second, Y)
    rows = tg.jacobian(pair, (0, 1))(X, Y)
    assert [len(row) for row in rows] == [2, 2]
    close(rows[0][1], np.diag(X))
    assert tg.jacobian(lambda x: x[:0])(X).shape == (0, 3)


def test_hessian():
    close(tg.hessian(lambda x: (x**3).sum())(X), np.diag(6 * X))
    (xx, xy), (yx, yy) = tg.hessian(lambda x, y: (x * x * y).sum(), (0, 1))(X, Y)
    close(xx, np.diag(2 * Y))
    close(xy, np.diag(2 * X))
    close(yx, np.diag(2 * X))
    close(yy, np.zeros((3, 3)))


def rosenbrock(m, x):
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


def network(m, x):
    return m.exp(m.tanh(x[None, :] * x[:, None]) @ x).sum()


def ratio(m, x):
    return m.log(1.0 + (x * x).sum()) / m.sqrt(m.exp(x).sum()) + (m.sin(x) ** 3).sum()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # inside torch.func
@pytest.mark.parametrize("f", [rosenbrock, network, ratio])
def test_against_torch(f):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    func = torch.func
    ours, theirs = (lambda x: f(tg, x)), (lambda x: f(torch, x))
    x, v = torch.tensor(X), torch.tensor(Y)
    close(tg.grad(ours)(X), func.grad(theirs)(x).numpy())
    close(tg.hessian(ours)(X), func.hessian(theirs)(x).numpy(), 1e-10)
    close(tg.jvp(ours, [X], [Y])[1], func.jvp(theirs, (x,), (v,))[1].numpy())
    close(tg.hvp(ours, [X], [Y])[0], func.jvp(func.grad(theirs), (x,), (v,))[1].numpy(), 1e-10)
    third = tg.grad(lambda x: tg.hvp(ours, [x], [Y])[0].sum())(X)
    close(third, func.grad(lambda x: func.jvp(func.grad(theirs), (x,), (v,))[1].sum())(x).numpy(), 1e-9)
    j = tg.jacobian(tg.grad(ours))(X)
    close(j, func.jacrev(func.grad(theirs))(x).numpy(), 1e-10)


# What a function closes over


def test_gradient_penalty_reaches_the_parameters():
    w = tracked(Y)

    def critic(x):
        return (tg.tanh(x * w) * w).sum()

    penalty = ((tg.grad(critic)(X) ** 2).sum() - 1.0) ** 2
    assert penalty.requires_grad
    penalty.backward()
    expected = tg.grad(lambda w: ((tg.grad(lambda x: (tg.tanh(x * w) * w).sum())(X) ** 2).sum() - 1.0) ** 2)(Y)
    close(w.grad, expected)
    torch = pytest.importorskip("torch", reason="torch is not installed")
    tw, tx = torch.tensor(Y, requires_grad=True), torch.tensor(X, requires_grad=True)
    (inner,) = torch.autograd.grad((torch.tanh(tx * tw) * tw).sum(), tx, create_graph=True)
    (((inner**2).sum() - 1.0) ** 2).backward()
    close(w.grad, tw.grad.numpy())


def test_results_are_tracked_only_where_something_depends_on_them():
    w = tracked(Y)
    constant = tg.tensor(Y)
    for transform in (
        lambda f: tg.grad(f)(X),
        lambda f: tg.value_and_grad(f)(X)[0],
        lambda f: tg.vjp(f, X)[1](1.0)[0],
        lambda f: tg.jvp(f, [X], [Y])[1],
        lambda f: tg.hvp(f, [X], [Y])[0],
        lambda f: tg.jacobian(f)(X),
        lambda f: tg.hessian(f)(X),
    ):
        assert transform(lambda x: (x**3 * w).sum()).requires_grad
        assert not transform(lambda x: (x**3 * constant).sum()).requires_grad
        assert not transform(lambda x: (x**3 * w.detach()).sum()).requires_grad
        with tg.no_grad():
            assert not transform(lambda x: (x**3 * w).sum()).requires_grad


def test_values_are_differentiable_too():
    w = tracked(Y)
    value, gradient = tg.value_and_grad(lambda x: (x * x * w).sum())(X)
    (value + gradient.sum()).backward()
    close(w.grad, X * X + 2 * X)


def test_tracked_arguments():
    x = tracked(X)
    gradient = tg.grad(lambda x: (x**3).sum())(x)
    assert gradient.requires_grad
    gradient.sum().backward()
    close(x.grad, 6 * X)
    h = x * 2.0
    x.grad = None
    tg.grad(lambda h: (h**3).sum())(h).sum().backward()
    close(x.grad, 6 * (2 * X) * 2)


def test_transforms_next_to_a_graph_that_was_freed():
    """The function reaches nodes made before the call: they are constants to it, freed or not."""
    w = tracked(3.0)
    h = w * w
    (h * h).backward()
    assert tg.grad(lambda x: x * x * h)(2.0).item() == 36.0
    assert tg.jvp(lambda x: x * x * h, [2.0], [1.0])[1].item() == 36.0
    assert tg.hvp(lambda x: x * x * h, [2.0], [1.0])[0].item() == 18.0
    assert tg.jvp(lambda x: x * x, [h], [1.0])[1].item() == 18.0


def test_learning_through_a_learning_step():
    """MAML: the gradient of a loss after a gradient step, with respect to the start."""

    def adapted(w, x, rate=0.1):
        return w - rate * tg.grad(lambda w: ((w * x - 1.0) ** 2).sum())(w)

    def outer(w):
        return ((adapted(adapted(w, tg.tensor(X)), tg.tensor(X)) * Y - 2.0) ** 2).sum()

    w = np.array([0.3, -0.2, 0.7])
    shrink = 1 - 0.2 * X * X
    twice = shrink * (shrink * w + 0.2 * X) + 0.2 * X
    close(tg.grad(outer)(w), 2 * (twice * Y - 2.0) * Y * shrink * shrink)
    start = tracked(w)
    outer(start).backward()
    close(start.grad, tg.grad(outer)(w))


def test_a_newton_step_finds_the_minimum_of_a_quadratic():
    matrix = np.array([[3.0, 1.0], [1.0, 2.0]])
    f = lambda x: 0.5 * (x @ (matrix @ x)) - x.sum()  # noqa: E731
    x = np.array([5.0, -3.0])
    step = np.linalg.solve(values(tg.hessian(f)(x)), values(tg.grad(f)(x)))
    close(x - step, np.linalg.solve(matrix, np.ones(2)))


# Function


class Cube(tg.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * 3.0 * x * x


class Exp(tg.Function):
    """Saves its output."""

    @staticmethod
    def forward(ctx, x):
        y = tg.exp(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.saved_tensors[0]


class SinCos(tg.Function):
    """Two outputs, both saved."""

    @staticmethod
    def forward(ctx, x):
        s, c = tg.sin(x), tg.cos(x)
        ctx.save_for_backward(s, c)
        return s, c

    @staticmethod
    def backward(ctx, ds, dc):
        s, c = ctx.saved_tensors
        return ds * c - dc * s


class Power(tg.Function):
    """An argument that is no tensor, and one whose gradient may not be wanted."""

    @staticmethod
    def forward(ctx, x, y, exponent):
        ctx.exponent = exponent
        ctx.save_for_backward(x, y)
        return x**exponent * y

    @staticmethod
    def backward(ctx, gradient):
        x, y = ctx.saved_tensors
        n = ctx.exponent
        Power.needed = ctx.needs_input_grad
        dx = gradient * n * x ** (n - 1) * y if ctx.needs_input_grad[0] else None
        return dx, gradient * x**n, None


FUNCTIONS = {
    "cube": (Cube.apply, lambda x: x**3),
    "exp": (Exp.apply, tg.exp),
    "sine": (lambda x: SinCos.apply(x)[0], tg.sin),
    "cosine": (lambda x: SinCos.apply(x)[1], tg.cos),
    "both": (lambda x: SinCos.apply(x)[0] * SinCos.apply(x)[1], lambda x: tg.sin(x) * tg.cos(x)),
    "both of one": (lambda x: tg.multiply(*SinCos.apply(x * 2.0)), lambda x: tg.sin(x * 2.0) * tg.cos(x * 2.0)),
    "power": (lambda x: Power.apply(x * x, x, 2.0), lambda x: x**5),
    "nested": (lambda x: Cube.apply(Exp.apply(Cube.apply(x))), lambda x: tg.exp(x**3) ** 3),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    ours, reference = FUNCTIONS[name]
    x = np.array([0.5, -0.7, 0.9])
    close(ours(tg.tensor(x)), reference(tg.tensor(x)))
    first, second, third = ([], [], [])
    for f in (lambda x: ours(x).sum(), lambda x: reference(x).sum()):
        first.append(tg.grad(f)(x))
        second.append(tg.hessian(f)(x))
        third.append(tg.grad(lambda x, f=f: tg.hessian(f)(x).sum())(x))
    close(*first)
    close(*second, 1e-11)
    close(*third, 1e-10)
    leaf = tracked(x)
    ours(leaf).sum().backward()
    close(leaf.grad, tg.grad(lambda x: reference(x).sum())(x))
    tg.gradcheck(ours, [x], order=2)


def test_needs_input_grad():
    y = tracked(Y)
    Power.apply(tg.tensor(X), y, 2.0).sum().backward()
    assert Power.needed == (False, True, False)
    close(y.grad, X**2)


def test_a_function_without_tracked_arguments_leaves_no_graph():
    assert not Cube.apply(tg.tensor(X)).requires_grad
    with tg.no_grad():
        assert not Cube.apply(tracked(X)).requires_grad


def test_forward_of_a_function_records_nothing():
    seen = []

    class Inner(Cube):
        @staticmethod
        def forward(ctx, x):
            seen.append((x * 2.0).requires_grad)
            return x * 1.0

    assert Inner.apply(tracked(X)).requires_grad
    assert seen == [False]


def test_a_function_with_an_integer_output():
    class Largest(tg.Function):
        @staticmethod
        def forward(ctx, x):
            i = x.argmax()
            ctx.index, ctx.shape = i.item(), x.shape
            return x.max(), i

        @staticmethod
        def backward(ctx, gradient, _):
            return tg.one_hot(tg.tensor(ctx.index), ctx.shape[0], dtype="float64") * gradient

    x = tracked(X)
    value, index = Largest.apply(x)
    assert (index.item(), index.requires_grad) == (2, False)
    value.backward()
    close(x.grad, [0.0, 0.0, 1.0])


@pytest.mark.parametrize(
    ("result", "error", "text"),
    [
        (lambda g: (g, g), tg.GradientError, "Wrong.backward: expected 1 gradients, one per argument, received 2"),
        (lambda g: (), tg.GradientError, "Wrong.backward: expected 1 gradients, one per argument, received 0"),
        (
            lambda g: g.sum(),
            tg.GradientError,
            r"gradient of Wrong for argument 0: expected shape \(3,\), received \(\)",
        ),
        (lambda g: 2.0, TypeError, "Wrong.backward: expected Tensors, or None .*received float"),
        (lambda g: g.numpy(), TypeError, "Wrong.backward: expected Tensors, or None .*received ndarray"),
        (lambda g: g.astype("float32"), TypeError, "expected dtype float64, received float32"),
    ],
)
def test_wrong_gradients_of_functions(result, error, text):
    class Wrong(tg.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1.0

        @staticmethod
        def backward(ctx, gradient):
            return result(gradient)

    with pytest.raises(error, match=text):
        Wrong.apply(tracked(X)).sum().backward()


def test_wrong_outputs_of_functions():
    class Wrong(tg.Function):
        @staticmethod
        def forward(ctx, x):
            return x.data

    with pytest.raises(TypeError, match=r"Wrong\.forward: expected a Tensor or a tuple of Tensors, received ndarray"):
        Wrong.apply(tracked(X))


def test_none_from_a_function_is_no_gradient():
    class Stop(Cube):
        @staticmethod
        def backward(ctx, gradient):
            return None

    x = tracked(X)
    (Stop.apply(x) + x).sum().backward()
    close(x.grad, np.ones(3))


def test_straight_through():
    class Round(tg.Function):
        @staticmethod
        def forward(ctx, x):
            return tg.round(x)

        @staticmethod
        def backward(ctx, gradient):
            return gradient

    close(tg.grad(lambda x: (Round.apply(x) ** 2).sum())(X), 2 * np.rint(X))


# checkpoint


W = np.random.default_rng(3).normal(size=(3, 3))


def block(x, w, b):
    return tg.tanh(x @ w + b) * x


def test_checkpoint_gives_the_same_gradients():
    def loss(use, x, w, b):
        for _ in range(3):
            x = use(lambda x: block(x, w, b), x)  # w and b are closed over
        return (x * x).sum()

    plain, saving = (lambda f, *args: f(*args)), tg.checkpoint
    args = (X, W, Y)
    expected = tg.grad(lambda *a: loss(plain, *a), (0, 1, 2))(*args)
    found = tg.grad(lambda *a: loss(saving, *a), (0, 1, 2))(*args)
    leaves = [tracked(a) for a in args]
    loss(saving, *leaves).backward()
    for e, f, leaf in zip(expected, found, leaves, strict=True):
        close(f, e)
        close(leaf.grad, e)
    for i in range(3):
        close(
            tg.hessian(lambda *a: loss(saving, *a), i)(*args), tg.hessian(lambda *a: loss(plain, *a), i)(*args), 1e-10
        )


def test_nested_checkpoints():
    w = tracked(W)

    def inner(x):
        return tg.tanh(x @ w)

    def outer(x):
        return tg.checkpoint(inner, tg.checkpoint(inner, x)) * x

    x = tracked(X)
    tg.checkpoint(outer, x).sum().backward()
    expected = tg.grad(lambda x, w: (tg.tanh(tg.tanh(x @ w) @ w) * x).sum(), (0, 1))(X, W)
    close(x.grad, expected[0])
    close(w.grad, expected[1])


def test_checkpoint_with_several_arguments_and_outputs():
    def f(x, y):
        return x * y, (x + y).sum()

    x, y = tracked(X), tracked(Y)
    a, b = tg.checkpoint(f, x, y)
    (a.sum() + 2.0 * b).backward()
    close(x.grad, Y + 2.0)
    close(y.grad, X + 2.0)
    x.grad = None
    tg.checkpoint(f, x, y)[1].backward()
    close(x.grad, np.ones(3))


def test_checkpoint_repeats_its_random_draws():
    x = tracked(np.ones(1000))
    tg.seed(5)
    y = tg.checkpoint(lambda x: tg.dropout(x, 0.5), x)
    tg.seed(5)
    expected = tg.dropout(tg.ones((1000,)), 0.5)
    close(y, expected)
    tg.seed(77)  # backward draws again what forward drew, not what comes next
    y.sum().backward()
    close(x.grad, expected)
    after = tg.uniform((3,)).tolist()
    tg.seed(77)
    assert after == tg.uniform((3,)).tolist()  # and leaves the generator where it was


def test_checkpoint_repeats_the_defaults_of_its_forward_pass():
    x = tracked(X, dtype="float32")
    with tg.use_dtype("float16"):
        y = tg.checkpoint(lambda x: x * tg.exp(tg.tensor([1, 2, 3])) + tg.default_dtype().itemsize, x)
    expected = np.exp(np.array([1, 2, 3], "float16")).astype("float32")
    close(y, x.detach() * expected + 2, 1e-6)
    with tg.use_dtype("float64"):
        y.sum().backward()
    assert x.grad.tolist() == expected.tolist()


def test_checkpoint_under_no_grad_and_without_anything_tracked():
    assert not tg.checkpoint(lambda x: x * 2.0, tg.tensor(X)).requires_grad
    with tg.no_grad():
        assert not tg.checkpoint(lambda x: x * 2.0, tracked(X)).requires_grad


def test_checkpoint_runs_twice_and_retains():
    calls = []
    x = tracked(X)
    y = tg.checkpoint(lambda x: calls.append(1) or (x**3), x).sum()
    assert len(calls) == 1
    y.backward(retain_graph=True)
    y.backward()
    assert len(calls) == 3
    close(x.grad, 6 * X**2)
    with pytest.raises(tg.GradientError, match="freed"):
        y.backward()


def saved_arrays():
    """How many different arrays the nodes of all graphs hold."""
    nodes = [o for o in gc.get_objects() if type(o) is Node]
    return len({id(a) for node in nodes for a in [*(node.saved or ()), node.output] if isinstance(a, np.ndarray)})


def test_checkpoint_keeps_less():
    def segment(x):
        for _ in range(10):
            x = tg.exp(tg.sin(x)) * 0.5
        return x

    def kept(use):
        y = x = tracked(np.ones(1000))
        before = saved_arrays()
        for _ in range(4):
            y = use(segment, y)
        found = saved_arrays() - before
        y.sum().backward()
        return found, x.grad

    (all_of_it, expected), (less, gradient) = kept(lambda f, x: f(x)), kept(tg.checkpoint)
    close(gradient, expected)
    assert all_of_it >= 80
    assert less == 0  # but the inputs of the four segments, as arguments of the calls to repeat


@pytest.mark.parametrize("which", ["argument", "closed over"])
def test_checkpoint_refuses_overwritten_values(which):
    x, w = tracked(X), tracked(Y)
    y = tg.checkpoint(lambda x: (x * w).sum(), x)
    (x if which == "argument" else w).assign_(0.0)
    with pytest.raises(tg.GradientError, match=r"checkpoint: expected .*overwritten since"):
        y.backward()


def test_checkpoint_refuses_a_function_that_overwrites_what_it_uses():
    x, w = tracked(X), tg.tensor(2.0)

    def function(x):
        y = x * w * x
        w.assign_(w * 2.0)
        return y

    y = tg.checkpoint(function, x).sum()
    with pytest.raises(tg.GradientError, match=r"checkpoint: expected .*overwritten since"):
        y.backward()


def test_checkpoint_refuses_overwritten_views_and_buffers():
    x, w, buffer = tracked(X), tracked(np.ones((3, 3))), tg.tensor(Y)
    view = w.T
    cases = [(lambda x: x @ view, w), (lambda x: x * buffer * x, buffer), (lambda x: tg.square(x + 1), x)]
    for function, written in cases:
        y = tg.checkpoint(function, x)
        z = tg.checkpoint(function, x)
        z.sum().backward()
        written.assign_(written.detach() * 2.0)
        with pytest.raises(tg.GradientError, match=r"checkpoint: expected .*overwritten since"):
            y.sum().backward()


def test_a_function_that_returns_its_input():
    class Cubed(tg.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * x * x

    assert tg.grad(Cubed.apply)(3.0).item() == 9.0
    assert tg.grad(tg.grad(Cubed.apply))(3.0).item() == 6.0


def test_arguments_that_are_not_in_a_list():
    x = tracked(X)
    for call in (
        lambda: tg.jvp(tg.sin, x, [x]),
        lambda: tg.jvp(tg.sin, [x], x),
        lambda: tg.hvp(lambda x: x.sum(), x, [x]),
        lambda: tg.gradcheck(tg.sin, x),
    ):
        with pytest.raises(TypeError, match=r"expected a list of \w+, received Tensor\. Hint: put it in a list"):
            call()


def test_gradcheck_of_nothing():
    for function in (lambda x: float(x.detach()), lambda x: tg.argmax(x), lambda x: x.detach().numpy()):
        with pytest.raises(TypeError, match="gradcheck: expected a function that returns a tensor of floating dtype"):
            tg.gradcheck(function, [[2.0]])


def test_a_checkpoint_repeats_draws_in_its_own_thread_only():
    seen = []

    def draw(x):
        if seen:  # in backward: another thread draws in the middle of the recomputation
            other = threading.Thread(target=lambda: seen.append(tg.uniform((4,)).tolist()))
            other.start()
            other.join()
        seen.append("drawn")
        return x * tg.uniform((3,), dtype="float64")

    tg.seed(0)
    x = tracked(X)
    y = tg.checkpoint(draw, x)
    expected = tg.Generator()
    expected.state = tg.backend.default_generator.state
    y.sum().backward()
    close(x.grad, y.detach().numpy() / X)
    assert seen[1] == expected.uniform((4,)).tolist()
    assert tg.backend.default_generator.state == expected.state


def test_hooks_around_a_checkpoint_run_once():
    x, w = tracked(X), tracked(Y)
    h = x * 1.0
    seen = []
    for t in (x, w, h):
        t.register_hook(lambda g: seen.append(1) or g * 2.0)
    h.retain_grad()
    (tg.checkpoint(lambda h: h * w, h) + w).sum().backward()
    assert len(seen) == 3
    close(w.grad, 2 * (X + 1))
    close(h.grad, 2 * Y)
    close(x.grad, 4 * Y)


def test_wrong_outputs_of_checkpoint():
    with pytest.raises(TypeError, match="checkpoint: expected a Tensor or a tuple of Tensors, received float"):
        tg.checkpoint(lambda x: 2.0, tracked(X))


# gradcheck


@pytest.fixture
def planted():
    """A function with a rule that is wrong in one element, by a given factor."""
    before = set(primitives)

    @primitive("opaque", saves=("a",))
    def planted(xp, a, *, factor):
        return a * a

    def rule(g, y, a, factor):
        wrong = np.ones(3)
        wrong[1] = factor
        return g * 2.0 * a * wrong

    planted.defvjp(rule)
    yield lambda factor: lambda x, y: planted(y, factor=factor) * x
    for name in set(primitives) - before:
        del primitives[name]


def test_gradcheck_passes_and_returns_the_error():
    error = tg.gradcheck(lambda x, y: tg.exp(x) * tg.sin(y), [X, Y], order=2)
    assert 0 <= error < 1e-6
    assert tg.gradcheck(pair, [X, Y], elements=True) < 1e-7
    assert tg.gradcheck(lambda x: x * 2.0, [3.0]) < 1e-7


@pytest.mark.parametrize("elements", [False, True])
def test_gradcheck_finds_a_planted_error_and_names_it(planted, elements):
    tg.gradcheck(planted(1.0), [X, Y], order=1, elements=elements)
    with pytest.raises(tg.GradcheckError) as caught:
        tg.gradcheck(planted(1.0001), [X, Y], elements=elements)
    text = str(caught.value)
    found = re.fullmatch(r"gradcheck: argument 1, element \(1,\): analytic (\S+), numeric (\S+), tolerance (\S+)", text)
    assert found, text
    analytic, numeric, tolerance = map(float, found.groups())
    assert analytic / numeric == pytest.approx(1.0001, abs=1e-6)
    assert 0 < tolerance < abs(analytic - numeric)
    assert isinstance(caught.value, tg.GradientError)


def test_gradcheck_counts_arguments_as_they_were_given(planted):
    with pytest.raises(tg.GradcheckError, match=r"gradcheck: argument 2, element \(1,\)"):
        tg.gradcheck(lambda n, x, y: planted(1.01)(x, y) * n, [np.array([1, 2, 3]), X, Y])


def test_gradcheck_tolerances(planted):
    with pytest.raises(tg.GradcheckError):
        tg.gradcheck(planted(1 + 1e-5), [X, Y])
    assert tg.gradcheck(planted(1 + 1e-5), [X, Y], rtol=1e-3) > 0


def test_gradcheck_of_second_order_finds_what_first_order_cannot():
    class Constant(Cube):
        """Its gradient is right, but hides that it depends on x."""

        @staticmethod
        def backward(ctx, gradient):
            return gradient * 3.0 * ctx.saved_tensors[0].detach() ** 2

    tg.gradcheck(Constant.apply, [X])
    with pytest.raises(tg.GradcheckError, match="gradcheck: second order, argument 0, element"):
        tg.gradcheck(Constant.apply, [X], order=2)


@pytest.mark.parametrize("f", [tg.relu, tg.absolute, lambda x: tg.maximum(x, 0.5), lambda x: tg.clip(x, -1.0, 2.0)])
@pytest.mark.parametrize("elements", [False, True])
def test_gradcheck_moves_away_from_kinks(f, elements):
    for point in ([0.0, 0.5, -1.0, 2.0], [1e-5, 0.49999, -1.00001, 2.0], np.zeros(4)):
        tg.gradcheck(f, [point], elements=elements, order=2)


def test_gradcheck_finds_a_wrong_gradient_beside_a_kink():
    class Relu(Cube):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return tg.relu(x)

        @staticmethod
        def backward(ctx, gradient):
            return gradient * (ctx.saved_tensors[0] > 0) * 1.01

    for point in ([0.0, 1.0], [1.0, 2.0], [1e-5, 3.0]):
        with pytest.raises(tg.GradcheckError, match=r"gradcheck: argument 0, element \(\d,\): analytic"):
            tg.gradcheck(Relu.apply, [point])


def test_gradcheck_gives_up_where_all_is_kinks():
    rough = lambda x: tg.absolute(tg.sin(x * 1e7))  # noqa: E731
    with pytest.raises(tg.GradcheckError, match="no smooth point found in 8 attempts"):
        tg.gradcheck(rough, [X])


def test_gradcheck_runs_in_float64_and_leaves_inputs_alone():
    x = tg.tensor(X, dtype="float32")
    seen = set()
    tg.gradcheck(lambda x: seen.add(x.dtype) or x * x, [x])
    assert seen == {np.dtype("float64")}
    assert x.dtype == np.float32


def test_gradcheck_errors():
    with pytest.raises(ValueError, match="gradcheck: expected order 1 or 2, received 3"):
        tg.gradcheck(lambda x: x, [X], order=3)
    with pytest.raises(TypeError, match="gradcheck: expected an input of floating dtype, received int64"):
        tg.gradcheck(lambda x: x, [1])


# Random expressions


UNARY = [
    tg.sin,
    tg.tanh,
    lambda x: tg.exp(0.3 * tg.tanh(x)),
    lambda x: 1.0 / (1.5 + tg.sin(x)),
    lambda x: x[::-1] * 0.5,
]
UNARY += [lambda x: tg.cumsum(x, 0) * 0.3, lambda x: x.mean() * x, lambda x: tg.concatenate([x[1:], x[:1]])]
UNARY += [lambda x: tg.softmax(x, -1), lambda x: tg.checkpoint(tg.sin, x), lambda x: tg.split(x, 3)[1] + x]
BINARY = [
    tg.add,
    tg.subtract,
    lambda a, b: tg.tanh(a) * b,
    lambda a, b: a / (2.0 + tg.cos(b)),
    lambda a, b: (a @ b) * 0.1 * a,
]
BINARY += [lambda a, b: tg.logaddexp(a, b), lambda a, b: (a[:, None] * tg.sin(b)).sum(axis=0)]


@st.composite
def expressions(draw):
    """A directed graph of operations: each step applies one to earlier results, which may be used many times."""
    steps = draw(
        st.lists(
            st.one_of(
                st.tuples(st.sampled_from(UNARY), st.integers(0, 100)),
                st.tuples(st.sampled_from(BINARY), st.integers(0, 100), st.integers(0, 100)),
            ),
            min_size=1,
            max_size=12,
        )
    )

    def f(*inputs):
        results = list(inputs)
        for operation, *places in steps:
            results.append(operation(*(results[i % len(results)] for i in places)))
        return sum((tg.tanh(r) for r in results[len(inputs) :]), start=tg.tanh(inputs[0])).sum()

    return f


@settings(max_examples=40, deadline=None)
@given(expressions())
def test_random_expressions(f):
    inputs = [tracked(X), tracked(Y)]
    f(*inputs).backward()
    found = tg.grad(f, (0, 1))(X, Y)
    for leaf, g in zip(inputs, found, strict=True):
        close(g, leaf.grad if leaf.grad is not None else np.zeros(3))
    tg.gradcheck(f, [X, Y], order=2, rtol=1e-5)
    v = (Y, X)
    close(tg.jvp(f, [X, Y], v)[1], sum((g * u).sum() for g, u in zip(found, v, strict=True)), 1e-9)
