"""Recurrent layers, their cells, and the layers around them."""

from layer_cases import Case, F, L, V

X = F(3, 4, 2)
PADDED = V([[True, True, True, True], [True, True, False, False], [False, False, True, True]])
HOLES = V([[True, False, True, True], [False, True, False, False], [False, False, False, False]])
"""Right and left padding; a hole, both ends, and a row of which nothing is left."""

WRONG = (
    (F(3, 2), r"expected sequences \(batch, time, features\).*Hint: add a time axis: x\[:, None\]"),
    (F(3, 4, 3), "expected 2 input features, received shape"),
    ([F(3, 4, 2)], "expected one tensor"),
    (F(3, 0, 2), "of at least one step"),
)


def _cases(name, states, **variants):
    """The options that all three layers have, and variants of their own."""
    initial = [F(3, 3) for _ in range(states)]
    options = {
        "": {},
        " of sequences": {"return_sequences": True},
        " with states": {"return_sequences": True, "return_state": True},
        " with states at the end": {"return_state": True},
        " backwards": {"return_sequences": True, "go_backwards": True},
        " without a bias": {"use_bias": False},
        " unrolled": {"unroll": True},
        **variants,
    }
    cases = [
        Case(f"{name.lower()}{of}", L(name, units=3, **arguments), X, wrong=() if of else WRONG)
        for of, arguments in options.items()
    ]
    masked = {
        " padded": ({"return_sequences": True, "return_state": True}, {"mask": PADDED}),
        " padded, the last output": ({}, {"mask": PADDED}),
        " with holes, the last output": ({"return_state": True}, {"mask": HOLES}),
        " with holes from states": ({"return_sequences": True}, {"mask": HOLES, "initial_state": initial}),
        " with holes, the last output from states": ({}, {"mask": HOLES, "initial_state": initial}),
        " with holes backwards": (
            {"return_sequences": True, "return_state": True, "go_backwards": True},
            {"mask": HOLES, "initial_state": initial},
        ),
        " with holes as zeros": (
            {"return_sequences": True, "zero_output_for_mask": True},
            {"mask": HOLES, "initial_state": initial},
        ),
        " with holes as zeros backwards": (
            {"return_sequences": True, "go_backwards": True, "zero_output_for_mask": True},
            {"mask": HOLES},
        ),
        " with holes as zeros, the last output": ({"zero_output_for_mask": True}, {"mask": HOLES}),
        " from states": ({"return_state": True}, {"initial_state": initial}),
    }
    return cases + [
        Case(f"{name.lower()}{of}", L(name, units=3, **arguments), X, call) for of, (arguments, call) in masked.items()
    ]


SEQUENCES = [
    *_cases(
        "SimpleRNN",
        1,
        **{
            " with relu": {"activation": "relu"},
            " without activation": {"activation": None, "return_sequences": True},
            " with sigmoid": {"activation": "sigmoid"},
            " step by step": {"activation": "softsign", "return_sequences": True},
        },
    ),
    *_cases(
        "LSTM",
        2,
        **{
            " without unit_forget_bias": {"unit_forget_bias": False},
            " step by step": {"activation": "softsign", "return_sequences": True, "return_state": True},
            " with a gate of its own": {"recurrent_activation": "softplus", "go_backwards": True},
            " without activation": {"activation": None, "recurrent_activation": None},
        },
    ),
    *_cases(
        "GRU",
        1,
        **{
            " without reset_after": {"reset_after": False, "return_sequences": True},
            " without reset_after or a bias": {"reset_after": False, "use_bias": False},
            " step by step": {"activation": "softsign", "return_sequences": True, "return_state": True},
            " step by step without reset_after": {"recurrent_activation": "softplus", "reset_after": False},
            " step by step without a bias": {"activation": None, "use_bias": False},
        },
    ),
    Case(
        "gru without reset_after with holes",
        L(
            "GRU",
            units=3,
            recurrent_initializer="glorot_normal",
            recurrent_regularizer="l2",
            reset_after=False,
            return_sequences=True,
        ),
        X,
        {"mask": HOLES, "initial_state": [F(3, 3)]},
    ),
    Case(
        "lstm step by step with holes",
        L("LSTM", units=2, activation="softsign", return_sequences=True, return_state=True),
        X,
        {"mask": HOLES, "initial_state": [F(3, 2), F(3, 2)]},
    ),
    Case(
        "gru step by step with holes as zeros backwards",
        L("GRU", units=2, activation="softsign", return_sequences=True, go_backwards=True, zero_output_for_mask=True),
        X,
        {"mask": HOLES, "initial_state": [F(3, 2)]},
    ),
]

CELLS = [
    Case(
        "simplernncell",
        L("SimpleRNNCell", units=3),
        F(2, 4),
        {"states": [F(2, 3)]},
        wrong=((F(2, 3), "SimpleRNNCell: expected one time step"), (F(2, 1, 4), "expected one time step")),
    ),
    Case(
        "lstmcell",
        L("LSTMCell", units=3, kernel_regularizer="l1", bias_initializer="ones"),
        F(2, 4),
        {"states": [F(2, 3), F(2, 3)]},
        wrong=((F(2, 3), "LSTMCell: expected one time step"),),
    ),
    Case(
        "grucell",
        L("GRUCell", units=3),
        F(2, 4),
        {"states": [F(2, 3)]},
        wrong=((F(2, 3), "GRUCell: expected one time step"),),
    ),
    Case(
        "stackedrnncells",
        L("StackedRNNCells", cells=[L("LSTMCell", units=3), L("GRUCell", units=2)]),
        F(2, 4),
        {"states": [[F(2, 3), F(2, 3)], [F(2, 2)]]},
        wrong=((F(2, 3), "LSTMCell: expected one time step"),),
    ),
    Case(
        "rnn",
        L("RNN", cell=L("LSTMCell", units=3), return_sequences=True, return_state=True),
        X,
        wrong=(WRONG[0], (F(3, 4, 3), "LSTMCell: expected one time step"), *WRONG[2:]),
    ),
    Case("rnn of a simple cell", L("RNN", cell=L("SimpleRNNCell", units=3), go_backwards=True), X),
    Case("rnn of a gru cell", L("RNN", cell=L("GRUCell", units=3, reset_after=False), return_state=True), X),
    Case(
        "rnn with holes",
        L("RNN", cell=L("GRUCell", units=3), return_sequences=True, return_state=True),
        X,
        {"mask": HOLES, "initial_state": [F(3, 3)]},
    ),
    Case(
        "rnn with holes, the last output",
        L("RNN", cell=L("LSTMCell", units=3), go_backwards=True),
        X,
        {"mask": HOLES, "initial_state": [F(3, 3), F(3, 3)]},
    ),
    Case(
        "rnn with holes as zeros",
        L("RNN", cell=L("GRUCell", units=3), return_sequences=True, zero_output_for_mask=True),
        X,
        {"mask": HOLES, "initial_state": [F(3, 3)]},
    ),
    Case(
        "rnn of a stack",
        L("RNN", cell=L("StackedRNNCells", cells=[L("LSTMCell", units=3), L("SimpleRNNCell", units=2)])),
        X,
    ),
    Case(
        "rnn of a list of cells",
        L("RNN", cell=[L("LSTMCell", units=3), L("LSTMCell", units=2)], return_sequences=True, return_state=True),
        X,
    ),
]


def _both(mode, layer="LSTM", **arguments):
    return L("Bidirectional", layer=L(layer, units=2, **arguments), merge_mode=mode)


AROUND = [
    Case("bidirectional", _both("concat"), X, wrong=WRONG),
    Case("bidirectional of sequences", _both("concat", return_sequences=True), X),
    Case("bidirectional sum", _both("sum", "GRU", return_sequences=True), X),
    Case("bidirectional mul", _both("mul", "SimpleRNN", return_sequences=True), X),
    Case("bidirectional ave", _both("ave", "GRU"), X),
    Case("bidirectional both", _both(None, return_sequences=True), X),
    Case("bidirectional with states", _both("concat", return_sequences=True, return_state=True), X),
    Case("bidirectional both with states", _both(None, "GRU", return_state=True), X),
    Case(
        "bidirectional with another layer",
        L(
            "Bidirectional",
            layer=L("LSTM", units=2, return_sequences=True),
            backward_layer=L("GRU", units=3, return_sequences=True, go_backwards=True),
        ),
        X,
    ),
    Case(
        "bidirectional of a cell", L("Bidirectional", layer=L("RNN", cell=L("GRUCell", units=2)), merge_mode="sum"), X
    ),
    Case("bidirectional with holes", _both("concat", "GRU", return_sequences=True), X, {"mask": HOLES}),
    Case("bidirectional with holes, the last output", _both("sum"), X, {"mask": HOLES}),
    Case(
        "bidirectional from states",
        _both("concat", return_sequences=True),
        X,
        {"initial_state": [F(3, 2) for _ in range(4)]},
    ),
    Case(
        "timedistributed",
        L("TimeDistributed", layer=L("Dense", units=3, activation="softmax")),
        F(2, 4, 3),
        wrong=(
            (F(2, 3), r"TimeDistributed: expected inputs of shape .*Hint: add a time axis"),
            (F(2, 4, 2), "TimeDistributed.layer Dense: expected 3 input features"),
        ),
    ),
    Case("timedistributed of sequences", L("TimeDistributed", layer=L("GRU", units=2)), F(2, 3, 4, 2)),
    Case(
        "timedistributed with holes",
        L("TimeDistributed", layer=L("GRU", units=2)),
        F(2, 2, 3, 2),
        {"mask": V([[[True, False, True], [False, True, True]], [[False, False, False], [True, True, False]]])},
    ),
    Case("timedistributed of images", L("TimeDistributed", layer=L("Flatten")), F(2, 3, 2, 2)),
]

CASES = SEQUENCES + CELLS + AROUND
