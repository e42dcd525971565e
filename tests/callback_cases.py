"""What callbacks decide for given logs: when a training stops, which weights are restored, which files are saved, which
learning rates are set, what a table holds, and which names TensorBoard shows.

Read by test_callbacks_keras.py, which passes tinygrad_edu, and by golden/make_callbacks.py, which passes Keras: so
neither is imported here. Losses are exact in float32, in which Keras compares them.
"""

import math
from pathlib import Path
from types import SimpleNamespace

import numpy

EPOCHS = 14
NAN = math.nan
SERIES = {
    "falls": [2.0 - 0.125 * i for i in range(EPOCHS)],
    "flat": [1.0] * EPOCHS,
    "dips": [1.0, 0.75, 0.5, 0.75, 0.75, 0.5, 0.5, 0.25, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5],
    "rises": [0.5, 0.25] + [0.25 + 0.0625 * i for i in range(EPOCHS - 2)],
    "noisy": [1.0, 0.875, 0.9375, 0.8125, 0.8125, 0.84375, 0.75, 0.78125, 0.8125, 0.6875, 0.75, 0.75, 0.75, 0.75],
    "late nan": [1.0, 0.5, NAN, 0.75, NAN, NAN, 0.25, NAN, NAN, NAN, NAN, NAN, NAN, NAN],
}
STOPPING = {
    "default": {},
    "patience 2": {"patience": 2},
    "patience 4, delta": {"patience": 4, "min_delta": 0.125},
    "negative delta": {"patience": 1, "min_delta": -0.125},
    "restore": {"patience": 3, "restore_best_weights": True},
    "restore at the end": {"patience": 100, "restore_best_weights": True},
    "max": {"patience": 2, "mode": "max", "restore_best_weights": True},
    "baseline": {"patience": 3, "baseline": 0.625, "restore_best_weights": True},
    "baseline met": {"patience": 3, "baseline": 5.0},
    "start": {"patience": 1, "start_from_epoch": 4, "restore_best_weights": True},
    "of training": {"monitor": "loss", "patience": 1},
}
PLATEAU = {
    "default": {},
    "patience 1": {"patience": 1},
    "patience 0": {"patience": 0, "factor": 0.5},
    "cooldown": {"patience": 1, "cooldown": 3, "factor": 0.5},
    "delta": {"patience": 2, "min_delta": 0.25, "factor": 0.25},
    "least": {"patience": 1, "min_lr": 0.125, "factor": 0.5},
    "max": {"patience": 2, "mode": "max"},
}
SAVING = {
    "always": {},
    "best": {"save_best_only": True},
    "best of max": {"save_best_only": True, "mode": "max"},
    "threshold": {"save_best_only": True, "initial_value_threshold": 0.625},
    "weights": {"save_weights_only": True},
    "batches": {"save_freq": 3},
}


class Model:
    """What callbacks see of a model; its weights tell the epoch."""

    def __init__(self):
        self.stop_training, self.metrics = False, []
        self.epoch, self.saved = -1, []
        self.optimizer = SimpleNamespace(learning_rate=1.0, iterations=0, _schedule=None)

    def get_weights(self):
        return [numpy.array(self.epoch)]

    def set_weights(self, weights):
        (epoch,) = weights
        self.epoch = int(epoch)

    def save(self, path, overwrite=True):
        self.saved.append(path)

    def save_weights(self, path, overwrite=True):
        self.saved.append(path)


def run(callback, losses, model=None, batches=4, validated=lambda epoch: True):
    """Calls the hooks of a training with these losses in the logs; returns the logs of the epochs."""
    model = model or Model()
    callback.set_model(model)
    callback.set_params({"epochs": len(losses), "steps": batches, "validates": True})
    callback.on_train_begin({})
    kept = []
    for epoch, loss in enumerate(losses):
        callback.on_epoch_begin(epoch, {})
        for batch in range(batches):
            callback.on_train_batch_begin(batch, {})
            callback.on_train_batch_end(batch, {"loss": loss, "val_loss": loss})
        model.epoch = epoch
        logs = {"loss": loss / 2, **({"val_loss": loss} if validated(epoch) else {})}
        callback.on_epoch_end(epoch, logs)
        kept.append(logs)
        if model.stop_training:
            break
    callback.on_train_end({})
    return kept


def stopping(callbacks, losses, options):
    model = Model()
    callback = callbacks.EarlyStopping(**options)
    logs = run(callback, losses, model)
    return [len(logs), callback.stopped_epoch, callback.wait, callback.best_epoch, model.epoch]


def plateau(callbacks, losses, options):
    model = Model()
    logs = run(callbacks.ReduceLROnPlateau(**options), losses, model)
    return [*(float(numpy.float32(one["learning_rate"])) for one in logs), float(model.optimizer.learning_rate)]


def saving(callbacks, losses, options, suffixes):
    model = Model()
    suffix = suffixes["save_weights_only" in options]
    batch = "-{batch}" if "save_freq" in options else ""
    path = "run/{epoch:02d}" + batch + "-{val_loss:.2f}" + suffix
    run(callbacks.ModelCheckpoint(path, **options), losses, model)
    return [saved.removesuffix(suffix) for saved in model.saved]


def scheduling(callbacks):
    """The logged rates of functions of (epoch, rate), and of (epoch)."""
    found = []
    for schedule in (lambda epoch, rate: rate if epoch < 3 else rate * 0.5, lambda epoch: 0.5 ** (epoch % 4)):
        model = Model()
        logs = run(callbacks.LearningRateScheduler(schedule), SERIES["falls"], model)
        found.append([one["learning_rate"] for one in logs])
    return found


def tables(callbacks, folder):
    """The texts of tables: validated always, never, in each second epoch; another separator; appended to."""
    path = Path(folder) / "log.csv"
    found = []
    for validated in (lambda epoch: True, lambda epoch: False, lambda epoch: epoch % 2 == 1):
        run(callbacks.CSVLogger(str(path)), SERIES["falls"][:4], validated=validated)
        found.append(path.read_text())
    run(callbacks.CSVLogger(str(path), separator=";"), SERIES["falls"][:2])
    for _ in range(2):
        run(callbacks.CSVLogger(str(path), separator=";", append=True), SERIES["flat"][:2])
    found.append(path.read_text())
    path.unlink()
    run(callbacks.CSVLogger(str(path), append=True), SERIES["flat"][:2])
    return [*found, path.read_text()]


def decisions(callbacks, folder, suffixes):
    """All that can be compared, by name."""
    found = {}
    for series, losses in SERIES.items():
        for name, options in STOPPING.items():
            found[f"stopping {name}, {series}"] = stopping(callbacks, losses, options)
        for name, options in PLATEAU.items():
            found[f"plateau {name}, {series}"] = plateau(callbacks, losses, options)
        for name, options in SAVING.items():
            found[f"saving {name}, {series}"] = saving(callbacks, losses, options, suffixes)
    return found | {"scheduling": scheduling(callbacks), "tables": tables(callbacks, folder)}


BOARDS = {
    "default": {},
    "each batch": {"update_freq": "batch"},
    "histograms": {"histogram_freq": 2},
    "speed": {"write_steps_per_second": True, "update_freq": 1},
}


def board(keras, callback):
    """Trains with a TensorBoard callback: three epochs of four batches, each with a validation."""
    layers = [keras.layers.Dense(2, name="first"), keras.layers.Dense(1, name="last")]
    model = keras.models.Sequential([keras.layers.Input((3,)), *layers], name="net")
    model.compile("sgd", "mse", metrics=["mae"])
    x, y = numpy.ones((8, 3), "float32"), numpy.ones((8, 1), "float32")
    model.fit(x, y, batch_size=2, epochs=3, validation_data=(x, y), callbacks=[callback], verbose=0)
