"""`tg.jit`: a function that is traced once per kind of arguments, and replayed after that."""

from __future__ import annotations

import functools
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable
from itertools import repeat
from typing import Any

from ..autograd import Tensor, Tracer, without_graph
from ..backend import default_generator, device_of
from ..errors import check_integer, message
from ..state import state
from .planned import Planned
from .program import leaves, rebuild, typed
from .replay import Replay
from .trace import Trace, check_apart, is_number, layout_of, plain


class Plan:
    """One traced call: the program as it is replayed, and what must hold for a replay.

    Attributes:
        program: what was recorded.
        replay: how it is run.
    """

    def __init__(self, trace: Trace, kinds: Any, fuse: bool):
        self.program = trace.program
        self.replay = (Planned if fuse else Replay)(self.program)
        self._watched = list(trace.watched.values())
        self._gradients = list(trace.gradients.values())
        self._settings = list(trace.settings.values())
        self._overwritten, self._positions = trace.overwritten, trace.overwritten_arguments
        self._kinds = kinds

    def fits(self) -> bool:
        """Whether what the program depends on is still as it was: the tensors' arrays, which of them require grad,
        their gradients' layouts, and the attributes of optimizers."""
        for tensor, data, requires_grad in self._watched:
            if tensor.data is not data or tensor.requires_grad is not requires_grad:
                return False
        for tensor, layout in self._gradients:
            if (tensor._grad is not None or layout is not None) and layout_of(tensor._grad) != layout:
                return False
        for reference, settings, values in self._settings:
            owner = reference()
            if owner is None or settings(owner) != values:
                return False
        return True

    def is_stale(self) -> bool:
        """Whether an array that the program reads is no longer its tensor's, so that it will not fit again."""
        return any(tensor.data is not data for tensor, data, _ in self._watched)

    def __call__(self, arguments: list[Any]) -> Any:
        if self._overwritten or self._positions:
            check_apart(self._overwritten, self._positions, arguments)
        return as_returned(self._kinds, self.replay(arguments))


def as_returned(kinds: Any, values: list[Any]) -> Any:
    """The values of a result in its form, `kinds`: Tensors where the function returned Tensors."""
    wrapped = (
        Tensor(v) if kind is Tensor else without_graph(v) if kind == "tracked" else v
        for kind, v in zip(leaves(kinds), values, strict=True)
    )
    return rebuild(kinds, wrapped)


class Jit:
    """A function behind `jit`.

    Attributes:
        function: the function itself.
        plans: what has been traced, by the kind of arguments; those used last come last.
    """

    def __init__(self, function: Callable[..., Any], cache_size: int, fuse: bool):
        functools.update_wrapper(self, function)
        self.function, self.cache_size = function, check_integer("jit", "cache_size", cache_size, 1)
        self.fuse = fuse
        self.plans: OrderedDict[Any, list[Plan]] = OrderedDict()
        self._name = getattr(function, "__name__", type(function).__name__)
        self._traced = 0

    def __get__(self, owner: Any, kind: type | None = None) -> Any:
        return self if owner is None else functools.partial(self, owner)

    def __call__(self, *args: Any, **static: Any) -> Any:
        arguments = list(map(plain, leaves(args)))
        if state.trace is not None or any(isinstance(a, Tensor) and a.requires_grad for a in arguments):
            return self.function(*args, **static)
        key = self._key(args, arguments, static)
        arrays = [a.data if isinstance(a, Tensor) else a for a in arguments]
        plans = self.plans.get(key, [])
        for i, plan in enumerate(plans):
            if plan.fits():
                self.plans.move_to_end(key)
                plans.append(plans.pop(i))
                try:
                    return plan(arrays)
                except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError):
                    self._fail(rebuild(args, iter(arguments)), static)
                    raise
        return self._trace(key, rebuild(args, iter(arguments)), arrays, static)

    def _key(self, args: Any, arguments: list[Any], static: dict[str, Any]) -> Any:
        """What decides which plan is right."""
        flat = not any(isinstance(a, (tuple, list, dict)) for a in args)
        form = len(args) if flat else repr(rebuild(args, repeat(0)))
        switches = (state.grad_enabled, state.training, state.dtype, state.device)
        key = (form, tuple(map(_kind, arguments)), tuple((n, typed(static[n])) for n in sorted(static)), switches)
        wrong = [a for a in leaves(static) if isinstance(a, Tensor) or hasattr(a, "dtype")]
        if not wrong:
            try:
                hash(key)
                return key
            except TypeError:
                wrong = [a for a in (*arguments, *static.values()) if not _is_hashable(a)]
        expected = "arrays and numbers by position, and hashable values that are no arrays by keyword"
        raise TypeError(message(f"jit {self._name}", expected, f"a {type(wrong[0]).__name__}"))

    def _trace(self, key: Any, args: Any, arrays: list[Any], static: dict[str, Any]) -> Any:
        """The first call of a kind: recorded, and then run by the plan as later ones are, so that all round alike."""
        trace, place = Trace(), default_generator.state
        try:
            plan = Plan(trace, trace.run(self.function, args, static), self.fuse)
        finally:
            default_generator.state = place
        self._keep(key, plan)
        return plan(arrays)

    def _fail(self, args: Any, static: dict[str, Any]) -> None:
        """Raises the error of a replay as the function itself does, which names the operation and the line."""
        place = default_generator.state
        try:
            Trace().run(self.function, args, static)
        finally:
            default_generator.state = place

    def _keep(self, key: Any, plan: Plan) -> None:
        self.plans[key] = [*(p for p in self.plans.get(key, ()) if not p.is_stale()), plan]
        self.plans.move_to_end(key)
        while sum(map(len, self.plans.values())) > self.cache_size:
            oldest = next(iter(self.plans))
            self.plans[oldest].pop(0)
            if not self.plans[oldest]:
                del self.plans[oldest]
        self._traced += 1
        if self._traced == self.cache_size + 1:
            warnings.warn(
                f"jit {self._name}: traced for more than {self.cache_size} kinds of arguments, which costs more than "
                "it saves; pad batches to a few shapes, and pass numbers by position",
                stacklevel=4,
            )


def jit(function: Callable[..., Any] | None = None, *, cache_size: int = 32, fuse: bool = True) -> Any:
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
        fuse: False replays the very operations, one by one, for results that are equal to eager mode's bit for bit; by
            default operations run together as loops, in planned memory, and round a little differently.

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
        return functools.partial(jit, cache_size=cache_size, fuse=fuse)
    return Jit(function, cache_size, fuse)


def weakly(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method as a function that does not hold its object, so that an object may hold its own methods jitted."""
    reference = weakref.WeakMethod(method)

    @functools.wraps(method)
    def function(*args: Any, **keywords: Any) -> Any:
        return reference()(*args, **keywords)  # type: ignore[misc]

    del function.__wrapped__
    return function


def _kind(a: Any) -> Any:
    """What of an argument decides which plan is right."""
    if isinstance(a, Tensor):
        a, kind = a.data, "tensor"
    elif is_number(a):
        return int if isinstance(a, int) else float
    elif hasattr(a, "dtype"):
        kind = "array"
    else:
        return a
    if type(a) is Tracer:
        a.check_open()
    return kind, a.shape, a.dtype, a.strides, device_of(a)


def _is_hashable(a: Any) -> bool:
    try:
        hash(a)
    except TypeError:
        return False
    return True
