"""The layers that every network has."""

from layer_cases import Case, F, L

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
    Case("dense without a bias", L("Dense", units=2, use_bias=False), F(2, 3, 4)),
    Case("dense with softmax", L("Dense", units=3, activation="softmax"), F(2, 4)),
    Case("activation", L("Activation", activation="gelu"), F(2, 3)),
    Case("flatten", L("Flatten"), F(2, 3, 2)),
    Case("reshape", L("Reshape", target_shape=(3, -1)), F(2, 6), wrong=((F(2, 5), "Reshape: expected rows that can"),)),
    Case("dropout", L("Dropout", rate=0.5), F(2, 3)),
]
