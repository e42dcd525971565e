"""Attention on CUDA against PyTorch in float64: sizes around its tiles, masks, layouts, NaN."""

import inspect
import math

import numpy as np
import pytest
from test_kernels_registry import TOLERANCE, primitives

import tinygrad_edu as tg
from tinygrad_edu.kernels.cuda import attention, recipes
from tinygrad_edu.ops.attention import attention_of_heads
from tinygrad_edu.tree import leaves

pytestmark = pytest.mark.gpu

SIZES = {  # stack, queries, keys, depth, features
    "ones": ((1,), 1, 1, 1, 1),
    "small and odd": ((2, 3), 3, 5, 7, 2),
    "tiles": ((2,), 64, 64, 32, 32),
    "beyond tiles": ((1, 2), 67, 131, 33, 40),
    "one query": ((2, 2), 1, 200, 64, 64),
    "one key": ((3,), 70, 1, 16, 16),
    "more queries": ((1, 2), 90, 33, 20, 20),
    "narrow values": ((2,), 40, 41, 128, 3),
    "wide values": ((2,), 40, 70, 5, 100),
    "deepest": ((1,), 19, 35, 128, 128),
}
MASKS = {"none": None, "all": (1, 1), "keys": (0, 1), "queries": (1, 0), "one": (0, 0)}  # the axes that it has


def numbers(dtype, *shapes):
    rng = np.random.default_rng(sum(map(sum, shapes)))
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def mask_of(stack, queries, keys, axes, kind, dtype):
    """With rows that see nothing, where it has rows."""
    if axes is None:
        return None
    shape = (*(1 for _ in stack[1:]), *(n if there else 1 for n, there in zip((queries, keys), axes, strict=True)))
    rng = np.random.default_rng(7)
    if kind == "float":
        return rng.normal(size=shape).astype(dtype)
    mask = rng.random(shape) < 0.8
    if axes[0]:
        mask[..., queries // 2, :] = False
    return mask


def by_torch(g, q, k, v, mask, scale, causal):
    """y and the gradients of q, k and v, in float64."""
    torch = pytest.importorskip("torch")
    q, k, v = (torch.tensor(a.astype("float64"), requires_grad=True) for a in (q, k, v))
    scores = q @ k.swapaxes(-1, -2) * scale
    if mask is not None:
        there = torch.tensor(mask)
        scores = scores.masked_fill(~there, -math.inf) if mask.dtype == bool else scores + there
    if causal:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool).tril(scores.shape[-1] - scores.shape[-2])
        scores = scores.masked_fill(~seen, -math.inf)
    dead = (scores == -math.inf).all(-1, keepdim=True)
    y = torch.where(dead, 0.0, torch.where(dead, 0.0, scores).softmax(-1)) @ v
    y.backward(torch.tensor(g.astype("float64")))
    return [a.detach().numpy() for a in (y, q.grad, k.grad, v.grad)]


def by_kernels(g, q, k, v, mask, causal, scale=None):
    q, k, v = (tg.tensor(a, device="cuda", requires_grad=True) for a in (q, k, v))
    mask = None if mask is None else tg.tensor(mask, device="cuda")
    y = tg.scaled_dot_product_attention(q, k, v, mask, causal, scale)
    y.backward(tg.tensor(g, device="cuda"))
    return [a.to("cpu").numpy() for a in (y.detach(), q.grad, k.grad, v.grad)]


def check(found, expected, dtype):
    for a, b in zip(found, expected, strict=True):
        assert (a.shape, a.dtype) == (b.shape, dtype)
        size = max(1.0, np.abs(b).max())
        np.testing.assert_allclose(a, b, TOLERANCE[dtype], TOLERANCE[dtype] * size)


@pytest.fixture
def without_definition(monkeypatch):
    monkeypatch.setattr("tinygrad_edu.ops.attention._scores", None)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
def test_sizes(sizes, causal, dtype, without_definition):
    stack, queries, keys, depth, features = SIZES[sizes]
    shapes = ((queries, features), (queries, depth), (keys, depth), (keys, features))
    g, q, k, v = numbers(dtype, *((*stack, *shape) for shape in shapes))
    check(by_kernels(g, q, k, v, None, causal), by_torch(g, q, k, v, None, depth**-0.5, causal), dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", ["bool", "float"])
@pytest.mark.parametrize("axes", MASKS)
def test_masks(axes, kind, causal, dtype, without_definition):
    stack, queries, keys, depth, features = (2, 2), 35, 70, 8, 12
    shapes = ((queries, features), (queries, depth), (keys, depth), (keys, features))
    g, q, k, v = numbers(dtype, *((*stack, *shape) for shape in shapes))
    mask = mask_of(stack, queries, keys, MASKS[axes], kind, dtype)
    check(by_kernels(g, q, k, v, mask, causal, 0.3), by_torch(g, q, k, v, mask, 0.3, causal), dtype)


LAYOUTS = {  # an array, and where q, k and v are in it: (batch, time, heads, depth)
    "whole": ((3, 2, 37, 3, 8), [(0,), (1,), (2,)]),
    "heads of three": ((3, 2, 37, 4, 3), [(0,), (1,), (2,)]),
    "parts of rows": ((2, 37, 3, 33), [(..., slice(i, i + 11)) for i in (0, 11, 22)]),
    "parts that begin anywhere": ((2, 37, 3, 28), [(..., slice(i, i + 8)) for i in (1, 10, 19)]),
}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_time_first(layout, dtype, without_definition):
    shape, places = LAYOUTS[layout]
    (x,), expected = numbers(dtype, shape), np.zeros(shape)
    parts = [x[place] for place in places]
    (g,), scale = numbers(dtype, parts[0].shape), parts[0].shape[-1] ** -0.5
    mask = np.random.default_rng(1).random((2, 1, 1, 37)) < 0.7
    y, *gradients = by_torch(*(a.swapaxes(1, 2) for a in (g, *parts)), mask, scale, True)
    for place, gradient in zip(places, gradients, strict=True):
        expected[place] = gradient.swapaxes(1, 2)
    x = tg.tensor(x, device="cuda", requires_grad=True)
    found = attention_of_heads(*(x[place] for place in places), tg.tensor(mask, device="cuda"), True)
    found.backward(tg.tensor(g, device="cuda"))
    check([a.to("cpu").numpy() for a in (found.detach(), x.grad)], [y.swapaxes(1, 2), expected], dtype)


@pytest.mark.parametrize("needed", [(0,), (1,), (2,), (0, 2)])
def test_only_what_is_needed(needed, without_definition):
    g, *given = numbers("float32", *[(2, 20, 4)] * 4)
    tensors = [tg.tensor(a, device="cuda", requires_grad=i in needed) for i, a in enumerate(given)]
    tg.scaled_dot_product_attention(*tensors).backward(tg.tensor(g, device="cuda"))
    expected = by_torch(g, *given, None, 0.5, False)[1:]
    check([tensors[i].grad.to("cpu").numpy() for i in needed], [expected[i] for i in needed], "float32")
    assert all((a.grad is None) == (i not in needed) for i, a in enumerate(tensors))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_nan_and_infinity(causal, hidden, dtype):
    """As defined, but for what no query of a tile sees: that reaches nothing, where the definition has 0 * inf."""
    q, k, v, g = numbers(dtype, *[(1, 2, 150, 4)] * 4)
    q[0, 0, 100], q[0, 1, 3, 0], k[0, 0, 140, 1], k[0, 1, 70, 2] = math.nan, math.inf, math.inf, -math.inf
    mask = np.random.default_rng(2).random((150, 150)) < 0.9
    mask[20] = False
    mask, attributes = mask if hidden else None, {"scale": 0.5, "causal": causal, "time_first": False}
    defined = both("_attention", (q, k, v, mask), attributes, TOLERANCE[dtype])
    if not causal:
        v[0, 1, 149] = math.inf
        given = (g, defined[0], q, k, v, mask, defined[1])
        both("_attention_gradient", given, attributes | {"needs": (True, True, True, False)}, TOLERANCE[dtype])


def both(name, arrays, attributes, tolerance):
    """What the definition makes on the CPU, which the kernels have to make, too."""
    import cupy

    on_device = [None if a is None else cupy.asarray(a) for a in arrays]
    made = recipes.run(primitives[name].forward.recipe, on_device, attributes)
    with np.errstate(all="ignore"):
        defined = list(leaves(inspect.unwrap(primitives[name].forward)(np, *arrays, **attributes)))
    for a, b in zip(made, defined, strict=True):
        if a is not None:
            np.testing.assert_allclose(a.get(), b, tolerance, tolerance)
    return defined


def test_what_the_kernels_do_not_take():
    def made(*shapes, mask=None, dtype="float32"):
        q, k, v = (attention.in_order(shape, np.dtype(dtype)) for shape in shapes)
        mask = mask and attention.in_order(*mask)
        return recipes.recipe(
            "attention.forward", (q, k, v, mask), {"scale": 1.0, "causal": False, "time_first": False}
        )

    wide = (2, 3, 257)
    assert made(*[(2, 3, 256)] * 3)
    assert made(wide, wide, (2, 3, 4)) is None
    assert made((2, 3, 4), (2, 3, 4), wide) is None
    assert made(*[(2, 3, 129)] * 3, dtype="float64") is None
    assert made(*[(3, 4)] * 3) is None
    assert made((2, 3, 4), (1, 3, 4), (2, 3, 4)) is None
    assert made(*[(2, 3, 4)] * 3, mask=((3, 3), np.dtype("float32")))
    assert made(*[(2, 3, 4)] * 3, mask=((3, 3), np.dtype("float64"))) is None


def test_the_gradient_of_a_mask():
    arrays = numbers("float32", *[(2, 3, 4)] * 3, (3, 3))
    found = []
    for device in ("cpu", "cuda"):
        q, k, v, mask = (tg.tensor(a, device=device, requires_grad=True) for a in arrays)
        tg.scaled_dot_product_attention(q, k, v, mask).sum().backward()
        found.append([a.grad.to("cpu").numpy() for a in (q, k, v, mask)])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, 1e-5, 1e-6)


def test_recorded_steps_never_hold_a_square_of_many_steps(without_definition):
    """Of heads that are views of (batch, time, heads, depth)."""
    steps = 512
    g, *given = numbers("float32", *[(1, steps, 2, 8)] * 4)
    tensors = [tg.tensor(a, device="cuda", requires_grad=True) for a in given]

    @tg.jit
    def step(g):
        q, k, v = (a.transpose(0, 2, 1, 3) for a in tensors)
        y = tg.scaled_dot_product_attention(q, k, v, causal=True)
        y.backward(g.transpose(0, 2, 1, 3))
        found = [a.grad for a in tensors]
        for a in tensors:
            a.grad = None
        return y, *found

    y, *gradients = by_torch(*(a.swapaxes(1, 2) for a in (g, *given)), None, 8**-0.5, True)
    expected = [y, *(a.swapaxes(1, 2) for a in gradients)]
    for _ in range(3):
        check([a.detach().to("cpu").numpy() for a in step(tg.tensor(g, device="cuda"))], expected, "float32")
    assert step.plans[0].replay.size < 4 * steps * steps / 4
