"""Segment: where the parameters of an optimizer and their state lie, so that a step is few loops."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from .. import ops
from ..autograd import Tensor
from ..backend import Array, array_module
from .groups import Group

State = dict[str, Any]
"""What an optimizer keeps per parameter: names and arrays of the parameter's shape."""

LARGE = 1 << 14
"""Elements from which on a parameter is updated by itself; smaller ones lie together in one array."""


class Update(NamedTuple):
    """A part of a step.

    Attributes:
        value: a parameter, or several in one flat tensor.
        gradient: None where there is none.
        state: of `value`.
        group: how it is trained.
    """

    value: Tensor
    gradient: Any
    state: dict[str, Tensor]
    group: Group


class Segment:
    """Parameters of one group that are updated as one, and their state: small ones as stretches of one flat array, or a
    single one.

    Attributes:
        value: all parameters; the only one itself, where there is one.
        state: of `value`.
        parts: each parameter with its part of the state.
    """

    def __init__(self, parameters: list[Tensor], init: Callable[[Array], State], group: Group):
        self.parameters, self.group = parameters, group
        if len(parameters) == 1:
            self.value = parameters[0]
        else:
            first = parameters[0].data
            self.value = Tensor(array_module(first).concatenate([p.data.reshape(-1) for p in parameters]))
        self.state = {name: Tensor(array) for name, array in init(self.value.data).items()}
        self.parts = [(self.value, self.state)]
        if len(parameters) > 1:
            self.parts = [(p, {name: Tensor(t.data) for name, t in self.state.items()}) for p in parameters]
            self._tie(range(len(parameters)))

    def _tie(self, numbers: Iterable[int]) -> None:
        """Makes those parameters, and the parts of the state, stretches of the flat arrays."""
        self._stretches = self._cut(self.value.data)
        for i in numbers:
            self.parameters[i].data = self._stretches[i]
        for name, t in self.state.items():
            for (_, own), stretch in zip(self.parts, self._cut(t.data), strict=True):
                own[name].data = stretch

    def __deepcopy__(self, memo: dict[int, Any]) -> Segment:
        """A copy whose parameters lie in its own flat array: copies of views would be apart."""
        other = Segment.__new__(Segment)
        memo[id(self)] = other
        other.__dict__ = copy.deepcopy(self.__dict__, memo)
        if len(self.parameters) > 1:
            other._tie([i for i, p in enumerate(self.parameters) if p.data is self._stretches[i]])
        return other

    def _cut(self, array: Array) -> list[Array]:
        """The stretches of a flat array that belong to the parameters, in their shapes."""
        ends = list(itertools.accumulate(p.size for p in self.parameters))
        starts = [0, *ends[:-1]]
        return [array[i:j].reshape(p.shape) for i, j, p in zip(starts, ends, self.parameters, strict=True)]

    def _is_whole(self) -> bool:
        """Whether the parameters still lie where they were put; `detach`, for jit notes what is asked for a tensor."""
        return all(p.detach().data is a for p, a in zip(self.parameters, self._stretches, strict=True))

    def updates(self, gradients: dict[int, Any], apart: bool = False) -> Iterator[Update]:
        """What to update: all at once, or one by one where that is asked for, a gradient is missing, or a parameter was
        given another array."""
        given = [gradients[id(p)] for p in self.parameters]
        if len(given) > 1 and not apart and not any(g is None for g in given) and self._is_whole():
            yield Update(self.value, ops.concatenate([ops.ravel(g) for g in given]), self.state, self.group)
            return
        for (p, own), g in zip(self.parts, given, strict=True):
            yield Update(p, g, own, self.group)
