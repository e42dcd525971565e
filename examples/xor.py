"""XOR by two layers, written by hand on tensors, and then as a Sequential model.

One layer answers by a line, and no line computes XOR (see `perceptron.py`). Each hidden unit draws a line of its own,
and the output layer puts together what they say. The weights are found by back-propagation (Rumelhart, Hinton and
Williams, "Learning representations by back-propagating errors", 1986): `loss.backward()` goes back through the
operations that made the loss, and leaves in `w.grad` how the loss changes with each number in `w`. `chain_rule` is the
same written out, for comparison.

Try: HIDDEN = 2, enough in principle, but from some initial weights (`--seed`) descent gets stuck; relu for tanh (where
does `chain_rule` change?).
"""

import numpy as np

import tinygrad_edu as tg
from tinygrad_edu import initializers, layers, models, optimizers, viz
from tinygrad_edu.cli import run

CORNERS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype="float32")
ANSWERS = np.array([[0], [1], [1], [0]], dtype="float32")
HIDDEN, RATE = 8, 1.0


def forward(x, w1, b1, w2, b2):
    hidden = tg.tanh(x @ w1 + b1)
    return tg.sigmoid(hidden @ w2 + b2)


def cross_entropy(y, p):
    return -(y * tg.log(p) + (1.0 - y) * tg.log(1.0 - p)).mean()


def chain_rule(x, y, w1, b1, w2, b2):
    """What `backward` does, by hand: the derivatives of the loss, from the output back to each parameter."""
    hidden = tg.tanh(x @ w1 + b1)
    by_output = (tg.sigmoid(hidden @ w2 + b2) - y) / len(x)  # through cross-entropy and sigmoid at once
    by_hidden = by_output @ w2.T * (1.0 - hidden**2)  # tanh' = 1 - tanh^2
    return x.T @ by_hidden, by_hidden.sum(axis=0), hidden.T @ by_output, by_output.sum(axis=0)


def train_by_hand(steps):
    x, y = tg.tensor(CORNERS), tg.tensor(ANSWERS)
    w1 = tg.normal((2, HIDDEN)).requires_grad_()
    b1 = tg.normal((HIDDEN,)).requires_grad_()
    w2 = tg.normal((HIDDEN, 1)).requires_grad_()
    b2 = tg.zeros((1,)).requires_grad_()
    parameters = [w1, b1, w2, b2]
    losses = []
    for step in range(steps):
        # forward: from the inputs to the loss
        loss = cross_entropy(y, forward(x, *parameters))
        # backward: from the loss to the gradient of each parameter
        loss.backward()
        if step == 0:
            by_hand = chain_rule(x, y, *(parameter.detach() for parameter in parameters))
            differences = (abs(parameter.grad - g).max() for parameter, g in zip(parameters, by_hand, strict=True))
            print(f"backward and chain rule by hand differ by {max(differences).item():.0e}")
        # update: a small step downhill
        for parameter in parameters:
            parameter.assign_(parameter.detach() - RATE * parameter.grad)
            parameter.grad = None
        losses.append(loss.item())
    return [parameter.detach() for parameter in parameters], losses


def train_sequential(steps, hidden=HIDDEN):
    """The same in a few lines; without a hidden layer for hidden=0."""
    normal = initializers.RandomNormal(stddev=1.0)
    model = models.Sequential([layers.Input((2,))])
    if hidden:
        model.add(layers.Dense(hidden, activation="tanh", kernel_initializer=normal, bias_initializer=normal))
    model.add(layers.Dense(1, activation="sigmoid", kernel_initializer=normal))
    model.compile(optimizers.SGD(RATE), loss="binary_crossentropy")
    history = model.fit(CORNERS, ANSWERS, epochs=steps, batch_size=4, verbose=0)
    return model, history.history["loss"]


def main(quick=False, plot=None):
    steps = 1000 if quick else 5000
    parameters, by_hand = train_by_hand(steps)
    model, sequential = train_sequential(steps)
    _, one_layer = train_sequential(steps, hidden=0)
    print("loss  by hand  Sequential  one layer")
    for step in (1, 10, 100, 1000, 5000):
        if step <= steps:
            print(f"{step:4}{by_hand[step - 1]:9.5f}{sequential[step - 1]:12.5f}{one_layer[step - 1]:11.5f}")

    corner = np.arange(2000) % 4
    noisy = (CORNERS[corner] + np.random.default_rng(0).normal(scale=0.12, size=(2000, 2))).astype("float32")
    labels = ANSWERS[corner, 0]

    def predict(points):
        return forward(tg.tensor(points), *parameters).numpy()

    if plot:
        figure, (left, right) = viz.subplots(1, 2)
        for losses, style in ((by_hand, "-"), (sequential, "--"), (one_layer, ":")):
            left.loglog(np.arange(1, steps + 1), losses, style)
        left.axhline(np.log(2), color="gray", linewidth=0.8)
        left.set(title="Two layers learn XOR, one does not", xlabel="step", ylabel="loss")
        left.legend(["by hand", "Sequential", "one layer", "log 2: a guess"])
        viz.plot_decision_boundary(predict, noisy[:400], labels[:400].astype(int), ax=right)
        limits = right.axis()
        for w, b in zip(parameters[0].numpy().T, parameters[1].numpy(), strict=True):
            point = -b * w / (w @ w)  # of the line w . a + b = 0
            right.axline(point, point + np.array([-w[1], w[0]]), color="gray", linestyle="--", linewidth=0.8)
        right.axis(limits)
        right.set(title="Each hidden unit draws a line", xlabel="first input", ylabel="second input")
        figure.savefig(plot)

    return {
        "loss by hand": by_hand[-1],
        "loss of Sequential": sequential[-1],
        "loss of one layer": one_layer[-1],
        "noisy copies, by hand": np.mean((predict(noisy)[:, 0] > 0.5) == labels),
        "noisy copies, Sequential": np.mean((model.predict(noisy)[:, 0] > 0.5) == labels),
        "noisy copies, one line": np.mean((noisy.sum(axis=1) > 0.5) == labels),  # that of OR, right on three corners
    }


if __name__ == "__main__":
    run(main)
