"""Clips of streams as they are: motion towards keyframes of any type in open groups, against movement that is known."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from vssbench.codec import CodecSettings, decode, read_source
from vssbench.dataset import CodedFile
from vssbench.engine.feed import ClipFeed, split_into_clips
from vssbench.experiment.clips import cut_source
from vssbench.experiment.schema import ProtocolSettings
from vssbench.method import Needs

SIZE = (96, 128)


def pan(count: int, step: float) -> list[np.ndarray]:
    """A texture that moves by `step` columns per frame, by phase: content at x was at x + step in the frame before."""
    width = 512
    rng = np.random.default_rng(5)
    spectrum = np.fft.fft2(rng.normal(size=(SIZE[0], width)))
    y, x = np.fft.fftfreq(SIZE[0])[:, None], np.fft.fftfreq(width)[None]
    spectrum = spectrum / (1 + 1500 * (x**2 + y**2)) * (abs(x) < 0.4)
    scale = 45 / np.fft.ifft2(spectrum).real.std()
    frames = []
    for i in range(count):
        moved = np.fft.ifft2(spectrum * np.exp(2j * np.pi * x * i * step)).real[:, : SIZE[1]] * scale + 128
        frames.append(np.repeat(moved.clip(0, 255).astype(np.uint8)[..., None], 3, 2))
    return frames


def write(
    path: Path, frames: list[np.ndarray], codec: str, forced: tuple[int, ...] = (), **options: str
) -> Path:
    """A file by FFmpeg's own wrapper of an encoder; `forced` pictures become keyframes."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt, stream.options = *SIZE, "yuv420p", options
        for i, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = i, Fraction(1, 25)
            if i in forced:
                picture.pict_type = av.video.frame.PictureType.I
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def clips_of(path: Path, **settings):
    source = read_source(CodedFile(path))
    keyframes = source.keyframes(CodecSettings(codec="source", **settings))
    count = source.frame_count
    ((encode,),) = cut_source(count, keyframes, range(count), ProtocolSettings())
    return source, list(split_into_clips(decode(path), encode, None, history=3, lookahead=4))


X264, X265 = "libx264", "libx265"
OPEN = {
    "closed, one reference": (X264, {"x264-params": "keyint=9:min-keyint=9:scenecut=0:bframes=0:ref=1"}),
    "pyramid of B pictures": (X264, {"x264-params": "keyint=12:scenecut=0:bframes=3:b-pyramid=normal:b-adapt=0:ref=3"}),
    "open groups, H.264": (X264, {"x264-params": "keyint=8:min-keyint=1:scenecut=0:bframes=2:b-adapt=0:open-gop=1"}),
    "open groups, HEVC": (X265, {"x265-params": "keyint=8:min-keyint=8:scenecut=0:bframes=3:b-adapt=0:open-gop=1:log-level=none"}),
}  # fmt: skip


@pytest.mark.parametrize("kind", OPEN)
@pytest.mark.parametrize("step", [3, 1.25, -2.5])
@pytest.mark.parametrize("interval", [None, 5])
def test_motion_leads_to_the_keyframe_of_a_pan(tmp_path, kind, step, interval):
    codec, options = OPEN[kind]
    path = write(tmp_path / "s.mp4", pan(26, step), codec, **options)
    _, clips = clips_of(path, keyframe_interval=interval)
    assert sum(len(clip.frames) for clip in clips) == 26
    inner = (slice(24, -24), slice(32, -32))
    for clip in clips:
        feed, followed = ClipFeed(clip, torch.device("cpu")), []
        for position in range(len(clip.frames)):
            frame = feed.frame(position, Needs(flow_key=True, flow_previous=True))
            assert frame.keyframe_distance == position
            valid = frame.flow_valid[0].numpy()[inner]
            followed.append(valid.mean())
            x, y = frame.flow_key[0].numpy()
            if valid.mean() > 0.5:
                wrong = abs(np.median(x[inner][valid]) - position * step)
                assert wrong <= 0.25 + 0.13 * position, (kind, position)
                assert abs(np.median(y[inner][valid])) <= 0.25 + 0.13 * position
        assert np.mean(followed) > 0.95, (kind, followed)


def test_groups_vary_and_distances_count_displayed_pictures(tmp_path):
    options = {"x264-params": "keyint=250:scenecut=0:bframes=2:b-adapt=0"}
    path = write(tmp_path / "s.mp4", pan(20, 2), X264, (0, 3, 10, 11), **options)
    _, clips = clips_of(path)
    assert [clip.plan.first for clip in clips] == [0, 3, 10, 11]
    assert [len(clip.frames) for clip in clips] == [3, 7, 1, 9]
    assert [clips[1].keyframe_distance(p) for p in clips[1].positions()] == [
        0,
        1,
        2,
        0,
        1,
        2,
        3,
        4,
        5,
        6,
        0,
        0,
        1,
        2,
    ]


@pytest.mark.parametrize("kind", ["open groups, H.264", "open groups, HEVC"])
def test_only_the_first_picture_of_an_open_stream_is_idr(tmp_path, kind):
    codec, options = OPEN[kind]
    source = read_source(CodedFile(write(tmp_path / "s.mkv", pan(26, 2), codec, **options)))
    starts = [i for i, kind in enumerate(source.frame_types) if kind == "I"]
    assert len(starts) > 2
    of = {
        k: list(source.keyframes(CodecSettings(codec="source", keyframes=k)))
        for k in ("irap", "idr", "every_i")
    }
    assert of == {"irap": starts, "idr": [0], "every_i": starts}


def test_frames_carry_what_the_decoder_knows(tmp_path):
    codec, options = OPEN["pyramid of B pictures"]
    path = write(tmp_path / "s.mp4", pan(12, 2), codec, **options)
    with av.open(str(path)) as container:
        packets = [(p.pts, 8 * p.size) for p in container.demux(video=0) if p.size]
    order = {pts: rank for rank, (pts, _) in enumerate(packets)}
    shown = sorted(order)
    source = read_source(CodedFile(path))
    ((encode,),) = cut_source(12, (0,), range(12), ProtocolSettings())
    (clip,) = split_into_clips(decode(path, qp=True), encode, None)
    feed = ClipFeed(clip, torch.device("cpu"))
    for position, pts in enumerate(shown):
        frame = feed.frame(position, Needs(flow_key=True, flow_previous=True, qp=True))
        assert (frame.display_order, frame.decode_order) == (position, order[pts])
        assert frame.coded_bits.tolist() == [dict(packets)[pts]]
        assert frame.qp.shape == (1, SIZE[0] // 4, SIZE[1] // 4)
        assert frame.qp.float().mean() == pytest.approx(source.mean_qps[position])
        plain = feed.frame(position, Needs())
        assert plain.qp is plain.flow_valid is plain.flow_valid_key is plain.flow_valid_previous is None
        assert (frame.flow_valid_previous is None) == (position == 0)
    last = feed.frame(11, Needs(flow_key=True, flow_previous=True))
    assert not torch.equal(last.flow_valid_key, last.flow_valid_previous)
    assert torch.equal(last.flow_valid, last.flow_valid_key)
