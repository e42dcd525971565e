"""Data sets of images that are downloaded, with the shapes and dtypes that they have in Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import choice, message
from .archives import read_gzip, read_tar
from .download import File, fetch
from .splits import Split


def _idx_files(folder: str, hosts: tuple[str, ...], sums: tuple[tuple[str, int], ...]) -> tuple[File, ...]:
    names = (
        "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
    )  # fmt: skip
    return tuple(
        File(f"{folder}/{name}", tuple(host + name for host in hosts), sha256, size)
        for name, (sha256, size) in zip(names, sums, strict=True)
    )


class MNIST:
    """70,000 handwritten digits of 28x28 pixels: Y. LeCun, C. Cortes and C. Burges (1998); 11.6 MB.

    Attributes:
        class_names: what the labels stand for.
    """

    class_names: tuple[str, ...] = tuple("0123456789")
    files = _idx_files(
        "mnist",
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
        (
            ("440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609", 9_912_422),
            ("3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c", 28_881),
            ("8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6", 1_648_877),
            ("f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6", 4_542),
        ),
    )

    def load_data(self) -> Split:
        """`(x_train, y_train), (x_test, y_test)`: uint8 images (60000, 28, 28) and (10000, 28, 28), 0 to 255, and uint8
        labels (n,)."""
        x_train, y_train, x_test, y_test = (read_idx(fetch(file)) for file in self.files)
        for x, y in ((x_train, y_train), (x_test, y_test)):
            if x.ndim != 3 or y.ndim != 1 or len(x) != len(y):
                expected, found = "as many labels as images", f"shapes {x.shape} and {y.shape}"
                raise ValueError(message(type(self).__name__, expected, found))
        return (x_train, y_train), (x_test, y_test)


class FashionMNIST(MNIST):
    """70,000 articles of clothing in the form of MNIST: H. Xiao, K. Rasul and R. Vollgraf, "Fashion-MNIST" (2017); MIT
    licence; 30.9 MB."""

    class_names = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    )  # fmt: skip
    files = _idx_files(
        "fashion_mnist",
        (
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
        (
            ("3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84", 26_421_880),
            ("a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845", 29_515),
            ("346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073", 4_422_102),
            ("67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5", 5_148),
        ),
    )


def read_idx(path: Path) -> Any:
    """The uint8 array in a compressed IDX file: two zeros, the type 8, the number of axes, the length of each as four
    bytes, the numbers."""
    data = read_gzip(path, limit=64 << 20)
    axes = data[3] if data[:3] == b"\0\0\x08" and len(data) > 3 else 0
    shape = tuple(np.frombuffer(data, ">u4", axes, offset=4).tolist()) if axes and len(data) >= 4 + 4 * axes else ()
    if not shape or len(data) != 4 + 4 * axes + int(np.prod(shape, dtype=object)):
        found = f"{len(data):,} bytes that begin with {data[:8].hex(' ')!r}"
        raise ValueError(message(str(path), "an IDX file of bytes", found))
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape).copy()


class CIFAR10:
    """60,000 photographs of 32x32 pixels in ten classes: A. Krizhevsky, "Learning multiple layers of features from tiny
    images" (2009); 170 MB.

    Attributes:
        class_names: what the labels stand for.
    """

    class_names: tuple[str, ...] = (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    )  # fmt: skip
    file = File(
        "cifar10/cifar-10-binary.tar.gz",
        ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
        "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        170_052_171,
    )
    parts = (
        tuple(f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)),
        "cifar-10-batches-bin/test_batch.bin",
    )

    def load_data(self) -> Split:
        """`(x_train, y_train), (x_test, y_test)`: uint8 images (50000, 32, 32, 3) and (10000, 32, 32, 3), and uint8
        labels (n, 1)."""
        train, test = read_cifar(fetch(self.file), *self.parts, labels=1)
        return _with_labels(train, 0, 10), _with_labels(test, 0, 10)


class CIFAR100:
    """60,000 photographs of 32x32 pixels in 100 classes, five of them to each of 20 kinds: A. Krizhevsky (2009); 169
    MB."""

    file = File(
        "cifar100/cifar-100-binary.tar.gz",
        ("https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",),
        "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        168_513_733,
    )
    parts = (("cifar-100-binary/train.bin",), "cifar-100-binary/test.bin")

    def load_data(self, label_mode: str = "fine") -> Split:
        """As `cifar10.load_data`; the labels are the classes ("fine", 0 to 99) or the kinds ("coarse", 0 to 19)."""
        if label_mode not in ("fine", "coarse"):
            raise choice("load_data", "label_mode", label_mode, ("fine", "coarse"))
        train, test = read_cifar(fetch(self.file), *self.parts, labels=2)
        column, classes = (1, 100) if label_mode == "fine" else (0, 20)
        return _with_labels(train, column, classes), _with_labels(test, column, classes)


def read_cifar(path: Path, train: tuple[str, ...], test: str, labels: int) -> tuple[Any, Any]:
    """The records of the training files, one after another, and of the test file: uint8 (n, labels + 3072)."""
    found = dict(read_tar(path, {*train, test}.__contains__, limit=512 << 20))
    size = labels + 3 * 32 * 32
    for name in (*train, test):
        if not found.get(name) or len(found[name]) % size:
            expected = f"{name!r} of records of {size} bytes"
            raise ValueError(message(str(path), expected, f"{len(found.get(name, b'')):,} bytes"))
    records = [np.frombuffer(found[name], np.uint8).reshape(-1, size) for name in (*train, test)]
    return np.concatenate(records[:-1]), records[-1]


def _with_labels(records: Any, column: int, classes: int) -> tuple[Any, Any]:
    """The images, channels last, and one label a row."""
    labels = records[:, column : column + 1].copy()
    if labels.size and labels.max() >= classes:
        raise ValueError(message("CIFAR", f"labels below {classes}", f"{labels.max()}"))
    pixels = records[:, -3 * 32 * 32 :].reshape(-1, 3, 32, 32)
    return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)), labels


mnist, fashion_mnist, cifar10, cifar100 = MNIST(), FashionMNIST(), CIFAR10(), CIFAR100()
