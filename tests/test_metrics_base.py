"""What metrics have in common: states and results, names, weights in fit, bad input. (Their values: test_metrics.py.)"""

# ruff: noqa: E501 -- the tables hold whole error texts, a case a line

import copy

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import losses, metrics
from tinygrad_edu.errors import ShapeError
from tinygrad_edu.layers import Dense, Input
from tinygrad_edu.models import Model, Sequential
from tinygrad_edu.optimizers import SGD

RANDOM = np.random.default_rng(0)


def test_sums_are_exact_in_float32():
    metric = metrics.Mean()
    for _ in range(3):
        metric.update_state(np.full(2_000_000, 0.1, "float32"))
    assert metric.result() == pytest.approx(float(np.float32(0.1)), rel=1e-12)
    metric.reset_state()
    for _ in range(3):  # the third would be lost in float32
        metric.update_state(np.float32(1.0), 2.0**24)
        metric.update_state(np.float32(0.0), 1.0)
    assert metric.result() == 2.0**24 / (2.0**24 + 1)


def test_mean_of_numbers_and_arrays():
    metric = metrics.Mean()
    metric.update_state([1.0, 2.0, 3.0])
    metric.update_state([10.0], sample_weight=[0.5])
    assert metric.result() == pytest.approx(11 / 3.5)
    metric.reset_state()
    metric.update_state(2.0, 3)
    metric.update_state(6.0, 1)
    assert metric.result() == 3.0


@pytest.mark.parametrize("weighted", [False, True])
def test_ignore_class(weighted):
    ids = np.array([0, -1, 1, -1])
    scores = np.array([[0.9, 0.1], [0.5, 0.5], [0.9, 0.1], [0.5, 0.5]])
    weights = np.array([3.0, 5.0, 1.0, 7.0]) if weighted else None
    metric = metrics.SparseCategoricalAccuracy(ignore_class=-1)
    metric.update_state(ids, scores, weights)
    assert metric.result() == (0.75 if weighted else 0.5)


def test_ignored_rows_that_would_be_hits():
    metric = metrics.SparseCategoricalAccuracy(ignore_class=0)
    metric.update_state([0, 0, 1, 1], [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.1]])
    assert metric.result() == 0.5
    metric.update_state([[0], [1]], [[0.9, 0.1], [0.1, 0.9]], [5.0, 2.0])
    assert metric.result() == 0.75


@pytest.mark.parametrize("dtype", ["uint8", "bool"])
def test_differences_do_not_wrap(dtype):
    for make in (metrics.MeanAbsoluteError, metrics.MeanSquaredError):
        metric = make()
        metric.update_state(np.array([1, 0], dtype), np.array([0, 1], dtype))
        assert metric.result() == 1.0


def test_what_the_function_of_a_metric_may_see_and_return():
    loss, p = losses.MeanSquaredError(), np.array([[1.0], [2.0], [4.0]])
    own = metrics.get(lambda y, p: tg.absolute(y - p), loss, 1)
    own.update_state(np.array([1.0, 2.0, 1.0]), p)
    assert own.result() == 1.0
    with pytest.raises(ShapeError, match="expected targets of the shape"):
        own.update_state(np.zeros((3, 2)), p)
    with pytest.raises(ShapeError, match="expected the function to return one number"):
        metrics.get(lambda y, p: tg.sum(p, axis=0), loss, 1).update_state(p, p)
    with pytest.raises(TypeError, match="expected numbers from the function"):
        metrics.get(lambda y, p: "a", loss, 1).update_state(p, p)


@pytest.mark.parametrize(("loss", "outputs", "kind", "threshold"), [
    (losses.SparseCategoricalCrossentropy(), 3, metrics.SparseCategoricalAccuracy, None),
    (losses.CategoricalCrossentropy(), 3, metrics.CategoricalAccuracy, None),
    (losses.BinaryCrossentropy(), 1, metrics.BinaryAccuracy, 0.5),
    (losses.BinaryCrossentropy(), 3, metrics.BinaryAccuracy, 0.5),
    (losses.BinaryCrossentropy(from_logits=True), 1, metrics.BinaryAccuracy, 0.0),
    (losses.MeanSquaredError(), 1, metrics.BinaryAccuracy, 0.5),
    (losses.MeanSquaredError(), 3, metrics.CategoricalAccuracy, None),
    (losses.Hinge(), 1, metrics.SignAccuracy, 0.0),
    (losses.SquaredHinge(), 3, metrics.CategoricalAccuracy, None),
])  # fmt: skip
def test_which_accuracy(loss, outputs, kind, threshold):
    for name in ("accuracy", "acc"):
        metric = metrics.get(name, loss, outputs)
        assert type(metric) is kind
        assert metric.name == name
        assert getattr(metric, "threshold", None) == threshold


@pytest.mark.parametrize("jit", [True, False])
def test_losses_as_metrics(jit):
    model = compiled(metrics=[losses.MeanAbsoluteError(), losses.Huber(name="smooth")], jit=jit)
    found = model.evaluate(X, Y, batch_size=16, verbose=0, return_dict=True)
    errors = np.abs(X - Y).astype("float64")  # none above the delta of 1
    assert found["mean_absolute_error"] == pytest.approx(errors.mean(), rel=1e-6)
    assert found["smooth"] == pytest.approx((errors**2).mean() / 2, rel=1e-6)


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("negative", [-1.0, 0.0])
def test_accuracy_beside_a_hinge_loss_is_that_of_the_sign(negative, jit):
    x = np.array([[0.2], [0.7], [-0.3], [-2.0], [0.1]])
    y = np.array([1.0, 1.0, negative, negative, negative])
    model = Sequential([Input((1,)), Dense(1, kernel_initializer="ones")])
    for loss in ("hinge", "squared_hinge"):
        model.compile(SGD(0.0), loss, metrics=["accuracy"], jit=jit)
        assert model.evaluate(x, y, batch_size=2, verbose=0)[1] == pytest.approx(0.8)


NAMES = {
    "AUC": metrics.AUC, "MSE": metrics.MeanSquaredError, "bce": metrics.BinaryCrossentropy, "BCE": metrics.BinaryCrossentropy,
    "mape": metrics.MeanAbsolutePercentageError, "MSLE": metrics.MeanSquaredLogarithmicError, "auc": metrics.AUC,
    "Precision": metrics.Precision, "precision": metrics.Precision, "f1_score": metrics.F1Score, "r2_score": metrics.R2Score,
    "TopKCategoricalAccuracy": metrics.TopKCategoricalAccuracy, "f_beta_score": metrics.FBetaScore, "log_cosh_error": metrics.LogCoshError,
    "sparse_top_k_categorical_accuracy": metrics.SparseTopKCategoricalAccuracy, "binary_io_u": metrics.BinaryIoU,
    "root_mean_squared_error": metrics.RootMeanSquaredError, "confusion_matrix": metrics.ConfusionMatrix,
    "perplexity": metrics.Perplexity, "Accuracy": metrics.BinaryAccuracy, "ce": metrics.BinaryCrossentropy,
}  # fmt: skip


def test_names():
    loss = losses.MeanSquaredError()
    for name, kind in {**metrics.METRICS, **NAMES}.items():
        metric = metrics.get(name, loss, 1)
        assert type(metric) is kind
        assert metric.name == name
    assert metrics.SparseTopKCategoricalAccuracy().name == "sparse_top_k_categorical_accuracy"
    assert metrics.MeanIoU(2).name == "mean_io_u"
    assert metrics.LogCoshError().name == "logcosh"
    assert metrics.get("confusion_matrix", loss, 1).num_classes == 2
    assert metrics.get("confusion_matrix", loss, 5).num_classes == 5


SPARSE = losses.SparseCategoricalCrossentropy


@pytest.mark.parametrize(("loss", "outputs", "kind"), [
    (SPARSE(ignore_class=1), 3, metrics.SparseCategoricalCrossentropy),
    (losses.CategoricalCrossentropy(), 3, metrics.CategoricalCrossentropy),
    (losses.BinaryCrossentropy(from_logits=True), 3, metrics.BinaryCrossentropy),
    (losses.MeanSquaredError(), 1, metrics.BinaryCrossentropy),
])  # fmt: skip
def test_which_crossentropy(loss, outputs, kind):
    for name in ("crossentropy", "ce"):
        metric = metrics.get(name, loss, outputs)
        assert type(metric) is kind
        assert metric.name == name
        assert getattr(metric, "loss", metric).from_logits is loss.from_logits
        assert getattr(metric, "ignore_class", None) == getattr(loss, "ignore_class", None)


def test_metrics_of_logits():
    y, logits = RANDOM.integers(0, 2, 40), RANDOM.normal(size=(40, 1))
    binary = losses.BinaryCrossentropy(from_logits=True)
    p = 1 / (1 + np.exp(-logits))
    for name in metrics.METRICS:
        if metrics.METRICS[name] in (
            metrics.CategoricalCrossentropy,
            metrics.SparseCategoricalCrossentropy,
            metrics.Perplexity,
            metrics.KLDivergence,
        ):
            continue
        of_logits, of_probabilities = metrics.get(name, binary, 1), metrics.get(name, losses.BinaryCrossentropy(), 1)
        if any(hasattr(of_logits, part) for part in ("threshold", "thresholds")) or "crossentropy" in name:
            np.testing.assert_allclose(of_logits(y, logits), of_probabilities(y, p), rtol=1e-12, err_msg=name)
    ids, logits = RANDOM.integers(0, 3, 40), RANDOM.normal(size=(40, 3))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    for name in ("perplexity", "ce", "accuracy", "sparse_top_k_categorical_accuracy", "confusion_matrix"):
        pair = [metrics.get(name, SPARSE(from_logits=flag), 3)(ids, x) for flag, x in ((True, logits), (False, p))]
        np.testing.assert_allclose(*pair, rtol=1e-12, err_msg=name)


def test_functions():
    loss = losses.MeanSquaredError()
    own = metrics.get(lambda y, p: tg.absolute(y - p), loss, 1)
    own.update_state([1.0, 2.0], [1.0, 5.0])
    assert own.result() == 1.5
    one = metrics.get(lambda y, p: tg.max(tg.absolute(y - p)), loss, 1)
    one.update_state([1.0, 2.0], [1.0, 5.0])
    assert one.result() == 3.0

    def scaled(y, p, factor):
        return factor * tg.absolute(y - p)

    wrapper = metrics.MeanMetricWrapper(scaled, factor=3.0)
    assert wrapper([1.0, 2.0], [1.0, 5.0]) == 4.5
    assert wrapper.name == "scaled"
    assert metrics.MeanMetricWrapper(scaled, "other", factor=3.0).name == "other"


def test_a_loss_as_a_metric():
    metric = metrics.LossMetric(losses.MeanAbsoluteError(), "error")
    assert metric([[1.0], [3.0]], [[1.0], [1.0]], [1.0, 3.0]) == 1.5
    assert metric.name == "error"


# What a user's own metric is made of


class Moments(metrics.Metric):
    """Keras's way, with a state in a list."""

    def __init__(self, name="moments", **options):
        super().__init__(name=name, **options)
        self.both = [self.add_weight(name=f"power_{i}", shape=(3,), initializer="zeros") for i in (1, 2)]
        self.count = self.add_weight(name="count", initializer="ones")

    def update_state(self, y_true, y_pred, sample_weight=None):
        for i, total in enumerate(self.both):
            total.assign_(total + tg.sum(y_pred.astype("float64") ** (i + 1), axis=0))
        self.count.assign_(self.count + float(y_pred.shape[0]))

    def result(self):
        first, second = (total / self.count for total in self.both)
        return second - first * first


def test_a_metric_of_ones_own():
    metric = Moments()
    assert [t.shape for t in metric.variables] == [(3,), (3,), ()]
    assert metric.count.item() == 1.0
    metric.reset_state()
    assert metric.count.item() == 0.0  # as in Keras
    x = RANDOM.normal(size=(10, 3))
    metric.update_state(None, tg.tensor(x[:4]))
    then = metric.later()
    metric.update_state(None, tg.tensor(x[4:]))
    now = metric.later()
    metric.reset_state()
    np.testing.assert_allclose(then(), x[:4].var(axis=0))
    np.testing.assert_allclose(now(), x.var(axis=0))
    assert not metric.count.item()
    assert isinstance(now(), np.ndarray)
    assert isinstance(metric.both[0].data, np.ndarray)


def test_results_later_are_those_of_then():
    for make in (metrics.MeanSquaredError, metrics.RootMeanSquaredError, metrics.AUC, metrics.R2Score):
        metric = make()
        metric.update_state([0.0, 1.0, 1.0], [0.1, 0.3, 0.9])
        then, wanted = metric.later(), metric.result()
        metric.update_state([0.0, 1.0], [1.0, 0.5])
        assert metric.result() != wanted
        assert then() == wanted


def test_a_state_that_is_back_after_a_failed_result():
    class Failing(metrics.MeanSquaredError):
        def result(self):
            raise KeyError(self.total.item())

    metric = Failing()
    metric.update_state([1.0], [3.0])
    data = metric.total.data
    with pytest.raises(KeyError, match=r"4\.0"):
        metric.later()()
    assert metric.total.data is data


def test_copies_have_states_of_their_own():
    metric = metrics.F1Score(threshold=0.5)
    metric.update_state([[1, 0]], [[0.9, 0.2]])
    other = copy.deepcopy(metric)
    other.update_state([[1, 1]], [[0.1, 0.2]])
    np.testing.assert_array_equal(metric.result(), [1.0, 0.0])
    np.testing.assert_allclose(other.result(), [2 / 3, 0.0])


@pytest.mark.parametrize("jit", [True, False])
def test_states_that_are_made_in_a_step(jit):
    class Own(Sequential):
        def __init__(self, *args):
            super().__init__(*args)
            self.held = [
                metrics.F1Score(threshold=0.5),
                metrics.AUC(multi_label=True),
                metrics.R2Score(None),
                Moments(),
            ]

        def train_step(self, data):
            x, y = data
            outputs = self(x, training=True)
            loss = self.compute_loss(x, y, outputs)
            self.optimizer.minimize(loss)
            for metric in self.held:
                metric.update_state(y, outputs)
            return {"loss": loss, **{metric.name: metric.result() for metric in self.held}}

    x, y = RANDOM.random((40, 3)).astype("float32"), RANDOM.integers(0, 2, (40, 3)).astype("float32")
    model = Own([Input((3,)), Dense(3, kernel_initializer="identity")])
    model.compile(SGD(0.0), "mse", jit=jit)
    history = model.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0).history
    for metric in model.held:
        alone = copy.deepcopy(metric)
        alone.reset_state()
        for first, last in ((0, 16), (16, 32), (32, 40)):
            alone.update_state(tg.tensor(y[first:last]), tg.tensor(x[first:last]))
        for epoch in range(2):
            wanted = np.asarray(tg.tensor(alone.result()).numpy() if isinstance(alone, Moments) else alone.result())
            np.testing.assert_allclose(history[metric.name][epoch], wanted, rtol=1e-6, err_msg=metric.name)


# Results that are arrays


def compiled(**options):
    model = Sequential([Input((3,)), Dense(3, kernel_initializer="identity", name="same")])
    model.compile(SGD(0.0), "mse", **options)
    return model


X, Y = RANDOM.random((50, 3)).astype("float32"), RANDOM.integers(0, 2, (50, 3)).astype("float32")
ROWS = RANDOM.random(50).astype("float32")


@pytest.mark.parametrize("jit", [True, False])
def test_arrays_in_logs(jit, capsys):
    seen = []

    class Look(tg.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(logs["f1_score"])

        def on_epoch_end(self, epoch, logs=None):
            seen.append((logs["f1_score"], logs["val_f1_score"]))

    f1 = metrics.F1Score(threshold=0.5)
    model = compiled(metrics=[f1, "mae", metrics.ConfusionMatrix(3, name="table"), Moments()], jit=jit)
    history = model.fit(
        X, Y, epochs=2, validation_data=(X[:9], Y[:9]), callbacks=Look(), shuffle=False, verbose=2
    ).history
    own = metrics.F1Score(threshold=0.5)
    np.testing.assert_allclose(seen[0], own(Y[:32], X[:32]), rtol=1e-12)
    np.testing.assert_allclose(seen[1], own(Y[32:], X[32:]), rtol=1e-12)
    np.testing.assert_array_equal(history["f1_score"], [seen[1]] * 2)
    np.testing.assert_array_equal(history["val_f1_score"], [seen[2][1]] * 2)
    assert all(type(value) is float for value in history["mae"])
    assert np.shape(history["table"]) == (2, 3, 3)
    line = capsys.readouterr().out.splitlines()[0]
    numbers = " ".join(f"{value:.4f}" for value in seen[1])
    assert f"f1_score: [{numbers}] - mae: 0." in line
    assert "table: [array (3, 3)] - moments: [0." in line
    loss, found, mae, table, moments = model.evaluate(X, Y, verbose=1)
    np.testing.assert_allclose(found, seen[1])
    assert f"f1_score: [{numbers}] - mae: {mae:.4f}" in capsys.readouterr().out
    assert table.sum() == 50
    np.testing.assert_allclose(moments, X.var(axis=0), rtol=1e-5)
    assert type(loss) is float
    found = model.evaluate(X, Y, return_dict=True)["f1_score"]
    np.testing.assert_array_equal(found, seen[1])
    np.testing.assert_array_equal(model.train_on_batch(X, Y)[1], seen[1])


# Weighted metrics


@pytest.mark.parametrize("jit", [True, False])
def test_weighted_metrics(jit):
    model = compiled(metrics=["mae"], weighted_metrics=["mae", "mse", Weighed()], jit=jit)
    errors, squares = abs(X - Y).mean(axis=1), ((X - Y) ** 2).mean(axis=1)
    wanted = {
        "mae": errors.mean(), "weighted_mae": np.average(errors, weights=ROWS),
        "mse": np.average(squares, weights=ROWS), "weighed": ROWS.sum(),
    }  # fmt: skip
    assert list(model.evaluate(X, Y, sample_weight=ROWS, return_dict=True)) == ["loss", *wanted]
    for found in (
        model.evaluate(X, Y, sample_weight=ROWS, return_dict=True),
        model.train_on_batch(X, Y, sample_weight=ROWS, return_dict=True),
        {name: values[1] for name, values in model.fit(X, Y, sample_weight=ROWS, epochs=2, verbose=0).history.items()},
    ):
        for name, value in wanted.items():
            assert found[name] == pytest.approx(value, rel=1e-5)
    found = model.evaluate(X, Y, return_dict=True)
    assert found["mae"] == found["weighted_mae"] == pytest.approx(errors.mean(), rel=1e-5)
    assert found["weighed"] == -2.0  # two batches
    assert len(model.metrics) == 5


class Weighed(metrics.Metric):
    """A user's own: the sum of the weights; -1 for a batch without."""

    def __init__(self, name=None):
        super().__init__(name)
        self.total = self.add_weight()

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.total.assign_(self.total + (-1.0 if sample_weight is None else tg.sum(sample_weight.astype("float64"))))

    def result(self):
        return self.total


@pytest.mark.parametrize("jit", [True, False])
def test_weights_of_classes(jit):
    ids = RANDOM.integers(0, 3, 50)
    model = Sequential([Input((3,)), Dense(3, kernel_initializer="identity"), tg.layers.Activation("softmax")])
    model.compile(
        SGD(0.0), "sparse_categorical_crossentropy", metrics=["accuracy"], weighted_metrics="accuracy", jit=jit
    )
    options = {"class_weight": {0: 2.0, 2: 0.5}, "verbose": 0}
    history = model.fit(X, ids, sample_weight=ROWS, validation_split=0.2, **options).history
    right, weights = X.argmax(axis=1) == ids, ROWS * np.array([2.0, 1.0, 0.5])[ids]
    assert history["accuracy"] == [pytest.approx(right[:40].mean())]
    assert history["weighted_accuracy"] == [pytest.approx(np.average(right[:40], weights=weights[:40]))]
    assert history["val_weighted_accuracy"] == [pytest.approx(np.average(right[40:], weights=ROWS[40:]))]
    model.compile(SGD(0.0), "sparse_categorical_crossentropy", weighted_metrics=["accuracy"], jit=jit)
    history = model.fit(X, ids, **options).history
    assert history["accuracy"] == [pytest.approx(np.average(right, weights=(weights / ROWS)))]


@pytest.mark.parametrize("jit", [True, False])
def test_weighted_metrics_of_a_step_of_ones_own(jit):
    class Own(Sequential):
        def train_step(self, data):
            return super().train_step(data)

    model = Own([Input((3,)), Dense(3, kernel_initializer="identity")])
    model.compile(SGD(0.0), "mse", metrics=["mae"], weighted_metrics=["mae"], jit=jit)
    history = model.fit(X, Y, sample_weight=ROWS, verbose=0).history
    errors = abs(X - Y).mean(axis=1)
    assert history["mae"] == [pytest.approx(errors.mean())]
    assert history["weighted_mae"] == [pytest.approx(np.average(errors, weights=ROWS))]


class OwnLoss(Sequential):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return tg.mean(tg.square(y_pred if y is None else y_pred - y))


@pytest.mark.parametrize("jit", [False, True])
def test_metrics_beside_a_loss_of_ones_own(jit):
    model = OwnLoss([Dense(1, input_dim=3)])
    model.compile(SGD(0.0), metrics=["mae", "mse"], weighted_metrics=["cosine_similarity"], jit=jit)
    y = RANDOM.normal(size=(50, 1)).astype("float32")
    history = model.fit(X, y, batch_size=20, validation_data=(X, y), verbose=0).history
    error = model.predict(X, verbose=0) - y
    for name, value in ("loss", (error**2).mean()), ("mse", (error**2).mean()), ("mae", abs(error).mean()):
        for one in (name, f"val_{name}"):
            assert history[one] == [pytest.approx(value, rel=1e-5)]
    assert "cosine_similarity" in history
    with pytest.raises(ValueError, match="compute_metrics: expected targets y for the metrics of compile, received No"):
        model.evaluate(X, verbose=0)
    with pytest.raises(ValueError, match="expected a loss, by which the metric 'accuracy' is chosen, received none"):
        model.compile("sgd", metrics=["accuracy"])
    for penalty in (None, "l2"):
        model = Sequential([Dense(1, input_dim=3, kernel_regularizer=penalty)])
        model.compile("sgd", metrics=["mae"])
        with pytest.raises(RuntimeError, match="expected a loss, given to compile, or a train_step, received none"):
            model.fit(X, y, verbose=0)


@pytest.mark.parametrize("form", [list, dict])
def test_weighted_metrics_of_several_outputs(form):
    x = Input((3,))
    outputs = [Dense(3, kernel_initializer="identity", name=name)(x) for name in "pq"]
    given, weights = [["mae"], ["mse"]], [ROWS, ROWS[::-1].copy()]
    if form is dict:
        given, weights = dict(zip("pq", given, strict=True)), dict(zip("pq", weights, strict=True))
    model = Model(x, outputs)
    model.compile(SGD(0.0), "mse", metrics=given, weighted_metrics=given)
    found = model.evaluate(X, [Y, Y] if form is list else {"p": Y, "q": Y}, sample_weight=weights, return_dict=True)
    errors, squares = abs(X - Y).mean(axis=1), ((X - Y) ** 2).mean(axis=1)
    assert list(found) == ["loss", "p_loss", "p_mae", "q_loss", "q_mse", "p_weighted_mae", "q_weighted_mse"]
    assert found["p_mae"] == pytest.approx(errors.mean(), rel=1e-5)
    assert found["p_weighted_mae"] == pytest.approx(np.average(errors, weights=ROWS), rel=1e-5)
    assert found["q_weighted_mse"] == pytest.approx(np.average(squares, weights=ROWS[::-1]), rel=1e-5)


# Values that cannot be


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize(("make", "received"), [
    (lambda: metrics.AUC(), "some outside"), (lambda: metrics.MeanIoU(2), "others"),
])  # fmt: skip
def test_results_in_a_step_of_ones_own(make, received, jit):
    class Own(Sequential):
        def test_step(self, data):
            metric.update_state(data[1], self(data[0]))
            return {"score": metric.result()}

    model = Own([Input((1,)), Dense(1, kernel_initializer="ones")])
    for wrong in (False, True, False):
        metric = make()
        model.compile("sgd", "mse", jit=jit)
        data = np.full((4, 1), 2.0 if wrong else 1.0), np.ones((4, 1))
        if wrong:
            with pytest.raises(ValueError, match=f"received {received}"):
                model.evaluate(*data, verbose=0)
        else:
            assert 0.0 <= model.evaluate(*data, verbose=0, return_dict=True)["score"] <= 1.0


def test_predictions_outside_of_the_probabilities():
    for p in (1.5, -0.1):
        metric = metrics.AUC()
        metric.update_state([0, 1], [0.5, p])
        with pytest.raises(
            ValueError, match=r"^auc: expected predictions in \[0, 1\], received some outside\. Hint: end in a"
        ):
            metric.result()
    metric = metrics.AUC(3)
    assert metric([0, 0, 1, 1], [-1e-7, 1.0, 0.7, 1.0 + 1e-7]) == pytest.approx(0.75)
    metric.update_state([1], [np.nan])
    assert np.isnan(metric.result())
    assert np.isnan(metrics.PrecisionAtRecall(0.5)([1, 0], [np.nan, 0.1]))
    assert metrics.Precision([0.1, 0.5])([1, 1], [np.nan, 0.3]).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("make", [lambda: metrics.ConfusionMatrix(2), lambda: metrics.IoU(2, [0])])
@pytest.mark.parametrize("wrong", [-1, 2, 0.5])
def test_ids_of_no_class(make, wrong):
    for y, p in ([0, wrong], [0, 1]), ([0, 1], [0, wrong]):
        if wrong != 0.5 or y[1] == 0.5:  # in predictions that is a probability, or else it is cut off
            metric = make()
            metric.update_state(y, p)
            with pytest.raises(ValueError, match=r": expected class ids from 0 to 1, received others\.$"):
                metric.result()
        metric = make()
        metric.update_state(y, p, [1.0, 0.0])
        metric.result()


OF_LABELS = [
    metrics.Precision, metrics.Recall, metrics.TruePositives, metrics.TrueNegatives, metrics.AUC,
    lambda: metrics.AUC(multi_label=True), lambda: metrics.RecallAtPrecision(0.5), lambda: metrics.F1Score(threshold=0.5),
    lambda: metrics.Precision(class_id=0),
]  # fmt: skip


@pytest.mark.parametrize("make", OF_LABELS)
@pytest.mark.parametrize("wrong", [-1, 2, 0.5, np.nan])
def test_labels_are_0_and_1(make, wrong):
    y, p = np.array([[0], [wrong], [1]]), np.array([[0.2], [0.9], [0.7]])
    metric = make()
    with pytest.raises(ValueError, match=rf": expected labels 0 and 1, received {wrong}(\.0)?\. Hint: \(y_true"):
        metric.update_state(y, p)
    if not np.isnan(wrong):
        metric.update_state(y, p, [1.0, 0.0, 1.0])
        np.testing.assert_array_equal(metric.result(), make()([[0], [0], [1]], p, [1.0, 0.0, 1.0]))
        np.testing.assert_array_equal(make()(y == 1, p, [1.0, 2.0, 1.0]), make()((y == 1) * 1, p, [1.0, 2.0, 1.0]))


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("make", OF_LABELS)
def test_labels_of_fit_are_0_and_1(make, jit):
    model = Sequential([Dense(1, activation="sigmoid", input_dim=3)])
    model.compile("sgd", "hinge", metrics=[make()], jit=jit)
    y = np.where(np.arange(50) % 2, 1, -1)
    with pytest.raises(ValueError, match="expected labels 0 and 1, received others"):
        model.fit(X, y, batch_size=20, verbose=0)
    model.fit(X, (y + 1) / 2, batch_size=20, verbose=0)


def test_an_id_of_no_class_in_fit_makes_nan():
    model = compiled(metrics=["sparse_categorical_crossentropy"])
    model.compile(SGD(0.0), lambda y, p: tg.mean(p, axis=-1), metrics=["sparse_categorical_crossentropy"])
    assert np.isnan(model.evaluate(X, np.full(50, 3))[1])
    with pytest.raises(ValueError, match="expected class ids from 0 to 2, received 3"):
        metrics.SparseCategoricalCrossentropy()([3], [[0.5, 0.25, 0.25]])


@pytest.mark.parametrize("dtype", ["float16", "int64", "bool"])
def test_predictions_that_are_no_float32(dtype):
    y, p = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1], dtype)
    for make in (metrics.AUC, lambda: metrics.AUC(thresholds=[0.2, 0.9]), lambda: metrics.PrecisionAtRecall(0.5)):
        assert make()(y, p) == make()(y, p.astype("float64"))
    np.testing.assert_array_equal(metrics.Precision([0.2, 0.7])(y, p), [2 / 3, 2 / 3])
    fine = (np.arange(512) / 511).astype("float16")
    assert metrics.AUC()(np.arange(512) % 2, fine) == metrics.AUC()(np.arange(512) % 2, fine.astype("float32"))


def test_a_class_that_the_loss_ignores_by_name():
    loss = SPARSE(ignore_class=-1)
    ids, scores = [0, -1, 1], [[0.5, 0.5], [0.9, 0.1], [0.25, 0.75]]
    mean = -np.log([0.5, 0.75]).mean()
    assert metrics.get("sparse_categorical_accuracy", loss, 2)(ids, scores) == 1.0
    assert metrics.get("sparse_categorical_crossentropy", loss, 2)(ids, scores) == pytest.approx(mean, rel=1e-12)
    assert metrics.get("perplexity", loss, 2)(ids, scores) == pytest.approx(np.exp(mean), rel=1e-12)


def test_top_k_as_keras_counts_ties():
    scores = [[0.3, 0.3, 0.3, 0.1]]
    assert [metrics.SparseTopKCategoricalAccuracy(k)([2], scores) for k in (1, 2)] == [1.0, 1.0]
    assert metrics.SparseTopKCategoricalAccuracy(3)([3], scores) == 0.0
    assert metrics.SparseTopKCategoricalAccuracy(9)([4], scores) == 0.0
    assert metrics.SparseTopKCategoricalAccuracy(1)([1], [[0.1, np.nan]]) == 0.0


def test_r2_of_far_targets():
    y = 1e8 + RANDOM.normal(size=(1000, 1))
    p = y + 0.1 * RANDOM.normal(size=(1000, 1))
    metric = metrics.R2Score()
    for first in range(0, 1000, 300):
        metric.update_state(y[first : first + 300], p[first : first + 300])
    assert metric.result() == pytest.approx(1 - ((y - p) ** 2).sum() / ((y - y.mean()) ** 2).sum(), rel=1e-6)
    assert metrics.R2Score()([1.0, 1.0], [1.0, 1.0]) == 1.0
    assert metrics.R2Score()([1.0, 1.0], [1.0, 2.0]) == 0.0
    assert metrics.R2Score(num_regressors=2)([1.0, 2.0, 3.0], [1.0, 2.0, 4.0]) == 0.5  # too few rows


def test_what_a_confusion_matrix_takes():
    wanted = [[1.0, 1.0], [0.0, 2.0]]
    y, p = np.array([0, 0, 1, 1]), np.array([0.2, 0.7, 0.6, 0.9])
    one_hot, scores = np.eye(2)[y], np.stack([1 - p, p], axis=1)
    for targets in (y, y[:, None], y.astype(float), one_hot):
        np.testing.assert_array_equal(metrics.ConfusionMatrix(2)(targets, scores), wanted)
    for predictions in (p, p[:, None], (p > 0.5).astype(int), (p > 0.5)[:, None]):
        np.testing.assert_array_equal(metrics.ConfusionMatrix(2)(y, predictions), wanted)
        np.testing.assert_array_equal(metrics.ConfusionMatrix(2)(y[:, None], predictions), wanted)


MSE, BINARY_LOGITS, SOFTMAX_LOGITS = (
    losses.MeanSquaredError(),
    losses.BinaryCrossentropy(True),
    losses.CategoricalCrossentropy(True),
)
TWICE = metrics.Mean("twice")
ERRORS = [
    (lambda: metrics.get("acuracy", MSE, 1), ValueError, "did you mean 'accuracy'?"),
    (lambda: metrics.get("mean_io_u", MSE, 1), ValueError, "compile: expected metric to be one of 'acc', 'accuracy', 'auc',"),
    (lambda: metrics.get(metrics.Mean, MSE, 1), TypeError, "expected a metric, its name or a function"),
    (lambda: metrics.get(metrics.AUC, MSE, 1), TypeError, "Hint: write AUC()."),
    (lambda: metrics.get("auc", SOFTMAX_LOGITS, 3), ValueError, "compile: expected probabilities for the metric 'auc', received the logits of a softmax. Hint: end the model in a softmax, without from_logits."),
    (lambda: metrics.get("precision", SOFTMAX_LOGITS, 3), ValueError, "compile: expected probabilities for the metric 'precision', received the logits of a softmax. Hint: end the model in a softmax, without from_logits."),
    (lambda: metrics.get("perplexity", BINARY_LOGITS, 3), ValueError, "compile: expected probabilities for the metric 'perplexity', received the logits of a sigmoid. Hint: end the model in a sigmoid, without from_logits."),
    (lambda: metrics.get("kl_divergence", SOFTMAX_LOGITS, 3), ValueError, "compile: expected probabilities for the metric 'kl_divergence', received the logits of a softmax. Hint: end the model in a softmax, without from_logits."),
    (lambda: metrics.Hinge()([2.0], [0.5]), ValueError, "hinge: expected targets -1 and 1, or else 0 and 1, received 2.0."),
    (lambda: compiled(weighted_metrics=["mae", "mae"]), ValueError, "compile: expected metrics with different names, received mae, mae. Hint: leave one out, or make it with name=\"...\"."),
    (lambda: compiled(metrics=["recall", metrics.Recall(top_k=2)]), ValueError, "received recall, recall. Hint: leave one out, or make it with name="),
    (lambda: compiled(metrics=[TWICE], weighted_metrics=[TWICE]), ValueError, "compile: expected a metric either in metrics or in weighted_metrics, received 'twice' in both."),
    (lambda: compiled(weighted_metrics={"other": ["mae"]}), ValueError, "compile: expected each name in weighted_metrics to be one of 'same', received 'other'."),
    (lambda: metrics.MeanSquaredError().update_state(np.zeros((2, 2)), np.zeros((2, 1))), ShapeError, "mean_squared_error: expected targets of the shape (2, 1)"),
    (lambda: metrics.SparseCategoricalAccuracy().update_state([[0, 1], [1, 1]], np.zeros((2, 3))), ShapeError, "expected class ids of shape (2,)"),
    (lambda: metrics.MeanSquaredError().update_state([1.0], [1.0], [-1.0]), ValueError, "expected finite sample weights of at least 0, received -1.0"),
    (lambda: metrics.AUC().update_state([1.0], [1.0], [-1.0]), ValueError, "auc: expected finite sample weights of at least 0, received -1.0."),
    (lambda: metrics.Sum().update_state([1.0], [np.nan]), ValueError, "sum: expected finite sample weights of at least 0, received nan."),
    (lambda: metrics.MeanSquaredError().update_state([1.0], [1.0], [1.0, 2.0]), ShapeError, "expected sample weights of shape (1,), received shape (2,)"),
    (lambda: metrics.Metric().update_state([1.0], [1.0]), NotImplementedError, "Metric defines no update_state(y_true, y_pred, sample_weight)"),
    (lambda: metrics.Metric().result(), NotImplementedError, "Metric defines no result()"),
    (lambda: metrics.MeanMetric().update_state([1.0], [1.0]), NotImplementedError, "MeanMetric defines no values(y_true, y_pred)"),
    (lambda: metrics.Metric().add_weight("total"), TypeError, "Metric.add_weight: expected the shape of a state as a tuple, received 'total'. Hint: say name=..."),
    (lambda: metrics.Metric().add_weight((), "random"), ValueError, "Metric.add_weight: expected initializer to be one of 'ones', 'zeros', received 'random'."),
    (lambda: AsDict().later()(), TypeError, "as_dict: expected a number or an array as the result, received dict."),
    (lambda: metrics.BinaryAccuracy(threshold=np.nan), ValueError, "binary_accuracy: expected threshold to be a number that is finite, received nan."),
    (lambda: metrics.TopKCategoricalAccuracy(0), ValueError, "top_k_categorical_accuracy: expected k to be an integer of at least 1, received 0."),
    (lambda: metrics.Precision(1.5), ValueError, "Precision: expected each threshold to be a number in [0, 1], received 1.5."),
    (lambda: metrics.TruePositives([]), ValueError, "TruePositives: expected at least one threshold, received none."),
    (lambda: metrics.Recall(top_k=0), ValueError, "recall: expected top_k to be an integer of at least 1, received 0."),
    (lambda: metrics.Recall(top_k=3)([[0, 1]], [[0.1, 0.2]]), ShapeError, "topk: expected at least 3 elements along axis 1, received shape (1, 2)."),
    (lambda: metrics.Recall(class_id=-1), ValueError, "recall: expected class_id to be an integer of at least 0, received -1."),
    (lambda: metrics.Recall(class_id=2)([[0, 1]], [[0.1, 0.2]]), ShapeError, "recall: expected predictions with a class 2 on their last axis, received shape (1, 2)."),
    (lambda: metrics.AUC(1), ValueError, "AUC: expected num_thresholds to be an integer of at least 2, received 1."),
    (lambda: metrics.AUC(curve="LR"), ValueError, "AUC: expected curve to be one of 'PR', 'PRGAIN', 'ROC', received 'LR'."),
    (lambda: metrics.AUC(summation_method="major"), ValueError, "AUC: expected summation_method to be one of 'interpolation', 'majoring', 'minoring', received 'major'. Hint: did you mean 'majoring'?"),
    (lambda: metrics.AUC(thresholds=[0.5, 2.0]), ValueError, "AUC: expected each threshold to be a number in [0, 1], received 2.0."),
    (lambda: metrics.AUC(num_labels=2), ValueError, "AUC: expected num_labels only with multi_label=True, received 2."),
    (lambda: metrics.AUC(label_weights=[-1.0]), ValueError, "AUC: expected each of label_weights to be a number of at least 0, received -1.0."),
    (lambda: metrics.AUC(label_weights=[1.0])([[0, 1]], [[0.1, 0.2]]), ShapeError, "auc: expected predictions of 1 labels, as label_weights has them, received shape (1, 2)."),
    (lambda: metrics.AUC(multi_label=True)([0], [0.1]), ShapeError, "auc: expected predictions (n, labels), received rows of shape ()."),
    (lambda: metrics.AUC(multi_label=True, num_labels=3)([[0, 1]], [[0.1, 0.2]]), ShapeError, "auc: expected predictions of 3 outputs, as before, received 2. Hint: a metric that has seen a batch stays with its number of outputs; make a new one."),
    (lambda: metrics.SensitivityAtSpecificity(1.5), ValueError, "SensitivityAtSpecificity: expected specificity to be a number in [0, 1], received 1.5."),
    (lambda: metrics.RecallAtPrecision(0.5, 0), ValueError, "RecallAtPrecision: expected num_thresholds to be an integer of at least 1, received 0."),
    (lambda: metrics.F1Score("mean"), ValueError, "f1_score: expected average to be one of 'None', 'macro', 'micro', 'weighted', received 'mean'."),
    (lambda: metrics.FBetaScore(beta=0.0), ValueError, "fbeta_score: expected beta to be a number above 0, received 0.0."),
    (lambda: metrics.F1Score(threshold=2), ValueError, "f1_score: expected threshold to be a number in [0, 1], received 2."),
    (lambda: metrics.F1Score()([[1], [0]], [[0.5], [0.2]]), ShapeError, "f1_score: expected predictions (..., classes), received rows of shape (1,). Hint: say threshold=0.5 for one output."),
    (lambda: metrics.R2Score("mean"), ValueError, "r2_score: expected class_aggregation to be one of 'None', 'uniform_average', 'variance_weighted_average', received 'mean'."),
    (lambda: metrics.R2Score(num_regressors=-1), ValueError, "r2_score: expected num_regressors to be an integer of at least 0, received -1."),
    (lambda: metrics.IoU(2, [2]), ValueError, "io_u: expected target_class_ids from 0 to 1, received [2]."),
    (lambda: metrics.IoU(2, []), ValueError, "io_u: expected target_class_ids from 0 to 1, received []."),
    (lambda: metrics.MeanIoU(3)([0, 2], np.zeros((2, 3))), ShapeError, "mean_io_u: expected class ids of shape (2,), as the targets have it, received predictions of shape (2, 3). Hint: sparse_y_pred=False takes scores, of which the highest counts."),
    (lambda: metrics.MeanIoU(0), ValueError, "MeanIoU: expected num_classes to be an integer of at least 1, received 0."),
    (lambda: metrics.ConfusionMatrix(1), ValueError, "confusion_matrix: expected num_classes to be an integer of at least 2, received 1."),
    (lambda: metrics.ConfusionMatrix(2, "rows"), ValueError, "confusion_matrix: expected normalize to be one of 'None', 'all', 'pred', 'true', received 'rows'."),
    (lambda: metrics.ConfusionMatrix(3)([0], [[0.5, 0.5]]), ShapeError, "confusion_matrix: expected scores of 3 classes, or class ids, received float64 of shape (1, 2)."),
    (lambda: metrics.ConfusionMatrix(3)([0, 1], [1]), ShapeError, "confusion_matrix: expected class ids of shape (1,) for predictions of shape (1,), received shape (2,)."),
    (lambda: metrics.BinaryCrossentropy()([2.0], [0.5]), ValueError, "binary_crossentropy: expected targets in [0, 1], received 2.0."),
    (lambda: metrics.BinaryCrossentropy()([1.0], [1.5]), ValueError, "binary_crossentropy: expected probabilities in [0, 1], received values from 1.5 to 1.5. Hint: end in a sigmoid, or say from_logits=True."),
]  # fmt: skip


class AsDict(metrics.Metric):
    def result(self):
        return {"a": 1.0}


@pytest.mark.parametrize(("call", "kind", "text"), ERRORS, ids=[text[:60] for _, _, text in ERRORS])
def test_bad_input(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)


@pytest.mark.gpu
def test_metrics_do_not_wait_for_the_device():
    import emugpu

    names = ["accuracy", "auc", "precision", "f1_score", "confusion_matrix", "ce", "r2_score", "binary_io_u"]
    model = Sequential([Input((3,)), Dense(1, activation="sigmoid")]).to("cuda")
    model.compile("sgd", "binary_crossentropy", metrics=names, weighted_metrics=names)
    given = X, Y[:, :1]
    options = {"batch_size": 10, "sample_weight": ROWS, "verbose": 0}
    model.fit(*given, **options)  # compiles the kernels
    copies = []
    for epochs in (1, 3):
        with emugpu.count_launches() as counts:
            model.fit(*given, epochs=epochs, **options)
        copies.append(len(counts.device_to_host))
    assert (copies[1] - copies[0]) / 2 <= 2 + 2 * len(names)  # each result once an epoch, and none of the five batches


# Masks


@pytest.mark.parametrize("function", [lambda y, p: abs(y - p), lambda y, p: abs(y - p).mean(axis=-1)])
def test_a_mask_tells_which_values_of_a_function_count(function):
    y, p = np.random.default_rng(1).normal(size=(2, 4, 3, 2))
    mask = np.arange(3) < np.array([[1], [3], [2], [1]])
    predictions = tg.tensor(p)
    predictions.mask = tg.tensor(mask)
    metric = metrics.MeanMetricWrapper(function)
    metric.update_state(y, predictions, sample_weight=[1.0, 2.0, 0.0, 1.0])
    weights = mask * np.array([[1.0], [2.0], [0.0], [1.0]])
    np.testing.assert_allclose(metric.result(), (abs(y - p).mean(axis=-1) * weights).sum() / weights.sum())


def test_a_mask_that_fits_no_values_is_told():
    predictions = tg.ones((4, 3, 2))
    predictions.mask = tg.ones((4, 3)) > 0
    metric = metrics.MeanMetricWrapper(lambda y, p: abs(y - p).mean())
    with pytest.warns(UserWarning, match=r"the mask of shape \(4, 3\) fits no values of shape \(4,\): all"):
        metric.update_state(np.zeros((4, 3, 2)), predictions)
