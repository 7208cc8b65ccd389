"""Published numbers of AR-Seg beside measured ones: which belongs to which, and how far apart they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

from vssbench.rendering.paper.identity import TEST_FRAMES, PaperIdentity, paper_identity
from vssbench.results.published import PublishedRow, read_published
from vssbench.analysis.run import Run

USUAL = {"camvid": "HEVC@3Mbps", "cityscapes": "HEVC@5Mbps"}
"""Codec setting of Tables 1, 2, 3 and 5."""
VIDEO_METHODS = {
    "accel": "Accel-DL18",
    "tdnet": "TD4-PSP18",
    "blockcopy": "BlockCopy",
    "taplab": "TapLab-BL2",
    "jain": "Jain et al.",
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


@dataclass(frozen=True, slots=True)
class Published:
    """The published counterpart of a measured row."""

    miou_percent: float
    gflops: float
    """1e9 counts of thop 0.0.31, as the paper prints them."""
    source: str


def published_counterpart(run: Run, dataset: str, codec: str, method: str) -> Published | None:
    """The published row of a measured method by titles; None where the paper has none."""
    identity = paper_identity(run, dataset, codec, method)
    row = None if identity is None else published_row(identity)
    if row is None:
        return None
    return Published(_number(row["miou_percent"]), _number(row["gflops"]), str(row["source"]))


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


def scope_note(run: Run) -> str:
    """What makes our side of the comparison another measurement than the paper's; '' where nothing is known to."""
    lines = []
    for entry in run.experiment.get("datasets", []):
        title, name = str(entry.get("label") or entry.get("name")), str(entry.get("name"))
        if name not in TEST_FRAMES or title not in run.datasets:
            continue
        labelled = sum(s["labelled"] for s in run.datasets[title]["sequences"].values())
        if labelled != TEST_FRAMES[name]:
            lines.append(
                f"{title}: ours rests on {labelled} labelled frames, the paper's on {TEST_FRAMES[name]}"
            )
    if any(not m.get("weights") for m in run.experiment.get("methods", [])):
        lines.append("methods without weights are untrained")
    return "; ".join(lines)


def _number(value: str | float | None) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan
