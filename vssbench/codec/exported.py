"""Motion fields from the vectors that FFmpeg exports for H.264 and MPEG-4 Part 2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from vssbench.codec.media import VideoPacket
from vssbench.codec.shown import Shown
from vssbench.codec.syntax import Mpeg4Visibility, mpeg4_picture
from vssbench.errors import BitstreamError, CapabilityError
from vssbench.records import MODE_INTER, MODE_INTRA, NO_REFERENCE, FrameType, MotionField

EXPORT = {"flags2": "+export_mvs"}
"""Decoder options that make FFmpeg attach block vectors to decoded pictures."""

MACROBLOCK = 16

_REMEDY = (
    "re-encode with `vssbench encode --codec h264 --references 1`, or use HEVC, whose motion is read in full"
)


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


class ExportedMotion:
    """Turns the side data of decoded pictures into motion fields.

    Every picture refers to the one before in the stream, shown or not, so POCs count coded pictures since the last I
    picture, where a new coded sequence begins.
    """

    options: Mapping[str, str] = EXPORT

    def __init__(self, name: str, codec: str) -> None:
        self._name, self._codec = name, codec
        self._visibility: Mpeg4Visibility | None = None
        self._poc = self._coded_sequence = -1
        self._places: dict[int, tuple[int, int, int]] = {}
        """Rank of the packet -> (coded sequence, POC, index among the coded pictures)."""
        self._count = 0

    def push(self, rank: int, packet: VideoPacket) -> None:
        """Note the place of a packet's picture. Raises CapabilityError for B pictures of MPEG-4."""
        is_key = packet.is_keyframe
        if self._codec == "mpeg4":
            data = bytes(packet)
            if self._visibility is None:
                self._visibility = Mpeg4Visibility(packet.stream.codec_context.extradata or b"")
            if self._visibility(data) == "hidden":
                return
            is_key = mpeg4_picture(data).frame_type == "I"
        if is_key or self._poc < 0:
            self._poc, self._coded_sequence = 0, self._coded_sequence + 1
        else:
            self._poc += 1
        self._places[rank] = self._coded_sequence, self._poc, self._count
        self._count += 1

    def finish(self) -> None:
        """No packet will follow."""

    def ready(self, shown: Shown) -> MotionField | None:
        """Motion of a picture. Raises CapabilityError for B and interlaced pictures and global motion."""
        picture = shown.picture
        self._refuse_unreadable(picture, shown.frame_type)
        place = self._places.pop(shown.packet, None)
        if place is None:
            return None
        sequence, poc, order = place
        coded = (_round_up(picture.height), _round_up(picture.width))
        side_data: Any = picture.side_data.get("MOTION_VECTORS")
        quarter, mode = paint_vectors(None if side_data is None else side_data.to_ndarray(), coded)
        vectors = np.zeros((*mode.shape, 2, 2), np.int16)
        vectors[:, :, 0] = quarter
        references = np.full((*mode.shape, 2), NO_REFERENCE, np.int32)
        references[:, :, 0][mode == MODE_INTER] = poc - 1
        return MotionField(
            poc=poc,
            frame_type=shown.frame_type,
            size=(picture.height, picture.width),
            vectors_qpel=vectors,
            reference_poc=references,
            mode=mode,
            coded_sequence=sequence,
            decode_order=order,
            decode_index=order,
        )

    def _refuse_unreadable(self, picture: av.VideoFrame, frame_type: FrameType) -> None:
        reason = ""
        if frame_type == "B":
            reason = "it contains B pictures, and FFmpeg does not tell which reference their vectors point to"
        elif picture.interlaced_frame:
            reason = "it is interlaced"
        elif int(picture.pict_type) == 4:
            reason = "it uses global motion compensation"
        if reason:
            raise CapabilityError(f"{self._name}: motion cannot be read, {reason}; {_REMEDY}")


def refuse_many_references(name: str, references: int | None) -> None:
    """Raise CapabilityError if an H.264 stream may predict from more than one picture, or does not say."""
    if references != 1:
        found = "an unknown number of" if references is None else f"{references}"
        raise CapabilityError(
            f"{name}: motion cannot be read, the H.264 stream keeps {found} reference pictures and FFmpeg does not tell "
            f"which one a vector points to; {_REMEDY}"
        )


def _round_up(length: int) -> int:
    return -(-length // MACROBLOCK) * MACROBLOCK
