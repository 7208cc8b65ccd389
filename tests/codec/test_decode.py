"""Decoding: pictures, types and motion in one pass; what cannot be had or is damaged is a clear error."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import av
import numpy as np
import pytest

import vssbench.codec.hevc as hevc_package
from vssbench.codec import CodecSettings, decode, digest_decoded, encode, read_motion
from vssbench.codec.exported import paint_vectors
from vssbench.errors import BitstreamError, CapabilityError, InputError
from vssbench.records import MODE_INTER, MODE_INTRA, NO_REFERENCE

VECTOR = np.dtype(
    [
        *(("source", "i4"), ("w", "u1"), ("h", "u1"), ("src_x", "i2"), ("src_y", "i2"), ("dst_x", "i2")),
        *(("dst_y", "i2"), ("flags", "u8"), ("motion_x", "i4"), ("motion_y", "i4"), ("motion_scale", "u2")),
    ]
)


def coded(frames, codec="h264", **values):
    return encode(frames, CodecSettings(**{"codec": codec, "qp": 8, "references": 1, **values}), 30)


def container_of(frames, path, codec="libx264", **options):
    """A file with a container around the stream, as a camera would write it."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=Fraction(30), options={"qp": "10", **options})
        stream.height, stream.width, stream.pix_fmt = frames[0].shape[0], frames[0].shape[1], "yuv420p"
        for image in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("codec", ["hevc", "h264", "mpeg4"])
def test_pictures_come_in_display_order_with_their_bytes(pan, codec) -> None:
    frames = pan((96, 128), 7)
    bitstream = coded(frames, codec, keyframe_interval=4)
    decoded = list(decode(bitstream, motion=False))
    assert [frame.index for frame in decoded] == list(range(7))
    assert tuple(frame.coded_bytes for frame in decoded) == bitstream.packet_bytes
    assert all(frame.motion is None for frame in decoded)
    errors = [[np.abs(frame.image.astype(int) - source).mean() for source in frames] for frame in decoded]
    assert np.argmin(errors, axis=1).tolist() == list(range(7))


def test_b_pictures_come_in_display_order(pan) -> None:
    frames = pan((96, 128), 7)
    bitstream = coded(frames, "hevc", b_frames=2)
    decoded = list(decode(bitstream, motion=False))
    assert "".join(frame.frame_type for frame in decoded) == bitstream.frame_types
    assert tuple(frame.coded_bytes for frame in decoded) == bitstream.packet_bytes
    errors = [[np.abs(frame.image.astype(int) - source).mean() for source in frames] for frame in decoded]
    assert np.argmin(errors, axis=1).tolist() == list(range(7))


@pytest.mark.parametrize("codec", ["h264", "mpeg4"])
def test_a_pan_gives_its_vector_nearly_everywhere(pan, codec) -> None:
    """Content moves by (-5, -3) samples per frame, so it came from (+5, +3): 20, 12 quarter samples."""
    fields = [frame.motion for frame in decode(coded(pan((96, 128), 6, (5, 3)), codec, keyframe_interval=4))]
    assert [field.frame_type for field in fields] == list("IPPPIP")
    assert [field.poc for field in fields] == [0, 1, 2, 3, 0, 1]
    assert [field.coded_sequence for field in fields] == [0, 0, 0, 0, 1, 1]
    assert [field.decode_order for field in fields] == list(range(6))
    for field in fields:
        assert field.size == (96, 128)
        assert field.mode.shape == (24, 32)
        inter = field.mode == MODE_INTER
        if field.frame_type == "I":
            assert not inter.any()
        else:
            assert np.mean((field.vectors_qpel[:, :, 0] == (20, 12)).all(axis=2)) > 0.7
        assert (field.reference_poc[:, :, 0][inter] == field.poc - 1).all()
        assert (field.reference_poc[:, :, 0][~inter] == NO_REFERENCE).all()
        assert (field.reference_poc[:, :, 1] == NO_REFERENCE).all()
        assert (field.vectors_qpel[~inter] == 0).all()


@pytest.mark.parametrize(("codec", "expected"), [("h264", 2), ("mpeg4", 2)])
def test_half_sample_motion_is_kept(pan, codec, expected) -> None:
    """A pan of one sample per frame, averaged over pairs of samples: half a sample, 2 quarter samples."""
    fine = [frame.astype(np.uint16) for frame in pan((192, 256), 5, (1, 0))]
    frames = [
        ((frame[::2, ::2] + frame[1::2, ::2] + frame[::2, 1::2] + frame[1::2, 1::2]) // 4).astype(np.uint8)
        for frame in fine
    ]
    field = [frame.motion for frame in decode(coded(frames, codec))][3]
    moved, counts = np.unique(field.vectors_qpel[:, :, 0].reshape(-1, 2), axis=0, return_counts=True)
    assert moved[np.argmax(counts)].tolist() == [expected, 0]


def test_unmoved_content_is_inter_with_zero_vectors(pan) -> None:
    frames = pan((96, 128), 1) * 3
    for codec in ("h264", "mpeg4"):
        field = list(read_motion(coded(frames, codec)))[2]
        assert (field.mode == MODE_INTER).all()
        assert np.mean(field.vectors_qpel == 0) > 0.9


def test_new_content_is_marked_intra(cut) -> None:
    field = list(read_motion(coded(cut((96, 128), 4, at=2))))[2]
    assert np.mean(field.mode == MODE_INTRA) > 0.8


@pytest.mark.parametrize("codec", ["h264", "mpeg4"])
def test_motion_of_odd_sizes_has_the_size_of_the_frames(pan, codec) -> None:
    for frame in decode(coded(pan((95, 127), 3), codec)):
        assert frame.motion.size == frame.image.shape[:2] == (95, 127)
        assert frame.motion.mode.shape == (24, 32)


@pytest.mark.parametrize("codec", ["h264", "mpeg4"])
def test_read_motion_equals_the_motion_beside_pixels(pan, codec) -> None:
    bitstream = coded(pan((96, 128), 4), codec)
    for field, frame in zip(read_motion(bitstream), decode(bitstream), strict=True):
        np.testing.assert_array_equal(field.vectors_qpel, frame.motion.vectors_qpel)
        np.testing.assert_array_equal(field.mode, frame.motion.mode)


@pytest.mark.parametrize("codec", ["h264", "mpeg4"])
def test_decoder_threads_change_nothing(pan, codec) -> None:
    bitstream = coded(pan((96, 128), 6), codec)
    assert digest_decoded(decode(bitstream)) == digest_decoded(decode(bitstream, threads=2))


def test_the_digest_sees_pixels_and_motion(pan) -> None:
    frames = list(decode(coded(pan((96, 128), 2))))
    digest = digest_decoded(frames)
    image = frames[1].image.copy()
    image[0, 0, 0] ^= 1
    assert digest_decoded([frames[0], dataclasses.replace(frames[1], image=image)]) != digest
    assert digest_decoded([frames[0], dataclasses.replace(frames[1], motion=frames[0].motion)]) != digest


def naive_paint(vectors, coded_size):
    """One sample at a time, straight from the meaning of AVMotionVector."""
    field = np.zeros((coded_size[0] // 4, coded_size[1] // 4, 2), np.int16)
    mode = np.full(field.shape[:2], MODE_INTRA, np.uint8)
    for vector in vectors:
        for y in range(vector["dst_y"] - vector["h"] // 2, vector["dst_y"] + vector["h"] // 2):
            for x in range(vector["dst_x"] - vector["w"] // 2, vector["dst_x"] + vector["w"] // 2):
                field[y // 4, x // 4] = (
                    4 * vector["motion_x"] // vector["motion_scale"],
                    4 * vector["motion_y"] // vector["motion_scale"],
                )
                mode[y // 4, x // 4] = MODE_INTER
    return field, mode


def random_vectors(seed, coded_size=(48, 64)):
    generator = np.random.default_rng(seed)
    blocks = []
    for top in range(0, coded_size[0], 16):
        for left in range(0, coded_size[1], 16):
            height, width = [(16, 16), (16, 8), (8, 16), (8, 8), (0, 0)][generator.integers(5)]
            for y in range(top, top + 16, height or 99):
                for x in range(left, left + 16, width or 99):
                    if height:
                        block = np.zeros((), VECTOR)
                        block["source"], block["w"], block["h"] = -1, width, height
                        block["dst_x"], block["dst_y"] = x + width // 2, y + height // 2
                        block["motion_x"], block["motion_y"] = generator.integers(-90, 90, 2)
                        block["motion_scale"] = generator.choice([1, 2, 4])
                        blocks.append(block)
    return np.array(blocks, VECTOR)


@pytest.mark.parametrize("seed", range(5))
def test_painting_equals_painting_sample_by_sample(seed) -> None:
    vectors = random_vectors(seed)
    for ours, naive in zip(paint_vectors(vectors, (48, 64)), naive_paint(vectors, (48, 64)), strict=True):
        np.testing.assert_array_equal(ours, naive)


@pytest.mark.parametrize(
    ("name", "value"),
    [("dst_x", 3), ("dst_y", 1000), ("motion_x", 2**20), ("motion_scale", 3), ("motion_scale", 0)],
)
def test_impossible_vectors_are_an_error(name, value) -> None:
    vectors = random_vectors(0)
    vectors[name][0] = value
    with pytest.raises(BitstreamError, match="do not fit a 64x48 picture"):
        paint_vectors(vectors, (48, 64))


def test_motion_without_a_reference_index_is_refused_before_decoding(pan, tmp_path) -> None:
    bitstream = coded(pan((96, 128), 6), references=3)
    path = tmp_path / "three.h264"
    bitstream.write(path)
    with pytest.raises(CapabilityError, match="set references=1"):
        decode(bitstream, motion=True)
    for source in (path, bitstream.data):
        with pytest.raises(CapabilityError, match="keeps 3 reference pictures"):
            decode(source, motion=True)
        with pytest.raises(CapabilityError, match="keeps 3 reference pictures"):
            read_motion(source)
    assert len(list(decode(path, motion=False))) == 6


def test_motion_of_a_container_file(pan, tmp_path) -> None:
    frames = pan((96, 128), 5)
    one = {"refs": "1", "bf": "0"}
    for name in ("one.mp4", "one.mkv"):
        path = container_of(frames, tmp_path / name, **one)
        field = list(read_motion(path))[2]
        assert np.mean((field.vectors_qpel[:, :, 0] == (20, 12)).all(axis=2)) > 0.6
        assert [frame.frame_type for frame in decode(path)] == list("IPPPP")
    with pytest.raises(CapabilityError, match="reference pictures"):
        decode(container_of(frames, tmp_path / "many.mp4", refs="3"))
    with pytest.raises(CapabilityError, match="B pictures"):
        list(decode(container_of(frames, tmp_path / "b.avi", codec="mpeg4", bf="2")))
    with pytest.raises(CapabilityError, match="codec 'vp9' cannot be read"):
        decode(container_of(frames, tmp_path / "other.mkv", codec="libvpx-vp9"))


@pytest.mark.parametrize("codec", ["hevc", "h264", "mpeg4"])
@pytest.mark.parametrize("cut_bytes", [1, 20, 2000])
def test_a_truncated_bitstream_is_an_error(pan, codec, cut_bytes) -> None:
    bitstream = coded(pan((96, 128), 4), codec)
    with pytest.raises(BitstreamError, match="truncated or damaged"):
        decode(dataclasses.replace(bitstream, data=bitstream.data[:-cut_bytes]), motion=False)


@pytest.mark.parametrize("codec", ["hevc", "h264", "mpeg4"])
def test_a_missing_picture_is_an_error(pan, codec) -> None:
    bitstream = coded(pan((96, 128), 4), codec)
    sizes = bitstream.packet_bytes
    shorter = dataclasses.replace(bitstream, data=bitstream.data[: sum(sizes[:3])], packet_bytes=sizes[:3])
    with pytest.raises(BitstreamError, match="3 pictures decode, expected 4"):
        list(decode(shorter, motion=False))


@pytest.mark.parametrize("codec", ["h264", "mpeg4"])
def test_a_file_cut_inside_a_picture_is_an_error(pan, codec, tmp_path) -> None:
    """FFmpeg's HEVC decoder does not notice; there the parser does (docs/codec.md)."""
    bitstream = coded(pan((96, 128), 4), codec, keyframe_interval=1)
    path = tmp_path / f"cut.{codec if codec != 'mpeg4' else 'm4v'}"
    path.write_bytes(bitstream.data[: sum(bitstream.packet_bytes[:2]) + bitstream.packet_bytes[2] // 3])
    with pytest.raises(BitstreamError, match=r"cut\.\w+: picture \d does not decode .* truncated or damaged"):
        list(decode(path, motion=False))


def test_what_is_no_video_is_named(tmp_path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("not a video")
    (tmp_path / "empty.hevc").touch()
    for source, reason in [
        (tmp_path / "absent.mp4", r"absent\.mp4: no such file"),
        (tmp_path, "is a folder; expected a video file"),
        (text, r"notes\.mp4: not a video that FFmpeg can open"),
        (tmp_path / "empty.hevc", r"empty\.hevc"),
        (b"", "0 bytes of video"),
        (b"\0" * 100, "100 bytes of video"),
    ]:
        with pytest.raises(InputError, match=reason):
            list(decode(source, motion=False))


def test_hevc_without_the_parser_says_so(pan, monkeypatch) -> None:
    monkeypatch.delattr(hevc_package, "PARSER", raising=False)
    bitstream = coded(pan((96, 128), 3), "hevc")
    with pytest.raises(CapabilityError, match="HEVC motion is not available in this build"):
        decode(bitstream)
    assert len(list(decode(bitstream, motion=False))) == 3


@pytest.fixture
def parser():
    """The built motion parser; skips in a build without it."""
    if not hasattr(hevc_package, "PARSER"):
        pytest.skip("this build has no HEVC motion parser")


def test_hevc_motion_follows_a_pan(pan, parser) -> None:
    bitstream = coded(pan((96, 128), 8, (5, 3)), "hevc", keyframe_interval=4, references=3)
    decoded = list(decode(bitstream))
    assert "".join(frame.frame_type for frame in decoded) == bitstream.frame_types == "IPPPIPPP"
    assert [frame.motion.poc for frame in decoded] == [0, 1, 2, 3, 0, 1, 2, 3]
    for frame in decoded:
        if frame.frame_type == "P":
            steps = frame.motion.poc - frame.motion.reference_poc[:, :, 0]
            inter = frame.motion.mode != MODE_INTRA
            expected = np.stack([20 * steps, 12 * steps], axis=-1)[inter]
            assert np.mean((frame.motion.vectors_qpel[:, :, 0][inter] == expected).all(axis=1)) > 0.7


def test_hevc_motion_of_odd_sizes_has_the_size_of_the_frames(pan, parser) -> None:
    for frame in decode(coded(pan((95, 127), 3), "hevc")):
        assert frame.motion.size == frame.image.shape[:2] == (95, 127)


def test_hevc_b_pictures_get_their_own_motion(pan, parser) -> None:
    bitstream = coded(pan((96, 128), 7), "hevc", b_frames=2, references=2)
    decoded = list(decode(bitstream))
    assert "".join(frame.motion.frame_type for frame in decoded) == bitstream.frame_types
    assert [frame.motion.poc for frame in decoded] == list(range(7))


def test_hevc_motion_is_the_same_from_file_container_and_bytes(pan, parser, tmp_path) -> None:
    frames = pan((96, 128), 3)
    options = {"x265-params": "log-level=none:bframes=0:frame-threads=1"}
    container = container_of(frames, tmp_path / "clip.mp4", codec="libx265", **options)
    raw = container_of(frames, tmp_path / "clip.hevc", codec="libx265", **options)
    fields = [list(read_motion(source)) for source in (raw, raw.read_bytes(), container)]
    assert [len(some) for some in fields] == [3, 3, 3]
    for first, second, third in zip(*fields, strict=True):
        np.testing.assert_array_equal(first.vectors_qpel, second.vectors_qpel)
        np.testing.assert_array_equal(first.vectors_qpel, third.vectors_qpel)
    assert [frame.frame_type for frame in decode(container)] == list("IPP")


def test_a_hevc_file_cut_inside_a_picture_is_an_error_where_motion_is_read(pan, parser, tmp_path) -> None:
    bitstream = coded(pan((96, 128), 4), "hevc", keyframe_interval=1)
    path = tmp_path / "cut.hevc"
    path.write_bytes(bitstream.data[: sum(bitstream.packet_bytes[:2]) + bitstream.packet_bytes[2] // 3])
    with pytest.raises(BitstreamError, match=r"cut\.hevc"):
        list(decode(path))
