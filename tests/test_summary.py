"""summary: the tables of models, as text and on a terminal."""

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu.layers import Dense, Input, Layer
from tinygrad_edu.models import Model, Sequential, summary


def printed(model):
    texts = []
    model.summary(print_fn=texts.append)
    (text,) = texts
    return text


def two_calls():
    x = Input((2,), name="x")
    shared = Dense(2, name="shared")
    total = shared(x) + shared(shared(x))
    return Model(x, [Dense(3, name="head")(total), total], name="mine")


def test_a_functional_model():
    model = two_calls()
    model.get_layer("shared").trainable = False
    assert printed(model) == (
        "Model: mine\n"
        "--------------------------------------------------------------------------------\n"
        "Layer (type)           Output shape  Parameters  Memory  Per row  Connected to\n"
        "--------------------------------------------------------------------------------\n"
        "x (InputLayer)         (None, 2)              0     0 B      8 B  -\n"
        "shared (Dense)         (None, 2)              6    24 B     24 B  x; x; shared\n"
        "operation (Operation)  (None, 2)              0     0 B      8 B  shared, shared\n"
        "head (Dense)           (None, 3)              9    36 B     12 B  operation\n"
        "--------------------------------------------------------------------------------\n"
        "Parameters: 15 (trainable 9, frozen 6, buffers 0)\n"
        "Memory: 60 B of parameters, 52 B of outputs per row"
    )


class Counted(Layer):
    """Two outputs of different shapes, and a buffer."""

    def build(self, input_shape):
        self.seen = self.add_weight((300,), "zeros", trainable=False, dtype="float64")

    def call(self, x):
        return x, x.sum(axis=-1)


def test_several_outputs_buffers_and_dtypes():
    x = Input((4,), dtype="float64", name="x")
    with tg.use_dtype("float64"):
        text = printed(Model(x, Counted(name="c")(x)))
    assert "c (Counted)     (None, 4), (None,)         300  2.3 KiB     40 B  x\n" in text
    assert "Parameters: 300 (trainable 0, frozen 0, buffers 300)" in text


def test_memory_is_for_one_row_of_a_fixed_batch():
    x = Input(batch_shape=(20, 3), name="x")
    assert "dense (Dense)   (20, 2)                8    32 B      8 B  x\n" in printed(Model(x, Dense(2)(x)))


def test_what_is_not_known():
    assert "dense (Dense)  (None, None, 4)          16    64 B        ?\n" in printed(
        Sequential([Input((None, 3)), Dense(4)])
    )
    empty = printed(Sequential())
    assert empty.endswith("Not built yet: call the model, or give its first layer an input_shape.")


def test_a_subclass_knows_no_shapes():
    class Tower(Model):
        def __init__(self):
            super().__init__()
            self.blocks = [Dense(3), Dense(1)]

        def call(self, x):
            return self.blocks[1](self.blocks[0](x))

    model = Tower()
    assert "Not built yet" in printed(model)
    model(np.zeros((2, 2)))
    text = printed(model)
    assert text.endswith("Parameters: 13 (trainable 13, frozen 0, buffers 0)\nMemory: 52 B of parameters")
    assert "blocks.0 (Dense)  ?                      9    36 B        ?\n" in text


def test_weights_of_two_layers_count_once_in_the_total():
    model = Sequential([Input((3,)), Dense(3, use_bias=False), Dense(3, use_bias=False)])
    model.layers[1].kernel = model.layers[0].kernel
    assert "Parameters: 9 (trainable 9" in printed(model)
    assert "Memory: 36 B of parameters" in printed(model)


@pytest.mark.parametrize(("count", "text"), [
    (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 * 2**20, "5.0 MiB"), (3 * 2**40, "3072.0 GiB"),
])  # fmt: skip
def test_bytes(count, text):
    assert summary.in_bytes(count) == text


@pytest.mark.parametrize("width", [60, 100])
def test_on_a_terminal(monkeypatch, capsys, width):
    monkeypatch.setattr(summary, "is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    two_calls().summary()
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert all(word in text for word in ("Parameters", "Memory", "Per row", "52 B of outputs per row", "mine"))
