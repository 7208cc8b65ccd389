"""`vssbench motion`: table, arrays and picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from vssbench.cli import app
from vssbench.codec.hevc import read_motion
from vssbench.errors import BitstreamError, ConfigError, InputError, VssbenchError
from vssbench.records import MODE_INTRA
from vssbench.rendering.images.motion import block_velocity, draw_motion

GOLDEN = Path(__file__).parents[1] / "codec" / "hevc" / "golden"
STREAM = GOLDEN / "v18_444.hevc"


def run(*words: object) -> str:
    result = CliRunner().invoke(app, ["motion", *map(str, words)])
    assert result.exception is None, result.exception
    return result.stdout


def error_of(*words: object) -> VssbenchError:
    result = CliRunner().invoke(app, ["motion", *map(str, words)])
    assert isinstance(result.exception, VssbenchError), (result.exception, result.output)
    return result.exception


def test_every_picture_has_one_line_with_its_shares() -> None:
    golden = np.load(GOLDEN / "v18_444.npz")
    lines = run(STREAM).splitlines()
    assert len(lines) == len(golden["poc"]) + 2
    assert lines[-1] == f"{len(golden['poc'])} pictures"
    for index, line in enumerate(lines[1:-1]):
        words = line.split()
        assert words[0] == str(index)
        assert words[1] == "BPI"[golden["slice_type"][index]]
        assert words[2] == str(golden["poc"][index])
        assert words[3] == f"{np.mean(golden['pred_mode'][index] == 0):.1%}"
        assert words[4] == f"{np.mean(golden['pred_mode'][index] == 2):.1%}"
        used = golden["ref_poc"][index] != -(2**31)
        if used.any():
            length = np.hypot(*(golden["mv"][index][used].T / 4))
            assert float(words[5]) == pytest.approx(np.median(length), abs=0.01)


def test_arrays_and_picture_are_written(tmp_path: Path) -> None:
    run(STREAM, "--npz", tmp_path / "m.npz", "--picture", tmp_path / "m.png", "--frame", 2)
    written, golden = np.load(tmp_path / "m.npz"), np.load(GOLDEN / "v18_444.npz")
    assert not written["unreliable"].any()
    assert not written["lost"].any()
    for key in set(written.files) - {"unreliable", "lost"}:
        assert np.array_equal(written[key], golden[key]), key
    assert {"mv", "ref_poc", "pred_mode", "poc"} <= set(written.files)
    width, height = golden["crop_ltwh"][2, 2:]
    assert Image.open(tmp_path / "m.png").size == (width, height)


def test_wrong_use_and_broken_files_are_named(tmp_path: Path) -> None:
    assert isinstance(error_of(tmp_path / "absent.hevc"), InputError)
    assert isinstance(error_of(STREAM, "--npz", tmp_path / "m.txt"), ConfigError)
    assert "no picture 99" in str(error_of(STREAM, "--picture", tmp_path / "m.png", "--frame", 99))
    broken = tmp_path / "broken.hevc"
    broken.write_bytes(STREAM.read_bytes()[:9000])
    assert isinstance(error_of(broken), BitstreamError)
    assert "damaged" in run(broken, "--partial")


def test_pictures_whose_vectors_rest_on_missing_motion_are_marked_unreliable(tmp_path: Path) -> None:
    """Leave out the second slice of the tiled stream: picture 0 loses blocks, and others predict from its motion."""
    parts = (GOLDEN / "vs02_tiles_pps_switch_dep.hevc").read_bytes().split(b"\0\0\1")
    slices = [index for index, part in enumerate(parts) if index and part[0] >> 1 < 32]
    damaged = tmp_path / "damaged.hevc"
    damaged.write_bytes(b"\0\0\1".join(parts[: slices[1]] + parts[slices[1] + 1 :]))
    lines = run(damaged, "--partial", "--npz", tmp_path / "m.npz").splitlines()
    fields = list(read_motion(damaged, strict=False))
    _, *pictures, total, _ = lines
    assert [line.endswith("  damaged") for line in pictures] == [field.poc == 0 for field in fields]
    unreliable = [line.endswith("  unreliable") for line in pictures]
    assert unreliable == [field.poc in (1, 2, 3, 4, 5, 7) for field in fields]
    assert total == "8 pictures, 1 damaged, 6 unreliable"
    written = np.load(tmp_path / "m.npz")
    assert written["unreliable"].tolist() == unreliable
    assert written["lost"].any((1, 2)).tolist() == [field.poc == 0 for field in fields]


def test_velocity_is_per_picture_and_points_to_the_past() -> None:
    fields = list(read_motion(GOLDEN / "v25_gray.hevc"))
    for field in fields:
        velocity, valid = block_velocity(field)
        assert not velocity[~valid].any()
        assert not valid[field.mode == MODE_INTRA].any()
    field = next(f for f in fields if f.frame_type == "P")
    velocity, valid = block_velocity(field)
    row, column = np.argwhere(valid)[0]
    distance = field.poc - field.reference_poc[row, column, 0]
    assert np.allclose(velocity[row, column] * 4 * distance, field.vectors_qpel[row, column, 0])


def test_the_drawing_keeps_the_size_and_darkens_intra_blocks() -> None:
    field = next(iter(read_motion(STREAM)))
    image = np.full((*field.size, 3), 200, np.uint8)
    drawn = draw_motion(image, field)
    assert drawn.shape == image.shape
    assert (field.mode == MODE_INTRA).all()
    assert drawn[field.size[0] // 2, field.size[1] // 2].tolist() == [int(0.55 * 200 + 0.45 * 30)] * 3
    with pytest.raises(ValueError, match="belongs to"):
        draw_motion(image[:-1], field)
