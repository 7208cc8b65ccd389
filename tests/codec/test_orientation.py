"""Turned files: pictures as a player shows them, and motion that is turned with them. The oracle is numpy on the same
packets without a display matrix."""

from __future__ import annotations

import dataclasses
import logging

import av
import numpy as np
import pytest

from vssbench.codec import decode, flow_field_to_previous, prediction_residual, read_motion, read_video
from vssbench.codec.orientation import Orientation
from vssbench.errors import CapabilityError
from vssbench.records import NO_REFERENCE

ONE, W = 65536, 1 << 30
TURNS = {  # display matrix a, b, c, d -> what numpy does to rows and columns
    "180": ((-ONE, 0, 0, -ONE), lambda a: a[::-1, ::-1]),
    "90 clockwise": ((0, ONE, -ONE, 0), lambda a: np.rot90(a, -1)),
    "90 counterclockwise": ((0, -ONE, ONE, 0), lambda a: np.rot90(a, 1)),
    "left to right": ((-ONE, 0, 0, ONE), lambda a: a[:, ::-1]),
    "top to bottom": ((ONE, 0, 0, -ONE), lambda a: a[::-1]),
    "transposed": ((0, ONE, ONE, 0), lambda a: a.swapaxes(0, 1)),
    "other diagonal": ((0, -ONE, -ONE, 0), lambda a: a[::-1, ::-1].swapaxes(0, 1)),
}
LINEAR = {  # what the turn does to a displacement (x, y)
    "180": (-1, 0, 0, -1),
    "90 clockwise": (0, -1, 1, 0),
    "90 counterclockwise": (0, 1, -1, 0),
    "left to right": (-1, 0, 0, 1),
    "top to bottom": (1, 0, 0, -1),
    "transposed": (0, 1, 1, 0),
    "other diagonal": (0, -1, -1, 0),
}
CODINGS = {"hevc": "bframes=2:b-adapt=0:keyint=8", "h264": "bframes=2:b-adapt=0:keyint=8:ref=3", "mpeg4": ""}


def matrix(name):
    a, b, c, d = TURNS[name][0]
    return (a, b, 0, c, d, 0, 0, 0, W)


@pytest.fixture(scope="module")
def straight(pan, film, tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight")
    frames = pan((88, 120), 8, (3, 1))  # neither a multiple of 16 nor of 64
    return {codec: film(folder / f"{codec}.mp4", frames, codec, params) for codec, params in CODINGS.items()}


def turned_file(source, target, name):
    """The same packets behind a display matrix."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        copy.set_display_matrix(matrix(name))
        for packet in old.demux(stream):
            if packet.size:
                packet.stream = copy
                new.mux(packet)
    return target


@pytest.mark.parametrize("codec", CODINGS)
@pytest.mark.parametrize("name", TURNS)
def test_pictures_and_motion_are_turned_alike(straight, tmp_path, name, codec) -> None:
    path = turned_file(straight[codec], tmp_path / "turned.mp4", name)
    turn = TURNS[name][1]
    a, b, c, d = LINEAR[name]
    plain, shown = list(decode(straight[codec])), list(decode(path))
    for before, after, field in zip(plain, shown, read_motion(path), strict=True):
        np.testing.assert_array_equal(after.image, turn(before.image))
        motion = after.motion
        assert motion.size == after.image.shape[:2]
        np.testing.assert_array_equal(motion.mode, turn(before.motion.mode))
        np.testing.assert_array_equal(motion.reference_poc, turn(before.motion.reference_poc))
        x, y = np.moveaxis(turn(before.motion.vectors_qpel), -1, 0)
        np.testing.assert_array_equal(motion.vectors_qpel, np.stack([a * x + b * y, c * x + d * y], -1))
        np.testing.assert_array_equal(field.vectors_qpel, motion.vectors_qpel)
        assert field.crop_left_top == motion.crop_left_top
    video = read_video(path)
    assert video.size == shown[0].image.shape[:2]
    np.testing.assert_array_equal(list(video), [frame.image for frame in shown])


@pytest.mark.parametrize("codec", CODINGS)
@pytest.mark.parametrize("name", TURNS)
def test_flow_and_residual_of_a_turned_file_are_turned(straight, tmp_path, name, codec) -> None:
    """Flow moves the right pixels: it is the turned flow, and the residual (predicted by it) the turned residual."""
    path = turned_file(straight[codec], tmp_path / "turned.mp4", name)
    turn = TURNS[name][1]
    a, b, c, d = LINEAR[name]
    plain, shown = list(decode(straight[codec])), list(decode(path))
    for index in (1, 2, 5):
        before = flow_field_to_previous([f.motion for f in plain], index)
        after = flow_field_to_previous([f.motion for f in shown], index)
        valid = turn(before.valid)
        np.testing.assert_array_equal(after.valid, valid)
        x, y = (turn(part) for part in before.flow)
        expected = np.stack([a * x + b * y, c * x + d * y])
        np.testing.assert_allclose(
            after.flow[:, valid], expected[:, valid], atol=0.25
        )  # shares are rounded to even
        if plain[index].frame_type != "B":
            residual = prediction_residual(plain, index).transpose(1, 2, 0)
            ours = prediction_residual(shown, index).transpose(1, 2, 0)
            assert (
                np.mean(ours == turn(residual)) > 0.95
            )  # half samples round to the even neighbour on either side


def test_stored_leaves_everything_as_it_is_coded(straight, tmp_path, caplog) -> None:
    path = turned_file(straight["hevc"], tmp_path / "turned.mp4", "90 clockwise")
    with caplog.at_level(logging.WARNING):
        stored = list(decode(path, orientation="stored"))
    assert "is read as stored; players show it turned by 90 degrees clockwise" in caplog.text
    for frame, plain in zip(stored, decode(straight["hevc"]), strict=True):
        np.testing.assert_array_equal(frame.image, plain.image)
        np.testing.assert_array_equal(frame.motion.vectors_qpel, plain.motion.vectors_qpel)
    assert read_video(path, orientation="stored").size == (88, 120)


def test_the_choice_is_said_and_only_where_there_is_one(straight, tmp_path, caplog) -> None:
    path = turned_file(straight["hevc"], tmp_path / "turned.mp4", "180")
    with caplog.at_level(logging.WARNING):
        (remark,) = read_video(path).remarks
        assert read_video(straight["hevc"]).remarks == ()
    assert "are turned by 180 degrees, as the file asks; orientation: stored reads" in remark
    assert caplog.text.count("turned by 180 degrees") == 1


def test_the_bit_of_every_name_is_its_picture() -> None:
    """Words and deeds agree: 'turned by 90 degrees clockwise' is numpy's rot90 with -1."""
    picture = np.arange(6).reshape(2, 3)
    words = {
        Orientation(True, True, False): np.rot90(picture, -1),
        Orientation(True, False, True): np.rot90(picture, 1),
        Orientation(False, True, True): np.rot90(picture, 2),
        Orientation(True, False, False): np.rot90(picture[:, ::-1], 1),
        Orientation(True, True, True): np.rot90(picture[:, ::-1], -1),
    }
    for orientation, expected in words.items():
        np.testing.assert_array_equal(orientation.turn(picture), expected)
    assert str(Orientation(True, True, False)) == "turned by 90 degrees clockwise"
    assert str(Orientation(True, False, False)) == "mirrored and turned by 90 degrees counterclockwise"


def test_a_turn_by_other_angles_is_refused(straight, tmp_path, pan, film) -> None:
    half = round(ONE * 0.5**0.5)
    path = film(tmp_path / "tilted.mp4", pan((96, 128), 2), matrix=(half, half, 0, -half, half, 0, 0, 0, W))
    with pytest.raises(CapabilityError, match="does not turn by quarters"):
        read_video(path)
    assert len(list(decode(path, orientation="stored"))) == 2


def test_the_smallest_vector_has_no_opposite(straight) -> None:
    field = next(iter(read_motion(straight["hevc"])))
    least = np.full_like(field.vectors_qpel, -(2**15))
    turned = Orientation(False, True, True).turn_motion(dataclasses.replace(field, vectors_qpel=least))
    assert (turned.vectors_qpel == 2**15 - 1).all()


def test_motion_of_fields_is_not_turned(straight) -> None:
    field = next(iter(read_motion(straight["h264"])))
    pairs = np.ones((field.mode.shape[0] // 4, field.mode.shape[1] // 4), np.bool_)
    with pytest.raises(
        CapabilityError, match=r"interlaced fields.*turned by 180 degrees.*orientation: stored"
    ):
        Orientation(False, True, True).turn_motion(dataclasses.replace(field, field_macroblocks=pairs))


def test_a_turned_phone_video_warps_upright(shared) -> None:
    """Motion fits the turned pictures: the picture before, moved by it, is nearer than unmoved."""
    path = shared / "data" / "streams" / "h265_with_metadata_track.mp4"
    shown = list(decode(path))
    assert shown[0].image.shape == (1920, 1080, 3)
    field = shown[2].motion
    used = (field.reference_poc[:, :, 0] != NO_REFERENCE).repeat(4, 0).repeat(4, 1)[:1920, :1080]
    still = np.abs(shown[2].image.astype(int) - shown[1].image)[used].mean()
    moved = np.abs(prediction_residual(shown, 2).transpose(1, 2, 0))[used].mean()
    assert moved < 0.9 * still
