"""Columns of the summary that follow from others: relative changes, times per frame, published numbers, BD values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from vssbench.rendering.tables.latency import FrameTime, frame_times
from vssbench.rendering.paper.published import published_counterpart
from vssbench.analysis.decomposition import title_of
from vssbench.analysis.families import FamilyComparison
from vssbench.analysis.run import COUNTED_WHILE_RUNNING, Group, Run

if TYPE_CHECKING:
    from vssbench.rendering.tables.summary import Row


def derived_rows(run: Run, rows: Sequence[Row], families: Sequence[FamilyComparison]) -> list[Row]:
    """The rows of one dataset and codec with all derived values filled in."""
    origins = _origins(run)
    waits = any(cost.get("delay_frames") for cost in run.costs.values())
    groups = {(group.dataset, group.codec, group.method): group for group in run.groups}
    interval = int(run.experiment.get("protocol", {}).get("keyframe_interval", 1))
    watched = frame_times(run)
    found = []
    for row in rows:
        values = {
            **row.values,
            **_times(row, interval, watched.get((row.dataset, row.method))),
            **_relative(row, rows, origins),
            **_published(run, row),
            **_bjontegaard(row, families),
        }
        cost = run.costs.get((row.dataset, row.method), {})
        values |= _executed(groups[row.dataset, row.codec, row.method], cost)
        values["delay_frames"] = float(cost.get("delay_frames", math.nan)) if waits else math.nan
        values["gop_mean_thop_gmacs"] = float(cost.get("gop_mean_thop_gmacs", math.nan))
        found.append(replace(row, values=values))
    return found


@dataclass(frozen=True, slots=True)
class _Origin:
    """What decides which method another one is measured against."""

    network: str
    width: Any
    is_constant: bool
    title: str
    """Without the seed."""
    seed: int | None
    base: str
    """Title of the method to measure against, where the experiment names one."""


def _origins(run: Run) -> dict[str, _Origin]:
    """Method -> origin. A method of two networks is that of the one that runs on every frame: Accel's update network."""
    found = {}
    for m in run.experiment.get("methods", []):
        name = title_of(m)
        found[name] = _Origin(
            str(m.get("network") or m.get("update_network", "")),
            m.get("update_width") or m.get("width"),
            m.get("name") == "constant",
            str(m.get("seeds_of") or name),
            m.get("training_seed"),
            str(m.get("base", "")),
        )
    return found


def _relative(row: Row, rows: Sequence[Row], origins: Mapping[str, _Origin]) -> dict[str, float]:
    """Changes against the method's base; NaN for that method itself.

    The base is the named one, else the dearest constant method of the same network; of several seeds the same.
    """
    nothing = {"rel_miou": math.nan, "rel_gmacs": math.nan}
    own = origins.get(row.method)
    if own is None:
        return nothing
    known = [
        (r, origins[r.method])
        for r in rows
        if r.method in origins and math.isfinite(r.values["gop_mean_gmacs"])
    ]
    if own.base:
        same = [(r, o) for r, o in known if o.title == own.base]
    else:
        same = [
            (r, o) for r, o in known if o.is_constant and (o.network, o.width) == (own.network, own.width)
        ]
    same = [(r, o) for r, o in same if o.seed == own.seed] or same
    if not same:
        return nothing
    anchor = max((r for r, _ in same), key=lambda r: r.values["gop_mean_gmacs"])
    if anchor.method == row.method:
        return nothing
    return {
        "rel_miou": _change(row.values["miou"], anchor.values["miou"]),
        "rel_gmacs": _change(row.values["gop_mean_gmacs"], anchor.values["gop_mean_gmacs"]),
    }


def _executed(group: Group, cost: Mapping[str, Any]) -> dict[str, float]:
    """What a method that decides for itself really executed; NaN for the others."""
    steps = sum(group.steps.values())
    if cost.get("counted_on") != COUNTED_WHILE_RUNNING or not steps:
        return {"full_share": math.nan, "executed_share": math.nan}
    return {"full_share": group.steps.get("key", 0) / steps, "executed_share": group.executed_share}


def _change(value: float, base: float) -> float:
    return value / base - 1 if base > 0 else math.nan


def _times(row: Row, interval: int, watched: FrameTime | None) -> dict[str, float]:
    """Milliseconds per frame as the run and as a stopwatch took them; fps of the latter where there is one."""
    key, other = row.values["key_ms"], row.values["non_key_ms"]
    known = [value for value in (key, other) if math.isfinite(value)]
    mean = math.nan
    if known:
        mean = (key + (interval - 1) * other) / interval if len(known) == 2 else known[0]
    best = mean if watched is None else watched.median_ms
    return {
        "gop_ms": mean,
        "watch_ms": math.nan if watched is None else watched.median_ms,
        "fps": 1000 / best if best > 0 else math.nan,
    }


def _published(run: Run, row: Row) -> dict[str, float]:
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


def _bjontegaard(row: Row, families: Sequence[FamilyComparison]) -> dict[str, float]:
    for one in families:
        if (one.dataset, one.codec) == (row.dataset, row.codec) and row.method in one.points:
            return {
                "bd_flops": math.nan if one.flops is None else one.flops.value,
                "bd_miou": math.nan if one.miou is None else one.miou.value,
            }
    return {"bd_flops": math.nan, "bd_miou": math.nan}
