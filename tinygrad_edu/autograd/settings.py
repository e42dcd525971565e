"""Settings: the attributes of layers, optimizers, losses and metrics, and when one was set last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any


class _Changes:
    """Which change came last.

    Attributes:
        latest: an object of its own for each change.
        private: names that begin with an underscore and count nevertheless.
    """

    __slots__ = ("latest", "private")

    def __init__(self) -> None:
        self.latest, self.private = object(), {"__class__"}


changes = _Changes()


class Owner:
    """The base of what a jitted function takes settings from (see `settled`). Where no attribute of any such object was
    set since the last call, nobody needs to look whether they are as they were."""

    if not TYPE_CHECKING:  # to which these would say that any name may be set

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)
            if name[0] != "_" or name in changes.private:
                changes.latest = object()

        def __delattr__(self, name: str) -> None:
            super().__delattr__(name)
            changes.latest = object()


def tells_changes(owner: Any) -> bool:
    """Whether `changes` knows when an attribute of this object is set: a class may have a way of its own to do so."""
    kind: Any = type(owner)
    own = kind.__setattr__ is Owner.__setattr__ and kind.__delattr__ is Owner.__delattr__
    return isinstance(owner, Owner) and own
