"""Ours beside the paper's numbers through the files that real runs write: made-up CamVid and Cityscapes, untrained."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vssbench.analysis.run import Run, load_run
from vssbench.analysis.runtime import runtime_rows
from vssbench.cli import main
from vssbench.experiment.schema import load_experiment
from vssbench.experiment.yaml import packaged_experiments, read_yaml
from vssbench.rendering.text import MISSING
from vssbench.results.published import published_row, published_time
from vssbench.results.roster import ROSTER_FILE, make_roster, read_roster
from vssbench.results.store import RunFolder

SIZE = (56, 56)
OTHER_SCALE = "the paper draws this operating point in Figure 4 and prints no number of it"
OTHER_NETWORK = (
    "the single-frame network of a video system, of which the paper prints the relative change alone"
)
OTHER_METHOD = "not in the paper"
SECOND = "Table 3 prints one row an interval, AR-Seg's"
CAMVID = {("figure4", "camvid")}
ON_BOTH = {("table2", "camvid"), ("table2", "cityscapes")}
NOT_IN_THE_PAPER: dict[str, tuple[str, set[tuple[str, str]]]] = {
    **{f"PSP18 0.{n}x": (OTHER_SCALE, CAMVID) for n in (9, 8, 7, 6, 4, 3)},
    "PSP18 0.5x": (OTHER_SCALE, {("figure3", "cityscapes")}),
    **{f"BiSe18 0.{n}x": (OTHER_SCALE, CAMVID) for n in (9, 8, 7, 6, 5, 4, 3)},
    **{f"AR0.{n}-PSP18": (OTHER_SCALE, CAMVID) for n in (9, 8, 4)},
    **{f"AR0.{n}-BiSe18": (OTHER_SCALE, CAMVID) for n in (9, 8, 4, 3)},
    **{
        f"{network} 1.0x": (OTHER_NETWORK, ON_BOTH)
        for network in ("DL18", "DL101", "SwiftNet18", "light FPN", "FCN18")
    },
    **dict.fromkeys(("copy-last", "Clockwork", "DFF"), (OTHER_METHOD, ON_BOTH)),
    "warp-only": ("Table 3 has it on CamVid alone", {("table2", "cityscapes")}),
    "PSP18 1.0x": (SECOND, {(f"table3-l{n}", "camvid") for n in (15, 20, 30)}),
}
"""Title -> why no row describes it, and where that is so: (experiment, dataset)."""
VIDEO_SYSTEMS = {"Accel-DL18", "TD4-PSP18", "BlockCopy", "TapLab-BL2", "Jain et al."}


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def frame(number: int) -> np.ndarray:
    """Uint8 [H, W, 3]: a gradient that moves one pixel to the right in each frame."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.stack([4 * rows, 4 * ((columns - number) % SIZE[1]), rows + columns], axis=2).astype(np.uint8)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder that is both a CamVid (Kaggle layout, decoded drive) and a Cityscapes, two labelled frames each."""
    root = tmp_path_factory.mktemp("data")
    sky, road = (128, 128, 128), (128, 64, 128)
    label = np.array([sky, road], np.uint8)[(np.mgrid[: SIZE[0], : SIZE[1]][0] > 26).astype(int)]
    for number in range(392, 420):  # decoded frame 392 is the dataset's 390
        save(root / "sequences" / f"0016E5_{number:06d}.png", frame(number))
    for number in (402, 416):
        name = f"0016E5_{number:05d}"
        save(root / "test" / f"{name}.png", frame(number + 2))
        save(root / "test_labels" / f"{name}_L.png", label)
    ids = np.where(label[..., 1] == 64, 7, 23).astype(np.uint8)  # road, sky
    for take in (0,):
        name = f"frankfurt_{take:06d}"
        for number in range(20):
            path = f"leftImg8bit_sequence/val/frankfurt/{name}_{number:06d}_leftImg8bit.png"
            save(root / path, frame(number))
        save(root / f"gtFine/val/frankfurt/{name}_000019_gtFine_labelIds.png", ids)
    return root


def call(*words: str) -> None:
    """The command as a user types it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["vssbench", *words])
        with pytest.raises(SystemExit) as stopped:
            main()
    assert not stopped.value.code


@pytest.fixture(scope="module")
def ran(root: Path, tmp_path_factory: pytest.TempPathFactory):
    """Callable: a run of a packaged experiment with some of its methods, untrained, on one labelled frame a dataset."""
    folder = tmp_path_factory.mktemp("runs")

    def run(
        name: str, methods: Collection[str], *changes: str, datasets: Collection[str] = ("camvid",)
    ) -> Run:
        packaged = read_yaml(packaged_experiments()[f"ar-seg/{name}"])
        chosen = {
            "methods": [
                {**one, "weights": {}}
                for one in packaged["methods"]
                if one["label"] in methods and set(one["datasets"]) & set(datasets)
            ],
            "datasets": [
                {**one, "root": str(root)} for one in packaged["datasets"] if one["name"] in datasets
            ],
        }
        given = [f"{key}={json.dumps(entries)}" for key, entries in chosen.items()]
        words = [word for one in (*given, "protocol.labelled_stride=2", *changes) for word in ("--set", one)]
        call("run", f"ar-seg/{name}", "-o", str(folder / name), "--workers", "1", "--no-report", *words)
        return load_run(folder / name)

    return run


@pytest.fixture(scope="module")
def table1(ran) -> Run:
    return ran("table1", ("AR0.5-PSP18", "AR0.5-BiSe18"), datasets=("camvid", "cityscapes"))


@pytest.fixture(scope="module")
def table2(ran) -> Run:
    return ran("table2", VIDEO_SYSTEMS, 'reference=""')


@pytest.fixture(scope="module")
def table5(ran) -> Run:
    return ran("table5", ("PSP18 1.0x", "AR0.5-PSP18"), "measure.latency=false")


@pytest.fixture(scope="module")
def written(table1: Run, table2: Run, table5: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The paper's tables of the three runs, as `vssbench report --paper ar-seg` writes them."""
    folder = tmp_path_factory.mktemp("paper")
    runs = [str(run.path) for run in (table1, table2, table5)]
    call("report", *runs, "--paper", "ar-seg", "--no-pictures", "--no-figures", "-o", str(folder))
    return folder


def rows_of(written: Path, table: str) -> list[dict[str, str]]:
    with (written / f"{table}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def filled(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Rows in which a run of ours stands."""
    return [row for row in rows if row["mIoU (%) ours"] != MISSING]


def test_every_packaged_entry_finds_its_published_row_through_the_file_that_a_run_writes(
    tmp_path: Path,
) -> None:
    without = {}
    for name in packaged_experiments():
        if not name.startswith("ar-seg/"):
            continue
        folder = RunFolder(tmp_path / name)
        folder.write_record(ROSTER_FILE, make_roster(load_experiment(name)))
        roster = read_roster(folder)
        for place in roster.combinations():
            found = roster.identity(*place)
            if found is None or not (published_row(found) or published_time(found)):
                without.setdefault(place[2], set()).add((name.removeprefix("ar-seg/"), place[0]))
    assert without == {title: places for title, (_, places) in NOT_IN_THE_PAPER.items()}


def test_table_1_has_ours_in_the_rows_of_the_same_methods(table1: Run, written: Path) -> None:
    rows = rows_of(written, "table1")
    assert len(rows) == 16
    scores = {(group.dataset, group.method): f"{100 * group.miou:.2f}" for group in table1.groups}
    assert [(row["mIoU (%) paper"], row["mIoU (%) ours"]) for row in filled(rows)] == [
        ("70.48", scores["camvid", "AR0.5-PSP18"]),
        ("70.38", scores["camvid", "AR0.5-BiSe18"]),
        ("69.03", scores["cityscapes", "AR0.5-PSP18"]),
        ("70.57", scores["cityscapes", "AR0.5-BiSe18"]),
    ]
    for row in filled(rows):
        ours, theirs = float(row["mIoU (%) ours"]), float(row["mIoU (%) paper"])
        assert float(row["ours - paper"]) == pytest.approx(ours - theirs, abs=0.011)
        assert float(row["GMACs exact ours"]) > 0


def test_table_2_has_the_five_video_systems(table2: Run, written: Path) -> None:
    rows = filled(rows_of(written, "table2"))
    assert {row["Method"] for row in rows} == VIDEO_SYSTEMS
    scores = {group.method: f"{100 * group.miou:.2f}" for group in table2.groups}
    theirs = {
        "Accel-DL18": "66.15",
        "TD4-PSP18": "70.13",
        "BlockCopy": "66.75",
        "TapLab-BL2": "67.57",
        "Jain et al.": "67.61",
    }
    for row in rows:
        assert (row["mIoU (%) paper"], row["mIoU (%) ours"]) == (theirs[row["Method"]], scores[row["Method"]])


def test_table_5_goes_by_identity_and_not_by_label(table5: Run, written: Path, write_latency) -> None:
    theirs, ours = rows_of(written, "table5")[:2]
    assert (theirs["1.0x baseline"], theirs["AR 0.5"]) == ("31.2 ms (32 fps)", "14.7 ms (68 fps)")
    assert MISSING not in (ours["1.0x baseline"], ours["AR 0.5"])
    assert ours["AR 0.3"] == MISSING
    for title, ms in (("PSP18 1.0x", 20.0), ("AR0.5-PSP18", 8.0)):
        write_latency(table5, title, ms=ms)
    rows = {row.method: row for row in runtime_rows(table5.folder, table5.basis)}
    assert [(row.gop_mean_ms, row.published_ms) for row in rows.values()] == [(20.0, 31.2), (8.0, 14.7)]
    assert rows["AR0.5-PSP18"].published_times_faster == pytest.approx(31.2 / 14.7)


def test_the_page_and_its_csv_show_the_published_number_beside_ours(table1: Run, tmp_path: Path) -> None:
    call("report", str(table1.path), "--no-pictures", "--no-figures", "-o", str(tmp_path))
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    row = next(part for part in page.split("<tr ") if 'data-method="AR0.5-PSP18"' in part and "70.48" in part)
    assert f"{100 * table1.groups[0].miou:.2f}" in row
    assert "untrained" in (tmp_path / "index.html").read_text(encoding="utf-8")
