"""Layers that arrange elements anew."""

from layer_cases import Case, F, L

SEQUENCES = r"expected a batch \(n, length, channels\)"
IMAGES = r"expected a batch \(n, height, width, channels\)"
VOLUMES = r"expected a batch \(n, depth, height, width, channels\)"

CASES = [
    Case(
        "flatten",
        L("Flatten"),
        F(2, 3, 2),
        wrong=((F(), r"Flatten: expected inputs of shape \(batch, ...\)"), ([F(2, 3)], "Flatten: expected one tensor")),
    ),
    Case("reshape", L("Reshape", target_shape=(3, -1)), F(2, 6), wrong=((F(2, 5), "Reshape: expected rows that can"),)),
    Case(
        "permute",
        L("Permute", dims=(3, 1, 2)),
        F(2, 3, 4, 2),
        wrong=((F(2, 3, 4), "Permute: expected inputs of 4 axes"),),
    ),
    Case(
        "repeat vector",
        L("RepeatVector", n=3),
        F(2, 4),
        wrong=((F(2, 3, 4), r"RepeatVector: expected inputs of shape \(batch, features\)"),),
    ),
    Case("zero padding 1d", L("ZeroPadding1D"), F(2, 3, 2), wrong=((F(2, 3), SEQUENCES),)),
    Case("zero padding 1d on one side", L("ZeroPadding1D", padding=(2, 0)), F(2, 3, 2)),
    Case("zero padding 2d", L("ZeroPadding2D"), F(2, 3, 2, 1), wrong=((F(2, 3, 2), IMAGES),)),
    Case("zero padding 2d by pairs", L("ZeroPadding2D", padding=((1, 0), (2, 3))), F(2, 3, 2, 1)),
    Case("zero padding 2d by one number each", L("ZeroPadding2D", padding=(2, 1)), F(2, 3, 2, 1)),
    Case("zero padding 3d", L("ZeroPadding3D"), F(2, 1, 2, 2, 1), wrong=((F(2, 3, 2, 2), VOLUMES),)),
    Case("zero padding 3d by pairs", L("ZeroPadding3D", padding=((1, 0), (0, 2), (0, 0))), F(2, 1, 2, 2, 1)),
    Case(
        "cropping 1d",
        L("Cropping1D"),
        F(2, 5, 2),
        wrong=((F(2, 3), SEQUENCES), (F(2, 2, 2), "Cropping1D: expected lengths above those cropped")),
    ),
    Case("cropping 1d on one side", L("Cropping1D", cropping=(2, 0)), F(2, 5, 2)),
    Case("cropping 2d of nothing", L("Cropping2D"), F(2, 3, 2, 1)),
    Case(
        "cropping 2d",
        L("Cropping2D", cropping=((1, 0), (1, 2))),
        F(2, 3, 5, 1),
        wrong=((F(2, 3, 5), IMAGES), (F(2, 3, 3, 1), "Cropping2D: expected lengths above those cropped")),
    ),
    Case("cropping 2d by one number each", L("Cropping2D", cropping=(1, 2)), F(2, 3, 5, 1)),
    Case("cropping 3d", L("Cropping3D"), F(2, 3, 4, 3, 1), wrong=((F(2, 3, 2, 2), VOLUMES),)),
    Case("cropping 3d by pairs", L("Cropping3D", cropping=((1, 0), (0, 2), (0, 0))), F(2, 2, 3, 2, 1)),
    Case("up sampling 1d", L("UpSampling1D"), F(2, 3, 2), wrong=((F(2, 3), SEQUENCES),)),
    Case("up sampling 1d by three", L("UpSampling1D", size=3), F(2, 3, 2)),
    Case("up sampling 2d", L("UpSampling2D"), F(2, 2, 3, 1), wrong=((F(2, 3, 2), IMAGES),)),
    Case("up sampling 2d by two factors", L("UpSampling2D", size=(1, 3)), F(2, 2, 3, 1)),
    Case("up sampling 2d, bilinear", L("UpSampling2D", size=(2, 3), interpolation="bilinear"), F(2, 2, 3, 1)),
    Case("up sampling 3d", L("UpSampling3D"), F(2, 2, 1, 2, 1), wrong=((F(2, 3, 2, 2), VOLUMES),)),
    Case("up sampling 3d by three factors", L("UpSampling3D", size=(1, 2, 3)), F(2, 2, 1, 2, 1)),
]
