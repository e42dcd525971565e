"""Small data sets that ship with the package, as they were measured; `data_files/README.md` tells where they are from.

Each is an object with `load_data(test_fraction=0.2, seed=0)`: that share of the rows, of every class where there are
classes, is held out; the seed decides which rows, and the order of those on both sides.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .splits import Split, split, stratified_split

DATA_FILES = Path(__file__).parents[1] / "data_files"


def stored(name: str) -> dict[str, Any]:
    """The arrays of an archive in `data_files`."""
    with np.load(DATA_FILES / f"{name}.npz", allow_pickle=False) as archive:
        return dict(archive)


class Digits:
    """1,797 handwritten digits of 8x8 pixels, about 180 of each class 0 to 9.

    The test set of "Optical Recognition of Handwritten Digits" by E. Alpaydin and C. Kaynak (1998), UCI Machine
    Learning Repository, as scikit-learn ships it; CC BY 4.0.

    >>> import tinygrad_edu as tg
    >>> (x_train, y_train), (x_test, y_test) = tg.datasets.digits.load_data()
    >>> x_train.shape, y_train.shape
    ((1438, 8, 8), (1438,))
    """

    def load_data(self, test_fraction: float = 0.2, seed: int = 0) -> Split:
        """`(x_train, y_train), (x_test, y_test)`: uint8 images (n, 8, 8), values 0 to 16, and int64 labels (n,)."""
        arrays = stored("digits")
        return stratified_split(arrays["images"], arrays["labels"].astype(np.int64), test_fraction, seed)


class Table:
    """Rows of measurements.

    Attributes:
        feature_names: of the columns of x.
        target_names: of the classes; empty where y is a quantity.
    """

    name: str
    feature_names: tuple[str, ...]
    target_names: tuple[str, ...] = ()

    def load_data(self, test_fraction: float = 0.2, seed: int = 0) -> Split:
        """`(x_train, y_train), (x_test, y_test)`: float64 x (n, features), and y (n,), int64 classes or float64."""
        arrays = stored(self.name)
        if self.target_names:
            return stratified_split(arrays["features"], arrays["targets"].astype(np.int64), test_fraction, seed)
        return split(arrays["features"], arrays["targets"], test_fraction, seed)


class Iris(Table):
    """150 flowers of three species of iris, 50 each, by four lengths in cm.

    R. A. Fisher, "The use of multiple measurements in taxonomic problems" (1936); UCI Machine Learning Repository, as
    scikit-learn ships it (two rows corrected after Fisher's paper); CC BY 4.0.
    """

    name = "iris"
    feature_names = ("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)")
    target_names = ("setosa", "versicolor", "virginica")


class Wine(Table):
    """178 wines of three growers in one region of Italy, by 13 chemical measurements.

    M. Forina et al. (1988), given by S. Aeberhard; UCI Machine Learning Repository, as scikit-learn ships it; CC BY
    4.0.
    """

    name = "wine"
    feature_names = (
        "alcohol", "malic_acid", "ash", "alcalinity_of_ash", "magnesium", "total_phenols", "flavanoids",
        "nonflavanoid_phenols", "proanthocyanins", "color_intensity", "hue", "od280/od315_of_diluted_wines", "proline",
    )  # fmt: skip
    target_names = ("class_0", "class_1", "class_2")


class BreastCancer(Table):
    """569 tumours, 212 malignant (class 0) and 357 benign (class 1), by 30 measurements of cell nuclei.

    W. H. Wolberg, W. N. Street and O. L. Mangasarian, "Breast Cancer Wisconsin (Diagnostic)" (1995); UCI Machine
    Learning Repository, as scikit-learn ships it; CC BY 4.0.
    """

    name = "breast_cancer"
    feature_names = tuple(
        name
        for form in ("mean {}", "{} error", "worst {}")
        for name in map(
            form.format,
            (
                "radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity", "concave points",
                "symmetry", "fractal dimension",
            ),
        )
    )  # fmt: skip
    target_names = ("malignant", "benign")


class Diabetes(Table):
    """442 patients, by age, sex, body mass index, blood pressure and six blood serum measurements; the target is a
    measure of how far the disease had gone a year later, 25 to 346.

    B. Efron, T. Hastie, I. Johnstone and R. Tibshirani, "Least angle regression" (2004), in the original units.
    """

    name = "diabetes"
    feature_names = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")


digits, iris, wine, breast_cancer, diabetes = Digits(), Iris(), Wine(), BreastCancer(), Diabetes()
