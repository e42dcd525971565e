"""What layers add to the loss: trainings as in Keras, what counts when, jit, saving, errors."""

import copy
import gc
import json
import weakref
from pathlib import Path

import numpy as np
import pytest
from fit_cases import check
from penalty_cases import CASES, train

import tinygrad_edu as tg
from tinygrad_edu import layers
from tinygrad_edu.errors import ShapeError
from tinygrad_edu.layers import ActivityRegularization, Dense, Input, Layer
from tinygrad_edu.models import Model, Sequential, load_model
from tinygrad_edu.optimizers import SGD
from tinygrad_edu.regularizers import L1, L1L2, L2, Regularizer

X = np.random.default_rng(2).normal(size=(6, 4)).astype("float32")
Y = np.random.default_rng(4).normal(size=(6, 1)).astype("float32")
BOTH = pytest.mark.parametrize("jit", [True, False])


@BOTH
@pytest.mark.parametrize("case", CASES)
def test_a_training_as_in_keras(case, jit):
    known = json.loads((Path(__file__).parent / "golden" / "penalties.json").read_text())[case]
    check(train(tg, case, jit=jit), known)


def values(layer):
    return [loss.item() for loss in layer.losses]


class Adds(Layer):
    """Adds the mean of its input, and in training 10."""

    def call(self, x, training=None):
        self.add_loss(x.mean())
        if training:
            self.add_loss(tg.tensor(10.0))
        return x * 2.0


class Parts(Layer):
    def call(self, x):
        return [x, x[0], {"sum": x.sum(), "kinds": x > 0.0}]


def half_of(x):
    return 0.5 * x.astype("float64").sum()


# What counts


def test_the_penalty_is_divided_by_the_rows():
    layer = Dense(3, activation="relu", activity_regularizer=L1L2(0.5, 0.25), kernel_regularizer=L2(0.125))
    for rows in (1, 4, 6):
        y = layer(X[:rows]).detach().numpy().astype("float64")
        kernel = layer.kernel.detach().numpy().astype("float64")
        expected = [(0.5 * abs(y).sum() + 0.25 * (y * y).sum()) / rows, 0.125 * (kernel * kernel).sum()]
        np.testing.assert_allclose(values(layer), expected, rtol=1e-6)  # Keras's order


def test_all_outputs_count_and_one_without_rows_as_it_is():
    layer = Parts(activity_regularizer=half_of)
    layer(X)
    expected = [0.5 * X.sum() / 6, 0.5 * X[0].sum() / 4, 0.5 * X.sum(), 0.5 * (X > 0).sum() / 6]
    np.testing.assert_allclose(values(layer), expected, rtol=1e-5)


def test_an_empty_batch_adds_nothing():
    layer = ActivityRegularization(l2=1.0)
    layer(np.zeros((0, 3)))
    assert values(layer) == [0.0]


def test_the_next_call_begins_anew():
    layer, model = Adds(), Sequential([ActivityRegularization(l1=1.0), Adds()])
    assert values(layer) == values(model) == []
    for scale in (1.0, 3.0):
        layer([[scale]], training=True)
        assert values(layer) == [scale, 10.0]
        layer([[scale]])
        assert values(layer) == [scale]
        model([[scale], [scale]], training=True)
        assert values(model) == [scale, scale, 10.0]
        assert values(model.layers[1]) == [scale, 10.0]
    model.layers[0]([[5.0]])
    assert values(model) == [5.0, 3.0, 10.0]  # since the model was called
    model([[1.0]])
    assert values(model) == [1.0, 1.0]


def test_a_layer_that_is_passed_by_adds_nothing():
    class Either(Model):
        def __init__(self):
            super().__init__()
            self.one, self.other = Adds(), ActivityRegularization(l1=1.0)

        def call(self, x, training=None):
            return self.one(x) if training else self.other(x)

    model = Either()
    model([[2.0]], training=True)
    assert values(model) == [2.0, 10.0]
    model([[3.0]])
    assert values(model) == [3.0]


def test_a_shared_layer_adds_at_each_of_its_calls():
    shared, x = Adds(), Input((1,))
    inner = Sequential([Input((1,)), shared])
    model = Model(x, inner(shared(x)))
    assert values(model) == []  # a call on symbols adds nothing
    model([[1.0], [3.0]])
    assert values(model) == values(inner) == values(shared) == [2.0, 4.0]


def test_a_layer_sees_what_those_inside_have_added():
    class Doubled(Layer):
        def __init__(self):
            super().__init__()
            self.inner = Adds()

        def call(self, x):
            y = self.inner(x)
            self.add_loss(2.0 * sum(self.inner.losses))
            return y

    layer = Doubled()
    for _ in range(2):
        layer([[3.0]])
        assert values(layer) == [6.0, 3.0]


class Block(Layer):
    """Two layers with penalties, and one of its own, computed again in backward or not."""

    def __init__(self, saving):
        super().__init__()
        self.saving, self.hidden = saving, Dense(3, activation="tanh", activity_regularizer="l2")
        self.norm = layers.BatchNormalization(activity_regularizer="l1")

    def inside(self, x):
        y = self.norm(self.hidden(x))
        self.add_loss(0.1 * abs(y).mean())
        return y

    def call(self, x):
        return tg.checkpoint(self.inside, x) if self.saving else self.inside(x)


def test_what_is_added_in_a_checkpoint_counts_once():
    found = []
    for saving in (False, True):
        tg.seed(0)
        with tg.use_dtype("float64"):
            model = Sequential([Input((4,)), Block(saving), Dense(1)])
        loss = tg.mean(model(X.astype("float64"), training=True)) + sum(model.losses)
        before = values(model)
        loss.backward()
        assert values(model) == before
        assert len(before) == 3
        arrays = [before, *(t.grad.numpy() for t in model.trainable_weights), *model.get_weights()]
        found.append(np.hstack([np.ravel(a) for a in arrays]))
    np.testing.assert_allclose(*found, rtol=1e-10, atol=1e-14)


@BOTH
def test_a_training_with_checkpoints(jit):
    weights = []
    for saving in (False, True):
        tg.seed(0)
        model = Sequential([Input((4,)), Block(saving), Dense(1)])
        model.compile(SGD(0.1), "mse", jit=jit)
        history = model.fit(X, Y, batch_size=2, epochs=3, shuffle=False, verbose=0).history["loss"]
        weights.append([*map(np.ravel, model.get_weights()), history, [model.evaluate(X, Y, verbose=0)]])
    np.testing.assert_allclose(*map(np.hstack, weights), rtol=1e-5, atol=1e-6)


def test_inside_of_wrappers():
    """TimeDistributed calls its layer once, on (batch * time, ...), so the penalty is a mean over all steps; Keras
    leaves it out. A cell adds at each step."""
    x = np.arange(12.0).reshape(2, 3, 2)
    layer = layers.TimeDistributed(Dense(2, kernel_initializer="identity", activity_regularizer=L1(0.5)))
    layer(x)
    np.testing.assert_allclose(values(layer), [0.5 * x.sum() / 6], rtol=1e-6)

    class Sums(Layer):
        state_size = 2

        def call(self, x, states):
            self.add_loss(x.sum())
            return x, states

    layer = layers.RNN(Sums())
    layer(x)
    np.testing.assert_allclose(values(layer), x.sum(axis=(0, 2)), rtol=1e-6)


# In training


def small(**options):
    model = Sequential([Input((4,)), Dense(2, activation="tanh", **options), Dense(1)])
    random = np.random.default_rng(9)
    model.set_weights([random.uniform(-1, 1, w.shape) for w in model.get_weights()])
    return model


@BOTH
def test_the_loss_and_its_gradient_are_those_of_the_formula(jit):
    model = small(activity_regularizer=L2(0.5))
    model.compile(SGD(0.1), "mse", metrics=["mse"], jit=jit)
    weights = [tg.tensor(w, dtype="float64", requires_grad=True) for w in model.get_weights()]
    k, b, k2, b2 = weights
    x, y = tg.tensor(X, dtype="float64"), tg.tensor(Y, dtype="float64")
    h = tg.tanh(x @ k + b)
    error = ((h @ k2 + b2 - y) ** 2).mean()
    total = error + 0.5 * (h * h).sum() / 6
    total.backward()
    np.testing.assert_allclose(model.evaluate(X, Y), [total.item(), error.item()], rtol=1e-5)
    history = model.fit(X, Y, batch_size=6, shuffle=False, verbose=0).history
    np.testing.assert_allclose(history["loss"], [total.item()], rtol=1e-5)
    for found, w in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_allclose(found, w.detach().numpy() - 0.1 * w.grad.numpy(), rtol=1e-5, atol=1e-7)


@BOTH
def test_what_a_frozen_layer_computes_counts(jit):
    model = small(activity_regularizer=L2(0.5), kernel_regularizer="l2")
    model.layers[0].trainable = False
    model.compile(SGD(0.1), "mse", metrics=["mse"], jit=jit)
    h = np.tanh(X @ model.get_weights()[0] + model.get_weights()[1]).astype("float64")
    total, error = model.evaluate(X, Y)
    np.testing.assert_allclose(total - error, 0.5 * (h * h).sum() / 6, rtol=1e-5)
    before = model.get_weights()
    model.fit(X, Y, verbose=0)
    for a, b in zip(before[:2], model.get_weights(), strict=False):
        np.testing.assert_array_equal(a, b)


@BOTH
def test_of_the_last_layer_whose_activation_is_part_of_the_loss(jit):
    """The loss is computed from logits, the penalty from probabilities; in a model inside another as well."""
    for wrap in (lambda layer: layer, lambda layer: Sequential([Input((4,)), layer])):
        layer = Dense(3, activation="softmax", activity_regularizer=L2(3.0))
        model = Sequential([Input((4,)), wrap(layer)])
        model.compile(SGD(0.1), "sparse_categorical_crossentropy", jit=jit)
        p = model.predict(X).astype("float64")
        y = np.array([0, 1, 2, 0, 1, 2])
        expected = -np.log(p[np.arange(6), y]).mean() + 3.0 * (p * p).sum() / 6
        np.testing.assert_allclose(model.evaluate(X, y), expected, rtol=1e-5)
        np.testing.assert_allclose(model.fit(X, y, verbose=0).history["loss"], [expected], rtol=1e-5)


@BOTH
def test_of_a_whole_model(jit):
    x = Input((4,))
    outputs = [Dense(3, activation="softmax", name="a")(x), Dense(1, name="b")(x)]
    model = Model(x, outputs, activity_regularizer=L1(0.5))
    model.compile(SGD(0.1), {"a": "sparse_categorical_crossentropy", "b": "mse"}, jit=jit)
    p, q = (y.astype("float64") for y in model.predict(X))
    ids = np.array([0, 1, 2, 0, 1, 2])
    losses = -np.log(p[np.arange(6), ids]).mean(), ((q - Y) ** 2).mean()
    expected = sum(losses) + 0.5 * (abs(p).sum() + abs(q).sum()) / 6
    np.testing.assert_allclose(model.evaluate(X, [ids, Y]), [expected, *losses], rtol=1e-5)
    model = Sequential([Input((4,)), Dense(1, activation="sigmoid")], activity_regularizer=L1(0.5))
    model.compile(SGD(0.1), "binary_crossentropy", metrics=["mse"], jit=jit)
    p, kinds = model.predict(X).astype("float64"), (Y > 0).astype("float64")
    error = -np.log(np.where(kinds, p, 1.0 - p)).mean()
    np.testing.assert_allclose(model.evaluate(X, kinds)[0], error + 0.5 * p.mean(), rtol=1e-5)


@BOTH
def test_an_attribute_that_is_changed_is_seen(jit):
    penalty = L2(1.0)
    model = Sequential([Input((4,)), ActivityRegularization(), Dense(1)])
    model.compile(SGD(0.0), "mse", jit=jit)
    squares = (X.astype("float64") ** 2).sum() / 6
    found = [model.evaluate(X, Y)]
    model.layers[0].activity_regularizer = penalty
    found.append(model.evaluate(X, Y))
    penalty.l2 = 0.25
    found.append(model.evaluate(X, Y))
    model.layers[0].activity_regularizer = None
    found.append(model.evaluate(X, Y))
    np.testing.assert_allclose(found, found[0] + np.array([0.0, squares, 0.25 * squares, 0.0]), rtol=1e-5)


class Far(Regularizer):
    """One of a user's own."""

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, x):
        return self.factor * abs(x).sum()


@BOTH
def test_one_of_ones_own_that_is_changed_is_seen(jit):
    weight, activity = Far(0.0), Far(0.0)
    model = small(kernel_regularizer=weight, activity_regularizer=activity)
    model.compile(SGD(0.0), "mse", jit=jit)
    found = [model.evaluate(X, Y)]
    weight.factor = 1.0
    found.append(model.evaluate(X, Y))
    activity.factor = 1.0
    found.append(model.evaluate(X, Y))
    layer = model.layers[0]
    steps = [abs(layer.kernel.detach().numpy()).sum(), abs(layer(X).detach().numpy()).sum() / len(X)]
    np.testing.assert_allclose(np.diff(found), steps, rtol=1e-4)


@BOTH
def test_nothing_of_a_recording_is_left(jit):
    model = small(activity_regularizer="l2", kernel_regularizer="l1")
    model.compile(SGD(0.1), "mse", jit=jit)
    for use in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
        use(X, Y)
        assert len(values(model)) == 1  # the penalty on the kernel
    model(X)
    assert len(values(model)) == 2
    model.predict(X)
    assert len(values(model)) == 2 - jit  # it is recorded, too


def test_in_a_jitted_function_of_ones_own():
    layer = Sequential([Dense(2, activity_regularizer="l2"), Adds()])
    layer(X)
    step = tg.jit(lambda x: sum((layer(x), *layer.losses)[1:]))
    found = [step(tg.tensor(scale * X)).item() for scale in (1.0, 2.0, 1.0)]
    assert values(layer) == []
    assert len(step.plans) == 1
    for scale, total in zip((1.0, 2.0, 1.0), found, strict=True):
        layer(scale * X)
        assert total == pytest.approx(sum(values(layer)), rel=1e-6)

    def failing(x):
        layer(x)
        raise KeyError("no")

    with pytest.raises(KeyError):
        tg.jit(failing)(tg.tensor(X))
    assert values(layer) == []


@BOTH
def test_steps_of_ones_own(jit):
    """What layers add that are called apart counts, and each step begins anew."""

    class Coder(Model):
        def __init__(self):
            super().__init__()
            self.encoder = Sequential([Input((4,)), Dense(4, kernel_initializer="identity"), Adds()])
            self.decoder = Sequential([Input((4,)), Dense(1, activity_regularizer=L1(0.5), bias_regularizer=L1(1.0))])

        def call(self, x):
            return self.decoder(self.encoder(x))

        def train_step(self, data):
            x, y = data
            y_pred = self.decoder(self.encoder(x, training=True))
            self.add_loss(tg.tensor(100.0))
            loss = self.compute_loss(x, y, y_pred)
            self.optimizer.minimize(loss)
            return {"loss": loss}

        def test_step(self, data):  # without the encoder
            return {"loss": self.compute_loss(*data, self.decoder(data[0]))}

    model = Coder()
    model(X)
    model.compile(SGD(0.0), "mse", jit=jit)
    y, z = model.predict(X), model.decoder.predict(X)
    trained = ((y - Y) ** 2).mean() + 0.5 * abs(y).sum() / 6 + X.mean() + 110.0
    tested = ((z - Y) ** 2).mean() + 0.5 * abs(z).sum() / 6
    for _ in range(2):
        np.testing.assert_allclose(model.fit(X, Y, epochs=2, verbose=0).history["loss"], [trained] * 2, rtol=1e-5)
        np.testing.assert_allclose(model.evaluate(X, Y), tested, rtol=1e-5)


@BOTH
def test_several_outputs(jit):
    x = Input((4,))
    outputs = [Dense(1, name="a", activity_regularizer=L2(0.5))(x), Dense(1, name="b")(x)]
    model = Model(x, outputs)
    model.compile(SGD(0.1), "mse", jit=jit)
    a, b = model.predict(X)
    losses = ((a - Y) ** 2).mean(), ((b - Y) ** 2).mean()
    expected = [sum(losses) + 0.5 * (a * a).sum() / 6, *losses]
    np.testing.assert_allclose(model.evaluate(X, [Y, Y], batch_size=4), expected, rtol=1e-5)
    assert model.fit(X, [Y, Y], batch_size=4, verbose=0).history.keys() == {"loss", "a_loss", "b_loss"}


@BOTH
def test_without_a_loss(jit):
    model = Sequential([Input((4,)), Dense(1, activity_regularizer=L2(0.5))])
    model.compile(SGD(0.1), jit=jit)
    y = model.predict(X).astype("float64")
    np.testing.assert_allclose(model.fit(X, verbose=0).history["loss"], [0.5 * (y * y).sum() / 6], rtol=1e-5)
    assert model.evaluate(X) < 0.5 * (y * y).sum() / 6
    model = Sequential([Input((4,)), Dense(1)])
    model.compile(SGD(0.1), jit=jit)
    for use in (lambda: model.fit(X), lambda: model.fit(X, Y, validation_split=0.5)):
        with pytest.raises(RuntimeError, match=r"fit: expected a loss, given to compile, or a train_step, received no"):
            use()


class OnlyInTraining(Layer):
    def call(self, x, training=None):
        if training is not self.inverted:
            self.add_loss(abs(x).mean())
        return x

    inverted = False


@BOTH
def test_without_a_loss_in_one_of_the_modes(jit):
    layer = OnlyInTraining()
    layer.inverted = True
    model = Sequential([Input((4,)), Dense(1), layer])
    model.compile(SGD(0.1), jit=jit)
    model.evaluate(X)
    with pytest.raises(RuntimeError, match="expected a loss, given to compile or added by a layer, received none"):
        model.fit(X, verbose=0)


# Copies, files, memory


def test_a_copy_knows_nothing_of_the_calls_of_the_original():
    model = small(activity_regularizer=L2(0.5))
    model(X)
    other = copy.deepcopy(model)
    assert (len(model.losses), other.losses, other._noted) == (1, [], None)
    other.layers[0].activity_regularizer.l2 = 1.0
    model(X), other(X)
    assert values(other) == pytest.approx([2.0 * values(model)[0]])


class Cubes(Regularizer):
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, weight):
        return self.factor * abs(weight * weight * weight).sum()


def test_saved_and_loaded(tmp_path):
    x = Input((4,))
    y = ActivityRegularization(0.5, 0.25)(Dense(2, activity_regularizer=Cubes(0.5))(x))
    y = Sequential([Input((2,)), Dense(1)], activity_regularizer="l1")(Dense(2, activity_regularizer=half_of)(y))
    model = Model(x, y, activity_regularizer=L1L2(0.5, 0.25))
    model.save(tmp_path / "m")
    with pytest.raises(ValueError, match="expected custom_objects with the class 'Cubes', received none"):
        load_model(tmp_path / "m")
    loaded = load_model(tmp_path / "m", {"half_of": half_of, "Cubes": Cubes})
    model(X), loaded(X)
    assert len(values(model)) == 5
    assert values(loaded) == values(model)
    assert "activity_regularizer" not in ActivityRegularization(0.5).get_config()
    assert "activity_regularizer" not in Dense(1).get_config()
    own = Sequential([Input((4,)), Dense(1, activity_regularizer=lambda y: y.sum())])
    with pytest.raises(ValueError, match="expected a function with a name, received <lambda>"):
        own.save(tmp_path / "own")


def test_what_is_added_keeps_no_layer():
    gc.collect()
    gc.disable()
    try:
        model = Sequential([Dense(2, activity_regularizer="l2"), Adds()])
        model(X)
        model.losses[0].backward()
        references = [weakref.ref(part) for part in (model, *model.layers)]
        del model
        assert [reference() for reference in references] == [None] * 3
    finally:
        gc.enable()


def test_what_is_added_is_no_buffer():
    model = small(activity_regularizer="l2")
    model(X)
    assert len(model.weights) == len(model.state_dict()) == 4


@pytest.mark.parametrize(("wrong", "kind", "text"), [
    (0.5, TypeError, "Wrong 'own': expected a tensor to add to the loss, received float."),
    ([tg.tensor(1.0), None], TypeError, "Wrong 'own': expected a tensor to add to the loss, received NoneType."),
    (
        tg.ones(2), ShapeError,
        "Wrong 'own': expected a tensor of shape () to add to the loss, received shape (2,). "
        "Hint: take its sum or mean.",
    ),
])  # fmt: skip
def test_refused(wrong, kind, text):
    class Wrong(Layer):
        def call(self, x):
            self.add_loss(wrong)
            return x

    with pytest.raises(kind) as caught:
        Wrong(name="own")(X)
    assert str(caught.value) == text


def test_a_regularizer_that_is_refused():
    with pytest.raises(ShapeError) as caught:
        Dense(3, activity_regularizer=abs)(X)
    expected = (
        "Dense: expected a tensor of shape () to add to the loss, received shape (6, 3). Hint: take its sum or mean."
    )
    assert str(caught.value) == expected
    with pytest.raises(TypeError, match="Dense: expected a regularizer, its name or a function of a tensor"):
        Dense(1, activity_regularizer=0.1)


@pytest.mark.gpu
def test_on_cuda_as_on_the_cpu():
    model = small(activity_regularizer=L1L2(0.25, 0.5))
    found = []
    for device in ("cpu", "cuda"):
        other = copy.deepcopy(model).to(device)
        other.compile(SGD(0.1), "mse")
        found.append([*other.fit(X, Y, batch_size=6, epochs=2, verbose=0).history["loss"], other.evaluate(X, Y)])
    np.testing.assert_allclose(*found, rtol=1e-5)
