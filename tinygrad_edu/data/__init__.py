"""Data on its way into training."""

from .arrays import Batches, as_rows, check_lengths

__all__ = ["Batches", "as_rows", "check_lengths"]
