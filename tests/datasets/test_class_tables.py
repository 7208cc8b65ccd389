"""Class tables as people and programs write them, and what label values and colours become."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from vssbench.class_tables import ColourTable, ValueTable, read_class_table
from vssbench.errors import InputError


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


def test_class_tables_from_csv_and_json_agree(tmp_path):
    (tmp_path / "c.csv").write_text("index,name,red,green,blue,category\n0,a,1,2,3,x\n1,b,4,5,6,y\n")
    content = {"names": ["a", "b"], "palette": [[1, 2, 3], [4, 5, 6]], "categories": ["x", "y"]}
    (tmp_path / "c.json").write_text(json.dumps(content))
    table = read_class_table(tmp_path / "c.csv")
    assert table == read_class_table(tmp_path / "c.json")
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
        ("name,red,green,blue\na,x,2,3\n", "line 2: red is 'x', expected a whole number"),
    ],
)
def test_broken_class_tables_are_explained(tmp_path, text, complaint):
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(InputError, match=rf"c\.csv: not a class table \({complaint}"):
        read_class_table(tmp_path / "c.csv")


PLAIN = "name,red,green,blue\nroad,0,0,0\nsky,128,0,0\n"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (PLAIN, "utf-8-sig"),
        (PLAIN, "utf-16"),
        (PLAIN.replace(",", "\t"), "utf-16"),
        (PLAIN.replace(",", ", "), "utf-8"),
        (PLAIN.replace(",", " ; "), "utf-8"),
        (PLAIN.replace(",", "\t"), "utf-8"),
        (PLAIN.replace("\n", "\r\n"), "utf-8"),
        (PLAIN.replace("\n", "\r"), "utf-8"),
        (PLAIN.replace("red,green,blue", "r,g,b"), "utf-8"),
        (PLAIN.replace("name,red,green,blue", "Name, R, G, B"), "utf-8"),
        (PLAIN.replace("road", '"road"').replace("sky", ' "sky" '), "utf-8"),
        ("# made by hand\n\n" + PLAIN.replace("sky", "\n  # above\nsky") + "\n,,,\n", "utf-8"),
        ("blue,green,note,red,name\n0,0,x,0,road\n0,0,y,128,sky\n", "utf-8"),
        (PLAIN.replace("0\n", "0,\n"), "utf-8"),
        (PLAIN.removesuffix("\n"), "utf-8"),
    ],
)
def test_tables_are_read_as_programs_write_them(tmp_path, text, encoding):
    (tmp_path / "c.csv").write_bytes(text.encode(encoding))
    table = read_class_table(tmp_path / "c.csv")
    assert (table.names, table.palette) == (("road", "sky"), ((0, 0, 0), (128, 0, 0)))


def test_names_keep_their_commas_and_letters(tmp_path):
    (tmp_path / "c.csv").write_text('name;red;green;blue\n"a; b";0;0;0\nстена, 墙;1;1;1\n', encoding="utf-8")
    assert read_class_table(tmp_path / "c.csv").names == ("a; b", "стена, 墙")


def test_a_json_table_may_begin_with_a_mark(tmp_path):
    content = {"names": ["a"], "palette": [[1, 2, 3]], "ignore_index": 7}
    (tmp_path / "c.json").write_text(json.dumps(content), encoding="utf-8-sig")
    assert read_class_table(tmp_path / "c.json").ignore_index == 7


@pytest.mark.parametrize(
    ("ignored", "complaint"),
    [
        (-1, "ignore_index is -1, which no label can hold; expected 0 to 255"),
        (256, "ignore_index is 256"),
        (300, "ignore_index is 300"),
        (True, "ignore_index is True"),
        (None, "ignore_index is None"),
        (255.0, "ignore_index is 255.0"),
        ("255", "ignore_index is '255'"),
        (0, "ignore_index 0 is class 'a', which would be scored as always wrong; expected 2 to 255"),
        (1, "ignore_index 1 is class 'b'"),
    ],
)
def test_an_ignored_value_that_no_label_has_or_a_class_has_is_refused(tmp_path, ignored, complaint):
    content = {"names": ["a", "b"], "palette": [[0, 0, 0], [1, 1, 1]], "ignore_index": ignored}
    (tmp_path / "c.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"c\.json: not a class table") as caught:
        read_class_table(tmp_path / "c.json")
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "it is empty"),
        ("# nothing\n", "it is empty"),
        ("road,0,0,0\nsky,1,1,1\n", "no 'name' in the header 'road,0,0,0'"),
        ("name,red,red,green,blue\n", "more than one 'red'"),
        (PLAIN + "car,1\n", "line 4 has 2 cells, expected 4"),
        (PLAIN + "car,1,2,3,4\n", "line 4 has 5 cells, expected 4"),
        (PLAIN + ",1,2,3\n", "class 2 is named ''"),
        (PLAIN + "a\x1bb,1,2,3\n", "class 2 is named"),
        (PLAIN + "car,1.0,2,3\n", "line 4: red is '1.0', expected a whole number"),
        (PLAIN + "car,-1,2,3\n", "line 4: red is '-1'"),
        (PLAIN + "car,1_0,2,3\n", "line 4: red is '1_0'"),
        (PLAIN + "car,,2,3\n", "line 4: red is ''"),
    ],
)
def test_faults_of_tables_are_named_with_their_line(tmp_path, text, complaint):
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(InputError) as caught:
        read_class_table(tmp_path / "c.csv")
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        '"ab"',
        "[" * 100_000,
        '{"names": "ab", "palette": [[0, 0, 0], [1, 1, 1]]}',
        '{"names": ["a"], "palette": [[0, 0]]}',
        '{"names": ["a"], "palette": [[0, 0, 1.5]]}',
        '{"names": ["a"], "palette": [[true, 0, 1]]}',
        '{"names": ["a"], "palette": ["abc"]}',
        '{"names": ["a", "b"], "palette": [[0, 0, 1]]}',
        '{"names": [1], "palette": [[0, 0, 1]]}',
        '{"names": ["\\ud800"], "palette": [[0, 0, 1]]}',
        '{"names": ["a"], "palette": [[0, 0, 1]], "categories": [["x"]]}',
        '{"names": ["a"], "palette": [[0, 0, 256]]}',
    ],
)
def test_json_of_another_shape_is_no_table(tmp_path, content):
    (tmp_path / "c.json").write_text(content)
    with pytest.raises(InputError, match=r"c\.json: not a class table"):
        read_class_table(tmp_path / "c.json")


def test_tables_in_other_encodings_of_absurd_size_or_no_files_are_refused(tmp_path):
    (tmp_path / "latin.csv").write_bytes(PLAIN.replace("sky", "straße").encode("latin-1"))
    with pytest.raises(InputError, match=r"latin\.csv: cannot read the class table .* saved as UTF-8"):
        read_class_table(tmp_path / "latin.csv")
    (tmp_path / "big.csv").write_text(PLAIN + "#" * (1 << 20))
    with pytest.raises(InputError, match="larger than 1048576 bytes"):
        read_class_table(tmp_path / "big.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(InputError, match="is a named pipe"):
        read_class_table(tmp_path / "pipe.csv")
