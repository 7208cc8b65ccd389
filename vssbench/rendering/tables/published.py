"""Published numbers of AR-Seg beside measured ones: what a row is in the paper, and what is unlike the paper in ours."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vssbench.analysis.run import Run
from vssbench.results.published import published_row

TEST_FRAMES = {"camvid": 233, "cityscapes": 500}
"""Labelled frames that the paper scores."""


@dataclass(frozen=True, slots=True)
class Published:
    """The published counterpart of a measured row."""

    miou_percent: float
    gflops: float
    """1e9 counts of thop 0.0.31, as the paper prints them."""
    source: str


def published_counterpart(run: Run, dataset: str, codec: str, method: str) -> Published | None:
    """The published row of a measured method by titles; None where the paper has none."""
    identity = run.roster.identity(dataset, codec, method)
    row = None if identity is None else published_row(identity)
    if row is None:
        return None
    return Published(_number(row["miou_percent"]), _number(row["gflops"]), str(row["source"]))


def scope_note(run: Run) -> str:
    """What makes our side of the comparison another measurement than the paper's; '' where nothing is known to."""
    lines = []
    for entry in run.roster.datasets:
        if entry.name not in TEST_FRAMES or entry.title not in run.datasets:
            continue
        labelled = sum(s.labelled for s in run.datasets[entry.title].sequences.values())
        if labelled != TEST_FRAMES[entry.name]:
            lines.append(
                f"{entry.title}: ours rests on {labelled} labelled frames, the paper's on {TEST_FRAMES[entry.name]}"
            )
    if any(not entry.weights for entry in run.roster.methods):
        lines.append("methods without weights are untrained")
    return "; ".join(lines)


def _number(value: str | float | None) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan
