"""DataLoader: batches in the sampler's order, the same whatever the number of workers, and nothing left behind."""

import itertools
import multiprocessing
import os
import random
import subprocess
import sys
import textwrap
import threading
import weakref

import numpy as np
import pytest

import tinygrad_edu as tg
from tinygrad_edu.data import DataLoader, Dataset


@pytest.fixture(autouse=True)
def nothing_is_left():
    tg.seed(0)
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before
    assert multiprocessing.active_children() == []


class Squares:
    """Samples (i, i², draws of each kind), of numbers below n. Here, and so are the classes below, for the workers."""

    def __init__(self, n):
        self.n = n
        self.noise = tg.layers.GaussianNoise(1.0, seed=1)

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        draws = (tg.uniform((2,)), np.random.rand(2), random.random())  # noqa: NPY002 -- as people write it
        return i, {"square": np.float32(i * i), "draws": draws, "noise": self.noise(tg.zeros((1, 3)), training=True)[0]}


class Flipped:
    def __init__(self):
        self.flip = tg.layers.RandomFlip("horizontal")

    def __len__(self):
        return 16

    def __getitem__(self, i):
        return self.flip(np.arange(12.0, dtype="float32").reshape(2, 3, 2) + i, training=True), i


class Faulty(Squares):
    """Does something bad in sample 10."""

    def __init__(self, deed):
        super().__init__(20)
        self.deed = deed

    def __getitem__(self, i):
        if i == 10:
            self.deed()
        return i


class Unpicklable(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a}{b}")


def end():
    os._exit(3)


def be_killed():
    os.kill(os.getpid(), 9)


def leave():
    sys.exit(4)


def fail():
    raise KeyError("sample 10")


def fail_like_a_pipe():
    raise EOFError("a file is too short")


def fail_unpicklably():
    raise Unpicklable("of two ", "arguments")


def sums(samples):
    return np.array([i * 2 for i, _ in samples])


class OnlyHere:
    """Can be pickled but not read again."""

    def __len__(self):
        return 2

    def __getitem__(self, i):
        return i

    def __reduce__(self):
        return (fail, ())


def flat(batch):
    return [np.asarray(leaf) for leaf in leaves(batch)]


def leaves(tree):
    if isinstance(tree, (tuple, dict)):
        for branch in tree.values() if isinstance(tree, dict) else tree:
            yield from leaves(branch)
    else:
        yield tree


def assert_equal_passes(first, second):
    for one, other in zip(first, second, strict=True):
        for a, b in zip(flat(one), flat(other), strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


# In this process

x, y = np.arange(14.0).reshape(7, 2), np.arange(7)


@pytest.mark.parametrize(
    ("data", "options", "expected"),
    [
        (y, {"batch_size": 3}, [[0, 1, 2], [3, 4, 5], [6]]),
        (y, {"batch_size": 3, "drop_last": True}, [[0, 1, 2], [3, 4, 5]]),
        (y, {"batch_size": 9, "drop_last": True}, []),
        (y, {}, [[0, 1, 2, 3, 4, 5, 6]]),
        (y, {"batch_size": 3, "sampler": [5, 0, 5, 1]}, [[5, 0, 5], [1]]),
        (y, {"batch_size": 2, "sampler": iter([3, 2, 1])}, [[3, 2], [1]]),
        (tg.tensor([1.0, 2.0]), {"batch_size": 1}, [[1.0], [2.0]]),
        ([5, 6, 7], {"batch_size": 2}, [[5, 6], [7]]),
        (range(3), {"batch_size": 2, "collate_fn": max}, [1, 2]),
        (y, {"batch_size": 4, "collate_fn": sum}, [6, 15]),
        (
            {"a": y, "b": y},
            {"batch_size": 4, "collate_fn": lambda rows: [row["b"] for row in rows]},
            [[0, 1, 2, 3], [4, 5, 6]],
        ),
        ({"k": 1, "l": 2}.get("k"), {}, TypeError),
        ([], {}, []),
    ],
)
def test_batches(data, options, expected):
    if expected is TypeError:
        with pytest.raises(TypeError, match="arrays, or a dataset with"):
            DataLoader(data, **options)
        return
    loader = DataLoader(data, **options)
    if hasattr(options.get("sampler", []), "__len__"):
        assert len(loader) == len(expected)
    else:
        with pytest.raises(TypeError):
            len(loader)
    assert [batch.tolist() for batch in loader] == expected


def test_trees_of_arrays():
    batches = list(DataLoader((x, {"label": y}), batch_size=4))
    assert [b["label"].tolist() for _, b in batches] == [[0, 1, 2, 3], [4, 5, 6]]
    np.testing.assert_array_equal(np.concatenate([a for a, _ in batches]), x)


def test_samples_of_a_dataset():
    (i, rest), last = DataLoader(Squares(5), batch_size=4)
    assert i.tolist() == [0, 1, 2, 3]
    assert rest["square"].tolist() == [0.0, 1.0, 4.0, 9.0]
    assert rest["square"].dtype == np.float32
    assert type(rest["noise"]) is np.ndarray
    assert rest["noise"].shape == (4, 3)
    assert last[0].tolist() == [4]


@pytest.mark.parametrize("data", [np.arange(30), range(30)], ids=["array", "samples"])
def test_shuffle(data):
    def passes(package_seed, **options):
        loader = DataLoader(data, batch_size=8, shuffle=True, **options)
        tg.seed(package_seed)
        return [np.concatenate(list(loader)).tolist() for _ in range(2)]

    first, second = passes(1)
    assert sorted(first) == sorted(second) == list(range(30))
    assert len({tuple(first), tuple(second), tuple(range(30))}) == 3
    assert passes(1) == [first, second]
    assert passes(2)[0] != first
    assert passes(1, seed=3) == passes(2, seed=3) != passes(1, seed=4)
    assert passes(1, seed=3)[0] != passes(1, seed=3)[1]


def test_two_passes_at_once():
    loader = DataLoader(np.arange(30), batch_size=8, shuffle=True)
    tg.seed(1)
    expected = [[batch.tolist() for batch in loader] for _ in range(2)]
    tg.seed(1)
    both = list(zip(iter(loader), iter(loader), strict=True))
    assert [[a.tolist() for a, _ in both], [b.tolist() for _, b in both]] == expected


def test_no_two_draws_are_equal_and_the_program_goes_on():
    random.seed(5)
    np.random.seed(6)  # noqa: NPY002
    expected = (random.random(), np.random.rand())  # noqa: NPY002
    random.seed(5)
    np.random.seed(6)  # noqa: NPY002
    loader = DataLoader(Squares(40), batch_size=8)
    batches = [*loader, *loader]
    assert (random.random(), np.random.rand()) == expected  # noqa: NPY002
    for draws in zip(*([*rest["draws"], rest["noise"]] for _, rest in batches), strict=True):
        rows = np.concatenate(draws)
        assert len(np.unique(rows)) == rows.size


# In workers


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_give_the_same(workers):
    def passes(number):
        tg.seed(0)
        loader = DataLoader(Squares(50), batch_size=7, shuffle=True, num_workers=number)
        found = list(loader), list(loader)
        loader.close()
        return *found, [tg.uniform((2,))]

    expected, found = passes(0), passes(workers)
    assert len(expected[0]) == 8
    for one, other in zip(expected, found, strict=True):
        assert_equal_passes(one, other)
    assert all(array.flags.writeable and array.dtype is np.dtype(array.dtype.str) for array in flat(found[0][0]))


def test_large_and_empty_arrays_go_through_pipes():
    """A batch larger than any pipe holds, and an order of numbers larger than that."""
    rows = np.arange(300_000.0).reshape(100_000, 3)
    data = (rows, np.zeros((100_000, 0)), np.array(["a", "b"]).repeat(50_000))
    loader = DataLoader(data, batch_size=40_000, shuffle=True, num_workers=2, seed=1)
    with_workers = list(loader)
    loader.close()
    assert [len(batch[0]) for batch in with_workers] == [40_000, 40_000, 20_000]
    assert_equal_passes(with_workers, DataLoader(data, batch_size=40_000, shuffle=True, seed=1))


def test_augmentation_in_workers():
    def batches(workers):
        tg.seed(4)
        loader = DataLoader(Flipped(), batch_size=3, num_workers=workers)
        found = list(loader)
        loader.close()
        return found

    here = batches(0)
    assert_equal_passes(here, batches(2))
    images, numbers = (np.concatenate(parts) for parts in zip(*here, strict=True))
    originals = np.arange(12.0).reshape(2, 3, 2) + numbers[:, None, None, None]
    flipped = [np.array_equal(image, original[:, ::-1]) for image, original in zip(images, originals, strict=True)]
    assert 2 < sum(flipped) < 14
    for image, original, is_flipped in zip(images, originals, flipped, strict=True):
        assert is_flipped or np.array_equal(image, original)


def test_workers_live_on_and_see_changes():
    data = list(range(6))
    with tg.use_dtype("float64"):
        loader = DataLoader(data, batch_size=4, num_workers=2, collate_fn=with_process)
        first = list(loader)
        data[0] = 100
        second = list(loader)
    processes = {int(batch[-1]) for batch in first}
    assert len(processes) == 2
    assert processes == {int(batch[-1]) for batch in second}
    assert [batch[:-2].tolist() for batch in second] == [[100, 1, 2, 3], [4, 5]]
    assert {batch[-2] for batch in first + second} == {8}, "the default dtype"
    loader.close()
    assert multiprocessing.active_children() == []
    assert len(list(loader)) == 2, "a closed loader starts again"
    alive = weakref.ref(loader)
    del loader
    assert alive() is None
    assert multiprocessing.active_children() == [], "workers end with their loader"


def with_process(samples):
    return [*samples, tg.uniform((1,)).dtype.itemsize, os.getpid()]


def test_a_worker_that_has_no_batch_in_the_first_pass():
    sampler = [0]
    loader = DataLoader(np.arange(5), batch_size=2, sampler=sampler, num_workers=2)
    assert [batch.tolist() for batch in loader] == [[0]]
    sampler[:] = [4, 3, 2]
    assert [batch.tolist() for batch in loader] == [[4, 3], [2]]
    loader.close()


def test_passes_inside_of_each_other():
    loader = DataLoader(np.arange(4), batch_size=2, num_workers=1)
    found = [(a.tolist(), b.tolist()) for a in loader for b in loader]
    assert found == list(itertools.product([[0, 1], [2, 3]], repeat=2))
    assert len(multiprocessing.active_children()) == 1, "those of the inner passes have ended"
    loader.close()


def test_a_pass_left_early_ends_its_workers():
    for batch in DataLoader(Squares(1000), batch_size=2, num_workers=2):
        assert batch[0].tolist() == [0, 1]
        assert len(multiprocessing.active_children()) == 2
        break
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("deed", [fail, fail_like_a_pipe])
def test_an_exception_comes_through(workers, deed):
    with pytest.raises((KeyError, EOFError), match=r"sample 10|too short") as caught:
        list(DataLoader(Faulty(deed), batch_size=4, num_workers=workers))
    assert caught.value.__notes__[0] == "DataLoader: while making batch 2"
    if workers:
        assert caught.value.__notes__[1].startswith("in DataLoader worker 0:\nTraceback")
        assert "in __getitem__\n    self.deed()" in caught.value.__notes__[1]
    assert multiprocessing.active_children() == [], "although the exception lives on"


def test_an_exception_that_cannot_be_pickled():
    with pytest.raises(RuntimeError, match="Unpicklable: of two arguments") as caught:
        list(DataLoader(Faulty(fail_unpicklably), batch_size=4, num_workers=1))
    assert "in fail_unpicklably" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("deed", "text"),
    [
        (end, r"data from worker 0, received its end with exit code 3\. Hint: num_workers=0"),
        (leave, "received its end with exit code 4"),
        (be_killed, r"exit code -9\. Hint: it was killed, perhaps for want of memory"),
    ],
)
def test_a_worker_that_dies(deed, text):
    loader = DataLoader(Faulty(deed), batch_size=4, num_workers=2)
    found = []
    with pytest.raises(RuntimeError, match=text):
        found.extend(batch.tolist() for batch in loader)
    assert found == [[0, 1, 2, 3], [4, 5, 6, 7]], "what came before is not lost"


def test_data_that_workers_cannot_have():
    with pytest.raises(TypeError, match=r"pickled for worker processes.*Hint: define classes and functions at the top"):
        list(DataLoader(range(3), num_workers=1, collate_fn=lambda samples: samples))
    with pytest.raises(KeyError, match="sample 10") as caught:
        list(DataLoader(OnlyHere(), num_workers=1))
    assert "in DataLoader worker 0" in caught.value.__notes__[0]


# As programs

PROGRAM = """
import os, signal, sys
import numpy as np
import tinygrad_edu as tg

class Numbers:
    def __len__(self): return 1000
    def __getitem__(self, i): return i, os.getpid()

def train():
    loader = tg.data.DataLoader(Numbers(), batch_size=5, num_workers=2)
    processes = set()
    for number, (x, processes_of_batch) in enumerate(loader):
        processes |= set(processes_of_batch.tolist())
        if number == 3:
            {deed}
    return processes

def gone(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
"""
GUARDED = """
if __name__ == "__main__":
    try:
        print(len(train()))
    except KeyboardInterrupt:
        import multiprocessing
        print("interrupted", multiprocessing.active_children())
"""


def run(tmp_path, deed, end=GUARDED):
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM).replace("{deed}", deed) + end)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(
        [sys.executable, "-W", "error", "program.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        start_new_session=True,
    )


def test_a_program(tmp_path):
    done = run(tmp_path, "pass")
    assert (done.stdout, done.stderr, done.returncode) == ("2\n", "", 0)


@pytest.mark.parametrize(
    ("deed", "printed"),
    [
        ("os.killpg(0, signal.SIGINT)", "interrupted []\n"),
        ("[os.kill(process, signal.SIGINT) for process in processes]", "2\n"),
    ],
    ids=["to all", "to the workers"],
)
def test_ctrl_c(tmp_path, deed, printed):
    """A terminal sends the signal to all processes: the workers say nothing, and end when the loader ends them."""
    done = run(tmp_path, deed)
    assert (done.stdout, done.stderr, done.returncode) == (printed, "", 0)


def test_a_program_that_ends_half_way(tmp_path):
    done = run(tmp_path, "print(*processes); sys.exit(5)")
    assert (done.stderr, done.returncode) == ("", 5)
    for process in done.stdout.split():
        with pytest.raises(ProcessLookupError):
            os.kill(int(process), 0)


def test_a_program_without_the_guard(tmp_path):
    done = run(tmp_path, "pass", end="train()\n")
    assert done.returncode == 1
    assert "a script must start training under `if __name__ == '__main__':`" in done.stderr.splitlines()[-1]
    assert done.stderr.count("Traceback") == 1


def test_a_class_that_workers_do_not_find(tmp_path):
    end = "if __name__ == '__main__':\n    class Own(Numbers): pass\n    Numbers = Own\n    train()\n"
    done = run(tmp_path, "pass", end)
    assert done.returncode == 1
    assert "Hint: put the class or function into a module; notebooks, and what `if __name__ == '__m" in done.stderr


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (lambda: DataLoader(Dataset.range(3)), TypeError, r"a Dataset has batch\(32\) and prefetch\(2\) itself"),
        (lambda: DataLoader(i for i in range(3)), TypeError, r"Dataset\.from_generator"),
        (lambda: DataLoader((np.zeros(3), np.zeros(2))), tg.ShapeError, "as many rows"),
        (lambda: DataLoader(y, shuffle=True, sampler=[1]), ValueError, "shuffle or a sampler"),
        (lambda: DataLoader(y, shuffle="no"), TypeError, "shuffle to be True or False"),
        (lambda: DataLoader(y, batch_size=0), ValueError, "batch_size"),
        (lambda: DataLoader(y, num_workers=-1), ValueError, "num_workers"),
        (lambda: DataLoader(y, prefetch_factor=0), ValueError, "prefetch_factor"),
        (lambda: DataLoader(y, drop_last=1), TypeError, "drop_last"),
        (lambda: DataLoader(y, seed=-1), ValueError, "seed"),
        (lambda: DataLoader(y, collate_fn=3), TypeError, "collate_fn"),
        (lambda: list(DataLoader([[1], [1, 2]])), tg.ShapeError, "elements of one shape"),
        (lambda: list(DataLoader([None])), TypeError, "numbers or texts"),
        (lambda: list(DataLoader(y, sampler=[99])), IndexError, "99"),
    ],
)
def test_mistakes(make, kind, text):
    with pytest.raises(kind, match=text):
        make()


def test_repr():
    assert repr(DataLoader(Squares(5), 2)) == "<DataLoader of batches of 2 from Squares>"
