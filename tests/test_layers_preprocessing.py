"""The layers that prepare data: adapt, vocabularies, and the random layers in training. Their cases in the table of
layers are in cases/preprocessing.py."""

import json

import numpy
import pytest
from scipy import ndimage

import tinygrad_edu as tg
from tinygrad_edu import layers, models
from tinygrad_edu.errors import TraceError
from tinygrad_edu.layers.preprocessing.affine import sample

near = numpy.testing.assert_allclose


# Normalization


def test_adapt_combines_uneven_batches_exactly():
    data = 1e4 + numpy.random.default_rng(0).normal(size=(1000, 3)) * [1.0, 1e-2, 30.0]
    layer = layers.Normalization()
    layer.adapt((data[a:b] for a, b in ((0, 1), (1, 700), (700, 703), (703, 1000))))
    near(layer.mean.numpy(), data.mean(0), rtol=1e-7)
    near(layer.variance.numpy(), data.var(0), rtol=1e-6)
    assert layer.count.item() == 1000
    whole = layers.Normalization()
    whole.adapt(data)
    near(whole.variance.numpy(), layer.variance.numpy(), rtol=1e-7)


def test_adapt_cuts_a_large_array_into_blocks(monkeypatch):
    monkeypatch.setattr("tinygrad_edu.layers.preprocessing.numbers.BLOCK", 8)
    data = numpy.random.default_rng(1).uniform(size=(31, 2))
    layer = layers.Normalization()
    layer.adapt(data)
    near(layer.variance.numpy(), data.var(0), rtol=1e-6)


def test_adapt_keeps_several_axes_as_keras_does():
    layer = layers.Normalization(axis=(1, 2))
    layer.adapt(numpy.arange(12.0).reshape(3, 2, 2) ** 2)
    # Keras 3.15.1
    near(layer.mean.numpy(), [[80 / 3, 107 / 3], [140 / 3, 179 / 3]], rtol=1e-6)
    near(layer.variance.numpy(), [[739.5555, 1123.5555], [1592.8889, 2147.5557]], rtol=1e-6)


def test_adapt_takes_the_inputs_of_pairs_and_starts_anew():
    layer = layers.Normalization(axis=None)
    layer.adapt([[5.0, 7.0]])
    layer.adapt(iter([(numpy.ones((2, 2)), None), (numpy.full((1, 2), 4.0), None)]))
    assert (layer.mean.item(), layer.variance.item(), layer.count.item()) == (2.0, 2.0, 6)


def test_what_adapt_found_is_saved(tmp_path):
    layer = layers.Normalization()
    layer.adapt(numpy.array([[1.0, 2.0], [3.0, 8.0]]))
    model = models.Sequential([layers.Input((2,)), layer])
    model.save(tmp_path / "m.safetensors")
    loaded = models.load_model(tmp_path / "m.safetensors")
    near(loaded([[3.0, 2.0]]).numpy(), [[1.0, -1.0]])
    assert layer.get_config()["mean"] is None
    assert [w.shape for w in layer.get_weights()] == [(2,), (2,), ()]


def test_weights_of_keras_can_be_set():
    layer = layers.Normalization(input_shape=(2,))
    layer.build_once((None, 2))
    layer.set_weights([numpy.ones(2), numpy.full(2, 4.0), numpy.array(0, "int32")])  # Keras leaves the count at 0
    near(layer([[3.0, 1.0]]).numpy(), [[1.0, 0.0]])


def test_normalization_is_checked_under_jit_too():
    layer = layers.Normalization(input_shape=(1,))
    layer.build_once((None, 1))
    step = tg.jit(lambda x: layer(x))
    with pytest.raises(ValueError, match="expected a mean and variance, received none yet"):
        step(tg.ones((2, 1)))
    layer.adapt([[1.0], [3.0]])
    for value in (3.0, 5.0):
        near(step(tg.tensor([[value]])).numpy(), [[value - 2.0]])


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: layers.Normalization(mean=1.0), "Normalization: expected mean and variance together"),
        (lambda: layers.Normalization(mean=[1.0], variance=1.0), "expected mean and variance of one shape"),
        (
            lambda: layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[1.0] * 3)([[1.0, 2.0]]),
            "expected a mean and vari",
        ),
        (lambda: layers.Normalization()([[1.0]]), "expected a mean and variance, received none yet. Hint: call Norm"),
        (lambda: layers.Normalization().adapt([1.0, 2.0]), "Hint: axis=None has one mean"),
        (lambda: layers.Normalization(axis=3)([[1.0]]), "expected an input with the axis 3"),
        (lambda: layers.Normalization().adapt([[numpy.nan]]), "expected finite data, received NaN"),
        (lambda: layers.Normalization().adapt(iter([])), "expected finite data, received none"),
        (lambda: layers.Normalization().adapt([["a"]]), "expected arrays of numbers"),
        (
            lambda: layers.Normalization().adapt(iter([numpy.ones((1, 2)), numpy.ones((1, 3))])),
            "lengths \\(2,\\) along",
        ),
        (lambda: layers.Normalization(mean=1.0, variance=1.0).adapt([[1.0]]), "expected no mean and variance given"),
        (lambda: layers.Rescaling("a"), "Rescaling: expected scale to be finite numbers"),
        (lambda: layers.Discretization(), "expected bin_boundaries or num_bins"),
        (lambda: layers.Discretization([2.0, 1.0]), "expected bin_boundaries to be a rising list"),
        (lambda: layers.Discretization(num_bins=3)([[1.0]]), "expected bin_boundaries, received none yet"),
        (lambda: layers.Discretization([1.0]).adapt([[1.0]]), "adapt: expected num_bins"),
        (lambda: layers.CategoryEncoding(), "expected num_tokens to be an integer"),
        (lambda: layers.CategoryEncoding(2, "int"), "expected output_mode to be one of"),
        (lambda: layers.Normalization(mean=0.0, variance=-1.0), "expected variance of at least 0, received -1.0"),
        (lambda: layers.Rescaling(numpy.ones((5, 1)))(numpy.ones((1, 3))), r"a shape that scale \(5, 1\) and offset"),
        (lambda: layers.Rescaling([1.0, 2.0])(numpy.ones((1, 3))), "Rescaling: expected a shape that scale"),
        (lambda: layers.Discretization([0.0])([[numpy.nan]]), "Discretization: expected numbers, received nan"),
        (
            lambda: layers.CategoryEncoding(3, "count")([[1, 2]], count_weights=[[1.0]]),
            r"CategoryEncoding: expected count_weights of shape \(1, 2\), received \(1, 1\)",
        ),
        (lambda: layers.CategoryEncoding(2)([[1]], count_weights=[[1.0]]), "expected output_mode='count'"),
    ],
)
def test_errors_of_layers_of_numbers(make, text):
    with pytest.raises((ValueError, TypeError), match=text):
        make()


def test_discretization_refuses_nan_under_jit():
    step = tg.jit(layers.Discretization([0.0]))
    assert step(tg.tensor([-1.0, 1.0])).tolist() == [0, 1]
    with pytest.raises(ValueError, match="Discretization: expected numbers, received nan"):
        step(tg.tensor([numpy.nan, 1.0]))


def test_rescaling_by_channel_under_jit():
    layer = layers.Rescaling([1.0, 2.0], offset=[0.0, 1.0])
    step = tg.jit(lambda x: layer(x))
    for _ in range(2):
        near(step(tg.ones((3, 2))).numpy(), [[1.0, 3.0]] * 3)


@pytest.mark.parametrize(
    ("bins", "data", "boundaries"),  # Keras 3.15.1
    [(3, [1, 5, 2, 9, 4, 4], [2.0, 4.0]), (4, [3, 1, 2, 8, 7, 7, 7, 0, -5, 10, 11], [0.75, 5.0, 7.25])],
)
def test_discretization_learns_the_boundaries_of_keras(bins, data, boundaries):
    layer = layers.Discretization(num_bins=bins)
    layer.adapt(numpy.array(data, dtype="float64"))
    near(layer.bin_boundaries, boundaries, rtol=1e-6)
    again = layers.Discretization.from_config(json.loads(json.dumps(layer.get_config())))
    assert again.bin_boundaries == layer.bin_boundaries
    near(layer([boundaries]).numpy(), [range(1, bins)])


# Vocabularies

TEXTS = ["Hello,\tworld! \u00c9t\u00e9\u00a0x", "new\nline  HELLO", "it's 10:30 \U0001f600 \u00df", ""]
CALLED = [*TEXTS[:2], "\U0001f600 world zz"]


@pytest.mark.parametrize(
    ("options", "vocabulary", "expected"),
    [  # Keras 3.15.1
        (
            {},
            ["", "[UNK]", "hello", "😀", "ß", "Été\xa0x", "world", "new", "line", "its", "1030"],
            [[2, 6, 5], [7, 8, 2], [3, 6, 1]],
        ),
        (
            {"standardize": "lower"},
            ["", "[UNK]", "😀", "ß", "Été\xa0x", "world!", "new", "line", "it's", "hello,", "hello", "10:30"],
            [[9, 5, 4], [6, 7, 10], [2, 1, 1]],
        ),
        (
            {"standardize": "strip_punctuation", "ngrams": 2},
            [
                "",
                "[UNK]",
                "😀 ß",
                "😀",
                "ß",
                "Été\xa0x",
                "world Été\xa0x",
                "world",
                "new line",
                "new",
                "line HELLO",
                "line",
                "its 1030",
                "its",
                "Hello world",
                "Hello",
                "HELLO",
                "1030 😀",
                "1030",
            ],
            [[15, 7, 5, 14, 6], [9, 11, 16, 8, 10], [3, 7, 1, 1, 1]],
        ),
        (
            {"standardize": None, "split": "character", "max_tokens": 12},
            ["", "[UNK]", " ", "l", "e", "w", "t", "o", "n", "i", "L", "H"],
            [
                [11, 4, 3, 3, 7, 1, 1, 5, 7, 1, 3, 1, 1, 2, 1, 6, 1, 1, 1],
                [8, 4, 5, 1, 3, 9, 8, 4, 2, 2, 11, 1, 10, 10, 1, 0, 0, 0, 0],
                [1, 2, 5, 7, 1, 3, 1, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            ],
        ),
        (
            {"ngrams": (2, 3)},
            [
                "",
                "[UNK]",
                "😀 ß",
                "world Été\xa0x",
                "new line hello",
                "new line",
                "line hello",
                "its 1030 😀",
                "its 1030",
                "hello world Été\xa0x",
                "hello world",
                "1030 😀 ß",
                "1030 😀",
            ],
            [[10, 3, 9], [5, 6, 4], [1, 1, 1]],
        ),
        (
            {"output_mode": "tf_idf", "max_tokens": 5},
            ["[UNK]", "hello", "😀", "ß", "Été\xa0x"],
            [[1.03578, 0.8473, 0.0, 0.0, 1.09861], [2.07157, 0.8473, 0.0, 0.0, 0.0], [2.07157, 0.0, 1.09861, 0.0, 0.0]],
        ),
    ],
)
def test_text_vectorization_equals_keras(options, vocabulary, expected):
    layer = layers.TextVectorization(**options)
    layer.adapt(TEXTS)
    assert layer.get_vocabulary() == vocabulary
    assert layer.vocabulary_size() == len(vocabulary)
    found = layer(CALLED)
    near(found.numpy(), expected, atol=1e-5)
    assert found.dtype == ("float32" if "output_mode" in options else "int64")
    again = layers.TextVectorization.from_config(json.loads(json.dumps(layer.get_config())))
    numpy.testing.assert_array_equal(again(CALLED).numpy(), found.numpy())


def test_adapt_to_batches_is_adapt_to_all():
    whole, parts = layers.TextVectorization(output_mode="tf_idf"), layers.TextVectorization(output_mode="tf_idf")
    whole.adapt(TEXTS)
    parts.adapt(iter([TEXTS[:1], numpy.array(TEXTS[1:])]))
    assert parts.get_vocabulary() == whole.get_vocabulary()
    numpy.testing.assert_array_equal(parts.idf_weights, whole.idf_weights)
    parts.adapt(iter([TEXTS[1:2], TEXTS]), steps=1)
    assert parts.get_vocabulary() == ["[UNK]", "new", "line", "hello"]


def test_shapes_of_texts():
    layer = layers.TextVectorization(vocabulary=["a", "b"])
    assert layer("b a q").tolist() == [3, 2, 1]
    assert layer([["a"], ["b a"]]).tolist() == [[2, 0], [3, 2]]
    assert layer([b"a", numpy.str_("b")]).tolist() == [[2], [3]]
    assert layer([""]).shape == (1, 0)
    fixed = layers.TextVectorization(vocabulary=["a", "b"], output_sequence_length=2)
    assert fixed(["a", "a b a"]).tolist() == [[2, 0], [2, 3]]
    rows = layers.TextVectorization(vocabulary=["a", "b"], split=None)
    assert rows([["a", "c!"], ["B", ""]]).tolist() == [[2, 1], [3, 0]]
    padded = layers.TextVectorization(vocabulary=["a", "b"], output_mode="count", max_tokens=5, pad_to_max_tokens=True)
    assert padded(["b b q"]).tolist() == [[1.0, 0.0, 2.0, 0.0, 0.0]]


def test_functions_standardize_and_split():
    layer = layers.TextVectorization(standardize=str.swapcase, split=lambda text: text.split("-"))
    layer.adapt(["a-B", "a"])
    assert layer.get_vocabulary() == ["", "[UNK]", "A", "b"]
    for options in ({"standardize": lambda text: 3}, {"split": lambda text: text}, {"split": lambda text: [3]}):
        with pytest.raises(TypeError, match=f"TextVectorization: expected {next(iter(options))} to return"):
            layers.TextVectorization(**options).adapt(["a"])


HOSTILE = ["custom:relu", "\n", "a\nb", '"]', "\\", "\u2028", "\ud800", "\x00", "nul\x00", "None", "ß", "[UNK]", " "]


def test_any_token_comes_back(tmp_path):
    layer = layers.StringLookup(vocabulary=HOSTILE)
    assert layer.get_vocabulary() == ["[UNK]", *HOSTILE]
    model = models.Sequential([layers.Input((2,), dtype="string"), layer])
    model.save(tmp_path / "m.safetensors")
    loaded = models.load_model(tmp_path / "m.safetensors")
    assert loaded.layers[0].get_vocabulary() == ["[UNK]", *HOSTILE]
    called = [[token, "?"] for token in HOSTILE]
    assert loaded(called).tolist() == model(called).tolist() == [[i + 1, 0] for i in range(len(HOSTILE))]


def test_weights_of_unknown_tokens_come_back():
    layer = layers.StringLookup(vocabulary=["[UNK]", "a"], idf_weights=[0.25, 3.0], output_mode="tf_idf")
    again = layers.StringLookup.from_config(json.loads(json.dumps(layer.get_config())))
    assert again([["a", "b", "b"]]).tolist() == layer([["a", "b", "b"]]).tolist() == [[0.5, 3.0]]
    mean = layers.StringLookup(vocabulary=["a", "b"], idf_weights=[1.0, 2.0], output_mode="tf_idf")
    assert mean([["x"]]).tolist() == [[1.5, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("mode", "expected"),  # Keras 3.15.1
    [
        ("int", [[2, 1], [0, 3]]),
        ("one_hot", [[[0, 1, 0], [1, 0, 0]], [[0, 0, 0], [0, 0, 1]]]),
        ("multi_hot", [[1, 1, 0], [0, 0, 1]]),
        ("count", [[1, 1, 0], [0, 0, 1]]),
    ],
)
def test_output_modes_leave_masks_out(mode, expected):
    layer = layers.StringLookup(vocabulary=["a", "b"], mask_token="", output_mode=mode)
    assert layer([["a", "q"], ["", "b"]]).tolist() == expected


def test_invert_gives_the_tokens_back():
    words = layers.StringLookup(vocabulary=["a", "b"], mask_token="", invert=True)
    assert words([[0, 1], [3, 2]]).tolist() == [["", "[UNK]"], ["b", "a"]]
    numbers = layers.IntegerLookup(vocabulary=[7, 9], invert=True)
    assert numbers([[2, 0, 1]]).tolist() == [[9, -1, 7]]


def test_integer_lookup_equals_keras():
    layer = layers.IntegerLookup(vocabulary=[10, 20], num_oov_indices=3)
    assert layer([[10, 20, 5, 6, 7, -1]]).tolist() == [[3, 4, 2, 0, 1, 2]]
    layer = layers.IntegerLookup()
    layer.adapt([3, 3, 5, 5, -7, -1, 9])
    assert layer.get_vocabulary() == [-1, 5, 3, 9, -7]
    masked = layers.IntegerLookup(vocabulary=[10, 20], mask_token=0)
    assert masked([[10, 20, 5, 0]]).tolist() == [[2, 3, 1, 0]]


def test_a_vocabulary_is_read_from_a_file(tmp_path):
    (tmp_path / "words.txt").write_text("b\na b\n\u00e9\n", "utf-8")
    layer = layers.StringLookup(vocabulary=str(tmp_path / "words.txt"))
    assert layer.get_vocabulary(include_special_tokens=False) == ["b", "a b", "\u00e9"]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: layers.StringLookup()(["a"]),
            "StringLookup: expected a vocabulary, received none yet. Hint: call Str",
        ),
        (lambda: layers.TextVectorization()(["a"]), "TextVectorization: expected a vocabulary, received none yet"),
        (lambda: layers.StringLookup(invert=True)([0]), "StringLookup: expected a vocabulary, received none yet"),
        (lambda: layers.StringLookup(vocabulary=["a"])([3]), "StringLookup: expected texts, received int"),
        (lambda: layers.TextVectorization(vocabulary=["a"])([["a"], ["b", "c"]]), "expected texts, received list"),
        (lambda: layers.TextVectorization(vocabulary=["a"])([["a", "b"]]), "expected texts of shape"),
        (
            lambda: layers.StringLookup(vocabulary=["a"], num_oov_indices=0)(["b"]),
            "expected tokens of its vocabulary, rec",
        ),
        (lambda: layers.StringLookup(vocabulary=["a"], invert=True)([2]), "expected ids from 0 to 1, received 2"),
        (lambda: layers.StringLookup(vocabulary=["a"], invert=True)([-1]), "expected ids from 0 to 1, received -1"),
        (lambda: layers.StringLookup(vocabulary=["a", "a"]), "vocabulary: expected each token once, received 'a'"),
        (lambda: layers.StringLookup(vocabulary=[]), "vocabulary: expected at least one token"),
        (lambda: layers.StringLookup(vocabulary=["a", ""], mask_token=""), "expected special tokens at its beginning"),
        (lambda: layers.StringLookup(vocabulary=["a", "b"], max_tokens=2), "expected at most 2 tokens"),
        (lambda: layers.StringLookup(max_tokens=1), "expected max_tokens to be an integer of at least 2"),
        (lambda: layers.StringLookup(pad_to_max_tokens=True), "expected max_tokens, because of pad_to_max_tokens"),
        (lambda: layers.StringLookup(num_oov_indices=2), "expected num_oov_indices to be 0 or 1"),
        (lambda: layers.StringLookup(output_mode="onehot"), "did you mean 'one_hot'"),
        (lambda: layers.StringLookup(invert=True, output_mode="count"), "expected output_mode='int'"),
        (lambda: layers.StringLookup(vocabulary=["a"], output_mode="tf_idf"), "expected idf_weights"),
        (lambda: layers.StringLookup(vocabulary=["a"], idf_weights=[1.0]), "expected no idf_weights"),
        (lambda: layers.StringLookup(vocabulary=["a"], idf_weights=[], output_mode="tf_idf"), "an idf_weight for each"),
        (lambda: layers.StringLookup().adapt([]), "adapt: expected data with at least one token"),
        (lambda: layers.TextVectorization(standardize="upper"), "expected standardize to be one of"),
        (lambda: layers.TextVectorization(split="words"), "expected split to be one of"),
        (lambda: layers.TextVectorization(ngrams=0), "expected ngrams to be an integer of at least 1"),
        (lambda: layers.TextVectorization(ngrams=(0,)), "expected ngrams to be an integer of at least 1"),
        (lambda: layers.TextVectorization(output_mode="count", output_sequence_length=2), "no output_sequence_length"),
        (lambda: layers.IntegerLookup(vocabulary=[1])([[1.0]]), "IntegerLookup: expected integers, received dtype"),
    ],
)
def test_errors_of_vocabularies(make, text):
    with pytest.raises((ValueError, TypeError, IndexError), match=text):
        make()


def test_lookups_are_not_for_jit():
    layer = layers.IntegerLookup(vocabulary=[1])
    with pytest.raises(TraceError, match="no vocabulary in a jitted function"):
        tg.jit(lambda x: layer(x))(tg.tensor([1]))


def test_texts_in_models():
    vectorize = layers.TextVectorization()
    symbol = layers.Input((1,), dtype="string")
    ids = vectorize(symbol)  # before it is adapted
    assert ids.shape == (None, None)
    assert ids.dtype == "int64"
    strict = layers.StringLookup(vocabulary=["a"], num_oov_indices=0)
    assert strict(layers.Input((3,), dtype="string")).shape == (None, 3)
    vectorize.adapt(["the cat", "the dog"])
    assert models.Model(symbol, ids)([["dog the"], ["cow"]]).tolist() == [[3, 2], [1, 0]]
    count = layers.TextVectorization(output_mode="count", vocabulary=["a", "b"])
    model = models.Sequential([count, layers.Dense(2)])
    assert model(["a b", "c"]).shape == (2, 2)
    assert model.output_shape == (None, 2)
    with pytest.raises(TypeError, match=": expected texts, received float"):
        model([1.0])


# Images


def images(n=3, height=5, width=7, channels=2):
    return numpy.random.default_rng(0).uniform(-1, 1, (n, height, width, channels)).astype("float32")


MODES = {"reflect": "reflect", "wrap": "grid-wrap", "nearest": "nearest", "constant": "grid-constant"}


@pytest.mark.parametrize("fill_mode", MODES)
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_sampling_equals_scipy(fill_mode, interpolation):
    x = images().astype("float64")
    matrices = numpy.random.default_rng(1).uniform(-1.5, 1.5, (3, 2, 3)) * [1.0, 1.0, 9.0]
    found = sample(tg.tensor(x), tg.tensor(matrices), fill_mode, interpolation, 0.25).numpy()
    rows, columns = numpy.mgrid[:5, :7]
    order = 1 if interpolation == "bilinear" else 0
    for image, (to_x, to_y), y in zip(x, matrices, found, strict=True):
        places = [a * columns + b * rows + c for a, b, c in (to_y, to_x)]
        for channel in range(2):
            one = image[..., channel]
            expected = ndimage.map_coordinates(one, places, order=order, mode=MODES[fill_mode], cval=0.25)
            near(y[..., channel], expected, atol=1e-12)


def test_sampling_has_a_gradient():
    matrices = tg.tensor([[[0.7, -0.4, 0.3], [0.2, 1.3, -0.6]]], dtype="float64")
    x = images(1, 2, 3, 1).astype("float64")
    for fill_mode in MODES:
        tg.gradcheck(lambda x, m=fill_mode: sample(x, matrices, m, "bilinear", 0.0), [x], order=2)


SQUARES = numpy.arange(6, dtype="float32").reshape(1, 2, 3, 1) ** 2


@pytest.mark.parametrize(
    ("layer", "expected"),  # Keras 3.15.1
    [
        (layers.RandomRotation((0.1, 0.1)), [0.48488, 3.48244, 18.34881, 2.85051, 12.67876, 20.63612]),
        (
            layers.RandomZoom((0.3, 0.3), (-0.2, -0.2), fill_mode="constant", fill_value=2.0),
            [0.47, 1.15, 3.19, 9.14, 13.9, 20.02],
        ),
        (layers.RandomTranslation((0.3, 0.3), (-0.2, -0.2)), [0.6, 2.8, 4.0, 5.64, 10.24, 12.4]),
        (layers.RandomBrightness((0.3, 0.3), value_range=(0, 20)), [6.0, 7.0, 10.0, 15.0, 20.0, 20.0]),
    ],
)
def test_random_layers_of_one_factor_equal_keras(layer, expected):
    near(layer(SQUARES, training=True).numpy().ravel(), expected, rtol=1e-5)
    near(layer(SQUARES[0], training=True).numpy().ravel(), expected, rtol=1e-5)


def test_rotation_turns_counterclockwise():
    x = images(1, 4, 4, 1)
    turned = layers.RandomRotation((0.25, 0.25), interpolation="nearest")(x, training=True).numpy()
    numpy.testing.assert_array_equal(turned[0], numpy.rot90(x[0]))


RANDOM = {
    "crop": layers.RandomCrop(3, 4),
    "flip": layers.RandomFlip(),
    "rotation": layers.RandomRotation(0.3, interpolation="nearest"),
    "translation": layers.RandomTranslation(0.4, (0.1, 0.9), fill_mode="constant", fill_value=7.0),
    "zoom": layers.RandomZoom(0.4, 0.2, fill_mode="nearest"),
    "zoom alike": layers.RandomZoom((-0.5, 0.1), fill_mode="wrap"),
    "contrast": layers.RandomContrast(0.5, value_range=(-0.9, 0.9)),
    "brightness": layers.RandomBrightness(0.5, value_range=(-1, 1)),
}
EVERY = pytest.mark.parametrize("layer", [pytest.param(layer, id=name) for name, layer in RANDOM.items()])


@EVERY
def test_random_layers_in_training(layer):
    x = tg.tensor(images(4))
    tg.seed(5)
    first, second = layer(x, training=True).numpy(), layer(x, training=True).numpy()
    tg.seed(5)
    numpy.testing.assert_array_equal(layer(x, training=True).numpy(), first)
    assert (first != second).any()
    assert layer(x[0], training=True).shape == first.shape[1:]
    same = tg.tensor(numpy.repeat(images(1), 16, axis=0))
    drawn = layer(same, training=True).numpy()
    assert len({image.tobytes() for image in drawn}) > 1, "each image has a draw of its own"


@EVERY
def test_random_layers_with_a_seed(layer):
    seeded = type(layer).from_config({**layer.get_config(), "seed": 3})
    drawn = {}
    for name, one, seed in (("first", seeded, 1), ("second", seeded, 2), ("free", layer, 1)):
        tg.seed(seed)
        drawn[name] = one(images(4), training=True).numpy()
    numpy.testing.assert_array_equal(drawn["first"], drawn["second"])
    assert (drawn["first"] != drawn["free"]).any()
    assert (drawn["first"] != seeded(images(4), training=True).numpy()).any(), "each call draws anew"


@pytest.mark.parametrize(
    ("first", "changes"),
    [
        (layers.RandomBrightness(0.0), {"factor": (0.25, 0.25), "value_range": (0, 4)}),
        (layers.RandomContrast(0.0), {"factor": 0.5, "value_range": (-0.5, 0.5)}),
        (layers.RandomRotation(0.0), {"factor": (0.25, 0.25)}),
        (layers.RandomTranslation(0.0, 0.0), {"height_factor": (0.4, 0.4), "width_factor": (0.2, 0.2)}),
        (layers.RandomZoom(0.0), {"height_factor": (0.4, 0.4), "width_factor": (0.2, 0.2)}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_arguments_of_random_layers_can_change(first, changes):
    before = first(images(), training=True).numpy()
    for name, value in changes.items():
        setattr(first, name, value)
    tg.seed(0)
    after = first(images(), training=True).numpy()
    tg.seed(0)
    numpy.testing.assert_array_equal(
        type(first).from_config(first.get_config())(images(), training=True).numpy(), after
    )
    assert (after != before).any()


@EVERY
def test_random_layers_pass_on_in_evaluation(layer):
    x = images(2, 3, 4)  # the size of the crop
    for result in (layer(x), layer(x, training=False), layer.eval()(x)):
        numpy.testing.assert_array_equal(result.numpy(), x)
    layer.training_mode = None
    whole = layer(numpy.ones((3, 4, 1), "uint8"))
    assert whole.dtype == "float32"
    assert (whole == 1.0).all()


@EVERY
def test_random_layers_under_jit(layer):
    def step(x):
        x = x * 1.0
        return layer(x, training=True), tg.grad(lambda x: (layer(x, training=True) ** 2).sum())(x)

    fast = tg.jit(step)
    for scale in (1.0, 0.5, 0.75):
        x = tg.tensor(images(2) * scale)
        tg.seed(1)
        expected = [t.numpy() for t in step(x)]
        tg.seed(1)
        for y, z in zip(fast(x), expected, strict=True):
            near(y.numpy(), z, rtol=1e-5, atol=1e-5)
    assert len(fast.plans) == 1


@pytest.mark.gpu
@EVERY
def test_random_layers_on_cuda(layer):
    tg.seed(2)
    expected = layer(tg.tensor(images(2)), training=True).numpy()
    tg.seed(2)
    found = layer(tg.tensor(images(2), device="cuda"), training=True)
    assert str(found.device) == "cuda:0"
    near(found.numpy(), expected, atol=1e-5)


def test_flips_are_half_of_the_images():
    x = tg.tensor(numpy.repeat(images(1, 2, 2, 1), 4000, axis=0))
    original = x.numpy()[0]
    kinds = {
        "horizontal": [original, original[:, ::-1]],
        "vertical": [original, original[::-1]],
        "horizontal_and_vertical": [original, original[:, ::-1], original[::-1], original[::-1, ::-1]],
    }
    tg.seed(0)
    for mode, expected in kinds.items():
        y = layers.RandomFlip(mode)(x, training=True).numpy()
        shares = [float((y == image).all(axis=(1, 2, 3)).mean()) for image in expected]
        near(shares, 1 / len(expected), atol=4 * 0.5 / 4000**0.5)
        assert round(sum(shares) * 4000) == 4000


def test_crops_are_everywhere_equally_often():
    x = tg.tensor(numpy.arange(20.0).reshape(1, 4, 5, 1).repeat(6000, axis=0))
    tg.seed(0)
    y = layers.RandomCrop(3, 3)(x, training=True).numpy()[..., 0]
    places, counts = numpy.unique(y[:, 0, 0], return_counts=True)
    assert places.tolist() == [0, 1, 2, 5, 6, 7]
    near(counts / 6000, 1 / 6, atol=4 * 0.38 / 6000**0.5)
    numpy.testing.assert_array_equal(
        y - y[:, :1, :1], (numpy.arange(3)[:, None] * 5 + numpy.arange(3))[None].repeat(6000, 0)
    )


def test_factors_are_uniform():
    x = numpy.tile(numpy.array([0.25, 0.75], "float32").reshape(1, 1, 2, 1), (8000, 1, 1, 1))
    tg.seed(0)
    y = layers.RandomContrast((0.5, 0.25), value_range=(0, 1))(x, training=True).numpy()
    check_uniform((y[:, 0, 1, 0] - y[:, 0, 0, 0]) * 2, 0.5, 1.25)
    y = layers.RandomBrightness((-0.5, 0.25), value_range=(-10, 10))(x, training=True).numpy()
    check_uniform((y - x)[:, 0, 0, 0] / 20, -0.5, 0.25)
    ramp = numpy.tile(numpy.arange(9, dtype="float32").reshape(1, 1, 9, 1), (8000, 1, 1, 1))
    moved = layers.RandomTranslation(0.0, 1 / 9)(ramp, training=True).numpy()
    check_uniform(4.0 - moved[:, 0, 4, 0], -1.0, 1.0)
    zoomed = layers.RandomZoom(0.0, (-0.5, 0.5))(ramp, training=True).numpy()
    check_uniform(zoomed[:, 0, 5, 0] - 4.0, 0.5, 1.5)
    plane = numpy.broadcast_to(numpy.arange(5, dtype="float32") - 2, (8000, 5, 5))[..., None]
    turned = layers.RandomRotation(0.125, interpolation="bilinear")(plane, training=True).numpy()
    # one pixel above the centre comes from sin(angle) right of it
    check_uniform(numpy.arcsin(turned[:, 1, 2, 0]) / (2 * numpy.pi), -0.125, 0.125)


def check_uniform(values, low, high):
    """By the test of Kolmogorov and Smirnov; 1.95 is exceeded once in a thousand."""
    shares = (numpy.sort(values) - low) / (high - low)
    gap = abs(shares - (numpy.arange(len(values)) + 0.5) / len(values)).max()
    assert gap * len(values) ** 0.5 < 1.95, gap


def test_smaller_images_are_cut_to_proportion_and_enlarged():
    x = (numpy.arange(12, dtype="float32") ** 2).reshape(1, 3, 4, 1)
    expected = [4.75, 10.75, 55.75, 79.75]  # smart_resize of Keras 3.15.1
    near(layers.RandomCrop(2, 2)(x).numpy().ravel(), expected)
    large = layers.RandomCrop(6, 6)(x, training=True)
    near(large.numpy(), tg.resize(tg.tensor(x[:, :, :3]), (6, 6), "bilinear").numpy())


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: layers.RandomFlip("both"), "RandomFlip: expected mode to be one of"),
        (lambda: layers.RandomRotation(1.5), "RandomRotation: expected factor to be a number from -1 to 1"),
        (lambda: layers.RandomRotation((0.1, 0.2, 0.3)), "expected factor to be a number or two"),
        (lambda: layers.RandomRotation(0.1, fill_mode="mirror"), "expected fill_mode to be one of"),
        (lambda: layers.RandomRotation(0.1, interpolation="cubic"), "expected interpolation to be one of"),
        (lambda: layers.RandomZoom(-1.0), "expected height_factor to be a number above -1 to 1"),
        (lambda: layers.RandomContrast(-0.5), "expected factor to be a number from 0 to 1"),
        (lambda: layers.RandomContrast(0.5, value_range=3), "expected value_range to be two numbers"),
        (lambda: layers.RandomCrop(0, 1), "expected height to be an integer of at least 1"),
        (lambda: layers.Resizing(1, 1, "bicubic"), "expected interpolation to be one of"),
        (lambda: layers.Resizing(1, 1, "nearest", True, True), "expected crop_to_aspect_ratio or pad_to_aspect_ratio"),
        (lambda: layers.RandomZoom(0.1)(numpy.ones((4, 4))), "received shape \\(4, 4\\). Hint: add the axis"),
    ],
)
def test_errors_of_layers_of_images(make, text):
    with pytest.raises((ValueError, TypeError), match=text):
        make()


def test_a_model_trains_behind_random_layers():
    tg.seed(0)
    x = images(8, 4, 4, 1)
    parts = [
        layers.Input((4, 4, 1)),
        layers.RandomFlip(),
        layers.RandomRotation(0.1),
        layers.Flatten(),
        layers.Dense(1),
    ]
    model = models.Sequential(parts)
    model.compile(optimizer="sgd", loss="mse", jit=True)
    model.fit(x, x.mean(axis=(1, 2, 3)), epochs=2, verbose=0)
    numpy.testing.assert_array_equal(model.predict(x), model.predict(x))
