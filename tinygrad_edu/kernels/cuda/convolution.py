"""Convolution over one, two or three axes, channels last, and its gradients, as products of matrices by cuBLASLt.

With patches of the images as rows (im2col), a convolution is one product, results = patches @ kernel. Its transposes
are patches = g @ kernel.T, of which each element of the images adds up those that it has become, and for the kernel
patches.T @ g. With strides of one the first of them is a convolution of `g` instead, with the kernel back to front.
Images whose patches are single pixels are their own patches. Depthwise convolution has kernels of its own.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ..gemm import Gemm
from ..registry import Made, Recipe, are_floats
from . import halves
from .images import defines, on_images
from .launches import Moved, Step
from .text import BLOCKS, LEAST_ROWS, THREADS, VECTOR, WARP
from .written import Written

PATCHES = 256 << 20
"""Bytes of patches at a time, or those of one image where they have to be whole: enough work for a product to fill a
card, and little beside the activations of a model that has larger patches. Patches in 16 bits take half of it."""
_TAPS = 4  # of a depthwise kernel that a block takes at once, as in convolution.cu


class _Axis(NamedTuple):
    """Output o reads with tap t the pixel o * stride - before + t * dilation."""

    size: int = 1
    output: int = 1
    window: int = 1
    stride: int = 1
    dilation: int = 1
    before: int = 0


class _Form(NamedTuple):
    """The sizes of a convolution; of the three axes, those that the images lack have length 1."""

    dtype: str
    images: int
    axes: tuple[_Axis, ...]
    channels: int
    filters: int
    groups: int

    @property
    def pixels(self) -> int:
        return self.images * math.prod(axis.size for axis in self.axes)

    @property
    def outputs(self) -> int:
        return self.images * math.prod(axis.output for axis in self.axes)

    @property
    def taps(self) -> int:
        return math.prod(axis.window for axis in self.axes)

    @property
    def width(self) -> int:
        """Elements of a patch."""
        return self.taps * self.channels

    @property
    def item(self) -> int:
        """Bytes of an element."""
        return 4 if self.dtype == "float32" else 8

    @property
    def is_depthwise(self) -> bool:
        return self.channels == self.groups and (self.groups > 1 or self.filters == 1)

    @property
    def is_pointwise(self) -> bool:
        """Whether the images are their own patches."""
        return all(a.window == a.stride == 1 and a.size == a.output and a.before == 0 for a in self.axes)

    def parts(self, least: int = 1) -> list[tuple[int, int]]:
        """The outputs whose patches are there at once: the first of them, and how many, multiples of `least`."""
        count, fit = self.outputs // least, max(1, PATCHES // (least * self.width * self.item))
        most = count if self.is_pointwise else -(-count // -(-count // fit))  # parts of about the same size
        return [(first * least, min(most, count - first) * least) for first in range(0, count, most)]


def _form(dtype: str, images: Any, outputs: Any, window: Any, geometry: Any) -> _Form:
    """From the shapes of images and outputs."""
    strides, padding, dilation, groups = geometry
    before = (first for first, _ in padding)
    axes = map(_Axis, images[1:-1], outputs[1:-1], window, strides, dilation, before)
    return _Form(dtype, images[0], (*[_Axis()] * (3 - len(window)), *axes), images[-1], outputs[-1], groups)


# Steps. Patches are matrices (outputs, groups * taps * channels / groups), kernels (taps * channels / groups, filters).


def _numbers(form: _Form, *numbers: int) -> tuple[int, ...]:
    """What a kernel that looks at the axes gets."""
    return (*(n for axis in form.axes for n in axis), *numbers)


def _largest(form: _Form) -> int:
    """Elements of the largest array."""
    rows = form.parts(form.outputs // form.images)[0][1]  # no less than other parts have
    return max(form.pixels * form.channels, form.outputs * form.filters, rows * form.width, form.width * form.filters)


def _defines(form: _Form) -> tuple[tuple[str, str], ...]:
    """Of kernels that write what is multiplied."""
    return (*defines(form.dtype, _largest(form)), *halves.defines(form.dtype))


def _patches(form: _Form, x: int, patches: int, first: int, rows: int) -> list[Step]:
    """The patches of some outputs, if they are not the images themselves."""
    if form.is_pointwise:
        return []
    lanes = min(WARP, _power(-(-form.width * form.item // VECTOR)))  # for a patch
    grid, block = (-(-rows * lanes // THREADS),), (lanes, THREADS // lanes)
    numbers = _numbers(form, first, rows, form.channels, form.groups)
    return [Written("convolution", "patches", grid, block, (x, patches), numbers, _defines(form))]


def _power(n: int) -> int:
    """The smallest power of two that is not less."""
    return 1 << (n - 1).bit_length()


def _convolved(form: _Form, x: int, kernel: int, y: int, patches: int, turned: bool = False) -> list[Step]:
    """results = patches @ kernel; a turned kernel is (groups, filters / groups, taps * channels / groups)."""
    deep, each, steps = form.width // form.groups, form.filters // form.groups, list[Step]()
    across, further = (deep, each * deep) if turned else (form.filters, each)
    for first, rows in form.parts():
        steps += _patches(form, x, patches, first, rows)
        gemm = Gemm(form.dtype, rows, each, deep, patches, kernel, y, False, turned, form.width, across, form.filters,
                    batch=form.groups, strides=(deep, further, each))  # fmt: skip
        steps.append(Moved(gemm, (0, 0, first * form.filters * form.item)))
    return steps


def _spread(form: _Form, g: int, kernel: int, y: int, patches: int) -> list[Step]:
    """patches = g @ kernel.T, then the images, each of which is made at once."""
    deep, each, steps = form.width // form.groups, form.filters // form.groups, list[Step]()
    for first, rows in form.parts(form.outputs // form.images):
        gemm = Gemm(form.dtype, rows, deep, each, g, kernel, patches, False, True, form.filters, form.filters,
                    form.width, batch=form.groups, strides=(each, each, deep))  # fmt: skip
        steps.append(Moved(gemm, (first * form.filters * form.item, 0, 0)))
        if not form.is_pointwise:
            pixels, before = (n * form.pixels // form.outputs for n in (rows, first))
            numbers, run = _numbers(form, pixels, form.channels, form.groups), form.channels // form.groups
            made, arrays = pixels * form.channels, (patches, y)
            step = on_images("convolution", "image", form.dtype, arrays, numbers, made, run, _largest(form))
            steps.append(Moved(step, (0, before * form.channels * form.item)))
    return steps


def _correlated(form: _Form, x: int, g: int, kernel: int, patches: int) -> list[Step]:
    """kernel = patches.T @ g, to which all parts but the first are added."""
    deep, each, steps = form.width // form.groups, form.filters // form.groups, list[Step]()
    for first, rows in form.parts():
        steps += _patches(form, x, patches, first, rows)
        gemm = Gemm(form.dtype, deep, each, rows, patches, g, kernel, True, False, form.width, form.filters,
                    form.filters, beta=float(first > 0), batch=form.groups, strides=(deep, each, each))  # fmt: skip
        steps.append(Moved(gemm, (0, first * form.filters * form.item, 0)))
    return steps


def _turned(form: _Form) -> _Form | None:
    """The convolution that gives the images; None where strides would leave gaps between its results."""
    if any(a.stride > 1 for a in form.axes):
        return None
    axes = (a._replace(size=a.output, output=a.size, before=(a.window - 1) * a.dilation - a.before) for a in form.axes)
    return form._replace(axes=tuple(axes), channels=form.filters, filters=form.channels)


def _depthwise(form: _Form, function: str, pixels: int, channels: int) -> Written:
    """A thread for each element of the result, or for several where each channel has one filter."""
    multiplier, arrays = form.filters // form.channels, (0, 1, 2)
    numbers, run = _numbers(form, pixels, form.channels, multiplier), channels if multiplier == 1 else 1
    return on_images("convolution", function, form.dtype, arrays, numbers, pixels * channels, run, _largest(form))


# Recipes


def forward(x: Any, kernel: Any, output: Any, geometry: Any) -> Recipe | None:
    """Of `_conv`."""
    if not are_floats(x, kernel):
        return None
    dtype, shape = x.dtype.name, (x.shape[0], *output, kernel.shape[-1])
    form = _form(dtype, x.shape, shape, kernel.shape[:-2], geometry)
    if form.is_depthwise:
        step = _depthwise(form, "depthwise", form.outputs, form.filters)
        return Recipe(((shape, dtype),), (step,))
    patches = 0 if form.is_pointwise else 3
    return Recipe(((shape, dtype),), tuple(_convolved(form, 0, 1, 2, patches)), _scratch(form))


def _scratch(form: _Form) -> tuple[Made, ...]:
    """The memory for patches that are cut from images."""
    return () if form.is_pointwise else (halves.factors(((form.parts()[0][1], form.width), form.dtype)),)


def transpose(g: Any, kernel: Any, image: Any, geometry: Any) -> Recipe | None:
    """Of `_conv_transpose`."""
    if not are_floats(g, kernel):
        return None
    *window, deep, filters = kernel.shape
    dtype, shape = g.dtype.name, (g.shape[0], *image, deep * geometry.groups)
    form, made = _form(dtype, shape, g.shape, window, geometry), ((shape, dtype),)
    if form.is_depthwise:
        step = _depthwise(form, "depthwise_transpose", form.pixels, form.channels)
        return Recipe(made, (step,))
    turned = _turned(form)
    if form.is_pointwise or not turned:
        patches = 2 if form.is_pointwise else 3
        rows = form.parts(form.outputs // form.images)[0][1]
        results = ((rows, form.width), dtype)
        return Recipe(made, tuple(_spread(form, 0, 1, 2, patches)), () if form.is_pointwise else (results,))
    grid, sizes = (-(-math.prod(kernel.shape) // THREADS),), (form.taps, deep, filters, form.groups)
    turn = Written("convolution", "turn", grid, (THREADS,), (1, 3), sizes, _defines(form))
    between = (halves.factors((tuple(kernel.shape), dtype)), *_scratch(turned))
    return Recipe(made, (turn, *_convolved(turned, 0, 3, 2, 4, turned=True)), between)


def kernel_gradient(x: Any, g: Any, window: Any, geometry: Any) -> Recipe | None:
    """Of `_conv_kernel`."""
    if not are_floats(x, g):
        return None
    dtype, shape = x.dtype.name, (*window, x.shape[-1] // geometry.groups, g.shape[-1])
    form, made = _form(dtype, x.shape, g.shape, window, geometry), ((shape, dtype),)
    if not form.is_depthwise:
        patches = 0 if form.is_pointwise else 3
        return Recipe(made, tuple(_correlated(form, 0, 1, 2, patches)), _scratch(form))
    lanes, lines = min(WARP, _power(form.filters)), math.prod(window[:-1]) * -(-window[-1] // _TAPS)
    tiles, block = -(-form.filters // lanes), (lanes, THREADS // lanes)
    parts = max(1, min(4 * BLOCKS // (tiles * lines), form.outputs // LEAST_ROWS))
    arrays = (0, 1, 2 if parts == 1 else 3)
    numbers = _numbers(form, form.outputs, form.channels, form.filters // form.channels)
    grid, index = (tiles * lines, parts), defines(dtype, _largest(form))
    step = Written("convolution", "depthwise_kernel", grid, block, arrays, numbers, index)
    if parts == 1:
        return Recipe(made, (step,))
    count = math.prod(shape)
    grid, block = (-(-count // WARP), 1), (WARP, THREADS // WARP)
    add = Written("convolution", "add_parts", grid, block, (3, 2), (parts, count), index)
    return Recipe(made, (step, add), (((parts, *shape), dtype),))
