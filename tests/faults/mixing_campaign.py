"""Damages, mixes, swaps and ages the records and the data of a run at random: never a wrong table, never a traceback.

    python tests/faults/mixing_campaign.py --cases 1000 -o reports/measurements/faults/mixing.json

Each case does one to three things to a copy of a finished run. Reading it must then give the true numbers, or one error
of the library; resuming it too, after which the numbers are the true ones, or all those of a new run on data that were
changed when no record was left that could tell.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent))  # for dot_network, in every process
Numbers = dict[tuple[Any, ...], float]


def write_data(folder: Path, seed: int) -> None:
    """Two sequences of six noisy frames of 64x96 pixels with labels of three classes."""
    generator = np.random.default_rng(seed)
    for name in ("first", "second"):
        for kind in ("frames", "labels"):
            (folder / kind / name).mkdir(parents=True)
        for number in range(6):
            label = np.add.outer(np.arange(64) // 16, (np.arange(96) + 4 * number) // 24) % 3
            noise = generator.integers(0, 40, (64, 96, 3))
            image = np.array([[30, 60, 90], [200, 80, 40], [90, 200, 120]])[label] + noise
            Image.fromarray(image.astype(np.uint8)).save(folder / "frames" / name / f"{number}.png")
            Image.fromarray(label.astype(np.uint8)).save(folder / "labels" / name / f"{number}.png")
    (folder / "classes.csv").write_text("name,red,green,blue\nroad,1,1,1\ncar,2,2,2\ntree,3,3,3\n")


def experiment(data: Path, **changes: Any) -> dict[str, Any]:
    """The small experiment on that data, of a network that is built in no time."""
    from vssbench.registry import Entry, networks

    networks.entries["dot"] = Entry("dot", "dot_network:Dot", "two convolutions")
    return {
        "datasets": [{"name": "folder", "label": "data", "root": str(data)}],
        "codecs": [{"label": "h264", "codec": "h264", "qp": 30, "preset": "ultrafast", "references": 1}],
        "protocol": {"kind": "stream", "keyframe_interval": 3},
        "methods": [
            {"label": "half", "name": "constant", "network": "dot", "width": 4, "lr_scale": 0.5},
            {"label": "whole", "name": "constant", "network": "dot", "width": 4},
        ],
        **changes,
    }


def numbers_of(run: Any, *, times: bool) -> Numbers:
    """Every number of the long table by what it is of; without step times where two sessions are compared."""
    columns = ["dataset", "codec", "method", "d", "class", "metric"]
    return {
        tuple(row[name] for name in columns): float(row["value"])
        for _, row in run.table.iterrows()
        if times or not row["metric"].endswith("_ms")
    }


def wrong_numbers(found: Numbers, true: Numbers) -> list[str]:
    """What stands in a table that is not true; what is missing is not wrong."""
    return [
        f"{key}: {value}, truly {true.get(key)}"
        for key, value in found.items()
        if key not in true or not (value == true[key] or (math.isnan(value) and math.isnan(true[key])))
    ]


class Campaign:
    """A finished run, others to mix it with, and the cases."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.random = folder, random.Random(seed)
        self.data = folder / "data"
        write_data(self.data, 1)
        shutil.copytree(self.data, folder / "whole-data")
        write_data(folder / "other-data", 2)
        self.run(folder / "base")
        self.base = self.run(folder / "base")
        self.true, self.timed = (numbers_of(self.base, times=timed) for timed in (False, True))
        codec = experiment(self.data)["codecs"][0]
        others = {
            "other data": experiment(folder / "other-data"),
            "other rate": experiment(self.data, codecs=[{**codec, "qp": 40}]),
            "other seed": experiment(self.data, seed=7),
        }
        for name, values in others.items():
            for _ in range(2):  # what was checked is remembered by the second session
                self.run(folder / name, values)
        self.others = [folder / name for name in others]
        self.outcomes: Counter[str] = Counter()
        self.actions: Counter[str] = Counter()
        self.faults: list[str] = []

    def run(self, place: Path, values: dict[str, Any] | None = None) -> Any:
        """A session of one process on a folder."""
        import vssbench

        chosen = experiment(self.data) if values is None else values
        return vssbench.run(chosen, place, workers=1, cache=self.folder / "cache", device="cpu")

    def case(self) -> None:
        """Spoil a copy, read it, resume it."""
        run = self.folder / "spoilt"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(self.folder / "base", run)
        chosen = self.random.choices(ACTIONS, k=self.random.choice((1, 1, 2, 3)))
        for action in chosen:
            action(self, run)
        names = " + ".join(action.__name__ for action in chosen)
        self.actions.update(action.__name__ for action in chosen)
        self._attempt(f"{names}, read", lambda: self._read(run))
        self._attempt(f"{names}, resume", lambda: self._resume(run))
        if any(action in DATA_ACTIONS for action in chosen):
            shutil.rmtree(self.data)
            shutil.copytree(self.folder / "whole-data", self.data)
            self._attempt(f"{names}, resume with the data put back", lambda: self._resume(run))

    def _read(self, run: Path) -> None:
        from vssbench.analysis.run import load_run

        opened = load_run(run)
        found = numbers_of(opened, times=True)
        _ = opened.warnings
        if opened.complete:
            assert not wrong_numbers(found, self.timed), wrong_numbers(found, self.timed)[:3]
        else:
            assert any("incomplete" in line for line in opened.warnings)

    def _resume(self, run: Path) -> None:
        found = self.run(run)
        _ = found.warnings
        assert found.complete
        numbers = numbers_of(found, times=False)
        if (
            numbers != self.true
        ):  # nothing that was left belonged to the old data: the whole run is of the new
            fresh = self.folder / "fresh"
            shutil.rmtree(fresh, ignore_errors=True)
            assert numbers == numbers_of(self.run(fresh), times=False), (
                "neither the old data's numbers nor the new's"
            )
        assert not found.kept_frames[1]

    def _attempt(self, what: str, do: Callable[[], None]) -> None:
        from vssbench.errors import VssbenchError

        try:
            do()
        except VssbenchError as error:
            self.outcomes[f"{what.rpartition(', ')[2]}: refused with exit code {error.exit_code}"] += 1
            if len(str(error).splitlines()) != 1:
                self.faults.append(f"{what}: a message of several lines: {error}")
        except Exception as error:  # what the campaign looks for
            self.outcomes["fault"] += 1
            self.faults.append(f"{what}: {type(error).__name__}: {error}"[:400])
        else:
            self.outcomes[f"{what.rpartition(', ')[2]}: true numbers"] += 1

    def file(self, run: Path) -> Path:
        """Any file of a run but its log and locks."""
        files = sorted(p for p in run.rglob("*") if p.is_file() and p.suffix in (".json", ".zip"))
        if not files:  # what came before left none
            (run / "units").mkdir(exist_ok=True)
            files = [run / "units" / "first.json"]
            files[0].write_text("{}")
        return self.random.choice(files)


def flip_a_bit(campaign: Campaign, run: Path) -> None:
    path = campaign.file(run)
    data = bytearray(path.read_bytes()) or bytearray(1)
    data[campaign.random.randrange(len(data))] ^= 1 << campaign.random.randrange(8)
    path.write_bytes(data)


def flip_a_bit_and_keep_the_time(campaign: Campaign, run: Path) -> None:
    path = campaign.file(run)
    before, data = path.stat(), bytearray(path.read_bytes()) or bytearray(1)
    data[campaign.random.randrange(len(data))] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def edit_a_digit(campaign: Campaign, run: Path) -> None:
    path = campaign.file(run)
    text = path.read_bytes()
    digits = [i for i, byte in enumerate(text) if 48 <= byte < 58]
    if digits:
        place = campaign.random.choice(digits)
        path.write_bytes(text[:place] + b"%d" % campaign.random.randrange(10) + text[place + 1 :])


def cut_short(campaign: Campaign, run: Path) -> None:
    path = campaign.file(run)
    data = path.read_bytes()
    path.write_bytes(data[: campaign.random.randrange(len(data) + 1)])


def write_strange_json(campaign: Campaign, run: Path) -> None:
    deep = "[" * 200_000
    texts = (
        "null",
        "[]",
        '"a"',
        "1" * 5000,
        deep,
        '{"digest": 1, "belongs": []}',
        "NaN",
        "\ufeff{}",
        "\x1b[2J",
    )
    campaign.file(run).write_text(campaign.random.choice(texts))


def delete_a_file(campaign: Campaign, run: Path) -> None:
    campaign.file(run).unlink()


def delete_a_folder(campaign: Campaign, run: Path) -> None:
    folders = sorted(p for p in run.rglob("*") if p.is_dir())
    shutil.rmtree(campaign.random.choice(folders or [run / "none"]), ignore_errors=True)


def swap_two_files(campaign: Campaign, run: Path) -> None:
    first, second = campaign.file(run), campaign.file(run)
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(data)


def copy_over_another(campaign: Campaign, run: Path) -> None:
    campaign.file(run).write_bytes(campaign.file(run).read_bytes())


def take_a_file_from_another_run(campaign: Campaign, run: Path) -> None:
    other = campaign.random.choice(campaign.others)
    source = campaign.file(other)
    target = run / source.relative_to(other)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


def take_a_folder_from_another_run(campaign: Campaign, run: Path) -> None:
    other = campaign.random.choice(campaign.others)
    name = campaign.random.choice(("units", "costs", "frames"))
    shutil.rmtree(run / name, ignore_errors=True)
    shutil.copytree(other / name, run / name)
    shutil.copy2(other / "checked.txt", run / "checked.txt")


def add_a_stray_record(campaign: Campaign, run: Path) -> None:
    source = campaign.file(run)
    shutil.copy2(source, source.with_name(f"stray-{campaign.random.randrange(99)}{source.suffix}"))


def make_a_folder_of_a_file(campaign: Campaign, run: Path) -> None:
    path = campaign.file(run)
    path.unlink()
    path.mkdir()


def age(campaign: Campaign, run: Path) -> None:
    os.utime(campaign.file(run), (1, 1))


def forget_what_was_checked(campaign: Campaign, run: Path) -> None:
    (run / "checked.txt").unlink(missing_ok=True)


def edit_a_label(campaign: Campaign, run: Path) -> None:
    _edit_a_pixel(campaign, "labels")


def edit_a_frame(campaign: Campaign, run: Path) -> None:
    _edit_a_pixel(campaign, "frames")


def _edit_a_pixel(campaign: Campaign, kind: str) -> None:
    path = campaign.random.choice(sorted((campaign.data / kind).rglob("*.png")))
    before, pixels = path.stat(), np.array(Image.open(path))
    pixels[5, 7] = (pixels[5, 7] + 1) % 3
    Image.fromarray(pixels).save(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def swap_two_labels(campaign: Campaign, run: Path) -> None:
    first, second = campaign.random.sample(sorted((campaign.data / "labels").rglob("*.png")), 2)
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(data)


def rename_a_class(campaign: Campaign, run: Path) -> None:
    table = campaign.data / "classes.csv"
    table.write_text(table.read_text().replace("car", "bus"))


def swap_two_colours(campaign: Campaign, run: Path) -> None:
    table = campaign.data / "classes.csv"
    table.write_text(table.read_text().replace("road,1,1,1", "road,9,9,9"))


def delete_a_label(campaign: Campaign, run: Path) -> None:
    campaign.random.choice(sorted((campaign.data / "labels").rglob("*.png"))).unlink()


def touch_the_data(campaign: Campaign, run: Path) -> None:
    for path in campaign.data.rglob("*.png"):
        os.utime(path)


Action = Callable[[Campaign, Path], None]
DATA_ACTIONS: tuple[Action, ...] = (
    edit_a_label, edit_a_frame, swap_two_labels, rename_a_class, swap_two_colours, delete_a_label, touch_the_data,
)  # fmt: skip
ACTIONS: tuple[Action, ...] = (
    flip_a_bit, flip_a_bit_and_keep_the_time, edit_a_digit, cut_short, write_strange_json, delete_a_file,
    delete_a_folder, swap_two_files, copy_over_another, take_a_file_from_another_run, take_a_folder_from_another_run,
    add_a_stray_record, make_a_folder_of_a_file, age, forget_what_was_checked, *DATA_ACTIONS,
)  # fmt: skip


Counted = tuple[int, Counter[str], Counter[str], list[str]]


def _counted(cases: int, seed: int, minutes: float) -> Counted:
    """Cases of one process, as many as the time allows, with actions, outcomes and faults."""
    end = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory() as name:
        campaign, done = Campaign(Path(name), seed), 0
        while done < cases and time.monotonic() < end:
            campaign.case()
            done += 1
        return done, campaign.actions, campaign.outcomes, campaign.faults


def measured(cases: int, seed: int, processes: int = 1, minutes: float = math.inf) -> dict[str, Any]:
    """What a campaign found, as it is stored. Every process has a seed of its own: seed, seed + 1, ..."""
    started = time.monotonic()
    shares = [len(range(i, cases, processes)) for i in range(processes)]
    if processes == 1:
        parts = [_counted(cases, seed, minutes)]
    else:
        with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
            seeds = range(seed, seed + processes)
            parts = list(pool.map(_counted, shares, seeds, [minutes] * processes))
    return {
        "cases": sum(part[0] for part in parts),
        "seed": seed,
        "processes": processes,
        "actions": dict(sorted(sum((part[1] for part in parts), Counter()).items())),
        "outcomes": dict(sorted(sum((part[2] for part in parts), Counter()).items())),
        "faults": [fault for part in parts for fault in part[3]],
        "seconds": round(time.monotonic() - started),
    }


def main() -> None:
    """Run a campaign and store what it found; fails where a table was wrong or a traceback was seen."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so long")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    found = measured(options.cases, options.seed, options.processes, options.minutes)
    text = json.dumps(found, indent=1) + "\n"
    if options.output:
        options.output.write_text(text)
    print(text)
    if found["faults"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
