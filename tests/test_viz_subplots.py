"""Figures of `viz.subplots` have colours for the colour-blind, without a change of anybody else's."""

import pytest

from tinygrad_edu import viz
from tinygrad_edu.viz.colors import CLASSES


def test_curves_have_colours_that_the_colour_blind_tell_apart():
    matplotlib = pytest.importorskip("matplotlib")
    before = matplotlib.rcParams["axes.prop_cycle"]
    _, axes = viz.subplots(1, 2)
    for ax in axes:
        assert [ax.plot([0, 1])[0].get_color() for _ in CLASSES] == list(CLASSES)
    assert matplotlib.rcParams["axes.prop_cycle"] == before
