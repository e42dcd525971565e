"""Trainings of a small model with the options of optimizers.

Read by test_optimizers_options.py, which passes tinygrad_edu, and by golden/make_optimizer_options.py, which passes
Keras: so neither is imported here.
"""

import numpy

ROWS, BATCH, FITS = 22, 4, 3

CASES = {
    "clipnorm": ("SGD", {"learning_rate": 0.1, "momentum": 0.5, "clipnorm": 0.3}),
    "global_clipnorm": ("Adam", {"learning_rate": 0.05, "global_clipnorm": 0.3}),
    "global_clipnorm sgd": ("SGD", {"learning_rate": 0.1, "global_clipnorm": 0.3}),
    "clipvalue": ("SGD", {"learning_rate": 0.1, "clipvalue": 0.1}),
    "accumulation": ("Adam", {"learning_rate": 0.05, "gradient_accumulation_steps": 4}),
    "accumulation, clipped": (
        "RMSprop",
        {"learning_rate": 0.02, "gradient_accumulation_steps": 2, "clipnorm": 0.2, "weight_decay": 0.1},
    ),
    "averages": ("SGD", {"learning_rate": 0.1, "use_ema": True, "ema_momentum": 0.7}),
    "averages that overwrite": (
        "Adam",
        {"learning_rate": 0.05, "use_ema": True, "ema_momentum": 0.6, "ema_overwrite_frequency": 4},
    ),
    "names without decay": ("AdamW", {"learning_rate": 0.05, "weight_decay": 0.5}),
    "weights without decay": ("SGD", {"learning_rate": 0.1, "weight_decay": 0.5}),
}


def train(keras, case, **options):
    """The weights after each of three calls of `fit`, in lists of numbers; `options` are for `compile`."""
    layers, random = keras.layers, numpy.random.default_rng(3)
    x = random.normal(size=(ROWS, 3)).astype("float32")
    y = (x[:, :1] * x[:, 1:2] + 1.0).astype("float32")
    model = keras.models.Sequential([layers.Input((3,)), layers.Dense(4, activation="tanh"), layers.Dense(1)])
    model.set_weights([random.uniform(-0.8, 0.8, w.shape).astype("float32") for w in model.get_weights()])
    kind, arguments = CASES[case]
    optimizer = getattr(keras.optimizers, kind)(**arguments)
    if case == "names without decay":
        optimizer.exclude_from_weight_decay(var_names=["bias"])
    if case == "weights without decay":
        optimizer.exclude_from_weight_decay(var_list=[model.layers[-1].kernel])
    model.compile(optimizer, "mse", **options)
    found = []
    for _ in range(FITS):
        model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0)
        found.append([w.tolist() for w in model.get_weights()])
    return found
