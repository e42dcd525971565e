"""Every loss, from its cases in loss_cases.py: values by formula, by Keras and by PyTorch, gradients to second order,
jit, training, CUDA, and that nothing broadcasts."""

import inspect
import json
from pathlib import Path

import numpy as np
import pytest
from loss_cases import CASES, REDUCTIONS

import tinygrad_edu as tg
from tinygrad_edu import layers, losses
from tinygrad_edu.errors import ShapeError
from tinygrad_edu.models import Sequential

EVERY = pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
RECORDED = pytest.mark.parametrize(
    ("name", "case"), [pytest.param(name, case, id=name) for name, case in CASES.items() if case.keras]
)
FUNCTION_OF = {kind: function for function, kind in losses.FUNCTIONS.items()}


def make(case, **more):
    return getattr(losses, case.kind)(**case.options, **more)


def computed(loss, case, weights=None):
    """A function of predictions and targets, without the checks, for these hold of the case's own numbers only."""
    weights = None if weights is None else tg.tensor(weights)
    y = loss.prepare(tg.tensor(case.y), case.p.shape, case.p.dtype)
    return lambda p: loss.compute(y, p, weights)


@pytest.fixture(scope="module")
def golden():
    """What tests/golden/make_losses.py has recorded, by name."""
    with np.load(Path(__file__).with_name("golden") / "losses.npz") as file:
        return {name: file[name] for name in file.files}


def test_every_loss_has_a_case():
    assert {case.kind for case in CASES.values()} == {kind.__name__ for kind in losses.LOSSES.values()}


# Values


def reduced(rows, reduction, weights=None):
    """By the definitions of the reductions, in float64."""
    spread = (
        np.ones_like(rows)
        if weights is None
        else np.broadcast_to(weights.reshape(-1, *(1,) * (rows.ndim - 1)), rows.shape)
    )
    total = (rows * spread).sum()
    return total / {"sum": 1, "mean_with_sample_weight": spread.sum()}.get(reduction, rows.size)


@EVERY
def test_values_are_those_of_the_formula(case):
    y, p = tg.tensor(case.y), tg.tensor(case.p)
    np.testing.assert_allclose(make(case, reduction="none")(y, p).numpy(), case.rows, rtol=1e-9)
    for reduction in REDUCTIONS:
        loss = make(case, reduction=reduction)
        assert loss(y, p).item() == pytest.approx(reduced(case.rows, reduction), rel=1e-9)
        expected = reduced(case.rows, reduction, case.weights())
        assert loss(y, p, case.weights()).item() == pytest.approx(expected, rel=1e-9)


@EVERY
def test_the_function_gives_a_value_a_row(case):
    function = FUNCTION_OF[getattr(losses, case.kind)]
    values = function(tg.tensor(case.y), tg.tensor(case.p), **case.options)
    np.testing.assert_allclose(values.numpy(), case.rows, rtol=1e-9)


@RECORDED
def test_numbers_of_keras(name, case, golden):
    y, p, near = tg.tensor(case.y), tg.tensor(case.p, requires_grad=True), 1e-6 if case.exact else 1e-5
    np.testing.assert_allclose(make(case, reduction="none")(y, p.detach()).numpy(), golden[f"{name}/rows"], rtol=near)
    values = [
        [make(case, reduction=reduction)(y, p, weights).item() for reduction in REDUCTIONS]
        for weights in (None, case.weights())
    ]
    np.testing.assert_allclose(values, golden[f"{name}/reduced"], rtol=near)
    make(case, reduction="sum")(y, p).backward()
    np.testing.assert_allclose(p.grad.numpy(), golden[f"{name}/gradient"], rtol=near, atol=0.01 * near)


@pytest.mark.parametrize(
    "thing", [thing for pair in losses.FUNCTIONS.items() for thing in pair], ids=lambda f: f.__name__
)
def test_arguments_are_those_of_keras(thing, golden):
    known = json.loads(str(golden["arguments"]))[thing.__name__]
    known.pop("dtype", None)
    ours = {
        name: "required" if p.default is p.empty else p.default
        for name, p in inspect.signature(thing).parameters.items()
    }
    assert list(ours) == list(known)
    known["name"] = None  # Keras has each in snake case; here the class's
    assert ours == {name: known[name] for name in ours}


@EVERY
def test_float32_stays_float32(case):
    value = make(case)(case.y, tg.tensor(case.p, dtype="float32"))
    assert value.dtype == "float32"
    assert value.item() == pytest.approx(case.rows.mean(), rel=1e-4)


# PyTorch, where it has the loss: a value for each row, as a function of torch.nn.functional, predictions and targets

EACH = {"reduction": "none"}
TORCH = {
    "mse": lambda f, p, y: f.mse_loss(p, y, **EACH).mean(-1),
    "mae": lambda f, p, y: f.l1_loss(p, y, **EACH).mean(-1),
    "huber": lambda f, p, y: f.huber_loss(p, y, **EACH).mean(-1),
    "huber 2.5": lambda f, p, y: f.huber_loss(p, y, delta=2.5, **EACH).mean(-1),
    "poisson": lambda f, p, y: f.poisson_nll_loss(p, y, log_input=False, eps=1e-7, **EACH).mean(-1),
    "cosine": lambda f, p, y: -f.cosine_similarity(p, y),
    "cosine 1": lambda f, p, y: -f.cosine_similarity(p, y, dim=1),
    "bce logits": lambda f, p, y: f.binary_cross_entropy_with_logits(p, y, **EACH).mean(-1),
    "bce": lambda f, p, y: f.binary_cross_entropy(p, y, **EACH).mean(-1),
    "bce smooth": lambda f, p, y: f.binary_cross_entropy_with_logits(p, 0.8 * y + 0.1, **EACH).mean(-1),
    "bce 1": lambda f, p, y: f.binary_cross_entropy_with_logits(p, y, **EACH).mean(1),
    "ce logits": lambda f, p, y: f.cross_entropy(p, y, **EACH),
    "ce smooth": lambda f, p, y: f.cross_entropy(p, y, label_smoothing=0.2, **EACH),
    "ce 1": lambda f, p, y: f.cross_entropy(p, y, **EACH),
    "sparse logits": lambda f, p, y: f.cross_entropy(p, y, **EACH),
    "sparse sequences": lambda f, p, y: f.cross_entropy(p.movedim(-1, 1), y, **EACH),
    "sparse 1": lambda f, p, y: f.cross_entropy(p, y, **EACH),
    "kl": lambda f, p, y: f.kl_div(p.log(), y, **EACH).sum(-1),
}


@pytest.mark.parametrize("name", TORCH)
def test_values_and_gradients_of_pytorch(name):
    torch = pytest.importorskip("torch")
    case, theirs = CASES[name], torch.tensor(CASES[name].p, requires_grad=True)
    rows = TORCH[name](torch.nn.functional, theirs, torch.tensor(case.y))
    ours = tg.tensor(case.p, requires_grad=True)
    values = make(case, reduction="none")(case.y, ours)
    np.testing.assert_allclose(values.detach().numpy(), rows.detach().numpy(), rtol=1e-9)
    values.sum().backward()
    rows.sum().backward()
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-9, atol=1e-12)


# Gradients, jit, training, devices


@EVERY
def test_gradients_to_second_order(case):
    tg.gradcheck(computed(make(case, reduction="none"), case), [case.p], order=2)


SMOOTH_IN_TARGETS = [
    name
    for name, case in CASES.items()
    if case.kind not in ("SparseCategoricalCrossentropy", "CTC", "Hinge", "SquaredHinge", "CategoricalHinge")
    and name not in ("mape of 0", "msle", "msle below 0", "kl of 0")  # at the edge of what is clipped
]


@pytest.mark.parametrize("name", SMOOTH_IN_TARGETS)
def test_targets_have_gradients(name):
    case = CASES[name]
    loss = make(case, reduction="none")
    tg.gradcheck(lambda y: loss.compute(y, tg.tensor(case.p)), [case.y], order=2)


@EVERY
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_jit_gives_what_eager_gives(case, dtype):
    loss = make(case)

    def step(p, y, weights):
        return tg.value_and_grad(lambda p: loss(y, p, weights))(p)

    y = tg.tensor(case.y)
    y = y.astype(dtype) if y.dtype.kind == "f" else y
    args = tg.tensor(case.p, dtype=dtype), y, tg.tensor(case.weights(), dtype=dtype)
    jitted, near = tg.jit(step), {"float32": 2e-5, "float64": 1e-12}[dtype]
    for _ in range(3):
        for expected, found in zip(step(*args), jitted(*args), strict=True):
            scale = abs(expected.numpy()).max()
            np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=near, atol=near * scale)


LAST = {"sigmoid": ("BinaryCrossentropy", "BinaryFocalCrossentropy", "Dice", "Tversky"), "softplus": ("Poisson",)}
LAST |= {
    "softmax": (
        "CategoricalCrossentropy",
        "CategoricalFocalCrossentropy",
        "SparseCategoricalCrossentropy",
        "KLDivergence",
    )
}


def last_activation(case):
    if case.options.get("from_logits"):
        return None
    return next((name for name, kinds in LAST.items() if case.kind in kinds), None)


def model_for(case):
    """A small model whose output has the shape of the predictions."""
    tg.seed(0)
    return Sequential([layers.Dense(5, "tanh"), layers.Dense(case.p.shape[-1], last_activation(case))])


def rows_for(case):
    return np.random.default_rng(2).normal(size=(*case.p.shape[:-1], 3)).astype("float32")


FITS = {name: case for name, case in CASES.items() if last_activation(case) != "softmax" or "axis" not in case.options}


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in FITS.items()])
def test_fit_lowers_it_and_jit_changes_nothing(case):
    histories = []
    for jit in (True, False):
        model = model_for(case)
        model.compile(tg.optimizers.Adam(0.02), make(case), jit=jit)
        history = model.fit(rows_for(case), case.y, sample_weight=case.weights(), batch_size=4, epochs=15, verbose=0)
        histories.append(history.history["loss"])
    assert histories[0][-1] < histories[0][0]
    np.testing.assert_allclose(*histories, rtol=1e-4)


@pytest.mark.parametrize("name", [*losses.LOSSES, *(kind.__name__ for kind in losses.FUNCTIONS.values())])
def test_names_are_those_of_keras(name):
    kind = losses.LOSSES.get(name) or getattr(losses, name)
    assert type(losses.get(name)) is kind
    model = Sequential([layers.Dense(2)])
    model.compile("sgd", name)
    assert type(model.loss) is kind


@pytest.mark.gpu
@EVERY
def test_cuda(case):
    results = []
    for device in ("cpu", "cuda"):
        y, weights = tg.tensor(case.y, device=device), tg.tensor(case.weights(), device=device)
        p = tg.tensor(case.p, device=device, requires_grad=True)
        value = make(case)(y, p, weights)
        value.backward()
        assert value.device == p.device
        results.append((value.item(), p.grad.to("cpu").numpy()))
    for expected, found in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


# Nothing broadcasts


@EVERY
def test_predictions_and_targets_never_broadcast(case):
    loss, y, p = make(case), case.y, case.p
    wrong = [(y[:1], p), (y[:-1], p), (y[None], p), (np.concatenate([y, y]), p), (y, p[:1]), (np.stack([y, y], -1), p)]
    if case.kind not in ("SparseCategoricalCrossentropy", "CTC"):
        wrong += [(y[..., :1], p), (y[..., 0], p), (y, p[..., :1]), (y[:1, :1], p)]
    for targets, predictions in wrong:
        with pytest.raises(ShapeError):
            loss(targets, tg.tensor(predictions))
    with pytest.raises(ShapeError):
        loss(y, tg.tensor(p), case.weights()[:1])
