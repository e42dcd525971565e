"""The downloaded data sets' formats, on small files of the right form and on damaged and hostile ones."""

# ruff: noqa: E501 -- the tables hold whole error texts, a case a line

import gzip
import hashlib
import io
import re
import struct
import tarfile
import warnings
import zipfile

import numpy as np
import pytest

from tinygrad_edu import datasets
from tinygrad_edu.datasets import archives, download
from tinygrad_edu.datasets.download import File

RANDOM = np.random.default_rng(0)


@pytest.fixture
def placed(tmp_path, monkeypatch):
    """Puts contents where the files of a data set are kept, as if they had been downloaded."""
    monkeypatch.setenv("TINYGRAD_EDU_DATA", str(tmp_path))

    def place(name, *contents):
        made = getattr(datasets, name)
        old = getattr(made, "files", None) or (made.file,)
        new = []
        for file, content in zip(old, contents, strict=True):
            path = download.folder() / file.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            new.append(File(file.name, (), hashlib.sha256(content).hexdigest(), len(content)))
        monkeypatch.setattr(made, "files" if len(old) > 1 else "file", tuple(new) if len(old) > 1 else new[0])
        return made

    return place


def idx(array):
    return gzip.compress(struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes())


def tar(members):
    """A ".tar.gz" of (name, content) or of TarInfo objects."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            archive.addfile(info, io.BytesIO(member[1]))
    return buffer.getvalue()


def zipped(members):
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # of names that come twice
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_mnist(placed, name):
    images = [RANDOM.integers(0, 256, (n, 28, 28), dtype=np.uint8) for n in (6, 2)]
    labels = [RANDOM.integers(0, 10, n, dtype=np.uint8) for n in (6, 2)]
    made = placed(name, idx(images[0]), idx(labels[0]), idx(images[1]), idx(labels[1]))
    for (x, y), image, label in zip(made.load_data(), images, labels, strict=True):
        assert x.dtype == y.dtype == np.uint8
        assert np.array_equal(x, image)
        assert np.array_equal(y, label)
        assert x.flags.writeable
    assert len(made.class_names) == 10


def cifar(records, labels):
    """Records as bytes, from the images in their order on disk."""
    return b"".join(bytes(label) + image.tobytes() for label, image in zip(labels, records, strict=True))


def test_cifar10(placed):
    images = RANDOM.integers(0, 256, (12, 3, 32, 32), dtype=np.uint8)
    labels = RANDOM.integers(0, 10, 12).tolist()
    content = {
        f"cifar-10-batches-bin/data_batch_{i + 1}.bin": cifar(images[2 * i :][:2], [[n] for n in labels[2 * i :][:2]])
        for i in range(5)
    }
    content["cifar-10-batches-bin/test_batch.bin"] = cifar(images[10:], [[n] for n in labels[10:]])
    content["cifar-10-batches-bin/readme.html"] = b"<html>"
    (x_train, y_train), (x_test, y_test) = placed("cifar10", tar(content.items())).load_data()
    assert np.array_equal(x_train, images[:10].transpose(0, 2, 3, 1))
    assert np.array_equal(x_test, images[10:].transpose(0, 2, 3, 1))
    assert y_train.tolist() == [[n] for n in labels[:10]]
    assert y_test.tolist() == [[n] for n in labels[10:]]
    assert {a.dtype.name for a in (x_train, y_train, x_test, y_test)} == {"uint8"}


def test_cifar100(placed):
    images = RANDOM.integers(0, 256, (5, 3, 32, 32), dtype=np.uint8)
    labels = [[3, 17], [0, 99], [19, 0], [1, 2], [5, 6]]
    files = [
        ("cifar-100-binary/train.bin", cifar(images[:3], labels[:3])),
        ("cifar-100-binary/test.bin", cifar(images[3:], labels[3:])),
    ]
    made = placed("cifar100", tar(files))
    (x_train, fine), (x_test, _) = made.load_data()
    (_, coarse), (_, coarse_test) = made.load_data(label_mode="coarse")
    assert np.array_equal(np.concatenate([x_train, x_test]), images.transpose(0, 2, 3, 1))
    assert (fine.tolist(), coarse.tolist(), coarse_test.tolist()) == ([[17], [99], [0]], [[3], [0], [19]], [[1], [5]])
    with pytest.raises(
        ValueError, match="load_data: expected label_mode to be one of 'coarse', 'fine', received 'all'"
    ):
        made.load_data(label_mode="all")


REVIEWS = {
    "train/neg/0_2.txt": "Bad, BAD film.<br />It's bad",
    "train/neg/1_3.txt": "a film",
    "train/pos/0_9.txt": "Good film! It's good: good-ish caf\u00e9",
    "train/pos/1_8.txt": "a a a",
    "test/neg/0_1.txt": "bad unknown film",
    "test/pos/0_10.txt": "good",
    "train/unsup/0_0.txt": "ignored ignored ignored ignored",
    "README": "ignored",
}


def reviews(placed):
    return placed("imdb", tar([(f"aclImdb/{name}", text.encode()) for name, text in REVIEWS.items()]))


def test_imdb(placed):
    made = reviews(placed)
    # how often: a 4; bad, film and good 3; it's 2; caf\u00e9 and ish 1
    assert made.get_word_index() == {"a": 1, "bad": 2, "film": 3, "good": 4, "it's": 5, "caf\u00e9": 6, "ish": 7}
    (x_train, y_train), (x_test, y_test) = made.load_data()
    assert x_train.dtype == object
    rows = sorted(zip(x_train.tolist(), y_train.tolist(), strict=True))
    assert rows == sorted([([1, 5, 5, 6, 8, 5], 0), ([1, 4, 6], 0), ([1, 7, 6, 8, 7, 7, 10, 9], 1), ([1, 4, 4, 4], 1)])
    assert sorted(zip(x_test.tolist(), y_test.tolist(), strict=True)) == [([1, 5, 6], 0), ([1, 7], 1)]
    assert y_train.dtype == np.int64
    (again, _), _ = made.load_data()
    assert again.tolist() == x_train.tolist()


def test_imdb_options_as_keras_has_them(placed):
    made = reviews(placed)
    (full, _), _ = made.load_data(start_char=None, index_from=0)
    assert sorted(full.tolist()) == [[1, 1, 1], [1, 3], [2, 2, 3, 5, 2], [4, 3, 5, 4, 4, 7, 6]]
    (some, _), _ = made.load_data(num_words=6, skip_top=5)  # the numbers after index_from was added
    assert sorted(some.tolist()) == [[2, 2, 2], [2, 2, 2, 2], [2, 2, 2, 2, 2, 2, 2, 2], [2, 5, 5, 2, 2, 5]]
    (less, labels), _ = made.load_data(num_words=6, oov_char=None, maxlen=5)
    assert sorted(zip(less.tolist(), labels.tolist(), strict=True)) == [([1, 4], 0), ([1, 4, 4, 4], 1)]
    with pytest.raises(ValueError, match="load_data: expected maxlen to leave some reviews, received 1"):
        made.load_data(maxlen=1)


def test_imdb_numbers_are_kept_and_made_again(placed, monkeypatch):
    made = reviews(placed)
    first = made.load_data()[0][0].tolist()
    (kept,) = download.folder().glob("imdb/numbers-*.npz")
    monkeypatch.setattr("tinygrad_edu.datasets.reviews.read_tar", None)
    assert made.load_data()[0][0].tolist() == first
    monkeypatch.undo()
    monkeypatch.setenv("TINYGRAD_EDU_DATA", str(kept.parents[1]))
    made = reviews(placed)
    for damage in (b"", b"no archive", kept.read_bytes()[:200]):
        kept.write_bytes(damage)
        assert made.load_data()[0][0].tolist() == first


def test_movielens(placed):
    rows = [(1, 3, 5), (2, 1, 1), (2, 2, 4), (7, 3, 3), (1, 1, 2)]
    data = "".join(f"{user}\t{item}\t{stars}\t88{i}\n" for i, (user, item, stars) in enumerate(rows))
    items = "1|Toy Story (1995)|01-Jan-1995\n2|Caf\u00e9 (1)|x\n3|Third|x\n".encode("latin-1")
    made = placed(
        "movielens_100k", zipped([("ml-100k/u.data", data), ("ml-100k/u.item", items), ("ml-100k/README", "")])
    )
    (x_train, y_train), (x_test, y_test) = made.load_data()
    assert (x_train.shape, x_test.shape) == ((4, 2), (1, 2))
    found = np.column_stack([np.concatenate([x_train, x_test]) + 1, np.concatenate([y_train, y_test])])
    assert sorted(map(tuple, found.tolist())) == sorted((float(a), float(b), float(c)) for a, b, c in rows)
    assert made.titles() == ["Toy Story (1995)", "Caf\u00e9 (1)", "Third"]


def test_tiny_shakespeare(placed):
    assert (
        placed("tiny_shakespeare", "First Citizen:\nSpeak, \u2019tis".encode()).load_data()
        == "First Citizen:\nSpeak, \u2019tis"
    )


WRONG_IDX = {
    "no gzip": b"not compressed",
    "truncated": idx(np.zeros((9, 28, 28), np.uint8))[:-20],
    "damaged": idx(RANDOM.integers(0, 256, (9, 28, 28), dtype=np.uint8))[:500] + b"????" + idx(np.zeros(3, np.uint8)),
    "another type": gzip.compress(b"\0\0\x0d\x01\0\0\0\x01\0\0\0\0"),
    "too short": gzip.compress(struct.pack(">BBBBI", 0, 0, 8, 1, 5) + b"1234"),
    "too long": gzip.compress(struct.pack(">BBBBI", 0, 0, 8, 1, 5) + b"123456"),
    "no axes": gzip.compress(b"\0\0\x08\0"),
    "cut axes": gzip.compress(b"\0\0\x08\x03\0\0"),
    "huge axes": gzip.compress(b"\0\0\x08\x04" + b"\xff" * 16),
    "empty": gzip.compress(b""),
    "bomb": gzip.compress(bytes(65 << 20)),
}


@pytest.mark.parametrize("name", WRONG_IDX)
def test_wrong_idx_files(placed, name):
    made = placed("mnist", *[WRONG_IDX[name]] * 4)
    with pytest.raises(
        ValueError,
        match=r"train-images-idx3-ubyte\.gz: expected (an IDX file|an archive that is whole|at most 67,108,864 bytes)",
    ):
        made.load_data()


def test_images_without_labels(placed):
    images, labels = np.zeros((3, 28, 28), np.uint8), np.zeros(2, np.uint8)
    made = placed("mnist", idx(images), idx(labels), idx(images), idx(labels))
    with pytest.raises(
        ValueError, match=re.escape("MNIST: expected as many labels as images, received shapes (3, 28, 28) and (2,).")
    ):
        made.load_data()


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ([("cifar-100-binary/train.bin", bytes(3074))], "expected 'cifar-100-binary/test.bin' of records of 3074 bytes, received 0 bytes"),
        ([("cifar-100-binary/train.bin", bytes(3073)), ("cifar-100-binary/test.bin", bytes(3074))], "received 3,073 bytes"),
        ([("cifar-100-binary/train.bin", b"\0\x64" + bytes(3072)), ("cifar-100-binary/test.bin", bytes(3074))], "CIFAR: expected labels below 100, received 100"),
    ],
)  # fmt: skip
def test_wrong_cifar_files(placed, files, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        placed("cifar100", tar(files)).load_data()


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ([("ml-100k/u.item", "")], "expected a file 'ml-100k/u.data', received none"),
        ([("ml-100k/u.data", "1\t2\tx\t4\n")], "ml-100k/u.data: expected lines of whole numbers between tabs"),
        ([("ml-100k/u.data", "1\t2\n")], "ml-100k/u.data: expected"),
        ([("ml-100k/u.data", "0\t2\t3\t4\n" * 9)], "ml-100k/u.data: expected users and films from 1, and 1 to 5 stars"),
        ([("ml-100k/u.data", "")], "ml-100k/u.data: expected users and films from 1"),
    ],
)
def test_wrong_movielens_files(placed, files, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        placed("movielens_100k", zipped(files)).load_data()


def test_wrong_reviews(placed):
    with pytest.raises(
        ValueError, match="expected texts in aclImdb/train and test, each in neg and pos, received others"
    ):
        placed("imdb", tar([("aclImdb/train/neg/0_1.txt", b"bad")])).load_data()


def link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


WANTED = ("wanted", b"content")
HOSTILE_TAR = {
    "absolute": (tar([("/etc/passwd", b"x"), WANTED]), "expected names inside of the archive, received '/etc/passwd'"),
    "parent": (tar([("a/../../x", b"x"), WANTED]), "expected names inside of the archive, received 'a/../../x'"),
    "backslash": (tar([("a\\..\\x", b"x"), WANTED]), "expected names inside of the archive"),
    "drive": (tar([("C:/x", b"x"), WANTED]), "expected names inside of the archive, received 'C:/x'"),
    "link": (tar([link("wanted", "/etc/passwd")]), "expected 'wanted' to be a file, received a link or another kind"),
    "hard link": (tar([link("wanted", "other", tarfile.LNKTYPE)]), "expected 'wanted' to be a file"),
    "device": (tar([link("wanted", "", tarfile.CHRTYPE)]), "expected 'wanted' to be a file"),
    "twice": (tar([WANTED, WANTED]), "files of different names, received 'wanted' twice"),
    "bomb": (tar([("zeros", bytes(2 << 20)), WANTED]), "expected at most 1,048,576 bytes, unpacked, received more"),
    "truncated": (tar([WANTED])[:60], "expected an archive that is whole"),
    "cut in the end": (tar([("x", RANDOM.bytes(50_000)), WANTED])[:-4], "expected an archive that is whole"),
    "another kind": (zipped([WANTED]), "expected an archive that is whole"),
    "no tar": (gzip.compress(b"text" * 1000), "expected an archive that is whole"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE_TAR)
def test_hostile_tar(tmp_path, name):
    content, text = HOSTILE_TAR[name]
    path = tmp_path / "a.tar.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(text)):
        list(archives.read_tar(path, "wanted".__eq__, limit=1 << 20))
    assert [p.name for p in tmp_path.iterdir()] == ["a.tar.gz"]


def test_a_sparse_file_that_is_a_bomb(tmp_path):
    # half a kilobyte that says the rest of its 4 GB are holes: these would not come out of the stream
    header = tarfile.TarInfo("wanted")
    header.type, header.size = tarfile.GNUTYPE_SPARSE, 512
    block = bytearray(header.tobuf(tarfile.GNU_FORMAT))
    block[386:410], block[483:495] = b"%011o\0%011o\0" % (0, 512), b"%011o\0" % (4 << 30)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(bytes(block) + bytes(512) + bytes(1024)))
    with pytest.raises(ValueError, match="expected 'wanted' to be a file, received a link or another kind"):
        next(archives.read_tar(path, "wanted".__eq__, limit=1 << 20))


def test_a_header_that_is_a_bomb(tmp_path):
    # an extended header that says it is 1 TB long is not read at once
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 1 << 40
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(2 << 20)))
    with pytest.raises(ValueError, match=r"expected (at most 1,048,576 bytes|an archive that is whole)"):
        list(archives.read_tar(path, "wanted".__eq__, limit=1 << 20))


def test_many_members(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MEMBERS", 5)
    (tmp_path / "a.tar.gz").write_bytes(tar([(str(i), b"") for i in range(6)]))
    (tmp_path / "a.zip").write_bytes(zipped([(str(i), b"") for i in range(6)]))
    for read, path in ((archives.read_tar, "a.tar.gz"), (archives.read_zip, "a.zip")):
        with pytest.raises(ValueError, match="expected at most 5 files of different names, received more"):
            list(read(tmp_path / path, "wanted".__eq__, limit=1 << 20))


def encrypted():
    content = bytearray(zipped([WANTED]))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + offset] |= 1
    return bytes(content)


def of_another_method(number):
    content = bytearray(zipped([WANTED]))
    content[content.index(b"PK\x01\x02") + 10] = number
    return bytes(content)


def without_a_place():
    """The member begins before the file does."""
    content = bytearray(zipped([WANTED]))
    end = content.index(b"PK\x05\x06")
    content[end + 16 : end + 20] = struct.pack("<I", 1 << 20)
    return bytes(content)


def lying():
    """A member whose header says that it has 10 bytes, and which has a million."""
    content = bytearray(zipped([("wanted", bytes(2 << 20))]))
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = content.index(mark) + offset
        content[place : place + 4] = struct.pack("<I", 10)
    return bytes(content)


HOSTILE_ZIP = {
    "absolute": (zipped([("/x", b"x"), WANTED]), "expected names inside of the archive, received '/x'"),
    "parent": (zipped([("../x", b"x"), WANTED]), "expected names inside of the archive, received '../x'"),
    "twice": (zipped([WANTED, WANTED]), "files of different names, received 'wanted' twice"),
    "bomb": (zipped([("wanted", bytes(2 << 20))]), "expected at most 1,048,576 bytes, unpacked, received more"),
    "encrypted": (encrypted(), "expected 'wanted' to be readable, received an encrypted file"),
    "bzip2": (of_another_method(12), "expected 'wanted' to be readable, received method 12"),
    "nowhere": (without_a_place(), "expected an archive that is whole"),
    "lying": (lying(), "expected an archive that is whole"),
    "truncated": (zipped([WANTED])[:-30], "expected an archive that is whole"),
    "another kind": (tar([WANTED]), "expected an archive that is whole"),
}


@pytest.mark.parametrize("name", HOSTILE_ZIP)
def test_hostile_zip(tmp_path, name):
    content, text = HOSTILE_ZIP[name]
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(text)):
        list(archives.read_zip(path, "wanted".__eq__, limit=1 << 20))


def test_honest_archives(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(tar([("other", b"x"), WANTED]))
    (tmp_path / "a.zip").write_bytes(zipped([("other", b"x"), WANTED]))
    assert list(archives.read_tar(tmp_path / "a.tar.gz", "wanted".__eq__, limit=20_000)) == [WANTED]
    assert list(archives.read_zip(tmp_path / "a.zip", "wanted".__eq__, limit=7)) == [WANTED]
