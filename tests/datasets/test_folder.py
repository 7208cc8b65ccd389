"""Folder data sets: pictures, sequence folders, videos, label formats."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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


def levels(root, **options):
    return [finding.level for finding in opened(root, **options).verify()]


@pytest.mark.parametrize(
    "titles",
    [
        ("дорога", "улица"),
        ("a b", "a-b"),
        ("drive (1)", "drive [1]"),
        ("Drive", "drive"),
        ("x" * 250, "x" * 249),
    ],
)
def test_sequences_whose_names_become_alike_are_all_read(root, titles):
    for title in titles:
        pictures(root / "frames" / title, ("1", "2"))
        save(root / "labels" / title / "1.png", np.zeros((4, 6)))
    found = opened(root).sequences()
    assert len({sequence.name.lower() for sequence in found}) == 2
    assert {sequence.frame_paths[0].parent.name for sequence in found} == set(titles)
    assert levels(root) == ["ok", "ok"]


def test_names_do_not_depend_on_what_else_there_is(root):
    for title in ("b", "a b"):
        pictures(root / "frames" / title, ("1",))
        (root / "labels" / title).mkdir(parents=True)
    before = {sequence.frame_paths[0].parent.name: sequence.name for sequence in opened(root).sequences()}
    pictures(root / "frames" / "a-b", ("1",))
    (root / "labels" / "a-b").mkdir()
    after = {sequence.frame_paths[0].parent.name: sequence.name for sequence in opened(root).sequences()}
    assert {title: after[title] for title in before} == before
    assert before["b"] == "b"


def test_videos_of_one_stem_and_a_folder_of_it_are_sequences_of_their_own(root):
    for name in ("drive.mp4", "drive.mkv"):
        video(root / "frames" / name, 3)
    pictures(root / "frames/drive", ("0", "1"), (48, 64))
    save(root / "labels/drive/1.png", np.zeros((48, 64)))
    found = opened(root).sequences()
    assert [sequence.name for sequence in found] == ["drive", "drive.mkv", "drive.mp4"]
    assert [sequence.labelled for sequence in found] == [[1]] * 3
    assert levels(root) == ["ok"] * 3 + ["warning"]
    save(root / "labels/drive.mkv/2.png", np.zeros((48, 64)))
    assert [sequence.labelled for sequence in opened(root).sequences()] == [[1], [2], [1]]


def test_names_that_are_not_utf_8_are_read_and_printable(root):
    (root / "frames").mkdir()
    try:
        (root / "frames/\udcff").mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    pictures(root / "frames/\udcff", ("1",))
    save(root / "labels/\udcff/1.png", np.zeros((4, 6)))
    (sequence,) = opened(root).sequences()
    assert sequence.name.isascii()
    assert sequence.identity
    (root / "frames/\udcff/1.png").write_bytes(b"x")
    findings = list(opened(root).verify())
    assert {finding.level for finding in findings} == {"error"}
    for finding in findings:
        finding.subject.encode()


def test_clutter_is_passed_over_everywhere(root):
    pictures(root / "frames/drive", ("1", "2"))
    save(root / "labels/drive/1.png", np.zeros((4, 6)))
    for place in ("", "frames/", "frames/drive/", "labels/", "labels/drive/"):
        for name in ("._drive.mp4", ".DS_Store", "Thumbs.db", "._1.png"):
            (root / f"{place}{name}").write_bytes(b"\0\5\x16\7")
        for name in ("__MACOSX", "@eaDir", ".thumbnails"):
            (root / f"{place}{name}").mkdir()
            (root / f"{place}{name}/1.png").write_bytes(b"x")
    (sequence,) = opened(root).sequences()
    assert (sequence.name, len(sequence), sequence.labelled) == ("drive", 2, [0])
    assert levels(root) == ["ok"]


def test_a_mistyped_label_folder_is_named_with_what_was_meant(root):
    video(root / "frames/drive.mp4", 3)
    save(root / "labels/drve/1.png", np.zeros((48, 64)))
    with pytest.raises(
        InputError, match=r"labels/drve: labels without a sequence of that name; did you mean drive\?"
    ):
        opened(root).sequences()
    assert levels(root) == ["error"]


def test_labels_that_no_sequence_would_read_are_named(root):
    for title in ("a", "b"):
        pictures(root / "frames" / title, ("1",))
        save(root / "labels" / title / "1.png", np.zeros((4, 6)))
    save(root / "labels/1.png", np.zeros((4, 6)))
    with pytest.raises(InputError, match=r"labels/1\.png: label outside the sequences' folders"):
        opened(root).sequences()
    (root / "labels/1.png").unlink()
    save(root / "labels/a/deeper/1.png", np.zeros((4, 6)))
    with pytest.raises(InputError, match=r"a/deeper: labels without a sequence"):
        opened(root).sequences()


def test_a_label_whose_letters_differ_in_form_or_case_only_is_told_so(root):
    pictures(root / "frames", ("\u00e9", "B"))
    for stem in ("e\u0301", "b"):
        save(root / f"labels/{stem}.png", np.zeros((4, 6)))
        with pytest.raises(InputError, match=r"label without frame.* differs from .* in case or in the form"):
            opened(root).sequences()
        (root / f"labels/{stem}.png").unlink()


@pytest.mark.parametrize("name", ["frame_000001_gt2", "2_1", "drive2", "cam1drive_2", "_", "drive_"])
def test_a_label_of_a_video_with_no_or_several_numbers_never_pairs(root, name):
    video(root / "frames/drive_.mp4", 3)
    save(root / f"labels/{name}.png", np.zeros((48, 64)))
    if name == "drive2":
        assert opened(root).sequences()[0].labelled == [2]
        return
    with pytest.raises(
        InputError, match=r"(no frame number|2 numbers) in its name; expected one, such as 000012\.png"
    ):
        opened(root).sequences()


def test_the_video_s_own_name_may_stand_before_the_number(root):
    video(root / "frames/cam3-take7.mp4", 3)
    save(root / "labels/cam3-take7_000002.png", np.zeros((48, 64)))
    assert opened(root).sequences()[0].labelled == [2]
    (root / "labels/cam3-take7_000002.png").rename(root / "labels/cam4-take7_000002.png")
    with pytest.raises(InputError, match="3 numbers in its name"):
        opened(root).sequences()


def test_trees_of_another_depth_are_told_what_is_expected(root):
    pictures(root / "frames/drive/origin", ("1",))
    (root / "labels/drive").mkdir(parents=True)
    with pytest.raises(InputError, match=r"frames/drive: holds pictures in origin below it"):
        opened(root).sequences()


def test_pipes_in_place_of_videos_and_tables_are_refused_without_waiting(root):
    (root / "frames").mkdir()
    (root / "labels").mkdir()
    os.mkfifo(root / "frames/v.mp4")
    with pytest.raises(InputError, match=r"v\.mp4: is a named pipe"):
        opened(root).sequences()
    (root / "classes.csv").unlink()
    os.mkfifo(root / "classes.csv")
    with pytest.raises(InputError, match="classes"):
        opened(root)


def test_two_class_tables_are_not_chosen_between(root):
    (root / "classes.json").write_text('{"names": ["a"], "palette": [[0, 0, 0]]}')
    with pytest.raises(InputError, match=r"both classes\.csv and classes\.json; .* set classes"):
        opened(root)
    assert opened(root, classes="classes.json").classes.names == ("a",)


def test_a_tilde_means_the_home_folder(root, monkeypatch):
    monkeypatch.setenv("HOME", str(root.parent))
    assert FolderOptions(root=f"~/{root.name}").root == root
    with pytest.raises(InputError, match=r"'~/x': must stay inside .* without '\.\.' or '~'"):
        opened(root, frames="~/x").sequences()


def test_orientation_turns_frames_and_labels_or_leaves_both(root):
    exif = Image.Exif()
    exif[274] = 6
    stored = np.arange(24).reshape(4, 6) % 2
    (root / "frames").mkdir()
    (root / "labels").mkdir()
    Image.fromarray(np.uint8(stored * 200)).save(root / "frames/1.png", exif=exif)
    Image.fromarray(np.uint8(stored)).save(root / "labels/1.png", exif=exif)
    for orientation, expected in (("upright", np.rot90(stored, -1)), ("stored", stored)):
        (sequence,) = opened(root, orientation=orientation).sequences()
        assert (sequence.image(0)[..., 0] == expected * 200).all()
        assert (sequence.label(0) == expected).all()
        assert levels(root, orientation=orientation) == ["warning", "ok"]


SPOILS = {
    "nothing": lambda frames, labels: None,
    "text": lambda frames, labels: (frames / "1.png").write_text("x"),
    "empty": lambda frames, labels: (frames / "1.png").write_bytes(b""),
    "cut": lambda frames, labels: (frames / "1.png").write_bytes((frames / "1.png").read_bytes()[:60]),
    "other size": lambda frames, labels: save(frames / "1.png", np.zeros((5, 6, 3))),
    "grey": lambda frames, labels: save(frames / "1.png", np.zeros((4, 6))),
    "deep": lambda frames, labels: Image.fromarray(np.full((4, 6), 9999, np.uint16)).save(frames / "1.png"),
    "gif": lambda frames, labels: (frames / "3.gif").write_bytes(b"GIF89a"),
    "jpeg named png": lambda frames, labels: Image.new("RGB", (6, 4)).save(frames / "1.png", "JPEG"),
    "two suffixes": lambda frames, labels: Image.new("RGB", (6, 4)).save(frames / "1.jpg"),
    "pipe": lambda frames, labels: os.mkfifo(frames / "3.png"),
    "folder as frame": lambda frames, labels: (frames / "3.png").mkdir(),
    "loop": lambda frames, labels: (frames / "3.png").symlink_to("3.png"),
    "folder loop": lambda frames, labels: (frames / "deeper").symlink_to(frames),
    "clutter": lambda frames, labels: (frames / "._1.png").write_bytes(b"x"),
    "label value": lambda frames, labels: save(labels / "2.png", np.full((4, 6), 2)),
    "ignored label": lambda frames, labels: save(labels / "2.png", np.full((4, 6), 255)),
    "label size": lambda frames, labels: save(labels / "2.png", np.zeros((6, 4))),
    "colour label": lambda frames, labels: save(labels / "2.png", np.full((4, 6, 3), (200, 0, 0))),
    "unknown colour": lambda frames, labels: save(labels / "2.png", np.full((4, 6, 3), 9)),
    "orphan": lambda frames, labels: save(labels / "7.png", np.zeros((4, 6))),
    "orphan folder": lambda frames, labels: save(labels.parent / "elsewhere" / "2.png", np.zeros((4, 6))),
    "lossy label": lambda frames, labels: Image.new("L", (6, 4)).save(labels / "2.jpg"),
    "no label": lambda frames, labels: (labels / "2.png").unlink(),
    "no labels": lambda frames, labels: shutil.rmtree(labels),
    "no frames": lambda frames, labels: shutil.rmtree(frames),
}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    spoils=st.lists(st.sampled_from(sorted(SPOILS)), max_size=3),
    nested=st.booleans(),
    split=st.sampled_from(["", "train/", "val/"]),
)
def test_verify_accepts_what_a_run_can_score_and_nothing_else(spoils, nested, split):
    with tempfile.TemporaryDirectory() as place:
        base = Path(place) / split
        frames, labels = base / "frames", base / "labels"
        if nested:
            frames, labels = frames / "a b", labels / "a b"
        (Path(place) / "classes.csv").write_text(TABLE)
        pictures(frames, ("1", "2"))
        save(labels / "2.png", np.zeros((4, 6)))
        for spoil in spoils:
            with contextlib.suppress(OSError):  # two spoils may want one file
                SPOILS[spoil](frames, labels)
        chosen = split.rstrip("/") or "val"
        dataset = opened(Path(place))
        try:
            for sequence in dataset.sequences(chosen):
                for index in range(len(sequence)):
                    sequence.image(index)
                for index in sequence.labelled:
                    sequence.label(index)
            readable = any(sequence.labelled for sequence in dataset.sequences(chosen))
        except InputError:
            readable = False
        assert readable == all(finding.level != "error" for finding in dataset.verify(chosen)), spoils
        if not spoils:
            assert readable
