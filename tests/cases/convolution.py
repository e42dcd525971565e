"""Convolutions: plain, transposed, depthwise, separable."""

from layer_cases import Case, F, L

CASES = [
    Case(
        "conv1d",
        L("Conv1D", filters=3, kernel_size=2, activation="tanh"),
        F(2, 5, 2),
        wrong=(
            (F(2, 5), r"Conv1D: expected a batch \(n, length, channels\), received .* Hint: add a channel axis, x\["),
            (F(2, 5, 3), "Conv1D: expected 2 channels, the last axis, received shape"),
            (F(2, 1, 2), "Conv1D: conv1d: expected a padded image of at least"),
        ),
    ),
    Case("conv1d causal", L("Conv1D", filters=2, kernel_size=3, padding="causal"), F(2, 4, 2)),
    Case("conv1d causal dilated", L("Conv1D", filters=2, kernel_size=2, padding="causal", dilation_rate=3), F(2, 5, 2)),
    Case("conv1d causal strided", L("Conv1D", filters=2, kernel_size=3, padding="causal", strides=2), F(2, 4, 1)),
    Case("conv1d same", L("Conv1D", filters=2, kernel_size=4, padding="same", use_bias=False), F(2, 5, 2)),
    Case("conv1d in groups", L("Conv1D", filters=4, kernel_size=2, groups=2), F(2, 3, 4)),
    Case(
        "conv2d",
        L("Conv2D", filters=3, kernel_size=(2, 3)),
        F(2, 4, 4, 2),
        wrong=(
            (F(2, 4, 4), r"Conv2D: expected a batch \(n, height, width, channels\), received .* Hint: add a channel"),
            (F(2, 4, 4, 3), "Conv2D: expected 2 channels, the last axis, received shape"),
            (F(2, 2, 4, 4), r"Conv2D: .* Hint: put the channels last: tg.moveaxis"),
            (F(2, 1, 4, 2), "Conv2D: conv2d: expected a padded image"),
            (F(2, 0, 4, 2), "Conv2D: expected an image that is not empty"),
            ([F(2, 4, 4, 2)], "Conv2D: expected one tensor"),
        ),
    ),
    Case(
        "conv2d with relu",
        L(
            "Conv2D",
            filters=2,
            kernel_size=1,
            activation="relu",
            kernel_initializer="he_normal",
            kernel_regularizer="l2",
        ),
        F(2, 2, 2, 3),
    ),
    Case("conv2d with softmax", L("Conv2D", filters=3, kernel_size=2, activation="softmax"), F(2, 2, 3, 1)),
    Case("conv2d same", L("Conv2D", filters=2, kernel_size=(3, 2), padding="same"), F(2, 3, 3, 2)),
    Case("conv2d same strided", L("Conv2D", filters=2, kernel_size=3, strides=(2, 3), padding="same"), F(2, 4, 5, 2)),
    Case("conv2d strided", L("Conv2D", filters=2, kernel_size=2, strides=(3, 2), use_bias=False), F(2, 6, 5, 2)),
    Case("conv2d dilated", L("Conv2D", filters=2, kernel_size=2, dilation_rate=(2, 3)), F(2, 4, 5, 2)),
    Case("conv2d dilated same", L("Conv2D", filters=2, kernel_size=3, dilation_rate=2, padding="same"), F(2, 3, 4, 1)),
    Case("conv2d in groups", L("Conv2D", filters=4, kernel_size=2, groups=2), F(2, 3, 3, 4)),
    Case("conv2d a filter a channel", L("Conv2D", filters=3, kernel_size=2, groups=3), F(2, 3, 3, 3)),
    Case(
        "conv3d",
        L("Conv3D", filters=2, kernel_size=2, activation="sigmoid"),
        F(2, 2, 3, 3, 2),
        wrong=(
            (F(2, 3, 3, 2), r"Conv3D: expected a batch \(n, depth, height, width, channels\)"),
            (F(2, 2, 3, 3, 1), "Conv3D: expected 2 channels"),
        ),
    ),
    Case(
        "conv3d same strided",
        L("Conv3D", filters=2, kernel_size=(1, 2, 3), strides=(1, 2, 2), padding="same"),
        F(2, 2, 3, 3, 1),
    ),
    Case("conv3d dilated", L("Conv3D", filters=1, kernel_size=2, dilation_rate=(1, 2, 1)), F(2, 2, 3, 2, 2)),
    Case("conv3d in groups", L("Conv3D", filters=2, kernel_size=(1, 2, 1), groups=2), F(2, 1, 3, 2, 2)),
    Case(
        "conv1d transpose",
        L("Conv1DTranspose", filters=3, kernel_size=2, strides=3, activation="tanh"),
        F(2, 3, 2),
        wrong=(
            (F(3, 2), r"Conv1DTranspose: expected a batch \(n, length, channels\)"),
            (F(2, 3, 3), "Conv1DTranspose: expected 2 channels"),
        ),
    ),
    Case(
        "conv1d transpose same", L("Conv1DTranspose", filters=2, kernel_size=3, strides=2, padding="same"), F(2, 3, 2)
    ),
    Case(
        "conv1d transpose with output padding",
        L("Conv1DTranspose", filters=2, kernel_size=3, strides=3, padding="same", output_padding=1),
        F(2, 3, 1),
    ),
    Case("conv1d transpose dilated", L("Conv1DTranspose", filters=2, kernel_size=2, dilation_rate=2), F(2, 3, 1)),
    Case(
        "conv2d transpose",
        L("Conv2DTranspose", filters=3, kernel_size=(2, 3), strides=(3, 2)),
        F(2, 2, 3, 2),
        wrong=(
            (F(2, 3, 2), r"Conv2DTranspose: expected a batch \(n, height, width, channels\)"),
            (F(2, 2, 3, 3), "Conv2DTranspose: expected 2 channels"),
        ),
    ),
    Case(
        "conv2d transpose same",
        L("Conv2DTranspose", filters=2, kernel_size=3, strides=2, padding="same", use_bias=False),
        F(2, 2, 3, 1),
    ),
    Case(
        "conv2d transpose same, a stride above the kernel",
        L("Conv2DTranspose", filters=2, kernel_size=2, strides=3, padding="same"),
        F(2, 2, 3, 1),
    ),
    Case(
        "conv2d transpose valid with output padding",
        L("Conv2DTranspose", filters=2, kernel_size=3, strides=2, output_padding=(0, 1)),
        F(2, 2, 2, 1),
    ),
    Case(
        "conv2d transpose same with output padding",
        L("Conv2DTranspose", filters=2, kernel_size=(3, 4), strides=2, padding="same", output_padding=1),
        F(2, 2, 2, 2),
    ),
    Case(
        "conv2d transpose dilated",
        L("Conv2DTranspose", filters=2, kernel_size=2, dilation_rate=(2, 1), activation="relu"),
        F(2, 2, 3, 2),
    ),
    Case(
        "conv3d transpose",
        L("Conv3DTranspose", filters=2, kernel_size=2, strides=(1, 2, 1)),
        F(2, 2, 2, 1, 2),
        wrong=(
            (F(2, 2, 2, 2), r"Conv3DTranspose: expected a batch \(n, depth, height, width, channels\)"),
            (F(2, 2, 2, 2, 1), "Conv3DTranspose: expected 2 channels"),
        ),
    ),
    Case(
        "conv3d transpose same with output padding",
        L("Conv3DTranspose", filters=1, kernel_size=(1, 2, 3), strides=2, padding="same", output_padding=(0, 1, 1)),
        F(2, 1, 2, 2, 1),
    ),
    Case(
        "depthwise conv1d",
        L("DepthwiseConv1D", kernel_size=2, depth_multiplier=2, activation="tanh"),
        F(2, 4, 2),
        wrong=(
            (F(2, 4), r"DepthwiseConv1D: expected a batch \(n, length, channels\)"),
            (F(2, 4, 3), "DepthwiseConv1D: expected 2 channels"),
        ),
    ),
    Case("depthwise conv1d same", L("DepthwiseConv1D", kernel_size=3, strides=2, padding="same"), F(2, 4, 2)),
    Case("depthwise conv1d dilated", L("DepthwiseConv1D", kernel_size=2, dilation_rate=2), F(2, 4, 2)),
    Case(
        "depthwise conv2d",
        L("DepthwiseConv2D", kernel_size=(2, 1)),
        F(2, 3, 3, 2),
        wrong=(
            (F(3, 3, 2), r"DepthwiseConv2D: expected a batch \(n, height, width, channels\)"),
            (F(2, 3, 3, 1), "DepthwiseConv2D: expected 2 channels"),
        ),
    ),
    Case(
        "depthwise conv2d with a multiplier",
        L("DepthwiseConv2D", kernel_size=2, depth_multiplier=3, padding="same", use_bias=False, activation="relu"),
        F(2, 2, 3, 2),
    ),
    Case("depthwise conv2d strided", L("DepthwiseConv2D", kernel_size=3, strides=2, padding="same"), F(2, 4, 5, 1)),
    Case(
        "depthwise conv2d dilated",
        L("DepthwiseConv2D", kernel_size=2, dilation_rate=(2, 1), depth_multiplier=2),
        F(2, 3, 3, 2),
    ),
    Case(
        "depthwise conv2d strided and dilated",
        L("DepthwiseConv2D", kernel_size=2, strides=2, dilation_rate=2),
        F(2, 5, 5, 1),
    ),
    Case(
        "separable conv1d",
        L("SeparableConv1D", filters=3, kernel_size=2, activation="tanh"),
        F(2, 4, 2),
        wrong=(
            (F(2, 4), r"SeparableConv1D: expected a batch \(n, length, channels\)"),
            (F(2, 4, 3), "SeparableConv1D: expected 2 channels"),
        ),
    ),
    Case(
        "separable conv1d same",
        L("SeparableConv1D", filters=2, kernel_size=3, strides=2, padding="same", depth_multiplier=2),
        F(2, 4, 2),
    ),
    Case("separable conv1d dilated", L("SeparableConv1D", filters=2, kernel_size=2, dilation_rate=2), F(2, 4, 1)),
    Case(
        "separable conv2d",
        L("SeparableConv2D", filters=3, kernel_size=(2, 1)),
        F(2, 3, 3, 2),
        wrong=(
            (F(3, 3, 2), r"SeparableConv2D: expected a batch \(n, height, width, channels\)"),
            (F(2, 3, 3, 1), "SeparableConv2D: expected 2 channels"),
        ),
    ),
    Case(
        "separable conv2d same",
        L("SeparableConv2D", filters=2, kernel_size=3, strides=2, padding="same", depth_multiplier=2, use_bias=False),
        F(2, 3, 4, 2),
    ),
    Case("separable conv2d dilated", L("SeparableConv2D", filters=2, kernel_size=2, dilation_rate=2), F(2, 3, 3, 2)),
]
