"""Pictures of training, made with matplotlib: each function returns its figure and draws into `ax` if there is one."""

from .curves import plot_gradients, plot_history
from .figures import subplots
from .images import plot_images, plot_reconstructions
from .matrices import plot_attention, plot_confusion_matrix
from .planes import plot_decision_boundary, plot_points, plot_surface

__all__ = [
    "plot_attention", "plot_confusion_matrix", "plot_decision_boundary", "plot_gradients", "plot_history",
    "plot_images", "plot_points", "plot_reconstructions", "plot_surface", "subplots",
]
