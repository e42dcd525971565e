"""Pooling: of windows, of whole images, into parts of a wanted number."""

from layer_cases import Case, F, L, V

TIMES = r"a batch \(n, length, channels\)"
IMAGES = r"a batch \(n, height, width, channels\), received .* Hint: add a channel axis"
VOLUMES = r"a batch \(n, depth, height, width, channels\)"
MASK = V([[True, False, True, True], [False, False, True, False]])

CASES = [
    Case(
        "max pooling1d",
        L("MaxPooling1D"),
        F(2, 5, 2),
        wrong=(
            (F(2, 5), f"MaxPooling1D: max_pool1d: expected {TIMES}"),
            (F(2, 1, 2), "MaxPooling1D: max_pool1d: expected a padded image of at least"),
        ),
    ),
    Case("max pooling1d same", L("MaxPooling1D", pool_size=3, strides=2, padding="same"), F(2, 4, 2)),
    Case(
        "max pooling2d",
        L("MaxPooling2D"),
        F(2, 4, 5, 2),
        wrong=((F(4, 5, 2), f"MaxPooling2D: max_pool2d: expected {IMAGES}"),),
    ),
    Case("max pooling2d overlapping", L("MaxPooling2D", pool_size=(3, 2), strides=(1, 2)), F(2, 4, 4, 1)),
    Case("max pooling2d same", L("MaxPooling2D", pool_size=3, padding="same"), F(2, 4, 5, 2)),
    Case(
        "max pooling3d",
        L("MaxPooling3D"),
        F(2, 2, 2, 4, 2),
        wrong=((F(2, 2, 2, 4), f"MaxPooling3D: max_pool3d: expected {VOLUMES}"),),
    ),
    Case("max pooling3d same", L("MaxPooling3D", pool_size=(1, 2, 2), strides=2, padding="same"), F(2, 2, 3, 3, 1)),
    Case(
        "average pooling1d",
        L("AveragePooling1D", pool_size=2),
        F(2, 5, 2),
        wrong=((F(2, 5), f"AveragePooling1D: average_pool1d: expected {TIMES}"),),
    ),
    Case("average pooling1d same", L("AveragePooling1D", pool_size=3, strides=2, padding="same"), F(2, 4, 2)),
    Case(
        "average pooling2d",
        L("AveragePooling2D", pool_size=(2, 3), strides=1),
        F(2, 3, 4, 2),
        wrong=((F(3, 4, 2), f"AveragePooling2D: average_pool2d: expected {IMAGES}"),),
    ),
    Case("average pooling2d same", L("AveragePooling2D", pool_size=2, padding="same"), F(2, 3, 5, 2)),
    Case(
        "average pooling3d",
        L("AveragePooling3D", pool_size=2),
        F(2, 2, 2, 4, 2),
        wrong=((F(2, 2, 2, 4), f"AveragePooling3D: average_pool3d: expected {VOLUMES}"),),
    ),
    Case(
        "average pooling3d same",
        L("AveragePooling3D", pool_size=(1, 2, 2), strides=2, padding="same"),
        F(2, 2, 3, 3, 1),
    ),
    Case(
        "global max pooling1d",
        L("GlobalMaxPooling1D"),
        F(2, 4, 3),
        wrong=((F(2, 4), f"GlobalMaxPooling1D: expected {TIMES}"),),
    ),
    Case("global max pooling1d with keepdims", L("GlobalMaxPooling1D", keepdims=True), F(2, 4, 3)),
    Case(
        "global max pooling2d",
        L("GlobalMaxPooling2D"),
        F(2, 3, 2, 2),
        wrong=((F(2, 3, 2), f"GlobalMaxPooling2D: expected {IMAGES}"),),
    ),
    Case("global max pooling2d with keepdims", L("GlobalMaxPooling2D", keepdims=True), F(2, 3, 2, 2)),
    Case(
        "global max pooling3d",
        L("GlobalMaxPooling3D"),
        F(2, 1, 3, 2, 2),
        wrong=((F(2, 3, 2, 2), f"GlobalMaxPooling3D: expected {VOLUMES}"),),
    ),
    Case("global max pooling3d with keepdims", L("GlobalMaxPooling3D", keepdims=True), F(2, 1, 3, 2, 2)),
    Case(
        "global average pooling1d",
        L("GlobalAveragePooling1D"),
        F(2, 4, 3),
        wrong=((F(2, 4), f"GlobalAveragePooling1D: expected {TIMES}"),),
    ),
    Case("global average pooling1d with keepdims", L("GlobalAveragePooling1D", keepdims=True), F(2, 4, 3)),
    Case(
        "global average pooling1d with a mask",
        L("GlobalAveragePooling1D"),
        F(2, 4, 3),
        call={"mask": MASK},
        wrong=(
            (F(2, 3, 3), r"GlobalAveragePooling1D: expected a mask of shape \(2, 3\), received \(2, 4\)"),
            (F(2, 4), f"GlobalAveragePooling1D: expected {TIMES}"),
        ),
    ),
    Case(
        "global average pooling1d with a mask and keepdims",
        L("GlobalAveragePooling1D", keepdims=True),
        F(2, 4, 3),
        call={"mask": MASK},
    ),
    Case(
        "global average pooling2d",
        L("GlobalAveragePooling2D"),
        F(2, 3, 2, 2),
        wrong=((F(2, 3, 2), f"GlobalAveragePooling2D: expected {IMAGES}"),),
    ),
    Case("global average pooling2d with keepdims", L("GlobalAveragePooling2D", keepdims=True), F(2, 3, 2, 2)),
    Case(
        "global average pooling3d",
        L("GlobalAveragePooling3D"),
        F(2, 1, 3, 2, 2),
        wrong=((F(2, 3, 2, 2), f"GlobalAveragePooling3D: expected {VOLUMES}"),),
    ),
    Case("global average pooling3d with keepdims", L("GlobalAveragePooling3D", keepdims=True), F(2, 1, 3, 2, 2)),
    Case(
        "adaptive average pooling1d",
        L("AdaptiveAveragePooling1D", output_size=3),
        F(2, 5, 2),
        wrong=((F(2, 5), f"AdaptiveAveragePooling1D: .* expected {TIMES}"),),
    ),
    Case(
        "adaptive average pooling2d",
        L("AdaptiveAveragePooling2D", output_size=(2, 3)),
        F(2, 5, 4, 2),
        wrong=((F(2, 5, 2), f"AdaptiveAveragePooling2D: .* expected {IMAGES}"),),
    ),
    Case("adaptive average pooling2d, one size", L("AdaptiveAveragePooling2D", output_size=2), F(2, 4, 5, 1)),
    Case(
        "adaptive average pooling3d",
        L("AdaptiveAveragePooling3D", output_size=(1, 2, 3)),
        F(2, 2, 3, 4, 1),
        wrong=((F(2, 5, 2, 2), f"AdaptiveAveragePooling3D: .* expected {VOLUMES}"),),
    ),
    Case(
        "adaptive max pooling1d",
        L("AdaptiveMaxPooling1D", output_size=3),
        F(2, 5, 2),
        wrong=((F(2, 5), f"AdaptiveMaxPooling1D: .* expected {TIMES}"),),
    ),
    Case(
        "adaptive max pooling2d",
        L("AdaptiveMaxPooling2D", output_size=(2, 3)),
        F(2, 5, 4, 2),
        wrong=((F(2, 5, 2), f"AdaptiveMaxPooling2D: .* expected {IMAGES}"),),
    ),
    Case("adaptive max pooling2d, one size", L("AdaptiveMaxPooling2D", output_size=2), F(2, 4, 5, 1)),
    Case(
        "adaptive max pooling3d",
        L("AdaptiveMaxPooling3D", output_size=(1, 2, 3)),
        F(2, 2, 3, 4, 1),
        wrong=((F(2, 5, 2, 2), f"AdaptiveMaxPooling3D: .* expected {VOLUMES}"),),
    ),
]
