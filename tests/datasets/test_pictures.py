"""Reading frames, labels and class tables, and what is said about broken ones."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from vssbench import pictures
from vssbench.errors import InputError
from vssbench.pictures import ColourTable, PictureSequence, ValueTable


def save(path, array, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8), mode).save(path)
    return path


def test_frames_are_rgb_whatever_the_file_holds(tmp_path):
    grey = save(tmp_path / "a.png", [[0, 100], [200, 255]])
    assert_array_equal(pictures.read_image(grey)[0, 1], [100, 100, 100])
    assert pictures.picture_size(grey) == (2, 2)


def test_a_missing_frame_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.png: no such file"):
        pictures.read_image(tmp_path / "nothing.png")


def test_a_truncated_png_is_named_with_its_size(tmp_path):
    path = save(tmp_path / "cut.png", np.random.default_rng(0).integers(0, 256, (64, 48, 3)))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"cut\.png: damaged or truncated.*expected 48x64"):
        pictures.read_image(path)


def test_a_text_file_is_not_a_picture(tmp_path):
    path = tmp_path / "text.png"
    path.write_text("hello")
    with pytest.raises(InputError, match="not a readable picture"):
        pictures.read_image(path)


def test_an_absurd_size_is_refused_unread(tmp_path, monkeypatch):
    path = save(tmp_path / "big.png", np.zeros((20, 20), np.uint8))
    monkeypatch.setattr(pictures, "MAX_PIXELS", 399)
    with pytest.raises(InputError, match=r"big\.png: claims 20x20 pixels"):
        pictures.read_image(path)


def test_values_map_and_unknown_ones_name_place_and_file(tmp_path):
    table = ValueTable({0: 0, 7: 1, 255: 255})
    assert_array_equal(table.indices(np.array([[0, 7, 255]], np.uint8), tmp_path), [[0, 1, 255]])
    with pytest.raises(InputError, match=r"x\.png: label value 9 at column 2, row 1 .*0, 7, 255"):
        table.indices(np.array([[0, 7, 7], [0, 0, 9]], np.uint8), tmp_path / "x.png")


def test_colours_map_and_unknown_ones_name_place_and_file(tmp_path):
    table = ColourTable({(1, 2, 3): 4, (255, 0, 0): 0})
    assert_array_equal(table.indices(np.array([[[255, 0, 0], [1, 2, 3]]], np.uint8), tmp_path), [[0, 4]])
    with pytest.raises(InputError, match=r"x\.png: label colour \(1, 2, 4\) at column 0, row 1"):
        table.indices(np.array([[[1, 2, 3]], [[1, 2, 4]]], np.uint8), tmp_path / "x.png")
    lenient = ColourTable({(1, 2, 3): 4}, other=255)
    assert_array_equal(lenient.indices(np.array([[[1, 2, 3], [0, 0, 0]]], np.uint8), tmp_path), [[4, 255]])


def test_colour_lookup_equals_a_dictionary():
    rng = np.random.default_rng(1)
    mapping = {tuple(int(c) for c in rng.integers(0, 256, 3)): i for i in range(32)}
    keys = list(mapping)
    chosen = rng.integers(0, 32, (40, 50))
    colours = np.array(keys, np.uint8)[chosen]
    expected = np.array([[mapping[tuple(c)] for c in row] for row in colours.tolist()])
    assert_array_equal(ColourTable(mapping).indices(colours, "x"), expected)


def test_palette_labels_are_indices_unless_colours_are_asked_for(tmp_path):
    picture = Image.fromarray(np.array([[1, 0]], np.uint8), "P")
    picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.save(tmp_path / "p.png")
    assert_array_equal(pictures.read_label_values(tmp_path / "p.png"), [[1, 0]])
    assert_array_equal(
        pictures.read_label_values(tmp_path / "p.png", colours=True), [[[40, 50, 60], [10, 20, 30]]]
    )


def test_labels_of_the_wrong_kind_are_refused(tmp_path):
    save(tmp_path / "rgb.png", np.zeros((2, 2, 3)))
    with pytest.raises(InputError, match="mode RGB, expected 8-bit values"):
        pictures.read_label_values(tmp_path / "rgb.png", colours=False)
    Image.fromarray(np.zeros((2, 2), np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(InputError, match="mode I;16"):
        pictures.read_label_values(tmp_path / "deep.png")


def test_class_tables_from_csv_and_json_agree(tmp_path):
    (tmp_path / "c.csv").write_text("index,name,red,green,blue,category\n0,a,1,2,3,x\n1,b,4,5,6,y\n")
    content = {"names": ["a", "b"], "palette": [[1, 2, 3], [4, 5, 6]], "categories": ["x", "y"]}
    (tmp_path / "c.json").write_text(json.dumps(content))
    table = pictures.read_class_table(tmp_path / "c.csv")
    assert table == pictures.read_class_table(tmp_path / "c.json")
    assert table.categories == ("x", "y")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name,red,green\na,1,2\n", "no 'blue'"),
        ("name,red,green,blue\na,1,2,300\n", "colour .* is outside 0..255"),
        ("name,red,green,blue\na,1,2,3\nb,1,2,3\n", "colour .* is used twice"),
        ("name,red,green,blue\na,1,2,3\na,1,2,4\n", "name a is used twice"),
        ("index,name,red,green,blue\n1,a,1,2,3\n", "line 2 has index 1, expected 0"),
        ("name,red,green,blue\n", "0 classes"),
        ("name,red,green,blue\na,x,2,3\n", "invalid literal"),
    ],
)
def test_broken_class_tables_are_explained(tmp_path, text, complaint):
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(InputError, match=rf"c\.csv: not a class table \({complaint}"):
        pictures.read_class_table(tmp_path / "c.csv")


def test_two_pictures_of_one_stem_are_refused(tmp_path):
    save(tmp_path / "a.png", [[0]])
    save(tmp_path / "a.bmp", [[0]])
    with pytest.raises(InputError, match="a second picture named a"):
        pictures.list_pictures(tmp_path)


def test_names_cannot_leave_the_root(tmp_path):
    assert pictures.inside(tmp_path, "x/y") == tmp_path / "x/y"
    for name in ("../x", "a/../../x", "/etc"):
        with pytest.raises(InputError, match="must stay inside"):
            pictures.inside(tmp_path, name)


def sequence_in(tmp_path, **labels):
    frames = [save(tmp_path / f"f{i}.png", np.full((4, 6, 3), i)) for i in range(3)]
    paths = {int(k[1:]): v for k, v in labels.items()}
    table = ValueTable({0: 0, 1: 1})
    return PictureSequence(
        "a b", frames, paths, 10.0, lambda p: table.indices(pictures.read_label_values(p), p)
    )


def test_a_sequence_reads_on_demand_and_its_name_is_safe(tmp_path):
    sequence = sequence_in(tmp_path, i2=save(tmp_path / "l2.png", np.ones((4, 6))))
    assert (sequence.name, len(sequence), sequence.size, sequence.labelled) == ("a-b", 3, (4, 6), [2])
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
    findings = list(pictures.verify_sequence(sequence))
    assert [f.level for f in findings] == ["error", "error"]
    assert [f.subject.rsplit("/", 1)[1] for f in findings] == ["l0.png", "f2.png"]


def test_an_empty_sequence_is_refused():
    with pytest.raises(InputError, match="sequence x is empty"):
        PictureSequence("x", [], {}, 1.0, lambda p: np.zeros((1, 1), np.uint8))
