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

from vssbench.codec.h264 import _motion, read_motion
from vssbench.errors import BitstreamError, InputError
from vssbench.records import MotionField

GOLDEN = Path(__file__).parent / "golden"
STREAM = GOLDEN / "v25_p4x4_cabac_8x8dct.h264"


def texture(count: int, height: int = 96, width: int = 128) -> list[NDArray[np.uint8]]:
    noise = np.random.default_rng(5).integers(30, 220, (height // 4 + count, width // 4 + count, 3))
    dense = noise.astype(np.uint8).repeat(4, axis=0).repeat(4, axis=1)
    return [np.ascontiguousarray(dense[2 * n : 2 * n + height, 3 * n : 3 * n + width]) for n in range(count)]


def encode(
    target: Path, parameters: str = "", count: int = 12, codec: str = "libx264", weave: bool = False
) -> None:
    images = texture(2 * count if weave else count)
    if weave:  # two moments in the lines of each picture
        pairs = zip(images[::2], images[1::2], strict=True)
        images = [np.where(np.arange(96)[:, None, None] % 2, second, first) for first, second in pairs]
    with av.open(str(target), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(25))
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
        if codec == "libx264":
            stream.options = {"x264-params": f"threads=1:scenecut=0:{parameters}"}
        for image in images:
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


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts"])
def test_containers_give_the_same_fields_as_the_elementary_stream(tmp_path: Path, suffix: str) -> None:
    elementary, wrapped = tmp_path / "a.h264", tmp_path / f"a{suffix}"
    encode(wrapped, "bframes=2:keyint=4:ref=3")
    with av.open(str(wrapped)) as source, open(elementary, "wb") as target:
        stream = source.streams.video[0]
        annex_b = av.BitStreamFilterContext("h264_mp4toannexb", stream)
        for packet in source.demux(stream):
            for converted in annex_b.filter(packet):
                target.write(bytes(converted))
    fields = list(read_motion(wrapped))
    assert len(fields) == 12
    assert_equal(fields, list(read_motion(elementary)))
    assert_equal(list(read_motion(wrapped.read_bytes())), fields)


def test_a_file_without_an_h264_track_is_refused(tmp_path: Path) -> None:
    encode(tmp_path / "a.mp4", codec="mpeg4")
    with pytest.raises(InputError, match=r"no H.264 track \(found: mpeg4\)"):
        list(read_motion(tmp_path / "a.mp4"))
    with pytest.raises(InputError, match="absent"):
        list(read_motion(tmp_path / "absent.h264"))
    with pytest.raises(ValueError, match="threads"):
        list(read_motion(STREAM, threads=0))


def decoded_packets(data: bytes) -> list[int]:
    """Index of the packet of every picture that FFmpeg gives out, in display order."""
    found: list[int] = []
    with av.open(io.BytesIO(data), format="h264") as container:
        for index, packet in enumerate(container.demux(video=0)):
            packet.pts = index
            found += [int(frame.pts) for frame in packet.decode() if frame.pts is not None]
    return found


@pytest.mark.parametrize("parameters", ["bframes=3:b-pyramid=normal:ref=4", "tff=1:bframes=2:slices=2"])
def test_the_decode_index_is_that_of_the_packet(tmp_path: Path, parameters: str) -> None:
    encode(tmp_path / "a.h264", f"{parameters}:keyint=7", count=18)
    data = (tmp_path / "a.h264").read_bytes()
    assert [field.decode_index for field in read_motion(data)] == decoded_packets(data)


def test_fields_are_read_only_and_survive_pickling() -> None:
    field = next(read_motion(STREAM, details=True))
    with pytest.raises(ValueError, match="read-only"):
        field.vectors_qpel[0, 0] = 1
    copy = pickle.loads(pickle.dumps(field))
    assert_equal([copy], [field])
    assert np.array_equal(copy.details.qp, field.details.qp)


def test_a_constant_quantiser_is_seen_in_every_block(tmp_path: Path) -> None:
    encode(tmp_path / "a.h264", "qp=31:aq-mode=0:mbtree=0:bframes=0:ipratio=1.0")
    for field in read_motion(tmp_path / "a.h264", details=True):
        assert field.details is not None
        assert set(np.unique(field.details.qp)) == {31}


@pytest.mark.parametrize("entropy", ["cabac=1", "no-cabac=1"])
def test_details_add_up(tmp_path: Path, entropy: str) -> None:
    encode(tmp_path / "a.h264", f"crf=26:bframes=2:{entropy}")
    for field in read_motion(tmp_path / "a.h264", details=True):
        details = field.details
        assert details is not None
        assert field.coded_bits is not None
        in_blocks = int(details.coded_bits.sum())
        assert 0.6 * field.coded_bits - 2000 < in_blocks <= field.coded_bits
        rows, columns = np.nonzero(details.coded_bits)
        assert not (rows % 4).any()
        assert not (columns % 4).any()
        assert details.macroblock_type is not None
        assert ((details.macroblock_type <= 3) == (field.mode == 0)).all()
        assert (np.isin(details.macroblock_type, (8, 9)) == (field.mode == 2)).all()
        assert details.nonzero_coefficients[field.mode == 2].sum() == 0  # skipped blocks have no residual
        assert field.frame_type != "I" or details.nonzero_coefficients.sum() > 0


def test_field_macroblocks_are_told(tmp_path: Path) -> None:
    encode(tmp_path / "i.h264", "tff=1:bframes=1", weave=True)
    fields = list(read_motion(tmp_path / "i.h264"))
    told = [field.field_macroblocks for field in fields if field.field_macroblocks is not None]
    assert told
    assert all(pairs[0::2].tolist() == pairs[1::2].tolist() for pairs in told)  # both of a pair, or none
    encode(tmp_path / "p.h264", "bframes=1")
    assert all(field.field_macroblocks is None for field in read_motion(tmp_path / "p.h264"))


def test_further_views_and_layers_are_named_and_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    """As in MVC and SVC: units of types 15 and 20 beside those of the base layer, or alone."""
    units = [b"\0\0\1" + piece for piece in STREAM.read_bytes().split(b"\0\0\1")[1:]]
    upper = {7: 15, 1: 20, 5: 20}
    other = [u[:3] + bytes([u[3] & 0xE0 | upper[u[3] & 31]]) + u[4:] for u in units if u[3] & 31 in upper]
    fields = list(read_motion(b"".join(units) + b"".join(other)))
    assert_equal(fields, list(read_motion(STREAM)))
    assert f"(SVC, MVC): {len(other)} NAL units of layers above 0" in caplog.text
    for strict in (True, False):
        with pytest.raises(BitstreamError, match=r"SVC, MVC.*does not read"):
            list(read_motion(b"".join(other), strict=strict))


def test_the_committed_stub_describes_the_extension() -> None:
    """Renew with `python -m nanobind.stubgen -m vssbench.codec.h264._motion -o vssbench/codec/h264/_motion.pyi`, then ruff format."""
    stubgen = pytest.importorskip("nanobind.stubgen")
    generator = stubgen.StubGen(_motion)
    generator.put(_motion)
    committed = files("vssbench.codec.h264").joinpath("_motion.pyi").read_text()
    assert ast.unparse(ast.parse(committed)) == ast.unparse(ast.parse(generator.get()))


def test_memory_stays_flat_over_a_long_stream() -> None:
    resident = Path("/proc/self/statm")
    if not resident.exists():
        pytest.skip("no /proc to read the resident size from")
    once = STREAM.read_bytes()
    pictures = len(list(read_motion(once)))
    sizes = []
    for index, _ in enumerate(read_motion(once * 200)):
        if index % (10 * pictures) == 0:
            sizes.append(int(resident.read_text().split()[1]) * 4096)
    assert len(sizes) == 20
    assert max(sizes[5:]) - sizes[5] < 4 << 20
