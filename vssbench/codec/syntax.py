"""The few header fields that vssbench reads itself: what type a coded picture is, how many references H.264 keeps."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from vssbench.errors import BitstreamError
from vssbench.records import FrameType

_HEVC_SLICE_TYPES: tuple[FrameType, ...] = ("B", "P", "I")
_H264_SLICE_TYPES: tuple[FrameType, ...] = ("P", "B", "I", "P", "I")
_VOP_TYPES: tuple[FrameType, ...] = ("I", "P", "B", "P")
_HEADER_BYTES = 64


@dataclass(frozen=True, slots=True)
class CodedPicture:
    """What the first slice header of a coded picture says."""

    frame_type: FrameType
    is_random_access: bool
    """Decoding can start here and nothing after refers to anything before (IDR; any I picture of MPEG-4)."""


class _Bits:
    """Big-endian bit reader over a NAL unit payload without emulation prevention bytes."""

    def __init__(self, payload: bytes) -> None:
        data = payload.replace(b"\0\0\3", b"\0\0")
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def read(self, count: int) -> int:
        if count > self._left:
            raise BitstreamError("coded picture ends inside its header; the stream is truncated")
        self._left -= count
        return (self._value >> self._left) & ((1 << count) - 1)

    def unsigned(self) -> int:
        """Exp-Golomb code ue(v)."""
        zeros = 0
        while self.read(1) == 0:
            zeros += 1
            if zeros > 32:
                raise BitstreamError("coded picture has an impossible header; the stream is damaged")
        return (1 << zeros) - 1 + (self.read(zeros) if zeros else 0)


def nal_units(data: bytes) -> Iterator[bytes]:
    """NAL units of an Annex B byte stream, without start codes; trailing zero bytes may remain."""
    start = data.find(b"\0\0\1")
    while start >= 0:
        following = data.find(b"\0\0\1", start + 3)
        yield data[start + 3 : following if following >= 0 else len(data)]
        start = following


def hevc_picture(access_unit: bytes) -> CodedPicture:
    """Type of an HEVC picture from its first slice segment header (Rec. ITU-T H.265, 7.3.6.1).

    Holds for streams without extra slice header bits, which x265 never writes.
    """
    for unit in nal_units(access_unit):
        nal_type = unit[0] >> 1 & 0x3F if unit else 63
        if nal_type >= 32:
            continue
        bits = _Bits(unit[2:_HEADER_BYTES])
        bits.read(1)  # first_slice_segment_in_pic_flag
        if 16 <= nal_type <= 23:
            bits.read(1)  # no_output_of_prior_pics_flag
        bits.unsigned()  # slice_pic_parameter_set_id
        slice_type = bits.unsigned()
        if slice_type > 2:
            raise BitstreamError(f"HEVC slice_type {slice_type} does not exist; the stream is damaged")
        return CodedPicture(_HEVC_SLICE_TYPES[slice_type], nal_type in (19, 20))
    raise BitstreamError("HEVC access unit without a slice; the stream is damaged")


def h264_picture(access_unit: bytes) -> CodedPicture:
    """Type of an H.264 picture from its first slice header (Rec. ITU-T H.264, 7.3.3)."""
    for unit in nal_units(access_unit):
        nal_type = unit[0] & 0x1F if unit else 0
        if nal_type not in (1, 5):
            continue
        bits = _Bits(unit[1:_HEADER_BYTES])
        bits.unsigned()  # first_mb_in_slice
        return CodedPicture(_H264_SLICE_TYPES[bits.unsigned() % 5], nal_type == 5)
    raise BitstreamError("H.264 access unit without a slice; the stream is damaged")


def mpeg4_picture(access_unit: bytes) -> CodedPicture:
    """Type of an MPEG-4 Part 2 picture from its VOP header (ISO/IEC 14496-2, 6.2.5)."""
    start = access_unit.find(b"\0\0\1\xb6")
    if start < 0 or start + 4 >= len(access_unit):
        raise BitstreamError("MPEG-4 access unit without a VOP; the stream is damaged")
    frame_type = _VOP_TYPES[access_unit[start + 4] >> 6]
    return CodedPicture(frame_type, frame_type == "I")


@dataclass(frozen=True, slots=True)
class Mpeg2Head:
    """What the headers of an MPEG-2 picture say (ISO/IEC 13818-2, 6.2.2 and 6.2.3)."""

    frame_type: FrameType
    temporal_reference: int
    """Display order inside the group of pictures, modulo 1024."""
    progressive: bool
    """A frame whose blocks are all predicted from frames."""
    closed_group: bool | None
    """closed_gop of the group header that precedes the picture; None without one."""
    progressive_sequence: bool | None
    """Of the sequence extension that precedes the picture; None without one."""


def mpeg2_picture(access_unit: bytes) -> Mpeg2Head:
    """Headers of the packet's first picture. Raises BitstreamError if it has none, or not those of MPEG-2."""
    picture = access_unit.find(b"\0\0\1\0")
    extension = access_unit.find(b"\0\0\1\xb5", picture + 4)
    head, coding = access_unit[picture + 4 : picture + 6], access_unit[extension + 4 : extension + 9]
    if picture < 0 or extension < 0 or len(head) < 2 or len(coding) < 5 or coding[0] >> 4 != 8:
        raise BitstreamError("MPEG-2 access unit without a picture and its extension; the stream is damaged")
    kind = head[1] >> 3 & 7
    if not 1 <= kind <= 3:
        raise BitstreamError(f"MPEG-2 picture_coding_type {kind} does not exist; the stream is damaged")
    group = access_unit.find(b"\0\0\1\xb8", 0, picture)
    # the extension that follows a sequence header has the number 1
    sequence = re.search(rb"\x00\x00\x01\xb5[\x10-\x1f](.)", access_unit[:picture], re.DOTALL)
    return Mpeg2Head(
        frame_type=("I", "P", "B")[kind - 1],
        temporal_reference=head[0] << 2 | head[1] >> 6,
        # picture_structure, frame_pred_frame_dct, progressive_frame
        progressive=coding[2] & 3 == 3 and bool(coding[3] & 0x40) and bool(coding[4] & 0x80),
        closed_group=bool(access_unit[group + 7] & 0x40) if group >= 0 else None,
        progressive_sequence=bool(sequence[1][0] & 8) if sequence else None,
    )


RandomAccess = Literal["", "irap", "idr"]
"""Whether decoding can start at a picture: not, with what follows it in display order, or with all that follows."""


def random_access(codec: str, units: Iterable[bytes]) -> RandomAccess:
    """Of the picture whose access unit holds these NAL units, as HEVC names it by type and H.264 by IDR or recovery point.

    A recovery point counts where the picture itself is whole; whether it is an I picture is for the caller to ask.
    """
    found: RandomAccess = ""
    for unit in units:
        if codec == "hevc" and 16 <= unit[0] >> 1 & 0x3F <= 23:
            return "idr" if unit[0] >> 1 & 0x3F in (19, 20) else "irap"
        if codec == "h264" and unit[0] & 0x1F == 5:
            return "idr"
        if codec == "h264" and unit[0] & 0x1F == 6 and _recovers_at_once(unit):
            found = "irap"
    return found


def _recovers_at_once(sei: bytes) -> bool:
    """Whether an SEI unit of H.264 holds a recovery point with recovery_frame_cnt 0 (7.3.2.3 and D.1.8)."""
    data, at = sei[1:].replace(b"\0\0\3", b"\0\0"), 0
    while at + 2 < len(data):
        kind = size = 0
        while at < len(data) and data[at] == 255:
            kind, at = kind + 255, at + 1
        kind, at = kind + data[at], at + 1
        while at < len(data) and data[at] == 255:
            size, at = size + 255, at + 1
        if at == len(data):
            return False
        size, at = size + data[at], at + 1
        if kind == 6:
            return at < len(data) and bool(data[at] & 0x80)
        at += size
    return False


Visibility = Literal["shown", "hidden", "undecodable"]
"""What becomes of a coded picture: undecodable ones refer to what precedes the stream."""


class HevcVisibility:
    """Which access units of an HEVC stream become pictures that are shown (Rec. ITU-T H.265, 7.3.6.1 and C.5.2.2)."""

    def __init__(self, parameter_sets: Iterable[bytes]) -> None:
        self._sets: dict[int, tuple[bool, int]] = {}
        """PPS id -> (output_flag_present_flag, num_extra_slice_header_bits)."""
        self._after_end = True
        """Whether the next IRAP picture begins a sequence, so that its RASL pictures cannot be decoded."""
        self._skips_rasl = False
        for unit in parameter_sets:
            self._learn(unit)

    def __call__(self, units: Iterable[bytes]) -> Visibility:
        """What becomes of the access unit of these NAL units."""
        seen: Visibility | None = None
        for unit in units:
            nal_type = unit[0] >> 1 & 0x3F
            if len(unit) < 2 or unit[0] & 1 or unit[1] >> 3:  # a layer above 0
                continue
            if nal_type in (36, 37):  # end of sequence, end of bitstream
                self._after_end = True
            elif nal_type < 32 and seen is None:
                seen = self._slice(unit, nal_type)
            else:
                self._learn(unit)
        return seen or "hidden"

    def _slice(self, unit: bytes, nal_type: int) -> Visibility:
        if 16 <= nal_type <= 23:
            self._skips_rasl = nal_type != 21 or self._after_end
            self._after_end = False
        if nal_type in (8, 9) and self._skips_rasl:
            return "undecodable"
        bits = _Bits(unit[2:_HEADER_BYTES])
        bits.read(1)  # first_slice_segment_in_pic_flag
        if 16 <= nal_type <= 23:
            bits.read(1)  # no_output_of_prior_pics_flag
        has_flag, extra = self._sets.get(bits.unsigned(), (False, 0))
        if not has_flag:
            return "shown"
        bits.read(extra)
        bits.unsigned()  # slice_type
        return "shown" if bits.read(1) else "hidden"

    def _learn(self, unit: bytes) -> None:
        if unit[0] >> 1 & 0x3F != 34:
            return
        bits = _Bits(unit[2:_HEADER_BYTES])
        identity = bits.unsigned()
        bits.unsigned()  # pps_seq_parameter_set_id
        bits.read(1)  # dependent_slice_segments_enabled_flag
        self._sets[identity] = (bool(bits.read(1)), bits.read(3))


class Mpeg4Visibility:
    """Which packets of MPEG-4 Part 2 hold a coded picture: a VOP may say that the one before is shown on."""

    def __init__(self, header: bytes) -> None:
        self._time_bits = 0
        self._learn(header)

    def __call__(self, packet: bytes) -> Visibility:
        """By vop_coded (ISO/IEC 14496-2, 6.2.5); 'shown' where the header cannot be followed."""
        self._learn(packet)
        start = packet.find(b"\0\0\1\xb6")
        if start < 0 or not self._time_bits:
            return "shown"
        bits = _Bits(packet[start + 4 : start + 4 + _HEADER_BYTES])
        try:
            bits.read(2)  # vop_coding_type
            while bits.read(1):  # modulo_time_base
                pass
            bits.read(2 + self._time_bits)  # markers around vop_time_increment
            return "shown" if bits.read(1) else "hidden"
        except BitstreamError:
            return "shown"  # too short to tell: the decoder will

    def _learn(self, data: bytes) -> None:
        """Width of vop_time_increment from the video object layer (6.2.3), where one is in `data`."""
        found = re.search(rb"\x00\x00\x01[\x20-\x2f]", data)
        if found is None:
            return
        bits = _Bits(data[found.end() : found.end() + _HEADER_BYTES])
        bits.read(9)  # random_accessible_vol, video_object_type_indication
        if bits.read(1):  # is_object_layer_identifier
            bits.read(7)
        if bits.read(4) == 15:  # aspect_ratio_info: extended
            bits.read(16)
        if (
            bits.read(1) and bits.read(4) & 1
        ):  # vol_control_parameters: chroma_format, low_delay, vbv_parameters
            bits.read(79)
        bits.read(3)  # video_object_layer_shape, marker
        self._time_bits = max(1, (bits.read(16) - 1).bit_length())


READ_PICTURE = {"hevc": hevc_picture, "h264": h264_picture, "mpeg4": mpeg4_picture}
"""Codec name -> reader of a coded picture's header."""
