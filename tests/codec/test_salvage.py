"""Damaged files: the sound groups of pictures are used as they were, the others are left out and told, never guessed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vssbench.codec import CodecSettings, decode, digest_decoded, encode, read_source, read_video
from vssbench.codec.encode import SUFFIXES
from vssbench.dataset import CodedFile
from vssbench.errors import BitstreamError

SIZE = (64, 96)
CODECS = {"hevc": {"qp": 24}, "h264": {"qp": 24}, "mpeg4": {"qp": 6}}


def scene(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(4)
    wide = (
        rng.integers(0, 255, (SIZE[0] // 4, SIZE[1] // 4 + count, 3), dtype=np.uint8)
        .repeat(4, 0)
        .repeat(4, 1)
    )
    return [np.ascontiguousarray(wide[:, 3 * i : 3 * i + SIZE[1]]) for i in range(count)]


@pytest.fixture(scope="module", params=CODECS)
def stream(request):
    """Four groups of five pictures."""
    return encode(
        scene(20), CodecSettings(codec=request.param, keyframe_interval=5, **CODECS[request.param]), 25
    )


def write(stream, path: Path, *broken: int) -> Path:
    """The stream with the middle of some packets overwritten."""
    data, ends = bytearray(stream.data), np.cumsum(stream.packet_bytes)
    for packet in broken:
        middle = int(ends[packet]) - stream.packet_bytes[packet] * 2 // 3
        length = min(60, stream.packet_bytes[packet] // 2)
        data[middle : middle + length] = bytes(length)
    target = path / f"s{SUFFIXES[stream.settings.codec]}"
    target.write_bytes(data)
    return target


def pictures(path: Path) -> list[bytes]:
    return [frame.image.tobytes() for frame in decode(path, motion=False)]


def usable(path: Path):
    return list(decode(CodedFile(path, partial=True)))


def test_an_undamaged_file_is_as_without(stream, tmp_path):
    path = write(stream, tmp_path)
    assert digest_decoded(usable(path)) == digest_decoded(decode(path))
    assert read_source(CodedFile(path, partial=True)).digest == read_source(CodedFile(path)).digest


@pytest.mark.parametrize(
    ("broken", "left_out"),
    [((5,), ((5, 5),)), ((7,), ((5, 5),)), ((0,), ((0, 5),)), ((18,), ((15, 5),)), ((6, 12), ((5, 10),))],
)
def test_groups_that_are_damaged_are_left_out_and_the_others_are_exact(stream, tmp_path, broken, left_out):
    path = write(stream, tmp_path, *broken)
    with pytest.raises(BitstreamError):
        list(decode(path))
    source = read_source(CodedFile(path, partial=True))
    assert source.left_out == left_out
    ((first, count),) = left_out
    kept = [i for i in range(20) if not first <= i < first + count]
    (tmp_path / "whole").mkdir()
    whole = list(decode(write(stream, tmp_path / "whole")))
    found = usable(path)
    assert [frame.image.tobytes() for frame in found] == [whole[i].image.tobytes() for i in kept]
    for frame, i in zip(found, kept, strict=True):
        for name in ("vectors_qpel", "mode"):
            assert np.array_equal(getattr(frame.motion, name), getattr(whole[i].motion, name))
    assert source.frame_types == "".join(whole[i].frame_type for i in kept)
    assert source.keyframes(CodecSettings(codec="source")) == tuple(range(0, len(kept), 5))
    video = read_video(path, partial=True)
    assert [image.tobytes() for image in video] == [frame.image.tobytes() for frame in found]
    assert any(
        f"pictures {first} to {first + count - 1} are left out, {count} of 20" in r for r in video.remarks
    )


def test_a_file_that_ends_too_early_is_used_up_to_its_last_sound_group(stream, tmp_path):
    path = write(stream, tmp_path)
    path.write_bytes(stream.data[: sum(stream.packet_bytes[:17]) + stream.packet_bytes[17] // 2])
    kept = usable(path)
    assert len(kept) == 15
    (tmp_path / "whole").mkdir()
    assert [f.image.tobytes() for f in kept] == pictures(write(stream, tmp_path / "whole"))[:15]


def test_a_file_without_a_sound_group_is_refused(stream, tmp_path):
    path = write(stream, tmp_path, 0, 5, 10, 15)
    with pytest.raises(BitstreamError, match=r"s\.\w+: (none of its 4 groups|holds no picture)"):
        usable(path)
