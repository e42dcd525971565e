"""Attention: with many heads, with heads that share keys, and without weights of its own.

Where a query sees no key at all, the weighted mean of the values is 0, as in PyTorch; Keras gives the plain mean of all
values there, masked ones included. Such queries are padding as a rule, and their rows are masked in the output as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy

from .. import initializers, ops
from ..autograd import Tensor, tensor
from ..errors import ShapeError, check_bool, check_integer, check_number, choice, message
from ..ops.attention import attention_of_heads
from .base import Layer, check_shape, mask_of
from .masks import as_broadcast_mask, as_mask


def masked_softmax(scores: Any, mask: Any) -> Any:
    """softmax over the last axis of what the mask shows, 0 elsewhere; the mask may be None."""
    if mask is None:
        return ops.softmax(scores)
    lowest = float(numpy.finfo(scores.dtype).min)  # not -inf, whose softmax is NaN where nothing is shown
    return ops.where(mask, ops.softmax(ops.where(mask, scores, lowest)), 0.0)


def causal_mask(queries: int, keys: int, device: Any) -> Any:
    """(queries, keys): True where the key's position is not after the query's."""
    return ops.arange(queries, device=device)[:, None] >= ops.arange(keys, device=device)


def check_sequences(where: str, query: Any, value: Any, key: Any) -> None:
    """Raises ShapeError unless these are (batch, time, features), value and key of the same times, all of one batch."""
    fits = query.ndim == value.ndim == key.ndim == 3 and value.shape[:2] == key.shape[:2]
    if not fits or query.shape[0] != value.shape[0]:
        expected = "query (batch, queries, features), value and key (batch, keys, features)"
        found = f"query {query.shape}, value {value.shape}, key {key.shape}"
        raise ShapeError(message(where, expected, found))
    if not value.shape[1]:
        raise ShapeError(message(where, "at least one key", f"value {value.shape}"))


def check_rate(where: str, rate: Any) -> float:
    return check_number(where, "dropout", rate, "in [0, 1)", lambda rate: 0 <= rate < 1)


class HeadsAttention(Layer):
    """What MultiHeadAttention and GroupQueryAttention have in common: projections, masks, heads.

    A subclass sets `_heads`, the numbers of heads of queries and of keys, and `_depths`, the lengths of a key and of a
    value in a head.
    """

    initial: ClassVar = {"kernel": "glorot_uniform", "bias": "zeros"}
    supports_masking = True
    output_shape: tuple[int, ...] | None = None
    query_kernel: Tensor
    key_kernel: Tensor
    gate_kernel: Tensor
    value_kernel: Tensor
    output_kernel: Tensor
    query_bias: Tensor | None = None
    key_bias: Tensor | None = None
    gate_bias: Tensor | None = None
    value_bias: Tensor | None = None
    output_bias: Tensor | None = None
    _heads: tuple[int, int]
    _depths: tuple[int, int]

    def __init__(
        self,
        dropout: float = 0.0,
        use_bias: bool = True,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        use_gate: bool = False,
        seed: int | None = None,
        **options: Any,
    ):
        super().__init__(**options)
        self.dropout = check_rate(self.where, dropout)
        self.seed = None if seed is None else check_integer(self.where, "seed", seed, 0)
        self.use_bias = check_bool(self.where, "use_bias", use_bias)
        self.use_gate = check_bool(self.where, "use_gate", use_gate)
        self.sliding_window = (
            None if sliding_window is None else check_integer(self.where, "sliding_window", sliding_window, 1)
        )
        if flash_attention:
            hint = "without dropout, attention is computed in blocks anyway where kernels can be compiled."
            raise ValueError(message(self.where, "flash_attention to be None or False", repr(flash_attention), hint))
        self.flash_attention = flash_attention

    # Building

    def __call__(self, query: Any, *args: Any, **keywords: Any) -> Any:  # type: ignore[override]
        """As for every layer; `layer(query=x, value=y)` is understood too."""
        return super().__call__(query, *args, **keywords)

    def build_for(self, x: Any, *args: Any, **keywords: Any) -> None:
        value, key = (*args, None, None)[:2]
        value, key = keywords.get("value", value), keywords.get("key", key)
        self._check_value(value)
        given = (x, value, value if key is None else key)
        shapes = [tuple(t.shape if hasattr(t, "shape") else numpy.shape(t)) for t in given]
        self.build_once(shapes, x.device if isinstance(x, Tensor) else None)

    def build(self, input_shape: Any) -> None:
        """Makes the weights for the shapes of query, value and key."""
        query, value, key = input_shape
        if {len(query), len(value), len(key)} != {3} or None in (query[-1], value[-1], key[-1]):
            expected = "query, value and key of shape (batch, time, features)"
            raise ShapeError(message(self.where, expected, f"{query}, {value} and {key}"))
        (heads, groups), (depth, value_depth) = self._heads, self._depths
        self._project("query", query[-1:], (heads, depth))
        self._project("key", key[-1:], (groups, depth))
        if self.use_gate:
            self._project("gate", query[-1:], (heads, value_depth))
        self._project("value", value[-1:], (groups, value_depth))
        self._project("output", (heads, value_depth), self.output_shape or query[-1:])
        super().build(input_shape)

    def _project(self, name: str, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> None:
        """Makes the kernel (*inputs, *outputs) and the bias of a projection."""
        shape, matrix = (*inputs, *outputs), (math.prod(inputs), math.prod(outputs))
        # the variance of the initial values depends on the numbers of inputs and outputs, here of several axes
        scaled = isinstance(self.kernel_initializer, initializers.VarianceScaling)  # type: ignore[attr-defined]
        self.make(f"{name}_kernel", matrix if scaled else shape, "kernel")
        kernel = getattr(self, f"{name}_kernel")
        kernel.data = kernel.data.reshape(shape).copy()  # an array of its own, which a plan overwrites in place
        if self.use_bias:
            self.make(f"{name}_bias", outputs, "bias")

    # Calling

    def call(
        self,
        query: Any,
        value: Any = None,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
    ) -> Any:
        """See the class. A mask of query, value or key that is not given is the one that a layer gave to it."""
        self._check_value(value)
        value = value if isinstance(value, Tensor) else tensor(value)
        key = key if key is None or isinstance(key, Tensor) else tensor(key)
        masks = {"query": mask_of(query) if query_mask is None else query_mask}
        masks["value"] = mask_of(value) if value_mask is None else value_mask
        masks["key"] = mask_of(key) if key_mask is None and key is not None else key_mask
        key = value if key is None else key
        check_sequences(self.where, query, value, key)
        lengths = {"query": query.shape[1], "value": key.shape[1], "key": key.shape[1]}
        for name, length in lengths.items():
            masks[name] = as_mask(self.where, masks[name], (query.shape[0], length), f"{name}_mask")
        mask = self._mask(query, key, masks, attention_mask, use_causal_mask)
        gate = ops.sigmoid(self._heads_of("gate", query)) if self.use_gate else None
        q, k, v = (self._heads_of(name, x) for name, x in (("query", query), ("key", key), ("value", value)))
        if self.activity_regularizer is not None:
            for part in (q, k, v) if gate is None else (q, k, v, gate):
                super()._add_activity(part)
        causal = use_causal_mask and query.shape[1] == key.shape[1]
        rate = self.dropout if training else 0.0
        y, scores = self._attend(q, k, v, mask, causal, return_attention_scores, rate)
        y = self._joined(y if gate is None else y * gate)
        if masks["query"] is not None:
            y.mask = masks["query"]
        return (y, scores) if return_attention_scores else y

    def _add_activity(self, y: Any) -> None:
        """Adds the penalty on the output; `call` does so for the other projections. The scores are none."""
        super()._add_activity(y[0] if isinstance(y, tuple) else y)

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        """None: `call` gives the query's mask to its output itself, for the scores must not get one."""
        return None

    def _check_value(self, value: Any) -> None:
        if value is None:
            raise TypeError(message(self.where, "a query and a value", "a query only", "attend to x by layer(x, x)."))

    def _heads_of(self, name: str, x: Any) -> Any:
        """A projection, (batch, time, heads, depth)."""
        kernel, bias = getattr(self, f"{name}_kernel"), getattr(self, f"{name}_bias")
        features, heads, depth = kernel.shape
        if x.shape[-1] != features:
            name = "query" if name == "gate" else name
            raise ShapeError(message(self.where, f"{features} features of the {name}", f"shape {x.shape}"))
        bias = None if bias is None else ops.reshape(bias, (-1,))
        y = ops.linear(x, ops.reshape(kernel, (features, heads * depth)), bias)
        return ops.reshape(y, (*x.shape[:2], heads, depth))

    def _joined(self, y: Any) -> Any:
        """The output for what each head has found."""
        batch, time, heads, depth = y.shape
        outputs = self.output_kernel.shape[2:]
        rows = ops.reshape(y, (batch, time, heads * depth))
        kernel = ops.reshape(self.output_kernel, (heads * depth, math.prod(outputs)))
        bias = None if self.output_bias is None else ops.reshape(self.output_bias, (-1,))
        return ops.reshape(ops.linear(rows, kernel, bias), (batch, time, *outputs))

    def _attend(self, q: Any, k: Any, v: Any, mask: Any, causal: bool, scores: bool, rate: float) -> tuple[Any, Any]:
        """What each head finds, and the scores if these are asked for."""
        repeats = q.shape[2] // k.shape[2]
        if repeats > 1:  # heads share keys and values
            k, v = ops.repeat(k, repeats, axis=2), ops.repeat(v, repeats, axis=2)
        if not scores and not rate:
            return attention_of_heads(q, k, v, mask, causal), None
        q, k, v = (ops.transpose(a, (0, 2, 1, 3)) for a in (q, k, v))
        if causal:
            seen = causal_mask(q.shape[2], k.shape[2], q.device)
            mask = seen if mask is None else ops.logical_and(mask, seen)
        weights = masked_softmax(ops.matmul(q * q.shape[-1] ** -0.5, ops.swapaxes(k, -1, -2)), mask)
        y = ops.matmul(ops.dropout(weights, rate, seed=self.seed), v)
        return ops.transpose(y, (0, 2, 1, 3)), weights

    def _mask(self, query: Any, key: Any, masks: dict[str, Any], attention_mask: Any, causal: bool) -> Any:
        """What all masks show, as one that broadcasts to (batch, heads, queries, keys), or None. Not the causal one
        where query and key are of one length: it is part of the attention."""
        queries, keys = query.shape[1], key.shape[1]
        parts = []
        for name, mask in masks.items():
            if mask is not None:
                parts.append(mask[:, None, :, None] if name == "query" else mask[:, None, None, :])
        if attention_mask is not None:
            shape = (query.shape[0], self._heads[0], queries, keys)
            rows = shape[:1] if len(numpy.shape(attention_mask)) == 3 else shape[:2]
            mask = as_broadcast_mask(self.where, attention_mask, (*rows, *shape[2:]), "attention_mask")
            parts.append(mask[:, None] if mask.ndim == 3 else mask)
        if causal and queries != keys:
            parts.append(causal_mask(queries, keys, query.device))
        if self.sliding_window is not None:
            away = ops.arange(queries, device=query.device)[:, None] - ops.arange(keys, device=query.device)
            parts.append(abs(away) < self.sliding_window)
        total = None
        for mask in parts:
            total = mask if total is None else ops.logical_and(total, mask)
        return total


class MultiHeadAttention(HeadsAttention):
    """softmax(q @ k.T / sqrt(key_dim)) @ v for several heads side by side, each with projections q, k and v of its own
    of query, key and value; joined by one more (Vaswani et al., "Attention is all you need", 2017).

    Args:
        num_heads: how many heads.
        key_dim: the length of a query and of a key in a head.
        value_dim: that of a value; `key_dim` by default.
        dropout: the rate at which scores are dropped in training.
        use_bias: whether the projections add a bias.
        output_shape: the last axes of the output; the query's features by default.
        attention_axes: None or (1,): the time axis.
        sliding_window: a query sees only keys less than so many steps away.
        flash_attention: None or False; without dropout, attention is computed in blocks anyway.
        use_gate: whether what a head finds is multiplied by the sigmoid of a projection of the query.
        seed: for the draws of dropout, in place of that of `tg.seed`.
        options: those of `Layer`; `kernel` and `bias` have an initializer, a regularizer and a constraint. An
            `activity_regularizer` is for each projection: those of query, key, value and gate, and the output.

    Called as `layer(query, value, key=None, ...)`: query (batch, queries, features), value and key (batch, keys,
    features); key is value if not given. Returns (batch, queries, *output_shape), with `return_attention_scores` also
    the scores (batch, heads, queries, keys) before dropout. All of these masks must show a key to a query:
        query_mask, value_mask, key_mask: (batch, time); by default those that layers gave to query, value and key.
        attention_mask: (queries, keys), (batch, queries, keys) or (batch, heads, queries, keys), where 1 may be any
            length.
        use_causal_mask: each query sees the keys up to its own position.
    A query that sees no key finds zeros; Keras gives it the mean of all values. The output has the query's mask.

    Parameters: query_kernel (features, num_heads, key_dim) and query_bias (num_heads, key_dim), the same of key, of
    gate if used, and of value; output_kernel (num_heads, value_dim, *output_shape), output_bias (*output_shape).
    Raises ShapeError for other shapes, TypeError for a mask of floats.

    >>> import tinygrad_edu as tg
    >>> layer = tg.layers.MultiHeadAttention(num_heads=2, key_dim=4)
    >>> y, scores = layer(tg.ones((1, 3, 8)), tg.ones((1, 5, 8)), return_attention_scores=True)
    >>> y.shape, scores.shape, layer.query_kernel.shape
    ((1, 3, 8), (1, 2, 3, 5), (8, 2, 4))
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: int | Sequence[int] | None = None,
        attention_axes: Any = None,
        **options: Any,
    ):
        super().__init__(dropout=dropout, use_bias=use_bias, **options)
        self.num_heads = check_integer(self.where, "num_heads", num_heads, 1)
        self.key_dim = check_integer(self.where, "key_dim", key_dim, 1)
        self.value_dim = self.key_dim if value_dim is None else check_integer(self.where, "value_dim", value_dim, 1)
        if output_shape is not None:
            output_shape = (output_shape,) if isinstance(output_shape, int) else output_shape
            self.output_shape = tuple(n or 1 for n in check_shape(self.where, "output_shape", output_shape))
        axes = attention_axes if isinstance(attention_axes, (list, tuple)) else (attention_axes,)
        if tuple(axes) not in ((None,), (1,)):
            hint = "make the axes one with Reshape."
            raise ValueError(message(self.where, "attention_axes to be None or (1,)", repr(attention_axes), hint))
        self.attention_axes = attention_axes
        self._heads, self._depths = (self.num_heads, self.num_heads), (self.key_dim, self.value_dim)


class GroupQueryAttention(HeadsAttention):
    """MultiHeadAttention whose heads share keys and values in groups: fewer to compute and to keep (Ainslie et al.,
    "GQA", 2023). With one head of keys and values it is multi-query attention.

    Args:
        head_dim: the length of a query, key and value in a head.
        num_query_heads: how many heads of queries.
        num_key_value_heads: how many heads of keys and values, a divisor of `num_query_heads`.
        others: those of MultiHeadAttention, as are calls and masks.

    Parameters: as MultiHeadAttention, with num_key_value_heads heads in those of key and value.

    >>> import tinygrad_edu as tg
    >>> layer = tg.layers.GroupQueryAttention(head_dim=4, num_query_heads=4, num_key_value_heads=2)
    >>> layer(tg.ones((1, 3, 8)), tg.ones((1, 5, 8))).shape, layer.key_kernel.shape
    ((1, 3, 8), (8, 2, 4))
    """

    def __init__(
        self,
        head_dim: int,
        num_query_heads: int,
        num_key_value_heads: int,
        dropout: float = 0.0,
        use_bias: bool = True,
        **options: Any,
    ):
        super().__init__(dropout=dropout, use_bias=use_bias, **options)
        self.head_dim = check_integer(self.where, "head_dim", head_dim, 1)
        self.num_query_heads = check_integer(self.where, "num_query_heads", num_query_heads, 1)
        self.num_key_value_heads = check_integer(self.where, "num_key_value_heads", num_key_value_heads, 1)
        if num_query_heads % num_key_value_heads:
            expected = f"num_key_value_heads to divide {num_query_heads}, the num_query_heads"
            raise ValueError(message(self.where, expected, f"{num_key_value_heads}"))
        self._heads, self._depths = (num_query_heads, num_key_value_heads), (head_dim, head_dim)


class ScoredAttention(Layer):
    """What Attention and AdditiveAttention have in common: they differ in the scores of keys for queries."""

    supports_masking = True
    scale: Tensor | None = None
    _is_dot = False

    def __init__(self, use_scale: bool = False, dropout: float = 0.0, seed: int | None = None, **options: Any):
        super().__init__(**options)
        self.use_scale = check_bool(self.where, "use_scale", use_scale)
        self.seed = None if seed is None else check_integer(self.where, "seed", seed, 0)
        self.dropout = check_rate(self.where, dropout)

    def scores(self, query: Any, key: Any) -> Any:
        """(batch, queries, keys)."""
        raise NotImplementedError

    def build(self, input_shape: Any) -> None:
        self._check_inputs(input_shape)
        super().build(input_shape)

    def _check_inputs(self, inputs: Any) -> None:
        if not isinstance(inputs, (list, tuple)) or len(inputs) not in (2, 3):
            found = f"{len(inputs)} of them" if isinstance(inputs, (list, tuple)) else "one tensor"
            raise TypeError(message(self.where, "a list [query, value] or [query, value, key]", found))

    def call(
        self,
        inputs: Any,
        mask: Any = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        self._check_inputs(inputs)
        query, value, *others = inputs
        key = others[0] if others else value
        check_sequences(self.where, query, value, key)
        if query.shape[-1] != key.shape[-1]:
            expected = "as many features in query and key"
            raise ShapeError(message(self.where, expected, f"query {query.shape}, key {key.shape}"))
        query_mask, value_mask = self._two_masks(mask)
        query_mask = as_mask(self.where, query_mask, query.shape[:2], "the query's mask")
        value_mask = as_mask(self.where, value_mask, value.shape[:2], "the value's mask")
        seen = None if value_mask is None else value_mask[:, None, :]
        if use_causal_mask:
            causal = causal_mask(query.shape[1], key.shape[1], query.device)
            seen = causal if seen is None else ops.logical_and(seen, causal)
        if return_attention_scores or (training and self.dropout) or not self._is_dot:
            weights = masked_softmax(self.scores(query, key), seen)
            weights = ops.dropout(weights, self.dropout, seed=self.seed) if training else weights
            y = ops.matmul(weights, value)
        else:
            scaled = query if self.scale is None else query * self.scale
            y, weights = ops.scaled_dot_product_attention(scaled, key, value, seen, scale=1.0), None
        if query_mask is not None:
            y = ops.where(query_mask[:, :, None], y, 0.0)
        return (y, weights) if return_attention_scores else y

    def _two_masks(self, mask: Any) -> tuple[Any, Any]:
        if mask is None:
            return None, None
        if not isinstance(mask, (list, tuple)) or len(mask) not in (2, 3):
            raise TypeError(message(self.where, "mask to be a list [query_mask, value_mask]", type(mask).__name__))
        return mask[0], mask[1]

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        """The query's mask."""
        return as_mask(self.where, self._two_masks(mask)[0], x[0].shape[:2])


class Attention(ScoredAttention):
    """softmax(scores) @ value, with scores query @ key.T: Luong et al., "Effective approaches to attention-based neural
    machine translation" (2015).

    Args:
        use_scale: whether the scores are multiplied by a parameter.
        score_mode: "dot"; or "concat", for sums over features of tanh(scale * (query + key)), times a parameter.
        dropout: the rate at which scores are dropped in training.
        seed: for the draws of dropout, in place of that of `tg.seed`.

    Called on a list [query (batch, queries, features), value (batch, keys, ...)] or [query, value, key]; key is value
    if not given. Returns (batch, queries, the value's features), with `return_attention_scores` also the softmax of the
    scores (batch, queries, keys), after dropout. `mask` is a list [query_mask, value_mask] of (batch, time): the output
    is 0 where the query's is False, and values do not count where theirs is. With `use_causal_mask` a query sees the
    keys up to its own position. A query that sees no key finds zeros; Keras gives it the mean of all values.

    Parameters: scale () if `use_scale`, concat_score_weight () in the mode "concat", both 1 at first. Raises TypeError
    for inputs that are no list, ShapeError for shapes that do not fit.

    >>> import tinygrad_edu as tg
    >>> tg.layers.Attention()([tg.ones((1, 2, 3)), tg.ones((1, 4, 3))]).shape
    (1, 2, 3)
    """

    concat_score_weight: Tensor | None = None

    def __init__(self, use_scale: bool = False, score_mode: str = "dot", dropout: float = 0.0, **options: Any):
        super().__init__(use_scale=use_scale, dropout=dropout, **options)
        if score_mode not in ("dot", "concat"):
            raise choice(self.where, "score_mode", score_mode, ("dot", "concat"))
        self.score_mode = score_mode
        self._is_dot = score_mode == "dot"

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        if self.use_scale:
            self.scale = self.add_weight((), "ones")
        if self.score_mode == "concat":
            self.concat_score_weight = self.add_weight((), "ones")

    def scores(self, query: Any, key: Any) -> Any:
        if self._is_dot:
            return ops.matmul(query if self.scale is None else query * self.scale, ops.swapaxes(key, -1, -2))
        total = query[:, :, None, :] + key[:, None, :, :]
        total = total if self.scale is None else total * self.scale
        return ops.sum(ops.tanh(total), axis=-1) * self.concat_score_weight


class AdditiveAttention(ScoredAttention):
    """softmax(scores) @ value, with scores sum(scale * tanh(query + key)) over the features: Bahdanau et al., "Neural
    machine translation by jointly learning to align and translate" (2015).

    Args:
        use_scale: whether there is a parameter `scale`.
        dropout, seed: as in `Attention`.

    Inputs, outputs, masks and errors are those of `Attention`. Parameter: scale (features,).

    >>> import tinygrad_edu as tg
    >>> tg.layers.AdditiveAttention()([tg.ones((1, 2, 3)), tg.ones((1, 4, 3))]).shape
    (1, 2, 3)
    """

    def __init__(self, use_scale: bool = True, dropout: float = 0.0, **options: Any):
        super().__init__(use_scale=use_scale, dropout=dropout, **options)

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        if self.use_scale:
            self.scale = self.add_weight(tuple(input_shape[0][-1:]), "glorot_uniform")

    def scores(self, query: Any, key: Any) -> Any:
        y = ops.tanh(query[:, :, None, :] + key[:, None, :, :])
        return ops.sum(y if self.scale is None else y * self.scale, axis=-1)
