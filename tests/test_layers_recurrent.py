"""Recurrent layers beyond their table: PyTorch's numbers, both ways of computing, states between batches, dropout,
cells of one's own, functional models."""

import json

import numpy as np
import pytest
from op_cases import assert_near

import tinygrad_edu as tg
from tinygrad_edu import layers, models, optimizers
from tinygrad_edu.autograd.primitive import primitives
from tinygrad_edu.layers import GRU, LSTM, RNN, Bidirectional, GRUCell, Input, LSTMCell, SimpleRNN, TimeDistributed
from tinygrad_edu.state import Switch

SEQUENCES = (SimpleRNN, LSTM, GRU)
EACH = pytest.mark.parametrize("kind", SEQUENCES)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def states_of(layer, rows, seed=5):
    return [tg.tensor(normal(rows, layer.units, seed=seed + i)) for i in range(len(layer.state_size))]


def total(outputs):
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    return sum((y * tg.tensor(normal(*y.shape, seed=9 + i))).sum() for i, y in enumerate(outputs))


def gradients(layer, total):
    total.backward()
    found = [t.grad.numpy() for t in layer.parameters()]
    for t in layer.parameters():
        t.grad = None
    return found


# PyTorch


def torch_layer(torch, kind, features, units, **options):
    made = {SimpleRNN: torch.nn.RNN, LSTM: torch.nn.LSTM, GRU: torch.nn.GRU}[kind]
    return made(features, units, batch_first=True, **options)


def as_keras(kind, units, weights):
    """Weights of PyTorch (input, state, and a bias of each) in Keras's order."""
    parts = [np.split(w.detach().numpy(), w.shape[0] // units) for w in weights]
    if kind is GRU:
        parts = [[z, r, n] for r, z, n in parts]
    kernel, recurrent, bias, state_bias = (np.concatenate(p) for p in parts)
    return [kernel.T, recurrent.T, np.stack([bias, state_bias]) if kind is GRU else bias + state_bias]


@pytest.mark.parametrize(("batch", "time", "features", "units"), [(2, 6, 3, 4), (9, 31, 20, 37)])
@EACH
def test_values_and_gradients_are_those_of_pytorch(kind, batch, time, features, units):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs = torch_layer(torch, kind, features, units)
    x = normal(batch, time, features)
    ours = kind(units, return_sequences=True, return_state=True)
    ours(x)
    ours.set_weights(
        as_keras(kind, units, [theirs.weight_ih_l0, theirs.weight_hh_l0, theirs.bias_ih_l0, theirs.bias_hh_l0])
    )
    initial = states_of(ours, batch)
    given = tuple(torch.tensor(s.numpy())[None] for s in initial)
    z, last = theirs(torch.tensor(x), given if kind is LSTM else given[0])
    expected = [z, *(s[0] for s in (last if kind is LSTM else [last]))]
    found = ours(x, initial_state=initial)
    for y, wanted in zip(found, expected, strict=True):
        assert_near(y.detach(), wanted.detach().numpy(), 20, kind.__name__)
    sum((y * torch.tensor(normal(*y.shape, seed=9 + i))).sum() for i, y in enumerate(expected)).backward()
    slopes = [theirs.weight_ih_l0.grad, theirs.weight_hh_l0.grad, theirs.bias_ih_l0.grad, theirs.bias_hh_l0.grad]
    wanted = as_keras(kind, units, slopes)
    if kind is not GRU:  # there is one bias instead of two, which have the same gradient each
        wanted[2] = wanted[2] / 2
    for g, expected_g in zip(gradients(ours, total(found)), wanted, strict=True):
        assert_near(g, expected_g, 50, kind.__name__)


@EACH
def test_bidirectional_is_that_of_pytorch(kind):
    torch = pytest.importorskip("torch")
    theirs = torch_layer(torch, kind, 3, 4, bidirectional=True)
    x = normal(2, 6, 3)
    ours = Bidirectional(kind(4, return_sequences=True))
    ours(x)
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    both = [as_keras(kind, 4, [getattr(theirs, name + way) for name in names]) for way in ("", "_reverse")]
    ours.set_weights([*both[0], *both[1]])
    assert_near(ours(x).detach(), theirs(torch.tensor(x))[0].detach().numpy(), 20, kind.__name__)


@EACH
def test_padded_rows_are_as_if_cut_off(kind):
    """PyTorch packs such rows; here each is computed alone, without a mask."""
    layer = kind(4, return_sequences=True, return_state=True)
    x, lengths = normal(3, 5, 2), (5, 2, 3)
    y, *states = layer(x, mask=np.arange(5) < np.array(lengths)[:, None])
    for row, length in enumerate(lengths):
        z, *last = layer(x[row : row + 1, :length])
        assert_near(y.detach().numpy()[row, :length], z.detach().numpy()[0], 20, "outputs")
        for a, b in zip(states, last, strict=True):
            assert_near(a.detach().numpy()[row], b.detach().numpy()[0], 20, "states")


@EACH
def test_residuals_are_kept_only_for_a_gradient(kind, monkeypatch):
    layer, x = kind(4), tg.tensor(normal(2, 6, 3))
    layer(x)
    primitive = primitives[{SimpleRNN: "_simple_rnn", LSTM: "_lstm", GRU: "_gru"}[kind]]
    kept, forward = [], primitive.forward

    def watched(*args, **attributes):
        outputs, residuals = forward(*args, **attributes)
        kept.append(len(residuals))
        return outputs, residuals

    monkeypatch.setattr(primitive, "forward", watched)
    layer(x)
    with tg.no_grad():
        layer(x)
    layer.trainable = False
    layer(x)
    layer(x * tg.ones(1, requires_grad=True))
    count = {SimpleRNN: 1, LSTM: 4, GRU: 3}[kind]
    assert kept == [count, 0, 0, count]


# One operation, or the cell step by step


def by_cell(layer, **options):
    """The same layer as a loop over its cell."""
    names = ("return_sequences", "return_state", "go_backwards", "zero_output_for_mask")
    loop = RNN(layer.cell, **{name: getattr(layer, name) for name in names}, **options)
    loop.built = True
    return loop


MASK = np.array([[True, False, True, True], [False, True, True, False], [False, False, False, False]])


@pytest.mark.parametrize("mask", [None, MASK], ids=["whole", "masked"])
@pytest.mark.parametrize("options", [
    {"return_sequences": True, "return_state": True}, {"go_backwards": True},
    {"return_sequences": True, "dropout": 0.4},
    {"zero_output_for_mask": True, "return_sequences": True, "go_backwards": True}, {"use_bias": False},
], ids=str)  # fmt: skip
@EACH
def test_both_ways_agree(kind, options, mask):
    layer = kind(3, **options)
    x = tg.tensor(normal(3, 4, 2), requires_grad=True)
    layer(x)
    initial = states_of(layer, 3)
    found = []
    for way in (layer, by_cell(layer)):
        tg.seed(4)
        outputs = way(x, initial_state=initial, mask=mask, training=True)
        slopes = gradients(layer, total(outputs))
        outputs = [y.detach().numpy() for y in (outputs if isinstance(outputs, tuple) else (outputs,))]
        found.append([*outputs, *slopes, x.grad.numpy()])
        x.grad = None
    for a, b in zip(*found, strict=True):
        assert_near(a, b, 30, str(options))


def test_which_way_is_taken(monkeypatch):
    calls = []
    step = LSTMCell.step
    monkeypatch.setattr(LSTMCell, "step", lambda self, *args: calls.append(1) or step(self, *args))
    x = normal(2, 3, 2)

    def steps(layer, **options):
        calls.clear()
        layer(x, **options)
        return len(calls)

    assert steps(LSTM(2)) == 0
    assert steps(LSTM(2, dropout=0.5), training=True) == 0
    assert steps(LSTM(2, activation="relu")) == 3
    assert steps(LSTM(2, recurrent_activation="hard_tanh" if "hard_tanh" in layers.ACTIVATIONS else "relu")) == 3
    dropping = LSTM(2, recurrent_dropout=0.5)
    assert steps(dropping, training=False) == 0
    assert steps(dropping, training=True) == 3
    dropping.recurrent_dropout = 0.0
    assert steps(dropping, training=True) == 0


# Dropout


def linear_rnn(kernel, recurrent, **options):
    layer = SimpleRNN(len(recurrent), activation=None, use_bias=False, return_sequences=True, **options)
    layer(np.zeros((1, 1, len(kernel)), "float32"))
    layer.set_weights([kernel, recurrent])
    return layer


def test_dropout_of_the_input_is_the_same_at_all_steps():
    """The outputs of a layer that passes its input on are the factors."""
    layer = linear_rnn(np.eye(50), np.zeros((50, 50)), dropout=0.3)
    x = tg.ones((40, 4, 50))
    factors = layer(x, training=True).detach().numpy()
    assert (factors == factors[:, :1]).all()
    np.testing.assert_allclose(np.unique(factors), [0, 1 / 0.7], rtol=1e-6)
    assert (factors[:, 0] == 0).mean() == pytest.approx(0.3, abs=5 * np.sqrt(0.21 / 2000))
    assert (layer(x, training=True).detach().numpy() != factors).any()
    assert (layer(x, training=False).detach().numpy() == 1).all()


def test_dropout_of_the_state_is_the_same_at_all_steps():
    layer = linear_rnn(np.zeros((1, 60)), np.eye(60), recurrent_dropout=0.2)
    y = layer(tg.zeros((30, 3, 1)), initial_state=tg.ones((30, 60)), training=True).detach().numpy()
    np.testing.assert_allclose(y, (y[:, :1] > 0) * (1.25 ** np.arange(1, 4))[:, None] * np.ones(60), rtol=1e-5)
    assert (y[:, 0] == 0).mean() == pytest.approx(0.2, abs=5 * np.sqrt(0.16 / 1800))


@pytest.mark.parametrize("kind", [LSTMCell, GRUCell, lambda units, **rates: GRUCell(units, reset_after=False, **rates)])
@pytest.mark.parametrize("rates", [{"dropout": 0.5}, {"recurrent_dropout": 0.5},
                                   {"dropout": 0.4, "recurrent_dropout": 0.3}], ids=str)  # fmt: skip
def test_gates_have_draws_of_their_own_with_recurrent_dropout(kind, rates):
    cell = kind(3, **rates)
    x, h, c = (normal(4, n, seed=n + i) for i, n in enumerate((5, 3, 3)))
    states = [tg.tensor(a) for a in (h, c)[: 1 + isinstance(cell, LSTMCell)]]
    cell(x, states)
    if cell.bias is not None:
        cell.bias.assign_(normal(*cell.bias.shape, seed=7))
    with Switch("training", True):
        tg.seed(2)
        factors = cell.dropout_factors(4)
    count = cell.gates if "recurrent_dropout" in rates else 1
    for factor, name in zip(factors, ("dropout", "recurrent_dropout"), strict=True):
        assert (factor is None) == (name not in rates)
        assert factor is None or len({a.tobytes() for a in factor}) == count
    tg.seed(2)
    found, _ = cell(x, states, training=True)
    expected = by_formula(cell, x, h, c, *factors)
    assert_near(found.detach(), expected, 20, str(rates))


def by_formula(cell, x, h, c, for_x, for_h):
    """One step, gate by gate."""
    kernels, recurrents = (
        np.split(w.detach().numpy(), cell.gates, axis=1) for w in (cell.kernel, cell.recurrent_kernel)
    )
    bias = cell.bias.detach().numpy()
    biases = np.split(bias if bias.ndim == 1 else bias[0], cell.gates)
    state_biases = np.split(bias[1], cell.gates) if bias.ndim == 2 else [0.0] * cell.gates
    for_x, for_h = ([1.0] * cell.gates if f is None else list(f) * (cell.gates // len(f)) for f in (for_x, for_h))
    a = [(x * f) @ k + b for f, k, b in zip(for_x, kernels, biases, strict=True)]
    b = [(h * f) @ k + b for f, k, b in zip(for_h, recurrents, state_biases, strict=True)]

    def sigmoid(v):
        return 1 / (1 + np.exp(-v))

    if isinstance(cell, LSTMCell):
        i, f, o = (sigmoid(a[n] + b[n]) for n in (0, 1, 3))
        return o * np.tanh(f * c + i * np.tanh(a[2] + b[2]))
    z, r = sigmoid(a[0] + b[0]), sigmoid(a[1] + b[1])
    inner = r * b[2] if cell.reset_after else (r * h * for_h[2]) @ recurrents[2]
    return z * h + (1 - z) * np.tanh(a[2] + inner)


def test_a_stack_of_cells_draws_once_for_all_steps():
    cell = layers.SimpleRNNCell(20, activation=None, use_bias=False, dropout=0.5)
    rnn = RNN([LSTMCell(4), cell], return_sequences=True)
    rnn(normal(1, 1, 2))
    cell.kernel.assign_(np.ones((4, 20)) / 4)
    cell.recurrent_kernel.assign_(np.zeros((20, 20)))
    first = RNN(rnn.cell.cells[0], return_sequences=True)
    x = normal(6, 3, 2)
    with tg.no_grad():
        y, inner = rnn(x, training=True).numpy()[..., 0], first(x).numpy()
    one = [[np.isclose(y[n], (inner[n] * factors).sum(axis=-1) / 4 * 2, atol=1e-6).all() for factors in BITS]
           for n in range(6)]  # fmt: skip
    assert np.array(one).any(axis=1).all(), "each row has one set of factors for all steps"


BITS = np.array([[(n >> bit) & 1 for bit in range(4)] for n in range(16)])


# States from batch to batch


@EACH
@pytest.mark.parametrize("options", [{}, {"activation": "softsign"}], ids=["whole", "by the cell"])
def test_stateful_layers_go_on_where_they_were(kind, options):
    x = normal(3, 6, 2)
    whole = kind(4, return_sequences=True, **options)
    expected = whole(x).detach().numpy()
    layer = kind(4, return_sequences=True, stateful=True, **options)
    layer(x[:, :1])
    layer.set_weights(whole.get_weights())
    for _ in range(2):
        layer.reset_state()
        found = [layer(part).detach().numpy() for part in np.split(x, 3, axis=1)]
        assert_near(np.concatenate(found, axis=1), expected, 20, "outputs")
    assert len(layer.get_weights()) == 3
    assert not any("states" in name for name in layer.state_dict())
    assert [name for name, _ in layer.named_buffers()] == [f"states.{i}" for i in range(len(layer.state_size))]
    assert layer.count_params() == whole.count_params()
    layer.reset_states()
    assert all((t.numpy() == 0).all() for t in layer.states)


def test_a_stateful_layer_begins_with_other_states_if_given():
    layer = GRU(2, stateful=True)
    x, h = normal(2, 3, 2), tg.tensor(normal(2, 2, seed=1))
    y = layer(x, initial_state=h)
    assert_near(y.detach(), GRU_like(layer)(x, initial_state=h).detach().numpy(), 10, "output")
    np.testing.assert_array_equal(layer.states[0].numpy(), y.detach().numpy())


def GRU_like(layer):
    other = GRU(2)
    other(normal(2, 3, 2))
    other.set_weights(layer.get_weights())
    return other


def test_a_checkpoint_does_not_repeat_a_stateful_layer():
    layer = LSTM(3, stateful=True)
    layer(normal(2, 4, 3))
    y = tg.checkpoint(layer, normal(2, 4, 3))
    with pytest.raises(tg.GradientError, match="LSTM: expected no checkpoint around a stateful layer"):
        y.sum().backward()


def test_the_gradient_of_a_stateful_layer_ends_at_its_batch():
    layer = LSTM(3, stateful=True)
    x = normal(2, 4, 2)
    layer(x)
    before = [t.detach() * 1.0 for t in layer.states]
    y = layer(x)
    found = gradients(layer, y.sum())  # the states were overwritten meanwhile
    again = LSTM(3)
    again(x)
    again.set_weights(layer.get_weights())
    for a, b in zip(found, gradients(again, again(x, initial_state=before).sum()), strict=True):
        assert_near(a, b, 20, "gradient")


def test_building_leaves_states_as_they_are():
    layer = LSTM(3, stateful=True)
    symbol = Input(batch_shape=(2, None, 4))
    layer(symbol)
    assert all((t.numpy() == 0).all() for t in layer.states)
    layer(normal(2, 5, 4))
    before = [t.numpy().copy() for t in layer.states]
    assert layer(symbol).shape == (2, 3)
    assert layer.compute_output_shape((2, 7, 4)) == (2, 3)
    for t, data in zip(layer.states, before, strict=True):
        np.testing.assert_array_equal(t.numpy(), data)


@pytest.mark.parametrize("make", [
    lambda: LSTM(4, stateful=True), lambda: Bidirectional(GRU(4, stateful=True)),
    lambda: RNN([GRUCell(3), LSTMCell(4)], stateful=True),
])  # fmt: skip
def test_stateful_models_fit_predict_and_load(make, tmp_path):
    model = models.Sequential([Input(batch_shape=(2, 3, 1)), make(), layers.Dense(1)])
    model.compile("adam", "mse")
    x, y = normal(8, 3, 1), normal(8, 1)
    model.fit(x, y, batch_size=2, epochs=2, shuffle=False, verbose=0)
    recurrent = model.layers[0]
    assert any((t.numpy() != 0).any() for _, t in recurrent.named_buffers())
    recurrent.reset_state()
    whole = model.predict(x, batch_size=2)
    recurrent.reset_state()
    loss = model.evaluate(x, y, batch_size=2, verbose=0)
    recurrent.reset_state()
    model.compile("adam", "mse")  # so that it is made ready again, which leaves the states alone
    assert model.evaluate(x, y, batch_size=2, verbose=0) == loss
    recurrent.reset_state()
    np.testing.assert_array_equal(np.concatenate([model.predict(part, batch_size=2) for part in np.split(x, 2)]), whole)
    model.save(tmp_path / "m.safetensors")
    loaded = models.load_model(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(loaded.predict(x, batch_size=2), whole)
    with pytest.raises(ValueError, match="expected batches of 2 rows, for it is stateful, received 3"):
        model(x[:3])


def test_a_stateful_layer_under_jit():
    layer = LSTM(3, stateful=True)
    x = tg.tensor(normal(2, 4, 2))
    layer(x)
    first = layer.get_weights()
    results = []
    for wrap in (lambda f: f, tg.jit):
        layer.set_weights(first)
        layer.reset_state()
        optimizer = optimizers.SGD(0.1)
        optimizer.build(layer.parameters())

        @wrap
        def step(x):
            loss = (layer(x, training=True) ** 2).sum()
            optimizer.minimize(loss)  # noqa: B023
            return loss

        losses = np.float32([step(x * (1.0 + i)).item() for i in range(4)])
        results.append([losses, *layer.get_weights(), *(t.numpy().copy() for t in layer.states)])
    for a, b in zip(*results, strict=True):
        assert_near(a, b, 100, "step")


def test_a_stateful_layer_needs_a_batch_size():
    with pytest.raises(ValueError, match=r"LSTM: expected a batch size, for it is stateful, received none. Hint: write "
                                         r"Input\(batch_shape="):  # fmt: skip
        LSTM(3, stateful=True)(Input((None, 2)))
    model = models.Sequential([LSTM(3, stateful=True, batch_input_shape=(4, None, 2))])
    assert model(normal(4, 5, 2)).shape == (4, 3)
    both = models.Sequential([Bidirectional(GRU(3, stateful=True), batch_input_shape=(4, None, 2))])
    assert both(normal(4, 5, 2)).shape == (4, 6)


# Masks


class Masked(layers.Layer):
    """Gives its output a mask: steps whose first feature is not 0."""

    def call(self, x):
        return x * 1.0

    def compute_mask(self, x, mask=None):
        return x[:, :, 0] != 0.0


def test_masks_come_from_the_layer_before_and_go_on_with_sequences():
    x = normal(2, 4, 3)
    x[0, 2:] = x[1, 0] = 0.0
    mask = x[:, :, 0] != 0
    for kind in SEQUENCES:
        layer = kind(3)
        model = models.Sequential([Masked(), layer])
        assert_near(model(x).detach(), layer(x, mask=mask).detach().numpy(), 1, "output")
    given = Masked()(tg.tensor(x))

    def masks(layer):
        outputs = layer(given)
        return [getattr(y, "mask", None) for y in (outputs if isinstance(outputs, tuple) else (outputs,))]

    np.testing.assert_array_equal(masks(LSTM(2, return_sequences=True))[0].numpy(), mask)
    assert masks(LSTM(2)) == [None]
    assert [m is not None for m in masks(LSTM(2, return_sequences=True, return_state=True))] == [True, False, False]
    assert [m is not None for m in masks(Bidirectional(GRU(2, return_sequences=True)))] == [True]
    both = Bidirectional(GRU(2, return_sequences=True, return_state=True), merge_mode=None)
    assert [m is not None for m in masks(both)] == [True, True, False, False]
    assert masks(Bidirectional(GRU(2))) == [None]
    assert masks(TimeDistributed(layers.Dense(2)))[0] is not None


def test_masks_that_do_not_fit():
    for layer in (LSTM(2), RNN(LSTMCell(2))):
        with pytest.raises(tg.ShapeError, match=r"expected a mask of shape \(2, 3\), received \(2, 4\)"):
            layer(normal(2, 3, 2), mask=np.ones((2, 4), bool))


# Cells of one's own


class Average(layers.Layer):
    """A cell with two states of different lengths and an output of another one."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = units
        self.state_size = [units, 1]
        self.output_size = units + 1

    def build(self, input_shape):
        self.kernel = self.add_weight((input_shape[-1], self.units))
        self.built = True

    def get_initial_state(self, batch_size):
        return [tg.zeros((batch_size, self.units)), tg.ones((batch_size, 1))]

    def call(self, x, states):
        total, count = states
        total = total + x @ self.kernel
        return tg.concatenate([total / count, count], axis=1), [total, count + 1.0]


def test_a_cell_of_ones_own(tmp_path):
    x = normal(2, 5, 3)
    rnn = RNN(Average(2), return_sequences=True, return_state=True)
    y, sums, count = rnn(x)
    kernel = rnn.cell.kernel.detach().numpy()
    expected = np.cumsum(x @ kernel, axis=1) / np.arange(1, 6)[:, None]
    assert_near(y.detach().numpy()[..., :2], expected, 20, "averages")
    np.testing.assert_array_equal(y.detach().numpy()[..., 2], np.tile(np.arange(1.0, 6), (2, 1)))
    assert_near(sums.detach(), (x @ kernel).sum(axis=1), 20, "sums")
    assert count.tolist() == [[6.0], [6.0]]
    stacked = RNN([Average(2), LSTMCell(3)])
    assert stacked(x).shape == (2, 3)
    assert stacked.cell.cells[1].kernel.shape == (3, 12)
    inputs = Input((5, 3))
    model = models.Model(inputs, layers.Dense(1)(RNN([Average(2), GRUCell(3)])(inputs)))
    model.save(tmp_path / "m.safetensors")
    loaded = models.load_model(tmp_path / "m.safetensors", custom_objects={"Average": Average})
    np.testing.assert_array_equal(loaded(x).detach().numpy(), model(x).detach().numpy())


class Bare(layers.Layer):
    """A cell with one state, given back as a tensor; over images."""

    state_size = 2

    def call(self, x, states):
        new = states[0] + x.mean(axis=(1, 2))
        return new, new


def test_a_cell_that_says_less():
    x = normal(2, 3, 4, 4, 2)
    y, last = RNN(Bare(), return_state=True)(x)
    assert_near(y, x.mean(axis=(2, 3)).sum(axis=1), 20, "output")
    assert y.tolist() == last.tolist()
    masked = RNN(Bare())(x, mask=np.array([[True, False, True], [False, True, True]]))
    assert_near(masked.numpy()[0], x.mean(axis=(2, 3))[0, ::2].sum(axis=0), 20, "masked")


def test_what_is_no_cell():
    class Stateless(layers.Layer):
        pass

    for wrong, text in ((LSTMCell, "Hint: write LSTMCell"), (Stateless(), "a Stateless without state_size"), (3, "3")):
        with pytest.raises(TypeError, match="RNN: expected a cell, which is a layer with call.*" + text):
            RNN(wrong)
    with pytest.raises(TypeError, match="StackedRNNCells: expected a list of cells"):
        layers.StackedRNNCells([])
    with pytest.raises(TypeError, match="StackedRNNCells: expected a cell"):
        RNN([LSTMCell(2), layers.Dense(2)])


# Arguments


@EACH
def test_states_of_other_shapes(kind):
    """None is broadcast, also where the cell computes step by step."""
    x = tg.tensor(normal(4, 2, 2))
    for options in ({}, {"activation": "hard_sigmoid"}):
        layer = kind(3, **options)
        for shape in ((1, 3), (4, 1), (3,)):
            wrong = [tg.zeros(shape) for _ in layer.state_size]
            with pytest.raises(
                tg.ShapeError, match=rf"expected initial_state of shape \(4, 3\), received \({shape[0]}"
            ):
                layer(x, initial_state=wrong)
            with pytest.raises(tg.ShapeError, match=r"Cell: expected states of shape \(4, 3\), received"):
                layer.cell(x[:, 0], wrong)


ROWS = r"it was given, \[\(4, 3\)\], received "
RETURNED = {
    "too many states": (lambda x, states: (x, [x, x]), tg.ShapeError, ROWS + r"\[\(4, 3\), \(4, 3\)\]"),
    "too few states": (lambda x, states: (x, []), tg.ShapeError, ROWS + r"\[\]"),
    "another shape": (lambda x, states: (x, [x[:1]]), tg.ShapeError, ROWS + r"\[\(1, 3\)\]"),
    "a number": (lambda x, states: (x, [0.0]), tg.ShapeError, ROWS + r"\['float'\]"),
    "the output alone": (lambda x, states: x, TypeError, r"expected \(output, states\), .*, received a Tensor"),
    "three": (lambda x, states: (x, x, x), TypeError, r"received \(Tensor, Tensor, Tensor\)"),
    "another order": (lambda x, states: ([x], x), TypeError, r"received \(list, Tensor\)"),
}  # fmt: skip


def test_a_layer_after_one_without_sequences_says_what_is_missing():
    for second in (LSTM(4), TimeDistributed(layers.Dense(2))):
        with pytest.raises(tg.ShapeError, match="return_sequences=True"):
            models.Sequential([Input((5, 3)), LSTM(4), second])
    with pytest.raises(tg.ShapeError, match=r"LSTM .*Hint: add a time axis: x.*return_sequences=True"):
        models.Sequential([LSTM(4), LSTM(4)])(normal(2, 5, 3))


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", RETURNED)
def test_what_a_cell_may_not_return(name, masked, stacked):
    step, kind, text = RETURNED[name]

    class Cell(layers.Layer):
        state_size = 3

        def call(self, x, states):
            return step(x, states)

    cell = layers.StackedRNNCells([Cell()]) if stacked else Cell()
    with pytest.raises(kind, match=f"{'StackedRNNCells' if stacked else 'RNN'}, what its Cell returns: .*{text}"):
        RNN(cell)(tg.tensor(normal(4, 2, 3)), mask=np.ones((4, 2), bool) if masked else None)


def test_a_stack_wants_the_states_of_each_cell():
    stack = layers.StackedRNNCells([LSTMCell(3), GRUCell(2)])
    states = stack.get_initial_state(4)
    for wrong, found in ((states[:1], "1"), ([*states[0], states[1]], "3"), (tg.zeros((4, 3)), "a Tensor")):
        with pytest.raises(
            ValueError, match=f"Stacked.*: expected a list of 2 states, those of each cell, received {found}"
        ):
            stack(tg.zeros((4, 3)), wrong)


@EACH
def test_states_that_do_not_fit(kind):
    layer = kind(3)
    with pytest.raises(ValueError, match=f"{kind.__name__}: expected initial_state of . tensors, of 3"):
        layer(normal(2, 4, 2), initial_state=[np.zeros((2, 3), "float32")] * 3)
    with pytest.raises(tg.ShapeError, match=r"expected initial_.* of shape \(2, 3\), received \(2, 4\)"):
        layer(normal(2, 4, 2), initial_state=[np.zeros((2, 4), "float32")] * len(layer.state_size))
    with pytest.raises(ValueError, match=r"Cell: expected . states \(batch, 3\), received 4"):
        layer.cell(normal(2, 2), [np.zeros((2, 3), "float32")] * 4)
    arrays = [normal(2, 3, seed=i) for i in range(len(layer.state_size))]
    found = layer(normal(2, 4, 2), initial_state=arrays if len(arrays) > 1 else arrays[0])
    assert_near(
        found.detach(), layer(normal(2, 4, 2), initial_state=[tg.tensor(a) for a in arrays]).detach().numpy(), 1, ""
    )


@pytest.mark.parametrize(("make", "kind", "text"), [
    (lambda: LSTM(0), ValueError, "LSTMCell: expected units to be an integer of at least 1, received 0"),
    (lambda: GRU(2, dropout=1.0), ValueError, r"GRUCell: expected dropout to be a number in \[0, 1\), received 1.0"),
    (lambda: GRU(2, recurrent_dropout=-1), ValueError, "expected recurrent_dropout to be a number"),
    (lambda: LSTM(2, use_cudnn="yes"), ValueError, "LSTM: expected use_cudnn to be 'auto', True or False"),
    (lambda: LSTM(2, recurrent_activation="sigmod"), ValueError, "did you mean 'sigmoid'"),
    (lambda: LSTM(2, return_sequence=True), TypeError, "did you mean 'return_sequences'"),
    (lambda: Bidirectional(layers.Dense(2)), TypeError, "Bidirectional: expected a recurrent layer, such as"),
    (lambda: Bidirectional(LSTM), TypeError, r"Hint: write LSTM\("),
    (lambda: Bidirectional(LSTM(2), "add"), ValueError, "Bidirectional: expected merge_mode to be one of 'ave'"),
    (lambda: Bidirectional(LSTM(2, go_backwards=True)), ValueError, "expected one layer with go_backwards"),
    (lambda: Bidirectional(LSTM(2), backward_layer=LSTM(2)), ValueError, "received go_backwards=False in both"),
    (lambda: Bidirectional(LSTM(2), backward_layer=LSTM(2, return_state=True, go_backwards=True)), ValueError,
     "expected two layers with the same return_state, received False and True"),
    (lambda: TimeDistributed(layers.Dense), TypeError, r"TimeDistributed: expected a layer.*Hint: write Dense\("),
])  # fmt: skip
def test_bad_arguments(make, kind, text):
    with pytest.raises(kind, match=text):
        make()


def test_bidirectional_wants_new_layers_and_copies_them():
    layer = LSTM(2)
    both = Bidirectional(layer)
    both(normal(1, 2, 3))
    assert not layer.built
    assert not np.array_equal(both.get_weights()[0], both.get_weights()[3])
    layer(normal(1, 2, 3))
    with pytest.raises(ValueError, match="Bidirectional: expected a layer without weights yet"):
        Bidirectional(layer)
    with pytest.raises(ValueError, match="expected initial_state with the states of the first layer and as many"):
        both(normal(1, 2, 3), initial_state=[tg.zeros((1, 2))] * 3)


def test_initial_weights():
    layer = LSTM(5)
    layer(normal(1, 2, 3))
    kernel, u, b = layer.get_weights()
    np.testing.assert_allclose(u @ u.T, np.eye(5), atol=1e-6)
    assert b.tolist() == [0.0] * 5 + [1.0] * 5 + [0.0] * 10
    limit = np.sqrt(6 / (3 + 20))
    assert 0.8 * limit < abs(kernel).max() <= limit
    names = [name for name, _ in layer.named_parameters()]
    assert names == ["cell.kernel", "cell.recurrent_kernel", "cell.bias"]
    both = Bidirectional(GRU(2))
    both(normal(1, 2, 3))
    first = ["kernel", "recurrent_kernel", "bias"]
    expected = [f"{way}_layer.cell.{name}" for way in ("forward", "backward") for name in first]
    assert [name for name, _ in both.named_parameters()] == expected
    started = LSTM(2, bias_initializer="ones", unit_forget_bias=False, recurrent_initializer="identity")
    started(normal(1, 2, 3))
    assert started.cell.bias.tolist() == [1.0] * 8
    assert started.get_weights()[1][:, :2].tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_regularizers_and_frozen_layers():
    layer = GRU(2, kernel_regularizer="l2", recurrent_regularizer="l1", trainable=False)
    layer(normal(1, 2, 3))
    assert layer.losses == []
    layer.trainable = True
    kernel, recurrent = layer.cell.kernel.detach().numpy(), layer.cell.recurrent_kernel.detach().numpy()
    expected = [0.01 * (kernel**2).sum(), 0.01 * abs(recurrent).sum()]
    assert [t.item() for t in layer.losses] == pytest.approx(expected, rel=1e-5)
    assert len(layer.parameters()) == 3


@EACH
@pytest.mark.parametrize("around", [lambda layer: layer, Bidirectional], ids=["alone", "Bidirectional"])
def test_arguments_of_weights_may_be_set_before_they_are_made(kind, around):
    layer = kind(3)
    for weight in ("kernel", "recurrent", "bias"):
        setattr(layer, f"{weight}_initializer", tg.initializers.Constant(2.0))
        setattr(layer, f"{weight}_regularizer", tg.regularizers.L2(0.5))
    assert layer.get_config()["recurrent_initializer"] == layer.cell.get_config()["recurrent_initializer"]
    assert layer.get_config()["bias_regularizer"] == layer.cell.get_config()["bias_regularizer"]
    outer = around(layer)
    outer(normal(2, 4, 2))
    cells = [outer.cell] if outer is layer else [outer.forward_layer.cell, outer.backward_layer.cell]
    for cell in cells:
        kernel, recurrent, bias = (w.detach().numpy() for w in cell.parameters())
        assert kernel.min() == kernel.max() == recurrent.min() == recurrent.max() == bias[..., 0].min() == 2.0
    squares = [(w.detach().numpy() ** 2).sum() for w in outer.parameters()]
    assert len(outer.losses) == len(squares) == 3 * len(cells)
    assert sum(outer.losses).item() == pytest.approx(0.5 * sum(squares))


@EACH
def test_arguments_survive(kind):
    layer = kind(3, activation="relu", dropout=0.25, recurrent_dropout=0.5, recurrent_initializer="he_normal",
                 bias_regularizer="l2", return_state=True, zero_output_for_mask=True, go_backwards=True)  # fmt: skip
    config = json.loads(json.dumps(layer.get_config()))
    again = kind.from_config(config)
    assert again.get_config() == layer.get_config()
    assert (again.dropout, again.recurrent_dropout, again.cell.units) == (0.25, 0.5, 3)
    assert type(again.cell.recurrent_initializer).__name__ == "HeNormal"


def softsign(x):
    return x / (1.0 + abs(x))


def test_a_function_of_ones_own_is_saved_by_name(tmp_path):
    inputs = Input((4, 3))
    model = models.Model(inputs, Bidirectional(LSTM(2, activation=softsign))(inputs))
    model.save(tmp_path / "m.safetensors")
    loaded = models.load_model(tmp_path / "m.safetensors", custom_objects={"softsign": softsign})
    x = normal(2, 4, 3)
    np.testing.assert_array_equal(loaded(x).detach().numpy(), model(x).detach().numpy())


# Models


def test_an_encoder_and_a_decoder(tmp_path):
    """The decoder begins with the states in which the encoder ended."""
    source, target = Input((None, 3)), Input((None, 2))
    _, h, c = LSTM(4, return_state=True)(source)
    y = LSTM(4, return_sequences=True)(target, initial_state=[h, c])
    assert y.shape == (None, None, 4)
    model = models.Model([source, target], TimeDistributed(layers.Dense(1))(y))
    x, z, wanted = normal(8, 5, 3), normal(8, 4, 2), normal(8, 4, 1)
    encoder, decoder, head = model.layers[-3:]
    _, *states = encoder(x)
    expected = head(decoder(z, initial_state=states)).detach().numpy()
    assert_near(model([x, z]).detach(), expected, 1, "output")
    model.compile(optimizers.Adam(0.01), "mse")
    history = model.fit([x, z], wanted, epochs=30, verbose=0).history["loss"]
    assert history[-1] < 0.7 * history[0]
    model.save(tmp_path / "m.safetensors")
    loaded = models.load_model(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(loaded([x, z]).detach().numpy(), model([x, z]).detach().numpy())


def test_the_encoder_learns_through_the_states():
    encoder, decoder = LSTM(3, return_state=True), Bidirectional(GRU(3))
    source = tg.tensor(normal(2, 4, 2))
    _, h, c = encoder(source)
    slopes = gradients(encoder, decoder(normal(2, 3, 2), initial_state=[h, c]).sum())
    assert all((g != 0).any() for g in slopes)


def test_cells_on_symbols():
    x, h, c = Input((3,)), Input((4,)), Input((4,))
    y, states = LSTMCell(4)(x, [h, c])
    assert (y.shape, [s.shape for s in states]) == ((None, 4), [(None, 4), (None, 4)])
    model = models.Model([x, h, c], [y, *states])
    arrays = normal(2, 3), normal(2, 4, seed=1), normal(2, 4, seed=2)
    found = model(list(arrays))
    expected, _ = model.layers[-1](arrays[0], [tg.tensor(a) for a in arrays[1:]])
    assert_near(found[0].detach(), expected.detach().numpy(), 1, "output")


@pytest.mark.parametrize("make", [
    lambda: LSTM(4), lambda: GRU(4, dropout=0.3, recurrent_dropout=0.2), lambda: RNN([GRUCell(3), LSTMCell(4)]),
    lambda: Bidirectional(SimpleRNN(4)),
])  # fmt: skip
def test_training_under_jit_equals_eager(make):
    x, y = tg.tensor(normal(4, 5, 3)), tg.tensor(normal(4, 1))
    model = models.Sequential([Input((5, 3)), make(), layers.Dense(1)])
    first = model.get_weights()
    results = []
    for wrap in (lambda f: f, tg.jit):
        model.set_weights(first)
        optimizer = optimizers.Adam(0.01)
        optimizer.build(model.parameters())
        tg.seed(2)

        @wrap
        def step(x, y):
            loss = ((model(x, training=True) - y) ** 2).mean()
            optimizer.minimize(loss)  # noqa: B023
            return loss

        losses = np.float32([step(x, y).item() for _ in range(6)])
        results.append([losses, *model.get_weights()])
    for a, b in zip(*results, strict=True):
        assert_near(a, b, 300, "step")


def test_a_rate_that_changes_is_seen_under_jit():
    layer = linear_rnn(np.eye(3), np.zeros((3, 3)))
    step = tg.jit(lambda x: layer(x, training=True))
    x = tg.ones((20, 2, 3))
    assert (step(x).detach().numpy() == 1).all()
    layer.dropout = 0.5
    assert (step(x).detach().numpy() == 0).any()


def test_timedistributed_calls_its_layer_once_for_all_steps():
    calls = []

    class Count(layers.Layer):
        def call(self, x):
            calls.append(x.shape)
            return x * 2.0, x + 1.0

    a, b = TimeDistributed(Count())(tg.ones((2, 3, 4)))
    assert (calls, a.shape, b.shape) == ([(6, 4)], (2, 3, 4), (2, 3, 4))
    inner = models.Sequential([layers.Dense(5), layers.Dropout(0.5)])
    layer = TimeDistributed(inner)
    y = layer(tg.ones((2, 3, 4)), training=True)
    assert y.shape == (2, 3, 5)
    assert (y.detach().numpy()[0, 0] != y.detach().numpy()[0, 1]).any()
    assert TimeDistributed(layers.Dense(2))(Input((None, 4))).shape == (None, None, 2)
    with pytest.raises(tg.ShapeError, match=r"TimeDistributed: expected a mask of shape \(2, 3, 4\), received \(2, 4"):
        TimeDistributed(LSTM(2))(tg.ones((2, 3, 4, 2)), mask=np.ones((2, 4, 4), bool))


@pytest.mark.gpu
def test_states_move_with_the_layer():
    layer = LSTM(2, stateful=True)
    x = normal(2, 3, 2)
    layer(x)
    layer.to("cuda")
    y = layer(tg.tensor(x, device="cuda"))
    assert {str(t.device) for t in [y, *layer.states, *layer.parameters()]} == {"cuda:0"}
