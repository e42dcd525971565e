"""Colors that people with any kind of color vision tell apart, and markers and lines that do not need them."""

from __future__ import annotations

from typing import Any

# Okabe and Ito, "Color Universal Design" (2008), and two more for ten digits. Whoever lacks one kind of cone still sees
# them at least 16 apart in CIELAB, where 2 is just noticeable.
CLASSES = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#4B2A99", "#7A3B00", "#F0E442",
)  # fmt: skip
MARKERS = "osD^vPX<>*p"
LINES = ("-", "--", ":", "-.")
IMAGES = "gray"
SEQUENTIAL = "cividis"
COUNTS = "Blues"  # light where there is nothing, so that numbers can be read on it


def style(i: int) -> dict[str, Any]:
    """Color and marker of class or curve `i`: 110 pairs."""
    return {"color": CLASSES[i % len(CLASSES)], "marker": MARKERS[i % len(MARKERS)]}


def lightened(color: str, share: float) -> tuple[float, ...]:
    """The color mixed with that share of white."""
    from matplotlib.colors import to_rgb

    return tuple(1 - (1 - part) * (1 - share) for part in to_rgb(color))


def signed() -> Any:
    """A color map from blue (negative) over white (zero) to orange (positive)."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("signed", ["#06406E", "#5FA3D0", "#FFFFFF", "#F09A4A", "#993D00"])
