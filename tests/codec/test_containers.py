"""Containers as they come: several streams, cover pictures, cut and encrypted files, odd names, sizes and times."""

from __future__ import annotations

import logging
import os
import struct
from collections import defaultdict
from fractions import Fraction

import av
import numpy as np
import pytest

from vssbench.codec import CodecSettings, decode, encode, read_motion, read_video
from vssbench.errors import BitstreamError, CapabilityError, ConfigError, InputError

P_ONLY = "bframes=0:keyint=40"


def box(name, *parts):
    body = b"".join(parts)
    return struct.pack(">I", len(body) + 8) + name + body


def boxes(data):
    while data:
        size = int.from_bytes(data[:4], "big")
        yield data[:size]
        data = data[size:]


def encoded(file, stream, frames):
    for image in [*frames, None]:
        picture = (
            None if image is None else av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        )
        for packet in stream.encode(picture):
            file.mux(packet)


def add_video(file, size, codec="libx264", pixels="yuv420p"):
    stream = file.add_stream(codec, rate=25)
    stream.height, stream.width, stream.pix_fmt = *size, pixels
    return stream


def with_cover(source, target):
    """The mp4 with a JPEG cover in its metadata, which FFmpeg lists as the first video stream."""
    jpeg = av.CodecContext.create("mjpeg", "w")
    jpeg.width, jpeg.height, jpeg.pix_fmt, jpeg.time_base = 64, 64, "yuvj420p", Fraction(1, 25)
    grey = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 200, np.uint8), format="rgb24").reformat(
        format="yuvj420p"
    )
    picture = b"".join(bytes(packet) for packet in [*jpeg.encode(grey), *jpeg.encode(None)])
    handler = box(b"hdlr", bytes(8), b"mdirappl", bytes(9))
    cover = box(b"covr", box(b"data", struct.pack(">II", 13, 0), picture))
    metadata = box(b"udta", box(b"meta", bytes(4), handler, box(b"ilst", cover)))
    parts = []
    for part in boxes(source.read_bytes()):
        if part[4:8] == b"moov":
            inner = [b for b in boxes(part[8:]) if b[4:8] != b"udta"]
            part = box(b"moov", metadata, *inner)
        parts.append(part)
    target.write_bytes(b"".join(parts))
    return target


def test_a_cover_picture_is_not_the_video(pan, film, tmp_path) -> None:
    whole = film(tmp_path / "v.mp4", pan((96, 128), 5), "hevc", P_ONLY)
    path = with_cover(whole, tmp_path / "cover.mp4")
    with av.open(str(path)) as file:
        assert len(file.streams.video) == 2
    video = read_video(path)
    assert (video.size, video.frame_count, video.remarks) == ((96, 128), 5, ())
    np.testing.assert_array_equal(list(video), list(read_video(whole)))
    for ours, theirs in zip(decode(path), decode(whole), strict=True):
        np.testing.assert_array_equal(ours.motion.vectors_qpel, theirs.motion.vectors_qpel)


@pytest.fixture
def two_streams(pan, tmp_path):
    """A thumbnail track before the video; FFmpeg's best stream is the second."""
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as file:
        small, large = add_video(file, (32, 48)), add_video(file, (96, 128))
        encoded(file, small, pan((32, 48), 3))
        encoded(file, large, pan((96, 128), 8))
    return path


def test_of_several_streams_the_main_one_is_read_and_said(two_streams, caplog) -> None:
    with av.open(str(two_streams)) as file:
        best = file.streams.best("video")
        expected = best.index, (best.height, best.width)
    with caplog.at_level(logging.WARNING):
        video = read_video(two_streams)
    assert (video.stream, video.size) == expected == (1, (96, 128))
    assert "of 2 video streams 0 (h264 48x32), 1 (h264 128x96) number 1 is read" in caplog.text


def test_another_stream_can_be_chosen(two_streams) -> None:
    video = read_video(two_streams, stream=0)
    assert (video.size, video.frame_count) == ((32, 48), 3)
    assert next(iter(decode(two_streams, motion=False, stream=0))).image.shape == (32, 48, 3)
    with pytest.raises(
        ConfigError, match=r"stream 7 is no video stream of the file; expected one of 0 \(h264 48x32\)"
    ):
        read_video(two_streams, stream=7)


def test_sound_alone_and_a_cover_alone_are_no_video(pan, tmp_path) -> None:
    sound = tmp_path / "sound.mp4"
    with av.open(str(sound), "w") as file:
        stream = file.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 8000
        file.mux([*stream.encode(frame), *stream.encode(None)])
    with pytest.raises(InputError, match="holds no video stream"):
        read_video(sound)
    cover = with_cover(sound, tmp_path / "cover.mp4")
    with pytest.raises(InputError, match="holds cover pictures only, no video"):
        read_video(cover)


def test_sound_before_the_video_changes_nothing(pan, tmp_path) -> None:
    path = tmp_path / "both.mp4"
    with av.open(str(path), "w") as file:
        sound, video = file.add_stream("aac", rate=8000), add_video(file, (96, 128))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 8000
        file.mux([*sound.encode(frame), *sound.encode(None)])
        encoded(file, video, pan((96, 128), 4))
    assert (read_video(path).frame_count, read_video(path).stream) == (4, 1)


CODING = defaultdict(lambda: ("hevc", P_ONLY), avi=("mpeg4", ""))
"""HEVC, which AVI files cannot hold."""


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8, 0.97])
@pytest.mark.parametrize("container", ["mkv", "ts", "avi", "mp4"])
def test_a_cut_file_is_never_half_the_pictures_in_silence(
    pan, film, remuxed, tmp_path, container, share
) -> None:
    whole = film(tmp_path / "whole.mkv", pan((96, 128), 40), *CODING[container])
    path = remuxed(whole, tmp_path / f"whole.{container}")
    data = path.read_bytes()
    cut = tmp_path / f"cut.{container}"
    cut.write_bytes(data[: int(len(data) * share) // 2 * 2 + 1])
    with pytest.raises(InputError, match=r"cut\.\w+: .*"):
        list(read_video(cut))
    with pytest.raises(InputError, match=r"cut\.\w+: .*"):
        list(decode(cut, motion=False))


def test_an_mp4_whose_index_stands_first_says_how_many_pictures_are_missing(
    pan, film, remuxed, tmp_path
) -> None:
    whole = film(tmp_path / "whole.mkv", pan((96, 128), 20), "hevc", P_ONLY)
    path = remuxed(whole, tmp_path / "fast.mp4", options={"movflags": "faststart"})
    data = path.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(
        BitstreamError, match=r"holds \d+ of the 20 pictures that its index lists|is incomplete"
    ):
        read_video(tmp_path / "cut.mp4")


@pytest.mark.parametrize("container", ["mkv", "avi", "mp4", "ts", "nut", "mov"])
def test_whole_files_are_never_called_cut(pan, film, remuxed, tmp_path, container) -> None:
    """Also with sound that goes on after the pictures, and with one picture only."""
    for count in (1, 2, 9):
        whole = film(tmp_path / f"{count}.mkv", pan((96, 128), count), *CODING[container])
        path = remuxed(whole, tmp_path / f"{count}.{container}")
        assert len(list(read_video(path))) == read_video(path).frame_count == count
        assert len(list(read_motion(path))) == count


def test_longer_sound_does_not_make_a_file_cut(pan, tmp_path) -> None:
    path = tmp_path / "sound.mkv"
    with av.open(str(path), "w") as file:
        video, sound = add_video(file, (96, 128)), file.add_stream("aac", rate=8000)
        encoded(file, video, pan((96, 128), 3))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 40960), np.float32), format="fltp", layout="mono")
        frame.rate = 8000
        file.mux([*sound.encode(frame), *sound.encode(None)])
    assert read_video(path).frame_count == 3


@pytest.mark.parametrize("name", ["v.hevc", "v.bin", "v.mp4", "v.h264", "v", "http:v.mp4", "-v%03d.mp4"])
def test_the_content_decides_and_not_the_name(pan, film, tmp_path, monkeypatch, name) -> None:
    """An mp4 named .hevc, and an elementary stream of any name."""
    frames = pan((96, 128), 4)
    for source in (
        film(tmp_path / "a.mp4", frames, "hevc", P_ONLY),
        film(tmp_path / "a.hevc", frames, "hevc", P_ONLY),
    ):
        path = tmp_path / name
        path.write_bytes(source.read_bytes())
        monkeypatch.chdir(tmp_path)
        assert read_video(name).frame_count == 4
        assert read_video(path).frame_count == len(list(decode(path))) == len(list(read_motion(path))) == 4


def test_a_transport_stream_may_begin_anywhere_and_have_longer_packets(pan, film, tmp_path) -> None:
    plain = film(tmp_path / "v.ts", pan((96, 128), 6), "hevc", P_ONLY + ":repeat-headers=1").read_bytes()
    packets = [plain[at : at + 188] for at in range(0, len(plain), 188)]
    variants = {
        "unaligned.ts": bytes(range(1, 100)) + plain,
        "v.m2ts": b"".join(bytes(4) + packet for packet in packets),
        "v.mts": b"".join(bytes(4) + packet for packet in packets),
    }
    from vssbench.codec import hevc

    expected = [field.poc for field in hevc.read_motion(tmp_path / "v.ts")]
    for name, data in variants.items():
        (tmp_path / name).write_bytes(data)
        assert read_video(tmp_path / name).frame_count == len(list(decode(tmp_path / name))) == 6
        assert [field.poc for field in hevc.read_motion(tmp_path / name)] == expected


def test_titles_in_another_encoding_do_not_matter(pan, film, tmp_path) -> None:
    path = tmp_path / "title.mp4"
    with av.open(str(path), "w") as file:
        file.metadata["title"] = "cafe-title"
        encoded(file, add_video(file, (96, 128)), pan((96, 128), 3))
    data = path.read_bytes()
    assert data.count(b"cafe-title") == 1
    path.write_bytes(data.replace(b"cafe-title", b"caf\xe9-title"))
    assert read_video(path).frame_count == len(list(decode(path, motion=False))) == 3


def test_an_encrypted_file_is_named_so(shared) -> None:
    path = shared / "cases" / "media" / "enc.mp4"
    for work in (read_video, read_motion, lambda p: list(decode(p))):
        with pytest.raises(CapabilityError, match=r"enc\.mp4: the video is encrypted"):
            list(work(path))


@pytest.mark.parametrize("name", ["latin1.mp4", "b192.m2ts", "b.avi", "b.mkv"])
def test_the_odd_files_are_read(shared, name) -> None:
    path = shared / "cases" / "media" / name
    assert len(list(read_video(path))) == len(list(read_motion(path))) == len(list(decode(path))) == 26
    assert read_video(path).frame_rate_hz == 25


@pytest.mark.parametrize("name", ["cut50_b.mkv", "cut50_h264.mkv"])
def test_half_a_file_is_said(shared, name) -> None:
    with pytest.raises(
        BitstreamError, match=r"its pictures end at 0\.\d+ s, but its header promises \d\.\d+ s"
    ):
        read_video(shared / "cases" / "media" / name)


def test_pipes_and_devices_are_no_files(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(InputError, match="is a pipe, socket or device"):
        read_video(tmp_path / "pipe.mp4")


def test_a_change_of_size_is_an_error_of_videos_and_a_fact_of_streams(pan, tmp_path) -> None:
    """A dataset's frames have one size; decode() gives each picture with the motion of its own size."""
    settings = CodecSettings(codec="hevc", qp=20, keyframe_interval=3)
    parts = [encode(pan(size, 3), settings, 25).data for size in ((96, 128), (64, 96))]
    path = tmp_path / "two.hevc"
    path.write_bytes(b"".join(parts))
    with pytest.raises(BitstreamError, match="frame 3 is 96x64, but the file begins with 128x96"):
        list(read_video(path))
    shown = list(decode(path))
    assert [frame.image.shape[:2] for frame in shown] == [(96, 128)] * 3 + [(64, 96)] * 3
    assert all(frame.motion.size == frame.image.shape[:2] for frame in shown)


def test_frames_at_uneven_times_all_come_and_the_rate_is_their_mean(pan, film, tmp_path) -> None:
    whole = film(tmp_path / "whole.mkv", pan((96, 128), 6), "hevc", P_ONLY)
    path = tmp_path / "uneven.mp4"
    with av.open(str(whole)) as old, av.open(str(path), "w") as new:
        copy = new.add_stream_from_template(old.streams.video[0])
        times = iter([0, 40, 80, 320, 360, 960])
        for packet in old.demux(old.streams.video[0]):
            if packet.size:
                packet.pts = packet.dts = next(times)
                packet.duration = 40
                packet.stream = copy
                new.mux(packet)
    video = read_video(path)
    assert video.frame_count == len(list(decode(path))) == 6
    assert video.frame_rate_hz == pytest.approx(6 / 1.0, rel=0.05)


def test_pictures_without_duration_all_come(pan, film, tmp_path) -> None:
    """All at one time: neither an error nor a picture less."""
    whole = film(tmp_path / "whole.mkv", pan((96, 128), 4), "hevc", P_ONLY)
    path = tmp_path / "zero.nut"
    with av.open(str(whole)) as old, av.open(str(path), "w") as new:
        copy = new.add_stream_from_template(old.streams.video[0])
        for number, packet in enumerate(p for p in old.demux(old.streams.video[0]) if p.size):
            packet.pts = packet.dts = number // 4
            packet.duration = 0
            packet.stream = copy
            new.mux(packet)
    assert len(list(read_video(path))) == len(list(read_motion(path))) == 4


def test_the_rate_of_an_avi_is_that_of_its_pictures(pan, film, tmp_path) -> None:
    """AVI counts empty entries as pictures; the header's rate is twice the true one where every other is empty."""
    path = tmp_path / "half.avi"
    whole = film(tmp_path / "whole.mkv", pan((96, 128), 8), "mpeg4")
    with av.open(str(whole)) as old, av.open(str(path), "w") as new:
        copy = new.add_stream_from_template(old.streams.video[0])
        copy.time_base = Fraction(1, 50)
        for number, packet in enumerate(p for p in old.demux(old.streams.video[0]) if p.size):
            packet.time_base = Fraction(1, 50)
            packet.pts = packet.dts = 2 * number
            packet.duration = 1
            packet.stream = copy
            new.mux(packet)
    video = read_video(path)
    assert video.frame_count == len(list(decode(path))) == 8
    assert video.frame_rate_hz == pytest.approx(25, rel=0.1)
