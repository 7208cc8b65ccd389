"""Coded pictures that are never shown, codec by codec. The oracle for files is what plain PyAV shows; for HEVC headers it is
the syntax of Rec. ITU-T H.265, written bit by bit."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from vssbench.codec import decode, read_motion, read_video
from vssbench.codec.colour import ToRgb
from vssbench.codec.syntax import HevcVisibility, Mpeg4Visibility


def plain(path):
    with av.open(str(path)) as file:
        return [ToRgb("plain")(picture) for picture in file.decode(video=0)]


def packets(path):
    with av.open(str(path)) as file:
        return sum(packet.size > 0 for packet in file.demux(video=0))


def bits(text):
    """Bytes of a string of 0 and 1 with the stop bit behind it; blanks do not count."""
    text = text.replace(" ", "") + "1"
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def unit(nal_type, payload, layer=0):
    return bytes([nal_type << 1 | layer >> 5, (layer & 31) << 3 | 1]) + bits(payload)


UE = {0: "1", 1: "010", 2: "011"}


def pps(identity, flag, extra=0):
    """pps_id, sps_id 0, dependent_slice_segments 0, output_flag_present, num_extra_slice_header_bits (7.3.2.3.1)"""
    return unit(34, f"{UE[identity]} 1 0 {flag} {extra:03b} 0000000")


def trailing(identity, extra="", output=""):
    """TRAIL_R: first_slice, pps_id, reserved flags, slice_type P, pic_output_flag (7.3.6.1)"""
    return unit(1, f"1 {UE[identity]} {extra} {UE[1]} {output} 0101")


def irap(nal_type):
    return unit(nal_type, f"1 0 {UE[0]} {UE[2]} 0101")


def test_pic_output_flag_hides_a_picture() -> None:
    visibility = HevcVisibility([pps(0, 0), pps(1, 1), pps(2, 1, extra=2)])
    assert visibility([irap(19)]) == "shown"
    assert visibility([trailing(0)]) == "shown"
    assert [visibility([trailing(1, output=flag)]) for flag in "10"] == ["shown", "hidden"]
    assert [visibility([trailing(2, "11", flag)]) for flag in "10"] == ["shown", "hidden"]
    assert visibility([pps(0, 1), trailing(0, output="0")]) == "hidden"  # a set that comes with the picture


def test_pictures_that_lead_a_first_key_picture_cannot_be_decoded() -> None:
    """RASL (8, 9) after CRA (21) at the beginning, after BLA (16), and after an end of sequence (36); RADL (6) can."""
    rasl, radl, end = unit(9, "1 1 010 0101"), unit(6, "1 1 010 0101"), bytes([72, 1])
    visibility = HevcVisibility([pps(0, 0)])
    assert [visibility([u]) for u in (irap(21), rasl, radl)] == ["shown", "undecodable", "shown"]
    assert [visibility([u]) for u in (irap(21), rasl)] == ["shown", "shown"]
    assert [visibility([u]) for u in (irap(16), rasl)] == ["shown", "undecodable"]
    assert [visibility(units) for units in ([end, irap(21)], [rasl])] == ["shown", "undecodable"]


def test_other_layers_and_units_without_slices_are_no_pictures() -> None:
    visibility = HevcVisibility([pps(0, 0)])
    assert visibility([unit(1, "1 1 010 0101", layer=1), unit(39, "0")]) == "hidden"
    assert visibility([]) == "hidden"


@pytest.fixture(scope="module")
def mpeg4(pan, film, tmp_path_factory):
    return film(tmp_path_factory.mktemp("vop") / "v.mkv", pan((96, 128), 8, (2, 1)), "mpeg4")


def test_a_vop_that_is_not_coded_is_passed_over(mpeg4, tmp_path) -> None:
    """Time base 25: five bits of vop_time_increment. The pictures behind keep their motion."""
    empty = b"\0\0\1\xb6" + bits("01 0 1 00011 1 0")
    with av.open(str(mpeg4)) as file:
        header = file.streams.video[0].codec_context.extradata
    assert Mpeg4Visibility(header)(empty) == "hidden"
    path = tmp_path / "n.mkv"
    with av.open(str(mpeg4)) as old, av.open(str(path), "w") as new:
        copy = new.add_stream_from_template(old.streams.video[0])
        for number, packet in enumerate(p for p in old.demux(video=0) if p.size):
            for data in ([empty] if number == 3 else []) + [bytes(packet)]:
                made = av.Packet(data)
                made.pts = made.dts = 2 * number - (data is empty)
                made.time_base, made.stream, made.is_keyframe = Fraction(1, 50), copy, packet.is_keyframe
                new.mux(made)
    assert packets(path) == 9
    shown = list(decode(path))
    np.testing.assert_array_equal([frame.image for frame in shown], plain(path))
    np.testing.assert_array_equal([frame.image for frame in shown], list(read_video(path)))
    assert read_video(path).frame_count == 8
    for frame, field, before in zip(shown, read_motion(path), read_motion(mpeg4), strict=True):
        np.testing.assert_array_equal(frame.motion.vectors_qpel, before.vectors_qpel)
        np.testing.assert_array_equal(frame.motion.reference_poc, before.reference_poc)
        assert field.poc == before.poc


def test_frames_of_vp8_that_are_references_only_are_not_shown(pan, film, tmp_path) -> None:
    """show_frame is the fifth bit (RFC 6386, 9.1)."""
    whole = film(tmp_path / "w.webm", pan((96, 128), 9, (2, 1)), "libvpx", "")
    path = tmp_path / "v.webm"
    with av.open(str(whole)) as old, av.open(str(path), "w") as new:
        copy = new.add_stream_from_template(old.streams.video[0])
        for number, packet in enumerate(p for p in old.demux(video=0) if p.size):
            data = bytearray(packet)
            data[0] &= 0xEF if number in (3, 6) else 0xFF
            made = av.Packet(bytes(data))
            made.pts = made.dts = packet.pts
            made.time_base, made.stream, made.is_keyframe = packet.time_base, copy, packet.is_keyframe
            new.mux(made)
    video = read_video(path)
    np.testing.assert_array_equal(list(video), plain(path))
    assert (video.frame_count, packets(path)) == (7, 9)


@pytest.mark.parametrize("container", ["ts", "mkv", "mpg"])
def test_b_pictures_that_lead_an_open_group_of_mpeg2_are_left_out(
    pan, film, remuxed, tmp_path, container
) -> None:
    whole = film(tmp_path / "w.mkv", pan((96, 128), 24, (2, 1)), "mpeg2video", "", bf="2", g="9", b="3M")
    with av.open(str(whole)) as file:
        keys = [n for n, p in enumerate(p for p in file.demux(video=0) if p.size) if p.is_keyframe]
    cut = remuxed(whole, tmp_path / f"c.{container}", lambda number, packet: number >= keys[1])
    video = read_video(cut)
    np.testing.assert_array_equal(list(video), plain(cut))
    assert video.frame_count == len(plain(cut)) < packets(cut)
    assert "are left out" in video.remarks[0]
