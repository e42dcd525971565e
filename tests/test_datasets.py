"""The embedded data sets: content, split, errors."""

import hashlib

import numpy as np
import pytest

from tinygrad_edu.datasets import digits
from tinygrad_edu.datasets.embedded import DATA_FILES
from tinygrad_edu.datasets.splits import split, stratified_split

ROWS_PER_CLASS = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def rows(x, y):
    """The multiset of (image, label) pairs, for comparisons that ignore the order."""
    return sorted(image.tobytes() + bytes([label]) for image, label in zip(x, y, strict=True))


def test_content():
    with np.load(DATA_FILES / "digits.npz", allow_pickle=False) as archive:
        content = archive["images"].tobytes() + archive["labels"].tobytes()
    checksum = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"
    assert hashlib.sha256(content).hexdigest() == checksum
    assert (DATA_FILES / "digits.npz").stat().st_size < 100_000


def test_same_as_scikit_learn():
    source = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed").load_digits()
    (x_train, y_train), (x_test, y_test) = digits.load_data()
    ours = rows(np.concatenate([x_train, x_test]), np.concatenate([y_train, y_test]))
    assert ours == rows(source.images.astype(np.uint8), source.target)


def test_shapes_dtypes_and_ranges():
    (x_train, y_train), (x_test, y_test) = digits.load_data()
    assert (x_train.shape, y_train.shape) == ((1438, 8, 8), (1438,))
    assert (x_test.shape, y_test.shape) == ((359, 8, 8), (359,))
    for x, y in [(x_train, y_train), (x_test, y_test)]:
        assert (x.dtype, y.dtype) == (np.uint8, np.int64)
        assert (x.min(), x.max(), y.min(), y.max()) == (0, 16, 0, 9)


@pytest.mark.parametrize("fraction", [0.01, 0.2, np.float32(0.5), 0.99])
def test_split_is_disjoint_complete_and_stratified(fraction):
    labels = np.repeat(np.arange(10), ROWS_PER_CLASS)
    (train, y_train), (test, y_test) = stratified_split(np.arange(len(labels)), labels, fraction, seed=0)
    assert sorted([*train, *test]) == list(range(len(labels)))
    assert np.array_equal(labels[train], y_train)
    assert np.array_equal(labels[test], y_test)
    assert np.bincount(y_test).tolist() == [round(fraction * count) for count in ROWS_PER_CLASS]


@pytest.mark.parametrize("stratified", [True, False])
def test_both_sides_are_shuffled(stratified):
    # the file has an order of its own, and fit(validation_split=...) takes the last rows
    labels = np.repeat(np.arange(10), ROWS_PER_CLASS)
    for rows, _ in (stratified_split if stratified else split)(np.arange(len(labels)), labels, 0.2, seed=0):
        assert (np.diff(rows) < 0).mean() > 0.4


def test_plain_split_is_disjoint_and_complete():
    (train, _), (test, _) = split(np.arange(50), np.arange(50), 0.3, seed=1)
    assert len(test) == 15
    assert sorted([*train, *test]) == list(range(50))
    with pytest.raises(ValueError, match=r"received 0\.001, which puts 0 of 50 rows there"):
        split(np.arange(50), np.arange(50), 0.001, seed=1)


def test_the_seed_decides():
    (first, _), _ = digits.load_data(seed=3)
    (again, _), _ = digits.load_data(seed=np.int64(3))
    (other, _), _ = digits.load_data(seed=4)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan"), float("inf")])
def test_fraction_out_of_range(fraction):
    with pytest.raises(ValueError, match="expected test_fraction to be a number between 0 and 1, received"):
        digits.load_data(test_fraction=fraction)


@pytest.mark.parametrize(("fraction", "count"), [(0.001, 0), (0.999, 178)])
def test_fraction_that_empties_a_class(fraction, count):
    with pytest.raises(ValueError, match=f"puts {count} of the 178 rows of class 0 there"):
        digits.load_data(test_fraction=fraction)


def test_negative_seed():
    with pytest.raises(ValueError, match="expected seed to be an integer of at least 0, received -1"):
        digits.load_data(seed=-1)


@pytest.mark.parametrize(
    "arguments",
    [
        {"test_fraction": "0.2"},
        {"test_fraction": True},
        {"test_fraction": None},
        {"seed": 1.0},
        {"seed": None},
        {"seed": True},
    ],
)
def test_arguments_of_the_wrong_type(arguments):
    (name,) = arguments
    with pytest.raises(TypeError, match=f"expected {name} to be"):
        digits.load_data(**arguments)
