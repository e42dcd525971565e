"""Constraints: formulas in float64, what optimizers make of them, saving, errors."""

import copy

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import constraints, optimizers
from tinygrad_edu.constraints import Constraint, MaxNorm, MinMaxNorm, NonNeg, UnitNorm
from tinygrad_edu.errors import ShapeError
from tinygrad_edu.layers import Conv2D, Dense, Input, Layer
from tinygrad_edu.models import Sequential, load_model
from tinygrad_edu.optimizers import SGD, Adam, AdamW, RMSprop

RANDOM = np.random.default_rng(3)
MATRIX = RANDOM.normal(size=(4, 3)) * [0.1, 1.0, 3.0]
IMAGES = RANDOM.normal(size=(2, 3, 2, 3))


def norm(w, axis):
    return np.sqrt((w**2).sum(axis=tuple(np.atleast_1d(axis)), keepdims=True))


def scaled(w, axis, wanted):
    """`w` with the norms that the function makes of those that it has."""
    n = norm(w, axis)
    return w * wanted(n) / (n + 1e-7)


CASES = {
    "max norm": (MaxNorm(), MATRIX, lambda w: scaled(w, 0, lambda n: np.minimum(n, 2.0))),
    "max norm of rows": (MaxNorm(0.5, axis=1), MATRIX, lambda w: scaled(w, 1, lambda n: np.minimum(n, 0.5))),
    "max norm of filters": (
        MaxNorm(1.5, axis=[0, 1, 2]), IMAGES, lambda w: scaled(w, (0, 1, 2), lambda n: np.minimum(n, 1.5)),
    ),
    "max norm 0": (MaxNorm(0), MATRIX, lambda w: w * 0.0),
    "non-negative": (NonNeg(), MATRIX, lambda w: np.where(w > 0, w, 0.0)),
    "unit norm": (UnitNorm(), MATRIX, lambda w: scaled(w, 0, np.ones_like)),
    "unit norm of the last axis": (UnitNorm(axis=-1), IMAGES, lambda w: scaled(w, -1, np.ones_like)),
    "min max norm": (MinMaxNorm(), MATRIX, lambda w: scaled(w, 0, lambda n: np.clip(n, 0.0, 1.0))),
    "min max norm by half": (
        MinMaxNorm(0.5, 0.75, rate=0.5, axis=(0, 1)),
        IMAGES,
        lambda w: scaled(w, (0, 1), lambda n: 0.5 * np.clip(n, 0.5, 0.75) + 0.5 * n),
    ),
    "min max norm at rest": (MinMaxNorm(9.0, 9.0, rate=0.0), MATRIX, lambda w: scaled(w, 0, lambda n: n)),
}  # fmt: skip
EVERY = pytest.mark.parametrize("name", CASES)


@EVERY
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_values(name, dtype):
    constraint, w, formula = CASES[name]
    found = constraint(tg.tensor(w, dtype=dtype))
    assert found.dtype == dtype
    rtol, atol = (1e-12, 1e-14) if dtype == "float64" else (2e-6, 1e-7)
    np.testing.assert_allclose(found.numpy(), formula(w), rtol=rtol, atol=atol)
    np.testing.assert_allclose(tg.jit(constraint)(tg.tensor(w, dtype=dtype)).numpy(), formula(w), rtol=rtol, atol=atol)


@pytest.mark.parametrize("size", [300.0, 1e-4])
def test_norms_of_float16_weights(size):
    weight = tg.tensor([[size]] * 4, dtype="float16")
    np.testing.assert_allclose(UnitNorm()(weight).numpy(), 0.5, rtol=2e-3)


@pytest.mark.parametrize("constraint", [MaxNorm(), UnitNorm(), MinMaxNorm(0.5), NonNeg()])
def test_zeros_stay_zeros(constraint):
    np.testing.assert_array_equal(constraint(tg.zeros((3, 2))).numpy(), np.zeros((3, 2)))


def test_by_name_and_as_they_are():
    assert constraints.get(None) is None
    names = ["max_norm", "non_neg", "unit_norm", "min_max_norm", "MaxNorm", "NonNeg", "UnitNorm", "MinMaxNorm"]
    assert [type(constraints.get(name)) for name in names] == [MaxNorm, NonNeg, UnitNorm, MinMaxNorm] * 2
    assert vars(constraints.get("max_norm")) == {"max_value": 2.0, "axis": 0}
    assert vars(constraints.min_max_norm(rate=0.5)) == {"min_value": 0.0, "max_value": 1.0, "rate": 0.5, "axis": 0}
    written = {"module": "keras.constraints", "class_name": "MaxNorm", "config": {"max_value": 3, "axis": [0, 1]}}
    assert vars(constraints.get(written)) == {"max_value": 3.0, "axis": [0, 1]}
    for own in (MaxNorm(3.0), lambda w: w):
        assert constraints.get(own) is own


@EVERY
def test_as_json_and_back(name):
    constraint = CASES[name][0]
    again = constraints.get(constraints.serialize(constraint))
    assert type(again) is type(constraint)
    assert vars(again) == vars(constraint)


@pytest.mark.parametrize(("call", "kind", "text"), [
    (lambda: MaxNorm(-1.0), ValueError, "MaxNorm: expected max_value to be a number of at least 0, received -1.0."),
    (lambda: MaxNorm("a"), TypeError, "MaxNorm: expected max_value to be a number of at least 0, received 'a'."),
    (lambda: MaxNorm(axis=0.5), TypeError, "MaxNorm: expected axis to be an integer or a list of integers, received"),
    (lambda: UnitNorm([]), TypeError, "UnitNorm: expected axis to be an integer or a list of integers, received []."),
    (lambda: UnitNorm("0"), TypeError, "UnitNorm: expected axis to be an integer or a list of integers, received"),
    (
        lambda: MinMaxNorm(2.0, 1.0), ValueError,
        "MinMaxNorm: expected max_value to be a number of at least 2, received 1.0.",
    ),
    (lambda: MinMaxNorm(-1.0), ValueError, "MinMaxNorm: expected min_value to be a number of at least 0, received -1"),
    (lambda: MinMaxNorm(rate=1.5), ValueError, "MinMaxNorm: expected rate to be a number in [0, 1], received 1.5."),
    (
        lambda: constraints.get("max_nrm"), ValueError,
        "constraints.get: expected constraint to be one of 'max_norm', 'min_max_norm', 'non_neg', 'unit_norm', "
        "received 'max_nrm'. Hint: did you mean 'max_norm'?",
    ),
    (lambda: Dense(1, name="d", kernel_constraint="nonneg"), ValueError, "Dense 'd': expected constraint to be one of"),
    (lambda: Dense(1, bias_constraint=NonNeg), TypeError, "a function of a tensor, received <class"),
    (lambda: Dense(1, bias_constraint=NonNeg), TypeError, "Hint: write NonNeg()."),
    (lambda: Dense(1, bias_constraint=0.1), TypeError, "Dense: expected a constraint, its name or a function of a"),
    (lambda: Dense(1, gamma_constraint="non_neg"), TypeError, "expected each argument to be one of"),
    (lambda: constraints.serialize(lambda w: w), ValueError, "a function with a name, received <lambda>"),
    (lambda: UnitNorm(axis=2)(tg.ones((2, 2))), ShapeError, "norm: expected an axis from -2 to 1, received 2."),
])  # fmt: skip
def test_refused(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)


# In optimizers


START = np.array([[0.5, -0.25], [1.5, 0.125]])
OPTIMIZERS = {
    "sgd": lambda: SGD(0.1, momentum=0.9),
    "adam": lambda: Adam(0.1),
    "adamw": lambda: AdamW(0.1, weight_decay=0.1),
    "rmsprop": lambda: RMSprop(0.1),
}


def pulled(w, other):
    """Pulls the first column below 0, and lengthens the second."""
    return (w * tg.tensor([[1.0, -2.0], [1.0, -1.0]], dtype="float64")).sum() + ((other - 3.0) ** 2).sum()


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("constraint", [NonNeg(), MaxNorm(1.25), UnitNorm(1), MinMaxNorm(0.5, 1.0, 0.5)])
def test_each_step_ends_with_the_constraint(make, constraint):
    """As it would be by hand after each step; the other parameter and the state are left alone."""
    w, by_hand, other, alone = (
        tg.tensor(a, dtype="float64", requires_grad=True) for a in (START, START, START[0], START[0])
    )
    w.constraint = constraint
    optimizer, reference = make().build([other, w]), make().build([alone, by_hand])
    np.testing.assert_array_equal(w.detach().numpy(), START)  # only new values are constrained
    for _ in range(8):
        optimizer.minimize(pulled(w, other))
        reference.minimize(pulled(by_hand, alone))
        by_hand.assign_(constraint(by_hand.detach()))
        np.testing.assert_allclose(w.detach().numpy(), by_hand.detach().numpy(), rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(other.detach().numpy(), alone.detach().numpy(), rtol=1e-12)
    found, expected = optimizer.state_dict(), reference.state_dict()
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-12)


def test_a_parameter_without_a_gradient_stays_as_it_is():
    w, other = (tg.tensor([-1.0], requires_grad=True) for _ in range(2))
    w.constraint = NonNeg()
    SGD(0.5).build([w, other]).minimize((other * other).sum())
    assert (w.item(), other.item()) == (-1.0, 0.0)


def halved(w):
    return 0.5 * w


def model_of(**options):
    return Sequential([Input((2,)), Dense(3, activation="tanh"), Dense(1, name="last", **options)])


X, Y = np.eye(2, dtype="float32").repeat(3, axis=0), np.array([-4.0] * 6)


@pytest.mark.parametrize("jit", [True, False])
def test_training(jit):
    model = model_of(kernel_constraint=UnitNorm(), bias_constraint="non_neg")
    assert model.get_layer("last").kernel.constraint.axis == 0
    assert model.layers[0].kernel.constraint is None
    model.compile(SGD(0.1), "mse", jit=jit)
    model.fit(X, Y, epochs=3, batch_size=4, verbose=0)
    kernel, bias = model.layers[1].get_weights()
    np.testing.assert_allclose(np.linalg.norm(kernel), 1.0, rtol=1e-6)
    assert bias == [0.0]
    assert np.linalg.norm(model.layers[0].get_weights()[0]) > 1.0


@pytest.mark.parametrize("jit", [True, False])
def test_an_attribute_that_is_changed_is_seen(jit):
    longest = MaxNorm(0.5)
    model = model_of(kernel_constraint=longest)
    model.compile(SGD(0.1), "mse", jit=jit)
    for longest.max_value in (0.5, 0.25):
        model.fit(X, Y, epochs=2, verbose=0)
        np.testing.assert_allclose(np.linalg.norm(model.layers[1].get_weights()[0]), longest.max_value, rtol=1e-5)


class Within(Constraint):
    """One of a user's own."""

    def __init__(self, bound):
        self.bound = bound

    def __call__(self, weight):
        return weight.clip(-self.bound, self.bound)


@pytest.mark.parametrize("jit", [True, False])
def test_one_of_ones_own_that_is_changed_is_seen(jit):
    bounds = Within(0.5)
    model = model_of(kernel_constraint=bounds)
    model.compile(SGD(0.1), "mse", jit=jit)
    found = []
    for bounds.bound in (0.0, 0.5):
        model.fit(X, 100 * Y, epochs=2, verbose=0)
        found.append(abs(model.layers[1].get_weights()[0]).max())
    model.layers[1].kernel.constraint = Within(0.25)
    model.fit(X, 100 * Y, epochs=2, verbose=0)
    found.append(abs(model.layers[1].get_weights()[0]).max())
    assert found == [0.0, 0.5, 0.25]


def test_a_frozen_weight_is_not_constrained():
    model = model_of(kernel_constraint=UnitNorm())
    model.layers[1].trainable = False
    model.layers[1].set_weights([np.full((3, 1), 2.0), np.zeros(1)])
    model.compile(SGD(0.1), "mse")
    model.fit(X, Y, verbose=0)
    assert (model.layers[1].get_weights()[0] == 2.0).all()
    model.layers[1].trainable = True
    model.compile(SGD(0.1), "mse")
    model.fit(X, Y, verbose=0)
    np.testing.assert_allclose(np.linalg.norm(model.layers[1].get_weights()[0]), 1.0, rtol=1e-6)


def test_a_weight_of_a_layer_of_ones_own():
    class Scale(Layer):
        def build(self, input_shape):
            self.factor = self.add_weight(input_shape[-1:], "ones", constraint=halved)
            self.shift = self.add_weight(input_shape[-1:], "zeros")

        def call(self, x):
            return x * self.factor + self.shift

    model = Sequential([Input((2,)), Scale()])
    model.compile(SGD(0.0), "mse")
    model.fit(X, X, batch_size=3, epochs=2, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], [1 / 16, 1 / 16])


@pytest.mark.parametrize("trained", [False, True])
def test_a_copy_has_its_own(trained):
    model = model_of(kernel_constraint=MaxNorm(0.5))
    model.compile(SGD(0.1), "mse")
    if trained:
        model.fit(X, Y, verbose=0)
    other = copy.deepcopy(model)
    other.layers[1].kernel.constraint.max_value = 0.25
    if not trained:  # before a step the optimizer has not looked at it
        other.compile(SGD(0.1), "mse")
    for one, length in ((model, 0.5), (other, 0.25)):
        one.fit(X, Y, epochs=2, verbose=0)
        np.testing.assert_allclose(np.linalg.norm(one.layers[1].get_weights()[0]), length, rtol=1e-5)


class Small(constraints.Constraint):
    def __init__(self, bound):
        self.bound = bound

    def __call__(self, weight):
        return weight.clip(-self.bound, self.bound)


def test_saved_and_loaded(tmp_path):
    layers = [
        Input((4, 4, 1)), Conv2D(2, 4, kernel_constraint=MaxNorm(0.5, axis=[0, 1, 2]), bias_constraint=halved),
        Dense(1, kernel_constraint=Small(0.125), bias_constraint="unit_norm"),
    ]  # fmt: skip
    model = Sequential(layers)
    model.save(tmp_path / "m")
    with pytest.raises(ValueError, match="expected custom_objects with the function 'halved', received none"):
        load_model(tmp_path / "m")
    loaded = load_model(tmp_path / "m", {"halved": halved, "Small": Small})
    kernel, bias = loaded.layers[0].weights
    assert (vars(kernel.constraint), bias.constraint) == ({"max_value": 0.5, "axis": [0, 1, 2]}, halved)
    kernel, bias = loaded.layers[1].weights
    assert (vars(kernel.constraint), type(bias.constraint)) == ({"bound": 0.125}, UnitNorm)
    for one in (model, loaded):
        one.compile(Adam(0.1), "mse")
        one.fit(np.ones((3, 4, 4, 1)), np.ones((3, 1, 1, 1)), verbose=0)
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    model = model_of(kernel_constraint=lambda w: w)
    with pytest.raises(ValueError, match="expected a function with a name, received <lambda>"):
        model.save(tmp_path / "own")


@pytest.mark.parametrize(("wrong", "received"), [
    (lambda w: w[:1], "shape (1,)"), (lambda w: w.sum(), "shape ()"), (lambda w: 0.0, "float"),
    (lambda w: None, "NoneType"),
])  # fmt: skip
def test_one_that_returns_something_else(wrong, received):
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    w.constraint = wrong
    optimizer = SGD(0.5).build([w])
    with pytest.raises(ShapeError) as caught:
        optimizer.minimize(w.sum())
    assert str(caught.value) == f"SGD constraint: expected a tensor of shape (2,), received {received}."
    np.testing.assert_array_equal(w.detach().numpy(), [1.0, 2.0])


def test_a_tensor_takes_functions_only():
    w = tg.tensor([1.0], requires_grad=True)
    with pytest.raises(TypeError) as caught:
        w.constraint = "non_neg"
    hint = "Hint: write tg.constraints.get(name)."
    assert str(caught.value) == f"constraint: expected a function of a tensor, or None, received 'non_neg'. {hint}"
    w.constraint = NonNeg()
    w.constraint = None
    SGD(2.0).build([w]).minimize(w.sum())
    assert w.item() == -1.0


def test_one_that_depends_on_values_runs_without_jit():
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    w.constraint = lambda w: w if w.sum() > 1.5 else -w
    optimizer = SGD(0.5).build([w])
    with pytest.warns(UserWarning, match="SGD runs without jit"):
        optimizer.minimize(w.sum())
    np.testing.assert_array_equal(w.detach().numpy(), [0.5, 1.5])
    optimizer.minimize(w.sum())
    np.testing.assert_array_equal(w.detach().numpy(), [-0.0, -1.0])


def test_a_base_without_a_formula():
    with pytest.raises(NotImplementedError, match="Constraint defines no __call__"):
        constraints.Constraint()(tg.ones(2))
    assert optimizers.SGD().build([tg.tensor([1.0], requires_grad=True)]).parameters[0].constraint is None


@pytest.mark.gpu
@EVERY
def test_on_cuda_as_on_the_cpu(name):
    constraint, w, _ = CASES[name]
    found = []
    for device in ("cpu", "cuda"):
        t = tg.tensor(w, dtype="float32", device=device, requires_grad=True)
        t.constraint = constraint
        SGD(0.1).build([t]).minimize((t * t).sum())
        assert t.device.kind == device
        found.append(t.detach().to("cpu").numpy())
    np.testing.assert_allclose(*found, rtol=1e-6)
