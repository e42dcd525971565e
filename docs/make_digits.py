"""Makes tinygrad_edu/data_files/digits.npz from scikit-learn's copy: `python docs/make_digits.py`."""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

digits = load_digits()
target = Path(__file__).parent.parent / "tinygrad_edu" / "data_files" / "digits.npz"
np.savez_compressed(target, images=digits.images.astype(np.uint8), labels=digits.target.astype(np.uint8))
