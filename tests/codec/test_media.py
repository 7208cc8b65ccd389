"""read_video: what it tells about a file, frames in any order, clear errors."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from vssbench.codec import CodecSettings, encode, open_video_frames, read_video
from vssbench.errors import BitstreamError, InputError


@pytest.fixture
def clip(pan, tmp_path):
    """A lossless-like mp4 of 6 frames at 12.5 Hz, and its frames."""
    frames = pan((96, 128), 6)
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=Fraction(25, 2), options={"qp": "4"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for image in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(stream.encode(None))
    return path, frames


def test_a_video_tells_its_size_rate_and_length(clip) -> None:
    video = read_video(clip[0])
    assert (video.size, video.frame_rate_hz, video.frame_count, len(video)) == ((96, 128), 12.5, 6, 6)
    assert "128x96, 6 frames, 12.5 Hz" in repr(video)


def test_frames_are_rgb_and_in_order(clip) -> None:
    path, frames = clip
    decoded = list(read_video(path))
    assert len(decoded) == 6
    for image, source in zip(decoded, frames, strict=True):
        assert image.dtype == np.uint8
        assert np.abs(image.astype(int) - source).mean() < 4


def test_iterating_again_starts_again(clip) -> None:
    video = read_video(clip[0])
    np.testing.assert_array_equal(list(video), list(video))
    np.testing.assert_array_equal(list(open_video_frames(clip[0])), list(video))


def test_single_frames_equal_the_sequence_in_any_order(clip) -> None:
    video = read_video(clip[0])
    frames = list(video)
    for index in (0, 1, 4, 4, 2, 5, 0):
        np.testing.assert_array_equal(video.frame(index), frames[index])
    for index in (-1, 6):
        with pytest.raises(InputError, match=f"frame {index} does not exist; expected 0 to 5"):
            video.frame(index)


def test_elementary_streams_are_videos_too(pan, tmp_path) -> None:
    for codec, name in [("hevc", "a.hevc"), ("h264", "a.h264"), ("mpeg4", "a.m4v")]:
        encode(pan((96, 128), 3), CodecSettings(codec=codec, qp=10), 12.5).write(tmp_path / name)
        video = read_video(tmp_path / name)
        assert (video.size, video.frame_count) == ((96, 128), 3)
        assert len(list(video)) == 3
        if codec != "mpeg4":  # FFmpeg does not read the rate of raw MPEG-4 and says 25
            assert video.frame_rate_hz == 12.5


@pytest.mark.parametrize("share", [0.1, 0.6])
def test_a_truncated_mp4_is_an_error(clip, tmp_path, share) -> None:
    data = clip[0].read_bytes()
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match=r"broken\.mp4"):
        list(read_video(broken))


def test_a_stream_cut_inside_a_picture_is_an_error(pan, tmp_path) -> None:
    bitstream = encode(pan((96, 128), 4), CodecSettings(codec="h264", qp=10, keyframe_interval=1), 30)
    path = tmp_path / "cut.h264"
    path.write_bytes(bitstream.data[: -bitstream.packet_bytes[-1] // 2])
    with pytest.raises(BitstreamError, match=r"cut\.h264"):
        list(read_video(path))


def test_a_change_of_size_is_an_error(pan, tmp_path) -> None:
    settings = CodecSettings(codec="h264", qp=10)
    path = tmp_path / "two.h264"
    path.write_bytes(
        encode(pan((96, 128), 3), settings, 30).data + encode(pan((64, 96), 3), settings, 30).data
    )
    with pytest.raises(
        BitstreamError, match="frame 3 is 96x64, but the file begins with 128x96; expected one size"
    ):
        list(read_video(path))


def test_what_is_no_video_is_named(tmp_path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty.mp4").touch()
    for name, reason in [
        ("absent.mp4", "no such file"),
        ("", "is a folder"),
        ("notes.txt", "not a video"),
        ("empty.mp4", "not a video"),
    ]:
        with pytest.raises(InputError, match=reason):
            read_video(tmp_path / name)


def test_sound_alone_is_no_video(tmp_path) -> None:
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.rate = 8000
        file.mux(stream.encode(frame))
    with pytest.raises(InputError, match="not a video that FFmpeg can open"):
        read_video(path)
