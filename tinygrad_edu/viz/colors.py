"""Colours that people with any kind of colour vision tell apart, and markers and lines that do not need them."""

from __future__ import annotations

from typing import Any

# Okabe and Ito, "Color Universal Design" (2008), darkest and most distinct first; two more for ten digits
CLASSES = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442", "#999999", "#7A3B00",
)  # fmt: skip
MARKERS = "osD^vPX<>*p"
IMAGES = "gray"
SEQUENTIAL = "cividis"
COUNTS = "Blues"  # white to dark blue: nothing is white, and numbers are read on it


def style(i: int) -> dict[str, Any]:
    """Colour and marker of class or curve `i`; colours repeat after 10, pairs after 110."""
    return {"color": CLASSES[i % len(CLASSES)], "marker": MARKERS[i % len(MARKERS)]}


def lightened(color: str, share: float) -> tuple[float, ...]:
    """The colour mixed with that share of white."""
    from matplotlib.colors import to_rgb

    return tuple(1 - (1 - part) * (1 - share) for part in to_rgb(color))


def signed() -> Any:
    """A colour map from blue (negative) over white (zero) to orange (positive)."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("signed", ["#06406E", "#5FA3D0", "#FFFFFF", "#F09A4A", "#993D00"])
