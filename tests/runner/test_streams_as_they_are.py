"""Runs on the bits of video files as they are: the same records as encoding would give, GOPs of any kind, true motion."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

import vssbench
from vssbench.codec import CodecSettings, encode, read_source
from vssbench.codec.encode import SUFFIXES
from vssbench.dataset import CodedFile
from vssbench.errors import BitstreamError, CapabilityError, ConfigError

SIZE = (64, 96)
METHODS = [
    {"label": "constant", "name": "constant", "network": "swiftnet18", "width": 4},
    {"label": "warp", "name": "warp-only", "network": "swiftnet18", "width": 4},
    {"label": "tdnet", "name": "tdnet", "width": 4},
    {"label": "tap", "name": "taplab", "width": 4},
]


def pan(count: int, step: int = 2) -> list[np.ndarray]:
    """A smooth random texture that moves `step` columns per frame; content at x was at x + step in the frame before."""
    rng = np.random.default_rng(3)
    wide = SIZE[1] + step * count
    scene = np.kron(rng.integers(0, 255, (SIZE[0] // 4, wide // 4 + 1, 3)), np.ones((4, 4, 1)))
    scene = (scene + np.roll(scene, 1, 1) + np.roll(scene, 2, 0) + np.roll(scene, 3, 1)) / 4
    return [scene[:, i * step : i * step + SIZE[1]].astype(np.uint8) for i in range(count)]


def folder(root: Path, frames: int, labelled: range | None = None) -> Path:
    """A dataset folder with labels, still without frames."""
    rng = np.random.default_rng(1)
    (root / "labels").mkdir(parents=True)
    for i in labelled or range(frames):
        Image.fromarray(rng.integers(0, 3, SIZE, dtype=np.uint8)).save(root / "labels" / f"{i:03d}.png")
    (root / "classes.csv").write_text("name,red,green,blue\na,0,0,0\nb,1,1,1\nc,2,2,2\n")
    return root


def write_video(path: Path, frames: list[np.ndarray], codec: str, **options: str) -> Path:
    """A file as another encoder makes it: FFmpeg's own wrapper with these options."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = SIZE
        stream.pix_fmt, stream.options = "yuv420p", options
        for i, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = i, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def execute(root: Path, output: Path, codecs, frames="frames", methods=METHODS, **keys):
    return vssbench.run(
        {
            "datasets": [
                {"label": "d", "name": "folder", "root": str(root), "frames": frames, "frame_rate_hz": 25}
            ],
            "codecs": codecs,
            "methods": methods,
            "protocol": {"keyframe_interval": 5},
            "measure": {"step_time": False},
            **keys,
        },
        output,
        workers=1,
        cache=output.parent / "cache",
        device="cpu",
    )


def records(run) -> dict[str, dict]:
    paths = sorted((run.path / "units").rglob("*.json"))
    found = {str(path.relative_to(run.path)): json.loads(path.read_text()) for path in paths}
    for record in found.values():  # other files, so other digests of the data; equal numbers all the same
        for key in ("belongs", "digest", "timings_digest"):
            record.pop(key)
    return found


@pytest.mark.parametrize("codec", ["hevc", "h264", "mpeg4"])
def test_the_files_own_bits_give_the_records_that_encoding_gives(tmp_path, codec):
    frames, settings = pan(13), {"codec": codec, "qp": 24 if codec != "mpeg4" else 6}
    pictures = folder(tmp_path / "a", 13)
    (pictures / "frames" / "s").mkdir(parents=True)
    (pictures / "labels").rename(pictures / "unsorted")
    (pictures / "labels").mkdir()
    (pictures / "unsorted").rename(pictures / "labels" / "s")
    for i, frame in enumerate(frames):
        Image.fromarray(frame).save(pictures / "frames" / "s" / f"{i:03d}.png")
    film = folder(tmp_path / "b", 13)
    encode(frames, CodecSettings(**settings, keyframe_interval=5), 25).write(film / f"s{SUFFIXES[codec]}")

    encoded = execute(pictures, tmp_path / "encoded", [{"label": "c", **settings}])
    source = execute(film, tmp_path / "source", [{"label": "c", "codec": "source"}], f"s{SUFFIXES[codec]}")

    found, expected = records(source), records(encoded)
    # the frames before coding are known only where we encoded them
    made = encode(frames, CodecSettings(**settings, keyframe_interval=5), 25)
    assert all(record.pop("quality") == asdict(made.quality) for record in expected.values())
    assert found == expected
    assert source.summary["psnr_db"].isna().all()
    assert encoded.summary["psnr_db"].tolist() == pytest.approx([made.quality.psnr_db] * len(encoded.groups))
    unit = next(iter(found.values()))
    assert unit["coded_digest"] == hashlib.sha256((film / f"s{SUFFIXES[codec]}").read_bytes()).hexdigest()
    assert [g.miou for g in source.groups] == [g.miou for g in encoded.groups]


def test_both_kinds_of_setting_stand_in_one_experiment(tmp_path):
    root = folder(tmp_path / "d", 12)
    write_video(root / "s.mp4", pan(12), "libx264", g="7", bf="2", preset="fast")
    run = execute(
        root,
        tmp_path / "run",
        [{"codec": "source"}, {"codec": "hevc", "qp": 30}, {"codec": "source", "keyframe_interval": 4}],
        "s.mp4",
        METHODS[:2],
    )
    found = {(g.codec, g.method): g for g in run.groups}
    plain = found["source", "warp"]
    assert plain.distances == tuple(range(7))
    assert plain.frames.tolist() == [2, 2, 2, 2, 2, 1, 1]
    assert found["source L=4", "warp"].frames.tolist() == [4, 3, 3, 2]  # keyframes 0 4 | 7 11
    cost = run.cost("d", "warp", "source")
    assert cost.gop_mean_gmacs == pytest.approx((2 * cost.key_gmacs + 10 * cost.non_key_gmacs) / 12)
    assert run.cost("d", "warp", "hevc 30 qp medium").keyframe_interval == 5


def test_frames_that_are_no_video_are_refused_by_name(tmp_path):
    values = {"datasets": [{"name": "synthetic"}], "codecs": [{"codec": "source"}], "methods": METHODS[:1]}
    with pytest.raises(
        CapabilityError, match=r"dataset synthetic, .*come from no video file.*leave codec: source"
    ):
        vssbench.run(values, tmp_path / "run", workers=1, device="cpu")


def test_settings_that_mean_nothing_are_refused_by_key():
    for key, value in {
        "qp": 30,
        "preset": "fast",
        "b_frames": 2,
        "references": 1,
        "bitrate_kbps": 100,
    }.items():
        with pytest.raises(ValueError, match=f"so {key} has no meaning"):
            CodecSettings(codec="source", **{key: value})
    with pytest.raises(ValueError, match="keyframes=idr is for codec source"):
        CodecSettings(qp=30, keyframes="idr")
    with pytest.raises(ConfigError, match="encodes nothing"):
        encode(pan(1), CodecSettings(codec="source"), 25)


def test_the_papers_rule_is_refused_on_b_pictures_of_a_file(tmp_path):
    root = folder(tmp_path / "d", 9)
    write_video(root / "s.mp4", pan(9), "libx264", g="9", bf="2")
    method = {"name": "warp-only", "network": "swiftnet18", "width": 4, "flow_rule": "paper"}
    with pytest.raises(CapabilityError, match=r"method warp-only follows.*s\.mp4 has \d B pictures"):
        execute(root, tmp_path / "run", [{"codec": "source"}], "s.mp4", [method])


def test_a_group_too_large_for_memory_is_refused_with_the_remedy(tmp_path, monkeypatch):
    root = folder(tmp_path / "d", 9)
    write_video(root / "s.mp4", pan(9), "libx264", g="9")
    monkeypatch.setattr("vssbench.engine.streams.MOST_BYTES", 100_000)
    with pytest.raises(CapabilityError, match=r"s\.mp4: 9 pictures of 96x64 .* set keyframe_interval"):
        execute(root, tmp_path / "run", [{"codec": "source"}], "s.mp4", METHODS[:1])
    execute(root, tmp_path / "run", [{"codec": "source", "keyframe_interval": 3}], "s.mp4", METHODS[:1])


def test_one_picture_is_a_run(tmp_path):
    root = folder(tmp_path / "d", 1)
    write_video(root / "s.mp4", pan(1), "libx265", **{"x265-params": "log-level=none"})
    run = execute(root, tmp_path / "run", [{"codec": "source"}], "s.mp4", METHODS[:2])
    assert [group.frames.tolist() for group in run.groups] == [[1], [1]]


def test_a_file_without_the_wanted_keyframes_is_refused_with_what_it_has(tmp_path):
    path = write_video(
        tmp_path / "s.h264", pan(10), "libx264", **{"x264-params": "keyint=4:open-gop=1:bframes=1"}
    )
    late = tmp_path / "late.h264"
    data = path.read_bytes()
    units = [b"\0\0\1" + unit for unit in data.split(b"\0\0\1")[1:]]
    late.write_bytes(b"".join(unit for unit in units if unit[3] & 0x1F != 5))
    source = read_source(CodedFile(late))
    assert source.frame_types[source.keyframes(CodecSettings(codec="source"))[0]] == "I"
    with pytest.raises(
        BitstreamError, match=r"late\.h264: no picture of \d+ is a keyframe by keyframes: idr"
    ):
        source.keyframes(CodecSettings(codec="source", keyframes="idr"))


def test_a_report_tells_the_bits(tmp_path):
    root = folder(tmp_path / "d", 12)
    write_video(root / "s.mp4", pan(12), "libx264", g="7", bf="2", preset="fast")
    run = execute(root, tmp_path / "run", [{"codec": "source"}], "s.mp4", METHODS[:2])
    coded = run.datasets["d"].sequences["s"].coded
    assert coded.digest == read_source(CodedFile(root / "s.mp4")).digest
    assert (coded.groups, coded.group_frames, coded.frame_types["I"]) == (2, (5, 7), 2)
    assert coded.encoder.startswith("x264 - core")
    assert 0 < coded.mean_qp["I"] < coded.mean_qp["B"] < 52
    assert "groups of 5 to 7" in coded.text
