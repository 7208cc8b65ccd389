"""How series are drawn, the same on the page and in figure files.

Colours follow Okabe and Ito (2008), which people with the common colour-vision deficiencies can tell apart; markers
and dashes differ as well, so that the figures can be read in grey.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Style:
    """Look of one series."""

    colour: str
    """On white."""
    dark_colour: str
    """On a dark page."""
    marker: str
    """matplotlib marker name."""
    dashes: tuple[float, ...]
    """Lengths on, off, ... in line widths; () is a solid line."""


_COLOURS = (
    ("#0072b2", "#5bb3ea"),
    ("#d55e00", "#ff9a55"),
    ("#009e73", "#3fd1a6"),
    ("#a3467f", "#e9a3cc"),
    ("#9a6a00", "#f2bb3c"),
    ("#3b3b3b", "#e4e4e4"),
    ("#2a7f9e", "#8fd3f0"),
    ("#7a4a2b", "#d3a17f"),
)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
_DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (1.5, 1.5), (7, 2, 1.5, 2), (3, 1), (8, 3), (1, 2))

SERIES: tuple[Style, ...] = tuple(
    Style(*_COLOURS[i % len(_COLOURS)], _MARKERS[i % len(_MARKERS)], _DASHES[i % len(_DASHES)])
    for i in range(40)
)


def style_of(series: int) -> Style:
    """Style of the method at this position of the experiment; repeats after 40."""
    return SERIES[series % len(SERIES)]


PARTS = {
    "motion": ("wrong motion", "#d55e00", "////"),
    "disocclusion": ("disocclusion", "#e9c46a", "...."),
    "resolution": ("resolution and fusion", "#0072b2", ""),
    "compression": ("compression", "#9a9a9a", "\\\\\\\\"),
}
"""Name, colour and hatch (the figure can be read in grey) of the parts of the loss."""
STAGE_COLOURS = tuple(_COLOURS[i][0] for i in (0, 4, 5, 1, 2, 3, 6, 7))
"""Of the stages of a waterfall."""
