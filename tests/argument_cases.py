"""Calls of fit, evaluate and predict with arguments that say which batches are used and when: how many steps an epoch
has, how often the validation runs, and which hooks of callbacks are called.

Read by test_fit_arguments.py, which passes tinygrad_edu, and by golden/make_arguments.py, which passes Keras: so
neither is imported here.
"""

# ruff: noqa: E501 -- the table holds whole calls, a case a line

import warnings

import numpy

ROWS = 10
X = numpy.linspace(-1.0, 1.0, ROWS * 2, dtype="float32").reshape(ROWS, 2)
Y = (X[:, :1] * 2.0 + numpy.arange(ROWS, dtype="float32")[:, None] % 3).astype("float32")
VALIDATION = X[:7] * 0.5, Y[:7] + 1.0
CLASSES = (numpy.arange(ROWS) % 3 == 0).astype("float32")[:, None]
HOOKS = [
    *[f"on_{what}_{when}" for what in ("train", "test", "predict", "epoch") for when in ("begin", "end")],
    *[f"on_{what}_batch_{when}" for what in ("train", "test", "predict") for when in ("begin", "end")],
]


def batches(y=Y, size=3):
    """The batches of one pass."""
    return [(X[i : i + size], y[i : i + size]) for i in range(0, ROWS, size)]


def once(count, y=Y):
    """A generator of so many batches."""
    for i in range(count):
        yield batches(y)[i % 4]


def build(keras, loss):
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(1, activation="sigmoid" if "cross" in loss else None)]
    )
    model.set_weights([numpy.array([[0.5], [-0.25]], "float32"), numpy.array([0.125], "float32")])
    model.compile(keras.optimizers.SGD(0.1), loss, metrics=["mae"])
    return model


def recorder(keras, calls):
    """A callback that notes each hook, its number, and the names and values of its logs."""

    def hook(name):
        def note(self, *arguments, logs=None):
            *number, last = (*arguments, logs) if logs is not None else arguments
            values = {key: float(value) for key, value in dict(last or {}).items() if key != "outputs"}
            calls.append([name, *number, values])

        return note

    return type("Record", (keras.callbacks.Callback,), {name: hook(name) for name in HOOKS})()


def pydataset(keras, y=Y):
    base = getattr(keras.utils, "PyDataset", object)

    class Batches(base):
        def __len__(self):
            return 4

        def __getitem__(self, i):
            return batches(y)[i]

        def on_epoch_end(self):
            pass

    return Batches()


# name: (what is called, with which arguments given the framework; arrays are cut into batches of 3)
CASES = {
    "validation_freq": ("fit", lambda k: {"x": X, "y": Y, "batch_size": 3, "epochs": 5, "validation_data": VALIDATION, "validation_freq": 2}),
    "validation_freq list": ("fit", lambda k: {"x": X, "y": Y, "batch_size": 3, "epochs": 4, "validation_split": 0.3, "validation_freq": [1, 4]}),
    "initial_epoch": ("fit", lambda k: {"x": X, "y": Y, "batch_size": 4, "epochs": 5, "initial_epoch": 2, "validation_data": VALIDATION, "validation_freq": 2}),
    "steps of arrays": ("fit", lambda k: {"x": X, "y": Y, "batch_size": 3, "epochs": 4, "steps_per_epoch": 2}),
    "steps that do not divide": ("fit", lambda k: {"x": X, "y": Y, "batch_size": 3, "epochs": 3, "steps_per_epoch": 3}),
    "more steps than batches": ("fit", lambda k: {"x": X, "y": Y, "batch_size": 3, "epochs": 2, "steps_per_epoch": 5}),
    "steps choose the batches": ("fit", lambda k: {"x": X, "y": Y, "epochs": 2, "steps_per_epoch": 3}),
    "validation_steps": ("fit", lambda k: {"x": X, "y": Y, "batch_size": 5, "epochs": 2, "validation_data": VALIDATION, "validation_steps": 2, "validation_batch_size": 2}),
    "validation in batches": ("fit", lambda k: {"x": X, "y": Y, "batch_size": 5, "validation_data": VALIDATION}),
    "generator": ("fit", lambda k: {"x": once(4), "epochs": 1}),
    "generator in epochs": ("fit", lambda k: {"x": once(100), "epochs": 3, "steps_per_epoch": 3, "validation_data": VALIDATION, "validation_batch_size": 4}),
    "class_weight of a pydataset": ("fit", lambda k: {"x": pydataset(k, CLASSES), "epochs": 2, "class_weight": {0: 0.5, 1: 3.0}}),
    "validation by a generator": ("fit", lambda k: {"x": X, "y": Y, "batch_size": 5, "validation_data": once(100), "validation_steps": 3}),
    "pydataset": ("fit", lambda k: {"x": pydataset(k), "epochs": 3}),
    "steps of a pydataset": ("fit", lambda k: {"x": pydataset(k), "epochs": 3, "steps_per_epoch": 2}),
    "evaluate": ("evaluate", lambda k: {"x": X, "y": Y, "batch_size": 3}),
    "evaluate steps": ("evaluate", lambda k: {"x": X, "y": Y, "batch_size": 3, "steps": 2}),
    "evaluate generator": ("evaluate", lambda k: {"x": once(100), "steps": 3}),
    "predict": ("predict", lambda k: {"x": X, "batch_size": 3}),
    "predict steps": ("predict", lambda k: {"x": X, "batch_size": 3, "steps": 2}),
    "predict generator": ("predict", lambda k: {"x": once(100), "steps": 3}),
}  # fmt: skip


def run(keras, case):
    """What happened: hooks, `params`, the history or result, the final weights, and whether there was a warning that
    the data ran out."""
    method, arguments = CASES[case]
    model = build(keras, "binary_crossentropy" if case.startswith("class_weight") else "mse")
    calls = []
    record = recorder(keras, calls)
    given = {"callbacks": [record], "verbose": 0, **arguments(keras)}
    given |= {"shuffle": False} if method == "fit" else {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = getattr(model, method)(**given)
    return {
        "calls": calls,
        "steps": record.params["steps"],
        "epochs": record.params["epochs"],
        "result": result.history if method == "fit" else numpy.asarray(result).tolist(),
        "weights": [w.tolist() for w in model.get_weights()],
        "ran_out": any("ran out of data" in str(warning.message) for warning in caught),
    }


def close(found, known):
    """Whether two records are equal but for rounding."""
    if isinstance(known, dict):
        return isinstance(found, dict) and list(found) == list(known) and all(close(found[k], known[k]) for k in known)
    if isinstance(known, list):
        return isinstance(found, list) and len(found) == len(known) and all(map(close, found, known))
    if isinstance(known, float) and isinstance(found, float):
        return abs(found - known) <= 1e-5 + 1e-4 * abs(known)
    return found == known
