"""`tg.jit`: a function that is traced once per kind of arguments, and replayed after that."""

from __future__ import annotations

import copy
import functools
import threading
import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..autograd import Tensor, Tracer
from ..backend import default_generator
from ..errors import TraceError, check_integer, message
from ..state import state
from ..tree import leaves, rebuild
from .arguments import is_array, plain

if TYPE_CHECKING:
    from .plan import Plan


NOT_RECORDED = object()
MODES = ("grad_enabled", "training")
FAILURES = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)
"""Of a function that is recorded, which may come from values that were not computed."""


class Jit:
    """A function behind `jit`.

    Attributes:
        function: the function itself.
        modes: the switches of `state` that a recording holds for; those that the function sets itself do not count.
        name: what warnings call it.
        plans: what has been traced; the one used last comes first.
    """

    def __init__(self, function: Callable[..., Any], cache_size: int, fuse: bool, modes: Sequence[str] = MODES):
        functools.update_wrapper(self, function)
        self.function, self.cache_size = function, check_integer("jit", "cache_size", cache_size, 1)
        self.fuse, self.modes = fuse, modes
        self.plans: list[Plan] = []
        self.name = getattr(function, "__name__", type(function).__name__)
        self._traced = 0
        self._recording = threading.RLock()

    def __deepcopy__(self, memo: dict[int, Any]) -> Jit:
        """The same function, of the copied object if it is a method, with nothing recorded."""
        return Jit(copy.deepcopy(self.function, memo), self.cache_size, self.fuse, self.modes)

    def __get__(self, owner: Any, kind: type | None = None) -> Any:
        return self if owner is None else functools.partial(self, owner)

    def __call__(self, *args: Any, **static: Any) -> Any:
        if state.trace is not None:
            return self.function(*args, **static)
        result = self.replayed(args, static)
        if result is not NOT_RECORDED:
            return result
        given = list(leaves(args))
        if any(isinstance(a, Tensor) and a.requires_grad for a in given):
            return self.function(*args, **static)
        numbers = list(map(plain, given))
        if any(a is not b for a, b in zip(given, numbers, strict=True)):
            return self(*rebuild(args, iter(numbers)), **static)
        self._check(given, static)
        with self._recording:  # another thread may have made it meanwhile
            result = self.replayed(args, static)
            return self._trace(args, static) if result is NOT_RECORDED else result

    def replayed(self, args: tuple[Any, ...], static: dict[str, Any]) -> Any:
        """What a recording gives for these arguments; NOT_RECORDED if none was made of such."""
        for plan in self.plans:
            arguments = plan.guard(args, static)
            if arguments is not None:
                return self._run(plan, arguments, args, static)
        return NOT_RECORDED

    def _run(self, plan: Plan, arguments: list[Any], args: tuple[Any, ...], static: dict[str, Any]) -> Any:
        if self.plans[0] is not plan:
            self.plans = [plan, *(other for other in self.plans if other is not plan)]
        try:
            return plan(arguments)
        except FAILURES:
            self._fail(args, static)
            raise

    def recheck(self) -> None:
        """Lets the next call look at the values that are to be checked. On CUDA, where that waits for the device, only
        the first call of a recording does, or each in debug mode; on the CPU each call does."""
        for plan in self.plans:
            plan.replay.recheck()

    def _check(self, given: list[Any], static: dict[str, Any]) -> None:
        """Raises TypeError for arguments that no plan can be chosen by."""
        for a in given:
            data = a.data if isinstance(a, Tensor) else a
            if type(data) is Tracer:
                data.check_open()
        wrong = [a for a in leaves(static) if is_array(a)]
        wrong += [a for a in static.values() if not _is_hashable(a)]
        wrong += [a for a in given if not (is_array(a) or _is_hashable(a))]
        if wrong:
            expected = "arrays and numbers by position, and hashable values that are no arrays by keyword"
            raise TypeError(message(f"jit {self.name}", expected, f"a {type(wrong[0]).__name__}"))

    def _trace(self, args: tuple[Any, ...], static: dict[str, Any]) -> Any:
        """The first call of a kind: recorded, and then run by the plan as later ones are, so that all round alike."""
        plan = self._plan(args, static, exact=False) or self._plan(args, static, exact=True)
        assert plan is not None
        arrays = [a.data if isinstance(a, Tensor) else a for a in leaves(args)]
        self._keep(plan)
        return self._run(plan, arrays, args, static)

    def _plan(self, args: tuple[Any, ...], static: dict[str, Any], exact: bool) -> Plan | None:
        """A recording; None for an error that may come from values that were not computed."""
        from .plan import Plan  # loaded by the first recording, with passes, fusion and kernels

        place = default_generator.state
        try:
            return Plan(self.function, args, static, self.fuse, exact, self.modes)
        except FAILURES as error:
            if exact or isinstance(error, TraceError):
                raise
            return None
        finally:
            default_generator.state = place

    def _fail(self, args: tuple[Any, ...], static: dict[str, Any]) -> None:
        """Raises the error of a replay as the function itself does, which names the operation and the line."""
        from .trace import Trace

        place = default_generator.state
        try:
            Trace(exact=True).run(self.function, args, static)
        finally:
            default_generator.state = place

    def _keep(self, plan: Plan) -> None:
        self.plans = [plan, *(other for other in self.plans if not other.is_stale())][: self.cache_size]
        self._traced += 1
        if self._traced == self.cache_size + 1:
            self._warn()

    def _warn(self) -> None:
        warnings.warn(
            f"jit {self.name}: traced for more than {self.cache_size} kinds of arguments, which costs more than "
            "it saves; pad batches to a few shapes, pass numbers by position, and keep attributes as they are",
            stacklevel=5,
        )


def jit(function: Callable[..., Any] | None = None, *, cache_size: int = 32, fuse: bool = True) -> Any:
    """A function that does the same, faster: its first call is recorded, later ones replay the recording.

    Pass arrays, tensors and numbers by position (also inside of tuples, lists and dicts): they may have other values
    at each call, while other shapes and dtypes are recorded anew. Values passed by keyword are static: hashable, and
    recorded anew for each. Tensors that the function uses without getting them, such as a model's parameters, the
    state of optimizers, their learning rates and step counts, random numbers, `.grad` and `assign_` behave as without
    `jit`. Python code itself runs only when it is recorded, which is done anew when a global or enclosing variable that
    the function names was set to something else. If an input requires grad, the function runs as it is.

    Args:
        function: returns tensors, arrays, numbers, or tuples, lists and dicts of them.
        cache_size: how many recordings are kept; the one not used for longest goes.
        fuse: False replays the very operations, one by one, for results that are equal to eager mode's bit for bit
            (without llvmlite, or where no array has 65536 elements, from which on eager mode may fuse as well); by
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


class weakly:
    """A method as a function that does not hold its object, so that an object may hold its own methods jitted."""

    def __init__(self, method: Callable[..., Any]):
        self._reference = weakref.WeakMethod(method)
        self.__name__ = method.__name__

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        return self._reference()(*args, **keywords)  # type: ignore[misc]

    def __deepcopy__(self, memo: dict[int, Any]) -> weakly:
        """The method of the copied object."""
        method = self._reference()
        owner = memo.get(id(getattr(method, "__self__", None)))
        return self if owner is None else weakly(getattr(owner, self.__name__))


def _is_hashable(a: Any) -> bool:
    try:
        hash(a)
    except TypeError:
        return False
    return True
