"""Bad video files, and frames that are not to be encoded."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from bad_input.case import Words, bad
from bad_input.datasets import picture, png


def video(suffix: str = "mp4", codec: str = "libx264", **options: str) -> bytes:
    path = f"made.{suffix}"
    options = {"refs": "1", "bf": "0", **options} if codec == "libx264" else options
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p" if codec != "mjpeg" else "yuvj420p"
        stream.thread_count = 1
        for index in range(8):
            for packet in stream.encode(av.VideoFrame.from_image(picture((64, 48), index))):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return Path(path).read_bytes()


def motion(data: bytes, name: str) -> Words:
    Path(name).write_bytes(data)
    return ["motion", name]


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


VIDEOS: dict[str, Callable[[], Words]] = {
    "a text file as mp4": lambda: motion(b"this is no video" * 40, "v.mp4"),
    "an empty mp4": lambda: motion(b"", "v.mp4"),
    "an mp4 that was never finished": lambda: motion(video()[:2000], "v.mp4"),
    "an mp4 cut before its end": lambda: motion(video("mp4")[:-1500], "v.mp4"),
    "an mkv cut in its header": lambda: motion(video("mkv")[:300], "v.mkv"),
    "an mp4 with a damaged header": lambda: motion(flipped(d := video(), d.index(b"stsd") + 1), "v.mp4"),
    "an HEVC stream of noise": lambda: motion(np.random.default_rng(0).bytes(4000), "v.hevc"),
    "an HEVC stream without parameter sets": lambda: motion(b"\0\0\1\x26\1" + b"\xaf" * 400, "v.hevc"),
    "a codec without motion vectors to read": lambda: motion(video("avi", "mjpeg"), "v.avi"),
    "H.264 with three references": lambda: motion(video("mp4", "libx264", refs="3", preset="slow"), "v.mp4"),
    "a playlist that names other files": lambda: motion(
        b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n/etc/hostname\n#EXT-X-ENDLIST\n", "v.mp4"
    ),
    "a concatenation script": lambda: motion(b"ffconcat version 1.0\nfile made.mp4\n", "v.mp4"),
    "a zip archive as video": lambda: motion(_zip(), "v.mkv"),
    "a folder as video": lambda: (Path("v.mp4").mkdir(), ["motion", "v.mp4"])[1],
    "a video that is not there": lambda: ["motion", "absent.mp4"],
}


def _zip() -> bytes:
    with zipfile.ZipFile("a.zip", "w") as archive:
        archive.writestr("video.mp4", b"")
    return Path("a.zip").read_bytes()


for title, make in VIDEOS.items():
    bad(
        "video",
        title,
        2 if title in ("a codec without motion vectors to read", "H.264 with three references") else 3,
    )(make)


@bad("video", "a decompression bomb among frames to encode", 3)
def _() -> Words:
    Path("FRAMES").mkdir()
    Path("FRAMES/000.png").write_bytes(png(100000, 100000))
    return ["encode", "FRAMES", "-o", "v.hevc", "--qp", 30]


@bad("video", "frames of two sizes to encode", 3)
def _() -> Words:
    Path("FRAMES").mkdir()
    for index, size in enumerate([(64, 48), (96, 48)]):
        picture(size).save(f"FRAMES/{index}.png")
    return ["encode", "FRAMES", "-o", "v.hevc", "--qp", 30]


@bad("video", "frames so narrow that libx265 would damage its memory", 2)
def _() -> Words:
    Path("FRAMES").mkdir()
    picture((48, 32)).save("FRAMES/0.png")
    return ["encode", "FRAMES", "-o", "v.hevc", "--qp", 30]


@bad("video", "an output that exists", 2)
def _() -> Words:
    Path("v.hevc").write_bytes(b"precious")
    return ["encode", "FRAMES", "-o", "v.hevc", "--qp", 30]
