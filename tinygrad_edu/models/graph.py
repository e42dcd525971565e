"""Graph: the calls of layers that lead from some symbols to others. What a functional model runs and saves."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import message
from ..layers import InputLayer, Layer, Symbol
from ..layers.base import mask_of
from ..layers.config import serialize
from ..layers.symbolic import Node, symbols_in
from ..tree import leaves, mapped, rebuild


class Graph:
    """The calls that lead from `inputs` to `outputs`, each a symbol, or a list or dict of symbols.

    Attributes:
        nodes: the calls, in an order in which they can run.
        layers: each once, in Keras's order, in which weights are listed: those farther from the outputs first.

    Raises TypeError for what is no symbol, ValueError for outputs that depend on other inputs.
    """

    def __init__(self, where: str, inputs: Any, outputs: Any):
        self.nodes: list[Node] = []  # the first attribute: a deep copy begins with it, and need not recurse deeply
        self.inputs, self.outputs = _in_order(inputs), _in_order(outputs)
        for name, tree in (("inputs", inputs), ("outputs", outputs)):
            if not symbols_in(tree) or len(symbols_in(tree)) != len(list(leaves(tree))):
                hint = "begin with x = Input(shape) and call layers on it."
                raise TypeError(message(where, f"{name} to be symbols", repr(tree), hint))
        self.input_layers = [_input_layer(symbol) for symbol in symbols_in(self.inputs)]
        self.nodes, met = self._explored(where)
        self.layers = self._sorted(met)
        self._ending = self._last_needed()

    def _last_needed(self) -> list[list[Symbol]]:
        """For each call the symbols that no later one needs: their values need not wait for the end in memory."""
        known = {id(symbol) for symbol in symbols_in(self.outputs)}
        found: list[list[Symbol]] = []
        for node in reversed(self.nodes):
            symbols = {id(s): s for s in (*leaves(node.outputs), *node.inputs) if s is not None and id(s) not in known}
            found.append([*symbols.values()])
            known |= symbols.keys()
        return found[::-1]

    def _given(self) -> dict[int, InputLayer]:
        """The input layers by the identity of their symbols."""
        return dict(zip(map(id, symbols_in(self.inputs)), self.input_layers, strict=True))

    def layers_of(self, symbols: Iterable[Symbol]) -> list[Layer]:
        """The layer that each symbol comes from in this model."""
        given = self._given()
        return [given.get(id(symbol), symbol.node.layer) for symbol in symbols if symbol.node]

    @property
    def last_layers(self) -> list[Layer]:
        """The layer that each output comes from."""
        return self.layers_of(symbols_in(self.outputs))

    def _explored(self, where: str) -> tuple[list[Node], dict[Layer, int]]:
        """The calls behind the outputs, each after those that it needs; and when each layer was met on the way back."""
        given = self._given()
        order: list[Node] = []
        met: dict[Layer, int] = {}
        seen: set[Node] = set()
        stack = [(symbol, False) for symbol in reversed(symbols_in(self.outputs))]
        while stack:  # without recursion, for graphs are deep
            symbol, ready = stack.pop()
            node = symbol.node
            assert node is not None
            if ready:
                order.append(node)
            elif id(symbol) in given:
                met.setdefault(given[id(symbol)], len(met))
            elif node not in seen:
                if not node.inputs:
                    found = f"one of {node.layer.where} as well"
                    raise ValueError(message(where, "outputs of its inputs alone", found))
                seen.add(node)
                met.setdefault(node.layer, len(met))
                stack.append((symbol, True))
                stack += [(other, False) for other in reversed(node.inputs)]
        return order, met

    def _sorted(self, met: Mapping[Layer, int]) -> list[Layer]:
        """The layers by their distance from the outputs, the longest way, largest first."""
        given = self._given()
        of_node: dict[Node, int] = {}
        distances: dict[Layer, int] = dict.fromkeys(self.last_layers, 0)
        for node in reversed(self.nodes):
            distance = max(of_node.get(node, 0), distances.get(node.layer, 0))
            distances[node.layer] = distance
            for symbol in node.inputs:
                if id(symbol) in given:
                    layer = given[id(symbol)]
                    distances[layer] = max(distances.get(layer, 0), distance + 1)
                elif symbol.node is not None:
                    of_node[symbol.node] = max(of_node.get(symbol.node, 0), distance + 1)
        unused = [layer for layer in self.input_layers if layer not in distances]
        return unused + sorted(distances, key=lambda layer: (-distances[layer], met[layer]))

    @property
    def output_names(self) -> list[str]:
        """What the results of each output are named after: the keys of a dict of outputs, else their layers."""
        if isinstance(self.outputs, dict) and len(self.outputs) == len(self.last_layers):
            return list(self.outputs)
        return [str(layer.name) for layer in self.last_layers]

    def run(self, inputs: list[Any], before_activation: frozenset[int] = frozenset()) -> Any:
        """The outputs for a list of inputs; those of these numbers before their last activation."""
        values: dict[int, Any] = {}
        for symbol, layer, value in zip(symbols_in(self.inputs), self.input_layers, inputs, strict=True):
            values[id(symbol)] = layer(value, mask=None)  # which leaves the input its mask
        split = {id(symbol) for i, symbol in enumerate(symbols_in(self.outputs)) if i in before_activation}
        apart: dict[int, Any] = {}  # what comes before an activation
        for node, ending in zip(self.nodes, self._ending, strict=True):
            args, keywords = mapped(lambda leaf: _value(values, leaf), (node.args, node.keywords))
            if split and id(node.outputs) in split:
                before = apart[id(node.outputs)] = node.layer.run(node.layer.preactivation, *args, **keywords)
                y = before if node.layer.activation is None else node.layer.activation(before)
                if y is not before and mask_of(before) is not None:
                    y.mask = before.mask
            else:
                y = node.layer(*args, **keywords)
            for symbol, value in zip(leaves(node.outputs), leaves(y), strict=True):
                if symbol is not None:
                    values.setdefault(id(symbol), value)  # what is an input stays as it is
            for symbol in ending:
                del values[id(symbol)]
            args = keywords = y = value = None  # which would hold some of them
        wanted = enumerate(map(id, symbols_in(self.outputs)))
        outputs = (apart.get(key, values[key]) if i in before_activation else values[key] for i, key in wanted)
        return rebuild(self.outputs, outputs)

    # As JSON

    def get_config(self) -> dict[str, Any]:
        """The layers, and the calls by numbers: of layers, and of what comes first, the inputs and then each output."""
        inputs = symbols_in(self.inputs)
        layers = [layer for layer in self.layers if not isinstance(layer, InputLayer)]
        free = itertools.count()
        numbers = {id(symbol): next(free) for symbol in inputs}
        calls = []
        for node in self.nodes:
            given = [_written(numbers, [*node.args]), _written(numbers, node.keywords)]
            calls.append([layers.index(node.layer), *given])
            for symbol in leaves(node.outputs):
                numbers[id(symbol)] = next(free)
        return {
            "layers": [serialize(layer) for layer in layers],
            "input_layers": [serialize(layer) for layer in self.input_layers],
            "calls": calls,
            "inputs": _written(numbers, self.inputs),
            "outputs": _written(numbers, self.outputs),
        }

    @staticmethod
    def from_config(config: Mapping[str, Any]) -> tuple[Any, Any]:
        """The inputs and outputs of what `get_config` described, with its layers made anew."""
        symbols = [layer.symbol() for layer in config["input_layers"]]
        for number, args, keywords in config["calls"]:
            layer = config["layers"][number]
            outputs = layer(*_read(symbols, args), **_read(symbols, keywords))
            symbols += leaves(outputs)
        return _read(symbols, config["inputs"]), _read(symbols, config["outputs"])


def _in_order(tree: Any) -> Any:
    """A tree with the entries of its dicts sorted by key, and a list of one as that one, as Keras has them."""
    if isinstance(tree, dict):
        return {key: _in_order(tree[key]) for key in sorted(tree)}
    if isinstance(tree, (list, tuple)):
        return _in_order(tree[0]) if len(tree) == 1 else [_in_order(branch) for branch in tree]
    return tree


def _value(values: Mapping[int, Any], leaf: Any) -> Any:
    return values[id(leaf)] if isinstance(leaf, Symbol) else leaf


def _input_layer(symbol: Symbol) -> InputLayer:
    """The input layer of a symbol; one of its shape for the output of another layer."""
    if symbol.node is not None and isinstance(symbol.node.layer, InputLayer):
        return symbol.node.layer
    if symbol.shape[0] is None:
        return InputLayer(symbol.shape[1:], symbol.dtype.name)
    return InputLayer(None, symbol.dtype.name, symbol.shape)


def _written(numbers: Mapping[int, int], value: Any) -> Any:
    """A tree of symbols and plain values as JSON: what is no plain value becomes a dict of one entry."""
    if isinstance(value, Symbol):
        return {"symbol": numbers[id(value)]}
    if isinstance(value, dict):
        return {"dict": [[key, _written(numbers, item)] for key, item in value.items()]}
    if isinstance(value, list):
        return [_written(numbers, item) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [_written(numbers, item) for item in value]}
    if isinstance(value, slice):
        return {"slice": [value.start, value.stop, value.step]}
    if value is Ellipsis:
        return {"ellipsis": True}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    expected = "calls with symbols, numbers and texts as arguments"
    raise TypeError(message("save", expected, type(value).__name__, "keep the model with save_weights."))


def _read(symbols: list[Symbol], value: Any) -> Any:
    """The tree that `_written` wrote, with other symbols."""
    if isinstance(value, list):
        return [_read(symbols, item) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    match kind:
        case "symbol":
            return symbols[content]
        case "dict":
            return {key: _read(symbols, item) for key, item in content}
        case "tuple":
            return tuple(_read(symbols, item) for item in content)
        case "slice":
            return slice(*content)
        case "ellipsis":
            return Ellipsis
    raise ValueError(message("load_model", "a call of a layer", f"an argument {kind!r}"))
