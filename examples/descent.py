"""Gradient descent three ways, full, stochastic and mini-batch, on a loss surface.

A line y = a x + b is fitted to noisy points. Its mean squared error is a bowl over a and b whose bottom, the least
squares solution, is known, so that one sees how near descent comes. The gradient over all rows points downhill; that
over one row, or a few, does so only on average, but costs so much less (Robbins and Monro, "A stochastic approximation
method", 1951). All three may look at the same number of rows: few exact steps, or many rough ones. The rough ones are
near the bottom first, and then wander about it, in a circle that shrinks with the learning rate.

Try: a decay of 0; larger rates, until one diverges; x - x.mean() for x, which makes the bowl rounder and all faster.
"""

import numpy as np

import tinygrad_edu as tg
from tinygrad_edu import viz
from tinygrad_edu.cli import run
from tinygrad_edu.data import train_test_split


def loss(line, x, y):
    return tg.square(line[0] * x + line[1] - y).mean()


def descend(x, y, batch_size, rate, decay, passes):
    """All lines on the way; step t has the learning rate `rate / (1 + decay * t)`."""
    line = tg.tensor([-1.0, 3.0], dtype="float64")
    path = [line.numpy()]
    for _ in range(passes):
        order = tg.permutation(len(x)).numpy()
        for start in range(0, len(x), batch_size):
            rows = order[start : start + batch_size]
            gradient = tg.grad(loss)(line, tg.tensor(x[rows]), tg.tensor(y[rows]))
            line = line - rate / (1.0 + decay * len(path)) * gradient
            path.append(line.numpy())
    return np.array(path)


def main(quick=False, plot=None):
    random = np.random.default_rng(0)
    x = random.uniform(-1.0, 3.0, 400)
    y = 1.5 * x - 1.0 + random.normal(scale=0.5, size=400)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.25, seed=0)
    best = np.linalg.lstsq(np.stack([x_train, np.ones_like(x_train)], axis=1), y_train)[0]
    lowest = float(loss(best, x_train, y_train))

    passes = 25 if quick else 50
    ways = {  # batch size, first learning rate, its decay
        "full": (len(x_train), 0.2, 0.0),
        "mini-batch": (20, 0.1, 0.01),
        "stochastic": (1, 0.05, 0.01),
    }
    paths, excess, near, figures = {}, {}, {}, {}
    print(f"{passes} passes over {len(x_train)} rows; excess: the loss above its minimum, {lowest:.3f}")
    print("            steps   rows to excess 0.01   last excess")
    for name, (batch_size, rate, decay) in ways.items():
        path = paths[name] = descend(x_train, y_train, batch_size, rate, decay, passes)
        errors = path[:, :1] * x_train + path[:, 1:] - y_train
        excess[name] = np.mean(errors**2, axis=1) - lowest
        found = np.flatnonzero(excess[name] < 0.01)
        near[name] = found[0] if len(found) else None  # the first step there
        rows = f"{near[name] * batch_size:,}" if len(found) else "never"
        print(f"{name:<10}{len(path) - 1:7}{rows:>22}{excess[name][-1]:14.1e}")
        figures[f"{name}, excess loss"] = excess[name][-1]
        figures[f"{name}, test loss"] = float(loss(path[-1], x_test, y_test))
    figures["least squares, test loss"] = float(loss(best, x_test, y_test))
    figures["mean predictor, test loss"] = float(np.mean((y_train.mean() - y_test) ** 2))

    if plot:
        figure, (left, right) = viz.subplots(1, 2)
        until_near = {name: path[: near[name] + 1] for name, path in paths.items() if near[name] is not None}
        viz.plot_surface(lambda a, b: loss((a, b), x_train, y_train), until_near, ax=left)
        left.set(title="On the way to an excess of 0.01", xlabel="slope a", ylabel="intercept b")
        for (name, values), marker in zip(excess.items(), "osD", strict=True):
            steps = np.unique(np.geomspace(1, len(values) - 1, 40).astype(int))
            right.loglog(steps * ways[name][0], values[steps], marker=marker, markersize=4, label=name)
        right.set(title="Rough steps are near the bottom first", xlabel="rows looked at", ylabel="excess loss")
        right.legend()
        figure.savefig(plot)
    return figures


if __name__ == "__main__":
    run(main)
