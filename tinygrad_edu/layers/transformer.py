"""Transformer blocks: attention and a feed-forward network, each with a residual and a normalization."""

from __future__ import annotations

from typing import Any, ClassVar

from .. import ops
from ..autograd import Tensor
from ..errors import ShapeError, check_bool, check_integer, check_number, message
from ..state import state
from . import activations
from .attention import MultiHeadAttention, check_rate
from .base import Layer
from .core import Dense
from .normalization import LayerNormalization


class TransformerBlock(Layer):
    """What TransformerEncoderBlock and TransformerDecoderBlock have in common."""

    initial: ClassVar = {"kernel": "glorot_uniform", "bias": "zeros"}
    supports_masking = True
    self_attention: MultiHeadAttention
    self_attention_norm: LayerNormalization
    feedforward_norm: LayerNormalization
    feedforward_intermediate: Dense
    feedforward_output: Dense

    def __init__(
        self,
        intermediate_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        activation: Any = "relu",
        layer_norm_epsilon: float = 1e-5,
        normalize_first: bool = False,
        **options: Any,
    ):
        super().__init__(**options)
        self.intermediate_dim = check_integer(self.where, "intermediate_dim", intermediate_dim, 1)
        self.num_heads = check_integer(self.where, "num_heads", num_heads, 1)
        self.dropout = check_rate(self.where, dropout)
        self.activation = activations.get(activation, self.where)
        self.layer_norm_epsilon = check_number(
            self.where, "layer_norm_epsilon", layer_norm_epsilon, "above 0", lambda v: v > 0
        )
        self.normalize_first = check_bool(self.where, "normalize_first", normalize_first)

    # Building

    def _check_features(self, shape: tuple[int | None, ...]) -> int:
        if len(shape) != 3 or shape[-1] is None or shape[-1] % self.num_heads:
            expected = f"inputs of shape (batch, time, features), features a multiple of {self.num_heads} heads"
            raise ShapeError(message(self.where, expected, f"shape {shape}"))
        return shape[-1]

    def _weights(self) -> dict[str, Any]:
        kinds = ("initializer", "regularizer", "constraint")
        names = [f"{weight}_{kind}" for weight in self.initial for kind in kinds]
        return {name: getattr(self, name) for name in names}

    def _attention(self, query: tuple[Any, ...], value: tuple[Any, ...]) -> MultiHeadAttention:
        layer = MultiHeadAttention(self.num_heads, query[-1] // self.num_heads, dropout=self.dropout, **self._weights())
        layer.build_once([query, value, value])
        return layer

    def _norm(self, shape: tuple[int | None, ...]) -> LayerNormalization:
        layer = LayerNormalization(epsilon=self.layer_norm_epsilon)
        layer.build_once(shape)
        return layer

    def _dense(self, units: int, inputs: int, activation: Any = None) -> Dense:
        layer = Dense(units, activation, **self._weights())
        layer.build_once((None, None, inputs))
        return layer

    # Calling

    def _before(self, x: Any, norm: Layer) -> Any:
        return norm(x) if self.normalize_first else x

    def _after(self, x: Any, y: Any, norm: Layer) -> Any:
        """x + dropout(y), normalized if that was not done before."""
        y = x + (ops.dropout(y, self.dropout) if state.training else y)
        return y if self.normalize_first else norm(y)

    def _feedforward(self, x: Any) -> Any:
        y = self.feedforward_output(self.feedforward_intermediate(self._before(x, self.feedforward_norm)))
        return self._after(x, y, self.feedforward_norm)


class TransformerEncoderBlock(TransformerBlock):
    """Self-attention, then a feed-forward network, each added to its input and normalized (Vaswani et al., "Attention
    is all you need", 2017). As KerasHub's TransformerEncoder.

        h = norm(x + dropout(attention(x, x)));  y = norm(h + dropout(dense(activation(dense(h)))))

    Args:
        intermediate_dim: the units between the two dense layers.
        num_heads: of the attention; a divisor of the features.
        dropout: the rate, that of the attention's scores too.
        activation: a name or a function.
        layer_norm_epsilon: of the normalizations.
        normalize_first: whether what goes into attention and network is normalized, as in GPT-2, rather than the sums:
            h = x + dropout(attention(norm(x))), and so on.
        options: those of `Layer`; `kernel` and `bias` of all projections have an initializer, a regularizer and a
            constraint.

    (batch, time, features) stays; with `return_attention_scores` the scores come too. `padding_mask` (batch, time) is
    True for the steps that count, by default the mask that a layer gave to the input; `attention_mask` (batch, time,
    time) tells which steps see which. Raises ShapeError for other inputs.

    >>> import tinygrad_edu as tg
    >>> layer = tg.layers.TransformerEncoderBlock(intermediate_dim=16, num_heads=2)
    >>> layer(tg.ones((3, 5, 8))).shape
    (3, 5, 8)
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        features = self._check_features(input_shape)
        self.self_attention = self._attention(input_shape, input_shape)
        self.self_attention_norm = self._norm(input_shape)
        self.feedforward_norm = self._norm(input_shape)
        self.feedforward_intermediate = self._dense(self.intermediate_dim, features, self.activation)
        self.feedforward_output = self._dense(features, self.intermediate_dim)
        super().build(input_shape)

    def call(
        self,
        x: Any,
        padding_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        mask: Any = None,
    ) -> Any:
        self._check_features(x.shape)
        h = self._before(x, self.self_attention_norm)
        found = self.self_attention(
            h,
            h,
            value_mask=mask if padding_mask is None else padding_mask,
            attention_mask=attention_mask,
            return_attention_scores=return_attention_scores,
        )
        y, scores = found if return_attention_scores else (found, None)
        y = self._feedforward(self._after(x, y, self.self_attention_norm))
        return (y, scores) if return_attention_scores else y


class TransformerDecoderBlock(TransformerBlock):
    """Causal self-attention, attention to an encoder's outputs if there are any, then a feed-forward network, each
    added to its input and normalized (Vaswani et al., "Attention is all you need", 2017). As KerasHub's
    TransformerDecoder.

    The arguments are those of TransformerEncoderBlock. Called as `layer(x)`, for a model of a decoder only such as GPT,
    or as `layer(x, encoder_sequence)`; the first call decides which. (batch, time, features) stays.
        decoder_padding_mask, encoder_padding_mask: (batch, time), True for the steps that count, by default the masks
            that layers gave to the two inputs.
        decoder_attention_mask, encoder_attention_mask: (batch, time, steps seen).
        use_causal_mask: whether a step sees only itself and those before it.
    Raises ShapeError for other inputs, TypeError if the encoder's outputs are missing or were not there at first.

    >>> import tinygrad_edu as tg
    >>> layer = tg.layers.TransformerDecoderBlock(intermediate_dim=16, num_heads=2)
    >>> layer(tg.ones((3, 5, 8)), tg.ones((3, 7, 8))).shape
    (3, 5, 8)
    """

    cross_attention: MultiHeadAttention | None = None
    cross_attention_norm: LayerNormalization

    def build_for(self, x: Any, *args: Any, **keywords: Any) -> None:
        encoder = keywords.get("encoder_sequence", args[0] if args else None)
        shapes = [tuple(t.shape) for t in (x, encoder) if t is not None]
        self.build_once(shapes, x.device if isinstance(x, Tensor) else None)

    def build(self, input_shape: Any) -> None:
        """Makes the weights for the shapes of the input and of the encoder's outputs, if there are any."""
        shape, *encoder = input_shape
        features = self._check_features(shape)
        self.self_attention = self._attention(shape, shape)
        self.self_attention_norm = self._norm(shape)
        if encoder:
            self.cross_attention = self._attention(shape, encoder[0])
            self.cross_attention_norm = self._norm(shape)
        self.feedforward_intermediate = self._dense(self.intermediate_dim, features, self.activation)
        self.feedforward_output = self._dense(features, self.intermediate_dim)
        self.feedforward_norm = self._norm(shape)
        super().build(input_shape)

    def call(
        self,
        x: Any,
        encoder_sequence: Any = None,
        decoder_padding_mask: Any = None,
        decoder_attention_mask: Any = None,
        encoder_padding_mask: Any = None,
        encoder_attention_mask: Any = None,
        use_causal_mask: bool = True,
        mask: Any = None,
    ) -> Any:
        self._check_features(x.shape)
        if (encoder_sequence is None) is not (self.cross_attention is None):
            there = "an encoder_sequence, as at first" if encoder_sequence is None else "none, as at first"
            raise TypeError(message(self.where, there, "none" if encoder_sequence is None else "one"))
        h = self._before(x, self.self_attention_norm)
        y = self.self_attention(
            h,
            h,
            value_mask=mask if decoder_padding_mask is None else decoder_padding_mask,
            attention_mask=decoder_attention_mask,
            use_causal_mask=use_causal_mask,
        )
        x = self._after(x, y, self.self_attention_norm)
        if self.cross_attention is not None:
            y = self.cross_attention(
                self._before(x, self.cross_attention_norm),
                encoder_sequence,
                value_mask=encoder_padding_mask,
                attention_mask=encoder_attention_mask,
            )
            x = self._after(x, y, self.cross_attention_norm)
        return self._feedforward(x)
