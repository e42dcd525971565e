"""Sequential and Model: building, fit, evaluate, predict, and the data and settings they must refuse."""

# ruff: noqa: E501 -- the tables hold whole error texts, a case a line

import copy
import gc

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import losses, metrics, optimizers
from tinygrad_edu.callbacks import Callback
from tinygrad_edu.errors import GradientError, ShapeError
from tinygrad_edu.layers import Activation, Dense, Dropout, Flatten, Input, Layer, Reshape
from tinygrad_edu.models import Model, Sequential
from tinygrad_edu.optimizers import SGD, Adam
from tinygrad_edu.state import state

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(50, 3))
Y = X @ [1.0, -2.0, 0.5] + 0.3
IDS = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)


@pytest.fixture(autouse=True)
def _seed():
    tg.seed(0)


def regression(optimizer="sgd", metrics=None, inputs=3):
    model = Sequential([Input((inputs,)), Dense(4, activation="tanh"), Dense(1)])
    model.compile(optimizer, "mse", metrics=metrics)
    return model


def classifier(activation="softmax", loss="sparse_categorical_crossentropy", units=3, metrics=("accuracy",)):
    model = Sequential([Dense(8, activation="relu", input_dim=3), Dense(units, activation=activation)])
    model.compile(Adam(0.01), loss, metrics=metrics)
    return model


def weights(model):
    return np.concatenate([w.ravel() for w in model.get_weights()])


# Building


@pytest.mark.parametrize("make", [
    lambda: Sequential([Input((8, 8)), Flatten(), Dense(4), Dense(2)]),
    lambda: Sequential([Flatten(input_shape=(8, 8)), Dense(4), Dense(2)]),
    lambda: Sequential([Dense(4, input_dim=64), Dense(2)]),
    lambda: Sequential([Reshape((64,), input_shape=(8, 8)), Dense(4), Dense(2)]),
])  # fmt: skip
def test_built_from_the_shape_of_the_input(make):
    model = make()
    assert model.built
    assert model.count_params() == 64 * 4 + 4 + 4 * 2 + 2
    assert [symbol.shape for symbol in model.symbols[1:]][-1] == (None, 2)


def test_built_at_the_first_call_or_fit_otherwise():
    model = Sequential()
    model.add(Dense(4))
    model.add(Dense(2))
    assert not model.built
    assert model(tg.zeros((5, 3))).shape == (5, 2)
    assert [symbol.shape for symbol in model.symbols[1:]] == [(None, 4), (None, 2)]
    model.add(Dense(7))
    assert model(tg.zeros((5, 3))).shape == (5, 7)
    fitted = Sequential([Dense(1)])
    fitted.compile("sgd", "mse")
    fitted.fit(X, Y, verbose=0)
    assert fitted.layers[0].kernel.shape == (3, 1)
    by_hand = Sequential([Dense(1)])
    by_hand.build((None, 3))
    assert by_hand.count_params() == 4


def test_names():
    model = Sequential([Dense(1, input_dim=1), Dense(1, name="head"), Dense(1), Activation("relu")])
    assert [layer.name for layer in model.layers] == ["dense", "head", "dense_1", "activation"]
    assert next(iter(model.state_dict())) == "layers.0.kernel"
    Sequential([Dense(2), model.layers[0]])  # both were named by a model, of which the later gives way
    first, *names = [layer.name for layer in model.layers]
    assert names == ["head", "dense_1", "activation"]
    assert first.startswith("dense_")
    assert first != "dense_1"
    with pytest.raises(ValueError, match=r"received a second 'head'\. Hint: set the name of one of them"):
        Sequential([Dense(2, name="head"), model.layers[1]])


def test_a_layer_that_fails_to_build_leaves_the_model_as_it_was():
    model = Sequential([Input((3,)), Dense(4)])
    with pytest.raises(ShapeError, match=r"Sequential\[1\] Reshape: expected rows"):
        model.add(Reshape((5,)))
    model.add(Dense(2))
    assert [layer.name for layer in model.layers] == ["dense", "dense_1"]
    assert model(tg.ones((1, 3))).shape == (1, 2)
    empty = Sequential()
    with pytest.raises(ShapeError):
        empty.add(Reshape((5,), input_shape=(3,)))
    empty.add(Dense(2, input_dim=7))
    assert empty.output_shape == (None, 2)


def test_axes_of_unknown_length():
    model = Sequential([Input((None, 4)), Dense(8), Flatten()])
    assert [symbol.shape for symbol in model.symbols[1:]] == [(None, None, 8), (None, None)]
    with pytest.raises(
        ShapeError, match=r"Sequential\[2\] Dense: expected inputs of shape .* received shape \(None, None\)"
    ):
        model.add(Dense(2))


def test_get_layer_and_pop():
    model = regression()
    assert model.get_layer("dense") is model.layers[0]
    model.fit(X, Y, verbose=0)
    last = model.pop()
    assert isinstance(last, Dense)
    assert model.output_shape == (None, 4)
    model.compile("sgd", "mse")
    model.fit(X, np.zeros((50, 4)), verbose=0)
    model.add(Dense(2))
    assert model.predict(X).shape == (50, 2)


@pytest.mark.parametrize("first", [[], [Input((3,)), Dense(2)]])
def test_what_is_added_to_a_frozen_model_is_frozen(first):
    model = Sequential(first, trainable=False)
    model.add(Dense(2, input_dim=2))
    assert model.trainable_weights == []
    assert model.trainable is model.layers[-1].trainable is False


def takes_logits(model):
    (head,) = model._heads
    return head.takes_logits(*model._last_of(0))


def test_a_model_in_a_model():
    inner = Sequential([Dense(4, activation="relu"), Dense(3, activation="softmax")], name="inner")
    model = Sequential([Input((3,)), Dense(5), inner])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(X, IDS, verbose=0)
    assert takes_logits(model)
    assert "layers.1.layers.0.kernel" in model.state_dict()
    model.layers[0].kernel, model.layers[0].bias = tg.zeros((3, 6)), tg.zeros((6,))
    with pytest.raises(ShapeError, match=r"Sequential\[1\] Sequential\[0\] Dense 'dense': expected 5 input features"):
        model(tg.zeros((1, 3)))


# Training against an independent loop


@pytest.mark.parametrize("jit", [True, False])
def test_fit_in_half_precision(jit):
    """Is that of single precision but for rounding: parameters near 1 are rounded by 5e-4 at each of 16 steps."""
    found = {}
    for dtype in ("float32", "float16"):
        with tg.use_dtype(dtype):
            model = Sequential([Input((3,)), Dense(8, activation="tanh"), Dense(3)])
            model.compile(SGD(0.05, momentum=0.5), "mse", jit=jit)
            size, start = 0, list[np.ndarray]()
            for w in model.get_weights():
                start.append((np.arange(size, size + w.size) % 7 / 8 - 0.375).reshape(w.shape).astype(dtype))
                size += w.size
            model.set_weights(start)
            loss = model.fit(X.astype(dtype), np.eye(3)[IDS].astype(dtype), epochs=4, batch_size=16, shuffle=False)
            found[dtype] = [*model.get_weights(), np.array(loss.history["loss"])]
            assert {p.dtype for p in model.parameters()} == {np.dtype(dtype)}
            assert all(np.abs(w - old).max() > 0.01 for w, old in zip(model.get_weights(), start, strict=True))
    for half, single in zip(found["float16"], found["float32"], strict=True):
        np.testing.assert_allclose(half.astype("float32"), single, atol=16 * 5e-4)


def test_fit_as_a_loop_in_torch():
    torch = pytest.importorskip("torch")
    with tg.use_dtype("float64"):
        model = Sequential([Input((3,)), Dense(8, activation="relu"), Dense(3, activation="softmax")])
    model.compile(SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy", metrics=["accuracy"])
    net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).double()
    with torch.no_grad():
        for p, w in zip(net.parameters(), model.get_weights(), strict=True):
            p.copy_(torch.tensor(w.T.copy()))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    x, y = torch.tensor(X), torch.tensor(IDS)
    expected_loss, expected_accuracy = [], []
    for _ in range(4):
        total = right = 0.0
        for start in range(0, 50, 16):
            optimizer.zero_grad()
            logits, ids = net(x[start : start + 16]), y[start : start + 16]
            loss = torch.nn.functional.cross_entropy(logits, ids)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(ids)
            right += (logits.argmax(1) == ids).sum().item()
        expected_loss.append(total / 50)
        expected_accuracy.append(right / 50)
    history = model.fit(X, IDS, batch_size=16, epochs=4, shuffle=False, verbose=0)
    np.testing.assert_allclose(history.history["loss"], expected_loss, rtol=1e-10)
    np.testing.assert_allclose(history.history["accuracy"], expected_accuracy, rtol=1e-12)
    with torch.no_grad():
        np.testing.assert_allclose(model.predict(X), torch.softmax(net(x), 1).numpy(), rtol=1e-9)


def test_history_keys_and_epochs():
    model = regression(metrics=["mae", metrics.MeanSquaredError()])
    history = model.fit(X, Y, epochs=5, initial_epoch=2, validation_split=0.2, verbose=0)
    names = ["loss", "mae", "mean_squared_error"]
    assert list(history.history) == names + [f"val_{name}" for name in names]
    assert history.epoch == [2, 3, 4]
    assert history is model.history
    assert history.history["loss"] == pytest.approx(history.history["mean_squared_error"], rel=1e-5)
    assert all(len(values) == 3 and all(isinstance(v, float) for v in values) for values in history.history.values())
    assert model.fit(X, Y, epochs=1, initial_epoch=3, verbose=0).history == {}


def test_same_seed_same_weights():
    found = []
    for seed in (1, 1, 2):
        tg.seed(seed)
        model = regression()
        model.fit(X, Y, epochs=2, verbose=0)
        found.append(weights(model))
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()


def test_each_epoch_has_its_own_order():
    seen = []

    class Look(Layer):
        def call(self, x):
            if x.shape[0] == 10:
                seen.append(x.numpy()[:, 0].copy())
            return x

    model = Sequential([Look(), Dense(1)])
    model.compile("sgd", "mse", jit=False)
    model.fit(X[:20], Y[:20], batch_size=10, epochs=2, verbose=0)
    first, second = np.concatenate(seen[:2]), np.concatenate(seen[2:])
    assert (first != second).any()
    for rows in (first, second):
        np.testing.assert_array_equal(np.sort(rows), np.sort(X[:20, 0].astype("float32")))


def test_validation_split_takes_the_last_rows_before_shuffling():
    model = regression()
    history = model.fit(X, Y, validation_split=0.3, epochs=2, verbose=0)
    assert model.evaluate(X[35:], Y[35:]) == pytest.approx(history.history["val_loss"][-1], rel=1e-6)
    tg.seed(0)
    other = regression()
    other.fit(X[:35], Y[:35], validation_data=(X[35:], Y[35:]), epochs=2, verbose=0)
    np.testing.assert_array_equal(weights(model), weights(other))


def test_uneven_batches_weigh_right():
    model = regression(metrics=["mae"])
    by_7, at_once = model.evaluate(X, Y, batch_size=7), model.evaluate(X, Y, batch_size=50)
    assert by_7 == pytest.approx(at_once, rel=1e-6)
    assert at_once[0] == pytest.approx(((model.predict(X)[:, 0] - Y) ** 2).mean(), rel=1e-5)
    assert model.evaluate(X, Y, return_dict=True) == pytest.approx({"loss": by_7[0], "mae": by_7[1]}, rel=1e-6)
    assert isinstance(regression().evaluate(X, Y), float)


def test_sample_weight_and_class_weight():
    def after(**options):
        tg.seed(0)
        model = classifier(loss=options.pop("loss", "sparse_categorical_crossentropy"))
        model.fit(X, options.pop("y", IDS), epochs=2, verbose=0, **options)
        return weights(model)

    factors = np.array([1.0, 4.0, 0.0])[IDS]
    by_row = after(sample_weight=factors)
    assert (by_row != after()).any()
    by_class = {1: 4.0, 2: 0.0}
    np.testing.assert_allclose(after(class_weight=by_class), by_row)
    np.testing.assert_allclose(
        after(class_weight=by_class, y=np.eye(3)[IDS], loss="categorical_crossentropy"), by_row, atol=1e-6
    )
    np.testing.assert_allclose(
        after(class_weight={1: 2.0}, sample_weight=np.where(IDS == 1, 2.0, np.where(IDS == 2, 0.0, 1.0))), by_row
    )


def test_class_weight_is_for_the_training_only():
    model = classifier()
    history = model.fit(X, IDS, class_weight={1: 9.0}, validation_split=0.2, verbose=0)
    assert model.evaluate(X[40:], IDS[40:])[0] == pytest.approx(history.history["val_loss"][0], rel=1e-5)


def test_evaluate_with_weights_divides_by_the_rows():
    model = regression()
    w = np.arange(50.0)
    squares = (model.predict(X)[:, 0] - Y) ** 2
    assert model.evaluate(X, Y, sample_weight=w, batch_size=7) == pytest.approx((w * squares).mean(), rel=1e-5)


def test_train_and_test_on_batch():
    model = regression(metrics=["mae"])
    before = model.test_on_batch(X, Y)
    assert model.train_on_batch(X, Y) == pytest.approx(before, rel=1e-6)
    assert model.test_on_batch(X, Y)[0] < before[0]
    assert set(model.train_on_batch(X, Y, return_dict=True)) == {"loss", "mae"}


def test_one_number_a_row():
    xs = np.array([-1.0, 0.0, 1.0, 2.0, 3.0, 4.0])
    model = Sequential([Dense(units=1, input_shape=[1])])
    model.compile(optimizer=SGD(0.1), loss="mean_squared_error")
    model.fit(xs, 2 * xs - 1, epochs=100, verbose=0, validation_data=(xs, 2 * xs - 1))
    assert model.predict(np.array([10.0])) == pytest.approx(19.0, abs=0.1)


def test_batch_size_none_is_32():
    class Look(Callback):
        def on_train_begin(self, logs=None):
            self.steps = self.params["steps"]

    look, model = Look(), regression()
    model.fit(X, Y, batch_size=None, callbacks=look, verbose=0)
    assert look.steps == 2
    assert model.evaluate(X, Y, batch_size=None) == model.evaluate(X, Y)
    assert model.predict(X, batch_size=None).shape == (50, 1)


def test_ids_in_a_column_as_in_keras():
    model = classifier()
    assert model.evaluate(X, IDS[:, None]) == model.evaluate(X, IDS)


def test_ignored_rows_do_not_weigh():
    ids = IDS.copy()
    ids[:20] = -1
    model = classifier(loss=losses.SparseCategoricalCrossentropy(ignore_class=-1))
    assert model.evaluate(X, ids, batch_size=7) == pytest.approx(model.evaluate(X, ids, batch_size=50), rel=1e-6)
    assert model.evaluate(X, ids) == pytest.approx(model.evaluate(X[20:], ids[20:]), rel=1e-6)


def test_class_weights_with_inputs_of_integers():
    found = []
    for x in (np.arange(50)[:, None] % 3, np.arange(50.0)[:, None] % 3):
        tg.seed(0)
        dtype = "int64" if x.dtype.kind == "i" else None
        model = Sequential(
            [Input((1,), dtype=dtype), Activation(lambda t: t.astype("float32")), Dense(3, activation="softmax")]
        )
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(x, IDS, class_weight={0: 0.5, 1: 1.5}, verbose=0)
        found.append(weights(model))
    np.testing.assert_array_equal(found[0], found[1])


def test_inputs_of_any_kind_and_dtype():
    images = RANDOM.integers(0, 255, (6, 3), dtype=np.uint8)
    model = regression()
    for x, y in [
        (images, np.arange(6)),
        (images.tolist(), list(range(6))),
        (tg.tensor(images), tg.arange(6)),
        (X > 0, Y[:, None] > 0),
    ]:
        model.fit(x, y, verbose=0)
        assert model.predict(x).dtype == "float32"
    assert model.dtype == "float32"
    assert model.predict(X).shape == (50, 1)


def test_predict_keeps_no_graph_and_evaluates():
    graphs = []

    class Look(Layer):
        def call(self, x):
            graphs.append(state.grad_enabled)
            return x

    model = Sequential([Dropout(0.9), Dense(1), Look()])
    model.compile("sgd", "mse")
    model.predict(X)
    model.evaluate(X, Y, batch_size=7)
    model.test_on_batch(X, Y)
    assert not any(graphs)
    model.train_on_batch(X, Y)
    assert graphs[-1]
    np.testing.assert_allclose(model.predict(X, batch_size=7), model.predict(X), rtol=1e-5, atol=1e-6)
    assert model.predict(X[:1]).shape == (1, 1)


def test_dropout_is_on_in_fit_only():
    seen = []

    class Look(Layer):
        def call(self, x, training=None):
            seen.append(training)
            return x

    model = Sequential([Look(), Dense(1)])
    model.compile("sgd", "mse")
    model.eval()
    model.fit(X, Y, batch_size=50, verbose=0, validation_split=0.5)
    assert seen[-2:] == [True, False]


# Losses from logits


@pytest.mark.parametrize(("activation", "loss", "y"), [
    ("softmax", "sparse_categorical_crossentropy", [1]),
    ("softmax", losses.CategoricalCrossentropy(), [[0.0, 1.0]]),
    ("sigmoid", "binary_crossentropy", [[0.0, 1.0]]),
])  # fmt: skip
@pytest.mark.parametrize("apart", [False, True])
def test_a_last_sigmoid_or_softmax_cannot_overflow(activation, loss, y, apart):
    last = [Dense(2), Activation(activation)] if apart else [Dense(2, activation=activation)]
    model = Sequential([Input((1,)), *last])
    model.set_weights([np.array([[2000.0, -2000.0]]), np.zeros(2)])
    model.compile("sgd", loss, metrics=["accuracy"])
    found = model.test_on_batch([[1.0]], y)
    assert found[0] == (4000.0 if activation == "softmax" else 2000.0)
    assert found[1] == 0.0
    model.train_on_batch([[1.0]], y)
    assert np.isfinite(weights(model)).all()
    assert (weights(model) != [2000, -2000, 0, 0]).any()


def test_a_layer_that_overrides_call_is_taken_at_its_word():
    class Doubled(Dense):
        def call(self, x):
            return super().call(x) * 0.5 + 0.25

    model = Sequential([Input((3,)), Doubled(1, activation="sigmoid")])
    model.compile("sgd", "binary_crossentropy")
    p = model.predict(X)[:, 0]
    y = IDS > 0
    assert model.evaluate(X, y) == pytest.approx(-np.log(np.where(y, p, 1 - p)).mean(), rel=1e-4)


@pytest.mark.parametrize(("kind", "y"), [
    (losses.BinaryCrossentropy, np.eye(3)[IDS]), (losses.CategoricalCrossentropy, np.eye(3)[IDS]),
    (losses.SparseCategoricalCrossentropy, IDS),
])  # fmt: skip
def test_a_loss_that_overrides_call_gets_the_output_of_the_model(kind, y):
    seen = []

    class Own(kind):
        def call(self, y_true, y_pred):
            seen.append(y_pred.numpy() if not y_pred.requires_grad else y_pred.detach().numpy())
            return super().call(y_true, y_pred) * 2.0

    model = classifier(kind.logits_of, Own(), metrics=None)
    model.compile("sgd", model.loss, jit=False)
    found = model.evaluate(X, y, batch_size=50)
    np.testing.assert_allclose(seen[-1], model.predict(X, batch_size=50))
    model.compile("sgd", kind())
    assert found == pytest.approx(2 * model.evaluate(X, y), rel=1e-5)


def test_an_activation_of_ones_own_is_checked_by_its_values():
    model = classifier(lambda x: tg.softmax(x))
    model.fit(X, IDS, verbose=0)
    assert not takes_logits(model)
    with pytest.raises(ValueError, match="whose rows sum to 1"):
        classifier(lambda x: tg.sigmoid(x)).fit(X, IDS, verbose=0)


def test_another_activation_is_looked_at_anew():
    model = classifier()
    model.fit(X, IDS, verbose=0)
    model.layers[-1].activation = tg.tanh
    with pytest.raises(ValueError, match="received the output of tanh"):
        model.fit(X, IDS, verbose=0)
    model.layers[-1].activation = tg.softmax
    model.fit(X, IDS, verbose=0)
    p = model.predict(X)
    assert model.evaluate(X, IDS)[0] == pytest.approx(-np.log(p[np.arange(50), IDS]).mean(), rel=1e-4)


def test_compiling_again_looks_at_the_output_anew():
    model = classifier("sigmoid", "binary_crossentropy", 1)
    model.fit(X, IDS > 0, verbose=0)
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="received the output of sigmoid"):
        model.fit(X, np.zeros(50), verbose=0)


def test_an_output_that_changes_its_shape():
    class Grow(Layer):
        def call(self, x):
            return x if x.shape[0] < 10 else tg.concatenate([x, x], axis=1)

    model = Sequential([Grow()])
    model.compile("sgd", "mse")
    with pytest.raises(ShapeError, match=r"expected an output of shape \(32, 3\), received shape \(32, 6\)"):
        model.evaluate(X, X)


def test_accuracy_of_logits():
    model = classifier(None, losses.BinaryCrossentropy(from_logits=True), 1)
    y = IDS > 0
    assert model.evaluate(X, y)[1] == pytest.approx(((model.predict(X)[:, 0] > 0) == y).mean())


def test_metrics_see_probabilities():
    model = classifier(metrics=["accuracy", lambda y, p: tg.sum(p, axis=-1)])
    assert model.evaluate(X, IDS)[2] == pytest.approx(1.0, rel=1e-6)


# Bad data and settings, by type and text


def fit(**options):
    given = {"x": X, "y": Y, "verbose": 0} | options
    return regression().fit(given.pop("x"), given.pop("y"), **given)


def with_at(array, value):
    array = np.array(array, float)
    array.flat[4] = value
    return array


@pytest.mark.parametrize(("options", "kind", "text"), [
    ({"batch_size": 0}, ValueError, "fit: expected batch_size to be an integer of at least 1, received 0"),
    ({"batch_size": 1.5}, TypeError, "expected batch_size to be an integer of at least 1, received 1.5"),
    ({"epochs": -1}, ValueError, "fit: expected epochs to be an integer of at least 1, received -1"),
    ({"epochs": 0}, ValueError, "expected epochs"),
    ({"initial_epoch": -1}, ValueError, "expected initial_epoch"),
    ({"verbose": 3}, ValueError, "expected verbose"),
    ({"y": Y[:-1]}, ShapeError, "fit: expected x and y with as many rows, received len(x) = 50, len(y) = 49"),
    ({"y": None}, ValueError, "fit: expected targets y, received None"),
    ({"x": X[:0], "y": Y[:0]}, ShapeError, "fit: expected x with at least one row, received shape (0, 3)"),
    ({"x": with_at(X, np.nan)}, ValueError, "fit: expected x of finite numbers, received NaN or inf in 1 of 50 rows. Hint: clean the data first"),
    ({"x": with_at(X, np.inf)}, ValueError, "NaN or inf in 1 of 50 rows"),
    ({"x": with_at(X, 1e300)}, ValueError, "fit: expected x in the range of float32, received 1e+300"),
    ({"y": with_at(Y, 1e300)}, ValueError, "MeanSquaredError: expected targets in the range of float32, received 1e+300"),
    ({"sample_weight": with_at(np.ones(50), 1e300)}, ValueError, "expected sample_weight in the range of float32, received 1e+300"),
    ({"y": with_at(Y, np.nan)}, ValueError, "fit: expected y of finite numbers"),
    ({"x": X[:, :2]}, ShapeError, "Sequential: expected a batch of shape (None, 3), received shape (1, 2)"),
    ({"x": [[1.0], [1.0, 2.0]]}, ShapeError, "fit: expected x with rows of one shape"),
    ({"x": np.array(["a", "b"])}, TypeError, "fit: expected x to be an array of numbers, received dtype <U1"),
    ({"x": iter([1])}, ValueError, "fit: expected no y, for x gives batches, received ndarray. Hint: yield (x, y) or (x, y, sample_weight)."),
    ({"y": iter([1])}, TypeError, "fit: expected y to be an array of numbers, received list_iterator"),
    ({"y": np.stack([Y, Y], 1)}, ShapeError, "MeanSquaredError: expected targets of the shape (50, 1) of the predictions, received shape (50, 2)"),
    ({"sample_weight": np.ones(49)}, ShapeError, "received len(x) = 50, len(sample_weight) = 49"),
    ({"sample_weight": -np.ones(50)}, ValueError, "expected finite sample weights of at least 0"),
    ({"class_weight": [1.0]}, TypeError, "expected class_weight to be a dict"),
    ({"class_weight": {0: -1.0}, "y": IDS > 0}, ValueError, "expected class_weight[0] to be a number of at least 0, received -1.0"),
    ({"class_weight": {"cat": 1.0}, "y": IDS > 0}, TypeError, "fit class_weight: expected each class to be an integer"),
    ({"class_weight": {1: 1e300}, "y": IDS > 0}, ValueError, "fit class_weight: expected weights in the range of float32, received 1e+300"),
    ({"class_weight": {2: 1.0}, "y": IDS > 0}, ValueError, "fit class_weight: expected classes from 0 to 1, received 2"),
    ({"class_weight": {1: 2.0}}, ValueError, "fit class_weight: expected targets that are whole class ids, received"),
    ({"validation_split": 1.0}, ValueError, "expected validation_split to be a number in [0, 1), received 1.0"),
    ({"validation_split": 0.999}, ValueError, "expected validation_split to leave rows on both sides, received 0.999, which trains on 0 of 50 rows"),
    ({"validation_data": X}, ValueError, "expected validation_data to be (x, y) or (x, y, sample_weight)"),
    ({"validation_data": (X, Y[:3])}, ShapeError, "fit validation_data: expected x and y with as many rows"),
    ({"callbacks": [Callback]}, TypeError, "fit: expected callbacks to be a list of Callback objects"),
])  # fmt: skip
def test_fit_refuses(options, kind, text):
    with pytest.raises(kind) as caught:
        fit(**options)
    assert text in str(caught.value)


def with_labels(loss, y, activation="softmax"):
    return lambda: classifier(activation, loss).fit(X[: len(y)], y, verbose=0)


def softmax_twice():
    classifier("softmax", losses.SparseCategoricalCrossentropy(from_logits=True)).fit(X, IDS, verbose=0)


@pytest.mark.parametrize(("call", "kind", "text"), [
    (with_labels("sparse_categorical_crossentropy", [0, 3]), ValueError, "expected class ids from 0 to 2, received 3"),
    (with_labels("sparse_categorical_crossentropy", [0, -1]), ValueError, "expected class ids from 0 to 2, received -1"),
    (with_labels("sparse_categorical_crossentropy", [0, 0.5]), ValueError, "expected whole class ids, received 0.5"),
    (with_labels("sparse_categorical_crossentropy", [[0, 1], [1, 0]]), ShapeError, "expected class ids of shape (2,)"),
    (with_labels("sparse_categorical_crossentropy", np.eye(3)), ShapeError, "one-hot targets belong to categorical_crossentropy"),
    (with_labels("categorical_crossentropy", [0, 1]), ShapeError, "class ids belong to sparse_categorical_crossentropy"),
    (with_labels("binary_crossentropy", [[0, 1, 2]], "sigmoid"), ValueError, "expected targets in [0, 1], received 2"),
    (with_labels("sparse_categorical_crossentropy", [0, 1], None), ValueError, "Hint: end in a softmax, or say from_logits=True."),
    (with_labels("binary_crossentropy", [[0, 1, 1]] * 9, None), ValueError, "Hint: end in a sigmoid, or say from_logits=True."),
    (with_labels("binary_crossentropy", [[0, 1, 1]] * 9, "relu"), ValueError, "BinaryCrossentropy: expected probabilities, received the output of relu. Hint: end in a sigmoid"),
    (with_labels("sparse_categorical_crossentropy", [0, 1], "sigmoid"), ValueError, "received the output of sigmoid. Hint: end in a softmax"),
    (lambda: classifier("softmax", "mse", 1).fit(X, Y, verbose=0), ValueError, "Sequential: expected a softmax over several outputs, received one, whose softmax is always 1. Hint: use sigmoid."),
    (lambda: classifier(loss=[["mse"]]), TypeError, "expected a loss, its name or a function of (y_true, y_pred), received ['mse']"),
    (lambda: classifier("sigmoid", "binary_crossentropy").fit(X, np.ones((50, 3)), class_weight={0: 2.0}, verbose=0), ValueError, "fit class_weight: expected targets whose rows sum to 1"),
    (lambda: classifier().fit(X, IDS, class_weight={3: 2.0}, verbose=0), ValueError, "fit class_weight: expected classes from 0 to 2, received 3"),
    (lambda: regression().get_layer("dens"), ValueError, "Hint: did you mean 'dense'?"),
    (lambda: Sequential([Dense(1)]).output_shape, ValueError, "Sequential: expected a model that is built"),
    (lambda: Sequential([Input((2,), dtype="int64"), Activation("relu")]).predict([[1.0, 2.5]]), ValueError, "predict: expected x to be whole and in the range of int64, received 2.5"),
    (softmax_twice, ValueError, "SparseCategoricalCrossentropy: expected logits, because of from_logits=True, received the probabilities of a last softmax"),
    (lambda: Sequential([Dense(1)]).fit(X, Y), RuntimeError, "Sequential fit: expected a compiled model"),
    (lambda: Sequential([Dense(1)]).evaluate(X, Y), RuntimeError, "Sequential evaluate: expected a compiled model"),
    (lambda: regression().predict(X, batch_size=0), ValueError, "predict: expected batch_size"),
    (lambda: regression().evaluate(X, Y, batch_size=0), ValueError, "evaluate: expected batch_size"),
    (lambda: regression().predict(with_at(X, np.nan)), ValueError, "predict: expected x of finite numbers"),
    (lambda: regression("adm"), ValueError, "did you mean 'adam'?"),
    (lambda: regression(metrics=["acuracy"]), ValueError, "did you mean 'accuracy'?"),
    (lambda: regression(metrics=["mse", "mse"]), ValueError, "compile: expected metrics with different names, received mse, mse"),
    (lambda: classifier(loss="sparse_categorical_crosentropy"), ValueError, "did you mean 'sparse_categorical_crossentropy'?"),
    (lambda: classifier(loss=losses.MeanSquaredError(reduction="none")), ValueError, "compile: expected a loss that is reduced to one number"),
    (lambda: Sequential([Dense]), TypeError, "Sequential add: expected a layer, received <class"),
    (lambda: Sequential([Dense(1), Input((2,))]), ValueError, "Sequential add: expected Input as the first layer"),
    (lambda: Sequential([Dense(1, name="a"), Dense(1, name="a")]), ValueError, "expected layers with different names, received a second 'a'"),
    (lambda: Sequential()(tg.zeros((1, 2))), ValueError, "Sequential: expected at least one layer, received none"),
    (lambda: Sequential([Input((2,)), Dense(3), Reshape((2,), name="r")]), ShapeError, "Sequential[1] Reshape 'r': expected rows that can be reshaped to (2,), received shape (2, 3)"),
    (lambda: Sequential([Dense(1)]).save("never"), ValueError, "Sequential save: expected a model that is built"),
])  # fmt: skip
def test_refused(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)


def test_the_error_of_the_design():
    model = Sequential([Dense(4), Dense(4), Dense(3, name="head")])
    model(tg.zeros((8, 4)))
    model.layers[2].kernel = tg.zeros((3, 3))
    with pytest.raises(ShapeError) as caught:
        model(tg.zeros((8, 4)))
    assert str(caught.value) == (
        "Sequential[2] Dense 'head': expected 3 input features, received shape (8, 4). "
        "Hint: build it with Dense(..., input_shape=(4,))."
    )


def test_thawing_without_compiling_again_raises():
    model = regression()
    model.layers[0].trainable = False
    model.compile("sgd", "mse")
    frozen = model.layers[0].get_weights()
    model.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(model.layers[0].get_weights()[0], frozen[0])
    model.trainable = True
    with pytest.raises(ValueError, match="after changing trainable, compile again"):
        model.fit(X, Y, verbose=0)
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    assert (model.layers[0].get_weights()[0] != frozen[0]).any()


def test_compiling_again_frees_the_parameters():
    model, first = regression(), SGD(0.1)
    model.compile(first, "mse")
    model.fit(X, Y, verbose=0)
    model.compile(SGD(0.2), "mse")
    model.fit(X, Y, verbose=0)
    assert first.parameters == []


def test_freezing_and_compiling_with_the_same_optimizer():
    optimizer = Adam()
    model = regression(optimizer)
    model.fit(X, Y, verbose=0)
    model.layers[0].trainable = False
    with pytest.warns(UserWarning, match="compile: Adam begins anew"):
        model.compile(optimizer, "mse")
    model.fit(X, Y, verbose=0)
    assert len(optimizer.parameters) == 2


def test_compiling_again_with_the_same_optimizer_goes_on():
    weights = []
    for again in (False, True):
        tg.seed(0)
        optimizer = SGD(optimizers.schedules.InverseTimeDecay(0.1, 1, 1.0), momentum=0.9)
        model = regression()
        model.compile(optimizer, "mse")
        first, *rest = model.layers
        rest = [p for layer in rest for p in layer.trainable_weights]
        optimizer.build([{"params": first.trainable_weights, "rate": 0.1}, {"params": rest}])
        model.fit(X, Y, verbose=0)
        if again:
            model.compile(optimizer, "mse")
        model.fit(X, Y, verbose=0)
        weights.append(model.get_weights())
    np.testing.assert_equal(weights[0], weights[1])


@pytest.mark.parametrize(
    "wrong", [{"loss": "msee"}, {"metrics": ["acuracy"]}, {"optimizer": "adm"}, {"metrics": ["mae", "mae"]}]
)
def test_a_compile_that_fails_changes_nothing(wrong):
    model = regression(metrics=["mae"])
    model.fit(X, Y, verbose=0)
    before, steps = (model.optimizer, model.loss, model.metrics), model.optimizer.iterations
    with pytest.raises(ValueError, match="compile: expected"):
        model.compile(**({"optimizer": "adam", "loss": "mae"} | wrong))
    assert (model.optimizer, model.loss, model.metrics) == before
    assert model.optimizer.iterations == steps
    model.fit(X, Y, verbose=0)
    fresh = Tower()
    with pytest.raises(ValueError, match="compile: expected"):
        fresh.compile(**({"optimizer": "adam", "loss": "mae"} | wrong))
    with pytest.raises(RuntimeError, match="expected a compiled model"):
        fresh.fit(X, Y)


class Tower(Model):
    def __init__(self):
        super().__init__()
        self.blocks = [Dense(4), Dense(2)]

    def call(self, x):
        return self.blocks[1](self.blocks[0](x))


# Interruption


class Interrupt(Callback):
    def __init__(self, epoch, batch):
        self.at = (epoch, batch)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            raise KeyboardInterrupt


def test_an_interrupt_comes_through_and_leaves_all_usable():
    model = regression()
    before = weights(model)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, epochs=5, callbacks=Interrupt(2, 1), verbose=0)
    assert model.history.epoch == [0, 1]
    assert len(model.history.history["loss"]) == 2
    assert (weights(model) != before).any()
    assert model.fit(X, Y, epochs=3, initial_epoch=2, verbose=0).epoch == [2]


def test_gradients_left_by_an_interrupt_do_not_count():
    model, other = regression(), regression()
    other.set_weights(model.get_weights())
    for p in model.parameters():
        p.grad = tg.full(p.shape, 1e3)
    for m in (model, other):
        m.train_on_batch(X, Y)
    np.testing.assert_array_equal(weights(model), weights(other))


# A model of one's own


def test_subclass():
    class Residual(Model):
        def __init__(self):
            super().__init__()
            self.first, self.last = Dense(3, activation="tanh"), Dense(1)

        def call(self, x):
            return self.last(x + self.first(x))

    model = Residual()
    model.compile(Adam(0.05), "mse", metrics=["mae"])
    history = model.fit(X, Y, epochs=30, verbose=0)
    assert history.history["loss"][-1] < 0.1 * history.history["loss"][0]
    lines = []
    model.summary(print_fn=lines.append)
    assert "(Dense)" in lines[0]


def test_all_frozen_has_nothing_to_train():
    model = regression()
    model.trainable = False
    with pytest.raises(ValueError, match="Sequential fit: expected a parameter to train, received a model all fr"):
        model.fit(X, Y, verbose=0)
    with pytest.raises(GradientError):
        model(tg.tensor(X)).sum().backward()


# Summary


def test_summary(capsys):
    regression().summary()
    assert capsys.readouterr().out == (
        "Model: Sequential\n"
        "----------------------------------------------------------\n"
        "Layer (type)     Output shape  Parameters  Memory  Per row\n"
        "----------------------------------------------------------\n"
        "dense (Dense)    (None, 4)             16    64 B     16 B\n"
        "dense_1 (Dense)  (None, 1)              5    20 B      4 B\n"
        "----------------------------------------------------------\n"
        "Parameters: 21 (trainable 21, frozen 0, buffers 0)\n"
        "Memory: 84 B of parameters, 20 B of outputs per row\n"
    )
    Sequential([Dense(2, name="head")], name="mine").summary()
    out = capsys.readouterr().out
    assert "Model: mine\n" in out
    assert "head (Dense)  ?                      ?" in out
    assert "Not built yet" in out


# CUDA


@pytest.mark.gpu
def test_training_on_cuda_as_on_the_cpu():
    found = []
    for device in ("cpu", "cuda"):
        tg.seed(0)
        model = Sequential([Input((3,)), Dense(4, activation="relu"), Dropout(0.2), Dense(3, activation="softmax")])
        model.compile(Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.to(device)
        history = model.fit(X[:20], IDS[:20], epochs=2, batch_size=8, verbose=0, validation_split=0.2)
        found.append((weights(model), history.history, model.predict(X[:5])))
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found[1][2], found[0][2], rtol=1e-4, atol=1e-6)
    for name, values in found[0][1].items():
        np.testing.assert_allclose(found[1][1][name], values, rtol=1e-4)


@pytest.mark.gpu
def test_a_compiled_model_moves_with_its_optimizer():
    model = regression(Adam(0.01))
    model.fit(X, Y, verbose=0)
    model.to("cuda")
    assert {str(t.device) for state in model.optimizer.states for t in state.values()} == {"cuda:0"}
    model.fit(X, Y, verbose=0)
    assert isinstance(model.predict(X), np.ndarray)
    model.to("cpu")
    model.fit(X, Y, verbose=0)


@pytest.mark.gpu
def test_the_training_loop_does_not_wait_for_the_device():
    import emugpu

    model = classifier()
    model.to("cuda")
    model.fit(X, IDS, verbose=0)  # compiles the kernels
    copies = []
    for epochs in (1, 3):
        with emugpu.count_launches() as counts:
            model.fit(X, IDS, epochs=epochs, batch_size=10, verbose=0)
        copies.append(len(counts.device_to_host))
    per_epoch = (copies[1] - copies[0]) / 2
    assert per_epoch <= 3  # the loss and the metrics at the end of each epoch, and none of the five batches


def test_a_changed_loss_is_recorded_anew_and_an_unchanged_one_is_not():
    loss, traced = losses.SparseCategoricalCrossentropy(), []

    class Look(Layer):
        def call(self, x):
            traced.append(1)
            return x

    model = Sequential([Look(), Dense(3, activation="softmax")])
    model.compile("sgd", loss)
    model.fit(X, IDS, batch_size=25, verbose=0)
    before = len(traced)
    gc.collect()
    model.fit(X, IDS, batch_size=25, verbose=0)
    assert len(traced) == before
    loss.ignore_class = 1
    model.fit(X, IDS, batch_size=25, verbose=0)
    assert len(traced) > before


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("apart", [False, True], ids=["together", "one given another array"])
def test_a_copy_goes_on_as_the_model_would(jit, apart):
    def weights(model):
        return [w.copy() for w in model.get_weights()]

    model = Sequential([Dense(3, activation="tanh", input_shape=(2,)), Dense(1)])
    model.compile("adam", "mse", metrics=["mae"], jit=jit)
    x = np.random.default_rng(0).normal(size=(8, 2))
    y = x[:, :1] * 2
    model.fit(x, y, verbose=0, shuffle=False)
    if apart:
        model.layers[0].bias.data = model.layers[0].bias.data.copy()
    other, before = copy.deepcopy(model), weights(model)
    found = other.fit(x, y, epochs=3, verbose=0, shuffle=False).history
    assert all(map(np.array_equal, weights(model), before))
    assert not any(map(np.array_equal, weights(other), before))
    assert model.fit(x, y, epochs=3, verbose=0, shuffle=False).history == found
    assert all(map(np.array_equal, weights(model), weights(other)))


def test_layers_that_are_not_in_a_list():
    with pytest.raises(
        TypeError, match=r"Sequential: expected name to be a text, .* Hint: give several layers in a li"
    ):
        Sequential(Dense(3), Dense(2))


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("optimizer", ["sgd", "lbfgs"])
def test_a_loss_that_does_not_depend_on_the_weights(optimizer, jit):
    model = Sequential([Input((3,)), Dense(1)])
    model.compile(optimizer, lambda y_true, y_pred: tg.mean((y_pred.detach() - y_true) ** 2), jit=jit)
    with pytest.raises(
        GradientError, match=r"^Sequential fit: expected a loss that depends on the weights to train, rec"
    ):
        model.fit(np.ones((4, 3)), np.ones((4, 1)), verbose=0)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of NumPy, where no compiled loop overflows in silence
def test_a_loss_that_is_not_finite_is_warned_of_once():
    def fit(rate, **options):
        tg.seed(0)
        model = Sequential([Input((3,)), Dense(1, kernel_initializer="ones")])
        model.compile(tg.optimizers.SGD(rate), "mse")
        return model.fit(np.ones((4, 3)), np.zeros(4), epochs=4, verbose=0, **options).history["loss"]

    text = r"^Sequential fit: expected a loss that is finite, received inf in epoch 2. Hint: choose a smaller learning"
    with pytest.warns(UserWarning, match=text) as caught:
        losses = fit(1e20)
    (warned,) = [warning for warning in caught if warning.category is UserWarning]
    assert warned.filename == __file__
    assert losses[0] == 9.0
    assert not np.isfinite(losses[1:]).any()
    assert len(fit(1e20, callbacks=tg.callbacks.TerminateOnNaN())) == 2
    fit(0.01)
