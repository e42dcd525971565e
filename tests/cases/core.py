"""The layers that every network has."""

from layer_cases import Case, F, L, V


def scaled(x, factor, training=None):
    return x * factor - 1.0


HE = {"class_name": "HeNormal", "config": {"seed": 3}}

CASES = [
    Case(
        "dense",
        L("Dense", units=3, activation="tanh"),
        F(4, 2),
        wrong=(
            (F(4, 3), "Dense: expected 2 input features, received shape"),
            ([F(4, 2)], "Dense: expected one tensor"),
        ),
    ),
    Case(
        "dense without a bias",
        L("Dense", units=2, use_bias=False, kernel_initializer=HE, kernel_regularizer="l2"),
        F(2, 3, 4),
    ),
    Case(
        "dense with softmax",
        L("Dense", units=3, activation="softmax", bias_initializer="ones", bias_regularizer="l1"),
        F(2, 4),
    ),
    Case(
        "activation",
        L("Activation", activation="gelu"),
        F(2, 3),
        wrong=(([F(2, 3)], "Activation: expected one tensor"),),
    ),
    Case("identity", L("Identity"), F(2, 3), wrong=((V([["a"]]), "Identity: tensor: expected booleans"),)),
    Case(
        "masking",
        L("Masking", mask_value=0.5),
        V([[[0.5, 0.5], [0.5, -2.0]], [[1.5, 2.0], [0.5, 0.5]]]),
        wrong=((F(3), r"Masking: expected inputs of shape \(batch, ..., features\)"),),
    ),
    Case("masking of floats", L("Masking"), F(2, 3, 2)),
    Case(
        "lambda",
        L("Lambda", function=scaled, output_shape=(3,), arguments={"factor": 3.0}),
        F(2, 3),
        wrong=((F(2, 4), r"Lambda: expected an output of shape \(None, 3\)"),),
        saved=False,
    ),
    Case(
        "perceptron",
        L("Perceptron", units=2),
        F(4, 3),
        keras=False,
        order=0,
        wrong=((F(4, 2), "Perceptron: expected 3 input features"),),
    ),
]
