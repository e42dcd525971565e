"""Transforms of functions: gradients and products with derivative matrices, of any order.

Each transform calls the function on tracked stand-ins of its arguments and runs the engine once or more. A result is
itself differentiable where that means something: when an argument is tracked (as in `grad(grad(f))`), or when the
function uses other tensors that require grad (as in a gradient penalty on a model's parameters).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..backend import array_module
from ..errors import DeviceError, ShapeError, message
from ..state import Switch, state
from .engine import edge_of, explore, gradients
from .primitive import cast, stack
from .tensor import Tensor, tensor
from .writes import next_sequence


class Evaluation:
    """A function called once on stand-ins of its arguments: the outputs, and derivatives of them."""

    def __init__(
        self, where: str, function: Callable[..., Any], args: Sequence[Any], argnums: Sequence[int] | None = None
    ):
        if not isinstance(args, (tuple, list)):
            raise TypeError(message(where, "a list of arguments", type(args).__name__, "put it in a list: [x]."))
        argnums = range(len(args)) if argnums is None else argnums
        for i in argnums:
            if not -len(args) <= i < len(args):
                raise ValueError(message(where, f"argnums below {len(args)}, the number of arguments", f"{i}"))
        self.where = where
        with Switch("grad_enabled", True):
            self.since = next_sequence()
            args = list(args)
            for i in argnums:
                args[i] = _stand_in(where, args[i], i)
            self.inputs = [args[i] for i in argnums]
            result = function(*args)
        self.single = not isinstance(result, (tuple, list))
        self.outputs = [y if type(y) is Tensor else tensor(y) for y in ([result] if self.single else result)]
        roots = [edge_of(y) for y in self.outputs if y.requires_grad]
        nested = any(x.node is not None for x in self.inputs)
        inputs = [edge_of(x) for x in self.inputs]
        # whether anything else depends on the results: then they must be differentiable themselves
        self.live = nested or bool(explore(roots, inputs, self.since)[0])

    def pull(self, cotangents: Sequence[Any], create_graph: bool = False, retain_graph: bool = True) -> list[Tensor]:
        """The cotangents of the inputs for those of the outputs."""
        create_graph = (create_graph or self.live) and state.grad_enabled
        return gradients(self.outputs, self.inputs, cotangents, create_graph, retain_graph, self.since)

    def values(self) -> list[Tensor]:
        """What the function returned, outside of the stand-ins' graph unless that is live."""
        return self.outputs if self.live and state.grad_enabled else [y.detach() for y in self.outputs]

    def packed(self, results: Sequence[Any]) -> Any:
        """Results per output as the function itself would return them."""
        return results[0] if self.single else tuple(results)

    def scalar(self) -> Tensor:
        y = self.outputs[0]
        if not self.single or y.shape != ():
            shapes = f"shape {y.shape}" if self.single else f"{len(self.outputs)} outputs"
            raise ShapeError(
                message(self.where, "a function that returns one 0-d tensor", shapes, "sum or average its output.")
            )
        return y


def _stand_in(where: str, x: Any, i: int) -> Tensor:
    """A tracked tensor with the values of `x`, in its graph if it is tracked itself."""
    x = x if type(x) is Tensor else tensor(x)
    if x.dtype.kind != "f":
        raise TypeError(message(where, f"argument {i} to be floating", f"dtype {x.dtype}", "pass floats, such as 2.0."))
    return cast(x, x.dtype) if x.requires_grad else x.detach().requires_grad_()


def _ones(y: Tensor) -> Any:
    return array_module(y.data).ones(y.shape, dtype=y.dtype)


def _argnums(where: str, argnums: int | Sequence[int]) -> list[int]:
    numbers: list[Any] = list(argnums) if isinstance(argnums, (tuple, list)) else [argnums]
    if not all(type(i) is int for i in numbers):
        raise TypeError(message(where, "argnums to be an int or a tuple of them", repr(argnums)))
    return numbers


def _matching(where: str, name: str, given: Sequence[Any], tensors: Sequence[Tensor]) -> list[Tensor]:
    """`given` as tensors, checked against the ones they belong to."""
    if not isinstance(given, (tuple, list)):
        raise TypeError(message(where, f"a list of {name}", type(given).__name__, "put it in a list: [v]."))
    if len(given) != len(tensors):
        raise ValueError(message(where, f"{len(tensors)} {name}", f"{len(given)}"))
    found = []
    for i, (v, t) in enumerate(zip(given, tensors, strict=True)):
        v = v if type(v) is Tensor else tensor(v, dtype=t.dtype)
        if v.shape != t.shape:
            raise ShapeError(message(where, f"{name}[{i}] of shape {t.shape}", f"{v.shape}"))
        if v.device != t.device:
            raise DeviceError(message(where, f"{name}[{i}] on {t.device}", f"{v.device}"))
        found.append(v if v.dtype == t.dtype else cast(v, t.dtype))
    return found


def _stack(rows: Sequence[Tensor], shape: tuple[int, ...], x: Tensor) -> Tensor:
    if not rows:
        return Tensor(array_module(x.data).zeros(shape + x.shape, dtype=x.dtype))
    return stack(*rows, axis=0).reshape(shape + x.shape)


def value_and_grad(function: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """A function that returns `(value, gradient)` of `function`, which must return a 0-d tensor. See `grad`.

    >>> import tinygrad_edu as tg
    >>> tg.value_and_grad(lambda x: (x * x).sum())(tg.tensor([1.0, 2.0]))
    (tensor(5.), tensor([2., 4.]))
    """

    numbers = _argnums("grad", argnums)

    def evaluate(*args: Any, **keywords: Any) -> Any:
        found = Evaluation("grad", lambda *a: function(*a, **keywords), args, numbers)
        results = found.pull([_ones(found.scalar())], retain_graph=False)
        return found.packed(found.values()), results[0] if isinstance(argnums, int) else tuple(results)

    return evaluate


def grad(function: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """A function that returns the gradient of `function`, which must return a 0-d tensor.

    With one number in `argnums` the result is a Tensor shaped like that argument, with a sequence a tuple of them.
    Raises ShapeError if the function's result is not 0-d, TypeError if an argument is not floating.

    >>> import tinygrad_edu as tg
    >>> tg.grad(tg.grad(lambda x: x ** 3))(2.0)
    tensor(12.)
    >>> tg.grad(lambda x, y: x * y, argnums=(0, 1))(2.0, 3.0)
    (tensor(3.), tensor(2.))
    """
    evaluate = value_and_grad(function, argnums)
    return lambda *args, **keywords: evaluate(*args, **keywords)[1]


def vjp(function: Callable[..., Any], *args: Any) -> tuple[Any, Callable[..., tuple[Tensor, ...]]]:
    """`(function(*args), pullback)`: `pullback(*cotangents)`, one per output, returns a tuple with a cotangent per
    argument.

    The pullback may be called many times.

    >>> import tinygrad_edu as tg
    >>> y, pullback = tg.vjp(lambda x: x * x, tg.tensor([1.0, 2.0]))
    >>> pullback(tg.tensor([1.0, 10.0]))
    (tensor([ 2., 40.]),)
    """
    found = Evaluation("vjp", function, args)

    def pullback(*cotangents: Any) -> tuple[Tensor, ...]:
        seeds = _matching("vjp", "cotangents", cotangents, found.outputs)
        return tuple(found.pull(seeds, create_graph=any(s.requires_grad for s in seeds)))

    return found.packed(found.values()), pullback


def jvp(function: Callable[..., Any], args: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """`(function(*args), its derivative along tangents)`: the product of the Jacobian with a vector.

    Computed by two vjps (J. Townsend, "A new trick for calculating Jacobian vector products", 2017): a pullback is
    linear in its cotangent, and its own pullback is the product. Raises ShapeError if tangents and arguments differ
    in shape.

    >>> import tinygrad_edu as tg
    >>> tg.jvp(lambda x: x * x, [tg.tensor([1.0, 2.0])], [tg.tensor([1.0, 10.0])])
    (tensor([1., 4.]), tensor([ 2., 40.]))
    """
    found = Evaluation("jvp", function, args)
    tangents = _matching("jvp", "tangents", tangents, found.inputs)
    live = state.grad_enabled and (found.live or any(t.requires_grad for t in tangents))
    with Switch("grad_enabled", True):
        seeds = [Tensor(_ones(y), requires_grad=True) for y in found.outputs]
        pulled = found.pull(seeds, create_graph=True)
        products = gradients(pulled, seeds, tangents, live, retain_graph=False, since=found.since)
    return found.packed(found.values()), found.packed(products)


def hvp(function: Callable[..., Any], args: Sequence[Any], vectors: Sequence[Any]) -> tuple[Tensor, ...]:
    """The Hessian of `function` (which must return a 0-d tensor) times `vectors`, one per argument, without forming it.

    >>> import tinygrad_edu as tg
    >>> tg.hvp(lambda x: (x ** 3).sum(), [tg.tensor([1.0, 2.0])], [tg.tensor([1.0, 1.0])])
    (tensor([ 6., 12.]),)
    """
    found = Evaluation("hvp", function, args)
    vectors = _matching("hvp", "vectors", vectors, found.inputs)
    live = state.grad_enabled and (found.live or any(v.requires_grad for v in vectors))
    with Switch("grad_enabled", True):
        first = found.pull([_ones(found.scalar())], create_graph=True)
        return tuple(gradients(first, found.inputs, vectors, live, retain_graph=False, since=found.since))


def jacobian(function: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """A function that returns the Jacobian: for an output of shape S and an argument of shape A a tensor of shape S +
    A.

    Several outputs give a tuple, several `argnums` a tuple for each output. It costs a backward pass per output
    element.

    >>> import tinygrad_edu as tg
    >>> tg.jacobian(lambda x: x * x)(tg.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """

    numbers = _argnums("jacobian", argnums)

    def matrix(*args: Any, **keywords: Any) -> Any:
        found = Evaluation("jacobian", lambda *a: function(*a, **keywords), args, numbers)
        blocks = []
        for i, y in enumerate(found.outputs):
            rows = []
            for j in range(y.size):
                seeds = [array_module(t.data).zeros(t.shape, dtype=t.dtype) for t in found.outputs]
                seeds[i].reshape(-1)[j] = 1.0
                rows.append(found.pull(seeds))
            columns = [_stack([row[k] for row in rows], y.shape, x) for k, x in enumerate(found.inputs)]
            blocks.append(columns[0] if isinstance(argnums, int) else tuple(columns))
        return found.packed(blocks)

    return matrix


def hessian(function: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """A function that returns the Hessian of `function`, which must return a 0-d tensor; several `argnums` give a
    tuple of tuples.

    >>> import tinygrad_edu as tg
    >>> tg.hessian(lambda x: (x ** 3).sum())(tg.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    return jacobian(grad(function, argnums), argnums)
