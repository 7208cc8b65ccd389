"""KITTI-STEP, VSPW, Cityscapes-VPS and anything else that a layout describes, on made-up trees."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image
from typer.testing import CliRunner

import vssbench
from vssbench.cli import app
from vssbench.conformance import DatasetSubject, run_dataset_checks
from vssbench.errors import ConfigError, InputError
from vssbench.experiment.validation import validate
from vssbench.registry import datasets

from .layout_trees import SIZES, cityscapes_vps, classes_at, kitti_step, picture, save, vspw

KITTI = {
    "frames": "images/{split}/{sequence}/{frame:06d}.png",
    "labels": "panoptic_maps/{split}/{sequence}/{frame:06d}.png",
    "channel": "R", "classes": "cityscapes19", "frame_rate_hz": 10,
}  # fmt: skip
VSPW = {
    "frames": "data/{sequence}/origin/{frame}.jpg", "labels": "data/{sequence}/mask/{frame}.png",
    "classes": "vspw124", "void": [0, 254, 255], "first_value": 1, "split_list": "{split}.txt", "frame_rate_hz": 15,
}  # fmt: skip


def opened(name, root, **options):
    kind = datasets.load(name)
    return kind(validate(kind.Options, {"root": str(root), **options}, where=f"dataset {name}"))


def findings(dataset, split="val"):
    return [(f.level, f.message) for f in dataset.verify(split)]


def test_kitti_step_reads_the_red_channel_at_every_size(tmp_path):
    dataset = opened("kitti-step", kitti_step(tmp_path))
    found = {s.name: s for s in dataset.sequences()}
    assert sorted(found) == ["0002", "0006", "0007", "0008", "0010", "0013", "0014", "0016", "0018"]
    for name, sequence in found.items():
        assert sequence.size == SIZES.get(name, (64, 64))
        assert (sequence.labelled, sequence.frame_rate_hz) == (list(range(6)), 10)
        assert_array_equal(sequence.label(3), classes_at(sequence.size, 3, 19))
    assert {level for level, _ in findings(dataset)} == {"ok"}


def test_kitti_as_it_unpacks_gives_the_same(tmp_path):
    moved = opened("kitti-step", kitti_step(tmp_path / "moved"))
    unmoved = opened("kitti-step", kitti_step(tmp_path / "unmoved", unmoved=True))
    for a, b in zip(moved.sequences(), unmoved.sequences(), strict=True):
        assert (a.name, len(a)) == (b.name, len(b))
        assert_array_equal(a.image(2), b.image(2))
        assert_array_equal(a.label(2), b.label(2))


def test_a_missing_sequence_or_mask_is_told(tmp_path):
    root = kitti_step(tmp_path)
    (root / "panoptic_maps/val/0002/000003.png").unlink()
    messages = findings(opened("kitti-step", root))
    assert ("error", "1 of 6 frames of sequence 0002 have no label, this is the first") in messages
    for path in (root / "images/val/0007").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"1 of 9 sequences of split val are missing, the first is 0007"):
        opened("kitti-step", root).sequences()
    with pytest.raises(InputError, match=r"images/train: no such folder"):
        opened("kitti-step", root).sequences("train")


def test_a_label_without_its_frame_is_an_error(tmp_path):
    root = kitti_step(tmp_path)
    (root / "images/val/0002/000005.png").unlink()
    with pytest.raises(InputError, match=r"0002/000005.png: label without frame 5 of sequence 0002"):
        opened("kitti-step", root).sequences()


@pytest.mark.parametrize(("channel", "level"), [("G", "error"), ("R", None)])
def test_verify_finds_values_of_a_wrong_channel(tmp_path, channel, level):
    dataset = opened("layout", kitti_step(tmp_path), **{**KITTI, "channel": channel})
    said = [(lv, m) for lv, m in findings(dataset) if m.startswith("channel")]
    assert said == (
        [(level, "channel G of its labels holds 1 classes, channel R holds 19")] * 9 if level else []
    )


def test_a_wrong_channel_with_values_outside_the_classes_is_an_error(tmp_path):
    dataset = opened("layout", kitti_step(tmp_path), **{**KITTI, "channel": "B"})
    assert any(level == "error" and "label value 4" in message for level, message in findings(dataset))


def test_kitti_step_and_vspw_are_layouts(tmp_path):
    for name, root, options in (
        ("kitti-step", kitti_step(tmp_path / "k"), KITTI),
        ("vspw", vspw(tmp_path / "v"), VSPW),
    ):
        own, described = opened(name, root), opened("layout", root, **options)
        assert own.classes == described.classes
        for a, b in zip(own.sequences(), described.sequences(), strict=True):
            assert (a.name, a.size, a.labelled, a.frame_rate_hz, a.identity) == (
                b.name, b.size, b.labelled, b.frame_rate_hz, b.identity,
            )  # fmt: skip
            assert_array_equal(a.label(1), b.label(1))


def test_vspw_shifts_its_classes_and_ignores_others(tmp_path):
    dataset = opened("vspw", vspw(tmp_path))
    assert [s.name for s in dataset.sequences()] == ["1_aB", "2_cD"]
    expected = classes_at((64, 64), 4, 124)
    expected[:3] = 255
    assert_array_equal(dataset.sequences()[0].label(4), expected)
    assert (len(dataset.classes), dataset.classes.names[0], dataset.classes.names[123]) == (
        124,
        "wall",
        "train",
    )
    levels = findings(dataset)
    assert ("warning", "2 sequences in split val, the official split has 343") in levels
    assert "error" not in {level for level, _ in levels}


def test_vspw_takes_its_names_from_the_file_of_the_release(tmp_path):
    root = vspw(tmp_path)
    file = root / "label_num_dic_final.json"
    file.write_text(file.read_text().replace('"wall"', '"brick wall"'))
    assert opened("vspw", root).classes.names[0] == "brick wall"
    file.write_text('{"others": "0", "wall": "1"}')
    with pytest.raises(InputError, match=r"label_num_dic_final.json: does not name the classes 1..124"):
        opened("vspw", root)
    file.unlink()
    assert opened("vspw", root).classes.names[0] == "wall"


def test_pictures_of_no_bytes_are_named_and_left_out_on_request(tmp_path):
    root = vspw(tmp_path)
    (root / "data/1_aB/origin/00000007.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"00000007.jpg: has 0 bytes.*skip_damaged: true"):
        opened("vspw", root).sequences()
    kept = opened("vspw", root, skip_damaged=True).sequences()[0]
    assert (len(kept), len(kept.labelled)) == (17, 17)
    whole = opened("vspw", vspw(tmp_path / "whole")).sequences()[0]
    assert_array_equal(kept.image(6), whole.image(7))
    assert_array_equal(kept.label(6), whole.label(7))


def test_masks_of_a_test_split_may_be_withheld(tmp_path):
    root = vspw(tmp_path)
    (root / "test.txt").write_text("7_tT\n")
    Image.fromarray(picture((64, 64), 0)).save(
        save(root / "data/7_tT/origin/x.png", picture((64, 64), 0)).with_name("00000001.jpg")
    )
    (root / "data/7_tT/origin/x.png").unlink()
    assert [s.labelled for s in opened("vspw", root).sequences("test")] == [[]]


@pytest.mark.parametrize("moved", [True, False])
def test_cityscapes_vps_places_six_labels_in_a_snippet(tmp_path, moved):
    root = cityscapes_vps(tmp_path / "vps", all_frames="img_all" if moved else "leftImg8bit_sequence")
    options = {} if moved else {"sequences_root": str(tmp_path / "leftImg8bit_sequence")}
    dataset = opened("cityscapes-vps", root, **options)
    assert [(s.name, len(s), s.labelled) for s in dataset.sequences()] == [
        ("0001", 30, [4, 9, 14, 19, 24, 29]),
        ("0002", 30, [4, 9, 14, 19, 24, 29]),
    ]
    sequence = dataset.sequences()[1]
    for t in sequence.labelled:
        assert_array_equal(sequence.image(t), picture((64, 128), t))
        assert_array_equal(sequence.label(t), classes_at((64, 128), t, 19))
    assert "error" not in {level for level, _ in findings(dataset)}


def test_cityscapes_own_labels_are_read_where_they_lie(tmp_path):
    root = cityscapes_vps(tmp_path / "vps")
    for path in (root / "val/cls").glob("*_gtFine_color.png"):
        (tmp_path / "gtFine/val/frankfurt").mkdir(parents=True, exist_ok=True)
        path.rename(tmp_path / "gtFine/val/frankfurt" / path.name[10:])
    assert opened("cityscapes-vps", root).sequences()[0].labelled == [4, 9, 14, 24, 29]
    (merged, _) = opened("cityscapes-vps", root, gtfine_root=str(tmp_path / "gtFine/val")).sequences()
    assert merged.labelled == [4, 9, 14, 19, 24, 29]
    assert_array_equal(merged.label(19), classes_at((64, 128), 19, 19))


def test_cityscapes_vps_refuses_foreign_names_and_labels_without_frames(tmp_path):
    root = cityscapes_vps(tmp_path)
    save(root / "val/cls/notes.png", picture((8, 8), 0))
    with pytest.raises(InputError, match=r"notes.png: not a name of Cityscapes-VPS"):
        opened("cityscapes-vps", root).sequences()
    (root / "val/cls/notes.png").unlink()
    (root / "val/img_all/frankfurt_000000_001736_leftImg8bit.png").unlink()
    with pytest.raises(InputError, match=r"label without frame 1736 of sequence 0001"):
        opened("cityscapes-vps", root).sequences()


def test_trees_of_other_datasets_can_be_described(tmp_path):
    """UAVid: colours, a folder a sequence. Highway Driving: one folder, numbers in the name. A2D2: names repeat the time."""
    (tmp_path / "classes.csv").write_text("name,red,green,blue\nroad,128,64,128\ntree,0,128,0\n")
    colours = np.array([[128, 64, 128], [0, 128, 0]], np.uint8)
    for t in range(3):
        labels = colours[np.arange(32)[None].repeat(16, 0) // (4 + t) % 2]
        save(tmp_path / f"uavid_val/seq16/Images/{100 * t:06d}.png", picture((16, 32), t))
        save(tmp_path / f"uavid_val/seq16/Labels/{100 * t:06d}.png", labels)
        save(tmp_path / f"val/3/img_{t}.png", picture((16, 32), t))
        save(tmp_path / f"val/3/gt_{t}.png", labels)
        camera = tmp_path / "20180807_145028"
        save(
            camera / f"camera/cam_front_center/20180807145028_camera_frontcenter_{t:09d}.png",
            picture((16, 32), t),
        )
        save(camera / f"label/cam_front_center/20180807145028_label_frontcenter_{t:09d}.png", labels)
    for frames, labels in (
        ("uavid_{split}/{sequence}/Images/{frame:06d}.png", "uavid_{split}/{sequence}/Labels/{frame:06d}.png"),
        ("{split}/{sequence}/img_{frame}.png", "{split}/{sequence}/gt_{frame}.png"),
        ("{sequence}/camera/cam_front_center/*_camera_frontcenter_{frame}.png",
         "{sequence}/label/cam_front_center/*_label_frontcenter_{frame}.png"),
    ):  # fmt: skip
        dataset = opened(
            "layout", tmp_path, frames=frames, labels=labels, classes="classes.csv", frame_rate_hz=20
        )
        (sequence,) = dataset.sequences()
        assert (len(sequence), sequence.labelled) == (3, [0, 1, 2])
        assert_array_equal(sequence.label(1)[0], np.arange(32) // 5 % 2)
        assert_array_equal(sequence.image(2), picture((16, 32), 2))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"frames": "images/{sequnce}/{frame}.png"}, "frames .*unknown placeholder {sequnce}"),
        ({"frames": "images/{sequence}/a.png"}, "expected {frame} in the file name"),
        ({"labels": "maps/{sequence}/{frame}.jpg"}, "labels .*expected a file name that ends in one of .png"),
        ({"frames": "../{frame}.png"}, "without '..'"),
        ({"void": [3, 255]}, r"0..18 of the classes and the ignored values \[3, 255\]: expected different values"),
        ({"void": [300]}, "expected different values in 0..255"),
        ({"classes": "cityscapes20"}, "cityscapes20"),
        ({"splits": {"val": ["a", "a"]}}, "expected sequences, each once"),
        ({"frame_rate_hz": True}, "frame_rate_hz"),
    ],
)  # fmt: skip
def test_a_layout_that_cannot_be_is_refused(tmp_path, change, words):
    with pytest.raises((ConfigError, InputError), match=words):
        opened("layout", kitti_step(tmp_path, frames=1), **{**KITTI, **change})


@pytest.mark.parametrize("name", ["kitti-step", "vspw", "cityscapes-vps", "layout"])
def test_the_suite_of_datasets_passes(tmp_path, name):
    make = {"vspw": vspw, "cityscapes-vps": cityscapes_vps}.get(name, kitti_step)
    options = {"root": str(make(tmp_path / "tree")), **(KITTI if name == "layout" else {})}
    results = run_dataset_checks(DatasetSubject(name, options))
    assert [r for r in results if r.problem] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("experiment", "make"),
    [
        ("kitti-step/methods", kitti_step), ("kitti-step/clip", kitti_step),
        ("cityscapes-vps/methods", cityscapes_vps), ("cityscapes-vps/clip", cityscapes_vps),
        ("vspw/consistency", vspw), ("vspw/clip", vspw),
    ],
)  # fmt: skip
def test_packaged_experiments_are_planned_with_sizes_and_time(tmp_path, experiment, make):
    made = make(tmp_path / "tree", **({"frames": 14} if make is not cityscapes_vps else {}))
    command = [
        "run",
        experiment,
        "--dry-run",
        "--device",
        "cpu",
        f"--set=dataset.root={made}",
        "--set=method.weights={}",
    ]
    result = CliRunner().invoke(app, [*command, "--set=method.width=4"])
    assert result.exit_code == 0, result.output
    assert "units" in result.output
    assert "untrained" in result.output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("experiment", "make"),
    [
        ("kitti-step/methods", kitti_step),
        ("cityscapes-vps/methods", cityscapes_vps),
        ("vspw/consistency", vspw),
    ],
)
def test_dense_labels_are_scored_end_to_end(tmp_path, experiment, make):
    """Labels in every frame, sizes that differ; copy-last of the truth itself would score what the stripes overlap."""
    made = make(tmp_path / "tree", **({"frames": 13} if make is kitti_step else {}))
    run = vssbench.run(
        experiment, tmp_path / "run", device="cpu", workers=1, cache=tmp_path / "cache",
        overrides=[f"dataset.root={made}", "method.weights={}", "method.width=4", "protocol.phases=[0]",
                   "dataset.only=[" + {kitti_step: "'0002', '0006'", cityscapes_vps: "'0001'", vspw: "1_aB"}[make] + "]"],
    )  # fmt: skip
    labelled = {kitti_step: 2 * 13, cityscapes_vps: 6, vspw: 18}[make]
    assert set(run.summary["frames"]) == {labelled}
    assert run.summary["miou"].between(0, 1).all()
    if make is vspw:
        assert {"VC8 (released)", "VC16 (corrected)"} <= set(run.table["metric"])
