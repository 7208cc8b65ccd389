"""`vssbench segment` and `vssbench.segment`: every picture answered as a run answers it, resumed, nothing overwritten unasked."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

import vssbench
from vssbench.codec import CodecSettings, encode
from vssbench.codec.encode import SUFFIXES
from vssbench.engine.streams import open_segmentation
from vssbench.errors import BitstreamError, CapabilityError, ConfigError, VssbenchError

WEIGHTS = "streets-swiftnet18-w13"
SIZE = (64, 96)


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    """Eleven pictures in groups of four, B pictures among them."""
    path = tmp_path_factory.mktemp("video") / "s.mp4"
    scene = np.random.default_rng(2).integers(0, 255, (SIZE[0], SIZE[1] + 40, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25))
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        stream.options = {"x264-params": "keyint=4:min-keyint=4:scenecut=0:bframes=1"}
        for i in range(11):
            frame = np.ascontiguousarray(scene[:, 3 * i : 3 * i + SIZE[1]])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def command(video: Path, output: Path, *more: str, code: int = 0) -> str:
    words = ["segment", str(video), "-o", str(output), "--weights", WEIGHTS, "--device", "cpu", *more]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "vssbench", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def stored(output: Path) -> dict[int, np.ndarray]:
    return {int(p.stem): np.array(Image.open(p)) for p in sorted((output / "labels").glob("*.png"))}


def test_ten_lines_of_python_see_what_a_run_sees(video, tmp_path):
    seen = dict(vssbench.segment(video, "warp-only", WEIGHTS, device="cpu"))
    assert sorted(seen) == list(range(11))
    root = tmp_path / "d"
    (root / "labels").mkdir(parents=True)
    for index, labels in seen.items():
        assert labels.shape == SIZE
        Image.fromarray(labels).save(root / "labels" / f"{index}.png")
    (root / "s.mp4").write_bytes(video.read_bytes())
    names = open_segmentation(video, {"name": "constant", "weights": WEIGHTS}).class_names
    (root / "classes.csv").write_text(
        "name,red,green,blue\n" + "".join(f"{n},{i},0,0\n" for i, n in enumerate(names))
    )
    run = vssbench.run(
        {
            "datasets": [{"name": "folder", "root": str(root), "frames": "s.mp4"}],
            "codecs": [{"codec": "source"}],
            "methods": [{"name": "warp-only", "network": "swiftnet18", "width": 13, "weights": WEIGHTS}],
            "measure": {"macs": False},
        },
        tmp_path / "run",
        workers=1,
        device="cpu",
    )
    (group,) = run.groups
    wrong = group.total.sum(0)
    assert np.diagonal(wrong).sum() == wrong.sum() == 11 * SIZE[0] * SIZE[1]


def test_a_folder_of_answers_goes_on_where_it_was_and_is_never_overwritten_unasked(video, tmp_path):
    output = tmp_path / "out"
    command(video, output, "--method", "warp-only", "--label-video")
    whole = stored(output)
    assert {i: v.tobytes() for i, v in whole.items()} == {
        i: v.tobytes() for i, v in vssbench.segment(video, "warp-only", WEIGHTS, device="cpu")
    }
    with av.open(str(output / "labels.mkv")) as film:
        frames = [frame.to_ndarray(format="gray") for frame in film.decode(video=0)]
    assert all(np.array_equal(frames[i], whole[i]) for i in range(11))
    with av.open(str(output / "overlay.mp4")) as film:
        assert sum(1 for _ in film.decode(video=0)) == 11

    for index in (5, 6, 10):
        (output / "labels" / f"{index:06d}.png").unlink()
    kept = (output / "labels" / "000000.png").stat().st_mtime_ns
    command(video, output, "--method", "warp-only", "--label-video")
    assert (output / "labels" / "000000.png").stat().st_mtime_ns == kept
    assert all(np.array_equal(whole[i], found) for i, found in stored(output).items())

    told = command(video, output, "--method", "constant", code=2)
    assert "holds answers of another video, method, weights or option" in told
    assert all(np.array_equal(whole[i], found) for i, found in stored(output).items())
    command(video, output, "--method", "constant", "--no-overlay", "--force")
    assert not (output / "overlay.mp4").exists()
    assert json.loads((output / "answers.json").read_text())["method"]["name"] == "constant"


def test_a_folder_of_other_things_is_left_alone_also_by_force(video, tmp_path):
    output = tmp_path / "data"
    (output / "labels").mkdir(parents=True)
    (output / "labels" / "precious.png").write_bytes(b"mine")
    assert "holds labels and was not made by" in command(video, output, "--force", code=2)
    assert (output / "labels" / "precious.png").read_bytes() == b"mine"


def test_no_room_for_the_film_is_one_error_and_keeps_the_labels(video, tmp_path):
    output = tmp_path / "out"
    command(video, output, "--no-overlay")
    largest = max(path.stat().st_size for path in output.rglob("*.*"))
    words = ["segment", str(video), "-o", str(output), "--weights", WEIGHTS, "--device", "cpu"]
    script = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({largest}, {largest})); "
        f"sys.argv = ['vssbench', *{words!r}]; from vssbench.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert "overlay.mp4: the limit on file sizes is reached" in done.stderr
    assert len(stored(output)) == 11
    assert sorted(p.name for p in output.iterdir() if p.name[0] != ".") == ["answers.json", "labels"]


def test_a_method_without_weights_is_refused_with_the_remedy(video):
    with pytest.raises(ConfigError, match="nothing tells which classes it knows; give weights"):
        vssbench.segment(video, "constant")


def _with_noise(data: bytes) -> bytes:
    middle = data.find(b"mdat") + (len(data) - data.find(b"mdat")) // 2
    noise = np.random.default_rng(0).integers(0, 255, 300, dtype=np.uint8).tobytes()
    return data[:middle] + noise + data[middle + 300 :]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda data: _with_noise(data), "slice|damaged|does not decode"),
        (lambda data: data[: len(data) // 2], "truncated|not a video|damaged"),
        (lambda data: b"", "not a video|empty"),
    ],
)
def test_damaged_files_are_one_error_before_anything_is_written(video, tmp_path, damage, told):
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(damage(video.read_bytes()))
    with pytest.raises(VssbenchError, match=told):
        vssbench.segment(bad, "constant", WEIGHTS)


def _coded(codec: str, size: tuple[int, int], count: int = 5) -> bytes:
    frames = np.random.default_rng(0).integers(0, 255, (count, *size, 3), dtype=np.uint8)
    return encode(frames, CodecSettings(codec=codec, qp=30), 25).data


@pytest.mark.parametrize("codec", ["h264", "hevc", "mpeg4"])
def test_a_stream_that_changes_its_size_is_refused_with_both_sizes(tmp_path, codec):
    path = tmp_path / f"s{SUFFIXES[codec]}"
    path.write_bytes(_coded(codec, SIZE) + _coded(codec, (96, 128)))
    with pytest.raises(BitstreamError, match=rf"s\{SUFFIXES[codec]}: .*(128x96.*96x64|does not decode)"):
        vssbench.segment(path, "constant", WEIGHTS)


def test_a_stream_without_keyframe_is_refused(tmp_path):
    path = tmp_path / "s.hevc"
    units = [b"\0\0\1" + unit for unit in _coded("hevc", SIZE).split(b"\0\0\1")[1:]]
    path.write_bytes(b"".join(unit for unit in units if unit[3] >> 1 & 63 not in (19, 20)))
    with pytest.raises(BitstreamError, match=r"s\.hevc"):
        vssbench.segment(path, "constant", WEIGHTS)


def test_a_variable_frame_rate_leaves_every_picture(tmp_path):
    path, times = tmp_path / "s.mkv", [0, 40, 45, 200, 900, 901, 2000]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for time in times:
            noise = np.random.default_rng(time).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
            picture = av.VideoFrame.from_ndarray(noise, format="rgb24")
            picture.pts, picture.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    assert [index for index, _ in vssbench.segment(path, "warp-only", WEIGHTS)] == list(range(len(times)))


def test_motion_that_no_parser_reads_is_refused_by_codec(tmp_path):
    path = tmp_path / "s.webm"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx", rate=25)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((*SIZE, 3), np.uint8), format="rgb24")
        container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    with pytest.raises(CapabilityError, match=r"codec 'vp8'.*expected hevc, h264, mpeg2video or mpeg4"):
        vssbench.segment(path, "warp-only", WEIGHTS)


def test_the_pictures_of_a_turned_and_trimmed_file_are_those_that_a_player_shows(shared):
    path = shared / "data/streams/internal_emulator_transformer_output_180_rotated.mp4"
    work = open_segmentation(path, {"name": "constant", "weights": WEIGHTS})
    assert (len(work.frames), work.source.size) == (149, (720, 1280))
    trimmed = open_segmentation(
        shared / "data/streams/sample_edit_list.mp4", {"name": "constant", "weights": WEIGHTS}
    )
    assert (trimmed.source.frame_count, trimmed.source.size) == (77, (1920, 1080))
    assert trimmed.frames == range(18, 77)  # those before refer to a keyframe that is not shown


def test_of_a_damaged_video_the_sound_groups_are_answered_if_asked(video, tmp_path):
    with av.open(str(video)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(video.read_bytes())
    position, size = packets[5]  # of the second group of four
    data[position + size // 3 : position + size // 2] = bytes(size // 2 - size // 3)
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(data)
    assert "--partial uses the groups of pictures that are sound" in command(damaged, tmp_path / "no", code=3)
    text = command(damaged, tmp_path / "out", "--partial", "--no-overlay")
    assert "pictures 4 to 7 are left out, 4 of 11" in text
    whole = [labels for _, labels in vssbench.segment(video, "constant", WEIGHTS, device="cpu")]
    assert {i: v.tobytes() for i, v in stored(tmp_path / "out").items()} == {
        i: v.tobytes() for i, v in enumerate([*whole[:4], *whole[8:]])
    }
    assert json.loads((tmp_path / "out" / "answers.json").read_text())["left_out"] == [[4, 4]]
