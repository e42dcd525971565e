"""One neuron with a sigmoid separates two clouds of points: logistic regression with fit.

The sigmoid of w . x + b is the probability of class 1, and the cross-entropy is the loss that makes the given classes
most likely (Bishop, "Pattern Recognition and Machine Learning", 2006, section 4.3.2). It is convex, so training may
begin at zero, where both classes are as likely everywhere. A thousand passes in batches of 32 are far more than the
accuracy needs: that is perfect after a few, while the probabilities go on to become surer.

Try: noise=3.0, where the clouds overlap and no boundary is right everywhere; classes=3 and a softmax.
"""

import numpy as np

from tinygrad_edu import layers, models, viz
from tinygrad_edu.cli import run
from tinygrad_edu.datasets import blobs


def main(quick=False, plot=None):
    (x_train, y_train), (x_test, y_test) = blobs.load_data(samples=1000, classes=2)
    model = models.Sequential([layers.Input((2,)), layers.Dense(1, activation="sigmoid", kernel_initializer="zeros")])
    model.compile(optimizer="sgd", loss="binary_crossentropy", metrics=["accuracy"])
    history = model.fit(x_train, y_train, epochs=20 if quick else 1000, batch_size=32, verbose=0)
    for epoch in (1, 10, 100, 1000):
        if epoch <= len(history.epoch):
            curves = {name: values[epoch - 1] for name, values in history.history.items()}
            print(f"epoch {epoch:4}: loss {curves['loss']:.5f}, accuracy {curves['accuracy']:.1%}")
    _, accuracy = model.evaluate(x_test, y_test, verbose=0)

    majority = np.bincount(y_train).argmax()
    means = np.array([x_train[y_train == label].mean(axis=0) for label in np.unique(y_train)])
    nearest = np.linalg.norm(x_test[:, None] - means, axis=-1).argmin(axis=1)

    if plot:
        figure, (left, right) = viz.subplots(1, 2)
        viz.plot_decision_boundary(model, x_test, y_test, ax=left)
        left.set(title=f"Points of the test: {accuracy:.0%} are right", xlabel="x", ylabel="y")
        right.loglog(np.array(history.epoch) + 1, history.history["loss"])
        right.set(title="Training goes on to make it surer", xlabel="epoch", ylabel="loss on the training data")
        figure.savefig(plot)
    return {
        "test accuracy": accuracy,
        "majority class": np.mean(y_test == majority),
        "nearest class mean": np.mean(y_test == nearest),
    }


if __name__ == "__main__":
    run(main)
