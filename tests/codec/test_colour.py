"""Decoded pictures become the RGB that H.273 defines. The oracle is its formulas in float64 (clause 8.3, tables 3 and 4)."""

from __future__ import annotations

import logging

import av
import numpy as np
import pytest

from vssbench.codec import decode, read_video
from vssbench.codec.colour import ToRgb
from vssbench.errors import CapabilityError

COEFFICIENTS = {  # matrix number -> KR, KB
    1: (0.2126, 0.0722),
    2: (0.299, 0.114),  # unspecified: as BT.601
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
LIMITED, FULL = 1, 2


def picture(planes, pixels, matrix, value_range):
    """A decoded picture with these sample values."""
    height, width = planes[0].shape
    made = av.VideoFrame(width, height, pixels)
    for plane, values in zip(made.planes, planes, strict=True):
        samples = np.zeros((plane.height, plane.line_size // values.itemsize), values.dtype)
        samples[:, : values.shape[1]] = values
        plane.update(samples.tobytes())
    made.colorspace, made.color_range = matrix, value_range
    return made


def random_planes(count, depth, value_range, seed=0, size=(32, 48)):
    """Samples over the nominal range of H.273: 16..235 (luma and, here, chroma) or all."""
    step = 1 << (depth - 8)
    low, high = (0, 256 * step) if value_range == FULL else (16 * step, 235 * step + 1)
    return (
        np.random.default_rng(seed).integers(low, high, (count, *size)).astype("u1" if depth == 8 else "<u2")
    )


def normalised(planes, depth, value_range, rgb=False):
    step, top = 1 << (depth - 8), (1 << depth) - 1
    values = [plane.astype(float) for plane in planes]
    if value_range == FULL:
        return [v / top if rgb or not i else (v - 128 * step) / top for i, v in enumerate(values)]
    return [
        (v - 16 * step) / (219 * step) if rgb or not i else (v - 128 * step) / (224 * step)
        for i, v in enumerate(values)
    ]


def expected(planes, depth, matrix, value_range):
    luma, blue, red = normalised(planes, depth, value_range)
    if matrix == 8:
        rest = luma - blue
        colours = [rest + red, luma + blue, rest - red]
    else:
        kr, kb = COEFFICIENTS[matrix]
        r, b = luma + 2 * (1 - kr) * red, luma + 2 * (1 - kb) * blue
        colours = [r, (luma - kr * r - kb * b) / (1 - kr - kb), b]
    return np.clip(np.stack(colours, -1), 0, 1) * 255


@pytest.mark.parametrize(("pixels", "depth"), [("yuv444p", 8), ("yuv444p10le", 10), ("yuv444p12le", 12)])
@pytest.mark.parametrize("value_range", [LIMITED, FULL])
@pytest.mark.parametrize("matrix", [*COEFFICIENTS, 8])
def test_every_matrix_depth_and_range_is_within_half_a_step(pixels, depth, value_range, matrix) -> None:
    """Half a step, and two hundredths for the integer paths of swscale."""
    planes = random_planes(3, depth, value_range)
    image = ToRgb("x")(picture(planes, pixels, matrix, value_range))
    assert np.abs(image - expected(planes, depth, matrix, value_range)).max() <= 0.52


@pytest.mark.parametrize(("pixels", "depth"), [("gray", 8), ("gray10le", 10), ("gray12le", 12)])
@pytest.mark.parametrize("value_range", [LIMITED, FULL])
def test_grey_is_expanded_to_the_full_range(pixels, depth, value_range) -> None:
    planes = random_planes(1, depth, value_range)
    image = ToRgb("x")(picture(planes, pixels, 1, value_range))
    (luma,) = normalised(planes, depth, value_range)
    assert np.abs(image - np.clip(luma, 0, 1)[:, :, None] * 255).max() <= 0.5
    assert (image[:, :, 0] == image[:, :, 2]).all()


@pytest.mark.parametrize(("pixels", "depth"), [("gbrp", 8), ("gbrp10le", 10), ("gbrp12le", 12)])
@pytest.mark.parametrize("value_range", [0, LIMITED, FULL])
def test_rgb_is_taken_as_it_is_in_its_range(pixels, depth, value_range) -> None:
    """Without a declared range RGB is full."""
    planes = random_planes(3, depth, value_range or FULL)
    image = ToRgb("x")(picture(planes, pixels, 0, value_range))
    green, blue, red = normalised(planes, depth, value_range or FULL, rgb=True)
    assert np.abs(image - np.clip(np.stack([red, green, blue], -1), 0, 1) * 255).max() <= 0.5


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv422p", "yuv420p10le"])
@pytest.mark.parametrize("matrix", [1, 6, 8, 9])
def test_flat_pictures_of_subsampled_chroma_are_within_the_tables_of_swscale(pixels, matrix) -> None:
    """Subsampled chroma of eight bits and nominal range goes through swscale's tables, which round twice."""
    depth = 10 if "10" in pixels else 8
    rows, columns = (1 if "422" in pixels else 2), 2
    for seed in range(5):
        values = random_planes(3, depth, LIMITED, seed, (1, 1))
        planes = [
            np.full((32, 48) if not index else (32 // rows, 48 // columns), value.item(), value.dtype)
            for index, value in enumerate(values)
        ]
        image = ToRgb("x")(picture(planes, pixels, matrix, LIMITED))
        wanted = expected([v.reshape(1, 1) for v in values], depth, matrix, LIMITED)
        assert np.abs(image - wanted).max() <= 3


@pytest.mark.parametrize(
    ("matrix", "name"),
    [
        (10, "constant luminance"),
        (11, "ST 2085"),
        (12, "derived"),
        (13, "derived"),
        (14, "ICtCp"),
        (15, "IPT-C2"),
        (16, "YCgCo-Re"),
        (17, "YCgCo-Ro"),
    ],
)
def test_matrices_that_need_more_are_refused_by_name(matrix, name) -> None:
    with pytest.raises(CapabilityError, match=rf"clip\.mp4: its colour matrix is .*{name}.*number {matrix}"):
        ToRgb("clip.mp4")(picture(random_planes(3, 8, LIMITED), "yuv444p", matrix, LIMITED))


def coded(path, planes, pixels, parameters, matrix=None, value_range=None, codec="libx264"):
    """A lossless file of one picture with these samples and this video usability information."""
    height, width = planes[0].shape
    with av.open(str(path), "w") as file:
        key = "x264-params" if codec == "libx264" else "x265-params"
        stream = file.add_stream(codec, rate=25, options={key: parameters})
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        if matrix is not None:
            stream.codec_context.colorspace = matrix
        if value_range is not None:
            stream.codec_context.color_range = value_range
        file.mux(
            [*stream.encode(picture(planes, pixels, matrix or 2, value_range or 0)), *stream.encode(None)]
        )
    return path


@pytest.mark.parametrize("value_range", [LIMITED, FULL])
def test_a_lossless_ycgco_file_gives_its_colours_back(tmp_path, value_range) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (64, 96, 3)).astype(int)
    r, g, b = np.moveaxis(rgb / 255, -1, 0)
    parts = [r / 4 + g / 2 + b / 4, -r / 4 + g / 2 - b / 4, r / 2 - b / 2]
    gains = (255, 255) if value_range == FULL else (219, 224)
    offset = 0 if value_range == FULL else 16
    planes = [np.rint(parts[0] * gains[0] + offset), *(np.rint(part * gains[1] + 128) for part in parts[1:])]
    planes = [plane.clip(0, 255).astype(np.uint8) for plane in planes]
    declared = "pc" if value_range == FULL else "tv"
    path = coded(
        tmp_path / "y.mkv", planes, "yuv444p", f"qp=0:colormatrix=YCgCo:range={declared}", 8, value_range
    )
    (image,) = read_video(path)
    assert np.abs(image.astype(int) - rgb).max() <= 3  # three samples rounded before coding
    np.testing.assert_array_equal(next(iter(decode(path, motion=False))).image, image)


def test_a_grey_file_of_limited_range_is_expanded(tmp_path) -> None:
    ramp = np.tile(np.arange(16, 112, dtype=np.uint8), (64, 1))
    path = coded(
        tmp_path / "g.mkv",
        [ramp],
        "gray",
        "log-level=none:lossless=1:range=limited",
        None,
        LIMITED,
        "libx265",
    )
    (image,) = read_video(path)
    np.testing.assert_array_equal(image[0, :, 0], np.rint((np.arange(16, 112) - 16) * 255 / 219))


@pytest.mark.parametrize(("transfer", "name"), [("smpte2084", "PQ"), ("arib-std-b67", "HLG")])
def test_high_dynamic_range_is_taken_as_coded_and_said(tmp_path, caplog, transfer, name) -> None:
    planes = [np.full(size, 600, "<u2") for size in ((64, 96), (32, 48), (32, 48))]
    parameters = (
        f"log-level=none:lossless=1:transfer={transfer}:colormatrix=bt2020nc:colorprim=bt2020:range=limited"
    )
    path = coded(tmp_path / "h.mkv", planes, "yuv420p10le", parameters, 9, LIMITED, "libx265")
    with caplog.at_level(logging.WARNING):
        (image,) = read_video(path)
    assert f"has the transfer function {name}" in caplog.text
    assert "without tone mapping" in caplog.text
    wanted = expected([np.full((1, 1), 600)] * 3, 10, 9, LIMITED)
    assert np.abs(image - wanted).max() <= 3
