"""Text of the page against its grounds: WCAG 2.2, success criterion 1.4.3 (4.5 to 1), light and dark."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

CSS = (files("vssbench.reports") / "templates" / "page.css").read_text(encoding="utf-8")
TEXTS, GROUNDS = ("ink", "soft", "accent"), ("paper", "panel", "warn")


def palette(part: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", part))


def luminance(colour: str) -> float:
    """Relative luminance of sRGB, as WCAG defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    dark, light = sorted((luminance(first), luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def test_black_on_white_is_21_to_1() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("look", ["light", "dark"])
def test_every_text_can_be_read_on_every_ground(look: str) -> None:
    light, dark = CSS.partition("@media (prefers-color-scheme: dark)")[::2]
    colours = palette(light) if look == "light" else palette(dark.partition("* { box-sizing")[0])
    assert {*TEXTS, *GROUNDS, "c0", "c7"} <= set(colours)
    found = {(t, g): contrast(colours[t], colours[g]) for t in TEXTS for g in GROUNDS}
    assert {pair: ratio for pair, ratio in found.items() if ratio < 4.5} == {}
    # lines and marks: 3 to 1 (criterion 1.4.11)
    marks = {name: contrast(colours[f"c{name}"], colours["paper"]) for name in range(8)}
    assert {name: ratio for name, ratio in marks.items() if ratio < 3} == {}
