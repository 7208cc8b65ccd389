"""Columns of the summary that follow from others: relative changes, times per frame, published numbers, BD values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vssbench.analysis.families import FamilyComparison
from vssbench.analysis.run import Run
from vssbench.metrics.gop import gop_mean
from vssbench.rendering.tables.published import published_counterpart
from vssbench.results.costs import CostRecord
from vssbench.results.group import Group
from vssbench.results.latency_records import LatencyRecord, latency_records


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """One method on one dataset and codec."""

    dataset: str
    codec: str
    method: str
    kbps: float
    """Achieved bitrate, kb/s; NaN where unknown."""
    values: dict[str, float]
    """Stored value by column key, NaN where not measured; never rounded."""
    quality: dict[str, float]
    """Stored PSNR and SSIM by column key, NaN where unknown."""
    low: float = math.nan
    """Lower end of the interval of mIoU, 0..1."""
    high: float = math.nan
    uncounted: str = ""
    """Work that is missing from the GMACs, which are lower bounds then."""
    untrained: str = ""
    """Stands behind the method's title: 'untrained', or the parts that are."""


def timed(run: Run) -> dict[tuple[str, str], LatencyRecord]:
    """(dataset, method) -> what the stopwatch told; methods that were not timed are absent."""
    return {(record.dataset, record.method): record for record in latency_records(run.folder, run.basis)}


def derived_rows(
    run: Run, rows: Sequence[SummaryRow], families: Sequence[FamilyComparison]
) -> list[SummaryRow]:
    """The rows of one dataset and codec with all derived values filled in."""
    waits = any(cost.delay_frames for cost in run.all_costs)
    groups = {(group.dataset, group.codec, group.method): group for group in run.groups}
    watched = timed(run)
    found = []
    for row in rows:
        group = groups[row.dataset, row.codec, row.method]
        cost = run.cost(row.dataset, row.method, row.codec)
        values = {
            **row.values,
            **_times(row, run.pictures_per_keyframe(group), watched.get((row.dataset, row.method))),
            **_relative(run, row, rows),
            **_published(run, row),
            **_bjontegaard(row, families),
            **_executed(group, cost),
            "delay_frames": float(cost.delay_frames) if cost and waits else math.nan,
            "gop_mean_thop_gmacs": cost.gop_mean_thop_gmacs if cost else math.nan,
        }
        found.append(replace(row, values=values))
    return found


def _relative(run: Run, row: SummaryRow, rows: Sequence[SummaryRow]) -> dict[str, float]:
    """Changes against the method's base; NaN for that method itself.

    The base is the named one, else the dearest constant method of the same network; of several seeds the same.
    """
    nothing = {"rel_miou": math.nan, "rel_gmacs": math.nan}
    own = run.roster.method(row.dataset, row.method)
    known = [
        (r, run.roster.method(r.dataset, r.method)) for r in rows if math.isfinite(r.values["gop_mean_gmacs"])
    ]
    if own.base:
        same = [(r, entry) for r, entry in known if entry.title_without_seed == own.base]
    else:
        same = [(r, e) for r, e in known if e.is_constant and own.network and e.network == own.network]
    same = [(r, entry) for r, entry in same if entry.training_seed == own.training_seed] or same
    anchor = max((r for r, _ in same), key=lambda r: r.values["gop_mean_gmacs"], default=None)
    if anchor is None or anchor.method == row.method:
        return nothing
    return {
        "rel_miou": _change(row.values["miou"], anchor.values["miou"]),
        "rel_gmacs": _change(row.values["gop_mean_gmacs"], anchor.values["gop_mean_gmacs"]),
    }


def _change(value: float, base: float) -> float:
    return value / base - 1 if base > 0 else math.nan


def _executed(group: Group, cost: CostRecord | None) -> dict[str, float]:
    """What a method that decides for itself really executed; NaN for the others."""
    steps = sum(group.steps.values())
    if cost is None or not cost.while_running or not steps:
        return {"full_share": math.nan, "executed_share": math.nan}
    return {"full_share": group.steps.get("key", 0) / steps, "executed_share": group.executed_share}


def _times(row: SummaryRow, interval: float, watched: LatencyRecord | None) -> dict[str, float]:
    """Milliseconds per frame as the run and as a stopwatch took them; fps of the latter where there is one."""
    key, other = row.values["key_ms"], row.values["non_key_ms"]
    known = [value for value in (key, other) if math.isfinite(value)]
    mean = math.nan
    if known:
        mean = gop_mean(key, other, interval) if len(known) == 2 else known[0]
    best = mean if watched is None else watched.gop_mean.median_ms
    return {
        "gop_ms": mean,
        "watch_ms": math.nan if watched is None else watched.gop_mean.median_ms,
        "fps": 1000 / best if best > 0 else math.nan,
    }


def _published(run: Run, row: SummaryRow) -> dict[str, float]:
    found = published_counterpart(run, row.dataset, row.codec, row.method)
    if found is None:
        return dict.fromkeys(("pub_miou", "pub_miou_difference", "pub_inside", "pub_gflops"), math.nan)
    ours = 100 * row.values["miou"]
    inside = math.nan
    if math.isfinite(row.low):
        inside = float(100 * row.low <= found.miou_percent <= 100 * row.high)
    return {
        "pub_miou": found.miou_percent,
        "pub_miou_difference": ours - found.miou_percent,
        "pub_inside": inside,
        "pub_gflops": found.gflops,
    }


def _bjontegaard(row: SummaryRow, families: Sequence[FamilyComparison]) -> dict[str, float]:
    for one in families:
        if (one.dataset, one.codec) == (row.dataset, row.codec) and row.method in one.points:
            return {
                "bd_flops": math.nan if one.flops is None else one.flops.value,
                "bd_miou": math.nan if one.miou is None else one.miou.value,
            }
    return {"bd_flops": math.nan, "bd_miou": math.nan}
