"""LossScaleOptimizer: keeps gradients within the range of float16."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy

from .. import ops
from ..autograd import Tensor, live, settled, tensor
from ..backend import Device, to_device, to_host
from ..errors import check_integer, check_number, message
from ..jit import jit, weakly
from .base import Optimizer
from .clipping import scaled

LOWEST, HIGHEST = 2.0**-126, 2.0**126
"""Bounds of the scale: it and its inverse are numbers of float32."""


def _of_inner(name: str) -> Any:
    """An attribute that is the inner optimizer's."""
    return property(
        lambda self: getattr(self.inner_optimizer, name), lambda self, value: setattr(self.inner_optimizer, name, value)
    )


class LossScaleOptimizer(Optimizer):
    """Multiplies the loss by a scale before `backward`, so that small gradients are not lost in float16, and divides
    the gradients by it before the inner optimizer sees them: clipping, accumulation and its rule are as without.

    If a gradient is not finite, the step changes no parameter and no state, and the scale is halved; after
    `dynamic_growth_steps` steps in a row that are finite it is doubled. Nobody reads a value to decide it: a step is
    one recording of `tg.jit`, and one CUDA graph. So the host's counts go on: `iterations`, and with it schedules and
    the bias correction of Adam, counts all steps, and not only those that changed something, as Keras does. With
    `gradient_accumulation_steps` a batch that is not finite counts as zeros in the mean; if it is the last one of an
    update, that update is left out.

    `minimize(loss)` does all of it. In a loop of your own with `backward` and `step`, call
    `scale_loss(loss).backward()`.

    Args:
        inner_optimizer: the one that does the steps; it may not be `LBFGS`.
        initial_scale: what the scale begins with; a power of two rounds nothing.
        dynamic_growth_steps: how many finite steps double it.

    Attributes:
        dynamic_scale: the scale, a tensor.
        step_counter: how many finite steps came since it changed, a tensor.

    Raises TypeError for another inner optimizer, ValueError for a scale that is not above 0 or no steps.

    >>> import tinygrad_edu as tg
    >>> w = tg.tensor([1.0], requires_grad=True)
    >>> optimizer = tg.optimizers.LossScaleOptimizer(tg.optimizers.SGD(0.5), initial_scale=4.0).build([w])
    >>> optimizer.minimize((w * float("inf")).sum())
    >>> w.item(), optimizer.dynamic_scale.item()
    (1.0, 2.0)
    >>> optimizer.minimize(w.sum())
    >>> w.item(), optimizer.dynamic_scale.item()
    (0.5, 2.0)
    """

    learning_rate, weight_decay = _of_inner("learning_rate"), _of_inner("weight_decay")
    iterations, _accumulated = _of_inner("iterations"), _of_inner("_accumulated")
    parameters, states = _of_inner("parameters"), _of_inner("states")
    _options, _schedule = _of_inner("_options"), _of_inner("_schedule")

    def __init__(
        self, inner_optimizer: Optimizer, initial_scale: float = 2.0**15, dynamic_growth_steps: int = 2000
    ) -> None:
        self.where = "LossScaleOptimizer"
        alike = isinstance(inner_optimizer, Optimizer) and not isinstance(inner_optimizer, LossScaleOptimizer)
        if not alike or inner_optimizer.takes_function:
            expected = "inner_optimizer to be an optimizer that takes gradients, and scales no loss itself"
            raise TypeError(message(self.where, expected, repr(inner_optimizer)))
        self.inner_optimizer = inner_optimizer
        wanted = f"from {LOWEST:g} to {HIGHEST:g}"
        self.initial_scale = check_number(
            self.where, "initial_scale", initial_scale, wanted, lambda v: LOWEST <= v <= HIGHEST
        )
        self.dynamic_growth_steps = check_integer(self.where, "dynamic_growth_steps", dynamic_growth_steps, 1)
        self.never_negative = (*inner_optimizer.never_negative, "dynamic_scale", "step_counter")
        self._begin()

    def _begin(self) -> None:
        self.dynamic_scale = tensor(self.initial_scale, dtype="float32", device="cpu")
        self.step_counter = tensor(0, dtype="int32", device="cpu")
        self._update = jit(weakly(self._updated))
        self._place()

    def _place(self) -> None:
        """Moves the scale to where the parameters are."""
        for t in (self.dynamic_scale, self.step_counter) if self.parameters else ():
            t.data = to_device(t.data, self.parameters[0].device)

    def build(self, parameters: Iterable[Any], shared: bool = False) -> Optimizer:
        """As the inner optimizer's `build`; returns this one."""
        self.inner_optimizer.build(parameters, shared)
        self._place()
        return self

    def release(self) -> None:
        self.inner_optimizer.release()
        self._begin()

    def to(self, target: str | Device) -> Optimizer:
        self.inner_optimizer.to(target)
        self._place()
        return self

    def exclude_from_weight_decay(
        self, var_list: Iterable[Tensor] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)

    def scale_loss(self, loss: Tensor) -> Tensor:
        """The loss by the scale, to go backward from."""
        return loss * (self.dynamic_scale if self.parameters else self.initial_scale)

    def minimize(self, loss: Tensor) -> None:
        """One step down the gradient of `loss`, which is not scaled yet."""
        super().minimize(self.scale_loss(loss))

    def _updated(self, gradients: list[Tensor | None]) -> None:
        settled(self)
        scale, count = live(self.dynamic_scale.data), live(self.step_counter.data)
        given = [None if g is None else g.data for g in gradients]
        finite = _are_finite(given)
        # zeros for what is not finite, which NumPy would warn of
        unscaled = [None if g is None else scaled(ops.where(finite, g, 0.0), 1.0 / scale) for g in given]
        changes, counts = self.inner_optimizer._changes(unscaled)
        grows = count + 1 >= self.dynamic_growth_steps
        more = ops.minimum(scale * 2.0, HIGHEST)
        less = ops.maximum(scale * 0.5, LOWEST)
        kept = [(t, ops.where(finite, new, live(t.data)) if hasattr(new, "shape") else new) for t, new in changes]
        own = [
            (self.dynamic_scale, ops.where(finite, ops.where(grows, more, scale), less)),
            (self.step_counter, ops.where(finite, ops.where(grows, 0, count + 1), 0)),
        ]
        self._change(kept + own, **counts)

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        """Takes over what `state_dict` returned, as `Optimizer.load_state_dict` does."""
        given = values.get("dynamic_scale", self.initial_scale)
        scale = numpy.asarray(to_host(given.data) if isinstance(given, Tensor) else given)
        if scale.dtype.kind in "fiu" and not ((scale >= LOWEST) & (scale <= HIGHEST)).all():
            expected = f"dynamic_scale from {LOWEST:g} to {HIGHEST:g}"
            raise ValueError(message(f"{self.where} load_state_dict", expected, f"{scale}"))
        super().load_state_dict(values)

    def _named_state(self) -> dict[str, Tensor]:
        own = {"dynamic_scale": self.dynamic_scale, "step_counter": self.step_counter}
        return self.inner_optimizer._named_state() | own

    def __repr__(self) -> str:
        return f"<{self.where} of {self.inner_optimizer!r}>"


def _are_finite(gradients: list[Any]) -> Any:
    """Whether all numbers are, by the count of others; None has none."""
    others = [ops.sum(ops.where(ops.isfinite(g), 0.0, 1.0)) for g in gradients if g is not None]
    return functools.reduce(ops.add, others) == 0.0
