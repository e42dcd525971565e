"""Symbols: what stands for tensors while a functional model is put together."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy

from ..autograd import Tensor
from ..backend import to_device
from ..errors import ShapeError, message
from ..state import Switch
from ..tree import leaves, mapped, rebuild

Shape = tuple[int | None, ...]
"""A shape with the batch axis first; None where the length is not known."""
LENGTHS = ((12, 24), (120, 240), (480, 960))
"""For axes of unknown length, where a layer is tried out: multiples of many small numbers, larger ones for layers that
need them."""


class Symbol:
    """What a layer returns that is called on symbols: a shape and a dtype instead of values.

    `Input` makes the first ones. The operators and methods of tensors, and `+`, work on symbols and give symbols.

    Attributes:
        shape: with the batch axis first, None for lengths that are not known.
        dtype: of the values.
        node: the call that it comes from.
    """

    __slots__ = ("__weakref__", "dtype", "node", "shape")
    __array_ufunc__ = None  # makes NumPy leave `array * symbol` to us

    def __init__(self, shape: Shape, dtype: Any, node: Node | None = None):
        self.shape, self.dtype, self.node = shape, numpy.dtype(dtype), node

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __repr__(self) -> str:
        return f"<Symbol {self.shape} {self.dtype}>"

    def __bool__(self) -> bool:
        raise TypeError(message("a functional model", "no condition on a symbol", "one", "write a layer of your own."))


class Node:
    """One call of a layer on symbols.

    Attributes:
        layer: what was called.
        args, keywords: with what, `training` included if it was given.
        outputs: the symbol, or tree of symbols, that it returned.
    """

    def __init__(self, layer: Any, args: tuple[Any, ...], keywords: dict[str, Any]):
        self.layer, self.args, self.keywords = layer, args, keywords
        self.outputs: Any = None

    @property
    def inputs(self) -> list[Symbol]:
        return symbols_in((self.args, self.keywords))

    def __deepcopy__(self, memo: dict[int, Any]) -> Node:
        other = memo[id(self)] = copy.copy(self)
        vars(other).update(copy.deepcopy(vars(self), memo))
        # a copied layer knows the calls of the copied model, not those of the model
        calls = [call for call in other.layer.calls if getattr(call(), "layer", None) is other.layer]
        other.layer.calls = (*calls, weakref.ref(other))
        return other


def symbols_in(tree: Any) -> list[Symbol]:
    return [leaf for leaf in leaves(tree) if isinstance(leaf, Symbol)]


def is_shape(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and all(n is None or isinstance(n, int) for n in value)


def shapes_of(tree: Any) -> Any:
    """The shape of each tensor or symbol of a tree."""
    return mapped(lambda leaf: tuple(leaf.shape), tree)


def call_on_symbols(layer: Any, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """What `layer(*args, **keywords)` gives where there are symbols among its arguments."""
    node = Node(layer, args, keywords)
    if not layer.built:
        layer.build_for(*args, **keywords)
    found = infer(layer, args, keywords)
    node.outputs = mapped(lambda leaf: Symbol(leaf.shape, leaf.dtype, node), found)
    layer.calls = (*layer.calls, weakref.ref(node))  # weak, for a layer does not keep its models
    return node.outputs


def infer(layer: Any, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """The outputs for such arguments, as symbols that come from nowhere.

    They are found by running the layer on made-up rows: twice, if lengths are not known, for the axes that change with
    them are not known either.
    """
    given = symbols_in((args, keywords))
    rows = {symbol.shape[0] for symbol in given if symbol.shape} - {None}
    batch = next(iter(rows), None) if all(symbol.shape[:1] != (None,) for symbol in given) else None
    unknown = any(None in symbol.shape[1:] or symbol.dtype.kind == "O" for symbol in given)
    for number, lengths in enumerate(LENGTHS):
        try:
            runs = [_run_made_up(layer, args, keywords, batch or 1, n) for n in lengths[: 1 + unknown]]
        except ShapeError:
            if not unknown or number + 1 == len(LENGTHS):
                raise
            continue
        break
    first, last = (list(leaves(run)) for run in (runs[0], runs[-1]))
    return rebuild(runs[0], (_outcome(a, b, batch) for a, b in zip(first, last, strict=True)))


def _outcome(a: Any, b: Any, batch: int | None) -> Symbol:
    known = tuple(n if n == m else None for n, m in zip(a.shape[1:], b.shape[1:], strict=True))
    return Symbol((batch, *known) if a.ndim else (), a.dtype)


def _run_made_up(layer: Any, args: Any, keywords: Any, rows: int, length: int) -> Any:
    """The layer's outputs for ones (ids: zeros; texts: as many words); its buffers stay as they were."""
    xp = layer.device.xp

    def made_up(leaf: Any) -> Any:
        if not isinstance(leaf, Symbol):
            return leaf
        shape = tuple(n or length for n in (leaf.shape[0] or rows, *leaf.shape[1:])) if leaf.shape else ()
        if leaf.dtype.kind == "O":
            return numpy.full(shape, "a " * length, dtype=object)
        array = (xp.zeros if leaf.dtype.kind in "iu" else xp.ones)(shape, leaf.dtype)
        return Tensor(to_device(array, layer.device))

    x, *others = mapped(made_up, args)
    with Switch("grad_enabled", False), Switch("made_up", True), unchanged(layer):
        return layer.run(layer.call, x, *others, **{**mapped(made_up, keywords), "training": False})


@contextmanager
def unchanged(layer: Any) -> Iterator[None]:
    """Puts the buffers of a layer back at the end of a `with` block."""
    before = [(buffer, buffer.data.copy()) for _, buffer in layer.named_buffers()]
    try:
        yield
    finally:
        for buffer, data in before:
            buffer.assign_(data)
