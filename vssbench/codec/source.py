"""A stream's own bits: which pictures it shows, which of them are keyframes, and with which quantisers they were coded."""

from __future__ import annotations

import hashlib
import io
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import av
import av.container
import numpy as np
from av.sidedata.sidedata import Type
from av.video.stream import VideoStream

from vssbench.codec.bits.container import PacketUnits
from vssbench.codec.contents import ranked
from vssbench.codec.decode import PARSED_CODECS, check_motion_known, motion_alone
from vssbench.codec.encode import Bitstream
from vssbench.codec.media import Media, VideoPacket
from vssbench.codec.settings import CodecSettings
from vssbench.codec.shown import Film
from vssbench.codec.syntax import RandomAccess, mpeg2_picture, random_access
from vssbench.codec.video import frame_rate
from vssbench.dataset import CodedFile
from vssbench.errors import BitstreamError, CapabilityError
from vssbench.records import FrameType, MotionField

_HEADER = struct.Struct("@IQQii")
"""AVVideoEncParams up to `qp`: number of blocks, offset and size of one, codec type, base QP."""
_DELTA_COLUMN = 4
"""AVVideoBlockParams is x, y, w, h, delta_qp as 32-bit integers."""
CODING_PARAMETERS = {"export_side_data": "+venc_params"}
"""Decoder options that make FFmpeg attach quantisers to decoded pictures."""
_ENCODERS = re.compile(
    rb"x264 - core \d+[^\0]*|x265 \(build \d+\) - [^\0]*|Lavc[\w.]+|XviD[\w.]*|DivX[\w.]*", re.ASCII
)
_LONGEST_ENCODER = 1000


@dataclass(frozen=True, eq=False)
class SourceStream:
    """The pictures that a video file shows, in display order, as their packets describe them."""

    file: CodedFile
    codec: str
    digest: str
    """SHA-256 of all packets in their order, hexadecimal; of an elementary stream that is the file's."""
    frame_rate_hz: float
    size: tuple[int, int]
    """(H, W) as the pictures are shown."""
    frame_types: str
    """One letter I, P or B per picture."""
    access: tuple[RandomAccess, ...] = field(repr=False)
    """Whether decoding can start at each picture."""
    packet_bytes: tuple[int, ...] = field(repr=False)
    mean_qps: tuple[float | None, ...] = field(repr=False)
    """Mean luma quantisation parameter of each picture, None where it does not tell."""
    encoder: str
    """What the stream or its container says of its encoder; '' where neither does."""
    coded_bytes: int
    """Of all packets, those of pictures that are not shown included."""

    left_out: tuple[tuple[int, int], ...] = ()
    """(number of the first, count) of damaged pictures that are left out, numbered as if the file were whole."""

    @property
    def frame_count(self) -> int:
        """Pictures that are shown."""
        return len(self.frame_types)

    @property
    def quality(self) -> None:
        """Unknown: the frames before coding are not there to compare with."""

    @property
    def achieved_kbps(self) -> float:
        """Bit rate of the packets, 1000 bits per second."""
        return self.coded_bytes * 8 * self.frame_rate_hz / self.frame_count / 1000

    def keyframes(self, settings: CodecSettings) -> tuple[int, ...]:
        """Ascending indices of the keyframes under settings of the codec source.

        Raises BitstreamError if the file has none of the kind that `settings.keyframes` names.
        """
        wanted = {"irap": ("irap", "idr"), "idr": ("idr",)}.get(settings.keyframes)
        pictures = zip(self.frame_types, self.access, strict=True)
        natural = [
            index
            for index, (frame_type, access) in enumerate(pictures)
            if (frame_type == "I" if wanted is None else access in wanted)
        ]
        if not natural:
            raise BitstreamError(
                f"{self.file.path}: no picture of {self.frame_count} is a keyframe by keyframes: {settings.keyframes} "
                f"(it has {self.frame_types.count('I')} I pictures and {sum(map(bool, self.access))} at which decoding can "
                "start); choose another of irap, idr and every_i, or re-encode the file with `vssbench encode`"
            )
        ends = [*natural[1:], self.frame_count]
        step = settings.keyframe_interval or self.frame_count
        return tuple(at for key, end in zip(natural, ends, strict=True) for at in range(key, end, step))


def read_source(file: CodedFile) -> SourceStream:
    """Look at a video file without decoding it (MPEG-2 and MPEG-4 are decoded), once per process and state of the file.

    Raises as `decode`; CapabilityError if the codec's motion cannot be read.
    """
    try:
        status = Path(file.path).stat()
    except OSError:
        return _read(file)  # which tells what is wrong with it
    return _read_once(file, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _read_once(file: CodedFile, size: int, mtime_ns: int) -> SourceStream:
    return _read(file)


def _read(file: CodedFile) -> SourceStream:
    media = Media.of(str(file.path), file.stream)
    check_motion_known(media)
    film = Film.of(media, file.orientation, file.partial)
    packets = _Packets(film)
    pictures = list(_parsed(film) if film.media.codec in PARSED_CODECS else _decoded(film))
    return SourceStream(
        file=file,
        codec=film.media.codec,
        digest=packets.digest,
        frame_rate_hz=frame_rate(film),
        size=film.size,
        frame_types="".join(frame_type for _, frame_type, _ in pictures),
        access=tuple(packets.access[rank] if frame_type == "I" else "" for rank, frame_type, _ in pictures),
        packet_bytes=tuple(packets.sizes[rank] for rank, _, _ in pictures),
        mean_qps=tuple(qp for _, _, qp in pictures),
        encoder=packets.encoder,
        left_out=film.contents.left_out,
        coded_bytes=sum(packets.sizes.values()),
    )


Picture = tuple[int, FrameType, float | None]
"""Rank of the packet, type, mean QP."""


def _parsed(film: Film) -> Iterator[Picture]:
    for rank, motion in motion_alone(film, details=True):
        _require_size(film, motion.size, rank)
        yield rank, motion.frame_type, None if motion.details is None else float(motion.details.qp.mean())


def _decoded(film: Film) -> Iterator[Picture]:
    for shown in film.pictures(options=CODING_PARAMETERS):
        _require_size(film, (shown.picture.height, shown.picture.width), shown.packet)
        yield shown.packet, shown.frame_type, exported_qp(shown.picture)


def _require_size(film: Film, coded: tuple[int, int], rank: int) -> None:
    """Raise BitstreamError if a picture is not as large as the first."""
    height, width = film.orientation.size(*coded)
    if (height, width) != film.size:
        raise BitstreamError(
            f"{film.media.name}: the picture of packet {rank} is {width}x{height}, the first {film.size[1]}x{film.size[0]}; "
            "expected one size, split the file where it changes"
        )


class _Packets:
    """What is read from the packets alone."""

    def __init__(self, film: Film) -> None:
        self.access: dict[int, RandomAccess] = {}
        self.sizes: dict[int, int] = {}
        self.encoder = ""
        digest = hashlib.sha256()
        with film.media.open() as (container, stream):
            extradata = bytes(stream.codec_context.extradata or b"")
            units = (
                PacketUnits(film.media.codec, extradata, film.media.name)  # type: ignore[arg-type]
                if film.media.codec in PARSED_CODECS
                else None
            )
            for rank, packet in ranked(container, stream):
                if rank in film.contents.lost:
                    continue
                data = bytes(packet)
                digest.update(data)
                self.sizes[rank] = len(data)
                self.access[rank] = _access(film, units, packet, data)
                self.encoder = self.encoder or _named_encoder(extradata + data if rank == 0 else b"")
            self.encoder = self.encoder or _tagged_encoder(container, stream)
        self.digest = digest.hexdigest()


def _access(film: Film, units: PacketUnits | None, packet: VideoPacket, data: bytes) -> RandomAccess:
    if film.media.codec == "mpeg2video":
        head = mpeg2_picture(data)
        return "" if head.frame_type != "I" else "idr" if head.closed_group else "irap"
    if units is None:  # every I picture of MPEG-4 without B pictures begins a closed group
        return "idr" if packet.is_keyframe else ""
    return random_access(film.media.codec, (unit for unit, _ in units(data, packet.pos or 0)))


def _named_encoder(data: bytes) -> str:
    found = _ENCODERS.search(data)
    return found.group()[:_LONGEST_ENCODER].decode("ascii", "replace").strip() if found else ""


def _tagged_encoder(container: av.container.InputContainer, stream: VideoStream) -> str:
    return str(stream.metadata.get("encoder") or container.metadata.get("encoder") or "")


def gop_lengths(keyframes: tuple[int, ...], frames: int) -> tuple[int, ...]:
    """Pictures from each keyframe to the next: (0, 5, 12) of 15 frames -> (5, 7, 3)."""
    return tuple(int(length) for length in np.diff([*keyframes, frames]))


def require_file(whose: str, file: CodedFile | None) -> CodedFile:
    """The file, or CapabilityError naming the sequence where its frames are no video file's."""
    if file is None:
        raise CapabilityError(
            f"{whose}: its frames come from no video file, so there are no bits to keep as they are; leave codec: source to "
            "datasets of video files (codecs: [{codec: source, datasets: [...]}]), or encode the frames"
        )
    return file


def read_qp(bitstream: Bitstream) -> list[float | None]:
    """Mean luma quantisation parameter of every picture in display order, over its area.

    0..51 for HEVC and H.264, the quantiser 1..31 for MPEG-4 Part 2; None where a picture does not tell.
    HEVC and H.264 are parsed, MPEG-4 is decoded once more with FFmpeg's coding parameters exported. Raises BitstreamError
    if a parsed stream is damaged.
    """
    codec = bitstream.settings.codec
    if codec != "mpeg4":
        read_motion = import_module(f"vssbench.codec.{codec}").read_motion
        fields: Iterator[MotionField] = read_motion(bitstream.data, details=True)
        return [None if field.details is None else float(field.details.qp.mean()) for field in fields]
    found: list[float | None] = []
    with av.open(io.BytesIO(bitstream.data), "r", format="m4v") as container:
        context = container.streams.video[0].codec_context
        context.options = CODING_PARAMETERS
        found += [exported_qp(frame) for frame in container.decode(video=0)]
    return found


def exported_qp(picture: av.VideoFrame) -> float | None:
    """Base QP plus the mean of the blocks' differences, which are equally large; None where none was exported."""
    side: Any = picture.side_data  # its stub is narrower than the mapping
    data = side.get(Type.VIDEO_ENC_PARAMS)
    if data is None:
        return None
    raw = bytes(data)
    count, offset, size, _, base = _HEADER.unpack_from(raw)
    if count == 0:
        return float(base)
    blocks = np.frombuffer(raw, dtype=np.int32, count=count * size // 4, offset=offset).reshape(count, -1)
    return float(base + blocks[:, _DELTA_COLUMN].mean())
