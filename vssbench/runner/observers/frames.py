"""Frames of chosen units, kept for the report: packed as they are seen, stored when the unit is complete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vssbench.codec import Bitstream, SourceStream
from vssbench.codec.source import read_qp
from vssbench.engine.evaluate import ClipResult
from vssbench.engine.feed import DecodedClip
from vssbench.errors import InputError
from vssbench.records import ClassTable
from vssbench.results.basis import Basis
from vssbench.results.frames import FrameArchive, read_archive
from vssbench.results.store import RunFolder, foreign
from vssbench.runner.observers.observer import Labels, Observer
from vssbench.runner.plan import Job, KeptFrames


def missing_frames(folder: RunFolder, job: Job) -> list[KeptFrames]:
    """What a job is to keep and has not stored yet."""
    return [kept for kept in job.kept if not (folder.path / job.archive(kept)).exists()]


def set_aside_damaged(folder: RunFolder, jobs: Sequence[Job], basis: Basis) -> list[str]:
    """Move archives that cannot be read or are no part of the run to damaged/; what was moved and why, a sentence each."""
    planned = {job.archive(kept) for job in jobs for kept in job.kept}
    found = []
    for path in sorted((folder.path / "frames").rglob("*.zip")):
        try:
            if path.relative_to(folder.path).as_posix() not in planned:
                raise foreign(path)
            read_archive(path, basis)
        except InputError as error:
            found.append(f"{error}; set aside as {folder.set_aside(path)}, these frames are made again")
    return found


class FrameKeeper(Observer):
    """Keeps the frames that a job's archives lack, with the answers of all its methods."""

    def __init__(self, folder: RunFolder, job: Job, classes: ClassTable) -> None:
        self.folder, self.job, self.classes = folder, job, classes
        self.missing = missing_frames(folder, job)
        self._archives: dict[KeptFrames, FrameArchive] = {}
        self._qps: tuple[Bitstream | None, list[float | None]] = (None, [])

    def wants(self, unit: str) -> tuple[str, ...]:
        """Every method, where frames of the unit are missing."""
        return self.job.methods if any(kept.unit == unit for kept in self.missing) else ()

    def see(self, clip: DecodedClip, labels: Mapping[int, Labels], results: Mapping[str, ClipResult]) -> None:
        """Pack the wanted frames of the clip."""
        for kept in self.missing:
            if kept.unit == clip.plan.unit:
                for position in clip.plan.scored:
                    if kept.distance in (None, position):
                        self._keep(kept, clip, position, labels[position], results)

    def _keep(
        self,
        kept: KeptFrames,
        clip: DecodedClip,
        position: int,
        truth: Labels,
        results: Mapping[str, ClipResult],
    ) -> None:
        job, frame, qps = self.job, clip.frames[position], self._qps_of(clip.bitstream)
        archive = self._archives.setdefault(
            kept, FrameArchive(job.dataset, job.codec, job.sequence, kept.unit, self.classes, job.belongs)
        )
        archive.add(
            frame=clip.plan.first + position,
            distance=position,
            frame_type=frame.frame_type,
            coded_bytes=frame.coded_bytes,
            qp=qps[frame.index] if frame.index < len(qps) else None,
            decoded=frame.image,
            truth=truth,
            predictions={title: result.labels(position) for title, result in results.items()},
            motion=None if frame.motion is None else clip.flow_to_key(position, "exact"),
        )

    def _qps_of(self, bitstream: Bitstream | SourceStream) -> Sequence[float | None]:
        """Mean QP of each picture of the bitstream, read once."""
        if isinstance(bitstream, SourceStream):
            return bitstream.mean_qps
        if self._qps[0] is not bitstream:
            self._qps = bitstream, read_qp(bitstream)
        return self._qps[1]

    def finish(self, unit: str) -> None:
        """Store the unit's archives. Raises StorageError."""
        for kept in [kept for kept in self._archives if kept.unit == unit]:
            self._archives.pop(kept).write(self.folder.path / self.job.archive(kept))
