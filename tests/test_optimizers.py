"""Optimizers: trajectories of 50 steps against PyTorch and against Keras's formulas in float64; ownership, state, errors."""

# ruff: noqa: E501 -- the tables hold whole error texts, a case a line

import gc
import math

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import optimizers
from tinygrad_edu.errors import GradientError, ShapeError
from tinygrad_edu.optimizers import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, Nadam, RMSprop

A = np.random.default_rng(0).normal(size=(3, 4))
START = np.random.default_rng(1).normal(size=4)
STEPS = 50


def trajectory(optimizer, device="cpu", dtype="float64"):
    """The parameter after each of 50 steps on a function with a different curvature in every direction."""
    w = tg.tensor(START, dtype=dtype, device=device, requires_grad=True)
    a = tg.tensor(A, dtype=dtype, device=device)
    optimizer.build([w])
    found = []
    for _ in range(STEPS):
        optimizer.minimize((tg.tanh(a @ w) ** 2).sum() + (w**2).sum() * 0.1)
        found.append(w.detach().to("cpu").numpy().copy())
    assert w.dtype == dtype
    return np.array(found)


TORCH = {
    "sgd": (lambda: SGD(0.1), lambda o, p: o.SGD(p, lr=0.1)),
    "momentum": (lambda: SGD(0.05, momentum=0.9), lambda o, p: o.SGD(p, lr=0.05, momentum=0.9)),
    "nesterov": (
        lambda: SGD(0.05, momentum=0.9, nesterov=True),
        lambda o, p: o.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    ),
    "sgd decay": (lambda: SGD(0.1, weight_decay=0.3), lambda o, p: o.SGD(p, lr=0.1, weight_decay=0.3)),
    "rmsprop": (lambda: RMSprop(0.05, 0.8, epsilon=1e-16), lambda o, p: o.RMSprop(p, lr=0.05, alpha=0.8, eps=0.0)),
    "rmsprop with momentum, centered": (
        lambda: RMSprop(0.01, 0.9, momentum=0.5, epsilon=1e-16, centered=True),
        lambda o, p: o.RMSprop(p, lr=0.01, alpha=0.9, momentum=0.5, eps=0.0, centered=True),
    ),
    "adam": (lambda: Adam(0.05, 0.8, 0.95, 1e-12), lambda o, p: o.Adam(p, lr=0.05, betas=(0.8, 0.95), eps=1e-12)),
    "adamw": (lambda: AdamW(0.05, 0.3, epsilon=1e-12), lambda o, p: o.AdamW(p, lr=0.05, weight_decay=0.3, eps=1e-12)),
    "adam, amsgrad": (
        lambda: Adam(0.1, 0.5, 0.7, 1e-12, amsgrad=True),
        lambda o, p: o.Adam(p, lr=0.1, betas=(0.5, 0.7), eps=1e-12, amsgrad=True),
    ),
    "adamw, amsgrad": (
        lambda: AdamW(0.1, 0.3, 0.5, 0.7, 1e-12, True),
        lambda o, p: o.AdamW(p, lr=0.1, betas=(0.5, 0.7), weight_decay=0.3, eps=1e-12, amsgrad=True),
    ),
    "adagrad": (
        lambda: Adagrad(0.2, 0.5, 1e-16),
        lambda o, p: o.Adagrad(p, lr=0.2, initial_accumulator_value=0.5, eps=0.0),
    ),
    "adadelta": (lambda: Adadelta(0.5, 0.9, 1e-4), lambda o, p: o.Adadelta(p, lr=0.5, rho=0.9, eps=1e-4)),
    "adamax": (lambda: Adamax(0.05, 0.8, 0.95, 1e-12), lambda o, p: o.Adamax(p, lr=0.05, betas=(0.8, 0.95), eps=1e-12)),
    "nadam": (
        lambda: Nadam(0.05, 0.8, 0.95, 1e-8),
        lambda o, p: o.NAdam(p, lr=0.05, betas=(0.8, 0.95), eps=1e-8, momentum_decay=1.0),
    ),
}


@pytest.mark.parametrize("name", TORCH)
def test_as_torch(name):
    torch = pytest.importorskip("torch")
    ours, theirs = TORCH[name]
    w = torch.tensor(START, requires_grad=True)
    optimizer = theirs(torch.optim, [w])
    expected = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        ((torch.tanh(torch.tensor(A) @ w) ** 2).sum() + (w**2).sum() * 0.1).backward()
        optimizer.step()
        expected.append(w.detach().numpy().copy())
    np.testing.assert_allclose(trajectory(ours()), expected, rtol=1e-7, atol=1e-9)


def gradient(w):
    t = np.tanh(A @ w)
    return A.T @ (2 * t * (1 - t * t)) + 0.2 * w


@pytest.mark.parametrize("epsilon", [1e-7, 0.1])
@pytest.mark.parametrize("decay", [None, 0.3])
def test_adam_as_the_formula_of_keras(epsilon, decay):
    w, m, v, expected = START.copy(), 0.0, 0.0, []
    for t in range(1, STEPS + 1):
        g = gradient(w)
        w = w - w * (decay or 0.0) * 0.05
        m, v = m + (g - m) * (1 - 0.9), v + (g * g - v) * (1 - 0.999)
        w = w - 0.05 * math.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (np.sqrt(v) + epsilon)
        expected.append(w)
    found = trajectory(Adam(0.05, epsilon=epsilon, weight_decay=decay))
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("epsilon", [1e-7, 0.1])
def test_rmsprop_as_the_formula_of_keras(epsilon):
    w, v, m, expected = START.copy(), 0.0, 0.0, []
    for _ in range(STEPS):
        g = gradient(w)
        w = w - w * 0.3 * 0.05
        v = 0.9 * v + (1 - 0.9) * g * g
        m = 0.5 * m + 0.05 * g / np.sqrt(v + epsilon)
        w = w - m
        expected.append(w)
    found = trajectory(RMSprop(0.05, momentum=0.5, epsilon=epsilon, weight_decay=0.3))
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", TORCH)
def test_float32_stays_and_follows(name):
    ours, _ = TORCH[name]
    np.testing.assert_allclose(trajectory(ours(), dtype="float32"), trajectory(ours()), rtol=2e-3, atol=2e-4)


def test_defaults_are_those_of_keras():
    for optimizer, defaults in (
        (SGD(), {"learning_rate": 0.01, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0}),
        (RMSprop(), {"learning_rate": 0.001, "rho": 0.9, "momentum": 0.0, "epsilon": 1e-7, "centered": False}),
        (Adam(), {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}),
        (AdamW(), {"learning_rate": 0.001, "weight_decay": 0.004, "epsilon": 1e-7}),
    ):
        assert {name: getattr(optimizer, name) for name in defaults} == defaults


def weight(*values):
    return tg.tensor(values or (1.0, 2.0), requires_grad=True)


def test_minimize_clears_gradients_and_step_skips_parameters_without_one():
    used, unused = weight(), weight()
    optimizer = SGD(0.5).build([used, unused])
    optimizer.minimize(used.sum())
    assert used.grad is None
    assert used.tolist() == [0.5, 1.5]
    assert unused.tolist() == [1.0, 2.0]
    assert optimizer.iterations == 1


def test_the_learning_rate_can_be_changed():
    w = weight()
    optimizer = SGD(0.5).build([w])
    optimizer.learning_rate = 0.25
    optimizer.minimize(w.sum())
    assert w.tolist() == [0.75, 1.75]


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_bad_learning_rates(value):
    for make in (SGD, Adam, AdamW):
        with pytest.raises(
            ValueError, match=f"{make.__name__}: expected learning_rate to be a number of at least 0, received {value}"
        ):
            make(learning_rate=value)
    optimizer = SGD()
    with pytest.raises(ValueError, match="expected learning_rate"):
        optimizer.learning_rate = value
    assert optimizer.learning_rate == 0.01


def twice():
    w = weight()
    SGD().build([w, w])


def two_optimizers():
    w = weight()
    first = SGD().build([w])
    Adam().build([w])
    return first


def test_two_optimizers_of_the_same_parameters_each_go_on_with_their_own_state():
    parameters = [weight(), weight(3.0)]
    first, second = (SGD(rate, momentum=0.9).build(parameters, shared=True) for rate in (0.1, 0.01))
    expected, moves = [np.array([1.0, 2.0]), np.array([3.0])], [[0.0, 0.0], [0.0, 0.0]]
    for step in range(6):
        for i, (optimizer, rate) in enumerate(((first, 0.1), (second, 0.01))):
            if step % 3 or i:  # the first one pauses
                optimizer.minimize(sum((p * p).sum() for p in parameters))
                for k, p in enumerate(expected):
                    moves[i][k] = 0.9 * moves[i][k] - rate * 2 * p
                    expected[k] = p + moves[i][k]
        for p, value in zip(parameters, expected, strict=True):
            np.testing.assert_allclose(p.detach().numpy(), value, rtol=1e-5)


def other_parameters():
    SGD().build([weight()]).build([weight()])


@pytest.mark.parametrize(("call", "kind", "text"), [
    (lambda: SGD("0.1"), TypeError, "expected learning_rate to be a number of at least 0, received '0.1'"),
    (lambda: SGD(momentum=1.5), ValueError, "SGD: expected momentum to be a number in [0, 1], received 1.5"),
    (lambda: Adam(beta_1=1.0), ValueError, "Adam: expected beta_1 to be a number in [0, 1), received 1.0"),
    (lambda: Adam(beta_2=-0.1), ValueError, "expected beta_2"),
    (lambda: Adam(epsilon=-1), ValueError, "expected epsilon"),
    (lambda: AdamW(weight_decay=-1), ValueError, "AdamW: expected weight_decay to be a number of at least 0, received -1"),
    (lambda: SGD(nesterov="no"), TypeError, "SGD: expected nesterov to be True or False"),
    (lambda: RMSprop(centered=1), TypeError, "RMSprop: expected centered to be True or False"),
    (lambda: SGD().build([]), ValueError, "SGD: expected at least one parameter, received none. Hint: build the model first"),
    (twice, ValueError, "SGD: expected each parameter once, received 2 with some of them twice"),
    (two_optimizers, ValueError, "Adam: expected parameters of no other optimizer, received some of SGD"),
    (other_parameters, ValueError, "SGD: expected the parameters it was built with, received others"),
    (lambda: SGD().build([tg.zeros((2,))]), TypeError, "SGD: expected leaf tensors that require grad, received float32[2]"),
    (lambda: SGD().build([weight() * 2.0]), TypeError, "expected leaf tensors that require grad"),
    (lambda: SGD().build([np.zeros(2)]), TypeError, "received ndarray"),
    (lambda: setattr(SGD(), "lr", 0.1), AttributeError, "SGD: expected learning_rate, received lr, the name that Keras 2 had."),
    (lambda: SGD().lr, AttributeError, "SGD: expected learning_rate, received lr, the name that Keras 2 had."),
    (lambda: SGD().step(), ValueError, "SGD: expected build(parameters) before step(), received no parameters"),
    (lambda: SGD().build([weight()]).step(), GradientError, "SGD step: expected gradients, received parameters without any. Hint: call loss.backward() first"),
    (lambda: optimizers.get("adm"), ValueError, "did you mean 'adam'?"),
    (lambda: optimizers.get(Adam), TypeError, "Hint: write Adam()."),
    (lambda: SGD(optimizers.schedules.CosineDecay), TypeError, "SGD: expected learning_rate to be a number or a schedule, received <class 'tinygrad_edu.optimizers.schedules.CosineDecay'>. Hint: write CosineDecay(...)."),
])  # fmt: skip
def test_bad_input(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)


def test_parameters_come_free_with_their_optimizer():
    w = weight()
    first = SGD().build([w])
    first.release()
    second = Adam().build([w])
    assert second.parameters == [w]
    del second
    gc.collect()
    SGD().build([w])


def test_building_again_with_the_same_parameters_changes_nothing():
    w = weight()
    optimizer = Adam().build([w])
    optimizer.minimize(w.sum())
    assert optimizer.build([w]).iterations == 1
    assert optimizer.states[0]["momentum"].numpy().any()


@pytest.mark.parametrize("make", [lambda: SGD(0.05, momentum=0.9), lambda: Adam(0.05), lambda: AdamW(0.05)])
def test_state_continues_bit_for_bit(make):
    def train(w, optimizer, steps):
        for _ in range(steps):
            optimizer.minimize((w**4).sum())

    w, again = weight(), weight()
    optimizer = make().build([w])
    train(w, optimizer, 5)
    saved, values = optimizer.state_dict(), w.detach().numpy().copy()
    train(w, optimizer, 5)
    again.assign_(values)
    other = make().build([again])
    other.learning_rate = 9.0
    other.load_state_dict(saved)
    assert other.learning_rate == 0.05
    train(again, other, 5)
    np.testing.assert_array_equal(again.detach().numpy(), w.detach().numpy())


def test_state_that_does_not_fit_changes_nothing():
    optimizer = Adam().build([weight()])
    saved = optimizer.state_dict()
    wrong = saved | {"0.velocity": np.zeros(3), "1.momentum": np.zeros(2), "iterations": np.array(7)}
    del wrong["0.momentum"]
    with pytest.raises(ShapeError) as caught:
        optimizer.load_state_dict(wrong)
    assert "missing 0.momentum; unexpected 1.momentum; 0.velocity of shape (3,) instead of (2,)" in str(caught.value)
    assert optimizer.iterations == 0


@pytest.mark.parametrize("wrong", [
    {"iterations": np.array(-1)}, {"iterations": np.array(2.5)}, {"learning_rate": np.array(-1.0)},
    {"0.velocity": np.array([-1.0, 0.0])}, {"0.velocity": np.array(["a", "b"])},
    {"0.momentum": np.array([np.nan, 0.0])}, {"0.momentum": np.array([1e300, 0.0])},
])  # fmt: skip
def test_state_out_of_range_changes_nothing(wrong):
    optimizer = Adam().build([weight()])
    saved = {name: value + 1 for name, value in optimizer.state_dict().items()}
    with pytest.raises(ValueError, match=f"Adam load_state_dict: expected {next(iter(wrong))}"):
        optimizer.load_state_dict(saved | wrong)
    assert (optimizer.iterations, optimizer.learning_rate) == (0, 0.001)
    assert not any(t.numpy().any() for t in optimizer.states[0].values())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parameters_without_axes(dtype):
    parameters = [tg.tensor(value, dtype=dtype, requires_grad=True) for value in (1.0, 2.0)]
    optimizer = SGD(0.25).build(parameters)
    for _ in range(2):
        optimizer.minimize(sum(p * p for p in parameters))
    assert [p.item() for p in parameters] == [0.25, 0.5]


def test_a_step_that_fails_changes_nothing():
    first, second = weight(), weight().astype("float64").detach().requires_grad_()  # which do not lie together
    optimizer = Adam(0.1).build([first, second])
    (first.sum() + second.sum()).backward()
    calls, apply = [], optimizer.apply

    def fail(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return apply(*arguments)

    optimizer.apply = fail
    with pytest.raises(KeyboardInterrupt):
        optimizer.step()
    assert optimizer.iterations == 0
    assert first.tolist() == second.tolist() == [1.0, 2.0]
    assert not optimizer.states[0]["momentum"].numpy().any()


class Remembering(SGD):
    def init(self, parameter):
        return {"previous": parameter * 0.0, "before": parameter * 0.0, "number": parameter * 0.0}

    def apply(self, parameter, gradient, state, learning_rate, step):
        new = {"previous": parameter, "before": state["previous"], "number": 0.5}
        return parameter - gradient * learning_rate, new


class Wrong(SGD):
    def apply(self, parameter, gradient, state, learning_rate, step):
        return (parameter if parameter.shape == (2,) else parameter[:1]) - learning_rate, state


def test_a_rule_may_return_what_it_was_given():
    w = weight()
    optimizer = Remembering(0.5).build([w])
    for _ in range(2):
        optimizer.minimize(w.sum())
    assert w.tolist() == [0.0, 1.0]
    found = [optimizer.states[0][name].tolist() for name in ("previous", "before", "number")]
    assert found == [[0.5, 1.5], [1.0, 2.0], [0.5, 0.5]]


def test_a_rule_that_returns_another_shape_changes_nothing():
    first, second = weight(), tg.tensor([1.0, 2.0, 3.0], dtype="float64", requires_grad=True)
    optimizer = Wrong(0.5).build([first, second])
    with pytest.raises(ShapeError, match=r"Wrong apply: expected an array of shape \(3,\), received shape \(1,\)"):
        optimizer.minimize(first.sum() + second.sum())
    assert (first.tolist(), second.tolist(), optimizer.iterations) == ([1.0, 2.0], [1.0, 2.0, 3.0], 0)


class WarmUp(SGD):
    def apply(self, parameter, gradient, state, learning_rate, step):
        return parameter - gradient * (learning_rate if step > 1 else 0.0), state


def test_a_rule_that_branches_runs_without_jit():
    first, second = weight(), weight().astype("float64").detach().requires_grad_()
    optimizer = WarmUp(0.5).build([first, second])
    with pytest.warns(UserWarning, match=r"WarmUp runs without jit: .*'return .*no control flow on a traced") as caught:
        optimizer.minimize(first.sum() + second.sum())
    assert caught[0].filename == __file__
    assert (first.tolist(), optimizer.iterations) == ([1.0, 2.0], 1)
    optimizer.minimize(first.sum() + second.sum())  # without another warning
    assert (first.tolist(), second.tolist(), optimizer.iterations) == ([0.5, 1.5], [0.5, 1.5], 2)
    with pytest.raises(tg.TraceError):
        tg.jit(lambda: optimizer.minimize(first.sum() + second.sum()))()
    assert optimizer.iterations == 2
    model = tg.models.Sequential([tg.layers.Dense(1, input_shape=(1,))])
    model.compile(WarmUp(0.5), "mse")
    with pytest.warns(UserWarning, match="runs without jit") as caught:
        model.fit([[1.0], [2.0]], [1.0, 2.0], verbose=0)
    assert [str(c.message).split(": ")[0] for c in caught] == ["Sequential runs without jit", "WarmUp runs without jit"]


def test_a_freed_parameter_is_forgotten():
    w = weight()
    key, optimizer = id(w), SGD()
    optimizer.build([w])
    assert key in optimizers.base._owners
    optimizer.parameters, optimizer._segments = [], []
    del w
    gc.collect()
    assert key not in optimizers.base._owners


def test_a_graph_over_a_step_raises():
    w = weight()
    optimizer = SGD(0.1).build([w])
    stale = (w * w).sum()
    optimizer.minimize((w * w).sum())
    with pytest.raises(GradientError, match="assign_ has overwritten"):
        stale.backward()


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("given", [("float64", "float32"), ("float32", "float64"), ("float16", "float32")])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_may_have_other_dtypes_than_their_parameters(dtype, given, size):
    parameters = [tg.ones(size, dtype=dtype).requires_grad_() for _ in given]
    optimizer = SGD(0.25).build(parameters)
    for p, kind in zip(parameters, given, strict=True):
        p.grad = tg.ones(size, dtype=kind)
    optimizer.step()
    assert [p.numpy().tolist() for p in map(tg.Tensor.detach, parameters)] == [[0.75] * size] * 2
    assert all(p.dtype == dtype for p in parameters)


@pytest.mark.gpu
@pytest.mark.parametrize("name", TORCH)
def test_the_same_on_cuda(name):
    ours, _ = TORCH[name]
    np.testing.assert_allclose(trajectory(ours(), "cuda"), trajectory(ours()), rtol=1e-9, atol=1e-12)


@pytest.mark.gpu
def test_state_moves():
    w = weight()
    optimizer = Adam().build([w])
    optimizer.minimize(w.sum())
    w.data = w.to("cuda").data
    assert optimizer.to("cuda") is optimizer
    assert {str(t.device) for t in optimizer.states[0].values()} == {"cuda:0"}
    optimizer.minimize(w.sum())
    assert optimizer.state_dict()["0.momentum"].shape == (2,)


@pytest.mark.parametrize("when", ["before the first step", "after it"])
def test_a_parameter_that_was_given_another_array_is_trained_on(when):
    a, b = (tg.tensor([1.0, 2.0], requires_grad=True) for _ in "ab")
    optimizer = SGD(0.25, momentum=0.5).build([a, b])
    for n in range(3):
        if n == (when == "after it"):
            a.data = a.data.copy()
        optimizer.minimize((a * a + b * b).sum())
        assert a.tolist() == b.tolist()
