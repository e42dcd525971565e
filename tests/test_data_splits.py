"""train_test_split, KFold and StratifiedKFold: sizes and folds are scikit-learn's, draws are repeatable."""

import itertools
import warnings

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu.data import KFold, StratifiedKFold, train_test_split

RATIOS = (0.01, 0.1, 0.25, 1 / 3, 0.5, 0.77, 0.99, 1, 3)


@pytest.fixture(autouse=True)
def seeded():
    tg.seed(0)


@pytest.fixture
def sklearn():
    return pytest.importorskip("sklearn.model_selection", reason="scikit-learn is not installed")


def outcome(split):
    try:
        return [len(part) for part in split()]
    except ValueError:
        return "ValueError"


@pytest.mark.parametrize("rows", [2, 3, 7, 10, 101])
def test_sizes(sklearn, rows):
    x = np.arange(rows)
    for test, train in itertools.product((None, *RATIOS), repeat=2):
        for shuffle in (True, False):
            options = {"test_size": test, "train_size": train, "shuffle": shuffle}
            ours = outcome(lambda options=options: train_test_split(x, **options))
            assert ours == outcome(lambda options=options: sklearn.train_test_split(x, **options)), options


def test_rows_stay_together():
    x = np.arange(20).reshape(10, 2)
    parts = train_test_split(x, {"a": list("abcdefghij")}, tg.tensor(np.arange(10)), test_size=0.3)
    assert len(parts) == 6
    x_train, x_test, dict_train, dict_test, i_train, i_test = parts
    assert sorted([*i_train, *i_test]) == list(range(10))
    assert len(i_test) == 3
    for rows, names, numbers in ((x_train, dict_train["a"], i_train), (x_test, dict_test["a"], i_test)):
        assert type(numbers) is np.ndarray
        np.testing.assert_array_equal(rows, x[numbers])
        assert names.tolist() == ["abcdefghij"[i] for i in numbers]
    x_train[...] = -1
    assert x.min() == 0, "the parts are copies"


def test_without_shuffling(sklearn):
    x = np.arange(11)
    for options in ({}, {"test_size": 4}, {"test_size": 2, "train_size": 3}):
        ours = train_test_split(x, shuffle=False, **options)
        theirs = sklearn.train_test_split(x, shuffle=False, **options)
        assert [part.tolist() for part in ours] == [part.tolist() for part in theirs]


def test_every_row_is_as_likely_held_out():
    counts = sum(np.bincount(train_test_split(np.arange(8), test_size=2)[1], minlength=8) for _ in range(1600))
    assert ((counts - 400) ** 2 / 300).sum() < 28  # about 8 degrees of freedom


@pytest.mark.parametrize(
    "split", [train_test_split, lambda x, seed=None: [a for pair in KFold(3, True, seed).split(x) for a in pair]]
)
def test_seeds(split):
    def parts(package_seed, seed=None):
        tg.seed(package_seed)
        return [[part.tolist() for part in split(np.arange(50), seed=seed)] for _ in range(2)]

    first, second = parts(1)
    assert first != second
    assert parts(1) == [first, second]
    assert parts(2)[0] != first
    own = parts(1, 7)
    assert own == parts(2, 7)
    assert own[0] == own[1]
    assert own[0] != parts(1, 8)[0]


@pytest.mark.parametrize("counts", [(5, 5), (2, 3, 20), (33, 33, 34), (7, 2, 2, 2)])
@pytest.mark.parametrize("sizes", [{}, {"test_size": 0.3}, {"test_size": 5, "train_size": 5}, {"train_size": 0.5}])
def test_stratified_counts(sklearn, counts, sizes):
    labels = np.array(["b", "a", "d", "c"])[np.arange(len(counts)).repeat(counts)]
    train, test = train_test_split(labels, stratify=labels, **sizes)
    their_train, their_test = sklearn.train_test_split(labels, stratify=labels, random_state=0, **sizes)
    assert (len(train), len(test)) == (len(their_train), len(their_test))
    for part, theirs in ((train, their_train), (test, their_test)):
        for label, count in zip("badc", counts, strict=False):
            found, exact = (part == label).sum(), count * len(part) / len(labels)
            # scikit-learn draws between equal remainders, and takes the test part from what the train part leaves
            assert abs(found - exact) < 2
            assert abs(found - (theirs == label).sum()) <= 1


def test_stratified_rows_are_drawn():
    labels = np.arange(3).repeat(10)
    rows = np.arange(30)
    train, test, y_train, y_test = train_test_split(rows, labels, test_size=6, stratify=labels)
    assert np.bincount(y_train).tolist() == [8, 8, 8]
    assert np.bincount(y_test).tolist() == [2, 2, 2]
    assert sorted([*train, *test]) == list(range(30))
    assert y_train.tolist() != sorted(y_train)
    assert test.tolist() != train_test_split(rows, test_size=6, stratify=labels)[1].tolist()


@pytest.mark.parametrize("rows", [5, 6, 12, 103])
@pytest.mark.parametrize("n_splits", [2, 3, 5])
def test_folds_are_scikit_learns(sklearn, rows, n_splits):
    labels = (np.arange(rows) * 7 % 11 % 2)[::-1]
    if np.bincount(labels).min() < n_splits:
        labels = np.zeros(rows)
    x = np.zeros((rows, 2))
    for ours, theirs in (
        (KFold(n_splits), sklearn.KFold(n_splits)),
        (StratifiedKFold(n_splits), sklearn.StratifiedKFold(n_splits)),
    ):
        with warnings.catch_warnings(action="ignore"):  # of one class only
            expected = list(theirs.split(x, labels))
        for (train, test), (their_train, their_test) in zip(ours.split(x, labels), expected, strict=True):
            np.testing.assert_array_equal(train, their_train)
            np.testing.assert_array_equal(test, their_test)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("kind", [KFold, StratifiedKFold])
def test_each_row_is_tested_once(kind, shuffle):
    labels = np.array(list("cab"))[np.random.default_rng(0).integers(0, 3, 47)]
    folds = list(kind(4, shuffle=shuffle).split(np.zeros(47), labels))
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(47))
    for train, test in folds:
        assert sorted([*train, *test]) == list(range(47))
        assert len(test) in (11, 12)
        if kind is StratifiedKFold:
            for label in "abc":
                assert abs((labels[test] == label).sum() - (labels == label).sum() / 4) < 1
    again = list(kind(4, shuffle=shuffle).split(np.zeros(47), labels))
    assert (again[0][1].tolist() == folds[0][1].tolist()) is not shuffle


def test_shuffled_sizes_of_stratified_folds_are_scikit_learns(sklearn):
    labels = np.random.default_rng(1).integers(0, 4, 90)
    ours = StratifiedKFold(4, shuffle=True).split(labels, labels)
    theirs = sklearn.StratifiedKFold(4, shuffle=True, random_state=0).split(labels, labels)
    for (_, test), (_, their_test) in zip(ours, theirs, strict=True):
        assert np.bincount(labels[test]).tolist() == np.bincount(labels[their_test]).tolist()


@pytest.mark.parametrize(
    ("mistake", "kind", "text"),
    [
        (lambda: train_test_split(), TypeError, "at least one array"),
        (lambda: train_test_split([1, 2], [1, 2, 3]), tg.ShapeError, "as many rows"),
        (lambda: train_test_split([1]), ValueError, "a row in each part"),
        (lambda: train_test_split([1, 2], test_size=1.0), ValueError, r"a share in \(0, 1\) or a number of rows"),
        (lambda: train_test_split([1, 2], test_size=2), ValueError, "from 1 to 1"),
        (lambda: train_test_split([1, 2], test_size=True), TypeError, "test_size"),
        (lambda: train_test_split([1, 2], test_size=float("nan")), ValueError, "test_size"),
        (lambda: train_test_split([1, 2], train_size="half"), TypeError, "train_size"),
        (lambda: train_test_split([1, 2], shuffle=1), TypeError, "shuffle"),
        (lambda: train_test_split([1, 2], seed=-1), ValueError, "seed"),
        (lambda: train_test_split([1, 2], stratify=[0, 1], shuffle=False), ValueError, "shuffle=True with stratify"),
        (lambda: train_test_split([1, 2, 3], stratify=[0, 0, 1]), ValueError, "at least 2 rows of each class"),
        (lambda: train_test_split(range(6), test_size=1, stratify=[0, 0, 1, 1, 1, 1]), ValueError, "a row for each"),
        (lambda: train_test_split([1, 2], stratify=[0]), tg.ShapeError, "labels of shape"),
        (lambda: train_test_split([1, 2], stratify=[0.5, 1]), ValueError, "labels of classes"),
        (lambda: KFold(1), ValueError, "n_splits"),
        (lambda: KFold(3).split([1, 2]), ValueError, "at least n_splits=3 rows"),
        (lambda: KFold(3, shuffle=None), TypeError, "shuffle"),
        (lambda: KFold(3, seed=1.5), TypeError, "seed"),
        (lambda: StratifiedKFold(2).split([1, 2]), TypeError, r"labels: split\(x, y\)"),
        (lambda: StratifiedKFold(2).split([1, 2, 3], [0, 0, 1]), ValueError, "at least 2 rows of each class"),
        (lambda: StratifiedKFold(2).split([1, 2], np.eye(2)), tg.ShapeError, r"y\.argmax"),
    ],
)
def test_mistakes(mistake, kind, text):
    with pytest.raises(kind, match=text):
        mistake()
