"""One job: encode or fetch, decode, run every method that still owes a unit, store the units."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vssbench.experiment.clips import Encode
from vssbench.codec import Bitstream, decode
from vssbench.codec.qp import read_qp
from vssbench.dataset import VideoSequence
from vssbench.method import Method
from vssbench.records import DecodedFrame
from vssbench.results.schema import CaseRecord, UnitKey, UnitRecord
from vssbench.results.store import RunFolder, unit_name
from vssbench.engine.ahead import run_ahead
from vssbench.engine.evaluate import (
    ClipResult,
    joint_needs,
    lockstep_groups,
    run_lockstep,
    run_method,
    score,
)
from vssbench.engine.feed import ClipFeed, DecodedClip, split_into_clips
from vssbench.runner.observers.frames import FrameKeeper, missing_units
from vssbench.runner.observers.further import Labels, Measurer
from vssbench.runner.observers.pictures import has_picture, save_picture
from vssbench.runner.plan import WorkItem
from vssbench.runner.workshop import Workshop


@dataclass(eq=False)
class _UnitBuilder:
    """Collects the cases of one unit for one method until the unit's last clip was seen."""

    cases: list[CaseRecord] = field(default_factory=list)
    counts: list[NDArray[np.int64]] = field(default_factory=list)
    steps: Counter[str] = field(default_factory=Counter)
    shares: list[float] = field(default_factory=list)
    kbps: list[float] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    timings: dict[str, float] = field(default_factory=dict)
    step_macs: dict[int, tuple[int, int]] = field(default_factory=dict)
    measured: dict[str, list[NDArray[np.int64]]] = field(default_factory=dict)

    def add(
        self, clip: DecodedClip, result: ClipResult, counts: NDArray[np.int64], bitstream: Bitstream
    ) -> None:
        for position in clip.plan.scored:
            frame = clip.frames[position]
            self.cases.append(
                CaseRecord(
                    frame=clip.plan.first + position,
                    distance=position,
                    frame_type=frame.frame_type,
                    clip_first=clip.plan.first,
                    clip_frames=clip.plan.length,
                    coded_bytes=frame.coded_bytes,
                    kind=result.predictions[position].kind,
                )
            )
        self.counts.append(counts)
        self.steps.update(result.steps)
        self.shares += result.executed_shares
        self.kbps.append(bitstream.achieved_kbps)
        for place, seconds in result.seconds.items():
            for name, value in ((f"step_{place}", seconds), (f"steps_{place}", result.timed[place])):
                self.timings[name] = self.timings.get(name, 0) + value
        for distance, (steps, macs) in result.step_macs.items():
            before = self.step_macs.get(distance, (0, 0))
            self.step_macs[distance] = (before[0] + steps, before[1] + macs)

    def finish(self, key: UnitKey) -> UnitRecord:
        digest = self.digests[0] if len(self.digests) == 1 else "+".join(d[:16] for d in self.digests)
        return UnitRecord(
            key=key,
            cases=tuple(self.cases),
            counts=np.concatenate(self.counts),
            steps=dict(self.steps),
            executed_share=float(np.mean(self.shares)),
            achieved_kbps=float(np.mean(self.kbps)),
            decoded_digest=digest,
            timings=self.timings,
            step_macs=tuple((d, *self.step_macs[d]) for d in sorted(self.step_macs)) or None,
            measured={name: np.concatenate(parts) for name, parts in self.measured.items()},
        )


class _Stopwatch:
    """Adds up the time spent pulling frames out of an iterator."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.frames = 0

    def watch(self, frames: Iterator[DecodedFrame]) -> Iterator[DecodedFrame]:
        while True:
            started = time.perf_counter()
            frame = next(frames, None)
            self.seconds += time.perf_counter() - started
            if frame is None:
                return
            self.frames += 1
            yield frame


@dataclass(frozen=True)
class JobReport:
    """What a finished job did: for the progress line and the stage timings of the run."""

    units: int
    encode_seconds: float
    encoded_frames: int
    """Frames really encoded; 0 where the bitstreams came from the cache."""
    decode_seconds: float
    decoded_frames: int


@dataclass(frozen=True, slots=True)
class OwedItem:
    """A work item and what of it is still missing; found once, by the session that holds the run folder."""

    item: WorkItem
    units: frozenset[UnitKey]
    picture: bool
    """True if the item's picture or frames for the viewer are missing."""


def owed_item(folder: RunFolder, item: WorkItem, intact: Collection[str]) -> OwedItem:
    """What an item owes, given the names of the intact unit files (see `RunFolder.intact_units`)."""
    units = frozenset(key for key in item.unit_keys() if unit_name(key) not in intact)
    unseen = item.picture is not None and not has_picture(folder, item)
    return OwedItem(item, units, unseen or bool(missing_units(folder, item)))


def run_job(shop: Workshop, folder: RunFolder, owing: OwedItem, on_unit: Callable[[], None]) -> JobReport:
    """Make what one work item owes; `on_unit` is called after each stored unit.

    Units that are on disk by now (an earlier attempt got that far) are left alone.
    """
    item = owing.item
    owed = {key for key in owing.units if not folder.has_unit(key)}
    picture_missing = owing.picture and item.picture is not None and not has_picture(folder, item)
    if not owed and not picture_missing and not missing_units(folder, item):
        return JobReport(0, 0.0, 0, 0.0, 0)
    sequence = shop.sequence(item.dataset, item.sequence)
    methods = shop.methods(item.dataset, item.codec, sequence.size)
    run = _JobRun(shop, folder, item, owed, sequence, methods, on_unit, picture_missing)
    for encode in item.job.encodes:
        run.process(encode)
    return run.report()


class _JobRun:
    """State of one running job."""

    def __init__(
        self,
        shop: Workshop,
        folder: RunFolder,
        item: WorkItem,
        owed: set[UnitKey],
        sequence: VideoSequence,
        methods: dict[str, Method],
        on_unit: Callable[[], None],
        picture_missing: bool,
    ) -> None:
        self.shop, self.folder, self.item, self.owed = shop, folder, item, owed
        self.sequence, self.methods, self.on_unit = sequence, methods, on_unit
        self.picture_missing = picture_missing
        self.viewer_missing = missing_units(folder, item)
        self.keepers: dict[str, FrameKeeper] = {}
        self.qps: list[float | None] = []
        self.dataset = shop.dataset(item.dataset)
        self.settings = shop.experiment.codec_settings(shop.codec(item.dataset, item.codec))
        self.needs = joint_needs(list(methods.values()))
        self.measurer = Measurer(
            shop.experiment,
            shop.specs(item.dataset, item.codec),
            sequence,
            self.dataset.classes,
            shop.device,
        )
        self.motion = self._wants_motion()
        self.batches = {
            spec.title: spec.inference.batch
            for spec in shop.specs(item.dataset, item.codec)
            if spec.title in methods
        }
        self.together: dict[tuple[str, int], ClipResult] = {}
        self.builders: dict[UnitKey, _UnitBuilder] = {}
        with_memory = [title for title, method in methods.items() if method.needs.memory == "sequence"]
        self.memories: dict[str, Any] = {title: methods[title].create_memory() for title in with_memory}
        # a memory over the sequence is the product of every clip before, so those are gone through again
        all_again = picture_missing or bool(self.viewer_missing)
        self.replayed = {t for t in with_memory if all_again or any(key.method == t for key in owed)}
        self.followed = {key.method for key in owed} if self.measurer.follows else set()
        self.remaining = Counter(clip.unit for encode in item.job.encodes for clip in encode.clips)
        self.stopwatch = _Stopwatch()
        self.encode_seconds = 0.0
        self.encoded_frames = 0
        self.stored = 0

    def _wants_motion(self) -> bool:
        needs = self.needs
        of_methods = needs.flow_key or needs.flow_previous or needs.residual or needs.block_types
        return of_methods or self.measurer.needs_motion

    def process(self, encode: Encode) -> None:
        if not any(self._todo(clip.unit) for clip in encode.clips):
            for clip in encode.clips:
                self.remaining[clip.unit] -= 1
            return
        bitstream = self._fetch(encode)
        if any(clip.unit in self.viewer_missing for clip in encode.clips):
            self.qps = read_qp(bitstream)
        decoded = self.stopwatch.watch(self._decode(bitstream))
        clips = split_into_clips(
            decoded,
            encode,
            self.settings.keyframe_interval,
            history=self.needs.history,
            lookahead=self.needs.lookahead,
        )
        for group in lockstep_groups(clips, max(self.batches.values(), default=1)):
            for decoded_clip in group:
                if self.shop.experiment.protocol.kind == "clip":
                    self._add_neighbours(decoded_clip)
            self._run_together(group)
            for decoded_clip in group:
                self._evaluate(decoded_clip, bitstream)
            self.together.clear()

    def _decode(self, bitstream: Bitstream) -> Iterator[DecodedFrame]:
        frames = decode(bitstream, motion=self.motion)
        if self.shop.device.type != "cuda":
            return frames
        return run_ahead(frames, 2 * self.settings.keyframe_interval)  # while the GPU is busy

    def _run_together(self, group: list[DecodedClip]) -> None:
        """Results of the methods that take several clips at once, for `_run` to find."""
        scored = [clip for clip in group if clip.plan.scored]
        for title, batch in self.batches.items():
            if batch == 1 or len(scored) < 2 or not any(title in self._todo(c.plan.unit) for c in scored):
                continue
            for first in range(0, len(scored), batch):
                clips = scored[first : first + batch]
                feeds = [ClipFeed(clip, self.shop.device) for clip in clips]
                for clip, result in zip(clips, run_lockstep(self.methods[title], clips, feeds), strict=True):
                    self.together[title, clip.plan.first] = result

    def _run(self, title: str, clip: DecodedClip, feed: ClipFeed) -> ClipResult:
        known = self.together.get((title, clip.plan.first))
        return known or run_method(self.methods[title], clip, feed, self.memories.get(title))

    def _add_neighbours(self, clip: DecodedClip) -> None:
        """Decode the GOPs before and after a clip that was encoded on its own, as bitstreams of their own.

        The clip's bits stay those that every other method sees.
        """
        interval, plan = self.settings.keyframe_interval, clip.plan
        if self.needs.history:
            first = max(0, plan.first - interval * math.ceil(self.needs.history / interval))
            clip.history = self._decode_around(first, plan.first)[-self.needs.history :]
        if self.needs.lookahead:
            after = plan.first + plan.length
            last = after + interval * math.ceil(self.needs.lookahead / interval)
            clip.lookahead = self._decode_around(after, min(last, len(self.sequence)))[: self.needs.lookahead]

    def _decode_around(self, first: int, stop: int) -> list[DecodedFrame]:
        if stop <= first:
            return []
        bitstream = self._fetch(Encode(first, stop - first, ()))
        return list(self.stopwatch.watch(decode(bitstream, motion=self.motion)))

    def _todo(self, unit: str) -> list[str]:
        """Methods to run on a clip of this unit; all of them where pictures are still to be made."""
        if unit in self.viewer_missing:
            return list(self.methods)
        if self.picture_missing and self.item.picture is not None and self.item.picture[0] == unit:
            return list(self.methods)
        again = self.replayed | self.followed
        return self.measurer.with_references(
            [title for title in self.methods if title in again or self._key(title, unit) in self.owed]
        )

    def _key(self, method: str, unit: str) -> UnitKey:
        return UnitKey(self.item.dataset, self.item.codec, method, self.item.sequence, unit)

    def _fetch(self, encode: Encode) -> Bitstream:
        started = time.perf_counter()
        span = range(encode.first, encode.first + encode.length)
        encoded = 0

        def frames() -> Iterator[NDArray[np.uint8]]:
            nonlocal encoded
            for index in span:
                encoded += 1
                yield self.sequence.image(index)

        bitstream = self.shop.cache.fetch(
            f"{self.sequence.identity}[{span.start}:{span.stop}]",
            frames,
            self.settings,
            self.sequence.frame_rate_hz,
        )
        if encoded:
            self.encode_seconds += time.perf_counter() - started
            self.encoded_frames += encoded
        return bitstream

    def _evaluate(self, clip: DecodedClip, bitstream: Bitstream) -> None:
        unit = clip.plan.unit
        todo = self._todo(unit)
        if not clip.plan.scored:  # nothing to count, but a memory over the sequence sees every frame
            feed = ClipFeed(clip, self.shop.device)
            for title in todo:
                if title in self.replayed:
                    run_method(self.methods[title], clip, feed, self.memories[title])
        elif todo:
            feed = ClipFeed(clip, self.shop.device)
            labels = {p: self.sequence.label(clip.plan.first + p) for p in clip.plan.scored}
            digest = clip.digest()
            results = {title: self._run(title, clip, feed) for title in todo}
            self._count(clip, labels, results, bitstream, digest)
            self._keep_pictures(clip, labels, results)
        self.remaining[unit] -= 1
        if self.remaining[unit] == 0:
            self._store(unit)

    def _count(
        self,
        clip: DecodedClip,
        labels: dict[int, Labels],
        results: dict[str, ClipResult],
        bitstream: Bitstream,
        digest: str,
    ) -> None:
        """Add a clip's counts and further measurements to the units that are owed."""
        classes = self.dataset.classes
        for title, result in results.items():
            over_time = self.measurer.follow(title, clip, labels, result)
            key = self._key(title, clip.plan.unit)
            if key not in self.owed:
                continue
            counts = score(result, clip, labels, len(classes), classes.ignore_index)
            builder = self.builders.setdefault(key, _UnitBuilder())
            builder.add(clip, result, counts, bitstream)
            builder.digests.append(digest)
            counted = self.measurer.count(title, self.methods[title], clip, labels, results)
            for name, values in {**over_time, **counted}.items():
                builder.measured.setdefault(name, []).append(values)

    def _keep_pictures(
        self, clip: DecodedClip, labels: dict[int, Labels], results: dict[str, ClipResult]
    ) -> None:
        """The item's picture and the viewer's frames, where the clip has them and they are missing."""
        unit, classes = clip.plan.unit, self.dataset.classes
        if self.picture_missing and self.item.picture is not None:
            wanted_unit, distance = self.item.picture
            if unit == wanted_unit and distance in clip.plan.scored:
                save_picture(self.folder, self.item, clip, distance, labels[distance], results, classes)
        if unit in self.viewer_missing:
            keeper = self.keepers.setdefault(unit, FrameKeeper(self.item, unit, classes))
            keeper.add(clip, labels, results, self.qps)

    def _store(self, unit: str) -> None:
        if unit in self.keepers:
            self.keepers.pop(unit).write(self.folder)
        for title in self.methods:
            key = self._key(title, unit)
            if key in self.builders:
                builder = self.builders.pop(key)
                if not self.shop.experiment.measure.step_time:
                    builder.timings.clear()
                self.folder.write_unit(builder.finish(key))
                self.stored += 1
                self.on_unit()

    def report(self) -> JobReport:
        return JobReport(
            self.stored,
            self.encode_seconds,
            self.encoded_frames,
            self.stopwatch.seconds,
            self.stopwatch.frames,
        )
