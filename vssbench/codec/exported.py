"""Motion fields from the vectors that FFmpeg exports for MPEG-2 and MPEG-4 Part 2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from vssbench.codec.media import VideoPacket
from vssbench.codec.shown import Shown
from vssbench.codec.syntax import Mpeg4Visibility, mpeg2_picture, mpeg4_picture
from vssbench.errors import BitstreamError, CapabilityError
from vssbench.records import MODE_INTER, MODE_INTRA, NO_REFERENCE, FrameType, MotionField

EXPORT = {"flags2": "+export_mvs"}
"""Decoder options that make FFmpeg attach block vectors to decoded pictures."""

MACROBLOCK = 16

_REMEDY = "re-encode with `vssbench encode` as H.264 or HEVC, whose motion is read in full"


def paint_vectors(
    vectors: NDArray[np.void] | None, coded_size: tuple[int, int]
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Block vectors as FFmpeg lists them, painted on the 4x4 luma grid.

    vectors: structured array of AVMotionVector with w, h, dst_x, dst_y (block size and centre, luma samples) and
    motion_x, motion_y in 1/motion_scale samples towards the reference; None where the picture has none.
    coded_size: (H, W), multiples of 4. Returns quarter-sample vectors int16 [H4, W4, 2] and mode uint8 [H4, W4]:
    MODE_INTER where a block was painted, MODE_INTRA elsewhere (FFmpeg lists no vector for intra blocks).
    Raises BitstreamError if a block lies off the grid or a vector does not fit in 16 bits.
    """
    rows, columns = coded_size[0] // 4, coded_size[1] // 4
    field = np.zeros((rows, columns, 2), np.int16)
    mode = np.full((rows, columns), MODE_INTRA, np.uint8)
    if vectors is None or len(vectors) == 0:
        return field, mode
    scale = vectors["motion_scale"].astype(np.int64)
    moved = np.stack([vectors["motion_x"], vectors["motion_y"]], axis=1) * 4
    quarter = moved // np.maximum(scale, 1)[:, None]
    top = vectors["dst_y"].astype(np.int64) - vectors["h"] // 2
    left = vectors["dst_x"].astype(np.int64) - vectors["w"] // 2
    on_grid = (top % 4 == 0) & (left % 4 == 0) & (top >= 0) & (left >= 0)
    inside = (top + vectors["h"] <= coded_size[0]) & (left + vectors["w"] <= coded_size[1])
    fits = (np.abs(quarter) < 2**15).all(axis=1)
    if not (on_grid & inside & fits & np.isin(scale, (1, 2, 4))).all():
        raise BitstreamError(
            f"exported vectors do not fit a {coded_size[1]}x{coded_size[0]} picture; the stream is damaged"
        )
    shapes = vectors["h"].astype(np.int64) * 256 + vectors["w"]
    for shape in np.unique(shapes):
        height, width = divmod(int(shape), 256)
        of_size = shapes == shape
        i = top[of_size, None, None] // 4 + np.arange(height // 4)[:, None]
        j = left[of_size, None, None] // 4 + np.arange(width // 4)
        field[i, j] = quarter[of_size, None, None]
        mode[i, j] = MODE_INTER
    return field, mode


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a coded picture stands, and what its vectors point to."""

    coded_sequence: int
    poc: int
    order: int
    """Rank among the coded pictures."""
    before: int | None
    after: int | None
    """POCs of the references; None where the stream has none."""
    height_unit: int = MACROBLOCK
    """What the coded height is a multiple of."""


class _Mpeg4Order:
    """MPEG-4 Part 2 without B pictures: every picture refers to the one before in the stream, shown or not.

    POCs count coded pictures since the last I picture, where a new coded sequence begins.
    """

    def __init__(self) -> None:
        self._visibility: Mpeg4Visibility | None = None
        self._poc = self._coded_sequence = self._order = -1

    def place(self, packet: VideoPacket) -> _Place | None:
        data = bytes(packet)
        if self._visibility is None:
            self._visibility = Mpeg4Visibility(packet.stream.codec_context.extradata or b"")
        if self._visibility(data) == "hidden":
            return None
        if mpeg4_picture(data).frame_type == "I" or self._poc < 0:
            self._poc, self._coded_sequence = 0, self._coded_sequence + 1
        else:
            self._poc += 1
        self._order += 1
        return _Place(self._coded_sequence, self._poc, self._order, self._poc - 1, None)


class _Mpeg2Order:
    """MPEG-2: P pictures refer to the I or P picture before in the stream, B pictures to the last two of those.

    POCs are temporal references counted on over groups of pictures (ISO/IEC 13818-2, 6.3.9), one coded sequence.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._anchors: list[int] = []
        self._temporal = self._highest = self._order = -1
        self._height_unit = MACROBLOCK

    def place(self, packet: VideoPacket) -> _Place:
        head = mpeg2_picture(bytes(packet))
        if not head.progressive:
            raise _refusal(self._name, "it holds interlaced or field pictures")
        if head.progressive_sequence is not None:
            self._height_unit = MACROBLOCK if head.progressive_sequence else 2 * MACROBLOCK
        base = self._anchors[-1] if self._anchors else 0
        if head.closed_group is not None or not self._anchors:
            poc = self._highest + 1 + head.temporal_reference
        else:
            poc = base + (head.temporal_reference - self._temporal + 512) % 1024 - 512
        before, after = [None, None, *self._anchors][-2:]
        bounds = (before, after) if head.frame_type == "B" else (after, None)
        if (bounds[0] is not None and poc <= bounds[0]) or (bounds[1] is not None and poc >= bounds[1]):
            raise BitstreamError(
                f"{self._name}: temporal reference {head.temporal_reference} of a {head.frame_type} picture puts it at "
                f"{poc}, between {bounds[0]} and {bounds[1]}; the stream is damaged"
            )
        if head.frame_type != "B":
            self._anchors, self._temporal = [*self._anchors[-1:], poc], head.temporal_reference
        self._highest, self._order = max(self._highest, poc), self._order + 1
        return _Place(0, poc, self._order, *bounds, self._height_unit)


class ExportedMotion:
    """Turns the side data of decoded pictures into motion fields: MPEG-2, and MPEG-4 Part 2 without B pictures."""

    options: Mapping[str, str] = EXPORT

    def __init__(self, name: str, codec: str) -> None:
        self._name, self._codec = name, codec
        self._order = _Mpeg2Order(name) if codec == "mpeg2video" else _Mpeg4Order()
        self._places: dict[int, _Place] = {}
        """By the rank of the packet."""

    def push(self, rank: int, packet: VideoPacket) -> None:
        """Note the place of a packet's picture. Raises CapabilityError for interlaced MPEG-2."""
        place = self._order.place(packet)
        if place is not None:
            self._places[rank] = place

    def finish(self) -> None:
        """No packet will follow."""

    def ready(self, shown: Shown) -> MotionField | None:
        """Motion of a picture.

        Raises CapabilityError for B pictures and global motion of MPEG-4 and for interlaced pictures, BitstreamError if
        vectors point to a picture that the stream lacks.
        """
        picture = shown.picture
        self._refuse_unreadable(picture, shown.frame_type)
        place = self._places.pop(shown.packet, None)
        if place is None:
            return None
        coded = (_round_up(picture.height, place.height_unit), _round_up(picture.width, MACROBLOCK))
        side_data: Any = picture.side_data.get("MOTION_VECTORS")
        exported = None if side_data is None else side_data.to_ndarray()
        shape = (coded[0] // 4, coded[1] // 4, 2)
        vectors, mode = np.zeros((*shape, 2), np.int16), np.full(shape[:2], MODE_INTRA, np.uint8)
        references = np.full(shape, NO_REFERENCE, np.int32)
        for at, poc in enumerate((place.before, place.after)):
            of_list = None if exported is None else exported[(exported["source"] > 0) == bool(at)]
            vectors[:, :, at], used = paint_vectors(of_list, coded)
            if poc is None and used.any():
                raise BitstreamError(
                    f"{self._name}: the {shown.frame_type} picture of packet {shown.packet} refers to a picture that the "
                    "stream lacks; the stream is damaged"
                )
            references[:, :, at][used == MODE_INTER] = poc or 0
            mode = np.maximum(mode, used)
        return MotionField(
            poc=place.poc,
            frame_type=shown.frame_type,
            size=(picture.height, picture.width),
            vectors_qpel=vectors,
            reference_poc=references,
            mode=mode,
            coded_sequence=place.coded_sequence,
            decode_order=place.order,
            decode_index=place.order,
        )

    def _refuse_unreadable(self, picture: av.VideoFrame, frame_type: FrameType) -> None:
        if frame_type == "B" and self._codec == "mpeg4":
            raise _refusal(
                self._name,
                "it contains B pictures, and FFmpeg does not tell which reference their vectors point to",
            )
        if picture.interlaced_frame:
            raise _refusal(self._name, "it is interlaced")
        if int(picture.pict_type) == 4:
            raise _refusal(self._name, "it uses global motion compensation")


def _refusal(name: str, reason: str) -> CapabilityError:
    return CapabilityError(f"{name}: motion cannot be read, {reason}; {_REMEDY}")


def _round_up(length: int, unit: int) -> int:
    return -(-length // unit) * unit
