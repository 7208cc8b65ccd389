"""Folder data sets: pictures, sequence folders, videos, label formats."""

from __future__ import annotations

import av
import numpy as np
import pytest
from PIL import Image

from vssbench.datasets.folder import FolderDataset, FolderOptions
from vssbench.datasets.folder.video import _KEPT_FRAMES
from vssbench.errors import InputError

TABLE = "name,red,green,blue\nground,10,20,30\nthing,200,0,0\n"


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8)).save(path)


def pictures(folder, names=("a1", "a2", "a10"), size=(4, 6)):
    for i, name in enumerate(names):
        save(folder / f"{name}.png", np.full((*size, 3), i))


def video(path, count=40, size=(48, 64)):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(np.full((*size, 3), 5 * i, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.fixture
def root(tmp_path):
    (tmp_path / "classes.csv").write_text(TABLE)
    return tmp_path


def opened(root, **options):
    return FolderDataset(FolderOptions(root=root, **options))


def test_labels_pair_with_pictures_by_name(root):
    pictures(root / "frames")
    save(root / "labels/a10.png", np.ones((4, 6)))
    (sequence,) = opened(root, frame_rate_hz=12).sequences()
    assert (len(sequence), sequence.labelled, sequence.frame_rate_hz) == (3, [2], 12)
    assert [p.stem for p in sequence.frame_paths] == ["a1", "a2", "a10"]
    assert sequence.label(2).tolist() == np.ones((4, 6)).tolist()


def test_colour_labels_use_the_class_table(root):
    pictures(root / "frames", ["a"], (1, 2))
    save(root / "labels/a.png", [[(200, 0, 0), (10, 20, 30)]])
    assert opened(root).sequences()[0].label(0).tolist() == [[1, 0]]
    save(root / "labels/a.png", [[(200, 0, 0), (10, 20, 31)]])
    with pytest.raises(InputError, match=r"a\.png: label colour \(10, 20, 31\) at column 1, row 0"):
        opened(root).sequences()[0].label(0)


def test_palette_labels_are_indices_or_colours_as_asked(root):
    pictures(root / "frames", ["a"], (1, 2))
    picture = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    picture.putpalette([200, 0, 0, 10, 20, 30])
    (root / "labels").mkdir()
    picture.save(root / "labels/a.png")
    assert opened(root).sequences()[0].label(0).tolist() == [[0, 1]]
    assert opened(root, label_format="colour").sequences()[0].label(0).tolist() == [[1, 0]]


def test_a_label_index_beyond_the_class_table_is_a_class_count_mismatch(root):
    pictures(root / "frames", ["a"])
    save(root / "labels/a.png", np.full((4, 6), 2))
    with pytest.raises(
        InputError, match=r"label value 2 at column 0, row 0 .*expected one of 0, 1, 255.*mismatch"
    ):
        opened(root).sequences()[0].label(0)


def test_255_is_ignored(root):
    pictures(root / "frames", ["a"])
    save(root / "labels/a.png", np.full((4, 6), 255))
    assert (opened(root).sequences()[0].label(0) == 255).all()


def test_sequence_folders_and_splits(root):
    for split, sequence in (("train", "x"), ("train", "y"), ("val", "z")):
        pictures(root / split / "frames" / sequence, ("a1", "a2", "a3"))
        save(root / split / "labels" / sequence / "a1.png", np.zeros((4, 6)))
    assert [s.name for s in opened(root).sequences("train")] == ["x", "y"]
    assert [s.name for s in opened(root).sequences("val")] == ["z"]
    with pytest.raises(InputError, match="test: no such folder"):
        opened(root).sequences("test")
    assert [f.level for f in opened(root).verify()] == ["ok"] * 3


def test_without_split_folders_everything_is_val(root):
    pictures(root / "frames")
    with pytest.raises(InputError, match="all data is the split val"):
        opened(root).sequences("train")


def test_videos_pair_with_labels_by_number_and_keep_few_frames(root):
    video(root / "frames/drive.mp4")
    for number in (0, 12, 39):
        save(root / f"labels/drive/frame_{number:05d}.png", np.zeros((48, 64)))
    (sequence,) = opened(root).sequences()
    assert (sequence.name, len(sequence), sequence.size, sequence.frame_rate_hz) == (
        "drive",
        40,
        (48, 64),
        25.0,
    )
    assert sequence.labelled == [0, 12, 39]
    for index in (39, 0, 20, 12):
        assert abs(int(sequence.image(index)[5, 5, 1]) - 5 * index) <= 6
    for index in range(40):
        sequence.image(index)
    assert len(sequence._recent) == _KEPT_FRAMES
    assert sequence.label(12).shape == (48, 64)


def test_one_video_file_can_be_named(root):
    video(root / "drive.mp4", 3)
    save(root / "labels/2.png", np.zeros((48, 64)))
    (sequence,) = opened(root, frames="drive.mp4").sequences()
    assert (len(sequence), sequence.labelled) == (3, [2])


def test_a_label_beyond_the_videos_end_is_an_error(root):
    video(root / "drive.mp4", 3)
    save(root / "labels/3.png", np.zeros((48, 64)))
    with pytest.raises(InputError, match=r"3\.png: label without frame; drive\.mp4 has frames 0\.\.2"):
        opened(root, frames="drive.mp4").sequences()


def test_a_label_of_another_size_than_the_video_is_an_error(root):
    video(root / "drive.mp4", 3)
    save(root / "labels/1.png", np.zeros((24, 32)))
    with pytest.raises(InputError, match="label of 32x24 pixels for a video of 64x48"):
        opened(root, frames="drive.mp4").sequences()[0].label(1)


def test_a_truncated_video_is_an_error(root):
    video(root / "drive.mp4", 30)
    data = (root / "drive.mp4").read_bytes()
    (root / "drive.mp4").write_bytes(data[: len(data) // 2])
    (root / "labels").mkdir()

    def read_to_the_end():
        sequence = opened(root, frames="drive.mp4").sequences()[0]
        return sequence.image(len(sequence) - 1)

    with pytest.raises(InputError, match=r"drive\.mp4"):
        read_to_the_end()


def test_labels_without_frames_and_empty_folders_are_errors(root):
    (root / "frames").mkdir()
    with pytest.raises(InputError, match="frames: empty; expected pictures"):
        opened(root).sequences()
    pictures(root / "frames")
    with pytest.raises(InputError, match="labels: no such folder"):
        opened(root).sequences()
    save(root / "labels/b.png", np.zeros((4, 6)))
    with pytest.raises(InputError, match=r"b\.png: label without frame; expected a frame named b"):
        opened(root).sequences()


def test_paths_may_not_leave_the_root(root):
    with pytest.raises(InputError, match="must stay inside"):
        opened(root, frames="../elsewhere").sequences()
    with pytest.raises(InputError, match="must stay inside"):
        opened(root, classes="../classes.csv")


def test_a_missing_class_table_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"no classes\.csv or classes\.json"):
        opened(tmp_path)
