"""A perceptron learns AND and OR by Rosenblatt's rule and by descent; XOR it cannot learn.

A perceptron answers 1 where w . x + b > 0: on one side of a line. Rosenblatt's rule corrects the line at each row that
it gets wrong, and rests at the first line that makes no mistake (Rosenblatt, "The perceptron", 1958). Descent needs a
slope, so there the step becomes a sigmoid; it goes on to move the line away from all rows, and therefore makes fewer
mistakes on noisy copies of them. XOR is beyond both, and the program says why (Minsky and Papert, "Perceptrons", 1969);
`xor.py` adds the hidden layer that it takes. `layers.Perceptron` is the rule as a layer.

Try: another order of the rows, more noise, NAND. Of the sixteen gates of two inputs, which other one has no line?
"""

import numpy as np

from tinygrad_edu import layers, models, optimizers, viz
from tinygrad_edu.cli import run

CORNERS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype="float32")
GATES = {"AND": np.array([0, 0, 0, 1]), "OR": np.array([0, 1, 1, 1]), "XOR": np.array([0, 1, 1, 0])}

WHY = """
No line computes XOR. Its weights w1, w2 and b would have to give
    (0, 0) -> 0:            b <= 0        (0, 1) -> 1:  w2 + b > 0
    (1, 1) -> 0:  w1 + w2 + b <= 0        (1, 0) -> 1:  w1 + b > 0
The two on the left add up to w1 + w2 + 2b <= 0, the two on the right to w1 + w2 + 2b > 0: they contradict each other.
So at least one of the four answers is wrong, and 75 % is the most that one layer can reach.
"""


def learn_by_rule(x, y, passes=10):
    """Rosenblatt's rule. Returns the line and how many rows were wrong in each pass."""
    w, b, mistakes = np.zeros(2), 0.0, []
    for _ in range(passes):
        wrong = 0
        for row, target in zip(x, y, strict=True):
            error = target - int(w @ row + b > 0)  # 1: wrongly called 0; -1: wrongly called 1; 0: right
            w, b = w + error * row, b + error
            wrong += abs(error)
        mistakes.append(wrong)
        if wrong == 0:
            break
    return w, b, mistakes


def learn_by_descent(x, y, epochs):
    """The same neuron with a sigmoid for the step, so that the loss has a slope. Returns the line and the loss."""
    model = models.Sequential([layers.Input((2,)), layers.Dense(1, activation="sigmoid")])
    model.compile(optimizers.SGD(2.0), loss="binary_crossentropy")
    history = model.fit(x, y, epochs=epochs, batch_size=4, verbose=0).history
    # descent on XOR goes to 0 in all weights; what is left of them is rounding
    w, b = (np.round(weights.squeeze(), 3) + 0.0 for weights in model.get_weights())
    return w, b, history["loss"][-1]


def accuracy(line, x, y):
    w, b = line
    return np.mean((x @ w + b > 0) == y)


def draw(ax, x, y, lines):
    viz.plot_points(x, y, ax=ax)
    for (way, (w, b)), style in zip(lines.items(), ("--", "-"), strict=True):
        if w.any():  # by descent XOR has w = 0, and so no line
            point = -b * w / (w @ w)  # of the line w . a + b = 0
            ax.axline(point, point + np.array([-w[1], w[0]]), linestyle=style, color="black", label=f"by {way}")
    ax.set(xlim=(-0.6, 1.6), ylim=(-0.6, 1.6), xticks=(0, 1), yticks=(0, 1))
    ax.set(xlabel="first input", ylabel="second input")
    ax.get_legend().remove()  # one for all panels is enough


def main(quick=False, plot=None):
    corner = np.arange(2000) % 4
    noisy = CORNERS[corner] + np.random.default_rng(0).normal(scale=0.12, size=(2000, 2))

    lines = {}
    for gate, y in GATES.items():
        w, b, mistakes = learn_by_rule(CORNERS, y)
        lines[gate, "rule"] = w, b
        print(f"{gate:<4} by rule:     {' '.join(map(str, mistakes))} mistakes in each pass")
        w, b, loss = learn_by_descent(CORNERS, y, epochs=200 if quick else 1000)
        lines[gate, "descent"] = w, b
        print(f"{'':<4} by descent:  loss {loss:.4f} at the end, w = ({w[0]:.2f}, {w[1]:.2f}), b = {b:.2f}")
    print(WHY)

    if plot:
        figure, axes = viz.subplots(1, len(GATES))
        for ax, (gate, y) in zip(axes, GATES.items(), strict=True):
            draw(ax, noisy[:400], y[corner[:400]], {way: lines[gate, way] for way in ("rule", "descent")})
            ax.set_title(f"{gate}: {'no line is right' if gate == 'XOR' else 'both lines are right'}")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
        figure.savefig(plot)

    figures = {f"{gate} by {way}": accuracy(line, CORNERS, GATES[gate]) for (gate, way), line in lines.items()}
    for gate in (name for name in GATES if name != "XOR"):
        y = GATES[gate]
        for way in ("rule", "descent"):
            figures[f"noisy {gate} by {way}"] = accuracy(lines[gate, way], noisy, y[corner])
        figures[f"noisy {gate}, the more frequent answer"] = max(y.mean(), 1 - y.mean())
    return figures


if __name__ == "__main__":
    run(main)
