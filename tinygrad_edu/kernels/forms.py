"""How a convolution is laid out and divided: its axes, and the sizes of the tiles that are thought to take least."""

from __future__ import annotations

from typing import Any, NamedTuple

from .tiles import lanes, registers

_BORDERED = 1 << 14
"""Elements of images with a border that are made at a time: they stay in the processor's cache."""
_PIECES = 16
"""How many pieces a convolution is cut into at least, for threads to share."""
_SIDES = 64
"""Of how many products one at least is with a zero beside the image, where code is written that leaves these out."""
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
        packed: whether the kernel is cut into parts of `wide` filters, which lie one after the other.
        whole: whether all channels of neighbouring elements of a window lie side by side.
        kinds, span, wide: of each kind (group, or all) so many filters, and how many of them a tile has.
        tile: positions of a tile, or rows of the kernel's gradient: (elements of the window, channels of these).
        block: rows of results at a time.
        images: how many at a time, for the gradient of the kernel.
        bordered: whether what is read is copied first, with zeros around.
        edges: whether instead the first and the last tile of a row leave out what lies beside the image.
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
    packed: bool
    whole: bool
    kinds: int
    span: int
    wide: int
    tile: Any
    block: int
    images: int
    bordered: bool
    edges: bool
    line: int
    plane: int
    image: int


def axes_of(image: Any, output: Any, window: Any, geometry: Any, transposed: bool = False) -> list[Axis]:
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
    count, _ = registers()
    vectors = range(1, min(_vectors(), -(-filters // lane)) + 1)
    return [(n, min(v * lane, filters)) for v in vectors for n in range(1, (count - 1) // v)]


def _vectors() -> int:
    """Of how many vectors a row of a tile is at most."""
    return registers()[0] // 8


def _form(axes: list[Axis], channels: int, filters: int, groups: int, dtype: str) -> tuple[Form, int]:
    """The form of a convolution without `tile`, `wide` and what follows of them, and the filters of a vector."""
    vector = lanes(dtype)
    single = filters == groups == 1 and 1 < channels <= _vectors() * vector
    deep, group = (1, 1) if single else (channels // groups, filters // groups)
    spreads = single or (groups > 1 and 3 * group <= vector and vector // group * deep <= _SPREAD)
    lane = vector // group * group if spreads else vector
    span = channels if single else filters if spreads or groups == 1 else group
    form = Form(
        channels, filters, deep, group,
        element=channels if single else deep * filters,
        spread=(deep, group) if spreads else (0, 1),
        single=single,
        packed=False,
        kinds=1 if single else filters // span,
        span=span,
        whole=axes[-1].step == 1 and groups == 1 and not single,
        bordered=False, edges=False, line=0, plane=0, image=0, tile=0, wide=0, block=0, images=1,
    )  # fmt: skip
    return form, lane


def _blocked(form: Form, axes: list[Axis], most: int) -> tuple[Form, int]:
    """With as many rows of results at a time as read no more than `_BORDERED` elements, and the elements of scratch
    that these take."""
    planes, rows, columns = axes
    line = columns.reach if form.bordered else columns.size
    size = planes.most * line * form.channels
    block = max((n for n in range(1, most + 1) if rows.across(n) * size <= _BORDERED), default=1)
    form = form._replace(line=line, block=block)
    if not form.bordered:
        plane = rows.size * line * form.channels
        return form._replace(plane=planes.step * plane, image=planes.size * plane), 0
    plane = rows.across(block) * line * form.channels
    return form._replace(plane=plane, image=planes.most * plane), planes.most * plane


def _has_edges(columns: Axis, tile: int) -> bool:
    """Whether windows leave the image at its sides, but only those of the first and the last tile of a row; and so
    often that it is worth the larger code."""
    if columns.phases > 1:
        return False
    places = [at * columns.stride + columns.low for at in range(columns.output)]
    taps = range(0, columns.window * columns.step, columns.step)
    outside = sum(not 0 <= place + tap < columns.size for place in places for tap in taps)
    inner = range(tile, columns.output - tile, tile)
    stays = not inner or (places[tile] >= 0 and places[inner[-1] + tile - 1] + taps[-1] < columns.size)
    return stays and outside * _SIDES >= columns.output * columns.window


def convolution(axes: list[Axis], n: int, channels: int, filters: int, groups: int, dtype: str) -> dict[str, Any]:
    """Attributes of the task that convolves."""
    planes, rows, columns = axes
    form, lane = _form(axes, channels, filters, groups, dtype)
    count = -(-columns.output // columns.phases)
    fit = [size for size in _sizes(lane, form.span) if size[0] <= max(1, columns.output // columns.phases)]
    fit = [size for size in fit if size[1] == form.span or not form.single]
    tile, wide = min(fit, key=lambda size: -(-count // size[0]) * _cycles(size[0], form.span, size[1], lane))
    most = max(1, min(rows.output, n * planes.output * rows.output // _PIECES))
    edges = groups == 1 and form.deep > 1 and _has_edges(columns, tile)
    form = form._replace(tile=tile, wide=wide, edges=edges, bordered=columns.leaves and not edges)
    form, scratch = _blocked(form, axes, most)
    return {"form": form, "scratch": scratch, "length": n * planes.output * -(-rows.output // form.block)}


def correlation(axes: list[Axis], n: int, channels: int, filters: int, groups: int, dtype: str) -> dict[str, Any]:
    """Attributes of the task that makes the kernel's gradient."""
    planes, rows, columns = axes
    form, lane = _form(axes, channels, filters, groups, dtype)
    length = columns.window * channels if form.whole else form.deep
    lines = rows.window if form.whole else columns.window
    outer = planes.window if form.whole else planes.window * rows.window

    def cut(size: int) -> tuple[int, int]:
        return min(lines, max(1, size // length)), min(size, length)

    def pieces(size: int, wide: int) -> int:
        taps, run = cut(size)
        return outer * -(-lines // taps) * -(-length // run) * form.kinds * -(-form.span // wide)

    def cycles(size: int, wide: int) -> float:
        taps, run = cut(size)
        tiles = ((lines // taps * (length // run), taps * run), (1, lines % taps * run), (lines, length % run * taps))
        return sum(times * _cycles(rows, form.span, wide, lane) for times, rows in tiles if rows)

    sizes = _sizes(lane, form.span)
    shared = [size for size in sizes if pieces(*size) > 1]  # by two threads at least
    size, wide = min(shared or sizes, key=lambda size: cycles(*size))
    form = form._replace(tile=cut(size), wide=wide, bordered=any(axis.leaves for axis in axes))
    form, scratch = _blocked(form, axes, rows.output)
    if planes.output == 1 and form.block == rows.output:
        images = max(1, min(n, _BORDERED // (rows.output * columns.output * max(channels, filters))))
        form, scratch = form._replace(images=images), scratch * images
    return {"form": form, "scratch": scratch, "length": pieces(size, wide)}
