"""From frames of a sequence to decoded clips: bitstreams made or fetched, decoded, and taken apart, with the time it took."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from vssbench.codec import Bitstream, BitstreamCache, CodecSettings, SourceStream, decode, read_source
from vssbench.codec.source import require_file
from vssbench.dataset import VideoSequence
from vssbench.engine.ahead import run_ahead
from vssbench.engine.feed import DecodedClip, split_into_clips
from vssbench.engine.reading import image_of
from vssbench.experiment.clips import Encode
from vssbench.method import Needs
from vssbench.records import DecodedFrame

PICTURES_AHEAD = 24
"""How far decoding runs ahead of a GPU."""


@dataclass(eq=False)
class ClipReader:
    """Reads the clips of one sequence under one codec setting."""

    dataset: str
    """Title of the dataset."""
    sequence: VideoSequence
    settings: CodecSettings
    cache: BitstreamCache
    needs: Needs
    """What the clips must carry for all methods."""
    motion: bool
    """Whether motion is decoded."""
    ahead: bool
    """Decode on a thread of its own while a GPU is busy."""
    alone: bool
    """The clips are encoded on their own, so their neighbours come from bitstreams of their own."""
    encode_seconds: float = 0.0
    encoded_frames: int = 0
    """Frames really encoded; 0 where the bitstreams came from the cache."""
    decode_seconds: float = 0.0
    decoded_frames: int = 0

    def clips(self, encode: Encode) -> Iterator[DecodedClip]:
        """The clips of one bitstream in order. Raises CodecError, BitstreamError or what the sequence raises."""
        as_it_is = self.settings.codec == "source"
        coded = self._source() if as_it_is else self.fetch(encode.first, encode.length)
        frames = self._pictures(coded)
        if self.ahead:
            frames = run_ahead(frames, PICTURES_AHEAD)
        clips = split_into_clips(
            islice(self._watched(frames), encode.first if as_it_is else 0, None),
            encode,
            None if as_it_is else self.settings.encoded_interval,
            history=self.needs.history,
            lookahead=self.needs.lookahead,
        )
        for clip in clips:
            clip.coded = coded
            if self.alone and not as_it_is:
                self._add_neighbours(clip)
            yield clip

    def _source(self) -> SourceStream:
        return read_source(require_file(f"sequence {self.sequence.name}", self.sequence.coded_file))

    def _pictures(self, coded: Bitstream | SourceStream) -> Iterator[DecodedFrame]:
        if isinstance(coded, Bitstream):
            return decode(coded, motion=self.motion, qp=self.needs.qp)
        return decode(coded.file, motion=self.motion, qp=self.needs.qp)

    def fetch(self, first: int, length: int) -> Bitstream:
        """The bitstream of `length` frames from `first` on, from the cache where it is there."""
        started = time.perf_counter()
        encoded = 0

        def frames() -> Iterator[NDArray[np.uint8]]:
            nonlocal encoded
            for index in range(first, first + length):
                encoded += 1
                yield image_of(self.sequence, index, self.dataset)

        bitstream = self.cache.fetch(
            f"{self.sequence.identity}[{first}:{first + length}]",
            frames,
            self.settings,
            self.sequence.frame_rate_hz,
        )
        if encoded:
            self.encode_seconds += time.perf_counter() - started
            self.encoded_frames += encoded
        return bitstream

    def _add_neighbours(self, clip: DecodedClip) -> None:
        """Decode the GOPs before and after a clip that was encoded on its own, as bitstreams of their own.

        The clip's bits stay those that every other method sees.
        """
        interval, plan, needs = self.settings.encoded_interval, clip.plan, self.needs
        if needs.history:
            first = max(0, plan.first - interval * math.ceil(needs.history / interval))
            clip.history = self._decode_around(first, plan.first)[-needs.history :]
        if needs.lookahead:
            after = plan.first + plan.length
            last = after + interval * math.ceil(needs.lookahead / interval)
            clip.lookahead = self._decode_around(after, min(last, len(self.sequence)))[: needs.lookahead]

    def _decode_around(self, first: int, stop: int) -> list[DecodedFrame]:
        if stop <= first:
            return []
        bitstream = self.fetch(first, stop - first)
        return list(self._watched(self._pictures(bitstream)))

    def _watched(self, frames: Iterator[DecodedFrame]) -> Iterator[DecodedFrame]:
        """The frames, with the time spent pulling them out added up."""
        while True:
            started = time.perf_counter()
            frame = next(frames, None)
            self.decode_seconds += time.perf_counter() - started
            if frame is None:
                return
            self.decoded_frames += 1
            yield frame
            del frame
