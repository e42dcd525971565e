"""L-BFGS: trajectories against PyTorch; its state, errors, and `fit`."""

# ruff: noqa: E501 -- the table of errors holds whole texts, a case a line

import copy
import importlib

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import layers, models
from tinygrad_edu.errors import GradientError
from tinygrad_edu.optimizers import LBFGS, SGD, lbfgs

X = np.random.default_rng(0).normal(size=(20, 3))
Y = np.sin(X.sum(axis=1, keepdims=True))
KERNEL, BIAS = np.random.default_rng(1).normal(size=(3, 1)), np.array([0.5])


def weights(dtype="float64", device="cpu"):
    return [tg.tensor(value, dtype=dtype, device=device, requires_grad=True) for value in (KERNEL, BIAS)]


def regression(module, kernel, bias, x, y):
    """A loss with curvature of every kind; the same code for PyTorch and for us."""
    return ((module.tanh(x @ kernel + bias) - y) ** 2).mean() + 0.01 * (kernel**4).sum() + 0.1 * (bias**2).sum()


def valley(module, kernel, bias, x, y):
    """Rosenbrock's function (1960), in which most moves have to turn."""
    a, b = kernel[:-1], kernel[1:]
    return (100.0 * (b - a**2) ** 2 + (1.0 - a) ** 2).sum() + (bias**2).sum()


def loss_of(function, parameters):
    x, y = (tg.tensor(a, dtype=parameters[0].dtype, device=parameters[0].device) for a in (X, Y))
    return lambda: function(tg, *parameters, x, y)


def trajectory(function, optimizer, steps, dtype="float64", device="cpu"):
    parameters = weights(dtype, device)
    optimizer.build(parameters)
    loss = loss_of(function, parameters)
    return np.array([after_step(optimizer, loss, parameters) for _ in range(steps)])


def after_step(optimizer, loss, parameters):
    optimizer.minimize(loss)
    return values(parameters)


def values(parameters):
    return np.concatenate([p.detach().to("cpu").numpy().ravel() for p in parameters])


SETTINGS = {
    "defaults": ({}, {}),
    "one move": ({"max_iterations": 1}, {"max_iter": 1}),
    "slow": ({"learning_rate": 0.1, "max_iterations": 4}, {"lr": 0.1, "max_iter": 4}),
    "short memory": ({"max_iterations": 3, "history_size": 2}, {"max_iter": 3, "history_size": 2}),
    "few evaluations": ({"max_evaluations": 3}, {"max_eval": 3}),
    "one evaluation": ({"max_evaluations": 1}, {"max_eval": 1}),
    "tolerance of gradients": ({"tolerance_gradient": 0.05}, {"tolerance_grad": 0.05}),
    "tolerance of moves": ({"learning_rate": 0.1, "tolerance_change": 0.2}, {"lr": 0.1, "tolerance_change": 0.2}),
    "tolerance of changes": ({"tolerance_change": 0.02}, {"tolerance_change": 0.02}),
}


@pytest.mark.parametrize("line_search", [None, "strong_wolfe"])
@pytest.mark.parametrize("function", [regression, valley])
@pytest.mark.parametrize("name", SETTINGS)
def test_as_torch(name, function, line_search):
    torch = pytest.importorskip("torch")
    ours, theirs = SETTINGS[name]
    parameters = [torch.tensor(value, requires_grad=True) for value in (KERNEL, BIAS)]
    optimizer = torch.optim.LBFGS(parameters, line_search_fn=line_search, **theirs)
    calls, steps = [], 50 if function is regression else 20  # then the valley has made rounding errors large

    def closure():
        calls.append("theirs")
        optimizer.zero_grad()
        loss = function(torch, *parameters, torch.tensor(X), torch.tensor(Y))
        loss.backward()
        return loss

    followers = weights()
    follower = LBFGS(line_search=line_search, **ours).build(followers)
    loss = loss_of(function, followers)
    for _ in range(steps):
        optimizer.step(closure)
        follower.minimize(lambda: calls.append("ours") or loss())
        expected = np.concatenate([p.detach().numpy().ravel() for p in parameters])
        np.testing.assert_allclose(values(followers), expected, rtol=1e-6, atol=1e-6)
        assert calls.count("ours") == calls.count("theirs")


WAVES = {
    "sines": (lambda t: np.sin(3 * t + 2) + 0.1 * t * t, lambda t: 3 * np.cos(3 * t + 2) + 0.2 * t),
    "steep": (lambda t: np.exp(t) - 20 * t, lambda t: np.exp(t) - 20),
    "steps": (lambda t: np.sin(5 * t) / 5 - 1.02 * t + 0.01 * t * t, lambda t: np.cos(5 * t) - 1.02 + 0.02 * t),
    "falling": (lambda t: -t, lambda t: -1.0),
    "a wall": (lambda t: -0.01 * t + 50 * max(t - 1, 0) ** 2, lambda t: -0.01 + 100 * max(t - 1, 0)),
    "root": (lambda t: -np.sqrt(t + 0.01) + 0.9 * t, lambda t: -0.5 / np.sqrt(t + 0.01) + 0.9),
    "ripples": (lambda t: -t + 0.2 * np.sin(4 * t) + 0.01 * t * t, lambda t: -1 + 0.8 * np.cos(4 * t) + 0.02 * t),
    "a late rise": (lambda t: -0.1 * np.tanh(50 * t) + 0.01 * t, lambda t: -1.0),
    "a wrong slope": (lambda t: -t + 0.1 * np.sin(40 * t) + 0.3 * t * t, lambda t: -1 + 0.6 * t),
}


@pytest.mark.parametrize("limit", [0, 1, 3, 25])
@pytest.mark.parametrize("name", WAVES)
def test_the_line_search_as_torch(name, limit):
    torch = pytest.importorskip("torch")
    search = importlib.import_module("torch.optim.lbfgs")._strong_wolfe
    value, slope = WAVES[name]

    def along(at, length, direction):
        tried.append(float(length))
        return float(value(float(length) * 2)), torch.tensor([slope(float(length) * 2)], dtype=torch.float64)

    def at(place):
        lengths.append(place[0] / 2)
        return float(value(place[0])), np.array([slope(place[0])])

    for first in (0.001, 0.01, 0.1, 0.3, 0.7, 1.0, 1.3, 2.0, 3.0, 10.0):
        for tolerance in (1e-9, 0.1):
            tried, lengths, begin = [], [], slope(0.0)
            line = lbfgs.Line(at, np.zeros(1), np.array([2.0]))
            start = lbfgs.Point(0.0, float(value(0.0)), np.array([begin]), 2.0 * begin)
            found = line.strong_wolfe(start, first, limit, tolerance)
            direction, gradient = (torch.tensor([number], dtype=torch.float64) for number in (2.0, begin))
            given = along, None, first, direction, start.value, gradient, direction @ gradient
            lowest, _, length, count = search(*given, tolerance_change=tolerance, max_ls=limit)
            np.testing.assert_allclose(lengths, tried, rtol=1e-6, atol=1e-12)
            np.testing.assert_allclose((found.length, found.value), (float(length), lowest), rtol=1e-6, atol=1e-12)
            assert line.evaluations == count


def point(length, function, slope):
    return lbfgs.Point(length, function(length), None, slope(length))


@pytest.mark.parametrize("flip", [False, True])
def test_the_lowest_point_of_a_cubic(flip):
    ends = [point(at, lambda t: t**3 - 3.0 * t, lambda t: 3.0 * t * t - 3.0) for at in (0.0, 3.0)]
    first, second = reversed(ends) if flip else ends
    np.testing.assert_allclose(lbfgs._lowest(first, second, 0.0, 3.0), 1.0)
    assert lbfgs._lowest(first, second, 1.5, 3.0) == 1.5
    assert lbfgs._lowest(first, second, 0.0, 0.5) == 0.5
    rising = [point(at, lambda t: t**3 + t, lambda t: 3.0 * t * t + 1.0) for at in (0.0, 3.0)]
    assert lbfgs._lowest(*rising, 0.0, 3.0) == 1.5
    assert lbfgs._lowest(ends[0], ends[0], 0.0, 3.0) == 1.5
    assert lbfgs._lowest(*(point(at, lambda t: -t, lambda t: -1.0) for at in (0.0, 3.0)), 0.0, 7.0) == 7.0
    infinite = ends[1]._replace(value=float("inf"))
    assert lbfgs._lowest(ends[0], infinite, 0.0, 3.0) == 1.5


@pytest.mark.parametrize("line_search", [None, "strong_wolfe"])
def test_float32_stays_and_finds_the_minimum(line_search):
    found = trajectory(regression, LBFGS(line_search=line_search), 4, dtype="float32")
    assert found.dtype == np.float32
    expected = trajectory(regression, LBFGS(line_search=line_search), 20)[-1]
    np.testing.assert_allclose(found[-1], expected, atol=2e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("line_search", [None, "strong_wolfe"])
def test_the_same_on_cuda(line_search):
    def make():
        return LBFGS(line_search=line_search, max_iterations=4)

    np.testing.assert_allclose(trajectory(regression, make(), 2, device="cuda"), trajectory(regression, make(), 2))
    optimizer = make()
    trajectory(regression, optimizer, 1)
    for p in optimizer.parameters:
        p.data = p.to("cuda").data
    assert optimizer.to("cuda") is optimizer
    optimizer.minimize(loss_of(regression, optimizer.parameters))
    expected = trajectory(regression, make(), 2)[-1]
    np.testing.assert_allclose(values(optimizer.parameters), expected, rtol=1e-9)


def test_a_function_may_call_backward_itself_and_be_recorded():
    expected = trajectory(regression, LBFGS(max_iterations=3), 5)
    for wrap in (lambda f: f, tg.jit):
        parameters = weights()
        loss = loss_of(regression, parameters)

        @wrap
        def closure(loss=loss):
            value = loss()
            value.backward()
            return value

        optimizer = LBFGS(max_iterations=3).build(parameters)
        found = [after_step(optimizer, closure, parameters) for _ in range(5)]
        np.testing.assert_allclose(found, expected, rtol=1e-9)
        assert all(p.grad is None for p in parameters)
        assert optimizer.iterations == 5


def test_a_parameter_that_the_loss_does_not_use_stays():
    used, unused = weights()
    optimizer = LBFGS().build([used, unused])
    optimizer.minimize(lambda: (used**2).sum())
    assert abs(used.detach().numpy()).max() < 1e-6
    assert unused.detach().numpy() == BIAS


@pytest.mark.parametrize("steps", [0, 1, 3])
@pytest.mark.parametrize("line_search", [None, "strong_wolfe"])
def test_continues_from_its_state_bit_for_bit(line_search, steps):
    def make():
        return LBFGS(0.5, max_iterations=2, max_evaluations=10, history_size=3, line_search=line_search)

    first, second = weights("float32"), weights("float32")
    one, other = make().build(first), make().build(second)
    for _ in range(steps):
        one.minimize(loss_of(valley, first))
    saved = one.state_dict()
    if steps == 3:
        other.minimize(loss_of(regression, second))  # which is forgotten
    for p, q in zip(first, second, strict=True):
        q.assign_(p.detach())
    other.load_state_dict(saved)
    assert other.state_dict().keys() == saved.keys()
    assert sum(name.startswith("moves.") for name in saved) == {0: 0, 1: 1, 3: 3}[steps]
    twin_weights, twin = copy.deepcopy((first, one))
    for _ in range(4):
        one.minimize(loss_of(valley, first))
        other.minimize(loss_of(valley, second))
        twin.minimize(loss_of(valley, twin_weights))
    np.testing.assert_array_equal(values(second), values(first))
    np.testing.assert_array_equal(values(twin_weights), values(first))
    assert other.iterations == one.iterations == steps + 4


@pytest.mark.parametrize("wrong", [
    {"move": np.zeros(3)}, {"moves.0": np.array([np.nan] * 4)}, {"changes.1": np.zeros(4)}, {"moves.7": np.zeros(4)},
    {"iterations": np.array(-1)},
])  # fmt: skip
def test_state_that_does_not_fit_changes_nothing(wrong):
    optimizer, other = LBFGS(max_iterations=2).build(weights()), LBFGS(max_iterations=2).build(weights())
    optimizer.minimize(loss_of(regression, optimizer.parameters))
    other.minimize(loss_of(valley, other.parameters))
    before = other.state_dict()
    with pytest.raises(ValueError, match="LBFGS load_state_dict"):
        other.load_state_dict(optimizer.state_dict() | wrong)
    after = other.state_dict()
    assert after.keys() == before.keys()
    assert all((after[name] == value).all() for name, value in before.items())


def test_a_step_that_fails_changes_nothing():
    parameters = weights()
    optimizer = LBFGS(max_iterations=5).build(parameters)
    loss, calls = loss_of(regression, parameters), []
    optimizer.minimize(loss)
    before, state = values(parameters), optimizer.state_dict()

    def interrupted():
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return loss()

    with pytest.raises(KeyboardInterrupt):
        optimizer.minimize(interrupted)
    np.testing.assert_array_equal(values(parameters), before)
    after = optimizer.state_dict()
    assert all((after[name] == value).all() for name, value in state.items())
    assert after.keys() == state.keys()
    optimizer.release()
    assert optimizer.memory.named() == {}
    SGD().build(parameters)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("line_search", [None, "strong_wolfe"])
def test_a_loss_that_is_no_number_ends(line_search, bad):
    parameters = weights()
    optimizer = LBFGS(line_search=line_search).build(parameters)
    with np.errstate(all="ignore"):
        optimizer.minimize(lambda: (parameters[0] * bad).sum() + parameters[1].sum())
    assert optimizer.iterations == 1


def built(**settings):
    return LBFGS(**settings).build(weights())


@pytest.mark.parametrize(("call", "kind", "text"), [
    (lambda: LBFGS(-1.0), ValueError, "LBFGS: expected learning_rate"),
    (lambda: LBFGS(max_iterations=0), ValueError, "LBFGS: expected max_iterations"),
    (lambda: LBFGS(max_evaluations=0), ValueError, "LBFGS: expected max_evaluations"),
    (lambda: LBFGS(history_size=0), ValueError, "LBFGS: expected history_size"),
    (lambda: LBFGS(tolerance_gradient=-1.0), ValueError, "LBFGS: expected tolerance_gradient"),
    (lambda: LBFGS(tolerance_change=-1.0), ValueError, "LBFGS: expected tolerance_change"),
    (lambda: LBFGS(line_search="wolfe"), ValueError, "LBFGS: expected line_search to be one of 'strong_wolfe', received 'wolfe'"),
    (lambda: LBFGS().minimize(lambda: tg.ones(())), ValueError, "LBFGS: expected build(parameters) before minimize(), received no parameters"),
    (lambda: built().minimize(tg.ones(())), TypeError, "LBFGS minimize: expected a function that returns the loss, received one Tensor. Hint: for example"),
    (lambda: built().minimize(lambda: 1.0), TypeError, "LBFGS minimize: expected a function that returns a tensor, received one float"),
    (lambda: built().minimize(lambda: tg.ones(())), GradientError, "backward"),
    (lambda: built().step(), TypeError, "LBFGS: expected minimize(function), received step()"),
    (lambda: LBFGS().build([{"params": weights(), "rate": 0.1}]), ValueError, "LBFGS: expected groups without a rate and a weight_decay"),
])  # fmt: skip
def test_bad_input(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)


def model_of(optimizer, **settings):
    tg.seed(0)
    model = models.Sequential([layers.Dense(6, activation="tanh"), layers.Dense(1)])
    model.compile(optimizer, "mse", metrics=["mae"], **settings)
    return model


@pytest.mark.parametrize("line_search", [None, "strong_wolfe"])
def test_in_fit(line_search):
    x, y = X.astype("float32"), Y.astype("float32")
    model = model_of(LBFGS(line_search=line_search))
    untrained = model.evaluate(x, y, batch_size=20, verbose=0)
    history = model.fit(x, y, batch_size=20, epochs=10, verbose=0).history
    np.testing.assert_allclose([history["loss"][0], history["mae"][0]], untrained, rtol=1e-5)  # those before the step
    assert history["loss"][-1] < 0.02 * history["loss"][0]
    assert model.optimizer.iterations == 10


def test_what_jit_says_changes_nothing_in_fit():
    found = []
    for use_jit in ("auto", True, False):
        model = model_of("lbfgs", jit=use_jit)
        model.fit(X, Y, batch_size=20, epochs=2, verbose=0)
        found.append(values(model.parameters()))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_constraints_are_refused():
    w = tg.tensor([1.0], requires_grad=True)
    w.constraint = tg.constraints.NonNeg()
    with pytest.raises(ValueError, match=r"LBFGS: expected parameters without constraints, received .*NonNeg"):
        LBFGS().build([w])


def test_several_batches_are_warned_of():
    model = models.Sequential([layers.Input((2,)), layers.Dense(1)])
    model.compile("lbfgs", "mse")
    with pytest.warns(
        UserWarning, match=r"^Sequential fit: expected all rows in one batch for LBFGS, received 2 batches"
    ):
        model.fit(np.ones((40, 2)), np.ones(40), verbose=0)
