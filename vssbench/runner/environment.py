"""What a run depends on besides its experiment, and whether a resumed run still has the same."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from vssbench import __version__
from vssbench.codec import encoder_build
from vssbench.errors import CheckpointError, ConfigError
from vssbench.experiment.schema import DatasetSpec, Experiment
from vssbench.networks.weights import locate_weights
from vssbench.results.documents import EnvironmentRecord
from vssbench.runner.sources import code_digests, combined

PACKAGES = ("vssbench", "torch", "av", "numpy", "pillow", "scipy")


def describe(experiment: Experiment, device: torch.device, threads: int) -> dict[str, Any]:
    """Environment record. Everything under 'bits' decides pixels and predictions and must not change within a run.

    'code' names the modules behind `bits.code`, so that a change can be told by name.
    """
    code = code_digests(experiment)
    return {
        "code": code,
        "bits": {
            "vssbench": __version__,
            "code": combined(code),
            "python": ".".join(platform.python_version_tuple()[:2]),
            "packages": {name: _version(name) for name in PACKAGES},
            "encoders": {
                codec: encoder_build(codec)
                for codec in sorted({c.codec for c in experiment.codecs} - {"source"})
            },
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            "architecture": platform.machine(),
            "weights": _weight_digests(experiment),
        },
        "machine": {
            "system": f"{platform.system()} {platform.release()}",
            "python": platform.python_version(),
            "processor": _processor(),
            "threads_per_worker": threads,
        },
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    first = dict(part for line in reversed(lines) if len(part := re.split(r"\s*:\s*", line, maxsplit=1)) == 2)
    name = first.get("model name") or platform.processor()
    # virtual machines hide the model behind names like "AMD EPYC Processor"
    kinds = [f"{kind} {first[kind]}" for kind in ("cpu family", "model", "stepping") if kind in first]
    return f"{name} ({', '.join(kinds)})" if kinds else name


def _weight_digests(experiment: Experiment) -> dict[str, str]:
    digests = {}
    for method in experiment.methods:
        for part, reference in method.options().weights.items():
            where = "/".join((*method.datasets, method.title, part))
            try:
                digests[where] = hashlib.sha256(locate_weights(reference).read_bytes()).hexdigest()
            except CheckpointError as error:
                raise CheckpointError(f"method {method.title}, part {part}: {error}") from error
    return dict(sorted(digests.items()))


def truth_digest(experiment: Experiment, dataset: DatasetSpec) -> str:
    """Digest of what decides the answers that are the truth on a dataset: method, options, weights, code; '' for labels."""
    title = experiment.truth.method
    runs = [m for codec in experiment.codecs_of(dataset) for m in experiment.methods_on(dataset, codec)]
    spec = next((method for method in runs if method.title == title), None)
    if spec is None:
        return ""
    alone = experiment.model_copy(update={"methods": (spec,)})
    options = spec.options().model_dump(mode="json", exclude={"weights"})
    decisive = [
        spec.name,
        options,
        spec.inference.model_dump(mode="json"),
        sorted(_weight_digests(alone).values()),
    ]
    text = json.dumps([*decisive, combined(code_digests(alone))], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def differences(before: dict[str, Any], now: dict[str, Any], prefix: str = "") -> list[str]:
    """Keys whose values differ, as 'key: before -> now'."""
    lines = []
    for key in sorted(set(before) | set(now)):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            lines += differences(old, new, f"{prefix}{key}.")
        elif old != new:
            lines.append(f"{prefix}{key}: {_short(old)} -> {_short(new)}")
    return lines


def _short(value: Any) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= 60 else text[:24] + "..." + text[-12:]


def drift(before: EnvironmentRecord, now: EnvironmentRecord) -> list[str]:
    """What differs in the bits of two environment records, with the modules behind a change of code."""
    changed = differences(before.bits, now.bits)
    if any(line.startswith("code:") for line in changed):
        modules = [line.split(":")[0] for line in differences(before.code, now.code)]
        more = f" and {len(modules) - 5} more" if len(modules) > 5 else ""
        changed = [
            f"{line} (in {', '.join(modules[:5])}{more})" if line.startswith("code:") else line
            for line in changed
        ]
    return changed


def refuse_drift(changed: list[str], path: Path) -> None:
    """Raise ConfigError if a run was begun under conditions that give other bits than today's."""
    if changed:
        raise ConfigError(
            f"{path}: this run was begun in another environment, and the rest would not be comparable: "
            + "; ".join(changed)
            + ". Start a new run with -o, restore the environment, or resume with --force (reports will say so)"
        )
