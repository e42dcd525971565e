"""Pictures show what was given, wherever they are drawn, without a screen, and for every kind of color vision."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from viz_cases import CASES, FAULTS, LOSSES, X, Y, check_history, contours, history, region, weights

import tinygrad_edu as tg
from tinygrad_edu import viz
from tinygrad_edu.viz.colors import CLASSES

pytest.importorskip("matplotlib")
from matplotlib import rcParams
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure


def test_every_picture_has_a_case():
    assert {name.split()[0] for name in CASES} == set(viz.__all__) - {"subplots"}


def parameter(array):
    """A tensor that requires grad, if it can."""
    return tg.tensor(np.asarray(array), requires_grad=np.asarray(array).dtype.kind == "f")


KINDS = {
    "arrays": np.asarray,
    "tensors": parameter,
    "lists": lambda array: np.asarray(array).tolist(),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CASES)
def test_a_picture_shows_what_was_given(name, kind):
    figure = CASES[name].draw(KINDS[kind], None)
    assert isinstance(figure, Figure)
    (ax,) = figure.axes
    CASES[name].check(ax)


@pytest.mark.parametrize("name", CASES)
def test_a_picture_is_drawn_into_ax_alone(name):
    figure, (left, right) = viz.subplots(1, 2)
    others = [len(left.get_children()), left.get_xlim(), left.get_ylim(), len(figure.get_children())]
    assert CASES[name].draw(np.asarray, right) is figure
    figure.canvas.draw()
    assert figure.axes == [left, right]
    assert [len(left.get_children()), left.get_xlim(), left.get_ylim(), len(figure.get_children())] == others
    CASES[name].check(right)


def test_a_panel_for_each_metric():
    h = history(**LOSSES, accuracy=[0.1, 0.2, 0.3], confusion=[np.eye(2)] * 3, learning_rate=[0.1, 0.1, 0.01])
    figure = viz.plot_history(h)
    assert [ax.get_ylabel() for ax in figure.axes] == ["loss", "accuracy", "learning rate"]
    check_history(figure.axes[0])
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_ydata(), [0.1, 0.2, 0.3])
    assert [ax.get_ylabel() for ax in viz.plot_history(h, ["accuracy", "loss"]).axes] == ["accuracy", "loss"]
    figure, ax = viz.subplots()
    viz.plot_history(h, ax=ax)
    check_history(ax)


def test_a_history_may_end_in_nan_or_be_validated_now_and_then():
    h = history(loss=[1.0, 2.0, np.nan])
    np.testing.assert_array_equal(viz.plot_history(h).axes[0].lines[0].get_ydata(), [1.0, 2.0, np.nan])
    model = weights()
    model.compile("sgd", "mse")
    trained = model.fit(X, Y, epochs=5, validation_data=(X, Y), validation_freq=[2, 5], verbose=0)
    training, validation = viz.plot_history(trained).axes[0].lines
    assert (list(training.get_xdata()), list(validation.get_xdata())) == ([1, 2, 3, 4, 5], [2, 5])


def test_a_model_is_asked_once_and_in_silence(capsys):
    model, asked = weights(), []
    model.predict = lambda points, **options: (
        asked.append((points, options)) or type(model).predict(model, points, **options)
    )
    viz.plot_decision_boundary(model, X, Y)
    ((points, options),) = asked
    assert points.dtype == "float32"
    assert points.shape[1:] == (2,)
    assert options["verbose"] == 0
    assert (points.min(axis=0) < X.min(axis=0)).all()
    assert (points.max(axis=0) > X.max(axis=0)).all()
    assert capsys.readouterr() == ("", "")


def test_one_class_everywhere_has_no_boundary():
    ax = viz.plot_decision_boundary(lambda p: np.full(len(p), 0.9), X, Y).axes[0]
    assert contours(ax, False) == []
    assert region(ax, (1.0, 1.0)) == region(ax, (4.0, 0.0))


def test_more_classes_than_colors_differ_in_the_marker():
    ax = viz.plot_points(np.random.default_rng(0).normal(size=(60, 2)), np.arange(60) % 20).axes[0]
    looks = {(tuple(c.get_facecolor()[0]), c.get_paths()[0].vertices.tobytes()) for c in ax.collections}
    assert len(looks) == 20


@pytest.mark.parametrize("columns", [4, 12])
def test_titles_have_room(columns):
    """They end where the image above ends, and where the next title begins."""
    titles = [f"true {i},\npredicted {i}" for i in range(24)]
    figure = viz.plot_images(np.ones((24, 8, 8)), titles=titles, columns=columns)
    figure.canvas.draw()
    ax = figure.axes[0]
    boxes = [text.get_window_extent() for text in ax.texts]
    drawn = [image.get_window_extent() for image in ax.images]
    assert not any(box.overlaps(other) for i, box in enumerate(boxes) for other in [*boxes[:i], *drawn])
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1 for box in boxes)


@pytest.mark.parametrize(
    ("call", "kind", "text"), FAULTS, ids=[f"{i} {text.split(':')[0]}" for i, (*_, text) in enumerate(FAULTS)]
)
def test_wrong_inputs_are_told(call, kind, text):
    with np.errstate(all="ignore"), pytest.raises(kind) as caught:
        call()
    found = str(caught.value)
    assert (
        found == text if text.endswith(".") and "of finite" not in text and "Hint" in text else found.startswith(text)
    ), found


@pytest.mark.parametrize("name", CASES)
def test_wrong_axes_are_told(name):
    where = name.split()[0]
    grid = viz.subplots(2, 2)[1]
    for ax, found in (
        (grid[0], "an array of axes of shape (2,). Hint: pass one of them, such as ax=axes[0]"),
        (grid, "an array of axes of shape (2, 2). Hint: pass one of them, such as ax=axes[0, 0]"),
        (3, "3"),
    ):
        with pytest.raises(TypeError) as caught:
            CASES[name].draw(np.asarray, ax)
        assert str(caught.value) == f"{where}: expected ax to be one Axes of matplotlib, received {found}."


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for case in CASES.values():
        with pytest.raises(ImportError, match=r"viz needs matplotlib: pip install 'tinygrad-edu\[viz\]'"):
            case.draw(np.asarray, None)


HEADLESS = """
import sys
import numpy as np
import matplotlib
before = matplotlib.rcParams.copy()
from viz_cases import CASES
for case in CASES.values():
    figure = case.draw(np.asarray, None)
    assert figure._repr_png_()[:4] == b"\\x89PNG"
assert "matplotlib.pyplot" not in sys.modules
assert matplotlib.rcParams.copy() == before

import matplotlib.pyplot as plt
plt.close(plt.figure())  # chooses its backend
before = matplotlib.rcParams.copy()
for case in CASES.values():
    mine, (left, right) = plt.subplots(1, 2)
    assert case.draw(np.asarray, right) is mine
    case.check(right)
    assert mine.axes == [left, right] and not left.lines and plt.get_fignums() == [mine.number]
    plt.close(mine)
    case.draw(np.asarray, None)
    assert plt.get_fignums() == []
assert matplotlib.rcParams.copy() == before
"""


def test_headless_and_beside_pyplot():
    """pyplot is not imported where it was not, gets no figure where it was, and no setting is changed."""
    plain = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND")}
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    command = [sys.executable, "-W", "error", "-c", HEADLESS]
    done = subprocess.run(command, env={**plain, "PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.gpu
@pytest.mark.parametrize("name", CASES)
def test_pictures_of_what_is_on_the_gpu(name):
    (ax,) = CASES[name].draw(lambda array: tg.tensor(np.asarray(array), device="cuda"), None).axes
    CASES[name].check(ax)


@pytest.mark.gpu
def test_the_decisions_of_a_model_on_the_gpu():
    model = weights().to("cuda")
    CASES["plot_decision_boundary"].check(viz.plot_decision_boundary(model, X, Y).axes[0])


# Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision deficiency" (2009),
# severity 1.0; on linear RGB.
VISIONS = {
    "all cones": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


def seen(colors, vision):
    """sRGB colors (n, 3), as they look to such eyes, in CIELAB (white is D65)."""
    colors = np.asarray(colors)
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.transpose(VISIONS[vision]), 0, 1)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
    xyz = linear @ np.transpose(to_xyz) / [0.95047, 1.0, 1.08883]
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=-1)


def test_lab_is_that_of_the_standard():
    """sRGB red, green and blue as other programs give them."""
    lab = [[53.24, 80.09, 67.20], [87.73, -86.18, 83.18], [32.30, 79.19, -107.86]]
    np.testing.assert_allclose(seen(np.eye(3), "all cones"), lab, atol=0.02)


@pytest.mark.parametrize("vision", VISIONS)
def test_colors_of_classes_stay_apart(vision):
    """By 16 in CIELAB, where about 2 is just noticeable; the red and green that are often used come within 12."""
    points = viz.plot_points(np.arange(20.0).reshape(10, 2), np.arange(10)).axes[0].collections
    lab = seen([c.get_facecolor()[0][:3] for c in points], vision)
    distances = np.linalg.norm(lab[:, None] - lab, axis=-1) + 100 * np.eye(10)
    assert distances.min() > 16
    lines = viz.plot_history({str(i): history(**LOSSES) for i in range(10)}, "loss").axes[0].lines
    np.testing.assert_allclose(seen([to_rgb(line.get_color()) for line in lines[::2]], vision), lab, atol=1e-9)


def test_plain_calls_have_the_same_colors():
    points = viz.plot_points(np.arange(20.0).reshape(10, 2), np.arange(10)).axes[0].collections
    for ax in viz.subplots(2, 2)[1].flat:
        lines = [ax.plot([0, 1])[0] for _ in range(10)]
        assert [line.get_color() for line in lines] == [to_hex(c.get_facecolor()[0]).upper() for c in points]


@pytest.mark.parametrize("vision", VISIONS)
def test_colors_of_numbers_keep_their_order(vision):
    """Larger is lighter (darker in a confusion matrix) all the way, and the two signs differ."""
    steps = np.linspace(0, 1, 33)
    attention = viz.plot_attention([[0.0, 1.0]]).axes[0].images[0].cmap(steps)[:, :3]
    assert (np.diff(seen(attention, vision)[:, 0]) > 0).all()
    counts = viz.plot_confusion_matrix(Y, Y).axes[0].images[0].cmap(steps)[:, :3]
    assert (np.diff(seen(counts, vision)[:, 0]) < 0).all()
    maps = seen(viz.plot_images([[[-1.0, 1.0]]]).axes[0].images[0].cmap(steps)[:, :3], vision)
    assert (np.diff(maps[:17, 0]) > 0).all()
    assert (np.diff(maps[16:, 0]) < 0).all()
    apart = np.linalg.norm(maps - maps[::-1], axis=1)
    assert apart[:9].min() > 20  # at half of the largest size and above


def test_curves_have_these_colors_in_our_figures_only():
    before = rcParams["axes.prop_cycle"]
    _, axes = viz.subplots(1, 2)
    for ax in axes:
        assert [ax.plot([0, 1])[0].get_color() for _ in CLASSES] == list(CLASSES)
    assert rcParams["axes.prop_cycle"] == before
