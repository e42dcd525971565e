"""Trainings with penalties on activities, numbers that layers add to the loss, and constraints.

Read by test_penalties.py, which passes tinygrad_edu, and by golden/make_penalties.py, which passes Keras: so neither is
imported here.
"""

import numpy
from fit_cases import record

ROWS, BATCH, EPOCHS = 20, 8, 3


def shared_and_nested(keras):
    """A shared layer, a nested model and a last softmax, each with a penalty on its outputs."""
    layers, regularizers = keras.layers, keras.regularizers
    x = keras.Input((4,))
    shared = layers.Dense(4, activation="tanh", activity_regularizer=regularizers.L1L2(0.01, 0.02), name="shared")
    inner = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, activation="relu", activity_regularizer="l2"), layers.Dropout(0.0)]
    )
    y = layers.ActivityRegularization(l1=0.03)(inner(shared(shared(x))))
    return keras.Model(x, layers.Dense(3, activation="softmax", activity_regularizer=regularizers.L2(0.1))(y))


def constrained(keras):
    """A constraint of each kind, on kernels and biases."""
    layers, constraints = keras.layers, keras.constraints
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.Reshape((2, 2, 1)),
            layers.Conv2D(3, 2, padding="same", kernel_constraint=constraints.MaxNorm(0.6, axis=[0, 1, 2])),
            layers.PReLU(alpha_constraint="non_neg"),
            layers.Flatten(),
            layers.Dense(
                4,
                activation="tanh",
                kernel_regularizer=regularized(keras),
                kernel_constraint=constraints.MinMaxNorm(0.5, 0.9, rate=0.5),
                bias_constraint="non_neg",
            ),
            layers.Dense(4, kernel_constraint=constraints.UnitNorm(axis=1)),
            layers.Dense(3, activation="softmax", kernel_constraint=constraints.NonNeg()),
        ]
    )


def regularized(keras):
    return keras.regularizers.OrthogonalRegularizer(0.1, mode="columns")


def sequences(keras):
    layers = keras.layers
    lstm = layers.LSTM(3, activity_regularizer="l2", kernel_constraint="max_norm", recurrent_constraint="unit_norm")
    return keras.Sequential(
        [
            keras.Input((4,), dtype="int32"),
            layers.Embedding(5, 3, mask_zero=True, activity_regularizer="l1", embeddings_constraint="unit_norm"),
            layers.Bidirectional(lstm),
            layers.Dense(3, activation="softmax"),
        ]
    )


def adding(keras):
    """Layers that add a number to the loss: one in training only, one more than once."""
    mean = getattr(keras, "ops", keras).mean

    class Far(keras.layers.Layer):
        def call(self, x, training=None):
            self.add_loss(0.1 * mean(x * x))
            if training:
                self.add_loss([0.2 * mean(x), 0.3 * mean(x * x * x)])
            return x

    x = keras.Input((4,))
    far = Far()
    y = far(keras.layers.Dense(4, activation="tanh")(far(keras.layers.Dense(4)(x))))
    return keras.Model(x, keras.layers.Dense(3, activation="softmax", kernel_regularizer="l2")(y))


MODELS = {
    "shared and nested": shared_and_nested,
    "constrained": constrained,
    "constrained by adam": constrained,
    "sequences": sequences,
    "adding": adding,
    "only penalties": adding,
}
CASES = tuple(MODELS)


def train(keras, case, **options):
    """The history and the final weights of a training, as lists of numbers; `options` are for `compile`."""
    model = MODELS[case](keras)
    random = numpy.random.default_rng(11)
    model.set_weights([random.uniform(-0.8, 0.8, w.shape).astype("float32") for w in model.get_weights()])
    x = random.normal(size=(ROWS, 4)).astype("float32")
    y = (x[:, 0] > 0).astype("int64") + (x[:, 1] > 0)
    if case == "sequences":
        x = random.integers(1, 5, size=(ROWS, 4)) * (numpy.arange(4) < random.integers(1, 5, size=(ROWS, 1)))
    adam = case.endswith("adam")
    optimizer = keras.optimizers.Adam(0.05) if adam else keras.optimizers.SGD(0.2, momentum=0.5)
    loss = None if case == "only penalties" else "sparse_categorical_crossentropy"
    model.compile(optimizer, loss, metrics=["accuracy"] if loss else None, **options)
    settings = {"batch_size": BATCH, "epochs": EPOCHS, "shuffle": False, "validation_split": 0.25, "verbose": 0}
    return record(model, model.fit(x, *([y] if loss else []), **settings).history)
