"""Options: what every optimizer may be told beside the arguments of its rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from ..errors import check_bool, check_integer, check_number, message

CLIPPING = ("clipnorm", "clipvalue", "global_clipnorm")


class Options(TypedDict, total=False):
    """What every optimizer may be given beside the arguments of its rule, by keyword.

    Gradients are first gathered, then clipped, in one of three ways; after that come weight decay, the rule, and the
    averages.

    Attributes:
        clipnorm: brings the gradient of each parameter to at most this Euclidean norm.
        clipvalue: brings each number of a gradient into [-clipvalue, clipvalue].
        global_clipnorm: brings all gradients, by one factor, to at most this common norm.
        use_ema: whether moving averages of the parameters are kept. `fit` ends with them as the weights; elsewhere
            `finalize_variable_values` and `swap_ema` say when.
        ema_momentum: in [0, 1]: average = ema_momentum * average + (1 - ema_momentum) * parameter after each step; the
            first step makes them equal.
        ema_overwrite_frequency: in every step of this number the parameters become their averages.
        gradient_accumulation_steps: only every call of this number updates, by the mean of the gradients since the last
            update. `iterations` counts updates. A parameter without a gradient adds zero to its mean. Averages move
            and constraints are met in updates only (in Keras in each call).
        name: shown in error texts.
    """

    clipnorm: float | None
    clipvalue: float | None
    global_clipnorm: float | None
    use_ema: bool
    ema_momentum: float
    ema_overwrite_frequency: int | None
    gradient_accumulation_steps: int | None
    name: str | None


DEFAULTS: dict[str, Any] = dict.fromkeys(Options.__annotations__) | {"use_ema": False, "ema_momentum": 0.99}


class Option:
    """An attribute that holds an option: said when the optimizer is made, and not changed, so that recordings need not
    look at it."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, owner: Any, kind: type) -> Any:
        return self if owner is None else owner._options[self.name]

    def __set__(self, owner: Any, value: Any) -> None:
        expected = f"{self.name} to stay what the optimizer was made with"
        raise AttributeError(message(owner.where, expected, repr(value), "make a new optimizer."))


def checked(where: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """All options, by name. Raises TypeError for one that there is not, ValueError for values out of range."""
    if unknown := given.keys() - DEFAULTS.keys():
        expected = f"no options but its own arguments and {', '.join(DEFAULTS)}"
        raise TypeError(message(where, expected, ", ".join(map(repr, sorted(unknown)))))
    options = {**DEFAULTS, **given}
    clipping = [name for name in CLIPPING if options[name] is not None]
    if len(clipping) > 1:
        raise ValueError(message(where, f"one of {', '.join(CLIPPING)}", " and ".join(clipping)))
    for name in clipping:
        options[name] = check_number(where, name, options[name], "above 0", lambda v: v > 0)
    for name, least in (("ema_overwrite_frequency", 1), ("gradient_accumulation_steps", 2)):
        if options[name] is not None:
            options[name] = check_integer(where, name, options[name], least)
    check_bool(where, "use_ema", options["use_ema"])
    check_number(where, "ema_momentum", options["ema_momentum"], "in [0, 1]", lambda v: 0 <= v <= 1)
    if options["ema_overwrite_frequency"] is not None and not options["use_ema"]:
        raise ValueError(message(where, "use_ema=True with ema_overwrite_frequency", "use_ema=False"))
    return options
