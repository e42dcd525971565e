"""Data on its way into training."""

from .arrays import Batches, as_rows, check_lengths
from .dataset import Dataset
from .loader import DataLoader
from .splits import KFold, StratifiedKFold, train_test_split

__all__ = [
    "Batches", "DataLoader", "Dataset", "KFold", "StratifiedKFold", "as_rows", "check_lengths", "train_test_split",
]
