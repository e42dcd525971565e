"""Convolution over two axes (or one), channels last: patches of some rows of an image, and their product by BLAS.

The patches of a whole batch would be many times as large as the images; those of some rows stay in the processor's
cache between their copy and the product that reads them.
"""

from __future__ import annotations

import math
from typing import Any

from .language import gemm, kernel
from .native import Task
from .registry import Recipe, are_floats

_CACHED = 1 << 13
"""Elements of patches that are made at a time; the product then reads them from the first-level cache."""


@kernel()
def copy_patch(to, x, h, v, height, width, channels, window_height, window_width, down, across):
    """The patch of an image whose first element is at (h, v); what lies outside of the image is 0."""
    row = window_width * channels
    for a in range(window_height):
        y = h + a * down
        part = to[a * row :]
        if y < 0 or y >= height:
            for c in range(row):
                part[c] = 0.0
        else:
            if across == 1 and v >= 0 and v + window_width <= width:
                inside = x[(y * width + v) * channels :]
                for c in range(row):
                    part[c] = inside[c]
            else:
                for b in range(window_width):
                    u = v + b * across
                    if u >= 0 and u < width:
                        near = x[(y * width + u) * channels :]
                        for c in range(channels):
                            part[b * channels + c] = near[c]
                    else:
                        for c in range(channels):
                            part[b * channels + c] = 0.0


@kernel()
def add_patch(part_of, x, h, v, height, width, channels, window_height, window_width, down, across):
    """Adds a patch to the image, where `copy_patch` takes it from."""
    row = window_width * channels
    for a in range(window_height):
        y = h + a * down
        part = part_of[a * row :]
        if y >= 0 and y < height:
            if across == 1 and v >= 0 and v + window_width <= width:
                inside = x[(y * width + v) * channels :]
                for c in range(row):
                    inside[c] += part[c]
            else:
                for b in range(window_width):
                    u = v + b * across
                    if u >= 0 and u < width:
                        near = x[(y * width + u) * channels :]
                        for c in range(channels):
                            near[c] += part[b * channels + c]


@kernel(writes=("y",))
def convolve(
    x, kernel, y, start, stop, scratch, rows, height, width, channels, out_height, out_width, filters,
    window_height, window_width, stride_down, stride_across, top, left, down, across,
):  # fmt: skip
    """Some rows of an output after the other."""
    size = window_height * window_width * channels
    blocks = (out_height + rows - 1) // rows
    for block in range(start, stop):
        n = block // blocks
        first = (block % blocks) * rows
        last = min(first + rows, out_height)
        image = x[n * height * width * channels :]
        for i in range(first, last):
            for j in range(out_width):
                copy_patch(
                    scratch[((i - first) * out_width + j) * size :], image, i * stride_down - top,
                    j * stride_across - left, height, width, channels, window_height, window_width, down, across,
                )  # fmt: skip
        out = y[(n * out_height + first) * out_width * filters :]
        gemm(scratch, kernel, out, (last - first) * out_width, filters, size, size, filters, filters)


@kernel(writes=("x",))
def spread(
    y, kernel, x, start, stop, scratch, rows, height, width, channels, out_height, out_width, filters,
    window_height, window_width, stride_down, stride_across, top, left, down, across,
):  # fmt: skip
    """The transpose of `convolve`: one image after the other, the products of some rows added where they came from."""
    size = window_height * window_width * channels
    blocks = (out_height + rows - 1) // rows
    for n in range(start, stop):
        image = x[n * height * width * channels :]
        for k in range(height * width * channels):
            image[k] = 0.0
        for block in range(blocks):
            first = block * rows
            last = min(first + rows, out_height)
            out = y[(n * out_height + first) * out_width * filters :]
            gemm(out, kernel, scratch, (last - first) * out_width, size, filters, filters, filters, size, False, True)
            for i in range(first, last):
                for j in range(out_width):
                    add_patch(
                        scratch[((i - first) * out_width + j) * size :], image, i * stride_down - top,
                        j * stride_across - left, height, width, channels, window_height, window_width, down, across,
                    )  # fmt: skip


@kernel(writes=("kernel",))
def correlate(
    x, y, kernel, start, stop, scratch, batch, rows, height, width, channels, out_height, out_width, filters,
    window_height, window_width, stride_down, stride_across, top, left, down, across,
):  # fmt: skip
    """The gradient of `convolve`'s kernel: each thread makes those rows of it, from their part of each patch."""
    size = stop - start
    for k in range(start * filters, stop * filters):
        kernel[k] = 0.0
    blocks = (out_height + rows - 1) // rows
    for block in range(batch * blocks):
        n = block // blocks
        first = (block % blocks) * rows
        last = min(first + rows, out_height)
        for i in range(first, last):
            for j in range(out_width):
                to = scratch[((i - first) * out_width + j) * size :]
                for tap in range(start // channels, (stop + channels - 1) // channels):
                    low = max(tap * channels, start)
                    high = min((tap + 1) * channels, stop)
                    h = i * stride_down - top + (tap // window_width) * down
                    v = j * stride_across - left + (tap % window_width) * across
                    if h >= 0 and h < height and v >= 0 and v < width:
                        near = x[((n * height + h) * width + v) * channels + low - tap * channels :]
                        for c in range(high - low):
                            to[low - start + c] = near[c]
                    else:
                        for c in range(high - low):
                            to[low - start + c] = 0.0
        out = y[(n * out_height + first) * out_width * filters :]
        gemm(
            scratch, out, kernel[start * filters :], size, filters, (last - first) * out_width, max(size, 1), filters,
            filters, True, False, 1.0,
        )  # fmt: skip


@kernel(writes=("flipped",))
def flip(kernel, flipped, start, stop, taps, channels, filters):
    """The kernel back to front, with channels for filters: a convolution with it is the transpose of one."""
    for tap in range(start, stop):
        to = flipped[(taps - 1 - tap) * filters * channels :]
        for f in range(filters):
            for c in range(channels):
                to[f * channels + c] = kernel[(tap * channels + c) * filters + f]


# Recipes


def _numbers(image: Any, output: Any, window: Any, geometry: Any) -> dict[str, int] | None:
    """The sizes that the kernels need, of a convolution over one or two axes without groups."""
    strides, padding, dilation, groups = geometry
    if groups != 1 or len(window) > 2:
        return None
    if len(window) == 1:
        image, output = (image[0], 1, *image[1:]), (output[0], 1, *output[1:])
        window, strides, padding, dilation = (1, *window), (1, *strides), ((0, 0), *padding), (1, *dilation)
    names = {
        "height window_height stride_down top out_height down": 0,
        "width window_width stride_across left out_width across": 1,
    }
    found = {"channels": image[-1], "filters": output[-1]}
    for words, i in names.items():
        values = (image[1 + i], window[i], strides[i], padding[i][0], output[1 + i], dilation[i])
        found |= zip(words.split(), values, strict=True)
    patch = math.prod(window) * image[-1]
    found["rows"] = max(1, min(output[1], _CACHED // (output[2] * patch)))
    return found


def _recipe(which: Any, names: str, arrays: Any, made: Any, numbers: dict[str, int] | None) -> Recipe | None:
    dtype = made[1]
    if numbers is None or not are_floats(*arrays):
        return None
    shapes = [*(a.shape for a in arrays), made[0]]
    n = next(shape[0] for name, shape in zip(names.split(), shapes, strict=True) if name in "xy")
    patch = numbers["window_height"] * numbers["window_width"] * numbers["channels"]
    places = n * numbers["out_height"] * numbers["out_width"]
    lengths = {
        convolve: n * -(-numbers["out_height"] // numbers["rows"]),
        spread: n,
        correlate: patch,
    }
    task = Task(
        which,
        tuple((name, dtype, slot) for slot, name in enumerate(names.split())),
        (*numbers.items(), *([("batch", n)] if which is correlate else [])),
        length=lengths[which],
        operations=2 * places * patch * numbers["filters"],
        traffic=sum(4 * math.prod(shape) for shape in shapes),
        granularity=16 if which is correlate else 1,
        scratch=numbers["rows"] * numbers["out_width"] * patch,
    )
    return Recipe((made,), (task,))


def forward(x: Any, kernel: Any, output: Any, geometry: Any) -> Recipe | None:
    """Of `_conv`."""
    shape = (x.shape[0], *output, kernel.shape[-1])
    numbers = _numbers(x.shape, shape, kernel.shape[:-2], geometry)
    return _recipe(convolve, "x kernel y", (x, kernel), (shape, x.dtype.name), numbers)


def transpose(g: Any, kernel: Any, image: Any, geometry: Any) -> Recipe | None:
    """Of `_conv_transpose`: a convolution of `g` with the flipped kernel; where strides leave gaps, products added
    up."""
    shape = (g.shape[0], *image, kernel.shape[-2])
    strides, padding, dilation, groups = geometry
    window = kernel.shape[:-2]
    reach = [(size - 1) * step for size, step in zip(window, dilation, strict=True)]
    around = tuple((r - before, r - after) for r, (before, after) in zip(reach, padding, strict=True))
    if max(strides) == 1 and min(map(min, around)) >= 0:
        numbers = _numbers(g.shape, shape, window, (strides, around, dilation, groups))
        made = _recipe(convolve, "x kernel y", (g, kernel), (shape, g.dtype.name), numbers)
        return made and _with_flipped(made, kernel)
    numbers = _numbers(shape, g.shape, kernel.shape[:-2], geometry)
    return _recipe(spread, "y kernel x", (g, kernel), (shape, g.dtype.name), numbers)


def kernel_gradient(x: Any, g: Any, window: Any, geometry: Any) -> Recipe | None:
    """Of `_conv_kernel`."""
    shape = (*window, x.shape[-1], g.shape[-1])
    numbers = _numbers(x.shape, g.shape, window, geometry)
    return _recipe(correlate, "x y kernel", (x, g), (shape, x.dtype.name), numbers)


def _with_flipped(made: Recipe, kernel: Any) -> Recipe:
    """The same with the flipped kernel in place of the kernel, the array between."""
    *window, channels, filters = kernel.shape
    taps, dtype, between = math.prod(window), kernel.dtype.name, 3
    numbers = (("taps", taps), ("channels", channels), ("filters", filters))
    arrays = (("kernel", dtype, 1), ("flipped", dtype, between))
    turned = Task(flip, arrays, numbers, taps, taps * channels * filters, 8 * taps * channels * filters)
    tasks = (turned, *(task.on([0, between, 2]) for task in made.tasks))
    return Recipe(made.outputs, tasks, (((*window, filters, channels), dtype),))
