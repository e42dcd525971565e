"""A row for each picture of `viz`: how it is drawn, and whether it shows what was given. And all that is refused."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import layers, models, viz
from tinygrad_edu.callbacks import History


def history(epochs=3, first=0, **values):
    found = History()
    for i in range(epochs):
        found.on_epoch_end(first + i, {name: numbers[i] for name, numbers in values.items()})
    return found


LOSSES = {"loss": [3.0, 2.0, 1.0], "val_loss": [3.5, 2.5, 2.25]}
X = np.array([[0.0, 0.0], [1.0, 3.0], [2.0, 1.0], [4.0, 2.0]], "float32")
Y = np.array([0, 1, 1, 0])
IMAGES = np.linspace(0.0, 1.0, 3 * 4 * 5).reshape(3, 4, 5)
PATHS = {"a": np.array([[2.0, 1.0], [1.0, 0.5], [0.0, 0.0]]), "b": np.array([[-2.0, 1.0], [0.0, 0.5]])}


def texts(artists):
    return [artist.get_text() for artist in artists]


def ticks(axis):
    return dict(zip(axis.get_ticklocs(), texts(axis.get_ticklabels()), strict=True))


def legend(ax):
    return texts(ax.get_legend().get_texts())


def contours(ax, filled):
    from matplotlib.contour import ContourSet

    return [found for found in ax.collections if isinstance(found, ContourSet) and found.filled is filled]


def scatters(ax):
    from matplotlib.collections import PathCollection

    return [found for found in ax.collections if isinstance(found, PathCollection)]


def region(ax, point):
    """The color of the region in which a point lies."""
    colors = [c.get_facecolor()[0] for c in contours(ax, True) if any(p.contains_point(point) for p in c.get_paths())]
    assert len(colors) == 1, (point, colors)
    return tuple(colors[0])


def check_history(ax):
    training, validation = ax.lines
    np.testing.assert_array_equal(training.get_xydata(), [[1, 3.0], [2, 2.0], [3, 1.0]])
    np.testing.assert_array_equal(validation.get_xydata(), [[1, 3.5], [2, 2.5], [3, 2.25]])
    assert legend(ax) == ["training", "validation"]
    assert (training.get_linestyle(), validation.get_linestyle()) == ("--", "-")
    assert training.get_color() != validation.get_color()
    assert training.get_marker() != validation.get_marker()
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "loss")
    assert all(tick == int(tick) for tick in ax.get_xticks())


def check_comparison(ax):
    assert [(line.get_label(), line.get_linestyle()) for line in ax.lines] == [
        ("plain", "--"), ("plain", "-"), ("later", "--"), ("later", "-")
    ]  # fmt: skip
    np.testing.assert_array_equal(ax.lines[3].get_xydata(), [[6, 3.5], [7, 2.5], [8, 2.25]])
    assert legend(ax) == ["plain", "later", "training", "validation"]
    plain, later = ({(line.get_color(), line.get_marker()) for line in lines} for lines in (ax.lines[:2], ax.lines[2:]))
    assert len(plain) == len(later) == 1
    assert not {part for pair in plain for part in pair} & {part for pair in later for part in pair}


def check_validation_alone(ax):
    (line,) = ax.lines
    np.testing.assert_array_equal(line.get_xydata(), [[1, 3.5], [2, 2.5], [3, 2.25]])
    assert (line.get_linestyle(), line.get_label()) == ("-", "validation")
    assert (ax.get_legend(), ax.get_ylabel()) == (None, "validation loss")


def check_points(ax):
    zero, one = scatters(ax)
    np.testing.assert_allclose(zero.get_offsets(), [X[0], X[3]])
    np.testing.assert_allclose(one.get_offsets(), [X[1], X[2]])
    assert legend(ax) == ["class 0", "class 1"]


def check_boundary(ax):
    """That of x + y / 2 against 2, or the same line by other scores."""
    check_points(ax)
    zero, one = region(ax, (0.0, 0.0)), region(ax, (4.0, 3.0))
    assert zero != one
    for x, y in np.random.default_rng(0).uniform((-0.4, -0.3), (4.4, 3.3), (50, 2)):
        if abs(x + y / 2 - 2) > 0.02:
            assert region(ax, (x, y)) == (one if x + y / 2 > 2 else zero)
    for found in contours(ax, False):
        for path in found.get_paths():
            np.testing.assert_allclose(path.vertices @ [1, 0.5], 2.0, atol=1e-4)
    # the region of a class has its hue: that of its points, mixed with white
    points = [c.get_facecolor()[0][:3] for c in scatters(ax)]
    for point, light in zip(points, (zero, one), strict=True):
        np.testing.assert_allclose(1 - np.array(light[:3]), 0.28 * (1 - point), atol=1e-6)


def check_classes(ax):
    nearest = [region(ax, point) for point in X[:3]]
    assert len(set(nearest)) == 3
    for point in np.random.default_rng(0).uniform((-0.4, -0.3), (4.4, 3.3), (50, 2)):
        distances = np.sort(((point - X[:3]) ** 2).sum(axis=1))
        if distances[1] - distances[0] > 0.1:
            assert region(ax, point) == nearest[((point - X[:3]) ** 2).sum(axis=1).argmin()]


def check_confusion(ax):
    np.testing.assert_allclose(ax.images[0].get_array(), [[2 / 3, 1 / 3, 0], [0, 1, 0], [0, 0, 0]])
    assert texts(ax.texts) == ["2", "1", "0", "0", "1", "0", "0", "0", "0"]
    assert [tuple(text.get_position()) for text in ax.texts[:3]] == [(0, 0), (1, 0), (2, 0)]
    assert ticks(ax.xaxis) == ticks(ax.yaxis) == {0: "ape", 1: "bee", 2: "cat"}
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")


def check_confusion_of_some(ax):
    assert texts(ax.texts) == ["1", "1", "0", "1"]
    assert ticks(ax.xaxis) == ticks(ax.yaxis) == {0: "3", 1: "7"}


def check_attention(ax):
    np.testing.assert_allclose(ax.images[0].get_array(), [[0.5, 0.25, 0.25], [0.125, 0.125, 0.75]])
    assert (ticks(ax.xaxis), ticks(ax.yaxis)) == ({0: "a", 1: "b", 2: "c"}, {0: "one", 1: "two"})
    assert ax.images[0].get_clim() == (0, 0.75)
    assert len(ax.child_axes) == 1  # the scale


def check_images(ax):
    for found, image in zip(ax.images, IMAGES, strict=True):
        np.testing.assert_allclose(found.get_array(), image)
    assert texts(ax.texts) == ["one", "two", "three"]
    assert len({found.get_clim() for found in ax.images}) == 1
    (a, b, c) = (found.get_extent() for found in ax.images)  # left, right, bottom, top
    assert a[1] < b[0]  # two beside each other
    assert a[2:] == b[2:]
    assert a[2] < c[3]  # and one below
    assert a[:2] == c[:2]
    for text, (left, right, _, top) in zip(ax.texts, (a, b, c), strict=True):
        x, y = text.get_position()
        assert left < x < right
        assert y < top


def check_maps(ax):
    """Signed numbers have white at zero, blue below, orange above, and a scale."""
    assert ax.images[0].get_clim() == (-2.0, 2.0)
    ((blue, white, orange),) = ax.images[0].to_rgba(np.array([[-2.0, 0.0, 2.0]]))[..., :3]
    np.testing.assert_allclose(white, 1, atol=0.01)
    assert blue.argmax() == 2
    assert orange.argmax() == 0
    assert len(ax.child_axes) == 1
    for frame, image in zip(ax.patches, ax.images, strict=True):  # white is in the image too
        assert frame.get_path().get_extents().extents.tolist() == [image.get_extent()[i] for i in (0, 3, 1, 2)]


def check_colored(ax):
    np.testing.assert_allclose(ax.images[1].get_array(), np.full((2, 2, 3), 51 / 255))


def check_reconstructions(ax):
    drawn = [found.get_array() for found in ax.images]
    np.testing.assert_allclose(drawn, np.concatenate([IMAGES, IMAGES / 2, IMAGES - 0.1]))
    assert {found.get_clim() for found in ax.images} == {(0.0, 1.0)}
    names = dict(map(reversed, ticks(ax.yaxis).items()))
    assert list(names) == ["clean", "half", "less"]
    for i, found in enumerate(ax.images):
        left, right, bottom, top = found.get_extent()
        assert [left, right] == list(ax.images[i % 3].get_extent())[:2]
        assert list(names.values())[i // 3] == (bottom + top) / 2


def check_gradients(ax):
    assert ax.get_xscale() == "log"
    assert ticks(ax.yaxis) == {2: "first", 1: "second", 0: "third"}
    first, second, third = (patch.get_data() for patch in ax.patches)
    shares = (first.values - 2) / 0.85  # of the highest
    assert sorted(shares[shares > 0]) == pytest.approx([0.5, 1.0])  # one of 1e-6, two of 1e-2
    assert first.edges[shares.argmax()] < 1e-2 < first.edges[shares.argmax() + 1]
    assert second.values.argmax() == np.flatnonzero(shares)[0]  # all are 1e-6
    assert (third.values == 0).all()  # all are zero
    np.testing.assert_allclose([line.get_xdata()[0] for line in ax.lines], [1e-2, 1e-6])
    assert [(text.get_text(), text.get_position()[1] // 1) for text in ax.texts] == [("25% zero", 2), ("100% zero", 0)]


def check_surface(ax):
    for name, path in PATHS.items():
        (line,) = (line for line in ax.lines if line.get_label() == name)
        np.testing.assert_allclose(line.get_xydata(), path)
    assert legend(ax) == list(PATHS)
    (drawn,) = contours(ax, False)
    assert sum(len(path.vertices) > 2 for path in drawn.get_paths()) > 5
    for level, path in zip(drawn.levels, drawn.get_paths(), strict=True):
        for x, y in path.vertices:
            assert x**2 + 4 * y**2 == pytest.approx(level, abs=0.01)


def weights():
    """A network of which x + y / 2 - 2 is the raw score."""
    model = models.Sequential([layers.Input((2,)), layers.Dense(1, activation="sigmoid")])
    model.layers[0].set_weights([np.array([[1.0], [0.5]]), np.array([-2.0])])
    return model


@dataclass(frozen=True)
class Case:
    draw: Callable
    """From `to`, which makes a tensor, a list or nothing else of an array, and the axes, None for a new figure."""
    check: Callable


CASES = {
    "plot_history": Case(lambda to, ax: viz.plot_history(history(**LOSSES), "loss", ax=ax), check_history),
    "plot_history compares": Case(
        lambda to, ax: viz.plot_history(
            {"plain": history(**LOSSES), "later": history(first=5, **LOSSES)}, ["loss"], ax=ax
        ),
        check_comparison,
    ),
    "plot_history validation alone": Case(
        lambda to, ax: viz.plot_history(history(**LOSSES), "val_loss", ax=ax), check_validation_alone
    ),
    "plot_points": Case(lambda to, ax: viz.plot_points(to(X), to(Y), ax=ax), check_points),
    "plot_points in columns": Case(lambda to, ax: viz.plot_points(to(X), to(Y[:, None] == 1), ax=ax), check_points),
    "plot_decision_boundary": Case(
        lambda to, ax: viz.plot_decision_boundary(weights(), to(X), to(Y), ax=ax), check_boundary
    ),
    "plot_decision_boundary scores": Case(
        lambda to, ax: viz.plot_decision_boundary(lambda p: p @ [1, 0.5] - 2, to(X), to(Y), ax=ax, threshold=0),
        check_boundary,
    ),
    "plot_decision_boundary tensors": Case(
        lambda to, ax: viz.plot_decision_boundary(
            lambda p: tg.tensor(p) @ tg.tensor([[0, 1], [0, 0.5]], requires_grad=True) + tg.tensor([2.0, 0.0]),
            to(X), to(Y), ax=ax,
        ),
        check_boundary,
    ),
    "plot_decision_boundary classes": Case(
        lambda to, ax: viz.plot_decision_boundary(
            lambda p: -((p[:, None] - X[:3]) ** 2).sum(axis=-1), to(X), to([0, 1, 2, 2]), ax=ax
        ),
        check_classes,
    ),
    "plot_confusion_matrix": Case(
        lambda to, ax: viz.plot_confusion_matrix(
            to(np.array([0, 0, 0, 1])), to(np.array([0.0, 1.0, 0.0, 1.0])), ["ape", "bee", "cat"], ax=ax
        ),
        check_confusion,
    ),
    "plot_confusion_matrix of some": Case(
        lambda to, ax: viz.plot_confusion_matrix(to(np.array([3, 7, 3])), to(np.array([[3], [7], [7]])), ax=ax),
        check_confusion_of_some,
    ),
    "plot_attention": Case(
        lambda to, ax: viz.plot_attention(
            to(np.array([[0.5, 0.25, 0.25], [0.125, 0.125, 0.75]])), ["one", "two"], "abc", ax=ax
        ),
        check_attention,
    ),
    "plot_images": Case(
        lambda to, ax: viz.plot_images(to(IMAGES), ["one", "two", "three"], columns=2, ax=ax), check_images
    ),
    "plot_images with channels": Case(
        lambda to, ax: viz.plot_images(to(IMAGES[..., None]), ["one", "two", "three"], columns=2, ax=ax), check_images
    ),
    "plot_images signed": Case(
        lambda to, ax: viz.plot_images(to(np.array([[[-2.0, 0.0, 1.0]], [[0.5, 0.0, 0.5]]])), ax=ax), check_maps
    ),
    "plot_images colored": Case(
        lambda to, ax: viz.plot_images(to(np.full((3, 2, 2, 3), 51, "uint8")), ax=ax), check_colored
    ),
    "plot_reconstructions": Case(
        lambda to, ax: viz.plot_reconstructions(
            to(IMAGES), to(IMAGES[..., None] / 2), to(IMAGES - 0.1), labels=["clean", "half", "less"], ax=ax
        ),
        check_reconstructions,
    ),
    "plot_gradients": Case(
        lambda to, ax: viz.plot_gradients(
            {
                "first": to(np.array([[0.01, -0.01], [1e-6, 0.0]])),
                "second": to(np.full(3, -1e-6)),
                "third": to(np.zeros(4)),
            },
            ax=ax,
        ),
        check_gradients,
    ),
    "plot_surface": Case(
        lambda to, ax: viz.plot_surface(lambda x, y: x**2 + 4 * y**2, {k: to(v) for k, v in PATHS.items()}, ax=ax),
        check_surface,
    ),
    "plot_surface of tensors": Case(
        lambda to, ax: viz.plot_surface(
            lambda x, y: tg.tensor(x, requires_grad=True) ** 2 + 4 * y**2, {k: to(v) for k, v in PATHS.items()}, ax=ax
        ),
        check_surface,
    ),
}  # fmt: skip


FAULTS = [
    (
        lambda: viz.plot_history({}),
        ValueError,
        "plot_history: expected a history with numbers, received one without. Hint: it has some after an epoch of fit.",
    ),
    (
        lambda: viz.plot_history(history(0)),
        ValueError,
        "plot_history: expected a history with numbers",
    ),
    (
        lambda: viz.plot_history([1.0, 2.0]),
        TypeError,
        "plot_history: expected a History, received list. Hint: pass what fit returned, or a dict of several of these.",
    ),
    (
        lambda: viz.plot_history({"loss": [1.0]}),
        TypeError,
        "plot_history: expected a History, received list.",
    ),
    (
        lambda: viz.plot_history(history(**LOSSES), "los"),
        ValueError,
        "plot_history: expected metrics to be one of 'loss', 'val_loss', received 'los'. Hint: did you mean 'loss'?",
    ),
    (
        lambda: viz.plot_history(history(**LOSSES), []),
        ValueError,
        "plot_history: expected at least one metric, received [].",
    ),
    (
        lambda: viz.plot_history(history(**LOSSES), ["loss", "val_loss"], ax=viz.subplots()[1]),
        ValueError,
        "plot_history: expected one metric for one ax, received ['loss', 'val_loss']. Hint: call it once for each ax.",
    ),
    (
        lambda: viz.plot_points(X.T, Y),
        tg.ShapeError,
        "plot_points: expected points of shape (n, 2), received shape (2, 4).",
    ),
    (
        lambda: viz.plot_points(X[0], Y),
        tg.ShapeError,
        "plot_points: expected points of shape (n, 2), received shape (2,).",
    ),
    (
        lambda: viz.plot_points([[1, 2], [3]], Y),
        tg.ShapeError,
        "plot_points: expected points to be one array (n, 2), received ",
    ),
    (
        lambda: viz.plot_points(np.zeros((0, 2)), []),
        tg.ShapeError,
        "plot_points: expected points of shape (n, 2), received shape (0, 2).",
    ),
    (
        lambda: viz.plot_points(X * np.inf, Y),
        ValueError,
        "plot_points: expected points of finite numbers, received NaN or inf in 8 of 8.",
    ),
    (
        lambda: viz.plot_points([["a", "b"]], [0]),
        TypeError,
        "plot_points: expected points to be an array of numbers, received dtype <U1.",
    ),
    (
        lambda: viz.plot_points(None, Y),
        TypeError,
        "plot_points: expected points to be an array of numbers, received NoneType.",
    ),
    (
        lambda: viz.plot_points(X, Y[:3]),
        tg.ShapeError,
        "plot_points: expected y with 4 class ids, received 3.",
    ),
    (
        lambda: viz.plot_points(X, [0, 1, 0.5, 1]),
        ValueError,
        "plot_points: expected y to be whole class ids from 0, received 0.5. "
        "Hint: class ids of probabilities are (p > 0.5) or p.argmax(axis=-1).",
    ),
    (
        lambda: viz.plot_points(X, [0, 1, -1, 1]),
        ValueError,
        "plot_points: expected y to be whole class ids from 0, received -1.",
    ),
    (
        lambda: viz.plot_decision_boundary(None, X, Y),
        TypeError,
        "plot_decision_boundary: expected model to be a Model or a function of points, received NoneType.",
    ),
    (
        lambda: viz.plot_decision_boundary(lambda p: p[:, 0] - 1, X, Y),
        ValueError,
        "plot_decision_boundary: expected probabilities, or a threshold, received outputs from -1.48 to 3.48. "
        "Hint: threshold=0 is right for raw scores (logits), 0.5 for a fit of the targets 0 and 1.",
    ),
    (
        lambda: viz.plot_decision_boundary(lambda p: p[:5], X, Y),
        tg.ShapeError,
        "plot_decision_boundary: expected outputs of shape (40000, classes), received shape (5, 2).",
    ),
    (
        lambda: viz.plot_decision_boundary(lambda p: p[0, 0], X, Y),
        tg.ShapeError,
        "plot_decision_boundary: expected outputs of the model of shape (40000, classes), received shape ().",
    ),
    (
        lambda: viz.plot_decision_boundary(lambda p: p / 0, X, Y),
        ValueError,
        "plot_decision_boundary: expected outputs of the model of finite numbers, received NaN or inf in ",
    ),
    (
        lambda: viz.plot_decision_boundary(lambda p: p, X, Y + 1),
        ValueError,
        "plot_decision_boundary: expected class ids below 2, the number of outputs, received 2.",
    ),
    (
        lambda: viz.plot_decision_boundary(weights(), X[:, :1], Y),
        tg.ShapeError,
        "plot_decision_boundary: expected x of shape (n, 2), received shape (4, 1).",
    ),
    (
        lambda: viz.plot_confusion_matrix(Y, Y[:3]),
        tg.ShapeError,
        "plot_confusion_matrix: expected y_pred with 4 class ids, received 3.",
    ),
    (
        lambda: viz.plot_confusion_matrix(Y, np.eye(4)),
        tg.ShapeError,
        "plot_confusion_matrix: expected y_pred to be class ids (n,), received shape (4, 4). "
        "Hint: class ids of scores or one-hot rows are their .argmax(axis=-1).",
    ),
    (
        lambda: viz.plot_confusion_matrix(Y, Y, labels=["a"]),
        ValueError,
        "plot_confusion_matrix: expected class ids below 1, the number of labels, received 1.",
    ),
    (
        lambda: viz.plot_confusion_matrix(Y, Y, labels=2),
        TypeError,
        "plot_confusion_matrix: expected labels to be a list of texts, received 2.",
    ),
    (
        lambda: viz.plot_attention(np.ones((2, 2, 2))),
        tg.ShapeError,
        "plot_attention: expected weights of shape (queries, keys), received shape (2, 2, 2).",
    ),
    (
        lambda: viz.plot_attention([[-1.0, 2.0]]),
        ValueError,
        "plot_attention: expected weights that are not negative, received -1. "
        "Hint: weights are scores after a softmax.",
    ),
    (
        lambda: viz.plot_attention(np.ones((2, 3)), queries="abc"),
        ValueError,
        "plot_attention: expected 2 queries, received 3.",
    ),
    (
        lambda: viz.plot_attention(np.ones((2, 3)), keys=["a", "b"]),
        ValueError,
        "plot_attention: expected 3 keys, received 2.",
    ),
    (
        lambda: viz.plot_images(np.ones((4, 5))),
        tg.ShapeError,
        "plot_images: expected images of shape (n, h, w), (n, h, w, 1) or (n, h, w, 3), received shape (4, 5).",
    ),
    (
        lambda: viz.plot_images(np.ones((4, 3, 5, 5))),
        tg.ShapeError,
        "plot_images: expected images of shape (n, h, w), (n, h, w, 1) or (n, h, w, 3), received shape "
        "(4, 3, 5, 5). Hint: channels are last.",
    ),
    (
        lambda: viz.plot_images(np.full((1, 2, 2, 3), 2.0)),
        ValueError,
        "plot_images: expected colors of images from 0 to 1, received numbers from 2 to 2.",
    ),
    (
        lambda: viz.plot_images(IMAGES, titles=["a"]),
        ValueError,
        "plot_images: expected 3 titles, received 1.",
    ),
    (
        lambda: viz.plot_images(IMAGES, columns=0),
        ValueError,
        "plot_images: expected columns to be an integer of at least 1, received 0.",
    ),
    (
        lambda: viz.plot_reconstructions(IMAGES),
        ValueError,
        "plot_reconstructions: expected originals and at least one array of reconstructions, received originals only.",
    ),
    (
        lambda: viz.plot_reconstructions(IMAGES, IMAGES[:2]),
        tg.ShapeError,
        "plot_reconstructions: expected reconstruction 1 of shape (3, 4, 5), received shape (2, 4, 5).",
    ),
    (
        lambda: viz.plot_reconstructions(IMAGES, IMAGES, labels=["a"]),
        ValueError,
        "plot_reconstructions: expected 2 labels, received 1.",
    ),
    (
        lambda: viz.plot_gradients([X]),
        TypeError,
        "plot_gradients: expected gradients to be a dict, such as {'dense': layer.kernel.grad}, received list.",
    ),
    (
        lambda: viz.plot_gradients({}),
        ValueError,
        "plot_gradients: expected at least one entry in gradients, such as {'dense': "
        "layer.kernel.grad}, received none.",
    ),
    (
        lambda: viz.plot_gradients({"dense": None}),
        TypeError,
        "plot_gradients: expected 'dense' to be an array of numbers, received NoneType.",
    ),
    (
        lambda: viz.plot_gradients({"dense": [1.0, np.nan]}),
        ValueError,
        "plot_gradients: expected 'dense' of finite numbers, received NaN or inf in 1 of 2.",
    ),
    (
        lambda: viz.plot_surface(lambda x, y: x, [X]),
        TypeError,
        "plot_surface: expected paths to be a dict, such as {'descent': points}, received list.",
    ),
    (
        lambda: viz.plot_surface(3, {"a": X}),
        TypeError,
        "plot_surface: expected f to be a function of two numbers, received int.",
    ),
    (
        lambda: viz.plot_surface(lambda x, y: np.inf, {"a": X}),
        ValueError,
        "plot_surface: expected values of f of finite numbers, received NaN or inf in 6400 of 6400.",
    ),
    (
        lambda: viz.plot_surface(lambda x, y: 2.0, {"a": X}),
        ValueError,
        "plot_surface: expected a function with heights and depths, received 2 everywhere.",
    ),
    (
        lambda: viz.plot_surface(lambda x, y: [x, y], {"a": X}),
        tg.ShapeError,
        "plot_surface: expected values of f of shape (80, 80), received shape (80, 80, 2).",
    ),
    (
        lambda: viz.plot_surface(lambda x, y: x, {"a": X.T}),
        tg.ShapeError,
        "plot_surface: expected 'a' of shape (n, 2), received shape (2, 4).",
    ),
    (
        lambda: viz.subplots(0),
        ValueError,
        "subplots: expected rows to be an integer of at least 1, received 0.",
    ),
]
