"""`vssbench data`: list, verify, preview."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from vssbench.cli.data import app, open_dataset
from vssbench.errors import ConfigError, InputError, StorageError
from vssbench.records import ClassTable, FlowField
from vssbench.rendering.images.contact_sheet import SheetRow, contact_sheet, flow_picture, label_overlay

SMALL = ["--set", "size=[60, 80]", "--set", "sequences=2", "--set", "frames=3"]


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_list_names_all_datasets_and_what_they_need():
    text = run("list").output
    for word in ("camvid", "cityscapes", "folder", "synthetic", "root (needed)"):
        assert word in text


def test_list_of_one_dataset_counts_its_splits():
    lines = run("list", "synthetic", *SMALL).output.splitlines()
    assert [line.split() for line in lines if line.startswith("val")] == [
        ["val", "2", "6", "6", "80x60", "30"]
    ]


def test_verify_of_sound_data_succeeds():
    result = run("verify", "synthetic", *SMALL)
    assert result.exit_code == 0
    assert "6 fine, 0 warnings, 0 errors" in result.output


def test_verify_of_broken_data_exits_with_3_and_names_the_file(tmp_path):
    (tmp_path / "classes.csv").write_text("name,red,green,blue\na,0,0,0\n")
    for folder in ("frames", "labels"):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.full((4, 4), 7, np.uint8)).save(tmp_path / folder / "x.png")
    result = run("verify", "folder", "--set", f"root={tmp_path}")
    assert result.exit_code == 3
    assert "x.png: label value 7 at column 0, row 0" in result.output
    assert "1 errors" in result.output


def test_preview_writes_one_sheet_per_sequence(tmp_path):
    result = run("preview", "synthetic", "-o", tmp_path / "out", *SMALL, "--frames", 2, "--width", 100)
    assert result.exit_code == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "synthetic-val-val-0000.png",
        "synthetic-val-val-0001.png",
    ]
    with Image.open(tmp_path / "out/synthetic-val-val-0000.png") as sheet:
        assert sheet.width == 3 * 100 + 2 * 4


def test_preview_into_a_file_is_a_storage_error(tmp_path):
    (tmp_path / "taken").write_text("")
    result = run("preview", "synthetic", "-o", tmp_path / "taken", *SMALL)
    assert isinstance(result.exception, StorageError)


def test_wrong_names_keys_and_values_are_config_errors():
    with pytest.raises(ConfigError, match="did you mean synthetic"):
        open_dataset("syntetic", [])
    with pytest.raises(ConfigError, match=r"rooot: unknown key; did you mean root"):
        open_dataset("camvid", ["rooot=x", "root=y"])
    with pytest.raises(ConfigError, match="root: Field required"):
        open_dataset("camvid", [])
    with pytest.raises(ConfigError, match="frames"):
        open_dataset("synthetic", ["frames=0"])
    with pytest.raises(ConfigError, match="key=value"):
        open_dataset("synthetic", ["frames"])


def test_an_absent_root_is_an_input_error(tmp_path):
    result = run("list", "camvid", "--set", f"root={tmp_path / 'no'}")
    assert isinstance(result.exception, InputError)


def test_overlay_mixes_class_colours_and_hatches_ignored_pixels():
    classes = ClassTable(("a", "b"), ((100, 0, 0), (0, 200, 0)))
    image = np.full((1, 3, 3), 50, np.uint8)
    mixed = label_overlay(image, np.array([[0, 1, 255]], np.uint8), classes)
    assert mixed[0, 0].tolist() == [80, 20, 20]
    assert mixed[0, 1].tolist() == [20, 140, 20]
    assert mixed[0, 2].tolist() in ([0, 0, 0], [255, 255, 255])


def test_flow_picture_is_white_at_rest_and_black_where_invalid():
    flow = np.zeros((2, 1, 3), np.float32)
    flow[0, 0, 1] = 5
    picture = flow_picture(FlowField(flow, np.array([[True, True, False]])), full_px=5.0)
    assert picture[0, 0].tolist() == [255, 255, 255]
    assert picture[0, 1].tolist() == [255, 0, 0]
    assert picture[0, 2].tolist() == [0, 0, 0]


def test_sheet_leaves_out_columns_that_nothing_fills():
    classes = ClassTable(("a",), ((1, 2, 3),))
    image = np.zeros((10, 20, 3), np.uint8)
    plain = contact_sheet([SheetRow("x", image)], classes, 64)
    labelled = contact_sheet([SheetRow("x", image, np.zeros((10, 20), np.uint8))], classes, 64)
    assert plain.shape[1] == 64
    assert labelled.shape[1] == 2 * 64 + 4


def folder_with(tmp_path, name):
    """A dataset with a sequence of this name, whose label holds a class that the table lacks."""
    root = tmp_path / "data"
    for folder in ("frames", "labels"):
        (root / folder / name).mkdir(parents=True)
        Image.fromarray(np.full((4, 4), 7, np.uint8)).save(root / folder / name / "1.png")
    (root / "classes.csv").write_text("name,red,green,blue\na,0,0,0\n")
    return root


@pytest.mark.parametrize("name", ["[bold]x", "[red]", "\x1b[31m", "\udcff", "дорога", "a\nb", ": "])
def test_findings_are_printed_whatever_a_folder_is_named(tmp_path, name):
    result = run("verify", "folder", "--set", f"root={folder_with(tmp_path, name)}")
    assert result.exit_code == 3, result.exception
    assert "label value 7 at column 0, row 0" in result.output
    assert "\x1b" not in result.output
    assert "0 fine, 0 warnings, 1 errors" in result.output


def test_findings_are_printed_on_a_terminal_that_has_few_characters(tmp_path):
    root = folder_with(tmp_path, "дорога")
    result = CliRunner(charset="ascii").invoke(app, ["verify", "folder", "--set", f"root={root}"])
    assert result.exit_code == 3
    assert r"\u0434" in result.output


def test_a_tilde_in_an_option_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    folder_with(tmp_path, "s")
    assert open_dataset("folder", ["root=~/data"]).options.root == tmp_path / "data"
    assert open_dataset("cityscapes", ["root=~/x"]).options.root == tmp_path / "x"
    with pytest.raises(ConfigError, match="root"):
        open_dataset("folder", ["root=~nobody-of-this-name/data"])


def test_a_list_of_splits_prints_folders_of_any_name(tmp_path):
    root = folder_with(tmp_path, "x[")
    (root / "val" / "[").mkdir(parents=True)
    (root / "train").mkdir()
    for folder in ("frames", "labels"):
        (root / folder).rename(root / "train" / folder)
    result = run("list", "folder", "--set", f"root={root}")
    assert result.exit_code == 0, result.exception
    assert "no such folder" in result.output
