"""Layers: names and registration, building, modes, state, errors; each layer against NumPy; initial values."""

# ruff: noqa: E501 -- the tables hold whole error texts, a case a line

import math

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import initializers
from tinygrad_edu.errors import ShapeError
from tinygrad_edu.layers import ACTIVATIONS, Activation, Dense, Dropout, Flatten, Input, InputLayer, Layer, Reshape
from tinygrad_edu.models import Sequential, load_model
from tinygrad_edu.state import Switch, state


@pytest.fixture(autouse=True)
def _seed():
    tg.seed(0)


def dense(inputs, units, **options):
    return Dense(units, input_dim=inputs, **options)


def built(layer, *shape):
    layer(tg.zeros(shape))
    return layer


class Block(Layer):
    """Holds layers and tensors in every way that must register."""

    def __init__(self):  # forgets super().__init__() on purpose
        self.first = built(Dense(2), 1, 3)
        self.blocks = [built(Dense(2), 1, 2), {"deep": (built(Dense(2, use_bias=False), 1, 2),)}]
        self.table = {"scale": tg.ones((2,), requires_grad=True)}
        self.mean = tg.zeros((2,))
        self.steps = tg.tensor(3)

    def call(self, x):
        x = self.blocks[0](self.first(x))
        return self.blocks[1]["deep"][0](x) * self.table["scale"]


# Registration and names


def test_names_of_attributes_lists_and_dicts():
    block = Block()
    parameters = [
        "table.scale",
        "first.kernel",
        "first.bias",
        "blocks.0.kernel",
        "blocks.0.bias",
        "blocks.1.deep.0.kernel",
    ]
    assert [name for name, _ in block.named_parameters()] == parameters
    assert [name for name, _ in block.named_buffers()] == ["mean", "steps"]
    assert block.count_params() == 2 + 8 + 6 + 4 + 2 + 1
    assert len(block.parameters()) == 6


def test_every_parameter_gets_a_gradient():
    block = Block()
    block(tg.ones((4, 3))).sum().backward()
    assert all(p.grad is not None for p in block.parameters())


def test_a_shared_layer_and_a_tied_parameter_count_once():
    block = Block()
    block.again = block.first
    block.blocks.append(block.first)
    block.blocks[0].kernel = block.blocks[1]["deep"][0].kernel
    assert len(block.parameters()) == 5
    assert len({id(p) for p in block.parameters()}) == 5


def test_layers_in_a_set_raise():
    block = Block()
    block.bag = {Dense(1)}
    with pytest.raises(
        TypeError, match="Block: expected attribute 'bag' to hold its layers in a list, tuple or dict, received a set"
    ):
        block.parameters()


def test_a_layer_that_holds_its_parent_ends():
    block = Block()
    block.first.parent = block
    assert len(block.parameters()) == 6
    assert block.to("cpu") is block


def test_results_of_operations_are_neither_parameters_nor_buffers():
    block = Block()
    block.last = block(tg.ones((1, 3)))
    assert "last" not in block.state_dict()


# State


def test_state_dict_copies():
    block = Block()
    saved = block.state_dict()
    saved["first.kernel"][...] = 7
    assert block.first.kernel.detach().numpy().max() < 7
    assert isinstance(saved["steps"], np.ndarray)


def test_load_state_dict_round_trip():
    block, other = Block(), Block()
    other.load_state_dict({name: tg.tensor(value) for name, value in block.state_dict().items()})
    for name, value in block.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name], value)
    other.set_weights(block.get_weights())


def test_load_state_dict_reports_everything_and_changes_nothing():
    block = Block()
    before = block.state_dict()
    wrong = dict(before)
    del wrong["mean"], wrong["first.bias"]
    wrong["first.kernel"] = np.zeros((9, 9))
    wrong["surplus"] = np.zeros(1)
    wrong["table.scale"] = np.full(2, 5.0)
    with pytest.raises(ShapeError) as caught:
        block.load_state_dict(wrong)
    assert str(caught.value) == (
        "Block load_state_dict: expected 8 arrays with its names and shapes, received missing mean, first.bias; "
        "unexpected surplus; first.kernel of shape (9, 9) instead of (3, 2)."
    )
    for name, value in before.items():
        np.testing.assert_array_equal(block.state_dict()[name], value)


def test_load_state_dict_not_strict():
    block = Block()
    block.load_state_dict({"mean": np.full(2, 4.0), "surplus": np.zeros(1)}, strict=False)
    assert block.mean.tolist() == [4.0, 4.0]
    with pytest.raises(ShapeError, match=r"mean of shape \(3,\) instead of \(2,\)"):
        block.load_state_dict({"mean": np.zeros(3)}, strict=False)


def test_load_state_dict_refuses_other_kinds_of_numbers_and_unbuilt_layers():
    block = Block()
    with pytest.raises(TypeError, match="expected steps of dtype int64, received float64"):
        block.load_state_dict({"steps": np.array(0.5)}, strict=False)
    with pytest.raises(ValueError, match=r"unexpected kernel\. Hint: build it first"):
        Dense(2).load_state_dict({"kernel": np.zeros((1, 2))})
    with pytest.raises(ValueError, match="Dense set_weights: expected 2 arrays, received 1"):
        built(Dense(2), 1, 3).set_weights([np.zeros((3, 2))])


@pytest.mark.parametrize("wrong", [
    {"steps": np.array("a")}, {"steps": np.array(1j)}, {"steps": np.array(2**63 + 5, np.uint64)},
    {"mean": np.full(2, 1e300)}, {"mean": np.full(2, "a")},
])  # fmt: skip
def test_load_state_dict_with_values_that_do_not_fit_changes_nothing(wrong):
    block = Block()
    before = block.state_dict()
    with pytest.raises((TypeError, ValueError), match=r"Block load_state_dict: expected (steps|mean)"):
        block.load_state_dict({name: value + 1 for name, value in before.items()} | wrong)
    for name, value in before.items():
        np.testing.assert_array_equal(block.state_dict()[name], value)


def test_weights_are_parameters_and_buffers():
    assert len(Block().weights) == 8


# Building, devices, dtype


def test_axes_of_unknown_length():
    assert Dense(4).compute_output_shape((None, None, 3)) == (None, None, 4)
    assert Flatten().compute_output_shape((None, None, 3)) == (None, None)
    assert Reshape((2, -1)).compute_output_shape((None, 3, 4)) == (None, 2, 6)


@pytest.mark.parametrize("dtype", ["foo", "str", object])
def test_an_input_of_no_numbers(dtype):
    with pytest.raises(ValueError, match="InputLayer: expected dtype to be one of numbers"):
        Input((1,), dtype=dtype)


def test_builds_at_the_first_call_only():
    layer = Dense(4)
    assert not layer.built
    assert layer.parameters() == []
    kernel = built(layer, 2, 3).kernel
    layer(tg.ones((2, 3)))
    assert layer.kernel is kernel
    assert kernel.shape == (3, 4)


def test_parameters_have_the_default_dtype():
    with tg.use_dtype("float64"):
        layer = built(Dense(1), 2, 3)
    assert layer.dtype == layer.bias.dtype == "float64"
    assert Dense(1).dtype == "float32"
    assert layer(tg.zeros((1, 3))).dtype == "float64"
    assert built(Dense(1), 1, 2)(tg.zeros((1, 2), dtype="float32")).dtype == "float32"


def test_arrays_and_lists_become_tensors():
    layer = Dense(2, kernel_initializer="ones")
    assert layer([[1.0, 2.0]]).tolist() == [[3.0, 3.0]]
    assert layer(np.ones((1, 2), np.float32)).tolist() == [[2.0, 2.0]]


# Training mode


class Spy(Layer):
    def __init__(self):
        super().__init__()
        self.inner = Keras()

    def call(self, x):
        self.seen = state.training
        return self.inner(x)


class Keras(Layer):
    def call(self, x, training=None):
        self.seen = training
        return x


@pytest.mark.parametrize(
    ("argument", "own", "outside", "expected"),
    [
        (None, None, False, False),
        (None, None, True, True),
        (None, True, False, True),
        (None, False, True, False),
        (True, False, False, True),
        (False, True, True, False),
    ],
)
def test_which_mode_holds(argument, own, outside, expected):
    spy = Spy()
    if own is not None:
        assert (spy.train() if own else spy.eval()) is spy
    with Switch("training", outside):
        spy(tg.zeros((1,)), training=argument)
        assert state.training is outside
    assert spy.seen is spy.inner.seen is expected


def test_a_layer_inside_keeps_a_mode_of_its_own():
    spy = Spy()
    spy.inner.eval()
    spy(tg.zeros((1,)), training=True)
    assert (spy.seen, spy.inner.seen) == (True, False)


def test_the_mode_is_put_back_after_an_error():
    with pytest.raises(ShapeError):
        built(Dense(2), 1, 3)(tg.zeros((1, 4)), training=True)
    assert state.training is False


# Freezing


def test_trainable_freezes_and_thaws():
    block = Block()
    block.trainable = False
    assert block.trainable_weights == []
    assert len(block.parameters()) == 6
    assert not block(tg.ones((1, 3))).requires_grad
    block.trainable = True
    assert len(block.trainable_weights) == 6
    assert [name for name, _ in block.named_buffers()] == ["mean", "steps"]


def test_frozen_from_the_start():
    layer = built(Dense(2, trainable=False), 1, 3)
    assert layer.trainable_weights == []
    assert len(layer.parameters()) == 2


def test_a_frozen_part_passes_gradients_on():
    block = Block()
    block.blocks[0].trainable = False
    block(tg.ones((1, 3))).sum().backward()
    assert block.blocks[0].kernel.grad is None
    assert block.first.kernel.grad is not None


def test_a_tied_parameter_frozen_in_one_layer_stays_a_parameter():
    block = Block()
    block.blocks[0].kernel = block.first.kernel
    block.blocks[0].trainable = False
    assert "first.kernel" in [name for name, _ in block.named_parameters()]
    assert "first.kernel" not in [name for name, _ in block.named_buffers()]


def test_thawed_layers_forget_that_they_were_frozen():
    block = Block()
    block.trainable = False
    block.trainable = True
    block.first.kernel.requires_grad_(False)
    assert "first.kernel" in [name for name, _ in block.named_buffers()]


# The layers


@pytest.mark.parametrize("shape", [(5, 3), (2, 5, 3), (0, 3)])
@pytest.mark.parametrize("use_bias", [True, False])
def test_dense(shape, use_bias):
    layer = Dense(4, activation="tanh", use_bias=use_bias, bias_initializer="random_normal")
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    y = layer(tg.tensor(x))
    bias = layer.bias.detach().numpy() if use_bias else 0
    np.testing.assert_allclose(
        y.detach().numpy(), np.tanh(x @ layer.kernel.detach().numpy() + bias), rtol=2e-6, atol=1e-6
    )
    assert (layer.bias is not None) == use_bias


def test_dense_as_torch():
    torch = pytest.importorskip("torch")
    layer = built(Dense(4, activation="gelu"), 1, 3)
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    reference = torch.nn.Linear(3, 4)
    with torch.no_grad():
        reference.weight.copy_(torch.tensor(layer.kernel.detach().numpy().T.copy()))
        reference.bias.copy_(torch.tensor(layer.bias.detach().numpy().copy()))
    torch.nn.functional.gelu(reference(torch.tensor(x))).square().sum().backward()
    (layer(tg.tensor(x)) ** 2).sum().backward()
    np.testing.assert_allclose(layer.kernel.grad.numpy(), reference.weight.grad.numpy().T, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(layer.bias.grad.numpy(), reference.bias.grad.numpy(), rtol=1e-4, atol=1e-6)


def test_flatten_reshape_input_activation():
    x = tg.arange(24).astype("float32").reshape(2, 3, 4)
    assert Flatten()(x).shape == (2, 12)
    assert Flatten()(tg.zeros((5,))).shape == (5, 1)
    assert Reshape((4, 3))(x).shape == (2, 4, 3)
    assert Reshape((-1, 2))(x).shape == (2, 6, 2)
    assert Reshape((6, 2))(tg.zeros((0, 3, 4))).shape == (0, 6, 2)
    assert InputLayer((3, None))(x) is x
    assert Activation("relu")(tg.tensor([-1.0, 2.0])).tolist() == [0.0, 2.0]
    assert Activation(lambda t: t * 2.0)(tg.tensor([1.0])).tolist() == [2.0]
    assert Activation("linear").activation is Dense(1).activation is None


def nearest_probabilities(x):
    """max(x - t, 0) that adds up to 1 in each row, by bisection for t."""
    low, high = x.amin(-1, keepdim=True) - 1, x.amax(-1, keepdim=True)
    for _ in range(100):
        t = (low + high) / 2
        enough = (x - t).relu().sum(-1, keepdim=True) >= 1
        low, high = t.where(enough, low), high.where(enough, t)
    return (x - low).relu()


TORCH = {
    "exponential": "exp",
    "hard_shrink": lambda f: f.hardshrink,
    "hard_sigmoid": lambda f: f.hardsigmoid,
    "hard_silu": lambda f: f.hardswish,
    "hard_swish": lambda f: f.hardswish,
    "hard_tanh": lambda f: f.hardtanh,
    "leaky_relu": lambda f: lambda x: f.leaky_relu(x, 0.2),  # as in Keras; torch has 0.01
    "linear": lambda f: lambda x: x,
    "log_sigmoid": lambda f: f.logsigmoid,
    "log_softmax": lambda f: lambda x: f.log_softmax(x, -1),
    "sigmoid": "sigmoid",
    "soft_shrink": lambda f: f.softshrink,
    "softmax": lambda f: lambda x: f.softmax(x, -1),
    "sparse_plus": lambda f: lambda x: (x + 1).clamp(0, 2) ** 2 / 4 + (x - 1).relu(),  # torch has none
    "sparse_sigmoid": lambda f: lambda x: ((x + 1) / 2).clamp(0, 1),  # torch has none
    "sparsemax": lambda f: nearest_probabilities,
    "squareplus": lambda f: lambda x: (x + (x * x + 4).sqrt()) / 2,  # torch has none
    "swish": lambda f: f.silu,
    "tanh": "tanh",
    "tanh_shrink": lambda f: f.tanhshrink,
}
"""Activations whose function in torch.nn.functional has another name or other arguments."""


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_as_torch(name):
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    found = TORCH.get(name, lambda f: getattr(f, name))
    function = getattr(torch, found) if isinstance(found, str) else found(f)
    x = np.linspace(-3, 3, 12).reshape(3, 4)
    expected = function(torch.tensor(x)).numpy()
    np.testing.assert_allclose(Activation(name)(tg.tensor(x)).numpy(), expected, rtol=1e-12, atol=1e-15)
    assert Activation(name).get_config().get("activation") in (
        name,
        {"swish": "silu", "hard_swish": "hard_silu", "linear": None}.get(name, name),
    )


def test_dropout():
    x = tg.ones((200, 100))
    layer = Dropout(0.25)
    assert layer(x) is x
    assert layer.eval()(x) is x
    y = layer(x, training=True).numpy()
    assert set(np.unique(y)) == {0.0, np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.01
    assert (y != layer(x, training=True).numpy()).any()
    assert Dropout(0)(x, training=True) is x


# Errors, by type and text


@pytest.mark.parametrize(("make", "kind", "text"), [
    (lambda: Dense(0), ValueError, "Dense: expected units to be an integer of at least 1, received 0"),
    (lambda: Dense(-1, name="head"), ValueError, "Dense 'head': expected units to be an integer of at least 1, received -1"),
    (lambda: Dense(2.5), TypeError, "Dense: expected units to be an integer of at least 1, received 2.5"),
    (lambda: Dense(2, activation="rleu"), ValueError, "received 'rleu'. Hint: did you mean 'relu'?"),
    (lambda: Dense(2, activation=3), TypeError, "expected activation to be a name or a function of one tensor, received 3"),
    (lambda: Dense(2, kernel_initializer="he_norml"), ValueError, "received 'he_norml'. Hint: did you mean 'he_normal'?"),
    (lambda: Dense(2, kernel_initializer=initializers.Zeros), TypeError, "Hint: write Zeros()."),
    (lambda: Dense(2, input_shap=(3,)), TypeError, "input_shap"),
    (lambda: Dense(2, activaton="relu"), TypeError, "Hint: did you mean 'activation'?"),
    (lambda: Dense(2, input_shape=3), TypeError, "expected input_shape to be a tuple of integers, without the batch axis, received 3. Hint: write (3,)."),
    (lambda: Dense(2, input_dim=0), ValueError, "expected input_dim to be an integer of at least 1, received 0"),
    (lambda: Dropout(1.5), ValueError, "Dropout: expected rate to be a number in [0, 1], received 1.5"),
    (lambda: Dropout(-0.1), ValueError, "received -0.1"),
    (lambda: Dropout(float("nan")), ValueError, "received nan"),
    (lambda: Dropout("0.5"), TypeError, "received '0.5'"),
    (lambda: Reshape((-1, -1)), ValueError, "expected target_shape with at most one -1"),
    (lambda: Reshape((5,))(tg.zeros((2, 3))), ShapeError, "Reshape: expected rows that can be reshaped to (5,), received shape (2, 3)"),
    (lambda: Reshape((-1, 2))(tg.zeros((2, 3))), ShapeError, "expected rows that can be reshaped to (-1, 2)"),
    (lambda: InputLayer((3,))(tg.zeros((2, 4))), ShapeError, "InputLayer: expected a batch of shape (None, 3), received shape (2, 4)"),
    (lambda: InputLayer((3,))(tg.zeros((3,))), ShapeError, "Hint: add a batch axis: x[None]."),
    (lambda: InputLayer((1,))(tg.zeros((3,))), ShapeError, "Hint: make it a column: x.reshape(-1, 1)."),
    (lambda: initializers.HeNormal(seed=-1), ValueError, "expected seed to be an integer of at least 0"),
    (lambda: built(Dense(2, name="head"), 1, 3)(tg.zeros((8, 5))), ShapeError,
     "Dense 'head': expected 3 input features, received shape (8, 5). Hint: build it with Dense(..., input_shape=(5,))."),
    (lambda: Dense(2)(tg.zeros((3,))), ShapeError, "Dense: expected inputs of shape (batch, ..., features), received shape (3,). Hint: for one number a row use x.reshape(-1, 1)"),
    (lambda: Layer()(tg.zeros((3,))), NotImplementedError, "Layer defines no call(x)"),
    (lambda: initializers.VarianceScaling(mode="fan_inn"), ValueError, "did you mean 'fan_in'?"),
    (lambda: initializers.RandomNormal(stddev=-1), ValueError, "expected stddev to be a number of at least 0, received -1"),
    (lambda: initializers.Constant(float("nan")), ValueError, "expected value to be a number that is finite, received nan"),
])  # fmt: skip
def test_bad_input(make, kind, text):
    with pytest.raises(kind) as caught:
        make()
    assert text in str(caught.value)


def test_errors_name_the_way_to_the_layer():
    class Encoder(Layer):
        def __init__(self):
            self.blocks = [Dense(2), built(Dense(2, name="inner"), 1, 5)]

        def call(self, x):
            return self.blocks[1](self.blocks[0](x))

    class Top(Layer):
        def __init__(self):
            self.encoder = Encoder()

        def call(self, x):
            return self.encoder(x)

    with pytest.raises(ShapeError) as caught:
        Top()(tg.zeros((1, 3)))
    assert str(caught.value).startswith(
        "Top.encoder Encoder.blocks[1] Dense 'inner': expected 5 input features, received shape (1, 2)"
    )


def test_errors_of_operations_and_of_users_name_the_layer():
    class Broken(Layer):
        def call(self, x):
            return tg.reshape(x, (7,))

    class Odd(Layer):
        def call(self, x):
            raise KeyError("mine")

    with pytest.raises(ShapeError, match="Broken 'b': reshape: expected"):
        Broken(name="b")(tg.zeros((2, 3)))
    with pytest.raises(KeyError) as caught:
        Odd(name="o")(tg.zeros((2, 3)))
    assert caught.value.args == ("mine",)
    assert caught.value.__notes__ == ["in Odd 'o'"]


# Initial values


@pytest.mark.parametrize(
    ("name", "limit", "std"),
    [
        ("glorot_uniform", math.sqrt(6 / 500), math.sqrt(2 / 500)),
        ("glorot_normal", 2 * math.sqrt(2 / 500) / 0.8796256610342398, math.sqrt(2 / 500)),
        ("he_uniform", math.sqrt(6 / 200), math.sqrt(2 / 200)),
        ("he_normal", 2 * math.sqrt(2 / 200) / 0.8796256610342398, math.sqrt(2 / 200)),
        ("lecun_uniform", math.sqrt(3 / 200), math.sqrt(1 / 200)),
        ("lecun_normal", 2 * math.sqrt(1 / 200) / 0.8796256610342398, math.sqrt(1 / 200)),
        ("random_uniform", 0.05, 0.1 / math.sqrt(12)),
        ("random_normal", 0.3, 0.05),
        ("truncated_normal", 0.1, 0.05 * 0.8796256610342398),
    ],
)
def test_random_initial_values(name, limit, std):
    values = initializers.get(name)((200, 300)).numpy()
    assert values.dtype == "float32"
    assert abs(values).max() <= limit * (1 + 1e-6)
    assert abs(values).max() > 0.7 * limit
    assert values.std() == pytest.approx(std, rel=0.02)
    assert abs(values.mean()) < 0.02 * std * 3


@pytest.mark.parametrize("shape", [(5, 5), (3, 7), (8, 2), (2, 3, 4), (3, 2, 7)])
def test_orthogonal_rows_or_columns(shape):
    q = initializers.Orthogonal(gain=1.5)(shape, dtype="float64").numpy().reshape(-1, shape[-1])
    q = q if len(q) <= q.shape[1] else q.T
    np.testing.assert_allclose(q @ q.T, 1.5**2 * np.eye(len(q)), atol=1e-12)


def test_orthogonal_matrices_are_drawn_uniformly():
    """The mean of a rotation-invariant distribution is 0, and the square of each element is 1 / n on average. Without
    the signs of r, most elements on the diagonal would be negative."""
    draws = np.stack([initializers.Orthogonal()((3, 3), dtype="float64").numpy() for _ in range(2000)])
    np.testing.assert_allclose(draws.mean(axis=0), 0, atol=5 * np.sqrt(1 / 3 / 2000))
    np.testing.assert_allclose((draws**2).mean(axis=0), 1 / 3, atol=5 * np.sqrt(1 / 2000))


def test_identity_and_what_shapes_matrices_have():
    assert initializers.Identity(2.0)((2, 3)).tolist() == [[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]
    with pytest.raises(ShapeError, match=r"Identity: expected a shape of two axes, received \(2,\)"):
        initializers.Identity()((2,))
    with pytest.raises(ShapeError, match=r"Orthogonal: expected a shape of at least two axes, received \(2,\)"):
        initializers.Orthogonal()((2,))


def test_initial_values_that_are_fixed_or_seeded():
    assert initializers.Zeros()((2,)).tolist() == [0.0, 0.0]
    assert initializers.Ones()((2,)).tolist() == [1.0, 1.0]
    assert initializers.get("constant")((1,)).tolist() == [0.0]
    seeded = initializers.HeNormal(seed=3)
    assert seeded((4,)).tolist() == seeded((4,)).tolist()
    free = initializers.HeNormal()
    assert free((4,)).tolist() != free((4,)).tolist()
    assert initializers.fans((3, 3, 16, 32)) == (144, 288)


@pytest.mark.parametrize("made", [initializers.HeNormal(seed=3), initializers.Constant(2.0), initializers.RandomUniform(0, 1),
                                  initializers.VarianceScaling(2.0, "fan_out", "uniform"), initializers.Ones(),
                                  initializers.Orthogonal(2.0, seed=1), initializers.Identity(0.5)])  # fmt: skip
def test_initializers_survive_serialisation(made):
    again = initializers.get(initializers.serialize(made))
    assert type(again) is type(made)
    assert vars(again) == vars(made)


def test_an_initializer_of_ones_own():
    layer = built(Dense(2, kernel_initializer=lambda shape, dtype=None: np.full(shape, 3.0, "float32")), 1, 2)
    assert layer.kernel.tolist() == [[3.0, 3.0], [3.0, 3.0]]
    with pytest.raises(ShapeError, match=r"Dense: expected initial values of shape \(2, 2\), received \(1,\)"):
        built(Dense(2, kernel_initializer=lambda shape, dtype=None: np.zeros(1, "float32")), 1, 2)


def threes(shape, dtype=None):
    return np.full(shape, 3.0, "float32")


class Filled(initializers.Initializer):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def values(self, generator, shape):
        return np.full(shape, self.value)


@pytest.mark.parametrize("own", [threes, Filled(3.0)])
def test_an_initializer_of_ones_own_is_saved_by_name(own, tmp_path):
    Sequential([Input((2,)), Dense(2, kernel_initializer=own)]).save(tmp_path / "m")
    with pytest.raises(ValueError, match=r"expected custom_objects with the (function 'threes'|class 'Filled')"):
        load_model(tmp_path / "m")
    again = load_model(tmp_path / "m", {"threes": threes, "Filled": Filled}).layers[0].kernel_initializer
    assert type(again) is type(own)
    assert (again((2,)) == 3.0).all()
    both = tg.layers.Bidirectional(tg.layers.SimpleRNN(2, kernel_initializer=own))
    both(tg.ones((1, 2, 2)))
    assert both.forward_layer.cell.kernel.tolist() == both.backward_layer.cell.kernel.tolist() == [[3.0, 3.0]] * 2


def test_an_initializer_without_a_name_is_not_saved():
    with pytest.raises(ValueError, match="expected a function with a name, received <lambda>"):
        initializers.serialize(lambda shape, dtype=None: np.ones(shape))


def test_initializers_as_keras_writes_them():
    entry = {
        "module": "keras.initializers",
        "class_name": "HeNormal",
        "config": {"seed": None},
        "registered_name": None,
    }
    assert type(initializers.get(entry)) is initializers.HeNormal
    assert initializers.get({"name": "constant", "config": {"value": 2.0}}).value == 2.0


@pytest.mark.parametrize(("entry", "kind", "text"), [
    ({"name": "nope", "config": {}}, ValueError, "Dense 'd': expected initializer to be one of 'constant', "),
    ({"class_name": "HeNorml"}, ValueError, "Hint: did you mean 'he_normal'?"),
    ({"seed": 3}, TypeError, "expected initializer as {'name': ..., 'config': {...}}, received {'seed': 3}"),
    ({"name": "zeros", "config": 3}, TypeError, "expected initializer as {'name': ..., 'config': {...}}"),
])  # fmt: skip
def test_bad_descriptions_of_initializers(entry, kind, text):
    with pytest.raises(kind) as caught:
        Dense(2, kernel_initializer=entry, name="d")
    assert text in str(caught.value)


@pytest.mark.parametrize("dtype", ["float64", "int64"])
def test_initial_values_are_copied_and_cast(dtype):
    mine = np.ones((2, 2), dtype)
    layers = [built(Dense(2, kernel_initializer=lambda shape, dtype=None: mine), 1, 2) for _ in range(2)]
    mine[...] = 7
    layers[0].kernel.assign_(np.zeros((2, 2)))
    assert layers[1].kernel.dtype == "float32"
    assert layers[1].kernel.tolist() == [[1.0, 1.0], [1.0, 1.0]]
    same = np.ones((2, 2), "float32")
    built(Dense(2, kernel_initializer=lambda shape, dtype=None: same), 1, 2).kernel.assign_(np.zeros((2, 2)))
    assert same.all()


@pytest.mark.parametrize(("values", "kind", "text"), [
    (np.full((2, 2), 1e300), ValueError, "Dense: expected initial values in the range of float32, received 1e+300"),
    (np.full((2, 2), "a"), TypeError, "Dense: expected initial values to be numbers, received dtype <U1"),
])  # fmt: skip
def test_bad_initial_values(values, kind, text):
    with pytest.raises(kind) as caught:
        built(Dense(2, kernel_initializer=lambda shape, dtype=None: values), 1, 2)
    assert text in str(caught.value)


@pytest.mark.parametrize("name", initializers.INITIALIZERS)
def test_initial_values_have_the_dtype_asked_for(name):
    assert initializers.get(name)((2, 3)).dtype == "float32"
    assert initializers.get(name)((2, 3), dtype="float64").dtype == "float64"
    with tg.use_dtype("float64"):
        assert initializers.get(name)((2, 3)).dtype == "float64"


# CUDA


@pytest.mark.gpu
def test_to_cuda_and_back():
    block = Block()
    expected = block(tg.ones((2, 3)))
    expected.sum().backward()
    block.to("cuda")
    assert {str(t.device) for t in [*block.parameters(), block.mean, block.first.kernel.grad]} == {"cuda:0"}
    y = block(tg.ones((2, 3), device="cuda"))
    np.testing.assert_allclose(y.detach().to("cpu").numpy(), expected.detach().numpy(), rtol=1e-6)
    saved = block.state_dict()
    block.load_state_dict(saved)
    block.to("cpu")
    np.testing.assert_array_equal(block.state_dict()["first.kernel"], saved["first.kernel"])


@pytest.mark.gpu
def test_a_layer_builds_where_it_is_sent_or_where_its_input_is():
    sent = Dense(2).to("cuda")
    assert str(sent(tg.ones((1, 3), device="cuda")).device) == "cuda:0"
    assert str(built_on_cuda().device) == "cuda:0"
    with pytest.raises(tg.DeviceError, match=r"Dense: _?linear"):
        sent(tg.ones((1, 3)))


def built_on_cuda():
    layer = Dense(2)
    layer(tg.ones((1, 3), device="cuda"))
    return layer


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["glorot_uniform", "he_normal", "random_normal", "ones", "orthogonal"])
def test_initial_values_are_the_same_on_cuda(name):
    tg.seed(5)
    here = initializers.get(name)((6, 7)).numpy()
    tg.seed(5)
    with tg.use_device("cuda"):
        there = initializers.get(name)((6, 7))
    assert str(there.device) == "cuda:0"
    np.testing.assert_allclose(there.to("cpu").numpy(), here, rtol=1e-6)
