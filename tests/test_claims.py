"""docs/claims.md says what the committed records say."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "reports/results/claims.py"
spec = importlib.util.spec_from_file_location("claims", SCRIPT)
assert spec is not None
assert spec.loader is not None
claims = sys.modules["claims"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(claims)
Claim, Found = claims.Claim, claims.Found


def test_the_page_comes_from_the_records() -> None:
    assert claims.PAGE.read_text(encoding="utf-8") == claims.page(), "python reports/results/claims.py"


@pytest.mark.parametrize(
    ("claim", "found", "holds"),
    [
        (Claim("", "", "", "a", "b", least=-0.5), Found(0.0, -0.4, 0.4), True),
        (Claim("", "", "", "a", "b", least=-0.5), Found(0.0, -0.6, 0.6), None),
        (Claim("", "", "", "a", "b", least=-0.5), Found(-2.0, -3.0, -0.6), False),
        (Claim("", "", "", "a", "b"), Found(3.0), None),  # no interval decides nothing
        (Claim("", "", "", "", kind="BD-FLOPs %"), Found(-30.0, -40.0, -1.0), True),
        (Claim("", "", "", "", kind="BD-FLOPs %"), Found(-30.0, -40.0, 1.0), None),
        (Claim("", "", "", "", kind="BD-FLOPs %"), Found(30.0, 1.0, 40.0), False),
    ],
)
def test_a_verdict_is_the_interval_s(claim, found, holds: bool | None) -> None:
    assert claim.holds(found) is holds


def test_a_claim_that_is_decided_both_ways_depends_on_the_data() -> None:
    claim = Claim("", "", "", "a", "b")
    above, below, open_ = Found(2, 1, 3), Found(-2, -3, -1), Found(0, -1, 1)
    assert claims.verdict(claim, [above, open_, None]) == "reproduced"
    assert claims.verdict(claim, [below, open_]) == "not reproduced"
    assert claims.verdict(claim, [above, below]) == "depends"
    assert claims.verdict(claim, [open_]) == "undecided"
    assert "open" in claims.cell(claim, open_)
    assert claims.cell(claim, None) == "no common range"
