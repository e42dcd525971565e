"""A training that is interrupted anywhere, and goes on from what a callback kept, ends as one that was not: bit for
bit."""

import dataclasses
import json
import types

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu.backend import default_generator
from tinygrad_edu.callbacks import Callback, Progress
from tinygrad_edu.data import DataLoader, Dataset
from tinygrad_edu.layers import Dense, Dropout, Input
from tinygrad_edu.models import Model, Sequential
from tinygrad_edu.optimizers import Adam

RANDOM = np.random.default_rng(0)
N, SIZE = 23, 5
X, Y = RANDOM.normal(size=(N, 3)).astype("float32"), RANDOM.normal(size=(N, 1)).astype("float32")


def made(jit):
    model = Sequential([Input((3,)), Dense(6, activation="tanh"), Dropout(0.4), Dense(1)])
    model.compile(Adam(0.01), "mse", metrics=["mae"], jit=jit)
    return model


class Shuffled:
    """Passes that are shuffled by the package's generator, with noise drawn for each batch."""

    def __iter__(self):
        order = default_generator.permutation(N, "cpu")
        for i in range(0, N, SIZE):
            rows = order[i : i + SIZE]
            yield X[rows] + default_generator.normal((len(rows), 3), std=0.1, device="cpu"), Y[rows]


class ByNumber:
    def __len__(self):
        return 5

    def __getitem__(self, i):
        rows = slice(i * SIZE, i * SIZE + SIZE)
        return X[rows] + default_generator.normal(X[rows].shape, std=0.1, device="cpu"), Y[rows]

    def on_epoch_end(self):
        pass


def endless():
    random = np.random.default_rng(2)
    while True:
        rows = random.permutation(N)[:SIZE]
        yield X[rows], Y[rows]


def rows():
    return Dataset.from_tensor_slices((X, Y))


DATA = {
    "arrays": lambda: {"x": X, "y": Y, "batch_size": SIZE},
    "arrays cut by steps": lambda: {"x": X, "y": Y, "batch_size": SIZE, "steps_per_epoch": 2},
    "iterable": lambda: {"x": Shuffled()},
    "iterable cut by steps": lambda: {"x": Shuffled(), "steps_per_epoch": 3},
    "by number": lambda: {"x": ByNumber()},
    "generator": lambda: {"x": endless(), "steps_per_epoch": 4},
    "loader with a seed": lambda: {"x": DataLoader((X, Y), SIZE, shuffle=True, seed=4)},
    "one order": lambda: {"x": rows().shuffle(N, seed=5, reshuffle_each_iteration=False).batch(SIZE)},
    "repeated with a seed": lambda: {"x": rows().shuffle(7, seed=3).repeat().batch(SIZE), "steps_per_epoch": 3},
}


class Keep(Callback):
    """Keeps all that is needed at one place, and ends the training there; begins with what was kept."""

    def __init__(self, hook=None, at=None, kept=None, form=lambda progress: progress):
        self.at, self.kept, self.form, self.epoch = at, kept, form, None
        if hook is not None:
            setattr(self, hook, self.look)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def look(self, number, logs=None):
        if (self.epoch, number) == self.at:
            progress = json.loads(json.dumps(dataclasses.asdict(self.model.progress)))
            self.kept = progress, self.model.get_weights(), self.model.optimizer.state_dict()
            raise KeyboardInterrupt

    def on_train_begin(self, logs=None):
        if self.kept is not None:
            progress, weights, state = self.kept
            self.model.set_weights(weights)
            self.model.optimizer.load_state_dict(state)
            self.model.progress = self.form(Progress(**progress))


def continued(model_of, data, hook, at, epochs=4, form=lambda progress: progress, **options):
    tg.seed(3)
    keep = Keep(hook, at)
    with pytest.raises(KeyboardInterrupt):
        model_of().fit(**data(), epochs=epochs, verbose=0, callbacks=keep, **options)
    tg.seed(77)  # as in another process, whose generator stands elsewhere
    model = model_of()
    history = model.fit(**data(), epochs=epochs, verbose=0, callbacks=Keep(kept=keep.kept, form=form), **options)
    return keep.kept[0], history, model


def at_once(model_of, data, epochs=4, **options):
    tg.seed(3)
    model = model_of()
    return model.fit(**data(), epochs=epochs, verbose=0, **options), model


def same(first, second):
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.filterwarnings("ignore:fit ran out of data")  # where steps do not divide the batches of a pass
@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize(("hook", "at"), [
    ("on_train_batch_end", (1, 0)), ("on_train_batch_end", (2, 1)), ("on_train_batch_end", (0, 1)),
    ("on_train_batch_end", "last"), ("on_epoch_end", (1, 1)), ("on_epoch_end", (2, 2)),
])  # fmt: skip
@pytest.mark.parametrize("form", DATA)
def test_continued_is_uninterrupted(form, hook, at, jit):
    data = DATA[form]
    last = data().get("steps_per_epoch", 5) - 1
    at = (0, last) if at == "last" else (3, 1) if at == (2, 1) and "arrays cut" in form else at
    known, whole = at_once(lambda: made(jit), data)
    place, history, model = continued(lambda: made(jit), data, hook, at)
    same(whole, model)
    assert place["epoch"] == at[0] + (hook == "on_epoch_end")
    assert place["batch"] == (0 if hook == "on_epoch_end" else at[1] + 1)
    assert history.epoch == known.epoch[place["epoch"] :]
    for name, values in history.history.items():
        assert values == known.history[name][place["epoch"] :]


@pytest.mark.parametrize("at", [("on_epoch_end", (1, 1)), ("on_train_batch_end", (2, 1))])
def test_hooks_that_draw(at):
    class Drawing(Keep):
        def on_epoch_begin(self, epoch, logs=None):
            super().on_epoch_begin(epoch, logs)
            tg.uniform((1 + epoch,))

        def on_train_batch_begin(self, batch, logs=None):
            tg.uniform((2,))

    data = DATA["iterable"]
    tg.seed(3)
    whole = made(True)
    whole.fit(**data(), epochs=4, verbose=0, callbacks=Drawing())
    tg.seed(3)
    with pytest.raises(KeyboardInterrupt):
        made(True).fit(**data(), epochs=4, verbose=0, callbacks=(keep := Drawing(*at)))
    tg.seed(77)
    model = made(True)
    model.fit(**data(), epochs=4, verbose=0, callbacks=Drawing(kept=keep.kept))
    same(whole, model)


def test_another_object_with_what_is_asked_for():
    """A callback of one's own may keep no more than these three, and the generator's state itself."""

    def three(progress):
        default_generator.state = progress.generator_now
        return types.SimpleNamespace(
            epoch=progress.epoch, batch=progress.batch, generator_state=list(progress.generator_state)
        )

    data = DATA["arrays"]
    _, whole = at_once(lambda: made(True), data)
    for hook, at in (("on_train_batch_end", (1, 2)), ("on_epoch_end", (1, 1))):
        _, _, model = continued(lambda: made(True), data, hook, at, form=three)
        same(whole, model)


def test_with_a_validation_that_is_not_due_each_epoch():
    options = {"validation_data": (X, Y), "validation_freq": 2}
    known, whole = at_once(lambda: made(True), DATA["arrays"], **options)
    _, history, model = continued(lambda: made(True), DATA["arrays"], "on_train_batch_end", (1, 4), **options)
    same(whole, model)
    assert history.history == {name: v[1 if len(v) == 4 else 0 :] for name, v in known.history.items()}


@pytest.mark.parametrize("jit", [True, False])
def test_metrics_held_by_attributes_and_several_losses(jit):
    class Own(Model):
        def __init__(self, inputs, outputs):
            super().__init__(inputs, outputs)
            self.seen = tg.metrics.Mean("seen")

        def train_step(self, data):
            x, _ = data
            self.seen.update_state(x)
            return {**super().train_step(data), "seen": self.seen.result()}

    def both(kind):
        x = Input((3,))
        model = kind(x, [Dense(1)(x), Dense(1)(Dropout(0.3)(x))])
        model.compile(Adam(0.01), ["mse", "mae"], metrics=[["mae"], ["mse"]], jit=jit)
        return model

    def data():
        return {"x": X, "y": [Y, Y], "batch_size": SIZE}

    for kind in (Model, Own):
        known, whole = at_once(lambda kind=kind: both(kind), data)
        _, history, model = continued(lambda kind=kind: both(kind), data, "on_train_batch_end", (1, 2))
        same(whole, model)
        assert history.history == {name: values[1:] for name, values in known.history.items()}


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("last", [False, True])
def test_metrics_whose_states_depend_on_the_number_of_outputs(last, jit):
    classes = np.eye(3, dtype="float32")[RANDOM.integers(0, 3, N)]

    def three():
        model = Sequential([Input((3,)), Dense(3, activation="softmax")])
        few = [tg.metrics.F1Score(), tg.metrics.R2Score(), tg.metrics.AUC(multi_label=True, name="areas")]
        model.compile(
            Adam(0.01), "categorical_crossentropy", metrics=few, weighted_metrics=[tg.metrics.FBetaScore()], jit=jit
        )
        return model

    def data():
        return {"x": X, "y": classes, "batch_size": SIZE}

    known, whole = at_once(three, data)
    _, history, model = continued(three, data, "on_train_batch_end", (1, 4 if last else 2))
    same(whole, model)
    for name, values in history.history.items():
        np.testing.assert_array_equal(values, known.history[name][1:])


def test_progress_where_nothing_trains():
    tg.seed(5)
    model = made(True)
    assert model.progress == Progress(0, 0, default_generator.state, 0, default_generator.state, None)
    model.fit(X, Y, epochs=2, verbose=0)
    assert (model.progress.epoch, model.progress.batch, model.progress.metrics) == (2, 0, None)
    model.progress = Progress(1, 0, (9, 0, 4))
    assert model.progress == Progress(1, 0, (9, 0, 4))
    assert model.fit(X, Y, epochs=3, verbose=0).epoch == [1, 2]
    assert model.fit(X, Y, epochs=3, verbose=0).epoch == [0, 1, 2]  # the one after it begins anew
    model.progress = Progress(3, 0, (9, 0, 4))
    assert model.fit(X, Y, epochs=3, verbose=0).epoch == []


def test_data_that_is_too_short_to_go_on():
    model = made(True)
    model.progress = Progress(0, 7, (0, 0, 0))
    with pytest.raises(ValueError, match="at least 7 batches") as caught:
        model.fit(X, Y, batch_size=SIZE, verbose=0)
    assert str(caught.value) == (
        "fit: expected at least 7 batches, which are done, received 5. "
        "Hint: go on with the data that the training began with."
    )


def test_metrics_that_are_others():
    model = made(True)
    model.progress = Progress(0, 1, (0, 0, 0), metrics=[[1.0, 2.0]])
    with pytest.raises(ValueError, match="Sequential fit: expected progress with 4 states of metrics, received 2"):
        model.fit(X, Y, batch_size=SIZE, verbose=0)


def test_after_an_interrupt_by_the_keyboard():
    """Its own place is set, in the same process."""
    data = DATA["arrays"]
    known, whole = at_once(lambda: made(True), data)
    tg.seed(3)
    model = made(True)
    with pytest.raises(KeyboardInterrupt):
        model.fit(**data(), epochs=4, verbose=0, callbacks=Keep("on_train_batch_end", (1, 3)))
    model.progress = model.progress
    history = model.fit(**data(), epochs=4, verbose=0)
    same(whole, model)
    assert history.history["loss"] == known.history["loss"][1:]


def test_a_place_that_lacks_something():
    with pytest.raises(TypeError, match="generator_state"):
        made(True).progress = types.SimpleNamespace(epoch=1, batch=0)
