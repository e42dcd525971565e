"""EarlyStopping, learning rates and averages in real trainings, under jit and eager; what they refuse."""

import math

import numpy as np
import pytest
from callback_cases import Model as Fake
from callback_cases import run

import tinygrad_edu as tg
from tinygrad_edu.callbacks import (
    Callback,
    EarlyStopping,
    LambdaCallback,
    LearningRateFinder,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    SwapEMAWeights,
)
from tinygrad_edu.errors import ShapeError
from tinygrad_edu.layers import BatchNormalization, Dense, Dropout, Input
from tinygrad_edu.models import Sequential
from tinygrad_edu.optimizers import SGD, Adam

RANDOM = np.random.default_rng(2)
X = RANDOM.normal(size=(40, 3))
Y = (X.sum(axis=1) > 0).astype(int)
JIT = pytest.mark.parametrize("jit", [True, False], ids=["jit", "eager"])


def made(jit=True, optimizer=None, metrics=("accuracy",)):
    tg.seed(3)
    model = Sequential([
        Input((3,)), Dense(4, activation="tanh"), BatchNormalization(), Dropout(0.2), Dense(2, activation="softmax"),
    ])  # fmt: skip
    model.compile(optimizer or Adam(0.05), "sparse_categorical_crossentropy", metrics=list(metrics), jit=jit)
    return model


def fit(model, *callbacks, epochs=6, **options):
    settings = {"batch_size": 16, "epochs": epochs, "verbose": 0, "validation_data": (X[:8], Y[:8]), **options}
    return model.fit(X, Y, callbacks=list(callbacks), **settings)


class Script(Callback):
    """Puts numbers of its own into the logs, and keeps the weights of each epoch."""

    def __init__(self, values, name="val_score"):
        self.values, self.name, self.weights = values, name, []

    def on_epoch_end(self, epoch, logs=None):
        logs[self.name] = self.values[epoch]
        self.weights.append(self.model.get_weights())


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@JIT
@pytest.mark.parametrize(("values", "patience", "epochs", "best"), [
    ([3, 2, 1, 2, 2, 2], 2, 5, 2),
    ([3, 1, 1, 1, 2, 2], 3, 5, 1),  # the first of equal ones
    ([3, 2, 1, 2, 0.5, 0.5], 9, 6, 4),  # the training ends by itself
    ([math.nan, 2, 3, math.nan, 3, 3], 2, 4, 1),
])  # fmt: skip
def test_the_best_weights_come_back(jit, values, patience, epochs, best):
    model, script = made(jit), Script(values)
    stop = EarlyStopping("val_score", patience=patience, mode="min", restore_best_weights=True)
    history = fit(model, script, stop)
    assert len(history.epoch) == epochs
    assert stop.best_epoch == best
    assert len(model.get_weights()) == 8  # with mean and variance of the normalization
    assert same(model.get_weights(), script.weights[best])
    assert not same(model.get_weights(), script.weights[-1]) or best == epochs - 1


def test_nothing_is_restored_if_all_are_nan():
    model, script = made(), Script([math.nan] * 6)
    stop = EarlyStopping("val_score", patience=2, mode="max", restore_best_weights=True)
    assert len(fit(model, script, stop).epoch) == 2
    assert stop.best is None
    assert same(model.get_weights(), script.weights[-1])


def test_a_second_fit_begins_anew(capsys):
    model = made()
    stop = EarlyStopping("val_score", patience=1, mode="min", restore_best_weights=True, verbose=1)
    fit(model, Script([1, 2, 3, 4, 5, 6]), stop)
    script = Script([9, 8, 10, 11, 12, 13])
    assert len(fit(model, script, stop).epoch) == 3
    assert same(model.get_weights(), script.weights[1])
    assert capsys.readouterr().out.splitlines() == [
        "Epoch 2: early stopping",
        "Restoring model weights from the end of the best epoch: 1.",
        "Epoch 3: early stopping",
        "Restoring model weights from the end of the best epoch: 2.",
    ]


@pytest.mark.parametrize(("metric", "monitor", "rises"), [
    ("accuracy", "val_accuracy", True), ("mse", "mse", False), ("mae", "val_mae", False), (None, "val_loss", False),
])  # fmt: skip
def test_the_metric_says_what_is_better(metric, monitor, rises):
    model = Sequential([Dense(1, input_dim=3)])
    model.compile("sgd", "mse", metrics=[metric] if metric else [])
    callback = EarlyStopping(monitor, patience=9)
    fit(model, callback, epochs=1)
    assert callback.is_better(2.0, 1.0) is rises
    assert callback.is_better(1.0, 2.0) is not rises


def own(y, p):
    return p[:, 0]


@pytest.mark.parametrize("make", [
    EarlyStopping, ReduceLROnPlateau,
    lambda monitor, **options: ModelCheckpoint("x.safetensors", monitor, save_best_only=True, **options),
])  # fmt: skip
def test_monitors_that_are_missing(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"monitor to be one of 'accuracy', .*'loss', .*did you mean 'val_loss'"):
        fit(made(), make("val_los", mode="min"))
    with pytest.raises(ValueError, match="'val_loss' among the logs, received no validation: loss, "):
        fit(made(), make("val_loss"), validation_data=None)
    names = "'accuracy', 'loss', 'val_accuracy', 'val_loss'"
    for name, hint in ("val_los", "Hint: did you mean 'val_loss'"), ("score", ""):
        wanted = rf"monitor \(with mode='auto'\) to be one of {names}, received '{name}'\. ?{hint}"
        with pytest.raises(ValueError, match=wanted):
            fit(made(), make(name))
    with pytest.raises(ValueError, match=r"received 'val_accuracy'\. Hint: did you mean 'val_acc'"):
        fit(made(metrics=["acc"]), make("val_accuracy"))
    with pytest.raises(ValueError, match="mode='auto' for 'own', which is a function or loss of your own"):
        fit(made(metrics=[own]), make("own"))
    with pytest.raises(ValueError, match="mode='auto' for 'val_score', which is a ConfusionMatrix"):
        fit(made(metrics=[tg.metrics.ConfusionMatrix(2, name="score")]), make("val_score"))
    assert list(tmp_path.iterdir()) == []


# Learning rates


@JIT
def test_a_schedule_sets_the_rate_of_every_epoch(jit, capsys):
    """The last epoch has a rate of 0, so nothing moves in it; a tensor is a number too."""
    model, script = made(jit, SGD(0.5)), Script([0] * 3)
    schedule = LearningRateScheduler(lambda epoch, rate: tg.tensor(rate * 0.5) if epoch < 2 else 0.0, verbose=1)
    history = fit(model, schedule, script, epochs=3)
    assert history.history["learning_rate"] == [0.25, 0.125, 0.0]
    assert model.optimizer.learning_rate == 0.0
    trained = [[w[i] for i in (0, 1, 6, 7)] for w in script.weights]
    assert not same(trained[0], trained[1])
    assert same(trained[1], trained[2])
    first, *_ = capsys.readouterr().out.splitlines()
    assert first == "Epoch 1: LearningRateScheduler setting learning rate to 0.25."


@pytest.mark.parametrize("callback", [
    LearningRateScheduler(lambda epoch: 0.1), ReduceLROnPlateau(patience=100), LearningRateFinder(steps=3),
])  # fmt: skip
def test_a_rate_that_a_schedule_gives_is_refused_before_training(callback):
    model = made(optimizer=SGD(tg.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)))
    text = f"{type(callback).__name__}: expected an optimizer whose learning_rate is a number, to change it, received"
    with pytest.raises(TypeError, match=f"^{text} ExponentialDecay"):
        fit(model, callback)
    assert model.optimizer.iterations == 0


@pytest.mark.parametrize(("schedule", "kind", "match"), [
    (lambda epoch: -1.0, ValueError, "a rate to be a number of at least 0, received -1.0"),
    (lambda epoch, rate: math.nan, ValueError, "a rate to be a number of at least 0, received nan"),
    (lambda epoch: None, TypeError, "a rate to be a number of at least 0, received None"),
    (lambda epoch, rate: "a" + rate, TypeError, "can only concatenate str"),  # its own error is not hidden
])  # fmt: skip
def test_schedules_that_fail(schedule, kind, match):
    with pytest.raises(kind, match=match):
        fit(made(), LearningRateScheduler(schedule))


@JIT
def test_a_plateau_reduces_the_rate(jit, capsys):
    model = made(jit, SGD(0.5))
    plateau = ReduceLROnPlateau("val_score", factor=0.5, patience=2, mode="min", verbose=1)
    history = fit(model, Script([3, 3, 3, 2, math.nan, 2]), plateau)
    assert history.history["learning_rate"] == [0.5, 0.5, 0.5, 0.25, 0.25, 0.25]
    assert model.optimizer.learning_rate == 0.125
    assert capsys.readouterr().out.splitlines() == [
        "Epoch 3: ReduceLROnPlateau reducing learning rate to 0.25.",
        "Epoch 6: ReduceLROnPlateau reducing learning rate to 0.125.",
    ]


def test_rates_need_an_optimizer():
    fake = Fake()
    fake.optimizer = None
    with pytest.raises(ValueError, match="ReduceLROnPlateau: expected a model compiled with an optimizer"):
        run(ReduceLROnPlateau(), [1.0], fake)


@JIT
def test_the_finder_leaves_no_trace(jit):
    """A training after it is bit for bit that of a model which never saw it, momentum, dropout and all."""
    plain, searched = made(jit), made(jit)
    for model in (plain, searched):
        tg.seed(5)
        fit(model, epochs=2)
    generator, weights, state = tg.backend.default_generator.state, searched.get_weights(), searched.optimizer
    state = state.state_dict()
    finder = LearningRateFinder(1e-4, 1e-1, steps=20, smoothing=0.5)
    history = fit(searched, finder, epochs=9)
    assert len(history.epoch) == 7
    assert same(searched.get_weights(), weights)
    assert same(searched.optimizer.state_dict().values(), state.values())
    tg.backend.default_generator.state = generator  # the other model's turn
    third = fit(searched, epochs=3).history
    tg.backend.default_generator.state = generator
    assert third == fit(plain, epochs=3).history
    assert same(searched.get_weights(), plain.get_weights())


def test_the_random_numbers_are_those_before_the_search():
    model = made()
    generator = tg.backend.default_generator.state
    fit(model, LearningRateFinder(steps=6), epochs=2)
    assert tg.backend.default_generator.state == generator


def test_the_finder_leaves_weights_that_are_not_the_averages():
    model = made(optimizer=SGD(0.1, use_ema=True, ema_momentum=0.5))
    for _ in range(3):
        model.train_on_batch(X, Y)
    before = model.get_weights()
    fit(model, LearningRateFinder(steps=6), epochs=2)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_rates_and_losses_of_the_finder():
    """For w with the loss w^2/2 (a row 1, a target 0), a step of rate r multiplies w by 1 - r."""
    model = Sequential([Dense(1, use_bias=False, kernel_initializer="ones", input_dim=1)])
    model.compile(SGD(), lambda y, p: 0.5 * (p - y) ** 2)
    finder = LearningRateFinder(1e-3, 9.0, steps=41, smoothing=0.25, divergence=5.0)
    model.fit(np.ones((50, 1)), np.zeros(50), batch_size=1, callbacks=finder, verbose=0)
    w, average, losses = 1.0, 0.0, []
    rates = 1e-3 * 9e3 ** (np.arange(41) / 40)
    for k, rate in enumerate(rates):
        average = 0.25 * average + 0.75 * w * w / 2
        losses.append(average / (1 - 0.25 ** (k + 1)))
        if losses[-1] > 5.0 * min(losses):
            break
        w *= 1 - rate
    assert 30 < len(losses) < 41  # it diverges before the end
    np.testing.assert_allclose(finder.losses, losses, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(finder.learning_rates, rates[: len(losses)], rtol=1e-12)
    slopes = np.gradient(np.array(losses), np.log(rates[: len(losses)]))[4:]
    assert finder.suggestion == pytest.approx(rates[4 + slopes.argmin()], rel=1e-12)
    assert model.get_weights()[0] == 1.0
    assert model.optimizer.learning_rate == 0.01


def test_the_finder_ends_at_infinity():
    model = made(optimizer=SGD(0.1))
    with np.errstate(all="ignore"):
        finder = LearningRateFinder(1e-3, 1e38, steps=30, smoothing=0.0, divergence=1e30)
        model2 = Sequential([Dense(1, input_dim=3)])
        model2.compile("sgd", "mse")
        weights = model2.get_weights()
        model2.fit(X, Y, batch_size=1, callbacks=finder, verbose=0)
    assert 3 < len(finder.losses) < 30
    assert np.isfinite(finder.losses).all()
    assert same(model2.get_weights(), weights)
    assert model.optimizer.learning_rate == 0.1


def test_an_interrupted_search_can_be_undone():
    def fail(batch, logs):
        if batch == 2:
            raise KeyboardInterrupt

    model, finder = made(), LearningRateFinder(0.1, 1.0, steps=6)
    weights = model.get_weights()
    with pytest.raises(KeyboardInterrupt):
        fit(model, finder, LambdaCallback(on_train_batch_end=fail), epochs=9)
    assert not same(model.get_weights(), weights)
    finder.restore()
    assert same(model.get_weights(), weights)
    assert model.optimizer.learning_rate == 0.05


def test_a_search_that_fit_has_too_few_batches_for():
    model = made()
    with pytest.raises(ValueError, match=r"at least 100 batches, received 6 in 2 epochs. Hint: fit with epochs=34"):
        fit(model, LearningRateFinder(), epochs=2)
    finder = LearningRateFinder(steps=3)
    assert finder.suggestion is None
    with pytest.raises(ValueError, match="LearningRateFinder plot: expected losses of a search, received none"):
        finder.plot()


def test_the_plot_of_a_search(tmp_path):
    pytest.importorskip("matplotlib")
    finder = LearningRateFinder(steps=10)
    finder.learning_rates = list(10.0 ** np.arange(-5, 5))
    finder.losses = [1.0, 1.0, 0.9, 0.8, 0.5, 0.2, 0.1, 0.2, 0.5, 1.0]
    assert finder.suggestion == pytest.approx(0.1)
    figure = finder.plot(tmp_path / "rates.png")
    assert (tmp_path / "rates.png").read_bytes().startswith(b"\x89PNG")
    (axes,) = figure.axes
    np.testing.assert_allclose(axes.lines[0].get_xydata(), np.stack([finder.learning_rates, finder.losses], axis=1))
    assert axes.get_xscale() == "log"


# Others


def test_functions_as_hooks():
    calls = []
    fit(
        made(),
        LambdaCallback(
            lambda epoch, logs: calls.append(("begin", epoch)),
            on_train_batch_end=lambda batch, logs: calls.append(("batch", batch, round(logs["loss"], 1) > 0)),
            on_test_end=lambda logs: calls.append(("test", "loss" in logs)),
        ),
        epochs=1,
    )
    assert calls == [("begin", 0), *[("batch", i, True) for i in range(3)], ("test", True)]


@pytest.mark.parametrize(("make", "kind", "match"), [
    (lambda: EarlyStopping(mode="least"), ValueError, "mode to be one of 'auto', 'max', 'min', received 'least'"),
    (lambda: EarlyStopping(monitor=3), TypeError, "monitor to be a name in the logs"),
    (lambda: EarlyStopping(patience=-1), ValueError, "patience to be an integer of at least 0"),
    (lambda: EarlyStopping(min_delta=math.nan), ValueError, "min_delta to be a number"),
    (lambda: EarlyStopping(baseline="0"), TypeError, "baseline to be a number"),
    (lambda: EarlyStopping(restore_best_weights="no"), TypeError, "restore_best_weights to be True or False"),
    (lambda: EarlyStopping(verbose=3), ValueError, "verbose to be one of"),
    (lambda: EarlyStopping(start_from_epoch=1.5), TypeError, "start_from_epoch to be an integer"),
    (lambda: ReduceLROnPlateau(factor=1.0), ValueError, r"factor to be a number in \[0, 1\)"),
    (lambda: ReduceLROnPlateau(cooldown=-1), ValueError, "cooldown to be an integer of at least 0"),
    (lambda: ReduceLROnPlateau(min_lr=-1e-3), ValueError, "min_lr to be a number of at least 0"),
    (lambda: LearningRateScheduler(0.1), TypeError, "schedule to be a function"),
    (lambda: LearningRateFinder(min_lr=0.0), ValueError, "min_lr to be a number above 0"),
    (lambda: LearningRateFinder(1e-2, 1e-2), ValueError, "max_lr to be a number above min_lr = 0.01"),
    (lambda: LearningRateFinder(steps=2), ValueError, "steps to be an integer of at least 3"),
    (lambda: LearningRateFinder(smoothing=1.0), ValueError, r"smoothing to be a number in \[0, 1\)"),
    (lambda: LearningRateFinder(divergence=1), ValueError, "divergence to be a number above 1"),
    (lambda: LambdaCallback(on_epoch_ends=print), ValueError, "did you mean 'on_epoch_end'"),
    (lambda: LambdaCallback(on_epoch_end=3), TypeError, "on_epoch_end to be a function"),
    (lambda: SwapEMAWeights("no"), TypeError, "swap_on_epoch to be True or False"),
])  # fmt: skip
def test_what_callbacks_refuse(make, kind, match):
    with pytest.raises(kind, match=match) as caught:
        make()
    assert not isinstance(caught.value, ShapeError)


def averages(optimizer):
    return [own["ema"].data for own in optimizer.states]


def averaging():
    return SGD(0.1, use_ema=True, ema_momentum=0.5)


class Move(Callback):
    """Keeps what the model holds."""

    def on_train_begin(self, logs=None):
        self.seen = []

    def see(self, name):
        weights = [p.data.copy() for p in self.model.optimizer.parameters]
        self.seen.append((name, "averages" if same(weights, averages(self.model.optimizer)) else "weights"))

    def on_train_batch_begin(self, batch, logs=None):
        self.see("batch")

    def on_test_begin(self, logs=None):
        self.see("test")

    def on_epoch_end(self, epoch, logs=None):
        self.see("end")


@pytest.mark.parametrize("swap_on_epoch", [False, True])
def test_averages_stand_in_for_weights(swap_on_epoch):
    kept = "averages" if swap_on_epoch else "weights"
    model, move = made(optimizer=averaging()), Move()
    history = fit(model, SwapEMAWeights(swap_on_epoch), move, epochs=2, batch_size=20)
    assert move.seen[2:4] == [("test", "averages"), ("end", kept)]
    assert move.seen[4:] == [("batch", "weights"), ("batch", "weights"), ("test", "averages"), ("end", kept)]
    plain = made(optimizer=averaging())
    assert history.history["loss"] == fit(plain, Move(), epochs=2, batch_size=20).history["loss"]
    trained = [p.data for p in model.optimizer.parameters]
    assert same(trained, averages(plain.optimizer))  # which fit leaves in the model
    np.testing.assert_allclose(
        history.history["val_loss"][-1],
        model.evaluate(X[:8], Y[:8], callbacks=[SwapEMAWeights()], return_dict=True)["loss"],
    )


def test_weights_come_back_after_an_error():
    def fail(logs):
        raise KeyboardInterrupt

    model, swap = made(optimizer=averaging()), SwapEMAWeights()
    with pytest.raises(KeyboardInterrupt):
        fit(model, swap, Move(), LambdaCallback(on_test_begin=fail))
    weights, seen = swap._weights, []
    assert same([p.data for p in model.optimizer.parameters], averages(model.optimizer))

    def see(epoch, logs):
        seen.extend(p.data.copy() for p in model.optimizer.parameters)

    fit(model, swap, LambdaCallback(on_epoch_begin=see), epochs=1)
    assert same(seen, weights)


def test_averages_that_nobody_keeps():
    with pytest.raises(ValueError, match="an optimizer with use_ema=True, received one that keeps no averages"):
        fit(made(), SwapEMAWeights())
