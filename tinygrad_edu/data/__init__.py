"""Data on its way into training."""

from .arrays import Batches, as_rows, check_lengths
from .dataset import Dataset
from .loader import DataLoader

__all__ = ["Batches", "DataLoader", "Dataset", "as_rows", "check_lengths"]
