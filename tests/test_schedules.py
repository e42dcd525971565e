"""Learning-rate schedules against Keras's recorded rates and PyTorch's schedulers; in optimizers, eager and jitted."""

# ruff: noqa: E501 -- the tables hold whole error texts, a case a line

import inspect
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from schedule_cases import CASES as KERAS

import tinygrad_edu as tg
from tinygrad_edu.layers import Dense
from tinygrad_edu.models import Sequential
from tinygrad_edu.optimizers import SGD, Adam, schedules
from tinygrad_edu.optimizers.schedules import (
    CosineDecay,
    CosineDecayRestarts,
    ExponentialDecay,
    InverseTimeDecay,
    LearningRateSchedule,
    OneCycle,
    PiecewiseConstantDecay,
    PolynomialDecay,
    Warmup,
)

RECORDED = json.loads((Path(__file__).parent / "golden" / "schedules.json").read_text())


@pytest.mark.parametrize("name", KERAS)
def test_as_keras(name):
    kind, arguments, steps = KERAS[name]
    schedule = getattr(schedules, kind)(**arguments)
    found = [schedule(step) for step in range(steps)]
    np.testing.assert_allclose(found, RECORDED[name], rtol=2e-5, atol=2e-7)


def as_torch(schedule, make, steps=40, initial=0.1):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=initial)
    scheduler = make(torch.optim.lr_scheduler, optimizer)
    expected = []
    for _ in range(steps):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    np.testing.assert_allclose([schedule(step) for step in range(steps)], expected, rtol=1e-10, atol=1e-14)


def warm_cosine(s, o):
    parts = [s.LinearLR(o, start_factor=0.1, total_iters=8), s.CosineAnnealingLR(o, 20)]
    return s.SequentialLR(o, parts, milestones=[8])


TORCH = {
    "exponential": (ExponentialDecay(0.1, 1, 0.9), lambda s, o: s.ExponentialLR(o, 0.9)),
    "step": (ExponentialDecay(0.1, 7, 0.5, staircase=True), lambda s, o: s.StepLR(o, 7, 0.5)),
    # PyTorch's milestone is the first step of the new rate, Keras's boundary the last one of the old
    "piecewise": (PiecewiseConstantDecay([4, 19], [0.1, 0.05, 0.025]), lambda s, o: s.MultiStepLR(o, [5, 20], 0.5)),
    "polynomial": (PolynomialDecay(0.1, 30, 0.0, 2.0), lambda s, o: s.PolynomialLR(o, 30, 2.0)),
    "inverse time": (InverseTimeDecay(0.1, 5, 0.3), lambda s, o: s.LambdaLR(o, lambda step: 1 / (1 + 0.3 * step / 5))),
    "cosine": (CosineDecay(0.1, 40, alpha=0.1), lambda s, o: s.CosineAnnealingLR(o, 40, eta_min=0.01)),
    "restarts": (CosineDecayRestarts(0.1, 5), lambda s, o: s.CosineAnnealingWarmRestarts(o, 5, 2)),
    "restarts equal": (CosineDecayRestarts(0.1, 6, t_mul=1.0, alpha=0.2), lambda s, o: s.CosineAnnealingWarmRestarts(o, 6, 1, eta_min=0.02)),
    "warm-up": (Warmup(0.1, 10, start=0.05), lambda s, o: s.LinearLR(o, start_factor=0.5, total_iters=10)),
    "one cycle": (OneCycle(0.4, 40), lambda s, o: s.OneCycleLR(o, 0.4, total_steps=40, cycle_momentum=False)),
    "one cycle, other shares": (
        OneCycle(0.4, 40, pct_start=0.111, div_factor=5.0, final_div_factor=50.0),
        lambda s, o: s.OneCycleLR(o, 0.4, total_steps=40, pct_start=0.111, div_factor=5.0, final_div_factor=50.0, cycle_momentum=False),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TORCH)
def test_as_torch(name):
    as_torch(*TORCH[name])


def test_a_warm_up_before_another_schedule_as_torch():
    # PyTorch's chained form drifts by a few 1e-17 and begins the second schedule at the milestone, as Warmup does
    as_torch(Warmup(CosineDecay(0.1, 20), 8, start=0.01), warm_cosine, steps=28)


def test_every_schedule_is_compared():
    classes = {c for _, c in inspect.getmembers(schedules, inspect.isclass) if issubclass(c, LearningRateSchedule)}
    public = {c for c in classes if c.__module__ == schedules.__name__ and c.__name__[0] != "_"} - {
        LearningRateSchedule
    }
    assert public == {type(schedule) for schedule, _ in TORCH.values()}


def expected_weights(schedule, steps):
    """SGD on w^2 in float64."""
    w, found = 1.0, []
    for step in range(steps):
        w -= schedule(step) * 2 * w
        found.append(w)
    return found


class Own(LearningRateSchedule):
    def __call__(self, step):
        return 0.3 if step % 3 else 0.1


IN_OPTIMIZERS = {name: schedule for name, (schedule, _) in TORCH.items()} | {
    "own": Own(),
    "warm-up of another": Warmup(CosineDecay(0.3, 5), 4),
}


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("name", IN_OPTIMIZERS)
def test_in_an_optimizer(name, jit):
    schedule = IN_OPTIMIZERS[name]
    w = tg.tensor(1.0, dtype="float64", requires_grad=True)
    optimizer = SGD(schedule).build([w])

    def step():
        optimizer.minimize(w * w)

    run, found = tg.jit(step) if jit else step, []
    for i in range(12):
        assert optimizer.learning_rate == schedule(i)
        run()
        found.append(w.item())
    np.testing.assert_allclose(found, expected_weights(schedule, 12), rtol=1e-12)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["cosine", "own"])
def test_in_an_optimizer_on_cuda(name):
    w = tg.tensor(1.0, dtype="float64", device="cuda", requires_grad=True)
    optimizer = Adam(IN_OPTIMIZERS[name]).build([w])
    host = tg.tensor(1.0, dtype="float64", requires_grad=True)
    other = Adam(IN_OPTIMIZERS[name]).build([host])
    for _ in range(5):
        optimizer.minimize(w * w)
        other.minimize(host * host)
    assert w.item() == pytest.approx(host.item(), rel=1e-12)


def test_in_fit_jitted_and_not():
    x, y = np.random.default_rng(0).normal(size=(64, 3)), np.random.default_rng(1).normal(size=64)
    found = []
    for jit in (True, False):
        tg.seed(0)
        model = Sequential([Dense(1, input_dim=3)])
        model.compile(SGD(CosineDecay(0.1, 10), momentum=0.9), "mse", jit=jit)
        model.fit(x, y, epochs=2, batch_size=8, verbose=0)
        assert model.optimizer.iterations == 16
        assert model.optimizer.learning_rate == 0.0
        found.append(model.get_weights()[0])
    np.testing.assert_allclose(*found, rtol=1e-5)


def test_another_schedule_in_a_recorded_step():
    w = tg.tensor(1.0, requires_grad=True)
    optimizer = SGD(PiecewiseConstantDecay([0], [0.5, 0.25])).build([w])
    step = tg.jit(lambda: optimizer.minimize(w.sum()))
    step(), step()
    optimizer.learning_rate = PiecewiseConstantDecay([1], [0.5, 1.0])
    step(), step()
    assert w.item() == 1.0 - 0.5 - 0.25 - 1.0 - 1.0


def test_state_goes_on_where_it_was():
    w = tg.tensor(1.0, requires_grad=True)
    optimizer = SGD(ExponentialDecay(0.5, 1, 0.5)).build([w])
    for _ in range(3):
        optimizer.minimize(w.sum())
    state = optimizer.state_dict()
    assert state["learning_rate"] == 0.5**4
    other = SGD(ExponentialDecay(0.5, 1, 0.5)).build([tg.tensor(1.0, requires_grad=True)])
    other.load_state_dict(state)
    assert other.learning_rate == 0.5**4
    assert (
        repr(other)
        == "<SGD learning_rate=ExponentialDecay(initial_learning_rate=0.5, decay_steps=1, decay_rate=0.5, staircase=False)>"
    )


def test_a_number_does_not_replace_a_schedule():
    optimizer = SGD(CosineDecay(0.1, 5))
    with pytest.raises(
        TypeError,
        match=re.escape("SGD: expected another schedule as learning_rate, received 0.5 in place of CosineDecay("),
    ):
        optimizer.learning_rate = 0.5
    assert optimizer.learning_rate == 0.1


class Wrong(LearningRateSchedule):
    def __init__(self, rate):
        self.rate = rate

    def __call__(self, step):
        return self.rate


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize(("rate", "error"), [(-1.0, ValueError), (math.nan, ValueError), ("0.1", TypeError)])
def test_a_rate_that_cannot_be_changes_nothing(rate, error, jit):
    schedule, w = Wrong(0.1), tg.tensor(1.0, requires_grad=True)
    optimizer = SGD(schedule).build([w])
    step = tg.jit(lambda: optimizer.minimize(w.sum())) if jit else lambda: optimizer.minimize(w.sum())
    step()
    before, schedule.rate = w.item(), rate
    with pytest.raises(
        error, match=f"SGD: expected the learning rate of Wrong to be a number of at least 0, received {rate!r}"
    ):
        step()
    assert w.item() == before
    assert optimizer.iterations == 1


WRONG = [
    (lambda: ExponentialDecay(-1.0, 5, 0.5), "ExponentialDecay: expected initial_learning_rate to be a number of at least 0, received -1.0."),
    (lambda: ExponentialDecay(1.0, 0, 0.5), "ExponentialDecay: expected decay_steps to be an integer of at least 1, received 0."),
    (lambda: InverseTimeDecay(1.0, 5, math.inf), "InverseTimeDecay: expected decay_rate to be a number of at least 0, received inf."),
    (lambda: PolynomialDecay(1.0, 5, power=0.0), "PolynomialDecay: expected power to be a number above 0, received 0.0."),
    (lambda: PiecewiseConstantDecay([3, 2], [1.0, 1.0, 1.0]), "PiecewiseConstantDecay: expected boundaries that increase, received [3, 2]."),
    (lambda: PiecewiseConstantDecay([3], [1.0]), "PiecewiseConstantDecay: expected values, one more than boundaries, received 1 for 1 boundaries."),
    (lambda: CosineDecay(1.0, 5, warmup_steps=3), "CosineDecay: expected a warmup_target, the rate after the warm-up, received warmup_steps=3 without one."),
    (lambda: CosineDecayRestarts(1.0, 5, t_mul=0.5), "CosineDecayRestarts: expected t_mul to be a number of at least 1, received 0.5."),
    (lambda: Warmup(-1.0, 5), "Warmup: expected schedule to be a number of at least 0, received -1.0."),
    (lambda: OneCycle(1.0, 3), "OneCycle: expected total_steps with more than one of them before the peak, received pct_start=0.3 of 3."),
    (lambda: OneCycle(1.0, 30, pct_start=1.0), "OneCycle: expected pct_start to be a number between 0 and 1, received 1.0."),
]  # fmt: skip


@pytest.mark.parametrize(("make", "text"), WRONG)
def test_arguments_that_cannot_be(make, text):
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        make()
