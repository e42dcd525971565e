"""Data sets that ship with the package, used as in Keras:

(x_train, y_train), (x_test, y_test) = digits.load_data()
"""

from pathlib import Path
from typing import Any

import numpy as np

from .errors import check_integer, check_number, message

DATA_FILES = Path(__file__).parent / "data_files"


class Digits:
    """1,797 handwritten digits of 8x8 pixels, about 180 of each class 0 to 9.

    The test set of "Optical Recognition of Handwritten Digits" by E. Alpaydin and C. Kaynak (1998), UCI Machine
    Learning Repository, as scikit-learn ships it; CC BY 4.0.
    """

    def load_data(self, test_fraction: float = 0.2, seed: int = 0) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        """Return `(x_train, y_train), (x_test, y_test)`: uint8 images (n, 8, 8), values 0 to 16, and int64 labels (n,).

        `test_fraction` of every class is held out; the seed decides which rows, and the order of those on both sides.
        """
        with np.load(DATA_FILES / "digits.npz", allow_pickle=False) as archive:
            images, labels = archive["images"], archive["labels"].astype(np.int64)
        train, test = stratified_split(labels, test_fraction, seed)
        return (images[train], labels[train]), (images[test], labels[test])


def stratified_split(labels: Any, test_fraction: float, seed: int) -> tuple[Any, Any]:
    """Return the row numbers of both sides, shuffled; every class gives the same share of its rows to the test side."""
    where = "load_data"
    test_fraction = check_number(where, "test_fraction", test_fraction, "between 0 and 1", lambda v: 0 < v < 1)
    seed = check_integer(where, "seed", seed, 0)
    order = np.random.default_rng(seed).permutation(len(labels))
    held_out = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        count = round(test_fraction * len(members))
        if not 0 < count < len(members):
            raise ValueError(
                message(
                    where,
                    "test_fraction to leave rows of every class on the test side and on the other",
                    f"{test_fraction!r}, which puts {count} of the {len(members)} rows of class {label} there",
                )
            )
        held_out[members[:count]] = True
    return order[~held_out[order]], order[held_out[order]]


digits = Digits()
