"""Which pictures of a file are shown, and that each comes with its own motion.

The oracles are plain PyAV for the pictures of a file, and the file before it was trimmed for their motion: a picture is
recognised by its pixels.
"""

from __future__ import annotations

import logging
from fractions import Fraction

import av
import numpy as np
import pytest

from vssbench.codec import decode, flow_field_to_keyframe, flow_field_to_previous, read_motion, read_video
from vssbench.codec.colour import ToRgb
from vssbench.codec.contents import gaps_in_time, read_contents
from vssbench.codec.media import Media
from vssbench.errors import BitstreamError
from vssbench.records import NO_REFERENCE

CODINGS = {
    "hevc": ("hevc", "bframes=0:keyint=12"),
    "hevc with B": ("hevc", "bframes=3:b-pyramid=1:b-adapt=0:keyint=12:min-keyint=12:open-gop=0"),
    "hevc open": ("hevc", "bframes=3:keyint=10:min-keyint=10:open-gop=1:repeat-headers=1"),
    "h264": ("h264", "bframes=0:ref=3:keyint=12"),
    "h264 with B": ("h264", "bframes=3:b-pyramid=normal:ref=3:b-adapt=0:keyint=12"),
    "mpeg4": ("mpeg4", ""),
}


def plain(path):
    """What FFmpeg shows."""
    with av.open(str(path)) as file:
        stream = file.streams.best("video")
        return [ToRgb("plain")(picture) for picture in file.decode(stream)]


def numbers(images, originals):
    """Index of each picture among those of the whole file."""
    found = [[k for k, other in enumerate(originals) if np.array_equal(image, other)] for image in images]
    assert all(len(places) == 1 for places in found)
    return [places[0] for places in found]


def same_motion(field, other):
    """Equal but for the counts that begin with the stream: POCs and ranks are compared as differences."""
    used, also = field.reference_poc != NO_REFERENCE, other.reference_poc != NO_REFERENCE
    np.testing.assert_array_equal(used, also)
    np.testing.assert_array_equal(field.vectors_qpel, other.vectors_qpel)
    np.testing.assert_array_equal(field.mode, other.mode)
    np.testing.assert_array_equal(
        (field.poc - field.reference_poc)[used], (other.poc - other.reference_poc)[used]
    )
    assert field.frame_type == other.frame_type


def check(trimmed, whole):
    """Pictures are FFmpeg's, every one has the motion it has in the whole file, and all readers agree; their numbers."""
    originals = list(decode(whole))
    shown = list(decode(trimmed))
    images = [frame.image for frame in shown]
    np.testing.assert_array_equal(images, plain(trimmed))
    np.testing.assert_array_equal(images, list(read_video(trimmed)))
    assert read_video(trimmed).frame_count == len(shown)
    found = numbers(images, [frame.image for frame in originals])
    for frame, number in zip(shown, found, strict=True):
        same_motion(frame.motion, originals[number].motion)
    for field, frame in zip(read_motion(trimmed), shown, strict=True):
        same_motion(field, frame.motion)
        assert (field.poc, field.coded_sequence) == (frame.motion.poc, frame.motion.coded_sequence)
    return found


@pytest.fixture(scope="module")
def wholes(pan, film, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    frames = pan((96, 128), 30, (2, 1))
    return {
        name: film(folder / f"{name.replace(' ', '-')}.mp4", frames, codec, params)
        for name, (codec, params) in CODINGS.items()
    }


@pytest.mark.parametrize("name", CODINGS)
def test_a_beginning_that_is_edited_away_is_not_shown(wholes, remuxed, tmp_path, name) -> None:
    trimmed = remuxed(wholes[name], tmp_path / "trim.mp4", delay=-5 / 25)
    assert check(trimmed, wholes[name]) == list(range(5, 30))


@pytest.mark.parametrize("name", CODINGS)
@pytest.mark.parametrize(("begin", "count"), [(0, 11), (7, 12), (10, 1), (13, 17)])
def test_both_ends_may_be_edited_away(wholes, edited, tmp_path, name, begin, count) -> None:
    """Also in the middle of a group of B pictures."""
    late = first_time(wholes[name])
    trimmed = edited(wholes[name], tmp_path / "t.mp4", [(count / 25, late + begin / 25)])
    found = check(trimmed, wholes[name])
    assert found == list(range(begin, begin + count))


def first_time(path):
    """Media time in seconds of the first picture: B pictures are stored with a delay that FFmpeg's edit list takes out."""
    with av.open(str(path), options={"ignore_editlist": "1"}) as file:
        stream = file.streams.video[0]
        return float(min(p.pts for p in file.demux(stream) if p.pts is not None) * stream.time_base)


@pytest.mark.parametrize("name", ["hevc", "hevc with B", "h264", "h264 with B", "mpeg4"])
def test_several_segments_and_an_empty_one(wholes, edited, tmp_path, name) -> None:
    late = first_time(wholes[name])
    edits = [(0.4, None), (4 / 25, late + 2 / 25), (6 / 25, late + 14 / 25)]
    trimmed = edited(wholes[name], tmp_path / "segments.mp4", edits)
    assert check(trimmed, wholes[name]) == [2, 3, 4, 5, 14, 15, 16, 17, 18, 19]


@pytest.mark.parametrize("delay", [-0.2, 3.0])
@pytest.mark.parametrize("container", ["mkv", "ts", "nut"])
@pytest.mark.parametrize("name", ["hevc with B", "h264 with B"])
def test_a_container_may_begin_at_any_time(wholes, remuxed, tmp_path, name, container, delay) -> None:
    whole = wholes[name]
    moved = remuxed(whole, tmp_path / f"m.{container}", delay=delay)
    assert check(moved, whole) == list(range(30))


@pytest.mark.parametrize("container", ["mkv", "ts", "hevc"])
def test_a_stream_that_begins_at_an_open_group_lacks_the_pictures_that_lead_it(
    wholes, remuxed, tmp_path, caplog, container
) -> None:
    """The second group begins with CRA 10; 8 and 9 follow it in the file, precede it in time, and refer to both sides."""
    whole = wholes["hevc open"]
    starts = key_packets(whole)
    cut = remuxed(whole, tmp_path / f"cut.{container}", lambda number, packet: number >= starts[1])
    with caplog.at_level(logging.WARNING):
        found = check(cut, whole)
    assert found == list(range(found[0], 30))
    assert found[0] == 10
    assert "2 pictures that refer to what precedes the file are left out" in caplog.text
    assert read_video(cut).remarks


@pytest.mark.parametrize("name", ["hevc", "hevc with B", "h264", "h264 with B", "mpeg4"])
def test_a_stream_cut_inside_a_group_is_read_from_its_first_whole_group(
    wholes, remuxed, tmp_path, caplog, name
) -> None:
    whole = wholes[name]
    starts = key_packets(whole)
    cut = remuxed(whole, tmp_path / "cut.mkv", lambda number, packet: number >= starts[1] - 4)
    with caplog.at_level(logging.WARNING):
        shown = list(decode(cut))
    originals = list(decode(whole))
    found = numbers([frame.image for frame in shown], [frame.image for frame in originals])
    assert found == list(range(starts[1], 30))
    for frame, number in zip(shown, found, strict=True):
        same_motion(frame.motion, originals[number].motion)
    assert len(list(read_motion(cut))) == read_video(cut).frame_count == len(found)
    assert "4 pictures that refer to what precedes the file are left out" in caplog.text


def key_packets(path):
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        return [n for n, packet in enumerate(p for p in file.demux(stream) if p.size) if packet.is_keyframe]


@pytest.mark.parametrize("container", ["mkv", "ts", "h264"])
def test_a_gradual_refresh_is_shown_from_where_it_is_whole(
    pan, film, remuxed, tmp_path, caplog, container
) -> None:
    """Pixels as FFmpeg shows them; motion of pictures that refer to lost ones is an error, never invented."""
    frames = pan((96, 128), 40, (2, 1))
    whole = film(
        tmp_path / "w.mkv", frames, "h264", "intra-refresh=1:keyint=12:bframes=0:ref=1:repeat-headers=1"
    )
    starts = key_packets(whole)
    cut = remuxed(whole, tmp_path / f"cut.{container}", lambda number, packet: number >= starts[1] + 3)
    with caplog.at_level(logging.WARNING):
        images = list(read_video(cut))
    np.testing.assert_array_equal(images, plain(cut))
    assert read_video(cut).frame_count == len(images) < 40 - starts[2]
    assert "are left out" in caplog.text
    with pytest.raises(BitstreamError, match="reference picture that the stream lacks"):
        list(decode(cut))


def test_damage_behind_an_open_beginning_is_damage(pan, film, remuxed, tmp_path) -> None:
    whole = film(
        tmp_path / "w.mkv",
        pan((96, 128), 24, (2, 1)),
        "h264",
        "bframes=0:keyint=9:open-gop=1:repeat-headers=1",
    )
    starts = key_packets(whole)
    lost = (starts[1] + 3, starts[1] + 4)
    cut = remuxed(whole, tmp_path / "c.mkv", lambda number, _: number >= starts[1] and number not in lost)
    with pytest.raises(BitstreamError, match=r"c\.mkv.* reference pictures are missing"):
        list(decode(cut))


@pytest.mark.parametrize("container", ["mkv", "ts", "h264"])
def test_an_open_group_of_h264_begins_with_its_key_picture(
    pan, film, remuxed, tmp_path, caplog, container
) -> None:
    frames = pan((96, 128), 24, (2, 1))
    whole = film(
        tmp_path / "whole.mkv",
        frames,
        "h264",
        "bframes=2:b-adapt=0:keyint=9:open-gop=1:ref=2:repeat-headers=1",
    )
    starts = key_packets(whole)
    cut = remuxed(whole, tmp_path / f"cut.{container}", lambda number, packet: number >= starts[1])
    with caplog.at_level(logging.WARNING):
        images = list(read_video(cut))
    assert check(cut, whole) == list(range(9, 24))
    np.testing.assert_array_equal(images, plain(cut))
    assert "left out" in caplog.text


@pytest.mark.parametrize("name", ["hevc", "hevc with B", "h264", "h264 with B"])
@pytest.mark.parametrize("read", [decode, read_video, read_motion])
def test_a_hole_in_the_middle_is_damage(wholes, remuxed, tmp_path, name, read) -> None:
    """Pictures that refer to lost ones are an error, never shown with invented content."""
    cut = remuxed(wholes[name], tmp_path / "hole.mkv", lambda number, packet: number not in range(5, 9))
    with pytest.raises(BitstreamError, match=r"hole\.mkv"):
        list(read(cut))


def test_whole_groups_that_are_lost_leave_a_gap_in_time(wholes, remuxed, tmp_path, caplog) -> None:
    """Nothing refers to them, so what is left is read; the user is told where pictures may be missing."""
    cut = remuxed(wholes["hevc"], tmp_path / "gap.mkv", lambda number, packet: number not in range(12, 24))
    with caplog.at_level(logging.WARNING):
        assert len(list(read_video(cut))) == 18
    assert "gap.mkv: no picture between 0.44 and 0.96 s" in caplog.text
    assert read_contents(Media.of(wholes["hevc"])).gaps_s == ()


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([40] * 20, ()),
        ([33, 33, 34] * 7, ()),
        ([40] * 10 + [80] + [40] * 10, ((0.4, 0.48),)),
        ([40, 80] * 10, ()),  # a variable rate
        ([40] * 4 + [400], ()),  # too few to judge
    ],
)
def test_a_gap_is_a_long_step_among_equal_ones(steps, expected) -> None:
    times = np.cumsum([0, *steps]).tolist()
    assert gaps_in_time(times[::-1], Fraction(1, 1000)) == expected


def test_flow_knows_that_a_reference_is_not_shown(wholes, remuxed, tmp_path) -> None:
    """The first picture shown refers to one that is not: no valid flow; the ones behind it are right."""
    trimmed = remuxed(wholes["hevc"], tmp_path / "trim.mp4", delay=-5 / 25)
    fields, originals = list(read_motion(trimmed)), list(read_motion(wholes["hevc"]))
    assert fields[0].frame_type == "P"
    assert not flow_field_to_previous(fields, 0).valid.any()
    for index in range(1, 7):
        ours, theirs = flow_field_to_previous(fields, index), flow_field_to_previous(originals, index + 5)
        np.testing.assert_array_equal(ours.flow[:, ours.valid], theirs.flow[:, ours.valid])
        assert ours.valid.sum() <= theirs.valid.sum()
        reaches = fields[index].reference_poc[:, :, 0] >= fields[0].poc
        dense = reaches.repeat(4, 0).repeat(4, 1)
        np.testing.assert_array_equal(ours.valid, theirs.valid & dense)
    to_key = flow_field_to_keyframe(fields, 1)
    assert to_key.valid.any()
    assert not (to_key.valid & ~dense_to(fields[1], fields[0].poc)).any()


def dense_to(field, poc):
    """[H, W] True where list 0 points to `poc` or later."""
    return (field.reference_poc[:, :, 0] >= poc).repeat(4, 0).repeat(4, 1)[: field.size[0], : field.size[1]]


def test_flow_over_a_gap_is_shared_by_time(wholes, edited, tmp_path) -> None:
    """Of pictures 2 and 5 shown one after another, with 3 and 4 cut out, the step back is three pictures long."""
    late = first_time(wholes["mpeg4"])
    trimmed = edited(wholes["mpeg4"], tmp_path / "gap.mp4", [(3 / 25, late), (3 / 25, late + 5 / 25)])
    fields = list(read_motion(trimmed))
    assert len(fields) == 6
    assert not flow_field_to_previous(fields, 3).valid.any()  # its reference, picture 4, is not shown


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("sample_edit_list.mp4", 77),
        ("h265_with_metadata_track.mp4", 3),
        ("bbb_800x640_768kbps_30fps_avc_pyramid_3b.mp4", 120),
        ("bbb_800x640_768kbps_30fps_avc_non_reference_3b.mp4", 120),
        ("highway_960x540.mp4", 221),
        ("internal_emulator_transformer_output_180_rotated.mp4", 149),
    ],
)
def test_files_of_cameras_are_shown_as_ffmpeg_shows_them(shared, source, count) -> None:
    path = shared / "data" / "streams" / source
    shown = 0
    with av.open(str(path)) as file:
        pictures = file.decode(file.streams.video[0])
        for picture, frame in zip(pictures, decode(path, orientation="stored"), strict=True):
            assert frame.motion.size == (picture.height, picture.width)
            if shown % 8 == 0:
                np.testing.assert_array_equal(frame.image, ToRgb("plain")(picture))
            shown += 1
    assert shown == count == read_video(path).frame_count


@pytest.mark.parametrize(("source", "count"), [("p_trim.mp4", 21), ("b_trim.mp4", 10)])
def test_trimmed_files_have_the_motion_of_the_whole(shared, source, count) -> None:
    media = shared / "cases" / "media"
    whole = media / ("p.mp4" if source.startswith("p") else "b.mkv")
    assert len(check(media / source, whole)) == count
