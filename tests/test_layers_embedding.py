"""Embedding: PyTorch's numbers, repeated ids, what counts as an id, masks, given tables, training."""

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu import layers, models
from tinygrad_edu.errors import ShapeError

TABLE = np.arange(8, dtype="float32").reshape(4, 2)


@pytest.mark.parametrize("width", [3, 32])
def test_values_and_gradients_are_those_of_torch(width):
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    table, factors = random.normal(size=(7, width)), random.normal(size=(5, 11, width))
    ids = random.integers(0, 6, (5, 11))  # 6 never comes, others often
    layer = layers.Embedding(7, width, weights=table)
    reference = torch.nn.Embedding(7, width, _weight=torch.tensor(table, dtype=torch.float32))
    y, expected = layer(ids), reference(torch.tensor(ids))
    np.testing.assert_array_equal(y.detach().numpy(), expected.detach().numpy())
    (y * tg.tensor(factors, dtype="float32")).sum().backward()
    (expected * torch.tensor(factors, dtype=torch.float32)).sum().backward()
    np.testing.assert_allclose(layer.embeddings.grad.numpy(), reference.weight.grad.numpy(), rtol=1e-5, atol=1e-5)


def test_long_rows_at_repeated_and_negative_indices_are_added():
    values = np.random.default_rng(1).normal(size=(2, 3, 4, 16))
    ids = np.array([[0, -1, 2], [2, 2, -5]])
    expected = np.zeros((5, 4, 16))
    for row, value in zip(ids.ravel(), values.reshape(6, 4, 16), strict=True):
        expected[row] += value
    found = tg.scatter_add(tg.zeros((5, 4, 16), dtype="float64"), ids, tg.tensor(values))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-14)
    step = tg.jit(lambda ids: tg.scatter_add(tg.zeros((5, 16)), ids, tg.ones((2, 16))))
    assert step(tg.tensor([1, 1]))[1, 0].item() == 2.0
    with pytest.raises(IndexError):
        step(tg.tensor([1, 5]))
    empty = tg.scatter_add(tg.ones((5, 16)), np.zeros((0,), int), tg.zeros((0, 16)))
    np.testing.assert_array_equal(empty.numpy(), np.ones((5, 16)))


def test_float_ids_that_are_whole_are_ids():
    layer = layers.Embedding(4, 2, weights=TABLE)
    assert layer(tg.tensor([[3.0, 0.0]])).tolist() == [[[6.0, 7.0], [0.0, 1.0]]]
    with pytest.raises(ValueError, match=r"Embedding: expected ids that are whole, received 1\.5"):
        layer(tg.tensor([[1.5]]))
    step = tg.jit(lambda x: layer(x).detach())
    assert step(tg.tensor([3.0])).tolist() == [[6.0, 7.0]]
    with pytest.raises(ValueError, match="ids that are whole"):
        step(tg.tensor([0.5]))


def test_the_initial_table_is_uniform():
    tg.seed(0)
    layer = layers.Embedding(200, 100)
    layer([[0]])
    values = layer.embeddings.detach().numpy()
    assert abs(values).max() <= 0.05
    assert abs(values).max() > 0.0499
    assert values.std() == pytest.approx(0.1 / np.sqrt(12), rel=0.02)


def test_padding_is_masked():
    y = layers.Embedding(4, 2, mask_zero=True)([[3, 0, 1, 0]])
    assert y.mask.tolist() == [[True, False, True, False]]
    assert not hasattr(layers.Embedding(4, 2)([[3, 0]]), "mask")


def test_its_own_input_dim_is_no_shape():
    layer = layers.Embedding(4, 2)
    assert layer.input_shape is None
    assert layer.get_config()["input_dim"] == 4
    assert layers.Embedding.from_config(layer.get_config()).input_dim == 4
    assert layers.Embedding(4, 2, input_shape=(3,)).input_shape == (3,)


def test_given_tables():
    assert layers.Embedding(4, 2, weights=[TABLE]).embeddings.tolist() == TABLE.tolist()
    assert layers.Embedding(4, 2, weights=TABLE.tolist()).embeddings.tolist() == TABLE.tolist()
    with pytest.raises(ShapeError, match=r"embeddings of shape \(2, 2\) instead of \(4, 2\)"):
        layers.Embedding(4, 2, weights=TABLE[:2])


@pytest.mark.parametrize(("config", "kind"), [((0, 2), ValueError), ((2.5, 2), TypeError), ((4, -1), ValueError)])
def test_sizes(config, kind):
    with pytest.raises(kind, match=r"Embedding: expected .*put_dim to be an integer of at least 1"):
        layers.Embedding(*config)


def test_a_model_learns_from_floats_and_is_saved(tmp_path):
    tg.seed(0)
    model = models.Sequential(
        [layers.Input((2,)), layers.Embedding(4, 3), layers.Flatten(), layers.Dense(1, activation="sigmoid")]
    )
    model.compile(optimizer=tg.optimizers.Adam(0.1), loss="binary_crossentropy")
    x = np.array([[a, b] for a in range(4) for b in range(4)], "float64")
    y = (x[:, :1] + x[:, 1:] > 3) * 1.0
    history = model.fit(x, y, epochs=60, verbose=0).history["loss"]
    assert history[-1] < 0.1 < history[0]
    model.save(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(models.load_model(tmp_path / "m.safetensors").predict(x), model.predict(x))
