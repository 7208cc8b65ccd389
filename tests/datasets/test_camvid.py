"""CamVid: both layouts, both label conventions, numbering of the decoded drives."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from vssbench.datasets.camvid import CamVid, CamVidOptions
from vssbench.errors import InputError

SKY, VOID, LANE, CAR, TRUCK, CHILD = (
    (128, 128, 128), (0, 0, 0), (128, 0, 192), (64, 0, 128), (192, 128, 192), (192, 128, 64)
)  # fmt: skip


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8)).save(path)


def kaggle(
    root, names=("0016E5_07961", "Seq05VD_f00060"), split="val", colours=(SKY, VOID, LANE, CAR, TRUCK, CHILD)
):
    for name in names:
        save(root / split / f"{name}.png", np.full((2, 6, 3), 50))
        save(root / f"{split}_labels" / f"{name}_L.png", [colours, colours])
    return root


def index(root, numbers=(7959, 7961, 7963), value=0):
    for number in numbers:
        save(root / "val_sequence/frames" / f"0016E5_{number:05d}.png", np.full((2, 3, 3), number % 251))
        save(root / "val_sequence/labels" / f"0016E5_{number:05d}.png", np.full((2, 3), value))
    return root


def opened(root, **options):
    return CamVid(CamVidOptions(root=root, **options))


def test_standard_merges_32_colours_to_11_and_ignores_void(tmp_path):
    dataset = opened(kaggle(tmp_path))
    assert dataset.sequences()[0].label(0)[0].tolist() == [0, 255, 3, 8, 8, 9]
    assert (len(dataset.classes), dataset.protocol_mark) == (11, "standard")


def test_paper_scores_void_and_ignores_merged_colours(tmp_path):
    dataset = opened(kaggle(tmp_path), protocol="paper")
    assert dataset.sequences()[0].label(0)[0].tolist() == [0, 11, 255, 8, 255, 255]
    assert (len(dataset.classes), dataset.classes.names[11], dataset.protocol_mark) == (12, "void", "paper")
    assert dataset.classes.palette[11] == (0, 0, 0)


def test_index_layout_scores_void_in_the_paper_protocol_only(tmp_path):
    index(tmp_path, value=11)
    assert opened(tmp_path).sequences()[0].label(0).max() == 255
    assert opened(tmp_path, protocol="paper").sequences()[0].label(0).max() == 11


def test_normalisation_is_ar_segs(tmp_path):
    mean, deviation, *plain = opened(kaggle(tmp_path)).normalisation
    assert mean == (0.39068785, 0.40521392, 0.41434407)
    assert deviation == (0.29652068, 0.30514979, 0.30080369)
    assert plain == [1, "RGB"]


def test_the_drives_of_the_paper_palette_match_its_table(tmp_path):
    """AR-Seg's table: index -> colour, spec section 4.1."""
    assert opened(kaggle(tmp_path)).classes.palette == (
        (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (0, 0, 192), (128, 128, 0), (192, 128, 128),
        (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
    )  # fmt: skip


def test_kaggle_without_decoded_frames_gives_stills(tmp_path):
    sequences = opened(kaggle(tmp_path)).sequences()
    assert [(s.name, len(s), s.labelled) for s in sequences] == [
        ("0016E5_07961", 1, [0]),
        ("Seq05VD_f00060", 1, [0]),
    ]


@pytest.mark.parametrize("nested", [True, False])
def test_kaggle_with_decoded_frames_places_labels_by_the_offset_table(tmp_path, nested):
    """0016E5: dataset 390 is decoded frame 392, so 00400 is frame 402; 0006R0: 930 is 932."""
    kaggle(tmp_path, ("0016E5_00400", "0016E5_00430", "0006R0_f00960"))
    for drive, first, last in (("0016E5", 395, 435), ("0006R0", 930, 965)):
        for number in range(first, last):
            folder = tmp_path / "sequences" / (drive if nested else "")
            save(folder / f"{drive}_{number:06d}.png", np.full((2, 6, 3), number % 256))
    found = {s.name: s for s in opened(tmp_path).sequences()}
    assert found["0016E5"].labelled == [402 - 395, 432 - 395]
    assert found["0006R0"].labelled == [962 - 930]
    assert found["0016E5"].image(7)[0, 0, 0] == 402 % 256
    assert found["0016E5"].frame_rate_hz == 30


def test_a_gap_in_the_decoded_frames_starts_another_sequence(tmp_path):
    kaggle(tmp_path, ("0016E5_00400", "0016E5_00430"))
    for number in (*range(395, 410), *range(420, 435)):
        save(tmp_path / "sequences" / f"0016E5_{number:06d}.png", np.zeros((2, 6, 3)))
    assert [(s.name, len(s), s.labelled) for s in opened(tmp_path).sequences()] == [
        ("0016E5-000395", 15, [7]),
        ("0016E5-000420", 15, [12]),
    ]


def test_a_label_outside_the_decoded_frames_is_an_error(tmp_path):
    kaggle(tmp_path, ("0016E5_00400",))
    save(tmp_path / "sequences" / "0016E5_000001.png", np.zeros((2, 6, 3)))
    with pytest.raises(InputError, match=r"0016E5_00400_L\.png: its frame 0016E5_000402 is not in"):
        opened(tmp_path).sequences()


def test_the_val_clip_of_the_index_layout_is_one_sequence(tmp_path):
    (sequence,) = opened(index(tmp_path)).sequences()
    assert (sequence.name, len(sequence), sequence.labelled, sequence.frame_rate_hz) == (
        "0016E5_07959", 3, [0, 1, 2], 15,
    )  # fmt: skip


def test_strict_drops_train_stills_near_the_val_clip(tmp_path):
    for number in (7650, 7680, 7920, 7950, 8190, 8430, 8460):
        save(tmp_path / "train/frames" / f"0016E5_{number:05d}.png", np.zeros((2, 3, 3)))
        save(tmp_path / "train/labels" / f"0016E5_{number:05d}.png", np.zeros((2, 3)))
    save(tmp_path / "train/frames/0001TP_007700.png", np.zeros((2, 3, 3)))
    save(tmp_path / "train/labels/0001TP_007700.png", np.zeros((2, 3)))
    assert len(opened(tmp_path).sequences("train")) == 8
    kept = [s.name for s in opened(tmp_path, strict=True).sequences("train")]
    assert kept == ["0001TP_007700", "0016E5_07650", "0016E5_07950", "0016E5_08460"]


def test_frames_and_labels_must_pair_up(tmp_path):
    kaggle(tmp_path)
    (tmp_path / "val_labels/Seq05VD_f00060_L.png").unlink()
    with pytest.raises(InputError, match=r"Seq05VD_f00060\.png: frame without label"):
        opened(tmp_path).sequences()
    (tmp_path / "val/Seq05VD_f00060.png").unlink()
    (tmp_path / "val/0016E5_07961.png").unlink()
    with pytest.raises(InputError, match=r"0016E5_07961_L\.png: label without frame"):
        opened(tmp_path).sequences()


def test_an_unknown_colour_is_an_error_in_the_standard_protocol_and_a_warning_in_the_papers(tmp_path):
    kaggle(tmp_path, ("0016E5_07961",), colours=(SKY, SKY, SKY, SKY, SKY, (1, 2, 3)))
    with pytest.raises(InputError, match=r"0016E5_07961_L\.png: label colour \(1, 2, 3\) at column 5, row 0"):
        opened(tmp_path).sequences()[0].label(0)
    findings = list(opened(tmp_path, protocol="paper").verify())
    assert [f.level for f in findings] == ["ok", "warning"]
    assert "16.67%" in findings[1].message


def test_an_unknown_value_is_an_error(tmp_path):
    with pytest.raises(InputError, match="label value 12 at column 0, row 0"):
        opened(index(tmp_path, value=12)).sequences()[0].label(0)


def test_missing_and_foreign_folders_are_explained(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        opened(tmp_path / "nowhere").sequences()
    with pytest.raises(InputError, match="neither CamVid layout found"):
        opened(tmp_path).sequences()
    with pytest.raises(InputError, match="holds no test split"):
        opened(index(tmp_path)).sequences("test")
    save(tmp_path / "val_sequence/frames/foo.png", np.zeros((2, 3, 3)))
    with pytest.raises(InputError, match=r"foo\.png: not a CamVid name"):
        opened(tmp_path).sequences()


def test_an_empty_split_is_an_error(tmp_path):
    (tmp_path / "val").mkdir()
    (tmp_path / "val_labels").mkdir()
    with pytest.raises(InputError, match="no labelled frame for split 'val'"):
        opened(tmp_path).sequences()


@pytest.mark.needs_shared
def test_the_shared_clip_has_101_labelled_frames_and_the_published_class_shares(shared):
    (sequence,) = opened(shared / "data/camvid").sequences()
    assert (len(sequence), list(sequence.labelled), sequence.size) == (101, list(range(101)), (360, 480))
    counts = sum(np.bincount(sequence.label(i).ravel(), minlength=256) for i in range(0, 101, 10))
    shares = 100 * counts / counts.sum()
    assert shares[3] == pytest.approx(28.95, abs=2)
    assert shares[255] == pytest.approx(1.70, abs=0.6)


@pytest.mark.needs_shared
def test_the_shared_train_stills_are_367_and_349_when_strict(shared):
    assert len(opened(shared / "data/camvid").sequences("train")) == 367
    assert len(opened(shared / "data/camvid", strict=True).sequences("train")) == 349


@pytest.mark.parametrize("first", [391, 392, 393, 394])
def test_verify_finds_drives_whose_decoded_numbers_are_off(tmp_path, first):
    """Dataset number 390 of drive 0016E5 is decoded frame 392; numbering that begins elsewhere shifts every label."""
    world = np.random.default_rng(1).integers(0, 256, (6, 30, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    drive = [np.ascontiguousarray(np.roll(world, -3 * t, axis=1)[:, :160]) for t in range(12)]
    numbers = [393, 396]
    for number in numbers:
        save(tmp_path / "val" / f"0016E5_{number:05d}.png", drive[number - 390])
        save(
            tmp_path / "val_labels" / f"0016E5_{number:05d}_L.png",
            np.full((96, 160, 3), 128, np.uint8) * [1, 0, 0],
        )
    noise = np.random.default_rng(2)
    for t, picture in enumerate(drive):
        noisy = np.clip(picture + noise.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)
        save(tmp_path / "sequences" / "0016E5" / f"0016E5_{first + t:06d}.png", noisy)
    found = [f for f in opened(tmp_path).verify("val") if "looks like" in f.message]
    assert len(found) == (0 if first == 392 else 2)
    for finding in found:
        side = "after" if first > 392 else "before"
        assert f"the picture {abs(first - 392)} {side} it" in finding.message
