"""Class tables as people and programs write them, and what label values and colours become."""

from __future__ import annotations

import json

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
