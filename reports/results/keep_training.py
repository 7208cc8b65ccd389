"""Keep what the repository shows of a training: summary.json, curves.csv (all validations) and curves.svg.

    python reports/results/keep_training.py runs/train-camvid-alphas reports/results/camvid_alphas/training

Of several seeds curves.csv has all, curves.svg is the first one's.
"""

from __future__ import annotations

import csv
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from vssbench.errors import InputError
from vssbench.training.log import read_log


def main(training: Path, output: Path) -> None:
    """Write the three files. Raises InputError if `training` is no finished training."""
    folders = sorted(training.glob("seed-*"), key=lambda p: int(p.name.removeprefix("seed-"))) or [training]
    for path in (training / "summary.json", folders[0] / "curves.svg"):
        if not path.exists():
            raise InputError(f"{path}: absent; finish the training first (vssbench train)")
    rows = [row for folder in folders for row in validations(folder)]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    output.mkdir(parents=True, exist_ok=True)
    with (output / "curves.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    shutil.copyfile(training / "summary.json", output / "summary.json")
    shutil.copyfile(folders[0] / "curves.svg", output / "curves.svg")
    print(f"{output}: {len(rows)} validations of {len(folders)} trainings")


def validations(folder: Path) -> Iterator[dict[str, str]]:
    """A row per validation: seed (where the folder has one), label, stage, step and the values to five digits."""
    seed = {"seed": folder.name.removeprefix("seed-")} if folder.name.startswith("seed-") else {}
    for log in sorted(folder.glob("*/*/validation.csv")):
        place = {"label": log.parent.parent.name, "stage": log.parent.name}
        for row in read_log(log):
            values = {name: f"{value:.5f}" for name, value in row.items() if name != "step"}
            yield {**seed, **place, "step": f"{row['step']:.0f}", **values}


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
