"""Overfitting: a network learns wrong labels by heart; five cures side by side.

200 images of digits, every fourth with a wrong label, and a network with 400 times as many weights as images: it can
learn them all by heart, also the wrong ones, and then knows less about other images than it did before (the validation
loss rises). Each cure makes that harder: dropout (Srivastava et al., 2014) and augmentation show the network something
else in each epoch, L2 (Krogh and Hertz, 1992) makes large weights costly, early stopping ends the training in time.
Batch normalization (Ioffe and Szegedy, 2015) was made to ease training; that batches differ in their means helps a bit.

The strengths were chosen on another split.

Try: WRONG = 0.0 (little is left to cure), more images, two cures together.
"""

import numpy as np

from tinygrad_edu import callbacks, layers, metrics, models, regularizers, viz
from tinygrad_edu.cli import run
from tinygrad_edu.datasets import digits

CURES = {
    "plain": {},
    "dropout": {"dropout": 0.5},
    "L2": {"l2": 0.02},
    "early stopping": {},
    "augmentation": {"augmentation": True},
    "batch norm": {"batch_norm": True},
}


WRONG = 0.25  # the share of labels that are


def load(labelled=200):
    """As many images to train on as to validate with, both labelled carelessly; the rest, with true labels, to test."""
    (x, y), (x_test, y_test) = digits.load_data(test_fraction=1.0 - 2 * labelled / 1797)
    random = np.random.default_rng(0)
    y = np.where(random.random(len(y)) < WRONG, (y + random.integers(1, 10, len(y))) % 10, y)
    x, x_test = x[..., None], x_test[..., None]  # images have channels
    return (x[:labelled], y[:labelled]), (x[labelled : 2 * labelled], y[labelled : 2 * labelled]), (x_test, y_test)


def network(dropout=0.0, l2=0.0, augmentation=False, batch_norm=False):
    model = models.Sequential([layers.Input((8, 8, 1)), layers.Rescaling(1 / 16)])
    if augmentation:  # by about a pixel, 18 degrees and 15 %; in training only
        model.add(layers.RandomTranslation(0.125, 0.125, fill_mode="constant"))
        model.add(layers.RandomRotation(0.05, fill_mode="constant"))
        model.add(layers.RandomZoom(0.15, 0.15, fill_mode="constant"))
    model.add(layers.Flatten())
    for _ in range(2):
        model.add(layers.Dense(256, kernel_regularizer=regularizers.L2(l2)))
        if batch_norm:
            model.add(layers.BatchNormalization())
        model.add(layers.ReLU())
        model.add(layers.Dropout(dropout))
    model.add(layers.Dense(10, activation="softmax"))
    cross_entropy = metrics.SparseCategoricalCrossentropy("cross_entropy")  # the loss without the penalty of L2
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy", cross_entropy])
    return model


def main(quick=False, plot=None):
    train, validation, test = load()
    print(f"{len(train[0])} images to train on, {len(validation[0])} to validate with, {len(test[0])} to test")
    print(f"{'':<16}{'epochs':>7}{'training':>10}{'test':>8}")
    histories, accuracies = {}, {}
    for name, cure in CURES.items():
        model = network(**cure)
        watching = [callbacks.EarlyStopping(patience=10, restore_best_weights=True)] if name == "early stopping" else []
        histories[name] = model.fit(
            *train,
            batch_size=40,
            epochs=30 if quick else 100,
            validation_data=validation,
            callbacks=watching,
            verbose=0,
        )
        accuracies[name] = [model.evaluate(*data, batch_size=40, verbose=0)[1] for data in (train, test)]
        on_train, on_test = accuracies[name]
        print(f"{name:<16}{len(histories[name].epoch):>7}{on_train:>10.1%}{on_test:>8.1%}")

    if plot:
        figure, axes = viz.subplots(1, 2, figsize=(12, 4.8))
        viz.plot_history(histories, "val_cross_entropy", ax=axes[0])
        axes[0].set(title="Without a cure the validation loss soon rises", ylabel="cross-entropy", ylim=(0.0, 3.5))
        places = np.arange(len(CURES))
        for shift, column, name, color in ((-0.2, 0, "training", "lightgray"), (0.2, 1, "test", "#56B4E9")):
            heights = [row[column] for row in accuracies.values()]
            bars = axes[1].bar(places + shift, heights, 0.4, color=color, label=name)
            axes[1].bar_label(bars, [f"{height:.0%}" for height in heights], label_type="center", fontsize=9)
        axes[1].axhline(1.0 - WRONG, color="black", linestyle="--", linewidth=1, label="right labels in training")
        axes[1].set(title="Who learns wrong labels knows less about other images", ylabel="accuracy", ylim=(0.0, 1.2))
        axes[1].set_xticks(places, [name.replace(" ", "\n") for name in CURES])
        axes[1].legend(loc="upper center", ncols=3, frameon=False)
        figure.savefig(plot)

    figures = {f"test accuracy, {name}": on_test for name, (_, on_test) in accuracies.items()}
    return figures | {"training accuracy, plain": accuracies["plain"][0]}


if __name__ == "__main__":
    run(main)
