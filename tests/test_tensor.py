"""Tensor: construction, dtype rules, Python and NumPy values, and that it is a value."""

import copy
import operator
import pickle

import numpy as np
import pytest

import tinygrad_edu as tg

FLOATS = ["float16", "float32", "float64"]


def tracked(data, **keywords):
    return tg.tensor(data, requires_grad=True, **keywords)


# Construction


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.0, "float32"),
        ([1.0, 2], "float32"),
        ([], "float32"),
        (((1.0,), (2.0,)), "float32"),
        (1, "int64"),
        ([[1, 2]], "int64"),
        (True, "bool"),
        (np.float64(2), "float32"),
        (np.float16(2), "float32"),
        ([np.float64(2)], "float32"),
        (np.array(2.0), "float64"),
        (np.ones(2), "float64"),
        (np.ones(2, "float16"), "float16"),
        (np.ones(2, "int8"), "int8"),
        (np.ones(2, "uint64"), "uint64"),
        (np.ones(2, bool), "bool"),
        (np.ones(2, ">f8"), "float64"),
    ],
)
def test_dtype_by_default(data, dtype):
    made = tg.tensor(data)
    assert made.dtype == dtype
    assert type(made.data) is np.ndarray
    assert made.tolist() == np.array(data).tolist()
    assert made.dtype.isnative


def test_dtype_on_request_and_by_default_of_the_thread():
    assert tg.tensor([1, 2], dtype="float32").dtype == np.float32
    assert tg.tensor(np.ones(2), dtype=np.float16).dtype == np.float16
    assert tg.tensor([1.5], dtype="int32").tolist() == [1]
    with tg.use_dtype("float64"):
        assert tg.tensor([1.0]).dtype == np.float64
        assert tg.tensor(np.ones(2, "float32")).dtype == np.float32


def test_tensor_copies():
    array = np.ones(3)
    made = tg.tensor(array)
    array[0] = 7.0
    assert made.tolist() == [1.0, 1.0, 1.0]
    x = tracked([1.0])
    y = tg.tensor(x)
    assert not np.shares_memory(x.data, y.data)
    assert (y.requires_grad, y.node, y.is_leaf) == (False, None, True)
    assert tg.tensor([tg.tensor([1.0, 2.0]), tracked([3.0, 4.0])]).tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_non_contiguous_data():
    made = tg.tensor(np.arange(6.0).reshape(2, 3).T[::-1])
    assert made.tolist() == [[2.0, 5.0], [1.0, 4.0], [0.0, 3.0]]
    assert made.sum(axis=0).tolist() == [3.0, 12.0]


@pytest.mark.parametrize("data", ["abc", None, 1j, [object()], np.ones(2, "complex64"), np.array(["a"]), {1: 2}, {1}])
def test_data_that_is_no_number(data):
    with pytest.raises(TypeError, match="tensor: expected booleans, integers, or floats of 16 to 64 bits, received dt"):
        tg.tensor(data)


def test_extended_precision_is_refused():
    with pytest.raises(TypeError, match="tensor: expected booleans, integers, or floats of 16 to 64 bits"):
        tg.tensor(np.ones(2, "longdouble"))
    with pytest.raises(TypeError, match="tensor: expected booleans, integers, or floats of 16 to 64 bits"):
        tg.tensor([1.0], dtype="complex64")


def test_ragged_lists():
    with pytest.raises(ValueError, match=r"tensor: expected .*nested lists"):
        tg.tensor([[1.0, 2.0], [3.0]])


@pytest.mark.parametrize("dtype", ["int64", "int8", "uint8", "bool"])
def test_only_floats_require_grad(dtype):
    with pytest.raises(TypeError, match=f"requires_grad: expected a floating dtype, received {dtype}"):
        tg.tensor([1, 0], dtype=dtype, requires_grad=True)
    with pytest.raises(TypeError, match="only floats have gradients"):
        tg.ones((2,), dtype=dtype).requires_grad_()
    assert not tg.ones((2,), dtype=dtype).requires_grad_(False).requires_grad


# Dtypes of results


def number_operands(dtype):
    """Numbers of every kind that must not change a float dtype."""
    yield from (2.0, 2, True, np.float64(2), np.float16(2), np.int64(2), np.array(2.0), np.array(2))
    yield np.float64(2).astype(dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("operation", [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow])
def test_numbers_are_weak(operation, dtype):
    x = tracked([1.0, 3.0], dtype=dtype)
    for number in number_operands(dtype):
        for y in (operation(x, number), operation(number, x)):
            assert type(y) is tg.Tensor
            assert y.dtype == dtype, repr(number)
            (g,) = tg.vjp(lambda x, n=number: operation(x, n), x.detach())[1](tg.ones((2,), dtype=dtype))
            assert g.dtype == dtype


@pytest.mark.parametrize("dtype", FLOATS)
def test_integers_with_floats(dtype):
    x = tg.tensor([1.0, 3.0], dtype=dtype)
    n = tg.tensor([2, 4])
    for y in (x * n, n * x, x / n, n - x, n @ x, x * n.numpy(), tg.maximum(x, n)):
        assert y.dtype == dtype
    assert (n * x).tolist() == [2.0, 12.0]


def test_integers_alone():
    n = tg.tensor([2, 4])
    assert (n + 1).dtype == (n * n).dtype == (n @ n).dtype == n.sum().dtype == np.int64
    for dtype in FLOATS:
        with tg.use_dtype(dtype):
            for y in (tg.exp(n), n.mean(), n / 2, n / n, tg.sqrt(n), n + 0.5, tg.sigmoid(n), tg.softmax(n)):
                assert y.dtype == dtype
    assert tg.tensor([1], dtype="int8").astype("float16").dtype == np.float16


def test_mixed_floats_promote_and_gradients_keep_their_dtypes():
    x, y, w = tracked([1.0], dtype="float64"), tracked([2.0], dtype="float32"), tracked([2.0], dtype="float16")
    z = x * y * w
    assert z.dtype == np.float64
    z.sum().backward()
    assert [t.grad.dtype for t in (x, y, w)] == ["float64", "float32", "float16"]


def test_comparisons_and_logic_are_booleans():
    x = tg.tensor([1.0, 2.0])
    for y in (x == 1.0, x != 1, x < 2, x <= x, x > 0, x >= np.float64(2), (x > 1) & (x < 3), (x > 1) | (x < 0)):
        assert (type(y), y.dtype) == (tg.Tensor, bool)
    assert ((x > 1) ^ (x > 0)).tolist() == [True, False]
    assert (~(x > 1)).tolist() == [True, False]


def test_0d_results_are_arrays():
    x = tracked([1.0, 2.0])
    for y in (x.sum(), x[0], x @ x, x.sum() * 2.0, tg.exp(x.sum()), x.max(), (x > 0).all(), x.argmax()):
        assert type(y.data) is np.ndarray
        assert y.shape == ()


# NumPy


def test_numpy_defers_to_tensors():
    array = np.array([1.0, 2.0], dtype=np.float32)
    x = tracked([3.0, 4.0])
    for y, expected in [
        (array * x, [3.0, 8.0]),
        (array + x, [4.0, 6.0]),
        (array - x, [-2.0, -2.0]),
        (array / x, [np.float32(1) / np.float32(3), 0.5]),
        (array**x, [1.0, 16.0]),
        (array @ x, 11.0),
        (np.float64(2.0) * x, [6.0, 8.0]),
        (np.array(2.0) * x, [6.0, 8.0]),
        (array == x, [False, False]),
        (array < x, [True, True]),
    ]:
        assert type(y) is tg.Tensor
        assert y.tolist() == expected
        assert y.dtype in (np.float32, bool)
    array *= 2.0
    kept = array
    array = array * x
    assert (type(array), kept.tolist()) == (tg.Tensor, [2.0, 4.0])


def test_numpy_ufuncs_refuse_tensors():
    with pytest.raises(TypeError):
        np.exp(tg.ones((2,)))


def test_functions_on_arrays_give_arrays():
    array = np.ones((2, 2), dtype=np.float32)
    for y in (tg.exp(array), tg.multiply(array, 2.0), tg.matmul(array, array), array.sum(), tg.sum(array)):
        assert not isinstance(y, tg.Tensor)
        assert y.dtype == np.float32
    assert type(tg.sum(array)) is np.ndarray


@pytest.mark.parametrize("operand", [[1.0, 2.0], (1.0, 2.0), "ab", {}, object()])
def test_operands_that_are_no_arrays(operand):
    with pytest.raises(TypeError, match="multiply: expected tensors, arrays or numbers, received"):
        tg.multiply(tg.ones((2,)), operand)
    with pytest.raises(TypeError):
        tg.exp(operand)


def test_lists_raise_with_a_hint():
    for call in (lambda: tg.exp([1.0]), lambda: tg.ones((1,)) * [1.0], lambda: [1.0] * tg.ones((1,))):
        with pytest.raises(TypeError, match=r"received list\. Hint: make it one with tg\.tensor\(\.\.\.\)\."):
            call()


def test_shapes_that_do_not_broadcast():
    with pytest.raises(
        tg.ShapeError, match=r"add: expected shapes that broadcast, received float32\[2\] and float32\["
    ):
        tg.ones((2,)) + tg.ones((3,))
    assert issubclass(tg.ShapeError, ValueError)


def test_array_conversion():
    x = tg.tensor([[1.0, 2.0]])
    assert np.asarray(x).tolist() == [[1.0, 2.0]]
    assert np.asarray(x, dtype="float64").dtype == np.float64
    assert np.shares_memory(np.asarray(x), x.data)
    assert not np.shares_memory(np.array(x), x.data)
    assert np.stack([x, x]).shape == (2, 1, 2)
    with pytest.raises(ValueError, match="copy"):
        np.array(x, dtype="float64", copy=False)


def test_numpy_is_a_view_that_cannot_be_written():
    x = tg.tensor([1.0, 2.0])
    array = x.numpy()
    assert np.shares_memory(array, x.data)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 5.0
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(x)[0] = 5.0
    x.assign_([3.0, 4.0])
    assert array.tolist() == [3.0, 4.0]


def test_tracked_tensors_do_not_become_arrays_silently():
    x = tracked([1.0])
    for call in (x.numpy, lambda: np.asarray(x), (x * 2).numpy):
        with pytest.raises(tg.GradientError, match=r"numpy: expected .*Hint: call \.detach\(\)\.numpy\(\)"):
            call()
    assert x.detach().numpy().tolist() == [1.0]


# Python values


def test_item_and_tolist():
    assert (tg.tensor(2.5).item(), type(tg.tensor([[2]]).item()), tg.tensor([True]).item()) == (2.5, int, True)
    assert tracked([[1.0, 2.0]]).tolist() == [[1.0, 2.0]]
    with pytest.raises(tg.ShapeError, match=r"item: expected a tensor with one element, received shape \(2,\)"):
        tg.ones((2,)).item()
    with pytest.raises(tg.ShapeError, match="item: expected a tensor with one element"):
        tg.ones((0,)).item()


def test_float_int_and_index():
    assert float(tg.tensor([2.5])) == 2.5
    assert int(tg.tensor(2.5)) == 2
    assert float(tracked(3.0)) == 3.0
    assert [10, 20, 30][tg.tensor(1)] == 20
    assert list(range(tg.tensor([3]))) == [0, 1, 2]
    with pytest.raises(TypeError, match="index: expected an integer tensor, received dtype float32"):
        [10, 20][tg.tensor(1.0)]
    with pytest.raises(TypeError, match="index: expected an integer tensor, received dtype bool"):
        [10, 20][tg.tensor(True)]
    for convert in (float, int):
        with pytest.raises(tg.ShapeError, match="a tensor with one element"):
            convert(tg.ones((2,)))


def test_bool():
    assert bool(tg.tensor(2.0)) is bool(tg.tensor([[True]])) is True
    assert bool(tg.tensor(0)) is False
    for shape in ((2,), (0,), (1, 2)):
        with pytest.raises(tg.ShapeError, match=r"bool: .* one element, received shape .*Hint: use \.all\(\) or \.any"):
            bool(tg.ones(shape))


def test_len_and_iteration():
    x = tracked([[1.0, 2.0], [3.0, 4.0]])
    assert len(x) == 2
    rows = list(x)
    assert [row.tolist() for row in rows] == [[1.0, 2.0], [3.0, 4.0]]
    (rows[0] * rows[1]).sum().backward()
    assert x.grad.tolist() == [[3.0, 4.0], [1.0, 2.0]]
    assert list(tg.zeros((0, 3))) == []
    a, b = tg.tensor([1, 2])
    assert (a.item(), b.item()) == (1, 2)
    for call in (len, iter, list):
        with pytest.raises(TypeError, match="len: expected a tensor with axes, received a 0-d tensor"):
            call(tg.tensor(1.0))


def test_membership_and_hash():
    x = tg.tensor([1, 2])
    assert 2 in x
    assert 5 not in x
    assert len({x, x, tg.tensor([1, 2])}) == 2
    assert {x: "value"}[x] == "value"


def test_repr():
    assert repr(tg.tensor(2.0)) == "tensor(2.)"
    assert repr(tg.tensor([1, 2])) == "tensor([1, 2], dtype=int64)"
    assert repr(tracked([1.0, 2.0])) == "tensor([1., 2.], requires_grad=True)"
    assert repr(tracked([1.0], dtype="float64") * 2) == "tensor([2.], dtype=float64, requires_grad=True)"
    assert repr(tg.eye(2)) == "tensor([[1., 0.],\n        [0., 1.]])"
    assert repr(tg.zeros((0, 2))).startswith("tensor([]")
    assert len(repr(tg.zeros((1000, 1000)))) < 2000
    assert str(tg.tensor([1.0])) == "tensor([1.])"


def test_format():
    assert f"{tg.tensor(2.5):.3f} {tg.tensor([3]):04d} {tg.tensor([1.0])}" == "2.500 0003 tensor([1.])"
    with pytest.raises(tg.ShapeError, match="one element"):
        f"{tg.ones((2,)):.3f}"


def test_copies():
    x = tracked([1.0, 2.0])
    for y in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert (y.tolist(), y.requires_grad, y.grad) == ([1.0, 2.0], True, None)
        y.assign_(5.0)
    assert x.tolist() == [1.0, 2.0]


# Values, and the one way to write


def test_augmented_assignment_makes_a_new_tensor():
    x = tracked([1.0, 2.0])
    for operation in (operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ipow, operator.imatmul):
        y = operation(x, x)
        assert y is not x
        assert x.tolist() == [1.0, 2.0]
    y = x
    y += 1.0
    y *= y
    assert (x.tolist(), y.tolist()) == ([1.0, 2.0], [4.0, 9.0])
    y.sum().backward()
    assert x.grad.tolist() == [4.0, 6.0]
    loss = 0.0
    for _ in range(3):
        loss += x.detach().sum()
    assert loss.item() == 9.0


@pytest.mark.parametrize("key", [0, slice(None), (0, 1), ..., np.array([0]), [True, False]])
def test_item_assignment_raises(key):
    x = tg.ones((2, 2))
    with pytest.raises(TypeError, match=r"tensors are values.*Hint: y = tg\.index_put\(x, key, value\)"):
        x[key] = 5.0
    assert x.tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_unknown_attributes_cannot_be_set():
    with pytest.raises(AttributeError):
        tg.ones((2,)).requires_gard = True


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (7.0, [7.0, 7.0]),
        (7, [7.0, 7.0]),
        (np.float64(7), [7.0, 7.0]),
        (np.float32(7), [7.0, 7.0]),
        ([1.0, 2.0], [1.0, 2.0]),
        (np.array([1.0, 2.0]), [1.0, 2.0]),
        (tg.tensor([1, 2]), [1.0, 2.0]),
    ],
)
def test_assign(value, expected):
    x = tracked([3.0, 4.0])
    array = x.data
    assert x.assign_(value) is x
    assert x.tolist() == expected
    assert x.data is array
    assert (x.dtype, x.requires_grad, x.is_leaf) == (np.float32, True, True)


@pytest.mark.parametrize("value", [[1.0], [[1.0, 2.0]], np.ones((2, 2)), np.ones(()), tg.tensor(1.0), []])
def test_assign_does_not_broadcast(value):
    x = tg.ones((2,))
    with pytest.raises(tg.ShapeError, match=r"assign_: expected shape \(2,\), received \("):
        x.assign_(value)
    assert x.tolist() == [1.0, 1.0]


def test_assign_refuses_results_of_operations():
    y = tracked([1.0]) * 2.0
    with pytest.raises(tg.GradientError, match=r"assign_: expected a leaf, .*Hint: assign to x\.detach\(\)"):
        y.assign_(0.0)


def test_assign_refuses_what_is_no_array():
    for value in ("ab", None, [None, None], object()):
        with pytest.raises((TypeError, ValueError), match="assign_: expected"):
            tg.ones((2,)).assign_(value)


def test_assign_refuses_views_that_overlap_themselves():
    with pytest.raises(ValueError, match=r"assign_|read-only"):
        tg.broadcast_to(tg.ones((1,)), (3,)).assign_(2.0)


def test_assign_from_itself_reversed():
    x = tg.tensor([1.0, 2.0, 3.0])
    x.assign_(x[::-1])
    assert x.tolist() == [3.0, 2.0, 1.0]


# Leaves


def test_leaf_attributes():
    x = tracked([[1.0, 2.0, 3.0]])
    y = x * 2.0
    assert (x.is_leaf, x.node, x.grad, x.shape, x.ndim, x.size) == (True, None, None, (1, 3), 2, 3)
    assert (y.is_leaf, y.requires_grad, y.grad) == (False, True, None)
    assert (x.detach() * 2.0).is_leaf
    assert str(x.device) == "cpu"


def test_detach_shares_the_array():
    x = tracked([1.0])
    y = x.detach()
    assert y.data is x.data
    assert not y.requires_grad
    assert (x * 2.0).detach().node is None


def test_requires_grad_of_results():
    y = tracked([1.0]) * 2.0
    for wanted in (True, False):
        with pytest.raises(tg.GradientError, match=r"requires_grad_: expected a leaf, .*Hint: use \.detach\(\)"):
            y.requires_grad_(wanted)
    x = tg.ones((2,)).requires_grad_()
    assert (x * 2.0).requires_grad
    assert not (x.requires_grad_(False) * 2.0).requires_grad
