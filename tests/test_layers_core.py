"""Identity, Lambda, Masking and Perceptron: what the table of layers cannot show."""

import warnings

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import layers, models
from tinygrad_edu.errors import ShapeError

STEPS = np.array([[[1.0, 2.0], [0.0, 0.0], [0.0, 3.0]]], "float32")


# Identity, Masking


def test_masking():
    y = layers.Masking()(tg.tensor(STEPS))
    assert y.mask.tolist() == [[True, False, True]]
    other = layers.Masking(2.0)(tg.tensor([[[2.0, 2.0], [2.0, 0.0]]]))
    assert other.tolist() == [[[0.0, 0.0], [2.0, 0.0]]]
    assert layers.Identity()(y).mask.tolist() == [[True, False, True]]


def test_masked_steps_are_left_out_of_the_loss():
    model = models.Sequential([layers.Input((3, 2)), layers.Masking(), layers.Dense(1, use_bias=False)])
    model.set_weights([np.ones((2, 1))])
    model.compile(optimizer="sgd", loss="mse")
    y = np.array([[[2.0], [100.0], [5.0]]])
    assert model.evaluate(STEPS, y, verbose=0) == pytest.approx((1.0 + 4.0) / 2)


# Lambda


def double(x, factor=2.0, training=None, mask=None):
    return x * factor + (100.0 if training else 0.0)


def rows(shape):
    return shape


def test_lambda_gets_what_it_names():
    layer = layers.Lambda(double, arguments={"factor": 3.0})
    x = tg.tensor([[1.0, 2.0]])
    assert layer(x).tolist() == [[3.0, 6.0]]
    assert layer(x, training=True).tolist() == [[103.0, 106.0]]
    seen = []
    layers.Lambda(lambda x, mask: seen.append(mask) or x, mask=lambda x, mask: mask)(layers.Masking()(tg.tensor(STEPS)))
    assert seen[0].tolist() == [[True, False, True]]
    assert layers.Lambda(lambda pair: pair[0] - pair[1])([x, x * 2.0]).tolist() == [[-1.0, -2.0]]


def test_masks_of_lambdas():
    x = layers.Masking()(tg.tensor(STEPS))
    with pytest.warns(UserWarning, match="Lambda: the mask of its input ends here"):
        assert not hasattr(layers.Lambda(double)(x), "mask")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept = layers.Lambda(double, mask=lambda x, mask: mask)(x)
        fixed = layers.Lambda(double, mask=tg.tensor([[True, True, False]]))(x)
    assert kept.mask.tolist() == [[True, False, True]]
    assert fixed.mask.tolist() == [[True, True, False]]


def test_output_shapes_of_lambdas_are_checked():
    x = layers.Input((3,))
    assert layers.Lambda(double, output_shape=(3,))(x).shape == (None, 3)
    assert layers.Lambda(double, output_shape=rows)(x).shape == (None, 3)
    with pytest.raises(ShapeError, match=r"Lambda: expected an output of shape \(None, 4\), received \(2, 3\)"):
        layers.Lambda(double, output_shape=(4,))(x)
    with pytest.raises(TypeError, match="Lambda: expected a function, received 3"):
        layers.Lambda(3)


def test_lambdas_are_saved_by_name(tmp_path):
    x = layers.Input((3,))
    model = models.Model(x, layers.Lambda(tg.exp)(layers.Lambda(double, rows, arguments={"factor": 0.5})(x)))
    model.save(tmp_path / "m.safetensors")
    given = np.array([[1.0, 2.0, 3.0]], "float32")
    loaded = models.load_model(tmp_path / "m.safetensors", custom_objects={"double": double, "rows": rows})
    np.testing.assert_array_equal(loaded.predict(given), model.predict(given))
    with pytest.raises(ValueError, match="expected custom_objects with the function 'double'"):
        models.load_model(tmp_path / "m.safetensors", custom_objects={"rows": rows})
    for unnamed in (layers.Lambda(lambda x: x), layers.Lambda(double, mask=lambda x, mask: mask)):
        sequential = models.Sequential([layers.Input((3,)), unnamed])
        with pytest.raises(
            ValueError, match="functions and classes with names of their own, received '<lambda>' in Lambda"
        ):
            sequential.save(tmp_path / "n.safetensors")


# Perceptron


def separable(count, seed):
    """Rows on both sides of a plane, and for the rule R / g: how long the longest is, and how near the nearest."""
    random = np.random.default_rng(seed)
    plane = random.normal(size=3)
    plane /= np.linalg.norm(plane)
    x = random.uniform(-1, 1, (count, 2))
    ones = np.column_stack([x, np.ones(count)])
    distance = ones @ plane
    x, ones, distance = (a[abs(distance) > 0.05] for a in (x, ones, distance))
    return x, (distance > 0).astype(int), np.linalg.norm(ones, axis=1).max() / abs(distance).min()


def by_hand(x, y, passes):
    w, b, mistakes = np.zeros(x.shape[1]), 0.0, []
    for _ in range(passes):
        mistakes.append(0)
        for row, target in zip(x, y, strict=True):
            output = 1.0 if row @ w + b > 0 else 0.0
            if output != target:
                w, b = w + (target - output) * row, b + target - output
                mistakes[-1] += 1
        if not mistakes[-1]:
            break
    return w, b, mistakes


@pytest.mark.parametrize("seed", range(5))
def test_the_rule_separates_what_can_be_and_keeps_its_bound(seed):
    x, y, ratio = separable(60, seed)
    with tg.use_dtype("float64"):
        layer = layers.Perceptron()
        mistakes = layer.fit(x, y, epochs=10_000)
    assert mistakes[-1] == 0
    assert sum(mistakes) <= ratio**2
    np.testing.assert_array_equal(layer(tg.tensor(x)).numpy()[:, 0], y)
    w, b, expected = by_hand(x, y, 10_000)
    assert mistakes == expected
    np.testing.assert_allclose(layer.kernel.numpy()[:, 0], w, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(layer.bias.numpy(), [b], rtol=1e-9, atol=1e-12)


def test_the_learning_rate_scales_only():
    x, y, _ = separable(60, 7)
    with tg.use_dtype("float64"):
        one, small = layers.Perceptron(), layers.Perceptron()
        assert one.fit(x, y) == small.fit(x, y, learning_rate=0.25)
    np.testing.assert_allclose(small.kernel.numpy(), 0.25 * one.kernel.numpy(), rtol=1e-12)


def test_exclusive_or_never_comes_to_rest():
    x = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    mistakes = layers.Perceptron().fit(x, [0, 1, 1, 0], epochs=200)
    assert len(mistakes) == 200
    assert min(mistakes) > 0
    for labels in ([0, 0, 0, 1], [0, 1, 1, 1], [1, 1, 1, 0]):  # and, or, not and
        assert layers.Perceptron().fit(x, labels)[-1] == 0


def test_one_against_the_rest():
    random = np.random.default_rng(3)
    centres = np.array([[0.0, 5.0], [5.0, -4.0], [-5.0, -4.0]])
    y = random.integers(0, 3, 90)
    x = centres[y] + random.uniform(-1, 1, (90, 2))
    layer, again = layers.Perceptron(3), layers.Perceptron(3)
    tg.seed(0)
    assert layer.fit(x, y, shuffle=True)[-1] == 0
    np.testing.assert_array_equal(layer(tg.tensor(x, dtype="float32")).numpy(), np.eye(3)[y])
    tg.seed(0)
    again.fit(x, np.eye(3)[y], shuffle=True)
    np.testing.assert_array_equal(again.kernel.numpy(), layer.kernel.numpy())
    tg.seed(1)
    other = layers.Perceptron(3)
    other.fit(x, y, shuffle=True)
    assert (other.kernel.numpy() != layer.kernel.numpy()).any()


def test_fit_goes_on_from_where_it_stopped():
    x, y, _ = separable(60, 2)
    layer = layers.Perceptron()
    assert layer.fit(tg.tensor(x), tg.tensor(y))[-1] == 0
    assert layer.fit(x, y[:, None]) == [0]
    assert [name for name, _ in layer.named_buffers()] == ["kernel", "bias"]
    assert layer.parameters() == []


@pytest.mark.gpu
def test_the_rule_on_cuda():
    x, y, _ = separable(60, 2)
    layer, on_cuda = layers.Perceptron(), layers.Perceptron().to("cuda")
    mistakes = layer.fit(x, y)
    assert on_cuda.fit(tg.tensor(x, device="cuda"), tg.tensor(y, device="cuda")) == mistakes
    assert str(on_cuda.kernel.device) == "cuda:0"
    np.testing.assert_array_equal(on_cuda.kernel.numpy(), layer.kernel.numpy())


@pytest.mark.parametrize(("x", "y", "options", "kind", "text"), [
    ([[1.0]], [2], {}, ValueError, "Perceptron fit: expected targets that are 0 or 1, received 2"),
    ([[1.0]], [-1], {}, ValueError, "expected targets that are 0 or 1, received -1"),
    ([[1.0]], [0, 1], {}, ShapeError, "Perceptron fit: expected targets of shape (1, 1), received (2,)"),
    ([1.0], [0], {}, ShapeError, "Perceptron fit: expected rows of shape (n, inputs), received (1,)"),
    ([[1.0]], [0], {"epochs": 0}, ValueError, "expected epochs to be an integer of at least 1, received 0"),
    ([[1.0]], [0], {"learning_rate": 0}, ValueError, "expected learning_rate to be a number above 0, received 0"),
    ([[1.0]], [5], {"units": 3}, ValueError, "expected the numbers of units, from 0 to 2, received 5"),
    ([[float("nan")]], [1], {}, ValueError, "expected rows that are finite"),
])  # fmt: skip
def test_wrong_input_of_fit(x, y, options, kind, text):
    layer = layers.Perceptron(options.pop("units", 1))
    with pytest.raises(kind) as caught:
        layer.fit(x, y, **options)
    assert text in str(caught.value)
    assert not layer.built
