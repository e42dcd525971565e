"""Metrics against NumPy and scikit-learn, over uneven batches and with weights."""

# ruff: noqa: E501 -- the tables hold whole error texts, a case a line

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import losses, metrics
from tinygrad_edu.errors import ShapeError

RANDOM = np.random.default_rng(0)
N = 50
SCORES = RANDOM.random((N, 4))
IDS = RANDOM.integers(0, 4, N)
ONE_HOT = np.eye(4)[IDS]
P = RANDOM.random((N, 1))
BITS = RANDOM.integers(0, 2, N)
REAL = RANDOM.normal(size=(N, 4))
WEIGHTS = RANDOM.random(N)

# name: (metric, targets, predictions, the value of each row)
CASES = {
    "sparse": (metrics.SparseCategoricalAccuracy, IDS, SCORES, SCORES.argmax(1) == IDS),
    "categorical": (metrics.CategoricalAccuracy, ONE_HOT, SCORES, SCORES.argmax(1) == IDS),
    "binary": (metrics.BinaryAccuracy, BITS, P, (P[:, 0] > 0.5) == BITS),
    "binary columns": (metrics.BinaryAccuracy, ONE_HOT, SCORES, ((SCORES > 0.5) == ONE_HOT).mean(1)),
    "mse": (metrics.MeanSquaredError, REAL, SCORES, ((REAL - SCORES) ** 2).mean(1)),
    "mae": (metrics.MeanAbsoluteError, REAL, SCORES, abs(REAL - SCORES).mean(1)),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_mean_over_uneven_batches(name, weighted):
    make, y, p, rows = CASES[name]
    metric = make()
    assert metric.result() == 0.0
    for first, last in [(0, 32), (32, 49), (49, 50)]:
        weights = WEIGHTS[first:last] if weighted else None
        metric.update_state(y[first:last], tg.tensor(p[first:last], requires_grad=True), weights)
    expected = np.average(rows, weights=WEIGHTS if weighted else None)
    assert metric.result() == pytest.approx(expected, rel=1e-12)
    metric.reset_state()
    metric.update_state(y[:1], p[:1])
    assert metric.result() == pytest.approx(float(rows[0]), rel=1e-12)


def test_as_scikit_learn():
    sk = pytest.importorskip("sklearn.metrics")
    for make, y, p, expected in [
        (metrics.SparseCategoricalAccuracy, IDS, SCORES, sk.accuracy_score(IDS, SCORES.argmax(1))),
        (metrics.BinaryAccuracy, BITS, P, sk.accuracy_score(BITS, P[:, 0] > 0.5)),
        (metrics.MeanSquaredError, REAL, SCORES, sk.mean_squared_error(REAL, SCORES)),
        (metrics.MeanAbsoluteError, REAL, SCORES, sk.mean_absolute_error(REAL, SCORES)),
    ]:
        metric = make()
        metric.update_state(y, p)
        assert metric.result() == pytest.approx(expected, rel=1e-12)


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
])  # fmt: skip
def test_which_accuracy(loss, outputs, kind, threshold):
    for name in ("accuracy", "acc"):
        metric = metrics.get(name, loss, outputs)
        assert type(metric) is kind
        assert metric.name == name
        assert getattr(metric, "threshold", None) == threshold


def test_names_and_functions():
    loss = losses.MeanSquaredError()
    for name, kind in metrics.METRICS.items():
        assert type(metrics.get(name, loss, 1)) is kind
        assert metrics.get(name, loss, 1).name == name
    assert metrics.SparseCategoricalAccuracy().name == "sparse_categorical_accuracy"
    own = metrics.get(lambda y, p: tg.absolute(y - p), loss, 1)
    own.update_state([1.0, 2.0], [1.0, 5.0])
    assert own.result() == 1.5
    one = metrics.get(lambda y, p: tg.max(tg.absolute(y - p)), loss, 1)
    one.update_state([1.0, 2.0], [1.0, 5.0])
    assert one.result() == 3.0


@pytest.mark.parametrize(("call", "kind", "text"), [
    (lambda: metrics.get("acuracy", losses.MeanSquaredError(), 1), ValueError, "did you mean 'accuracy'?"),
    (lambda: metrics.get(metrics.Mean, losses.MeanSquaredError(), 1), TypeError, "expected a metric, its name or a function"),
    (lambda: metrics.MeanSquaredError().update_state(np.zeros((2, 2)), np.zeros((2, 1))), ShapeError, "mean_squared_error: expected targets of the shape (2, 1)"),
    (lambda: metrics.SparseCategoricalAccuracy().update_state([[0, 1], [1, 1]], np.zeros((2, 3))), ShapeError, "expected class ids of shape (2,)"),
    (lambda: metrics.MeanSquaredError().update_state([1.0], [1.0], [-1.0]), ValueError, "expected finite sample weights of at least 0, received -1.0"),
    (lambda: metrics.MeanSquaredError().update_state([1.0], [1.0], [1.0, 2.0]), ShapeError, "expected sample weights of shape (1,), received shape (2,)"),
])  # fmt: skip
def test_bad_input(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)


@pytest.mark.gpu
@pytest.mark.parametrize("name", CASES)
def test_cuda(name):
    make, y, p, rows = CASES[name]
    metric = make()
    for first, last in [(0, 32), (32, N)]:
        there = [tg.tensor(a[first:last], device="cuda") for a in (y, p)]
        metric.update_state(*there)
    assert metric.result() == pytest.approx(rows.mean(), rel=1e-12)


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
