"""Every rule: against Keras's numbers and arguments, PyTorch, and the formulas of the papers; under jit, in fit, on CUDA,
and continued from its state."""

# ruff: noqa: E501 -- the table of errors holds whole texts, a case a line

import inspect
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import layers, models, optimizers
from tinygrad_edu.optimizers import OPTIMIZERS, Adam, Lamb, Lion, Muon, adaptive

sys.path.insert(0, str(Path(__file__).parent))
from optimizer_cases import CASES, SLOPES, START, STEPS, gradient

KERAS = dict(np.load(Path(__file__).with_name("golden") / "optimizers.npz"))


def make(case):
    return OPTIMIZERS[case.split(",")[0]](**CASES[case])


def weights(dtype="float64", device="cpu"):
    return {name: tg.tensor(v, dtype=dtype, device=device, requires_grad=True) for name, v in START.items()}


def loss_of(parameters):
    """The function that `gradient` is the gradient of."""
    total = 0.0
    for name, w in parameters.items():
        slopes = tg.tensor(SLOPES[name], dtype=w.dtype, device=w.device)
        total = total + (slopes * (w - 0.3) ** 2 / 2.0 - tg.cos(3.0 * w + slopes) / 3.0).sum() + 0.05 * w.sum() ** 2
    return total


def values(parameters):
    return np.concatenate([p.detach().to("cpu").numpy().ravel() for p in parameters.values()])


def train(case, dtype="float64", device="cpu", count=STEPS[-1], eager=False):
    """All parameters after each step."""
    parameters = weights(dtype, device)
    optimizer = make(case).build(parameters)
    if eager:
        optimizer._update = optimizer._updated
    found = []
    for _ in range(count):
        optimizer.minimize(loss_of(parameters))
        found.append(values(parameters))
    assert {str(p.dtype) for p in parameters.values()} == {dtype}
    return np.array(found)


def test_every_optimizer_is_in_the_table():
    kinds = [case.split(",")[0] for case in CASES]
    assert set(kinds) | {"lbfgs"} == set(OPTIMIZERS)
    assert all(kinds.count(kind) > 1 for kind in kinds)
    assert {kind.__name__ for kind in OPTIMIZERS.values()} <= set(optimizers.__all__)


def test_the_loss_has_that_gradient():
    parameters = weights()
    loss_of(parameters).backward()
    for name, p in parameters.items():
        np.testing.assert_allclose(p.grad.numpy(), gradient(name, START[name]), rtol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_as_keras(case):
    found = train(case)[[step - 1 for step in STEPS]]
    exact = 1e-7 if "nadam" in case else 1e-12  # Keras rounds its 0.96 to float32, and the defaults
    np.testing.assert_allclose(found, KERAS[case], rtol=0, atol=exact if CASES[case] else 1e-6)
    assert (abs(found[-1] - found[0]) > 1e-7).any()


@pytest.mark.parametrize("kind", [kind for kind in OPTIMIZERS if kind != "lbfgs"])
def test_arguments_as_in_keras(kind):
    ours = inspect.signature(OPTIMIZERS[kind]).parameters.values()
    given = [[p.name, p.default] for p in ours if p.kind is not p.VAR_KEYWORD]
    common = {*optimizers.Options.__annotations__, "loss_scale_factor"}
    theirs = [[name, default] for name, default in json.loads(str(KERAS[f"{kind} arguments"])) if name not in common]
    assert given == theirs


@pytest.mark.parametrize("case", CASES)
def test_recorded_as_unrecorded(case):
    expected = train(case, eager=True)
    np.testing.assert_allclose(train(case), expected, rtol=1e-11, atol=1e-11)
    parameters = weights()
    optimizer = make(case).build(parameters)

    @tg.jit
    def step():
        loss = loss_of(parameters)
        optimizer.minimize(loss)
        return loss

    for row in expected:
        step()
        np.testing.assert_allclose(values(parameters), row, rtol=1e-11, atol=1e-11)
    assert len(step.plans) == 1
    assert optimizer.iterations == STEPS[-1]


@pytest.mark.parametrize("case", CASES)
def test_float32_follows(case):
    expected, found = train(case, count=10), train(case, dtype="float32", count=10)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_continues_from_its_state_bit_for_bit(case):
    def step(optimizer, parameters, count):
        for _ in range(count):
            optimizer.minimize(loss_of(parameters))

    first, second = weights("float32"), weights("float32")
    one, other = make(case).build(first), make(case).build(second)
    step(one, first, 7)
    saved = one.state_dict()
    for name, p in second.items():
        p.assign_(first[name].detach())
    other.load_state_dict(saved)
    step(one, first, 7)
    step(other, second, 7)
    assert one.iterations == other.iterations == 14
    np.testing.assert_array_equal(values(second), values(first))
    assert saved.keys() == other.state_dict().keys()
    for name, value in one.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name], value)


@pytest.mark.parametrize("kind", [kind for kind in OPTIMIZERS if kind != "lbfgs"])
def test_in_fit_with_and_without_jit(kind):
    random = np.random.default_rng(0)
    x, y = random.normal(size=(24, 3)).astype("float32"), random.integers(0, 2, 24)
    found = []
    for use_jit in (True, False):
        tg.seed(1)
        model = models.Sequential([layers.Dense(5, activation="tanh"), layers.Dense(2, activation="softmax")])
        model.compile(kind, "sparse_categorical_crossentropy", jit=use_jit)
        model.optimizer.learning_rate = 0.02
        history = model.fit(x, y, batch_size=8, epochs=4, verbose=0, shuffle=False).history["loss"]
        assert history[-1] < history[0]
        found.append(np.concatenate([p.detach().numpy().ravel() for p in model.parameters()]))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("case", CASES)
def test_the_same_on_cuda(case):
    np.testing.assert_allclose(train(case, device="cuda", count=3), train(case, count=3), rtol=1e-11, atol=1e-11)


# Formulas


def test_lion_as_in_the_paper():
    found, w, m = [], {name: v.copy() for name, v in START.items()}, dict.fromkeys(START, 0.0)
    for _ in range(STEPS[-1]):
        for name in START:  # algorithm 2
            g = gradient(name, w[name])
            update = np.sign(0.9 * m[name] + 0.1 * g)
            m[name] = 0.99 * m[name] + 0.01 * g
            w[name] = w[name] - 0.01 * (update + 0.3 * w[name])
        found.append(np.concatenate([v.ravel() for v in w.values()]))
    parameters, ours = weights(), []
    optimizer = Lion(0.01, weight_decay=0.3).build(parameters)
    for _ in range(STEPS[-1]):
        optimizer.minimize(loss_of(parameters))
        ours.append(values(parameters))
    np.testing.assert_allclose(ours, found, rtol=1e-10, atol=1e-12)


def test_lamb_as_in_the_paper():
    found, w = [], {name: v.copy() for name, v in START.items()}
    m, v = dict.fromkeys(START, 0.0), dict.fromkeys(START, 0.0)
    for t in range(1, STEPS[-1] + 1):
        for name in START:  # algorithm 2 without weight decay
            g = gradient(name, w[name])
            m[name], v[name] = 0.9 * m[name] + 0.1 * g, 0.999 * v[name] + 0.001 * g * g
            r = m[name] / (1 - 0.9**t) / (np.sqrt(v[name] / (1 - 0.999**t)) + 1e-6)
            size = np.linalg.norm(w[name])
            w[name] = w[name] - 0.02 * (size / np.linalg.norm(r) if size else 1.0) * r
        found.append(np.concatenate([value.ravel() for value in w.values()]))
    parameters, ours = weights(), []
    optimizer = Lamb(0.02, epsilon=1e-6).build(parameters)
    for _ in range(STEPS[-1]):
        optimizer.minimize(loss_of(parameters))
        ours.append(values(parameters))
    np.testing.assert_allclose(ours, found, rtol=1e-9, atol=1e-11)


def test_lamb_of_no_gradient_stays():
    w, still = (tg.tensor([1.0, 2.0], requires_grad=True) for _ in "ab")
    Lamb(0.5).build([w, still]).minimize((w * w).sum() + (still * 0.0).sum())
    assert still.tolist() == [1.0, 2.0]
    np.testing.assert_allclose(w.detach().numpy(), np.array([1.0, 2.0]) - 0.5 * np.sqrt(5 / 2), rtol=1e-6)


@pytest.mark.parametrize("step", [1, 2, 883, 999, 1000, 5000])
def test_the_growth_of_nadams_momentum(step):
    expected = np.prod(1.0 - 0.5 * 0.96 ** np.arange(1.0, step + 1))
    np.testing.assert_allclose(adaptive._growth(step), expected, rtol=1e-13)


def matrix_and_slopes(shape):
    random = np.random.default_rng(3)
    return random.normal(size=shape), random.uniform(1e7, 2e7, size=shape)  # beside which 1e-7 is nothing


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4), (1, 3)])
@pytest.mark.parametrize("settings", [{}, {"nesterov": False, "momentum": 0.5, "ns_steps": 3, "weight_decay": 0.3}])
def test_muon_as_torch(shape, settings, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda t: t.clone())  # the precision in which it iterates
    start, slopes = matrix_and_slopes(shape)
    theirs = torch.tensor(start, requires_grad=True)
    given = {"weight_decay": 0.004, **settings}
    reference = torch.optim.Muon([theirs], lr=0.02, adjust_lr_fn="match_rms_adamw", **given)
    ours = tg.tensor(start, requires_grad=True)
    optimizer = Muon(0.02, **given).build([ours])
    for _ in range(20):
        reference.zero_grad()
        (torch.tensor(slopes) * torch.cosh(theirs)).sum().backward()
        reference.step()
        optimizer.minimize((tg.tensor(slopes) * tg.cosh(ours)).sum())
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6)])
def test_muon_moves_in_all_directions_alike(shape):
    start, slopes = matrix_and_slopes(shape)
    w = tg.tensor(start, requires_grad=True)
    Muon(1.0, weight_decay=None, rms_rate=None).build([w]).minimize((tg.tensor(slopes) * tg.cosh(w)).sum())
    _, sizes, _ = np.linalg.svd(start - w.detach().numpy())
    assert ((sizes > 0.65) & (sizes < 1.25)).all(), sizes


def test_what_muon_leaves_to_adam():
    shapes = {"0.embeddings": (4, 2), "1.kernel": (2, 3), "1.bias": (3,), "2.kernel": (3, 2), "3.kernel": (2, 2, 1, 1)}
    random = np.random.default_rng(0)
    parameters = {name: tg.tensor(random.normal(size=shape), requires_grad=True) for name, shape in shapes.items()}
    optimizer = Muon(0.1, adam_weight_decay=None, weight_decay=0.5, exclude_layers=["^2"]).build(parameters)
    assert ["velocity" in own for own in optimizer.states] == [True, False, True, True, True]
    copies = {name: tg.tensor(p.detach().numpy(), requires_grad=True) for name, p in parameters.items()}
    adam = Adam(0.1).build(copies)
    for trained, chosen in ((parameters, optimizer), (copies, adam)):
        for _ in range(3):
            chosen.minimize(sum(tg.cosh(p).sum() for p in trained.values()))
    same = [np.allclose(p.detach().numpy(), copies[name].detach().numpy()) for name, p in parameters.items()]
    assert same == [True, False, True, True, True]


def test_muon_in_fit_knows_the_names():
    embedding = layers.Embedding(6, 4, input_shape=(3,))
    model = models.Sequential([embedding, layers.Flatten(), layers.Dense(4, activation="tanh"), layers.Dense(2)])
    model.compile(Muon(exclude_layers=[r"layers\.3\."]), "mse")
    model.fit(np.arange(12).reshape(4, 3) % 6, np.zeros((4, 2)), verbose=0)
    matrices = [p.ndim == 2 and "velocity" not in own for p, own in model.optimizer._parts()]
    assert matrices == [False, True, False, False, False]
    optimizer = model.optimizer.build(dict(model.named_parameters()))
    assert optimizer.to("cpu").state_dict()["0.velocity"].any()


def two():
    return {"a.kernel": tg.ones((2, 2), requires_grad=True), "a.bias": tg.ones((2,), requires_grad=True)}


@pytest.mark.parametrize(("call", "kind", "text"), [
    (lambda: optimizers.Adagrad(initial_accumulator_value=-1), ValueError, "Adagrad: expected initial_accumulator_value to be a number of at least 0, received -1"),
    (lambda: optimizers.Adagrad(epsilon=-1), ValueError, "expected epsilon"),
    (lambda: optimizers.Adadelta(rho=1.0), ValueError, "Adadelta: expected rho to be a number in [0, 1), received 1.0"),
    (lambda: optimizers.Adamax(beta_2=1.0), ValueError, "Adamax: expected beta_2"),
    (lambda: optimizers.Nadam(beta_1=-0.5), ValueError, "Nadam: expected beta_1"),
    (lambda: Adam(amsgrad="no"), TypeError, "Adam: expected amsgrad to be True or False, received 'no'"),
    (lambda: Lion(beta_1=0.0), ValueError, "Lion: expected beta_1 to be a number in (0, 1], received 0.0"),
    (lambda: Lamb(beta_1="a"), TypeError, "Lamb: expected beta_1"),
    (lambda: Muon(0.1, momentum=1.0), ValueError, "Muon: expected momentum to be a number in [0, 1), received 1.0"),
    (lambda: Muon(muon_a=float("nan")), ValueError, "Muon: expected muon_a to be a number"),
    (lambda: Muon(ns_steps=2.5), TypeError, "Muon: expected ns_steps to be an integer"),
    (lambda: Muon(rms_rate=-1.0), ValueError, "Muon: expected rms_rate"),
    (lambda: Muon(exclude_layers="head"), TypeError, "Muon: expected exclude_layers to be a list of texts, received 'head'"),
    (lambda: Muon(exclude_layers=["("]), ValueError, "Muon: expected exclude_layers to be regular expressions, received '('. Hint: missing )"),
    (lambda: Muon(exclude_layers=["head"]).build(two()), ValueError, "Muon: expected parameters named 'head', received a.kernel, a.bias"),
    (lambda: Muon(exclude_layers=["head"]).build(two().values()), ValueError, "Muon: expected parameters named 'head', received no names. Hint: build(dict(model.named_parameters())) gives names."),
])  # fmt: skip
def test_bad_input(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)
