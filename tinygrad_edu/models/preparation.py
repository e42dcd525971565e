"""Prepared: the data of a call of `fit`, `evaluate` or `predict`, checked and converted once, and the model made ready
for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy

from .. import losses, optimizers
from ..autograd import Tensor
from ..backend import to_device
from ..data import as_rows, check_lengths
from ..errors import ShapeError, check_number, message
from ..layers import ActivatedLayer
from ..layers.base import as_texts
from ..layers.symbolic import unchanged
from ..state import Switch
from ..tree import leaves, mapped, rebuild
from .classes import Rows, kind_of, weigh_classes
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
    """Whether a layer has a regularizer; looked up once a call, for it takes a walk through all layers."""
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

    # Data

    def _split(
        self,
        x: Any,
        y: Any,
        sample_weight: Any,
        share: float,
        validation_data: Sequence[Any] | None,
        batch_size: int,
    ) -> tuple[Rows, Rows | None]:
        """The rows to train on and those to validate on."""
        wanted = "in [0, 1)"
        share = check_number("fit", "validation_split", share, wanted, lambda v: 0 <= v < 1)
        rows = self._prepare("fit", x, y, sample_weight, batch_size, train=True)
        if validation_data is not None:
            if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
                raise ValueError(
                    message("fit", "validation_data to be (x, y) or (x, y, sample_weight)", kind_of(validation_data))
                )
            x, y, weight = (*validation_data, None)[:3]
            return rows, self._prepare("fit validation_data", x, y, weight, batch_size)
        if not share:
            return rows, None
        self._check_compiled("fit validation_split", "test")
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
        train: bool = False,
    ) -> Rows:
        """Checks and converts the data of one call, once; after this no batch is looked at again. Without a
        `batch_size` all is one batch."""
        self._check_compiled(where, "train" if train else "test")
        self._has_penalties = True
        has_loss = self._given[0] is not None
        x = self._inputs(where, x)
        rows = next(leaves(x))
        batch_size = min(batch_size or rows.shape[0], rows.shape[0])
        shapes = self._make_ready(x, batch_size) if has_loss or self._has_call else []
        self._has_penalties = bool(self.losses)  # now that all layers are built
        if train and self.optimizer is not None:
            trained = self.trainable_weights
            if not trained and self.parameters():
                hint = "set trainable = True for the model, or for one of its layers."
                raise ValueError(message(f"{self.where} {where}", "a parameter to train", "a model all frozen", hint))
            self.optimizer.build(trained, shared=True)  # with other models that have the same layers
        if not has_loss:
            y = y if y is None else mapped(lambda a: self._as_data(where, "y", a), _arrays(y))
            for a in leaves(y):
                check_lengths(where, x=rows, y=a)
        else:
            several = self._each(where, "y", y)
            made = [self._targets(where, *part, rows) for part in zip(self._heads, several, shapes, strict=True)]
            y = made if len(made) > 1 else made[0]
        if sample_weight is not None:
            given = self._each(where, "sample_weight", sample_weight, share=True) if self._heads else [sample_weight]
            weights = [None if a is None else self._weights(where, a, rows) for a in given]
            sample_weight = weights if len(weights) > 1 else weights[0]
        return x, y, sample_weight

    def _check_compiled(self, where: str, step: str) -> None:
        where, hint = f"{self.where} {where}", "for example model.compile(optimizer='adam', loss='mse')."
        if not self._is_compiled or (self.optimizer is None and not self._has_own_step("train")):
            raise RuntimeError(message(where, "a compiled model", "one that is not", hint))
        if self._given[0] is None and not self._has_own_step(step):
            raise RuntimeError(message(where, f"a loss, given to compile, or a {step}_step", "none", hint))

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

    def _targets(self, where: str, head: Head, y: Any, shape: tuple[int, ...], rows: Any) -> Any:
        name = f"y[{head.name!r}]" if head.name else "y"
        if head.loss is None:
            return None
        if y is None:
            raise ValueError(message(where, f"targets {name}", "None"))
        y = as_rows(where, name, y)
        check_lengths(where, x=rows, **{name: y})
        return to_device(head.loss.prepare(y, (y.shape[0], *shape), self.dtype), self.device)

    def _weights(self, where: str, weights: Any, rows: Any) -> Any:
        weights = as_rows(where, "sample_weight", weights, self.dtype)
        check_lengths(where, x=rows, sample_weight=weights)
        return to_device(losses.check_weights(where, weights, rows.shape[0]), self.device)

    def _as_data(self, where: str, name: str, value: Any, dtype: Any = None) -> Any:
        """An array for a step: floats in the model's dtype, unless another is asked for."""
        if dtype == "object":
            return as_texts(where, value)
        array = as_rows(where, name, value, dtype)
        array = as_rows(where, name, array, self.dtype) if dtype is None and array.dtype.kind == "f" else array
        return to_device(array, self.device)

    def _inputs(self, where: str, x: Any) -> Any:
        """The inputs as arrays on the model's device, in the form in which `call` takes them."""
        dtypes = self.input_dtypes
        x = self._in_form(x) if dtypes else _arrays(x)
        several = [x] if len(dtypes) == 1 else list(leaves(x))
        kinds: list[Any] = [kind or self.dtype for kind in dtypes] or [None] * len(several)
        if len(several) == 1:
            kinds = [kinds[0] or numpy.dtype(self.input_dtype or self.dtype)]
        names = ["x"] if len(several) == 1 else [f"x[{i}]" for i in range(len(several))]
        made = [self._as_data(where, *part) for part in zip(names, several, kinds, strict=True)]
        check_lengths(where, **dict(zip(names, made, strict=True)))
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

    def _weighted(self, where: str, rows: Rows, class_weight: Any) -> Rows:
        """The rows, weighted by class as well."""
        if class_weight is None:
            return rows
        if len(self._heads) > 1:
            raise ValueError(message(where, "class_weight for a model of one output", f"{len(self._heads)}"))
        x, y, weight = rows
        if y is None:
            raise ValueError(message(f"{where} class_weight", "targets y", "None"))
        shapes = self._make_ready(x)
        return x, *weigh_classes(where, y, weight, class_weight, shapes[0], self.dtype)

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
        shapes = tuple(a.shape[1:] for a in leaves(x))
        known = self._ready.get((shapes, self._lasts()))
        if known is None:
            stateful = self._stateful
            fixed = self.batch_size or (batch_size if stateful else None)
            unbuilt = [layer for layer in stateful if not layer.built]
            with Switch("grad_enabled", False), unchanged(self):
                outputs = self(_first(x, fixed or 1), training=False)
                self._know_outputs(outputs)
                known = [tuple(y.shape[1:]) for y in leaves(outputs)]
                for i, (head, shape) in enumerate(zip(self._heads, known, strict=True)):
                    head.make_metrics(shape[-1] if shape else 1)
                    split, activation = self._last_of(i)
                    if head.needs_values(self.where, shape, split, activation):
                        head.check_values(list(leaves(self(_first(x, fixed or 32), training=False)))[i])
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


def _arrays(x: Any) -> Any:
    """Lists and dicts of arrays as they are; a list of numbers is one array."""
    if isinstance(x, Mapping) or (isinstance(x, (list, tuple)) and x and all(map(_is_array, leaves(x)))):
        return dict(x) if isinstance(x, Mapping) else list(x)
    return x if hasattr(x, "dtype") else numpy.asarray(x)


def _is_array(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and getattr(leaf, "ndim", 0) > 0


def _cut(rows: Rows, part: slice) -> Rows:
    return mapped(lambda a: None if a is None else a[part], rows)


def _first(x: Any, count: int) -> Any:
    """The first rows of the inputs, as tensors."""
    return mapped(lambda a: as_input((a.data if isinstance(a, Tensor) else a)[:count]), x)


def as_input(array: Any) -> Any:
    """An array as a tensor; texts as they are."""
    return array if array.dtype == object else Tensor(array)
