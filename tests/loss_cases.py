"""A case or more for each loss: options, targets, predictions, and the loss of each row by its formula in float64.

Read by test_losses.py, which computes them by tinygrad_edu, and by golden/make_losses.py, which does by Keras: so
neither is imported here.
"""

# ruff: noqa: E501 -- a case a line

import itertools
from dataclasses import dataclass, field

import numpy as np

RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(size=(6, 4)) * 2
SEQUENCES = RANDOM.normal(size=(3, 5, 4)) * 2
IDS = RANDOM.integers(0, 4, 6)
SEQUENCE_IDS = RANDOM.integers(0, 4, (3, 5))
ONE_HOT = np.eye(4)[IDS]
BITS = RANDOM.integers(0, 2, (6, 4)).astype(float)
REAL = RANDOM.normal(size=(6, 4))
WEIGHTS = np.array([0.0, 1.0, 2.0, 0.5, 1.0, 3.0])
COUNTS = RANDOM.integers(0, 4, (6, 4)).astype(float)
RATES = RANDOM.uniform(0.1, 4.0, (6, 4))
SHARES = RANDOM.uniform(0.05, 1.0, (6, 4))
SIGNS = 2 * BITS - 1
BIT_SEQUENCES = RANDOM.integers(0, 2, (3, 5, 4)).astype(float)
EPSILON = 1e-7
REDUCTIONS = ("mean", "mean_with_sample_weight", "sum", "sum_over_batch_size")


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def binary_terms(y, p):
    return -(y * np.log(p) + (1 - y) * np.log(1 - p))


def rows_of_bce(y, x):
    return binary_terms(y, sigmoid(x)).mean(-1)


def rows_of_ce(y, x, axis=-1):
    return -(y * np.log(softmax(x, axis))).sum(axis)


def binary_focal(y, p, gamma):
    return (1 - (y * p + (1 - y) * (1 - p))) ** gamma * binary_terms(y, p)


def focal(y, p, alpha, gamma, axis=-1):
    return -(alpha * (1 - p) ** gamma * y * np.log(p)).sum(axis)


def rows_of_huber(e, delta):
    return np.where(abs(e) <= delta, e**2 / 2, delta * abs(e) - delta**2 / 2).mean(-1)


def cosine(a, b, axis=-1):
    return (a * b).sum(axis) / np.sqrt((a**2).sum(axis) * (b**2).sum(axis))


def hinges(side, p):
    return np.maximum(1 - side * p, 0)


def at_least(a):
    return np.maximum(a, EPSILON)


def rows_of_ctc(labels, logits):
    """By all sequences of a class a step, of which those count that give the labels."""
    p, rows = softmax(logits), np.zeros(len(labels))
    for n, wanted in enumerate(labels):
        for path in itertools.product(range(p.shape[2]), repeat=p.shape[1]):
            if [k for k, _ in itertools.groupby(path) if k] == [k for k in wanted if k]:
                rows[n] += p[n, range(len(path)), path].prod()
    return -np.log(rows)


@dataclass(frozen=True)
class Case:
    kind: str
    y: np.ndarray
    p: np.ndarray
    rows: np.ndarray
    options: dict = field(default_factory=dict)
    keras: bool = True  # whether Keras computes it on TensorFlow
    exact: bool = True  # and in float64

    def weights(self):
        """A weight for each row."""
        return WEIGHTS[: len(self.rows)]


ERRORS = LOGITS - REAL
SOFT, SOFTS, HARD = softmax(LOGITS), softmax(SEQUENCES), sigmoid(LOGITS)
SMOOTH_BITS, SMOOTH_ONE_HOT = BITS * 0.8 + 0.1, ONE_HOT * 0.8 + 0.05
ALONG_1 = np.moveaxis(np.eye(4)[SEQUENCE_IDS], -1, 1)  # the classes along the axis 1
LOGITS_ALONG_1 = np.moveaxis(SEQUENCES, -1, 1)
LOGITS_, SMOOTH = {"from_logits": True}, {"label_smoothing": 0.2}
LABELS = np.array([[1, 2, 3], [2, 2, 0], [3, 0, 0]])
ALPHAS = np.array([0.1, 0.2, 0.3, 0.4])

CASES = {
    "mse": Case("MeanSquaredError", REAL, LOGITS, (ERRORS**2).mean(-1)),
    "mae": Case("MeanAbsoluteError", REAL, LOGITS, abs(ERRORS).mean(-1)),
    "mape": Case("MeanAbsolutePercentageError", REAL, LOGITS, 100 * abs(ERRORS / REAL).mean(-1)),
    "mape of 0": Case("MeanAbsolutePercentageError", BITS, LOGITS, 100 * abs((LOGITS - BITS) / at_least(BITS)).mean(-1)),
    "msle": Case("MeanSquaredLogarithmicError", COUNTS, RATES, ((np.log1p(RATES) - np.log1p(at_least(COUNTS))) ** 2).mean(-1)),
    "msle below 0": Case("MeanSquaredLogarithmicError", COUNTS, LOGITS, ((np.log1p(at_least(LOGITS)) - np.log1p(at_least(COUNTS))) ** 2).mean(-1)),
    "huber": Case("Huber", REAL, LOGITS, rows_of_huber(ERRORS, 1)),
    "huber 2.5": Case("Huber", REAL, LOGITS, rows_of_huber(ERRORS, 2.5), {"delta": 2.5}),
    "log cosh": Case("LogCosh", REAL, LOGITS, np.log(np.cosh(ERRORS)).mean(-1)),
    "poisson": Case("Poisson", COUNTS, RATES, (RATES - COUNTS * np.log(RATES + EPSILON)).mean(-1)),
    "cosine": Case("CosineSimilarity", REAL, LOGITS, -cosine(REAL, LOGITS)),
    "cosine 1": Case("CosineSimilarity", BIT_SEQUENCES + 0.5, SEQUENCES, -cosine(BIT_SEQUENCES + 0.5, SEQUENCES, 1), {"axis": 1}),
    "hinge": Case("Hinge", SIGNS, LOGITS, hinges(SIGNS, LOGITS).mean(-1)),
    "hinge of bits": Case("Hinge", BITS, LOGITS, hinges(SIGNS, LOGITS).mean(-1)),
    "squared hinge": Case("SquaredHinge", SIGNS, LOGITS, (hinges(SIGNS, LOGITS) ** 2).mean(-1)),
    "squared hinge of bits": Case("SquaredHinge", BITS, LOGITS, (hinges(SIGNS, LOGITS) ** 2).mean(-1)),
    "categorical hinge": Case("CategoricalHinge", ONE_HOT, LOGITS, np.maximum(0, 1 + ((1 - ONE_HOT) * LOGITS).max(-1) - (ONE_HOT * LOGITS).sum(-1))),
    "bce logits": Case("BinaryCrossentropy", BITS, LOGITS, rows_of_bce(BITS, LOGITS), LOGITS_),
    "bce": Case("BinaryCrossentropy", BITS, HARD, rows_of_bce(BITS, LOGITS)),
    "bce smooth": Case("BinaryCrossentropy", BITS, LOGITS, rows_of_bce(SMOOTH_BITS, LOGITS), LOGITS_ | SMOOTH),
    "bce 1": Case("BinaryCrossentropy", BIT_SEQUENCES, SEQUENCES, binary_terms(BIT_SEQUENCES, sigmoid(SEQUENCES)).mean(1), LOGITS_ | {"axis": 1}),
    "focal logits": Case("BinaryFocalCrossentropy", BITS, LOGITS, binary_focal(BITS, HARD, 2).mean(-1), LOGITS_),
    "focal": Case("BinaryFocalCrossentropy", BITS, HARD, binary_focal(BITS, HARD, 2).mean(-1)),
    "focal 3": Case("BinaryFocalCrossentropy", BITS, LOGITS, (np.where(BITS, 0.4, 0.6) * binary_focal(BITS, HARD, 3)).mean(-1), LOGITS_ | {"alpha": 0.4, "gamma": 3.0, "apply_class_balancing": True}),
    "focal smooth": Case("BinaryFocalCrossentropy", BITS, HARD, binary_focal(SMOOTH_BITS, HARD, 1.5).mean(-1), SMOOTH | {"gamma": 1.5}),
    "ce logits": Case("CategoricalCrossentropy", ONE_HOT, LOGITS, rows_of_ce(ONE_HOT, LOGITS), LOGITS_),
    "ce": Case("CategoricalCrossentropy", ONE_HOT, SOFT, rows_of_ce(ONE_HOT, LOGITS)),
    "ce smooth": Case("CategoricalCrossentropy", ONE_HOT, LOGITS, rows_of_ce(SMOOTH_ONE_HOT, LOGITS), LOGITS_ | SMOOTH),
    "ce smooth p": Case("CategoricalCrossentropy", ONE_HOT, SOFT, rows_of_ce(SMOOTH_ONE_HOT, LOGITS), SMOOTH),
    "ce 1": Case("CategoricalCrossentropy", ALONG_1, LOGITS_ALONG_1, rows_of_ce(ALONG_1, LOGITS_ALONG_1, 1), LOGITS_ | {"axis": 1}),
    "ce 1 p": Case("CategoricalCrossentropy", ALONG_1, softmax(LOGITS_ALONG_1, 1), rows_of_ce(ALONG_1, LOGITS_ALONG_1, 1), {"axis": 1}),
    "categorical focal logits": Case("CategoricalFocalCrossentropy", ONE_HOT, LOGITS, focal(ONE_HOT, SOFT, 0.25, 2), LOGITS_),
    "categorical focal": Case("CategoricalFocalCrossentropy", ONE_HOT, SOFT, focal(ONE_HOT, SOFT, 0.25, 2)),
    "categorical focal by class": Case("CategoricalFocalCrossentropy", ONE_HOT, LOGITS, focal(ONE_HOT, SOFT, ALPHAS, 3), LOGITS_ | {"alpha": [0.1, 0.2, 0.3, 0.4], "gamma": 3.0}),
    "categorical focal smooth": Case("CategoricalFocalCrossentropy", ONE_HOT, SOFT, focal(SMOOTH_ONE_HOT, SOFT, 0.5, 1.5), SMOOTH | {"alpha": 0.5, "gamma": 1.5}),
    "categorical focal 1": Case("CategoricalFocalCrossentropy", ALONG_1, LOGITS_ALONG_1, focal(ALONG_1, softmax(LOGITS_ALONG_1, 1), 0.25, 2, 1), LOGITS_ | {"axis": 1}),
    "sparse logits": Case("SparseCategoricalCrossentropy", IDS, LOGITS, rows_of_ce(ONE_HOT, LOGITS), LOGITS_),
    "sparse": Case("SparseCategoricalCrossentropy", IDS, SOFT, rows_of_ce(ONE_HOT, LOGITS)),
    "sparse float ids": Case("SparseCategoricalCrossentropy", IDS.astype(float), SOFT, rows_of_ce(ONE_HOT, LOGITS)),
    "sparse sequences": Case("SparseCategoricalCrossentropy", SEQUENCE_IDS, SEQUENCES, rows_of_ce(np.eye(4)[SEQUENCE_IDS], SEQUENCES), LOGITS_),
    "sparse 1": Case("SparseCategoricalCrossentropy", SEQUENCE_IDS, LOGITS_ALONG_1, rows_of_ce(ALONG_1, LOGITS_ALONG_1, 1), LOGITS_ | {"axis": 1}, keras=False),
    "sparse 1 p": Case("SparseCategoricalCrossentropy", SEQUENCE_IDS[:, None], softmax(LOGITS_ALONG_1, 1), rows_of_ce(ALONG_1, LOGITS_ALONG_1, 1), {"axis": 1}, keras=False),
    "kl": Case("KLDivergence", SHARES, SOFT, (SHARES * np.log(SHARES / SOFT)).sum(-1)),
    "kl of 0": Case("KLDivergence", ONE_HOT, SOFT, (at_least(ONE_HOT) * np.log(at_least(ONE_HOT) / SOFT)).sum(-1)),
    "dice": Case("Dice", BIT_SEQUENCES, sigmoid(SEQUENCES), 1 - 2 * (BIT_SEQUENCES * sigmoid(SEQUENCES)).sum((1, 2)) / (BIT_SEQUENCES.sum((1, 2)) + sigmoid(SEQUENCES).sum((1, 2)) + EPSILON), {"axis": (1, 2)}),
    "ctc": Case("CTC", LABELS, SEQUENCES, rows_of_ctc(LABELS, SEQUENCES), exact=False),
    "tversky": Case("Tversky", BITS, HARD, 1 - (BITS * HARD).sum(-1) / ((BITS * HARD).sum(-1) + 0.3 * (BITS * (1 - HARD)).sum(-1) + 0.7 * ((1 - BITS) * HARD).sum(-1) + EPSILON), {"alpha": 0.3, "beta": 0.7, "axis": -1}),
}  # fmt: skip
