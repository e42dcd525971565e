"""Dataset: what each method gives, how long it is, how it repeats, and what it leaves behind."""

import gc
import itertools
import subprocess
import sys
import threading
from collections import namedtuple

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu.data import Dataset

Point = namedtuple("Point", "x y")


@pytest.fixture(autouse=True)
def no_thread_is_left():
    tg.seed(0)
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def plain(element):
    """Arrays as lists, scalars as Python's."""
    if isinstance(element, dict):
        return {key: plain(value) for key, value in element.items()}
    if isinstance(element, tuple):
        return type(element)(*map(plain, element)) if hasattr(element, "_fields") else tuple(map(plain, element))
    assert isinstance(element, (np.ndarray, np.generic)), type(element)
    return element.tolist()


def elements(data):
    return [plain(element) for element in data]


def slow(n):
    """The numbers below n, not as rows of an array: the path on which every stage takes element by element."""
    return Dataset.range(n).map(lambda i: i)


def pairs(n):
    return Dataset.from_tensor_slices((np.arange(n), np.arange(n) * 10))


ragged = Dataset.from_generator(lambda: [[1], [2, 2, 2], [3, 3], [4]])
nothing = Dataset.range(0)

# (pipeline, its elements, its length: a number, None for unknown, inf)
CASES = {
    "range": (Dataset.range(2, 8, 3), [2, 5], 2),
    "a list is an array": (Dataset.from_tensor_slices([[1, 2], [3, 4]]), [[1, 2], [3, 4]], 2),
    "a tensor": (Dataset.from_tensor_slices(tg.tensor([1.5, 2.0])), [1.5, 2.0], 2),
    "a dict": (Dataset.from_tensor_slices({"a": [1, 2], "b": ["x", "y"]}), [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}], 2),
    "a named tuple": (Dataset.from_tensor_slices(Point([1], [2])), [Point(1, 2)], 1),
    "no rows": (nothing, [], 0),
    "generator": (Dataset.from_generator(lambda: iter("ab")), ["a", "b"], None),
    "generator of lists": (ragged, [[1], [2, 2, 2], [3, 3], [4]], None),
    "map": (slow(3).map(lambda i: (i, -i)), [(0, 0), (1, -1), (2, -2)], 3),
    "map of parts": (pairs(2).map(lambda x, y: x + y), [0, 11], 2),
    "map of a dict": (Dataset.from_tensor_slices({"a": [1, 2]}).map(lambda d: d["a"]), [1, 2], 2),
    "map to a list": (slow(2).map(lambda i: [i, i]), [[0, 0], [1, 1]], 2),
    "map to a tensor": (slow(2).map(lambda i: tg.tensor([float(i)])), [[0.0], [1.0]], 2),
    "map in threads": (slow(50).map(lambda i: i * i, num_parallel_calls=3), [i * i for i in range(50)], 50),
    "map of nothing in threads": (nothing.map(abs, num_parallel_calls=2), [], 0),
    "filter": (pairs(6).filter(lambda x, y: y % 20 == 0), [(0, 0), (2, 20), (4, 40)], None),
    "enumerate": (Dataset.range(5, 7).enumerate(1), [(1, 5), (2, 6)], 2),
    "repeat": (slow(2).repeat(3), [0, 1] * 3, 6),
    "repeat 0": (slow(2).repeat(0), [], 0),
    "repeat nothing for ever": (nothing.repeat(), [], 0),
    "repeat what turns out to be nothing": (slow(3).filter(lambda i: False).repeat(), [], None),
    "repeat for ever": (slow(2).repeat().take(5), [0, 1, 0, 1, 0], 5),
    "skip of for ever": (slow(2).repeat().skip(1).take(2), [1, 0], 2),
    "concatenate": (Dataset.range(2).concatenate(ragged), [0, 1, [1], [2, 2, 2], [3, 3], [4]], None),
    "concatenate known": (Dataset.range(2).concatenate(Dataset.range(1)), [0, 1, 0], 3),
    "zip": (Dataset.zip(Dataset.range(3), slow(2), pairs(9)), [(0, 0, (0, 0)), (1, 1, (1, 10))], 2),
    "zip with for ever": (Dataset.zip(slow(2), slow(1).repeat()), [(0, 0), (1, 0)], 2),
    "unbatch": (pairs(3).batch(2).unbatch(), [(0, 0), (1, 10), (2, 20)], None),
    "cache": (slow(3).cache(), [0, 1, 2], 3),
    "prefetch": (slow(3).prefetch(1), [0, 1, 2], 3),
    "prefetch nothing": (nothing.prefetch(1), [], 0),
    "prefetch twice": (slow(9).prefetch(2).map(lambda i: -i).prefetch(3), [-i for i in range(9)], 9),
    "batch of a dict": (
        Dataset.from_generator(lambda: [{"a": 1, "b": 2}, {"b": 4, "a": 3}]).batch(2),
        [{"a": [1, 3], "b": [2, 4]}],
        None,
    ),
    "batch of named tuples": (Dataset.from_generator(lambda: [Point(1, 2)]).batch(2), [Point([1], [2])], None),
    "batch of texts": (Dataset.from_generator(lambda: ["a", "bcd"]).batch(2), [["a", "bcd"]], None),
    "padded": (ragged.padded_batch(3), [[[1, 0, 0], [2, 2, 2], [3, 3, 0]], [[4]]], None),
    "padded without the rest": (ragged.padded_batch(3, drop_remainder=True), [[[1, 0, 0], [2, 2, 2], [3, 3, 0]]], None),
    "padded with a value": (ragged.take(2).padded_batch(2, padding_values=-1), [[[1, -1, -1], [2, 2, 2]]], None),
    "padded to a size": (ragged.take(1).padded_batch(2, padded_shapes=[4]), [[[1, 0, 0, 0]]], None),
    "padded parts": (
        Dataset.from_generator(lambda: [([1], "a", 7), ([2, 2], "bc", 8)]).padded_batch(
            2, ([None], [], []), (9, "?", 0)
        ),
        [([[1, 9], [2, 2]], ["a", "bc"], [7, 8])],
        None,
    ),
    "padded texts": (
        Dataset.from_generator(lambda: [["a"], ["b", "cd"]]).padded_batch(2),
        [[["a", ""], ["b", "cd"]]],
        None,
    ),
    "padded on two axes": (
        Dataset.from_generator(lambda: [np.ones((1, 2)), np.ones((2, 1))]).padded_batch(2),
        [[[[1, 1], [0, 0]], [[1, 0], [1, 0]]]],
        None,
    ),
    "padded known": (slow(5).padded_batch(2), [[0, 1], [2, 3], [4]], 3),
    "buckets": (ragged.bucket_by_sequence_length(len, [2], [2, 2]), [[[2, 2, 2], [3, 3, 0]], [[1], [4]]], None),
    "buckets with rests": (
        ragged.bucket_by_sequence_length(len, [2, 3], [9, 1, 1]),
        [[[2, 2, 2]], [[3, 3]], [[1], [4]]],
        None,
    ),
    "buckets without rests": (
        ragged.bucket_by_sequence_length(len, [2, 3], [9, 1, 1], drop_remainder=True),
        [[[2, 2, 2]], [[3, 3]]],
        None,
    ),
    "buckets to the boundary": (
        ragged.bucket_by_sequence_length(len, [3, 6], 2, pad_to_bucket_boundary=True, padding_values=-1),
        [[[1, -1], [3, 3]], [[4, -1]], [[2, 2, 2, -1, -1]]],
        None,
    ),
    "buckets of pairs": (
        ragged.map(lambda x: (x, len(x), x[:1])).bucket_by_sequence_length(
            lambda x, n, first: n, [6], 2, ([None], [], [1]), pad_to_bucket_boundary=True
        ),
        [
            ([[1, 0, 0, 0, 0], [2, 2, 2, 0, 0]], [1, 3], [[1], [2]]),
            ([[3, 3, 0, 0, 0], [4, 0, 0, 0, 0]], [2, 1], [[3], [4]]),
        ],
        None,
    ),
}
# Methods that have a faster path on rows of arrays: both paths must do the same.
for source, make in (("rows", Dataset.range), ("elements", slow)):
    CASES |= {
        f"take of {source}": (make(5).take(2), [0, 1], 2),
        f"take more than {source}": (make(2).take(9), [0, 1], 2),
        f"skip of {source}": (make(5).skip(3), [3, 4], 2),
        f"skip more than {source}": (make(2).skip(9), [], 0),
        f"first shard of {source}": (make(7).shard(3, 0), [0, 3, 6], 3),
        f"last shard of {source}": (make(7).shard(3, 2), [2, 5], 2),
        f"shard without {source}": (make(2).shard(4, 3), [], 0),
        f"slices of {source}": (make(20).skip(2).shard(3, 1).take(4).batch(3), [[3, 6, 9], [12]], 2),
        f"batch of {source}": (make(5).batch(2), [[0, 1], [2, 3], [4]], 3),
        f"full batches of {source}": (make(5).batch(2, drop_remainder=True), [[0, 1], [2, 3]], 2),
        f"only full batches of {source}": (make(4).batch(2, drop_remainder=True), [[0, 1], [2, 3]], 2),
        f"no full batch of {source}": (make(1).batch(2, drop_remainder=True), [], 0),
        f"batches of batches of {source}": (make(4).batch(2).batch(2), [[[0, 1], [2, 3]]], 1),
        f"batch of no {source}": (make(0).batch(2), [], 0),
    }


@pytest.mark.parametrize("name", CASES)
def test_elements(name):
    data, expected, length = CASES[name]
    assert elements(data) == expected
    assert elements(data) == expected, "a second pass"
    if length is None:
        with pytest.raises(TypeError, match="known number of elements"):
            len(data)
    else:
        assert len(data) == length
    assert data  # also where len() raises


@pytest.mark.parametrize("name", CASES)
def test_passes_do_not_disturb_each_other(name):
    data, expected, _ = CASES[name]
    first, second = iter(data), iter(data)
    both = list(itertools.zip_longest(first, second))
    assert [plain(a) for a, _ in both] == [plain(b) for _, b in both] == expected


@pytest.mark.parametrize("name", CASES)
def test_a_pass_left_early(name):
    data, expected, _ = CASES[name]
    passing = iter(data)
    assert [plain(element) for element in itertools.islice(passing, 1)] == expected[:1]
    passing.close()
    assert next(passing, None) is None


def test_an_infinite_length():
    with pytest.raises(TypeError, match="received an infinite one"):
        len(slow(2).repeat())
    for endless in (slow(2).repeat().batch(3), slow(2).repeat().skip(1), slow(2).repeat().map(abs).shard(2, 1)):
        with pytest.raises(TypeError, match="infinite"):
            len(endless)


def test_dtypes_stay():
    x = np.array([[1, 2], [3, 4]], "uint8")
    for data in (Dataset.from_tensor_slices(x), Dataset.from_tensor_slices(x).map(lambda x: x)):
        assert next(iter(data.batch(2))).dtype == next(iter(data.padded_batch(2))).dtype == np.uint8
    assert next(iter(Dataset.from_tensor_slices(tg.tensor([1.0])))).dtype == np.float32


# Shuffling and other draws


def shuffles(n, buffer_size, **options):
    """Made anew at each call, as passes over one dataset with a seed differ: on rows and on elements."""
    return (
        Dataset.range(n).shuffle(buffer_size, **options),
        slow(n).map(lambda i: i).shuffle(buffer_size, **options),
    )


@pytest.mark.parametrize("buffer_size", [1, 3, 19, 20, 99])
@pytest.mark.parametrize("reshuffle", [True, False])
def test_shuffle(buffer_size, reshuffle):
    found = []
    for data in shuffles(20, buffer_size, seed=3, reshuffle_each_iteration=reshuffle):
        first, second = elements(data), elements(data)
        assert sorted(first) == sorted(second) == list(range(20))
        assert (first == second) == (not reshuffle or buffer_size == 1)
        assert (first == sorted(first)) == (buffer_size == 1)
        assert all(place >= n - buffer_size + 1 for place, n in enumerate(first)), "n cannot come before it is read"
        found.append((first, second))
    assert found[0] == found[1], "rows and elements are shuffled in the same way"
    assert [plain(batch) for batch in shuffles(20, buffer_size, seed=3)[0].batch(8)] == [
        plain(batch) for batch in shuffles(20, buffer_size, seed=3)[1].batch(8)
    ]


def test_every_order_is_as_likely():
    tg.seed(1)
    for data in (Dataset.range(3).shuffle(3), slow(3).shuffle(5)):
        counts = {}
        for _ in range(1200):
            order = tuple(elements(data))
            counts[order] = counts.get(order, 0) + 1
        assert len(counts) == 6
        chi_squared = sum((count - 200) ** 2 / 200 for count in counts.values())
        assert chi_squared < 20.5  # 5 degrees of freedom: exceeded by chance once in a thousand


def test_a_small_buffer_is_drawn_from_uniformly():
    tg.seed(2)
    counts = np.zeros(4)
    for _ in range(2000):
        counts[next(iter(slow(6).shuffle(4)))] += 1
    assert ((counts - 500) ** 2 / 500).sum() < 16.3  # 3 degrees of freedom, once in a thousand


def test_the_seed_of_the_package_and_an_own_one():
    def orders(seed):
        data = Dataset.range(30).shuffle(30, seed=seed)
        return elements(data), elements(data)

    tg.seed(5)
    first = orders(None), orders(7)
    tg.seed(5)
    assert (orders(None), orders(7)) == first
    tg.seed(6)
    assert orders(7) == first[1]
    assert orders(None) != first[0]
    assert orders(8) != first[1]
    assert len({tuple(order) for pair in first for order in pair}) == 4


def test_repeat_shuffles_each_time():
    tg.seed(0)
    twice = elements(Dataset.range(30).shuffle(30).repeat(2))
    assert sorted(twice[:30]) == sorted(twice[30:]) == list(range(30))
    assert twice[:30] != twice[30:]
    tg.seed(0)
    assert elements(Dataset.range(30).shuffle(30).repeat(2).prefetch(3)) == twice


def noisy(data, **options):
    """Each number with draws of both kinds of layers and functions: from the package's seed and from their own."""
    layer = tg.layers.GaussianNoise(1.0, seed=4)
    ones = np.ones((1, 2), "float32")
    return data.map(lambda i: (i, tg.uniform((2,)), layer(ones, training=True)[0]), **options)


def test_threads_do_not_change_what_is_drawn():
    def draw(prepare):
        tg.seed(3)
        data = prepare(slow(20).shuffle(20))
        found = elements(data), elements(data)
        return *found, tg.uniform((1,)).item()  # the numbers of the program go on as they do without threads

    expected = draw(noisy)
    assert draw(lambda data: noisy(data, num_parallel_calls=3).prefetch(2)) == expected
    first, second, _ = expected
    draws = [tuple(part) for n, uniform, noise in first + second for part in (uniform, noise)]
    assert len(set(draws)) == len(draws) == 80, "no two elements, passes or layers draw the same"


def test_a_generator_may_draw():
    def function():
        for _ in range(5):
            yield tg.uniform((2,))

    data = Dataset.from_generator(function)
    tg.seed(1)
    first = elements(data), elements(data)
    assert first[0] != first[1]
    assert len(np.unique(first)) == 20
    tg.seed(1)
    assert (elements(data.prefetch(3)), elements(data.prefetch(3))) == first


@pytest.mark.parametrize(
    "data",
    [
        Dataset.from_generator(lambda: (tg.uniform((1,)) for _ in range(20))),
        Dataset.range(10).shuffle(10).repeat(2),
        slow(9).filter(lambda i: tg.uniform((1,)).item() < 0.5).repeat(3),
    ],
)
def test_draws_of_the_program_in_between_change_nothing(data):
    """Else a thread that is ahead by more or less would."""
    tg.seed(1)
    expected = elements(data)
    tg.seed(1)
    found = []
    for element in data:
        found.append(plain(element))
        tg.uniform((1,))
    assert found == expected


def test_augmentation():
    images, labels = np.arange(2 * 4 * 4 * 1, dtype="float32").reshape(2, 4, 4, 1), np.array([3, 4])
    flip = tg.layers.RandomFlip("horizontal")
    data = (
        Dataset.from_tensor_slices((images, labels))
        .repeat(20)
        .map(lambda x, y: (flip(x, training=True), y), num_parallel_calls=2)
        .batch(4)
        .prefetch(1)
    )
    tg.seed(0)
    first = list(data)
    flipped = 0
    for x, y in first:
        assert type(x) is np.ndarray
        assert x.shape == (4, 4, 4, 1)
        for image, label in zip(x, y, strict=True):
            original = images[label - 3]
            is_flipped = np.array_equal(image, original[:, ::-1])
            assert is_flipped or np.array_equal(image, original)
            flipped += is_flipped
    assert 8 < flipped < 32
    tg.seed(0)
    for (x, _), (again, _) in zip(first, data, strict=True):
        np.testing.assert_array_equal(x, again)


def test_dtype_and_device_of_threads():
    with tg.use_dtype("float64"):
        for data in (slow(3).map(lambda i: tg.uniform((1,)), num_parallel_calls=2), slow(3).map(lambda i: tg.zeros(1))):
            assert {x.dtype.name for x in data.prefetch(2)} == {"float64"}


@pytest.mark.gpu
def test_arrays_on_cuda_come_to_the_host():
    on_cuda = tg.tensor([[1.0], [2.0]]).to("cuda")
    for data in (Dataset.from_tensor_slices(on_cuda), Dataset.from_generator(lambda: [on_cuda.data[0], on_cuda[1]])):
        assert elements(data) == [[1.0], [2.0]]
    with tg.use_device("cuda"):  # orders and maps do not change with the device
        found = [elements(Dataset.range(9).shuffle(n, seed=1).map(lambda i: tg.ones((1,)) * i)) for n in (4, 9)]
    assert found == [elements(Dataset.range(9).shuffle(n, seed=1).map(lambda i: [float(i)])) for n in (4, 9)]


# When work is done


def test_nothing_is_made_before_it_is_asked_for():
    made = []

    def note(i):
        made.append(int(i))
        return i

    passing = iter(Dataset.range(9).map(note))
    assert made == []
    next(passing)
    assert made == [0]
    passing.close()
    assert elements(Dataset.range(9).map(note).take(2)) == [0, 1]
    assert made == [0, 0, 1], "take asks for no more than it gives"


def test_prefetch_works_ahead_in_a_thread():
    made, ready = [], threading.Event()

    def note(i):
        made.append((int(i), threading.current_thread()))
        if i == 2:
            ready.set()
        return i

    passing = iter(Dataset.range(9).map(note).prefetch(2))
    assert next(passing) == 0
    assert ready.wait(60), "elements 1 and 2 are made while 0 is used"
    passing.close()
    assert [i for i, _ in made] == [0, 1, 2], "no more than two are made ahead"
    assert {thread for _, thread in made}.isdisjoint({threading.current_thread()})


def test_maps_run_side_by_side():
    barrier = threading.Barrier(3)
    assert elements(Dataset.range(9).map(lambda i: (i, barrier.wait(60))[0], num_parallel_calls=3)) == list(range(9))


def test_cache_makes_elements_once():
    made = []

    def note(i):
        made.append(int(i))
        return np.full(2, i)

    data = Dataset.range(3).map(note).cache()
    for _ in itertools.islice(data, 2):
        pass
    assert made == [0, 1], "a pass that is left early keeps nothing"
    assert elements(data) == elements(data) == [[0, 0], [1, 1], [2, 2]]
    assert made == [0, 1, 0, 1, 2]
    for element in itertools.chain(data, Dataset.from_tensor_slices(np.zeros((2, 2)))):
        with pytest.raises(ValueError, match="read-only"):
            element += 1


def test_the_arrays_of_the_user_stay_writable():
    x = np.zeros((2, 2))
    list(Dataset.from_tensor_slices(x))
    list(Dataset.from_generator(lambda: [x]).cache())
    x += 1


class Closed(Exception):
    pass


@pytest.mark.parametrize(
    "pipeline",
    [
        lambda data: data.prefetch(2),
        lambda data: data.map(lambda i: i, num_parallel_calls=2),
        lambda data: data.map(lambda i: i, num_parallel_calls=2).prefetch(2).batch(1).prefetch(1),
        lambda data: Dataset.zip(data, data.prefetch(1)).map(lambda a, b: a),
        lambda data: data.concatenate(data.prefetch(2)).shuffle(2).repeat().prefetch(1),
    ],
)
def test_exceptions_come_through(pipeline):
    """With the traceback, and no thread stays although the exception lives on."""

    def fail(i):
        if i == 5:
            raise Closed("element 5")
        return i

    with pytest.raises(Closed, match="element 5") as caught:
        list(pipeline(Dataset.range(10).map(fail)))
    assert caught.traceback[-1].name == "fail"
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("prefetch", "map"))]


def test_a_break_ends_threads_and_generators():
    ends = []

    def function():
        try:
            yield from range(100)
        finally:
            ends.append(threading.current_thread())

    for element in Dataset.from_generator(function).map(lambda i: i, num_parallel_calls=2).prefetch(2).batch(2):
        assert element.tolist() == [0, 1]
        break
    assert len(ends) == 1


def test_a_forgotten_iterator_ends():
    passing = iter(slow(100).prefetch(2))
    next(passing)
    del passing
    gc.collect()


def test_a_program_may_end_half_way():
    code = """
import tinygrad_edu as tg
passing = iter(tg.data.Dataset.range(100).map(lambda i: i, num_parallel_calls=2).prefetch(2))
print(next(passing))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")


def test_ctrl_c():
    """A signal while the main thread waits for a prefetched element that never comes."""
    code = """
import os, signal, threading
import tinygrad_edu as tg
waiting = threading.Event()

def wait(i):
    while i == 3 and not waiting.is_set():  # a signal just before the main thread waits does not wake it
        os.kill(os.getpid(), signal.SIGINT)
        waiting.wait(0.1)
    return i

def interrupted(*_):
    waiting.set()
    raise KeyboardInterrupt

signal.signal(signal.SIGINT, interrupted)
try:
    for i in tg.data.Dataset.range(100).map(wait).prefetch(1):
        seen = i
except KeyboardInterrupt:
    print("stopped after", seen, "with threads:", threading.active_count())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout in ("stopped after 1 with threads: 1\n", "stopped after 2 with threads: 1\n")


# Files


def test_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b", "a", "sub/c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.save(f"{name}.npy", np.full(2, ord(name[-1])))
    assert elements(Dataset.from_files("*.npy", np.load)) == [[97, 97], [98, 98]]
    assert elements(Dataset.from_files("**/*.npy", lambda path: path)) == ["a.npy", "b.npy", "sub/c.npy"]
    paths = [tmp_path / "b.npy", str(tmp_path / "a.npy")]
    data = Dataset.from_files(paths, np.load, num_parallel_calls=2)
    assert len(data) == 2
    assert elements(data) == [[98, 98], [97, 97]]
    assert elements(data.unbatch().batch(3)) == [[98, 98, 97], [97]]
    (tmp_path / "b.npy").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="pickle") as caught:
        list(data)
    assert caught.value.__notes__ == [f"Dataset.from_files: while reading '{tmp_path / 'b.npy'}'"]
    for missing in ("*.txt", [tmp_path / "d.npy"], []):
        with pytest.raises(FileNotFoundError, match=r"Dataset\.from_files: expected files"):
            Dataset.from_files(missing, np.load)


# Errors

MISTAKES = [
    (lambda: Dataset.from_tensor_slices(([1, 2], [1])), tg.ShapeError, "as many rows"),
    (lambda: Dataset.from_tensor_slices(3), tg.ShapeError, r"shapes \(\)"),
    (lambda: Dataset.from_tensor_slices(()), tg.ShapeError, "as many rows"),
    (lambda: Dataset.from_tensor_slices([[1], [1, 2]]), tg.ShapeError, "rows of one shape"),
    (lambda: Dataset.from_tensor_slices([None, 1]), TypeError, "numbers or texts"),
    (lambda: Dataset.from_generator(i for i in range(3)), TypeError, "read once only"),
    (lambda: Dataset.range(1.5), TypeError, "whole numbers"),
    (lambda: Dataset.zip(Dataset.range(1), [1]), TypeError, "expected datasets"),
    (lambda: Dataset.zip(), TypeError, "expected datasets"),
    (lambda: slow(3).concatenate([1]), TypeError, "expected datasets"),
    (lambda: slow(3).map(3), TypeError, r"Dataset\.map: expected function to be a function"),
    (lambda: slow(3).map(abs, num_parallel_calls=0), ValueError, "num_parallel_calls"),
    (lambda: slow(3).filter(None), TypeError, "predicate"),
    (lambda: slow(3).batch(0), ValueError, "batch_size to be an integer of at least 1"),
    (lambda: slow(3).batch(2.0), TypeError, "batch_size"),
    (lambda: slow(3).batch(2, "no"), TypeError, "drop_remainder"),
    (lambda: slow(3).take(-1), ValueError, "count"),
    (lambda: slow(3).skip(-1), ValueError, "count"),
    (lambda: slow(3).repeat(-1), ValueError, "count"),
    (lambda: slow(3).shard(2, 2), ValueError, "index to be below num_shards"),
    (lambda: slow(3).shuffle(0), ValueError, "buffer_size"),
    (lambda: slow(3).shuffle(3, seed=-1), ValueError, "seed"),
    (lambda: slow(3).shuffle(3, reshuffle_each_iteration=1), TypeError, "reshuffle_each_iteration"),
    (lambda: slow(3).prefetch(0), ValueError, "buffer_size"),
    (lambda: ragged.bucket_by_sequence_length(len, [], 2), ValueError, "ascending"),
    (lambda: ragged.bucket_by_sequence_length(len, [3, 3], 2), ValueError, "ascending"),
    (lambda: ragged.bucket_by_sequence_length(len, [3], [2]), ValueError, "2 bucket_batch_sizes"),
    (lambda: ragged.bucket_by_sequence_length(len, [3], 0), ValueError, "a batch size"),
    # while iterating
    (lambda: list(slow(3).map(lambda i: None)), TypeError, "numbers or texts"),
    (lambda: list(ragged.batch(2)), tg.ShapeError, r"\(1,\) and \(3,\)\. Hint: pad sequences"),
    (lambda: list(Dataset.from_generator(lambda: [1, "a"]).batch(2)), TypeError, "either texts or numbers"),
    (lambda: list(Dataset.from_generator(lambda: [1, "a"]).padded_batch(2)), TypeError, "either texts or numbers"),
    (lambda: list(Dataset.from_generator(lambda: [1, (1, 2)]).batch(2)), ValueError, "elements of one form"),
    (lambda: list(Dataset.from_generator(lambda: [(1,), (1, 2)]).batch(2)), ValueError, "elements of one form"),
    (lambda: list(Dataset.from_generator(lambda: [{"a": 1}, {"b": 1}]).batch(2)), ValueError, "elements of one form"),
    (lambda: list(Dataset.from_generator(lambda: [1, [1]]).padded_batch(2)), tg.ShapeError, "as many axes"),
    (lambda: list(ragged.padded_batch(2, [2])), tg.ShapeError, r"fit into \[2\]"),
    (lambda: list(ragged.padded_batch(2, [9, 9])), tg.ShapeError, "fit into"),
    (lambda: list(ragged.padded_batch(2, padding_values=0.5)), ValueError, "padding_values to be whole"),
    (lambda: list(ragged.padded_batch(2, padding_values=float("nan"))), ValueError, "padding_values"),
    (lambda: list(pairs(2).padded_batch(2, padding_values=(1, 2, 3))), ValueError, "an option for all elements"),
    (
        lambda: list(ragged.bucket_by_sequence_length(len, [3], 2, pad_to_bucket_boundary=True)),
        ValueError,
        "lengths below the last boundary, 3",
    ),
    (lambda: list(ragged.bucket_by_sequence_length(lambda x: 1.5, [3], 2)), TypeError, "a length"),
    (lambda: list(Dataset.range(3).unbatch()), tg.ShapeError, r"Dataset\.unbatch"),
]


@pytest.mark.parametrize(("mistake", "kind", "text"), MISTAKES)
def test_mistakes(mistake, kind, text):
    with pytest.raises(kind, match=text):
        mistake()


def test_repr():
    data = Dataset.range(5).batch(2)
    assert repr(data) == "<Dataset of 3 elements>"
    assert repr(data.repeat()) == "<Dataset of endless elements>"
    assert repr(data.unbatch()) == "<Dataset of an unknown number of elements>"
