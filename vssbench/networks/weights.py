"""Our weight files: safetensors with what they are in the header, packaged or anywhere on disk."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from vssbench.errors import CheckpointError, spelled_out
from vssbench.files import digest_file, write_atomically
from vssbench.method import CheckedNormalisation
from vssbench.networks.network import DescribedNetwork, SegmentationNetwork
from vssbench.registry import nearest

PACKAGE = "vssbench.baselines.weights"
"""Package whose data are the weights that ship with vssbench; `manifest.json` lists them."""
_HEADER_KEY = "vssbench"


@dataclass(frozen=True, slots=True)
class WeightsMetadata:
    """What a weight file says about itself."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    network: str
    """Registered network name."""
    width: int
    classes: int
    class_names: tuple[str, ...] = ()
    experiment: str = ""
    """Name and digest of the training experiment, or the file the weights were converted from."""
    seed: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    notes: str = ""
    licence: str = ""
    """Under which the weights may be used; '' where nobody said."""
    data: str = ""
    """Name of what the network was trained on, such as 'camvid'."""
    normalisation: CheckedNormalisation | None = None
    """Of the pixels it was trained on; None: not known."""
    size: tuple[int, int] | None = None
    """(H, W) of the frames it was trained on, before crops and lr_scale; None: not known."""
    lr_scale: float | None = None
    """Resize factor of those frames; None: not known."""

    @classmethod
    def describing(cls, module: nn.Module, **more: Any) -> WeightsMetadata:
        """Metadata of the named network inside `module`, completed by `more`."""
        network = find_network(module)
        return cls(network=network.name, width=network.width, classes=network.classes, **more)

    @classmethod
    def parse(cls, header: str) -> WeightsMetadata:
        """The metadata in a file's header. Raises ValueError naming the first value that is not as expected."""
        try:
            return _SCHEMA.validate_json(header)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the whole"
            raise ValueError(f"{_HEADER_KEY!r} in its header: {place}: {first['msg']}") from error


_SCHEMA = TypeAdapter(WeightsMetadata)


def find_network(module: nn.Module) -> DescribedNetwork:
    """The first named network in `module` (which may be one itself). Raises CheckpointError if there is none."""
    for inner in module.modules():
        if isinstance(inner, DescribedNetwork):
            return inner
    raise CheckpointError(f"{type(module).__name__} contains no network to describe")


def save_weights(
    module: nn.Module,
    path: str | Path,
    metadata: WeightsMetadata,
    *,
    dtype: Literal["float32", "float16"] = "float32",
    training_heads: bool = True,
    leave_out: Sequence[str] = (),
) -> Path:
    """Write the state of `module` to `path` (.safetensors), completely or not at all.

    float16 halves the tensors with two or more dimensions; vectors (biases, normalisation statistics) stay float32,
    where halves could overflow or vanish. training_heads=False leaves out modules that inference never runs; leave_out
    names more of them.
    Raises StorageError if the folder is not writable or the disk is full.
    """
    half = dtype == "float16"
    dropped = tuple(f"{name}." for name in leave_out)
    if not training_heads:
        dropped += tuple(training_only_prefixes(module))
    tensors = {
        name: _stored(value, half)
        for name, value in module.state_dict().items()
        if not name.startswith(dropped or ("\0",))
    }
    return write_file(Path(path), tensors, metadata)


def write_file(path: Path, tensors: dict[str, Tensor], metadata: WeightsMetadata) -> Path:
    """Write tensors and metadata to one file, completely or not at all. Raises StorageError."""
    header = {_HEADER_KEY: json.dumps(asdict(metadata), sort_keys=True)}
    write_atomically(path, save(tensors, metadata=header), remedy="choose another folder")
    return path


def _stored(value: Tensor, half: bool) -> Tensor:
    kept = value.detach().to("cpu")
    if half and kept.is_floating_point() and kept.ndim >= 2:
        kept = kept.to(torch.float16)
    return kept.contiguous()


def training_only_prefixes(module: nn.Module) -> list[str]:
    """State-dict prefixes inside `module` that inference does not need."""
    return [
        f"{name}.{head}." if name else f"{head}."
        for name, inner in module.named_modules()
        if isinstance(inner, SegmentationNetwork)
        for head in inner.training_only
    ]


def packaged_weights() -> dict[str, dict[str, Any]]:
    """The manifest of weights that ship with vssbench: name -> file, sha256 and description."""
    manifest = json.loads((files(PACKAGE) / "manifest.json").read_text("utf-8"))
    weights: dict[str, dict[str, Any]] = manifest["weights"]
    return weights


def weight_aliases() -> dict[str, dict[str, str]]:
    """Names for what ships with vssbench: alias -> part of a method -> packaged weights.

    'camvid-bisenet18-w24-ar-0.5' -> {"hr": "camvid480/hr", "lr": "camvid480/ar-0.5"}
    """
    manifest = json.loads((files(PACKAGE) / "manifest.json").read_text("utf-8"))
    aliases: dict[str, dict[str, str]] = manifest.get("aliases", {})
    return aliases


def locate_weights(reference: str | Path) -> Path:
    """The file behind a packaged name ('quickstart/hr'), an alias ('camvid-bisenet18-w24') or a path ending in .safetensors.

    Raises CheckpointError if the file is absent, its name unknown, or a packaged file does not match its checksum.
    """
    text = str(reference)
    if text.endswith(".safetensors"):
        if not Path(text).is_file():
            raise CheckpointError(f"{spelled_out(text)}: no such weight file; train it or correct the path")
        return Path(text)
    known, aliases = packaged_weights(), weight_aliases()
    if text in aliases:
        if len(aliases[text]) > 1:
            raise CheckpointError(
                f"{text}: stands for the weights of several parts ({', '.join(aliases[text])}); give it to the method as a "
                f"whole (`weights: {text}`) or name one of {', '.join(aliases[text].values())}"
            )
        text = next(iter(aliases[text].values()))
    if text not in known:
        raise CheckpointError(
            f"no packaged weights named {text!r}; {nearest(text, [*known, *aliases])}. "
            "A file of your own must end in .safetensors (`vssbench weights convert` makes one from a .pth)"
        )
    path = Path(str(files(PACKAGE) / known[text]["file"]))
    if not path.is_file():
        raise CheckpointError(f"{path}: listed as packaged weights {text!r} but absent; reinstall vssbench")
    wanted = known[text].get("sha256")
    if wanted and digest_file(path) != wanted:
        raise CheckpointError(f"{path}: does not match the checksum in manifest.json; reinstall vssbench")
    return path


def read_weights(reference: str | Path) -> tuple[dict[str, Tensor], WeightsMetadata | None]:
    """Tensors (floats as float32) and metadata of a weight file; no metadata if another tool wrote it.

    Raises CheckpointError if the file is absent or damaged.
    """
    with _opened(reference) as (stored, metadata):
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  not a mapping
    return {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}, metadata


def read_metadata(reference: str | Path) -> WeightsMetadata | None:
    """What a weight file says about itself, without reading its tensors; None if another tool wrote it.

    Raises CheckpointError if the file is absent or damaged.
    """
    with _opened(reference) as (_, metadata):
        return metadata


@contextmanager
def _opened(reference: str | Path) -> Iterator[tuple[Any, WeightsMetadata | None]]:
    path = locate_weights(reference)
    try:
        with safe_open(str(path), framework="pt") as stored:
            header = stored.metadata() or {}
            yield stored, WeightsMetadata.parse(header[_HEADER_KEY]) if _HEADER_KEY in header else None
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: is not a readable safetensors file ({error})") from error


def require_classes(metadata: WeightsMetadata | None, class_names: Sequence[str], reference: str) -> None:
    """Raise CheckpointError if the weights answer as many classes as `class_names` holds, but others.

    Their order decides what a label means, so such weights would load and be wrong without a sign. Capitals, spaces and
    hyphens do not count; files that name no classes pass.
    """
    if metadata is None or len(metadata.class_names) != len(class_names):
        return
    for index, (theirs, ours) in enumerate(zip(metadata.class_names, class_names, strict=True)):
        if _bare(theirs) != _bare(ours):
            raise CheckpointError(
                f"{reference}: trained for other classes: class {index} is {theirs!r} there and {ours!r} in the dataset; "
                "train weights for this class table, or bring its names and their order into line"
            )


def _bare(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def load_weights(module: nn.Module, reference: str | Path) -> WeightsMetadata | None:
    """Load a weight file into `module` in float32 and return what the file says about itself.

    reference: packaged name or path of a .safetensors file. Heads that only training uses may be absent and then keep
    their value. Nothing changes unless everything fits. Raises CheckpointError naming both sides if network, width,
    classes or any parameter differ.
    """
    tensors, metadata = read_weights(reference)
    if metadata is not None:
        _check_metadata(reference, find_network(module), metadata)
    own = module.state_dict()
    optional = tuple(training_only_prefixes(module))
    missing = [n for n in own if n not in tensors and not (optional and n.startswith(optional))]
    unexpected = [n for n in tensors if n not in own]
    shapes = [
        f"{n} {tuple(tensors[n].shape)} instead of {tuple(own[n].shape)}"
        for n in own
        if n in tensors and tensors[n].shape != own[n].shape
    ]
    problems = [
        f"{kind}: {', '.join(names[:8])}{f' and {len(names) - 8} more' if len(names) > 8 else ''}"
        for kind, names in (("missing", missing), ("unexpected", unexpected), ("mis-shaped", shapes))
        if names
    ]
    if problems:
        raise CheckpointError(f"{reference}: does not fit {type(module).__name__}; " + "; ".join(problems))
    if not any(value.is_meta for value in own.values()):  # a module without storage is only checked
        module.load_state_dict({**own, **tensors})
    return metadata


def _check_metadata(reference: str | Path, network: DescribedNetwork, metadata: WeightsMetadata) -> None:
    for word, stored, wanted in (
        ("network", metadata.network, network.name),
        ("width", metadata.width, network.width),
        ("classes", metadata.classes, network.classes),
    ):
        if stored != wanted:
            raise CheckpointError(
                f"{reference}: holds weights for {word} {stored}, but this method was built with {word} {wanted} "
                f"(file: {metadata.network}, width {metadata.width}, {metadata.classes} classes; method: {network.name}, "
                f"width {network.width}, {network.classes} classes). Use matching weights or change the option"
            )
