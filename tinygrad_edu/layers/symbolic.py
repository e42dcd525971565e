"""Symbols: what stands for tensors while a functional model is put together."""

from __future__ import annotations

import copy
import math
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy

from ..autograd import Tensor
from ..backend import default_generator, to_device
from ..errors import ShapeError, message
from ..state import Switch
from ..tree import leaves, mapped, rebuild

Shape = tuple[int | None, ...]
"""A shape with the batch axis first; None where the length is not known."""
LENGTHS = ((12, 24), (2, 4), (120, 240), (420, 840), (480, 960), (1680, 3360))
"""For axes of unknown length, where a layer is tried out: multiples of many small numbers; shorter and longer ones for
layers that need them."""
ROWS = (2, 3)
"""How many rows a layer is tried out on where the batch size is not known."""
LARGEST = 2**26
"""No array for a trial has more elements."""


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

    operand_hint = "use a method, as x.exp(), a layer, or layers.Lambda(tg.exp)(x)."

    def __bool__(self) -> bool:
        raise TypeError(message("a functional model", "no condition on a symbol", "one", "write a layer of your own."))

    def __iter__(self) -> Any:
        hint = "write a layer of your own, or take parts by x[:, 0]."
        raise TypeError(message("a functional model", "no loop over a symbol", "one", hint))

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError(message("a functional model", "tensors or arrays", "a symbol", self.operand_hint))


class Node:
    """One call of a layer on symbols.

    Attributes:
        layer: what was called.
        args, keywords: with what, `training` included if it was given.
        outputs: the symbol, or tree of symbols, that it returned, None in the place of one that nobody has kept.
    """

    def __init__(self, layer: Any, args: tuple[Any, ...], keywords: dict[str, Any]):
        self.layer, self.args, self.keywords = layer, args, keywords
        self._outputs: Any = None

    @property
    def outputs(self) -> Any:
        return mapped(lambda reference: reference(), self._outputs)

    @outputs.setter
    def outputs(self, symbols: Any) -> None:
        self._outputs = mapped(weakref.ref, symbols)  # a symbol knows its node: without a circle

    @property
    def inputs(self) -> list[Symbol]:
        return symbols_in((self.args, self.keywords))

    def __deepcopy__(self, memo: dict[int, Any]) -> Node:
        other = memo[id(self)] = copy.copy(self)
        for name in ("layer", "args", "keywords"):
            setattr(other, name, copy.deepcopy(getattr(self, name), memo))
        kept = [(s, copy.deepcopy(s, memo)) for s in leaves(self.outputs) if s is not None]
        copies = {id(symbol): made for symbol, made in kept}
        other._outputs = mapped(lambda s: weakref.ref(copies[id(s)]) if s is not None else lambda: None, self.outputs)
        note_call(other)  # a copied layer knows the calls of the copied model
        return other


def note_call(node: Node) -> None:
    """Tells the layer of a call of it; by a weak reference, for a layer does not keep its models."""
    node.layer.calls = (*(call for call in node.layer.calls if call() is not None), weakref.ref(node))


def symbols_in(tree: Any) -> list[Symbol]:
    return [leaf for leaf in leaves(tree) if isinstance(leaf, Symbol)]


def is_shape(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and all(n is None or isinstance(n, int) for n in value)


def shapes_of(tree: Any) -> Any:
    """The shape of each tensor or symbol of a tree."""
    return mapped(lambda leaf: tuple(leaf.shape), tree)


def call_on_symbols(layer: Any, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """What `layer(*args, **keywords)` gives where there are symbols among its arguments."""
    layer.check_one(args[0])
    node = Node(layer, args, keywords)
    if not layer.built:
        layer.build_for(*args, **keywords)
    node.outputs = outputs = mapped(lambda leaf: Symbol(leaf.shape, leaf.dtype, node), infer(layer, args, keywords))
    note_call(node)
    return outputs


def infer(layer: Any, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """The outputs for such arguments, as symbols that come from nowhere.

    They are found by running the layer on made-up rows, twice, for the axes whose lengths differ are not known. Where
    no length is right for a layer that wants a certain one, those of its other inputs are tried.
    """
    given = symbols_in((args, keywords))
    fixed = next((symbol.shape[0] for symbol in given if symbol.shape and symbol.shape[0]), None)
    batches = (fixed, fixed) if fixed else ROWS
    unknown = any(None in symbol.shape[1:] or symbol.dtype.kind == "O" for symbol in given)
    others = dict.fromkeys((n, n) for symbol in given for n in symbol.shape[1:] if n)
    first_error = None
    for lengths in (*LENGTHS, *others) if unknown else LENGTHS[:1]:
        if any(_size(symbol, max(batches), max(lengths)) > LARGEST for symbol in given) and lengths != LENGTHS[0]:
            continue
        try:
            runs = [_run_made_up(layer, args, keywords, *trial) for trial in zip(batches, lengths, strict=True)]
        except ShapeError as error:
            first_error = first_error or error
        else:
            first, last = (list(leaves(run)) for run in runs)
            return rebuild(runs[0], (_outcome(layer, a, b) for a, b in zip(first, last, strict=True)))
    assert first_error is not None
    raise first_error


def _size(symbol: Symbol, rows: int, length: int) -> int:
    return math.prod(n or length for n in (rows, *symbol.shape[1:]))


def _outcome(layer: Any, a: Any, b: Any) -> Symbol:
    if not (hasattr(a, "dtype") and hasattr(b, "dtype")):
        raise TypeError(message(layer.where, "outputs that are tensors", type(a).__name__))
    if a.ndim != b.ndim:
        expected = "outputs of as many axes whatever the lengths"
        raise ShapeError(message(layer.where, expected, f"shapes {a.shape} and {b.shape}"))
    return Symbol(tuple(n if n == m else None for n, m in zip(a.shape, b.shape, strict=True)), a.dtype)


def _run_made_up(layer: Any, args: Any, keywords: Any, rows: int, length: int) -> Any:
    """The layer's outputs for made-up numbers (ids: zeros; texts: as many words); its buffers and the generator of
    random numbers stay as they were."""
    xp = layer.device.xp

    def made_up(leaf: Any) -> Any:
        if not isinstance(leaf, Symbol):
            return leaf
        shape = (leaf.shape[0] or rows, *(n or length for n in leaf.shape[1:])) if leaf.shape else ()
        if leaf.dtype.kind == "O":
            return numpy.full(shape, "a " * length, dtype=object)
        value = {"f": 0.5, "b": True}.get(leaf.dtype.kind, 0)
        return Tensor(to_device(xp.full(shape, value, dtype=leaf.dtype), layer.device))

    x, *others = mapped(made_up, args)
    place = default_generator.state
    try:
        with Switch("grad_enabled", False), Switch("made_up", True), unchanged(layer), numpy.errstate(all="ignore"):
            return layer.run(layer.call, x, *others, **{**mapped(made_up, keywords), "training": False})
    finally:
        default_generator.state = place


@contextmanager
def unchanged(layer: Any) -> Iterator[None]:
    """Puts the buffers of a layer back at the end of a `with` block."""
    before = [(buffer, buffer.data.copy()) for _, buffer in layer.named_buffers()]
    try:
        yield
    finally:
        for buffer, data in before:
            buffer.assign_(data)
