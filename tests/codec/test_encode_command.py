"""`vssbench encode`: what it writes, says and refuses."""

from __future__ import annotations

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from vssbench.cli.encode import encode
from vssbench.codec import decode
from vssbench.errors import ConfigError, InputError, StorageError

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(encode)


@pytest.fixture
def pictures(pan, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index, image in enumerate(pan((96, 128), 5)):
        Image.fromarray(image).save(folder / f"{index:03}.png")
    return folder


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_folder_of_pictures_becomes_a_stream(pictures, tmp_path) -> None:
    output = tmp_path / "out.h264"
    result = run(
        pictures, "-o", output, "--codec", "h264", "--qp", 12, "--references", 1, "--keyframe-interval", 3
    )
    assert result.exit_code == 0
    assert "5 of 128x96 at 30 Hz (2 I, 3 P)" in result.output
    assert f"{output.stat().st_size} bytes" in result.output
    assert [frame.frame_type for frame in decode(output)] == list("IPPIP")
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")] == []


def test_a_video_is_encoded_again_at_its_own_rate(pictures, tmp_path) -> None:
    run(pictures, "-o", tmp_path / "a.h264", "--codec", "h264", "--qp", 4, "--frame-rate", 12.5)
    arguments = (
        tmp_path / "a.h264",
        "-o",
        tmp_path / "b.hevc",
        "--crf",
        24,
        "--frames",
        2,
        "--extra",
        "rect=1",
    )
    assert "2 of 128x96 at 12.5 Hz (1 I, 1 P)" in run(*arguments).output


def test_a_file_is_replaced_only_by_force(pictures, tmp_path) -> None:
    output = tmp_path / "out.h264"
    output.write_bytes(b"precious")
    with pytest.raises(ConfigError, match="exists already"):
        run(pictures, "-o", output, "--codec", "h264", "--qp", 12)
    assert output.read_bytes() == b"precious"
    run(pictures, "-o", output, "--codec", "h264", "--qp", 12, "--force")
    assert output.stat().st_size > 100


@pytest.mark.parametrize(
    ("arguments", "error", "reason"),
    [
        (["-o", "a.mp4", "--qp", 3], ConfigError, "a hevc elementary stream is named .hevc"),
        (["-o", "a.hevc", "--qp", 3, "--crf", 3], ConfigError, "exactly one of bitrate_kbps, crf and qp"),
        (["-o", "a.hevc"], ConfigError, "exactly one of bitrate_kbps, crf and qp"),
        (["-o", "a.hevc", "--qp", 3, "--extra", "rect"], ConfigError, "expected key=value"),
        (["-o", "a.hevc", "--qp", 3, "--frames", 0], ConfigError, "must be at least 1"),
        (["-o", "absent/a.hevc", "--qp", 3], StorageError, "no such folder"),
    ],
)
def test_wrong_use_is_refused_before_anything_is_written(
    pictures, tmp_path, monkeypatch, arguments, error, reason
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=reason):
        run(pictures, *arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]


def test_a_bad_picture_is_named_and_leaves_no_output(pictures, tmp_path) -> None:
    (pictures / "002.png").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"002\.png: not a readable picture"):
        run(pictures, "-o", tmp_path / "a.hevc", "--qp", 30)
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(pictures / "002.png")
    with pytest.raises(InputError, match="frame 2: is 64x64, the frames before are 128x96"):
        run(pictures, "-o", tmp_path / "a.hevc", "--qp", 30)
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]


def test_an_empty_folder_is_named(tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no picture"):
        run(tmp_path / "empty", "-o", tmp_path / "a.hevc", "--qp", 30)
