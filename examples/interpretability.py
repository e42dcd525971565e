"""Saliency, integrated gradients, occlusion: which pixels decide, tested by erasing them.

Saliency is the gradient of the score of a class by the pixels: where would a small change matter? (Simonyan et al.,
"Deep inside convolutional networks", 2013.) Integrated gradients add up this gradient on the way from a blank image to
the digit; times the pixels, they share out the difference of the scores (Sundararajan et al., "Axiomatic attribution
for deep networks", 2017). Occlusion covers a patch and looks how far the score falls (Zeiler and Fergus, "Visualizing
and understanding convolutional networks", 2014). The deletion test erases the pixels ranked highest: if they are those
that decide, the network loses the digit sooner than with as many pixels erased at random.

Try: a gray image in place of the blank one; explain a wrong class: what speaks for it, what against it?
"""

import numpy as np

import tinygrad_edu as tg
from tinygrad_edu import layers, models, viz
from tinygrad_edu.cli import run
from tinygrad_edu.datasets import digits

ERASED = 10  # pixels of 64


def train_cnn(x, y, epochs):
    model = models.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(10),  # scores; their softmax is the probabilities
        ]
    )
    loss = tg.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    model.fit(x, y, epochs=epochs, verbose=0)
    model.trainable = False  # from here on gradients are those by the pixels
    return model


def scores(model, x, y):
    """The score of class `y[i]` for image `x[i]`."""
    return model(x, training=False)[np.arange(len(y)), y]


def gradient(model, x, y):
    # the score of an image depends on no other image: the gradient of the sum has that of each
    return tg.grad(lambda x: scores(model, x, y).sum())(tg.tensor(x)).numpy()


def saliency(model, x, y):
    return np.abs(gradient(model, x, y))


def integrated_gradients(model, x, y, steps=64):
    """The mean of the gradient at the middles of `steps` parts of the line from a blank image to `x`, times `x`."""
    total = sum(gradient(model, x * np.float32((step + 0.5) / steps), y) for step in range(steps))
    return x * total / steps


def occlusion(model, x, y, size=3):
    """How far the score falls, on average over the blank patches of size x size that cover a pixel."""
    whole = scores(model, x, y).numpy()
    falls, covers = np.zeros_like(x), np.zeros_like(x)
    for top in range(1 - size, 8):
        for left in range(1 - size, 8):
            patch = slice(max(top, 0), top + size), slice(max(left, 0), left + size)
            covered = x.copy()
            covered[:, *patch] = 0.0
            falls[:, *patch] += (whole - scores(model, covered, y).numpy())[:, None, None, None]
            covers[:, *patch] += 1.0
    return falls / covers


def erase(x, attributions):
    """Blanks the inked pixels of each image that are ranked highest."""
    erased = x.reshape(len(x), -1).copy()
    ranks = np.where(erased > 0, attributions.reshape(len(x), -1), -np.inf)
    highest = np.argsort(-ranks, axis=1)[:, :ERASED]
    np.put_along_axis(erased, highest, 0.0, axis=1)
    return erased.reshape(x.shape)


def main(quick=False, plot=None):
    (x_train, y_train), (x_test, y_test) = digits.load_data()
    x_train, x_test = (x[..., None].astype("float32") / 16 for x in (x_train, x_test))
    if quick:
        x_test, y_test = x_test[:100], y_test[:100]
    model = train_cnn(x_train, y_train, epochs=3 if quick else 20)
    print(f"A network is right for {model.evaluate(x_test, y_test, verbose=0)[1]:.1%} of {len(x_test)} test digits")

    maps = {
        "saliency": saliency(model, x_test, y_test),
        "integrated gradients": integrated_gradients(model, x_test, y_test, steps=16 if quick else 64),
        "occlusion": occlusion(model, x_test, y_test),
    }
    print(f"Erasing the {ERASED} inked pixels that each method ranks highest, and {ERASED} at random")

    def probability(x):
        """Of the true classes, on average."""
        return tg.softmax(model.predict(x), axis=1)[np.arange(len(y_test)), y_test].mean()

    difference = (scores(model, x_test, y_test) - scores(model, np.zeros_like(x_test), y_test)).numpy()
    gap = np.abs(maps["integrated gradients"].sum(axis=(1, 2, 3)) - difference)

    if plot:
        figure, axes = viz.subplots(4, 1, figsize=(9, 5.5))
        first = [np.flatnonzero(y_test == digit)[0] for digit in range(10)]
        titles = [
            "digits of the test part",
            "saliency: where a small change matters",
            "integrated gradients: what speaks for the digit (orange) and against it (blue)",
            "occlusion: what the network misses when it is covered (orange)",
        ]
        for ax, title, values in zip(axes, titles, [x_test, *maps.values()], strict=True):
            strongest = np.abs(values[first]).max(axis=(1, 2, 3), keepdims=True)
            viz.plot_images(values[first] / strongest, columns=10, ax=ax)
            ax.set_title(title, fontsize=10)
        figure.savefig(plot)
    return {
        "probability of the true class": probability(x_test),
        **{f"without the pixels of {name}": probability(erase(x_test, values)) for name, values in maps.items()},
        "without pixels at random": probability(erase(x_test, tg.uniform(x_test.shape).numpy())),
        "gap of integrated gradients": gap.mean() / np.abs(difference).mean(),
    }


if __name__ == "__main__":
    run(main)
