"""Short texts that tables, figures and pages share: names made safe to print, bitrates, shares in percent."""

from __future__ import annotations

import math
import unicodedata

MISSING = "–"
"""Shown where a number does not exist."""


def printable(text: str) -> str:
    """The text on one line without control characters, so that a title can neither move a cursor nor break a row."""
    return "".join(
        " " if c in "\n\r\t" else "\ufffd" if unicodedata.category(c) in ("Cc", "Cf", "Cs") else c
        for c in text
    )


def shorten(text: str, length: int) -> str:
    """The printable text, its end replaced by an ellipsis where it is longer than `length`."""
    clean = printable(text)
    return clean if len(clean) <= length else clean[: length - 1] + "…"


def kbps_text(kbps: float) -> str:
    """'702 kb/s', '' where the bitrate is unknown.

    >>> kbps_text(702.4), kbps_text(8.25), kbps_text(float("nan"))
    ('702 kb/s', '8.2 kb/s', '')
    """
    if not math.isfinite(kbps):
        return ""
    return f"{kbps:.0f} kb/s" if kbps >= 10 else f"{kbps:.1f} kb/s"


def percent(share: float, digits: int = 2, *, sign: str = "") -> str:
    """A share of 1 in percent, `MISSING` for NaN; sign: '+' to print it always.

    >>> percent(0.67314), percent(0.5, 1, sign="+"), percent(float("nan"))
    ('67.31', '+50.0', '–')
    """
    return f"{100 * share:{sign}.{digits}f}" if math.isfinite(share) else MISSING


def ends_text(low: float, high: float, *, sign: str = "") -> str:
    """Ends of an interval of a share, in percent: '[65.10, 69.43]'; '' where there is none."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"[{percent(low, sign=sign)}, {percent(high, sign=sign)}]"
