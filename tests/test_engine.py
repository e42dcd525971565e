"""The engine: what backward accumulates, frees, refuses and costs."""

import gc
import pickle
import sys
import threading
import tracemalloc
import weakref
from heapq import heappush
from itertools import combinations
from typing import ClassVar

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu.autograd import engine, primitive, primitives, writes


def tracked(data, **keywords):
    return tg.tensor(data, requires_grad=True, **keywords)


def ones(count=2):
    return tg.ones((count,))


@pytest.fixture
def collector_off():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def made():
    """Registers primitives for one test."""
    before = set(primitives)
    yield primitive
    for name in set(primitives) - before:
        del primitives[name]


# Accumulation


def test_gradients_accumulate_over_calls():
    x = tracked([1.0, 2.0])
    (x * 3.0).sum().backward()
    first = x.grad
    (x * x).sum().backward()
    assert x.grad.tolist() == [5.0, 7.0]
    assert first.tolist() == [3.0, 3.0]
    x.grad = None
    (x * x).sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_shared_nodes():
    x = tracked(3.0)
    a = x * x
    b = a + a
    (a * b + b).backward()
    # 2 x^4 + 2 x^2
    assert x.grad.item() == 8 * 27 + 4 * 3


def test_one_tensor_as_every_argument():
    x = tracked([2.0, 3.0])
    (x * x + x / x - x).sum().backward()
    assert x.grad.tolist() == [3.0, 5.0]
    m = tracked([[1.0, 2.0], [3.0, 4.0]])
    (m @ m).sum().backward()
    # row sums of m along the columns, column sums of m along the rows
    assert m.grad.tolist() == [[3.0 + 4.0, 7.0 + 4.0], [3.0 + 6.0, 7.0 + 6.0]]


def test_a_diamond_is_walked_once_a_node(made):
    calls = []

    @made("elementwise", expression="a")
    def counted(xp, a, out=None):
        return a * 1.0

    counted.defvjp(lambda g, y, a: calls.append(1) or g * 1.0)
    x = tracked([1.0])
    y = x
    for _ in range(40):
        y = counted(y)
        y = y + y
    y.sum().backward()
    assert len(calls) == 40
    assert x.grad.tolist() == [2.0**40]


def test_broadcasting_is_undone():
    x, y, z = tracked(2.0), tracked([[1.0], [2.0]]), tracked([1.0, 2.0, 3.0])
    (x * y * z).sum().backward()
    assert (x.grad.shape, y.grad.shape, z.grad.shape) == ((), (2, 1), (3,))
    assert (x.grad.item(), y.grad.tolist(), z.grad.tolist()) == (18.0, [[12.0], [12.0]], [6.0, 6.0, 6.0])


def test_only_what_requires_grad_gets_one():
    x, y = tracked([1.0]), tg.tensor([2.0])
    z = x * y
    z.sum().backward()
    assert (x.grad.tolist(), y.grad, z.grad) == ([2.0], None, None)


def test_a_gradient_nobody_needs_is_not_computed(made):
    @made("elementwise", saves=("a", "b"), expression="a * b")
    def product(xp, a, b, out=None):
        return a * b

    def fail(*_):
        raise AssertionError

    product.defvjp(lambda g, y, a, b: g * b, fail)
    x = tracked([3.0])
    product(x, tg.tensor([2.0])).sum().backward()
    assert x.grad.tolist() == [2.0]
    assert tg.grad(lambda a: product(a, x.detach()).sum())(tg.tensor([1.0])).tolist() == [3.0]


def test_backward_on_a_leaf():
    x = tracked(2.0)
    x.backward()
    x.backward()
    assert x.grad.item() == 2.0


def test_backward_is_all_or_nothing():
    x = tracked([1.0])
    shared = x * 2.0
    shared.sum().backward()
    x.grad = None
    y = tracked([1.0])
    with pytest.raises(tg.GradientError, match="freed"):
        (y * 3.0 + shared).sum().backward()
    assert x.grad is y.grad is None


# The seed


def test_seed():
    x = tracked([1.0, 2.0])
    (x * x).backward(tg.tensor([1.0, 10.0]))
    assert x.grad.tolist() == [2.0, 40.0]
    (x * x).backward(np.array([1.0, 1.0], dtype=np.float32))
    assert x.grad.tolist() == [4.0, 44.0]
    y = tracked([[3.0]])
    (y * y).backward()
    assert y.grad.tolist() == [[6.0]]


@pytest.mark.parametrize("shape", [(2,), (0,), (1, 3)])
def test_backward_of_several_elements_needs_a_seed(shape):
    y = tracked(np.ones(shape)) * 2.0
    with pytest.raises(
        tg.ShapeError, match=r"backward: expected a tensor with one element, received .*pass gradient=|mean or a sum"
    ):
        y.backward()


def test_wrong_seeds():
    y = tracked([1.0, 2.0]) * 2.0
    for wrong in (tg.ones((3,)), tg.ones(()), np.ones((2, 1), "float32"), 1.0, [1.0, 1.0]):
        with pytest.raises(tg.ShapeError, match=r"backward: expected a gradient of shape \(2,\), received"):
            y.backward(wrong)
    for wrong in (np.ones(2), tg.ones((2,), dtype="int64")):
        with pytest.raises(TypeError, match=r"backward: expected a gradient of dtype float32, received"):
            y.backward(wrong)
    y.backward(ones())


def test_backward_without_a_graph():
    for y in (tg.ones(()), tracked(1.0).detach(), tg.ones((), dtype="int64"), tracked([1.0, 2.0]).argmax()):
        with pytest.raises(tg.GradientError, match=r"backward: expected a tensor that requires grad, .*requires_grad="):
            y.backward()


# Freeing, retaining, differentiating again


def test_second_backward_raises():
    x = tracked(2.0)
    y = x * x
    y.backward()
    with pytest.raises(tg.GradientError, match=r"freed \(at multiply\)\. Hint: pass retain_graph=True"):
        y.backward()
    assert x.grad.item() == 4.0


def test_retain_graph():
    x = tracked(2.0)
    y = tg.exp(x) * x
    y.backward(retain_graph=True)
    once = x.grad.item()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == pytest.approx(3 * once)
    with pytest.raises(tg.GradientError, match="freed"):
        y.backward()


def test_backward_frees_what_was_saved():
    x = tracked(np.ones(1000, "float32"))
    hidden = tg.exp(x)
    saved = weakref.ref(hidden.data)
    loss = hidden.sum()
    del hidden
    assert saved() is not None
    loss.backward()
    assert saved() is None


def test_create_graph_warns_and_works():
    x = tracked(3.0)
    with pytest.warns(UserWarning, match=r"cycle through \.grad .*use tg\.grad"):
        (x * x * x).backward(create_graph=True)
    first, x.grad = x.grad, None
    assert first.item() == 27.0
    first.backward()
    assert x.grad.item() == 18.0


def test_the_warning_points_to_the_caller():
    x = tracked(3.0)
    with pytest.warns(UserWarning, match="create_graph") as caught:
        (x * x).backward(create_graph=True)
    assert caught[0].filename == __file__


# Gradient buffers never have two owners


class Identity(tg.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 1.0

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Both(tg.Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(b)
        return a + b

    @staticmethod
    def backward(ctx, gradient):
        twice = gradient * 2.0
        return twice, twice


class Saved(tg.Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(b)
        return a * b

    @staticmethod
    def backward(ctx, gradient):
        return ctx.saved_tensors[0], gradient


SHARING = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "twice": lambda x, y: (x + y) + (x + y),
    "reshape": lambda x, y: (x.reshape((2, 1)) + y.reshape((2, 1))).reshape((2,)),
    "transpose": lambda x, y: x.T + y.T,
    "index": lambda x, y: x[:] + y[::-1],
    "broadcast": lambda x, y: (tg.broadcast_to(x, (3, 2)) + y).sum(axis=0),
    "stack": lambda x, y: tg.stack([x, y])[0] + tg.stack([x, y])[1],
    "concatenate": lambda x, y: tg.concatenate([x, y])[:2] + tg.concatenate([x, y])[2:],
    "split": lambda x, y: tg.concatenate(tg.split(x, 2)) + tg.concatenate(tg.split(y, 2)),
    "where": lambda x, y: tg.where(np.array([True, False]), x, y),
    "maximum": tg.maximum,
    "cast": lambda x, y: x.astype("float32") + y.astype("float32"),
    "identity function": lambda x, y: Identity.apply(x) + Identity.apply(y),
    "function of both": lambda x, y: Both.apply(x, y),
    "function that returns what it saved": lambda x, y: Saved.apply(x, y),
    "checkpoint": lambda x, y: tg.checkpoint(lambda x, y: x + y, x, y),
    "leaf itself": lambda x, y: x,
}


@pytest.mark.parametrize("name", SHARING)
@pytest.mark.parametrize("keep", [False, True], ids=["", "retained"])
def test_every_gradient_has_an_array_of_its_own(name, keep):
    x, y, seed = tracked([1.0, 2.0]), tracked([3.0, 4.0]), ones()
    inner_x, inner_y = (x * 1.0, y * 1.0) if keep else (x, y)
    if keep:
        inner_x.retain_grad()
        inner_y.retain_grad()
    output = SHARING[name](inner_x, inner_y)
    output.backward(seed, retain_graph=True)
    values = [t.data for t in (x, y, seed, output, inner_x, inner_y)]
    owners = (x, y, inner_x, inner_y) if keep else (x, y)
    gradients = [t.grad.data for t in owners if t.grad is not None]
    pairs = [*combinations(gradients, 2), *((a, b) for a in gradients for b in values)]
    assert not any(np.shares_memory(a, b) for a, b in pairs)
    before = [g.copy() for g in gradients]
    output.backward(seed)
    for array, copy in zip(gradients, before, strict=True):
        np.testing.assert_array_equal(array, copy)  # accumulation made new arrays


@pytest.mark.parametrize("live", [False, True])
def test_results_of_transforms_have_arrays_of_their_own(live):
    w = tracked([1.0, 1.0]) if live else ones()
    seed = ones()
    _, pullback = tg.vjp(lambda a, b: a + b + w, ones(), ones())
    a, b = pullback(seed)
    assert not np.shares_memory(a.data, b.data)
    assert not np.shares_memory(a.data, seed.data)
    c, d = tg.grad(lambda a, b: (a + b + w).sum(), (0, 1))(ones(), ones())
    c.detach().assign_(7.0)
    assert d.tolist() == [1.0, 1.0]
    with tg.no_grad():
        a, b = tg.vjp(lambda a, b: a + b, tracked([1.0, 2.0]), tracked([1.0, 2.0]))[1](seed)
    assert not np.shares_memory(a.data, b.data)
    assert not np.shares_memory(a.data, seed.data)


def test_create_graph_gradients_have_arrays_of_their_own():
    x, y = tracked([1.0]), tracked([1.0])
    with pytest.warns(UserWarning, match="create_graph"):
        (x + y).sum().backward(create_graph=True)
    assert x.grad is not y.grad
    assert not np.shares_memory(x.grad.data, y.grad.data)


# Version check


def overwrite_directly(x):
    x.assign_(0.0)


def overwrite_detached(x):
    x.detach().assign_(0.0)


def overwrite_part(x):
    x.detach()[1:].assign_([0.0])


@pytest.mark.parametrize("overwrite", [overwrite_directly, overwrite_detached, overwrite_part])
@pytest.mark.parametrize(
    "use",
    [
        lambda x: x * x,
        lambda x: x[1:] * x[:1],
        lambda x: x.reshape((2, 1)) @ x.reshape((1, 2)),
        lambda x: tg.linear(x.reshape((1, 2)), tg.ones((2, 1)), tg.ones((1,))) * x,
        lambda x: tg.concatenate([x.T, x]) * tg.concatenate([x, x]) * x[1:],
    ],
)
def test_saved_arrays_that_were_overwritten(use, overwrite):
    x = tracked([1.0, 2.0])
    y = use(x).sum()
    overwrite(x)
    with pytest.raises(tg.GradientError, match=r"assign_ has overwritten since\. Hint: run backward before assign_"):
        y.backward()


def test_overwritten_arrays_that_need_no_grad():
    buffer, x = tg.tensor([1.0, 2.0]), tracked([1.0, 2.0])
    y = (x * buffer).sum()
    buffer.assign_(5.0)
    with pytest.raises(
        tg.GradientError, match=r"gradient of multiply: expected its saved values, received .*float32\[2\]"
    ):
        y.backward()


def test_overwritten_through_the_base_and_a_later_write_at_the_same_address():
    w, v = tg.tensor(np.arange(10.0)), tracked(np.arange(5.0))
    y = (v * w[5:]).sum()
    w.assign_(0.0)
    w[:2].assign_(1.0)
    with pytest.raises(tg.GradientError, match="overwritten"):
        y.backward()


def test_overwritten_before_a_gradient_of_a_gradient():
    w = tracked([1.0, 2.0])
    penalty = (tg.grad(lambda x: (x * x * w).sum())(ones()) ** 2).sum()
    w.assign_(0.0)
    with pytest.raises(tg.GradientError, match="overwritten"):
        penalty.backward()


def test_function_saved_arrays_are_checked():
    x, w = tracked([1.0, 2.0]), tg.tensor([1.0, 2.0])
    y = Saved.apply(x, w).sum()
    w.assign_(3.0)
    with pytest.raises(tg.GradientError, match=r"gradient of Saved: .*overwritten"):
        y.backward()


def test_no_false_accusation():
    x, w, bias = tracked([1.0, 2.0]), tracked([3.0, 4.0]), tracked([0.0, 0.0])
    y = (x * 2.0 + bias).sum()
    bias.assign_(9.0)  # add saves shapes only
    y.backward()
    assert x.grad.tolist() == [2.0, 2.0]
    x.assign_(9.0)
    z = (x * w).sum()  # made after the write
    z.backward()
    assert w.grad.tolist() == [9.0, 9.0]
    other = tg.ones((2,))
    z = (x * w).sum()
    other.assign_(2.0)
    z.backward()


def test_no_false_accusation_of_neighbours():
    base = tg.tensor(np.arange(10.0))
    left, right = base[:5], base[5:]
    x = tracked(np.ones(5))
    y = (x * left).sum()
    right.assign_(0.0)
    y.backward()
    assert x.grad.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_no_false_accusation_after_an_address_is_used_again():
    for size in range(1, 40):  # NumPy hands the same small blocks out again
        tg.ones((size,)).assign_(2.0)
        x = tracked(np.ones(size, "float32"))
        y = (tg.exp(x) * x).sum()
        y.backward()


def test_training_with_writes_in_the_forward_pass():
    """A running statistic is written in every forward pass, between nodes that saved other arrays."""
    x, mean, w = ones(), tg.zeros((2,)), tracked([1.0, 1.0])
    for _ in range(3):
        h = x * w
        mean.assign_(mean * 0.9 + h.detach() * 0.1)
        (h * w).sum().backward()
        w.assign_(w.detach() - 0.1 * w.grad)
        w.grad = None


# Hooks and retain_grad


def test_hooks_see_the_complete_gradient():
    x = tracked([1.0, 2.0])
    h = x * 2.0
    seen = []
    h.register_hook(lambda g: seen.append(g.tolist()))
    x.register_hook(lambda g: seen.append(g.tolist()))
    (h * h + h).sum().backward()
    assert seen == [[5.0, 9.0], [10.0, 18.0]]


def test_hooks_change_gradients_in_order():
    x = tracked([1.0])
    h = x * 1.0
    h.register_hook(lambda g: g * 2.0)
    h.register_hook(lambda g: g + 1.0)
    x.register_hook(lambda g: g * 10.0)
    h.sum().backward()
    assert x.grad.tolist() == [30.0]
    h = x * 1.0
    h.sum().backward()
    assert x.grad.tolist() == [40.0]


def test_removing_a_hook():
    x = tracked([1.0])
    remove = x.register_hook(lambda g: g * 2.0)
    x.sum().backward()
    remove()
    remove()
    x.sum().backward()
    assert x.grad.tolist() == [3.0]


def test_hooks_get_tensors_of_0d_arrays():
    x = tracked(2.0)
    h = x * 3.0
    kinds = []
    h.register_hook(lambda g: kinds.append(type(g.numpy())))
    x.register_hook(lambda g: kinds.append(type(g.numpy())))
    h.retain_grad()
    (h * h + h).backward()
    assert kinds == [np.ndarray, np.ndarray]
    assert type(h.grad.data) is type(x.grad.data) is np.ndarray
    assert (h.grad.item(), x.grad.item()) == (13.0, 39.0)


def test_hooks_are_differentiated():
    def f(x):
        h = x * 1.0
        h.register_hook(lambda g: g * x)
        return h * h

    # The hook makes the gradient 2 h into 2 h x. Of that, the way through x gives 2 h and the way through h gives 2 x,
    # on which the hook acts again: 2 h + 2 x * x.
    assert tg.grad(f)(3.0).item() == 18.0
    assert tg.grad(tg.grad(f))(3.0).item() == 24.0


def test_wrong_hooks():
    with pytest.raises(tg.GradientError, match="register_hook: expected a tensor that requires grad"):
        tg.ones((2,)).register_hook(print)
    for wrong, error in [
        (lambda g: g.sum(), tg.ShapeError),
        (lambda g: 2.0, TypeError),
        (lambda g: g.astype("float64"), TypeError),
    ]:
        x = tracked([1.0, 2.0])
        h = x * 1.0
        h.register_hook(wrong)
        with pytest.raises(error, match="expected"):
            h.sum().backward()
        x.register_hook(wrong)
        with pytest.raises(error, match="expected"):
            (x * 1.0).sum().backward()


def test_retain_grad():
    x = tracked([1.0, 2.0])
    h = x * 2.0
    assert h.retain_grad() is h
    assert x.retain_grad() is x
    y = (h * h).sum()
    y.backward(retain_graph=True)
    assert h.grad.tolist() == [4.0, 8.0]
    y.backward()
    assert h.grad.tolist() == [8.0, 16.0]


def test_retain_grad_twice_and_after_hooks():
    x = tracked([1.0, 2.0])
    h = x * 2.0
    h.retain_grad().retain_grad()
    h.register_hook(lambda g: g * 10.0)
    h.sum().backward()
    assert h.grad.tolist() == [10.0, 10.0]
    assert x.grad.tolist() == [20.0, 20.0]
    with pytest.raises(tg.GradientError, match="retain_grad: expected a tensor that requires grad"):
        tg.ones((1,)).retain_grad()


def test_a_hook_that_keeps_a_gradient_does_not_share_it():
    kept = []
    x, z = tracked([1.0]), tracked([1.0])
    for t in (x, z):
        t.register_hook(lambda g: kept.append(g) or kept[0])
    (x * 2.0 + z * 3.0).sum().backward()
    x.grad.assign_(0.0)
    assert z.grad.item() != 0.0
    assert kept[0].item() != 0.0


def test_casts_to_integers_carry_no_gradient():
    x = tracked([1.5])
    assert not x.astype("int64").requires_grad
    assert not x.astype(bool).astype("float32").requires_grad
    assert tg.grad(lambda x: (x.astype("int64") * 1.0).sum())(2.5).item() == 0.0


def test_a_primitive_without_a_rule(made):
    @primitive("elementwise")
    def ruleless(xp, a, out=None):
        return xp.add(a, 1.0, out=out)

    @primitive("elementwise", differentiable=False)
    def constant(xp, a, out=None):
        return xp.add(a, 1.0, out=out)

    x = tracked([1.0])
    with pytest.raises(tg.GradientError, match=r"ruleless: expected a gradient rule, received none\. Hint: .*defvjp"):
        ruleless(x)
    assert ruleless(x.detach()).tolist() == [2.0]
    assert not constant(x).requires_grad
    with pytest.raises(ValueError, match=r"ruleless\.defvjp: expected 1 rules, one per argument, received 2"):
        ruleless.defvjp(None, None)


def test_wrong_definitions_of_primitives():
    with pytest.raises(ValueError, match=r"primitive: expected kind to be one of .* did you mean 'elementwise'"):
        primitive("elementwse")(lambda xp, a: a)
    with pytest.raises(ValueError, match="each name in saves to be one of 'a', 'y', received 'b'"):
        primitive("opaque", saves=("b",))(lambda xp, a: a)


def test_a_parameter_updated_in_place_under_no_grad():
    w = tracked([1.0])
    with tg.no_grad(), pytest.raises(tg.GradientError, match=r"in-place sub: .*Hint: .*w\.assign_"):
        w -= 0.1
    w -= 0.1  # outside it makes a new tensor, as everywhere
    assert not w.is_leaf
    with tg.no_grad():
        w -= 0.1
        total = tg.zeros(())
        total += 1.0
    assert total.item() == 1.0


def test_arrays_that_were_pickled():
    """Their dtypes equal NumPy's own, but are other objects."""
    a = pickle.loads(pickle.dumps(np.array([1.0, 2.0], "float32")))
    assert a.dtype is not np.dtype("float32")
    x, w = tg.Tensor(a, requires_grad=True), tracked([3.0, 4.0], dtype="float32")
    (w * x * x).mean().backward()
    assert w.grad.tolist() == [0.5, 2.0]
    assert x.grad.tolist() == [3.0, 8.0]


def test_a_wrong_dtype_inside_the_graph_is_found_where_it_is_made(made):
    @primitive("elementwise")
    def widening_inside(xp, a, out=None):
        return a * 1.0

    widening_inside.defvjp(lambda g, y, a: g.astype("float64"))
    x = tracked([1.0, 2.0])
    with pytest.raises(TypeError, match="gradient of widening_inside for argument 0: expected dtype float32, received"):
        widening_inside(x * 2.0).sum().backward()


def test_entries_of_freed_memory_are_thrown_out(monkeypatch):
    monkeypatch.setattr(writes, "_ranges", {})
    monkeypatch.setattr(writes, "_room", 100)
    kept = [tg.zeros((4,)) for _ in range(50)]
    for t in kept:
        t.assign_(1.0)
    for t in (tg.zeros((n,)) for n in range(1, 2000)):
        t.assign_(1.0)
    assert len(writes._ranges) < 2 * 1100
    x = tracked([1.0])
    y = x * kept[0][:1]
    kept[0].assign_(2.0)
    with pytest.raises(tg.GradientError, match="overwritten since"):
        y.sum().backward()


def test_retain_grad_makes_no_cycle(collector_off):
    x = tracked([1.0, 2.0])
    h = x * 2.0
    h.retain_grad()
    (h * h).sum().backward()
    alive = weakref.ref(h)
    del h
    assert alive() is None


# Modes


def test_no_grad():
    x = tracked([1.0])
    with tg.no_grad():
        y = x * 2.0
        assert (y.requires_grad, y.is_leaf) == (False, True)
        with tg.enable_grad():
            assert (x * 2.0).requires_grad
            with tg.no_grad():
                assert not (x * 2.0).requires_grad
        assert not (x * 2.0).requires_grad
    assert (x * 2.0).requires_grad


def test_modes_as_decorators():
    @tg.no_grad()
    def f(x, *, factor=2.0):
        """A docstring."""
        return x * factor if factor > 100 else f(x, factor=factor * 10)

    @tg.enable_grad()
    def g(x):
        return x * 2.0

    x = tracked([1.0])
    assert (f.__name__, f.__doc__) == ("f", "A docstring.")
    assert not f(x).requires_grad
    assert (x * 2.0).requires_grad
    with tg.no_grad():
        assert g(x).requires_grad
        assert not (x * 2.0).requires_grad


def test_modes_are_restored_after_errors_and_can_be_entered_again():
    x, mode = tracked([1.0]), tg.no_grad()
    with pytest.raises(KeyError), mode:
        raise KeyError
    assert (x * 2.0).requires_grad
    with mode:
        with mode:
            assert not (x * 2.0).requires_grad
        assert not (x * 2.0).requires_grad
    assert (x * 2.0).requires_grad
    broken = x * 1.0
    broken.register_hook(lambda g: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        broken.sum().backward()
    assert (x * 2.0).requires_grad


def test_transforms_under_no_grad():
    w = tracked(3.0)
    with tg.no_grad():
        value, gradient = tg.value_and_grad(lambda x: x * x * w)(2.0)
        assert (value.item(), gradient.item()) == (12.0, 12.0)
        assert not value.requires_grad
        assert not gradient.requires_grad
        assert tg.grad(tg.grad(lambda x: x**3))(2.0).item() == 12.0


def test_modes_of_threads_are_independent():
    x = tracked([1.0])
    inside, done = threading.Event(), threading.Event()
    seen = []

    def other():
        with tg.no_grad():
            inside.set()
            assert done.wait(10)
            seen.append((x * 2.0).requires_grad)

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(10)
    seen.append((x * 2.0).requires_grad)
    (x * 3.0).sum().backward()
    done.set()
    thread.join()
    assert seen == [True, False]
    assert x.grad.tolist() == [3.0]


def test_threads_train_at_the_same_time():
    def train(results, i):
        w = tracked(np.full(4, i, "float32"))
        for _ in range(50):
            w.grad = None
            ((w - 1.0) ** 2).sum().backward()
            w.assign_(w.detach() - 0.1 * w.grad)
        results[i] = w.tolist()

    together, alone = {}, {}
    threads = [threading.Thread(target=train, args=(together, i)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(6):
        train(alone, i)
    assert together == alone


def test_detach_cuts():
    x = tracked(3.0)
    (x * x.detach()).backward()
    assert x.grad.item() == 3.0


# Several outputs


@pytest.mark.parametrize("used", [(0,), (1,), (0, 2), (0, 1, 2), (1, 1)])
def test_several_outputs(used):
    x = tracked([1.0, 2.0, 3.0])
    parts = tg.split(x * 2.0, 3)
    sum((parts[i] * (i + 1.0) for i in used), start=tg.tensor(0.0)).sum().backward()
    expected = [0.0, 0.0, 0.0]
    for i in used:
        expected[i] += 2.0 * (i + 1)
    assert x.grad.tolist() == expected


def test_several_outputs_differentiated_again():
    def f(x):
        a, b = tg.split(x, 2)
        return (a * a * b).sum()

    h = tg.hessian(f)(tg.tensor([2.0, 5.0]))
    assert h.tolist() == [[10.0, 4.0], [4.0, 0.0]]


def test_backward_through_one_output_at_a_time():
    x = tracked([1.0, 2.0])
    a, b = tg.split(x * x, 2)
    a.sum().backward(retain_graph=True)
    b.sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_a_joint_rule_gets_none_for_absent_outputs(made):
    seen = []

    @made("opaque")
    def pair(xp, a):
        return a * 1.0, a * 2.0

    pair.defvjp(lambda g, y, a: seen.append([part is None for part in g]) or (g[0] if g[1] is None else g[1] * 2.0))
    x = tracked([1.0])
    pair(x)[0].sum().backward()
    pair(x)[1].sum().backward()
    assert seen == [[False, True], [True, False]]
    assert x.grad.tolist() == [3.0]


# Dtypes and wrong rules


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_gradients_have_the_dtype_of_their_leaf(dtype):
    x = tracked([0.5, 2.0], dtype=dtype)
    w = tracked(0.5, dtype=dtype)
    for y in (
        x * 2.0,
        x**3,
        tg.exp(x) / (1.0 + x),
        x.mean(),
        x.std(),
        tg.maximum(x, 1.0),
        x[[0, 0]],
        x * np.float64(2),
    ):
        x.grad = w.grad = None
        (y * w).sum().backward()
        assert x.grad.dtype == w.grad.dtype == dtype
        assert type(x.grad.data) is type(w.grad.data) is np.ndarray


def test_a_rule_with_a_wrong_shape_or_dtype(made):
    @made("opaque")
    def shapeless(xp, a):
        return a * 1.0

    @made("opaque")
    def widening(xp, a):
        return a * 1.0

    shapeless.defvjp(lambda g, y, a: g.sum())
    widening.defvjp(lambda g, y, a: g.astype("float64"))
    x = tracked([1.0, 2.0])
    for leaf in (x, x * 1.0):
        with pytest.raises(tg.GradientError, match=r"gradient of shapeless for argument 0: expected shape \(2,\), rec"):
            shapeless(leaf).sum().backward()
    for output in (widening(x).sum(), x.sum() + widening(x).sum()):
        with pytest.raises(TypeError, match="gradient of widening for argument 0: expected dtype float32, received"):
            output.backward()


# Size: depth, width, time and memory


def chain(x, length):
    y = x
    for _ in range(length // 2):
        y = y * 1.0
        y = y + 0.0
    return y


def fan(x, width):
    return tg.stack([x * 1.0 for _ in range(width)]).sum()


def test_a_chain_of_300_000():
    """Forward, backward and free without recursion: the interpreter's limit is kept low to show it."""
    limit = sys.getrecursionlimit()
    depth = 0
    frame = sys._getframe()
    while frame:
        depth, frame = depth + 1, frame.f_back
    sys.setrecursionlimit(depth + 60)
    try:
        x = tracked([1.0])
        y = chain(x, 300_000)
        y.sum().backward()
        assert x.grad.tolist() == [1.0]
        del y
        y = chain(x, 300_000)
        del y  # freed without a backward
        assert tg.grad(lambda x: chain(x, 50_000).sum())(x).tolist() == [1.0]
        (g,) = tg.vjp(lambda x: chain(x, 2_000) ** 2, tg.tensor([3.0]))[1](tg.ones((1,)))
        assert g.tolist() == [6.0]
    finally:
        sys.setrecursionlimit(limit)


def test_a_fan_of_100_000():
    x = tracked([2.0])
    y = fan(x, 100_000)
    y.backward()
    assert x.grad.tolist() == [100_000.0]
    h = x * 1.0
    total = fan(h, 100_000)
    total.backward()
    assert x.grad.tolist() == [200_000.0]


def lines_executed(y):
    """How many lines of the engine one backward executes: its time, without a clock."""
    count = 0

    def trace(frame, event, argument):
        if frame.f_code.co_filename != engine.__file__:
            return None

        def line(frame, event, argument):
            nonlocal count
            count += event == "line"
            return line

        return line

    old = sys.gettrace()
    sys.settrace(trace)
    try:
        y.backward()
    finally:
        sys.settrace(old)
    return count


LINEAR = {
    "chain": lambda n: chain(tracked([1.0]), n).sum(),
    "fan": lambda n: fan(tracked([1.0]) * 1.0, n),
    "fan of a leaf": lambda n: fan(tracked([1.0]), n),
    "ladder": lambda n: sum((chain(tracked([1.0]), 10) for _ in range(n // 10)), start=tg.zeros((1,))).sum(),
}


@pytest.mark.parametrize("name", LINEAR)
def test_backward_is_linear(name):
    small, large = (lines_executed(LINEAR[name](n)) for n in (1000, 4000))
    assert small > 1000
    assert 3.8 < large / small < 4.2


def test_each_node_is_pushed_once(monkeypatch):
    """However many paths lead there."""
    pushed = []
    monkeypatch.setattr(engine, "heappush", lambda heap, item: pushed.append(item) or heappush(heap, item))
    x = tracked([0.5])
    y = x * 1.0
    for _ in range(50):
        y = y * y * 0.5 + y * 0.25
    y.sum().backward()
    assert 150 < len(pushed) == len({item[0] for item in pushed}) < 210


def network():
    rng = np.random.default_rng(0)
    shapes = [(4, 8), (8,), (8, 2), (2,)]
    parameters = [tracked(rng.normal(size=shape).astype("float32")) for shape in shapes]
    return parameters, tg.tensor(rng.normal(size=(16, 4)).astype("float32")), tg.integers((16,), 0, 2)


def train(steps, parameters, x, labels):
    w1, b1, w2, b2 = parameters
    for _ in range(steps):
        h = tg.relu(tg.linear(x, w1, b1))
        loss = tg.cross_entropy(tg.linear(tg.dropout(h, 0.1), w2, b2), labels)
        loss.backward()
        for p in parameters:
            p.assign_(p.detach() - 0.01 * p.grad)
            p.grad = None


def test_memory_is_flat_over_2_000_steps_without_the_collector(collector_off, monkeypatch):
    monkeypatch.setattr(writes, "_ranges", {})  # else it holds the parameters of every test before
    state = network()
    train(200, *state)
    objects, resident = len(gc.get_objects()), tg.memory_in_use("cpu")
    train(2000, *state)
    assert len(gc.get_objects()) - objects < 20
    assert tg.memory_in_use("cpu") - resident < 4 * 2**20  # a kept graph of 2,000 steps is about 40 MB
    tracemalloc.start()
    try:
        train(50, *state)
        before, _ = tracemalloc.get_traced_memory()
        train(200, *state)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 5_000


STEPS = {
    "backward": lambda x: (tg.exp(x) * x).sum().backward(),
    "retained": lambda x: (tg.exp(x) * x).sum().backward(retain_graph=True),
    "no backward": lambda x: (tg.exp(x) * x).sum(),
    "several outputs": lambda x: sum(tg.split(x, 2)).sum().backward(),
    "hook": lambda x: (x * 2.0).register_hook(lambda g: g * 2.0),
    "retain_grad": lambda x: (x * 2.0).retain_grad().sum().backward(),
    "function": lambda x: Saved.apply(x, x).sum().backward(),
    "function that saves its output": lambda x: SavesOutput.apply(x).sum().backward(),
    "checkpoint": lambda x: tg.checkpoint(lambda x: tg.exp(x).sum(), x).backward(),
    "checkpoint, no backward": lambda x: tg.checkpoint(lambda x: tg.exp(x).sum(), x),
    "grad": lambda x: tg.grad(lambda x: (x**3).sum())(x.detach()),
    "tracked grad": lambda x: tg.grad(lambda x: (x**3).sum())(x).sum().backward(),
    "penalty": lambda x: (tg.grad(lambda a: (a**3 * x).sum())(ones()) ** 2).sum().backward(),
    "grad of grad": lambda x: tg.hvp(lambda x: (x**3).sum(), [x.detach()], [ones()]),
    "jvp": lambda x: tg.jvp(lambda x: x**3, [x.detach()], [ones()]),
    "jacobian": lambda x: tg.jacobian(lambda x: x**3)(x.detach()),
    "hessian": lambda x: tg.hessian(lambda x: (x**3).sum())(x.detach()),
    "vjp": lambda x: tg.vjp(lambda x: x**3, x)[1](ones()),
    "network": lambda x: train(1, *network()),
}


class SavesOutput(tg.Function):
    @staticmethod
    def forward(ctx, x):
        y = tg.exp(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.saved_tensors[0]


@pytest.mark.parametrize("name", STEPS)
def test_no_reference_cycles(name, collector_off):
    x = tracked([1.0, 2.0])
    STEPS[name](x)  # first calls fill caches
    x.grad = None
    gc.collect()
    STEPS[name](x)
    x.grad = None
    assert gc.collect() == 0


def test_the_graph_dies_with_the_loss(collector_off):
    x = tracked([1.0, 2.0])
    loss = (tg.exp(x) * x).sum()
    nodes = [weakref.ref(loss.node), weakref.ref(loss.node.edges[0])]
    loss.backward()
    assert nodes[0]() is not None
    assert nodes[1]() is None  # freed by backward
    del loss
    assert nodes[0]() is None


def test_keeping_a_value_does_not_keep_its_graph(collector_off):
    x = tracked([1.0, 2.0])
    h = tg.exp(x)
    node = weakref.ref(h.node)
    kept = h.detach()
    del h
    assert node() is None
    assert kept.tolist() == pytest.approx(np.exp([1.0, 2.0]).tolist())


class Recorder(tg.Function):
    """Notes the type of the array behind its gradient."""

    kinds: ClassVar[list] = []

    @staticmethod
    def forward(ctx, x):
        return x * 1.0

    @staticmethod
    def backward(ctx, gradient):
        Recorder.kinds.append(type(gradient.numpy()))
        return gradient


def test_functions_get_tensors_of_0d_arrays():
    x = tracked(2.0)
    y = Recorder.apply(x * 1.0)
    (y * y + y).backward()
    assert Recorder.kinds == [np.ndarray]
    assert x.grad.item() == 5.0


# The same engine on CUDA


@pytest.mark.gpu
def test_backward_on_cuda_equals_backward_on_the_cpu():
    def gradients(device):
        x, w, b = (tracked(a, device=device) for a in ([[1.0, -2.0]], [[0.5, 1.5], [-1.0, 2.0]], [0.1, 0.2]))
        h = tg.tanh(x @ w + b)
        h.retain_grad()
        first, second = tg.split(h * h + h[:, ::-1], 2, axis=1)
        (first.sum() * second.mean() + tg.exp(b).sum()).backward()
        held = [t.grad for t in (x, w, b, h)]
        assert all(str(g.device).startswith(device) for g in held)
        return [g.to("cpu").numpy() for g in held]

    for ours, reference in zip(gradients("cuda"), gradients("cpu"), strict=True):
        assert ours.dtype == reference.dtype
        np.testing.assert_allclose(ours, reference, rtol=1e-5)


@pytest.mark.gpu
def test_owners_hooks_and_the_version_check_on_cuda():
    import cupy

    x, y, seed = tracked([1.0, 2.0], device="cuda"), tracked([3.0, 4.0], device="cuda"), tg.ones((2,), device="cuda")
    kinds = []
    x.register_hook(lambda g: kinds.append(type(g.data)))
    (x + y).backward(seed)
    assert len({a.data.ptr for a in (x.grad.data, y.grad.data, seed.data)}) == 3
    z = tracked(2.0, device="cuda")
    h = z * 3.0
    h.register_hook(lambda g: kinds.append(type(g.data)))
    (h * h).backward()
    assert kinds == [cupy.ndarray] * 2
    assert z.grad.item() == 36.0
    loss = (x[1:] * y[:1]).sum()
    x.detach()[1:].assign_([5.0])
    with pytest.raises(tg.GradientError, match="overwritten"):
        loss.backward()
    loss = (x * y).sum()
    z.assign_(0.0)
    loss.backward()


@pytest.mark.gpu
def test_transforms_and_checkpoint_on_cuda():
    def f(x):
        return (tg.checkpoint(lambda x: tg.sin(x) * x, x) ** 2).sum()

    x = tg.tensor([0.5, -1.0], dtype="float64", device="cuda")
    for transform in (tg.grad(f), tg.hessian(f), lambda x: tg.jvp(f, [x], [tg.ones_like(x)])[1]):
        result = transform(x)
        assert str(result.device) == "cuda:0"
        np.testing.assert_allclose(result.to("cpu").numpy(), transform(x.to("cpu")).numpy(), rtol=1e-10)
    tg.gradcheck(f, [x], order=2)
    tg.gradcheck(tg.relu, [tg.zeros((2,), device="cuda")], elements=True)
