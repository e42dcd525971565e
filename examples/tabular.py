"""A deep classifier of tumours, and prices of houses, beside linear models.

Each row is a case, each column a quantity with its own unit, so a Normalization layer, adapted to the training rows,
comes first. A classifier is judged by its AUC, the area under the curve of hits over false alarms for all thresholds,
which is also the chance that a malignant tumour is scored higher than a benign one (Hanley and McNeil, 1982). A
regression is judged by its root mean squared error, in the unit of the target.

A network without hidden layers is logistic or linear regression: the baseline to beat first. Here the tumours can be
separated linearly, so depth gains nothing; the prices are made of products, so it gains much; the diabetes table
is so small, and so much of it chance, that it loses a little.

Try: fewer houses, wider layers, no Normalization.
"""

import numpy as np

from tinygrad_edu import callbacks, layers, models, optimizers, viz
from tinygrad_edu.cli import run
from tinygrad_edu.data import train_test_split
from tinygrad_edu.datasets import breast_cancer, diabetes, housing


def network(x, hidden, *last):
    scale = layers.Normalization()
    scale.adapt(x)
    dense = [layers.Dense(units, activation="relu") for units in hidden]
    return models.Sequential([layers.Input((x.shape[1],)), scale, *dense, *last])


def fit(model, x, y, validation_data, epochs):
    """Trains until the validation rows gain nothing any more, and keeps the weights that were best for them."""
    stop = callbacks.EarlyStopping(patience=20, restore_best_weights=True)
    model.fit(x, y, epochs=epochs, validation_data=validation_data, callbacks=[stop], verbose=0)


def roc_curve(positive, scores):
    """The shares of negatives and of positives that score at least as high as each threshold, and the area."""
    thresholds = np.append(np.inf, np.unique(scores)[::-1])
    false_alarms, hits = ([(scores[positive == c] >= t).mean() for t in thresholds] for c in (0, 1))
    return false_alarms, hits, np.trapezoid(hits, false_alarms)


def tumours(epochs):
    """The malignant ones among the test rows, and their scores by a deep network and by logistic regression."""
    (x, y), (x_test, y_test) = breast_cancer.load_data()
    y, y_test = 1 - y, 1 - y_test  # in the data 0 is malignant: what is looked for shall be the positive class
    x, x_held, y, y_held = train_test_split(x, y, test_size=0.2, stratify=y)
    print(f"breast cancer: {len(x)} rows to train on, {len(x_held)} to validate, {len(x_test)} to test")
    scores = []
    for hidden in [(128, 64, 32, 16), ()]:
        model = network(x, hidden, layers.Dense(1, activation="sigmoid"))
        model.compile(optimizers.Adam(0.001 if hidden else 0.02), "binary_crossentropy")
        fit(model, x, y, (x_held, y_held), epochs)
        scores.append(model.predict(x_test, verbose=0)[:, 0])
        auc, accuracy = roc_curve(y_test, scores[-1])[2], np.mean((scores[-1] > 0.5) == y_test)
        print(f"  hidden layers {hidden!s:<20} AUC {auc:.4f}   accuracy {accuracy:.1%}")
    return y_test, *scores


def prices(data, epochs):
    """The test targets, and their predictions by a network, a linear model, and the mean of the training rows."""
    (x, y), (x_test, y_test) = data.load_data()
    x, x_held, y, y_held = train_test_split(x, y, test_size=0.2)
    print(f"{type(data).__name__.lower()}: {len(x)} rows to train on, {len(x_held)} to validate, {len(x_test)} to test")
    predictions = []
    for hidden in [(64, 32), ()]:
        unit = layers.Normalization(axis=None, invert=True)
        unit.adapt(y)  # the last layer turns numbers around 0 into the unit of the target
        model = network(x, hidden, layers.Dense(1), unit)
        model.compile(optimizers.Adam(0.003 if hidden else 0.01), "mse")
        fit(model, x, y, (x_held, y_held), epochs)
        predictions.append(model.predict(x_test, verbose=0)[:, 0])
    predictions.append(np.full(len(y_test), y.mean()))
    for name, predicted in zip(("network", "linear model", "mean"), predictions, strict=True):
        explained = 1.0 - np.mean((predicted - y_test) ** 2) / np.var(y_test)
        print(f"  {name:<34} RMSE {rmse(y_test, predicted):6.2f}   R2 {explained:.3f}")
    return y_test, *predictions


def rmse(y, predicted):
    return np.sqrt(np.mean((predicted - y) ** 2))


def main(quick=False, plot=None):
    malignant, deep, logistic = tumours(10 if quick else 200)
    houses = prices(housing, 20 if quick else 300)
    patients = prices(diabetes, 20 if quick else 300)

    if plot:
        figure, axes = viz.subplots(2, 2, figsize=(10, 8.5))
        viz.plot_confusion_matrix(malignant, deep > 0.5, labels=("benign", "malignant"), ax=axes[0, 0])
        axes[0, 0].set_title("Tumours of the test part, by the deep network")
        for name, scores, style in (("logistic regression", logistic, "--"), ("128-64-32-16-1", deep, "-")):
            false_alarms, hits, auc = roc_curve(malignant, scores)
            axes[0, 1].plot(false_alarms, hits, style, label=f"{name}, AUC {auc:.4f}")
        axes[0, 1].set(title="ROC curves, their upper left corner", xlabel="false alarms", ylabel="hits")
        axes[0, 1].set(xlim=(-0.01, 0.4), ylim=(0.6, 1.01))
        axes[0, 1].legend(loc="lower right")
        for ax, title, (y, network, linear, _) in (
            (axes[1, 0], "Houses: prices bend, a linear model cannot", houses),
            (axes[1, 1], "Diabetes: chance hides the rest from both", patients),
        ):
            ax.scatter(y, linear, s=14, marker="x", linewidth=0.8, label="linear model")
            ax.scatter(y, network, s=10, label="network")
            ax.axline((0, 0), slope=1, color="black", linewidth=0.8)
            ax.set(title=title, xlabel="true", ylabel="predicted")
            ax.legend(loc="upper left")
        figure.savefig(plot)

    figures = {
        "breast cancer AUC": roc_curve(malignant, deep)[2],
        "breast cancer AUC, logistic regression": roc_curve(malignant, logistic)[2],
        "breast cancer accuracy": np.mean((deep > 0.5) == malignant),
        "breast cancer accuracy, always benign": np.mean(malignant == 0),
    }
    for name, (y, *predictions) in (("housing", houses), ("diabetes", patients)):
        for method, predicted in zip(("", ", a linear model", ", the mean"), predictions, strict=True):
            figures[f"{name} RMSE{method}"] = rmse(y, predicted)
    return figures


if __name__ == "__main__":
    run(main)
