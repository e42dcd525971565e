"""Every layer in three training steps and an inference after each: what is replayed equals eager mode.

Bit for bit where operations are replayed one by one (`fuse=False`); within SLACK rounding errors of the largest number
where they are fused, compiled and as NumPy calls on blocks. Each step has other inputs, ids and masks, and the steps
change weights, moving averages, states and the random numbers: nothing of the first may be baked in.
"""

import numpy
import pytest
from layer_cases import Case, F, L, V, every_case, leaves, mapped
from op_cases import assert_near
from test_layer_table import every_layer, numbers_of, prepared, total_of, watched

import tinygrad_edu as tg
from tinygrad_edu import Tensor, layers
from tinygrad_edu.backend import default_generator, to_host
from tinygrad_edu.kernels.registry import has_compiler
from tinygrad_edu.optimizers import SGD

SLACK = 100
"""Rounding errors that fusion may bring, each of the largest number of an array: sums have up to 60 terms here, and run
in another order."""

X, STEPS = F(3, 4, 2), V([[True, True, False, True], [False, True, True, False], [True, True, True, True]])
IMAGES = F(2, 6, 6, 2)

MORE = [  # what is random, keeps a state or takes a mask; the cases of the table come from there
    *[
        Case(
            f"{name} with dropout",
            L(name, units=2, dropout=0.4, recurrent_dropout=0.3, return_sequences=True),
            X,
            {"mask": STEPS},
        )
        for name in ("SimpleRNN", "LSTM", "GRU")
    ],
    *[
        Case(f"{name}, stateful", L(name, units=2, stateful=True, return_sequences=True), X, {"mask": STEPS})
        for name in ("SimpleRNN", "LSTM", "GRU")
    ],
    Case("RNN, stateful", L("RNN", cell=L("GRUCell", units=2), stateful=True), X),
    Case("Bidirectional, with a mask", L("Bidirectional", layer=L("LSTM", units=2)), X, {"mask": STEPS}),
    Case("TimeDistributed, with a mask", L("TimeDistributed", layer=L("Dense", units=2)), X, {"mask": STEPS}),
    Case("attention with dropout", L("Attention", dropout=0.4), [X, X], {"mask": [STEPS, STEPS]}),
    Case("additive attention with dropout", L("AdditiveAttention", dropout=0.4), [X, X], {"mask": [STEPS, STEPS]}),
    Case(
        "multi-head attention with dropout",
        L("MultiHeadAttention", num_heads=2, key_dim=3, dropout=0.4),
        X,
        {"value": X, "query_mask": STEPS, "value_mask": STEPS, "use_causal_mask": True},
    ),
    Case(
        "group query attention with dropout",
        L("GroupQueryAttention", head_dim=3, num_query_heads=4, num_key_value_heads=2, dropout=0.4),
        X,
        {"value": X, "query_mask": STEPS, "value_mask": STEPS},
    ),
    Case(
        "encoder with dropout",
        L("TransformerEncoderBlock", intermediate_dim=5, num_heads=2, dropout=0.4),
        F(3, 4, 4),
        {"padding_mask": STEPS},
    ),
    Case(
        "decoder with dropout",
        L("TransformerDecoderBlock", intermediate_dim=5, num_heads=2, dropout=0.4),
        F(3, 4, 4),
        {"encoder_sequence": F(3, 4, 4), "decoder_padding_mask": STEPS, "encoder_padding_mask": STEPS},
    ),
    Case("batch normalization, with a mask", L("BatchNormalization"), X, {"mask": STEPS}, positive=(3,)),
    Case("pooling, with a mask", L("GlobalAveragePooling1D"), X, {"mask": STEPS}),
    Case("convolution of many channels", L("Conv2D", filters=20, kernel_size=3, padding="same"), F(2, 8, 8, 17)),
    Case(
        "embedding of zeros as a mask", L("Embedding", input_dim=5, output_dim=3, mask_zero=True), V([[1, 0], [4, 2]])
    ),
]

NOT_UNDER_JIT = {
    "string lookup": "its inputs are texts",
    "text vectorization": "its inputs are texts",
    "text vectorization to the longest": "its inputs are texts",
    "integer lookup": "it searches its table in NumPy",
}
"""Cases that cannot run under jit, and why."""

EVERY = [*every_case(), *MORE]
UNDER_JIT = [case for case in EVERY if case.name not in NOT_UNDER_JIT]
COMPILED = {case.layer.name: case for case in UNDER_JIT}.values()
"""The last case of each layer, for to compile all takes a minute; test_layer_table.py compiles a step of each."""
TRIED = [
    pytest.param(case, mode, id=f"{case.name}, {mode}")
    for mode, cases in (("one by one", UNDER_JIT), ("in blocks", UNDER_JIT), ("compiled", COMPILED))
    for case in cases
]


def arrays_of(case, number, device="cpu"):
    """Tensors of the case's inputs for the step of that number: floats scaled, ids, masks and other values given to
    other rows."""

    def changed(kind, array):
        if isinstance(kind, F):
            return Tensor(array * numpy.float32(1 - number / 8))
        if isinstance(kind, V) and array.ndim and array.dtype.kind not in "UO":
            return tg.tensor(numpy.roll(array, number, axis=0))
        return array

    kinds = leaves((case.inputs, case.call))
    made = [changed(*pair) for pair in zip(kinds, leaves(case.arrays()), strict=True)]
    return [a.to(device) if isinstance(a, Tensor) else a for a in made]


def step_of(case, device="cpu"):
    """A new layer with the numbers of the case, and a function of its arrays: a step of training, then inference."""
    layer, *_ = prepared(case, device=device)
    kinds, weights = leaves((case.inputs, case.call)), layer.trainable_weights
    optimizer = SGD(0.1, momentum=0.5)
    if case.order and weights:
        optimizer.build(weights)

    def step(arrays):
        made = [Tensor(t.data, True) if isinstance(kind, F) else t for t, kind in zip(arrays, kinds, strict=True)]
        values = iter(made)
        x, call = mapped(lambda leaf: next(values), (case.inputs, case.call))
        outputs = numbers_of(layer, x, call | {"training": True})
        loss = total_of(case, outputs)
        masks = [y.mask for y in outputs if getattr(y, "mask", None) is not None]
        outputs = [
            y * 1.0 if y.dtype.kind == "f" else y for y in outputs
        ]  # some are views of a weight, which will move
        gradients = []
        if case.order and loss.requires_grad:
            loss.backward()
            gradients = [t.grad for t in (*watched(x, call), *weights) if t.grad is not None]
            if weights:
                optimizer.step()
                optimizer.zero_grad()
        with tg.no_grad():
            later = numbers_of(layer, x, call | {"training": False})
        return [t.detach() for t in (*outputs, *gradients, *later, *masks)]

    return step, layer


def three_steps(case, mode, device="cpu"):
    """What three steps give, with the layer's weights and states and the place of the random numbers after each; and
    what replays them."""
    tg.seed(3)
    step, layer = step_of(case, device)
    if mode is not None:
        step = tg.jit(step, fuse=mode != "one by one")
    found = []
    for number in range(3):
        made = [to_host(t.data).copy() for t in step(arrays_of(case, number, device))]
        kept = [to_host(t.data).copy() for t in (*layer.parameters(), *(t for _, t in layer.named_buffers()))]
        found += [*made, *kept, numpy.array(default_generator.state)]
    if mode is None:
        return found, None
    assert len(step.plans) == 1
    return found, step.plans[0].replay


def test_every_layer_is_tried():
    bases = {"ActivatedLayer", "InputLayer", "Layer", "Operation"}
    kinds = {name for name, kind in vars(layers).items() if isinstance(kind, type) and issubclass(kind, layers.Layer)}
    without = {case.layer.name for case in EVERY if case.name in NOT_UNDER_JIT}
    tried = {layer.name for case in UNDER_JIT for layer in every_layer(case.layer)}
    assert kinds - bases == (tried | without) & kinds
    assert without == {"StringLookup", "IntegerLookup", "TextVectorization"}
    assert NOT_UNDER_JIT.keys() <= {case.name for case in EVERY}


@pytest.mark.parametrize(("case", "mode"), TRIED)
def test_replay_equals_eager(case, mode, monkeypatch):
    if mode == "compiled" and not has_compiler():
        pytest.skip("llvmlite is not installed: no machine code")
    if mode == "in blocks":
        monkeypatch.setenv("TINYGRAD_EDU_FAST", "0")
    (expected, _), (found, _) = three_steps(case, None), three_steps(case, mode)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        if mode == "one by one":
            numpy.testing.assert_array_equal(a, b)
        else:
            assert_near(a, b, SLACK, case.name)


NO_GRAPH = {"activation sparsemax": "it sorts"}
"""Cases whose work on CUDA cannot be one graph, and why."""


@pytest.mark.gpu
@pytest.mark.parametrize("case", UNDER_JIT, ids=lambda case: case.name)
def test_replay_on_cuda_equals_eager_on_the_cpu(case):
    """The first step runs its kernels one by one, the second records a graph and starts it, the third starts it."""
    expected, _ = three_steps(case, None)
    with tg.use_device("cuda"):
        found, replay = three_steps(case, "on CUDA", "cuda")
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        assert_near(a, b, SLACK, case.name)
    assert bool(replay.why_not) == (case.name in NO_GRAPH), replay.why_not


@pytest.mark.parametrize("name", NOT_UNDER_JIT)
def test_what_cannot_run_under_jit(name):
    """If one does, it belongs to the others."""
    case = next(case for case in EVERY if case.name == name)
    step, _ = step_of(case)
    assert step(arrays_of(case, 0))
    with pytest.raises((tg.TraceError, TypeError)):
        tg.jit(step, fuse=False)(arrays_of(case, 0))
