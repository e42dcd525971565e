"""Vanishing and exploding gradients at depth 20; ReLU, residual blocks and clipping.

On the way back through a layer a gradient is multiplied by the slope of the activation and by the weights. The slope of
the sigmoid is at most 1/4, so next to nothing arrives at the first of 20 layers (Hochreiter, 1991). That of ReLU is 1
for about half of the units: with weights of variance 2/n, "he_normal", the gradient keeps its size (He et al., 2015);
with weights half as large again it grows by 1.5 in every layer, and the first steps throw the network out of reach. Two
more cures: in a residual block, x + f(x), the gradient passes by f (He et al., 2016), even if f is a sigmoid; clipping
limits the norm of the gradient (Pascanu et al., 2013), so that no step is longer than meant.

Drawn is the gradient of the biases, which is what arrives at a layer.

Try: tanh, Adam, batch normalization, depth 50.
"""

import numpy as np

import tinygrad_edu as tg
from tinygrad_edu import callbacks, initializers, layers, losses, models, optimizers, viz
from tinygrad_edu.cli import run
from tinygrad_edu.datasets import digits

DEPTH = 20
CLASSIFICATION = losses.SparseCategoricalCrossentropy(from_logits=True)


def network(activation, kernel_initializer="glorot_uniform", residual=False):
    image = layers.Input((8, 8))
    x = layers.Dense(64)(layers.Flatten()(image))
    for number in range(1, DEPTH + 1):
        layer = layers.Dense(64, activation, kernel_initializer=kernel_initializer, name=f"layer {number}")
        x = x + layer(x) if residual else layer(x)
    return models.Model(image, layers.Dense(10)(x))


def arriving(model, x, y):
    """The gradient of the biases of each hidden layer, on a batch."""
    CLASSIFICATION(y, model(tg.tensor(x))).backward()
    gradients = {layer.name: layer.bias.grad.numpy() for layer in model.layers if layer.name.startswith("layer")}
    for weight in model.trainable_weights:
        weight.grad = None  # the training begins anew
    return gradients


def main(quick=False, plot=None):
    (x, y), (x_test, y_test) = digits.load_data()
    x, x_test = x.astype("float32") / 16, x_test.astype("float32") / 16
    if quick:
        x, y = x[:960], y[:960]
    too_large = initializers.VarianceScaling(2.0 * 1.5**2)  # he_normal has 2.0
    networks = {
        "sigmoid": lambda: network("sigmoid"),
        "sigmoid, residual": lambda: network("sigmoid", residual=True),
        "ReLU": lambda: network("relu", "he_normal"),
        "ReLU, too large": lambda: network("relu", too_large),
        "ReLU, too large, clipped": lambda: network("relu", too_large),
    }
    print(f"{'':<26}{'gradient at layer 1':>20}{'at layer 20':>14}{'ratio':>10}{'test accuracy':>16}")
    gradients, histories, figures = {}, {}, {}
    for name, make in networks.items():
        model = make()
        gradients[name] = arriving(model, x[:256], y[:256])
        first, last = (np.linalg.norm(gradients[name][f"layer {number}"]) for number in (1, DEPTH))
        clip = 5.0 if name.endswith("clipped") else None
        model.compile(optimizers.SGD(0.002, momentum=0.9, global_clipnorm=clip), CLASSIFICATION, metrics=["accuracy"])
        with np.errstate(over="ignore", invalid="ignore"):  # one of them diverges
            histories[name] = model.fit(
                x, y, epochs=6 if quick else 30, verbose=0, callbacks=[callbacks.TerminateOnNaN()]
            )
            accuracy = model.evaluate(x_test, y_test, batch_size=len(x_test), verbose=0)[1]
        print(f"{name:<26}{first:>20.1e}{last:>14.1e}{first / last:>10.1e}{accuracy:>16.1%}")
        figures[f"test accuracy, {name}"] = accuracy
        if not name.endswith("clipped"):  # it begins like the one above
            figures[f"gradient ratio, {name}"] = first / last

    if plot:
        figure, axes = viz.subplots(2, 3, figsize=(16, 10))
        for ax, name in zip(axes.flat, list(networks)[:4], strict=False):
            viz.plot_gradients(gradients[name], ax=ax)
            ax.set(title=f"{name}: layer 1 / layer 20 = {figures[f'gradient ratio, {name}']:.1g}", xlim=(1e-16, 1e4))
        for marker, (name, arrays) in zip("osD^", gradients.items(), strict=False):
            norms = [np.linalg.norm(gradient) for gradient in arrays.values()]
            axes[1, 1].semilogy(range(1, DEPTH + 1), norms, marker=marker, label=name)
        axes[1, 1].set(
            title="Norms, from the last layer back to the first",
            xlabel="layer",
            ylabel="|g|",
            xticks=[1, 5, 10, 15, 20],
        )
        axes[1, 1].legend(frameon=False)
        viz.plot_history(histories, "accuracy", ax=axes[1, 2])
        axes[1, 2].set_title("Who hears of the loss learns")
        figure.savefig(plot)
    return figures


if __name__ == "__main__":
    run(main)
