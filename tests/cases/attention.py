"""Attention, transformer blocks, positions."""

from layer_cases import Case, F, L, V

PADDED = V([[True, True, True, False, False], [True, True, False, True, True]])
TWO_PADDED = V([[True, False, True], [True, True, False]])
SOME = V(
    [
        [[True, False, True, True, False], [False, True, True, False, True], [True, True, True, True, True]],
        [[False, True, True, False, False], [True, True, True, True, False], [False, True, False, True, False]],
    ]
)
A_QUERY_SEES_NONE = V([[[True] * 5, [False] * 5, [True] * 5]] * 2)
HEADS = {"num_heads": 2, "key_dim": 3}
GROUPS = {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2}

CASES = [
    Case(
        "multi-head attention",
        L("MultiHeadAttention", **HEADS),
        F(2, 3, 4),
        {"value": F(2, 5, 4)},
        wrong=(
            (F(2, 3, 5), "MultiHeadAttention: expected 4 features of the query, received shape"),
            (F(2, 4), "MultiHeadAttention: expected query \\(batch, queries, features\\)"),
            (F(3, 3, 4), "MultiHeadAttention: expected query \\(batch, queries, features\\)"),
        ),
    ),
    Case(
        "multi-head attention with a key",
        L("MultiHeadAttention", value_dim=5, use_bias=False, **HEADS),
        F(2, 3, 4),
        {"value": F(2, 5, 6), "key": F(2, 5, 3), "key_mask": PADDED},
    ),
    Case(
        "multi-head attention to a shape",
        L("MultiHeadAttention", output_shape=(2, 3), kernel_regularizer="l2", bias_initializer="ones", **HEADS),
        F(1, 3, 4),
        {"value": F(1, 2, 4)},
    ),
    Case(
        "multi-head attention with a mask",
        L("MultiHeadAttention", **HEADS),
        F(2, 3, 4),
        {"value": F(2, 5, 4), "attention_mask": SOME},
    ),
    Case(
        "multi-head attention with padding",
        L("MultiHeadAttention", **HEADS),
        F(2, 3, 4),
        {"value": F(2, 5, 4), "value_mask": PADDED, "attention_mask": SOME},
    ),
    Case(
        "multi-head attention without a key to see",
        L("MultiHeadAttention", **HEADS),
        F(2, 3, 4),
        {"value": F(2, 5, 4), "attention_mask": A_QUERY_SEES_NONE},
        keras=False,
    ),
    Case(
        "multi-head attention of masked queries",
        L("MultiHeadAttention", **HEADS),
        F(2, 3, 4),
        {"value": F(2, 5, 4), "query_mask": TWO_PADDED},
        keras=False,
    ),
    Case(
        "multi-head attention, causal",
        L("MultiHeadAttention", **HEADS),
        F(2, 5, 4),
        {"value": F(2, 5, 4), "use_causal_mask": True},
    ),
    Case(
        "multi-head attention, causal and padded",
        L("MultiHeadAttention", **HEADS),
        F(2, 5, 4),
        {"value": F(2, 5, 4), "use_causal_mask": True, "value_mask": PADDED},
    ),
    Case(
        "multi-head attention, causal, of two lengths",
        L("MultiHeadAttention", **HEADS),
        F(2, 3, 4),
        {"value": F(2, 5, 4), "use_causal_mask": True},
    ),
    Case(
        "multi-head attention with scores",
        L("MultiHeadAttention", dropout=0.5, **HEADS),
        F(2, 5, 4),
        {"value": F(2, 5, 4), "return_attention_scores": True, "use_causal_mask": True, "value_mask": PADDED},
    ),
    Case(
        "multi-head attention with a gate and a window",
        L("MultiHeadAttention", use_gate=True, sliding_window=2, **HEADS),
        F(2, 4, 4),
        {"value": F(2, 5, 4)},
    ),
    Case(
        "group-query attention",
        L("GroupQueryAttention", **GROUPS),
        F(2, 3, 4),
        {"value": F(2, 5, 4), "value_mask": PADDED},
        wrong=((F(2, 3, 5), "GroupQueryAttention: expected 4 features of the query"),),
    ),
    Case(
        "group-query attention with scores",
        L("GroupQueryAttention", use_gate=True, **GROUPS),
        F(2, 3, 4),
        {"value": F(2, 5, 4), "return_attention_scores": True, "attention_mask": SOME},
    ),
    Case(
        "attention",
        L("Attention"),
        [F(2, 3, 4), F(2, 5, 4)],
        wrong=(
            (F(2, 3, 4), "Attention: expected a list"),
            ([F(2, 3, 4)], "Attention: expected a list"),
            ([F(2, 3, 4), F(2, 5, 3)], "Attention: expected as many features in query and key"),
            ([F(2, 3, 4), F(1, 5, 4)], "Attention: expected query \\(batch"),
        ),
    ),
    Case(
        "attention with a scale, causal and masked",
        L("Attention", use_scale=True),
        [F(2, 3, 4), F(2, 5, 2), F(2, 5, 4)],
        {"mask": [TWO_PADDED, PADDED], "use_causal_mask": True},
    ),
    Case(
        "attention of sums",
        L("Attention", use_scale=True, score_mode="concat", dropout=0.5),
        [F(2, 3, 4), F(2, 5, 4)],
        {"mask": [TWO_PADDED, PADDED], "return_attention_scores": True},
    ),
    Case("attention of sums without a scale", L("Attention", score_mode="concat"), [F(2, 3, 4), F(2, 5, 4)]),
    Case(
        "additive attention",
        L("AdditiveAttention"),
        [F(2, 3, 4), F(2, 5, 4)],
        {"mask": [TWO_PADDED, PADDED]},
        wrong=((F(2, 3, 4), "AdditiveAttention: expected a list"),),
    ),
    Case(
        "additive attention without a scale",
        L("AdditiveAttention", use_scale=False),
        [F(2, 3, 4), F(2, 5, 3), F(2, 5, 4)],
        {"use_causal_mask": True},
    ),
    Case(
        "transformer encoder",
        L("TransformerEncoderBlock", intermediate_dim=5, num_heads=2, activation="gelu", dropout=0.5),
        F(2, 3, 4),
        {"padding_mask": TWO_PADDED},
        wrong=(
            (F(2, 3, 6), "received shape"),
            (F(2, 3, 5), "TransformerEncoderBlock: expected inputs of shape"),
            (F(2, 4), "TransformerEncoderBlock: expected inputs of shape"),
        ),
        keras=False,
    ),
    Case(
        "transformer encoder, normalized first",
        L("TransformerEncoderBlock", intermediate_dim=5, num_heads=2, activation="tanh", normalize_first=True),
        F(1, 3, 4),
        {"return_attention_scores": True},
        keras=False,
    ),
    Case(
        "transformer decoder",
        L("TransformerDecoderBlock", intermediate_dim=5, num_heads=2, activation="tanh"),
        F(2, 3, 4),
        {"encoder_sequence": F(2, 5, 6), "encoder_padding_mask": PADDED},
        wrong=((F(2, 3, 5), "TransformerDecoderBlock: expected inputs of shape"),),
        keras=False,
    ),
    Case(
        "transformer decoder alone, normalized first",
        L("TransformerDecoderBlock", intermediate_dim=5, num_heads=1, activation="gelu", normalize_first=True),
        F(2, 3, 4),
        keras=False,
    ),
    Case(
        "sinusoidal positions",
        L("SinusoidalPositionEncoding", max_wavelength=100),
        F(2, 4, 5),
        wrong=((F(2), "SinusoidalPositionEncoding: expected inputs of shape"),),
        keras=False,
    ),
    Case(
        "learned positions",
        L("PositionEmbedding", sequence_length=5),
        F(2, 4, 3),
        wrong=(
            (F(2, 6, 3), "PositionEmbedding: expected at most 5 time steps"),
            (F(2, 4, 2), "PositionEmbedding: expected at most 5 time steps of 3 features"),
        ),
        keras=False,
    ),
    Case(
        "rotary positions",
        L("RotaryEmbedding", max_wavelength=10, scaling_factor=2.0),
        F(2, 3, 4),
        wrong=((F(2, 3, 5), "RotaryEmbedding: expected time on axis 1, an even number"), (F(3), "RotaryEmbedding")),
        keras=False,
    ),
    Case("rotary positions of heads", L("RotaryEmbedding", sequence_axis=2), F(2, 2, 3, 4), keras=False),
    Case(
        "rotary positions with features first",
        L("RotaryEmbedding", sequence_axis=2, feature_axis=1),
        F(2, 4, 3),
        keras=False,
    ),
]
