"""Pixels and motion of H.264 files in one pass: fields, cropping, entering in the middle."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vssbench.codec import decode, flow_to_previous, prediction_residual, read_motion
from vssbench.codec.h264 import read_motion as read_coded
from vssbench.errors import CapabilityError

GOLDEN = Path(__file__).parent / "golden"


def encode(frames, parameters: str) -> bytes:
    target = io.BytesIO()
    with av.open(target, "w", format="h264") as container:
        stream = container.add_stream("libx264", rate=Fraction(25))
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        stream.options = {"crf": "28", "x264-params": f"threads=1:scenecut=0:b-adapt=0:{parameters}"}
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return target.getvalue()


@pytest.mark.parametrize("name", ["vj_jm_field_poc1_p", "vj_jm_paff_mbaff_b_temporal", "vm_drop_nonref"])
def test_a_frame_of_two_fields_is_one_picture(name: str) -> None:
    """FFmpeg has a packet for each field."""
    path = GOLDEN / f"{name}.h264"
    expected = np.load(path.with_suffix(".npz"))["poc"].tolist()
    frames = list(decode(path))
    assert [frame.motion.poc for frame in frames if frame.motion] == expected
    assert [field.poc for field in read_motion(path)] == expected
    with av.open(str(path)) as container:
        theirs = [frame.to_ndarray(format="rgb24").shape for frame in container.decode(video=0)]
    assert [frame.image.shape for frame in frames] == theirs


def test_flow_of_field_macroblocks_is_refused() -> None:
    fields = list(read_motion(GOLDEN / "vj_jm_field_poc1_p.h264"))
    with pytest.raises(CapabilityError, match=r"single fields \(interlaced\).*deinterlace"):
        flow_to_previous(fields, 1)


@pytest.mark.parametrize("window", [(6, 2, 4, 8), (0, 0, 2, 2), (30, 18, 0, 0)])
def test_motion_is_cropped_as_the_pixels_are(pan, window) -> None:
    """Left and top windows that no alignment fits: with motion in the wrong place the residual would be large."""
    left, top, right, bottom = window
    data = encode(
        pan((96, 128), 6, (5, 3)), f"bframes=1:crop-rect={left},{top},{right},{bottom}:keyint=50:ref=2"
    )
    frames = list(decode(data))
    for frame in frames:
        assert frame.motion is not None
        assert frame.image.shape[:2] == frame.motion.size == (96 - top - bottom, 128 - left - right)
        assert frame.motion.crop_left_top == (left, top)
    for index in range(1, 6):
        changed = np.abs(frames[index].image.astype(int) - frames[index - 1].image).mean()
        assert np.abs(prediction_residual(frames, index)).mean() < changed / 3


@pytest.mark.parametrize("leading", [1, 0])
def test_a_file_may_be_entered_at_an_i_picture(pan, leading: int) -> None:
    """Pictures that lead it are left out of pixels and motion alike. Without the recovery point's message before it
    FFmpeg waits for the next one."""
    data = encode(pan((96, 128), 20), "keyint=6:min-keyint=6:open-gop=1:bframes=3:b-pyramid=normal")
    units = [b"\0\0\1" + piece for piece in data.split(b"\0\0\1")[1:]]
    slices = [(n, f"{unit[4]:08b}"[1:4]) for n, unit in enumerate(units) if unit[3] & 31 == 1]
    first = next(n for n, code in slices if code in ("011", "000"))  # slice_type 2 or 7
    sets = b"".join(unit for unit in units if unit[3] & 31 in (7, 8))
    cut = sets + b"".join(units[first - leading :])
    frames = list(decode(cut))
    assert frames[0].frame_type == "I"
    assert len(frames) == len(list(read_motion(cut)))
    assert (len(frames) == len(list(read_coded(cut)))) == bool(leading)
    whole = list(decode(data))[-len(frames) :]
    for frame, other in zip(frames, whole, strict=True):
        np.testing.assert_array_equal(frame.image, other.image)
        np.testing.assert_array_equal(frame.motion.vectors_qpel, other.motion.vectors_qpel)
