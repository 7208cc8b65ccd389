"""Cropping windows: pixels and motion of the conformance window, whatever side is cut and by how much.

The oracle is the uncropped stream cut by numpy; the crop is written into its parameter sets, the rest stays bit for bit.
"""

from __future__ import annotations

import av.bitstream
import numpy as np
import pytest

from vssbench.codec import decode, flow_field_to_previous, read_motion, read_video

CROPS = [
    (0, 4, 0, 4),
    (0, 16, 0, 0),
    (0, 0, 16, 16),
    (8, 0, 0, 0),
    (2, 0, 2, 0),
    (34, 18, 6, 30),
    (16, 8, 0, 0),
]
"""left, top, right, bottom in luma samples"""


def scene(pan):
    """Bands of 16 rows that move against one another: a motion edge every 16 rows."""
    left, right = pan((96, 128), 6, (4, 0)), pan((96, 128), 6, (-4, 0), 3)
    band = (np.arange(96) // 16 % 2 == 0)[:, None, None]
    return [np.where(band, first, second) for first, second in zip(left, right, strict=True)]


def cropped(source, target, crop):
    left, top, right, bottom = crop
    codec = "h264" if source.suffix == ".h264" else "hevc"
    wanted = f"{codec}_metadata=crop_left={left}:crop_top={top}:crop_right={right}:crop_bottom={bottom}"
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        filters = av.bitstream.BitStreamFilterContext(wanted, stream)
        number = 0
        for packet in old.demux(stream):
            for changed in filters.filter(packet) if packet.size else ():
                changed.pts = changed.dts = number
                changed.stream = copy
                new.mux(changed)
                number += 1
    return target


@pytest.fixture(scope="module", params=["hevc", "h264"])
def base(request, pan, film, tmp_path_factory):
    path = tmp_path_factory.mktemp("crop") / f"base.{request.param}"
    return film(path, scene(pan), request.param, "bframes=0:ref=1:keyint=6")


@pytest.mark.parametrize("crop", CROPS)
def test_pixels_and_flow_are_those_of_the_window(base, tmp_path, crop) -> None:
    path = cropped(base, tmp_path / f"crop{base.suffix}", crop)
    left, top, right, bottom = crop
    window = np.s_[top : 96 - bottom, left : 128 - right]
    whole, shown = list(decode(base)), list(decode(path))
    np.testing.assert_array_equal(list(read_video(path)), [frame.image for frame in shown])
    assert read_video(path).size == (96 - top - bottom, 128 - left - right)
    for before, after, field in zip(whole, shown, read_motion(path), strict=True):
        inner = after.image[2:-2, 2:-2].astype(int)  # chroma is interpolated across the border of the window
        np.testing.assert_allclose(inner, before.image[window][2:-2, 2:-2].astype(int), atol=0)
        assert after.motion.size == field.size == after.image.shape[:2]
        assert after.motion.crop_left_top == field.crop_left_top == (left, top)
        np.testing.assert_array_equal(after.motion.vectors_qpel, before.motion.vectors_qpel)
    reference = flow_field_to_previous([frame.motion for frame in whole], 3)
    flow = flow_field_to_previous([frame.motion for frame in shown], 3)
    inside = np.s_[:, 0 : 96 - top - bottom, 16 : 128 - left - right - 16]
    np.testing.assert_array_equal(flow.flow[inside], reference.flow[:, *window][inside])


def test_a_crop_in_a_container_and_turned(base, tmp_path) -> None:
    """The window follows the turn: what was cut at the left and top is cut at the right and bottom."""
    path = cropped(base, tmp_path / "crop.mp4", (16, 8, 0, 4))
    turned = tmp_path / "turned.mp4"
    with av.open(str(path)) as old, av.open(str(turned), "w") as new:
        copy = new.add_stream_from_template(old.streams.video[0])
        copy.set_display_rotation(180)
        for packet in old.demux(old.streams.video[0]):
            if packet.size:
                packet.stream = copy
                new.mux(packet)
    for before, after in zip(decode(path), decode(turned), strict=True):
        np.testing.assert_array_equal(after.image, before.image[::-1, ::-1])
        assert after.motion.crop_left_top == (
            after.motion.mode.shape[1] * 4 - 128,
            after.motion.mode.shape[0] * 4 - 92,
        )
    fields, others = list(read_motion(path)), list(read_motion(turned))
    flow, turned_flow = flow_field_to_previous(fields, 2), flow_field_to_previous(others, 2)
    np.testing.assert_array_equal(turned_flow.flow, -flow.flow[:, ::-1, ::-1])
    np.testing.assert_array_equal(turned_flow.valid, flow.valid[::-1, ::-1])


def test_the_files_of_cropped_streams(shared) -> None:
    media = shared / "cases" / "media"
    sizes = {
        "crop_bot32.264": (208, 416),
        "crop_t8.264": (232, 416),
        "fakeint8.264": (240, 416),
        "hevc_crop_left_16_crop_top_8.hevc": (232, 400),
    }
    for name, size in sizes.items():
        assert [image.shape[:2] for image in read_video(media / name)] == [size] * 8
    corners = {"crop_bot32.264": (0, 0), "crop_t8.264": (0, 8), "hevc_crop_left_16_crop_top_8.hevc": (16, 8)}
    for name, corner in corners.items():
        assert {frame.motion.crop_left_top for frame in decode(media / name)} == {corner}
    whole, shown = list(decode(media / "plain8.264")), list(decode(media / "crop_t8.264"))
    for index in range(1, 8):
        ours, theirs = (
            flow_field_to_previous([f.motion for f in frames], index) for frames in (shown, whole)
        )
        np.testing.assert_array_equal(ours.flow[:, 8:], theirs.flow[:, 16:])
