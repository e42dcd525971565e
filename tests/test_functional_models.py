"""Model(inputs, outputs): how calls on symbols become a model, its weights in Keras's order, errors, saving."""

# ruff: noqa: E501 -- the tables hold whole error texts, a case a line

import copy
import gc
import weakref

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu.errors import ShapeError
from tinygrad_edu.layers import LSTM, Activation, Add, Dense, Dropout, Flatten, Input, Layer, Reshape
from tinygrad_edu.models import Model, Sequential, load_model

RANDOM = np.random.default_rng(0)
A, B = (RANDOM.normal(size=(6, n)).astype("float32") for n in (2, 3))


@pytest.fixture(autouse=True)
def _seed():
    tg.seed(0)


def two_inputs(structure=list):
    """(n, 2) and (n, 3) to the sum of a dense layer of each."""
    a, b = Input((2,), name="a"), Input((3,), name="b")
    total = Dense(4, name="u")(a) + Dense(4, name="v")(b)
    return Model({"y": a, "x": b} if structure is dict else structure([a, b]), total)


def two_outputs(structure=list):
    x = Input((2,), name="x")
    hidden = Dense(4, activation="relu", name="hidden")(x)
    one, two = Dense(1, name="one")(hidden), Dense(3, activation="softmax", name="two")(hidden)
    return Model(x, {"second": two, "first": one} if structure is dict else structure([one, two]))


def by_hand(model, *arrays):
    """What `two_inputs` computes."""
    u, v = model.get_layer("u"), model.get_layer("v")
    return sum(x @ w.kernel.detach().numpy() + w.bias.detach().numpy() for x, w in zip(arrays, (u, v), strict=True))


# Inputs and outputs


@pytest.mark.parametrize("given", [
    lambda: [A, B], lambda: (A, B), lambda: [tg.tensor(A), tg.tensor(B)], lambda: {"a": A, "b": B},
    lambda: {"b": tg.tensor(B), "a": tg.tensor(A)},
])  # fmt: skip
def test_several_inputs(given):
    for structure in (list, tuple):
        model = two_inputs(structure)
        np.testing.assert_allclose(model(given()).detach().numpy(), by_hand(model, A, B), rtol=1e-5, atol=1e-6)
        model.compile("sgd", "mse")
        np.testing.assert_allclose(model.predict(given(), batch_size=4), by_hand(model, A, B), rtol=1e-5, atol=1e-6)


def test_a_dict_of_inputs():
    model = two_inputs(dict)
    np.testing.assert_allclose(model({"y": A, "x": B}).detach().numpy(), by_hand(model, A, B), rtol=1e-5, atol=1e-6)
    model.compile("sgd", "mse")
    np.testing.assert_allclose(model.predict({"x": B, "y": A}), by_hand(model, A, B), rtol=1e-5, atol=1e-6)
    assert model.input.keys() == {"x", "y"}


def test_several_outputs():
    for structure in (list, tuple):
        model = two_outputs(structure)
        one, two = model(A)
        assert (one.shape, two.shape) == ((6, 1), (6, 3))
        assert model.output_shape == [(None, 1), (None, 3)]
        assert model.output_names == ["one", "two"]
    model = two_outputs(dict)
    found = model(A)
    assert {name: y.shape for name, y in found.items()} == {"first": (6, 1), "second": (6, 3)}
    assert model.output_names == ["first", "second"]
    assert model.output_shape == {"first": (None, 1), "second": (None, 3)}


def test_one_in_a_list_is_that_one_as_in_keras():
    x = Input((2,))
    model = Model([x], [Dense(3)(x)])
    assert model(A).shape == model([A]).shape == (6, 3)
    assert model.input is x
    assert model.output_shape == (None, 3)


def test_inputs_and_outputs_as_keras_has_them():
    model = two_inputs()
    assert model.input == model.inputs
    assert [symbol.shape for symbol in model.inputs] == [(None, 2), (None, 3)]
    assert model.output is model.outputs[0]
    assert model.input_names == ["a", "b"]
    dense = model.get_layer("u")
    assert dense.input is model.input[0]
    assert dense.output.shape == (None, 4)


def test_input_by_batch_shape_and_dtype():
    ids = Input(batch_shape=(4, 3), dtype="int64")
    assert (ids.shape, ids.dtype) == ((4, 3), "int64")
    same = Input((3,), batch_size=4)
    assert same.shape == (4, 3)
    y = Dense(2)(ids.astype("float32") * 0.5)
    assert y.shape == (4, 2)
    model = Model(ids, y)
    model.compile("sgd", "mse")
    assert model.predict([[1, 2, 3]] * 4).shape == (4, 2)
    with pytest.raises(ValueError, match=r"predict: expected x to be whole and in the range of int64, received 0.5"):
        model.predict([[0.5, 2, 3]] * 4)


def test_inputs_of_different_dtypes():
    ids, x = Input((1,), dtype="int64", name="ids"), Input((2,), name="x")
    model = Model([ids, x], x * ids.astype("float32"))
    model.compile("sgd", "mse")
    seen = []

    class Look(Layer):
        def call(self, inputs):
            seen.append([t.dtype.name for t in inputs])
            return inputs[1]

    looking = Model([ids, x], Look()([ids, x]))
    looking.compile("sgd", "mse")
    looking.predict([np.arange(6)[:, None], A.astype("float64")])
    assert seen[-1] == ["int64", "float32"]
    np.testing.assert_allclose(model.predict([np.arange(6)[:, None], A]), A * np.arange(6)[:, None])


def test_operators_and_methods_of_symbols():
    x, y = Input((4,)), Input((4,))
    found = [
        x + y, x - y, x * y, x / 2.0, 1.0 - x, 2.0 / (x * x + 1.0), -x, abs(x), x**2, x * 3.0, x[:, 1:3], x[:, ::-1],
        x[..., 0], x.mean(axis=1, keepdims=True), x.reshape((-1, 2, 2)),
        x.sum(axis=-1), x.exp(), x > y, x.argmax(axis=-1), x.astype("float64"), x.reshape((-1, 4, 1)).transpose((0, 2, 1)),
    ]  # fmt: skip
    p, q = (RANDOM.normal(size=(3, 4)).astype("float32") for _ in range(2))
    expected = [
        p + q, p - q, p * q, p / 2, 1 - p, 2 / (p * p + 1), -p, abs(p), p**2, p * 3, p[:, 1:3], p[:, ::-1], p[..., 0],
        p.mean(1, keepdims=True), p.reshape(-1, 2, 2), p.sum(-1), np.exp(p), p > q, p.argmax(-1),
        p.astype("float64"), p[:, None],
    ]  # fmt: skip
    outputs = Model([x, y], found)([p, q])
    for symbol, tensor, array in zip(found, outputs, expected, strict=True):
        np.testing.assert_allclose(tensor.detach().numpy(), array, rtol=1e-5, atol=1e-6)
        assert symbol.dtype == tensor.dtype
        if symbol.shape[:1] == (None,):
            assert symbol.shape[1:] == tensor.shape[1:]


def test_axes_of_unknown_length():
    x = Input((None, 3))
    model = Model(x, [Dense(2)(x), x.sum(axis=1)])
    assert model.output_shape == [(None, None, 2), (None, 3)]
    for length in (1, 5):
        long, short = model(np.ones((2, length, 3)))
        assert (long.shape, short.shape) == ((2, length, 2), (2, 3))


def test_training_reaches_the_layers():
    x = Input((50,))
    model = Model(x, Dropout(0.5)(x))
    assert (model(np.ones((4, 50)), training=True).detach().numpy() == 0).any()
    assert (model(np.ones((4, 50))).detach().numpy() == 1).all()
    always = Model(x, Dropout(0.5)(x, training=True))
    assert (always(np.ones((4, 50)), training=False).detach().numpy() == 0).any()


# Layers that are shared, and models in models


def test_a_shared_layer_counts_once_and_its_gradients_add_up():
    shared = Dense(2, use_bias=False, name="shared")
    a, b = Input((2,)), Input((2,))
    model = Model([a, b], shared(a) + shared(shared(b)))
    assert len(model.get_weights()) == 1
    assert model.count_params() == 4
    p, q, w = A[:3].astype("float64"), A[3:].astype("float64"), shared.kernel.detach().numpy().astype("float64")
    model([A[:3], A[3:]]).sum().backward()
    ones = np.ones((3, 2))
    expected = p.T @ ones + (q @ w).T @ ones + q.T @ (ones @ w.T)
    np.testing.assert_allclose(shared.kernel.grad.detach().numpy(), expected, rtol=1e-4)


def test_a_layer_called_twice_has_no_one_output():
    shared = Dense(2, name="shared")
    x = Input((2,))
    model = Model(x, shared(shared(x)))
    with pytest.raises(ValueError, match=r"Dense 'shared': expected one call on symbols in a model, received 2\."):
        _ = model.get_layer("shared").output


def test_sequential_in_functional_and_the_reverse():
    inner = Sequential([Dense(4, activation="relu"), Dense(2)], name="inner")
    x = Input((3,), name="x")
    model = Model(x, Dense(1)(inner(x) + 1.0))
    assert len(model.weights) == 6
    assert inner.built
    outer = Sequential([Input((3,)), Dense(3), model, Activation("tanh")])
    expected = np.tanh(model(outer.layers[0](B)).detach().numpy())
    np.testing.assert_allclose(outer(B).detach().numpy(), expected, rtol=1e-5)
    again = Sequential([model, Dense(2)])
    assert again.built
    assert again(B).shape == (6, 2)


def test_a_model_of_several_inputs_in_a_model():
    inner = two_inputs()
    x, y = Input((2,)), Input((3,))
    for given in ([x, y], {"a": x, "b": y}):
        model = Model([x, y], inner(given) * 2.0)
        np.testing.assert_allclose(model([A, B]).detach().numpy(), 2 * inner([A, B]).detach().numpy(), rtol=1e-6)
    outer = Model(x, two_outputs()(x))
    assert [y.shape for y in outer(A)] == [(6, 1), (6, 3)]


@pytest.mark.parametrize("kind", ["functional", "sequential", "called"])
def test_a_model_cut_out_of_another(kind):
    x = Input((3,))
    if kind == "functional":
        model = Model(x, Dense(2)(Dense(5, activation="tanh")(x)))
    else:
        model = Sequential([Input((3,)), Dense(5, activation="tanh"), Dense(2)])
        if kind == "called":
            Model(x, Dense(1)(model(x)))
    cut = Model(model.input, model.layers[-2].output)
    assert cut(B).shape == (6, 5)
    assert cut.layers[-1] is model.layers[-2]
    first, last = model.layers[-2:]
    np.testing.assert_array_equal(last(cut(B)).detach().numpy(), model(B).detach().numpy())
    rest = Model(first.output, last.output)
    np.testing.assert_array_equal(rest(cut(B)).detach().numpy(), model(B).detach().numpy())
    assert rest.layers[1:] == [last]
    extended = Model(model.inputs, Dense(7)(model.outputs[0]))
    assert extended(B).shape == (6, 7)


def test_a_model_is_freed_and_its_layers_live_on():
    x = Input((2,))
    dense = Dense(3)
    model = Model(x, dense(x))
    gone = weakref.ref(model)
    del model, x
    gc.collect()
    assert gone() is None
    assert dense(A).shape == (6, 3)
    y = Input((2,))
    assert Model(y, dense(y)).get_layer("dense").output.shape == (None, 3)


def test_a_deep_model():
    x = Input((2,))
    y = x
    for _ in range(600):
        y = y + 1.0
    model = Model(x, y)
    np.testing.assert_allclose(model(A).detach().numpy(), A + 600, rtol=1e-5)
    np.testing.assert_allclose(copy.deepcopy(model)(A).detach().numpy(), A + 600, rtol=1e-5)


@pytest.mark.parametrize("make", [two_outputs, lambda: Sequential([Input((2,)), Dense(3), Dense(1)])])
def test_a_deep_copy_is_a_model_of_its_own(make):
    model = make()
    other = copy.deepcopy(model)
    other.set_weights([w * 2 for w in model.get_weights()])
    assert all((v == 2 * w).all() for v, w in zip(other.get_weights(), model.get_weights(), strict=True))
    cut = Model(other.input, other.layers[-2].output)
    assert cut.layers[-1] is other.layers[-2]
    assert model.layers[-2].output is not other.layers[-2].output


def test_a_subclass_with_inputs_and_outputs():
    class Named(Model):
        def describe(self):
            return len(self.layers)

    x = Input((2,))
    model = Named(inputs=x, outputs=Dense(3)(x), name="mine")
    assert model.describe() == 2
    assert model(A).shape == (6, 3)
    assert model.where == "Named 'mine'"


# The order of weights, recorded from Keras 3.15.1


def branched():
    a, b = Input((2,), name="a"), Input((3,), name="b")
    both = Dense(5, name="short")(a) + Dense(5, name="long2")(Dense(4, name="long1")(b))
    return Model([a, b], [Dense(1, name="one")(both), Dense(2, name="two")(Dense(6, name="extra")(both))])


def reused():
    x = Input((2,), name="x")
    first, second = Dense(2, name="shared"), Dense(3, name="second")
    y = first(x)
    z = first(y)
    side = second(x)
    return Model(x, [Dense(4, name="end")(z + y), side, Dense(7, name="top")(side)])


def skipping():
    x = Input((4,), name="x")
    p = Dense(4, name="p")(x)
    q = Dense(4, name="q")(p)
    r = Dense(4, name="r", use_bias=False)(x)
    return Model(x, Dense(1, name="s")(q + p + x + r))


def turned():
    a, b = Input((2,), name="a"), Input((3,), name="b")
    u, v = Dense(4, name="u")(a), Dense(5, name="v")(b)
    return Model([b, a], [v, u])


def named():
    a, b = Input((2,), name="a"), Input((3,), name="b")
    return Model({"z": a, "y": b}, {"two": Dense(4, name="u")(a), "one": Dense(5, name="v")(b)})


def nested():
    inner = Sequential([Input((3,)), Dense(4, name="i1"), Dense(2, name="i2")], name="inner")
    x, w = Input((3,), name="x"), Input((2,), name="w")
    tail = Model(w, Dense(3, name="t")(w), name="tail")
    side = Dense(3, name="side")(x)
    return Model(x, Dense(1, name="last")(tail(inner(x)) + side))


@pytest.mark.parametrize(("make", "kernels"), [
    (branched, [(3, 4), (2, 5), (4, 5), (5, 6), (5, 1), (6, 2)]),
    (reused, [(2, 2), (2, 3), (2, 4), (3, 7)]),
    (skipping, [(4, 4), (4, 4), (4, 4), (4, 1)]),
    (turned, [(3, 5), (2, 4)]),
    (named, [(3, 5), (2, 4)]),
    (nested, [(3, 4), (4, 2), (2, 3), (3, 3), (3, 1)]),
])  # fmt: skip
def test_weights_are_in_the_order_of_keras(make, kernels):
    model = make()
    assert [w.shape for w in model.get_weights() if w.ndim == 2] == kernels
    values = [RANDOM.normal(size=w.shape) for w in model.get_weights()]
    model.set_weights(values)
    np.testing.assert_array_equal(model.get_weights()[0], values[0].astype("float32"))


def test_the_layers_of_a_model_with_branches():
    assert [layer.name for layer in skipping().layers if not layer.name.startswith("operation")] == [*"xpqrs"]
    own = [layer.name for layer in branched().layers if not layer.name.startswith("operation")]
    assert own == ["b", "a", "long1", "short", "long2", "extra", "one", "two"]
    x = Input((4,), name="x")
    far = Dense(4, name="far3")(Dense(4, name="far2")(Dense(4, name="far1")(x)))
    uneven = Model(x, Dense(4, name="near")(x) + far)
    assert [layer.name for layer in uneven.layers][:5] == ["x", "far1", "far2", "near", "far3"]


def test_freezing():
    model = branched()
    model.get_layer("long1").trainable = False
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit([A, B], [A[:, :1], A], verbose=0)
    changed = [(v != w).any() for v, w in zip(before, model.get_weights(), strict=True)]
    assert changed == [False] * 2 + [True] * 10
    frozen = Model(model.input, model.output, trainable=False)
    assert frozen.trainable_weights == []


# Errors


def wrong(*given, model=two_inputs):
    return lambda: model()(*given)


def compiled(model, loss="mse", **options):
    model.compile("sgd", loss, **options)
    return model


def unconnected():
    a, b = Input((3,), name="a"), Input((3,), name="b")
    return Model(a, Dense(3)(b) + a)


def same_names():
    x = Input((2,))
    return Model(x, Dense(2, name="q")(Dense(2, name="q")(x)))


@pytest.mark.parametrize(("call", "kind", "text"), [
    (wrong([A]), ValueError, "Model: expected 2 inputs, received 1."),
    (wrong(A), ValueError, "Model: expected 2 inputs, received 1."),
    (wrong([A, B, B]), ValueError, "Model: expected 2 inputs, received 3."),
    (wrong([A, A], model=two_outputs), ValueError, "Model: expected one input, received 2."),
    (wrong({"a": A, "c": B}), ValueError, "Model: expected inputs named a, b, received a, c."),
    (wrong({"a": A}), ValueError, "Model: expected inputs named a, b, received a."),
    (wrong({"a": A, "b": B}, model=lambda: two_inputs(dict)), ValueError, "Model: expected inputs named x, y, received a, b."),
    (wrong([A, B], model=lambda: two_inputs(dict)), ValueError, "Model: expected a dict of the inputs x, y, received a list"),
    (wrong([A, A]), ShapeError, "InputLayer 'b': expected a batch of shape (None, 3), received shape (6, 2)."),
    (wrong([A, B[0]]), ShapeError, "InputLayer 'b': expected a batch of shape (None, 3), received shape (3,)."),
    (wrong([A, B[:4]]), ShapeError, "Operation 'operation': add: expected shapes that broadcast"),
    (lambda: compiled(two_inputs()).predict([A, B[:4]]), ShapeError, "predict: expected x[0] and x[1] with as many rows"),
    (lambda: compiled(two_inputs()).predict([A, A]), ShapeError, "InputLayer 'b': expected a batch of shape (None, 3)"),
    (lambda: compiled(two_inputs()).predict([A]), ValueError, "Model: expected 2 inputs, received 1."),
    (unconnected, ValueError, "Model: expected outputs of its inputs alone, received one of InputLayer 'b' as well."),
    (lambda: Model(Input((2,)), tg.ones((1,))), TypeError, "Model: expected outputs to be symbols, received tensor([1.]). Hint: begin with x = Input(shape)"),
    (lambda: Model(outputs=Dense(3)(Input((2,)))), TypeError, "Model: expected inputs to be symbols, received None"),
    (lambda: Model([Input((2,)), 3], Dense(3)(Input((2,)))), TypeError, "Model: expected inputs to be symbols"),
    (lambda: Model(Input((2,)), []), TypeError, "Model: expected outputs to be symbols, received []"),
    (same_names, ValueError, "Model: expected layers with different names, received a second 'q'"),
    (lambda: Model()(A), NotImplementedError, "Model defines no call(x)"),
    (lambda: bool(Input((2,))), TypeError, "a functional model: expected no condition on a symbol"),
    (lambda: Input((4,)) + Input((3,)), ShapeError, "Operation: add: expected shapes that broadcast"),
    (lambda: Dense(2)(Input((None,))), ShapeError, "Dense: expected inputs of shape (batch, ..., features)"),
    (lambda: Dense(2, name="d")(Input(())), ShapeError, "Dense 'd': expected inputs of shape (batch, ..., features)"),
    (lambda: Reshape((5,), name="r")(Input((4,))), ShapeError, "Reshape 'r': expected rows that can be reshaped to (5,)"),
    (lambda: two_inputs().get_layer("w"), ValueError, "Model: expected the name of a layer to be one of"),
    (lambda: Model().input, ValueError, "Model: expected one call on symbols in a model, received 0."),
    (lambda: Sequential([Dense(1)]).input, ValueError, "Sequential: expected a model that is built"),
])  # fmt: skip
def test_refused(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)


def test_an_error_names_the_layer_and_its_place():
    inner = Sequential([Input((3,)), Dense(4, name="body")], name="inner")
    x = Input((3,))
    model = Model(x, inner(x))
    inner.layers[0].kernel = tg.zeros((5, 4))
    with pytest.raises(ShapeError, match=r"Model.layers\[1\] Sequential\[0\] Dense 'body': expected 5 input features"):
        model(B)


# Saving


class Scaled(Layer):
    """A layer of one's own, with arguments of all kinds and a call with several."""

    def __init__(self, factors, window=None, **options):
        super().__init__(**options)
        self.factors, self.window = tuple(factors), window

    def build(self, input_shape):
        self.weight = self.add_weight((input_shape[-1],), "ones")

    def call(self, x, shift=None, part=slice(None), scale=1.0):
        y = x * self.weight * self.factors[0] * scale
        return y[:, part] if shift is None else y[:, part] + shift


def with_arguments():
    x, s = Input((4,)), Input((2,))
    layer = Scaled((2.0, 3.0), {"low": [1, 2]}, name="scaled")
    return Model([x, s], layer(x, s, part=slice(1, 3), scale=0.5))


def with_views():
    x = Input((4, 6))
    return Model(
        x, [x[:, 1:3, ::2].reshape((-1, 6)), x[..., 0], x.transpose((0, 2, 1)).mean(axis=(1, 2)), x[:, None, -1]]
    )


def with_shared():
    shared = Dense(3, name="shared")
    x = Input((3,))
    return Model(x, shared(shared(x)))


def with_models():
    inner, x = two_inputs(), Input((2,))
    return Model(x, [inner([x, Dense(3)(x)]), two_outputs(dict)(x)["first"]])


def from_the_middle():
    model = Sequential([Input((3,)), Dense(5, activation="tanh"), Dense(2)])
    return Model(model.layers[0].output, model.output)


def in_sequential():
    return Sequential([nested(), Dense(3), Activation("relu")])


@pytest.mark.parametrize("make", [
    two_inputs, two_outputs, lambda: two_inputs(dict), lambda: two_outputs(dict), branched, reused, skipping, turned,
    named, nested, with_arguments, with_views, with_shared, with_models, from_the_middle, in_sequential,
])  # fmt: skip
def test_saved_and_loaded(make, tmp_path):
    model = make()
    model.save(tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors", {"Scaled": Scaled})
    names = [layer.name for layer in model.layers]
    assert [layer.name for layer in loaded.layers] == names
    assert loaded.output_names == model.output_names
    shapes = [symbol.shape[1:] for symbol in model.inputs]
    given = [RANDOM.normal(size=(3, *shape)).astype("float32") for shape in shapes]
    if isinstance(getattr(model, "input", None), dict):
        given = dict(zip(model.input, given, strict=True))
    elif len(given) == 1:
        (given,) = given
    expected, found = model(given), loaded(given)
    pairs = zip(flat(expected), flat(found), strict=True)
    assert all(np.array_equal(a.detach().numpy(), b.detach().numpy()) for a, b in pairs)
    assert [w.shape for w in loaded.get_weights()] == [w.shape for w in model.get_weights()]
    assert type(expected) is type(found)


def flat(tree):
    return list(tree.values()) if isinstance(tree, dict) else tree if isinstance(tree, list) else [tree]


def test_a_loaded_model_is_frozen_as_it_was_and_has_a_name(tmp_path):
    x = Input((2,), name="x")
    model = Model(x, Dense(2, name="last")(Dense(3, name="first", trainable=False)(x)), name="mine")
    model.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert loaded.name == "mine"
    assert loaded.input_names == ["x"]
    assert [w.shape for w in loaded.trainable_weights] == [(3, 2), (2,)]


def test_a_batch_shape_and_a_dtype_are_saved(tmp_path):
    ids = Input(batch_shape=(4, 3), dtype="int64", name="ids")
    Model(ids, ids.astype("float32")).save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert (loaded.input.shape, loaded.input.dtype) == ((4, 3), "int64")


@pytest.mark.parametrize(("make", "text"), [
    (lambda x: x * tg.tensor([1.0, 2.0]), "save: expected calls with symbols, numbers and texts as arguments, received Tensor. Hint: keep the model with save_weights."),
    (lambda x: Activation(lambda t: t * 2.0)(x), "expected functions and classes with names of their own, received '<lambda>' in Activation"),
    (lambda x: Sequential([Activation(lambda t: t * 2.0)])(x), "received '<lambda>' in Activation"),
])  # fmt: skip
def test_what_cannot_be_saved(make, text, tmp_path):
    x = Input((2,))
    with pytest.raises((TypeError, ValueError)) as caught:
        Model(x, make(x)).save(tmp_path / "model")
    assert text in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_layer_of_two_models_within_one_is_not_saved(tmp_path):
    dense, x = Dense(2, name="dense"), Input((2,))
    inner = Sequential([Input((2,)), dense])
    with pytest.raises(ValueError, match="expected each parameter in one layer, received one that Dense 'dense'"):
        Model(x, inner(dense(x))).save(tmp_path / "model")


def test_weights_go_to_a_model_of_the_same_form(tmp_path):
    model, other = branched(), branched()
    model.save_weights(tmp_path / "weights")
    other.load_weights(tmp_path / "weights")
    assert all(map(np.array_equal, model.get_weights(), other.get_weights()))


class Halves(Layer):
    """One layer with two outputs."""

    def call(self, x):
        return x[:, :2], x[:, 2:] * 3.0


def test_a_model_that_begins_with_one_of_the_outputs_of_a_layer():
    x = Input((4,))
    left, right = Halves(name="halves")(x)
    model = Model(left, left * 2.0)
    np.testing.assert_array_equal(model(A).numpy(), 2 * A)
    both = Model([x, left], left + right)
    row = np.array([[1.0, 2.0, 3.0, 4.0]])
    np.testing.assert_array_equal(both([row, np.array([[100.0, 200.0]])]).numpy(), [[109.0, 212.0]])
    np.testing.assert_array_equal(Model(x, [right, left, x])(row)[0].numpy(), [[9.0, 12.0]])


def test_an_output_that_is_an_input():
    probabilities = Activation("softmax")(Input((3,)))
    model = Model(probabilities, probabilities)
    model.compile("sgd", "sparse_categorical_crossentropy")
    p = np.full((6, 3), 1 / 3)
    assert model.evaluate(p, np.zeros(6)) == pytest.approx(np.log(3), rel=1e-5)


def test_flatten_and_several_axes():
    x = Input((2, 3))
    model = Model(x, Dense(1)(Flatten()(x)))
    assert model.get_layer("dense").kernel.shape == (6, 1)


# CUDA


@pytest.mark.gpu
def test_on_cuda_as_on_the_cpu():
    model = branched()
    expected = [y.detach().numpy() for y in model([A, B])]
    model.to("cuda")
    found = model([tg.tensor(A).to("cuda"), tg.tensor(B).to("cuda")])
    assert all(str(y.device) == "cuda:0" for y in found)
    for y, array in zip(found, expected, strict=True):
        np.testing.assert_allclose(y.to("cpu").detach().numpy(), array, rtol=1e-5, atol=1e-6)


def test_a_mask_by_keyword_reaches_the_layers_inside():
    x, mask = tg.normal((2, 4, 3)), np.array([[True, True, False, False], [True, True, True, False]])
    lstm = LSTM(3)
    expected = lstm(x, mask=tg.tensor(mask)).detach().numpy()
    assert abs(expected - lstm(x).detach().numpy()).max() > 1e-3
    symbol = Input((4, 3))
    for model in (Sequential([Input((4, 3)), lstm]), Model(symbol, lstm(symbol))):
        np.testing.assert_array_equal(model(x, mask=mask).detach().numpy(), expected)
        assert not hasattr(x, "mask")
        with pytest.raises(ShapeError, match="expected a mask of shape"):
            model(x, mask=mask[:1])
    both = Model([symbol, Input((4, 3))], symbol * 1.0)
    with pytest.raises(TypeError, match="Model: expected a mask for one input, received one for list"):
        both([x, x], mask=mask)


def test_values_that_no_later_layer_needs_are_let_go():
    made, alive = [], []

    class Watched(Layer):
        def call(self, x):
            alive.append(sum(reference() is not None for reference in made))
            y = x + 1.0
            made.append(weakref.ref(y))
            return y

    x = Input((3,))
    y = first = Watched()(x)
    for _ in range(4):
        y = Watched()(y)
    model = Model(x, Add()([y, first]))
    made.clear()
    alive.clear()
    for _ in range(2):
        np.testing.assert_array_equal(model(tg.zeros((2, 3))).numpy(), np.full((2, 3), 6.0))
    assert alive == [0, 1, 2, 2, 2] * 2  # the first, which is added in the end, and the one before
    copied = copy.deepcopy(model)
    np.testing.assert_array_equal(copied(tg.zeros((2, 3))).numpy(), np.full((2, 3), 6.0))
