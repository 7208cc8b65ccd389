"""Which row of the AR-Seg paper an entry of an experiment is: told from its validated options, never from its label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from vssbench.codec.settings import CodecSettings
from vssbench.experiment.schema import DatasetSpec, MethodSpec, ProtocolSettings
from vssbench.records import Normalisation

BACKBONES = {
    ("camvid", "pspnet18-camvid"): "pspnet18",
    ("cityscapes", "pspnet18-cityscapes"): "pspnet18",
    ("camvid", "bisenet18"): "bisenet18",
    ("cityscapes", "bisenet18"): "bisenet18",
}
"""(dataset, registered network) -> name in the published tables."""
SPLITS = {"camvid": "test", "cityscapes": "val"}
"""Dataset -> the split that the paper scores."""
_FREE = ("weights", "network", "lr_scale", "variant", "fst", "normalisation")
"""Options that choose a row; every other one must have its default, or the value below."""
_UNPADDED = {"padding": "none"}
_SETTINGS: dict[str, dict[str, Any]] = {
    "constant": {},
    "ar-seg": {},
    "warp-only": {**_UNPADDED, "sampling": "paper", "flow_rule": "paper", "flow_resample": "bilinear"},
    "accel": _UNPADDED,
    "tdnet": _UNPADDED,
    "blockcopy": {**_UNPADDED, "policy_reset": "clip", "block": {"camvid": 96, "cityscapes": 128}},
    "taplab": {**_UNPADDED, "residual": "references"},
    "inter-bmv": {**_UNPADDED, "cut": "task"},
}
"""Registered methods of the paper -> options that its rows have in place of the default; by dataset where it depends.
Those with a mode 'paper' keep the paper's sides by it."""
_OWN_NETWORK = ("accel", "blockcopy", "taplab")
"""Methods that the paper runs with their authors' networks, which are the defaults."""
_CITYSCAPES_BISENET = Normalisation((0.3257, 0.369, 0.3223), (0.2112, 0.2148, 0.2115))
"""Normalisation that the released Cityscapes BiSeNet18 wants in place of the dataset's."""


class PaperIdentity(BaseModel):
    """What decides which published row a measured one may stand beside."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    """camvid or cityscapes."""
    backbone: str
    """pspnet18 or bisenet18; '' for methods with a network of their own."""
    method: str
    """Registered name."""
    lr_scale: float
    variant: str
    fst: str
    codec: str
    """As the paper's Table 4 calls it; 'HEVC@5Mbps' on Cityscapes."""
    keyframe_interval: int
    all_distances: bool
    """False where only some distances are scored: then times compare with the paper's, accuracy does not."""


def paper_identity(
    dataset: DatasetSpec, settings: CodecSettings, method: MethodSpec, protocol: ProtocolSettings
) -> PaperIdentity | None:
    """The identity of one method on one dataset and codec; None where something differs from everything in the paper.

    Another split, class protocol, codec setting, network, lower precision or option has no published counterpart.
    """
    label = codec_label(settings, dataset.name)
    if dataset.name not in SPLITS or dataset.split != SPLITS[dataset.name] or label is None:
        return None
    if protocol.kind != "clip" or getattr(dataset.options(), "protocol", "paper") != "paper":
        return None
    options = method.options()
    network = str(getattr(options, "network", ""))
    backbone = BACKBONES.get((dataset.name, network), "")
    if not _as_published(dataset.name, method) or (not backbone and method.name not in _OWN_NETWORK):
        return None
    return PaperIdentity(
        dataset=dataset.name,
        backbone="" if method.name in _OWN_NETWORK else backbone,
        method=method.name,
        lr_scale=float(getattr(options, "lr_scale", 1.0)),
        variant=str(getattr(options, "variant", "final")),
        fst=str(getattr(options, "fst", "mse+shared")),
        codec=label,
        keyframe_interval=protocol.keyframe_interval,
        all_distances=protocol.scored_distances == tuple(range(protocol.keyframe_interval)),
    )


def _as_published(dataset: str, method: MethodSpec) -> bool:
    """Whether every option has the value that the paper's row has."""
    if method.name not in _SETTINGS:
        return False
    if method.inference.autocast != "none" or method.inference.half_reference:
        return False
    options = method.options()
    fields = type(options).model_fields
    free = set(_FREE) - ({"network"} if method.name in _OWN_NETWORK else set())
    for name in fields.keys() - free:
        wanted = _SETTINGS[method.name].get(name, fields[name].get_default(call_default_factory=True))
        if isinstance(wanted, Mapping) and dataset in wanted:
            wanted = wanted[dataset]
        if getattr(options, name) != wanted:
            return False
    given = getattr(options, "normalisation", None)
    bisenet = dataset == "cityscapes" and getattr(options, "network", "") == "bisenet18"
    return given is None or (bisenet and given.same_pixels(_CITYSCAPES_BISENET))


def codec_label(settings: CodecSettings, dataset: str) -> str | None:
    """Name of a codec setting in the paper, None if it has none.

    >>> codec_label(CodecSettings(codec="hevc", bitrate_kbps=3000, preset="ultrafast"), "camvid")
    'x265-ultrafast@3Mbps'
    """
    rate, preset, extra = settings.bitrate_kbps, settings.preset, settings.extra
    references = CodecSettings.model_fields["references"].default
    if settings.codec != "hevc" or settings.b_frames or settings.references != references or rate is None:
        return None
    if preset == "medium" and extra == {"rect": "1", "amp": "1"}:
        known = {"camvid": (3000, 1000), "cityscapes": (5000,)}.get(dataset, ())
        return f"HEVC@{rate // 1000}Mbps" if rate in known else None
    if dataset == "camvid" and rate == 3000 and preset in ("medium", "ultrafast") and not extra:
        return f"x265-{preset}@3Mbps"
    return None
