"""MPEG-2 motion against pans of known vectors and the decoded pixels; what cannot be right is refused by name."""

from __future__ import annotations

import re
from fractions import Fraction

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from vssbench.cli import app
from vssbench.codec import CodecSettings, decode, flow_to_keyframe, prediction_residual, read_motion
from vssbench.codec.source import read_source
from vssbench.dataset import CodedFile
from vssbench.errors import BitstreamError, CapabilityError, ConfigError
from vssbench.records import MODE_INTER, NO_REFERENCE

STEP = (4, 2)
SIZE = (96, 128)
FIXED = {"flags": "+qscale", "global_quality": "236", "sc_threshold": "1000000000", "g": "8"}


@pytest.fixture(scope="module")
def coded(film, pan, tmp_path_factory):
    """coded(name, **options): 15 pictures of a pan as an MPEG-2 file."""

    def make(name="pan.m2v", size=SIZE, **options):
        path = tmp_path_factory.mktemp("mpeg2") / name
        return film(path, pan(size, 15, STEP), "mpeg2video", **{**FIXED, **options})

    return make


@pytest.fixture(scope="module")
def with_b(coded):
    return coded(bf="2", b_strategy="0")


def shares_of_the_pan(field):
    """Of each list that the picture uses, the share of its blocks whose vector is the pan's over the distance in POCs."""
    shares = []
    for at in range(2):
        used = field.reference_poc[:, :, at] != NO_REFERENCE
        if used.any():
            distance = field.poc - field.reference_poc[:, :, at][used]
            expected = 4 * np.array(STEP) * distance[:, None]
            shares.append(np.mean((field.vectors_qpel[:, :, at][used] == expected).all(axis=1)))
    return shares


def patched(path, target, change):
    """A copy of an elementary stream with its bytes changed."""
    target.write_bytes(change(path.read_bytes()))
    return target


@pytest.mark.parametrize("b_pictures", ["0", "2"])
def test_vectors_are_the_pans_towards_the_pictures_they_name(coded, b_pictures) -> None:
    fields = list(read_motion(coded(bf=b_pictures, b_strategy="0")))
    assert [field.poc for field in fields] == list(range(15))
    assert sorted(field.decode_order for field in fields) == list(range(15))
    for field in fields:
        if field.frame_type == "I":
            assert np.all(field.reference_poc == NO_REFERENCE)
        else:
            assert min(shares_of_the_pan(field)) > 0.7
    anchors = [field.poc for field in fields if field.frame_type != "B"]
    for field in fields:
        before = max((poc for poc in anchors if poc < field.poc), default=None)
        after = min((poc for poc in anchors if poc > field.poc), default=None)
        for at, poc in enumerate((before, after)):
            named = set(np.unique(field.reference_poc[:, :, at])) - {NO_REFERENCE}
            assert named <= ({poc} if at == 0 or field.frame_type == "B" else set())


def test_prediction_with_the_vectors_leaves_what_the_encoder_had_to_code(with_b) -> None:
    frames = list(decode(with_b))
    assert {frame.frame_type for frame in frames} == set("IPB")
    for index, frame in enumerate(frames):
        if frame.frame_type != "I":  # the last picture too, to which FFmpeg by itself attaches nothing
            inter = np.kron(frame.motion.mode == MODE_INTER, np.ones((4, 4), bool))
            still = np.abs(frame.image.astype(int) - frames[index - 1].image).mean()
            assert inter.mean() > 0.7
            assert np.abs(prediction_residual(frames, index)).mean(axis=0)[inter].mean() < still / 3


def test_containers_and_threads_change_nothing(coded, with_b) -> None:
    wanted = list(read_motion(with_b))
    for name in ("pan.mkv", "pan.ts", "pan.mpg", "pan.mp4"):
        found = list(read_motion(coded(name, bf="2", b_strategy="0"), threads=2))
        assert [(f.poc, f.frame_type) for f in found] == [(f.poc, f.frame_type) for f in wanted]
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(one.vectors_qpel, other.vectors_qpel)
            np.testing.assert_array_equal(one.reference_poc, other.reference_poc)


def test_order_counts_go_on_without_group_headers(with_b, tmp_path) -> None:
    """Temporal references then go on as well: of the second group they are larger by the first's pictures."""

    def without_groups(data):
        first = data.index(b"\0\0\1\xb8")
        again = data.index(b"\0\0\1\xb8", first + 4)

        def later(match):
            moved = (match[1][0] << 2 | match[1][1] >> 6) + shown
            return b"\0\0\1\0" + bytes([moved >> 2, (moved & 3) << 6 | match[1][1] & 63])

        shown = data[:again].count(b"\0\0\1\0")
        tail = re.sub(rb"\x00\x00\x01\x00(..)", later, data[again:], flags=re.DOTALL)
        tail = re.sub(rb"\x00\x00\x01\xb8....", b"", tail, flags=re.DOTALL)
        return data[:again] + tail

    whole, bare = read_motion(with_b), read_motion(patched(with_b, tmp_path / "bare.m2v", without_groups))
    for one, other in zip(whole, bare, strict=True):
        assert one.poc == other.poc
        np.testing.assert_array_equal(one.reference_poc, other.reference_poc)


def test_a_file_that_begins_inside_an_open_group_leaves_out_what_precedes_it(
    with_b, remuxed, tmp_path
) -> None:
    with av.open(str(with_b)) as file:
        keys = [n for n, p in enumerate(p for p in file.demux(video=0) if p.size) if p.is_keyframe]
    assert len(keys) > 1
    cut = remuxed(with_b, tmp_path / "cut.m2v", keep=lambda number, packet: number >= keys[1])
    fields = list(read_motion(cut))
    assert fields[0].frame_type == "I"
    assert len(fields) == len(list(decode(cut, motion=False)))
    wanted = list(read_motion(with_b))[-len(fields) :]
    for one, other in zip(fields, wanted, strict=True):
        np.testing.assert_array_equal(one.vectors_qpel, other.vectors_qpel)


def test_rows_of_a_sequence_that_may_hold_fields_come_in_pairs_of_macroblocks(coded, tmp_path) -> None:
    """112 rows of such a sequence are coded as 128: that many were coded, and the header then says 112."""

    def shortened(data):
        changed = bytearray(data)
        for match in re.finditer(rb"\x00\x00\x01\xb3", data):
            changed[match.end() + 1] &= 0xF0
            changed[match.end() + 2] = 112
        for match in re.finditer(rb"\x00\x00\x01\xb5[\x10-\x1f]", data):
            changed[match.end()] &= 0xF7  # progressive_sequence
        return bytes(changed)

    path = coded(size=(128, 128))
    fields = list(read_motion(patched(path, tmp_path / "short.m2v", shortened)))
    assert {field.size for field in fields} == {(112, 128)}
    for one, other in zip(fields, read_motion(path), strict=True):
        np.testing.assert_array_equal(one.vectors_qpel, other.vectors_qpel)


@pytest.mark.parametrize("flags", ["+qscale+ildct", "+qscale+ildct+ilme"])
def test_interlaced_pictures_are_refused_by_name(coded, flags) -> None:
    with pytest.raises(CapabilityError, match=r"pan\.m2v: motion cannot be read, .*interlaced.*re-encode"):
        list(read_motion(coded(flags=flags)))


def test_damaged_headers_are_refused(with_b, tmp_path) -> None:
    def of_third(data, change):
        at = [match.end() for match in re.finditer(rb"\x00\x00\x01\x00", data)][2]
        return data[:at] + change(data[at : at + 2]) + data[at + 2 :]

    displaced = patched(
        with_b,
        tmp_path / "order.m2v",
        lambda data: of_third(data, lambda head: bytes([200, head[1]])),
    )
    with pytest.raises(BitstreamError, match=r"order\.m2v: temporal reference 80\d of a B picture"):
        list(read_motion(displaced))
    lacking = patched(
        with_b,
        tmp_path / "lacking.m2v",
        lambda data: re.sub(rb"\x00\x00\x01\xb5([\x80-\x8f])", lambda m: b"\0\0\1\xb2" + m[1], data),
    )
    with pytest.raises(BitstreamError, match="without a picture and its extension"):
        list(read_motion(lacking))


def test_a_source_tells_where_decoding_can_start(coded, with_b) -> None:
    closed = read_source(CodedFile(str(coded(bf="2", b_strategy="0", flags="+qscale+cgop"))))
    opened = read_source(CodedFile(str(with_b)))
    settings = CodecSettings(codec="source")
    for stream, access in ((closed, "idr"), (opened, "irap")):
        keys = [index for index, kind in enumerate(stream.frame_types) if kind == "I"]
        assert keys[1:]
        assert [stream.access[index] for index in keys[1:]] == [access] * len(keys[1:])
        assert list(stream.keyframes(settings)) == keys
        assert set(stream.mean_qps) == {4.0}  # quantiser_scale of quantiser_scale_code 2


def test_flow_follows_the_pan_back_to_the_keyframe(with_b) -> None:
    fields = list(read_motion(with_b))
    flow = flow_to_keyframe(fields, 6)
    middle = flow[:, 32:64, 32:64]
    np.testing.assert_allclose(np.median(middle, axis=(1, 2)), 6 * np.array(STEP))
    assert Fraction(int((middle[0] == 6 * STEP[0]).sum()), middle[0].size) > Fraction(1, 2)


def test_the_command_refuses_partial_reading_by_name(with_b) -> None:
    answer = CliRunner().invoke(app, ["motion", str(with_b), "--partial"])
    assert isinstance(answer.exception, ConfigError)
    assert "pan.m2v: --partial goes on after defects of hevc and h264 only, this is mpeg2video" in str(
        answer.exception
    )
