"""Function: an operation whose gradient the user writes. checkpoint: a part of a network that keeps no intermediate
results."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from ..backend import array_module, default_generator
from ..errors import GradientError, message
from ..state import Switch, state
from . import writes
from .engine import as_tensor, edge_of, explore, overwritten_since, paths, propagate
from .primitive import Node, Primitive, Spec, split_outputs
from .tensor import Tensor
from .tracer import Tracer, live


class Context:
    """What `Function.forward` leaves for `Function.backward`: attributes of any name, and saved tensors.

    Attributes:
        needs_input_grad: per argument of `apply`, whether its gradient is wanted.
    """

    needs_input_grad: tuple[bool, ...]

    def __init__(self) -> None:
        self._saved: tuple[Any, ...] = ()

    def save_for_backward(self, *tensors: Tensor) -> None:
        """Keeps inputs or outputs of the operation, so that a gradient of the gradient finds its way through them."""
        self._saved = tensors

    @property
    def saved_tensors(self) -> tuple[Tensor, ...]:
        return self._saved


class Function:
    """A differentiable operation with a gradient of one's own.

    A subclass defines two static methods. `forward(ctx, *args)` gets the arguments of `apply` and returns a Tensor or
    a tuple of them; no graph is recorded in it. `backward(ctx, *gradients)` gets a gradient per output and returns one
    per argument of `apply`, None where there is none. It is differentiable itself if it consists of operations on its
    gradients and `ctx.saved_tensors`.

    >>> import tinygrad_edu as tg
    >>> class Cube(tg.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x * x
    ...     @staticmethod
    ...     def backward(ctx, gradient):
    ...         (x,) = ctx.saved_tensors
    ...         return gradient * 3.0 * x * x
    >>> tg.grad(tg.grad(Cube.apply))(2.0)
    tensor(12.)
    """

    _primitive: Primitive

    def __init_subclass__(cls) -> None:
        cls._primitive = Primitive(_recorded, "opaque")
        cls._primitive.name = cls.__name__
        cls._primitive.defjoint(_run_backward)

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        raise NotImplementedError("a Function defines a static method forward(ctx, *args)")

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        raise NotImplementedError("a Function defines a static method backward(ctx, *gradients)")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Computes the operation and records it in the graph."""
        ctx = Context()
        edges = [edge_of(a) if type(a) is Tensor and a.requires_grad and state.grad_enabled else None for a in args]
        ctx.needs_input_grad = tuple(edge is not None for edge in edges)
        with Switch("grad_enabled", False):
            result = cls.forward(ctx, *args)
        outputs = _outputs(f"{cls.__name__}.forward", result)
        if not any(ctx.needs_input_grad):
            return result
        # a saved output is kept as its array and number: the Tensor would close a cycle through its node
        numbers = {id(y): i for i, y in enumerate(outputs) if not any(y is a for a in args)}
        layout = [numbers.get(id(t), t) for t in ctx.saved_tensors]
        arrays = tuple(y.data for y in outputs)
        ctx.save_for_backward()
        node = Node()
        node.primitive = cls._primitive
        node.edges, node.saved, node.residuals = edges, [tuple(layout)], None
        saved_outputs = {entry for entry in layout if type(entry) is int}
        node.output = tuple(y if i in saved_outputs else None for i, y in enumerate(arrays))
        node.attributes = {"function": cls, "ctx": ctx, "specs": [Spec(y.shape, y.dtype) for y in arrays]}
        node.sequence = writes.next_sequence()
        tensors = split_outputs(arrays, node)
        return tensors if isinstance(result, tuple) else tensors[0]


def _recorded(xp: Any, *arrays: Any) -> Any:
    raise AssertionError("a Function is applied, never called as a primitive")


def _outputs(where: str, result: Any) -> tuple[Tensor, ...]:
    outputs = result if isinstance(result, tuple) else (result,)
    for y in outputs:
        if type(y) is not Tensor:
            raise TypeError(message(where, "a Tensor or a tuple of Tensors", type(y).__name__))
    return outputs


def _run_backward(
    needs: list[bool],
    residuals: Any,
    g: Any,
    y: Any,
    layout: Any,
    *,
    function: type[Function],
    ctx: Context,
    specs: list[Spec],
) -> list[Any]:
    present = next(part for part in g if part is not None)
    first_order = type(present) is not Tensor
    xp = array_module(present if first_order else present.data)
    parts = [xp.zeros(spec.shape, spec.dtype) if part is None else part for part, spec in zip(g, specs, strict=True)]
    saved = [y[entry] if isinstance(entry, int) else entry for entry in layout]
    ctx.save_for_backward(*(a if type(a) is Tensor else Tensor(a) for a in saved))
    ctx.needs_input_grad = tuple(needs)
    result = function.backward(ctx, *map(as_tensor, parts))
    ctx.save_for_backward()
    found = list(result) if isinstance(result, tuple) else [result]
    where = f"{function.__name__}.backward"
    if len(found) != len(needs):
        raise GradientError(message(where, f"{len(needs)} gradients, one per argument", f"{len(found)}"))
    for t in found:
        if t is not None and type(t) is not Tensor:
            raise TypeError(message(where, "Tensors, or None where there is no gradient", type(t).__name__))
    return [live(t.data) if first_order and t is not None else t for t in found]


def checkpoint(function: Callable[..., Any], *args: Any) -> Any:
    """`function(*args)` without keeping its intermediate results: backward computes them again.

    `function` must return a Tensor or a tuple of them, the same ones when called again (random draws are repeated).
    Tensors that it uses beside its arguments, such as a layer's weights, get their gradients as well. Works at any
    order. Raises GradientError in backward if a tensor that it uses was overwritten, also by itself: then it would not
    compute the same again. The averages of `BatchNormalization` and penalties on activities count once.

    >>> import tinygrad_edu as tg
    >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> tg.checkpoint(lambda x: (x * x).sum(), x).backward()
    >>> x.grad
    tensor([2., 4.])
    """
    if not state.grad_enabled:
        return function(*args)
    random = default_generator.state
    since = writes.next_sequence()
    result = function(*args)
    outputs = _outputs("checkpoint", result)
    # the graph just built tells what the outputs depend on; then it is dropped
    boundary, inside = explore([edge_of(y) for y in outputs if y.requires_grad], (), since)
    if not boundary:
        return result
    leaves = [live(t.data) for t in (*boundary, *args) if type(t) is Tensor]
    inputs = [*leaves, *(a for node in inside for a in node.saved or () if hasattr(a, "strides"))]
    traced = [a for a in inputs if type(a) is Tracer]
    used = _memory_of([a for a in inputs if type(a) is not Tracer])
    arrays = tuple(y.data for y in outputs)
    single = not isinstance(result, tuple)
    del result, outputs, inside, inputs
    node = Node()
    node.primitive = _CHECKPOINT
    node.edges = list(boundary)
    node.saved, node.output, node.residuals = [(function, args, node.edges)], None, None
    node.sequence = writes.next_sequence()
    node.attributes = {
        "random": random,
        "switches": {name: getattr(state, name) for name in ("training", "dtype", "device")},
        "sequence": since,
    }
    node.attributes["used"] = [place for place, memory in used if memory() is not None]
    node.attributes["traced"] = traced
    tensors = split_outputs(arrays, node)
    return tensors[0] if single else tensors


def _memory_of(arrays: list[Any]) -> list[tuple[tuple[int, int], weakref.ref[Any]]]:
    """Where arrays are, and a reference that tells whether somebody else holds their memory too."""
    owners = [a if a.base is None else a.base for a in arrays]
    return [(writes.bounds(a), weakref.ref(owner)) for a, owner in zip(arrays, owners, strict=True)]


def _recompute(
    needs: list[bool],
    residuals: Any,
    g: Any,
    y: Any,
    call: Any,
    *,
    random: Any,
    switches: dict[str, Any],
    sequence: int,
    used: list[tuple[int, int]],
    traced: list[Tracer],
) -> list[Any]:
    function, args, boundary = call
    create_graph = state.grad_enabled
    if any(writes.overwritten_since(*place, sequence) for place in used) or any(
        overwritten_since(a, sequence) for a in traced
    ):
        hint = "run backward before assign_ (or the optimizer's step)."
        raise GradientError(message("checkpoint", "the values of its forward pass", "a tensor overwritten since", hint))
    with ExitStack() as stack:
        stack.enter_context(default_generator.replay(random))
        if state.trace is not None:
            stack.enter_context(state.trace.recomputing())
        for name, value in {**switches, "grad_enabled": True, "repeating": True}.items():
            stack.enter_context(Switch(name, value))
        since = writes.next_sequence()
        outputs = _outputs("checkpoint", function(*args))
    pairs = [(t, part) for t, part in zip(outputs, g, strict=True) if part is not None]
    wanted = {edge for edge, need in zip(boundary, needs, strict=True) if need}
    needed = paths(explore([edge_of(t) for t, _ in pairs], wanted, since)[1], wanted)
    ends, seeds = [t for t, _ in pairs], [part for _, part in pairs]
    found = propagate(ends, seeds, needed, create_graph, create_graph, wanted, complete=False)
    return [found.get(edge) for edge in boundary]


_CHECKPOINT = Primitive(_recorded, "opaque")
_CHECKPOINT.name = "checkpoint"
_CHECKPOINT.defjoint(_recompute)
