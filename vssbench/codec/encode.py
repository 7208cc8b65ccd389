"""Frames in, elementary stream out: x265, x264 and MPEG-4 Part 2 through PyAV, the same on every number of cores."""

from __future__ import annotations

import hashlib
import math
import platform
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import av
import av.logging
import numpy as np
from numpy.typing import NDArray

from vssbench.codec.colour import ToYuv
from vssbench.codec.media import STRICT
from vssbench.codec.settings import Codec, CodecSettings
from vssbench.codec.syntax import READ_PICTURE
from vssbench.errors import BitstreamError, CapabilityError, ConfigError, InputError
from vssbench.records import CodedQuality

ENCODERS: dict[Codec, str] = {"hevc": "libx265", "h264": "libx264", "mpeg4": "mpeg4"}
"""Codec -> FFmpeg encoder."""

SUFFIXES: dict[Codec, str] = {"hevc": ".hevc", "h264": ".h264", "mpeg4": ".m4v"}
"""Codec -> file name suffix of its elementary stream."""

_BT601 = {"colour_primaries": 6, "transfer": 6, "matrix": 6}
_LIMITED_RANGE = 1
_WINDOW, _STRIDE = 8, 4
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


# not slots: digest is computed once, on demand
@dataclass(frozen=True, eq=False)
class Bitstream:
    """The elementary stream of one clip, with the settings that made it."""

    data: bytes = field(repr=False)
    """Annex B byte stream (hevc, h264) or MPEG-4 Part 2 elementary stream."""
    settings: CodecSettings
    frame_rate_hz: float
    frame_count: int
    size: tuple[int, int]
    """(H, W) of the frames; the coded picture is one line or column larger where a side is odd."""
    frame_types: str
    """One letter I, P or B per frame, display order."""
    packet_bytes: tuple[int, ...] = field(repr=False)
    """Coded bytes of each frame, display order; parameter sets count for the frame they precede."""
    encoder_build: str
    """Versions of everything that decided the bits."""
    quality: CodedQuality
    """Of the decoded luma against that of the frames."""

    @property
    def achieved_kbps(self) -> float:
        """Bit rate of the stream, 1000 bits per second."""
        return len(self.data) * 8 * self.frame_rate_hz / self.frame_count / 1000

    @cached_property
    def digest(self) -> str:
        """SHA-256 of `data`, hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    def write(self, path: Path) -> None:
        """Write the elementary stream to a file. Raises OSError."""
        path.write_bytes(self.data)


@cache
def encoder_build(codec: Codec) -> str:
    """Versions of the encoder, of libavcodec around it and of libswscale before it.

    x265 and x264 tell theirs only in a message inside the stream, so one tiny picture is encoded to read it.
    """
    context = _new_context(CodecSettings(codec=codec, qp=20), (64, 64), Fraction(25))
    if codec == "hevc":
        context.options = {"x265-params": "info=1:log-level=none:pools=1:frame-threads=1"}
    picture = ToYuv()(np.full((64, 64, 3), 128, np.uint8))
    picture.pts = 0
    data = b"".join(bytes(packet) for packet in [*context.encode(picture), *context.encode(None)])
    patterns = {
        "hevc": rb"x265 \(build \d+\) - [\w.+-]+",
        "h264": rb"x264 - core \d+(?: r\w+)?",
        "mpeg4": rb"Lavc[\d.]+",
    }
    found = re.search(patterns[codec], data)
    name = found.group().decode() if found else f"{ENCODERS[codec]} of unknown version"
    versions = {
        library: ".".join(map(str, av.library_versions[library])) for library in ("libavcodec", "libswscale")
    }
    return f"{name}; libavcodec {versions['libavcodec']}; libswscale {versions['libswscale']}"


def encode(
    frames: Iterable[NDArray[np.uint8]],
    settings: CodecSettings,
    frame_rate_hz: float,
    *,
    threads: int = 1,
) -> Bitstream:
    """Encode uint8 [H, W, 3] RGB frames of one size into closed GOPs of `settings.keyframe_interval` pictures.

    The same frames and settings give the same bytes on any number of processors. `threads` is the number of worker
    threads of x265; it changes the speed and never the bytes. x264 and MPEG-4 always use one.

    keyframe_interval = 4:  frame 0 1 2 3 4 5 6  ->  frame_types "IPPPIPP"

    Raises InputError if there is no frame, or a frame is not uint8 [H, W, 3] or differs in size; ConfigError if the
    encoder refuses a setting; BitstreamError if the encoder did not make exactly the GOP structure asked for.
    """
    if not (math.isfinite(frame_rate_hz) and 0 < frame_rate_hz <= 1000):
        raise ConfigError(f"frame_rate_hz must be above 0 and at most 1000, got {frame_rate_hz}")
    rate = Fraction(frame_rate_hz).limit_denominator(1001)
    _ = settings.encoded_interval  # codec source is refused before a frame is read
    encoder = _Encoder(settings, rate, max(1, threads))
    for image in frames:
        encoder.push(image)
    return encoder.finish(frame_rate_hz)


class _Encoder:
    """One running encoder; opened by the first frame, which tells the size."""

    def __init__(self, settings: CodecSettings, rate: Fraction, threads: int) -> None:
        self.settings, self.rate, self.threads = settings, rate, threads
        self.size: tuple[int, int] | None = None
        self.pushed = 0
        self._to_yuv = ToYuv()
        self._packets: list[tuple[int, bytes]] = []

    def push(self, image: NDArray[np.uint8]) -> None:
        shape: tuple[int, ...] = getattr(image, "shape", ())
        dtype = getattr(image, "dtype", type(image).__name__)
        if len(shape) != 3 or shape[2] != 3 or dtype != np.uint8 or 0 in shape:
            raise InputError(f"frame {self.pushed}: is {dtype} {tuple(shape)}; expected RGB uint8 [H, W, 3]")
        size = (shape[0], shape[1])
        if self.size is None:
            self.size = size
            self._context = _open(self.settings, size, self.rate, self.threads)
            self._meter = QualityMeter(self.settings.codec, size)
        elif size != self.size:
            raise InputError(
                f"frame {self.pushed}: is {size[1]}x{size[0]}, the frames before are {self.size[1]}x{self.size[0]}; "
                "all frames of a clip must have one size, resize or split them"
            )
        picture = self._to_yuv(image)
        picture.pts, picture.time_base = self.pushed, 1 / self.rate
        self._meter.show(self.pushed, picture)
        self.pushed += 1
        self._drain(picture)

    def _drain(self, picture: av.VideoFrame | None) -> None:
        try:
            packets = self._context.encode(picture)
        except av.FFmpegError as error:
            raise BitstreamError(
                f"{ENCODERS[self.settings.codec]}: failed at frame {self.pushed - 1} ({error})"
            ) from error
        for packet in packets:
            self._packets.append((int(packet.pts), bytes(packet)))
            self._meter.code(packet)

    def finish(self, frame_rate_hz: float) -> Bitstream:
        if self.size is None:
            raise InputError("no frame to encode; expected at least one RGB uint8 [H, W, 3] frame")
        self._drain(None)
        types = _checked_frame_types(self._packets, self.pushed, self.settings)
        sizes = {index: len(data) for index, data in self._packets}
        return Bitstream(
            data=b"".join(data for _, data in self._packets),
            settings=self.settings,
            frame_rate_hz=frame_rate_hz,
            frame_count=self.pushed,
            size=self.size,
            frame_types=types,
            packet_bytes=tuple(sizes[index] for index in range(self.pushed)),
            encoder_build=encoder_build(self.settings.codec),
            quality=self._meter.finish(),
        )


def _checked_frame_types(packets: list[tuple[int, bytes]], frame_count: int, settings: CodecSettings) -> str:
    """Frame types in display order, read back from the stream; an encoder that deviates is an error, not a surprise."""
    read_picture = READ_PICTURE[settings.codec]
    pictures = {index: read_picture(data) for index, data in packets}
    if sorted(pictures) != list(range(frame_count)) or len(packets) != frame_count:
        raise BitstreamError(
            f"{ENCODERS[settings.codec]}: made {len(packets)} pictures of {frame_count} frames; expected one each"
        )
    types = "".join(pictures[index].frame_type for index in range(frame_count))
    interval = settings.encoded_interval
    for index, found in enumerate(types):
        is_key = index % interval == 0
        if (found == "I") != is_key or pictures[index].is_random_access != is_key:
            raise BitstreamError(
                f"{ENCODERS[settings.codec]}: picture {index} is of type {found}; expected "
                f"{'a closed-GOP I picture' if is_key else 'P or B'} with keyframe_interval={interval} (made {types}); "
                "look for an option in `extra` that changes the GOP structure"
            )
    return types


def _new_context(settings: CodecSettings, size: tuple[int, int], rate: Fraction) -> Any:
    try:
        context: Any = av.CodecContext.create(ENCODERS[settings.codec], "w")
    except (ValueError, av.FFmpegError) as error:
        raise CapabilityError(
            f"this PyAV has no {ENCODERS[settings.codec]} encoder for codec {settings.codec!r}; "
            "install the binary wheel of the `av` package"
        ) from error
    height, width = size
    context.height, context.width = height + height % 2, width + width % 2
    context.pix_fmt = "yuv420p"
    context.framerate, context.time_base = rate, 1 / rate
    context.gop_size, context.max_b_frames = settings.encoded_interval, settings.b_frames
    context.thread_count = 1
    context.color_primaries, context.color_trc = _BT601["colour_primaries"], _BT601["transfer"]
    context.colorspace, context.color_range = _BT601["matrix"], _LIMITED_RANGE
    return context


_LOG_LOCK = threading.Lock()
# At 48 pixels and below, the vector code of x265's cu-tree (build 216 and before) writes past its arrays.
_X264_INSTRUCTIONS = "MMX2,SSE2,SSE2Fast,SSE3,SSSE3,SSE4.2"
"""What x264 may use: its AVX-512 code for mbtree reads memory that was never written, and bytes follow what it held."""
_LEAST_X265_WIDTH = 50


def _open(settings: CodecSettings, size: tuple[int, int], rate: Fraction, threads: int) -> Any:
    """Opened encoder. Unknown options only make FFmpeg's wrappers warn, so their warnings are read and raised."""
    if settings.codec == "hevc" and size[1] < _LEAST_X265_WIDTH - 1:
        raise ConfigError(
            f"hevc: frames are {size[1]} pixels wide; expected at least {_LEAST_X265_WIDTH - 1}, because libx265 "
            "damages its memory below; use larger frames or another codec"
        )
    context = _new_context(settings, size, rate)
    context.options = _options(settings, threads)
    _check_mpeg4_options(context, settings)
    with _LOG_LOCK:
        level = av.logging.get_level()
        av.logging.set_level(av.logging.WARNING)
        try:
            with av.logging.Capture() as messages:
                context.open()
        except (av.FFmpegError, ValueError) as error:
            text = "; ".join(message.strip() for _, _, message in messages) or str(error)
            raise ConfigError(
                f"{ENCODERS[settings.codec]} refuses {settings.describe()} at {size[1]}x{size[0]}, {float(rate):g} Hz "
                f"with extra={settings.extra}: {text}; change the size or the named option"
            ) from error
        finally:
            av.logging.set_level(level)
    for _, _, message in messages:
        if re.search(r"[Uu]nknown option|Error parsing option|Invalid value", message):
            raise ConfigError(
                f"{ENCODERS[settings.codec]}: {message.strip()} Correct or remove it in `extra`"
            )
    return context


def _options(settings: CodecSettings, threads: int) -> dict[str, str]:
    """FFmpeg options: the rate control, the GOP structure and all that would otherwise follow the number of cores."""
    if settings.codec == "mpeg4":
        return _mpeg4_options(settings)
    shared: dict[str, Any] = {
        "keyint": settings.encoded_interval,
        "min-keyint": settings.encoded_interval,
        "scenecut": 0,
        "open-gop": 0,
        "bframes": settings.b_frames,
        "ref": settings.references,
        settings.rate_control.removesuffix("_kbps"): getattr(settings, settings.rate_control),
    }
    if settings.codec == "hevc":
        fixed: dict[str, Any] = {
            "frame-threads": 1,
            "pools": threads,
            "wpp": 1,
            "lookahead-slices": 0,
            "lookahead-threads": 0,
            "slices": 1,
            "info": 0,
            "log-level": "none",
        }
        return {"preset": settings.preset, "x265-params": _joined({**settings.extra, **shared, **fixed})}
    fixed = {"threads": 1, "lookahead-threads": 1, "sliced-threads": 0, "slices": 1, "intra-refresh": 0}
    if platform.machine() in ("x86_64", "AMD64"):
        fixed["asm"] = _X264_INSTRUCTIONS
    return {"preset": settings.preset, "x264-params": _joined({**settings.extra, **shared, **fixed})}


def _joined(parameters: dict[str, Any]) -> str:
    return ":".join(
        f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in parameters.items()
    )


def _mpeg4_options(settings: CodecSettings) -> dict[str, str]:
    """MPEG-4 Part 2: a scene-cut threshold that no picture reaches, closed GOPs, one slice."""
    options = {**settings.extra, "sc_threshold": "1000000000", "flags": "+cgop"}
    if settings.qp is not None:
        # FFmpeg's own switch for a fixed quantiser reads it from each frame, which PyAV cannot set.
        return {**options, "qmin": str(settings.qp), "qmax": str(settings.qp)}
    return {**options, "b": str((settings.bitrate_kbps or 0) * 1000)}


def _check_mpeg4_options(context: Any, settings: CodecSettings) -> None:
    if settings.codec != "mpeg4" or not settings.extra:
        return
    supported = context.supported_options
    known = {option.name for option in (*supported.generic, *supported.private)}
    for key in settings.extra:
        if key not in known:
            raise ConfigError(f"mpeg4: Unknown option: {key}. Correct or remove it in `extra`")


def compare_planes(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> tuple[int, float]:
    """Sum of squared differences and mean structural similarity of two planes uint8 [H, W].

    Source: Wang, Bovik, Sheikh and Simoncelli (2004), equation 13, over windows of 8x8 samples at every fourth position
    with unbiased variances, as the encoder x264 and the filter `ssim` of FFmpeg take it. Planes that are narrower than a
    window are extended by their last samples for it.
    """
    products = np.multiply(first, second, dtype=np.uint16)
    squares = np.add(
        np.multiply(first, first, dtype=np.uint16),
        np.multiply(second, second, dtype=np.uint16),
        dtype=np.uint32,
    )
    error = int(squares.sum(dtype=np.int64)) - 2 * int(products.sum(dtype=np.int64))
    sum_one, sum_two, squared, multiplied = map(_windows, (first, second, squares, products))
    count = _WINDOW * _WINDOW
    mean_one, mean_two = sum_one / count, sum_two / count
    both, means = mean_one * mean_two, mean_one**2 + mean_two**2
    covariance = (multiplied - count * both) / (count - 1)
    variances = (squared - count * means) / (count - 1)
    alike = (2 * both + _C1) * (2 * covariance + _C2) / ((means + _C1) * (variances + _C2))
    return error, float(np.mean(alike))


def _windows(values: NDArray[Any]) -> NDArray[np.float64]:
    """Sums over all windows, from those of blocks of 4x4."""
    missing = [(0, max(0, _WINDOW - side)) for side in values.shape]
    if any(after for _, after in missing):
        values = np.pad(values, missing, mode="edge")
    rows, columns = (side // _STRIDE * _STRIDE for side in values.shape)
    lines = np.zeros((rows // _STRIDE, columns), np.uint32)
    for i in range(_STRIDE):
        lines += values[i:rows:_STRIDE, :columns]
    blocks = lines.reshape(len(lines), -1, _STRIDE).sum(2, dtype=np.uint32)
    pairs = blocks[:-1] + blocks[1:]
    windows: NDArray[np.float64] = (pairs[:, :-1] + pairs[:, 1:]).astype(np.float64)
    return windows


def luma(picture: av.VideoFrame, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The upper left `size` (H, W) of the luma of an 8-bit planar picture; a view."""
    plane: Any = picture.planes[0]
    lines: NDArray[np.uint8] = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return lines[: size[0], : size[1]]


class QualityMeter:
    """Compares pictures with what comes of their packets; holds those whose packets are still to come."""

    def __init__(self, codec: Codec, size: tuple[int, int]) -> None:
        self._codec, self._size = codec, size
        self._decoder: Any = av.CodecContext.create(codec, "r")
        self._decoder.thread_count = 1
        self._decoder.options = dict(STRICT)
        self._waiting: dict[int, NDArray[np.uint8]] = {}
        self._error, self._ssim, self._pictures = 0, 0.0, 0

    def show(self, index: int, picture: av.VideoFrame) -> None:
        """A picture that goes into the encoder."""
        self._waiting[index] = luma(picture, self._size)

    def code(self, packet: Any) -> None:
        """Its packet as the encoder gave it (padded, as decoders need it), in decoding order; `pts` is the index."""
        self._take(packet)

    def finish(self) -> CodedQuality:
        """Of all pictures. Raises BitstreamError if one did not come back."""
        self._take(None)
        if self._waiting:
            raise BitstreamError(
                f"{self._codec}: {len(self._waiting)} of {self._pictures + len(self._waiting)} encoded pictures do not "
                "decode; expected all, report it with the settings"
            )
        height, width = self._size
        return CodedQuality(self._error, self._pictures * height * width, self._ssim, self._pictures)

    def _take(self, packet: Any) -> None:
        try:
            pictures = self._decoder.decode(packet)
        except av.FFmpegError as error:
            raise BitstreamError(
                f"{self._codec}: what was encoded does not decode ({error.strerror}); look for an option in `extra` that "
                "the decoder does not know"
            ) from error
        for picture in pictures:
            before, after = self._waiting.pop(int(picture.pts)), luma(picture, self._size)
            squared, similarity = compare_planes(before, after)
            self._error += squared
            self._ssim += similarity
            self._pictures += 1
