"""Makes the archives in tinygrad_edu/data_files/ from scikit-learn's copies: `python docs/make_data_files.py`."""

from pathlib import Path

import numpy as np
from sklearn import datasets

FOLDER = Path(__file__).parent.parent / "tinygrad_edu" / "data_files"


def write(name, **arrays):
    np.savez_compressed(FOLDER / f"{name}.npz", **arrays)


digits = datasets.load_digits()
write("digits", images=digits.images.astype(np.uint8), labels=digits.target.astype(np.uint8))
for name in ("iris", "wine", "breast_cancer"):
    table = getattr(datasets, f"load_{name}")()
    write(name, features=table.data, targets=table.target.astype(np.uint8))
diabetes = datasets.load_diabetes(scaled=False)
write("diabetes", features=diabetes.data, targets=diabetes.target)
