"""Which method to run on one's own video: candidates on a sample of its bits, timed here by stage, and a choice."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from vssbench.analysis.run import Run
from vssbench.cost.latency import describe_device
from vssbench.engine.streams import Segmentation, open_segmentation
from vssbench.errors import CapabilityError, ConfigError, InputError, nearest
from vssbench.experiment.schema import Experiment, MethodSpec, load_experiment
from vssbench.results.documents import Document
from vssbench.runner.observers.latency import stage_times
from vssbench.runner.session import prepare

CODEC = "as it is"
TIMES_FILE = "advice.json"
TIMED_PICTURES = 12
"""Of one group of pictures, for each candidate."""


class StageTimes(Document):
    """RUN/advice.json: milliseconds from compressed bytes to labels."""

    device: str
    threads: int
    stages: dict[str, dict[str, dict[str, float]]]
    """Method -> kind of frame -> stage -> median."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One method with what a frame of the sample costs and how well it was answered."""

    title: str
    score: float
    """mIoU on labels or agreement with the reference, 0..1."""
    stages: dict[str, float]
    """Milliseconds of a frame by stage: decode, motion, copy, network, upsample; mean over the sample's kinds of frames."""
    gmacs: float
    """1e9 multiply-accumulates a frame; NaN if not counted."""
    is_reference: bool = False
    on_front: bool = False
    """No other candidate is both as fast and as good."""

    @property
    def ms(self) -> float:
        """Milliseconds a frame, one stage after another."""
        return sum(self.stages.values())


def candidates_of(name: str) -> tuple[MethodSpec, ...]:
    """Methods of an experiment, or of the one that packaged weights of this name were trained for.

    Raises ConfigError for an unknown name.
    """
    manifest = json.loads((files("vssbench.baselines.weights") / "manifest.json").read_text("utf-8"))
    if name in manifest["aliases"]:
        part = next(iter(manifest["aliases"][name].values()))
        return load_experiment(manifest["weights"][part]["experiment"]).methods
    try:
        return load_experiment(name).methods
    except InputError as error:
        known = [*manifest["aliases"], *{one["experiment"] for one in manifest["weights"].values()}]
        raise ConfigError(f"{error}; candidates are a YAML file or {nearest(name, known)}") from error


def usable(
    found: Iterable[MethodSpec], video: Path, class_names: tuple[str, ...], **how: Any
) -> tuple[list[Segmentation], list[str]]:
    """Candidates that can run on the video, built and checked, and why others cannot. how: as `open_segmentation`.

    Raises what is wrong with the video, or with all candidates.
    """
    kept: list[Segmentation] = []
    left_out: list[CapabilityError] = []
    for spec in found:
        entry = {
            k: v for k, v in spec.model_dump(mode="json").items() if k not in ("datasets", "codecs", "base")
        }
        try:
            kept.append(open_segmentation(video, entry, class_names=class_names, **how))
        except CapabilityError as error:
            left_out.append(error)
    if not kept and left_out:
        raise left_out[0]
    return kept, [str(error) for error in left_out]


def advice_experiment(
    kept: Sequence[Segmentation],
    seconds: float,
    *,
    labels: Path | None = None,
    classes: Path | None = None,
    reference: str = "",
) -> Experiment:
    """The candidates on the first `seconds` of the video, scored by labels or by agreement with a reference.

    reference: title, default the first candidate that runs at full resolution on every frame. Raises ConfigError.
    """
    source, settings = kept[0].source, kept[0].settings
    file = source.file
    paths = [path.resolve() for path in (file.path, labels, classes) if path is not None]
    root = Path(os.path.commonpath([path.parent for path in paths]))
    specs = [work.spec for work in kept]
    full = [s.title for s in specs if s.name == "constant" and getattr(s.options(), "lr_scale", 1.0) == 1.0]

    def below(path: Path | None) -> str | None:
        return None if path is None else str(path.resolve().relative_to(root))

    document = {
        "title": f"What to run on {file.path.name}",
        "datasets": [
            {
                "name": "folder",
                "label": file.path.stem,
                "root": str(root),
                "frames": below(file.path),
                "labels": below(labels),
                "classes": below(classes) or list(kept[0].class_names),
                "orientation": file.orientation,
                "stream": file.stream,
                "partial": file.partial,
                "frame_rate_hz": source.frame_rate_hz or None,
            }
        ],
        "codecs": [
            {
                "label": CODEC,
                "codec": "source",
                "keyframes": settings.keyframes,
                "keyframe_interval": settings.keyframe_interval,
                "seconds": seconds,
            }
        ],
        "methods": [{**spec.model_dump(mode="json"), "datasets": [], "codecs": []} for spec in specs],
        "truth": {"method": "" if labels else reference or (full or [specs[0].title])[0]},
    }
    return load_experiment(document)


def timed_stages(experiment: Experiment, run: Run, cache: Path | None, device: str) -> StageTimes:
    """What a frame costs on this machine, from the run folder where it was measured like that before. Raises StorageError."""
    (dataset,) = run.datasets
    belongs = run.basis.of_dataset(dataset)
    shop, jobs = prepare(experiment, cache, device)
    here = {"device": describe_device(shop.device), "threads": torch.get_num_threads()}
    try:
        known = run.folder.read_record(TIMES_FILE, StageTimes, belongs)
        if known.model_dump(include=set(here)) == here:
            return known
    except InputError:
        pass  # not there yet, or of other candidates
    times = StageTimes(**here, stages=stage_times(shop, jobs[0], TIMED_PICTURES))
    run.folder.write_record(TIMES_FILE, times, belongs[-1])
    return times


def weigh(run: Run, times: StageTimes) -> list[Candidate]:
    """The candidates by time, with those marked that no other beats in both time and score."""
    found = []
    for group in run.groups:
        cost = run.cost(group.dataset, group.method, group.codec)
        candidate = Candidate(
            group.method,
            group.miou,
            _mean_stages(times.stages[group.method], group.steps),
            cost.gop_mean_gmacs if cost else math.nan,
            group.method == run.roster.truth,
        )
        found.append(candidate)
    found.sort(key=lambda one: one.ms)
    return [
        Candidate(c.title, c.score, c.stages, c.gmacs, c.is_reference, not any(_beats(o, c) for o in found))
        for c in found
    ]


def _beats(one: Candidate, other: Candidate) -> bool:
    no_worse = one.ms <= other.ms and one.score >= other.score
    return no_worse and (one.ms < other.ms or one.score > other.score)


def _mean_stages(kinds: Mapping[str, Mapping[str, float]], steps: Mapping[str, int]) -> dict[str, float]:
    """Mean over the frames of the sample; a kind that none of the timed pictures was takes the dearest of the others."""
    dearest = max(kinds.values(), key=lambda stages: sum(stages.values()))
    total = sum(steps.values())
    sums: dict[str, float] = {}
    for kind, count in steps.items():
        for stage, ms in kinds.get(kind, dearest).items():
            sums[stage] = sums.get(stage, 0.0) + ms * count / total
    return sums


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user can spend, or wants at least."""

    budget_ms: float = math.inf
    least: float = 0.0
    """Score, 0..1."""

    def choose(self, found: Sequence[Candidate]) -> Candidate | None:
        """The best candidate within the budget, of one that asks for a score alone the fastest; None where none is."""
        fitting = [one for one in found if one.ms <= self.budget_ms and one.score >= self.least]
        if math.isinf(self.budget_ms):
            return min(fitting, key=lambda one: one.ms, default=None)
        return max(fitting, key=lambda one: (one.score, -one.ms), default=None)
