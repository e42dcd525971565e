"""Convolution over one, two or three axes, channels last, and its gradients, as tiles of results in registers.

A row of the images lies in memory as the patches of a row of results need it: neighbouring columns begin `channels`
elements later. So nothing is copied but images that need a border of zeros, some rows of them at a time. A tile holds
the results of some neighbouring columns (of the kernel's gradient: of some elements of a patch) by some vectors of
filters, and adds up products while it reads images and kernel once.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from . import llvm
from .language import kernel
from .native import Task
from .registry import Recipe, are_floats
from .tiles import lanes, tile

_BORDERED = 1 << 14
"""Elements of images with a border that are made at a time: they stay in the processor's cache."""
_PIECES = 16
"""How many pieces a convolution is cut into at least, for threads to share."""
_SPREAD = 64
"""Channels that a vector of filters reads at most, where each group has few filters."""


class Axis(NamedTuple):
    """How positions of the results lie on an axis of the images that are read.

    The window of a position meets every `phases`-th element of the kernel; the first of them meets the image at

        (position + before) // phases * stride + offset - (elements it meets - 1) * step

    A convolution has one phase. Its transpose by the image has as many as the convolution has strides: which elements
    of the kernel reach a position depends on the position.
    """

    size: int
    output: int
    window: int
    stride: int
    phases: int
    before: int
    offset: int
    step: int

    @property
    def most(self) -> int:
        """Elements that a window meets at most."""
        return -(-self.window // self.phases)

    @property
    def low(self) -> int:
        """The first element that is read; before the image, if it is negative."""
        return self.before // self.phases * self.stride + self.offset - (self.most - 1) * self.step

    @property
    def reach(self) -> int:
        """How many elements are read, from the first to the last."""
        return (self.output - 1 + self.before) // self.phases * self.stride + self.offset - self.low + 1

    def across(self, positions: int) -> int:
        """The most elements, from the first to the last, that so many neighbours read."""
        return min(self.reach, -(-(positions - 1) // self.phases) * self.stride + (self.most - 1) * self.step + 1)

    @property
    def leaves(self) -> bool:
        """Whether windows leave the image."""
        return self.low < 0 or self.low + self.reach > self.size


class Form(NamedTuple):
    """How a convolution is divided.

    Attributes:
        channels, filters: of what is read and of the results.
        deep, group: channels and filters of each group.
        element: numbers in the kernel for each place in the window.
        spread: as `tile` has it.
        single: whether there is one filter only: then a tile's columns are the channels.
        whole: whether all channels of neighbouring elements of a window lie side by side.
        kinds, span, wide: of each kind (group, or all) so many filters, and how many of them a tile has.
        tile: positions of a tile, or rows of the kernel's gradient: (elements of the window, channels of these).
        block: rows of results at a time.
        images: how many at a time, for the gradient of the kernel.
        bordered: whether what is read is copied first, with zeros around.
        line: columns of what is read.
        plane, image: elements from the plane of one element of the window to the next, and from image to image.
    """

    channels: int
    filters: int
    deep: int
    group: int
    element: int
    spread: tuple[int, int]
    single: bool
    whole: bool
    kinds: int
    span: int
    wide: int
    tile: Any
    block: int
    images: int
    bordered: bool
    line: int
    plane: int
    image: int


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
def convolve_rows(near, kernel, y, n, z, first, last, f, wide, planes, rows, columns, form):
    """Tile after tile of rows, for the filters f to f + wide."""
    row = form.line * form.channels
    front = before(planes, source(planes, z))
    deep = inside(planes, source(planes, z), taps(planes, z)) - front
    for h in range(first, last):
        line = source(rows, h)
        over = before(rows, line)  # what lies above or below is not looked at
        high = inside(rows, line, taps(rows, h)) - over
        start = line - lowest(rows, first) + over * rows.step
        for phase in range(columns.phases):
            w = (phase + columns.before * (columns.phases - 1)) % columns.phases
            count = (columns.output - w + columns.phases - 1) // columns.phases
            met = (first_tap(planes, z) + front) * rows.window + first_tap(rows, h) + over
            for t in range((count + form.tile - 1) // form.tile):
                v = w + min(t * form.tile, count - form.tile) * columns.phases  # the last may repeat some
                at = start * form.line + source(columns, v) - columns.low
                tile(
                    near[front * form.plane + at * form.channels + f // form.group * form.deep :],
                    kernel[(met * columns.window + first_tap(columns, w)) * form.element + f :],
                    y[(((n * planes.output + z) * rows.output + h) * columns.output + v) * form.filters + f :],
                    wide,
                    ((form.tile, columns.stride * form.channels, columns.phases * form.filters),),
                    (
                        (deep, form.plane, rows.window * columns.window * form.element),
                        (high, rows.step * row, columns.window * form.element),
                        (taps(columns, w), columns.step * form.channels, form.element),
                        (form.deep, 1, form.filters),
                    ),
                    form.spread,
                    fold=form.single,
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
        inside = ((n * planes.size + source(planes, z)) * rows.size + lowest(rows, first)) * columns.size + columns.low
        near = scratch if form.bordered else x[inside * form.channels :]
        if form.bordered:
            with_border(x, scratch, n, z, first, last, planes, rows, columns, form)
        for group in range(form.kinds):
            f = group * form.span
            for part in range(form.span // form.wide):
                convolve_rows(
                    near, kernel, y, n, z, first, last, f + part * form.wide, form.wide, planes, rows, columns, form
                )
            rest = form.span % form.wide
            if rest:
                convolve_rows(
                    near, kernel, y, n, z, first, last, f + form.span - rest, rest, planes, rows, columns, form
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
    if k + run <= length and t + taps <= lines:
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
    kinds = form.kinds
    f = piece // parts % kinds * form.span + part * form.wide
    rest = form.span % form.wide
    if (part + 1) * form.wide <= form.span:
        correlate_rows(
            x, g, kernel, images, z, first, last, piece // (parts * kinds), f, form.wide,
            planes, rows, columns, form, add,
        )  # fmt: skip
    else:
        correlate_rows(
            x, g, kernel, images, z, first, last, piece // (parts * kinds), f, rest if rest else form.wide,
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


@kernel(writes=("flipped",))
def flip(kernel, flipped, start, stop, planes, rows, columns, form):
    """The kernel with channels for filters, back to front, for the transpose, which has that form."""
    for tap in range(start, stop):
        p = turned(planes, tap // (rows.window * columns.window))
        a = turned(rows, tap // columns.window % rows.window)
        b = turned(columns, tap % columns.window)
        near = kernel[tap * form.group * form.channels :]
        to = flipped[((p * rows.window + a) * columns.window + b) * form.element :]
        for f in range(form.element // form.filters):
            for c in range(form.filters):
                to[f * form.filters + c] = near[c % form.group * form.channels + c // form.group * form.deep + f]


# Recipes


def _axes(image: Any, output: Any, window: Any, geometry: Any, transposed: bool = False) -> list[Axis]:
    """The three axes, of a convolution over fewer the first trivial; of the transpose by the image if that is due."""
    strides, padding, dilation, _ = geometry
    found = [Axis(1, 1, 1, 1, 1, 0, 0, 1)] * (3 - len(window))
    for size, n, k, stride, (before, _), step in zip(image, output, window, strides, padding, dilation, strict=True):
        if transposed:
            found.append(Axis(n, size, k, 1, stride, before, 0, step))
        else:
            found.append(Axis(size, n, k, stride, 1, 0, (k - 1) * step - before, step))
    return found


def _cycles(rows: int, filters: int, wide: int, lane: int) -> float:
    """What a tile of so many rows takes, for all filters: a multiplication takes one cycle, and the next that adds to
    it waits for it."""
    parts = [wide] * (filters // wide) + [filters % wide] * (filters % wide > 0)
    vectors = [-(-part // lane) for part in parts]
    return sum(max(rows * n, 8) + 0.05 * (rows + n) + 0.5 for n in vectors)


def _sizes(lane: int, filters: int) -> list[tuple[int, int]]:
    """(rows, filters) of the tiles that fit the registers."""
    registers, _ = llvm.registers()
    vectors = range(1, min(_vectors(), -(-filters // lane)) + 1)
    return [(n, min(v * lane, filters)) for v in vectors for n in range(1, (registers - 1) // v)]


def _vectors() -> int:
    """Of how many vectors a row of a tile is at most."""
    return llvm.registers()[0] // 8


def _form(axes: list[Axis], channels: int, filters: int, groups: int, dtype: str) -> tuple[Form, int]:
    """The form of a convolution without `tile`, `wide` and what follows of them, and the filters of a vector."""
    planes, rows, columns = axes
    vector = lanes(dtype)
    single = filters == groups == 1 and 1 < channels <= _vectors() * vector
    deep, group = (1, 1) if single else (channels // groups, filters // groups)
    spreads = single or (groups > 1 and 3 * group <= vector and vector // group * deep <= _SPREAD)
    lane = vector // group * group if spreads else vector
    span = channels if single else filters if spreads or groups == 1 else group
    bordered = any(axis.leaves for axis in axes)
    line = columns.reach if bordered else columns.size
    form = Form(
        channels, filters, deep, group,
        element=channels if single else deep * filters,
        spread=(deep, group) if spreads else (0, 1),
        single=single,
        kinds=1 if single else filters // span,
        span=span,
        whole=columns.step == 1 and groups == 1 and not single,
        bordered=bordered,
        line=line,
        plane=0 if bordered else planes.step * rows.size * line * channels,
        image=0 if bordered else planes.size * rows.size * line * channels,
        tile=0, wide=0, block=0, images=1,
    )  # fmt: skip
    return form, lane


def _blocked(form: Form, axes: list[Axis], block: int) -> tuple[Form, int]:
    """With so many rows of results at a time, and the elements of scratch that these take."""
    planes, rows, _ = axes
    if not form.bordered:
        return form._replace(block=block), 0
    plane = rows.across(block) * form.line * form.channels
    return form._replace(block=block, plane=plane, image=planes.most * plane), planes.most * plane


def _rows_at_a_time(form: Form, axes: list[Axis], most: int) -> int:
    """As many as read no more than `_BORDERED` elements."""
    planes, rows, _ = axes
    line = planes.most * form.line * form.channels
    fit = [n for n in range(1, most + 1) if rows.across(n) * line <= _BORDERED]
    return max(fit, default=1)


def _convolution(axes: list[Axis], n: int, channels: int, filters: int, groups: int, dtype: str) -> dict[str, Any]:
    """Attributes of the task that convolves."""
    planes, rows, columns = axes
    form, lane = _form(axes, channels, filters, groups, dtype)
    count = -(-columns.output // columns.phases)
    fit = [size for size in _sizes(lane, form.span) if size[0] <= max(1, columns.output // columns.phases)]
    fit = [size for size in fit if size[1] == form.span or not form.single]
    tile, wide = min(fit, key=lambda size: -(-count // size[0]) * _cycles(size[0], form.span, size[1], lane))
    most = max(1, min(rows.output, n * planes.output * rows.output // _PIECES))
    form, scratch = _blocked(form._replace(tile=tile, wide=wide), axes, _rows_at_a_time(form, axes, most))
    return {"form": form, "scratch": scratch, "length": n * planes.output * -(-rows.output // form.block)}


def _correlation(axes: list[Axis], n: int, channels: int, filters: int, groups: int, dtype: str) -> dict[str, Any]:
    """Attributes of the task that makes the kernel's gradient."""
    planes, rows, columns = axes
    form, lane = _form(axes, channels, filters, groups, dtype)
    length = columns.window * channels if form.whole else form.deep
    lines = rows.window if form.whole else columns.window

    def cycles(size: tuple[int, int]) -> float:
        taps, run = max(1, size[0] // length), min(size[0], length)
        cut = [(lines // taps * (length // run), taps * run), (1, lines % taps * run), (lines, length % run * taps)]
        return sum(times * _cycles(count, form.span, size[1], lane) for times, count in cut if count)

    size, wide = min(_sizes(lane, form.span), key=cycles)
    taps, run = min(lines, max(1, size // length)), min(size, length)
    form = form._replace(tile=(taps, run), wide=wide)
    form, scratch = _blocked(form, axes, _rows_at_a_time(form, axes, rows.output))
    outer = planes.window if form.whole else planes.window * rows.window
    pieces = outer * -(-lines // taps) * -(-length // run) * form.kinds * -(-form.span // wide)
    if planes.output == 1 and form.block == rows.output:
        images = max(1, min(n, _BORDERED // (rows.output * columns.output * max(channels, filters))))
        form, scratch = form._replace(images=images), scratch * images
    return {"form": form, "scratch": scratch, "length": pieces}


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
    axes = _axes(x.shape[1:-1], output, kernel.shape[:-2], geometry)
    attributes = _convolution(axes, x.shape[0], x.shape[-1], shape[-1], groups, dtype)
    shapes = (x.shape, kernel.shape, shape)
    work = math.prod(shape) * math.prod(kernel.shape[:-1])
    return Recipe(((shape, dtype),), (_task(convolve, "x kernel y", axes, shapes, dtype, attributes, work),))


def transpose(g: Any, kernel: Any, image: Any, geometry: Any) -> Recipe | None:
    """Of `_conv_transpose`: a convolution of `g` with the kernel flipped."""
    strides, _, dilation, groups = geometry
    if not are_floats(g, kernel) or any(s > 1 and d > 1 for s, d in zip(strides, dilation, strict=True)):
        return None
    *window, deep, filters = kernel.shape
    shape, dtype, between = (g.shape[0], *image, deep * groups), g.dtype.name, 3
    axes = _axes(image, g.shape[1:-1], window, geometry, transposed=True)
    attributes = _convolution(axes, g.shape[0], filters, shape[-1], groups, dtype)
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
    axes = _axes(x.shape[1:-1], output, window, geometry)
    attributes = _correlation(axes, n, x.shape[-1], filters, groups, dtype)
    task = _task(correlate, "x g kernel", axes, (x.shape, g.shape, shape), dtype, attributes,
                 math.prod(g.shape) * math.prod(shape[:-1]))  # fmt: skip
    return Recipe(((shape, dtype),), (task.given((("batch", n),)),))
