"""Weights of the authors' release in, our names out.

Our networks have their own parameter names. `ar_seg_key_map` spells out, for every parameter, under which key the
released state dict holds it. Files are read with `weights_only=True`, so no code in them can run.
Source: `ar-seg-state-dicts.json` beside the AR-Seg specification.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from vssbench.errors import CheckpointError, ConfigError
from vssbench.networks.network import SegmentationNetwork
from vssbench.networks.weights import read_weights
from vssbench.registry import nearest

StateDict = Mapping[str, Tensor]
Prefixes = tuple[tuple[str, str], ...]
"""Pairs (our prefix, their prefix); the first that fits a name applies."""

_RESIDUAL_BLOCK: Prefixes = (
    ("norm1.", "bn1."),
    ("norm2.", "bn2."),
    ("projection.conv.", "downsample.0."),
    ("projection.norm.", "downsample.1."),
)
_CONV_BLOCK: Prefixes = (("norm.", "bn."),)
_ATTENTION: Prefixes = (
    ("block.norm.", "conv.bn."),
    ("block.", "conv."),
    ("gate.conv.", "conv_atten."),
    ("gate.norm.", "bn_atten."),
)
_FUSION_MODULE: Prefixes = (
    ("block.norm.", "convblk.bn."),
    ("block.", "convblk."),
    ("gate.conv.", "conv."),
    ("gate.norm.", "bn."),
)
_OUTPUT: Prefixes = (("block.norm.", "conv.bn."), ("block.", "conv."), ("classifier.", "conv_out."))
FUSION_KEYS: Prefixes = (
    ("query_conv.", "fuse_attention.lr_query_conv."),
    ("key_conv.", "fuse_attention.hr_key_conv."),
    ("value_conv.", "fuse_attention.hr_value_conv."),
)
"""Our CReFF's convolutions in the released state dicts."""

_LEFTOVERS = re.compile(r"(^|\.)total_(ops|params)$")
"""Counters that thop leaves behind in a state dict."""
_FUSION_PREFIX = "fuse_attention."


@dataclass(frozen=True, slots=True)
class _Rule:
    """Parameters below `ours` are found below `theirs`, their remainder renamed by `inner`."""

    ours: str
    theirs: str
    inner: Prefixes = ()


def _backbone(ours: str, theirs: str, stem: tuple[str, str]) -> tuple[_Rule, ...]:
    stages = tuple(
        _Rule(f"{ours}stage{stage}.{block}.", f"{theirs}layer{stage}.{block}.", _RESIDUAL_BLOCK)
        for stage in (1, 2, 3, 4)
        for block in (0, 1)
    )
    return (_Rule(f"{ours}stem.conv.", stem[0]), _Rule(f"{ours}stem.norm.", stem[1]), *stages)


_RULES: dict[str, tuple[_Rule, ...]] = {
    "pspnet18-camvid": (
        *_backbone("backbone.", "feats.", ("feats.conv1.", "feats.bn1.")),
        *(_Rule(f"pyramid.convs.{i}.", f"psp.stages.{i}.1.") for i in range(4)),
        _Rule("pyramid.bottleneck.", "psp.bottleneck."),
        *(
            _Rule(
                f"up{k}.",
                f"up_{k}.",
                (("conv.", "conv.0."), ("norm.", "conv.1."), ("activation.", "conv.2.")),
            )
            for k in (1, 2, 3)
        ),
        _Rule("classifier.", "final_conv."),
        _Rule("presence.", "classifier."),
    ),
    "pspnet18-cityscapes": (
        *_backbone("backbone.", "", ("layer0.0.", "layer0.1.")),
        *(_Rule(f"pyramid.{i}.", f"ppm.features.{i}.", (("conv.", "1."), ("norm.", "2."))) for i in range(4)),
        _Rule("head.", "cls.", (("conv.", "0."), ("norm.", "1."))),
        _Rule("classifier.", "cls.4."),
        _Rule("auxiliary_classifier.", "aux.4."),
        _Rule("auxiliary.", "aux.", (("conv.", "0."), ("norm.", "1."))),
    ),
    "bisenet18": (
        *_backbone("context.backbone.", "cp.resnet.", ("cp.resnet.conv1.", "cp.resnet.bn1.")),
        _Rule("context.refine16.", "cp.arm16.", _ATTENTION),
        _Rule("context.refine32.", "cp.arm32.", _ATTENTION),
        _Rule("context.head32.", "cp.conv_head32.", _CONV_BLOCK),
        _Rule("context.head16.", "cp.conv_head16.", _CONV_BLOCK),
        _Rule("context.average.", "cp.conv_avg.", _CONV_BLOCK),
        *(_Rule(f"spatial.conv{i}.", f"sp.conv{i}.", _CONV_BLOCK) for i in (1, 2, 3)),
        _Rule("spatial.out.", "sp.conv_out.", _CONV_BLOCK),
        _Rule("fusion.", "ffm.", _FUSION_MODULE),
        _Rule("head.", "conv_out.conv.", _CONV_BLOCK),
        _Rule("classifier.", "conv_out.conv_out."),
        _Rule("auxiliary16.", "conv_out16.", _OUTPUT),
        _Rule("auxiliary32.", "conv_out32.", _OUTPUT),
    ),
}

_ALIASES: dict[str, Prefixes] = {
    "pspnet18-camvid": (),
    "pspnet18-cityscapes": (("final_conv.", "cls.4."),),
    "bisenet18": (("feat_conv_out.", "conv_out.conv."), ("final_conv.", "conv_out.conv_out.")),
}
"""Second keys of the same tensor in the release: (alias prefix, canonical prefix)."""


def _renamed(name: str, prefixes: Prefixes) -> str:
    for before, after in prefixes:
        if name.startswith(before):
            return after + name[len(before) :]
    return name


def ar_seg_key_map(network: SegmentationNetwork) -> dict[str, str]:
    """Our state-dict name -> key in the released state dict (without 'module.'), for every entry of `network`.

    Raises ConfigError for a network that the release does not contain.
    """
    rules = _RULES.get(network.name)
    if rules is None:
        raise ConfigError(f"AR-Seg released no {network.name!r}; {nearest(network.name, list(_RULES))}")
    mapping = {}
    for name in network.state_dict():
        rule = next(rule for rule in rules if name.startswith(rule.ours))
        mapping[name] = rule.theirs + _renamed(name[len(rule.ours) :], rule.inner)
    return mapping


def fusion_key_map(fusion: nn.Module) -> dict[str, str]:
    """Name in a final-variant CReFF -> key in the released state dict.

    Raises ConfigError for a variant with other parameters: the release contains the final one only.
    """
    mapping = {name: _renamed(name, FUSION_KEYS) for name in fusion.state_dict()}
    foreign = [name for name, key in mapping.items() if not key.startswith(_FUSION_PREFIX)]
    if foreign:
        raise ConfigError(
            f"the AR-Seg release holds weights of the final CReFF only; this variant has {', '.join(foreign)} as well"
        )
    return mapping


def load_ar_seg_checkpoint(
    path_or_state_dict: str | Path | StateDict,
    *,
    network: SegmentationNetwork,
    fusion: nn.Module | None = None,
) -> None:
    """Load a released AR-Seg checkpoint into `network` and, where given, into the CReFF `fusion`.

    Accepts the DataParallel prefix 'module.', aliased keys (the later of two wins), a missing alias, and leftovers of
    thop. The release stores CReFF weights in LR checkpoints as well; without `fusion` they are skipped.
    Nothing is changed unless everything fits. Raises CheckpointError with the missing, unexpected and mis-shaped keys,
    or if the file cannot be read without running code.
    """
    label, state = read_state(path_or_state_dict)
    found = _canonical(state, network.name)
    expected: dict[str, Tensor] = {}
    for module, mapping in _targets(network, fusion):
        own = module.state_dict()
        expected.update({theirs: own[ours] for ours, theirs in mapping.items()})
    if fusion is None:
        found = {key: value for key, value in found.items() if not key.startswith(_FUSION_PREFIX)}
    check_keys(label, network, expected, found)
    for module, mapping in _targets(network, fusion):
        module.load_state_dict({ours: found[theirs] for ours, theirs in mapping.items()})


def _targets(
    network: SegmentationNetwork, fusion: nn.Module | None
) -> list[tuple[nn.Module, dict[str, str]]]:
    targets: list[tuple[nn.Module, dict[str, str]]] = [(network, ar_seg_key_map(network))]
    if fusion is not None:
        targets.append((fusion, fusion_key_map(fusion)))
    return targets


def _canonical(state: StateDict, network_name: str) -> dict[str, Tensor]:
    """Keys without 'module.', leftovers and aliases; of an aliased pair the later one in `state` stays."""
    found: dict[str, Tensor] = {}
    for key, value in state.items():
        bare = key.removeprefix("module.")
        if not _LEFTOVERS.search(bare):
            found[_renamed(bare, _ALIASES.get(network_name, ()))] = value
    return found


def check_keys(
    label: str, network: SegmentationNetwork, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]
) -> None:
    """Raise CheckpointError with the missing, unexpected and mis-shaped keys of what was found."""
    missing = [key for key in expected if key not in found]
    unexpected = [key for key in found if key not in expected]
    shapes = [
        f"{key} {tuple(found[key].shape)} instead of {tuple(value.shape)}"
        for key, value in expected.items()
        if key in found and found[key].shape != value.shape
    ]
    lines = [
        f"{kind}: {', '.join(keys)}"
        for kind, keys in (("missing", missing), ("unexpected", unexpected), ("mis-shaped", shapes))
        if keys
    ]
    if lines:
        raise CheckpointError(
            f"{label} does not belong to {network.name} with {network.classes} classes and width {network.width}; "
            + "; ".join(lines)
            + ". Check the network name, the number of classes and whether the file is an HR, LR or AR checkpoint."
        )


def read_state(source: str | Path | StateDict) -> tuple[str, StateDict]:
    """A printable name and the tensors of a state dict or file (.safetensors, else a PyTorch checkpoint)."""
    if isinstance(source, Mapping):
        return "the state dict", source
    if str(source).endswith(".safetensors"):
        return str(source), read_weights(source)[0]
    return str(source), read_state_dict(Path(source))


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a .pth state dict on the CPU without unpickling anything but tensors.

    Raises CheckpointError if the file is absent, damaged, holds anything that would have to be executed, or is no
    flat dictionary of tensors.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file") from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: is damaged or holds more than tensors, and nothing in it was executed. Expected a plain state dict; "
            f"if you trust the file, re-save only its state dict. Reason: {_first_line(error)}"
        ) from error
    except Exception as error:  # on arbitrary bytes the restricted unpickler fails in arbitrary ways
        raise CheckpointError(
            f"{path}: cannot be read as a PyTorch checkpoint ({_first_line(error)}); download it again"
        ) from error
    return check_state_dict(str(path), loaded)


def check_state_dict(label: str, loaded: object) -> dict[str, Tensor]:
    """`loaded` as a dictionary of tensors. Raises CheckpointError if it is something else."""
    if not isinstance(loaded, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in loaded.items()
    ):
        raise CheckpointError(
            f"{label}: expected a state dict (names to tensors), found {type(loaded).__name__}"
            + (f" with the keys {', '.join(map(str, list(loaded)[:5]))}" if isinstance(loaded, dict) else "")
        )
    return loaded


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def torchvision_name(name: str) -> str:
    """Name of one of our ResNet-18's parameters in torchvision's."""
    rule = next(rule for rule in _backbone("", "", ("conv1.", "bn1.")) if name.startswith(rule.ours))
    return rule.theirs + _renamed(name[len(rule.ours) :], rule.inner)
