"""The header fields read by vssbench itself, against FFmpeg's reading and a bit writer of the test."""

from __future__ import annotations

import io

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vssbench.codec import CodecSettings, encode
from vssbench.codec.syntax import READ_PICTURE, _Bits, nal_units
from vssbench.errors import BitstreamError


def exp_golomb(value):
    code = bin(value + 1)[2:]
    return "0" * (len(code) - 1) + code


@given(st.lists(st.integers(0, 2**20), min_size=1, max_size=8))
def test_exp_golomb_codes_come_back(values) -> None:
    bits = "".join(map(exp_golomb, values))
    data = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    escaped = bytearray()  # emulation prevention, as an encoder writes it
    for byte in data:
        if byte <= 3 and escaped[-2:] == b"\0\0":
            escaped.append(3)
        escaped.append(byte)
    reader = _Bits(bytes(escaped))
    assert [reader.unsigned() for _ in values] == values


def test_nal_units_split_at_start_codes() -> None:
    assert list(nal_units(b"\0\0\0\1\x67AB\0\0\1\x68C")) == [b"\x67AB", b"\x68C"]
    assert list(nal_units(b"no start code")) == []


@pytest.mark.parametrize("codec", ["hevc", "h264", "mpeg4"])
def test_picture_types_equal_ffmpegs(pan, codec) -> None:
    b_frames = 0 if codec == "mpeg4" else 2
    settings = CodecSettings(codec=codec, qp=12, keyframe_interval=5, b_frames=b_frames)
    bitstream = encode(pan((96, 128), 11), settings, 30)
    with av.open(
        io.BytesIO(bitstream.data), format={"hevc": "hevc", "h264": "h264", "mpeg4": "m4v"}[codec]
    ) as file:
        packets = [bytes(packet) for packet in file.demux(video=0) if packet.size]
    with av.open(
        io.BytesIO(bitstream.data), format={"hevc": "hevc", "h264": "h264", "mpeg4": "m4v"}[codec]
    ) as file:
        theirs = [" IPB"[int(picture.pict_type)] for picture in file.decode(video=0)]
    ours = [READ_PICTURE[codec](packet) for packet in packets]
    assert sorted(picture.frame_type for picture in ours) == sorted(theirs)
    assert [picture.is_random_access for picture in ours] == [picture.frame_type == "I" for picture in ours]


@pytest.mark.parametrize("codec", ["hevc", "h264", "mpeg4"])
@pytest.mark.parametrize(
    "data", [b"", b"\0\0\1", b"\0\0\1\x02", b"\0\0\1\x02\1", b"\0\0\1\x41", b"\0\0\1\xb6", b"\xff" * 40]
)
def test_garbage_is_a_bitstream_error(codec, data) -> None:
    with pytest.raises(BitstreamError, match="the stream is"):
        READ_PICTURE[codec](data)
