"""Pictures of training, made with matplotlib: each function returns its figure and draws into `ax` if there is one."""

from .figures import subplots

__all__ = ["subplots"]
