"""Forward and gradient of every operation that PyTorch has, against PyTorch's."""

import numpy
import pytest
from op_cases import ROWS, assert_near, numbers, outputs, tensors, title

import tinygrad_edu as tg
from tinygrad_edu.optable.sample import Draw, fill

torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")

from torch_references import TORCH  # noqa: E402  (needs torch)

REFUSED_SAMPLES = {
    (1, 2): "outer",
    (3,): "adaptive_average_pool3d adaptive_max_pool3d roll",
    (3, 16): "getitem",
    (4,): "adaptive_average_pool1d adaptive_max_pool1d",
    (5, 6): "adaptive_average_pool2d adaptive_max_pool2d",
    (5,): "average_pool1d average_pool3d conv3d depthwise_conv1d global_average_pool glu max_pool1d",
    (6,): "depthwise_conv2d det group_norm inv slogdet svd",
    (6, 7): "dot",
    (7,): "layer_norm rms_norm",
    (7, 8, 9): "resize",
    (7, 8, 12, 13): "std",
    (8,): "clip conv1d ctc_loss log_softmax softmax",
    (8, 9): "celu elu floor hard_shrink hard_swish leaky_relu log_sigmoid mish round selu silu soft_shrink softplus",
    (8, 9, 11): "gelu",
    (8, 9, 13, 14): "var",
    (9,): "linear",
    (9, 10): "solve",
    (11,): "pad",
    (9, 10, 11, 12, 13, 14, 15, 16, 17): "gru",
    (11, 12, 13, 14): "average_pool2d simple_rnn",
    (11, 12, 13, 14, 17): "logaddexp",
    (11, 12, 13, 15, 16, 17, 18, 19): "heaviside",
    (11, 12, 13, 17): "arctan2 maximum minimum",
    (12,): "equal greater greater_equal less less_equal not_equal where",
    (12, 14): "max_pool2d",
    (13, 14): "norm",
    (13, 14, 15, 16): "mean",
    (14,): "conv2d",
    (15,): "cross_entropy max min",
    (17,): "matmul prod sum",
    (30,): "einsum",
}
"""The samples, by number, that PyTorch refuses or means otherwise: integers as floats, mixed dtypes, axis=(),
gates and activations that its recurrent cells do not have."""
NOT_COMPARED = {name: list(numbers) for numbers, names in REFUSED_SAMPLES.items() for name in names.split()}
REFUSED = (TypeError, ValueError, IndexError, RuntimeError, NotImplementedError, UserWarning)


def by_torch(row, number, arrays):
    """The outputs and gradients of PyTorch for a sample, None for what it has not; None if it refuses the call."""
    sample = row.samples[number]
    if sample.keywords.get("axis") == () or (
        row.name.startswith(("round", "floor", "average_pool")) and arrays[0].dtype.kind != "f"
    ):
        return None  # PyTorch means all axes; it keeps integers
    if row.name == "getitem" and isinstance(sample.args[1], tuple) and {int, Draw} <= set(map(type, sample.args[1])):
        return None  # an integer beside an index array: PyTorch orders the axes otherwise
    inputs = [torch.from_numpy(numpy.array(a, order="C")).requires_grad_(a.dtype.kind == "f") for a in arrays]
    try:
        ys = outputs(TORCH[row.name](*fill(sample.args, iter(inputs)), **sample.keywords))
    except REFUSED:
        return None
    for y, weight in zip(ys, weights(ys), strict=True):
        if y.requires_grad:
            y.backward(torch.from_numpy(weight), retain_graph=True)
    return ys, [t.grad for t in inputs]


def weights(ys):
    random = numpy.random.default_rng(2)
    return [random.uniform(-1, 1, tuple(y.shape)) for y in ys]


@pytest.mark.parametrize("row", [p for p in ROWS if p.values[0].name in TORCH])
def test_forward_and_gradient_equal_torch(row):
    refused = []
    for number in numbers(row):
        arrays, where = row.arrays(number), title(row, number)
        theirs = by_torch(row, number, arrays)
        if theirs is None:
            refused.append(number)
            continue
        inputs = tensors(arrays, requires_grad=True)
        ys = outputs(row.call(number, inputs))
        for y, reference, weight in zip(ys, theirs[0], weights(ys), strict=True):
            assert_near(y, reference.detach().numpy(), 4 * row.slack, where, eps=eps_of(row, number))
            if y.requires_grad and row.sample_order(number):
                y.backward(tg.tensor(weight, dtype=y.dtype), retain_graph=True)
        for t, reference in zip(inputs, theirs[1], strict=True):
            if t.requires_grad and row.sample_order(number):  # no gradient stands for zeros, in both
                found, expected = numpy.zeros(t.shape) if t.grad is None else t.grad, numpy.zeros(t.shape)
                expected = expected if reference is None else reference.numpy()
                assert_near(found, expected, 4 * row.slack, f"{where}: gradient")
    assert refused == NOT_COMPARED.get(row.name, [])


def eps_of(row, number):
    """Integers alone give float32 in both."""
    return None if row.sample_order(number) else numpy.finfo("float32").eps
