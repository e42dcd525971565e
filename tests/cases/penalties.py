"""Penalties on activities and weights, and constraints: the layers of each family that take them."""

from layer_cases import Case, F, L, V

BOTH = {"class_name": "L1L2", "config": {"l1": 0.25, "l2": 0.5}}
ORTHOGONAL = {"class_name": "OrthogonalRegularizer", "config": {"factor": 0.5, "mode": "columns"}}
SHORT = {"class_name": "MaxNorm", "config": {"max_value": 0.5, "axis": [0, 1, 2]}}
BETWEEN = {"class_name": "MinMaxNorm", "config": {"min_value": 0.5, "rate": 0.25}}
OF_CELL = {"kernel_constraint": "unit_norm", "recurrent_constraint": BETWEEN, "bias_constraint": "NonNeg"}

CASES = [
    Case(
        "activity regularization",
        L("ActivityRegularization", l1=0.5, l2=0.25),
        F(2, 3, 4),
        wrong=(([F(2, 4)], "ActivityRegularization: expected one tensor"),),
    ),
    Case(
        "dense with penalties",
        L("Dense", units=3, activation="tanh", activity_regularizer=BOTH, kernel_regularizer=ORTHOGONAL),
        F(4, 2),
    ),
    Case(
        "dense of sequences with a penalty and constraints",
        L("Dense", units=3, activity_regularizer="l2", kernel_constraint="max_norm", bias_constraint="non_neg"),
        F(2, 3, 4),
    ),
    Case(
        "conv2d with a penalty and a constraint",
        L("Conv2D", filters=2, kernel_size=2, activation="sigmoid", activity_regularizer=BOTH, kernel_constraint=SHORT),
        F(3, 3, 3, 2),
    ),
    Case(
        "depthwise conv1d with a penalty and a constraint",
        L("DepthwiseConv1D", kernel_size=2, activity_regularizer="l2", depthwise_constraint="unit_norm"),
        F(2, 3, 2),
    ),
    Case(
        "separable conv2d with a penalty and constraints",
        L(
            "SeparableConv2D",
            filters=2,
            kernel_size=2,
            activity_regularizer="l2",
            depthwise_constraint="non_neg",
            pointwise_constraint="unit_norm",
        ),
        F(2, 3, 3, 2),
    ),
    Case(
        "lstm with a penalty and constraints",
        L("LSTM", units=3, return_sequences=True, return_state=True, activity_regularizer="l2", **OF_CELL),
        F(2, 4, 3),
    ),
    Case(
        "gru with a penalty and a mask",
        L("GRU", units=2, return_sequences=True, activity_regularizer=BOTH, **OF_CELL),
        F(2, 3, 3),
        {"mask": V([[True, True, False], [True, False, False]])},
    ),
    Case(
        "simplernn with a penalty",
        L("SimpleRNN", units=2, activity_regularizer="l2", **OF_CELL),
        F(2, 3, 3),
        keras=False,  # 3.15 takes the argument and does nothing with it
    ),
    Case("simplernn with constraints", L("SimpleRNN", units=2, **OF_CELL), F(2, 3, 3)),
    Case(
        "bidirectional with penalties",
        L("Bidirectional", layer=L("LSTM", units=2, activity_regularizer="l2", kernel_regularizer="l1", **OF_CELL)),
        F(2, 3, 3),
    ),
    Case(
        "embedding with a penalty and a constraint",
        L("Embedding", input_dim=4, output_dim=2, activity_regularizer=BOTH, embeddings_constraint="max_norm"),
        V([[3, 1, 1], [0, 2, 3]]),
    ),
    Case(
        "multi-head attention with penalties",
        L(
            "MultiHeadAttention",
            num_heads=2,
            key_dim=3,
            use_gate=True,
            activity_regularizer=BOTH,
            kernel_regularizer="l2",
            kernel_constraint="non_neg",
            bias_constraint="non_neg",
        ),
        F(2, 3, 4),
        {"value": F(2, 5, 4), "return_attention_scores": True},
    ),
    Case(
        "batch normalization with constraints",
        L("BatchNormalization", gamma_constraint="max_norm", beta_constraint="non_neg", gamma_regularizer="l2"),
        F(3, 2),
        positive=(3,),
    ),
    Case("prelu with a constraint", L("PReLU", alpha_constraint="non_neg", alpha_regularizer="l1"), F(2, 3)),
]
