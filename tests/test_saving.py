"""Saving and loading models: round trips, what cannot be kept, files that are hostile or of another kind."""

import json
import os
import struct
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save

import tinygrad_edu as tg
from tinygrad_edu import models
from tinygrad_edu.errors import ShapeError
from tinygrad_edu.initializers import HeNormal
from tinygrad_edu.layers import Activation, Dense, Dropout, Flatten, Input, Layer, Reshape
from tinygrad_edu.models import Model, Sequential

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(50, 3))
Y = X @ [1.0, -2.0, 0.5] + 0.3


@pytest.fixture(autouse=True)
def _seed():
    tg.seed(0)


def regression(inputs=3):
    model = Sequential([Input((inputs,)), Dense(4, activation="tanh"), Dense(1)])
    model.compile("sgd", "mse")
    return model


def weights(model):
    return np.concatenate([w.ravel() for w in model.get_weights()])


def every_layer():
    model = Sequential([
        Input((2, 4)),
        Flatten(),
        Dense(6, activation="relu", kernel_initializer="he_normal", name="first"),
        Reshape((3, 2)),
        Dropout(0.3),
        Dense(2, use_bias=False, trainable=False),
        Activation("tanh"),
        Flatten(),
        Sequential([Dense(3, activation="softmax")]),
    ], name="all")  # fmt: skip
    return model


def test_save_and_load(tmp_path):
    model = every_layer()
    model.save(tmp_path / "deep" / "model.safetensors")
    again = models.load_model(tmp_path / "deep" / "model.safetensors")
    x = RANDOM.normal(size=(5, 2, 4))
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    assert again.name == "all"
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
    assert len(again.trainable_weights) == len(model.trainable_weights) < len(again.parameters())
    assert json.dumps(again.get_config()) == json.dumps(model.get_config())
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["model.safetensors"]
    again.compile("sgd", "sparse_categorical_crossentropy")
    again.fit(x, [0, 1, 2, 0, 1], verbose=0)


def test_a_model_built_at_its_first_call_is_saved_built(tmp_path):
    model = Sequential([Dense(2)])
    y = model.predict(X)
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(models.load_model(tmp_path / "m").predict(X), y)


def test_a_model_built_at_its_first_call_takes_other_lengths(tmp_path):
    model = Sequential([Dense(2)])
    assert model(tg.zeros((1, 5, 3))).shape == (1, 5, 2)
    model.save(tmp_path / "m")
    for each in (model, models.load_model(tmp_path / "m")):
        assert each(tg.zeros((1, 7, 3))).shape == (1, 7, 2)


class Tower(Model):
    def __init__(self, name=None):
        super().__init__(name=name)
        self.blocks = [Dense(4), Dense(2)]

    def call(self, x):
        return self.blocks[1](self.blocks[0](x))


def test_save_a_subclass(tmp_path):
    model = Tower()
    y = model.predict(X)
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(models.load_model(tmp_path / "m", {"Tower": Tower}).predict(X), y)


def test_a_frozen_model_is_loaded_frozen(tmp_path):
    model = regression()
    model.trainable = False
    model.save(tmp_path / "m")
    again = models.load_model(tmp_path / "m")
    assert again.trainable is False
    assert again.trainable_weights == []
    assert len(again.parameters()) == 4


def test_weights_alone(tmp_path):
    model, other = regression(), regression()
    model.save_weights(tmp_path / "w")
    other.load_weights(tmp_path / "w")
    np.testing.assert_array_equal(weights(other), weights(model))
    with pytest.raises(ShapeError, match=r"layers.0.kernel of shape \(3, 4\) instead of \(2, 4\)"):
        regression(inputs=2).load_weights(tmp_path / "w")
    with pytest.raises(ValueError, match=r"files of weights alone are read by model.load_weights"):
        models.load_model(tmp_path / "w")


def test_arrays_that_are_not_contiguous(tmp_path):
    model = Sequential([Dense(3, input_dim=3)])
    model.layers[0].kernel.data = model.layers[0].kernel.data.T
    model.layers[0].bias.data = np.arange(6, dtype="float32")[::2]
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(models.load_model(tmp_path / "m").predict(X), model.predict(X))


def test_layers_and_functions_of_ones_own(tmp_path):
    class Twice(Layer):
        def call(self, x):
            return x * 2.0

    def bend(x):
        return tg.tanh(x) * 0.5

    model = Sequential([Input((3,)), Twice(), Dense(2, activation=bend)])
    model.save(tmp_path / "m")
    own = {"Twice": Twice, "bend": bend}
    np.testing.assert_array_equal(models.load_model(tmp_path / "m", own).predict(X), model.predict(X))
    with pytest.raises(ValueError, match=r"expected custom_objects with the class 'Twice', received none"):
        models.load_model(tmp_path / "m")
    with pytest.raises(ValueError, match="expected custom_objects with the function 'bend', received Twice"):
        models.load_model(tmp_path / "m", {"Twice": Twice})


def test_files_that_are_no_models(tmp_path):
    (tmp_path / "text").write_text("not a model, and long enough to be read as a header")
    with pytest.raises(ValueError, match="expected a safetensors file, received"):
        models.load_model(tmp_path / "text")
    with pytest.raises(FileNotFoundError, match="expected a file, received"):
        models.load_model(tmp_path / "missing")
    regression().save(tmp_path / "m")
    (tmp_path / "cut").write_bytes((tmp_path / "m").read_bytes()[:-4])
    with pytest.raises(ValueError, match="expected a safetensors file"):
        models.load_model(tmp_path / "cut")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    model = regression()
    model.save(tmp_path / "m")
    old = (tmp_path / "m").read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    model.fit(X, Y, verbose=0)
    with pytest.raises(OSError, match="No space left"):
        model.save(tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == old
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_loading_needs_no_pickle_and_training_no_rich(tmp_path):
    regression().save(tmp_path / "m")
    code = (
        "import sys; from tinygrad_edu import models; import numpy as np\n"
        f"m = models.load_model({str(tmp_path / 'm')!r}); m.compile('adam', 'mse')\n"
        "m.fit(np.ones((4, 3)), np.ones(4))\n"
        "assert not {'rich', 'torch', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize("first", [
    lambda: Input((3,), dtype="int64"), lambda: Input((3,), dtype="float64"), lambda: Input((3,)),
    lambda: Dense(2, input_dim=3),
])  # fmt: skip
def test_the_dtype_of_inputs_is_kept(tmp_path, first):
    model = Sequential([first(), Activation("relu")])
    model.save(tmp_path / "m")
    again = models.load_model(tmp_path / "m")
    assert again.input_dtype == model.input_dtype
    assert again.input_shape == (3,)
    assert again.predict([[1, 2, 3]]).dtype == model.predict([[1, 2, 3]]).dtype


def test_float64_is_kept(tmp_path):
    with tg.use_dtype("float64"):
        model = regression()
    model.save(tmp_path / "m")
    again = models.load_model(tmp_path / "m")
    assert again.dtype == "float64"
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    with pytest.raises(ValueError, match=r"layers\.0\.kernel in the range of float32, received 1e"):
        regression().load_state_dict({name: value * 0 + 1e300 for name, value in model.state_dict().items()})


def relu(x):
    return tg.maximum(x, x * 0.5)


def test_own_names_that_are_ours_too(tmp_path):
    ours = Dense

    class Dense_(Dense):
        def call(self, x):
            return super().call(x) * 3.0

    Dense_.__name__ = "Dense"
    model = Sequential([Input((3,)), Dense_(4, activation=relu), ours(2, activation="relu")])
    model.save(tmp_path / "m")
    again = models.load_model(tmp_path / "m", {"Dense": Dense_, "relu": relu})
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert [type(layer) for layer in again.layers] == [Dense_, ours]
    with pytest.raises(ValueError, match="expected custom_objects with the function 'relu', received Dense"):
        models.load_model(tmp_path / "m", {"Dense": Dense_})
    with pytest.raises(ValueError, match="expected custom_objects with the class 'Dense', received relu"):
        models.load_model(tmp_path / "m", {"relu": relu})


def two_of_one_name():
    def bend(x):
        return x * 2.0

    first = bend

    def bend(x):
        return x * 3.0

    return Sequential([Input((3,)), Dense(3, activation=first), Dense(3, activation=bend)])


def shared():
    layer = Dense(3, name="a")
    return Sequential([Input((3,)), layer, Sequential([layer, Dense(2)])])


def tied():
    model = Sequential([Input((3,)), Dense(3), Dense(3)])
    model.layers[1].kernel = model.layers[0].kernel
    return model


@pytest.mark.parametrize(("make", "text"), [
    (two_of_one_name, "expected functions and classes with names of their own, received 'bend' in Dense 'dense_1'"),
    (lambda: Sequential([Dense(3, activation=lambda x: x, input_dim=3)]), "received '<lambda>' in Dense 'dense'"),
    (shared, "Sequential save: expected each parameter in one layer, received one that Dense 'a' and Dense 'a' share"),
    (tied, "received one that Dense 'dense' and Dense 'dense_1' share"),
])  # fmt: skip
def test_what_could_not_be_loaded_is_not_saved(tmp_path, make, text):
    with pytest.raises(ValueError, match="Sequential save") as caught:
        make().save(tmp_path / "m")
    assert text in str(caught.value)
    assert not (tmp_path / "m").exists()


def test_numbers_of_numpy_in_a_configuration(tmp_path):
    model = Sequential([Dense(np.int64(6), input_dim=np.int64(3), kernel_initializer=HeNormal(seed=np.int64(3)),
                              use_bias=np.True_, trainable=np.True_), Reshape(np.array([2, -1]))])  # fmt: skip
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(models.load_model(tmp_path / "m").predict(X), model.predict(X))


DENSE = {"class_name": "Dense", "config": {"units": 3}}


@pytest.mark.parametrize("architecture", [
    "null", "[1, 2]", "[" * 100_000, "{}", '{"class_name": "Sequential"',
    {"class_name": "Layer", "config": {}}, {"class_name": "Model", "config": {}},
    {"class_name": ["Dense"], "config": {}},
    {"class_name": "Foo", "config": {}}, {"class_name": "Dense", "config": None},
    {"class_name": "Dense", "config": [1]},
    {"class_name": "Dense", "config": {"units": 3, "activation": {"a": 1}}},
    {"class_name": "Dense", "config": {"units": 3, "kernel_initializer": {"name": "foo", "config": {}}}},
    {"class_name": "Dense", "config": {"units": 3, "kernel_initializer": {"name": "zeros", "config": {"a": 1}}}},
    {"class_name": "Sequential", "config": {"layers": None}}, {"class_name": "Sequential", "config": {"layers": 3}},
    DENSE | {"build_shape": None}, DENSE | {"build_shape": ["a"]}, DENSE | {"build_shape": []},
    DENSE | {"dtype": "foo"}, DENSE | {"dtype": "int64"}, DENSE | {"dtype": 3},
], ids=lambda a: str(a)[:60])  # fmt: skip
def test_hostile_architectures(tmp_path, architecture):
    if not isinstance(architecture, str):
        architecture = json.dumps({"build_shape": [3], "dtype": "float32"} | architecture)
    metadata = {"format": "tinygrad_edu", "format_version": "1", "architecture": architecture}
    (tmp_path / "m").write_bytes(save({"kernel": np.zeros((3, 3), "float32")}, metadata))
    with pytest.raises(ValueError, match=": expected "):
        models.load_model(tmp_path / "m")


@pytest.mark.parametrize(("dtype", "factor"), [("BF16", 2), ("F8_E4M3", 4)])
def test_dtypes_that_numpy_lacks(tmp_path, dtype, factor):
    regression().save(tmp_path / "m")
    raw = (tmp_path / "m").read_bytes()
    end = 8 + struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:end])
    entry = header["layers.0.kernel"]
    entry["dtype"], entry["shape"] = dtype, [entry["shape"][0] * factor, *entry["shape"][1:]]
    changed = json.dumps(header).encode()
    (tmp_path / "m").write_bytes(struct.pack("<Q", len(changed)) + changed + raw[end:])
    with pytest.raises(ValueError, match="load: expected a safetensors file"):
        models.load_model(tmp_path / "m")


def test_links_and_modes_are_kept(tmp_path):
    model = regression()
    model.save(tmp_path / "m")
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "m").stat().st_mode & 0o777 == 0o666 & ~mask
    (tmp_path / "m").chmod(0o640)
    (tmp_path / "link").symlink_to("m")
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "m").stat().st_mode & 0o777 == 0o640
    np.testing.assert_array_equal(models.load_model(tmp_path / "m").predict(X), model.predict(X))


# Subclasses with arguments of their own


class Scaled(Model):
    def __init__(self, inputs, outputs, factor=1.0, **options):
        super().__init__(inputs, outputs, **options)
        self.factor = factor

    def call(self, x):
        return self.factor * super().call(x)


class Kept(Scaled):
    def get_config(self):
        inner = Model(self.graph.inputs, self.graph.outputs)
        return {"graph": inner.get_config(), "factor": self.factor}

    @classmethod
    def from_config(cls, config):
        inner = Model.from_config(config["graph"])
        return cls(inner.input, inner.output, config["factor"])


class Wide(Sequential):
    def __init__(self, units):
        super().__init__([Input((3,)), Dense(units)])
        self.units = units


class WideGraph(Model):
    def __init__(self, units):
        x = Input((3,))
        super().__init__(x, Dense(units)(x))
        self.units = units


class Forgetful(Sequential):
    def __init__(self, units):
        super().__init__([Input((3,)), Dense(units)])


class Extended(Sequential):
    def __init__(self, layers, factor=1.0):
        super().__init__(layers)
        self.factor = factor


class Sub(Model):
    def __init__(self, units=3, **options):
        super().__init__(**options)
        self.units, self.dense = units, Dense(units)

    def call(self, x):
        return self.dense(x)


def test_arguments_of_ones_own_are_saved_or_refused(tmp_path):
    x = Input((3,))
    lost = [Scaled(x, Dense(2)(x), factor=3.0), Extended([Input((3,)), Dense(2)], factor=3.0)]
    for model in lost:
        text = f"{type(model).__name__} get_config: expected a get_config for its argument 'factor', received none. "
        with pytest.raises(TypeError, match=text):
            model.save(tmp_path / "model")
    with pytest.raises(ValueError, match="its argument 'units' in an attribute of that name"):
        Forgetful(2).save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("make", [
    lambda: Wide(2),
    lambda: WideGraph(2),
    lambda: Sub(2, name="sub"),
    lambda: (lambda x: Kept(x, Dense(2)(x), factor=3.0))(Input((3,))),
])  # fmt: skip
def test_subclasses_with_constructors_of_their_own_come_back(make, tmp_path):
    model = make()
    outputs = model.predict(X)
    model.save(tmp_path / "model")
    loaded = models.load_model(tmp_path / "model", {type(model).__name__: type(model)})
    assert type(loaded) is type(model)
    assert loaded.name == model.name
    np.testing.assert_array_equal(loaded.predict(X), outputs)


# Frozen layers, configurations without files


def test_what_is_frozen_stays_so(tmp_path):
    model = every_layer()
    model.trainable = False
    model.layers[-1].trainable = True
    model.save(tmp_path / "model")
    loaded = models.load_model(tmp_path / "model")
    frozen = [name for name, t in model.named_parameters() if not t.requires_grad]
    assert [name for name, t in loaded.named_parameters() if not t.requires_grad] == frozen != []
    assert len(loaded.trainable_weights) == len(model.trainable_weights) == len(model.layers[-1].weights) > 0
    assert [layer.trainable for layer in loaded.layers] == [layer.trainable for layer in model.layers]
    loaded.trainable = True
    assert all(t.requires_grad for t in loaded.parameters())


def test_one_frozen_weight_stays_so(tmp_path):
    x = Input((3,))
    model = Model(x, Dense(1)(Dense(2)(x)))
    model.layers[1].bias.requires_grad_(False)
    model.layers[2].trainable = False
    model.save(tmp_path / "model")
    loaded = models.load_model(tmp_path / "model")
    assert [t.requires_grad for t in loaded.layers[1].weights] == [True, False]
    assert not loaded.layers[2].trainable_weights
    assert loaded.trainable


@pytest.mark.parametrize("make", [
    regression,
    lambda: (lambda x: Model(x, [Dense(2, activation="relu")(x), regression()(x)]))(Input((3,))),
])  # fmt: skip
def test_a_model_from_its_configuration(make):
    model = make()
    other = type(model).from_config(json.loads(json.dumps(model.get_config())))
    other.set_weights(model.get_weights())
    for a, b in zip(tg.tree.leaves(other.predict(X)), tg.tree.leaves(model.predict(X)), strict=True):
        np.testing.assert_array_equal(a, b)
