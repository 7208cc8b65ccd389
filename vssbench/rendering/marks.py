"""Small inline SVG that tables and charts of the page share: markers, pieces of line, colour squares, bars.

No style attributes are used, because the page's Content-Security-Policy forbids them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

from vssbench.rendering.styles import style_of

COLOURS = 8
"""Series classes of the page's style sheet: s0 to s7."""
_MARKER_SIZE = 4.2


def legend_mark(series: int) -> Markup:
    """A short piece of line with the marker of a series."""
    line = Markup('<line x1="1" y1="7" x2="33" y2="7"{}/>').format(dashes(series))
    return Markup(
        '<svg class="mark s{}" viewBox="0 0 34 14" width="34" height="14" aria-hidden="true">{}{}</svg>'
    ).format(series % COLOURS, line, marker(series, 17, 7))


def swatch(colour: Sequence[int]) -> Markup:
    """A square in a class colour (RGB 0..255)."""
    return _square(Markup('fill="#{:02x}{:02x}{:02x}"').format(*(int(v) for v in colour)))


def part_swatch(kind: str) -> Markup:
    """A square in the colour of a part of a stack: a class of the style sheet."""
    return _square(Markup('class="part {}"').format(kind))


def _square(look: Markup) -> Markup:
    return Markup(
        '<svg class="swatch" viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">'
        '<rect width="12" height="12" rx="2" {}/></svg>'
    ).format(look)


def share_bar(share: float) -> Markup:
    """A bar of `share` (0..1) of its cell's width."""
    width = 100 * min(max(share, 0.0), 1.0) if math.isfinite(share) else 0.0
    return Markup(
        '<svg class="bar" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="rail" width="100" height="4"/><rect width="{:.1f}" height="4"/></svg>'
    ).format(width)


def dashes(series: int) -> Markup:
    """The dashes of a series as an attribute with a leading space; '' for a solid line."""
    lengths = style_of(series).dashes
    text = " ".join(f"{2 * length:g}" for length in lengths)
    return Markup(' stroke-dasharray="{}"').format(text) if lengths else Markup("")


def marker(series: int, x: float, y: float) -> Markup:
    """The marker of a series around a point."""
    r = _MARKER_SIZE
    name = style_of(series).marker
    if name == "o":
        return Markup('<circle class="marker" cx="{}" cy="{}" r="{}"/>').format(x, y, r)
    points = " ".join(f"{x + r * dx:.2f},{y + r * dy:.2f}" for dx, dy in _OUTLINES[name])
    return Markup('<polygon class="marker" points="{}"/>').format(escape(points))


def _star(corners: int, inner: float) -> list[tuple[float, float]]:
    angles = [math.pi * k / corners - math.pi / 2 for k in range(2 * corners)]
    radii = [1.3 if k % 2 == 0 else inner for k in range(2 * corners)]
    return [(r * math.cos(a), r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]


def _plus() -> list[tuple[float, float]]:
    quarter = [(-0.4, -1.15), (0.4, -1.15), (0.4, -0.4)]
    turned = []
    for _ in range(4):
        turned += quarter
        quarter = [(-y, x) for x, y in quarter]
    return turned


_OUTLINES: dict[str, list[tuple[float, float]]] = {
    "s": [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
    "^": [(0, -1.2), (1.1, 0.8), (-1.1, 0.8)],
    "v": [(0, 1.2), (1.1, -0.8), (-1.1, -0.8)],
    "<": [(-1.2, 0), (0.8, -1.1), (0.8, 1.1)],
    ">": [(1.2, 0), (-0.8, -1.1), (-0.8, 1.1)],
    "D": [(0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)],
    "P": _plus(),
    "X": [((dx - dy) * 0.7071, (dx + dy) * 0.7071) for dx, dy in _plus()],
    "*": _star(5, 0.55),
}
