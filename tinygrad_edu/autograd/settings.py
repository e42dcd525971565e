"""Settings: the attributes of layers, optimizers, losses and metrics, and when one was set last."""

from __future__ import annotations

from typing import Any


class _Changes:
    """Which change came last.

    Attributes:
        latest: an object of its own for each change.
        private: names that begin with an underscore and count nevertheless.
    """

    __slots__ = ("latest", "private")

    def __init__(self) -> None:
        self.latest, self.private = object(), set[str]()


changes = _Changes()


class Owner:
    """The base of what a jitted function takes settings from (see `settled`). Where no attribute of any such object was
    set since the last call, nobody needs to look whether they are as they were."""

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if name[0] != "_" or name in changes.private:
            changes.latest = object()

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        changes.latest = object()


def tells_changes(owner: Any) -> bool:
    kind = type(owner)
    return isinstance(owner, Owner) and (kind.__setattr__, kind.__delattr__) == (Owner.__setattr__, Owner.__delattr__)
