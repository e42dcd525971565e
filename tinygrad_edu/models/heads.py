"""Heads: the outputs of a model in training, each with its loss, its weight in the sum of losses, and its metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import losses, metrics, ops
from ..autograd import Tensor
from ..errors import check_number, choice, message
from ..layers import ACTIVATIONS
from ..layers.activations import name_of
from ..tree import leaves


class Head:
    """One output of a model in training.

    Args:
        name: what its results are named after; "" for the only output.
        loss: a name, a loss, a function, or None for an output without one.
        weight: the factor of its loss in the sum.
        given: its metrics, as `compile` got them.
        weighted: those that get the sample weights.
    """

    def __init__(self, name: str, loss: Any, weight: Any, given: Sequence[Any], weighted: Sequence[Any] = ()):
        self.name, self.given, self.given_weighted = name, given, weighted
        self.loss = None if loss is None else losses.get(loss)
        if self.loss is not None and self.loss.reduction == "none":
            raise ValueError(message("compile", "a loss that is reduced to one number", "reduction='none'"))
        self.weight = check_number("compile", "loss_weights", weight, "of at least 0", lambda v: v >= 0)
        self.mean = metrics.Mean("loss")
        self.metrics: list[metrics.Metric] = []
        self.weighted: list[metrics.Metric] = []
        self.make_metrics(1)

    @property
    def prefix(self) -> str:
        return f"{self.name}_" if self.name else ""

    def make_metrics(self, outputs: int) -> None:
        """Chooses the metrics for so many outputs a row."""
        made, weighted = (
            [metrics.get(metric, self.loss, outputs) for metric in given] for given in (self.given, self.given_weighted)
        )
        for some in (made, weighted):
            names = ["loss", *(metric.name for metric in some)]
            if len(set(names)) < len(names):
                hint = 'leave one out, or make it with name="...".'
                raise ValueError(message("compile", "metrics with different names", ", ".join(names[1:]), hint))
        for metric in made:
            if any(metric is other for other in weighted):
                expected = "a metric either in metrics or in weighted_metrics"
                raise ValueError(message("compile", expected, f"{metric.name!r} in both"))
        kinds = [[_kind_of(metric) for metric in some] for some in (made, weighted, self.metrics, self.weighted)]
        if kinds[:2] != kinds[2:]:
            self.metrics, self.weighted = made, weighted  # else the old ones hold what this epoch has gathered

    def make_states(self, shape: tuple[int, ...]) -> None:
        """Makes the states that the metrics have for outputs of that shape a row, so that they can be set before the
        first batch."""
        for metric in (*self.metrics, *self.weighted):
            metric.make_states(shape)

    def update_metrics(self, y: Tensor | None, output: Tensor, weight: Tensor | None) -> None:
        """Adds a batch to the metrics; `weight` is for the weighted ones only."""
        if y is None and (self.metrics or self.weighted):
            raise ValueError(message("compute_metrics", "targets y for the metrics of compile", "None"))
        for metric in self.metrics:
            metric.add_batch(y, output)
        for metric in self.weighted:
            metric.add_batch(y, output, weight)

    def takes_logits(self, split: bool, activation: Any) -> bool:
        """Whether the loss is to be computed from what comes before that last activation: it wants its
        probabilities."""
        loss = self.loss
        if loss is None or loss.logits_of is None or loss.from_logits or not loss.can_take_logits():
            return False
        return split and activation is losses.ACTIVATION_OF[loss.logits_of]

    def needs_values(self, where: str, shape: tuple[int, ...], split: bool, activation: Any) -> bool:
        """Checks that loss and output fit by the last activation; returns whether `check_values` is to look at some
        predictions, for it is not known, or tells nothing."""
        loss = self.loss
        if loss is None:
            return False
        known = split and (activation is None or activation in ACTIVATIONS.values())
        if known and activation is ops.softmax and shape[-1:] == (1,):
            expected = "a softmax over several outputs"
            raise ValueError(message(where, expected, "one, whose softmax is always 1", "use sigmoid."))
        if loss.logits_of is None or not known:
            return True
        if loss.from_logits and activation is losses.ACTIVATION_OF[loss.logits_of]:
            hint = "leave out one of the two."
            found = f"the probabilities of a last {loss.logits_of}"
            raise ValueError(message(loss.name, "logits, because of from_logits=True", found, hint))
        if not loss.from_logits and activation not in (ops.softmax, losses.ACTIVATION_OF[loss.logits_of]):
            hint = f"end in a {loss.logits_of}, or say from_logits=True."
            raise ValueError(
                message(loss.name, "probabilities", f"the output of {name_of(activation) or 'no activation'}", hint)
            )
        return not (loss.from_logits or loss.can_take_logits())

    def check_values(self, predictions: Tensor) -> None:
        assert self.loss is not None
        self.loss.check_predictions(predictions)

    def compute(self, y: Any, output: Tensor, weight: Any, logits: bool) -> tuple[Tensor, Any]:
        """The loss of a batch, and how much it weighs beside that of other batches: the number of rows, or of time
        steps that count."""
        assert self.loss is not None
        loss = self.loss.on_logits() if logits else self.loss
        mask = getattr(output, "mask", None)
        value = loss.compute(Tensor(y), output, None if weight is None else Tensor(weight), mask)
        return value, loss.count(y, mask, weight)


def _kind_of(metric: metrics.Metric) -> Any:
    """What two metrics of one name have in common if they measure the same: their class and settings."""
    return type(metric), {name: v for name, v in vars(metric).items() if isinstance(v, (bool, int, float, str))}


def results_of(heads: Sequence[Head]) -> dict[str, metrics.Metric]:
    """The mean losses, if there are several, and the metrics of all heads by the names of their results, the weighted
    ones last. As in Keras, a name that is taken gets a number, as "dense_mae_1", or is "weighted_mae"."""
    several = sum(head.loss is not None for head in heads) > 1
    found: dict[str, metrics.Metric] = {}

    def note(base: str, metric: metrics.Metric) -> None:
        free = (f"{base}_{i}" if i else base for i in range(len(found) + 1))
        found[next(name for name in free if name not in found)] = metric

    for head in heads:
        if several and head.loss is not None:
            note(f"{head.prefix}loss", head.mean)
        for metric in head.metrics:
            note(f"{head.prefix}{metric.name}", metric)
    for head in heads:
        for metric in head.weighted:
            taken = f"{head.prefix}{metric.name}" in found
            note(f"{head.prefix}{'weighted_' if taken else ''}{metric.name}", metric)
    return found


def make_heads(names: Sequence[str], loss: Any, loss_weights: Any, given: Any, weighted: Any = None) -> list[Head]:
    """A head for each output of these names. A loss, a name or a function is for all; lists go by position, dicts by
    name."""
    if len(names) == 1:
        single = [_only(names[0], what, value) for what, value in (("loss", loss), ("loss_weights", loss_weights))]
        weight = 1.0 if single[1] is None else single[1]
        lists = [_as_list(_only(names[0], what, value)) for what, value in _both(given, weighted)]
        return [Head("", single[0], weight, *lists)]
    if loss is not None and all(one is None for one in leaves(loss)):
        raise ValueError(message("compile", "a loss for at least one output", "none"))
    losses_ = _each(names, "loss", loss) if isinstance(loss, (dict, list, tuple)) else [loss] * len(names)
    weights = _each(names, "loss_weights", loss_weights)
    metrics_, weighted_ = (map(_as_list, _each(names, what, value)) for what, value in _both(given, weighted))
    heads = []
    for name, one, weight, *own in zip(names, losses_, weights, metrics_, weighted_, strict=True):
        if loss is not None and one is None and any(own):  # without a loss they are for a compute_loss of one's own
            raise ValueError(message("compile", f"a loss for the output {name!r} with metrics", "none"))
        heads.append(Head(name, one, 1.0 if weight is None else weight, *own))
    return heads


def _both(given: Any, weighted: Any) -> tuple[tuple[str, Any], tuple[str, Any]]:
    return ("metrics", given), ("weighted_metrics", weighted)


def _only(name: str, what: str, value: Any) -> Any:
    """What is given for the only output: as it is, in a list, or by its name."""
    if isinstance(value, Mapping):
        return _each([name], what, value)[0]
    if "metrics" not in what and isinstance(value, (list, tuple)):
        return _each([name], what, value)[0]
    return value


def _each(names: Sequence[str], what: str, value: Any) -> list[Any]:
    """What is given for each output, None where nothing is."""
    if value is None:
        return [None] * len(names)
    if isinstance(value, Mapping):
        return by_name("compile", what, value, names)
    if not isinstance(value, (list, tuple)) or len(value) != len(names):
        expected = f"{what} to be a list or dict for the outputs {', '.join(names)}"
        raise ValueError(message("compile", expected, repr(value)))
    return list(value)


def by_name(where: str, what: str, value: Mapping[str, Any], names: Sequence[str]) -> list[Any]:
    """The entries of a dict in the order of the outputs' names, None where there is none.

    Raises ValueError for other names, and where one name stands for several outputs.
    """
    for name in value:
        if name not in names:
            raise choice(where, f"each name in {what}", name, names)
        if names.count(name) > 1:
            expected = f"{what} to be a list, because several outputs have one name"
            raise ValueError(message(where, expected, f"{name!r}"))
    return [value.get(name) for name in names]


def _as_list(given: Any) -> list[Any]:
    if given is None:
        return []
    if isinstance(given, (list, tuple)):
        inner = given[0] if len(given) == 1 and isinstance(given[0], (list, tuple)) else given
        return list(inner)
    return [given]
