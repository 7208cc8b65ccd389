"""The runtime table of a run: latency records beside the MACs they would allow and beside published times."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from vssbench.errors import InputError
from vssbench.results.published import read_published
from vssbench.results.store import slug, write_atomically


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


def runtime_rows(run: Path) -> list[RuntimeRow]:
    """Rows of all latency records of a run folder, per dataset in the order of the experiment.

    Raises InputError if a record cannot be understood.
    """
    titles = _read(run / "plan.json")["titles"]["methods"]
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((run / "latency").glob("*/*.json")):
        record = _read(path)
        found.setdefault(record["dataset"], []).append(record)
    rows = []
    for dataset, records in found.items():
        records.sort(key=lambda record: titles.index(record["method"]))
        base = _gmacs(run, dataset, records[0]["method"])
        rows += [_row(run, record, base) for record in records]
    return rows


def _row(run: Path, record: dict[str, Any], base_gmacs: float | None) -> RuntimeRow:
    dataset, method = record["dataset"], record["method"]
    kinds = record["frame_kinds"]
    own = _gmacs(run, dataset, method)
    published, published_base, device = _published(dataset, method)
    interval = record["keyframe_interval"]
    stages = {kind: sum(v["median_ms"] for v in held.values()) for kind, held in record["waterfall"].items()}
    key = stages.get("key", 0.0)
    others = [ms for kind, ms in stages.items() if kind != "key"] or [key]
    return RuntimeRow(
        dataset=dataset,
        method=method,
        device=record["device"],
        key_ms=kinds["key"]["median_ms"] if "key" in kinds else None,
        non_key_ms=next((k["median_ms"] for name, k in kinds.items() if name != "key"), None),
        gop_mean_ms=record["gop_mean"]["median_ms"],
        worst_frame_ms=record["worst_frame_ms"],
        end_to_end_ms=(key + (interval - 1) * sum(others) / len(others)) / interval,
        times_faster=record["times_faster_than"]["quartiles"][1],
        macs_allow=base_gmacs / own if base_gmacs and own else None,
        published_ms=published,
        published_times_faster=published_base / published if published and published_base else None,
        published_device=device,
        stable=str(record["gop_mean"]["stability"]).startswith("stable"),
    )


def _published(dataset: str, method: str) -> tuple[float | None, float | None, str]:
    """The paper's time of a row and of its 1.0x row; matched by dataset and scale, PSPNet18 only."""
    scale = re.search(r"(\d\.\d)x?", method)
    if scale is None or "psp" not in method.lower():
        return None, None, ""
    rows = [row for row in read_published("table5") if row["dataset"] == dataset]
    times = {str(row["method"]): row["latency_ms"] for row in rows}
    base = next((t for name, t in times.items() if "1.0x" in name), None)
    wanted = f"AR{scale[1]}" if method.upper().startswith("AR") else f"{scale[1]}x"
    own = next((t for name, t in times.items() if wanted in name), None)
    device = str(rows[0]["device"]) if rows and own is not None else ""
    return (
        own if isinstance(own, float) else None,
        base if isinstance(base, float) else None,
        device,
    )


def _gmacs(run: Path, dataset: str, method: str) -> float | None:
    path = run / "costs" / slug(dataset) / f"{slug(method)}.json"
    return float(_read(path)["gop_mean_gmacs"]) if path.exists() else None


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable record ({error}); run the experiment again") from error


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
