"""Models whose first layer takes texts."""

import numpy
import pytest

import tinygrad_edu as tg
from tinygrad_edu import layers, models

TEXTS = [f"word{i % 5} {'good' if i % 2 else 'bad thing'}" for i in range(24)]
LABELS = numpy.arange(24) % 2


@pytest.fixture(autouse=True)
def _seed():
    tg.seed(0)


def vectorization():
    layer = layers.TextVectorization(max_tokens=12, output_sequence_length=4)
    layer.adapt(TEXTS)
    return layer


def test_a_sequential_model_of_texts(tmp_path):
    model = models.Sequential([vectorization(), layers.Embedding(12, 4), layers.Flatten(), layers.Dense(1, "sigmoid")])
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    history = model.fit(
        numpy.array(TEXTS), LABELS, epochs=40, verbose=0, validation_split=0.25
    ).history  # without warning
    assert history["val_accuracy"][-1] == 1.0
    assert model.evaluate(TEXTS, LABELS)[1] == 1.0
    by_hand = model.layers[3](model.layers[2](model.layers[1](model.layers[0](TEXTS))))
    numpy.testing.assert_allclose(model.predict(TEXTS), by_hand.detach().numpy(), rtol=1e-6)
    model.save(tmp_path / "m.safetensors")
    numpy.testing.assert_array_equal(models.load_model(tmp_path / "m.safetensors").predict(TEXTS), model.predict(TEXTS))
    with pytest.raises(TypeError, match="fit: expected texts, received int"):
        model.fit([1, 2], [0, 1], verbose=0)


def test_a_functional_model_of_texts_runs_without_jit():
    text = layers.Input((1,), dtype="string")
    words = layers.Flatten()(layers.Embedding(12, 4)(vectorization()(text)))
    model = models.Model(text, layers.Dense(1, activation="sigmoid")(words))
    model.compile("adam", "binary_crossentropy")
    column = numpy.array(TEXTS)[:, None]
    with pytest.warns(UserWarning, match="runs without jit"):
        losses = model.fit(column, LABELS, epochs=10, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert model.predict(column).shape == (24, 1)
