"""The data sets that need no network: shapes, checksums, scikit-learn's copies and formulas, errors."""

# ruff: noqa: E501 -- the tables hold whole error texts, a case a line

import datetime
import hashlib
import math
import re

import numpy as np
import pytest

from tinygrad_edu import datasets


def checksum(*arrays):
    digest = hashlib.sha256()
    for array in arrays:
        digest.update("\n".join(array).encode() if array.dtype.kind == "U" else np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


# name: the shapes and dtypes of x_train, y_train, x_test, y_test; the first digits of the SHA-256 of all four
SETS = {
    "arithmetic": ("(8000,)<U7 (8000,)<U4 (2000,)<U7 (2000,)<U4", "9777430850f2a69d"),
    "blobs": ("(799, 2)<f4 (799,)<i8 (201, 2)<f4 (201,)<i8", "62de786e971f42fd"),
    "breast_cancer": ("(456, 30)<f8 (456,)<i8 (113, 30)<f8 (113,)<i8", "beab18a1abf302af"),
    "circles": ("(800, 2)<f4 (800,)<i8 (200, 2)<f4 (200,)<i8", "3f4cbe5e0b303767"),
    "date_formats": ("(8000,)<U29 (8000,)<U10 (2000,)<U29 (2000,)<U10", "688b3a2c5a6ed0fa"),
    "diabetes": ("(354, 10)<f8 (354,)<f8 (88, 10)<f8 (88,)<f8", "b84aeda2db0f9284"),
    "digits": ("(1438, 8, 8)|u1 (1438,)<i8 (359, 8, 8)|u1 (359,)<i8", "1fc67ddb75aeae0c"),
    "housing": ("(1600, 6)<f4 (1600,)<f4 (400, 6)<f4 (400,)<f4", "f0e5e84a1f9d403f"),
    "iris": ("(120, 4)<f8 (120,)<i8 (30, 4)<f8 (30,)<i8", "481af94192289ba8"),
    "moons": ("(800, 2)<f4 (800,)<i8 (200, 2)<f4 (200,)<i8", "98c3370330c118d0"),
    "ratings": ("(9600, 2)<i8 (9600,)<f4 (2400, 2)<i8 (2400,)<f4", "8ed426afed5c8a57"),
    "sentences": ("(8000,)<U81 (8000,)<i8 (2000,)<U81 (2000,)<i8", "0776cebb37a6bcb3"),
    "sine_waves": ("(800, 50, 1)<f4 (800, 1)<f4 (200, 50, 1)<f4 (200, 1)<f4", "a88b9bbe7342bf8c"),
    "spirals": ("(800, 2)<f4 (800,)<i8 (200, 2)<f4 (200,)<i8", "9a0501020f402ce3"),
    "wine": ("(142, 13)<f8 (142,)<i8 (36, 13)<f8 (36,)<i8", "2a7428fd2ec71986"),
    "xor": ("(800, 2)<f4 (800,)<i8 (200, 2)<f4 (200,)<i8", "b1e3a4022fba11eb"),
}
TABLES = ("iris", "wine", "breast_cancer", "diabetes")
POINTS = ("moons", "circles", "blobs", "spirals", "xor")
GENERATED = (*POINTS, "housing", "sine_waves", "ratings", "arithmetic", "date_formats", "sentences")


def flat(data):
    (x_train, y_train), (x_test, y_test) = data
    return x_train, y_train, x_test, y_test


def whole(name, **arguments):
    """All rows, in one order for any split."""
    x_train, y_train, x_test, y_test = flat(getattr(datasets, name).load_data(**arguments))
    return np.concatenate([x_train, x_test]), np.concatenate([y_train, y_test])


@pytest.mark.parametrize("name", SETS)
def test_shapes_and_checksums(name):
    arrays = flat(getattr(datasets, name).load_data())
    shapes, known = SETS[name]
    assert " ".join(f"{a.shape}{a.dtype.str}" for a in arrays) == shapes
    assert checksum(*arrays) == known


@pytest.mark.parametrize("name", TABLES)
def test_tables_as_scikit_learn(name):
    source = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
    known = getattr(source, f"load_{name}")(**{"scaled": False} if name == "diabetes" else {})
    table = getattr(datasets, name)
    x, y = whole(name)
    order, theirs = np.lexsort([*x.T, y]), np.lexsort([*known.data.T, known.target])
    assert np.array_equal(x[order], known.data[theirs])
    assert np.array_equal(y[order], known.target[theirs])
    assert table.feature_names == tuple(known.feature_names)
    assert table.target_names == tuple(getattr(known, "target_names", ()))


@pytest.mark.parametrize(("name", "arguments"), [("moons", {}), ("circles", {"factor": 0.3})])
def test_points_as_scikit_learn(name, arguments):
    source = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
    x, y = getattr(source, f"make_{name}")(101, shuffle=False, noise=None, **arguments)
    ours, classes = whole(name, samples=101, noise=0.0, **arguments)
    for label in (0, 1):
        found, known = ours[classes == label], x[y == label].astype(np.float32)
        np.testing.assert_allclose(found[np.lexsort(found.T)], known[np.lexsort(known.T)], atol=1e-6)


def test_spirals_are_arms():
    x, y = whole("spirals", samples=300, noise=0.0, classes=3, turns=1.5)
    radii, angles = np.hypot(*x.T), np.arctan2(x[:, 1], x[:, 0])
    expected = 2 * np.pi * (1.5 * radii + y / 3)
    np.testing.assert_allclose(np.exp(1j * angles), np.exp(1j * expected), atol=1e-5)
    assert np.bincount(y).tolist() == [100, 100, 100]
    assert 0 < radii.min() < radii.max() < 1


def test_xor_and_blobs():
    x, y = whole("xor")
    assert np.array_equal(y, np.sign(x[:, 0]) != np.sign(x[:, 1]))
    assert 0.4 < y.mean() < 0.6
    x, y = whole("blobs", samples=5000, classes=5, noise=0.5)
    for label in range(5):
        angle = 2 * np.pi * label / 5
        np.testing.assert_allclose(x[y == label].mean(axis=0), [5 * np.cos(angle), 5 * np.sin(angle)], atol=0.08)
        np.testing.assert_allclose(x[y == label].std(axis=0), 0.5, rtol=0.08)


@pytest.mark.parametrize("name", POINTS)
def test_noise_is_normal_and_of_that_size(name):
    still, noisy = (whole(name, samples=4000, noise=noise)[0] for noise in (0.0, 0.25))
    difference = (noisy - still).astype(np.float64)
    assert difference.std() == pytest.approx(0.25, rel=0.05)
    assert abs(difference.mean()) < 0.02


def test_sine_waves_go_on():
    (x, y), _ = datasets.sine_waves.load_data(samples=50, noise=0.0, steps=30, horizon=8)
    # a sum of two sine waves obeys s[t] = a (s[t-1] + s[t-3]) + b s[t-2] - s[t-4], with its own a and b
    for series in np.concatenate([x[..., 0], y], axis=1).astype(np.float64):
        s = [series[4 - lag : len(series) - lag] for lag in range(5)]
        terms = np.stack([s[1] + s[3], s[2]], axis=1)
        solution = np.linalg.lstsq(terms[:26], (s[0] + s[4])[:26], rcond=None)[0]
        np.testing.assert_allclose(terms @ solution - s[4], s[0], atol=2e-3)
    assert y.shape == (40, 8)


def test_housing_follows_its_formula():
    x, y = whole("housing", noise=0.0)
    assert (x >= [40, 1, 0, 0, 0, 0]).all()
    assert (x[:, [2, 5]] <= [100, 10]).all()
    np.testing.assert_allclose(x.mean(axis=0), [120, 4.8, 50, 8, 150, 5], rtol=0.05)
    assert (x[:, 4] == 0).mean() == pytest.approx(0.25, abs=0.03)
    for (area, rooms, age, distance, garden, schools), price in zip(x[:50].tolist(), y[:50].tolist(), strict=True):
        square_metre = (1.2 + 3.5 * math.exp(-distance / 5)) * (1 - 1.6 * age / 100 + 1.5 * (age / 100) ** 2)
        land = 0.02 + 0.4 * math.exp(-distance / 5)
        expected = (square_metre * area + land * garden + 8 * rooms) * (1 + 0.04 * (schools - 5))
        assert price == pytest.approx(expected, rel=1e-5)

    noisy = whole("housing", noise=0.25)
    assert np.array_equal(noisy[0], x)
    assert (noisy[1] / y).std() == pytest.approx(0.25, rel=0.05)
    assert (noisy[1] / y).mean() == pytest.approx(1.0, abs=0.02)


def test_ratings_are_stars_of_different_pairs():
    x, y = whole("ratings", users=40, items=30, density=0.5)
    assert len(np.unique(x, axis=0)) == len(x) == 600
    assert (x.min(axis=0) >= 0).all()
    assert (x.max(axis=0) < [40, 30]).all()
    assert set(np.unique(y)) == {1.0, 2.0, 3.0, 4.0, 5.0}
    assert 2.8 < y.mean() < 3.2
    full = np.zeros((40, 30))
    pairs, stars = whole("ratings", users=40, items=30, density=1.0, noise=0.0, rank=1)
    full[tuple(pairs.T)] = stars
    values = np.linalg.svd(full - 3, compute_uv=False)
    assert values[0] > 3 * values[1]  # of rank 1 but for the rounding


@pytest.mark.parametrize(("bias", "least", "most"), [(0.0, 0.0, 0.15), (0.5, 0.35, 0.55)])
def test_some_users_are_generous_and_some_items_good(bias, least, most):
    pairs, stars = whole("ratings", users=200, items=200, density=1.0, bias=bias)
    for ids in pairs.T:
        means = np.bincount(ids, stars) / np.bincount(ids)
        assert least < means.std() < most  # rounding, and cutting off at 1 and 5, take a part of the bias


@pytest.mark.parametrize(("operation", "compute"), [("+", int.__add__), ("-", int.__sub__), ("*", int.__mul__)])
def test_arithmetic_is_right(operation, compute):
    x, y = whole("arithmetic", samples=500, digits=2, operation=operation)
    for question, answer in zip(x.tolist(), y.tolist(), strict=True):
        a, b = re.fullmatch(rf"(\d{{1,2}})\{operation}(\d{{1,2}})", question).groups()
        assert int(answer) == compute(int(a), int(b))
    assert len(set(x.tolist())) == 500


FORMS = ("%d %B %Y", "%B %d, %Y", "%d %b %Y", "%b %d %Y", "%d.%m.%Y", "%m/%d/%Y", "%A, %B %d, %Y", "%d-%b-%Y")


def test_dates_are_right():
    x, y = whole("date_formats", samples=2000)
    used = set()
    for written, iso in zip(x.tolist(), y.tolist(), strict=True):
        meant = set()
        for form in FORMS:
            try:
                meant.add(datetime.datetime.strptime(written, form).date().isoformat())
                used.add(form)
            except ValueError:
                pass
        assert meant == {iso}
    assert used == set(FORMS)
    assert "1950" <= min(y) < max(y) < "2050"


GOOD = {"good", "great", "funny", "clever", "moving", "lovely", "original", "charming"}
BAD = {"bad", "awful", "dull", "silly", "weak", "boring", "clumsy", "ugly"}
NEUTRAL = {"long", "short", "slow", "loud", "dark", "quiet"}


def worth(claim):
    """Of "the film is not very good", -1, and so on."""
    *before, word = re.fullmatch(r"the \w+ (?:is|was) (.+)", claim).group(1).split()
    before = " ".join(before)
    if word in NEUTRAL:
        return {"a little too": -1, "too": -2, "much too": -3, "not too": 1}[before]
    sign = 1 if word in GOOD else -1
    assert word in GOOD | BAD
    return sign * {"rather": 1, "": 2, "very": 3, "not very": -1, "not": -2, "not at all": -3}[before]


def test_sentences_mean_their_labels():
    x, y = whole("sentences", samples=3000)
    assert len(set(x.tolist())) == 3000
    seen = set()
    for text, label in zip(x.tolist(), y.tolist(), strict=True):
        words = text.replace(",", "").split()
        conjunction = next(iter({"and", "but", "although"} & set(words)), "")
        claims = re.split(r",? ?\b(?:although|and|but)\b |, ", text)
        values = [worth(claim) for claim in claims if claim]
        if conjunction == "and":
            value = sum(values)
        elif conjunction:
            assert values[0] * values[1] < 0
            value = values[0] if ", although" in text else values[1]
        else:
            (value,) = values
        assert value
        assert label == (value > 0)
        seen |= {(conjunction, text.startswith("although")), *values}
    assert seen == {
        ("", False),
        ("and", False),
        ("but", False),
        ("although", True),
        ("although", False),
        *range(-3, 4),
    } - {0}


@pytest.mark.parametrize("samples", [4, 5, 101])
def test_sentences_are_balanced(samples):
    (_, y_train), (_, y_test) = datasets.sentences.load_data(samples=samples, test_fraction=0.5)
    assert sorted(np.bincount(np.concatenate([y_train, y_test]))) == [samples // 2, samples - samples // 2]
    assert abs(int(y_test.sum()) * 2 - len(y_test)) <= 1


def test_pydoc_corpus_is_the_documentation():
    topics = pytest.importorskip("pydoc_data.topics").topics
    text = datasets.pydoc_corpus.load_data()
    assert len(text) > 400_000
    assert all(topic.strip() in text for topic in topics.values())
    assert text.index(topics["assert"].strip()) < text.index(topics["yield"].strip())


@pytest.mark.parametrize("name", GENERATED)
def test_the_seed_decides(name):
    first, again, other = (flat(getattr(datasets, name).load_data(seed=seed)) for seed in (3, np.int64(3), 4))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


WRONG = [
    ("moons", {"samples": 3}, "load_data: expected samples to be an integer of at least 4, received 3."),
    ("moons", {"noise": -0.1}, "load_data: expected noise to be a number of at least 0, received -0.1."),
    ("circles", {"factor": 1.0}, "load_data: expected factor to be a number in [0, 1), received 1.0."),
    ("blobs", {"classes": 1}, "load_data: expected classes to be an integer of at least 2, received 1."),
    ("blobs", {"samples": 5, "classes": 3}, "load_data: expected samples to be an integer of at least 6, received 5."),
    ("spirals", {"turns": 0.0}, "load_data: expected turns to be a number above 0, received 0.0."),
    ("xor", {"test_fraction": 1.0}, "load_data: expected test_fraction to be a number between 0 and 1, received 1.0."),
    ("sine_waves", {"horizon": 0}, "load_data: expected horizon to be an integer of at least 1, received 0."),
    ("housing", {"samples": 1}, "load_data: expected samples to be an integer of at least 2, received 1."),
    ("ratings", {"density": 0.0}, "load_data: expected density to be a number in (0, 1], received 0.0."),
    ("ratings", {"bias": -0.5}, "load_data: expected bias to be a number of at least 0, received -0.5."),
    ("ratings", {"density": 1e-9}, "load_data: expected density to leave at least two ratings, received 1e-09 of 300 x 200."),
    ("arithmetic", {"operation": "/"}, "load_data: expected operation to be one of '*', '+', '-', received '/'."),
    ("arithmetic", {"digits": 10}, "load_data: expected digits up to 9, received 10."),
    ("arithmetic", {"digits": 1, "samples": 101}, "load_data: expected samples up to 100, as many as there are, received 101."),
    ("date_formats", {"samples": 1}, "load_data: expected samples to be an integer of at least 2, received 1."),
    ("sentences", {"samples": 3}, "load_data: expected samples to be an integer of at least 4, received 3."),
    ("sentences", {"samples": 10**9}, "load_data: expected samples up to 1,000,000, received 1,000,000,000."),
    ("date_formats", {"seed": -1}, "load_data: expected seed to be an integer of at least 0, received -1."),
    ("iris", {"test_fraction": 0.001}, "load_data: expected test_fraction to leave rows of every class on the test side and on the other, received 0.001, which puts 0 of the 50 rows of class 0 there."),
    ("diabetes", {"test_fraction": 0.001}, "load_data: expected test_fraction to leave rows on the test side and the other, received 0.001, which puts 0 of 442 rows there."),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "text"), WRONG)
def test_arguments_that_cannot_be(name, arguments, text):
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        getattr(datasets, name).load_data(**arguments)
