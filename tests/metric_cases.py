"""Metrics with targets, predictions and what scikit-learn says of them. Needs only NumPy, so that Keras can run the
same cases (golden/make_metrics.py)."""

# ruff: noqa: E501 -- the table has a case a line

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

RANDOM = np.random.default_rng(5)
N = 60
BATCHES = [(0, 32), (32, 59), (59, 60)]


def grid(shape, low=1, high=128):
    """Multiples of 1/128 inside of (0, 1): exact in float32, and for 129 thresholds."""
    return RANDOM.integers(low, high, shape) / 128


IDS = RANDOM.integers(0, 4, N)
GUESSED = np.where(RANDOM.random(N) < 0.6, IDS, RANDOM.integers(0, 4, N))
ONE_HOT = np.eye(4)[IDS]
SCORES = RANDOM.permuted(np.broadcast_to([1, 2, 4, 9], (N, 4)), axis=1) / 16
RANKED = np.argsort(-SCORES, axis=1)
BITS = RANDOM.integers(0, 2, N)
P = np.clip(grid((N, 1)) + 0.25 * BITS[:, None], 0, 127 / 128)
LABELS = RANDOM.integers(0, 2, (N, 3))
PL = grid((N, 3))
REAL, GUESS = RANDOM.integers(-64, 64, (2, N, 3)) / 32 + 0.01
SIZES, SIZES_GUESSED = RANDOM.integers(1, 64, (2, N, 3)) / 16
WEIGHTS = RANDOM.integers(0, 4, N).astype(float)
CONTINUOUS = RANDOM.random((N, 3)).astype("float32")
LOGITS = RANDOM.normal(size=(N, 3)).astype("float32") * 2


@dataclass
class Case:
    """A metric, made from a module of metrics; targets and predictions; `expected(sk, y, p, weights)` by scikit-learn.

    Attributes:
        keras: whether Keras has the metric with these arguments, and means the same by it.
        steps: whether rows may be time steps.
        empty: the result before the first batch.
    """

    make: Any
    y: Any
    p: Any
    expected: Any = None
    keras: bool = True
    steps: bool = True
    empty: Any = 0.0


def flat(weights, columns):
    return None if weights is None else np.repeat(weights, columns)


def average(values, weights):
    return np.average(values, weights=weights, axis=0)


def counts(which):
    def expected(sk, y, p, w):
        matrix = sk.confusion_matrix(y, p[:, 0] > 0.5, sample_weight=w)
        return matrix[which]

    return expected


def pr_points(sk, y, p, w):
    precision, recall, _ = sk.precision_recall_curve(y, p.reshape(-1), sample_weight=w)
    precision[-1] = 0.0  # where nothing is positive; scikit-learn says 1
    return precision, recall


def pr_sum(heights):
    def expected(sk, y, p, w):
        precision, recall = pr_points(sk, y, p, w)
        return float(-np.sum(np.diff(recall) * heights(precision[:-1], precision[1:])))

    return expected


def pr_interpolated(sk, y, p, w):
    """The integral of precision over recall, where true positives grow evenly with all positives."""
    from scipy.integrate import quad

    def precision(s, right, more_right, positive, more_positive):
        return (right + s * more_right) / (positive + s * more_positive)

    p, w = p.reshape(-1), np.ones(len(y)) if w is None else w
    at = np.unique(np.append(p, 2.0))
    tp = np.array([w[(p >= t) & (y == 1)].sum() for t in at])
    every = np.array([w[p >= t].sum() for t in at])
    area = 0.0
    for (tp1, every1), (tp0, every0) in pairwise(zip(tp, every, strict=True)):
        if tp1 > tp0:
            steps = tp0, tp1 - tp0, every0, every1 - every0
            area += (tp1 - tp0) * quad(precision, 1e-14, 1, steps, epsabs=1e-13, epsrel=1e-13)[0]
    return area / w[y == 1].sum()


def best_at(name):
    def expected(sk, y, p, w):
        fpr, tpr, _ = sk.roc_curve(y, p.reshape(-1), sample_weight=w, drop_intermediate=False)
        precision, recall = pr_points(sk, y, p, w)
        given, sought = {
            "sensitivity": (1 - fpr, tpr), "specificity": (tpr, 1 - fpr), "precision": (recall, precision),
            "recall": (precision, recall),
        }[name]  # fmt: skip
        return sought[given >= 0.5].max()

    return expected


def f_score(beta=1.0, average=None, threshold=0.5):
    def expected(sk, y, p, w):
        positive = p == p.max(axis=1, keepdims=True) if threshold is None else p > threshold
        options = {"average": average, "sample_weight": w, "zero_division": 0}
        return sk.fbeta_score(y.astype(int), positive.astype(int), beta=beta, **options)

    return expected


def share(name, positive):
    """Precision or recall of all elements together."""

    def expected(sk, y, p, w):
        chosen = positive(p)
        y = y.reshape(chosen.shape)
        score = getattr(sk, f"{name}_score")
        return score(y.ravel() != 0, chosen.ravel(), sample_weight=flat(w, chosen.size // N), zero_division=0)

    return expected


def of_column(metric, column):
    return lambda sk, y, p, w: metric(sk, y[:, column], p[:, column], w)


def top_2(p):
    return p >= np.sort(p, axis=1)[:, -2:-1]


def jaccard(sk, y, p, w):
    return sk.jaccard_score(y, p, average=None, sample_weight=w)


def roc(sk, y, p, w):
    return sk.roc_auc_score(y.ravel(), p.ravel(), sample_weight=w)


def mean_error(name, factor=1.0):
    return lambda sk, y, p, w: factor * getattr(sk, name)(y, p, sample_weight=w)


def of_rows(function):
    """The mean of a value per row, in float64."""
    return lambda sk, y, p, w: average(function(y, p), w)


def difference(y, p):
    return abs(y - p)


def log_cosh(y, p):
    return np.log(np.cosh(p - y)).mean(axis=1)


def cosine(y, p):
    return (y * p).sum(1) / np.linalg.norm(y, axis=1) / np.linalg.norm(p, axis=1)


def r2(multioutput):
    return lambda sk, y, p, w: sk.r2_score(y, p, sample_weight=w, multioutput=multioutput)


def log_loss(sk, y, p, w):
    ids = y.argmax(axis=1) if y.ndim == 2 and y.shape[1] > 1 else y.reshape(-1)
    return sk.log_loss(ids, p if p.shape[1] > 1 else p[:, 0], sample_weight=w)


def confusion(normalize):
    return lambda sk, y, p, w: sk.confusion_matrix(
        y,
        p.argmax(axis=1) if p.ndim > 1 and p.shape[1] > 1 else p.reshape(-1) > 0.5,
        sample_weight=w,
        normalize=normalize,
    )


CASES = {
    "accuracy": Case(lambda m: m.Accuracy(), IDS, GUESSED, lambda sk, y, p, w: sk.accuracy_score(y, p, sample_weight=w)),
    "binary_accuracy": Case(lambda m: m.BinaryAccuracy(threshold=0.25), BITS, P, lambda sk, y, p, w: sk.accuracy_score(y, p[:, 0] > 0.25, sample_weight=w)),
    "sign_accuracy": Case(lambda m: m.SignAccuracy(), 2 * BITS - 1, P - 0.4, lambda sk, y, p, w: sk.accuracy_score(y, np.sign(p[:, 0]), sample_weight=w), keras=False),
    "binary_accuracy of columns": Case(lambda m: m.BinaryAccuracy(), LABELS, PL, of_rows(lambda y, p: ((p > 0.5) == y).mean(axis=1))),
    "categorical_accuracy": Case(lambda m: m.CategoricalAccuracy(), ONE_HOT, SCORES, lambda sk, y, p, w: sk.accuracy_score(y.argmax(1), p.argmax(1), sample_weight=w)),
    "sparse_categorical_accuracy": Case(lambda m: m.SparseCategoricalAccuracy(), IDS, SCORES, lambda sk, y, p, w: sk.accuracy_score(y, p.argmax(1), sample_weight=w)),
    "top_k_categorical_accuracy": Case(lambda m: m.TopKCategoricalAccuracy(k=2), ONE_HOT, SCORES, lambda sk, y, p, w: sk.top_k_accuracy_score(y.argmax(1), p, k=2, sample_weight=w)),
    "sparse_top_k_categorical_accuracy": Case(lambda m: m.SparseTopKCategoricalAccuracy(k=2), IDS, SCORES, lambda sk, y, p, w: sk.top_k_accuracy_score(y, p, k=2, sample_weight=w)),
    "sparse_top_k_categorical_accuracy of ids": Case(lambda m: m.SparseTopKCategoricalAccuracy(k=2, from_sorted_ids=True), IDS, RANKED, of_rows(lambda y, p: (p[:, :2] == y[:, None]).any(axis=1))),
    "true_positives": Case(lambda m: m.TruePositives(), BITS, P, counts((1, 1))),
    "false_positives": Case(lambda m: m.FalsePositives(), BITS, P, counts((0, 1))),
    "true_negatives": Case(lambda m: m.TrueNegatives(), BITS, P, counts((0, 0))),
    "false_negatives": Case(lambda m: m.FalseNegatives(), BITS, P, counts((1, 0))),
    "false_negatives by thresholds": Case(lambda m: m.FalseNegatives(thresholds=[0.9, 0.1, 0.5, 0.5]), BITS, P, lambda sk, y, p, w: [sk.confusion_matrix(y, p[:, 0] > t, sample_weight=w)[1, 0] for t in (0.9, 0.1, 0.5, 0.5)]),
    "precision": Case(lambda m: m.Precision(), BITS, P, share("precision", lambda p: p > 0.5)),
    "precision of columns": Case(lambda m: m.Precision(0.25), LABELS, PL, share("precision", lambda p: p > 0.25)),
    "precision by thresholds": Case(lambda m: m.Precision([0.7, 0.2, 1.0]), BITS, P, lambda sk, y, p, w: [share("precision", lambda p, t=t: p > t)(sk, y, p, w) for t in (0.7, 0.2, 1.0)]),
    "precision of even thresholds": Case(lambda m: m.Precision([0.0, 0.5, 1.0]), BITS, P, lambda sk, y, p, w: [share("precision", lambda p, t=t: p > t)(sk, y, p, w) for t in (0.0, 0.5, 1.0)]),
    "precision of the top 2": Case(lambda m: m.Precision(top_k=2), ONE_HOT, SCORES, share("precision", top_2)),
    "precision of a class": Case(lambda m: m.Precision(class_id=1), LABELS, PL, of_column(share("precision", lambda p: p > 0.5), 1)),
    "recall": Case(lambda m: m.Recall(), BITS, P, share("recall", lambda p: p > 0.5)),
    "recall of the top 2 above a threshold": Case(lambda m: m.Recall(0.3, top_k=2), ONE_HOT, SCORES, share("recall", lambda p: top_2(p) & (p > 0.3))),
    "recall of a class": Case(lambda m: m.Recall(class_id=2), LABELS, PL, of_column(share("recall", lambda p: p > 0.5), 2)),
    "f1_score": Case(lambda m: m.F1Score(), ONE_HOT, SCORES, f_score(threshold=None)),
    "f1_score by a threshold": Case(lambda m: m.F1Score(threshold=0.5), LABELS, PL, f_score()),
    "f1_score macro": Case(lambda m: m.F1Score(average="macro", threshold=0.5), LABELS, PL, f_score(average="macro")),
    "f1_score weighted": Case(lambda m: m.F1Score(average="weighted", threshold=0.5), LABELS, PL, f_score(average="weighted")),
    "f1_score of one output": Case(lambda m: m.F1Score(threshold=0.5), BITS[:, None], P, lambda sk, y, p, w: [sk.f1_score(y[:, 0], p[:, 0] > 0.5, sample_weight=w)]),
    "fbeta_score": Case(lambda m: m.FBetaScore(beta=2.0, threshold=0.5), LABELS, PL, f_score(2.0)),
    "fbeta_score micro": Case(lambda m: m.FBetaScore(average="micro", beta=0.5, threshold=0.5), LABELS, PL, f_score(0.5, "micro")),
    "auc": Case(lambda m: m.AUC(129), BITS, P, roc),
    "auc of columns": Case(lambda m: m.AUC(129), LABELS, PL, lambda sk, y, p, w: roc(sk, y, p, flat(w, 3))),
    "auc of labels": Case(lambda m: m.AUC(129, multi_label=True), LABELS, PL, lambda sk, y, p, w: sk.roc_auc_score(y, p, average="macro", sample_weight=w), steps=False),
    "auc of weighted labels": Case(lambda m: m.AUC(129, multi_label=True, num_labels=3, label_weights=[1.0, 0.0, 3.0]), LABELS, PL, lambda sk, y, p, w: np.average(sk.roc_auc_score(y, p, average=None, sample_weight=w), weights=[1, 0, 3]), steps=False),
    "auc of weighted columns": Case(lambda m: m.AUC(129, label_weights=[1.0, 0.5, 3.0]), LABELS, PL, lambda sk, y, p, w: roc(sk, y, p, np.tile([1, 0.5, 3], N) * (1 if w is None else flat(w, 3)))),
    "auc of 200 thresholds": Case(lambda m: m.AUC(), LABELS, CONTINUOUS),
    "auc of 2 thresholds": Case(lambda m: m.AUC(2), LABELS, CONTINUOUS),
    "auc of few thresholds": Case(lambda m: m.AUC(thresholds=[0.3, 0.7, 0.1]), LABELS, CONTINUOUS),
    "auc of even thresholds": Case(lambda m: m.AUC(thresholds=[0.25, 0.5, 0.75], summation_method="majoring"), LABELS, CONTINUOUS),
    "auc of uneven thresholds for labels": Case(lambda m: m.AUC(thresholds=[0.3, 0.7], curve="PR", multi_label=True), LABELS, CONTINUOUS, steps=False),
    "auc from logits": Case(lambda m: m.AUC(from_logits=True, curve="PR"), LABELS, LOGITS),
    "auc minoring": Case(lambda m: m.AUC(summation_method="minoring"), LABELS, CONTINUOUS),
    "auc pr": Case(lambda m: m.AUC(129, curve="PR"), BITS, P, pr_interpolated),
    "auc pr minoring": Case(lambda m: m.AUC(129, curve="PR", summation_method="minoring"), BITS, P, pr_sum(np.minimum)),
    "auc pr majoring": Case(lambda m: m.AUC(129, curve="PR", summation_method="majoring"), BITS, P, pr_sum(np.maximum)),
    "auc pr of labels": Case(lambda m: m.AUC(curve="PR", multi_label=True, label_weights=[1.0, 2.0, 3.0]), LABELS, CONTINUOUS, steps=False),
    "auc pr gain": Case(lambda m: m.AUC(curve="PRGAIN"), BITS, P),
    "sensitivity_at_specificity": Case(lambda m: m.SensitivityAtSpecificity(0.5, num_thresholds=129), BITS, P, best_at("sensitivity")),
    "specificity_at_sensitivity": Case(lambda m: m.SpecificityAtSensitivity(0.5, num_thresholds=129), BITS, P, best_at("specificity")),
    "precision_at_recall": Case(lambda m: m.PrecisionAtRecall(0.5, num_thresholds=129), BITS, P, best_at("precision")),
    "recall_at_precision": Case(lambda m: m.RecallAtPrecision(0.5, num_thresholds=129), BITS, P, best_at("recall")),
    "recall_at_precision of a class": Case(lambda m: m.RecallAtPrecision(0.4, class_id=1), LABELS, CONTINUOUS),
    "sensitivity_at_specificity at one threshold": Case(lambda m: m.SensitivityAtSpecificity(0.25, num_thresholds=1), LABELS, CONTINUOUS),
    "io_u": Case(lambda m: m.IoU(4, [0, 2]), IDS, GUESSED, lambda sk, y, p, w: jaccard(sk, y, p, w)[[0, 2]].mean()),
    "io_u without a class": Case(lambda m: m.IoU(4, [0, 1], ignore_class=0, sparse_y_pred=False), IDS, SCORES),
    "mean_io_u": Case(lambda m: m.MeanIoU(4), IDS, GUESSED, lambda sk, y, p, w: jaccard(sk, y, p, w).mean()),
    "mean_io_u with a class that is not there": Case(lambda m: m.MeanIoU(5), IDS, GUESSED, lambda sk, y, p, w: jaccard(sk, y, p, w).mean()),
    "binary_io_u": Case(lambda m: m.BinaryIoU(threshold=0.25), BITS, P, lambda sk, y, p, w: jaccard(sk, y, p[:, 0] >= 0.25, w).mean(), keras="flat"),
    "binary_io_u of ones": Case(lambda m: m.BinaryIoU([1]), BITS, P, lambda sk, y, p, w: jaccard(sk, y, p[:, 0] >= 0.5, w)[1], keras="flat"),
    "one_hot_io_u": Case(lambda m: m.OneHotIoU(4, [3]), ONE_HOT, SCORES, lambda sk, y, p, w: jaccard(sk, y.argmax(1), p.argmax(1), w)[3]),
    "one_hot_mean_io_u": Case(lambda m: m.OneHotMeanIoU(4), ONE_HOT, SCORES, lambda sk, y, p, w: jaccard(sk, y.argmax(1), p.argmax(1), w).mean()),
    "confusion_matrix": Case(lambda m: m.ConfusionMatrix(4), IDS, SCORES, confusion(None), keras=False),
    "confusion_matrix by targets": Case(lambda m: m.ConfusionMatrix(4, "true"), IDS, SCORES, confusion("true"), keras=False),
    "confusion_matrix by predictions": Case(lambda m: m.ConfusionMatrix(4, normalize="pred"), IDS, SCORES, confusion("pred"), keras=False),
    "confusion_matrix of two": Case(lambda m: m.ConfusionMatrix(2, normalize="all"), BITS, P, confusion("all"), keras=False),
    "mean_squared_error": Case(lambda m: m.MeanSquaredError(), REAL, GUESS, mean_error("mean_squared_error")),
    "root_mean_squared_error": Case(lambda m: m.RootMeanSquaredError(), REAL, GUESS, lambda sk, y, p, w: sk.mean_squared_error(y, p, sample_weight=w) ** 0.5),
    "mean_absolute_error": Case(lambda m: m.MeanAbsoluteError(), REAL, GUESS, mean_error("mean_absolute_error")),
    "mean_absolute_percentage_error": Case(lambda m: m.MeanAbsolutePercentageError(), REAL, GUESS, mean_error("mean_absolute_percentage_error", 100.0)),
    "mean_squared_logarithmic_error": Case(lambda m: m.MeanSquaredLogarithmicError(), SIZES, SIZES_GUESSED, mean_error("mean_squared_log_error")),
    "log_cosh_error": Case(lambda m: m.LogCoshError(), REAL, GUESS, of_rows(log_cosh)),
    "cosine_similarity": Case(lambda m: m.CosineSimilarity(), REAL, GUESS, of_rows(cosine)),
    "r2_score": Case(lambda m: m.R2Score(), REAL, GUESS, r2("uniform_average")),
    "r2_score of outputs": Case(lambda m: m.R2Score(class_aggregation=None), REAL, GUESS, r2("raw_values")),
    "r2_score by variance": Case(lambda m: m.R2Score("variance_weighted_average"), REAL, GUESS, r2("variance_weighted")),
    "r2_score adjusted": Case(lambda m: m.R2Score(num_regressors=2), REAL[:, :1], GUESS[:, :1], lambda sk, y, p, w: 1 - (1 - sk.r2_score(y, p, sample_weight=w)) * (N - 1) / (N - 3), steps=False),
    "binary_crossentropy": Case(lambda m: m.BinaryCrossentropy(), BITS[:, None], P, log_loss),
    "binary_crossentropy from logits": Case(lambda m: m.BinaryCrossentropy(from_logits=True, label_smoothing=0.1), LABELS, LOGITS),
    "categorical_crossentropy": Case(lambda m: m.CategoricalCrossentropy(), ONE_HOT, SCORES, log_loss),
    "categorical_crossentropy from logits": Case(lambda m: m.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1), ONE_HOT[:, :3] * (IDS < 3)[:, None] + [1, 0, 0] * (IDS == 3)[:, None], LOGITS),
    "sparse_categorical_crossentropy": Case(lambda m: m.SparseCategoricalCrossentropy(), IDS, SCORES, log_loss),
    "sparse_categorical_crossentropy from logits": Case(lambda m: m.SparseCategoricalCrossentropy(from_logits=True), IDS % 3, LOGITS),
    "categorical_crossentropy along an axis": Case(lambda m: m.CategoricalCrossentropy(axis=1), np.stack([ONE_HOT, ONE_HOT[::-1]], axis=2), np.stack([SCORES, SCORES[::-1]], axis=2), of_rows(lambda y, p: -np.log((y * p).sum(1)).mean(1)), steps=False),
    "sparse_categorical_crossentropy along an axis": Case(lambda m: m.SparseCategoricalCrossentropy(axis=1), np.stack([IDS, IDS[::-1]], axis=1), np.stack([SCORES, SCORES[::-1]], axis=2), lambda sk, y, p, w: average(-np.log(np.take_along_axis(p, y[:, None], 1)[:, 0]).mean(1), w), keras=False, steps=False),
    "kl_divergence": Case(lambda m: m.KLDivergence(), SCORES, SCORES[:, ::-1].copy(), of_rows(lambda y, p: (y * np.log(y / p)).sum(1))),
    "poisson": Case(lambda m: m.Poisson(), LABELS, SIZES_GUESSED, of_rows(lambda y, p: (p - y * np.log(p + 1e-7)).mean(1))),
    "hinge": Case(lambda m: m.Hinge(), BITS[:, None], P, lambda sk, y, p, w: sk.hinge_loss(2 * y[:, 0] - 1, p[:, 0], sample_weight=w)),
    "squared_hinge": Case(lambda m: m.SquaredHinge(), 2 * LABELS - 1, LOGITS, of_rows(lambda y, p: (np.maximum(1 - y * p.astype(float), 0) ** 2).mean(1))),
    "categorical_hinge": Case(lambda m: m.CategoricalHinge(), ONE_HOT, SCORES, lambda sk, y, p, w: sk.hinge_loss(y.argmax(1), p, sample_weight=w)),
    "perplexity": Case(lambda m: m.Perplexity(), IDS, SCORES, lambda sk, y, p, w: np.exp(log_loss(sk, y, p, w)), keras=False, empty=1.0),
    "perplexity with a mask": Case(lambda m: m.Perplexity(mask_token_id=2), IDS, SCORES, lambda sk, y, p, w: np.exp(average(-np.log(p[np.arange(N), y])[y != 2], None if w is None else w[y != 2])), keras=False, empty=1.0),
    "mean": Case(lambda m: m.Mean(), None, GUESS, lambda sk, y, p, w: average(p.mean(axis=1), w), steps=False),
    "sum": Case(lambda m: m.Sum(), None, GUESS, lambda sk, y, p, w: (p * (1 if w is None else w[:, None])).sum(), steps=False),
    "mean_metric_wrapper": Case(lambda m: m.MeanMetricWrapper(difference), REAL, GUESS, mean_error("mean_absolute_error")),
}  # fmt: skip
