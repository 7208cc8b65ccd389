"""One job: its clips are read, run through every method that somebody still wants to see, and shown to the observers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vssbench.engine.evaluate import ClipResult, joint_needs, lockstep_groups, run_lockstep, run_method
from vssbench.engine.feed import ClipFeed, DecodedClip
from vssbench.engine.reading import label_of
from vssbench.errors import in_plugin, is_out_of_memory, out_of_memory
from vssbench.experiment.clips import Encode
from vssbench.method import Method
from vssbench.results.store import RunFolder
from vssbench.runner.observers.accuracy import UnitRecords
from vssbench.runner.observers.frames import FrameKeeper
from vssbench.runner.observers.further import FurtherMetrics
from vssbench.runner.observers.observer import Observer
from vssbench.runner.observers.oracles import Oracles, oracle_references
from vssbench.runner.plan import Job
from vssbench.runner.reader import ClipReader
from vssbench.runner.workshop import Workshop


@dataclass(frozen=True)
class JobReport:
    """What a finished job did: for the progress line and the stage timings of the run."""

    units: int = 0
    encode_seconds: float = 0.0
    encoded_frames: int = 0
    decode_seconds: float = 0.0
    decoded_frames: int = 0


def run_job(shop: Workshop, folder: RunFolder, job: Job, on_unit: Callable[[], None]) -> JobReport:
    """Make what one job owes; `on_unit` is called after each stored unit.

    Units that are on disk by now (an earlier attempt got that far) are left alone. Raises OutOfMemoryError naming the
    sequence where memory ends outside of a method's step.
    """
    records = UnitRecords(
        folder,
        job,
        {key for key in job.owed if not folder.has_unit(key, job.belongs)},
        shop.dataset(job.dataset).classes,
        on_unit,
        timed=shop.experiment.measure.step_time,
    )
    frames = FrameKeeper(folder, job, records.classes)
    if not records.owed and not frames.missing:
        return JobReport()
    methods = shop.methods(job.dataset, job.codec, shop.sequence(job.dataset, job.sequence).size)
    observers = [records, *_further_observers(shop, job, records, methods), frames]
    reader = _reader(shop, job, methods, observers)
    running = _RunningJob(shop, job, methods, observers)
    try:
        for encode in job.encodes:
            running.process(encode, reader)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        height, width = reader.sequence.size
        longest = max(clip.length for clip in job.clips)
        raise out_of_memory(
            f"sequence {job.sequence} of {job.dataset}, frames of {height}x{width}, keyframe interval {longest}",
            "the machine",
            error,
            "use fewer --workers, a smaller inference.batch or keyframe interval",
        ) from error
    return JobReport(
        records.stored,
        reader.encode_seconds,
        reader.encoded_frames,
        reader.decode_seconds,
        reader.decoded_frames,
    )


def _further_observers(
    shop: Workshop, job: Job, records: UnitRecords, methods: Mapping[str, Method]
) -> list[Observer]:
    """What the experiment asks for beside the confusion counts."""
    sequence = shop.sequence(job.dataset, job.sequence)
    observers: list[Observer] = []
    if shop.experiment.metrics:
        observers.append(FurtherMetrics(records, shop.experiment.metrics, sequence))
    if shop.experiment.oracles:
        references = oracle_references(shop.specs(job.dataset, job.codec))
        observers.append(Oracles(records, methods, references, sequence, shop.device))
    return observers


def _reader(shop: Workshop, job: Job, methods: Mapping[str, Method], observers: list[Observer]) -> ClipReader:
    needs = joint_needs(list(methods.values()))
    return ClipReader(
        job.dataset,
        shop.sequence(job.dataset, job.sequence),
        shop.experiment.codec_settings(shop.codec(job.dataset, job.codec)),
        shop.cache,
        needs,
        motion=needs.motion or any(observer.needs_motion for observer in observers),
        ahead=shop.device.type == "cuda",
        alone=shop.experiment.protocol.kind == "clip",
    )


class _RunningJob:
    """State of one job while it runs."""

    def __init__(
        self, shop: Workshop, job: Job, methods: dict[str, Method], observers: list[Observer]
    ) -> None:
        self.methods, self.observers = methods, observers
        self.device, self.sequence = shop.device, shop.sequence(job.dataset, job.sequence)
        self.dataset = job.dataset
        self.truth = shop.experiment.truth.method
        self.batches = {s.title: s.inference.batch for s in shop.specs(job.dataset, job.codec)}
        self.remaining = Counter(clip.unit for clip in job.clips)
        wanted = {title for unit in job.units for title in self._asked(unit)}
        # a memory over the sequence is the product of every clip before, so all clips are gone through
        self.memories: dict[str, Any] = {
            title: method.create_memory()
            for title, method in methods.items()
            if method.needs.memory == "sequence" and title in wanted
        }
        self.together: dict[tuple[str, int], ClipResult] = {}

    def process(self, encode: Encode, reader: ClipReader) -> None:
        """Run the clips of one bitstream, where anybody wants one of them."""
        if not any(self._wanted(clip.unit) for clip in encode.clips):
            self.remaining.subtract(clip.unit for clip in encode.clips)
            return
        for group in lockstep_groups(reader.clips(encode), max(self.batches.values(), default=1)):
            self._run_together(group)
            for clip in group:
                self._show(clip)
            self.together.clear()

    def _asked(self, unit: str) -> set[str]:
        """Methods whose answers somebody wants, and the one whose answers are the truth of theirs."""
        wanted = {title for observer in self.observers for title in observer.wants(unit)}
        return wanted | {self.truth} if wanted and self.truth else wanted

    def _wanted(self, unit: str) -> list[str]:
        """Methods to run on a clip of this unit."""
        wanted = self._asked(unit)
        return [title for title in self.methods if title in wanted or title in self.memories]

    def _run_together(self, group: list[DecodedClip]) -> None:
        """Results of the methods that take several clips at once, for `_run` to find."""
        scored = [clip for clip in group if clip.plan.scored]
        for title, batch in self.batches.items():
            if batch == 1 or len(scored) < 2 or not any(title in self._wanted(c.plan.unit) for c in scored):
                continue
            for first in range(0, len(scored), batch):
                clips = scored[first : first + batch]
                feeds = [ClipFeed(clip, self.device) for clip in clips]
                with in_plugin(self.methods[title], f"sequence {self.sequence.name}"):
                    results = run_lockstep(self.methods[title], clips, feeds)
                for clip, result in zip(clips, results, strict=True):
                    self.together[title, clip.plan.first] = result

    def _run(self, title: str, clip: DecodedClip, feed: ClipFeed) -> ClipResult:
        known = self.together.get((title, clip.plan.first))
        if known is not None:
            return known
        with in_plugin(self.methods[title], f"sequence {self.sequence.name}"):
            return run_method(self.methods[title], clip, feed, self.memories.get(title))

    def _show(self, clip: DecodedClip) -> None:
        """Run what is wanted on a clip, show it to the observers, and close its unit with its last clip."""
        unit, feed = clip.plan.unit, ClipFeed(clip, self.device)
        if clip.plan.scored:
            results = {title: self._run(title, clip, feed) for title in self._wanted(unit)}
            if results:
                labels = {p: self._true(p, clip, results) for p in clip.plan.scored}
                for observer in self.observers:
                    observer.see(clip, labels, results)
        else:  # nothing to see, but a memory over the sequence lives through every frame
            for title in self.memories:
                self._run(title, clip, feed)
        self.remaining[unit] -= 1
        if self.remaining[unit] == 0:
            for observer in self.observers:
                observer.finish(unit)

    def _true(self, position: int, clip: DecodedClip, results: Mapping[str, ClipResult]) -> NDArray[np.uint8]:
        """The label map that a frame of the clip is scored by."""
        if self.truth:
            return results[self.truth].labels(position)
        return label_of(self.sequence, clip.plan.first + position, self.dataset)
