"""Layers that normalize."""

from layer_cases import Case, F, L, V

STEPS = V([[True, True, False], [True, False, False], [True, True, True]])
WRONG_LENGTH = "expected parameters of shape"

CASES = [
    Case(
        "batch normalization",
        L("BatchNormalization"),
        F(4, 3),
        positive=(3,),
        wrong=((F(4, 2), WRONG_LENGTH),),
    ),
    Case(
        "batch normalization in training",
        L("BatchNormalization"),
        F(4, 3),
        call={"training": True},
        positive=(3,),
        rows=False,
        wrong=((F(0, 3), "expected more than one value per channel"), (F(4, 2), WRONG_LENGTH)),
    ),
    Case(
        "batch normalization of one row in training",
        L("BatchNormalization"),
        F(1, 3),
        call={"training": True},
        positive=(3,),
        rows=False,
    ),
    Case(
        "batch normalization of images in training",
        L("BatchNormalization", axis=1, epsilon=0.1, momentum=0.5),
        F(2, 3, 2, 2),
        call={"training": True},
        positive=(3,),
        rows=False,
    ),
    Case(
        "batch normalization without scale and center",
        L("BatchNormalization", scale=False, center=False),
        F(3, 2, 2),
        positive=(1,),
    ),
    Case(
        "batch normalization without center in training",
        L(
            "BatchNormalization",
            center=False,
            gamma_initializer="ones",
            gamma_regularizer={"class_name": "L1L2", "config": {"l1": 0.5, "l2": 0.25}},
        ),
        F(3, 2, 2),
        call={"training": True},
        positive=(2,),
        rows=False,
    ),
    Case(
        "batch normalization with a mask",
        L("BatchNormalization"),
        F(3, 3, 2),
        call={"training": True, "mask": STEPS},
        positive=(3,),
        rows=False,
        wrong=((F(3, 4, 2), "expected a mask of shape"),),
    ),
    Case(
        "batch normalization that is frozen",
        L("BatchNormalization", trainable=False),
        F(4, 3),
        call={"training": True},
        positive=(3,),
    ),
    Case("layer normalization", L("LayerNormalization"), F(3, 4), wrong=((F(3, 5), WRONG_LENGTH),)),
    Case("layer normalization along the first axis", L("LayerNormalization", axis=1), F(2, 3, 2)),
    Case("layer normalization along two axes", L("LayerNormalization", axis=[1, 2], epsilon=0.05), F(2, 3, 2)),
    Case("layer normalization along separate axes", L("LayerNormalization", axis=[1, 3]), F(2, 3, 2, 2)),
    Case("layer normalization without scale", L("LayerNormalization", scale=False, beta_regularizer="l2"), F(3, 4)),
    Case("layer normalization without center", L("LayerNormalization", center=False), F(3, 4)),
    Case(
        "group normalization",
        L("GroupNormalization", groups=2),
        F(2, 3, 4),
        wrong=((F(2, 3, 5), WRONG_LENGTH),),
    ),
    Case("group normalization along the first axis", L("GroupNormalization", groups=2, axis=1), F(2, 4, 3)),
    Case("group normalization of each channel", L("GroupNormalization", groups=-1, epsilon=0.01), F(2, 3, 2, 2)),
    Case(
        "group normalization without scale and center",
        L("GroupNormalization", groups=1, scale=False, center=False),
        F(2, 3, 4),
    ),
    Case("rms normalization", L("RMSNormalization"), F(3, 4), wrong=((F(3, 5), WRONG_LENGTH),)),
    Case("rms normalization along two axes", L("RMSNormalization", axis=[1, 2], epsilon=0.1), F(2, 3, 2)),
    Case("unit normalization", L("UnitNormalization"), F(3, 4), wrong=((F(), "expected "),)),
    Case("unit normalization along two axes", L("UnitNormalization", axis=[1, 2]), F(2, 3, 2)),
]
