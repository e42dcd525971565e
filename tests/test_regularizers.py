"""Regularizers: formulas, gradients, what they add to a loss, saving. Numbers that Keras 3.15.1 gives are literals."""

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import regularizers
from tinygrad_edu.layers import Dense, Input, Layer
from tinygrad_edu.models import Model, Sequential, load_model
from tinygrad_edu.optimizers import SGD
from tinygrad_edu.regularizers import L1, L1L2, L2, OrthogonalRegularizer, Regularizer

W = np.array([[1.0, -2.0, 0.5], [0.25, 0.0, -3.0]], "float32")

NAMES = "to be one of 'l1', 'l1l2', 'l2', 'orthogonal_regularizer'"


@pytest.mark.parametrize(("regularizer", "expected"), [
    (L1(), 0.0675), (L2(), 0.143125), (L1(0.5), 3.375), (L2(0.5), 7.15625), (L1L2(0.5, 0.25), 6.953125),
    (L1L2(), 0.0), (L1L2(l1=0.1), 0.675), (L1L2(l2=0.1), 1.43125),
])  # fmt: skip
def test_values_and_gradients(regularizer, expected):
    """Keras gives these numbers, by l1 sum |w| + l2 sum w^2."""
    w = tg.tensor(W, requires_grad=True)
    loss = regularizer(w)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    loss.backward()
    np.testing.assert_allclose(w.grad.numpy(), regularizer.l1 * np.sign(W) + 2 * regularizer.l2 * W, rtol=1e-6)
    assert tg.gradcheck(regularizer, [W[W != 0].astype("float64")], order=2) < 1e-6


def mean_cosine(w):
    """The mean of the absolute cosines between all pairs of rows, one after the other."""
    pairs = [(a, b) for i, a in enumerate(w) for b in w[:i]]
    return np.mean([abs(a @ b) / (np.linalg.norm(a) * np.linalg.norm(b)) for a, b in pairs])


def test_orthogonal_rows_and_columns():
    w = np.random.default_rng(6).normal(size=(4, 3))
    for mode, rows in (("rows", w), ("columns", w.T)):
        regularizer = OrthogonalRegularizer(0.5, mode)
        expected = 0.5 * mean_cosine(rows)
        assert regularizer(tg.tensor(w)).item() == pytest.approx(expected, rel=1e-12)
        assert tg.jit(regularizer)(tg.tensor(w, dtype="float32")).item() == pytest.approx(expected, rel=1e-6)
        assert tg.gradcheck(regularizer, [w], order=2) < 1e-6
    keras = regularizers.get({"class_name": "OrthogonalRegularizer", "config": {"factor": 1.0}})
    assert keras(tg.tensor([[2.0, 0.0], [3.0, 4.0]])).item() == pytest.approx(0.6)  # Keras's numbers
    assert keras(tg.tensor([[1e-9, 0.0], [3.0, 4.0]])).item() == pytest.approx(0.006)
    w = tg.zeros((3, 2), requires_grad=True)
    keras(w).backward()
    assert not w.grad.numpy().any()


def test_by_name_and_as_they_are():
    assert regularizers.get(None) is None
    names = ("l1", "l2", "l1l2", "orthogonal_regularizer")
    assert [type(regularizers.get(name)) for name in names] == [L1, L2, L1L2, OrthogonalRegularizer]
    assert regularizers.l2(0.5).l2 == 0.5
    assert (regularizers.get("l1").l1, regularizers.get("l2").l2) == (0.01, 0.01)
    own = L2(0.3)
    assert regularizers.get(own) is own
    function = lambda w: w.sum()  # noqa: E731
    assert regularizers.get(function) is function


@pytest.mark.parametrize("regularizer", [None, L1(0.2), L2(0.3), L1L2(0.1, 0.4), OrthogonalRegularizer(0.5, "columns")])
def test_as_json_and_back(regularizer):
    again = regularizers.get(regularizers.serialize(regularizer))
    assert type(again) is type(regularizer)
    assert vars(again) == vars(regularizer) if regularizer else again is None


@pytest.mark.parametrize(("call", "kind", "text"), [
    (lambda: L1(-1.0), ValueError, "L1: expected l1 to be a number of at least 0, received -1.0."),
    (
        lambda: OrthogonalRegularizer(mode="row"), ValueError,
        "OrthogonalRegularizer: expected mode to be one of 'columns', 'rows', received 'row'. "
        "Hint: did you mean 'rows'?",
    ),
    (
        lambda: OrthogonalRegularizer()(tg.ones(3)), ValueError,
        "OrthogonalRegularizer: expected a matrix of at least two rows, received shape (3,).",
    ),
    (
        lambda: OrthogonalRegularizer(mode="columns")(tg.ones((3, 1))), ValueError,
        "OrthogonalRegularizer: expected a matrix of at least two columns, received shape (3, 1). Hint: there is no",
    ),
    (lambda: OrthogonalRegularizer(-0.5), ValueError, "expected factor to be a number of at least 0, received -0.5."),
    (lambda: L2("a"), TypeError, "L2: expected l2 to be a number of at least 0, received 'a'."),
    (lambda: L1L2(l2=float("nan")), ValueError, "L1L2: expected l2 to be a number of at least 0, received nan."),
    (lambda: regularizers.get("l3"), ValueError, NAMES + ", received 'l3'"),
    (lambda: Dense(1, name="d", kernel_regularizer="l22"), ValueError, "Hint: did you mean 'l2'?"),
    (lambda: Dense(1, kernel_regularizer=L2), TypeError, "Hint: write L2()."),
    (lambda: Dense(1, bias_regularizer=0.1), TypeError, "expected a regularizer, its name or a function of a tensor"),
    (lambda: regularizers.serialize(lambda w: w.sum()), ValueError, "a function with a name, received <lambda>"),
    (lambda: regularizers.get({"name": "nope"}), ValueError, NAMES + ", received 'nope'"),
    (lambda: regularizers.get({"l2": 0.1}), TypeError, "expected regularizer as {'name': ..., 'config': {...}}"),
])  # fmt: skip
def test_refused(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)


def penalized():
    inner = Sequential([Dense(2, kernel_regularizer=L2(0.5)), Dense(1, bias_regularizer=L1(2.0))])
    x = Input((3,))
    model = Model(x, inner(Dense(3, kernel_regularizer=lambda w: w.sum(), name="own")(x)))
    model.set_weights([np.full(w.shape, 0.5) for w in model.get_weights()])
    return model


def test_a_model_gathers_the_penalties_of_all_layers_once():
    model = penalized()
    assert sorted(loss.item() for loss in model.losses) == pytest.approx([0.5 * 6 * 0.25, 2 * 0.5, 9 * 0.5])
    shared = Dense(3, kernel_regularizer="l2")
    x = Input((3,))
    assert len(Model(x, shared(shared(x))).losses) == 1
    assert Sequential([Dense(2, kernel_regularizer="l2")]).losses == []  # not built yet


@pytest.mark.parametrize("jit", [True, False])
def test_training_follows_their_gradients(jit):
    model = penalized()
    model.compile(SGD(0.1), "mse", jit=jit)
    x = np.zeros((4, 3))
    model.fit(x, model.predict(x), batch_size=4, verbose=0)  # the error is 0: only penalties count
    own, _, kernel, _, last, bias = model.get_weights()
    np.testing.assert_allclose(own, 0.5 - 0.1)
    np.testing.assert_allclose(kernel, 0.5 - 0.1 * 2 * 0.5 * 0.5)
    np.testing.assert_allclose(last, 0.5)
    np.testing.assert_allclose(bias, 0.5 - 0.1 * 2.0)


@pytest.mark.parametrize("jit", [True, False])
def test_a_loss_with_penalties_as_a_formula(jit):
    model = penalized()
    model.compile(SGD(0.0), "mse", metrics=["mse"], jit=jit)
    x, y = np.ones((5, 3)), np.arange(5.0)
    total, error = model.evaluate(x, y, batch_size=2)
    assert total == pytest.approx(error + 0.75 + 1.0 + 4.5, rel=1e-6)
    assert model.fit(x, y, verbose=0).history["loss"] == [pytest.approx(total, rel=1e-6)]


def test_a_layer_of_ones_own_makes_its_weights_with_them():
    class Scale(Layer):
        initial = {"factor": "ones"}  # noqa: RUF012

        def build(self, input_shape):
            self.make("factor", (input_shape[-1],))

        def call(self, x):
            return x * self.factor

    layer = Scale(factor_regularizer=L1(0.5))
    layer(np.ones((1, 3)))
    assert [loss.item() for loss in layer.losses] == [1.5]


def test_saved_and_loaded(tmp_path):
    model = Sequential([Input((3,)), Dense(2, kernel_regularizer=L1L2(0.1, 0.2), bias_regularizer="l1")])
    model.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model").layers[0]
    assert vars(loaded.kernel_regularizer) == {"l1": 0.1, "l2": 0.2}
    assert type(loaded.bias_regularizer) is L1
    with pytest.raises(ValueError, match="expected a function with a name, received <lambda>"):
        penalized().save(tmp_path / "own")


def total(w):
    return w.sum()


class Cubes(Regularizer):
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, weight):
        return self.factor * abs(weight * weight * weight).sum()


@pytest.mark.parametrize("own", [total, Cubes(0.5)])
def test_one_of_ones_own_is_saved_by_name(own, tmp_path):
    model = Sequential([Input((3,)), Dense(2, kernel_regularizer=own)])
    model.save(tmp_path / "m")
    with pytest.raises(ValueError, match=r"expected custom_objects with the (function 'total'|class 'Cubes')"):
        load_model(tmp_path / "m")
    loaded = load_model(tmp_path / "m", {"total": total, "Cubes": Cubes})
    assert loaded.losses[0].item() == model.losses[0].item()


def test_as_keras_writes_them():
    assert regularizers.get({"module": "keras.regularizers", "class_name": "L2", "config": {"l2": 0.25}}).l2 == 0.25
    assert type(regularizers.get("L1L2")) is L1L2


@pytest.mark.gpu
def test_on_cuda_as_on_the_cpu():
    for regularizer in (L1(0.5), L2(0.5), L1L2(0.5, 0.25), OrthogonalRegularizer(0.5)):
        assert regularizer(tg.tensor(W).to("cuda")).item() == pytest.approx(regularizer(tg.tensor(W)).item(), rel=1e-6)


@pytest.mark.parametrize("jit", [True, False])
def test_a_factor_that_is_changed_is_seen(jit):
    penalty = tg.regularizers.L1L2(l1=1.0, l2=1.0)
    model = tg.models.Sequential([tg.layers.Dense(1, use_bias=False, kernel_regularizer=penalty, input_dim=1)])
    model.set_weights([np.array([[2.0]])])
    model.compile(tg.optimizers.SGD(0.0), "mse", jit=jit)
    found = []
    for penalty.l1, penalty.l2 in ((1.0, 1.0), (0.5, 1.0), (0.5, 2.0), (0.0, 0.0)):
        found += model.fit([[0.0]], [0.0], verbose=0).history["loss"]
    assert found == [6.0, 5.0, 9.0, 0.0]
