"""Published numbers that ship with vssbench: every row carries its kind and its source, and is found by identity."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from vssbench.errors import ConfigError, InputError
from vssbench.registry import nearest
from vssbench.results.identity import PaperIdentity

PUBLISHED = ("table1", "table2", "table3", "table4", "table5", "figure4", "released_results")
"""Names for `read_published`: the paper's tables, its BD figures and the result files of the released code."""

USUAL = {"camvid": "HEVC@3Mbps", "cityscapes": "HEVC@5Mbps"}
"""Codec setting of Tables 1, 2, 3 and 5."""
VIDEO_METHODS = {
    "accel": "Accel-DL18",
    "tdnet": "TD4-PSP18",
    "blockcopy": "BlockCopy",
    "taplab": "TapLab-BL2",
    "inter-bmv": "Jain et al.",
}
"""Registered method -> name in Table 2."""
ABLATIONS: dict[str, tuple[str, str, str, float]] = {
    "PSPNet18 1.0x": ("constant", "final", "mse+shared", 1.0),
    "PSPNet18 0.5x": ("constant", "final", "mse+shared", 0.5),
    "W_MV + F_LA 7x7 (final)": ("ar-seg", "final", "mse+shared", 0.5),
    "without CReFF (FST on upsampled feature)": ("ar-seg", "without-creff", "mse+shared", 0.5),
    "W_MV only (warp-only)": ("warp-only", "final", "mse+shared", 1.0),
    "F_LA 7x7 only (no warp)": ("ar-seg", "la-only", "mse+shared", 0.5),
    "W_MV + F_LA 3x3": ("ar-seg", "window-3", "mse+shared", 0.5),
    "W_MV + F_LA 11x11": ("ar-seg", "window-11", "mse+shared", 0.5),
    "W_MV + F_LA* 7x7 (non-grouped convs)": ("ar-seg", "la-full", "mse+shared", 0.5),
    "W_MV + F_GA 1/32 (global attention)": ("ar-seg", "global-attention", "mse+shared", 0.5),
    "W_MV + F_Conv": ("ar-seg", "conv", "mse+shared", 0.5),
    "CReFF without direct connection": ("ar-seg", "without-direct", "mse+shared", 0.5),
    "before C1x1 (final)": ("ar-seg", "final", "mse+shared", 0.5),
    "before N_task": ("ar-seg", "before-task", "mse+shared", 0.5),
    "before N_feat": ("ar-seg", "before-feat", "mse+shared", 0.5),
    "MSE loss + shared C1x1 (final)": ("ar-seg", "final", "mse+shared", 0.5),
    "without FST": ("ar-seg", "final", "none", 0.5),
    "shared C1x1 only": ("ar-seg", "final", "shared", 0.5),
    "MSE loss only": ("ar-seg", "final", "mse", 0.5),
    "KL loss + shared C1x1": ("ar-seg", "final", "kl+shared", 0.5),
}
"""Row of Table 3 -> registered method, variant, feature similarity training, lr_scale."""
INTERVALS = {"L=12 (final)": 12, "L=15": 15, "L=20": 20, "L=30": 30}

TEXT_COLUMNS = frozenset(
    (
        "dataset",
        "backbone",
        "method",
        "experiment",
        "codec",
        "device",
        "note",
        "keyframe_distance",
        "kind",
        "source",
    )
)
"""Columns that stay text (keyframe_distance is a number or 'mean'); all others are numbers, None where empty."""

PublishedRow = dict[str, "str | float | None"]


def read_published(name: str) -> list[PublishedRow]:
    """Rows of one published table, in printed order.

    Units are in the column names; `gflops` is what the paper prints, i.e. 1e9 counts of thop 0.0.31, close to
    multiply-accumulates and not twice that (docs/macs.md). Raises ConfigError for an unknown name.
    """
    if name not in PUBLISHED:
        raise ConfigError(f"unknown published table {name!r}; {nearest(name, list(PUBLISHED))}")
    resource = files("vssbench.reports") / "published" / "ar_seg" / f"{name}.csv"
    reader = csv.DictReader(io.StringIO(resource.read_text(encoding="utf-8")))
    return [
        {column: _value(name, line, column, text) for column, text in row.items()}
        for line, row in enumerate(reader, start=2)
    ]


def _value(name: str, line: int, column: str, text: str | None) -> str | float | None:
    if text is None:
        raise InputError(f"published/ar_seg/{name}.csv line {line}: no value for column {column!r}")
    if column in TEXT_COLUMNS:
        return text
    if not text:
        return None
    try:
        return float(text)
    except ValueError as error:
        raise InputError(
            f"published/ar_seg/{name}.csv line {line}: {column} = {text!r} is not a number"
        ) from error


def published_row(identity: PaperIdentity) -> PublishedRow | None:
    """The first row that describes this identity, looked for in Tables 1, 3, 4 and 2."""
    for table in ("table1", "table3", "table4", "table2"):
        for row in _rows(table):
            if describes(table, row, identity):
                return row
    return None


@cache
def _rows(table: str) -> tuple[PublishedRow, ...]:
    return tuple(read_published(table))


def describes(table: str, row: PublishedRow, identity: PaperIdentity) -> bool:
    """Whether a row of a published table is about this identity."""
    if table != "table5" and not identity.all_distances:
        return False
    plain = identity.variant == "final" and identity.fst == "mse+shared"
    if table == "table3":
        return _describes_ablation(row, identity)
    if identity.keyframe_interval != 12:
        return False
    if table == "table4":
        method = ("ar-seg", 0.5) if str(row["method"]).startswith("AR") else ("constant", 1.0)
        known = identity.dataset == "camvid" and identity.backbone == "pspnet18" and plain
        return known and row["codec"] == identity.codec and (identity.method, identity.lr_scale) == method
    if row["dataset"] != identity.dataset or identity.codec != USUAL[identity.dataset] or not plain:
        return False
    if table == "table1":
        return (row["backbone"], row["method"], row["lr_scale"]) == (
            identity.backbone,
            identity.method,
            identity.lr_scale,
        )
    if table == "table5":
        name = str(row["method"])
        wanted = ("ar-seg", float(name[2:5])) if name.startswith("AR") else ("constant", 1.0)
        return identity.backbone == "pspnet18" and (identity.method, identity.lr_scale) == wanted
    return row["method"] == _video_name(identity)


def _video_name(identity: PaperIdentity) -> str:
    """Name of an identity in Table 2, '' if it is not there."""
    if identity.method == "ar-seg" and identity.lr_scale == 0.6:
        return {"pspnet18": "AR0.6-PSP18", "bisenet18": "AR0.6-BiSe18"}.get(identity.backbone, "")
    return VIDEO_METHODS.get(identity.method, "")


def _describes_ablation(row: PublishedRow, identity: PaperIdentity) -> bool:
    if (identity.dataset, identity.backbone, identity.codec) != ("camvid", "pspnet18", USUAL["camvid"]):
        return False
    found = (identity.method, identity.variant, identity.fst, identity.lr_scale)
    interval = INTERVALS.get(str(row["method"]))
    if interval is not None:
        return identity.keyframe_interval == interval and found == ABLATIONS["W_MV + F_LA 7x7 (final)"]
    return identity.keyframe_interval == 12 and ABLATIONS.get(str(row["method"])) == found


@dataclass(frozen=True, slots=True)
class PublishedTime:
    """A row of Table 5."""

    latency_ms: float
    """Per frame."""
    times_faster: float
    """Than the network at full resolution."""
    device: str


def published_time(identity: PaperIdentity | None) -> PublishedTime | None:
    """The paper's time for this identity; None where Table 5 has none."""
    if identity is None:
        return None
    full = identity.model_copy(update={"method": "constant", "lr_scale": 1.0})
    own, base = (
        next((r for r in _rows("table5") if describes("table5", r, i)), None) for i in (identity, full)
    )
    if own is None or base is None:
        return None
    ms, base_ms = float(own["latency_ms"] or 0), float(base["latency_ms"] or 0)
    return PublishedTime(ms, base_ms / ms, str(own["device"]))
