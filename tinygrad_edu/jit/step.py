"""`tg.jit`: a function that is traced once per kind of arguments, and replayed after that."""

from __future__ import annotations

import functools
import warnings
from collections import OrderedDict
from collections.abc import Callable
from itertools import repeat
from typing import Any

import numpy

from ..autograd import Tensor
from ..backend import default_generator, device_of
from ..errors import check_integer, message
from ..state import state
from .program import leaves, rebuild
from .replay import Replay
from .trace import Trace, is_number


class Plan:
    """One traced call: the program as it is replayed, and what must hold for a replay.

    Attributes:
        program: what was recorded.
        replay: how it is run.
    """

    def __init__(self, trace: Trace, kinds: Any):
        self.program = trace.program
        self.replay = Replay(self.program)
        self._watched = list(trace.watched.values())
        self._gradients = list(trace.gradients.values())
        self._kinds = kinds

    def fits(self) -> bool:
        """Whether the tensors that the program depends on are still as they were: their arrays, which of them require
        grad, and which have a gradient."""
        for tensor, data, requires_grad in self._watched:
            if tensor.data is not data or tensor.requires_grad is not requires_grad:
                return False
        return all((tensor._grad is not None) is had for tensor, had in self._gradients)

    def __call__(self, arguments: list[Any]) -> Any:
        return as_returned(self._kinds, self.replay(arguments))


def as_returned(kinds: Any, values: list[Any]) -> Any:
    """The values of a result in its form, `kinds`: Tensors where the function returned Tensors."""
    if kinds is Tensor:
        return Tensor(values[0])
    wrapped = (Tensor(v) if kind is Tensor else v for kind, v in zip(leaves(kinds), values, strict=True))
    return rebuild(kinds, wrapped)


class Jit:
    """A function behind `jit`.

    Attributes:
        function: the function itself.
        plans: what has been traced, by the kind of arguments; those used last come last.
    """

    def __init__(self, function: Callable[..., Any], cache_size: int):
        functools.update_wrapper(self, function)
        self.function, self.cache_size = function, check_integer("jit", "cache_size", cache_size, 1)
        self.plans: OrderedDict[Any, list[Plan]] = OrderedDict()
        self._warned = False

    def __get__(self, owner: Any, kind: type | None = None) -> Any:
        return self if owner is None else functools.partial(self, owner)

    def __call__(self, *args: Any, **static: Any) -> Any:
        arguments = list(leaves(args))
        if state.trace is not None or any(isinstance(a, Tensor) and a.requires_grad for a in arguments):
            return self.function(*args, **static)
        key = self._key(args, arguments, static)
        for plan in self.plans.get(key, ()):
            if plan.fits():
                self.plans.move_to_end(key)
                return plan([a.data if isinstance(a, Tensor) else a for a in arguments])
        return self._trace(key, args, static)

    def _key(self, args: Any, arguments: list[Any], static: dict[str, Any]) -> Any:
        """What decides which plan is right."""
        form = len(args) if len(args) == len(arguments) else repr(rebuild(args, repeat(0)))
        switches = (state.grad_enabled, state.training, state.dtype, state.device)
        key = (form, tuple(map(_kind, arguments)), tuple(sorted(static.items())), switches)
        try:
            hash(key)
        except TypeError:
            found = next(type(a).__name__ for a in (*arguments, *static.values()) if not _is_hashable(a))
            where, expected = f"jit {self.function.__name__}", "arrays and numbers by position, hashable values else"
            raise TypeError(message(where, expected, f"a {found}")) from None
        return key

    def _trace(self, key: Any, args: Any, static: dict[str, Any]) -> Any:
        """The first call of a kind: a real one, recorded."""
        trace, place = Trace(), default_generator.state
        try:
            kinds, results, writes = trace.run(self.function, args, static)
        except BaseException:
            default_generator.state = place
            raise
        self.plans.setdefault(key, []).append(Plan(trace, kinds))
        self.plans.move_to_end(key)
        while sum(map(len, self.plans.values())) > self.cache_size:
            self._forget_oldest()
        results = [a.copy() if hasattr(a, "dtype") else a for a in results]
        trace.program.apply([a.data if isinstance(a, Tensor) else a for a in leaves(args)], writes)
        return as_returned(kinds, results)

    def _forget_oldest(self) -> None:
        oldest = next(iter(self.plans))
        self.plans[oldest].pop(0)
        if not self.plans[oldest]:
            del self.plans[oldest]
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"jit {self.function.__name__}: traced for more than {self.cache_size} kinds of arguments, which costs "
                "more than it saves; pad batches to a few shapes, and pass numbers by position",
                stacklevel=4,
            )


def jit(function: Callable[..., Any] | None = None, *, cache_size: int = 32) -> Any:
    """A function that does the same, faster: its first call is recorded, later ones replay the recording.

    Pass arrays, tensors and numbers by position (also inside of tuples, lists and dicts): they may have other values
    at each call, while other shapes and dtypes are recorded anew. Values passed by keyword are static: hashable, and
    recorded anew for each. Tensors that the function uses without getting them, such as a model's parameters, the
    state of optimizers, their learning rates and step counts, random numbers, `.grad` and `assign_` behave as without
    `jit`. Python code itself runs only in the first call: `print`, and the values of other Python variables, are of
    that call. If an input requires grad, the function runs as it is.

    Args:
        function: returns tensors, arrays, numbers, or tuples, lists and dicts of them.
        cache_size: how many recordings are kept; the one not used for longest goes.

    Raises TraceError, which names the line, where the function needs a traced value: `if`, `float()`, `print`, NumPy.
    Nothing is half done: after an error or an interrupt everything is as it was before the call.

    >>> import tinygrad_edu as tg
    >>> w = tg.tensor([4.0], requires_grad=True)
    >>> optimizer = tg.optimizers.SGD(learning_rate=0.25).build([w])
    >>> @tg.jit
    ... def step(x):
    ...     loss = ((w - x) ** 2).sum()
    ...     optimizer.minimize(loss)
    ...     return loss
    >>> [step(tg.tensor([2.0])).item() for _ in range(3)]
    [4.0, 1.0, 0.25]
    """
    if function is None:
        return functools.partial(jit, cache_size=cache_size)
    return Jit(function, cache_size)


def _kind(a: Any) -> Any:
    """What of an argument decides which plan is right."""
    if isinstance(a, Tensor):
        a, kind = a.data, "tensor"
    elif is_number(a):
        return int if isinstance(a, (int, numpy.integer)) else float
    elif hasattr(a, "dtype"):
        kind = "array"
    else:
        return a
    return kind, a.shape, a.dtype, a.strides, device_of(a)


def _is_hashable(a: Any) -> bool:
    try:
        hash(a)
    except TypeError:
        return False
    return True
