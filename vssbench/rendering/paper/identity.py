"""Which row of the paper a measured method is: told from the experiment's options, never from its label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vssbench.analysis.run import Run

BACKBONES = {
    "pspnet18-camvid": "pspnet18",
    "pspnet18-cityscapes": "pspnet18",
    "bisenet18": "bisenet18",
}
"""Registered network -> name in the published tables."""
TEST_FRAMES = {"camvid": 233, "cityscapes": 500}
"""Labelled frames that the paper scores."""
_CITYSCAPES_BISENET = ((0.3257, 0.369, 0.3223), (0.2112, 0.2148, 0.2115))
"""Normalisation that the released Cityscapes BiSeNet18 wants; another option value is another method."""
_DEFAULTS: dict[str, Any] = {
    "mode": "paper",
    "width": 64,
    "variant": "final",
    "fst": "mse+shared",
    "lr_scale": 1.0,
    "sampling": "paper",
    "flow_rule": "paper",
    "flow_resample": "bilinear",
    "network": "",
}
_FREE = frozenset(
    (
        "name",
        "label",
        "datasets",
        "codecs",
        "weights",
        "normalisation",
        "training_seed",
        "seeds_of",
        *_DEFAULTS,
    )
)


@dataclass(frozen=True, slots=True)
class PaperIdentity:
    """What decides which published row a measured one may stand beside."""

    dataset: str
    """camvid or cityscapes."""
    backbone: str
    """'' for methods with a network of their own."""
    method: str
    """Registered name."""
    lr_scale: float
    variant: str
    fst: str
    codec: str
    """As the paper's Table 4 calls it; 'HEVC@5Mbps' on Cityscapes."""
    keyframe_interval: int
    all_distances: bool = True
    """False where only some distances are scored: then times compare with the paper's, accuracy does not."""


def paper_identity(run: Run, dataset: str, codec: str, method: str) -> PaperIdentity | None:
    """The identity of a measured row, by titles; None where something differs from everything in the paper.

    Another dataset, class protocol, network width, codec setting or unknown option has no published counterpart.
    """
    entry = _entry(run, "datasets", dataset)
    settings = _entry(run, "codecs", codec, dataset, entry.get("name"))
    chosen = _entry(run, "methods", method, dataset, entry.get("name"))
    name = entry.get("name")
    label = codec_label(settings, str(name))
    protocol = run.experiment.get("protocol", {})
    if name not in TEST_FRAMES or label is None or not chosen or protocol.get("kind") != "clip":
        return None
    if name == "camvid" and entry.get("protocol", "paper") != "paper":
        return None
    options = {**_DEFAULTS, **{k: v for k, v in chosen.items() if v is not None}}
    if set(options) - _FREE or options["mode"] != "paper" or options["width"] != 64:
        return None
    return PaperIdentity(
        str(name),
        BACKBONES.get(str(options["network"]), ""),
        str(chosen["name"]),
        float(options["lr_scale"]),
        str(options["variant"]),
        str(options["fst"]),
        label,
        int(protocol.get("keyframe_interval", 12)),
        protocol.get("distances", "all") == "all",
    )


def _entry(run: Run, kind: str, title: str, *datasets: object) -> Mapping[str, Any]:
    """The experiment's entry of that title (its label, else its name); of several, the one for this dataset."""
    for one in run.experiment.get(kind, []):
        wanted = one.get("datasets") or []
        own = str(one.get("label") or one.get("name") or one.get("codec", ""))
        if own == title and (not datasets or not wanted or set(wanted) & set(datasets)):
            return dict(one)
    return {}


def codec_label(settings: Mapping[str, Any], dataset: str) -> str | None:
    """Name of a codec setting in the paper, None if it has none.

    >>> codec_label({"codec": "hevc", "bitrate_kbps": 3000, "preset": "ultrafast"}, "camvid")
    'x265-ultrafast@3Mbps'
    """
    if settings.get("codec") != "hevc" or settings.get("b_frames", 0):
        return None
    rate, preset, extra = (
        settings.get("bitrate_kbps"),
        settings.get("preset", "medium"),
        settings.get("extra") or {},
    )
    rectangles = {str(k): str(v) for k, v in extra.items()} == {"rect": "1", "amp": "1"}
    if extra and not rectangles:
        return None
    if preset == "medium" and rectangles:
        known = {"camvid": (3000, 1000), "cityscapes": (5000,)}.get(dataset, ())
        return f"HEVC@{rate // 1000}Mbps" if rate in known else None
    if dataset == "camvid" and rate == 3000 and preset in ("medium", "ultrafast") and not extra:
        return f"x265-{preset}@3Mbps"
    return None
