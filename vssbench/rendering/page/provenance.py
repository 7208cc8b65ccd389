"""Where the numbers of a run come from, as headed lines of text for page and Markdown."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vssbench.analysis.run import Run
from vssbench.rendering.text import kbps_text
from vssbench.results.documents import EnvironmentRecord
from vssbench.results.group import Group

Lines = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Provenance:
    """All that a reader needs to judge and repeat the numbers."""

    warnings: list[str]
    """What must be known before any number is read."""
    interval_notes: Lines
    """How intervals were made, per dataset."""
    sections: list[tuple[str, Lines]]
    """(heading, (what, value) lines)."""
    experiment_text: str
    """The frozen experiment as indented JSON."""


def provenance(run: Run) -> Provenance:
    """Collect the provenance of a run from its folder."""
    intervals = [(f"intervals on {dataset}", text) for dataset, text in run.interval_methods.items()]
    sections = [
        ("Experiment", _experiment_lines(run)),
        ("Data", _data_lines(run)),
        ("Coded video as measured", list(_coded_lines(run))),
        ("Methods", _method_lines(run)),
        ("Measurement", intervals + _cost_lines(run)),
        ("Environment", list(_environment_lines(run.environment))),
    ]
    return Provenance(
        warnings=_warnings(run),
        interval_notes=intervals,
        sections=[(name, lines) for name, lines in sections if lines],
        experiment_text=json.dumps(run.experiment, indent=2, sort_keys=True, ensure_ascii=False),
    )


def _warnings(run: Run) -> list[str]:
    lines = list(run.warnings)
    for name, dataset in run.datasets.items():
        if dataset.protocol_mark not in ("", "standard"):
            lines.append(
                f"{name}: labels by the convention {dataset.protocol_mark!r}; the usual numbers of this dataset are not comparable"
            )
    return lines + _different_bits(run)


def _different_bits(run: Run) -> list[str]:
    """Methods that did not see the same decoded pixels as the first of their dataset and codec."""
    lines = []
    first: dict[tuple[str, str], Group] = {}
    for group in run.groups:
        anchor = first.setdefault((group.dataset, group.codec), group)
        same_units = len(group.decoded_digests) == len(anchor.decoded_digests)
        if same_units and sorted(group.decoded_digests) != sorted(anchor.decoded_digests):
            lines.append(
                f"{group.dataset}, {group.codec}: {group.method} was measured on other decoded pixels than {anchor.method}"
            )
    return lines


def digest_of(value: Any) -> str:
    """SHA-256 of a JSON value in canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _experiment_lines(run: Run) -> Lines:
    experiment = run.experiment
    protocol = experiment.get("protocol", {})
    lines = [
        ("title", str(experiment.get("title") or run.path.name)),
        ("notes", str(experiment.get("notes", ""))),
        ("seed", str(experiment.get("seed", 0))),
        ("protocol", ", ".join(f"{key} {_plain(value)}" for key, value in protocol.items())),
        ("units", f"{run.unit_count} of {run.plan.units}"),
        ("experiment digest", f"sha256 {digest_of(experiment)}"),
    ]
    return [(key, value) for key, value in lines if value]


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key}={_plain(item)}" for key, item in sorted(value.items()))
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _data_lines(run: Run) -> Lines:
    lines = []
    for name, dataset in run.datasets.items():
        sequences = list(dataset.sequences.values())
        sizes = sorted({f"{s.size[1]}x{s.size[0]}" for s in sequences})
        rates = sorted({f"{s.frame_rate_hz:g} Hz" for s in sequences})
        frames = sum(s.frames for s in sequences)
        truth = (
            f"truth: the {run.roster.truth_name}"
            if run.roster.truth
            else f"{sum(s.labelled for s in sequences)} labelled"
        )
        text = (
            f"{len(sequences)} sequence(s), {frames} frames, {truth}, {', '.join(sizes)}, {', '.join(rates)}"
        )
        lines.append((name, f"{text}, {len(dataset.class_names)} classes"))
    return lines


def _coded_lines(run: Run) -> Iterator[tuple[str, str]]:
    settings = {_title(codec): codec for codec in run.experiment.get("codecs", [])}
    seen = set()
    for group in run.groups:
        if (group.dataset, group.codec) in seen:
            continue
        seen.add((group.dataset, group.codec))
        types = ", ".join(f"{count} {kind}" for kind, count in group.frame_types.items())
        low, high = group.clip_frames
        clip = f"{low}" if low == high else f"{low} to {high}"
        quality = group.quality
        told = f", PSNR {quality.psnr_db:.2f} dB, SSIM {quality.ssim:.4f}" if quality else ""
        text = f"{kbps_text(group.kbps)} achieved{told}; scored frames decoded as {types}; {clip} frames per group of pictures"
        digest = hashlib.sha256("\n".join(group.decoded_digests).encode()).hexdigest()
        yield f"{group.dataset}, {group.codec}", f"{text}; decoded pixels and motion sha256 {digest[:16]}"
    for name, dataset in run.datasets.items():
        for sequence, record in dataset.sequences.items():
            if record.coded is not None:
                yield f"{name}, {sequence}", record.coded.text
    for title, codec in settings.items():
        chosen = {k: v for k, v in codec.items() if v not in (None, "", {}, []) and k != "label"}
        yield f"settings of {title}", ", ".join(f"{k} {_plain(v)}" for k, v in chosen.items())


def _title(entry: dict[str, Any]) -> str:
    return str(entry.get("label") or entry.get("name") or entry.get("codec", ""))


def _method_lines(run: Run) -> Lines:
    lines = []
    for method in run.experiment.get("methods", []):
        chosen = {k: v for k, v in method.items() if v not in (None, "", {}, []) and k != "label"}
        lines.append((_title(method), ", ".join(f"{k} {_plain(v)}" for k, v in chosen.items())))
    return lines


def _cost_lines(run: Run) -> Lines:
    rules = sorted({cost.rule for cost in run.all_costs})
    lines = [("MACs rule", f"{', '.join(rules)}; one multiply-accumulate counts once")] if rules else []
    if any(group.step_ms for group in run.groups):
        where = run.environment.bits.get("device", "unknown device")
        lines.append(
            (
                "times",
                f"wall time inside the method, while the run was made, on {where}; not a controlled latency measurement",
            )
        )
    return lines


def _environment_lines(environment: EnvironmentRecord) -> Iterator[tuple[str, str]]:
    yield from _flat({**environment.bits, **environment.machine}, "")
    for number, changed in enumerate(environment.forced, 1):
        yield f"forced resume {number}", "; ".join(map(str, changed))


def _flat(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key} ")
        else:
            yield f"{prefix}{key}", _plain(value)
