"""What lies in folders of pictures, its order and names, and sequences made of it."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

from vssbench import picture_folders
from vssbench.class_tables import ValueTable
from vssbench.dataset import distinct_names, safe_name
from vssbench.errors import InputError
from vssbench.picture_folders import PictureSequence
from vssbench.pictures import LABEL_SUFFIXES, read_label_values


def save(path, array, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8), mode).save(path)
    return path


def test_two_pictures_of_one_stem_are_refused(tmp_path):
    save(tmp_path / "a.png", [[0]])
    save(tmp_path / "a.bmp", [[0]])
    with pytest.raises(InputError, match="a second picture named a"):
        picture_folders.list_pictures(tmp_path)


def test_names_cannot_leave_the_root(tmp_path):
    assert picture_folders.inside(tmp_path, "x/y") == tmp_path / "x/y"
    for name in ("../x", "a/../../x", "/etc"):
        with pytest.raises(InputError, match="must stay inside"):
            picture_folders.inside(tmp_path, name)


def sequence_in(tmp_path, **labels):
    frames = [save(tmp_path / f"f{i}.png", np.full((4, 6, 3), i)) for i in range(3)]
    paths = {int(k[1:]): v for k, v in labels.items()}
    table = ValueTable({0: 0, 1: 1})
    return PictureSequence("a b", frames, paths, 10.0, lambda p: table.indices(read_label_values(p), p))


def test_a_sequence_reads_on_demand_and_its_name_is_safe(tmp_path):
    sequence = sequence_in(tmp_path, i2=save(tmp_path / "l2.png", np.ones((4, 6))))
    assert (sequence.name, len(sequence), sequence.size, sequence.labelled) == (
        safe_name("a b"),
        3,
        (4, 6),
        [2],
    )
    assert sequence.image(1)[0, 0].tolist() == [1, 1, 1]
    assert sequence.label(2).sum() == 24
    with pytest.raises(InputError, match="frame 0 has no label"):
        sequence.label(0)


def test_a_label_of_the_wrong_size_names_both_sizes(tmp_path):
    sequence = sequence_in(tmp_path, i0=save(tmp_path / "small.png", np.ones((2, 3))))
    with pytest.raises(InputError, match=r"small\.png: label of 3x2 pixels for a frame of 6x4 \(f0\.png\)"):
        sequence.label(0)


def test_a_frame_of_another_size_is_refused(tmp_path):
    sequence = sequence_in(tmp_path)
    save(tmp_path / "f1.png", np.zeros((4, 5, 3)))
    with pytest.raises(InputError, match=r"f1\.png: 5x4 pixels, but f0\.png has 6x4"):
        sequence.image(1)


def test_identity_changes_with_the_files_and_needs_no_decoding(tmp_path):
    sequence = sequence_in(tmp_path)
    before = sequence.identity
    assert sequence_in(tmp_path / "x").identity != before
    (tmp_path / "f1.png").write_bytes(b"no picture, only bytes")
    assert sequence.identity != before
    (tmp_path / "f1.png").unlink()
    with pytest.raises(InputError, match=r"f1\.png"):
        _ = sequence.identity


def test_verify_reports_each_bad_file_once(tmp_path):
    sequence = sequence_in(tmp_path, i0=save(tmp_path / "l0.png", np.full((4, 6), 9)))
    (tmp_path / "f2.png").write_bytes(b"broken")
    findings = list(picture_folders.verify_sequence(sequence))
    assert [f.level for f in findings] == ["error", "error"]
    assert [f.subject.rsplit("/", 1)[1] for f in findings] == ["l0.png", "f2.png"]


def test_an_empty_sequence_is_refused():
    with pytest.raises(InputError, match="sequence x is empty"):
        PictureSequence("x", [], {}, 1.0, lambda p: np.zeros((1, 1), np.uint8))


def test_numbers_in_names_count_as_numbers():
    names = ["frame10", "frame9", "frame1", "b2", "frame1b", "a", "frame02", "10", "9", "Frame3"]
    ordered = sorted(names, key=picture_folders.natural_key)
    assert ordered == ["9", "10", "Frame3", "a", "b2", "frame1", "frame1b", "frame02", "frame9", "frame10"]
    padded = [f"x_{i:05d}_leftImg8bit" for i in range(0, 30000, 997)]
    assert sorted(padded, key=picture_folders.natural_key) == sorted(padded)


CLUTTER = ("._f1.png", ".f.png", ".DS_Store", "Thumbs.db", "desktop.ini", "notes.txt")


def test_clutter_is_passed_over(tmp_path):
    save(tmp_path / "f1.png", [[0]])
    for name in CLUTTER:
        (tmp_path / name).write_bytes(b"\0")
    for name in ("@eaDir", "__MACOSX", ".git"):
        save(tmp_path / name / "f2.png", [[0]])
    assert list(picture_folders.list_pictures(tmp_path)) == ["f1"]
    assert [path.name for path in picture_folders.list_folder(tmp_path)] == ["f1.png", "notes.txt"]


@pytest.mark.parametrize("name", ["a.gif", "a.JP2", "a.npy", "a.heic", "a.pgm"])
def test_pictures_that_are_not_read_are_named_instead_of_missing(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match=rf"{name}: \.\w+ is not read here; expected \.png"):
        picture_folders.list_pictures(tmp_path)


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG", "a.avif"])
def test_lossy_labels_are_refused_by_name(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match=rf"{name}: labels cannot be stored with lossy compression"):
        picture_folders.list_pictures(tmp_path, LABEL_SUFFIXES)


def test_a_folder_that_cannot_be_listed_is_one_error(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(picture_folders.os, "listdir", refuse)
    with pytest.raises(InputError, match="cannot be listed"):
        picture_folders.list_pictures(tmp_path)


@pytest.mark.parametrize(
    ("stems", "remark"),
    [
        (["f1", "f2", "f3"], ""),
        (["f0", "f5", "f10"], ""),
        (["f1", "f2", "f4", "f5"], "do not go on evenly at 1 place(s), the first is f2 before f4"),
        (["f1", "f01", "f2"], "the first is f1 before f01"),
        (["0.5", "0.25"], "numbers behind the point are read as whole numbers"),
        (["1.50", "1.75"], ""),
        (["one", "two"], ""),
        (["a1", "b5", "b6"], ""),
        (["7"], ""),
    ],
)
def test_what_is_odd_about_the_numbers_of_frames_is_said(stems, remark):
    remarks = list(picture_folders.numbering_remarks(stems))
    assert len(remarks) == bool(remark)
    assert not remark or remark in remarks[0]


TITLES = (
    "drive", "a b", "a-b", "a_b", "дорога", "улица", "東京", "大阪", "drive (1)", "drive [1]", "\u00e9", "e\u0301", "x" * 300,
    "x" * 299, "\udcff", "\udcfe", "..", "a.", ".a", "-rf", "~", "a/b", "a\nb", "\x1b[31m", "CON", " ", "", "٣", "sequence",
)  # fmt: skip


def test_every_title_has_a_name_of_its_own_that_depends_on_nothing_else():
    names = [safe_name(title) for title in TITLES]
    assert len({name.lower() for name in names}) == len(TITLES)
    for title, name in zip(TITLES, names, strict=True):
        assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}", name), (title, name)
        assert safe_name(name) == name
    assert [safe_name(title) for title in ("drive", "0001TP-000031", "-rf")] == [
        "drive",
        "0001TP-000031",
        "-rf",
    ]


def test_names_differ_where_titles_differ_in_capitals_or_suffix_only():
    files = ["drive.mkv", "drive.mp4", "Drive", "drive", "DRIVE", "other.mp4"]
    names = distinct_names([name.partition(".")[0] for name in files], files)
    assert len({name.lower() for name in names}) == len(files)
    assert (names[0], names[1], names[3], names[5]) == ("drive.mkv", "drive.mp4", "drive", "other")
    assert distinct_names(["drive"], ["drive.mp4"]) == ["drive"]


def test_a_title_that_reads_like_the_name_of_another_does_not_take_it():
    titles = ["a b", safe_name("a b")]
    names = distinct_names(titles, titles)
    assert len(set(names)) == 2
    assert names[1] == titles[1]


def test_identity_takes_names_that_are_not_utf_8(tmp_path):
    path = tmp_path / "\udcff.png"
    path.write_bytes(b"x")
    assert picture_folders.files_identity([path]) != picture_folders.files_identity([tmp_path])


def test_turned_frames_are_remarked_with_the_choice(tmp_path):
    exif = Image.Exif()
    for turn in (1, 3):
        exif[274] = turn
        Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / f"f{turn}.png", exif=exif)
    frames = [tmp_path / "f3.png", tmp_path / "f1.png"]
    options = {
        orientation: PictureSequence("s", frames, {}, 1.0, None, orientation)
        for orientation in ("upright", "stored")
    }
    assert "f3.png declares EXIF orientation 3; frames are turned" in options["upright"].remarks()[0]
    assert "set orientation to stored" in options["upright"].remarks()[0]
    assert "read as stored" in options["stored"].remarks()[0]
    assert options["upright"].identity != options["stored"].identity
    findings = list(picture_folders.verify_sequence(options["upright"]))
    assert [f.level for f in findings] == [
        "warning",
        "warning",
        "warning",
    ]  # turned, f3 before f1 steps -2, no label
    assert "1 of 2 frames declare an EXIF orientation" in findings[0].message


def test_a_label_on_a_turned_frame_is_told_of_the_choice_not_to_rescale(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / "f.png", exif=exif)
    label = save(tmp_path / "l.png", np.zeros((4, 6)))
    sequence = PictureSequence("s", [tmp_path / "f.png"], {0: label}, 1.0, read_label_values)
    assert sequence.image(0).shape == (6, 4, 3)
    with pytest.raises(InputError, match="set orientation to stored if labels belong to stored pictures"):
        sequence.label(0)
    stored = PictureSequence("s", [tmp_path / "f.png"], {0: label}, 1.0, read_label_values, "stored")
    assert stored.label(0).shape == stored.image(0).shape[:2] == (4, 6)


def test_unscaled_samples_in_16_bits_are_remarked(tmp_path):
    Image.fromarray(np.full((4, 6), 4095, np.uint16)).save(tmp_path / "f.png")
    label = save(tmp_path / "l.png", np.zeros((4, 6)))
    sequence = PictureSequence("s", [tmp_path / "f.png"], {0: label}, 1.0, read_label_values)
    findings = list(picture_folders.verify_sequence(sequence))
    assert [f.level for f in findings] == ["warning", "ok"]
    assert "frames of 16 bits have no sample above 15 of 255" in findings[0].message
