"""Forward and gradient of every operation that PyTorch has, against PyTorch's."""

import numpy
import pytest
from op_cases import ROWS, assert_near, numbers, outputs, tensors, title

import tinygrad_edu as tg
from tinygrad_edu.kernels import pool
from tinygrad_edu.ops import convolution
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


CONVOLUTIONS = {
    "several images a part": ((11, 3, 3, 2), (2, 2, 2, 8), {}),
    "several rows a part": ((3, 17, 9, 2), (3, 3, 2, 2), {"padding": ((1, 2), (0, 1))}),
    "one row a part": ((2, 5, 60, 3), (3, 2, 3, 2), {"strides": (2, 1)}),
    "groups": ((3, 17, 9, 4), (3, 3, 2, 6), {"groups": 2, "padding": 1}),
    "dilation": ((3, 17, 9, 4), (3, 2, 4, 3), {"dilation": (2, 3), "padding": (3, 1)}),
    "one axis": ((30, 40, 2), (3, 2, 2), {"padding": 1}),
    "three axes": ((2, 9, 5, 6, 2), (2, 3, 1, 2, 2), {"padding": (0, 1, 0)}),
    "padding wider than the kernel": ((3, 7, 9, 2), (2, 3, 2, 3), {"padding": ((3, 0), (1, 4))}),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution_in_parts(name, threads, monkeypatch):
    """As it is defined for large images: of some at a time, or of some of their rows."""
    shape, kernel_shape, keywords = CONVOLUTIONS[name]
    monkeypatch.setenv("TINYGRAD_EDU_FAST", "0")
    monkeypatch.setattr(convolution, "PATCHES", 1)
    counts = []
    monkeypatch.setattr(pool, "map", lambda f, parts, map=pool.map: counts.append(len(parts)) or map(f, parts))
    random = numpy.random.default_rng(0)
    x, kernel = random.normal(size=shape), random.normal(size=kernel_shape)
    function = f"conv{len(shape) - 2}d"
    ours, theirs = [tg.tensor(a, requires_grad=True) for a in (x, kernel)], [torch.tensor(a) for a in (x, kernel)]
    for t in theirs:
        t.requires_grad_()
    z = TORCH[function](*theirs, **keywords)
    weight = random.normal(size=tuple(z.shape))
    pool.set_threads(threads)
    try:
        y = getattr(tg, function)(*ours, **keywords)
        y.backward(tg.tensor(weight))
    finally:
        pool.set_threads(None)
    z.backward(torch.tensor(weight))
    assert min(counts) > 1
    for a, b in ((y, z), *((t.grad, u.grad) for t, u in zip(ours, theirs, strict=True))):
        numpy.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-12, atol=1e-12)
