"""Losses against PyTorch and float64 formulas; shapes and labels that must be refused."""

# ruff: noqa: E501 -- the tables hold whole error texts, a case a line

import copy

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import losses
from tinygrad_edu.errors import ShapeError
from tinygrad_edu.losses import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    MeanAbsoluteError,
    MeanSquaredError,
    SparseCategoricalCrossentropy,
)

RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(size=(6, 4)) * 2
SEQUENCES = RANDOM.normal(size=(3, 5, 4)) * 2
IDS = RANDOM.integers(0, 4, 6)
SEQUENCE_IDS = RANDOM.integers(0, 4, (3, 5))
ONE_HOT = np.eye(4)[IDS]
BITS = RANDOM.integers(0, 2, (6, 4)).astype(float)
REAL = RANDOM.normal(size=(6, 4))
WEIGHTS = np.array([0.0, 1.0, 2.0, 0.5, 1.0, 3.0])


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def rows_of_bce(y, x):
    return -(y * np.log(sigmoid(x)) + (1 - y) * np.log(1 - sigmoid(x))).mean(-1)


def rows_of_ce(y, x):
    return -(y * np.log(softmax(x))).sum(-1)


SMOOTH_BITS, SMOOTH_ONE_HOT = BITS * 0.8 + 0.1, ONE_HOT * 0.8 + 0.05

# name: (loss, targets, predictions, the loss of each row in float64)
CASES = {
    "mse": (MeanSquaredError(), REAL, LOGITS, ((LOGITS - REAL) ** 2).mean(-1)),
    "mae": (MeanAbsoluteError(), REAL, LOGITS, abs(LOGITS - REAL).mean(-1)),
    "bce logits": (BinaryCrossentropy(from_logits=True), BITS, LOGITS, rows_of_bce(BITS, LOGITS)),
    "bce": (BinaryCrossentropy(), BITS, sigmoid(LOGITS), rows_of_bce(BITS, LOGITS)),
    "bce smooth": (BinaryCrossentropy(True, 0.2), BITS, LOGITS, rows_of_bce(SMOOTH_BITS, LOGITS)),
    "ce logits": (CategoricalCrossentropy(from_logits=True), ONE_HOT, LOGITS, rows_of_ce(ONE_HOT, LOGITS)),
    "ce": (CategoricalCrossentropy(), ONE_HOT, softmax(LOGITS), rows_of_ce(ONE_HOT, LOGITS)),
    "ce smooth": (CategoricalCrossentropy(True, 0.2), ONE_HOT, LOGITS, rows_of_ce(SMOOTH_ONE_HOT, LOGITS)),
    "ce smooth p": (CategoricalCrossentropy(False, 0.2), ONE_HOT, softmax(LOGITS), rows_of_ce(SMOOTH_ONE_HOT, LOGITS)),
    "sparse logits": (SparseCategoricalCrossentropy(from_logits=True), IDS, LOGITS, rows_of_ce(ONE_HOT, LOGITS)),
    "sparse": (SparseCategoricalCrossentropy(), IDS, softmax(LOGITS), rows_of_ce(ONE_HOT, LOGITS)),
    "sparse float ids": (SparseCategoricalCrossentropy(), IDS.astype(float), softmax(LOGITS), rows_of_ce(ONE_HOT, LOGITS)),
    "sparse sequences": (SparseCategoricalCrossentropy(True), SEQUENCE_IDS, SEQUENCES, rows_of_ce(np.eye(4)[SEQUENCE_IDS], SEQUENCES)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_value_reductions_and_weights(name):
    loss, y, p, rows = CASES[name]
    y, p = tg.tensor(y), tg.tensor(p)
    assert loss(y, p).item() == pytest.approx(rows.mean(), rel=1e-9)
    weights = WEIGHTS[: len(rows)].reshape(-1, *(1,) * (rows.ndim - 1))
    # Keras 3 divides by the number of rows, not by the sum of the weights
    assert loss(y, p, WEIGHTS[: len(rows)]).item() == pytest.approx((rows * weights).mean(), rel=1e-9)
    loss = copy.copy(loss)
    loss.reduction = "sum"
    assert loss(y, p).item() == pytest.approx(rows.sum(), rel=1e-9)
    loss.reduction = "none"
    np.testing.assert_allclose(loss(y, p).numpy(), rows, rtol=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_gradient(name):
    loss, y, p, _ = CASES[name]
    p = tg.tensor(p, requires_grad=True)
    if loss.logits_of and not loss.from_logits:  # the check of the predictions refuses moved rows: use compute
        y = loss.prepare(tg.tensor(y), p.shape, p.dtype)
        tg.gradcheck(lambda t: loss.compute(y, t), [p])
    else:
        tg.gradcheck(lambda t: loss(y, t), [p])


@pytest.mark.parametrize("name", CASES)
def test_float32_stays_float32(name):
    loss, y, p, rows = CASES[name]
    value = loss(y, tg.tensor(p.astype("float32")))
    assert value.dtype == "float32"
    assert value.item() == pytest.approx(rows.mean(), rel=1e-4)


def test_against_torch():
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    logits = torch.tensor(LOGITS)
    pairs = [
        (CASES["mse"], f.mse_loss(logits, torch.tensor(REAL))),
        (CASES["mae"], f.l1_loss(logits, torch.tensor(REAL))),
        (CASES["bce logits"], f.binary_cross_entropy_with_logits(logits, torch.tensor(BITS))),
        (CASES["sparse logits"], f.cross_entropy(logits, torch.tensor(IDS))),
        (CASES["ce smooth"], f.cross_entropy(logits, torch.tensor(IDS), label_smoothing=0.2)),
    ]
    for (loss, y, p, _), expected in pairs:
        assert loss(y, tg.tensor(p)).item() == pytest.approx(expected.item(), rel=1e-12)


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


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not getattr(case[0], "label_smoothing", 0.0)])
def test_functions_give_a_value_a_row(name):
    loss, y, p, rows = CASES[name]
    function = next(f for f, kind in losses.FUNCTIONS.items() if kind is type(loss))
    options = {"from_logits": True} if loss.from_logits else {}
    np.testing.assert_allclose(function(tg.tensor(y), tg.tensor(p), **options).numpy(), rows, rtol=1e-9)


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


# Bad input, by type and text


def shaped(*shape):
    return tg.zeros(shape)


@pytest.mark.parametrize(("loss", "y", "p", "kind", "text"), [
    (MeanSquaredError(), shaped(4, 1), shaped(4), ShapeError, "MeanSquaredError: expected targets of the shape (4,) of the predictions, received shape (4, 1). Hint: use y_true.reshape(-1)."),
    (MeanSquaredError(), shaped(4, 2), shaped(4, 1), ShapeError, "expected targets of the shape (4, 1) of the predictions, received shape (4, 2)"),
    (MeanSquaredError(), shaped(4), shaped(4, 2), ShapeError, "Hint: the model gives (2,) per row; y_true.reshape(-1, 2) if"),
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
    (SparseCategoricalCrossentropy(), [1], tg.tensor([[2.0, -1.0]]), ValueError, "expected probabilities in [0, 1], received values from -1 to 2"),
])  # fmt: skip
def test_bad_targets_and_predictions(loss, y, p, kind, text):
    with pytest.raises(kind) as caught:
        loss(y, p)
    assert text in str(caught.value)


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
        (3, TypeError, "received 3"),
    ]:
        with pytest.raises(kind) as caught:
            losses.get(bad)
        assert text in str(caught.value)
    with pytest.raises(ValueError, match="did you mean 'sum'"):
        MeanSquaredError(reduction="sums")
    with pytest.raises(ValueError, match=r"expected label_smoothing to be a number in \[0, 1\], received 2"):
        BinaryCrossentropy(label_smoothing=2)


@pytest.mark.gpu
@pytest.mark.parametrize("name", CASES)
def test_cuda(name):
    loss, y, p, rows = CASES[name]
    value = loss(tg.tensor(y, device="cuda"), tg.tensor(p, device="cuda", requires_grad=True), WEIGHTS[: len(rows)])
    value.backward()
    weights = WEIGHTS[: len(rows)].reshape(-1, *(1,) * (rows.ndim - 1))
    assert value.item() == pytest.approx((rows * weights).mean(), rel=1e-9)


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
