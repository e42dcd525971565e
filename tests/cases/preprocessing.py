"""The layers that prepare data. Random ones pass images on here; test_layers_preprocessing.py has them in training."""

from layer_cases import Case, F, L, V

RANK = "expected images of shape"
STILL = {"training": False}
TEXTS = V(["the cat", "a Dog, the end"])
WORDS = ["the", "dog", "end"]
ROTATION = {"factor": 0.2, "seed": 3, "fill_mode": "constant", "interpolation": "nearest", "fill_value": 1.0}

CASES = [
    Case(
        "rescaling",
        L("Rescaling", scale=0.5, offset=-1.0),
        F(2, 3),
        wrong=(([F(2, 3)], "Rescaling: expected one tensor"),),
    ),
    Case("rescaling of integers", L("Rescaling", scale=0.25), V([[0, 255]]), order=0),
    Case(
        "normalization",
        L("Normalization", mean=[0.5, -0.5, 0.0], variance=[2.0, 0.5, 0.0]),
        F(4, 3),
        wrong=((F(4, 2), "Normalization: expected lengths"), (F(3), "Normalization: expected an input with the axis")),
    ),
    Case("normalization inverted", L("Normalization", mean=3.0, variance=4.0, invert=True), F(2, 2, 3)),
    Case(
        "normalization of an axis in the middle",
        L("Normalization", axis=1, mean=[1.0, 2.0], variance=[4.0, 9.0]),
        F(3, 2, 2),
    ),
    Case("normalization of everything", L("Normalization", axis=None, mean=1.0, variance=4.0), F(3, 2)),
    Case(
        "discretization",
        L("Discretization", bin_boundaries=[-0.5, 0.0, 0.5]),
        V([[-1.0, -0.5, 0.2, 3.0]]),
        order=0,
        wrong=((V([[float("nan")]]), "Discretization: expected numbers, received nan"),),
    ),
    Case(
        "discretization as rows",
        L("Discretization", bin_boundaries=[0.0], output_mode="one_hot"),
        V([[-1.0], [1.0]]),
        order=0,
    ),
    Case(
        "category encoding",
        L("CategoryEncoding", num_tokens=4),
        V([[0, 1, 1], [3, 3, 3]]),
        order=0,
        wrong=(
            (V([[0, 4]]), "CategoryEncoding: expected indices from 0 to 3"),
            (F(2, 3), "CategoryEncoding: expected ids of an integer dtype"),
            (V([[[1]]]), "CategoryEncoding: expected at most two axes"),
        ),
    ),
    Case(
        "category encoding one by one",
        L("CategoryEncoding", num_tokens=3, output_mode="one_hot"),
        V([[2], [0]]),
        order=0,
    ),
    Case(
        "category encoding counts",
        L("CategoryEncoding", num_tokens=3, output_mode="count"),
        V([[2, 0, 2], [1, 1, 1]]),
        call={"count_weights": V([[1.0, 2.0, 0.5], [1.0, 1.0, 2.0]])},
        order=0,
        saved=False,
    ),
    Case(
        "string lookup",
        L("StringLookup", vocabulary=WORDS, mask_token=""),
        V([["the", ""], ["cat", "end"]]),
        order=0,
        wrong=((F(2, 2), "StringLookup: expected texts, received float"),),
        saved=False,
    ),
    Case(
        "integer lookup",
        L("IntegerLookup", vocabulary=[10, 20], num_oov_indices=2),
        V([[10, 20, 5], [6, 20, -1]]),
        order=0,
        jit=False,
        wrong=((F(2, 2), "IntegerLookup: expected integers"),),
    ),
    Case(
        "text vectorization",
        L("TextVectorization", vocabulary=WORDS, output_sequence_length=4),
        TEXTS,
        order=0,
        saved=False,
        wrong=(
            (F(2, 1), "TextVectorization: expected texts, received float"),
            (V([["a", "b"]]), r"TextVectorization: expected texts of shape \(n,\) or \(n, 1\)"),
        ),
    ),
    Case(
        "text vectorization to the longest",
        L("TextVectorization", vocabulary=WORDS),
        TEXTS,
        order=0,
        saved=False,
        rows=False,
    ),
    Case(
        "resizing",
        L("Resizing", height=3, width=5),
        F(2, 4, 4, 2),
        wrong=((F(4, 4), RANK),),
    ),
    Case("resizing of one image", L("Resizing", height=2, width=3, interpolation="nearest"), F(4, 4, 2), rows=False),
    Case(
        "resizing of integers",
        L("Resizing", height=2, width=3),
        V([[[[0], [9], [4]], [[3], [4], [7]], [[8], [1], [2]]]]),
        order=0,
    ),
    Case("resizing that crops", L("Resizing", height=2, width=4, crop_to_aspect_ratio=True), F(2, 4, 4, 1)),
    Case(
        "resizing that pads", L("Resizing", height=2, width=4, pad_to_aspect_ratio=True, fill_value=0.5), F(2, 4, 4, 1)
    ),
    Case("center crop", L("CenterCrop", height=2, width=3), F(2, 5, 4, 2), wrong=((F(1, 2, 5, 4, 2), RANK),)),
    Case("center crop of smaller images", L("CenterCrop", height=4, width=3), F(2, 3, 5, 1)),
    Case(
        "random crop",
        L("RandomCrop", height=2, width=3),
        F(2, 5, 4, 2),
        call=STILL,
        keras=False,
        wrong=((F(4, 4), RANK),),
    ),
    Case("random flip", L("RandomFlip"), F(2, 3, 2, 1), call=STILL, wrong=((F(4, 4), RANK),)),
    Case("random flip of one image", L("RandomFlip", mode="vertical"), F(3, 2, 1), call=STILL),
    Case("random rotation", L("RandomRotation", **ROTATION), F(2, 3, 2, 1), call=STILL, wrong=((F(4, 4), RANK),)),
    Case(
        "random translation",
        L("RandomTranslation", height_factor=0.2, width_factor=0.1),
        F(2, 3, 2, 1),
        call=STILL,
        wrong=((F(4, 4), RANK),),
    ),
    Case("random zoom", L("RandomZoom", height_factor=0.2), F(2, 3, 2, 1), call=STILL, wrong=((F(4, 4), RANK),)),
    Case("random contrast", L("RandomContrast", factor=0.2), F(2, 3, 2, 1), call=STILL, wrong=((F(4, 4), RANK),)),
    Case("random brightness", L("RandomBrightness", factor=0.2), F(2, 3, 2, 1), call=STILL, wrong=((F(4, 4), RANK),)),
]
