"""The engine: one loop that walks the graph backward, newest node first, for `.backward()` and every transform.

The sequence numbers of the nodes are a topological order, so a heap on them visits each node once, when its cotangent
is complete, without recursion and in linear time (times the logarithm of the graph's width).
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Sequence
from heapq import heapify, heappop, heappush
from typing import Any

from numpy import ndarray

from ..backend import array_module, device_of
from ..errors import DeviceError, GradientError, ShapeError, message
from ..state import Switch, state
from . import writes
from .primitive import LARGE, PICK, Node, Primitive, Spec, split_outputs, sum_to
from .tensor import Tensor
from .tracer import Tracer, live

Edge = Any  # a Node, or a leaf Tensor


def backward(output: Tensor, gradient: Any, retain_graph: bool, create_graph: bool) -> None:
    """See `Tensor.backward`."""
    if not output.requires_grad:
        hint = "make an input with requires_grad=True, outside of no_grad()."
        raise GradientError(message("backward", "a tensor that requires grad", "one that does not", hint))
    if create_graph:
        warnings.warn(
            "backward(create_graph=True) makes a cycle through .grad that only gc.collect() frees; use tg.grad",
            stacklevel=3,
        )
    if state.trace is not None:
        state.trace.check_inside("backward", output)
    seed = cotangent_of(output, gradient)
    found = propagate([output], [seed], None, create_graph, retain_graph or create_graph)
    for leaf, g in found.items():
        g = as_tensor(g)
        leaf.grad = g if leaf.grad is None else leaf.grad + g


def gradients(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    seeds: Sequence[Any],
    create_graph: bool,
    retain_graph: bool,
    since: int,
) -> list[Any]:
    """The gradients of `inputs`, which need not be leaves, as Tensors; zeros for an input that no output depends on.

    Only the paths to `inputs` are followed. They must not lead through nodes older than the sequence number `since`,
    unless those are inputs themselves.
    """
    wanted = [edge_of(t) for t in inputs]
    roots = [edge_of(t) for t in outputs if t.requires_grad]
    needed = paths(explore(roots, wanted, since)[1], wanted)
    found = propagate(outputs, seeds, needed, create_graph, retain_graph or create_graph, set(wanted))
    results = []
    for edge, t in zip(wanted, inputs, strict=True):
        g = found[edge] if edge in found else array_module(t.data).zeros(t.shape, dtype=t.dtype)
        results.append(g if type(g) is Tensor else Tensor(g.copy() if type(edge) is Node else g))
    return results


def edge_of(t: Tensor) -> Edge:
    return t if t.node is None else t.node


def cotangent_of(output: Tensor, gradient: Any) -> Any:
    """The array (or Tensor) to start from, checked."""
    if gradient is None:
        if output.size != 1:
            hint = "call it on a mean or a sum, or pass gradient=..."
            raise ShapeError(message("backward", "a tensor with one element", f"shape {output.shape}", hint))
        return array_module(output.data).ones(output.shape, dtype=output.dtype)
    array = gradient.data if type(gradient) is Tensor else gradient
    if not hasattr(array, "shape") or array.shape != output.shape:
        found = getattr(array, "shape", type(array).__name__)
        raise ShapeError(message("backward", f"a gradient of shape {output.shape}", f"{found}"))
    if device_of(array) != output.device:
        raise DeviceError(message("backward", f"a gradient on {output.device}", f"one on {device_of(array)}"))
    if array.dtype != output.dtype:
        raise TypeError(message("backward", f"a gradient of dtype {output.dtype}", str(array.dtype), "use .astype()."))
    return gradient


def explore(roots: Iterable[Edge], wanted: Iterable[Edge], since: int) -> tuple[set[Edge], Collection[Node]]:
    """Walks the graph down from `roots` as far as `wanted` and the nodes made before `since`.

    Returns the edges where it stopped other than `wanted`, and the nodes in between.
    """
    wanted = set(wanted)
    inside: dict[Node, None] = {}
    boundary: set[Edge] = set()
    stack = list(roots)
    while stack:
        edge = stack.pop()
        if edge in wanted or edge in inside:
            continue
        if type(edge) is not Node or edge.sequence < since:
            boundary.add(edge)
            continue
        if edge.saved is None:
            raise _freed(edge)
        inside[edge] = None
        stack.extend(e for e in edge.edges if e is not None)
    return boundary, inside


def paths(inside: Iterable[Node], wanted: Iterable[Edge]) -> set[Edge]:
    """The edges in `wanted`, and the nodes among `inside` from which a path leads to one of them."""
    needed = set(wanted)
    for node in sorted(inside, key=lambda node: node.sequence):
        if not needed.isdisjoint(node.edges):
            needed.add(node)
    return needed


def propagate(
    outputs: Sequence[Tensor],
    seeds: Sequence[Any],
    needed: set[Edge] | None,
    create_graph: bool,
    retain_graph: bool,
    inputs: Collection[Edge] = (),
    complete: bool = True,
) -> dict[Edge, Any]:
    """The loop. Returns the gradients by edge: of the leaves, and of the nodes among `inputs`, at which it stops.

    It visits the edges in `needed` only, all of them if None. Cotangents are plain arrays, or Tensors under
    `create_graph`. The gradient of a leaf is an array that nobody else has. Hooks of leaves and `inputs` wait if these
    gradients are only a part, not `complete`.
    """
    with Switch("grad_enabled", create_graph):
        cotangents, found = _start(outputs, seeds, needed, create_graph)
        heap = [(-node.sequence, node) for node in cotangents]
        heapify(heap)
        traced = state.trace is not None
        while heap:
            node = heappop(heap)[1]
            g = cotangents.pop(node)
            if Node.observed and (complete or node not in inputs):
                g = _run_hooks(node, g)
                _retain(node, g)
            if node in inputs:
                found[node] = g
                continue
            primitive, edges, args, y, attributes = node.primitive, node.edges, node.saved, node.output, node.attributes
            if args is None:
                raise _freed(node)
            if traced or node.sequence < writes.latest:
                _check_saved(node)
            if create_graph:
                args, y = _link(node)
            vjps: Any = primitive.vjps
            ds = None
            if vjps is None or (type(g) is ndarray and g.size >= LARGE):
                if primitive is PICK:
                    _collect(node, g, cotangents, heap)
                    continue
                needs = [edge is not None and (needed is None or edge in needed) for edge in edges]
                residuals = None if create_graph else node.residuals
                ds = _by_loops(primitive, needs, residuals, g, y, args, attributes)
                if vjps is None and ds is None:
                    ds = primitive.joint(needs, residuals, g, y, *args, **attributes)
            for i, edge in enumerate(edges):
                if edge is None or (needed is not None and edge not in needed):
                    continue
                d = vjps[i](g, y, *args, **attributes) if ds is None else ds[i]
                if d is None:
                    continue
                if type(edge) is Node:
                    if d.shape != edge.shape:
                        d = _fit(d, edge.shape, node, i)
                    if d.dtype is not edge.dtype and d.dtype != edge.dtype:  # pickle makes equal ones
                        raise _wrong(TypeError, node, i, f"dtype {edge.dtype}", d.dtype)
                    if edge in cotangents:
                        cotangents[edge] = cotangents[edge] + d
                    else:
                        cotangents[edge] = d
                        heappush(heap, (-edge.sequence, edge))
                else:
                    if d.shape != edge.data.shape:
                        d = _fit(d, edge.data.shape, node, i)
                    if d.dtype is not edge.data.dtype and d.dtype != edge.data.dtype:
                        raise _wrong(TypeError, node, i, f"dtype {edge.data.dtype}", d.dtype)
                    if edge in found:
                        found[edge] += d
                    else:
                        found[edge] = d if create_graph else _own(d, g, y, args, shared=not vjps)
            if not retain_graph:
                node.saved = node.output = node.residuals = None
                node.edges = []
        return {edge: _finish(edge, g, complete) for edge, g in found.items()}


def _start(
    outputs: Sequence[Tensor], seeds: Sequence[Any], needed: set[Edge] | None, create_graph: bool
) -> tuple[dict[Node, Any], dict[Edge, Any]]:
    """The cotangents of the nodes behind `outputs`, and of outputs that are leaves."""
    cotangents: dict[Node, Any] = {}
    leaves: dict[Edge, Any] = {}
    for output, seed in zip(outputs, seeds, strict=True):
        edge = edge_of(output)
        if not output.requires_grad or (needed is not None and edge not in needed):
            continue
        g: Any = _value(seed)
        if create_graph:
            g = seed if type(seed) is Tensor and seed.requires_grad else Tensor(g)
        target: dict[Any, Any] = cotangents if type(edge) is Node else leaves
        if edge in target:
            target[edge] = target[edge] + g
        else:
            target[edge] = g if create_graph or target is cotangents else g.copy()
    return cotangents, leaves


def _value(seed: Any) -> Any:
    """The array of a cotangent that was given, as a trace sees it."""
    if type(seed) is not Tensor:
        return live(seed)
    if state.trace is not None:
        state.trace.watch(seed)
    return live(seed.data)


def _finish(edge: Edge, g: Any, complete: bool) -> Any:
    """A gradient as it is returned: after the hooks of its leaf, and an array where NumPy made a scalar of it."""
    if complete and hasattr(edge, "hooks") and type(edge) is Tensor:
        g = _run_hooks(edge, g)
        g = g if type(g) is Tensor else g.copy()  # a hook may keep what it got
    if type(g) is Tensor:
        return g if g.requires_grad else Tensor(g.data.copy())
    return g if type(g) is Tracer else array_module(g).asarray(g)


def _collect(pick: Node, g: Any, cotangents: dict[Node, Any], heap: list[tuple[int, Node]]) -> None:
    """Puts the cotangent of one output in its place in the list that its node gets; None where one is absent."""
    node, index = pick.edges[0], pick.attributes["index"]
    if node not in cotangents:
        heappush(heap, (-node.sequence, node))
        cotangents[node] = [None] * pick.attributes["count"]
    parts = cotangents[node]
    parts[index] = g if parts[index] is None else parts[index] + g


_JITTED = Primitive(lambda xp: None, "opaque", label="a jitted function")


def without_graph(array: Any) -> Tensor:
    """A tensor that requires grad, of which backward says that a jitted function has kept its graph."""
    node = Node()
    node.primitive, node.edges, node.attributes = _JITTED, [], {}
    node.saved = node.output = node.residuals = None
    node.sequence, node.shape, node.dtype = writes.next_sequence(), array.shape, array.dtype
    return Tensor(array, True, node)


def _by_loops(primitive: Primitive, needs: list[bool], residuals: Any, g: Any, *rest: Any) -> Any:
    """The gradients by fused loops, where that is faster; of cotangents that are large arrays on the CPU."""
    given = [part for part in g if part is not None] if type(g) is list else [g]
    large = all(type(part) is ndarray for part in given) and max(part.size for part in given) >= LARGE
    return primitive.fused.rules(primitive, needs, residuals, g, *rest) if large else None


def _freed(node: Node) -> GradientError:
    if node.primitive is _JITTED:
        hint = "call backward inside of it, or detach() its result."
        return GradientError(message("backward", "a graph", "the result of a jitted function, which has none", hint))
    hint = "pass retain_graph=True to the first backward, or compute the output anew."
    return GradientError(
        message("backward", "a graph", f"one that an earlier backward has freed (at {node.primitive.name})", hint)
    )


def _fit(d: Any, shape: tuple[int, ...], node: Node, i: int) -> Any:
    """Undoes broadcasting for element-wise primitives; for any other a wrong shape is a wrong rule."""
    if node.primitive.kind == "elementwise":
        return sum_to(d, shape=shape)
    raise _wrong(GradientError, node, i, f"shape {shape}", d.shape)


def _wrong(kind: type[Exception], node: Node, i: int, expected: str, found: Any) -> Exception:
    where = f"gradient of {node.primitive.name} for argument {i}"
    return kind(message(where, expected, str(found), "its rule is wrong."))


def _own(d: Any, g: Any, y: Any, args: Sequence[Any], shared: bool) -> Any:
    """`d` as an array of its own: a rule may return the cotangent, a saved array or a view, a joint one any twice."""
    if shared or d is g or d is y or d.base is not None or any(d is a for a in args):
        return d.copy()
    return d


def _link(node: Node) -> tuple[list[Any], Any]:
    """What a node has saved as Tensors with their place in the graph, so that a rule run on them is differentiable."""
    args = []
    for a, edge in zip(node.saved or (), node.edges, strict=False):
        if not hasattr(a, "dtype") or type(a) is Spec or type(a) is Tensor:
            args.append(a)
        elif type(edge) is Node:
            args.append(Tensor(a, True, edge))
        else:
            args.append(Tensor(a) if edge is None else edge)
    y = node.output
    if type(y) is tuple:
        return args, split_outputs(y, node)
    return args, None if y is None else Tensor(y, True, node)


def _check_saved(node: Node) -> None:
    """Refuses saved arrays that `assign_` has overwritten since."""
    saved: list[Any] = [*(node.saved or ()), node.output]
    for a in saved:
        if type(a) is tuple:
            saved.extend(a)  # what a Function has saved
        a = a.data if type(a) is Tensor else a
        if hasattr(a, "strides") and overwritten_since(a, node.sequence):
            hint = "run backward before assign_ (or the optimizer's step), or assign to a copy."
            found = f"an array {a.dtype}{list(a.shape)} that assign_ has overwritten since"
            raise GradientError(message(f"gradient of {node.primitive.name}", "its saved values", found, hint))


def overwritten_since(array: Any, sequence: int) -> bool:
    """Whether `assign_` has overwritten any of it after that time."""
    if state.trace is not None:
        return state.trace.overwritten_since(array, sequence)
    return type(array) is not Tracer and writes.overwritten_since(*writes.bounds(array), sequence)


def _retain(node: Node, g: Any) -> None:
    """Adds a cotangent to the `.grad` of the node's tensor, if that has asked for it and still exists."""
    t = node.retains() if hasattr(node, "retains") else None
    if t is not None:
        own = g if type(g) is Tensor and g.requires_grad else Tensor(as_tensor(g).data.copy())
        t.grad = own if t.grad is None else t.grad + own


def as_tensor(g: Any) -> Tensor:
    if type(g) is Tensor:
        return g
    return Tensor(g if type(g) is Tracer else array_module(g).asarray(g))


def _run_hooks(owner: Any, g: Any) -> Any:
    for hook in list(getattr(owner, "hooks", ())):
        result = hook(as_tensor(g))
        if result is not None:
            if type(result) is not Tensor or result.dtype != g.dtype:
                found = f"dtype {result.dtype}" if type(result) is Tensor else type(result).__name__
                raise TypeError(message("hook", f"None or a Tensor of dtype {g.dtype}", found))
            if result.shape != g.shape:
                raise ShapeError(message("hook", f"a gradient of shape {g.shape}", f"{result.shape}"))
            g = result if type(g) is Tensor else result.data
    return g
