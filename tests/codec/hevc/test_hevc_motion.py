"""The Python face: sources, containers, records, details."""

from __future__ import annotations

import ast
import io
import pickle
from fractions import Fraction
from importlib.resources import files
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from vssbench.codec.bits.container import (
    is_container,
    parameter_sets_of,
    split_annex_b,
    split_length_prefixed,
)
from vssbench.codec.hevc import _motion, read_motion
from vssbench.errors import BitstreamError, InputError
from vssbench.records import MotionField

GOLDEN = Path(__file__).parent / "golden"
STREAM = GOLDEN / "v18_444.hevc"


def texture(count: int, height: int = 96, width: int = 128) -> list[NDArray[np.uint8]]:
    noise = np.random.default_rng(5).integers(30, 220, (height // 4 + count, width // 4 + count, 3))
    dense = noise.astype(np.uint8).repeat(4, axis=0).repeat(4, axis=1)
    return [np.ascontiguousarray(dense[2 * n : 2 * n + height, 3 * n : 3 * n + width]) for n in range(count)]


def encode(target: Path, codec: str = "libx265", parameters: str = "", count: int = 6) -> None:
    with av.open(str(target), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(25))
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
        if codec == "libx265":
            stream.options = {"x265-params": f"pools=none:frame-threads=1:log-level=none:{parameters}"}
        for image in texture(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def assert_equal(first: list[MotionField], second: list[MotionField]) -> None:
    assert len(first) == len(second) > 0
    for a, b in zip(first, second, strict=True):
        assert (a.poc, a.frame_type, a.size, a.decode_order) == (b.poc, b.frame_type, b.size, b.decode_order)
        assert np.array_equal(a.vectors_qpel, b.vectors_qpel)
        assert np.array_equal(a.reference_poc, b.reference_poc)
        assert np.array_equal(a.mode, b.mode)


def test_bytes_path_and_threads_give_the_same_fields() -> None:
    expected = list(read_motion(STREAM))
    assert_equal(list(read_motion(STREAM.read_bytes())), expected)
    assert_equal(list(read_motion(str(STREAM), threads=3)), expected)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_containers_give_the_same_fields_as_the_elementary_stream(tmp_path: Path, suffix: str) -> None:
    elementary, wrapped = tmp_path / "a.hevc", tmp_path / f"a{suffix}"
    encode(wrapped, parameters="bframes=2:keyint=4")
    with av.open(str(wrapped)) as source, open(elementary, "wb") as target:
        stream = source.streams.video[0]
        annex_b = av.BitStreamFilterContext("hevc_mp4toannexb", stream)
        for packet in source.demux(stream):
            for converted in annex_b.filter(packet):
                target.write(bytes(converted))
    fields = list(read_motion(wrapped))
    assert [field.poc for field in fields] == sorted(field.poc for field in fields) or suffix
    assert len(fields) == 6
    assert_equal(fields, list(read_motion(elementary)))
    assert_equal(list(read_motion(wrapped.read_bytes())), fields)


def test_a_file_without_an_hevc_track_is_refused(tmp_path: Path) -> None:
    encode(tmp_path / "a.mp4", codec="mpeg4")
    with pytest.raises(InputError, match=r"no HEVC track \(found: mpeg4\)"):
        list(read_motion(tmp_path / "a.mp4"))
    with pytest.raises(InputError, match="absent"):
        list(read_motion(tmp_path / "absent.hevc"))
    with pytest.raises(ValueError, match="threads"):
        list(read_motion(STREAM, threads=0))


def test_a_damaged_container_is_a_bitstream_error(tmp_path: Path) -> None:
    encode(tmp_path / "a.mp4")
    data = (tmp_path / "a.mp4").read_bytes()
    assert is_container(data[:512])
    with pytest.raises(BitstreamError):
        list(read_motion(data[:300]))


def test_fields_are_read_only_and_survive_pickling() -> None:
    field = next(read_motion(STREAM, details=True))
    with pytest.raises(ValueError, match="read-only"):
        field.vectors_qpel[0, 0] = 1
    copy = pickle.loads(pickle.dumps(field))
    assert_equal([copy], [field])
    assert np.array_equal(copy.details.qp, field.details.qp)


def test_fields_outlive_the_parser() -> None:
    golden = np.load(GOLDEN / "v18_444.npz")
    fields = list(read_motion(STREAM))
    assert np.array_equal(np.stack([field.vectors_qpel for field in fields]), golden["mv"])


def test_a_constant_quantiser_is_seen_in_every_block(tmp_path: Path) -> None:
    encode(tmp_path / "a.hevc", parameters="qp=31:aq-mode=0:cutree=0:bframes=0:ipratio=1.0:no-wpp=1")
    for field in read_motion(tmp_path / "a.hevc", details=True):
        assert field.details is not None
        assert set(np.unique(field.details.qp)) == {31}


def test_quantisers_that_vary_stay_near_the_requested_one(tmp_path: Path) -> None:
    encode(tmp_path / "a.hevc", parameters="crf=30:aq-mode=1:aq-strength=2:qg-size=16")
    quantisers = np.concatenate(
        [
            f.details.qp.ravel()
            for f in read_motion(tmp_path / "a.hevc", details=True)
            if f.details is not None
        ]
    )
    assert len(np.unique(quantisers)) > 1
    assert 20 < np.median(quantisers) < 45


def test_details_add_up(tmp_path: Path) -> None:
    encode(tmp_path / "a.hevc", parameters="crf=28:bframes=0")
    for field in read_motion(tmp_path / "a.hevc", details=True):
        details = field.details
        assert details is not None
        assert field.coded_bits is not None
        starts = details.coded_bits > 0
        in_blocks = int(details.coded_bits.sum())
        assert 0.6 * field.coded_bits - 2000 < in_blocks <= field.coded_bits
        # a coding block begins where its size says
        rows, columns = np.nonzero(starts)
        sides = (1 << details.cu_log2[rows, columns].astype(int)) // 4
        assert (rows % sides == 0).all()
        assert (columns % sides == 0).all()
        assert details.nonzero_coefficients[field.mode == 2].sum() == 0  # skipped blocks have no residual
        assert field.frame_type != "I" or details.nonzero_coefficients.sum() > 0


def test_units_of_packets_and_configuration_records() -> None:
    assert list(split_annex_b(b"\0\0\0\1ab\0\0\1c\0\0")) == [b"ab", b"c"]
    assert list(split_length_prefixed(b"\0\0\0\2ab\0\0\0\1c", 4)) == [(4, 2), (10, 1)]
    record = bytes([1] + [0] * 20 + [0xFF, 2]) + b"\x20\0\1\0\2VP" + b"\x21\0\2\0\1S\0\3SPS"
    assert parameter_sets_of(record, "hevc") == [b"VP", b"S", b"SPS"]
    assert parameter_sets_of(record[:-1], "hevc") == [b"VP", b"S"]
    record = b"\1\x64\0\x1f\xff" + b"\xe2\0\2S1\0\2S2" + b"\1\0\3PPS"
    assert parameter_sets_of(record, "h264") == [b"S1", b"S2", b"PPS"]
    assert parameter_sets_of(record[:-1], "h264") == [b"S1", b"S2"]
    assert not is_container(b"\0\0\0\1\x40\1")
    assert is_container(b"\x1a\x45\xdf\xa3")


def test_the_committed_stub_describes_the_extension() -> None:
    """Renew with `python -m nanobind.stubgen -m vssbench.codec.hevc._motion -o vssbench/codec/hevc/_motion.pyi`, then ruff format."""
    stubgen = pytest.importorskip("nanobind.stubgen")
    generator = stubgen.StubGen(_motion)
    generator.put(_motion)
    committed = files("vssbench.codec.hevc").joinpath("_motion.pyi").read_text()
    assert ast.unparse(ast.parse(committed)) == ast.unparse(ast.parse(generator.get()))


def test_memory_views_of_a_stream_are_streamed() -> None:
    fields = read_motion(io.BytesIO(STREAM.read_bytes()).getvalue())
    assert next(fields).frame_type == "I"
    fields.close()  # type: ignore[attr-defined]


def test_memory_stays_flat_over_a_long_stream() -> None:
    resident = Path("/proc/self/statm")
    if not resident.exists():
        pytest.skip("no /proc to read the resident size from")
    once = STREAM.read_bytes()
    pictures = len(list(read_motion(once)))
    sizes = []
    for index, _ in enumerate(read_motion(once * 400)):
        if index % (20 * pictures) == 0:
            sizes.append(int(resident.read_text().split()[1]) * 4096)
    assert len(sizes) == 20
    assert max(sizes[5:]) - sizes[5] < 4 << 20


def decoded_packets(data: bytes) -> list[int]:
    """Index of the packet of every picture that FFmpeg gives out, in display order."""
    found: list[int] = []
    with av.open(io.BytesIO(data), format="hevc") as container:
        for index, packet in enumerate(container.demux(video=0)):
            packet.pts = index
            found += [int(frame.pts) for frame in packet.decode() if frame.pts is not None]
    return found


def test_the_decode_index_is_that_of_the_packet(tmp_path: Path) -> None:
    encode(tmp_path / "a.hevc", parameters="bframes=3:b-pyramid=1:keyint=5:min-keyint=5:open-gop=1", count=18)
    whole = (tmp_path / "a.hevc").read_bytes()
    assert [f.decode_index for f in read_motion(whole)] == decoded_packets(whole)
    # from the last key picture on: what leads it refers to the past and is left out, but has its packet
    starts = [
        at for at in range(len(whole) - 4) if whole[at : at + 3] == b"\0\0\1" and whole[at + 3] == 21 << 1
    ]
    first = next(
        at for at in range(len(whole)) if whole[at : at + 3] == b"\0\0\1" and whole[at + 3] in (38, 40)
    )
    cut = whole[:first] + whole[starts[-1] :]
    fields = list(read_motion(cut))
    assert [f.decode_index for f in fields] == decoded_packets(cut)
    assert [f.decode_index for f in fields] != [f.decode_order for f in fields]
