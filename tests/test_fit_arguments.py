"""The arguments of fit, evaluate and predict that choose batches, and the hooks, against what Keras did; and whole error
texts."""

# ruff: noqa: E501 -- the tables hold whole error texts, a case a line

import copy
import inspect
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from argument_cases import CASES, VALIDATION, X, Y, batches, build, close, run

import tinygrad_edu as tg
from tinygrad_edu.errors import ShapeError
from tinygrad_edu.models import Sequential

KERAS = json.loads((Path(__file__).parent / "golden" / "arguments.json").read_text())


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("jit", [True, False])
def test_as_keras(case, jit, monkeypatch):
    compile_ = Sequential.compile
    monkeypatch.setattr(Sequential, "compile", lambda *given, **named: compile_(*given, **named, jit=jit))
    found, known = json.loads(json.dumps(run(tg, case))), copy.deepcopy(KERAS[case])
    if case == "generator":  # Keras announces a batch that does not come, and warns of the end of the data
        assert known["calls"].pop(-3) == ["on_train_batch_begin", 4, {}]
        assert (known.pop("ran_out"), found.pop("ran_out")) == (True, False)
    for one, other in zip(found["calls"], known["calls"], strict=True):
        assert close(one, other), (one, other)
    assert close(found, known), (found, known)


@pytest.mark.parametrize(("method", "names"), [
    ("fit", "x y batch_size epochs verbose callbacks validation_split validation_data shuffle class_weight sample_weight initial_epoch steps_per_epoch validation_steps validation_batch_size validation_freq"),
    ("evaluate", "x y batch_size verbose sample_weight steps callbacks return_dict"),
    ("predict", "x batch_size verbose steps callbacks"),
])  # fmt: skip
def test_order_of_the_arguments(method, names):
    assert " ".join(list(inspect.signature(getattr(Sequential, method)).parameters)[1:]) == names


def fit(**options):
    return build(tg, "mse").fit(**{"x": X, "y": Y, "verbose": 0, **options})


def evaluate(**options):
    return build(tg, "mse").evaluate(**{"x": X, "y": Y, **options})


def predict(**options):
    return build(tg, "mse").predict(**{"x": X, **options})


def of(rows, **options):
    """Arguments for batches of which number 1 is another one."""
    given = batches()
    given[1] = rows
    return {"x": iter(given), "y": None, **options}


class Samples:
    """What a map-style dataset of another framework looks like."""

    def __len__(self):
        return 10

    def __getitem__(self, i):
        return X[i], Y[i]


class NumberedBatches(Samples, Sequence):
    """What Keras 2's Sequence is taken for: its numbers never end."""

    def __len__(self):
        return 2


ROWS = tg.data.Dataset.from_tensor_slices((X, Y))
NAN = np.where(np.arange(6).reshape(3, 2) == 4, np.nan, 1.0)


@pytest.mark.parametrize(("call", "options", "kind", "text"), [
    (fit, {"steps_per_epoch": 0}, ValueError, "fit: expected steps_per_epoch to be an integer of at least 1, received 0."),
    (fit, {"validation_steps": 1.0}, TypeError, "fit: expected validation_steps to be an integer of at least 1, received 1.0."),
    (fit, {"validation_batch_size": -1}, ValueError, "fit: expected validation_batch_size to be an integer of at least 1, received -1."),
    (fit, {"validation_freq": 0}, ValueError, "fit: expected validation_freq to be an integer of at least 1, received 0."),
    (fit, {"validation_freq": [1, "b"]}, TypeError, "fit: expected validation_freq to be an integer, or a list of epochs counted from 1, received [1, 'b']."),
    (evaluate, {"steps": 0}, ValueError, "evaluate: expected steps to be an integer of at least 1, received 0."),
    (predict, {"steps": True}, TypeError, "predict: expected steps to be an integer of at least 1, received True."),
    (fit, {"workers": 2}, TypeError, "got an unexpected keyword argument 'workers'"),
    (evaluate, {"callbacks": [3]}, TypeError, "evaluate: expected callbacks to be a list of Callback objects, received 3."),
    (fit, {"x": iter(batches())}, ValueError, "fit: expected no y, for x gives batches, received ndarray. Hint: yield (x, y) or (x, y, sample_weight)."),
    (fit, {"x": iter([]), "y": None, "sample_weight": [1.0]}, ValueError, "fit: expected no sample_weight, for x gives batches, received list [1.0]. Hint: yield (x, y) or (x, y, sample_weight)."),
    (fit, {"x": iter([]), "y": None, "batch_size": 3}, ValueError, "fit: expected no batch_size, for x gives batches, received int 3. Hint: the batches have their sizes already."),
    (fit, {"x": iter([]), "y": None, "validation_split": 0.5}, ValueError, "fit: expected no validation_split, for x gives batches, received float 0.5. Hint: pass validation_data."),
    (fit, {"validation_data": iter([]), "validation_batch_size": 3}, ValueError, "fit: expected no validation_batch_size, for validation_data gives batches, received int 3. Hint: the batches have their sizes already."),
    (predict, {"x": iter([]), "batch_size": 3}, ValueError, "predict: expected no batch_size, for x gives batches, received int 3. Hint: the batches have their sizes already."),
    (fit, {"x": Samples(), "y": None}, TypeError, "fit: expected x to be arrays, or to give batches: by __iter__, or by __len__, __getitem__ and on_epoch_end, received Samples."),
    (fit, {"x": NumberedBatches(), "y": None}, TypeError, "fit: expected x to be arrays, or to give batches: by __iter__, or by __len__, __getitem__ and on_epoch_end, received NumberedBatches."),
    (fit, {"validation_data": NumberedBatches()}, TypeError, "fit: expected validation_data to be arrays, or to give batches: by __iter__, or by __len__, __getitem__ and on_epoch_end, received NumberedBatches."),
    (fit, {"x": len}, TypeError, "fit: expected x to be an array of numbers, received builtin_function_or_method. Hint: call it."),
    (fit, {"x": {"a": X}}, TypeError, "fit: expected x to be an array of numbers, received dict. Hint: pass one of its arrays, for there is one input."),
    (fit, {"y": (row for row in Y)}, TypeError, "fit: expected y to be an array of numbers, received generator. Hint: make an array of what it gives."),
    (fit, {"x": ROWS, "y": None}, ShapeError, "fit, batch 0: Sequential: expected a batch of shape (None, 2), received shape (1,). Hint: each element is one row; make batches of them, as by Dataset.batch(32)."),
    (fit, {"validation_data": ROWS}, ShapeError, "fit validation_data, batch 0: Sequential: expected a batch of shape (None, 2), received shape (1,). Hint: each element is one row; make batches of them, as by Dataset.batch(32)."),
    (evaluate, {"x": iter([(X[:1], 0.5)]), "y": None}, ShapeError, "evaluate, batch 0: expected y with at least one row, received shape (). Hint: each element is one row; make batches of them, as by Dataset.batch(32)."),
    (fit, {"x": iter([]), "y": None}, ValueError, "fit: expected at least one batch, received none."),
    (fit, {"x": {1}, "y": None}, ValueError, "fit, batch 0: expected x with at least one row, received shape ()."),
    (fit, {"x": iter([None]), "y": None}, TypeError, "fit, batch 0: expected x to be an array of numbers, received NoneType."),
    (fit, {"validation_data": iter([])}, ValueError, "fit validation_data: expected at least one batch, received none."),
    (evaluate, {"x": iter([]), "y": None}, ValueError, "evaluate: expected at least one batch, received none."),
    (predict, {"x": iter([])}, ValueError, "predict: expected at least one batch, received none."),
    (fit, of((X, Y, Y[:, 0] ** 2, 1)), ValueError, "fit, batch 1: expected x, (x, y) or (x, y, sample_weight), received a tuple of 4."),
    (fit, of((X,)), ValueError, "fit, batch 1: expected targets y, received None."),
    (fit, of((X, Y[:3])), ValueError, "fit, batch 1: expected x and y with as many rows, received len(x) = 10, len(y) = 3."),
    (fit, of((X, Y, -Y[:, 0] ** 2)), ValueError, "fit, batch 1: expected finite sample weights of at least 0, received"),
    (fit, of((X[:, :1], Y)), ValueError, "fit, batch 1: Sequential: expected a batch of shape (None, 2), received shape (1, 1)."),
    (fit, of((X, np.repeat(Y, 2, axis=1))), ValueError, "fit, batch 1: MeanSquaredError: expected targets of the shape (10, 1) of the predictions, received shape (10, 2)."),
    (fit, of((NAN, Y[:3])), ValueError, "fit, batch 1: expected x of finite numbers, received NaN or inf in 1 of 3 rows. Hint: clean the data first, for example with numpy.nan_to_num."),
    (evaluate, of((X[:0], Y[:0])), ValueError, "evaluate, batch 1: expected x with at least one row, received shape (0, 2)."),
    (predict, {"x": iter([X, "text"])}, TypeError, "predict, batch 1: expected x to be an array of numbers, received str."),
    (fit, {"validation_data": of((X, Y[:3]))["x"]}, ValueError, "fit validation_data, batch 1: expected x and y with as many rows, received len(x) = 10, len(y) = 3."),
    (fit, of((X, Y), class_weight={-1: 2.0}), ValueError, "fit, batch 0 class_weight: expected targets that are whole class ids, received"),
])  # fmt: skip
def test_refused(call, options, kind, text):
    with pytest.raises(kind) as caught:
        call(**options)
    found = str(caught.value)
    assert text in found
    assert found == text or not text.endswith(".")


def test_batches_that_differ_are_not_joined():
    model = Sequential([tg.layers.Input((None, 2)), tg.layers.Activation("relu")])
    with pytest.raises(ShapeError) as caught:
        model.predict(np.ones((3, n, 2)) for n in (4, 5))
    assert str(caught.value) == (
        "predict: expected outputs of one shape but for their rows, received rows of shapes (4, 2) and (5, 2). "
        "Hint: predict batches of different lengths one by one."
    )


@pytest.mark.parametrize("call", [fit, evaluate, predict])
def test_too_few_batches_are_warned_of(call):
    options = {"x": iter(batches()), "steps_per_epoch" if call is fit else "steps": 5}
    with pytest.warns(
        UserWarning, match=f"^{call.__name__} ran out of data after 4 batches of an epoch; there must be"
    ):
        call(**options, **({} if call is predict else {"y": None}))


def test_an_iterator_that_ends_ends_the_training():
    model, seen = build(tg, "mse"), []

    class Look(tg.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            seen.append(epoch)

    with pytest.warns(
        UserWarning, match="fit ran out of data after 0 batches of an epoch; there must be enough for all"
    ):
        history = model.fit(iter(batches()), epochs=3, verbose=0, callbacks=Look())
    assert history.epoch == seen == [0]
    seen.clear()
    with pytest.warns(
        UserWarning, match="fit ran out of data after 1 batches of an epoch; there must be enough for 3 in"
    ):
        history = model.fit(iter(batches()), epochs=3, steps_per_epoch=3, verbose=0, callbacks=Look())
    assert history.epoch == seen == [0, 1]


def test_a_validation_by_an_iterator_goes_on_and_ends():
    model = build(tg, "mse")
    model.optimizer.learning_rate = 0.0
    data = [(x, y) for (x, y) in batches()]
    with pytest.warns(UserWarning, match="fit validation_data ran out of data after 0 batches"):
        found = model.fit(X, Y, epochs=3, verbose=0, validation_data=iter(data), validation_steps=2).history
    first, second = (
        model.evaluate(np.concatenate([data[i][0], data[i + 1][0]]), np.concatenate([data[i][1], data[i + 1][1]]))
        for i in (0, 2)
    )
    assert found["val_loss"] == pytest.approx([first[0], second[0]], rel=1e-6)
    assert len(found["loss"]) == 3


def test_a_dataset_of_validation_begins_anew():
    model = build(tg, "mse")
    model.optimizer.learning_rate = 0.0
    found = model.fit(X, Y, epochs=3, verbose=0, validation_data=Passes(batches()), validation_steps=2).history
    assert found["val_loss"] == [pytest.approx(model.evaluate(X[:6], Y[:6])[0], rel=1e-6)] * 3
    assert model.fit(X, Y, epochs=1, verbose=0, validation_data=VALIDATION, validation_freq=7).history.keys() == {
        "loss",
        "mae",
    }


class Passes:
    """Iterable again and again."""

    def __init__(self, given):
        self.given = given

    def __iter__(self):
        return iter(self.given)
