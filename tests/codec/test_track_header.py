"""Cropping and encryption that stand in the header of a track only: refused by name, or read as coded on request."""

from __future__ import annotations

import io
import struct

import av
import numpy as np
import pytest

from vssbench.codec import decode, read_motion, read_video
from vssbench.codec.bits.track_header import read_track_header
from vssbench.errors import CapabilityError

SIZE = (96, 128)


def video(container: str) -> bytes:
    """Five pictures of noise as H.264."""
    file = io.BytesIO()
    checksums = {"write_crc32": "0"} if container == "matroska" else {}
    with av.open(file, "w", format=container, options=checksums) as output:
        stream = output.add_stream("h264", rate=25, options={"preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        generator = np.random.default_rng(0)
        for _ in range(5):
            picture = av.VideoFrame.from_ndarray(generator.integers(0, 255, (*SIZE, 3), dtype=np.uint8))
            output.mux(stream.encode(picture))
        output.mux(stream.encode(None))
    return file.getvalue()


def with_box(data: bytes, box: bytes) -> bytes:
    """An mp4 whose index comes last, with a box at the end of its sample entry."""
    path, place = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1"), 0
    grown = bytearray(data)
    for kind in path:
        place = data.index(kind, place)
        size = struct.unpack_from(">I", data, place - 4)[0]
        struct.pack_into(">I", grown, place - 4, size + len(box))
    end = place - 4 + size
    return bytes(grown[:end] + box + grown[end:])


def clap(width: int, height: int, x: int = 0, y: int = 0) -> bytes:
    return struct.pack(">I4sIIIIiIiI", 40, b"clap", width, 1, height, 1, x, 1, y, 1)


def with_pixel_crop(data: bytes, **sides: int) -> bytes:
    """A Matroska file whose video element has sides to crop."""
    names = {"left": b"\x54\xcc", "top": b"\x54\xbb", "right": b"\x54\xdd", "bottom": b"\x54\xaa"}
    added = b"".join(names[side] + b"\x81" + bytes([count]) for side, count in sides.items())
    grown = bytearray(data)
    tracks = data.rindex(b"\x16\x54\xae\x6b")  # named in the seek head before
    width = data.index(b"\xb0\x81\x80", tracks)  # PixelWidth, the first inside Video
    entry = data.index(b"\xae", tracks + 4)
    picture = data.rindex(b"\xe0", tracks, width)
    for place in (tracks + 4, entry + 1, picture + 1):
        length = 9 - data[place].bit_length()
        size = int.from_bytes(data[place : place + length], "big") + len(added)
        grown[place : place + length] = size.to_bytes(length, "big")
    return bytes(grown[:width] + added + grown[width:])


CROPPED = {
    "v.mp4": (with_box(video("mp4"), clap(100, 80)), "100x80 of 128x96"),
    "moved.mp4": (with_box(video("mp4"), clap(128, 96, 3)), "128x96 of 128x96"),
    "v.mkv": (
        with_pixel_crop(video("matroska"), left=8, bottom=16),
        "8 less at the left, 16 less at the bottom",
    ),
}


@pytest.mark.parametrize("name", CROPPED)
def test_cropping_by_the_container_is_refused_and_read_as_coded_on_request(tmp_path, name, caplog):
    data, told = CROPPED[name]
    path = tmp_path / name
    path.write_bytes(data)
    for read in (read_video, lambda p: list(decode(p)), lambda p: list(read_motion(p))):
        with pytest.raises(CapabilityError, match=told) as refusal:
            read(path)
        assert str(path) in str(refusal.value)
        assert "orientation: stored" in str(refusal.value)
    film = read_video(path, orientation="stored")
    assert (film.size, len(list(film))) == (SIZE, 5)
    assert any(told in remark for remark in film.remarks)
    assert len(list(read_motion(path, orientation="stored"))) == 5


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("plain.mp4", video("mp4")),
        ("whole.mp4", with_box(video("mp4"), clap(128, 96))),
        ("plain.mkv", video("matroska")),
        ("none.mkv", with_pixel_crop(video("matroska"), top=0)),
    ],
)
def test_a_crop_that_takes_nothing_away_is_none(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    film = read_video(tmp_path / name)
    assert (film.size, film.remarks) == (SIZE, ())


def test_an_encrypted_track_without_keys_beside_its_samples_is_refused(tmp_path):
    protection = struct.pack(">I4s", 8 + 12, b"sinf") + struct.pack(">I4s4s", 12, b"frma", b"avc1")
    data = with_box(video("mp4"), protection).replace(b"avc1", b"encv", 2)
    path = tmp_path / "locked.mp4"
    path.write_bytes(data)
    with pytest.raises(CapabilityError, match="encrypted"):
        read_video(path)


@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_damaged_headers_end(container):
    """Every cut and many flipped bytes: an answer or none, never an exception or an endless loop."""
    data = CROPPED["v.mp4" if container == "mp4" else "v.mkv"][0]
    generator = np.random.default_rng(3)
    for _ in range(300):
        broken = bytearray(data[: generator.integers(1, len(data))])
        for place in generator.integers(0, len(broken), 8):
            broken[place] = generator.integers(0, 256)
        read_track_header(bytes(broken), container, 0)
