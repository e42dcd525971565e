"""Convolution over one, two or three axes, channels last, and its gradients, as tiles of results in registers.

A row of the images lies in memory as the patches of a row of results need it: neighbouring columns begin `channels`
elements later. So nothing is copied but images that need a border of zeros, some rows of them at a time. A tile holds
the results of some neighbouring columns (of the kernel's gradient: of some elements of a patch) by some vectors of
filters, and adds up products while it reads images and kernel once.
"""

from __future__ import annotations

import math
from typing import Any

from .forms import Axis, axes_of, convolution, correlation
from .language import kernel
from .native import Task
from .registry import Recipe, are_floats
from .tiles import tile

LARGE = 1 << 20
"""Elements of a kernel from which on it is worth it to put together what a tile reads of it."""


@kernel()
def taps(axis, position):
    """How many elements of the kernel a position meets."""
    phase = (position + axis.before) % axis.phases
    return axis.window // axis.phases + (1 if phase < axis.window % axis.phases else 0)


@kernel()
def first_tap(axis, position):
    """Where these begin in the kernel, in which each phase's lie together."""
    phase = (position + axis.before) % axis.phases
    return phase * (axis.window // axis.phases) + min(phase, axis.window % axis.phases)


@kernel()
def lowest(axis, position):
    """The first element that this position or a later one reads."""
    return (position + axis.before) // axis.phases * axis.stride + axis.offset - (axis.most - 1) * axis.step


@kernel()
def source(axis, position):
    """The first element that this position reads."""
    return lowest(axis, position) + (axis.most - taps(axis, position)) * axis.step


@kernel()
def before(axis, first):
    """How many elements of a window that begins there lie before the image."""
    return (max(0, -first) + axis.step - 1) // axis.step


@kernel()
def inside(axis, first, count):
    """How many of the first `count` of them lie in the image, or would if there were more before it."""
    return min(count, (max(0, axis.size - first) + axis.step - 1) // axis.step)


@kernel()
def with_border(x, copy, n, z, first, last, planes, rows, columns, form):
    """What rows of a plane of the results read, with zeros around the image: (planes, rows, line, channels)."""
    low = lowest(rows, first)
    count = lowest(rows, last - 1) + (rows.most - 1) * rows.step + 1 - low
    size = form.line * form.channels
    begin = max(0, -columns.low) * form.channels
    end = min(form.line, columns.size - columns.low) * form.channels
    front = source(planes, z)
    for p in range(before(planes, front), inside(planes, front, taps(planes, z))):
        for r in range(count):
            to = copy[p * form.plane + r * size :]
            there = low + r >= 0 and low + r < rows.size
            line = x[
                ((n * planes.size + front + p * planes.step) * rows.size + low + r) * columns.size * form.channels :
            ]
            for k in range(begin if there else size):
                to[k] = 0.0
            if there:
                for k in range(begin, end):
                    to[k] = line[columns.low * form.channels + k]
                for k in range(end, size):
                    to[k] = 0.0


@kernel()
def convolve_tile(near, part, y, at, w, wide, deep, high, planes, rows, columns, form, within=None):
    """Some neighbouring columns of a phase by some filters; `at` is where the first of them begins."""
    element = form.deep * wide if form.packed else form.element
    tile(
        near[at:],
        part[first_tap(columns, w) * element :],
        y,
        wide,
        ((form.tile, columns.stride * form.channels, columns.phases * form.filters),),
        (
            (deep, form.plane, rows.window * columns.window * element),
            (high, rows.step * form.line * form.channels, columns.window * element),
            (taps(columns, w), columns.step * form.channels, element),
            (form.deep, 1, wide if form.packed else form.filters),
        ),
        form.spread,
        fold=form.single,
        within=within,
    )


@kernel()
def convolve_edge(near, part, y, at, v, wide, deep, high, planes, rows, columns, form):
    """A tile of which some windows leave the image at its sides: what lies there is not looked at."""
    within = (source(columns, v) * form.channels, columns.size * form.channels)
    convolve_tile(near, part, y[v * form.filters :], at, 0, wide, deep, high, planes, rows, columns, form, within)


@kernel()
def convolve_rows(near, base, kernel, y, n, z, first, last, f, wide, planes, rows, columns, form):
    """Tile after tile of rows, for the filters f to f + wide; what the rows read begins at `base`."""
    element = form.deep * wide if form.packed else form.element
    part = kernel[f * (planes.window * rows.window * columns.window * form.deep if form.packed else 1) :]
    front = before(planes, source(planes, z))
    deep = inside(planes, source(planes, z), taps(planes, z)) - front
    low = columns.low if form.bordered else 0
    for h in range(first, last):
        line = source(rows, h)
        over = before(rows, line)  # what lies above or below is not looked at
        high = inside(rows, line, taps(rows, h)) - over
        start = (line - lowest(rows, first) + over * rows.step) * form.line * form.channels
        at = base + front * form.plane + start + f // form.group * form.deep
        met = (first_tap(planes, z) + front) * rows.window + first_tap(rows, h) + over
        weights = part[met * columns.window * element :]
        to = y[((n * planes.output + z) * rows.output + h) * columns.output * form.filters + f :]
        for phase in range(0 if form.edges else columns.phases):
            w = (phase + columns.before * (columns.phases - 1)) % columns.phases
            count = (columns.output - w + columns.phases - 1) // columns.phases
            for t in range((count + form.tile - 1) // form.tile):
                v = w + min(t * form.tile, count - form.tile) * columns.phases  # the last may repeat some
                convolve_tile(
                    near, weights, to[v * form.filters :], at + (source(columns, v) - low) * form.channels, w,
                    wide, deep, high, planes, rows, columns, form,
                )  # fmt: skip
        if form.edges:
            convolve_edge(near, weights, to, at, 0, wide, deep, high, planes, rows, columns, form)
            for v in range(form.tile, columns.output - form.tile, form.tile):
                convolve_tile(
                    near, weights, to[v * form.filters :], at + source(columns, v) * form.channels, 0,
                    wide, deep, high, planes, rows, columns, form,
                )  # fmt: skip
            if columns.output > form.tile:
                convolve_edge(
                    near, weights, to, at, columns.output - form.tile, wide, deep, high, planes, rows, columns, form
                )


@kernel(writes=("y",))
def convolve(x, kernel, y, start, stop, scratch, planes, rows, columns, form):
    """Some rows of the results after the other."""
    blocks = (rows.output + form.block - 1) // form.block
    for number in range(start, stop):
        n = number // (planes.output * blocks)
        z = number // blocks % planes.output
        first = number % blocks * form.block
        last = min(first + form.block, rows.output)
        plane = (n * planes.size + source(planes, z)) * rows.size + lowest(rows, first)
        base = 0 if form.bordered else plane * columns.size * form.channels
        near = scratch if form.bordered else x
        if form.bordered:
            with_border(x, scratch, n, z, first, last, planes, rows, columns, form)
        for group in range(form.kinds):
            f = group * form.span
            for part in range(form.span // form.wide):
                convolve_rows(
                    near, base, kernel, y, n, z, first, last, f + part * form.wide, form.wide,
                    planes, rows, columns, form,
                )  # fmt: skip
            rest = form.span % form.wide
            if rest:
                convolve_rows(
                    near, base, kernel, y, n, z, first, last, f + form.span - rest, rest, planes, rows, columns, form
                )


@kernel()
def correlate_tile(
    x, g, kernel, images, z, first, last, p, a, b, k, taps, run, f, wide, planes, rows, columns, form, add
):  # fmt: skip
    """So many rows of the kernel's gradient: from its element (p, a, b) and channel k on."""
    row = form.line * form.channels
    plane = source(planes, z) + p * planes.step
    # the results whose windows have this row in the image; of more rows at once, some are zeros
    line = rows.low + a * rows.step
    alone = taps == 1 or not form.whole
    begin = max(first, (max(0, -line) + rows.stride - 1) // rows.stride) if alone else first
    end = min(last, (max(0, rows.size - line) + rows.stride - 1) // rows.stride) if alone else last
    at = ((begin - first) * rows.stride + a * rows.step) * row + b * columns.step * form.channels + k
    there = images if plane >= 0 and plane < planes.size else 0
    tap = rows.step * row if form.whole else columns.step * form.channels
    element = columns.window * form.element if form.whole else form.element
    tile(
        x[p * form.plane + at + f // form.group * form.deep :],
        g[(begin - first) * columns.output * form.filters + (0 if form.single else f) :],
        kernel[((p * rows.window + a) * columns.window + b) * form.element + k * form.filters + f :],
        wide,
        ((taps, tap, element), (run, 1, form.filters)),
        (
            (there, form.image, rows.output * columns.output * form.filters),
            (end - begin, rows.stride * row, columns.output * form.filters),
            (columns.output, columns.stride * form.channels, form.filters),
        ),
        form.spread,
        add,
        form.single,
    )


@kernel()
def correlate_rows(x, g, kernel, images, z, first, last, piece, f, wide, planes, rows, columns, form, add):
    """One of the pieces into which the rows of the kernel's gradient are cut."""
    taps, run = form.tile
    length = columns.window * form.deep if form.whole else form.deep
    lines = rows.window if form.whole else columns.window
    runs = (length + run - 1) // run
    groups = (lines + taps - 1) // taps
    k = piece % runs * run
    t = piece // runs % groups * taps
    rest = piece // (runs * groups)
    p = rest if form.whole else rest // rows.window
    a = t if form.whole else rest % rows.window
    b = 0 if form.whole else t
    even = length % run == 0 and lines % taps == 0
    if even or (k + run <= length and t + taps <= lines):
        correlate_tile(
            x, g, kernel, images, z, first, last, p, a, b, k, taps, run, f, wide, planes, rows, columns, form, add
        )
    else:  # only one of both is not a multiple
        correlate_tile(
            x, g, kernel, images, z, first, last, p, a, b, k, lines % taps if lines % taps else taps,
            length % run if length % run else run, f, wide, planes, rows, columns, form, add,
        )  # fmt: skip


@kernel()
def correlate_piece(x, g, kernel, images, z, first, last, piece, planes, rows, columns, form, add):
    """One of the pieces of the kernel's gradient, for some filters."""
    parts = (form.span + form.wide - 1) // form.wide
    part = piece % parts
    number = piece // (parts * form.kinds)
    f = piece // parts % form.kinds * form.span + part * form.wide
    rest = form.span % form.wide
    if not rest or (part + 1) * form.wide <= form.span:
        correlate_rows(x, g, kernel, images, z, first, last, number, f, form.wide, planes, rows, columns, form, add)
    else:
        correlate_rows(
            x, g, kernel, images, z, first, last, number, f, rest if rest else form.wide,
            planes, rows, columns, form, add,
        )  # fmt: skip


@kernel(writes=("kernel",))
def correlate(x, g, kernel, start, stop, scratch, batch, planes, rows, columns, form):
    """The gradient of the kernel: each thread makes some pieces of it."""
    for piece in range(start, stop):
        correlate_piece(x, g, kernel, 0, 0, 0, 0, piece, planes, rows, columns, form, False)  # zeros
    for n in range(0, batch, form.images):
        images = min(form.images, batch - n)
        for z in range(planes.output):
            for first in range(0, rows.output, form.block):
                last = min(first + form.block, rows.output)
                at = ((n * planes.size + source(planes, z)) * rows.size + lowest(rows, first)) * columns.size
                near = scratch if form.bordered else x[(at + columns.low) * form.channels :]
                if form.bordered:
                    for i in range(images):
                        with_border(x, scratch[i * form.image :], n + i, z, first, last, planes, rows, columns, form)
                results = g[((n * planes.output + z) * rows.output + first) * columns.output * form.filters :]
                for piece in range(start, stop):
                    correlate_piece(
                        near, results, kernel, images, z, first, last, piece, planes, rows, columns, form, True
                    )


@kernel()
def turned(axis, tap):
    """Where an element of the kernel lies in that of the transpose: its phases after each other, back to front."""
    phase = tap % axis.phases
    there = axis.window // axis.phases + (1 if phase < axis.window % axis.phases else 0)
    return phase * (axis.window // axis.phases) + min(phase, axis.window % axis.phases) + there - 1 - tap // axis.phases


@kernel()
def flip_part(kernel, flipped, p, a, b, f, wide, planes, rows, columns, form):
    """An element of the kernel, for the filters f to f + wide."""
    place = (turned(planes, p) * rows.window + turned(rows, a)) * columns.window + turned(columns, b)
    near = kernel[((p * rows.window + a) * columns.window + b) * form.group * form.channels :]
    to = flipped[(f * planes.window * rows.window * columns.window + place * wide) * form.deep :]
    for c in range(wide):
        line = near[(f + c) % form.group * form.channels + (f + c) // form.group * form.deep :]
        for d in range(form.deep):
            to[d * wide + c] = line[d]


@kernel(writes=("flipped",))
def flip(kernel, flipped, start, stop, planes, rows, columns, form):
    """The kernel with channels for filters, back to front, for the transpose, which has that form."""
    for tap in range(start, stop):
        p = tap // (rows.window * columns.window)
        a = tap // columns.window % rows.window
        b = tap % columns.window
        if form.single:
            place = (turned(planes, p) * rows.window + turned(rows, a)) * columns.window + turned(columns, b)
            for d in range(form.channels):
                flipped[place * form.channels + d] = kernel[tap * form.channels + d]
        else:
            for kind in range(form.kinds):
                for part in range(form.span // form.wide):
                    f = kind * form.span + part * form.wide
                    flip_part(kernel, flipped, p, a, b, f, form.wide, planes, rows, columns, form)
                rest = form.span % form.wide
                if rest:
                    f = (kind + 1) * form.span - rest
                    flip_part(kernel, flipped, p, a, b, f, rest, planes, rows, columns, form)


@kernel(writes=("packed",))
def pack(kernel, packed, start, stop, length, form):
    """Rows of the kernel, cut into the filters of a tile, `length` rows of each one after the other."""
    rest = form.filters % form.wide
    for k in range(start, stop):
        for part in range(form.filters // form.wide):
            f = part * form.wide
            for c in range(form.wide):
                packed[f * length + k * form.wide + c] = kernel[k * form.filters + f + c]
        for c in range(rest):
            f = form.filters - rest
            packed[f * length + k * rest + c] = kernel[k * form.filters + f + c]


# Recipes


def _task(which: Any, names: str, axes: list[Axis], shapes: Any, dtype: str, attributes: Any, work: int) -> Task:
    form = attributes.pop("form")
    return Task(
        which,
        tuple((name, dtype, slot) for slot, name in enumerate(names.split())),
        (*zip(("planes", "rows", "columns"), axes, strict=True), ("form", form)),
        operations=2 * work,
        traffic=4 * sum(map(math.prod, shapes)),
        **attributes,
    )


def forward(x: Any, kernel: Any, output: Any, geometry: Any) -> Recipe | None:
    """Of `_conv`."""
    if not are_floats(x, kernel):
        return None
    shape, dtype, groups = (x.shape[0], *output, kernel.shape[-1]), x.dtype.name, geometry.groups
    axes = axes_of(x.shape[1:-1], output, kernel.shape[:-2], geometry)
    attributes = convolution(axes, x.shape[0], x.shape[-1], shape[-1], groups, dtype)
    shapes = (x.shape, kernel.shape, shape)
    work = math.prod(shape) * math.prod(kernel.shape[:-1])
    form, elements = attributes["form"], math.prod(kernel.shape)
    if groups > 1 or form.single or elements < LARGE:
        return Recipe(((shape, dtype),), (_task(convolve, "x kernel y", axes, shapes, dtype, attributes, work),))
    form = attributes["form"] = form._replace(packed=True)
    arrays, length, between = (("kernel", dtype, 1), ("packed", dtype, 3)), math.prod(kernel.shape[:-1]), 3
    packed = Task(pack, arrays, (("length", length), ("form", form)), length, elements, 8 * elements)
    task = _task(convolve, "x kernel y", axes, shapes, dtype, attributes, work).on([0, between, 2])
    return Recipe(((shape, dtype),), (packed, task), ((kernel.shape, dtype),))


def transpose(g: Any, kernel: Any, image: Any, geometry: Any) -> Recipe | None:
    """Of `_conv_transpose`: a convolution of `g` with the kernel flipped."""
    strides, _, dilation, groups = geometry
    if not are_floats(g, kernel) or any(s > 1 and d > 1 for s, d in zip(strides, dilation, strict=True)):
        return None
    *window, deep, filters = kernel.shape
    shape, dtype, between = (g.shape[0], *image, deep * groups), g.dtype.name, 3
    axes = axes_of(image, g.shape[1:-1], window, geometry, transposed=True)
    attributes = convolution(axes, g.shape[0], filters, shape[-1], groups, dtype)
    attributes["form"] = attributes["form"]._replace(packed=not attributes["form"].single)
    turned = (*window, filters // groups, shape[-1])
    turn = {"form": attributes["form"], "length": math.prod(window)}
    tasks = (
        _task(flip, "kernel flipped", axes, (turned, turned), dtype, turn, math.prod(turned)).on([1, between]),
        _task(convolve, "x kernel y", axes, (g.shape, turned, shape), dtype, attributes,
              math.prod(g.shape) * math.prod(kernel.shape[:-1])).on([0, between, 2]),
    )  # fmt: skip
    return Recipe(((shape, dtype),), tasks, ((turned, dtype),))


def kernel_gradient(x: Any, g: Any, window: Any, geometry: Any) -> Recipe | None:
    """Of `_conv_kernel`."""
    if not are_floats(x, g):
        return None
    n, *output, filters = g.shape
    shape, dtype, groups = (*window, x.shape[-1] // geometry.groups, filters), x.dtype.name, geometry.groups
    axes = axes_of(x.shape[1:-1], output, window, geometry)
    attributes = correlation(axes, n, x.shape[-1], filters, groups, dtype)
    task = _task(correlate, "x g kernel", axes, (x.shape, g.shape, shape), dtype, attributes,
                 math.prod(g.shape) * math.prod(shape[:-1]))  # fmt: skip
    return Recipe(((shape, dtype),), (task.given((("batch", n),)),))
