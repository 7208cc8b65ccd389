"""Every method of a run by stopwatch: GOPs in turns, and where a frame's time goes from compressed bytes to labels.

RUN/latency/DATASET/METHOD.json, keys in docs/latency.md. The frames are those of the plan's first clip; methods take
turns GOP by GOP, so that drift of the machine meets all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch

from vssbench.analysis.runtime import runtime_rows, runtime_text, write_runtime_csv
from vssbench.codec import decode
from vssbench.codec.source import require_file
from vssbench.cost.energy import measure_energy
from vssbench.cost.latency import LatencyResult, Stopwatch, compare_latency, describe_device, stopwatch
from vssbench.engine.build import build_method
from vssbench.engine.evaluate import run_method
from vssbench.engine.feed import ClipFeed, DecodedClip
from vssbench.engine.reading import image_of, label_of
from vssbench.errors import CapabilityError, in_plugin
from vssbench.experiment.clips import Clip, Encode
from vssbench.experiment.schema import InferenceOptions, MethodSpec
from vssbench.method import FlowRule, Frame, Method, Needs
from vssbench.metrics.confusion import count_pairs
from vssbench.ops import accounting
from vssbench.records import DecodedFrame
from vssbench.results.basis import Basis
from vssbench.results.latency_records import LatencyRecord, latency_path
from vssbench.results.store import RunFolder
from vssbench.runner.observers.macs import is_stored
from vssbench.runner.plan import Job
from vssbench.runner.reader import ClipReader
from vssbench.runner.workshop import Workshop

WATERFALL_PASSES = 3
"""GOPs behind each median of the waterfall."""
PLAIN = InferenceOptions(fold_normalisation=False)

Result = TypeVar("Result")


def measure_run_latency(
    shop: Workshop, folder: RunFolder, jobs: Sequence[Job], basis: Basis, on_stage: Callable[[str], None]
) -> None:
    """Time all methods of each dataset that has no complete latency records, then write and announce the table.

    Raises InputError, CodecError or whatever the methods raise.
    """
    first = {(job.dataset, job.codec): job for job in reversed(jobs)}
    for (dataset, codec), job in reversed(first.items()):
        titles = list(job.methods)
        belongs = basis.of_dataset(dataset)
        kept = [
            is_stored(folder, latency_path(dataset, title), LatencyRecord, belongs, on_stage)
            for title in titles
        ]
        if all(kept):
            continue
        on_stage(f"timing {len(titles)} methods on {dataset}, {codec}")
        subject = _subject(shop, job)
        for record in _time_methods(shop, job, subject):
            folder.write_record(latency_path(dataset, record.method), record, belongs[-1])
    rows = runtime_rows(folder, basis)
    write_runtime_csv(folder.path / "latency" / "runtime.csv", rows)
    on_stage(runtime_text(rows))


@dataclass(frozen=True, eq=False)
class _Subject:
    """The clip on which everything is timed."""

    decode: Callable[[bool], Iterator[DecodedFrame]]
    """The clip's pictures, with motion or without."""
    clip: DecodedClip
    motion: bool


def _subject(shop: Workshop, job: Job) -> _Subject:
    """The first whole GOP that the plan encodes, decoded with motion where a method wants it."""
    interval = shop.experiment.protocol.keyframe_interval
    sequence = shop.sequence(job.dataset, job.sequence)
    if shop.codec(job.dataset, job.codec).codec == "source":
        return _subject_as_it_is(shop, job)
    plan = max((e for e in job.encodes), key=lambda e: min(e.length, interval))
    first, length = plan.first, min(plan.length, interval)
    settings = shop.experiment.codec_settings(shop.codec(job.dataset, job.codec))
    bitstream = shop.cache.fetch(
        f"{sequence.identity}[{first}:{first + length}]",
        lambda: (image_of(sequence, index, job.dataset) for index in range(first, first + length)),
        settings,
        sequence.frame_rate_hz,
    )
    methods = shop.methods(job.dataset, job.codec, sequence.size).values()
    motion = any(method.needs.motion for method in methods)
    scored = tuple(range(length))
    clip = DecodedClip(
        replace(_clip_of(plan), first=first, length=length, scored=scored),
        list(decode(bitstream, motion=motion)),
        interval,
    )
    return _Subject(lambda motion: decode(bitstream, motion=motion), clip, motion)


def _subject_as_it_is(shop: Workshop, job: Job) -> _Subject:
    """The first group of pictures of a file that is run, every picture of it answered."""
    encode = job.encodes[0]
    sequence = shop.sequence(job.dataset, job.sequence)
    methods = shop.methods(job.dataset, job.codec, sequence.size).values()
    motion = any(method.needs.motion for method in methods)
    plan = next(clip for clip in encode.clips if clip.scored)
    whole = replace(encode, clips=tuple(replace(c, scored=(0,) if c is plan else ()) for c in encode.clips))
    settings = shop.experiment.codec_settings(shop.codec(job.dataset, job.codec))
    reader = ClipReader(
        job.dataset, sequence, settings, shop.cache, Needs(), motion=motion, ahead=False, alone=False
    )
    clip = next(clip for clip in reader.clips(whole) if clip.plan.first == plan.first)
    clip.plan = replace(plan, scored=tuple(range(plan.length)))

    def pictures(motion: bool) -> Iterator[DecodedFrame]:
        file = require_file(f"sequence {sequence.name}", sequence.coded_file)
        decoded = decode(file, motion=motion)
        return islice(decoded, plan.first, plan.first + plan.length)

    return _Subject(pictures, clip, motion)


def _clip_of(plan: Encode) -> Clip:
    return plan.clips[0]


def _time_methods(shop: Workshop, job: Job, subject: _Subject) -> Iterator[LatencyRecord]:
    measure = shop.experiment.measure
    size = subject.clip.frames[0].image.shape[:2]
    methods = {
        title: method
        for title, method in shop.methods(job.dataset, job.codec, (size[0], size[1])).items()
        if not method.needs.history and not method.needs.lookahead
    }
    specs = {spec.title: spec for spec in shop.specs(job.dataset, job.codec)}
    feed = ClipFeed(subject.clip, shop.device)
    passes = {title: _GopPass(method, feed, shop.device) for title, method in methods.items()}
    comparison = compare_latency(
        passes,
        shop.device,
        warmup=1,
        repeats=measure.latency_rounds,
        min_seconds=measure.latency_seconds,
    )
    decoding = _decode_times(subject)
    base = next(iter(methods))
    for title, gop in passes.items():
        record = {
            "dataset": job.dataset,
            "codec": job.codec,
            "method": title,
            "size": [int(size[0]), int(size[1])],
            "keyframe_interval": len(subject.clip.frames),
            "device": describe_device(shop.device),
            "torch": str(torch.__version__),
            "inference": specs[title].inference.model_dump(mode="json"),
            "frame_kinds": gop.kinds(comparison.results[title].n),
            "gop_mean": _per_frame(comparison.results[title], len(subject.clip.frames)),
            "host": comparison.results[title].host,
            "worst_frame_ms": gop.worst_ms(comparison.results[title].n),
            "times_faster_than": {
                "method": base,
                "quartiles": sorted(1 / ratio for ratio in comparison.ratio(title)),
            },
            "throughput": _throughput(methods[title], feed, shop.device, specs[title].inference.batch),
            "waterfall": _waterfall(methods[title], subject, shop.device, decoding),
            "energy_j_per_frame": _energy(gop, shop.device, len(subject.clip.frames)),
            "effects": _effects(shop, job, specs[title], subject),
        }
        yield LatencyRecord.model_validate(record)


class _GopPass:
    """Steps a method through one GOP whose frames are on the device already, timing every step."""

    def __init__(self, method: Method, feed: ClipFeed, device: torch.device) -> None:
        self.method = method
        self.frames = [feed.frame(p, method.needs) for p in range(len(feed.clip.frames))]
        self.watch = stopwatch(device)
        self.steps: list[list[tuple[str, float]]] = []

    def __call__(self) -> None:
        """One GOP from a fresh state."""
        memory = self.method.create_memory()
        steps: list[tuple[str, float]] = []
        watching = torch.inference_mode() if self.method.needs.memory == "none" else torch.no_grad()
        with in_plugin(self.method, f"{self.method.label}, while it was timed"), watching:
            state = self.method.begin(1, memory)
            for frame in self.frames:
                answered, wall = _timed(self.watch, partial(self.method.step, state, frame))
                steps.append((answered[-1].kind if answered else "non_key", wall))
        self.steps.append(steps)

    def kinds(self, rounds: int) -> dict[str, Any]:
        """Per kind of frame the times of the last `rounds` GOPs; before them came first call and warm-up."""
        series: dict[str, list[float]] = {}
        for steps in self.steps[-rounds:]:
            for kind, wall in steps:
                series.setdefault(kind, []).append(wall)
        first = dict(reversed(self.steps[0]))
        return {
            kind: LatencyResult("", first.get(kind, walls[0]), tuple(walls)).as_dict()
            for kind, walls in series.items()
        }

    def worst_ms(self, rounds: int) -> float:
        """Median over the GOPs of each one's slowest frame."""
        return float(np.median([max(wall for _, wall in steps) for steps in self.steps[-rounds:]]))


def _timed(watch: Stopwatch, run: Callable[[], Result]) -> tuple[Result, float]:
    """What a call returns and its wall time in milliseconds."""
    held: list[Result] = []
    wall, _ = watch(lambda: held.append(run()))
    return held[0], wall


def _per_frame(result: LatencyResult, frames: int) -> dict[str, Any]:
    scaled = replace(
        result,
        first_call_ms=result.first_call_ms / frames,
        samples_ms=tuple(ms / frames for ms in result.samples_ms),
        device_samples_ms=tuple(ms / frames for ms in result.device_samples_ms),
    )
    return scaled.as_dict()


def _throughput(method: Method, feed: ClipFeed, device: torch.device, batch: int) -> dict[str, Any]:
    """Frames per second with `batch` equal clips in lockstep; the better of two GOPs after one to warm up."""
    needs = method.needs
    frames = [_repeated(feed.frame(p, needs), batch) for p in range(len(feed.clip.frames))]
    watch = stopwatch(device)

    def gop() -> None:
        with torch.inference_mode() if needs.memory == "none" else torch.no_grad():
            state = method.begin(batch, method.create_memory())
            for frame in frames:
                method.step(state, frame)

    if batch > 1:
        gop()
    best = min(watch(gop)[0] for _ in range(2))
    return {"batch": batch, "frames_per_second": 1000 * batch * len(frames) / best}


def _repeated(frame: Frame, batch: int) -> Frame:
    parts: dict[str, Any] = {
        one.name: value.repeat(batch, *[1] * (value.ndim - 1))
        for one in fields(frame)
        if isinstance(value := getattr(frame, one.name), torch.Tensor)
    }
    return replace(frame, **parts)


def _decode_times(subject: _Subject) -> dict[bool, list[float]]:
    """Median milliseconds to decode each picture, without and with motion, the two in turns."""
    series: dict[bool, list[list[float]]] = {False: [], True: []}
    for _ in range(WATERFALL_PASSES):
        for motion in (False, True) if subject.motion else (False,):
            series[motion].append(_pull_times(subject.decode(motion)))
    return {motion: list(np.median(rows, axis=0)) for motion, rows in series.items() if rows}


def _pull_times(frames: Iterator[DecodedFrame]) -> list[float]:
    times: list[float] = []
    while True:
        started = time.perf_counter()
        if next(frames, None) is None:
            return times
        times.append(1000 * (time.perf_counter() - started))


def _waterfall(
    method: Method, subject: _Subject, device: torch.device, decoding: Mapping[bool, Sequence[float]]
) -> dict[str, dict[str, dict[str, float]]]:
    """Kind of frame -> stage -> median milliseconds, one frame after another, nothing overlapping.

    decode: pixels; motion: parsing vectors and composing flow, where the method wants any; copy: to tensors on the
    device; network: the step without its end; upsample: from scores to labels at frame size.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for _ in range(WATERFALL_PASSES):
        clip = replace(subject.clip)  # whose flow is not composed yet
        for kind, stages in _walk(method, clip, subject, device, decoding):
            for stage, ms in stages.items():
                found.setdefault(kind, {}).setdefault(stage, []).append(ms)
    return {
        kind: {stage: {"median_ms": float(np.median(values))} for stage, values in stages.items()}
        for kind, stages in found.items()
    }


def _walk(
    method: Method,
    clip: DecodedClip,
    subject: _Subject,
    device: torch.device,
    decoding: Mapping[bool, Sequence[float]],
) -> Iterator[tuple[str, dict[str, float]]]:
    needs, watch = method.needs, stopwatch(device)
    feed = ClipFeed(clip, device)
    with torch.inference_mode() if needs.memory == "none" else torch.no_grad():
        state = method.begin(1, method.create_memory())
        for position, pixels in enumerate(decoding[False]):
            composed = _composition_ms(clip, position, needs.flow_rule) if needs.flow_key else 0.0
            frame, copy = _timed(watch, partial(feed.frame, position, needs))
            with _span_times(device) as spans:
                answered, step = _timed(watch, partial(method.step, state, frame))
            upsample = min(step, spans.get("upsample", 0.0))
            stages = {"decode": pixels, "copy": copy, "network": step - upsample, "upsample": upsample}
            if needs.motion:
                parsed = max(0.0, decoding[True][position] - pixels)
                stages["motion"] = parsed + composed
            yield answered[-1].kind if answered else "non_key", stages


def stage_times(shop: Workshop, job: Job, pictures: int) -> dict[str, dict[str, dict[str, float]]]:
    """Method -> kind of frame -> stage -> median milliseconds over the first `pictures` of the first group that is run.

    The stages are those of the waterfall. Decoding is the mean of the pictures after the first, which opens the file.
    """
    whole = _subject_as_it_is(shop, job)
    subject = replace(whole, decode=lambda motion: islice(whole.decode(motion), pictures))
    count = min(pictures, len(subject.clip.frames))
    decoding = {
        motion: [float(np.mean(times[1:] or times))] * count
        for motion, times in _decode_times(subject).items()
    }
    size = subject.clip.frames[0].image.shape[:2]
    return {
        title: {
            kind: {stage: time["median_ms"] for stage, time in stages.items()}
            for kind, stages in _waterfall(method, subject, shop.device, decoding).items()
        }
        for title, method in shop.methods(job.dataset, job.codec, (size[0], size[1])).items()
    }


def _composition_ms(clip: DecodedClip, position: int, rule: FlowRule) -> float:
    """Time to compose the flow of one more picture to the keyframe."""
    started = time.perf_counter()
    clip.flow_to_key(position, rule)
    return 1000 * (time.perf_counter() - started)


@contextmanager
def _span_times(device: torch.device) -> Iterator[dict[str, float]]:
    """Milliseconds of each named part of the steps inside the block, synchronised at its ends."""
    times: dict[str, float] = {}

    def settle() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    @contextmanager
    def span(name: str) -> Iterator[None]:
        started = settle()
        yield
        times[name] = times.get(name, 0.0) + 1000 * (settle() - started)

    with accounting.watching(span):
        yield times


def _energy(gop: _GopPass, device: torch.device, frames: int) -> dict[str, float] | None:
    """Joules per frame with and without the idle power; None on a CPU and without NVML."""
    if device.type != "cuda":
        return None
    try:
        result = measure_energy(gop, device)
    except CapabilityError:
        return None
    return {
        "total": result.energy_per_call_j / frames,
        "above_idle": result.energy_above_idle_per_call_j / frames,
    }


def _effects(shop: Workshop, job: Job, spec: MethodSpec, subject: _Subject) -> list[dict[str, Any]]:
    """What each inference option that is on, by itself, changes in the labels of the GOP.

    Share of equal pixels, and the change of mIoU over the frames that have labels (None where none has).
    """
    active = {
        name: value
        for name, value in spec.inference.model_dump().items()
        if name != "batch" and value != getattr(PLAIN, name)
    }
    if not active:
        return []
    plain = _labels(shop, job, spec, PLAIN, subject)
    effects = []
    for name, value in active.items():
        tuned = _labels(shop, job, spec, PLAIN.model_copy(update={name: value}), subject)
        agreement = float(np.mean([np.mean(plain[p] == tuned[p]) for p in plain]))
        before, after = (_miou(shop, job, subject, labels) for labels in (plain, tuned))
        change = None if before is None or after is None else after - before
        effects.append({"option": name, "value": value, "equal_labels": agreement, "miou_change": change})
    return effects


def _labels(
    shop: Workshop, job: Job, spec: MethodSpec, options: InferenceOptions, subject: _Subject
) -> dict[int, Any]:
    size = subject.clip.frames[0].image.shape[:2]
    context = shop.methods(job.dataset, job.codec, (size[0], size[1]))[spec.title].context
    method = build_method(spec.model_copy(update={"inference": options}), context)
    result = run_method(method, subject.clip, ClipFeed(subject.clip, shop.device), method.create_memory())
    return {p: one.labels[0].cpu().numpy() for p, one in result.predictions.items()}


def _miou(shop: Workshop, job: Job, subject: _Subject, labels: Mapping[int, Any]) -> float | None:
    """Mean IoU in 0..1 of the GOP's labelled frames."""
    sequence, classes = shop.sequence(job.dataset, job.sequence), shop.dataset(job.dataset).classes
    known = [p for p in labels if subject.clip.plan.first + p in set(sequence.labelled)]
    if not known:
        return None
    counts = sum(
        count_pairs(
            label_of(sequence, subject.clip.plan.first + p, job.dataset),
            labels[p],
            len(classes),
            ignore_index=classes.ignore_index,
        )
        for p in known
    )
    assert isinstance(counts, np.ndarray)
    union = counts.sum(0) + counts.sum(1) - np.diagonal(counts)
    return float(np.mean(np.diagonal(counts)[union > 0] / union[union > 0]))
