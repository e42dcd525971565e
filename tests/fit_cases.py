"""Trainings of a functional model with two inputs, two outputs, a shared layer and a skip connection, and of one of
masked sequences, with weights by class and a short last batch.

Read by test_functional_fit.py, which passes tinygrad_edu, and by golden/make_fit.py, which passes Keras: so neither is
imported here.
"""

import numpy

ROWS, BATCH, EPOCHS = 48, 8, 4


def data():
    """Inputs and targets by the names of the layers; weights by the place of the output."""
    random = numpy.random.default_rng(4)
    a, b = (random.normal(size=(ROWS, 3)).astype("float32") for _ in range(2))
    kind = (a.sum(axis=1) > 0).astype("int64") + (b[:, 0] > 0.5)
    amount = (a[:, :1] * b[:, 1:2] + 0.5).astype("float32")
    weights = [random.uniform(0.0, 2.0, ROWS) for _ in range(2)]
    return {"a": a, "b": b}, {"kind": kind, "amount": amount}, weights


def build(keras):
    """The model, with weights that depend on nothing but their shapes."""
    layers = keras.layers
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    shared = layers.Dense(5, activation="tanh", name="shared")
    left, right = shared(a), shared(b)
    wide = layers.Dense(5, activation="relu", kernel_regularizer=keras.regularizers.L2(0.01), name="wide")(left + right)
    both = wide + left
    kind = layers.Dense(3, activation="softmax", name="kind")(both)
    amount = layers.Dense(1, bias_regularizer="l1", name="amount")(both * right)
    model = keras.Model([a, b], [kind, amount])
    random = numpy.random.default_rng(7)
    model.set_weights([random.uniform(-0.8, 0.8, w.shape).astype("float32") for w in model.get_weights()])
    return model


def train_masked(keras, **options):
    """Sequences of ids with padding (0), of 20 rows in batches of 8, and their classes."""
    random = numpy.random.default_rng(5)
    ids = random.integers(1, 6, size=(20, 6))
    ids[numpy.arange(6) >= random.integers(1, 7, size=(20, 1))] = 0
    y = ids[:, 0] % 3
    layers = keras.layers
    tokens = keras.Input((6,), dtype="int32")
    states = layers.LSTM(4)(layers.Embedding(6, 3, mask_zero=True)(tokens))
    model = keras.Model(tokens, layers.Dense(3, activation="softmax")(states))
    model.set_weights([random.uniform(-0.8, 0.8, w.shape).astype("float32") for w in model.get_weights()])
    # SGD: Keras's other optimizers move only the rows of an embedding that a batch has, on TensorFlow; on JAX all of
    # them, as here
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"], **options)
    settings = {"batch_size": BATCH, "epochs": EPOCHS, "shuffle": False, "validation_data": (ids[:7], y[:7])}
    return model, model.fit(ids, y, class_weight={0: 0.5, 2: 3.0}, verbose=0, **settings).history


def optimizer(keras, case):
    return keras.optimizers.SGD(0.05, momentum=0.9) if case == "sgd" else keras.optimizers.Adam(0.01)


CASES = ("sgd", "adam", "adam weighted", "masked")


def train(keras, case, **options):
    """The history and the final weights of a training, as lists of numbers; `options` are for `compile`."""
    if case == "masked":
        return record(*train_masked(keras, **options))
    model = build(keras)
    model.compile(
        optimizer(keras, case),
        loss={"kind": "sparse_categorical_crossentropy", "amount": "mse"},
        loss_weights={"kind": 1.5, "amount": 0.5},
        metrics={"kind": ["accuracy"], "amount": ["mae"]},
        **options,
    )
    x, y, weights = data()
    weighted = case == "adam weighted"
    y, given = (list(y.values()), {"sample_weight": weights}) if weighted else (y, {})
    settings = {"batch_size": BATCH, "epochs": EPOCHS, "shuffle": False, "validation_split": 1 / 3, "verbose": 0}
    return record(model, model.fit(x, y, **settings, **given).history)


def record(model, history):
    return {
        "history": {name: [float(value) for value in values] for name, values in sorted(history.items())},
        "weights": [w.tolist() for w in model.get_weights()],
    }


def check(found, known):
    """Fails unless a training gave the history and the weights of another one."""
    assert found["history"].keys() == known["history"].keys()
    for name, values in known["history"].items():
        numpy.testing.assert_allclose(found["history"][name], values, rtol=1e-5, atol=1e-6, err_msg=name)
    for a, b in zip(found["weights"], known["weights"], strict=True):
        numpy.testing.assert_allclose(a, b, rtol=1e-5, atol=5e-6)
