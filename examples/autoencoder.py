"""Autoencoders that compress digits, free them from noise, and draw new ones.

An encoder turns an image of 64 pixels into a code of a few numbers, a decoder turns the code into an image again. If
both are linear, the best they can do is PCA; with hidden layers they do better. Trained to restore what noise has
spoilt, the same network learns to denoise (Vincent et al., "Extracting and composing robust features with denoising
autoencoders", 2008). A variational one encodes an image as a normal distribution of codes, and pays for each that is
far from the standard normal: then a code drawn from that decodes to a digit (Kingma and Welling, "Auto-encoding
variational Bayes", 2014). Its loss is a bound on the negative log-probability of an image.

Try: codes of other sizes; more noise; without the `add_loss`, look at the map and at what is drawn.
"""

import numpy as np

import tinygrad_edu as tg
from tinygrad_edu import layers, losses, models, optimizers, viz
from tinygrad_edu.cli import run
from tinygrad_edu.datasets import digits

PIXELS = 64
NOISE = 0.4


def build_encoder(outputs):
    return models.Sequential(
        [
            layers.Input((PIXELS,)),
            layers.Dense(128, activation="relu"),
            layers.Dense(64, activation="relu"),
            layers.Dense(outputs),
        ]
    )


def build_decoder(codes):
    return models.Sequential(
        [
            layers.Input((codes,)),
            layers.Dense(64, activation="relu"),
            layers.Dense(128, activation="relu"),
            layers.Dense(PIXELS, activation="sigmoid"),
        ]
    )


class Sampling(layers.Layer):
    """Draws a code from the normal distribution that the encoder says, and adds to the loss how far that is from the
    standard normal: their Kullback-Leibler divergence, in nats."""

    def call(self, x):
        mean, log_variance = tg.split(x, 2, axis=1)
        divergence = 0.5 * (mean**2 + tg.exp(log_variance) - 1.0 - log_variance).sum(axis=1)
        self.add_loss(divergence.mean())
        return mean + tg.exp(0.5 * log_variance) * tg.normal(mean.shape)


def nats(y_true, y_pred):
    """The negative log-probability of an image of black and white pixels, where `y_pred` says how likely each is."""
    return PIXELS * losses.binary_crossentropy(y_true, y_pred)


def train(model, loss, x, y, epochs):
    rate = optimizers.schedules.CosineDecay(0.003, decay_steps=epochs * int(np.ceil(len(x) / 32)))
    model.compile(optimizers.Adam(rate), loss)
    model.fit(x, y, epochs=epochs, verbose=0)


def principal_components(x):
    """The mean image, and the principal components (PIXELS, PIXELS), a row each, those that tell most first."""
    mean = x.mean(axis=0)
    return mean, np.linalg.svd(x - mean, full_matrices=False)[2]


def project(x, mean, components):
    return (x - mean) @ components.T @ components + mean


def mean_squared_error(a, b):
    return np.mean((a - b) ** 2)


def main(quick=False, plot=None):
    (x_train, _), (x_test, y_test) = digits.load_data()
    x_train, x_test = x_train.reshape(-1, PIXELS) / 16, x_test.reshape(-1, PIXELS) / 16
    epochs = 20 if quick else 100

    print("Training an autoencoder with codes of two numbers")
    autoencoder = models.Sequential([build_encoder(2), build_decoder(2)])
    train(autoencoder, "mse", x_train, x_train, epochs)
    restored = autoencoder.predict(x_test)
    mean, components = principal_components(x_train)
    projected = project(x_test, mean, components[:2])

    print("Training a denoising autoencoder: the noise is new in each epoch, the target is the clean image")
    denoiser = models.Sequential([layers.GaussianNoise(NOISE), build_encoder(32), build_decoder(32)])
    train(denoiser, "mse", x_train, x_train, epochs)
    noisy = x_test + NOISE * tg.normal(x_test.shape).numpy()
    denoised = denoiser.predict(noisy)
    noisy_train = x_train + NOISE * tg.normal(x_train.shape).numpy()  # chooses the number of components
    errors = [mean_squared_error(project(noisy_train, mean, components[:n]), x_train) for n in range(PIXELS)]
    filtered = project(noisy, mean, components[: np.argmin(errors)])

    print("Training a variational autoencoder on digits in black and white")
    black_train, black_test = np.round(x_train), np.round(x_test)
    encoder, decoder = build_encoder(4), build_decoder(2)  # a mean and a log-variance for each number of the code
    variational = models.Sequential([encoder, Sampling(), decoder])
    train(variational, nats, black_train, black_train, epochs)
    frequencies = (black_train.sum(axis=0) + 1) / (len(black_train) + 2)  # Laplace's rule: none is 0 or 1

    if plot:
        figure, axes = viz.subplots(2, 2, figsize=(12, 7.5))
        first = [np.flatnonzero(y_test == digit)[0] for digit in range(10)]

        def images(x):
            return x[first].reshape(-1, 8, 8)

        pictures = [images(x_test), images(restored), images(projected)]
        viz.plot_reconstructions(*pictures, labels=["digit", "autoencoder", "PCA"], ax=axes[0, 0])
        axes[0, 0].set_title("restored from a code of two numbers")
        pictures = [images(x_test), images(noisy), images(denoised), images(filtered)]
        viz.plot_reconstructions(*pictures, labels=["digit", "noisy", "autoencoder", "PCA"], ax=axes[0, 1])
        axes[0, 1].set_title("freed from noise")
        viz.plot_points(encoder.predict(black_test)[:, :2], y_test, ax=axes[1, 0])
        axes[1, 0].set(title="variational: the codes of test digits", xlabel="first number", ylabel="second number")
        drawn = decoder.predict(tg.normal((40, 2)))
        viz.plot_images(drawn.reshape(-1, 8, 8), columns=8, ax=axes[1, 1])
        axes[1, 1].set_title("variational: decoded from random codes")
        figure.savefig(plot)
    return {
        "error of reconstructions": mean_squared_error(restored, x_test),
        "of PCA with two components": mean_squared_error(projected, x_test),
        "error after denoising": mean_squared_error(denoised, x_test),
        "of PCA as a filter": mean_squared_error(filtered, x_test),
        "of the noisy images": mean_squared_error(noisy, x_test),
        "variational: nats per digit": variational.evaluate(black_test, black_test, verbose=0),
        "of independent pixels": nats(black_test, np.tile(frequencies, (len(black_test), 1))).mean().item(),
    }


if __name__ == "__main__":
    run(main)
