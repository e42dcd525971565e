"""Pooling layers over one, two or three axes, channels last: windows, whole images, and parts of a wanted number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from .. import ops
from ..errors import check_bool
from ..ops.windows import check_image, numbers
from .base import Layer
from .convolution import check_padding
from .masks import as_mask


class _Pooling(Layer):
    rank: ClassVar[int]
    operation: ClassVar[Callable[..., Any]]

    def __init__(self, pool_size: Any, strides: Any = None, padding: str = "valid", **options: Any):
        super().__init__(**options)
        self.pool_size = numbers(self.where, "pool_size", pool_size, self.rank)
        self.strides = self.pool_size if strides is None else numbers(self.where, "strides", strides, self.rank)
        self.padding = check_padding(self.where, padding)

    def call(self, x: Any) -> Any:
        return self.operation(x, self.pool_size, self.strides, self.padding)


class _MaxPooling(_Pooling):
    def __init__(self, pool_size: Any = 2, strides: Any = None, padding: str = "valid", **options: Any):
        super().__init__(pool_size, strides, padding, **options)


class MaxPooling1D(_MaxPooling):
    """`MaxPooling2D` along one axis: (n, length, channels) becomes (n, new length, channels).

    >>> import tinygrad_edu as tg
    >>> tg.layers.MaxPooling1D()(tg.tensor([[[1.0], [3.0], [2.0], [0.0]]])).ravel()
    tensor([3., 2.])
    """

    rank = 1
    operation = staticmethod(ops.max_pool1d)


class MaxPooling2D(_MaxPooling):
    """The largest element of each window, channel by channel: (n, height, width, channels) becomes
    (n, new height, new width, channels).

    Args:
        pool_size, strides: the window and its steps, a number, or one for each axis; the steps are the window's
            lengths unless given.
        padding: "valid", none, or "same", with which the new lengths are those of the input / strides, rounded up;
            padding is never the largest.

    Of equal elements the first gets the gradient. Raises ShapeError for an input of another number of axes or smaller
    than the window, and ValueError for other arguments.

    >>> import tinygrad_edu as tg
    >>> tg.layers.MaxPooling2D()(tg.ones((8, 28, 28, 3))).shape
    (8, 14, 14, 3)
    """

    rank = 2
    operation = staticmethod(ops.max_pool2d)


class MaxPooling3D(_MaxPooling):
    """`MaxPooling2D` over three axes: (n, depth, height, width, channels) becomes (n, three new lengths, channels).

    >>> import tinygrad_edu as tg
    >>> tg.layers.MaxPooling3D((1, 2, 2))(tg.ones((1, 3, 4, 4, 2))).shape
    (1, 3, 2, 2, 2)
    """

    rank = 3
    operation = staticmethod(ops.max_pool3d)


class AveragePooling1D(_Pooling):
    """`AveragePooling2D` along one axis: (n, length, channels) becomes (n, new length, channels).

    >>> import tinygrad_edu as tg
    >>> tg.layers.AveragePooling1D(2)(tg.tensor([[[1.0], [3.0], [2.0], [0.0]]])).ravel()
    tensor([2., 1.])
    """

    rank = 1
    operation = staticmethod(ops.average_pool1d)


class AveragePooling2D(_Pooling):
    """The mean of each window, channel by channel; padding does not count. Otherwise as `MaxPooling2D`.

    >>> import tinygrad_edu as tg
    >>> tg.layers.AveragePooling2D(2)(tg.ones((8, 28, 28, 3))).shape
    (8, 14, 14, 3)
    """

    rank = 2
    operation = staticmethod(ops.average_pool2d)


class AveragePooling3D(_Pooling):
    """`AveragePooling2D` over three axes: (n, depth, height, width, channels) becomes (n, three new lengths, channels).

    >>> import tinygrad_edu as tg
    >>> tg.layers.AveragePooling3D((1, 2, 2))(tg.ones((1, 3, 4, 4, 2))).shape
    (1, 3, 2, 2, 2)
    """

    rank = 3
    operation = staticmethod(ops.average_pool3d)


class _GlobalPooling(Layer):
    rank: ClassVar[int]
    operation: ClassVar[Callable[..., Any]]

    def __init__(self, *, keepdims: bool = False, **options: Any):
        super().__init__(**options)
        self.keepdims = check_bool(self.where, "keepdims", keepdims)

    def call(self, x: Any) -> Any:
        check_image(self.where, x, self.rank)
        return self.operation(x, self.keepdims)


class GlobalMaxPooling1D(_GlobalPooling):
    """The largest element of each channel: (n, length, channels) becomes (n, channels), with `keepdims`
    (n, 1, channels).

    Equal elements share the gradient. Raises ShapeError for an input of another number of axes.

    >>> import tinygrad_edu as tg
    >>> tg.layers.GlobalMaxPooling1D()(tg.tensor([[[1.0], [3.0], [2.0]]]))
    tensor([[3.]])
    """

    rank = 1
    operation = staticmethod(ops.global_max_pool)


class GlobalMaxPooling2D(_GlobalPooling):
    """`GlobalMaxPooling1D` over two axes: (n, height, width, channels) becomes (n, channels).

    >>> import tinygrad_edu as tg
    >>> tg.layers.GlobalMaxPooling2D()(tg.ones((8, 7, 7, 3))).shape
    (8, 3)
    """

    rank = 2
    operation = staticmethod(ops.global_max_pool)


class GlobalMaxPooling3D(_GlobalPooling):
    """`GlobalMaxPooling1D` over three axes: (n, depth, height, width, channels) becomes (n, channels).

    >>> import tinygrad_edu as tg
    >>> tg.layers.GlobalMaxPooling3D()(tg.ones((1, 3, 4, 4, 2))).shape
    (1, 2)
    """

    rank = 3
    operation = staticmethod(ops.global_max_pool)


class GlobalAveragePooling1D(_GlobalPooling):
    """The mean of each channel: (n, length, channels) becomes (n, channels), with `keepdims` (n, 1, channels).

    With a mask (n, length) it is the mean of the time steps that count, and NaN where none does; the output has no
    mask. Raises ShapeError for an input of another number of axes, or a mask of another shape.

    >>> import tinygrad_edu as tg
    >>> layer, x = tg.layers.GlobalAveragePooling1D(), tg.tensor([[[1.0], [3.0], [8.0]]])
    >>> layer(x), layer(x, mask=tg.tensor([[True, True, False]]))
    (tensor([[4.]]), tensor([[2.]]))
    """

    rank = 1
    operation = staticmethod(ops.global_average_pool)
    supports_masking = True

    def call(self, x: Any, mask: Any = None) -> Any:
        if mask is None:
            return super().call(x)
        check_image(self.where, x, self.rank)
        counts = ops.expand_dims(as_mask(self.where, mask, x.shape[:-1]), -1)
        total = ops.sum(ops.where(counts, x, 0.0), axis=1, keepdims=self.keepdims)
        return total / ops.sum(ops.astype(counts, x.dtype), axis=1, keepdims=self.keepdims)

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        return None


class GlobalAveragePooling2D(_GlobalPooling):
    """The mean of each channel: (n, height, width, channels) becomes (n, channels), with `keepdims`
    (n, 1, 1, channels).

    Raises ShapeError for an input of another number of axes.

    >>> import tinygrad_edu as tg
    >>> tg.layers.GlobalAveragePooling2D()(tg.ones((8, 7, 7, 3))).shape
    (8, 3)
    """

    rank = 2
    operation = staticmethod(ops.global_average_pool)


class GlobalAveragePooling3D(_GlobalPooling):
    """`GlobalAveragePooling2D` over three axes: (n, depth, height, width, channels) becomes (n, channels).

    >>> import tinygrad_edu as tg
    >>> tg.layers.GlobalAveragePooling3D(keepdims=True)(tg.ones((1, 3, 4, 4, 2))).shape
    (1, 1, 1, 1, 2)
    """

    rank = 3
    operation = staticmethod(ops.global_average_pool)


class _AdaptivePooling(Layer):
    rank: ClassVar[int]
    operation: ClassVar[Callable[..., Any]]

    def __init__(self, output_size: Any, **options: Any):
        super().__init__(**options)
        self.output_size = numbers(self.where, "output_size", output_size, self.rank)

    def call(self, x: Any) -> Any:
        return self.operation(x, self.output_size)


class AdaptiveAveragePooling1D(_AdaptivePooling):
    """`AdaptiveAveragePooling2D` along one axis: (n, length, channels) becomes (n, output_size, channels).

    >>> import tinygrad_edu as tg
    >>> tg.layers.AdaptiveAveragePooling1D(2)(tg.tensor([[[1.0], [3.0], [2.0]]])).ravel()
    tensor([2. , 2.5])
    """

    rank = 1
    operation = staticmethod(ops.adaptive_average_pool1d)


class AdaptiveAveragePooling2D(_AdaptivePooling):
    """Means of the parts of images, so many that the result has the lengths `output_size`, whatever the input's:
    (n, height, width, channels) becomes (n, *output_size, channels).

    `output_size` is a number, or one for each axis. Part i of an axis of length n runs from floor(i n / size) to
    ceil((i + 1) n / size), as in PyTorch. Raises ShapeError for an input of another number of axes.

    >>> import tinygrad_edu as tg
    >>> tg.layers.AdaptiveAveragePooling2D((2, 3))(tg.ones((8, 7, 7, 3))).shape
    (8, 2, 3, 3)
    """

    rank = 2
    operation = staticmethod(ops.adaptive_average_pool2d)


class AdaptiveAveragePooling3D(_AdaptivePooling):
    """`AdaptiveAveragePooling2D` over three axes: (n, depth, height, width, channels) becomes
    (n, *output_size, channels).

    >>> import tinygrad_edu as tg
    >>> tg.layers.AdaptiveAveragePooling3D((1, 2, 2))(tg.ones((1, 3, 5, 4, 2))).shape
    (1, 1, 2, 2, 2)
    """

    rank = 3
    operation = staticmethod(ops.adaptive_average_pool3d)


class AdaptiveMaxPooling1D(_AdaptivePooling):
    """`AdaptiveMaxPooling2D` along one axis: (n, length, channels) becomes (n, output_size, channels).

    >>> import tinygrad_edu as tg
    >>> tg.layers.AdaptiveMaxPooling1D(2)(tg.tensor([[[1.0], [3.0], [2.0]]])).ravel()
    tensor([3., 3.])
    """

    rank = 1
    operation = staticmethod(ops.adaptive_max_pool1d)


class AdaptiveMaxPooling2D(_AdaptivePooling):
    """The largest elements of the parts that `AdaptiveAveragePooling2D` averages. Of equal ones the first gets the
    gradient.

    >>> import tinygrad_edu as tg
    >>> tg.layers.AdaptiveMaxPooling2D(2)(tg.ones((8, 7, 7, 3))).shape
    (8, 2, 2, 3)
    """

    rank = 2
    operation = staticmethod(ops.adaptive_max_pool2d)


class AdaptiveMaxPooling3D(_AdaptivePooling):
    """`AdaptiveMaxPooling2D` over three axes: (n, depth, height, width, channels) becomes (n, *output_size, channels).

    >>> import tinygrad_edu as tg
    >>> tg.layers.AdaptiveMaxPooling3D((1, 2, 2))(tg.ones((1, 3, 5, 4, 2))).shape
    (1, 1, 2, 2, 2)
    """

    rank = 3
    operation = staticmethod(ops.adaptive_max_pool3d)
