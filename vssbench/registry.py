"""Names to lazily imported classes: listing or mistyping a name imports nothing heavy."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any

from vssbench.errors import ConfigError
from vssbench.errors import nearest as nearest


@dataclass(frozen=True)
class Entry:
    """One registered name."""

    name: str
    target: str
    """'package.module:Class'."""
    summary: str
    origin: str = "vssbench"


@dataclass
class Registry:
    """One kind of plug-in. Third parties add to it through the entry-point group `group`."""

    kind: str
    group: str
    entries: dict[str, Entry] = field(default_factory=dict)
    _scanned: bool = False

    def register(self, name: str, target: str, summary: str, origin: str = "vssbench") -> None:
        """Add `name`. Raises ConfigError if another target holds the name already."""
        held = self.entries.get(name)
        if held is not None and held.target != target:
            raise ConfigError(
                f"{self.kind} {name!r} is registered twice: {held.target} ({held.origin}) and {target} ({origin}); "
                "rename one of them or uninstall its package"
            )
        self.entries[name] = Entry(name, target, summary, origin)

    def names(self) -> list[str]:
        """All registered names, sorted."""
        self._scan()
        return sorted(self.entries)

    def describe(self) -> list[Entry]:
        """All entries, sorted by name; imports no plug-in."""
        self._scan()
        return [self.entries[name] for name in sorted(self.entries)]

    def summary(self, entry: Entry) -> str:
        """What an entry is; a plug-in says it by its `summary`, or the first line of its docstring, and is imported."""
        if entry.origin == "vssbench":
            return entry.summary
        try:
            plug_in = self.load(entry.name)
        except Exception as error:  # a list must not end at the first broken plug-in
            return f"{entry.summary}, cannot be imported ({type(error).__name__}: {error})"
        said = getattr(plug_in, "summary", None) or (plug_in.__doc__ or "").strip().partition("\n")[0]
        return f"{said or 'says nothing of itself'} (of {entry.origin})"

    def load(self, name: str) -> Any:
        """Import and return the class registered as `name`. Raises ConfigError with near matches if unknown."""
        self._scan()
        if name not in self.entries:
            raise ConfigError(f"unknown {self.kind} {name!r}; {nearest(name, list(self.entries))}")
        module, _, attribute = self.entries[name].target.partition(":")
        return getattr(importlib.import_module(module), attribute)

    def _scan(self) -> None:
        if self._scanned:
            return
        self._scanned = True
        for point in entry_points(group=self.group):
            origin = point.dist.name if point.dist else "unknown package"
            self.register(point.name, point.value, f"plug-in of {origin}", origin)


methods = Registry("method", "vssbench.methods")
methods.register(
    "constant", "vssbench.baselines.constant:ConstantResolution", "every frame alone at lr_scale"
)
methods.register(
    "warp-only", "vssbench.baselines.warp_only:WarpOnly", "keyframe result carried along the motion"
)
methods.register(
    "ar-seg",
    "vssbench.baselines.ar_seg:ARSeg",
    "keyframes at full, others at low resolution, fused (CVPR 2023)",
)
methods.register(
    "scheduled",
    "vssbench.baselines.scheduled:Scheduled",
    "AR-Seg that carries the keyframe's feature on some frames and fuses it on the others",
)
methods.register(
    "dff",
    "vssbench.baselines.dff:DeepFeatureFlow",
    "keyframe features carried along estimated flow (CVPR 2017)",
)
methods.register(
    "accel",
    "vssbench.baselines.accel:Accel",
    "deep keyframe scores carried on, joined with a light network's on every frame (CVPR 2019)",
)
methods.register(
    "taplab",
    "vssbench.baselines.taplab:TapLab",
    "scores carried along motion vectors, corrected where residuals gather (TPAMI 2022)",
)
methods.register(
    "inter-bmv",
    "vssbench.baselines.inter_bmv:InterBMV",
    "features of both enclosing keyframes carried along block motion (Jain et al., ECCV-W 2018)",
)
methods.register(
    "copy-last", "vssbench.baselines.copy_last:CopyLast", "keyframe labels repeated: the floor of propagation"
)
methods.register(
    "clockwork",
    "vssbench.baselines.clockwork:Clockwork",
    "deep stage runs when its clock ticks, unwarped between (ECCV-W 2016)",
)
methods.register(
    "tanujaya",
    "vssbench.baselines.tanujaya:Tanujaya",
    "class maps carried along blocks, holes inpainted with the frame's guidance (Tanujaya et al., ISCAS 2020)",
)
methods.register(
    "tdnet",
    "vssbench.baselines.tdnet:TDNet",
    "shallow networks in rotation, gathered by attention (CVPR 2020)",
)
methods.register(
    "blockcopy",
    "vssbench.baselines.blockcopy:BlockCopy",
    "blocks chosen online are executed, the others copied (ICCV 2021)",
)

datasets = Registry("dataset", "vssbench.datasets")
datasets.register(
    "synthetic",
    "vssbench.datasets.synthetic:SyntheticStreets",
    "procedural street scenes with exact labels and flow",
)
datasets.register("camvid", "vssbench.datasets.camvid:CamVid", "CamVid, Kaggle or 480x360 SegNet layout")
datasets.register(
    "cityscapes",
    "vssbench.datasets.cityscapes:Cityscapes",
    "Cityscapes, official layout with leftImg8bit_sequence",
)
datasets.register(
    "folder", "vssbench.datasets.folder:FolderDataset", "your own frames or video with label PNGs"
)
datasets.register(
    "layout",
    "vssbench.datasets.layout:PatternDataset",
    "any frames and label pictures whose paths follow a pattern",
)
datasets.register(
    "kitti-step",
    "vssbench.datasets.kitti_step:KittiStep",
    "KITTI-STEP, every frame labelled, classes of Cityscapes",
)
datasets.register("vspw", "vssbench.datasets.vspw:VSPW", "VSPW, every frame labelled, 124 classes")
datasets.register(
    "cityscapes-vps",
    "vssbench.datasets.cityscapes_vps:CityscapesVPS",
    "Cityscapes-VPS, every fifth frame of the snippets labelled",
)

networks = Registry("network", "vssbench.networks")
networks.register(
    "pspnet18-camvid",
    "vssbench.networks.pspnet:PSPNet18CamVid",
    "AR-Seg's PSPNet18 with three up blocks, feature at image size",
)
networks.register(
    "pspnet18-cityscapes",
    "vssbench.networks.pspnet:PSPNet18Cityscapes",
    "AR-Seg's semseg-style PSPNet18, feature at stride 8",
)
networks.register(
    "bisenet18", "vssbench.networks.bisenet:BiSeNet18", "BiSeNetV1 with ResNet-18, feature at stride 8"
)
networks.register(
    "deeplab18", "vssbench.networks.deeplab:DeepLab18", "Accel's update network, feature at stride 16"
)
networks.register(
    "deeplab101", "vssbench.networks.deeplab:DeepLab101", "ResNet-101 at stride 16, network of DFF and Accel"
)
networks.register(
    "light-fpn18", "vssbench.networks.light_fpn:LightFPN18", "TapLab's BL2: light FPN, feature at stride 4"
)
networks.register(
    "swiftnet18",
    "vssbench.networks.swiftnet:SwiftNet18",
    "SwiftNet-RN18, BlockCopy's base, feature at stride 4",
)
networks.register(
    "fcn18", "vssbench.networks.fcn:FCN18", "FCN with skip scores, a shallow and a deep stage, for Clockwork"
)
networks.register(
    "lite0", "vssbench.networks.lite0:Lite0", "EfficientNet-Lite0 with a ladder decoder, feature at stride 4"
)
networks.register(
    "espnetv2", "vssbench.networks.espnetv2:ESPNetv2", "ESPNetv2 for small devices, feature at stride 2"
)

flow_networks = Registry("flow network", "vssbench.flow_networks")
flow_networks.register("flownet-s", "vssbench.networks.flow:FlowNetS", "FlowNetS on half-size images")
flow_networks.register(
    "flownet-tiny", "vssbench.networks.flow:TinyFlowNet", "four-level network for slim tests"
)
