"""Wrong arguments of operations: each raises the documented exception, with a text in the house form."""

import math  # noqa: F401  (for the calls)
import re

import numpy
import pytest

import tinygrad_edu as tg
from tinygrad_edu import DeviceError


def x(*shape, dtype="float32"):
    return tg.tensor(numpy.ones(shape), dtype=dtype)


def ids(values):
    return tg.tensor(values, dtype="int64")


IMAGE = (1, 4, 4, 2)

# Pairs of lines: a call, and the exception with a part of its text, of the form `where: expected ..., received ...`.
WRONG = """
# element-wise: shapes and operands
x(2, 3) + x(2)
    ShapeError: shapes that broadcast, received float32[2, 3] and float32[2]
x(2) * x(3)
    ShapeError: shapes that broadcast, received float32[2] and float32[3]
x(2) + [1.0, 2.0]
    TypeError: tensors, arrays or numbers, received list. Hint: make it one with tg.tensor
[1.0, 2.0] + x(2)
    TypeError: tensors, arrays or numbers, received list
tg.exp([1.0])
    TypeError: tensors, arrays or numbers, received list
tg.exp((1.0,))
    TypeError: tensors, arrays or numbers, received tuple
x(2) * 'a'
    TypeError: tensors, arrays or numbers, received str
tg.exp('a')
    TypeError: tensors, arrays or numbers, received str
tg.exp(None)
    TypeError: tensors, arrays or numbers, received NoneType
x(2) + None
    TypeError: tensors, arrays or numbers, received NoneType
tg.maximum(x(2), [0.0, 1.0])
    TypeError: tensors, arrays or numbers, received list
tg.where(x(2) > 0, x(2), x(3))
    ShapeError: shapes that broadcast
tg.where([True, False], x(2), x(2))
    TypeError: tensors, arrays or numbers, received list
tg.add(numpy.array(['a']), 1.0)
    TypeError: shapes that broadcast, received <U1[1] and 1.0. Hint: the array module said: ufunc 'add' did not
x(1) + numpy.array(['a'])
    TypeError: shapes that broadcast, received float32[1] and <U1[1]. Hint: the array module said: ufunc 'add' did not
x(2).astype('complex64')
    TypeError: booleans, integers, or floats
ids([2, 3]) ** ids([-1, -1])
    ShapeError: shapes that broadcast, and no negative exponents for integers
ids([2, 3]) ** -1
    ShapeError: no negative exponents for integers, received int64[2]
2 ** ids([-1])
    ShapeError: shapes that broadcast, and no negative exponents for integers
tg.prelu(x(2, 3), x(2))
    ShapeError: shapes that broadcast, received float32[2, 3] and float32[2]
tg.soft_shrink(x(2), -1.0)
    ValueError: soft_shrink: expected threshold to be a number of at least 0, received -1.0
tg.celu(x(2), 0.0)
    ValueError: celu: expected alpha to be a number above 0, received 0.0
tg.squareplus(x(2), -1.0)
    ValueError: squareplus: expected b to be a number of at least 0, received -1.0
tg.glu(x(2, 3))
    ShapeError: an even length of axis 1, received shape (2, 3)
tg.glu([1.0, 2.0])
    TypeError: tensors or arrays, received list

# reductions: axes
x(2, 3).sum(axis=2)
    ShapeError: an axis from -2 to 1, received 2
x(2, 3).sum(axis=-3)
    ShapeError: an axis from -2 to 1, received -3
x().sum(axis=0)
    ShapeError: no axis for a 0-d array, received 0
x(2, 3).sum(axis=(0, -2))
    ShapeError: each axis once, received (0, -2)
x(2, 3).sum(axis=1.0)
    TypeError: an integer axis, received 1.0
x(2, 3).sum(axis='rows')
    TypeError: an integer axis, received
tg.sum([1.0, 2.0])
    TypeError: tensors or arrays, received list
x(0, 3).max(axis=0)
    ShapeError: at least one element to choose from, received float32[0, 3]
x(0).min()
    ShapeError: at least one element to choose from
x(0).argmax()
    ShapeError: at least one element to choose from
x(2, 3).argmax(axis=(0, 1))
    TypeError: an integer axis, received (0, 1)
tg.logsumexp(x(0, 3), axis=0)
    ShapeError: at least one element along the axes
tg.norm(x(3), ord=0)
    ValueError: an order above 0, received 0
tg.var(x(1, 3), axis=0, ddof=1)
    ShapeError: more than 1 elements to reduce, received 1
tg.std(x(0, 3), axis=0)
    ShapeError: more than 0 elements to reduce, received 0
x(2).cumsum(axis=1)
    ShapeError: an axis from -1 to 0, received 1
x(2).cumprod(axis=1)
    ShapeError: an axis from -1 to 0, received 1
tg.cumprod([1.0])
    TypeError: tensors or arrays, received list

# sorting
x().sort()
    ShapeError: no axis for a 0-d array, received -1
x(2).argsort(axis=1)
    ShapeError: an axis from -1 to 0, received 1
tg.sort([2.0, 1.0])
    TypeError: tensors or arrays, received list
tg.topk(x(2, 3), 4)
    ShapeError: at least 4 elements along axis 1, received shape (2, 3)
tg.topk(x(3), -1)
    ValueError: k to be an integer of at least 0, received -1
tg.topk(x(3), 1.5)
    TypeError: k to be an integer of at least 0, received 1.5
tg.searchsorted(x(2, 2), x(2))
    ShapeError: a 1-D sequence, received shape (2, 2)
tg.searchsorted(x(2), x(2), side='middle')
    ValueError: side to be one of 'left', 'right', received 'middle'
tg.searchsorted(ids([2, 1]), ids([1]))
    ValueError: an ascending sequence, received another order. Hint: use tg.sort
tg.searchsorted(tg.tensor([math.nan, 1.0, 2.0]), x(2))
    ValueError: an ascending sequence, received another order. Hint: use tg.sort
tg.searchsorted(x(2), 1.0)
    TypeError: tensors or arrays, received float

# shapes
x(2, 3).reshape(4)
    ShapeError: a shape for 6 elements (of (2, 3)), received (4,)
x(2, 3).reshape(-1, -1)
    ShapeError: a shape for 6 elements
x(2, 3).reshape(4, -1)
    ShapeError: a shape for 6 elements
x(2, 3).reshape(-2, -3)
    ShapeError: a shape for 6 elements
x(0, 3).reshape(0, -1)
    ShapeError: a shape for 0 elements
x(4).reshape(2.0, 2.0)
    TypeError: integers, received (2.0, 2.0)
tg.transpose(x(2, 3), (0,))
    ShapeError: all of the 2 axes of shape (2, 3), received (0,)
tg.transpose(x(2, 3), (0, 0))
    ShapeError: each axis once, received (0, 0)
x(2, 3).swapaxes(0, 2)
    ShapeError: an axis from -2 to 1, received 2
tg.moveaxis(x(2, 3), (0, 1), 0)
    ShapeError: as many destinations as sources
x(2).expand_dims(3)
    ShapeError: an axis from -2 to 1, received 3
x(2, 1).squeeze(axis=0)
    ShapeError: axes of length 1, received axis 0 of shape (2, 1)
tg.broadcast_to(x(2), (3,))
    ShapeError: a shape that broadcasts to the new one
tg.concatenate([x(2, 3), x(2, 4)])
    ShapeError: arrays that differ along the axis only
tg.concatenate([])
    TypeError: a list or tuple of at least one array
tg.concatenate(x(2, 3))
    TypeError: a list or tuple of at least one array, received Tensor
tg.concatenate([[1.0], [2.0]])
    TypeError: a list or tuple of at least one array
tg.concatenate([x(), x()])
    ShapeError: no axis for a 0-d array
tg.stack([x(2), x(3)])
    ShapeError: arrays of one shape
tg.stack([x(2)], axis=2)
    ShapeError: an axis from -2 to 1, received 2
tg.split(x(5), 2)
    ShapeError: a number of sections that divides 5, received 2
tg.split(x(5), 0)
    ValueError: sections to be an integer of at least 1, received 0
tg.split(x(5), 2.5)
    TypeError: sections to be an integer of at least 1, received 2.5
tg.split(x(5), (3, 1))
    ShapeError: increasing positions from 0 to 5, received (3, 1)
tg.pad(x(2, 3), ((1, 1),) * 3)
    ShapeError: widths of at least 0, a pair for each of 2 axes
tg.pad(x(2), -1)
    ShapeError: widths of at least 0
tg.pad(x(2), 1, mode='mirror')
    ValueError: mode to be one of 'constant', 'edge', 'reflect', received 'mirror'
tg.pad(x(2), 1, 3.0, mode='edge')
    ValueError: no value in mode 'edge', received 3.0
tg.pad(x(2, 3), ((0, 2), (0, 0)), mode='reflect')
    ShapeError: at least 3 elements along axis 0, received shape (2, 3)
tg.pad(x(0, 3), 1, mode='edge')
    ShapeError: at least 1 elements along axis 0, received shape (0, 3)
tg.pad(x(2), 1, x())
    TypeError: a number as value, received Tensor
tg.roll(x(2, 3), (1, 2), axis=0)
    ShapeError: a shift for each axis
x(2).repeat(-1)
    ValueError: repeats to be an integer of at least 0, received -1
tg.tile(x(2), -1)
    ValueError: lengths of at least 0, received (-1,)
tg.tril(x(3))
    ShapeError: at least two axes, received shape (3,)
x(3).diagonal()
    ShapeError: at least two axes, received shape (3,)
x(3, 3).diagonal(0, 1, 1)
    ShapeError: each axis once, received (1, 1)

# indexing
x(2, 3)[5]
    IndexError: a key that fits the axes
x(2, 3)[0, 0, 0]
    IndexError: at most 2 indices and one ... for shape (2, 3), received 3 indices
x(2, 3)[..., ...]
    IndexError: at most 2 indices and one ...
x(2)[1.0]
    TypeError: integers, slices, None, ... and arrays of integers or booleans, received float
x(2)['a']
    TypeError: integers, slices, None, ... and arrays of integers or booleans, received str
x(2)[True]
    TypeError: integers, slices, None
x(2)[x(2)]
    TypeError: integers, slices, None, ... and arrays of integers or booleans, received dtype float32
x(2, 3)[x(3) > 0]
    IndexError: a mask of shape (2,), received (3,)
x(3)[ids([0, 3])]
    IndexError: expected indices from -3 to 2, received 3
x(3)[ids([0, -4])]
    IndexError: expected indices from -3 to 2, received -4
x(2).__setitem__(0, 1.0)
    TypeError: no assignment, tensors are values, received one. Hint: y = tg.index_put
tg.take(x(3), [3])
    IndexError: expected indices from -3 to 2, received 3
tg.take(x(3), [0], axis=1)
    ShapeError: an axis from -1 to 0, received 1
tg.take_along_axis(x(2, 3), ids([0]), 1)
    ShapeError: indices with 2 axes, received (1,)
tg.take_along_axis(x(2, 3), ids([[3], [0]]), 1)
    IndexError: expected indices from -3 to 2, received 3
tg.scatter_add(x(3), [0, 1], x(3))
    ShapeError: a shape that broadcasts to the new one
tg.scatter_add(x(3), [0, 1], ids([1, 2]))
    TypeError: values of dtype float32, received int64. Hint: use .astype()
tg.scatter_add(x(3), [3], 1.0)
    IndexError: expected indices from -3 to 2, received 3
tg.index_put(x(3), [0, 0], x(2))
    ValueError: each index once, received repeated ones. Hint: scatter_add
tg.index_put(x(3), [0], x(1, dtype='float64'))
    TypeError: values of dtype float32, received float64
tg.index_put(ids([1, 2]), [0], 2.7)
    ValueError: values to be whole and in the range of int64, received 2.7
tg.one_hot(ids([0, 3]), 3)
    IndexError: indices from 0 to 2, received 3
tg.one_hot(ids([-1]), 3)
    IndexError: indices from 0 to 2, received -1
tg.one_hot(x(2), 3)
    TypeError: ids of an integer dtype, received float32
tg.one_hot([0, 1], 3)
    TypeError: ids of an integer dtype, received list

# linear algebra
x(2, 3) @ x(2, 3)
    ShapeError: two stacks of matrices
x(2, 3) @ x(2)
    ShapeError: as many columns in the first as rows in the second, received (2, 3) and (2,)
x() @ x(2)
    ShapeError: as many columns in the first as rows in the second
x(2, 2, 3) @ x(3, 3, 2)
    ShapeError: two stacks of matrices
x(2, 2) @ [[1.0], [2.0]]
    TypeError: tensors, arrays or numbers, received list
x(2, 2) @ 2.0
    ShapeError: two stacks of matrices
tg.dot(x(2), x(3))
    ShapeError: as many columns in the first as rows in the second
tg.tensordot(x(2, 3), x(2, 3), axes=1)
    ShapeError: paired axes of equal lengths
tg.tensordot(x(2), x(2), axes=2)
    ShapeError: 2 axes in both operands, received (2,) and (2,)
tg.tensordot(x(2), x(2), -1)
    ValueError: axes to be an integer of at least 0, received -1
x(3).trace()
    ShapeError: at least two axes
tg.einsum('ij,jk->ik', x(2, 3), x(2, 3))
    ShapeError: one length for each letter of 'ij,jk->ik'
tg.einsum('ij,jk->ik', x(2, 3))
    ValueError: subscripts of letters for 1 operands, received 'ij,jk->ik'
tg.einsum('i->', [1.0])
    TypeError: tensors or arrays, received list
tg.einsum('i1->i', x(2, 3))
    ValueError: subscripts of letters
tg.einsum('ij->ik', x(2, 3))
    ValueError: a result with letters of the operands, each once
tg.einsum('ij->ii', x(2, 3))
    ValueError: a result with letters of the operands, each once
tg.einsum('ijk->i', x(2, 3))
    ShapeError: an operand with 3 axes for 'ijk', received shape (2, 3)
tg.einsum('ii->i', x(2, 3))
    ShapeError: equal lengths along 'i', received shape (2, 3)
tg.det(numpy.ones((2, 2), dtype='complex64'))
    TypeError: det: expected real numbers, received complex64
tg.svd(numpy.ones((2, 2), dtype='complex64'))
    TypeError: svd: expected real numbers, received complex64
tg.inv(x(2, 3))
    ShapeError: square matrices, also in a stack, received shape (2, 3)
tg.det(x(3))
    ShapeError: square matrices, also in a stack, received shape (3,)
tg.svd(x(3))
    ShapeError: matrices, also in a stack, received shape (3,)
tg.eigh([[1.0]])
    TypeError: tensors or arrays, received list
tg.inv(x(2, 2))
    ValueError: an invertible matrix, received another one (Singular matrix)
tg.solve(x(2, 2), x(2))
    ValueError: an invertible matrix, received another one (Singular matrix)
tg.solve(x(2, 2), x(3))
    ShapeError: a of shape (..., n, n) and b of shape (n,) or (..., n, k), received (2, 2) and (3, 1)
tg.solve(x(2, 2, 2), x(3, 2, 1))
    ShapeError: a of shape (..., n, n) and b of shape (n,) or (..., n, k), received (2, 2, 2) and (3, 2, 1)
tg.solve(x(2, 2), x())
    ShapeError: matrices, also in a stack, received shape ()
tg.solve(x(2, 2), [1.0, 2.0])
    TypeError: tensors or arrays, received list
tg.cholesky(-x(2, 2))
    ValueError: a positive definite matrix, received another one
tg.grad(tg.det)(x(2, 2))
    ValueError: an invertible matrix, received another one (Singular matrix)

# networks
tg.linear(x(4, 3), x(2, 3), x(2))
    ShapeError: x (..., inputs), weight (inputs, outputs) and bias (outputs,), received (4, 3), (2, 3) and (2,)
tg.linear(x(4, 3), x(3, 2), x(3))
    ShapeError: x (..., inputs), weight
tg.linear([[1.0, 2.0]], x(2, 1))
    TypeError: tensors or arrays, received list
tg.linear(x(1, 2), x(2, 1), [1.0])
    TypeError: tensors or arrays, received list
tg.softmax(x(2, 3), axis=2)
    ShapeError: an axis from -2 to 1, received 2
tg.softmax(x())
    ShapeError: no axis for a 0-d array
tg.cross_entropy(x(2, 3), ids([0, 3]))
    IndexError: indices from 0 to 2, received 3
tg.cross_entropy(x(2, 3), ids([0, -1]))
    IndexError: indices from 0 to 2, received -1
tg.cross_entropy(x(2, 3), x(2))
    ShapeError: probabilities of shape (2, 3), received (2,). Hint: class ids must be integers
tg.cross_entropy(x(2, 3), ids([[1, 0, 0], [0, 1, 0]]))
    ShapeError: integer ids of shape (2,), received int64 of shape (2, 3). Hint: one-hot targets must be floating
tg.cross_entropy(x(2, 3), ids([[0], [1]]))
    ShapeError: integer ids of shape (2,), received int64 of shape (2, 1)
tg.cross_entropy(x(2, 3), x(2, 1))
    ShapeError: probabilities of shape (2, 3), received (2, 1)
tg.cross_entropy(x(2, 3), x(2) > 0)
    TypeError: integer ids
tg.cross_entropy(x(2, 3), ids([0, 1]), label_smoothing=1.5)
    ValueError: label_smoothing from 0 to 1, received 1.5
tg.cross_entropy(x(2, 3), x(2, 3), ignore_index=1)
    ValueError: ignore_index with integer ids only, received probabilities
tg.cross_entropy(x(2, 3), ids([0, 1]), reduction='avg')
    ValueError: reduction 'mean', 'sum' or 'none', received 'avg'
tg.cross_entropy(x(2, 3), [0, 1])
    TypeError: tensors or arrays, received list
tg.binary_cross_entropy_with_logits(x(4, 1), x(4))
    ShapeError: targets of shape (4, 1), received (4,). Hint: use .reshape()
tg.binary_cross_entropy_with_logits(x(2), 2.0 * x(2))
    ValueError: targets from 0 to 1, received values from 2 to 2
tg.binary_cross_entropy_with_logits(x(2), [0.0, 1.0])
    TypeError: tensors or arrays, received list
tg.dropout(x(2), 1.0)
    ValueError: a rate from 0 to below 1, received 1.0
tg.dropout(x(2), 1.5)
    ValueError: a rate from 0 to below 1, received 1.5
tg.dropout(x(2), -0.1)
    ValueError: a rate from 0 to below 1, received -0.1
tg.dropout(x(2), float('nan'))
    ValueError: a rate from 0 to below 1, received nan
tg.dropout(x(2), 0.5, seed=1.5)
    ValueError: dropout: expected seed to be an integer from 0 to 2**64 - 1, received 1.5
tg.dropout(x(2), 0.5, seed=-1)
    ValueError: dropout: expected seed to be an integer from 0 to 2**64 - 1, received -1
tg.dropout(x(2), 0.5, seed=2**70)
    ValueError: dropout: expected seed to be an integer from 0 to 2**64 - 1
tg.dropout(x(2), 0.5, seed='a')
    ValueError: dropout: expected seed to be an integer from 0 to 2**64 - 1, received 'a'
tg.dropout(x(2), 0.5, noise_shape=3)
    TypeError: dropout: expected a noise_shape that is a tuple, received 3
tg.dropout(ids([1, 2]), 0.5)
    TypeError: a floating dtype, received int64
tg.embedding(x(5, 2), ids([5]))
    IndexError: indices from 0 to 4, received 5
tg.embedding(x(5, 2), ids([-1]))
    IndexError: indices from 0 to 4, received -1
tg.embedding(x(5, 2), x(2))
    TypeError: ids of an integer dtype, received float32
tg.embedding(x(5), ids([0]))
    ShapeError: a weight of shape (vocabulary, features), received (5,)
tg.layer_norm(x(2, 3), x(2), x(3))
    ShapeError: parameters of shape (3,), the lengths of axes (1,) of (2, 3), received (2,), (3,)
tg.layer_norm(x(2, 3), x(3), x(3), axis=0)
    ShapeError: parameters of shape (2,), the lengths of axes (0,) of (2, 3), received (3,), (3,)
tg.layer_norm(x(2, 3), x(2, 3), x(2, 3), axis=(1, 1))
    ShapeError: each axis once, received (1, 1)
tg.rms_norm(x(2, 3), x(2))
    ShapeError: parameters of shape (3,), the lengths of axes (1,) of (2, 3), received (2,)
tg.rms_norm(x(2, 3), [1.0])
    TypeError: tensors or arrays, received list
tg.layer_norm(x(2, 3), x(3), x(3), epsilon=-5.0)
    ValueError: layer_norm: expected epsilon to be a number of at least 0, received -5.0
tg.rms_norm(x(2, 3), x(3), epsilon=-5.0)
    ValueError: rms_norm: expected epsilon to be a number of at least 0, received -5.0
tg.batch_norm(x(2, 3), x(3), x(3), epsilon=math.nan)
    ValueError: batch_norm: expected epsilon to be a number of at least 0, received nan
tg.batch_norm_inference(x(2, 3), x(3), x(3), x(3), x(3), epsilon='a')
    TypeError: batch_norm_inference: expected epsilon to be a number of at least 0, received 'a'
tg.group_norm(x(2, 6), x(6), x(6), 2, epsilon=-1)
    ValueError: group_norm: expected epsilon to be a number of at least 0, received -1
tg.group_norm(x(2, 6), x(6), x(6), groups=4)
    ShapeError: x of shape (samples, ..., channels) with channels that 4 groups divide, received (2, 6)
tg.group_norm(x(6), x(6), x(6), groups=2)
    ShapeError: x of shape (samples, ..., channels)
tg.group_norm(x(2, 6), x(6), x(6), groups=0)
    ValueError: groups to be an integer of at least 1, received 0
tg.group_norm(x(2, 6), x(3), x(6), groups=2)
    ShapeError: parameters of shape (6,)
tg.layer_norm([1.0, 2.0], x(2), x(2))
    TypeError: tensors or arrays, received list
tg.layer_norm(x(2, 2), x(2), [1.0, 2.0])
    TypeError: tensors or arrays, received list
tg.batch_norm(x(4, 3), x(3), x(3), axis=(1,))
    TypeError: an integer axis, received (1,)
tg.batch_norm(x(4, 1), [1.0], x(1))
    TypeError: tensors or arrays, received list
tg.batch_norm_inference(x(4, 1), x(1), x(1), x(1), [1.0])
    TypeError: tensors or arrays, received list
tg.batch_norm(x(1, 3), x(3), x(3))
    ShapeError: more than one value per channel, received shape (1, 3). Hint: use a larger batch
tg.batch_norm(x(0, 3), x(3), x(3))
    ShapeError: more than one value per channel, received shape (0, 3)
tg.batch_norm(x(4, 3), x(2), x(3))
    ShapeError: parameters of shape (3,), the lengths of axes (1,) of (4, 3), received (2,), (3,)
tg.batch_norm_inference(x(4, 3), x(3), x(3), x(2), x(3))
    ShapeError: parameters of shape (3,)
tg.conv2d(x(4, 4, 2), x(2, 2, 2, 1))
    ShapeError: a batch (n, height, width, channels), received shape (4, 4, 2)
tg.conv1d(x(*IMAGE), x(2, 2, 1))
    ShapeError: a batch (n, length, channels), received shape (1, 4, 4, 2)
tg.conv3d(x(*IMAGE), x(2, 2, 2, 2, 1))
    ShapeError: a batch (n, depth, height, width, channels), received shape (1, 4, 4, 2)
tg.conv2d(x(*IMAGE), x(5, 5, 2, 1))
    ShapeError: a padded image of at least (5, 5), received (4, 4). Hint: use padding='same'
tg.conv2d(x(*IMAGE), x(3, 1, 2, 1), dilation=2)
    ShapeError: a padded image of at least (5, 1), received (4, 4)
tg.conv2d(x(*IMAGE), x(2, 2, 2, 1), strides=0)
    ValueError: strides to be an integer of at least 1 or 2 of them, received 0
tg.conv2d(x(*IMAGE), x(2, 2, 2, 1), strides=1.5)
    ValueError: strides to be an integer of at least 1 or 2 of them, received 1.5
tg.conv2d(x(*IMAGE), x(2, 2, 2, 1), strides=True)
    ValueError: strides to be an integer of at least 1 or 2 of them, received True
tg.conv2d(x(*IMAGE), x(2, 2, 2, 1), strides=numpy.array([1, 1]))
    ValueError: strides to be an integer of at least 1 or 2 of them, received [1 1]
tg.conv2d(x(*IMAGE), x(2, 2, 2, 1), padding=numpy.array([1, 1]))
    ValueError: padding to be an integer of at least 0 or 2 of them, received [1 1]
tg.conv1d(x(1, 4, 2), x(2, 2, 1), padding=numpy.array([1, 1]))
    ValueError: padding to be an integer of at least 0 or 2 of them, received [1 1]
tg.conv2d_transpose(x(*IMAGE), x(2, 2, 1, 2), padding=numpy.array([1, 1]))
    ValueError: padding to be an integer of at least 0 or 2 of them, received [1 1]
tg.conv2d(x(*IMAGE), x(2, 2, 2, 1), groups='2')
    TypeError: groups to be an integer of at least 1, received '2'
tg.conv2d(x(*IMAGE), x(2, 2, 2, 1), groups=2.0)
    TypeError: groups to be an integer of at least 1, received 2.0
tg.conv2d(x(*IMAGE), x(2, 2, 2, 1), strides=(1, 1, 1))
    ValueError: strides to be an integer of at least 1 or 2 of them, received (1, 1, 1)
tg.conv1d(x(1, 4, 2), x(2, 2, 1), strides=(1, 1))
    ValueError: strides to be an integer of at least 1 or 1 of them, received (1, 1)
tg.conv2d(x(*IMAGE), x(2, 2, 2, 1), dilation=0)
    ValueError: dilation to be an integer of at least 1
tg.conv2d(x(*IMAGE), x(2, 2, 3, 1))
    ShapeError: a kernel (height, width, 2 / groups, filters) and groups that divide channels and filters
tg.conv1d(x(1, 4, 2), x(2, 3, 1))
    ShapeError: a kernel (length, 2 / groups, filters) and groups that divide
tg.conv2d(x(*IMAGE), x(2, 2, 1, 3), groups=2)
    ShapeError: groups that divide channels and filters
tg.conv2d(x(*IMAGE), x(2, 2, 2, 1), groups=0)
    ValueError: groups to be an integer of at least 1, received 0
tg.conv2d(x(*IMAGE), x(2, 2, 2, 1), padding='full')
    ValueError: padding 'valid', 'same', numbers or pairs, received 'full'
tg.conv2d(x(*IMAGE), x(2, 2, 2, 1), padding='causal')
    ValueError: padding 'valid', 'same', numbers or pairs, received 'causal'
tg.conv1d(x(1, 4, 2), x(2, 2, 1), padding=(1, 1))
    ValueError: padding 'valid', 'same', numbers or pairs, received (1, 1)
tg.conv2d(x(*IMAGE), x(2, 2, 2, 1), padding=-1)
    ValueError: padding to be an integer of at least 0 or 2 of them
tg.conv2d(x(*IMAGE), x(2, 2, 2, 1), padding=0.5)
    ValueError: padding
tg.conv2d(x(*IMAGE), x(2, 2))
    ShapeError: a kernel (height, width
tg.conv2d(x(*IMAGE), x(0, 2, 2, 1))
    ShapeError: a kernel (height, width
tg.conv2d(x(*IMAGE), [[[[1.0], [1.0]]]])
    TypeError: tensors or arrays, received list
tg.conv2d_transpose(x(*IMAGE), x(2, 2, 1, 3))
    ShapeError: a kernel (height, width, channels / groups, 2)
tg.conv2d_transpose(x(*IMAGE), x(2, 2, 1, 2), groups=3)
    ShapeError: groups that divide channels and filters
tg.conv2d_transpose(x(1, 1, 1, 1), x(2, 2, 1, 1), padding=1)
    ShapeError: padding smaller than the result
tg.conv1d_transpose(x(1, 0, 1), x(3, 1, 1))
    ShapeError: an image that is not empty, received shape (1, 0, 1)
tg.conv2d_transpose(x(*IMAGE), x(2, 2, 1, 2), strides=0)
    ValueError: strides to be an integer of at least 1
tg.conv2d_transpose(x(*IMAGE), x(2, 2, 1, 2), output_padding=-1)
    ValueError: output_padding to be an integer of at least 0 or 2 of them, received -1
tg.depthwise_conv2d(x(*IMAGE), x(2, 2, 3, 1))
    ShapeError: a kernel (height, width, 2 channels, multiplier), received kernel (2, 2, 3, 1)
tg.depthwise_conv1d(x(1, 4, 2), x(2, 2))
    ShapeError: a kernel (length, 2 channels, multiplier), received kernel (2, 2)
tg.depthwise_conv1d(x(1, 4, 2), x(2, 2, 0))
    ShapeError: a kernel (length, 2 channels, multiplier), received kernel (2, 2, 0)
tg.depthwise_conv2d(x(4, 4, 2), x(2, 2, 2, 1))
    ShapeError: a batch (n, height, width, channels)
tg.separable_conv2d(x(*IMAGE), x(2, 2, 2, 1), x(2, 1, 2, 3))
    ShapeError: a pointwise kernel of shape (1, 1, 2, filters), received (2, 1, 2, 3)
tg.separable_conv1d(x(1, 4, 2), x(2, 2, 2), x(1, 2, 3))
    ShapeError: a pointwise kernel of shape (1, 4, filters), received (1, 2, 3)
tg.conv2d_transpose(x(*IMAGE), x(2, 2, 1, 2), output_padding=7)
    ValueError: output_padding smaller than strides or dilation, received 7
tg.conv2d_transpose(x(*IMAGE), x(2, 2, 1, 2), strides=(2, 1), output_padding=1)
    ValueError: output_padding smaller than strides or dilation, received 1
tg.max_pool2d(x(*IMAGE), 5)
    ShapeError: a padded image of at least (5, 5), received (4, 4)
tg.max_pool2d(x(*IMAGE), 0)
    ValueError: pool_size to be an integer of at least 1 or 2 of them, received 0
tg.max_pool2d(x(4, 4))
    ShapeError: a batch (n, height, width, channels)
tg.max_pool1d(x(4, 4))
    ShapeError: a batch (n, length, channels)
tg.max_pool2d(x(*IMAGE), 2, padding=2)
    ShapeError: padding smaller than the window
tg.average_pool3d(x(*IMAGE))
    ShapeError: a batch (n, depth, height, width, channels)
tg.average_pool2d(x(*IMAGE), 2, strides=0)
    ValueError: strides to be an integer of at least 1
tg.average_pool2d(x(*IMAGE), 2, padding=2)
    ShapeError: padding smaller than the window
tg.global_max_pool(x(2, 3))
    ShapeError: a batch (n, ..., channels) with axes between, received shape (2, 3)
tg.global_average_pool(x(2, 3))
    ShapeError: a batch (n, ..., channels) with axes between, received shape (2, 3)
tg.global_average_pool(x(1, 0, 3))
    ShapeError: global_average_pool: expected at least one element between batch and channels, received shape (1, 0, 3)
tg.global_max_pool(x(1, 0, 3))
    ShapeError: at least one element between batch and channels
tg.adaptive_average_pool2d(x(1, 4, 2), 2)
    ShapeError: a batch (n, height, width, channels)
tg.adaptive_average_pool2d(x(*IMAGE), 0)
    ValueError: size to be an integer of at least 1 or 2 of them, received 0
tg.adaptive_max_pool1d(x(1, 0, 2), 1)
    ShapeError: an image that is not empty, received shape (1, 0, 2)
tg.adaptive_max_pool3d(x(*IMAGE), 2)
    ShapeError: a batch (n, depth, height, width, channels)
tg.resize(x(4, 4, 2), 2)
    ShapeError: a batch (n, height, width, channels), received shape (4, 4, 2)
tg.resize(x(*IMAGE), (2, 0))
    ValueError: size to be an integer of at least 1 or 2 of them, received (2, 0)
tg.resize(x(*IMAGE), 2, 'bilinaer')
    ValueError: method to be one of 'bilinear', 'nearest', received 'bilinaer'. Hint: did you mean 'bilinear'?
tg.resize(x(1, 0, 4, 2), 2)
    ShapeError: an image that is not empty, received shape (1, 0, 4, 2)
tg.scaled_dot_product_attention(x(2, 3), x(2, 4), x(2, 4))
    ShapeError: query (..., queries, depth), key (..., keys, depth), value (..., keys, features), received query (2, 3)
tg.scaled_dot_product_attention(x(2, 3), x(2, 3), x(3, 3))
    ShapeError: query (..., queries, depth)
tg.scaled_dot_product_attention(x(2, 3), x(4, 3), x(4, 3), mask=x(3, 4) > 0)
    ShapeError: a mask that broadcasts to (2, 4), received (3, 4)
tg.scaled_dot_product_attention(x(2, 2, 3), x(3, 2, 3), x(3, 2, 3))
    ShapeError: query (..., queries, depth)
tg.scaled_dot_product_attention(x(2, 3), x(2, 3), x(2, 3), mask=ids([1, 0]))
    TypeError: a mask of booleans or floats, received int64
tg.scaled_dot_product_attention([[1.0]], x(1, 1), x(1, 1))
    TypeError: tensors or arrays, received list
tg.scaled_dot_product_attention(x(1, 1), x(1, 1), x(1, 1), mask=[[True]])
    TypeError: tensors or arrays, received list

# recurrent networks
tg.simple_rnn(x(3, 2), x(2, 4), x(4, 4), x(4), x(3, 4))
    ShapeError: x (batch, time, features) of at least one step, received shape (3, 2). Hint: a single sequence needs
tg.lstm(x(1, 0, 2), x(2, 4), x(1, 4), x(4), x(1, 1), x(1, 1))
    ShapeError: x (batch, time, features) of at least one step, received shape (1, 0, 2)
tg.lstm(x(5, 3, 2), x(2, 16), x(4, 12), x(16), x(5, 4), x(5, 4))
    ShapeError: recurrent_kernel (units, 4 * units), received shape (4, 12)
tg.simple_rnn(x(5, 3, 2), x(2, 4), x(4), x(4), x(5, 4))
    ShapeError: recurrent_kernel (units, units), received shape (4,)
tg.gru(x(5, 3, 2), x(3, 12), x(4, 12), x(2, 12), x(5, 4))
    ShapeError: kernel of shape (2, 12), received (3, 12)
tg.gru(x(5, 3, 2), x(2, 12), x(4, 12), x(12), x(5, 4))
    ShapeError: bias of shape (2, 12), received (12,)
tg.gru(x(5, 3, 2), x(2, 12), x(4, 12), x(2, 12), x(5, 4), reset_after=False)
    ShapeError: bias of shape (12,), received (2, 12)
tg.simple_rnn(x(5, 3, 2), x(2, 4), x(4, 4), x(1, 4), x(5, 4))
    ShapeError: bias of shape (4,), received (1, 4)
tg.gru(x(5, 3, 2), x(2, 12), x(4, 12), None, x(4))
    ShapeError: initial_state of shape (5, 4), received (4,)
tg.lstm(x(5, 3, 2), x(2, 16), x(4, 16), None, x(5, 4), x(1, 4))
    ShapeError: initial_c of shape (5, 4), received (1, 4)
tg.lstm(x(5, 3, 2), x(2, 16), x(4, 16), None, x(5, 4), x(5, 4), mask=x(3, 5) > 0)
    ShapeError: mask of shape (5, 3), received (3, 5)
tg.lstm(x(5, 3, 2), x(2, 16), x(4, 16), None, x(5, 4), x(5, 4), mask=x(5, 3))
    TypeError: a mask of booleans, received float32. Hint: use .astype(bool)
tg.simple_rnn(x(5, 3, 2), x(2, 4), x(4, 4), None, x(5, 4), activation='tan')
    ValueError: activation to be one of 'linear', 'relu', 'sigmoid', 'tanh', received 'tan'. Hint: did you mean 'tanh'
tg.simple_rnn([[[1.0]]], x(1, 1), x(1, 1), None, x(1, 1))
    TypeError: tensors or arrays, received list
tg.gru(x(1, 1, 1), x(1, 3), x(1, 3), None, None)
    TypeError: tensors or arrays, received NoneType
tg.lstm(ids([[[1]]]), ids([[1] * 4]), ids([[1] * 4]), None, ids([[1]]), ids([[1]]))
    TypeError: floating weights, received int64

# alignments
tg.ctc_loss(x(3, 2), ids([[1]]))
    ShapeError: logits (batch, time, classes) of at least one step, received shape (3, 2)
tg.ctc_loss(x(1, 0, 2), ids([[1]]))
    ShapeError: logits (batch, time, classes) of at least one step, received shape (1, 0, 2)
tg.ctc_loss(ids([[[1, 2]]]), ids([[1]]))
    TypeError: floating logits, received int64. Hint: use .astype('float32')
tg.ctc_loss(x(2, 3, 4), ids([[1]]))
    ShapeError: labels of shape (2, length), received shape (1, 1)
tg.ctc_loss(x(2, 3, 4), ids([1, 2]))
    ShapeError: labels of shape (2, length), received shape (2,)
tg.ctc_loss(x(1, 3, 4), x(1, 2))
    TypeError: labels of an integer dtype, received float32
tg.ctc_loss(x(1, 3, 4), ids([[1]]), x(1))
    TypeError: logit_lengths of an integer dtype, received float32
tg.ctc_loss(x(1, 3, 4), ids([[1]]), ids([3, 3]))
    ShapeError: logit_lengths of shape (1,), received shape (2,)
tg.ctc_loss(x(1, 3, 4), ids([[1]]), ids([4]))
    ValueError: logit_lengths from 1 to 3, received 4
tg.ctc_loss(x(1, 3, 4), ids([[1]]), ids([0]))
    ValueError: logit_lengths from 1 to 3, received 0
tg.ctc_loss(x(1, 3, 4), ids([[1]]), None, ids([2]))
    ValueError: label_lengths from 0 to 1, received 2
tg.ctc_loss(x(1, 3, 4), ids([[1, 4]]))
    IndexError: indices from 0 to 3, received 4
tg.ctc_loss(x(1, 3, 4), ids([[1, -1]]))
    IndexError: indices from 0 to 3, received -1
tg.ctc_loss(x(1, 3, 4), ids([[1, 0]]))
    ValueError: labels other than the blank 0, received 0. Hint: give label_lengths, if labels are padded with it
tg.ctc_loss(x(1, 3, 4), ids([[1]]), blank=4)
    ValueError: blank from 0 to 3, received 4
tg.ctc_loss(x(1, 3, 4), ids([[1]]), zero_infinity='no')
    TypeError: zero_infinity to be True or False, received 'no'
tg.ctc_loss([[[1.0]]], ids([[0]]))
    TypeError: tensors or arrays, received list

# new tensors
tg.full((-1,), 1.0)
    ValueError: lengths of at least 0, received (-1,)
tg.full((2,), math.nan, dtype='int64')
    ValueError: value to be whole and in the range of int64, received nan
tg.full((2,), 2.5, dtype='int64')
    ValueError: value to be whole and in the range of int64, received 2.5
tg.uniform((2,), dtype='int64')
    TypeError: floats of 16 to 64 bits, received 'int64'
tg.normal((2,), dtype=bool)
    TypeError: floats of 16 to 64 bits, received <class 'bool'>
tg.Generator().normal((2,), dtype='int64')
    TypeError: floats of 16 to 64 bits, received 'int64'
tg.integers((2,), -(2**63), 2**63)
    ValueError: low < high, both in the range of int64, received low=-9223372036854775808, high=9223372036854775808
tg.zeros((2.5,))
    TypeError: integers, received (2.5,)
tg.zeros((2,), dtype='int64', requires_grad=True)
    TypeError: a floating dtype, received int64
tg.zeros((2,), dtype='complex64')
    TypeError: booleans, integers, or floats
tg.zeros((2,), device='gpu')
    ValueError: 'cpu', 'cuda', 'cuda:N' or 'auto', received 'gpu'
tg.arange(0, 4, 0)
    ValueError: a step other than 0
tg.arange()
    TypeError: from one to three numbers, received 0
tg.linspace(0, 1, -1)
    ValueError: count to be an integer of at least 0, received -1
tg.eye(-1)
    ValueError: rows to be an integer of at least 0, received -1
tg.normal((2,), std=-1.0)
    ValueError: std of at least 0, received -1.0
tg.integers((2,), 5, 5)
    ValueError: low < high, both in the range of int64, received low=5, high=5
tg.permutation(-1)
    ValueError: count to be an integer of at least 0, received -1

# Python protocols
bool(x(2) > 0)
    ShapeError: a tensor with one element, received shape (2,). Hint: use .all() or .any()
float(x(2))
    ShapeError: a tensor with one element, received shape (2,)
len(x())
    TypeError: a tensor with axes, received a 0-d tensor
[1, 2][x()]
    TypeError: an integer tensor, received dtype float32
"""


def rows():
    """(call, exception, text) for each pair of lines."""
    lines = [line for line in WRONG.splitlines() if line and not line.startswith("#")]
    for call, error in zip(lines[::2], lines[1::2], strict=True):
        exception, _, text = error.strip().partition(": ")
        yield pytest.param(call, exception, text, id=call)


@pytest.mark.parametrize(("call", "exception", "text"), list(rows()))
def test_wrong_arguments(call, exception, text):
    with pytest.raises(Exception) as caught:  # noqa: PT011  (the type is compared below)
        eval(call)
    found = str(caught.value)
    assert type(caught.value).__name__ == exception, found
    assert re.match(r"[^:]+: expected .+, received .+\.", found, re.DOTALL), found
    assert text in found
    assert not found.startswith("_"), f"a private name in {found!r}"


@pytest.mark.gpu
@pytest.mark.parametrize(
    "call",
    [
        lambda a, b: a + b,
        lambda a, b: tg.matmul(a, b),
        lambda a, b: tg.where(a > 0, a, b),
        lambda a, b: tg.concatenate([a, b]),
        lambda a, b: tg.linear(a, b),
        lambda a, b: a + b.numpy(),
        lambda a, b: a.sum() * b,
        lambda a, b: b * a.sum(),
        lambda a, b: a * b.sum(),
        lambda a, b: tg.scaled_dot_product_attention(a, b, b),
        lambda a, b: tg.index_put(a, (), b),
    ],
)
def test_mixed_devices(call):
    a, b = tg.ones((2, 2), device="cuda"), tg.ones((2, 2), device="cpu")
    with pytest.raises(DeviceError) as caught:
        call(a, b)
    found = str(caught.value)
    assert "expected all on one device" in found
    assert re.search(r"float32\[(2, 2)?\] on cuda:0", found)
    assert re.search(r"float32\[(2, 2)?\] on cpu", found)
    assert "Hint: move one with .to(device)" in found


@pytest.mark.gpu
@pytest.mark.parametrize(
    "call",
    [
        lambda a, ids: a[ids],
        lambda a, ids: a[ids[0]],
        lambda a, ids: a[ids > 0],
        lambda a, ids: tg.take(a, ids),
        lambda a, ids: tg.take_along_axis(a, ids, 0),
        lambda a, ids: tg.embedding(a.reshape(2, 1), ids),
        lambda a, ids: tg.scatter_add(a, ids, 1.0),
        lambda a, ids: tg.index_put(a, ids, 1.0),
    ],
)
@pytest.mark.parametrize("devices", [("cuda", "cpu"), ("cpu", "cuda")])
def test_index_tensors_on_another_device(call, devices):
    a, ids = tg.ones((2,), device=devices[0]), tg.tensor([0, 1], device=devices[1])
    with pytest.raises(DeviceError, match=r"expected all on one device, received .* on .* and .* on .*\. Hint: move"):
        call(a, ids)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["inv", "cholesky"])
@pytest.mark.parametrize("shape", [(2, 2), (3, 2, 2)])
def test_matrices_without_a_result_on_cuda(name, shape):
    """Where CuPy itself would give NaN."""
    with pytest.raises(ValueError, match=rf"{name}: expected .+ matrix, received another one"):
        getattr(tg, name)(-tg.ones(shape, device="cuda"))


@pytest.mark.gpu
@pytest.mark.parametrize("call", [lambda n: n**-1, lambda n: n**-n, lambda n: 2**-n, lambda n: tg.power(n, -n)])
def test_negative_powers_of_integers_on_cuda(call):
    with pytest.raises(tg.ShapeError, match=r"power: expected .*no negative exponents for integers"):
        call(tg.tensor([1, 2], device="cuda"))


@pytest.mark.parametrize("array", [tg.tensor, numpy.array])
def test_an_argument_too_many_overwrites_nothing(array):
    x, z = array([1.0, 2.0]), array([0.0, 0.0])
    for call, expected in (
        (lambda: tg.add(x, x, z), "add: expected 2 arguments, received 3"),
        (lambda: tg.sin(x, z), "sin: expected 1 arguments, received 2"),
        (lambda: tg.where(x, x, x, z), "where: expected 3 arguments, received 4"),
        (lambda: tg.multiply(x), "multiply: expected 2 arguments, received 1"),
    ):
        with pytest.raises(TypeError, match=re.escape(expected)):
            call()
    assert z.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    "name", ["sigmoid", "softplus", "gelu", "silu", "mish", "elu", "log_sigmoid", "softsign", "erf"]
)
def test_plain_numbers(name):
    function = getattr(tg, name)
    assert float(function(1.5)) == pytest.approx(function(tg.tensor(1.5, dtype="float64")).item(), rel=1e-12)
    assert float(function(2)) == pytest.approx(function(tg.tensor(2.0, dtype="float64")).item(), rel=1e-12)
