"""Activation functions as layers."""

from layer_cases import Case, F, L, V

NAMES = (
    "celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_tanh leaky_relu log_sigmoid log_softmax "
    "mish relu6 selu silu soft_shrink softplus softsign sparse_plus sparse_sigmoid sparsemax squareplus tanh_shrink"
)

CASES = [
    *(
        Case(f"activation {name}", L("Activation", activation=name), F(2, 4, low=-4.0, high=4.0))
        for name in NAMES.split()
    ),
    Case("relu", L("ReLU"), F(2, 3), wrong=(([F(2, 3)], "ReLU: expected one tensor"),)),
    Case("relu with all options", L("ReLU", max_value=0.9, negative_slope=0.3, threshold=0.2), F(4, 5)),
    Case("relu up to 6", L("ReLU", max_value=6.0), F(4, 5, low=-3.0, high=9.0)),
    Case("relu with a threshold", L("ReLU", threshold=0.4), F(4, 5)),
    Case("relu with a slope and a maximum", L("ReLU", max_value=0.5, negative_slope=0.1), F(4, 5)),
    Case("leaky relu", L("LeakyReLU"), F(3, 4), wrong=(([F(3, 4)], "LeakyReLU: expected one tensor"),)),
    Case("leaky relu with a slope", L("LeakyReLU", negative_slope=0.05), F(3, 4)),
    Case(
        "prelu",
        L("PReLU"),
        F(4, 2, 3),
        wrong=(
            (F(4, 2, 4), "PReLU: expected inputs that fit slopes of shape"),
            (F(4, 2), "PReLU: expected inputs that fit slopes of shape"),
        ),
    ),
    Case(
        "prelu with shared axes",
        L("PReLU", shared_axes=[1, 2], alpha_initializer="ones", alpha_regularizer="l2"),
        F(3, 2, 3, 2),
    ),
    Case("prelu with a shared axis", L("PReLU", shared_axes=1), F(3, 2, 3)),
    Case("elu", L("ELU"), F(3, 4), wrong=(([F(3, 4)], "ELU: expected one tensor"),)),
    Case("elu with alpha", L("ELU", alpha=0.7), F(3, 4)),
    Case("softmax", L("Softmax"), F(3, 4)),
    Case("softmax along the first axis", L("Softmax", axis=1), F(2, 3, 4)),
    Case("softmax along two axes", L("Softmax", axis=[1, 2]), F(2, 3, 4)),
    Case(
        "softmax with a mask",
        L("Softmax"),
        F(3, 4),
        call={"mask": V([[True, True, False, True], [False, True, True, True], [True, False, False, False]])},
        wrong=((F(3, 5), "Softmax: expected a mask that broadcasts"),),
    ),
    Case(
        "softmax along two axes with a mask",
        L("Softmax", axis=(1, 2)),
        F(2, 2, 3),
        call={"mask": V([[[True, True, False]], [[False, True, True]]])},
    ),
]
