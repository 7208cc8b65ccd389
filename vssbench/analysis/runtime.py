"""The runtime table of a run: latency records beside the MACs they would allow and beside published times."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from vssbench.files import write_atomically
from vssbench.metrics.gop import gop_mean
from vssbench.records import HostConditions
from vssbench.results.basis import Basis
from vssbench.results.costs import CostRecord, read_costs, read_source_costs
from vssbench.results.latency_records import LatencyRecord, latency_records
from vssbench.results.published import published_time
from vssbench.results.roster import Roster, read_roster
from vssbench.results.store import RunFolder


@dataclass(frozen=True, slots=True)
class RuntimeRow:
    """One method on one dataset; times in milliseconds per frame, ratios over the dataset's first method."""

    dataset: str
    method: str
    device: str
    key_ms: float | None
    non_key_ms: float | None
    gop_mean_ms: float
    worst_frame_ms: float
    end_to_end_ms: float
    """GOP mean from compressed bytes to labels: the waterfall's stages one after another."""
    times_faster: float
    macs_allow: float | None
    """MACs of the first method over this one's; None where the run counted none."""
    published_ms: float | None
    """The paper's time on `published_device`."""
    published_times_faster: float | None
    published_device: str
    stable: bool
    host: str
    """'clock 2500 to 2410 MHz; other processes took 43 % of the processors'; '' where the machine does not tell."""


def runtime_rows(folder: RunFolder, basis: Basis) -> list[RuntimeRow]:
    """Rows of all latency records of a run folder, per dataset in the order of the experiment.

    Raises InputError if a file is damaged.
    """
    roster, costs = read_roster(folder), read_costs(folder, basis)
    as_they_are = read_source_costs(folder, basis)
    order = list(roster.combinations())
    found: dict[str, list[LatencyRecord]] = {}
    for record in latency_records(folder, basis):
        if _place(record) in order:
            found.setdefault(record.dataset, []).append(record)
    rows = []
    for records in found.values():
        records.sort(key=lambda record: order.index(_place(record)))
        own = [
            as_they_are.get((one.dataset, one.method, one.codec)) or costs.get((one.dataset, one.method))
            for one in records
        ]
        rows += [_row(roster, record, cost, own[0]) for record, cost in zip(records, own, strict=True)]
    return rows


def _place(record: LatencyRecord) -> tuple[str, str, str]:
    return record.dataset, record.codec, record.method


def _row(
    roster: Roster, record: LatencyRecord, own: CostRecord | None, base: CostRecord | None
) -> RuntimeRow:
    kinds, interval = record.frame_kinds, record.keyframe_interval
    published = published_time(roster.identity(*_place(record)))
    stages = {
        kind: sum(stage.median_ms for stage in held.values()) for kind, held in record.waterfall.items()
    }
    key = stages.get("key", 0.0)
    others = [ms for kind, ms in stages.items() if kind != "key"] or [key]
    counted = own is not None and base is not None and own.gop_mean_gmacs > 0
    return RuntimeRow(
        dataset=record.dataset,
        method=record.method,
        device=record.device,
        key_ms=kinds["key"].median_ms if "key" in kinds else None,
        non_key_ms=next((series.median_ms for name, series in kinds.items() if name != "key"), None),
        gop_mean_ms=record.gop_mean.median_ms,
        worst_frame_ms=record.worst_frame_ms,
        end_to_end_ms=gop_mean(key, sum(others) / len(others), interval),
        times_faster=record.times_faster_than.quartiles[1],
        macs_allow=base.gop_mean_gmacs / own.gop_mean_gmacs if counted and own and base else None,
        published_ms=published.latency_ms if published else None,
        published_times_faster=published.times_faster if published else None,
        published_device=published.device if published else "",
        stable=record.gop_mean.stable,
        host=_host_text(record.host),
    )


def _host_text(host: HostConditions | None) -> str:
    if host is None:
        return ""
    clock = host.clock_mhz
    told = f"clock {clock[0]:.0f} to {clock[1]:.0f} MHz" if clock else ""
    return "; ".join(filter(None, (told, host.busy)))


def runtime_text(rows: list[RuntimeRow]) -> str:
    """The table for a terminal; ours and published times in columns of their own."""
    heads: tuple[str, ...] = ("dataset", "method", "key ms", "non-key ms", "GOP mean ms", "worst ms")
    heads += ("end to end ms", "times faster", "MACs allow", "published ms", "published times faster")
    body: list[tuple[str, ...]] = [heads] + [
        (
            row.dataset,
            row.method,
            *(_number(v) for v in (row.key_ms, row.non_key_ms)),
            _number(row.gop_mean_ms) + ("" if row.stable else "~"),
            *(_number(v) for v in (row.worst_frame_ms, row.end_to_end_ms)),
            *(_number(v, 2) for v in (row.times_faster, row.macs_allow)),
            _number(row.published_ms),
            _number(row.published_times_faster, 2),
        )
        for row in rows
    ]
    widths = [max(len(line[i]) for line in body) for i in range(len(heads))]
    lines = [
        "  ".join(
            c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in body
    ]
    devices = sorted({row.device for row in rows})
    theirs = sorted({row.published_device for row in rows if row.published_device})
    lines.append(f"ours: {', '.join(devices)}" + (f"; published: {', '.join(theirs)}" if theirs else ""))
    lines += [f"machine: {text}" for text in sorted({row.host for row in rows} - {""})]
    if not all(row.stable for row in rows):
        lines.append("~ unstable series; the record's `stability` names cause and remedy")
    return "\n".join(line.rstrip() for line in lines)


def _number(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def write_runtime_csv(path: Path, rows: list[RuntimeRow]) -> None:
    """The same rows, unrounded. Raises StorageError."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [field.name for field in fields(RuntimeRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    write_atomically(path, buffer.getvalue().encode())
