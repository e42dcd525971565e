"""Losses: extreme numbers, what is ignored and masked, weights, names, and the bad input that must be refused."""

# ruff: noqa: E501 -- the tables hold whole error texts, a case a line

import numpy as np
import pytest
from loss_cases import IDS, LOGITS, ONE_HOT, rows_of_ce, softmax

import tinygrad_edu as tg
from tinygrad_edu import losses, metrics
from tinygrad_edu.errors import ShapeError
from tinygrad_edu.losses import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    MeanAbsoluteError,
    MeanSquaredError,
    SparseCategoricalCrossentropy,
)


@pytest.mark.parametrize("from_logits", [True, False])
def test_ignore_class_counts_neither_in_the_sum_nor_in_the_mean(from_logits):
    ids = IDS.copy()
    ids[[1, 4]] = -1
    kept = rows_of_ce(ONE_HOT, LOGITS)[[0, 2, 3, 5]]
    loss = SparseCategoricalCrossentropy(from_logits, ignore_class=-1)
    p = tg.tensor(LOGITS if from_logits else softmax(LOGITS), requires_grad=True)
    value = loss(ids, p)
    assert value.item() == pytest.approx(kept.mean(), rel=1e-9)
    value.backward()
    assert (p.grad.numpy()[[1, 4]] == 0).all()
    assert loss(np.full(6, -1), p).item() == 0.0


@pytest.mark.parametrize("fast", ["1", "0"])
@pytest.mark.parametrize("wrap", [lambda function: function, tg.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("hidden", [-np.inf, np.nan])
def test_an_ignored_row_may_hold_anything(fast, wrap, hidden, monkeypatch):
    """As where the logits of padding are -inf."""
    monkeypatch.setenv("TINYGRAD_EDU_FAST", fast)
    for rows in (2, 40_000):
        logits = np.tile(np.float32([[hidden, 1, 2], [-np.inf, 0, 3]]), (rows // 2, 1))
        ids = np.tile([0, 2], rows // 2)
        loss = wrap(lambda x, ids: tg.cross_entropy(x, ids, ignore_index=0, reduction="none"))(tg.tensor(logits), ids)
        np.testing.assert_allclose(loss.numpy()[:4:2], 0.0)
        np.testing.assert_allclose(loss.numpy()[1::2], np.log1p(np.exp(-3.0)), rtol=1e-5)


@pytest.mark.parametrize("extreme", [1e4, -1e4])
def test_logits_never_overflow(extreme):
    x = tg.tensor([[extreme]], requires_grad=True)
    for target in (0.0, 1.0):
        value = BinaryCrossentropy(from_logits=True)(tg.tensor([[target]]), x)
        assert value.item() in (0.0, 1e4)
    rows = tg.tensor([[extreme, 0.0]], requires_grad=True)
    value = SparseCategoricalCrossentropy(from_logits=True)([0], rows)
    value.backward()
    assert np.isfinite(value.item())
    assert np.isfinite(rows.grad.numpy()).all()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("extreme", [1e4, -1e4])
def test_focal_losses_of_logits_never_overflow(extreme, gamma):
    binary = losses.BinaryFocalCrossentropy(gamma=gamma, from_logits=True)
    classes = losses.CategoricalFocalCrossentropy(alpha=1.0, gamma=gamma, from_logits=True)
    for target in (0.0, 1.0):
        wrong = 1e4 if (extreme > 0) != bool(target) else 0.0
        for loss, y, x in (
            (binary, [[target]], [[extreme]]),
            (classes, [[target, 1.0 - target]], [[extreme, 0.0]]),
        ):
            value, gradient = tg.value_and_grad(lambda x, loss=loss, y=y: loss(y, x))(tg.tensor(x))
            assert value.item() == wrong
            assert abs(gradient.numpy()).max() == (1.0 if wrong else 0.0)
            second = tg.grad(lambda x, loss=loss, y=y: tg.grad(lambda x: loss(y, x))(x).sum())(tg.tensor(x))
            assert np.isfinite(second.numpy()).all()


def test_a_focal_loss_of_a_good_prediction_is_exact():
    q = np.exp(-20.0) / (1 + np.exp(-20.0))
    value = losses.BinaryFocalCrossentropy(from_logits=True, gamma=1.0)([[1.0]], tg.tensor([[20.0]]))
    assert value.item() == pytest.approx(q * np.log1p(np.exp(-20.0)), rel=1e-5, abs=0.0)


def test_a_softmax_over_other_axes_than_the_loss_is_refused():
    x, y = np.ones((2, 4, 3)), np.eye(4)[[[0, 1, 2], [3, 2, 1]]].swapaxes(1, 2)
    for loss in (CategoricalCrossentropy(axis=1), losses.CategoricalFocalCrossentropy(axis=1)):
        model = tg.models.Sequential([tg.layers.Dense(3, "softmax")])
        model.compile("sgd", loss)
        with pytest.raises(ValueError, match="expected probabilities whose rows sum to 1"):
            model.fit(x, y, verbose=0)


def test_factors_of_classes_in_an_array():
    listed, array = (losses.CategoricalFocalCrossentropy(alpha) for alpha in ([1.0, 2.0], np.array([1.0, 2.0])))
    assert listed.alpha == array.alpha == [1.0, 2.0]


def test_focal_losses_without_focus_are_the_cross_entropies():
    y, p = tg.tensor(ONE_HOT), tg.tensor(LOGITS)
    focal = losses.CategoricalFocalCrossentropy(alpha=1.0, gamma=0.0, from_logits=True)
    assert focal(y, p).item() == pytest.approx(CategoricalCrossentropy(True)(y, p).item(), rel=1e-12)
    focal = losses.BinaryFocalCrossentropy(gamma=0.0, from_logits=True)
    assert focal(y, p).item() == pytest.approx(BinaryCrossentropy(True)(y, p).item(), rel=1e-12)


@pytest.mark.parametrize(("activation", "loss", "y", "expected"), [
    ("sigmoid", losses.BinaryFocalCrossentropy(), [[0.0, 1.0]], 100.0),
    ("softmax", losses.CategoricalFocalCrossentropy(alpha=[1.0, 0.5]), [[0.0, 1.0]], 100.0),
])  # fmt: skip
def test_a_focal_loss_after_a_last_activation_is_computed_from_logits(activation, loss, y, expected):
    model = tg.models.Sequential([tg.layers.Dense(2, activation, kernel_initializer="ones")])
    model.compile("sgd", loss)
    model.build((None, 1))
    model.set_weights([np.array([[200.0, 0.0 if activation == "softmax" else 200.0]]), np.zeros(2)])
    assert model.evaluate(np.ones((1, 1)), y, verbose=0) == pytest.approx(expected)


@pytest.mark.parametrize("error", [1e4, -1e4])
def test_robust_losses_of_large_errors(error):
    for loss, expected in ((losses.LogCosh(), 1e4 - np.log(2)), (losses.Huber(), 1e4 - 0.5)):
        value, slope = tg.value_and_grad(lambda p, loss=loss: loss([[0.0]], p))(tg.tensor([[error]]))
        assert value.item() == pytest.approx(expected, rel=1e-6)
        assert slope.item() == np.sign(error)


def test_a_vector_of_zeros_is_at_a_right_angle_to_all():
    p = tg.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    loss = losses.CosineSimilarity(reduction="none")([[1.0, 0.0], [0.0, 0.0]], p)
    assert loss.tolist() == [0.0, 0.0]
    loss.sum().backward()
    assert np.isfinite(p.grad.numpy()).all()


def test_overlaps_of_all_rows_are_one_number():
    y, p = tg.tensor([[1.0, 0.0], [1.0, 1.0]]), tg.tensor([[1.0, 0.0], [0.0, 1.0]])
    for loss in (losses.Dice(), losses.Tversky()):
        assert loss(y, p).item() == pytest.approx(1 - 4 / 5, rel=1e-6)
        with pytest.raises(
            ShapeError, match=r"expected a loss per row, to be weighted, received shape \(\)\. Hint: say axis=\(1,\)\."
        ):
            loss(y, p, [1.0, 1.0])
    for kind in (losses.Dice, losses.Tversky):
        with pytest.raises(ShapeError, match=r"Hint: say axis=\(1, 2\)\."):
            kind()(shaped(2, 3, 4), shaped(2, 3, 4), [1.0, 1.0])
        kind(axis=(1, 2))(shaped(2, 3, 4), shaped(2, 3, 4), [1.0, 1.0])


def test_given_probabilities_are_clipped_as_in_keras():
    value = BinaryCrossentropy()(tg.tensor([1.0], dtype="float64"), tg.tensor([0.0], dtype="float64"))
    assert value.item() == pytest.approx(-np.log(1e-7), rel=1e-9)
    p = tg.tensor([[0.0, 1.0]], dtype="float64")
    assert SparseCategoricalCrossentropy()([0], p).item() == pytest.approx(-np.log(1e-7), rel=1e-9)


def test_targets_of_one_axis_fit_an_output_of_one_column():
    for y in (np.array([1.0, 2.0]), np.array([1, 2])):
        assert MeanSquaredError()(y, tg.tensor([[1.0], [4.0]])).item() == 2.0


def test_targets_may_be_differentiated():
    y = tg.tensor([1.0], requires_grad=True)
    MeanSquaredError()(y, tg.tensor([3.0])).backward()
    assert y.grad.tolist() == [-4.0]


def test_functions_check_as_the_classes_do():
    column = tg.tensor([[1.0], [2.0], [3.0]])
    assert losses.mean_squared_error(tg.tensor([1.0, 2.0, 3.0]), column).tolist() == [0.0, 0.0, 0.0]
    with pytest.raises(ShapeError):
        losses.mean_absolute_error(shaped(3, 2), column)
    for from_logits in (True, False):
        with pytest.raises(ValueError, match="expected class ids from 0 to 1, received -1"):
            losses.sparse_categorical_crossentropy(tg.tensor([-1]), tg.tensor([[0.2, 0.8]]), from_logits)


def test_predictions_that_are_integers_are_computed_as_floats():
    assert MeanSquaredError()([0.5], [1]).item() == 0.25
    assert MeanAbsoluteError()(np.array([1.5, 2.0]), np.array([1, 2])).item() == 0.25


def test_ids_in_a_column_as_in_keras():
    loss = SparseCategoricalCrossentropy(True)
    p = tg.tensor(LOGITS)
    assert loss(IDS[:, None], p).item() == loss(IDS, p).item()


def test_rows_sum_to_one_within_a_tolerance():
    loss = SparseCategoricalCrossentropy()
    assert loss([0], tg.tensor([[0.5004, 0.5]])).item() > 0
    with pytest.raises(ValueError, match=r"whose rows sum to 1, received a row with the sum 1\.01"):
        loss([0], tg.tensor([[0.51, 0.5]]))


def test_what_the_function_of_a_loss_may_return():
    y, p = tg.tensor([[1.0], [2.0]]), tg.tensor([[3.0], [4.0]])
    for function in (
        lambda y, p: tg.square(p - y),
        lambda y, p: tg.square(p - y)[:, 0],
        lambda y, p: tg.mean(p - y) * 2,
    ):
        assert losses.get(function)(y, p).item() == 4.0
    with pytest.raises(ShapeError, match=r"expected the function to return one number, or a value a row"):
        losses.get(lambda y, p: y - p[:, 0])(y, p)
    with pytest.raises(ShapeError, match=r"expected targets of the shape \(2, 1\)"):
        losses.get(lambda y, p: tg.square(p - y))(shaped(2, 2), p)
    with pytest.raises(TypeError, match="expected a tensor from the function, received int"):
        losses.get(lambda y, p: 3)(y, p)
    ids = losses.get(lambda y, p: p[:, 0] * y)  # fewer axes, such as ids, are the function's own affair
    assert ids(tg.tensor([1, 0]), tg.zeros((2, 3))).item() == 0.0


# Weights


@pytest.mark.parametrize("masked", [False, True])
def test_a_mean_with_sample_weight_divides_by_the_weights_of_what_counts(masked):
    y, p, mask = MASKED
    weights, counts = np.array([0.5, 0.0, 2.0, 1.0]), mask if masked else np.ones_like(mask)
    factors = weights[:, None] * counts
    loss, predictions = MeanSquaredError("mean_with_sample_weight"), tg.tensor(p)
    predictions.mask = tg.tensor(mask) if masked else None
    wanted = (((y - p) ** 2).mean(-1) * factors).sum() / factors.sum()
    assert loss(y, predictions, weights).item() == pytest.approx(wanted, rel=1e-12)
    weights = tg.tensor(weights)
    assert loss.count(tg.tensor(y), tg.tensor(mask), weights).item() == (weights.numpy()[:, None] * mask).sum()
    assert loss.count(tg.tensor(y), None, weights).item() == 3.5


def test_weights_that_are_all_0_give_0():
    p = tg.tensor([[3.0]], requires_grad=True)
    value = MeanSquaredError("mean_with_sample_weight")([[1.0]], p, [0.0])
    value.backward()
    assert (value.item(), p.grad.item()) == (0.0, 0.0)


def test_losses_of_half_precision_are_those_of_single_precision():
    for loss, y, p, wanted in (
        (BinaryCrossentropy(), [[0.0, 1.0]], [[1.0, 0.0]], -np.log([2.0**-23, 1e-7]).mean()),  # 1 - 1e-7 in float32
        (CategoricalCrossentropy(), [[0.0, 1.0]], [[1.0, 0.0]], -np.log(1e-7)),
        (MeanSquaredError(), [[300.0, 0.0]], [[0.0, 0.0]], 45000.0),
        (MeanSquaredError(), [[600.0, 0.0]], [[0.0, 0.0]], 180000.0),
        (losses.Dice(axis=-1), [[0.0, 0.0]], [[0.0, 0.0]], 1.0),
    ):
        p = tg.tensor(np.array(p, "float16"), requires_grad=True)
        value = loss(y, p, [1.0])
        value.backward()
        assert (value.dtype, p.grad.dtype) == ("float32", "float16")
        assert value.item() == pytest.approx(wanted, rel=1e-6)
        assert np.isfinite(p.grad.numpy()).all()


class OwnStep(tg.models.Sequential):
    def train_step(self, data):
        return super().train_step(data)

    def test_step(self, data):
        return super().test_step(data)


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("kind", [tg.models.Sequential, OwnStep])
def test_a_mean_with_sample_weight_over_batches_is_that_of_all_rows(kind, jit):
    x, y = np.arange(7.0)[:, None], np.arange(7.0) ** 2
    weights = np.array([0.0, 0.0, 0.0, 1.0, 0.5, 3.0, 2.0])
    model = kind([tg.layers.Dense(1)])
    model.compile(tg.optimizers.SGD(0.0), MeanSquaredError("mean_with_sample_weight"), jit=jit)
    model.build((None, 1))
    model.set_weights([np.array([[2.0]]), np.array([1.0])])
    wanted = np.average((2 * x[:, 0] + 1 - y) ** 2, weights=weights)
    assert model.evaluate(x, y, sample_weight=weights, batch_size=3, verbose=0) == pytest.approx(wanted, rel=1e-6)
    history = model.fit(x, y, sample_weight=weights, batch_size=3, verbose=0).history
    assert history["loss"] == pytest.approx([wanted], rel=1e-6)


# Bad input, by type and text


def shaped(*shape):
    return tg.zeros(shape)


@pytest.mark.parametrize(("loss", "y", "p", "kind", "text"), [
    (MeanSquaredError(), shaped(4, 1), shaped(4), ShapeError, "MeanSquaredError: expected targets of the shape (4,) of the predictions, received shape (4, 1). Hint: use y_true.reshape(-1)."),
    (MeanSquaredError(), shaped(4, 2), shaped(4, 1), ShapeError, "expected targets of the shape (4, 1) of the predictions, received shape (4, 2)"),
    (MeanSquaredError(), np.full(4, 0.5), shaped(4, 2), ShapeError, "Hint: the model gives (2,) per row; y_true.reshape(-1, 2) if"),
    (MeanSquaredError(), shaped(3), shaped(4, 1), ShapeError, "received shape (3,)"),
    (MeanSquaredError(), shaped(1, 4), shaped(4, 4), ShapeError, "received shape (1, 4)"),
    (MeanSquaredError(), tg.tensor(1.0), shaped(4), ShapeError, "received shape ()"),
    (MeanAbsoluteError(), shaped(2, 3), shaped(2, 3, 1), ShapeError, "received shape (2, 3)"),
    (BinaryCrossentropy(from_logits=True), shaped(4, 2), shaped(4, 1), ShapeError, "received shape (4, 2)"),
    (BinaryCrossentropy(from_logits=True), [2.0], shaped(1, 1), ValueError, "BinaryCrossentropy: expected targets in [0, 1], received 2.0"),
    (BinaryCrossentropy(from_logits=True), [-1.0], shaped(1, 1), ValueError, "received -1.0"),
    (BinaryCrossentropy(from_logits=True), [float("nan")], shaped(1, 1), ValueError, "received nan"),
    (BinaryCrossentropy(), [1.0], tg.tensor([[3.0]]), ValueError, "expected probabilities in [0, 1], received values from 3 to 3. Hint: end in a sigmoid, or say from_logits=True."),
    (BinaryCrossentropy(), [1.0], tg.tensor([[float("nan")]]), ValueError, "expected probabilities in [0, 1], received values from nan"),
    (CategoricalCrossentropy(), [0, 1], shaped(2, 3), ShapeError, "expected one-hot targets of shape (2, 3), received shape (2,). Hint: class ids belong to sparse_categorical_crossentropy"),
    (CategoricalCrossentropy(), [[0], [1]], shaped(2, 3), ShapeError, "Hint: class ids belong to sparse_categorical_crossentropy"),
    (CategoricalCrossentropy(True), [[1.0, 1.0]], shaped(1, 2), ValueError, "expected targets whose rows sum to 1, received a row with the sum 2. Hint: for several labels a row use a sigmoid and binary_crossentropy."),
    (CategoricalCrossentropy(True), [[2.0, -1.0]], shaped(1, 2), ValueError, "expected targets in [0, 1], received values from -1 to 2"),
    (CategoricalCrossentropy(), [[1.0, 0.0]], shaped(1, 2), ValueError, "expected probabilities whose rows sum to 1, received a row with the sum 0. Hint: end in a softmax, or say from_logits=True."),
    (SparseCategoricalCrossentropy(True), [3], shaped(1, 3), ValueError, "SparseCategoricalCrossentropy: expected class ids from 0 to 2, received 3"),
    (SparseCategoricalCrossentropy(True), [-1], shaped(1, 3), ValueError, "expected class ids from 0 to 2, received -1"),
    (SparseCategoricalCrossentropy(True, ignore_class=9), [-1], shaped(1, 3), ValueError, "expected class ids from 0 to 2, or 9 to ignore, received -1"),
    (SparseCategoricalCrossentropy(True), [0.5], shaped(1, 3), ValueError, "expected whole class ids, received 0.5"),
    (SparseCategoricalCrossentropy(True), [[0, 1], [1, 0]], shaped(2, 3), ShapeError, "expected class ids of shape (2,) for predictions of shape (2, 3), received shape (2, 2)."),
    (MeanSquaredError(), tg.tensor([1e300], dtype="float64"), shaped(1), ValueError, "MeanSquaredError: expected targets in the range of float32, received 1e+300"),
    (SparseCategoricalCrossentropy(True), [[1.0, 0.0]], shaped(1, 2), ShapeError, "Hint: one-hot targets belong to categorical_crossentropy"),
    (SparseCategoricalCrossentropy(True), [1], shaped(2, 3), ShapeError, "expected class ids of shape (2,)"),
    (losses.Hinge(), [[2.0]], shaped(1, 1), ValueError, "Hinge: expected targets -1 and 1, or else 0 and 1, received 2.0."),
    (losses.Hinge(), [[-1.0], [0.0], [1.0]], shaped(3, 1), ValueError, "Hinge: expected targets -1 and 1, or else 0 and 1, received 0.0."),
    (losses.SquaredHinge(), [[float("nan")]], shaped(1, 1), ValueError, "SquaredHinge: expected targets -1 and 1, or else 0 and 1, received nan."),
    (losses.CategoricalHinge(), [0, 1], shaped(2, 3), ShapeError, "CategoricalHinge: expected one-hot targets of shape (2, 3), received shape (2,). Hint: class ids belong to sparse_categorical_crossentropy; tg.one_hot(ids, classes) makes them one-hot."),
    (losses.CategoricalHinge(), [[0.5, 0.5]], shaped(1, 2), ValueError, "CategoricalHinge: expected one-hot targets, of 0 and 1, received 0.5."),
    (losses.CategoricalHinge(), [[1.0, 1.0]], shaped(1, 2), ValueError, "CategoricalHinge: expected one-hot targets whose rows sum to 1, received a row with the sum 2."),
    (losses.Poisson(), [[-1.0]], shaped(1, 1), ValueError, "Poisson: expected finite targets of at least 0, received -1.0."),
    (losses.Poisson(), [[1.0]], tg.tensor([[-0.5]]), ValueError, "Poisson: expected predicted rates of at least 0, received -0.5. Hint: end in an exponential or a softplus."),
    (losses.MeanSquaredLogarithmicError(), [[-0.5]], shaped(1, 1), ValueError, "MeanSquaredLogarithmicError: expected finite targets of at least 0, received -0.5."),
    (losses.MeanSquaredLogarithmicError(), [[float("nan")]], shaped(1, 1), ValueError, "MeanSquaredLogarithmicError: expected finite targets of at least 0, received nan."),
    (losses.MeanSquaredLogarithmicError(), [[float("inf")]], shaped(1, 1), ValueError, "MeanSquaredLogarithmicError: expected finite targets of at least 0, received inf."),
    (losses.KLDivergence(), [[2.0, -1.0]], shaped(1, 2), ValueError, "KLDivergence: expected targets in [0, 1], received values from -1 to 2."),
    (losses.KLDivergence(), [[0.5, 0.5]], tg.tensor([[2.0, 3.0]]), ValueError, "KLDivergence: expected probabilities in [0, 1], received values from 2 to 3. Hint: end in a softmax."),
    (losses.BinaryFocalCrossentropy(), [2.0], shaped(1, 1), ValueError, "BinaryFocalCrossentropy: expected targets in [0, 1], received 2.0."),
    (losses.BinaryFocalCrossentropy(), [1.0], tg.tensor([[3.0]]), ValueError, "BinaryFocalCrossentropy: expected probabilities in [0, 1], received values from 3 to 3. Hint: end in a sigmoid, or say from_logits=True."),
    (losses.CategoricalFocalCrossentropy(), [[1.0, 1.0]], shaped(1, 2), ValueError, "CategoricalFocalCrossentropy: expected targets whose rows sum to 1, received a row with the sum 2. Hint: for several labels a row use a sigmoid and binary_crossentropy."),
    (losses.CategoricalFocalCrossentropy(alpha=[1.0], from_logits=True), [[1.0, 0.0]], shaped(1, 2), ShapeError, "CategoricalFocalCrossentropy: expected alpha for 2 classes, received 1."),
    (losses.Dice(), [[2.0]], shaped(1, 1), ValueError, "Dice: expected targets in [0, 1], received 2.0."),
    (losses.Tversky(), [[1.0]], tg.tensor([[-2.0]]), ValueError, "Tversky: expected probabilities in [0, 1], received values from -2 to -2. Hint: end in a sigmoid or a softmax."),
    (losses.CosineSimilarity(axis=2), shaped(2, 3), shaped(2, 3), ShapeError, "CosineSimilarity: expected an axis from -2 to 1, received 2."),
    (losses.CosineSimilarity(axis=-2), shaped(2, 3), shaped(2, 3), ValueError, "CosineSimilarity: expected an axis within the rows, received axis -2 of shape (2, 3)."),
    (BinaryCrossentropy(True, axis=0), shaped(2, 3), shaped(2, 3), ValueError, "BinaryCrossentropy: expected an axis within the rows, received axis 0 of shape (2, 3)."),
    (SparseCategoricalCrossentropy(True, axis=1), shaped(2, 3), shaped(2, 3, 4), ShapeError, "SparseCategoricalCrossentropy: expected class ids of shape (2, 4) for predictions of shape (2, 3, 4), received shape (2, 3)."),
    (SparseCategoricalCrossentropy(), [1], tg.tensor([[2.0, -1.0]]), ValueError, "expected probabilities in [0, 1], received values from -1 to 2"),
])  # fmt: skip
def test_bad_targets_and_predictions(loss, y, p, kind, text):
    with pytest.raises(kind) as caught:
        loss(y, p)
    assert text in str(caught.value)


@pytest.mark.parametrize("ids", [[0, 2], [[0], [2]], [0.0, 2.0]])
def test_class_ids_for_one_hot_targets(ids):
    hint = r"Hint: class ids become one-hot by tg\.one_hot\(ids, 3\), or belong to a sparse_\.\.\. loss or metric\."
    some = (metrics.AUC, metrics.Precision, metrics.F1Score, metrics.CategoricalAccuracy,
            metrics.TopKCategoricalAccuracy, metrics.OneHotMeanIoU)  # fmt: skip
    for measure in (MeanSquaredError(), *(m(3) if m is metrics.OneHotMeanIoU else m() for m in some)):
        with pytest.raises(ShapeError, match=hint):
            measure(ids, shaped(2, 3))


def test_one_number_a_row_that_is_no_class_id():
    with pytest.raises(ShapeError, match=r"Hint: the model gives \(3,\) per row;"):
        MeanSquaredError()([0.5, 2.0], shaped(2, 3))


@pytest.mark.parametrize("jit", [False, True])
def test_class_ids_with_a_one_hot_metric_in_fit(jit):
    model = tg.models.Sequential([tg.layers.Dense(3, "softmax", input_dim=2)])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["auc"], jit=jit)
    with pytest.raises(ShapeError, match=r"tg\.one_hot\(ids, 3\)"):
        model.fit(np.ones((4, 2)), [0.0, 1.0, 2.0, 0.0], verbose=0)


@pytest.mark.parametrize(
    ("weights", "kind", "text"),
    [
        ([1.0], ShapeError, "MeanSquaredError: expected sample weights of shape (2,), received shape (1,)"),
        ([[1.0, 1.0], [1.0, 1.0]], ShapeError, "received shape (2, 2)"),
        ([1.0, -1.0], ValueError, "expected finite sample weights of at least 0, received -1.0"),
        ([1.0, float("nan")], ValueError, "received nan"),
        ([float("inf"), 1.0], ValueError, "received inf"),
    ],
)
def test_bad_weights(weights, kind, text):
    with pytest.raises(kind) as caught:
        MeanSquaredError()(shaped(2), shaped(2), weights)
    assert text in str(caught.value)


def test_names():
    for name, kind in losses.LOSSES.items():
        assert type(losses.get(name)) is kind
    assert type(losses.get(losses.binary_crossentropy)) is BinaryCrossentropy
    assert type(losses.get(losses.mean_squared_error)) is MeanSquaredError
    own = losses.get(lambda y, p: tg.square(y - p))
    assert own([[1.0]], tg.tensor([[3.0]])).item() == 4.0
    for bad, kind, text in [
        ("categorical_crosentropy", ValueError, "did you mean 'categorical_crossentropy'?"),
        (MeanSquaredError, TypeError, "expected a loss, its name or a function of (y_true, y_pred)"),
        (SparseCategoricalCrossentropy, TypeError, "Hint: write SparseCategoricalCrossentropy()."),
        (3, TypeError, "received 3"),
    ]:
        with pytest.raises(kind) as caught:
            losses.get(bad)
        assert text in str(caught.value)
    assert MeanSquaredError(None).reduction == "none"


REDUCTIONS = "'mean', 'mean_with_sample_weight', 'none', 'sum', 'sum_over_batch_size'"


@pytest.mark.parametrize(("make", "kind", "text"), [
    (lambda: MeanSquaredError(reduction="sums"), ValueError, f"MeanSquaredError: expected reduction to be one of {REDUCTIONS}, received 'sums'. Hint: did you mean 'sum'?"),
    (lambda: BinaryCrossentropy(label_smoothing=2), ValueError, "BinaryCrossentropy: expected label_smoothing to be a number in [0, 1], received 2."),
    (lambda: losses.Huber(0.0), ValueError, "Huber: expected delta to be a number above 0, received 0.0."),
    (lambda: losses.Huber("1"), TypeError, "Huber: expected delta to be a number above 0, received '1'."),
    (lambda: losses.CosineSimilarity(1.0), TypeError, "CosineSimilarity: expected axis to be an integer, received 1.0."),
    (lambda: losses.BinaryFocalCrossentropy(0.25), TypeError, "BinaryFocalCrossentropy: expected apply_class_balancing to be True or False, received 0.25."),
    (lambda: losses.BinaryFocalCrossentropy(alpha=2.0), ValueError, "BinaryFocalCrossentropy: expected alpha to be a number in [0, 1], received 2.0."),
    (lambda: losses.BinaryFocalCrossentropy(gamma=-1.0), ValueError, "BinaryFocalCrossentropy: expected gamma to be a number of at least 0, received -1.0."),
    (lambda: losses.CategoricalFocalCrossentropy([0.5, -1.0]), ValueError, "CategoricalFocalCrossentropy: expected alpha to be a number of at least 0, received -1.0."),
    (lambda: losses.CategoricalFocalCrossentropy("0.5"), TypeError, "CategoricalFocalCrossentropy: expected alpha to be a number of at least 0, received '0.5'."),
    (lambda: losses.Tversky(alpha=-1.0), ValueError, "Tversky: expected alpha to be a number of at least 0, received -1.0."),
    (lambda: losses.Dice(axis=(1, "2")), TypeError, "Dice: expected axis to be an integer, received '2'."),
])  # fmt: skip
def test_bad_options(make, kind, text):
    with pytest.raises(kind) as caught:
        make()
    assert str(caught.value) == text


@pytest.mark.parametrize(("make", "name"), [
    *((kind, "from_logits") for kind in (
        BinaryCrossentropy, losses.BinaryFocalCrossentropy, CategoricalCrossentropy,
        losses.CategoricalFocalCrossentropy, SparseCategoricalCrossentropy, metrics.BinaryCrossentropy,
        metrics.CategoricalCrossentropy, metrics.SparseCategoricalCrossentropy, metrics.Perplexity, metrics.AUC,
    )),
    (metrics.AUC, "multi_label"), (metrics.SparseTopKCategoricalAccuracy, "from_sorted_ids"),
    (lambda **given: metrics.MeanIoU(2, **given), "sparse_y_true"),
    (lambda **given: metrics.MeanIoU(2, **given), "sparse_y_pred"),
])  # fmt: skip
def test_options_that_are_true_or_false(make, name):
    make(**{name: np.True_})
    for value in ("yes", 1, None):
        with pytest.raises(TypeError, match=rf": expected {name} to be True or False, received {value!r}\.$"):
            make(**{name: value})


@pytest.mark.gpu
def test_labels_are_checked_on_cuda():
    with pytest.raises(ValueError, match="expected class ids from 0 to 2, received 3"):
        SparseCategoricalCrossentropy(True)(tg.tensor([3], device="cuda"), tg.zeros((1, 3), device="cuda"))


# Masks


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "none"])
@pytest.mark.parametrize("function", [
    lambda y, p: (y - p) ** 2,
    lambda y, p: ((y - p) ** 2).mean(axis=-1),
])  # fmt: skip
def test_a_mask_tells_which_values_of_a_function_count(function, reduction):
    y, p, mask = MASKED
    loss = losses.FunctionLoss(function)
    loss.reduction = reduction
    predictions = tg.tensor(p)
    predictions.mask = tg.tensor(mask)
    values = function(y, p) * (mask[..., None] if function(y, p).ndim == 3 else mask)
    kept = mask.sum() * values[0, 0].size
    wanted = {"none": values, "sum": values.sum(), "sum_over_batch_size": values.sum() / kept}[reduction]
    np.testing.assert_allclose(loss(y, predictions).numpy(), wanted, rtol=1e-12)


MASKED = (*np.random.default_rng(1).normal(size=(2, 4, 3, 2)), np.arange(3) < np.array([[1], [3], [2], [1]]))


def test_a_mask_that_fits_no_values_is_told():
    y, p, mask = MASKED
    predictions = tg.tensor(p)
    predictions.mask = tg.tensor(mask)
    with pytest.warns(UserWarning, match=r"whole: the mask of shape \(4, 3\) fits no loss of shape \(\): all"):
        loss = losses.get(whole)(y, predictions)
    np.testing.assert_allclose(loss.item(), ((y - p) ** 2).mean())


def whole(y, p):
    return tg.square(y - p).mean()


def test_how_much_the_loss_of_a_batch_weighs():
    y, _, mask = MASKED
    y, mask = tg.tensor(y), tg.tensor(mask)
    assert losses.MeanSquaredError().count(y) == 4
    assert losses.MeanSquaredError().count(y, mask).item() == 7
    assert losses.MeanSquaredError(reduction="sum").count(y, mask) == 4
