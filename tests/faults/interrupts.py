"""Ctrl-C in the middle of everything that `run` and `train` do: how long until the last process is gone.

    python tests/faults/interrupts.py --repeats 5 -o reports/measurements/faults/interrupts.json

The whole process group gets the signal, as from a terminal. Linux only (/proc).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from process_group import await_end

PROMISED_SECONDS = 2.0
LARGE, SMALL = [720, 960], [64, 96]


def experiment(size: list[int], frames: int, preset: str, width: int, **more: Any) -> dict[str, Any]:
    """Synthetic streets; `preset` decides how long an encode takes, `width` how long a step."""
    return {
        "title": "interrupted",
        "datasets": [{"name": "synthetic", "sequences": 8, "frames": frames, "size": size}],
        "codecs": [{"label": "c", "codec": "hevc", "qp": 30, "preset": preset, "extra": {}}],
        "protocol": {"kind": "stream", "keyframe_interval": 4},
        "methods": [{"label": "m", "name": "constant", "width": width}],
        **more,
    }


def training() -> dict[str, Any]:
    """One contestant that trains for ever."""
    stage = {"steps": 100_000, "batch": 2, "learning_rate": 1e-3}
    return {
        "name": "interrupted",
        "dataset": {"name": "synthetic", "sequences": 2, "frames": 8, "size": SMALL},
        "codecs": [{"codec": "h264", "qp": 30, "preset": "ultrafast", "references": 1}],
        "pairs": {"keyframe_interval": 4},
        "validation": {"every": 20, "clips": 1, "distances": [0, 3]},
        "contestants": [
            {"label": "a", "name": "constant", "options": {"width": 8}, "stages": {"image": stage}},
        ],
    }


def units(folder: Path) -> bool:
    """A unit is stored."""
    return any(folder.glob("out/units/*/*/*/*/[!.]*.json"))


@dataclass(frozen=True)
class Situation:
    """What is interrupted, and how one sees from outside that it has come so far."""

    values: dict[str, Any]
    options: tuple[str, ...]
    begun: Callable[[Path], bool]
    command: str = "run"
    wait: float = 1.0
    """Longest random time between the beginning and Ctrl-C, seconds."""


def _encoding(folder: Path) -> bool:
    return any(folder.glob("cache/*/*.lock")) and not any(folder.glob("cache/*/*/record.json"))


def _stepping(folder: Path) -> bool:
    return any(folder.glob("cache/*/*/record.json"))


def _starting(folder: Path) -> bool:
    return (folder / "out" / "experiment.json").exists()


ONE = ("--workers", "1", "--device", "cpu")
SITUATIONS = {
    "importing": Situation(experiment(SMALL, 60, "medium", 4), ONE, lambda _: True, wait=3.0),
    "planning": Situation(experiment(SMALL, 60, "medium", 4), ONE, _starting),
    "one process": Situation(experiment(SMALL, 60, "medium", 4), ONE, units),
    "two workers starting": Situation(
        experiment(SMALL, 60, "medium", 4), ("--workers", "2"), lambda f: (f / "out/plan.json").exists(), wait=4.0
    ),
    "two workers": Situation(experiment(SMALL, 60, "medium", 4), ("--workers", "2"), units),
    "encoding": Situation(experiment(LARGE, 24, "veryslow", 4), ONE, _encoding, wait=4.0),
    "encoding, two workers": Situation(
        experiment(LARGE, 24, "veryslow", 4), ("--workers", "2"), _encoding, wait=4.0
    ),
    "inside a step": Situation(experiment(LARGE, 8, "ultrafast", 96), ONE, _stepping, wait=4.0),
    "cluster of two starting": Situation(
        experiment(SMALL, 60, "medium", 4), ("--cluster", "local:2"), _starting, wait=4.0
    ),
    "cluster of two": Situation(experiment(SMALL, 60, "medium", 4), ("--cluster", "local:2"), units),
    "making training pairs": Situation(
        training(), (), lambda f: any(f.glob("out/pairs-*")), command="train", wait=0.3
    ),
    "training": Situation(
        training(), (), lambda f: any(f.glob("out/a/image/train.csv")), command="train", wait=3.0
    ),
}  # fmt: skip


def interrupted(situation: Situation, folder: Path, chance: random.Random) -> dict[str, Any]:
    """Start the command, wait for the moment, send Ctrl-C; seconds until the command and its last process ended."""
    folder.mkdir()
    path = folder / "experiment.yaml"
    path.write_text(json.dumps(situation.values))
    words = [situation.command, str(path), "-o", str(folder / "out"), *situation.options]
    if situation.command == "run":
        words += ["--cache", str(folder / "cache")]
    errors = folder / "errors.txt"
    process = subprocess.Popen(
        [sys.executable, "-m", "vssbench", *words],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=errors.open("wb"),
        env={**os.environ, "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"},
        preexec_fn=_hear_ctrl_c,
    )
    deadline = time.monotonic() + 300
    while process.poll() is None and not situation.begun(folder) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(chance.uniform(0, situation.wait))
    if process.poll() is not None or time.monotonic() > deadline:
        raise AssertionError(f"ended too early or never began: {errors.read_text()[-2000:]}")
    sent = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    process.wait(timeout=60)
    ended = time.monotonic() - sent
    everything = await_end(process.pid) - sent
    return {
        "seconds": round(ended, 2),
        "last_process_seconds": round(everything, 2),
        "exit_code": process.returncode,
        "traceback": "Traceback" in errors.read_text(),
        "said_what_to_do": "the same command goes on from there" in errors.read_text(),
        "stderr": errors.read_text()[-1500:],
    }


def _hear_ctrl_c() -> None:
    """Whatever a script started in the background has Ctrl-C ignored, and its children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """What is kept of the repeats of one situation."""
    times = [one["seconds"] for one in found]
    return {
        "seconds": times,
        "last_process_seconds": [one["last_process_seconds"] for one in found],
        "exit_codes": sorted({one["exit_code"] for one in found}),
        "said_what_to_do": all(one["said_what_to_do"] for one in found),
        "tracebacks": sum(one["traceback"] for one in found),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=list(SITUATIONS), default=list(SITUATIONS))
    parser.add_argument("--show", action="store_true", help="print what the commands wrote to stderr")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    result: dict[str, Any] = {"promised_seconds": PROMISED_SECONDS, "situations": {}}
    with tempfile.TemporaryDirectory() as name:
        for title in options.only:
            found = []
            for repeat in range(options.repeats):
                folder = Path(name) / f"{title}-{repeat}".replace(" ", "-").replace(",", "")
                found.append(interrupted(SITUATIONS[title], folder, chance))
                if options.show:
                    print(found[-1].pop("stderr"), file=sys.stderr)
            result["situations"][title] = summary(found)
            print(title, result["situations"][title], flush=True)
    slowest = max(max(one["seconds"]) for one in result["situations"].values())
    result |= {"slowest_seconds": slowest, "seed": options.seed, "cores": os.cpu_count()}
    result |= {"python": platform.python_version(), "system": platform.system()}
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(result, indent=1) + "\n")
    raise SystemExit(slowest > PROMISED_SECONDS)


if __name__ == "__main__":
    main()
