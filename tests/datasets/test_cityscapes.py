"""Cityscapes: snippets around labels, label ids, partial snippets."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from vssbench.datasets.cityscapes import Cityscapes, CityscapesOptions
from vssbench.errors import InputError


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8)).save(path, lossless=True)


def frames(root, city="ulm", numbers=range(30), suffix="png", take="000001"):
    for number in numbers:
        save(root / f"leftImg8bit_sequence/val/{city}/{city}_{take}_{number:06d}_leftImg8bit.{suffix}",
             np.full((2, 4, 3), number))  # fmt: skip
    return root


def label(root, number=19, values=(7, 8, 0, 33), city="ulm", kind="labelIds", take="000001"):
    save(root / f"gtFine/val/{city}/{city}_{take}_{number:06d}_gtFine_{kind}.png", [values, values])
    return root


def opened(root):
    return Cityscapes(CityscapesOptions(root=root))


def test_a_snippet_has_30_frames_with_the_label_at_index_19(tmp_path):
    (sequence,) = opened(label(frames(tmp_path))).sequences()
    assert (sequence.name, len(sequence), sequence.labelled, sequence.frame_rate_hz) == (
        "ulm_000001_000019", 30, [19], 17.0,
    )  # fmt: skip
    assert sequence.image(3)[0, 0, 0] == 3


def test_label_ids_become_train_ids(tmp_path):
    dataset = opened(label(frames(tmp_path)))
    assert dataset.sequences()[0].label(19)[0].tolist() == [0, 1, 255, 18]
    assert len(dataset.classes) == 19
    assert dataset.classes.categories[13] == "vehicle"


def test_all_34_label_ids_map_as_the_official_table_says(tmp_path):
    frames(tmp_path, numbers=[19])
    path = "leftImg8bit_sequence/val/ulm/ulm_000001_000019_leftImg8bit.png"
    save(tmp_path / path, np.zeros((1, 34, 3)))
    save(tmp_path / "gtFine/val/ulm/ulm_000001_000019_gtFine_labelIds.png", [range(34)])
    expected = dict(
        zip(
            (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33), range(19), strict=True
        )
    )
    assert opened(tmp_path).sequences()[0].label(0)[0].tolist() == [expected.get(i, 255) for i in range(34)]


def test_label_ids_win_over_train_ids_and_train_ids_do_alone(tmp_path):
    label(frames(tmp_path), values=(0, 1, 255, 18), kind="labelTrainIds")
    assert opened(tmp_path).sequences()[0].label(19)[0].tolist() == [0, 1, 255, 18]
    label(tmp_path, values=(26, 26, 26, 26))
    assert opened(tmp_path).sequences()[0].label(19)[0].tolist() == [13] * 4


def test_webp_frames_and_partial_snippets_are_read(tmp_path):
    label(frames(tmp_path, numbers=range(15, 25), suffix="webp"))
    (sequence,) = opened(tmp_path).sequences()
    assert (len(sequence), sequence.labelled) == (10, [4])
    assert sequence.image(4)[0, 0, 0] == 19
    findings = list(opened(tmp_path).verify())
    assert [f.level for f in findings] == ["warning", "ok"]


def test_snippets_of_one_take_do_not_run_into_each_other(tmp_path):
    frames(tmp_path, numbers=range(100))
    label(label(tmp_path, 19), 60)
    assert [(s.name, len(s), s.labelled) for s in opened(tmp_path).sequences()] == [
        ("ulm_000001_000019", 30, [19]),
        ("ulm_000001_000060", 30, [19]),
    ]
    warning = next(f for f in opened(tmp_path).verify() if f.level == "warning")
    assert "40 frames belong to no labelled snippet" in warning.message


def test_errors_name_file_and_remedy(tmp_path):
    with pytest.raises(InputError, match="leftImg8bit_sequence"):
        opened(tmp_path).sequences()
    frames(tmp_path)
    with pytest.raises(InputError, match="gtFine"):
        opened(tmp_path).sequences()
    label(tmp_path, 55)
    with pytest.raises(InputError, match="label without frame; expected ulm_000001_000055_leftImg8bit"):
        opened(tmp_path).sequences()


def test_unknown_label_ids_are_refused(tmp_path):
    label(frames(tmp_path), values=(7, 7, 34, 7))
    with pytest.raises(InputError, match="label value 34 at column 2, row 0"):
        opened(tmp_path).sequences()[0].label(19)


def test_foreign_names_are_refused(tmp_path):
    label(frames(tmp_path))
    save(tmp_path / "leftImg8bit_sequence/val/ulm/copy.png", np.zeros((2, 4, 3)))
    with pytest.raises(InputError, match=r"copy\.png: not a Cityscapes name"):
        opened(tmp_path).sequences()


@pytest.mark.parametrize(
    "name", ["ulm_000001_000019_gtFine_labelIDs", "bonn_000001_000019_gtFine_labelIds", "x"]
)
def test_labels_that_would_be_passed_over_or_belong_to_another_city_are_named(tmp_path, name):
    label(frames(tmp_path))
    for kind in ("color", "instanceIds", "instanceTrainIds"):
        label(tmp_path, kind=kind)
    assert len(opened(tmp_path).sequences()) == 1
    save(tmp_path / f"gtFine/val/ulm/{name}.png", np.zeros((2, 4)))
    with pytest.raises(InputError, match=rf"{name}\.png: not a Cityscapes label"):
        opened(tmp_path).sequences()


def test_cities_without_labels_or_frames_and_clutter(tmp_path):
    label(frames(tmp_path))
    for place in ("gtFine/val", "leftImg8bit_sequence/val", "gtFine/val/ulm"):
        save(tmp_path / place / "@eaDir" / "x.png", [[0]])
        (tmp_path / place / "._x.png").write_bytes(b"x")
    assert [f.level for f in opened(tmp_path).verify()] == ["ok"]
    frames(tmp_path, city="bonn")
    findings = list(opened(tmp_path).verify())
    assert [f.level for f in findings] == ["warning", "ok"]
    assert "30 frames belong to no labelled snippet" in findings[0].message
    assert len(opened(tmp_path).sequences()) == 1
    label(tmp_path, city="aachen")
    with pytest.raises(InputError, match="aachen: no such folder"):
        opened(tmp_path).sequences()
    assert "error" in [f.level for f in opened(tmp_path).verify()]


def test_a_split_without_labels_is_refused_by_reading_and_by_verify(tmp_path):
    frames(tmp_path)
    (tmp_path / "gtFine/val").mkdir(parents=True)
    with pytest.raises(InputError, match="no labelled frame"):
        opened(tmp_path).sequences()
    assert [f.level for f in opened(tmp_path).verify()] == ["warning", "error"]


@pytest.mark.needs_shared
def test_the_shared_snippet_is_complete(shared):
    found = {s.name: s for s in opened(shared / "data/cityscapes").sequences()}
    sequence = found["lindau_000000_000019"]
    assert (len(sequence), sequence.labelled, sequence.size) == (30, [19], (1024, 2048))
    values = np.unique(sequence.label(19))
    assert set(values) <= {*range(19), 255}
    assert len(values) == 13
