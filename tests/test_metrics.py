"""Every metric: over uneven batches, against scikit-learn and Keras, with weights and masks, in fit, on CUDA."""

from pathlib import Path

import numpy as np
import pytest
from metric_cases import BATCHES, CASES, WEIGHTS, N

import tinygrad_edu as tg
from tinygrad_edu import metrics
from tinygrad_edu.layers import Dense, Input
from tinygrad_edu.models import Sequential
from tinygrad_edu.optimizers import SGD

GOLDEN = np.load(Path(__file__).parent / "golden" / "metrics.npz")
KINDS = [("plain", None), ("weighted", WEIGHTS)]
STEPS = {name: case for name, case in CASES.items() if case.steps}
FIT_BATCHES = [(0, 32), (32, 60)]


def groups():
    """The cases that one model can have at once, for they share their data."""
    found = {}
    for name, case in CASES.items():
        if case.y is not None and case.p.ndim < 3:
            found.setdefault((id(case.y), id(case.p)), []).append(name)
    return list(found.values())


GROUPS = groups()


def updated(case, batches, dtype="float64", weights=None, device="cpu"):
    """The metric of a case, after these batches."""
    metric = case.make(metrics)
    predictions = np.asarray(case.p, dtype if case.p.dtype.kind == "f" else case.p.dtype)
    for first, last in batches:
        given = [tg.tensor(a[first:last], device=device) for a in (case.y, predictions) if a is not None]
        metric.update_state(*given, sample_weight=None if weights is None else weights[first:last])
    return metric


def test_every_metric_has_a_case():
    kinds = {kind for kind in map(metrics.__dict__.get, metrics.__all__) if isinstance(kind, type)}
    made = {type(case.make(metrics)) for case in CASES.values()}
    assert kinds - made == {metrics.Metric, metrics.MeanMetric, metrics.LossMetric}
    assert {f"{name}/{kind}" for name, case in CASES.items() if case.keras for kind, _ in KINDS} | {"version"} == set(
        GOLDEN
    )


@pytest.mark.parametrize(("kind", "weights"), KINDS)
@pytest.mark.parametrize("name", CASES)
def test_uneven_batches_are_as_one(name, kind, weights):
    case = CASES[name]
    metric = updated(case, BATCHES, weights=weights)
    np.testing.assert_allclose(metric.result(), updated(case, [(0, N)], weights=weights).result(), rtol=1e-12)
    metric.reset_state()
    for t in metric.variables:
        assert not t.numpy().any()


@pytest.mark.parametrize(("kind", "weights"), KINDS)
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.expected])
def test_scikit_learn(name, kind, weights):
    sk, case = pytest.importorskip("sklearn.metrics"), CASES[name]
    weights = None if weights is None else weights / 3
    found = updated(case, BATCHES, weights=weights).result()
    np.testing.assert_allclose(found, case.expected(sk, case.y, case.p, weights), rtol=1e-11, atol=1e-14)
    assert np.ndim(found) == 0 or found.dtype == "float64"


@pytest.mark.parametrize(("kind", "weights"), KINDS)
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.keras])
def test_keras(name, kind, weights):
    found = updated(CASES[name], BATCHES, "float32", weights).result()
    np.testing.assert_allclose(found, GOLDEN[f"{name}/{kind}"], rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_before_the_first_batch(name):
    case = CASES[name]
    metric = case.make(metrics)
    np.testing.assert_array_equal(metric.result(), np.full(np.shape(metric.result()), case.empty))
    if case.y is not None:
        metric.update_state(case.y, case.p, np.zeros(N))
        np.testing.assert_array_equal(metric.result(), np.full(np.shape(metric.result()), case.empty))
    assert case.make(metrics).name in repr(metric)


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group[0])
def test_fit(group, jit):
    y, p = CASES[group[0]].y, CASES[group[0]].p.astype("float32")
    columns = p.reshape(N, -1)
    model = Sequential([Input((columns.shape[1],)), Dense(columns.shape[1], kernel_initializer="identity")])
    made = []
    for _ in range(2):
        made.append([CASES[name].make(metrics) for name in group])
        for name, metric in zip(group, made[-1], strict=True):
            metric.name = name
    model.compile(
        SGD(0.0), lambda y, p: tg.mean(tg.square(p), axis=-1), metrics=made[0], weighted_metrics=made[1], jit=jit
    )
    options = {"batch_size": 32, "shuffle": False, "sample_weight": WEIGHTS, "verbose": 0}
    history = model.fit(columns, y, epochs=2, **options).history
    for name in group:
        for result, weights in ((name, None), (f"weighted_{name}", WEIGHTS)):
            wanted = updated(CASES[name], FIT_BATCHES, "float32", weights).result()
            for epoch in range(2):
                np.testing.assert_allclose(history[result][epoch], wanted, rtol=1e-6, err_msg=result)


@pytest.mark.parametrize("name", STEPS)
def test_masks(name):
    case = STEPS[name]
    if case.y is None:
        return
    mask = np.arange(5) < np.array([5, 1, 3, 2, 5, 4, 1, 2, 3, 5, 4, 1])[:, None]
    rows = WEIGHTS[:12] + 1
    p = case.p.reshape(12, 5, *case.p.shape[1:])
    y = case.y.reshape(12, 5, *case.y.shape[1:])
    if case.y.ndim == 1 and case.p.shape[1:] == (1,) and not isinstance(case.make(metrics), metrics.ConfusionMatrix):
        y = y[..., None]
    metric, kept = case.make(metrics), case.make(metrics)
    predictions = tg.tensor(p)
    predictions.mask = tg.tensor(mask)
    metric.update_state(y, predictions, rows)
    chosen = mask.reshape(-1)
    kept.update_state(case.y[chosen], case.p[chosen], np.repeat(rows, 5)[chosen])
    np.testing.assert_allclose(metric.result(), kept.result(), rtol=1e-12)
    predictions.mask = tg.tensor(np.ones((12, 5), bool))
    metric.reset_state()
    metric.update_state(y, predictions)
    np.testing.assert_allclose(metric.result(), updated(case, [(0, N)]).result(), rtol=1e-12)


@pytest.mark.gpu
@pytest.mark.parametrize("name", CASES)
def test_cuda(name):
    case = CASES[name]
    there = updated(case, BATCHES, "float32", WEIGHTS, "cuda")
    assert all(str(t.device) == "cuda:0" for t in there.variables)
    np.testing.assert_allclose(there.result(), updated(case, BATCHES, "float32", WEIGHTS).result(), rtol=1e-6)


@pytest.mark.gpu
@pytest.mark.parametrize("jit", [True, False])
def test_fit_on_cuda(jit):
    y, p = CASES["auc"].y, CASES["auc"].p.astype("float32")
    found = []
    for device in ("cpu", "cuda"):
        model = Sequential([Input((1,)), Dense(1, kernel_initializer="identity")]).to(device)
        model.compile(
            SGD(0.0), "mse", metrics=["auc", "precision", Span()], weighted_metrics=["confusion_matrix"], jit=jit
        )
        found.append(model.fit(p, y, batch_size=32, verbose=0, shuffle=False, sample_weight=WEIGHTS).history)
    assert found[0].keys() == found[1].keys()
    for name, values in found[0].items():
        np.testing.assert_allclose(values, found[1][name], rtol=1e-5)


class Span(metrics.Metric):
    """A metric of a user's, as one is written for Keras."""

    def __init__(self, name="span", **options):
        super().__init__(name=name, **options)
        self.highest = self.add_weight(name="highest", initializer="zeros")
        self.lowest = self.add_weight(name="lowest", shape=(1,), initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.highest.assign_(tg.maximum(self.highest, tg.max(y_pred)))
        self.lowest.assign_(tg.minimum(self.lowest, tg.min(y_pred, axis=0)))

    def result(self):
        return self.highest - self.lowest[0]
