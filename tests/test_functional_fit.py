"""fit with several inputs and outputs, masks in the loss, and steps of one's own."""

# ruff: noqa: E501 -- the tables hold whole error texts, a case a line

import json
from pathlib import Path

import numpy as np
import pytest
from fit_cases import CASES, check, train

import tinygrad_edu as tg
from tinygrad_edu import losses, metrics
from tinygrad_edu.callbacks import Callback
from tinygrad_edu.errors import ShapeError
from tinygrad_edu.layers import LSTM, Dense, Embedding, Input, Layer, RepeatVector
from tinygrad_edu.models import Model, Sequential
from tinygrad_edu.optimizers import SGD

RANDOM = np.random.default_rng(0)
N = 24
A, B = RANDOM.normal(size=(N, 2)), RANDOM.normal(size=(N, 3))
ONE, TWO = A[:, :1] - B[:, 1:2], (A[:, 0] > 0).astype("int64") + (B[:, 0] > 0)
WEIGHTS = [RANDOM.uniform(size=N), RANDOM.uniform(size=N)]


@pytest.fixture(autouse=True)
def _seed():
    tg.seed(0)


def two_by_two(structure=list):
    a, b = Input((2,), name="a"), Input((3,), name="b")
    hidden = Dense(4, activation="tanh")(a) + Dense(4)(b)
    one, two = Dense(1, name="one")(hidden), Dense(3, activation="softmax", name="two")(hidden)
    return Model([a, b], {"two": two, "one": one} if structure is dict else [one, two])


LOSSES = ["mse", "sparse_categorical_crossentropy"]


def compiled(loss=LOSSES, structure=list, **options):
    model = two_by_two(structure)
    model.compile(SGD(0.05), loss, **options)
    return model


def expected(model, rows=slice(None), weights=(None, None)):
    """The losses of both outputs by their formulas, in float64."""
    one, two = (y.astype("float64") for y in model.predict([A[rows], B[rows]]))
    squares = ((one - ONE[rows]) ** 2)[:, 0]
    logs = -np.log(two[np.arange(len(two)), TWO[rows]])
    return [(v * (1 if w is None else w[rows])).mean() for v, w in zip((squares, logs), weights, strict=True)]


# Against Keras


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_a_training_as_in_keras(case, jit):
    known = json.loads((Path(__file__).parent / "golden" / "fit.json").read_text())[case]
    check(train(tg, case, jit=jit), known)


# Names of results


@pytest.mark.parametrize(("loss", "metrics", "names"), [
    (LOSSES, None, "loss one_loss two_loss"),
    (LOSSES, [["mae"], ["accuracy"]], "loss one_loss one_mae two_loss two_accuracy"),
    (LOSSES, ["mae", "accuracy"], "loss one_loss one_mae two_loss two_accuracy"),
    (LOSSES, {"two": "accuracy"}, "loss one_loss two_loss two_accuracy"),
    (LOSSES, [None, ["accuracy"]], "loss one_loss two_loss two_accuracy"),
    (LOSSES, {"one": ["mae", metrics.MeanSquaredError(name="own")]}, "loss one_loss one_mae one_own two_loss"),
    ({"one": "mse", "two": LOSSES[1]}, None, "loss one_loss two_loss"),
    (["mse", None], [["mae"], None], "loss one_mae"),
    ({"two": LOSSES[1]}, {"two": ["acc"]}, "loss two_acc"),
])  # fmt: skip
def test_results_are_named_as_in_keras(loss, metrics, names):
    model = compiled(loss, metrics=metrics)
    history = model.fit([A, B], [ONE, TWO], verbose=0, validation_split=0.25)
    assert " ".join(history.history) == " ".join([names, *(f"val_{name}" for name in names.split())])
    assert list(model.evaluate([A, B], [ONE, TWO], return_dict=True)) == names.split()


def test_outputs_in_a_dict_are_named_by_their_keys():
    x = Input((2,))
    model = Model(x, {"q": Dense(1, name="d1")(x), "p": Dense(1, name="d2")(x)})
    model.compile("sgd", {"p": "mse", "q": "mae"}, metrics={"q": ["mse"]}, loss_weights={"p": 0.5})
    y = {"q": ONE, "p": 2 * ONE}
    results = model.evaluate(A, y, return_dict=True)
    assert list(results) == ["loss", "p_loss", "q_loss", "q_mse"]
    found = model.predict(A)
    assert results["p_loss"] == pytest.approx(((found["p"] - 2 * ONE) ** 2).mean(), rel=1e-5)
    assert results["q_loss"] == pytest.approx(abs(found["q"] - ONE).mean(), rel=1e-5)
    assert results["loss"] == pytest.approx(0.5 * results["p_loss"] + results["q_loss"], rel=1e-6)


def test_outputs_of_one_shared_layer_get_numbers():
    shared = Dense(1, name="s")
    a, b = Input((2,)), Input((2,))
    model = Model([a, b], [shared(a), shared(b)])
    model.compile("sgd", "mse", metrics=[["mae"], ["mae"]])
    results = model.evaluate([A, 2 * A], [ONE, ONE], return_dict=True)
    assert list(results) == ["loss", "s_loss", "s_mae", "s_loss_1", "s_mae_1"]
    assert results["s_loss"] + results["s_loss_1"] == pytest.approx(results["loss"])
    with pytest.raises(ValueError, match="y to be a list, because several outputs have one name, received 's'"):
        model.evaluate([A, A], {"s": ONE})


def test_one_loss_and_one_weight_are_for_all():
    x = Input((2,))
    model = Model(x, [Dense(1, name="p")(x), Dense(1, name="q")(x)])
    model.compile("sgd", "mae", loss_weights=[2.0, 0.25])
    loss, p, q = model.evaluate(A, [ONE, ONE])
    assert loss == pytest.approx(2 * p + 0.25 * q, rel=1e-6)
    model.compile("sgd", lambda y, p: abs(y - p))
    assert model.evaluate(A, [ONE, ONE])[1:] == pytest.approx([p, q], rel=1e-5)


def test_a_model_of_one_output_has_no_prefix():
    x = Input((2,))
    for outputs, y in (
        (Dense(1, name="d")(x), ONE),
        ([Dense(1, name="d")(x)], [ONE]),
        ({"k": Dense(1)(x)}, {"k": ONE}),
    ):
        model = Model(x, outputs)
        for loss in ("mse", ["mse"], {model.output_names[0]: "mse"}):
            model.compile("sgd", loss, metrics=["mae"])
            assert list(model.fit(A, y, verbose=0).history) == ["loss", "mae"]
    assert model.predict(A)["k"].shape == (N, 1)


# Data


@pytest.mark.parametrize("x", [[A, B], (A, B), {"b": B, "a": A}, [tg.tensor(A), B.astype("float32")]])
@pytest.mark.parametrize("y", [[ONE, TWO], (ONE, TWO), {"two": TWO, "one": ONE}, [tg.tensor(ONE), TWO.tolist()]])
def test_inputs_and_targets_in_any_form(x, y):
    model = compiled()
    results = model.evaluate(x, y)
    assert results[1:] == pytest.approx(expected(model), rel=1e-5)
    assert results[0] == pytest.approx(sum(results[1:]), rel=1e-6)
    assert model.fit(x, y, epochs=3, verbose=0).history["loss"][-1] < results[0]


def test_integers_and_columns_among_several_inputs():
    i, j, k = Input((1,), name="i"), Input((2,), name="j"), Input((1,), dtype="int64", name="k")
    seen = []

    class Look(Layer):
        def call(self, inputs):
            seen.append([(t.shape[1:], t.dtype.name) for t in inputs])
            return inputs[0]

    model = Model([i, j, k], Look()([i, j, k]))
    model.compile("sgd", "mse")
    model.predict([np.arange(4), np.ones((4, 2), "uint8"), np.arange(4.0)])
    assert seen[-1] == [((1,), "float32"), ((2,), "float32"), ((1,), "int64")]


def test_weights_without_a_loss():
    seen = []

    class Look(Model):
        def train_step(self, data):
            seen.append(data[2])
            return {"loss": 0.0}

    model = Look()
    model.dense = Dense(1)
    model.dense(A)
    model.compile("sgd", jit=False)
    model.fit(A, ONE, sample_weight=WEIGHTS[0], batch_size=N, shuffle=False, verbose=0)
    np.testing.assert_allclose(seen[0].numpy(), WEIGHTS[0], rtol=1e-6)
    with pytest.raises(ShapeError, match="fit: expected x and y with as many rows"):
        model.fit(A, ONE[:3], verbose=0)


def test_targets_in_a_dict_for_outputs_in_a_dict():
    model = compiled({"one": LOSSES[0], "two": LOSSES[1]}, dict)
    assert model.evaluate([A, B], {"one": ONE, "two": TWO}, return_dict=True).keys() == {"loss", "one_loss", "two_loss"}


def test_sample_weights():
    model = compiled()
    for given, weights in (
        (WEIGHTS, WEIGHTS), ({"one": WEIGHTS[0]}, [WEIGHTS[0], None]), ([None, WEIGHTS[1]], [None, WEIGHTS[1]]),
        (WEIGHTS[0], [WEIGHTS[0]] * 2),
    ):  # fmt: skip
        results = model.evaluate([A, B], [ONE, TWO], sample_weight=given, batch_size=7)
        assert results[1:] == pytest.approx(expected(model, weights=weights), rel=1e-5)
    one = model.train_on_batch([A, B], [ONE, TWO], sample_weight=WEIGHTS)
    assert one[1:] != pytest.approx(model.test_on_batch([A, B], [ONE, TWO])[1:])


def test_validation():
    part = slice(18, None)
    model = compiled()
    history = model.fit([A, B], [ONE, TWO], validation_split=0.25, epochs=2, sample_weight=WEIGHTS, verbose=0).history
    wanted = expected(model, part, WEIGHTS)
    assert [history[f"val_{name}_loss"][-1] for name in ("one", "two")] == pytest.approx(wanted, rel=1e-5)
    other = compiled()
    tg.seed(0)
    data = ({"a": A[part], "b": B[part]}, {"one": ONE[part], "two": TWO[part]}, [w[part] for w in WEIGHTS])
    history = other.fit([A, B], [ONE, TWO], validation_data=data, verbose=0).history
    wanted = expected(other, part, WEIGHTS)
    assert [history[f"val_{name}_loss"][-1] for name in ("one", "two")] == pytest.approx(wanted, rel=1e-5)


def test_on_batches():
    model = compiled(metrics=[["mae"], ["accuracy"]])
    names = ["loss", "one_loss", "one_mae", "two_loss", "two_accuracy"]
    before = model.test_on_batch([A, B], [ONE, TWO])
    trained = model.train_on_batch([A, B], [ONE, TWO], return_dict=True)
    assert list(trained) == names
    assert list(trained.values()) == pytest.approx(before, rel=1e-6)
    assert model.test_on_batch([A, B], [ONE, TWO])[0] < before[0]


def test_uneven_batches_weigh_right():
    model = compiled(metrics=[["mae"], ["accuracy"]])
    by_7, at_once = (model.evaluate([A, B], [ONE, TWO], batch_size=n) for n in (7, N))
    assert by_7 == pytest.approx(at_once, rel=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_jit_equals_no_jit(optimizer):
    found = []
    for jit in (True, False):
        tg.seed(3)
        model = two_by_two()
        model.compile(optimizer, LOSSES, loss_weights=[0.5, 2.0], metrics=[["mae"], ["accuracy"]], jit=jit)
        history = model.fit(
            [A, B], [ONE, TWO], epochs=3, batch_size=8, validation_split=0.3, sample_weight=WEIGHTS, verbose=0
        )
        found.append((history.history, model.get_weights()))
    for name, values in found[0][0].items():
        np.testing.assert_allclose(values, found[1][0][name], rtol=2e-6, err_msg=name)
    for a, b in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=2e-7)


def test_a_cross_entropy_from_logits_beside_one_that_is_not():
    x = Input((1,))
    from_logits = Dense(2, activation="softmax", name="l", kernel_initializer="zeros")(x)
    taken = Dense(2, activation="softmax", name="p", kernel_initializer="zeros")(x) * 1.0
    model = Model(x, [from_logits, taken])
    model.get_layer("l").set_weights([np.array([[2000.0, -2000.0]]), np.zeros(2)])
    model.get_layer("p").set_weights([np.array([[20.0, -20.0]]), np.zeros(2)])
    loss = losses.SparseCategoricalCrossentropy()
    model.compile("sgd", [loss, loss], metrics=[["accuracy"], ["accuracy"]])
    results = model.evaluate([[1.0]], [[1], [1]], return_dict=True)
    assert results["l_loss"] == 4000.0
    assert results[[*results][3]] == pytest.approx(-np.log(1e-7), rel=1e-5)  # a probability that was clipped
    assert [value for name, value in results.items() if "accuracy" in name] == [0.0, 0.0]


def test_logits_of_a_model_in_a_model():
    i = Input((1,))
    inner = Model(i, Dense(2, activation="softmax", use_bias=False)(i))
    inner.set_weights([np.array([[2000.0, -2000.0]])])
    x = Input((1,))
    for model in (Sequential([inner]), Model(x, inner(x)), Sequential([Input((1,)), Sequential([inner])])):
        model.compile("sgd", "sparse_categorical_crossentropy")
        assert model.evaluate([[1.0]], [1]) == 4000.0


def test_both_from_logits_where_one_feeds_the_other():
    x = Input((2,))
    first = Dense(3, activation="softmax", name="first")(x)
    second = Dense(3, activation="softmax", name="second")(first)
    model = Model(x, [first, second])
    model.compile("sgd", "sparse_categorical_crossentropy")
    y = model.predict(A)
    wanted = [-np.log(p.astype("float64")[np.arange(N), TWO]).mean() for p in y]
    assert model.evaluate(A, [TWO, TWO])[1:] == pytest.approx(wanted, rel=1e-5)


def refuse(x=(A, B), y=(ONE, TWO), loss=LOSSES, **options):
    def call():
        settings = {name: options.pop(name) for name in ("loss_weights", "metrics") if name in options}
        compiled(loss, options.pop("structure", list), **settings).fit(options.pop("x", x), y, verbose=0, **options)

    return call


@pytest.mark.parametrize(("call", "kind", "text"), [
    (refuse(class_weight={0: 1.0}), ValueError, "fit: expected class_weight for a model of one output, received 2."),
    (refuse(y=ONE), ValueError, "fit: expected y to be a list or dict for the outputs one, two, received ndarray."),
    (refuse(y=[ONE]), ValueError, "fit: expected y to be a list or dict for the outputs one, two, received list."),
    (refuse(y=[ONE, None]), ValueError, "fit: expected targets y['two'], received None."),
    (refuse(y={"one": ONE}), ValueError, "fit: expected targets y['two'], received None."),
    (refuse(y={"one": ONE, "tow": TWO}), ValueError, "fit: expected each name in y to be one of 'one', 'two', received 'tow'. Hint: did you mean 'two'?"),
    (refuse(y=[ONE, TWO], structure=dict, loss={"one": "mse", "two": LOSSES[1]}), ValueError, "fit: expected y to be a dict for the outputs one, two, received list"),
    (refuse(y=[ONE[:5], TWO]), ShapeError, "fit: expected x and y['one'] with as many rows, received len(x) = 24, len(y['one']) = 5."),
    (refuse(y=[B, TWO]), ShapeError, "MeanSquaredError: expected targets of the shape (24, 1) of the predictions, received shape (24, 3)"),
    (refuse(y=[ONE, TWO + 5]), ValueError, "SparseCategoricalCrossentropy: expected class ids from 0 to 2, received"),
    (refuse(x=(A, B[:5])), ShapeError, "fit: expected x[0] and x[1] with as many rows"),
    (refuse(x=(A, B * np.nan)), ValueError, "fit: expected x[1] of finite numbers"),
    (refuse(sample_weight=[WEIGHTS[0]]), ValueError, "fit: expected sample_weight to be a list or dict for the outputs one, two, received list."),
    (refuse(sample_weight={"q": WEIGHTS[0]}), ValueError, "fit: expected each name in sample_weight to be one of 'one', 'two', received 'q'"),
    (refuse(sample_weight=[-WEIGHTS[0], None]), ValueError, "fit: expected finite sample weights of at least 0"),
    (refuse(loss=["mse"]), ValueError, "compile: expected loss to be a list or dict for the outputs one, two, received ['mse']."),
    (refuse(loss={"on": "mse"}), ValueError, "compile: expected each name in loss to be one of 'one', 'two', received 'on'. Hint: did you mean 'one'?"),
    (refuse(loss_weights=[1.0]), ValueError, "compile: expected loss_weights to be a list or dict for the outputs one, two, received [1.0]."),
    (refuse(loss_weights=[1.0, -1.0]), ValueError, "compile: expected loss_weights to be a number of at least 0, received -1.0."),
    (refuse(metrics=["mae"]), ValueError, "compile: expected metrics to be a list or dict for the outputs one, two, received ['mae']."),
    (refuse(metrics={"q": "mae"}), ValueError, "compile: expected each name in metrics to be one of 'one', 'two', received 'q'"),
    (refuse(loss=["mse", None], metrics=[None, ["mae"]]), ValueError, "compile: expected a loss for the output 'two' with metrics, received none."),
    (refuse(loss=[None, None]), ValueError, "compile: expected a loss for at least one output, received none."),
])  # fmt: skip
def test_refused(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)


# Masks


class Masked(Layer):
    """Time steps whose first number is 0 do not count."""

    def compute_mask(self, x, mask=None):
        return x[..., 0] != 0.0

    def call(self, x):
        return x * 1.0


def sequences():
    x = RANDOM.normal(size=(10, 4, 2))
    kept = RANDOM.uniform(size=(10, 4)) > 0.4
    x[..., 0] *= kept
    return x, kept, RANDOM.normal(size=(10, 4, 1)), RANDOM.integers(0, 3, (10, 4))


@pytest.mark.parametrize("jit", [True, False])
def test_an_output_with_a_mask_counts_only_kept_steps(jit):
    x, kept, numbers, ids = sequences()
    i = Input((4, 2))
    hidden = Masked()(i)
    model = Model(i, [Dense(1, name="n")(hidden), Dense(3, activation="softmax", name="c")(hidden)])
    model.compile("sgd", LOSSES, metrics=[["mae"], ["accuracy"]], jit=jit)
    p, q = (y.astype("float64") for y in model.predict(x))
    squares, logs = ((p - numbers) ** 2)[..., 0], -np.log(np.take_along_axis(q, ids[..., None], -1)[..., 0])
    right = q.argmax(-1) == ids
    for batch_size in (10, 4):
        found = model.evaluate(x, [numbers, ids], batch_size=batch_size, return_dict=True)
        assert found["n_loss"] == pytest.approx(squares[kept].mean(), rel=1e-5)
        assert found["c_loss"] == pytest.approx(logs[kept].mean(), rel=1e-5)
        assert found["c_accuracy"] == pytest.approx(right[kept].mean(), rel=1e-6)
        assert found["n_mae"] == pytest.approx(abs(p - numbers)[..., 0][kept].mean(), rel=1e-5)
    w = RANDOM.uniform(size=10)
    found = model.test_on_batch(x, [numbers, ids], sample_weight=w)
    wanted = [(values * kept * w[:, None]).sum() / kept.sum() for values in (squares, logs)]  # as Keras: not by weights
    assert [found[1], found[3]] == pytest.approx(wanted, rel=1e-5)
    trained = model.train_on_batch(x, [numbers, ids])
    assert [trained[1], trained[3]] == pytest.approx([squares[kept].mean(), logs[kept].mean()], rel=1e-5)


def test_gradients_of_a_masked_loss():
    x, kept, numbers, _ = sequences()
    model = Sequential([Input((4, 2)), Masked(), Dense(1, kernel_initializer="ones")])
    model.compile(SGD(1.0), "mse")
    model.train_on_batch(x, numbers)
    errors = (x.sum(-1, keepdims=True) - numbers) * kept[..., None]
    step = 2 * np.einsum("btf,bto->fo", x, errors) / kept.sum()
    np.testing.assert_allclose(model.get_weights()[0], 1 - step, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.get_weights()[1], -2 * errors.sum((0, 1)) / kept.sum(), rtol=1e-4, atol=1e-6)


def test_ids_to_ignore_do_not_count_beside_a_mask():
    x, kept, _, ids = sequences()
    ids[:, 1] = -1
    model = Sequential([Input((4, 2)), Masked(), Dense(3, activation="softmax")])
    model.compile("sgd", losses.SparseCategoricalCrossentropy(ignore_class=-1), metrics=["accuracy"])
    p, both = model.predict(x).astype("float64"), kept & (ids >= 0)
    logs = -np.log(np.take_along_axis(p, abs(ids)[..., None], -1)[..., 0])
    for batch_size in (10, 4):
        found = model.evaluate(x, ids, batch_size=batch_size)
        assert found == pytest.approx([logs[both].mean(), (p.argmax(-1) == ids)[both].mean()], rel=1e-5)


def test_nothing_kept_is_no_loss():
    model = Sequential([Input((4, 2)), Masked(), Dense(1)])
    model.compile("sgd", "mse")
    before = model.get_weights()
    assert model.train_on_batch(np.zeros((3, 4, 2)), np.ones((3, 4, 1))) == 0.0
    assert all(map(np.array_equal, before, model.get_weights()))


# Steps of one's own


class Own(Model):
    """Its loss is the mean of the fourth powers, which it gathers in a metric of its own."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.gathered = metrics.Mean(name="fourth")

    def _loss(self, data, training):
        x, y = data
        return tg.mean((self(x, training=training) - y) ** 4)

    def train_step(self, data):
        loss = self._loss(data, True)
        self.optimizer.minimize(loss)
        self.gathered.update_state(loss)
        return {"fourth": self.gathered.result(), "last": loss}

    def test_step(self, data):
        self.gathered.update_state(self._loss(data, False))
        return {"fourth": self.gathered.result()}


@pytest.mark.parametrize("jit", [True, False, "auto"])
def test_steps_of_ones_own(jit):
    x = Input((2,))
    model = Own(x, Dense(1, kernel_initializer="zeros")(x))
    model.compile(SGD(0.0), jit=jit)
    history = model.fit(A, ONE, epochs=2, batch_size=8, shuffle=False, validation_data=(A[:6], ONE[:6]), verbose=0)
    assert set(history.history) == {"fourth", "last", "val_fourth"}
    assert history.history["fourth"] == pytest.approx([(ONE**4).mean()] * 2, rel=1e-5)
    assert history.history["last"] == pytest.approx([(ONE[16:] ** 4).mean()] * 2, rel=1e-5)
    assert history.history["val_fourth"] == pytest.approx([(ONE[:6] ** 4).mean()] * 2, rel=1e-5)
    assert model.evaluate(A, ONE, return_dict=True) == pytest.approx({"fourth": (ONE**4).mean()}, rel=1e-5)
    assert model.train_on_batch(A, ONE, return_dict=True)["last"] == pytest.approx((ONE**4).mean(), rel=1e-5)
    assert model.gathered in model.metrics
    model.compile(SGD(0.01), jit=jit)
    losses = model.fit(A, ONE, epochs=20, verbose=0).history["fourth"]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("jit", [True, False])
def test_results_are_no_weights(jit):
    x = Input((2,))
    model = Own(x, Dense(1)(x))
    model.compile("sgd", jit=jit)
    model.fit(A, ONE, verbose=0)
    model.evaluate(A, ONE)
    assert len(model.get_weights()) == 2


@pytest.mark.parametrize("jit", [True, False])
def test_a_step_must_return_its_results(jit):
    class Silent(Model):
        def train_step(self, data):
            return 3.0

    x = Input((2,))
    model = Silent(x, Dense(1)(x), name="s")
    model.compile("sgd", jit=jit)
    with pytest.raises(TypeError, match="Silent 's': expected train_step to return a dict of results, received float"):
        model.fit(A, ONE, verbose=0)


class Autoencoder(Model):
    """No `call`, no targets: its train_step calls its parts."""

    def __init__(self, **options):
        super().__init__(**options)
        self.encoder = Sequential([Input((3,)), Dense(2)])
        self.decoder = Sequential([Input((2,)), Dense(3)])
        self.tracker = metrics.Mean(name="loss")

    @property
    def metrics(self):
        return [self.tracker]

    def train_step(self, data):
        loss = tg.mean((self.decoder(self.encoder(data)) - data) ** 2)
        self.optimizer.minimize(loss)
        self.tracker.update_state(loss)
        return {"loss": self.tracker.result()}


@pytest.mark.parametrize("jit", [True, False])
def test_inputs_alone(jit):
    model = Autoencoder(name="auto")
    model.compile("adam", jit=jit)
    history = model.fit(B, epochs=30, batch_size=8, verbose=0).history["loss"]
    assert history[-1] < 0.9 * history[0]
    with pytest.raises(
        RuntimeError, match=r"'auto' evaluate: expected a loss, given to compile, or a test_step, received none"
    ):
        model.evaluate(B)
    with pytest.raises(
        RuntimeError,
        match=r"'auto' fit validation_split: expected a loss, given to compile, or a test_step, received none",
    ):
        model.fit(B, validation_split=0.5, verbose=0)


def test_several_inputs_alone_are_a_tuple_of_one():
    seen = []

    class Look(Model):
        def train_step(self, data):
            seen.append(data)
            return {"loss": 0.0}

    i, j = Input((2,), name="a"), Input((3,), name="b")
    model = Look([i, j], Dense(1)(i) + Dense(1)(j))
    model.compile("sgd", jit=False)
    model.fit([A, B], batch_size=N, verbose=0)
    model.fit({"a": A, "b": B}, ONE, sample_weight=WEIGHTS[0], batch_size=N, verbose=0)
    (alone,), (x, y, weight) = seen
    assert [t.shape for t in alone] == [t.shape for t in x] == [(N, 2), (N, 3)]
    assert (y.shape, weight.shape) == ((N, 1), (N,))


class Delegating(Model):
    def train_step(self, data):
        found = super().train_step(data)
        return {**found, "twice": found["loss"] * 2}

    def test_step(self, data):
        return super().test_step(data)


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_the_step_of_the_base_class(jit, weights):
    made = two_by_two()
    model, plain = Delegating(made.input, made.output), Model(made.input, made.output)
    start = model.get_weights()
    found = []
    for each in (model, plain):
        each.set_weights(start)
        options = {"loss_weights": [0.5, 2.0], "metrics": [["mae"], ["accuracy"]], "jit": jit}
        each.compile(SGD(0.05), LOSSES, **options)
        history = each.fit(
            [A, B],
            [ONE, TWO],
            shuffle=False,
            epochs=2,
            batch_size=8,
            validation_split=0.25,
            sample_weight=weights,
            verbose=0,
        )
        found.append((history.history, each.get_weights()))
        each.optimizer.release()
    twice = found[0][0].pop("twice")
    np.testing.assert_allclose(twice, 2 * np.array(found[1][0]["loss"]), rtol=1e-5)
    assert found[0][0].keys() == found[1][0].keys()
    for name, values in found[0][0].items():
        np.testing.assert_allclose(values, found[1][0][name], rtol=1e-5, err_msg=name)
    for a, b in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


class OwnLoss(Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return super().compute_loss(x, y, y_pred, sample_weight, training) + tg.mean(tg.absolute(y_pred))


class OwnMetrics(Model):
    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return {**super().compute_metrics(x, y, y_pred, sample_weight), "largest": tg.max(y_pred)}


@pytest.mark.parametrize("jit", [True, False])
def test_a_loss_or_metrics_of_ones_own(jit):
    x = Input((2,))
    y = Dense(1)(x)
    model = OwnLoss(x, y)
    model.compile(SGD(0.0), "mse", metrics=["mae"], jit=jit)
    p = model.predict(A)
    wanted = [((p - ONE) ** 2).mean() + abs(p).mean(), abs(p - ONE).mean()]
    assert model.evaluate(A, ONE, batch_size=7)[1] == pytest.approx(wanted[1], rel=1e-5)
    assert model.evaluate(A, ONE, batch_size=N) == pytest.approx(wanted, rel=1e-5)
    assert list(model.fit(A, ONE, batch_size=N, verbose=0).history.values()) == [
        [pytest.approx(value, rel=1e-5)] for value in wanted
    ]
    model.optimizer.release()
    other = OwnMetrics(x, y)
    other.compile(SGD(0.0), "mse", jit=jit)
    history = other.fit(A, ONE, batch_size=N, verbose=0).history
    assert history["largest"] == [pytest.approx(p.max(), rel=1e-6)]


def test_penalties_are_part_of_the_loss():
    x = Input((2,))
    model = Model(
        x, [Dense(1, kernel_regularizer="l2", name="p")(x), Dense(1, bias_regularizer=lambda w: w.sum(), name="q")(x)]
    )
    model.get_layer("q").set_weights([np.ones((2, 1)), np.array([3.0])])
    model.compile("sgd", "mse")
    loss, p, q = model.evaluate(A, [ONE, ONE])
    kernel = model.get_layer("p").kernel.detach().numpy().astype("float64")
    assert loss == pytest.approx(p + q + 0.01 * (kernel**2).sum() + 3.0, rel=1e-5)


def test_a_keras_step_over_the_metrics():
    class Usual(Model):
        def train_step(self, data):
            x, y = data
            y_pred = self(x, training=True)
            loss = self.compute_loss(y=y, y_pred=y_pred)
            self.optimizer.minimize(loss)
            for metric in self.metrics:
                if metric.name == "loss":
                    metric.update_state(loss)
                else:
                    metric.update_state(y, y_pred)
            return {metric.name: metric.result() for metric in self.metrics}

    x = Input((2,))
    model = Usual(x, Dense(1)(x))
    model.compile(SGD(0.0), "mse", metrics=["mae"])
    p = model.predict(A)
    history = model.fit(A, ONE, epochs=2, batch_size=8, verbose=0).history
    assert history["loss"] == pytest.approx([((p - ONE) ** 2).mean()] * 2, rel=1e-5)
    assert history["mae"] == pytest.approx([abs(p - ONE).mean()] * 2, rel=1e-5)


def test_a_subclass_with_several_inputs_and_outputs():
    class Both(Model):
        def __init__(self):
            super().__init__()
            self.one, self.two = Dense(1), Dense(3, activation="softmax")

        def call(self, inputs):
            joined = tg.concatenate([inputs["a"], inputs["b"]], axis=1)
            return {"one": self.one(joined), "two": self.two(joined)}

    model = Both()
    model.compile("adam", {"one": LOSSES[0], "two": LOSSES[1]}, metrics={"two": ["accuracy"]})
    x, y = {"a": A, "b": B}, {"two": TWO, "one": ONE}
    history = model.fit(x, y, epochs=3, verbose=0).history
    assert list(history) == ["loss", "one_loss", "two_loss", "two_accuracy"]
    assert history["loss"][-1] < history["loss"][0]
    assert {name: p.shape for name, p in model.predict(x).items()} == {"one": (N, 1), "two": (N, 3)}


def test_a_subclass_with_a_list_of_outputs_is_numbered():
    class Both(Model):
        def __init__(self):
            super().__init__()
            self.one, self.two = Dense(1), Dense(1)

        def call(self, x):
            return self.one(x), self.two(x)

    model = Both()
    model.compile("sgd", ["mse", "mae"])
    assert list(model.fit(A, [ONE, ONE], verbose=0).history) == ["loss", "output_1_loss", "output_2_loss"]


# CUDA


@pytest.mark.gpu
def test_on_cuda_as_on_the_cpu():
    found = []
    for device in ("cpu", "cuda"):
        tg.seed(0)
        model = compiled(metrics=[["mae"], ["accuracy"]])
        model.to(device)
        history = model.fit(
            [A, B], [ONE, TWO], epochs=2, batch_size=12, validation_split=0.25, sample_weight=WEIGHTS, verbose=0
        )
        found.append((history.history, model.get_weights()))
    for name, values in found[0][0].items():
        np.testing.assert_allclose(found[1][0][name], values, rtol=1e-4, err_msg=name)
    for a, b in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-6)


# One output twice, masks of models in models


def masked_batch(rows=7, steps=6):
    """Ids with padding (0), and targets for each step."""
    random = np.random.default_rng(2)
    ids = random.integers(1, 5, size=(rows, steps))
    lengths = np.arange(rows) % steps + 1
    ids[np.arange(steps) >= lengths[:, None]] = 0
    return ids, random.normal(size=(rows, steps, 1)).astype("float32")


def test_one_output_for_two_losses_of_which_one_takes_logits():
    x = Input((2,))
    p = Dense(1, activation="sigmoid", name="p")(x)
    model = Model(x, {"a": p, "b": p})
    model.compile("sgd", {"a": "binary_crossentropy", "b": "mse"})
    y = (A[:, :1] > 0).astype("float32")
    p = model.predict(A)["a"].astype("float64")
    cross, squares = -np.log(np.where(y == 1, p, 1 - p)).mean(), ((p - y) ** 2).mean()
    found = model.evaluate(A, {"a": y, "b": y}, return_dict=True)
    np.testing.assert_allclose([found["a_loss"], found["b_loss"]], [cross, squares], rtol=1e-5)


def test_an_activation_apart_keeps_its_mask_for_later_layers():
    ids, y = masked_batch()
    tokens = Input((6,), dtype="int64")
    p = Dense(1, activation="sigmoid", name="p")(Embedding(5, 3, mask_zero=True)(tokens))
    model = Model(tokens, [p, Dense(1, name="q")(p)])
    model.compile("sgd", ["binary_crossentropy", "mse"])
    kept, outputs = ids > 0, model.predict(ids)
    found = model.evaluate(ids, [y > 0, y], return_dict=True)["q_loss"]
    np.testing.assert_allclose(found, ((outputs[1] - y) ** 2)[kept].mean(), rtol=1e-5)


def test_an_output_of_a_model_in_a_model_has_its_own_mask():
    ids, _ = masked_batch()
    masked = Embedding(5, 4, mask_zero=True)(tg.tensor(ids))
    assert getattr(Sequential([Input((6, 4)), LSTM(3)])(masked), "mask", None) is None
    same = Sequential([Input((6, 4)), LSTM(3, return_sequences=True)])(masked)
    assert same.mask.tolist() == (ids > 0).tolist()
    x = Input((6, 4))
    steps, last = Model(x, [Dense(2)(x), LSTM(3)(x)])(masked)
    assert steps.mask.shape == (7, 6)
    assert getattr(last, "mask", None) is None


def test_an_autoencoder_of_models_counts_as_the_flat_one():
    ids, y = masked_batch()
    tokens = Input((6,), dtype="int64")
    encoder = Sequential([Input((6, 4)), LSTM(3, name="encoder")])
    decoder = Sequential([Input((3,)), RepeatVector(6), LSTM(4, return_sequences=True), Dense(1)])
    embed = Embedding(5, 4, mask_zero=True)
    nested = Model(tokens, decoder(encoder(embed(tokens))))
    h = embed(tokens)
    for layer in [*encoder.layers, *decoder.layers]:
        h = layer(h)
    flat = Model(tokens, h)
    losses_ = []
    for model in (nested, flat):
        model.compile("sgd", "mse")
        losses_.append(model.evaluate(ids, y))
    assert losses_[0] == losses_[1]
    np.testing.assert_allclose(losses_[0], ((flat.predict(ids) - y) ** 2).mean(), rtol=1e-5)


# Several forms of data, several masked outputs, steps of one's own


@pytest.mark.parametrize("jit", [True, False])
def test_a_callback_may_train_on_another_form(jit):
    model = Echo()
    model.compile(SGD(0.0), "mse", jit=jit)
    seen = []

    class Other(Callback):
        def on_epoch_begin(self, epoch, logs=None):
            seen.append(model.test_on_batch({"p": A[:4], "q": 2 * A[:4]}, A[:4]))
            model.train_on_batch({"p": A[:4], "q": 2 * A[:4]}, A[:4])

    model.fit([A, 3 * A], A, batch_size=N, verbose=0, callbacks=Other())
    assert seen == [pytest.approx(0.0, abs=1e-12)]
    assert model.history.history["loss"] == [pytest.approx((9 * A**2).mean(), rel=1e-5)]


class Echo(Model):
    """Gives the sum of two inputs in a list, the difference of those in a dict."""

    def __init__(self):
        super().__init__()
        self.factor = self.add_weight((), "ones")

    def call(self, inputs):
        if isinstance(inputs, dict):
            return self.factor * (inputs["q"] - inputs["p"])
        return self.factor * (inputs[0] + inputs[1])


@pytest.mark.parametrize("jit", [True, False])
@pytest.mark.parametrize("kind", ["plain", "super"])
@pytest.mark.parametrize("batch_size", [7, 3])
def test_the_loss_does_not_depend_on_the_batches(kind, batch_size, jit):
    ids, y = masked_batch()
    tokens = Input((6,), dtype="int64")
    h = Embedding(5, 4, mask_zero=True)(tokens)
    outputs = [Dense(1, name="p", kernel_regularizer="l2")(h), Dense(1, name="q")(LSTM(3)(h))]
    kind = {"plain": Model, "super": Supered}[kind]
    model = kind(tokens, outputs)
    model.compile(SGD(0.0), "mse", loss_weights=[2.0, 3.0], jit=jit)
    y = [y, y[:, 0]]
    p, q = model.predict(ids)
    wanted = [((p - y[0]) ** 2)[ids > 0].mean(), ((q - y[1]) ** 2).mean()]
    total = 2 * wanted[0] + 3 * wanted[1] + model.losses[0].item()
    found = model.fit(ids, y, batch_size=batch_size, verbose=0).history
    np.testing.assert_allclose([found[name][0] for name in ("loss", "p_loss", "q_loss")], [total, *wanted], rtol=1e-5)
    np.testing.assert_allclose(model.evaluate(ids, y, batch_size=batch_size), [total, *wanted], rtol=1e-5)


class Supered(Model):
    def train_step(self, data):
        return super().train_step(data)

    def test_step(self, data):
        return super().test_step(data)


@pytest.mark.parametrize("kind", [Model, Supered])
@pytest.mark.parametrize("jit", [True, False])
def test_one_masked_loss_counts_steps_in_either_step(kind, jit):
    ids, y = masked_batch()
    tokens = Input((6,), dtype="int64")
    model = kind(tokens, Dense(1)(Embedding(5, 4, mask_zero=True)(tokens)))
    model.compile(SGD(0.0), "mse", jit=jit)
    wanted = ((model.predict(ids) - y) ** 2)[ids > 0].mean()
    np.testing.assert_allclose(model.evaluate(ids, y, batch_size=3), wanted, rtol=1e-5)
    history = model.fit(ids, y, batch_size=3, verbose=0).history
    np.testing.assert_allclose(history["loss"], [wanted], rtol=1e-5)


@pytest.mark.parametrize("jit", [True, False])
def test_a_step_given_to_the_model_itself_is_used(jit):
    model = Sequential([Input((2,)), Dense(1)])
    model.compile(SGD(0.0), "mse", jit=jit)
    model.fit(A, ONE, verbose=0)
    model.train_step = lambda data: {"loss": tg.tensor(7.0)}
    assert model.fit(A, ONE, verbose=0).history["loss"] == [7.0]
    del model.train_step
    assert model.fit(A, ONE, verbose=0).history["loss"] != [7.0]


def test_metrics_in_lists_and_dicts_start_anew_in_each_epoch():
    class Held(Model):
        def __init__(self, inputs, outputs):
            super().__init__(inputs, outputs)
            self.own = {"one": [metrics.Mean("m")]}

        def train_step(self, data):
            mean = self.own["one"][0]
            mean.update_state(data[1])
            return {"m": mean.result(), "count": mean.count}

    x = Input((2,))
    model = Held(x, Dense(1)(x))
    model.compile("sgd", "mse")
    assert model.fit(A, ONE, verbose=0, epochs=3).history["count"] == [N, N, N]
    assert [metric.name for metric in model.metrics] == ["loss", "m"]


# States between batches


class Remembering(Model):
    def __init__(self):
        super().__init__()
        self.inner, self.last = LSTM(2, stateful=True), Dense(1)

    def call(self, x):
        return self.last(self.inner(x))


@pytest.mark.parametrize("jit", [True, False])
def test_a_subclass_with_a_stateful_layer(jit):
    x, y = RANDOM.normal(size=(12, 3, 2)), RANDOM.normal(size=(12, 1))
    options = {"batch_size": 4, "shuffle": False, "verbose": 0}
    model = Remembering()
    model.compile(SGD(0.1), "mse", jit=jit)
    with pytest.raises(ShapeError, match="Remembering fit: expected whole batches of 5 rows, for a layer is stateful"):
        model.fit(x, y, **{**options, "batch_size": 5})
    model = Remembering()
    model.compile(SGD(0.1), "mse", jit=jit)
    model.fit(x[:4], y[:4], **options)
    same = Sequential([Input(batch_shape=(4, 3, 2)), LSTM(2, stateful=True), Dense(1)])
    same.compile(SGD(0.1), "mse", jit=jit)
    same.set_weights(model.get_weights())
    for state, new in zip(same.layers[0].states, model.inner.states, strict=True):
        state.assign_(new)
    for _ in range(2):
        assert model.fit(x, y, **options).history == same.fit(x, y, **options).history


def test_the_first_batch_of_a_stateful_layer_begins_with_zeros():
    x, y = RANDOM.normal(size=(8, 3, 2)), RANDOM.normal(size=(8, 1))
    model = Remembering()
    model.compile(SGD(0.0), "mse")
    found = model.evaluate(x, y, batch_size=4)
    model.inner.reset_state()
    assert model.evaluate(x, y, batch_size=4) == found
    before = model.inner.states[0].numpy().copy()
    for call in (model.fit, model.evaluate):
        with pytest.raises(ShapeError, match="expected whole batches of 4 rows, for a layer is stateful, received 7"):
            call(x[:7], y[:7], batch_size=4)
    with pytest.raises(ShapeError, match="predict: expected whole batches of 4 rows"):
        model.predict(x[:7], batch_size=4)
    np.testing.assert_array_equal(model.inner.states[0].numpy(), before)


# What users write


def single(**options):
    model = Sequential([Input((2,)), Dense(1)])
    model.compile("sgd", "mse", **options)
    return model


class Pairs(Layer):
    def call(self, x):
        return x, x


def all_frozen():
    model = single()
    model.trainable = False
    model.fit(A, ONE, verbose=0)


@pytest.mark.parametrize(("call", "kind", "text"), [
    (lambda: single().evaluate(A, ONE, verbose=7), ValueError, "evaluate: expected verbose to be one of '0', '1', '2', 'auto', received 7"),
    (lambda: single().predict(A, verbose="x"), ValueError, "predict: expected verbose to be one of"),
    (lambda: alone().fit(A, class_weight={0: 1.0}), ValueError, "fit class_weight: expected targets y, received None."),
    (lambda: Sequential([Input((2,)), Pairs()]), TypeError, "Pairs: expected one output, received a tuple. Hint: use Model("),
    (all_frozen, ValueError, "Sequential fit: expected a parameter to train, received a model all frozen. Hint: set trainable"),
    (lambda: Sequential([Input((2,)), Dense(1, name="end")]).compile("sgd", loss={"nope": "mse"}), ValueError, "each name in loss to be one of 'end', received 'nope'"),
    (lambda: no_loss().compute_loss(y_pred=tg.ones((2, 1))), ValueError, "compute_loss: expected a loss, given to compile, received none."),
    (lambda: labels().fit(A, np.zeros(N), class_weight={2: 1.0}), ValueError, "class_weight: expected classes from 0 to 1, received 2."),
])  # fmt: skip
def test_refused_as_well(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)


def alone():
    class Alone(Sequential):
        def train_step(self, data):
            return {}

    model = Alone([Input((2,)), Dense(1)])
    model.compile("sgd")
    return model


def no_loss():
    model = Sequential([Input((2,)), Dense(1)])
    model.compile("sgd")
    return model


def labels():
    model = Sequential([Input((2,)), Dense(1, activation="sigmoid")])
    model.compile("sgd", "binary_crossentropy")
    return model


def test_weights_by_class_where_all_targets_are_0():
    model = labels()
    p = model.predict(A)[:, 0].astype("float64")
    found = model.train_on_batch(A, np.zeros(N), class_weight={0: 0.5, 1: 3.0})
    np.testing.assert_allclose(found, -0.5 * np.log(1 - p).mean(), rtol=1e-5)


def test_lists_of_one_and_columns_of_weights():
    model = single()
    assert model.evaluate([A], [ONE]) == model.evaluate(A, ONE)
    assert model.evaluate(A, ONE, sample_weight=WEIGHTS[0][:, None]) == model.evaluate(A, ONE, sample_weight=WEIGHTS[0])
    assert model.evaluate([A[0]], ONE[:1]) == model.evaluate(A[:1], ONE[:1])
    np.testing.assert_allclose(model.predict_on_batch(A), model.predict(A, batch_size=N), rtol=1e-6)


def test_one_array_of_targets_is_for_the_one_loss():
    model = compiled(["mse", None])
    assert model.evaluate([A, B], ONE) == model.evaluate([A, B], [ONE, None])


def test_names_that_models_chose_give_way():
    one, other = (Sequential([Input((2,)), Dense(2), Dense(3)]) for _ in range(2))
    x = Input((2,))
    model = Model(x, other.layers[0](one.layers[0](x)))
    names = [layer.name for layer in model.layers]
    assert len(set(names)) == 3
    assert len({layer.name for layer in other.layers}) == 2
    assert [layer.name for layer in one.layers] == ["dense", "dense_1"]
    both = Sequential([one.layers[0], Dense(2, name="dense")])
    assert both.layers[1].name == "dense" != both.layers[0].name


def test_a_summary_of_a_subclass_names_attributes(capsys):
    Remembering().summary()
    text = capsys.readouterr().out
    assert "inner (LSTM)" in text
    assert "last (Dense)" in text


def test_a_train_step_of_layers_that_are_not_built():
    class Parts(Model):
        def __init__(self):
            super().__init__()
            self.inner = Sequential([Dense(1)])

        def train_step(self, data):
            loss = (self.inner(data) ** 2).mean()
            self.optimizer.minimize(loss)
            return {"loss": loss}

    model = Parts()
    model.compile()
    with pytest.raises(
        ValueError, match=r"Parts fit: expected a parameter to train, .* or compile\(optimizer=None\) if"
    ):
        model.fit(np.ones((4, 2)), verbose=0)
