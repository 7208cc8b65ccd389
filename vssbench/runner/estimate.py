"""What a run would take: a few frames are encoded and one frame is segmented, the rest is proportion."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import torch

from vssbench.codec import decode, encode
from vssbench.codec.source import require_file
from vssbench.cost.steps import count_method_macs
from vssbench.dataset import VideoSequence
from vssbench.engine.reading import image_of
from vssbench.experiment.clips import Encode
from vssbench.results.store import RunFolder
from vssbench.runner.plan import Job
from vssbench.runner.workshop import Workshop

SAMPLE_FRAMES = 4
BYTES_PER_UNIT = 3000
"""A unit record on disk: about 2 kB of JSON and the file system's rounding."""
BYTES_PER_FRAME = 10_000
"""A coded frame where no bit rate is set."""


@dataclass(frozen=True)
class Estimate:
    """Rough cost of a plan on this machine with one worker; halve the time for two."""

    encode_seconds: float
    decode_seconds: float
    method_seconds: float
    disk_bytes: int

    @property
    def seconds(self) -> float:
        """All stages together."""
        return self.encode_seconds + self.decode_seconds + self.method_seconds


def estimate(shop: Workshop, jobs: Sequence[Job]) -> Estimate:
    """Extrapolate from one short clip per (dataset, codec) and a convolution benchmark."""
    macs_per_second = _convolution_rate()
    totals = [0.0, 0.0, 0.0]
    disk = 0.0
    for dataset, codec in dict.fromkeys((i.dataset, i.codec) for i in jobs):
        own = [i for i in jobs if (i.dataset, i.codec) == (dataset, codec)]
        frames = sum(e.length for i in own for e in i.encodes)
        encode_rate, decode_rate, bytes_per_frame = _codec_rates(shop, own[0])
        totals[0] += frames / encode_rate
        totals[1] += frames / decode_rate
        totals[2] += _method_macs(shop, own) / macs_per_second
        disk += frames * bytes_per_frame + BYTES_PER_UNIT * sum(len(i.units) * len(i.methods) for i in own)
    return Estimate(totals[0], totals[1], totals[2], disk_bytes=round(disk))


@dataclass(frozen=True)
class Space:
    """Bytes that the rest of a run needs, and the bytes that are free where its records go."""

    records: int
    bitstreams: int
    free: int

    @property
    def text(self) -> str:
        """One sentence for an error message."""
        return (
            f"The rest of this run needs about {_mebibytes(self.records + self.bitstreams)}: "
            f"{_mebibytes(self.records)} of records and {_mebibytes(self.bitstreams)} of bitstreams "
            f"({_mebibytes(self.free)} are free now)"
        )


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"


def space_needed(shop: Workshop, folder: RunFolder, owed: Sequence[Job]) -> Space:
    """What the jobs that owe units will write: records as large as the stored ones, bitstreams at the settings' rate.

    Without a bit rate, or without a stored record, a typical size stands in. Cached bitstreams are counted again.
    """
    sizes = [size for size, *_ in folder.stored_units().values()]
    records = sum(len(job.owed) for job in owed) * (sum(sizes) / len(sizes) if sizes else BYTES_PER_UNIT)
    bitstreams = 0.0
    for job in owed:
        if not job.owed:
            continue
        codec = shop.codec(job.dataset, job.codec)
        if codec.codec == "source":
            continue
        rate = codec.bitrate_kbps
        seconds = 1 / shop.sequence(job.dataset, job.sequence).frame_rate_hz
        frames = sum(encode.length for encode in job.encodes)
        bitstreams += frames * (rate * 125 * seconds if rate else BYTES_PER_FRAME)
    return Space(round(records), round(bitstreams), shutil.disk_usage(folder.path).free)


def _codec_rates(shop: Workshop, job: Job) -> tuple[float, float, float]:
    """Frames/s of encoding and decoding and bytes per frame, from the first frames of one encode."""
    sequence = shop.sequence(job.dataset, job.sequence)
    settings = shop.experiment.codec_settings(shop.codec(job.dataset, job.codec))
    first = job.encodes[0]
    if settings.codec == "source":
        return math.inf, _decode_rate(sequence), 0.0
    images = [
        image_of(sequence, i, job.dataset)
        for i in islice(range(first.first, first.first + first.length), SAMPLE_FRAMES)
    ]
    started = time.perf_counter()
    bitstream = encode(images, settings, sequence.frame_rate_hz)
    encoded = time.perf_counter()
    for _ in decode(bitstream, motion=False):
        pass
    decoded = time.perf_counter()
    size = (
        settings.bitrate_kbps * 125 / sequence.frame_rate_hz
        if settings.bitrate_kbps
        else len(bitstream.data) / len(images)
    )
    return len(images) / (encoded - started), len(images) / (decoded - encoded), size


def _decode_rate(sequence: VideoSequence) -> float:
    """Pictures per second of a video file as it is, from its first."""
    file = require_file(f"sequence {sequence.name}", sequence.coded_file)
    started = time.perf_counter()
    pictures = decode(file, motion=False)
    count = sum(1 for _ in islice(pictures, SAMPLE_FRAMES))
    return count / (time.perf_counter() - started)


def _method_macs(shop: Workshop, jobs: Sequence[Job]) -> float:
    """MACs of all steps that the runner would push."""
    first = jobs[0]
    size = shop.sequence(first.dataset, first.sequence).size
    encodes = [encode for job in jobs for encode in job.encodes]
    total = 0.0
    for method in shop.methods(first.dataset, first.codec, size).values():
        cost = count_method_macs(method, size, shop.experiment.protocol.keyframe_interval)
        key_steps, other_steps = _steps(encodes, method.needs.stateless, method.needs.every_frame)
        total += key_steps * cost.key + other_steps * cost.non_key
    return total


def _steps(encodes: Sequence[Encode], stateless: bool, every_frame: bool) -> tuple[int, int]:
    keys = others = 0
    for encode_plan in encodes:
        for clip in encode_plan.clips:
            if not clip.scored:
                continue
            later = clip.scored[-1] if every_frame else sum(d > 0 for d in clip.scored)
            others += later
            keys += int(0 in clip.scored) if stateless else 1
    return keys, others


def _convolution_rate() -> float:
    """MACs per second of one thread in a typical 3x3 convolution."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        layer = torch.nn.Conv2d(64, 64, 3, padding=1)
        image = torch.zeros(1, 64, 90, 120)
        with torch.inference_mode():
            layer(image)
            started = time.perf_counter()
            for _ in range(3):
                layer(image)
            seconds = time.perf_counter() - started
    finally:
        torch.set_num_threads(threads)
    return 3 * 64 * 64 * 9 * 90 * 120 / seconds
