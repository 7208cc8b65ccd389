"""What lies in folders of pictures, its order and names, and sequences made of it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from vssbench import picture_folders
from vssbench.class_tables import ValueTable
from vssbench.dataset import safe_name
from vssbench.errors import InputError
from vssbench.picture_folders import PictureSequence
from vssbench.pictures import read_label_values


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
    return PictureSequence(
        "a b", frames, paths, 10.0, lambda p: table.indices(read_label_values(p), p)
    )


def test_a_sequence_reads_on_demand_and_its_name_is_safe(tmp_path):
    sequence = sequence_in(tmp_path, i2=save(tmp_path / "l2.png", np.ones((4, 6))))
    assert (sequence.name, len(sequence), sequence.size, sequence.labelled) == (safe_name("a b"), 3, (4, 6), [2])
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
