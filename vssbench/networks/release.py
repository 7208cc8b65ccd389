"""Turns a folder of released checkpoints, AR-Seg's or ESPNetv2's, into safetensors with a manifest.

Layout of AR-Seg's release: `{dataset}-{backbone}/{HR,LR,AR}/PSPNet_{backend}_{scale}_{epoch}_.pth`, where the literal
'PSPNet' stands for BiSeNet too. Source: `ar-seg-state-dicts.json` beside the AR-Seg specification. ESPNetv2's are
files such as `espnetv2_2.0_city_1024x512.pth`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from torch import nn

from vssbench.dataset import IMAGENET
from vssbench.errors import InputError
from vssbench.files import digest_file, storage_error
from vssbench.networks.checkpoints import load_ar_seg_checkpoint
from vssbench.networks.espnetv2_release import CITYSCAPES, FILE_NAME, released_espnetv2
from vssbench.networks.network import SegmentationNetwork
from vssbench.networks.weights import WeightsMetadata, save_weights
from vssbench.records import Normalisation
from vssbench.registry import networks

Branch = Literal["HR", "LR", "AR"]
BRANCHES: tuple[Branch, ...] = ("HR", "LR", "AR")

MODELS: dict[str, tuple[str, int]] = {
    "camvid-psp18": ("pspnet18-camvid", 12),
    "camvid-bise18": ("bisenet18", 12),
    "cityscapes-psp18": ("pspnet18-cityscapes", 19),
    "cityscapes-bise18": ("bisenet18", 19),
}
"""Folder of the release -> network and number of outputs."""


@dataclass(frozen=True, slots=True)
class _Pictures:
    """What the networks of one folder were trained on. Source: AR-Seg specification, section 4."""

    data: str
    size: tuple[int, int]
    normalisation: Normalisation
    class_names: tuple[str, ...]


_CAMVID = _Pictures(
    "camvid, train",
    (720, 960),
    Normalisation((0.39068785, 0.40521392, 0.41434407), (0.29652068, 0.30514979, 0.30080369)),
    (
        "sky", "building", "pole", "road", "pavement", "tree", "signsymbol", "fence", "car", "pedestrian", "bicyclist",
        "void",
    ),
)  # fmt: skip
_CITYSCAPES = _Pictures(
    "cityscapes, train",
    (1024, 2048),
    IMAGENET,
    CITYSCAPES,
)
_THIRD_PARTY = Normalisation((0.3257, 0.3690, 0.3223), (0.2112, 0.2148, 0.2115))
"""Of the Cityscapes BiSeNet, whose HR weights the authors took from elsewhere."""
_PICTURES = {
    "camvid-psp18": _CAMVID,
    "camvid-bise18": _CAMVID,
    "cityscapes-psp18": _CITYSCAPES,
    "cityscapes-bise18": replace(_CITYSCAPES, normalisation=_THIRD_PARTY),
}


_FILE_NAME = re.compile(r"^[^_]+_[^_]+_(?P<scale>\d+(\.\d+)?)_(?P<epoch>\d+)_?\.pth$")


@dataclass(frozen=True, slots=True)
class ReleasedFile:
    """One checkpoint of the release that evaluation uses."""

    model: str
    """Folder, such as 'camvid-psp18'; of ESPNetv2 the file's name without its ending."""
    branch: Branch
    path: Path
    lr_scale: float | None
    epoch: int | None
    superseded: tuple[str, ...] = ()
    """Names of earlier epochs beside it, which are not converted."""

    @property
    def source(self) -> str:
        """Path in the release."""
        return f"{self.model}/{self.branch}/{self.path.name}" if self.model in MODELS else self.path.name

    @property
    def name(self) -> str:
        """Name of the converted weights, such as 'camvid-psp18/AR-0.5'."""
        if self.model not in MODELS:
            return self.model
        scale = f"-{self.lr_scale:g}" if self.branch != "HR" and self.lr_scale is not None else ""
        return f"{self.model}/{self.branch}{scale}"


@dataclass(frozen=True, slots=True)
class ConvertedFile:
    """One entry of the manifest."""

    name: str
    file: str
    sha256: str
    network: str
    classes: int
    branch: Branch
    lr_scale: float | None
    epoch: int | None
    source_file: str
    source_sha256: str
    superseded: tuple[str, ...]


class _LrBranch(nn.Module):
    """Same parameter names as the 'lr' part of AR-Seg in its final variant."""

    def __init__(self, network: SegmentationNetwork) -> None:
        super().__init__()
        self.network = network
        self.fusion = nn.Module()
        channels = network.feature_channels
        for name in ("query_conv", "key_conv", "value_conv"):
            self.fusion.add_module(name, nn.Conv2d(channels, channels, 3, padding=1, groups=channels))


def find_released_files(folder: Path) -> list[ReleasedFile]:
    """The checkpoints under `folder`: AR-Seg's (the release, its parent, or one model's folder), of each scale the last
    epoch; or ESPNetv2's, in the folder itself.

    Raises InputError if there is none.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected the unpacked AR-Seg or ESPNetv2 release")
    files = sorted(path for path in folder.glob("*.pth") if FILE_NAME.fullmatch(path.name))
    if files:
        return [ReleasedFile(path.stem, "HR", path, None, None) for path in files]
    root = next(
        (f for f in (folder, folder / "checkpoints") if any((f / m).is_dir() for m in MODELS)), folder
    )
    models = {folder.name: folder} if folder.name in MODELS else {name: root / name for name in MODELS}
    found = [
        released
        for model, path in models.items()
        for branch in BRANCHES
        for released in _newest(model, branch, path / branch)
    ]
    if not found:
        raise InputError(
            f"{folder}: no checkpoint found; expected folders such as camvid-psp18/AR with .pth files in them "
            f"(models: {', '.join(MODELS)}; branches: {', '.join(BRANCHES)}), or espnetv2_2.0_city_1024x512.pth"
        )
    return found


def _newest(model: str, branch: Branch, folder: Path) -> Iterator[ReleasedFile]:
    """Of every scale in a folder the file with the highest epoch; files of other names count as one scale."""
    by_scale: dict[float | None, list[tuple[int, Path]]] = {}
    for path in sorted(folder.glob("*.pth")):
        match = _FILE_NAME.match(path.name)
        scale = float(match["scale"]) if match else None
        # the HR folder holds one network, whatever scale its training called itself
        key = None if branch == "HR" else scale
        by_scale.setdefault(key, []).append((int(match["epoch"]) if match else -1, path))
    for key, files in by_scale.items():
        files.sort()
        epoch, path = files[-1]
        others = tuple(other.name for _, other in files[:-1])
        yield ReleasedFile(model, branch, path, key, epoch if epoch >= 0 else None, others)


def convert_release(
    folder: Path,
    out: Path,
    *,
    dtype: Literal["float32", "float16"] = "float32",
    report: Callable[[ReleasedFile], None] = lambda released: None,
) -> list[ConvertedFile]:
    """Convert every checkpoint under `folder` into `out` and write `out`/manifest.json; all of it or nothing.

    ESPNetv2's, HR and LR files become plain network weights, AR files the part 'lr' of the method ar-seg (network and CReFF).
    `report` is called before each file. Raises InputError if nothing is found, CheckpointError if a file does not fit,
    StorageError if `out` cannot be written.
    """
    released = find_released_files(folder)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    except OSError as error:
        raise storage_error(out, error) from error
    try:
        converted = []
        for one in released:
            report(one)
            converted.append(_convert(one, scratch, dtype))
        _publish(converted, scratch, out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return converted


def _loaded(released: ReleasedFile) -> tuple[nn.Module, WeightsMetadata]:
    """What a checkpoint holds, and what is known of it."""
    if released.model not in MODELS:
        return released_espnetv2(released.path)
    network_name, classes = MODELS[released.model]
    network: SegmentationNetwork = networks.load(network_name)(classes)
    module: nn.Module = network
    if released.branch == "AR":
        module = _LrBranch(network)
        load_ar_seg_checkpoint(released.path, network=network, fusion=module.fusion)
    else:
        load_ar_seg_checkpoint(released.path, network=network)
    seen = _PICTURES[released.model]
    return module, WeightsMetadata.describing(
        network,
        experiment=f"AR-Seg release, {released.source}",
        class_names=seen.class_names,
        data=seen.data,
        normalisation=seen.normalisation,
        size=seen.size,
        lr_scale=1.0 if released.branch == "HR" else released.lr_scale,
    )


def _convert(released: ReleasedFile, scratch: Path, dtype: Literal["float32", "float16"]) -> ConvertedFile:
    module, metadata = _loaded(released)
    path = save_weights(module, scratch / f"{released.name}.safetensors", metadata, dtype=dtype)
    return ConvertedFile(
        name=released.name,
        file=f"{released.name}.safetensors",
        sha256=digest_file(path),
        network=metadata.network,
        classes=metadata.classes,
        branch=released.branch,
        lr_scale=released.lr_scale,
        epoch=released.epoch,
        source_file=released.source,
        source_sha256=digest_file(released.path),
        superseded=released.superseded,
    )


def _publish(converted: list[ConvertedFile], scratch: Path, out: Path) -> None:
    """Move finished files into `out`; the manifest comes last, so that what it lists exists."""
    entries = {one.name: {k: v for k, v in asdict(one).items() if k != "name"} for one in converted}
    manifest = json.dumps({"schema": 1, "weights": entries}, indent=1, sort_keys=True)
    try:
        (scratch / "manifest.json").write_text(manifest + "\n", encoding="utf-8")
        for name in [*(one.file for one in converted), "manifest.json"]:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(scratch / name, out / name)
    except OSError as error:
        raise storage_error(out, error) from error
