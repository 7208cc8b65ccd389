"""Encoding: exact GOPs, the same bits on any number of cores, pinned colour, clear refusals."""

from __future__ import annotations

import ctypes.util
import dataclasses
import io
import os
import subprocess
import sys

import av
import numpy as np
import pytest

from vssbench.codec import CodecSettings, decode, digest_decoded, encode, encoder_build
from vssbench.codec.encode import SUFFIXES, _checked_frame_types
from vssbench.errors import BitstreamError, ConfigError, InputError

CODECS = ["hevc", "h264", "mpeg4"]


def settings_of(codec, **values):
    return CodecSettings(**{"codec": codec, "qp": 12, "references": 1, **values})


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    ("interval", "count", "types"),
    [(4, 9, "IPPPIPPPI"), (12, 5, "IPPPP"), (1, 3, "III"), (3, 6, "IPPIPP")],
)
def test_each_gop_starts_with_its_only_i_picture(pan, codec, interval, count, types) -> None:
    bitstream = encode(pan((96, 128), count), settings_of(codec, keyframe_interval=interval), 30)
    assert bitstream.frame_types == types
    assert "".join(frame.frame_type for frame in decode(bitstream, motion=False)) == types


@pytest.mark.parametrize("codec", CODECS)
def test_a_scene_cut_makes_no_extra_i_picture(cut, codec) -> None:
    bitstream = encode(cut((96, 128), 8, at=3), settings_of(codec, keyframe_interval=6), 30)
    assert bitstream.frame_types == "IPPPPPIP"


@pytest.mark.parametrize("codec", ["hevc", "h264"])
def test_b_pictures_stay_inside_their_closed_gop(pan, codec) -> None:
    bitstream = encode(pan((96, 128), 12), settings_of(codec, keyframe_interval=6, b_frames=2), 30)
    assert set(bitstream.frame_types) == set("IPB")
    for start in (0, 6):
        gop = bitstream.frame_types[start : start + 6]
        assert gop[0] == "I"
        assert "I" not in gop[1:]
        assert gop[-1] == "P"


@pytest.mark.parametrize("codec", CODECS)
def test_every_gop_decodes_on_its_own(pan, codec) -> None:
    """Closed: the second GOP's bytes alone give the same pictures as in the whole stream."""
    frames = pan((96, 128), 8)
    whole = encode(frames, settings_of(codec, keyframe_interval=4), 30)
    second = dataclasses.replace(
        whole,
        data=whole.data[sum(whole.packet_bytes[:4]) :],
        frame_count=4,
        packet_bytes=whole.packet_bytes[4:],
        frame_types="IPPP",
    )
    expected = [frame.image for frame in decode(whole, motion=False)][4:]
    np.testing.assert_array_equal([frame.image for frame in decode(second, motion=False)], expected)


def test_an_encoder_that_deviates_is_an_error(pan) -> None:
    settings = settings_of("h264", keyframe_interval=4)
    bitstream = encode(pan((96, 128), 8), settings, 30)
    starts = np.cumsum([0, *bitstream.packet_bytes])
    packets = [(index, bitstream.data[starts[index] : starts[index + 1]]) for index in range(8)]
    assert _checked_frame_types(packets, 8, settings) == "IPPPIPPP"
    with pytest.raises(
        BitstreamError, match=r"picture 4 is of type I; expected P or B with keyframe_interval=8"
    ):
        _checked_frame_types(packets, 8, settings_of("h264", keyframe_interval=8))
    with pytest.raises(BitstreamError, match=r"picture 2 is of type P; expected a closed-GOP I picture"):
        _checked_frame_types(packets, 8, settings_of("h264", keyframe_interval=2))
    with pytest.raises(BitstreamError, match=r"made 7 pictures of 8 frames"):
        _checked_frame_types(packets[:7], 8, settings)


PROGRAM = """
import os, sys
processors, threads, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:processors])
import numpy as np
from vssbench.codec import CodecSettings, decode, digest_decoded, encode
frames = list(np.load(path))
for codec, values in [
    ("hevc", {"bitrate_kbps": 400}),
    ("hevc", {"crf": 28, "b_frames": 3, "extra": {"rect": 1, "amp": 1}}),
    ("hevc", {"bitrate_kbps": 400, "preset": "slow"}),
    ("h264", {"bitrate_kbps": 400}),
    ("mpeg4", {"bitrate_kbps": 400}),
]:
    bitstream = encode(frames, CodecSettings(codec=codec, **values), 30, threads=threads)
    print(bitstream.digest, digest_decoded(decode(bitstream, motion=False, threads=threads)))
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs processor affinity (Linux)")
def test_neither_cores_nor_what_memory_held_change_bytes_or_pixels(pan, tmp_path) -> None:
    """x265 would pick frame threads, and x264 its thread count, from the cores it finds; x264 reads memory it never wrote."""
    np.save(tmp_path / "frames.npy", np.stack(pan((144, 192), 6)))
    outputs = []
    for processors, threads, filling in [(1, 1, "0"), (2, 1, "1"), (2, 2, "1")]:
        command = [sys.executable, "-c", PROGRAM, str(processors), str(threads), str(tmp_path / "frames.npy")]
        environment = {**os.environ, "MALLOC_PERTURB_": filling}  # of glibc: what new memory holds
        outputs.append(
            subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        )
    assert len(outputs[0].split()) == 10
    assert outputs[0] == outputs[1] == outputs[2]


@pytest.mark.parametrize("codec", CODECS)
def test_encoding_twice_gives_the_same_bytes(pan, codec) -> None:
    frames = pan((96, 128), 5)
    assert encode(frames, settings_of(codec), 25).data == encode(iter(frames), settings_of(codec), 25).data


@pytest.mark.parametrize("codec", CODECS)
def test_a_finer_quantiser_costs_more_and_errs_less(pan, codec) -> None:
    frames = pan((96, 128), 4)
    errors, sizes = [], []
    for qp in (4, 12, 28):
        bitstream = encode(frames, settings_of(codec, qp=qp), 30)
        decoded = np.stack([frame.image for frame in decode(bitstream, motion=False)])
        errors.append(np.abs(decoded.astype(int) - np.stack(frames)).mean())
        sizes.append(len(bitstream.data))
    assert errors[0] < errors[1] < errors[2]
    assert sizes[0] > sizes[1] > sizes[2]


@pytest.mark.parametrize("codec", CODECS)
def test_bit_rate_control_follows_the_target(pan, codec) -> None:
    generator = np.random.default_rng(0)  # noise never gets so cheap that the finest quantiser undershoots
    frames = [
        (frame // 2 + generator.integers(0, 128, frame.shape)).astype(np.uint8)
        for frame in pan((96, 128), 24)
    ]
    low, high = (
        encode(frames, CodecSettings(codec=codec, bitrate_kbps=rate), 30).achieved_kbps
        for rate in (400, 1600)
    )
    assert low < high
    assert 1600 / 2 < high < 1600 * 2


def test_achieved_rate_is_bits_per_second(pan) -> None:
    bitstream = encode(pan((96, 128), 6), settings_of("h264"), 15)
    assert bitstream.achieved_kbps == pytest.approx(len(bitstream.data) * 8 / (6 / 15) / 1000)
    assert sum(bitstream.packet_bytes) == len(bitstream.data)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("size", [(95, 128), (96, 127), (95, 127), (64, 200)])
def test_any_size_comes_back_as_it_went_in(pan, codec, size) -> None:
    frames = pan(size, 3)
    bitstream = encode(frames, settings_of(codec, qp=3), 30)
    assert bitstream.size == size
    for frame, source in zip(decode(bitstream, motion=False), frames, strict=True):
        assert frame.image.shape == (*size, 3)
        assert np.abs(frame.image.astype(int) - source).mean() < 4


@pytest.mark.parametrize(
    ("rgb", "yuv"),
    # ITU-R BT.601, limited range: Y = 16 + 65.481 R + 128.553 G + 24.966 B and so on, R, G, B in 0..1
    [
        ((255, 255, 255), (235, 128, 128)),
        ((0, 0, 0), (16, 128, 128)),
        ((255, 0, 0), (81, 90, 240)),
        ((0, 0, 255), (41, 240, 110)),
    ],
)
@pytest.mark.parametrize("codec", CODECS)
def test_colour_is_bt601_limited_range(codec, rgb, yuv) -> None:
    frame = np.full((64, 64, 3), rgb, np.uint8)
    bitstream = encode([frame], settings_of(codec, qp=1), 30)
    with av.open(
        io.BytesIO(bitstream.data), format={"hevc": "hevc", "h264": "h264", "mpeg4": "m4v"}[codec]
    ) as file:
        picture = next(file.decode(video=0))
    planes = [np.frombuffer(plane, np.uint8)[0] for plane in picture.planes]
    np.testing.assert_allclose(planes, yuv, atol=1)
    if codec != "mpeg4":  # MPEG-4 streams of FFmpeg carry no colour description
        assert (int(picture.colorspace), int(picture.color_range)) == (6, 1)
    decoded = next(decode(bitstream, motion=False)).image
    np.testing.assert_allclose(decoded, frame, atol=3)


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([], "no frame to encode"),
        ([np.zeros((64, 64, 3), np.float32)], r"frame 0: is float32 \(64, 64, 3\); expected RGB uint8"),
        ([np.zeros((64, 64), np.uint8)], r"frame 0: is uint8 \(64, 64\)"),
        ([np.zeros((64, 64, 4), np.uint8)], r"frame 0: is uint8 \(64, 64, 4\)"),
        ([np.zeros((0, 64, 3), np.uint8)], r"frame 0: is uint8 \(0, 64, 3\)"),
        (
            [np.zeros((64, 64, 3), np.uint8), np.zeros((64, 96, 3), np.uint8)],
            "frame 1: is 96x64, the frames before are 64x64",
        ),
        (["no array"], "frame 0: is str"),
    ],
)
def test_bad_frames_are_named(frames, reason) -> None:
    with pytest.raises(InputError, match=reason):
        encode(frames, settings_of("h264"), 30)


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), 1e9])
def test_an_impossible_frame_rate_is_refused(rate) -> None:
    with pytest.raises(ConfigError, match="frame_rate_hz"):
        encode([np.zeros((64, 64, 3), np.uint8)], settings_of("h264"), rate)


@pytest.mark.parametrize("codec", CODECS)
def test_an_unknown_encoder_option_is_an_error_not_a_warning(pan, codec) -> None:
    with pytest.raises(ConfigError, match="no_such_option"):
        encode(pan((64, 64), 1), settings_of(codec, extra={"no_such_option": "1"}), 30)


def test_a_refused_option_value_is_an_error(pan) -> None:
    with pytest.raises(ConfigError, match=r"libx265 refuses hevc medium qp 12 L=12 at 64x64"):
        encode(pan((64, 64), 1), settings_of("hevc", extra={"rd": "99"}), 30)
    with pytest.raises(ConfigError, match=r"Image size is too small \(64x8\)"):
        encode([np.zeros((8, 64, 3), np.uint8)], settings_of("hevc"), 30)


@pytest.mark.parametrize("width", [16, 47, 48])
def test_widths_at_which_x265_damages_its_memory_are_refused(width: int) -> None:
    frames = [np.zeros((96, width, 3), np.uint8)] * 2
    with pytest.raises(ConfigError, match=rf"hevc: frames are {width} pixels wide; expected at least 49"):
        encode(frames, settings_of("hevc"), 30)
    assert encode(frames, settings_of("h264"), 30).frame_count == 2


def test_the_least_width_leaves_the_heap_whole() -> None:
    """glibc's checking allocator aborts at the first free of a block that was written past its end."""
    library = ctypes.util.find_library("c_malloc_debug") or "libc_malloc_debug.so.0"
    program = (
        "import numpy as np; from vssbench.codec import CodecSettings, encode;"
        "s = CodecSettings(codec='hevc', qp=30, keyframe_interval=4);"
        "[encode([np.random.default_rng(i).integers(0, 255, (h, 49, 3)).astype(np.uint8) for i in range(5)], s, 25)"
        " for h in (64, 90)]"
    )
    environment = {**os.environ, "LD_PRELOAD": library, "MALLOC_CHECK_": "3", "MALLOC_PERTURB_": "165"}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    if "cannot be preloaded" in ended.stderr:
        pytest.skip("this C library has no checking allocator beside it")
    assert ended.returncode == 0, ended.stderr


def test_extra_reaches_the_encoder(pan) -> None:
    frames = pan((96, 128), 4)
    assert (
        encode(frames, settings_of("h264", extra={"cabac": "0"}), 30).data
        != encode(frames, settings_of("h264"), 30).data
    )


@pytest.mark.parametrize("codec", CODECS)
def test_the_build_names_the_encoder_and_the_libraries(codec) -> None:
    name = {"hevc": "x265 (build ", "h264": "x264 - core ", "mpeg4": "Lavc"}[codec]
    assert encoder_build(codec).startswith(name)
    assert "libavcodec" in encoder_build(codec)
    assert "libswscale" in encoder_build(codec)


@pytest.mark.parametrize("codec", CODECS)
def test_a_written_stream_decodes_like_the_record(pan, codec, tmp_path) -> None:
    bitstream = encode(pan((96, 128), 4), settings_of(codec), 30)
    path = tmp_path / f"clip{SUFFIXES[codec]}"
    bitstream.write(path)
    from_file = digest_decoded(decode(path, motion=False))
    assert from_file == digest_decoded(decode(bitstream, motion=False))
    assert from_file == digest_decoded(decode(path.read_bytes(), motion=False))
