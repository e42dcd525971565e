"""Convolution layers over one, two or three axes, channels last: plain, depthwise, separable and transposed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from .. import ops
from ..autograd import Tensor
from ..errors import ShapeError, check_bool, check_integer, choice, message
from ..ops.windows import check_image_shape, numbers
from . import activations
from .base import ActivatedLayer
from .symbolic import Shape


def check_padding(where: str, padding: Any, choices: Sequence[str] = ("valid", "same")) -> str:
    """`padding` in small letters, as in Keras, if it is one of `choices`."""
    found = padding.lower() if isinstance(padding, str) else padding
    if found not in choices:
        raise choice(where, "padding", padding, choices)
    return str(found)


class _Convolution(ActivatedLayer):
    """What all layers of this file share. A subclass makes its kernels in `make_kernels` and applies them in
    `convolved`."""

    rank: ClassVar[int]
    operation: ClassVar[Callable[..., Any]]
    paddings: ClassVar[Sequence[str]] = ("valid", "same")
    bias: Tensor | None = None

    def __init__(
        self,
        kernel_size: Any,
        strides: Any,
        padding: str,
        dilation_rate: Any,
        activation: Any,
        use_bias: bool,
        **options: Any,
    ):
        super().__init__(**options)
        self.kernel_size = numbers(self.where, "kernel_size", kernel_size, self.rank)
        self.strides = numbers(self.where, "strides", strides, self.rank)
        self.padding = check_padding(self.where, padding, self.paddings)
        self.dilation_rate = numbers(self.where, "dilation_rate", dilation_rate, self.rank)
        self.activation = activations.get(activation, self.where)
        self.use_bias = check_bool(self.where, "use_bias", use_bias)

    def refuse_strides_with_dilation(self) -> None:
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            received = f"strides {self.strides} and dilation_rate {self.dilation_rate}"
            raise ValueError(message(self.where, "strides or a dilation_rate above 1, not both", received))

    def build(self, input_shape: Shape) -> None:
        check_image_shape(self.where, input_shape, self.rank)
        if input_shape[-1] is None:
            raise ShapeError(message(self.where, "a known number of channels, the last axis", f"shape {input_shape}"))
        self.channels = input_shape[-1]
        filters = self.make_kernels(self.channels)
        if self.use_bias:
            self.make("bias", (filters,))
        super().build(input_shape)

    def make_kernels(self, channels: int) -> int:
        """Makes the kernels for so many channels and returns how many the output has."""
        raise NotImplementedError

    def preactivation(self, x: Any) -> Any:
        check_image_shape(self.where, x.shape, self.rank)
        if x.shape[-1] != self.channels:
            hint = "put the channels last: tg.moveaxis(x, 1, -1)." if x.shape[1] == self.channels else ""
            raise ShapeError(message(self.where, f"{self.channels} channels, the last axis", f"shape {x.shape}", hint))
        y = self.convolved(x)
        return y if self.bias is None else y + self.bias

    def convolved(self, x: Any) -> Any:
        raise NotImplementedError


class _Conv(_Convolution):
    initial: ClassVar = {"kernel": "glorot_uniform", "bias": "zeros"}
    kernel: Tensor

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        *,
        dilation_rate: Any = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        **options: Any,
    ):
        super().__init__(kernel_size, strides, padding, dilation_rate, activation, use_bias, **options)
        self.filters = check_integer(self.where, "filters", filters, 1)
        self.groups = check_integer(self.where, "groups", groups, 1)
        if self.filters % self.groups:
            raise ValueError(message(self.where, "groups that divide the filters", f"{groups} for {filters}"))
        self.refuse_strides_with_dilation()

    def make_kernels(self, channels: int) -> int:
        if channels % self.groups:
            raise ShapeError(message(self.where, "groups that divide the channels", f"{self.groups} for {channels}"))
        self.make("kernel", (*self.kernel_size, channels // self.groups, self.filters))
        return self.filters

    def convolved(self, x: Any) -> Any:
        return self.operation(x, self.kernel, self.strides, self.padding, self.dilation_rate, self.groups)


class Conv1D(_Conv):
    """`Conv2D` along one axis: (n, length, channels) becomes (n, new length, filters).

    The padding "causal", all of it before, lets no output depend on a later input.

    >>> import tinygrad_edu as tg
    >>> tg.layers.Conv1D(4, 3, padding="causal", dilation_rate=2)(tg.ones((2, 10, 3))).shape
    (2, 10, 4)
    """

    rank = 1
    operation = staticmethod(ops.conv1d)
    paddings = ("valid", "same", "causal")


class Conv2D(_Conv):
    """activation(x * kernel + bias), where * is the convolution of images, without flipping the kernel: each output
    sees a window of the image. (n, height, width, channels) becomes (n, new height, new width, filters).

    Args:
        filters: how many channels the output has.
        kernel_size, strides, dilation_rate: the window, its steps, and the steps inside of it: a number, or one for
            each axis. Strides and dilation together are refused, as in Keras.
        padding: "valid", none, or "same", with which the new lengths are those of the input / strides, rounded up.
        groups: channels and filters are cut in so many parts, each with its own convolution.
        activation, use_bias, options: those of `Dense`.

    Parameters: kernel (height, width, channels / groups, filters), bias (filters,). Raises ShapeError for an input of
    another number of axes or channels, or smaller than the window, and ValueError for other arguments.

    >>> import tinygrad_edu as tg
    >>> layer = tg.layers.Conv2D(16, 3, strides=2, padding="same", activation="relu")
    >>> layer(tg.ones((8, 28, 28, 3))).shape, layer.kernel.shape
    ((8, 14, 14, 16), (3, 3, 3, 16))
    """

    rank = 2
    operation = staticmethod(ops.conv2d)


class Conv3D(_Conv):
    """`Conv2D` over three axes: (n, depth, height, width, channels) becomes (n, three new lengths, filters).

    >>> import tinygrad_edu as tg
    >>> tg.layers.Conv3D(4, (2, 3, 3))(tg.ones((1, 4, 6, 6, 2))).shape
    (1, 3, 4, 4, 4)
    """

    rank = 3
    operation = staticmethod(ops.conv3d)


class _ConvTranspose(_Convolution):
    initial: ClassVar = {"kernel": "glorot_uniform", "bias": "zeros"}
    kernel: Tensor

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        *,
        output_padding: Any = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        **options: Any,
    ):
        super().__init__(kernel_size, strides, padding, dilation_rate, activation, use_bias, **options)
        self.filters = check_integer(self.where, "filters", filters, 1)
        self.output_padding = None
        if output_padding is not None:
            self.output_padding = numbers(self.where, "output_padding", output_padding, self.rank, 0)
            if any(more >= stride for more, stride in zip(self.output_padding, self.strides, strict=True)):
                received = f"{self.output_padding} for {self.strides}"
                raise ValueError(message(self.where, "an output_padding smaller than the strides", received))
        self.refuse_strides_with_dilation()

    def make_kernels(self, channels: int) -> int:
        self.make("kernel", (*self.kernel_size, self.filters, channels))
        return self.filters

    def convolved(self, x: Any) -> Any:
        steps = (self.strides, self.padding, self.dilation_rate)
        return self.operation(x, self.kernel, *steps, output_padding=self.output_padding)


class Conv1DTranspose(_ConvTranspose):
    """`Conv2DTranspose` along one axis: (n, length, channels) becomes (n, new length, filters).

    >>> import tinygrad_edu as tg
    >>> tg.layers.Conv1DTranspose(4, 3, strides=2)(tg.ones((2, 10, 3))).shape
    (2, 21, 4)
    """

    rank = 1
    operation = staticmethod(ops.conv1d_transpose)


class Conv2DTranspose(_ConvTranspose):
    """The transpose of a `Conv2D` with respect to its input, plus a bias, and an activation: each input is spread over
    a window of a larger image. (n, height, width, channels) becomes (n, new height, new width, filters).

    Args:
        padding: the one of the convolution that is transposed; with "same" the new lengths are those of the input *
            strides.
        output_padding: which of the lengths that this convolution would make the same, see `tg.conv2d_transpose`;
            smaller than the strides.
        filters, kernel_size, strides, dilation_rate, activation, use_bias, options: those of `Conv2D`.

    Parameters: kernel (height, width, filters, channels), bias (filters,). Raises as `Conv2D` does.

    >>> import tinygrad_edu as tg
    >>> tg.layers.Conv2DTranspose(16, 3, strides=2, padding="same")(tg.ones((8, 14, 14, 3))).shape
    (8, 28, 28, 16)
    """

    rank = 2
    operation = staticmethod(ops.conv2d_transpose)


class Conv3DTranspose(_ConvTranspose):
    """`Conv2DTranspose` over three axes: (n, depth, height, width, channels) becomes (n, three new lengths, filters).

    >>> import tinygrad_edu as tg
    >>> tg.layers.Conv3DTranspose(4, 2, strides=(1, 2, 2))(tg.ones((1, 3, 4, 4, 2))).shape
    (1, 4, 8, 8, 4)
    """

    rank = 3
    operation = staticmethod(ops.conv3d_transpose)


class _DepthwiseConv(_Convolution):
    initial: ClassVar = {"depthwise": "glorot_uniform", "bias": "zeros"}
    kernel: Tensor

    def __init__(
        self,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        *,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        **options: Any,
    ):
        super().__init__(kernel_size, strides, padding, dilation_rate, activation, use_bias, **options)
        self.depth_multiplier = check_integer(self.where, "depth_multiplier", depth_multiplier, 1)

    def make_kernels(self, channels: int) -> int:
        self.make("kernel", (*self.kernel_size, channels, self.depth_multiplier), "depthwise")
        return channels * self.depth_multiplier

    def convolved(self, x: Any) -> Any:
        return self.operation(x, self.kernel, self.strides, self.padding, self.dilation_rate)


class DepthwiseConv1D(_DepthwiseConv):
    """`DepthwiseConv2D` along one axis: (n, length, channels) becomes (n, new length, channels * depth_multiplier).

    >>> import tinygrad_edu as tg
    >>> tg.layers.DepthwiseConv1D(3)(tg.ones((2, 10, 4))).shape
    (2, 8, 4)
    """

    rank = 1
    operation = staticmethod(ops.depthwise_conv1d)


class DepthwiseConv2D(_DepthwiseConv):
    """`Conv2D` for each channel by itself, with `depth_multiplier` filters, which stay side by side:
    (n, height, width, channels) becomes (n, new height, new width, channels * depth_multiplier).

    Parameters: kernel (height, width, channels, depth_multiplier), whose arguments are `depthwise_initializer`,
    `depthwise_regularizer` and `depthwise_constraint`, and bias (channels * depth_multiplier,). Strides and dilation
    may both be above 1. Raises as `Conv2D` does.

    >>> import tinygrad_edu as tg
    >>> tg.layers.DepthwiseConv2D(3, depth_multiplier=2)(tg.ones((8, 28, 28, 3))).shape
    (8, 26, 26, 6)
    """

    rank = 2
    operation = staticmethod(ops.depthwise_conv2d)


class _SeparableConv(_Convolution):
    initial: ClassVar = {"depthwise": "glorot_uniform", "pointwise": "glorot_uniform", "bias": "zeros"}
    depthwise_kernel: Tensor
    pointwise_kernel: Tensor

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        *,
        dilation_rate: Any = 1,
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        **options: Any,
    ):
        super().__init__(kernel_size, strides, padding, dilation_rate, activation, use_bias, **options)
        self.filters = check_integer(self.where, "filters", filters, 1)
        self.depth_multiplier = check_integer(self.where, "depth_multiplier", depth_multiplier, 1)

    def make_kernels(self, channels: int) -> int:
        self.make("depthwise_kernel", (*self.kernel_size, channels, self.depth_multiplier), "depthwise")
        pointwise = (*(1,) * self.rank, channels * self.depth_multiplier, self.filters)
        self.make("pointwise_kernel", pointwise, "pointwise")
        return self.filters

    def convolved(self, x: Any) -> Any:
        kernels = (self.depthwise_kernel, self.pointwise_kernel)
        return self.operation(x, *kernels, self.strides, self.padding, self.dilation_rate)


class SeparableConv1D(_SeparableConv):
    """`SeparableConv2D` along one axis: (n, length, channels) becomes (n, new length, filters).

    >>> import tinygrad_edu as tg
    >>> tg.layers.SeparableConv1D(5, 3)(tg.ones((2, 10, 4))).shape
    (2, 8, 5)
    """

    rank = 1
    operation = staticmethod(ops.separable_conv1d)


class SeparableConv2D(_SeparableConv):
    """A `DepthwiseConv2D`, then a mix of its channels at each point, a bias, and an activation:
    (n, height, width, channels) becomes (n, new height, new width, filters). Chollet, "Xception: deep learning with
    depthwise separable convolutions" (2017).

    Parameters: depthwise_kernel (height, width, channels, depth_multiplier), pointwise_kernel (1, 1, channels *
    depth_multiplier, filters), bias (filters,); the arguments of the kernels are `depthwise_...` and `pointwise_...`.
    Strides and dilation may both be above 1. Raises as `Conv2D` does.

    >>> import tinygrad_edu as tg
    >>> tg.layers.SeparableConv2D(16, 3, padding="same")(tg.ones((8, 28, 28, 3))).shape
    (8, 28, 28, 16)
    """

    rank = 2
    operation = staticmethod(ops.separable_conv2d)
