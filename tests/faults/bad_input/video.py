"""Bad video files, and frames that are not to be encoded."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from bad_input.case import Words, bad
from bad_input.datasets import picture, png


def video(
    suffix: str = "mp4",
    codec: str = "libx264",
    *,
    frames: int = 8,
    size: tuple[int, int] = (64, 48),
    matrix: tuple[int, ...] = (),
    movflags: str = "",
    **options: str,
) -> bytes:
    path = f"made.{suffix}"
    options = {"refs": "1", "bf": "0", **options} if codec == "libx264" else options
    with av.open(path, "w", options={"movflags": movflags} if movflags else {}) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p" if codec != "mjpeg" else "yuvj420p"
        stream.thread_count = 1
        if matrix:
            a, b, c, d = matrix
            stream.set_display_matrix((a, b, 0, c, d, 0, 0, 0, 1 << 30))
        for index in range(frames):
            for packet in stream.encode(av.VideoFrame.from_image(picture(size, index))):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return Path(path).read_bytes()


def faststart() -> bytes:
    return video(movflags="faststart", frames=20)


def encrypted() -> bytes:
    key = {
        "encryption_scheme": "cenc-aes-ctr",
        "encryption_key": "0" * 31 + "1",
        "encryption_kid": "0" * 31 + "2",
    }
    Path("plain.mp4").write_bytes(video())
    with av.open("plain.mp4") as plain, av.open("locked.mp4", "w", options=key) as locked:
        copy = locked.add_stream_from_template(plain.streams.video[0])
        for packet in plain.demux(plain.streams.video[0]):
            if packet.size:
                packet.stream = copy
                locked.mux(packet)
    return Path("locked.mp4").read_bytes()


def sound() -> bytes:
    with av.open("sound.mp4", "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 8000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return Path("sound.mp4").read_bytes()


def encode_one(data: bytes, name: str) -> Words:
    Path(name).write_bytes(data)
    return ["encode", name, "-o", "out.hevc", "--qp", 30]


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
    "MPEG-4 with B pictures": lambda: motion(video("avi", "mpeg4", bf="2"), "v.avi"),
    "interlaced MPEG-2": lambda: motion(video("m2v", "mpeg2video", flags="+ildct+ilme"), "v.m2v"),
    "a playlist that names other files": lambda: motion(
        b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n/etc/hostname\n#EXT-X-ENDLIST\n", "v.mp4"
    ),
    "a concatenation script": lambda: motion(b"ffconcat version 1.0\nfile made.mp4\n", "v.mp4"),
    "a zip archive as video": lambda: motion(_zip(), "v.mkv"),
    "an mkv cut in its middle": lambda: motion((d := video("mkv", frames=40))[: len(d) // 2], "v.mkv"),
    "an avi cut in its middle": lambda: motion((d := video("avi", "mpeg4"))[: len(d) // 2], "v.avi"),
    "a transport stream cut inside a packet": lambda: motion(video("ts")[:-100], "v.ts"),
    "an mp4 with its index first, cut": lambda: motion((d := faststart())[: len(d) * 2 // 3], "v.mp4"),
    "an encrypted mp4": lambda: motion(encrypted(), "v.mp4"),
    "an mp4 turned by 45 degrees": lambda: motion(video(matrix=(46341, 46341, -46341, 46341)), "v.mp4"),
    "a colour matrix that needs the transfer function": lambda: encode_one(
        video("mkv", **{"x264-params": "colormatrix=bt2020c"}), "v.mkv"
    ),
    "sound alone": lambda: motion(sound(), "v.mp4"),
    "a video stream that is not there": lambda: [*motion(video(), "v.mp4"), "--stream", 3],
    "frames of a size that changes": lambda: encode_one(
        video("h264") + video("h264", size=(96, 64)), "v.h264"
    ),
    "a pipe as video": lambda: (os.mkfifo("v.mp4"), ["encode", "v.mp4", "-o", "v.hevc", "--qp", 30])[1],
    "a folder as video": lambda: (Path("v.mp4").mkdir(), ["motion", "v.mp4"])[1],
    "a video that is not there": lambda: ["motion", "absent.mp4"],
}


ASKED_TOO_MUCH = (
    "a codec without motion vectors to read",
    "MPEG-4 with B pictures",
    "interlaced MPEG-2",
    "an encrypted mp4",
    "an mp4 turned by 45 degrees",
    "a colour matrix that needs the transfer function",
    "a video stream that is not there",
)


def _zip() -> bytes:
    with zipfile.ZipFile("a.zip", "w") as archive:
        archive.writestr("video.mp4", b"")
    return Path("a.zip").read_bytes()


for title, make in VIDEOS.items():
    bad(
        "video",
        title,
        2 if title in ASKED_TOO_MUCH else 3,
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
