"""A rare class: weights of classes, a focal loss, precision and recall, and callbacks that watch the validation."""

import numpy as np
import tensorflow.keras as keras
from tensorflow.keras import callbacks, constraints, layers, losses, metrics, optimizers, regularizers

keras.utils.set_random_seed(3)


def sample(count):
    x = np.random.normal(size=(count, 6))
    score = x[:, 0] * x[:, 1] + 0.5 * x[:, 2] ** 2 + 0.05 * np.random.normal(size=count)
    return x.astype("float32"), (score > 1.6).astype("float32")  # one in eleven


x_train, y_train = sample(4000)
x_val, y_val = sample(800)
x_test, y_test = sample(2000)
print("rare:", y_train.mean())


class F2(metrics.Metric):
    """The F-score that counts recall more than precision, from two metrics."""

    def __init__(self, name="f2", **options):
        super().__init__(name=name, **options)
        self.precision, self.recall = metrics.Precision(), metrics.Recall()

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.precision.update_state(y_true, y_pred)
        self.recall.update_state(y_true, y_pred)

    def result(self):
        p, r = self.precision.result(), self.recall.result()
        return 5 * p * r / (4 * p + r + 1e-7)

    def reset_state(self):
        self.precision.reset_state()
        self.recall.reset_state()


def distance(y_true, y_pred):
    return abs(y_true - y_pred)


class Rates(callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.rates = []

    def on_epoch_end(self, epoch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate))


model = keras.Sequential(
    [
        layers.Input((6,)),
        layers.Dense(48, activation="relu", kernel_regularizer=regularizers.L2(1e-5), kernel_initializer="he_normal"),
        layers.Dense(24, activation="relu", kernel_constraint=constraints.MaxNorm(4.0), activity_regularizer="l1"),
        layers.Dense(1, activation="sigmoid"),
    ]
)
model.summary()

schedule = optimizers.schedules.CosineDecay(0.02, decay_steps=63 * 30, alpha=0.05)
model.compile(
    optimizer=optimizers.AdamW(
        learning_rate=schedule, weight_decay=1e-4, global_clipnorm=1.0, use_ema=True, ema_momentum=0.9
    ),
    loss=losses.BinaryFocalCrossentropy(gamma=1.0),
    metrics=["accuracy", metrics.AUC(name="auc"), F2(), distance],
)
rates = Rates()
history = model.fit(
    x_train,
    y_train,
    batch_size=64,
    epochs=30,
    class_weight={0: 1.0, 1: 3.0},
    validation_data=(x_val, y_val),
    validation_freq=2,
    callbacks=[
        rates,
        callbacks.EarlyStopping(monitor="val_auc", mode="max", patience=15, restore_best_weights=True),
        callbacks.TerminateOnNaN(),
        callbacks.LambdaCallback(on_train_end=lambda logs: print("end of", sorted(logs))),
    ],
    verbose=2,
)
print("rates fall:", all(a > b for a, b in zip(rates.rates, rates.rates[1:])))
assert len(history.history["val_loss"]) == len(history.history["loss"]) // 2

# a second training, by plain gradient descent on a plateau, from there
model.compile(
    optimizer=optimizers.SGD(0.01, momentum=0.9, nesterov=True), loss="binary_crossentropy", metrics=["accuracy"]
)
plateau = callbacks.ReduceLROnPlateau(monitor="loss", factor=0.5, patience=1, min_delta=1e-3)
model.fit(x_train, y_train, epochs=5, callbacks=[plateau], verbose=0)
results = model.evaluate(x_test, y_test, verbose=0, return_dict=True)
print("test accuracy:", results["accuracy"])
