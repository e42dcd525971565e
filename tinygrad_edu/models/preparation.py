"""Prepared: the data of a call of `fit`, `evaluate` or `predict`, checked and converted once, and the model made ready
for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy

from .. import losses, optimizers
from ..autograd import Tensor
from ..backend import Device
from ..data import as_rows, check_lengths
from ..data.uploads import placed
from ..errors import ShapeError, message
from ..layers import ActivatedLayer
from ..layers.base import as_texts
from ..layers.symbolic import unchanged
from ..state import Switch
from ..tree import leaves, mapped, rebuild
from .classes import Rows, Target, kind_of, weigh_classes
from .feeding import ALL, Feed, feed_of_rows, gives_batches, in_batch, passes_of, refuse, rows_per_batch, unpacked
from .heads import Head, by_name, make_heads


class Prepared(ActivatedLayer):
    """What knows its inputs and outputs well enough to check data for them."""

    optimizer: optimizers.Optimizer | None = None
    _given: tuple[Any, Any, Any, Any] = (None, None, None, None)
    """The loss, its weights, the metrics and the weighted metrics as `compile` got them."""
    _heads: list[Head] = []  # noqa: RUF012 -- replaced, never written into
    _ready: dict[Any, list[tuple[int, ...]]] = {}  # noqa: RUF012 -- replaced by `compile`
    """Shapes of a row of each output, by what they depend on: what has been checked since `compile`."""
    _is_compiled = False
    _has_penalties = True
    """Whether a weight has a regularizer; looked up once a call, for it takes a walk through all layers."""
    _has_added = False
    """Whether a layer added to the loss when the model was made ready."""
    _outputs_are_named = False
    """Whether `call` returns a dict."""

    # What is known of the model

    @property
    def output_names(self) -> list[str]:
        """What the results of several outputs are named after; empty where it is not known yet."""
        return []

    def _has_own_step(self, step: str) -> bool:
        """Whether the user defines how a batch is trained on ("train"), or how one is evaluated ("test")."""
        return False

    @property
    def _has_call(self) -> bool:
        """Whether there is a `call`: a model whose `train_step` calls its parts can do without."""
        return True

    @property
    def input_dtypes(self) -> list[str | None]:
        """What each input is cast to, None for the model's dtype; empty where the inputs are not known."""
        return []

    @property
    def batch_size(self) -> int | None:
        """How many rows each batch must have; None if there may be any number."""
        return None

    def _target(self) -> Target:
        """What data become; kept for all batches of a call, because it takes a walk through the layers."""
        return Target(self.device, self.dtype)

    # Data

    def _feed(
        self,
        where: str,
        x: Any,
        y: Any,
        sample_weight: Any,
        batch_size: int | None,
        steps: int | None,
        train: bool = False,
        class_weight: Any = None,
        shuffle: bool = False,
        share: float = 0.0,
    ) -> tuple[Feed, Rows | None]:
        """The batches of a call, and of arrays the share of the rows that is held out."""
        if gives_batches(where, "x", x):
            given = {"y": y, "sample_weight": sample_weight, "batch_size": batch_size}
            refuse(where, "x", **given, validation_split=share or None)
            return self._iterated(where, x, steps, train, class_weight, shuffle), None
        rows, kept = self._prepare(where, x, y, sample_weight, batch_size, steps, train), None
        if share:
            rows, kept = self._split(rows, share)
        rows = self._weighted(where, rows, class_weight, self._target())
        return self._cut_into_batches(where, rows, batch_size, steps, shuffle), kept

    def _iterated(
        self,
        where: str,
        source: Any,
        steps: int | None,
        train: bool = False,
        class_weight: Any = None,
        shuffle: bool = False,
    ) -> Feed:
        """The batches that something yields, each checked and converted when it comes."""
        self._check_compiled(where)

        target: Target | None = None

        def convert(batch: Any, number: int) -> Rows:
            nonlocal target
            target = target or self._target()._replace(device=None)
            place = f"{where}, batch {number}"
            with in_batch(place, batch, self.input_shape or self.build_shape):
                x, y, weight = unpacked(place, batch)
                x = self._inputs(place, x, target)
                rows = self._with_targets(place, x, y, weight, self._shapes(x), target)
                return self._weighted(place, rows, class_weight, target, whole=False)

        return Feed(where, passes_of(source, shuffle), convert, steps, lambda: self.device, looks_ahead=True)

    def _look_at_first(self, feed: Feed, train: bool = False) -> None:
        """Makes the model ready for batches like the first one."""
        place, batch = f"{feed.where}, batch 0", feed.first()
        with in_batch(place, batch, self.input_shape or self.build_shape):
            self._prepare(place, *unpacked(place, batch), ALL, train=train)

    def _cut_into_batches(
        self, where: str, rows: Rows, batch_size: int | None, steps: int | None, shuffle: bool = False
    ) -> Feed:
        batch_size = rows_per_batch(next(leaves(rows[0])).shape[0], batch_size, steps)
        self._check_batches(where, rows, batch_size)
        return feed_of_rows(where, rows, batch_size, steps, shuffle)

    def _inputs_fed(self, where: str, x: Any, batch_size: int | None, steps: int | None) -> Feed:
        """The batches of a prediction."""
        if not gives_batches(where, "x", x):
            return self._cut_into_batches(
                where, (self._inputs(where, x, self._target()), None, None), batch_size, steps
            )
        refuse(where, "x", batch_size=batch_size)

        target = self._target()._replace(device=None)

        def convert(batch: Any, number: int) -> Rows:
            place = f"{where}, batch {number}"
            with in_batch(place, batch, self.input_shape or self.build_shape):
                return self._inputs(place, unpacked(place, batch)[0], target), None, None

        return Feed(where, passes_of(x), convert, steps, lambda: self.device)

    def _held_out(
        self, kept: Rows | None, data: Any, batch_size: int | None, own_size: int | None, steps: int | None
    ) -> Feed | None:
        """The batches of the validation: of the rows that were held out, or of `validation_data`."""
        where = "fit validation_data"
        batch_size = own_size or batch_size
        if data is None:
            return None if kept is None else self._cut_into_batches("fit validation_split", kept, batch_size, steps)
        if gives_batches("fit", "validation_data", data):
            refuse("fit", "validation_data", validation_batch_size=own_size)
            return self._iterated(where, data, steps)
        if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
            raise ValueError(message("fit", "validation_data to be (x, y) or (x, y, sample_weight)", kind_of(data)))
        x, y, weight = (*data, None)[:3]
        rows = self._prepare(where, x, y, weight, batch_size, steps)
        return self._cut_into_batches(where, rows, batch_size, steps)

    def _split(self, rows: Rows, share: float) -> tuple[Rows, Rows]:
        """The rows to train on and those to validate on."""
        self._check_loss("fit validation_split", "test")
        count = next(leaves(rows[0])).shape[0]
        kept = int(count * (1.0 - share))
        if not 0 < kept < count:
            expected = "validation_split to leave rows on both sides"
            raise ValueError(message("fit", expected, f"{share:g}, which trains on {kept} of {count} rows"))
        return _cut(rows, slice(kept)), _cut(rows, slice(kept, None))

    def _prepare(
        self,
        where: str,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        batch_size: int | None = None,
        steps: int | None = None,
        train: bool = False,
    ) -> Rows:
        """Checks and converts the data of one call, once; after this no batch is looked at again."""
        self._check_compiled(where)
        self._has_penalties = True
        target = self._target()
        x = self._inputs(where, x, target)
        rows = next(leaves(x)).shape[0]
        shapes = self._shapes(x, min(rows_per_batch(rows, batch_size, steps), rows))
        self._has_penalties = bool(self._weight_penalties())  # now that all layers are built
        self._check_loss(where, "train" if train else "test")
        if train and self.optimizer is not None:
            trained = {name: p for name, p in self.named_parameters() if p.requires_grad}
            if not trained and self.parameters():
                hint = "set trainable = True for the model, or for one of its layers."
                raise ValueError(message(f"{self.where} {where}", "a parameter to train", "a model all frozen", hint))
            if not trained and self._has_own_step("train"):
                hint = "build its layers, or compile(optimizer=None) if train_step has optimizers of its own."
                raise ValueError(message(f"{self.where} {where}", "a parameter to train", "none", hint))
            self.optimizer.build(trained, shared=True)  # with other models that have the same layers
        return self._with_targets(where, x, y, sample_weight, shapes, target)

    def _shapes(self, x: Any, batch_size: int | None = None) -> list[tuple[int, ...]]:
        """The shapes of the outputs for one row; none where the model is made of steps of one's own."""
        if self._given[0] is None and not self._has_call:
            return []
        return self._make_ready(x, batch_size or next(leaves(x)).shape[0])

    def _with_targets(
        self, where: str, x: Any, y: Any, sample_weight: Any, shapes: Sequence[tuple[int, ...]], target: Target
    ) -> Rows:
        """Converted inputs with their targets and weights, checked and converted as well."""
        rows = next(leaves(x))
        if self._given[0] is None:
            y = y if y is None else mapped(lambda a: self._as_data(where, "y", a, target.dtype), _arrays(y))
            for a in leaves(y):
                check_lengths(where, x=rows, y=a)
        else:
            several = self._each(where, "y", y)
            made = [
                self._targets(where, *part, rows, target.dtype)
                for part in zip(self._heads, several, shapes, strict=True)
            ]
            y = made if len(made) > 1 else made[0]
        if sample_weight is not None:
            given = self._each(where, "sample_weight", sample_weight, share=True) if self._heads else [sample_weight]
            weights = [None if a is None else self._weights(where, a, rows, target.dtype) for a in given]
            sample_weight = weights if len(weights) > 1 else weights[0]
        return x, *(mapped(lambda a: placed(a, target.device), tree) for tree in (y, sample_weight))

    def _check_compiled(self, where: str) -> None:
        if not self._is_compiled or (self.optimizer is None and not self._has_own_step("train")):
            raise RuntimeError(message(f"{self.where} {where}", "a compiled model", "one that is not", COMPILE))

    def _check_loss(self, where: str, step: str) -> None:
        """Raises RuntimeError if there is nothing to minimize, no loss and no layer that adds one, or no loss beside
        metrics."""
        enough = self._has_own_step(step) or ((self._has_penalties or self._has_added) and not any(self._given[2:]))
        if self._given[0] is None and not enough:
            expected = f"a loss, given to compile, or a {step}_step"
            raise RuntimeError(message(f"{self.where} {where}", expected, "none", COMPILE))

    def _each(self, where: str, what: str, value: Any, share: bool = False) -> list[Any]:
        """Targets or weights for each output: one array is for the only output, or with `share` for all."""
        names = [head.name for head in self._heads]
        if isinstance(value, Mapping):
            return by_name(where, what, value, self.output_names or names)
        if len(names) == 1:
            only = isinstance(value, (list, tuple)) and len(value) == 1 and hasattr(value[0], "dtype")
            return [value[0] if only and value[0].ndim else value]
        if isinstance(value, (list, tuple)) and len(value) == len(names) and not self._outputs_are_named:
            return list(value)
        if share and hasattr(value, "dtype"):
            return [value] * len(names)
        if hasattr(value, "dtype") and sum(head.loss is not None for head in self._heads) == 1:
            return [None if head.loss is None else value for head in self._heads]
        form = "a dict" if self._outputs_are_named else "a list or dict"
        expected = f"{what} to be {form} for the outputs {', '.join(names)}"
        raise ValueError(message(where, expected, f"{type(value).__name__}"))

    def _targets(self, where: str, head: Head, y: Any, shape: tuple[int, ...], rows: Any, dtype: Any) -> Any:
        name = f"y[{head.name!r}]" if head.name else "y"
        if head.loss is None:
            return None
        if y is None:
            raise ValueError(message(where, f"targets {name}", "None"))
        y = as_rows(where, name, y)
        check_lengths(where, x=rows, **{name: y})
        return head.loss.prepare(y, (y.shape[0], *shape), dtype)

    def _weights(self, where: str, weights: Any, rows: Any, dtype: Any) -> Any:
        weights = as_rows(where, "sample_weight", weights, dtype)
        check_lengths(where, x=rows, sample_weight=weights)
        return losses.check_weights(where, weights, rows.shape[0])

    def _as_data(self, where: str, name: str, value: Any, floats: Any, dtype: Any = None) -> Any:
        """An array for a step: floats in the model's dtype, unless another is asked for."""
        if dtype == "object":
            return as_texts(where, value)
        array = as_rows(where, name, value, dtype)
        return as_rows(where, name, array, floats) if dtype is None and array.dtype.kind == "f" else array

    def _inputs(self, where: str, x: Any, target: Target) -> Any:
        """The inputs as arrays on the model's device, in the form in which `call` takes them."""
        dtypes = self.input_dtypes
        x = self._in_form(x) if dtypes else _arrays(x)
        several = [x] if len(dtypes) == 1 else list(leaves(x))
        kinds: list[Any] = [kind or target.dtype for kind in dtypes] or [None] * len(several)
        if len(several) == 1:
            kinds = [kinds[0] or numpy.dtype(self.input_dtype or target.dtype)]
        names = ["x"] if len(several) == 1 else [f"x[{i}]" for i in range(len(several))]
        made = [
            self._as_data(where, name, a, target.dtype, kind)
            for name, a, kind in zip(names, several, kinds, strict=True)
        ]
        check_lengths(where, **dict(zip(names, made, strict=True)))
        made = [placed(a, target.device) for a in made]
        # one number a row, as Keras has it
        made = [a.reshape(-1, 1) if a.ndim == 1 and self._is_column(i) else a for i, a in enumerate(made)]
        return self._on_host(made[0]) if len(dtypes) == 1 else rebuild(x, iter(made))

    def _is_column(self, number: int) -> bool:
        """Whether that input has one number a row."""
        return (self.input_shape or self.build_shape) == (1,)

    def _in_form(self, x: Any) -> Any:
        """The inputs in the form, a list or dict, in which `call` takes them."""
        return x

    def _on_host(self, x: Any) -> Any:
        """The input after the layers that are not for a step, such as lookups of texts."""
        return x

    def _weighted(self, where: str, rows: Rows, class_weight: Any, target: Target, whole: bool = True) -> Rows:
        """The rows, which are the whole data or one of its batches, weighted by class as well."""
        if class_weight is None:
            return rows
        if len(self._heads) > 1:
            raise ValueError(message(where, "class_weight for a model of one output", f"{len(self._heads)}"))
        x, y, weight = rows
        if y is None:
            raise ValueError(message(f"{where} class_weight", "targets y", "None"))
        shapes = self._make_ready(x)
        return x, *weigh_classes(where, y, weight, class_weight, shapes[0], target.dtype, whole)

    @property
    def _stateful(self) -> list[Any]:
        """The layers that keep a state per row from batch to batch."""
        return [layer for _, layer in self._layers() if getattr(layer, "stateful", False)]

    def _check_batches(self, where: str, rows: Rows, batch_size: int) -> None:
        """Raises ShapeError for a last batch with fewer rows, if a layer keeps a state per row."""
        count = next(leaves(rows[0])).shape[0]
        if count % min(batch_size, count) and self._stateful:
            expected = f"whole batches of {batch_size} rows, for a layer is stateful"
            hint = "leave out the rest of the data, or choose another batch_size."
            raise ShapeError(message(f"{self.where} {where}", expected, f"{count} rows", hint))

    def _make_ready(self, x: Any, batch_size: int = 1) -> list[tuple[int, ...]]:
        """Builds what is not built, and returns the shapes of the outputs for one row. Runs one row (or a batch, if its
        size is fixed, or a layer is stateful), once per shape of the inputs and last activations."""
        shapes = tuple([a.shape[1:] for a in leaves(x)])
        known = self._ready.get((shapes, self._lasts()))
        if known is None:
            stateful = self._stateful
            fixed = self.batch_size or (batch_size if stateful else None)
            unbuilt = [layer for layer in stateful if not layer.built]
            with Switch("grad_enabled", False), unchanged(self):
                outputs = self(_first(x, fixed or 1, self.device), training=False)
                self._has_added = self._noted is not None and bool(self._noted.taken())
                self._know_outputs(outputs)
                known = [tuple(y.shape[1:]) for y in leaves(outputs)]
                for i, (head, shape) in enumerate(zip(self._heads, known, strict=True)):
                    head.make_metrics(shape[-1] if shape else 1)
                    if not (self._has_own_step("train") or self._has_own_step("test")):  # which may measure others
                        head.make_states(shape)
                    split, activation = self._last_of(i)
                    if head.needs_values(self.where, shape, split, activation):
                        some = self(_first(x, fixed or 32, self.device), training=False)
                        head.check_values(list(leaves(some))[i])
            for layer in unbuilt:
                layer.reset_state()
            self._ready[shapes, self._lasts()] = known  # which may be known only now
        return known

    def _know_outputs(self, outputs: Any) -> None:
        """Makes the heads for outputs that were not known to `compile`."""
        count = len(list(leaves(outputs)))
        self._outputs_are_named = isinstance(outputs, dict)
        if len(self._heads) != count:
            names = list(outputs) if isinstance(outputs, dict) else [f"output_{i + 1}" for i in range(count)]
            self._heads = make_heads(names, *self._given)

    def _lasts(self) -> tuple[tuple[bool, Any], ...]:
        """For each output whether its last activation is apart, and that."""
        return ((self.is_split, self.activation),)

    def _last_of(self, output: int) -> tuple[bool, Any]:
        lasts = self._lasts()
        return lasts[output] if len(lasts) == len(self._heads) else (False, None)


COMPILE = "for example model.compile(optimizer='adam', loss='mse')."


def _arrays(x: Any) -> Any:
    """Lists and dicts of arrays as they are; a list of numbers is one array."""
    if isinstance(x, Mapping) or (isinstance(x, (list, tuple)) and x and all(map(_is_array, leaves(x)))):
        return dict(x) if isinstance(x, Mapping) else list(x)
    return x if hasattr(x, "dtype") else numpy.asarray(x)


def _is_array(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and getattr(leaf, "ndim", 0) > 0


def _cut(rows: Rows, part: slice) -> Rows:
    return mapped(lambda a: None if a is None else a[part], rows)


def _first(x: Any, count: int, device: Device) -> Any:
    """The first rows of the inputs, as tensors on the device."""
    return mapped(lambda a: as_input(placed((a.data if isinstance(a, Tensor) else a)[:count], device)), x)


def as_input(array: Any) -> Any:
    """An array as a tensor; texts as they are."""
    return array if array.dtype == object else Tensor(array)
