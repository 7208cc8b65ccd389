"""Thousands of units through `run`: time, memory and file handles; and how fast many stored units are found again.

    python tests/faults/soak.py -o reports/measurements/soak            units 1000, 3000, 10000; stored 10000, 30000, 100000
    python tests/faults/soak.py --units 200 400 --stored 2000

Every unit is a job of its own (protocol clip, keyframe_interval 1) on 16x16 frames with a method that does nothing,
so what is measured is the runner: planning, cache, records, bookkeeping. Linux only (/proc).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

EVERY = 50
"""Units between two looks at memory and file handles."""
SEQUENCES = 10


def experiment(units: int) -> dict[str, Any]:
    """`units` labelled frames in ten sequences, one method, one codec."""
    return {
        "title": "soak",
        "datasets": [{"name": "soak", "frames": units // SEQUENCES}],
        "codecs": [{"label": "c", "codec": "h264", "qp": 40, "preset": "ultrafast", "references": 1}],
        "protocol": {"kind": "clip", "keyframe_interval": 1},
        "methods": [{"label": "nothing", "name": "soak"}],
        "measure": {"macs": False},
        "pictures": {"per_codec": 0},
    }


def register() -> None:
    """A dataset of moving squares and a method that calls everything class 0."""
    import torch

    from vssbench.dataset import Dataset, DatasetOptions, VideoSequence
    from vssbench.method import Method, MethodOptions, Needs, Prediction
    from vssbench.records import ClassTable
    from vssbench.registry import datasets, methods

    class SoakOptions(DatasetOptions):
        frames: int = 10

    class Squares(VideoSequence):
        frame_rate_hz, size = 25.0, (16, 16)

        def __init__(self, name: str, frames: int) -> None:
            self.name, self.frames = name, frames

        def __len__(self) -> int:
            return self.frames

        @property
        def labelled(self) -> range:
            return range(self.frames)

        def image(self, index: int) -> Any:
            image = np.full((16, 16, 3), index % 251, np.uint8)
            image[index % 8 : index % 8 + 8, :8] = 255
            return image

        def label(self, index: int) -> Any:
            return np.full((16, 16), index % 2, np.uint8)

        def label_files(self) -> tuple[Path, ...]:
            return ()

        @property
        def identity(self) -> str:
            return f"soak {self.name} {self.frames}"

    class SoakDataset(Dataset):
        Options = SoakOptions

        def __init__(self, options: SoakOptions) -> None:
            self.options = options
            self.classes = ClassTable(("even", "odd"), ((0, 0, 0), (255, 255, 255)))

        def sequences(self, split: str = "val") -> list[Squares]:
            return [Squares(f"s{i}", self.options.frames) for i in range(SEQUENCES)]

        def verify(self, split: str | None = None) -> Any:
            yield from ()

    class Nothing(Method):
        Options = MethodOptions

        @property
        def needs(self) -> Needs:
            return Needs(stateless=True)

        def parts(self) -> dict[str, Any]:
            return {}

        def start(self, batch: int) -> None:
            return None

        def step(self, state: None, frame: Any) -> list[Prediction]:
            return [Prediction(frame.index, torch.zeros((1, *frame.size), dtype=torch.uint8), "key")]

    module = sys.modules[__name__]
    module.SoakDataset, module.Nothing = SoakDataset, Nothing  # type: ignore[attr-defined]
    datasets.register("soak", f"{__name__}:SoakDataset", "moving squares")
    methods.register("soak", f"{__name__}:Nothing", "class 0 everywhere")


def memory_mib() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def handles() -> int:
    """Open file descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))


def soak(units: int, folder: Path) -> dict[str, Any]:
    """Run `units` units in this process and sample it as they are stored."""
    import vssbench
    from vssbench.runner.session import Listener

    samples: list[tuple[int, float, int]] = []
    done = 0

    def on_unit() -> None:
        nonlocal done
        done += 1
        if done % EVERY == 0:
            samples.append((done, round(memory_mib(), 2), handles()))

    started = time.perf_counter()
    vssbench.run(
        experiment(units), folder / "run", workers=1, cache=folder / "cache", device="cpu",
        listener=Listener(on_unit=on_unit),
    )  # fmt: skip
    seconds = time.perf_counter() - started
    cpu = time.process_time()
    assert done == units, f"{done} of {units} units"
    return {
        "units": units,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu, 2),
        "samples_units_mib_handles": samples,
    }


def resume(units: int, folder: Path) -> dict[str, Any]:
    """Fill a run folder with records made without work, then time the sessions that find nothing to do."""
    import vssbench
    from vssbench.experiment.schema import load_experiment
    from vssbench.results.basis import make_basis
    from vssbench.results.roster import make_roster
    from vssbench.results.schema import CaseRecord, UnitRecord, to_json
    from vssbench.results.store import RunFolder, unit_name
    from vssbench.runner.environment import describe
    from vssbench.runner.plan import make_plan
    from vssbench.runner.session import describe_datasets, prepare

    run = RunFolder(folder / "run")
    values = experiment(units)
    frozen = load_experiment(values)
    started, used = time.perf_counter(), time.process_time()
    items = make_plan(frozen)
    planning, planning_used = time.perf_counter() - started, time.process_time() - used
    shop, jobs = prepare(frozen, folder / "cache", "cpu")
    bits = describe(frozen, shop.device, 1)["bits"]
    basis = make_basis(shop.of_weights(make_roster(frozen)), describe_datasets(shop, jobs), [bits])
    case = CaseRecord(0, 0, "I", 0, 1, 100, "key")
    counts = np.array([[[128, 0], [128, 0]]], dtype=np.int64)
    for item in items:
        for key in item.unit_keys():
            path = run.path / "units" / unit_name(key)
            path.parent.mkdir(parents=True, exist_ok=True)
            record = UnitRecord(
                key,
                (case,),
                counts,
                {"key": 1},
                1.0,
                20.0,
                "0" * 64,
                {"step_key": 1e-4, "steps_key": 1},
                belongs=basis.of_unit(key)[-1],
            )
            path.write_text(to_json(record))
    seconds, processor = [], []
    for _ in range(2):
        started, used = time.perf_counter(), time.process_time()
        vssbench.run(values, run.path, workers=1, cache=folder / "cache", device="cpu")
        seconds.append(round(time.perf_counter() - started, 2))
        processor.append(round(time.process_time() - used, 2))
    return {
        "stored_units": units,
        "planning_seconds": round(planning, 2),
        "planning_processor_seconds": round(planning_used, 2),
        "first_resume_seconds": seconds[0],
        "later_resume_seconds": seconds[1],
        "first_resume_processor_seconds": processor[0],
        "later_resume_processor_seconds": processor[1],
        "peak_mib": round(memory_mib(), 1),
    }


def flatness(samples: list[tuple[int, float, int]]) -> dict[str, float]:
    """Growth of memory and handles over the second half of a run."""
    half = samples[len(samples) // 2 :]
    return {
        "mib_grown_in_second_half": round(half[-1][1] - half[0][1], 2),
        "handles_grown_in_second_half": half[-1][2] - half[0][2],
    }


def measured(kind: str, units: int) -> dict[str, Any]:
    """One measurement in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        words = [sys.executable, __file__, f"--{kind}", str(units), "--folder", name]
        finished = subprocess.run(
            words, check=False, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
    if finished.returncode:
        raise RuntimeError(finished.stderr)
    found: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return found


def draw(result: dict[str, Any], path: Path) -> None:
    """Three panels: seconds over units, memory over units, seconds to find stored units again."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams["svg.hashsalt"] = "soak"
    figure, (time_axes, memory_axes, resume_axes) = plt.subplots(
        1, 3, figsize=(11, 3.2), layout="constrained"
    )
    runs = result["runs"]
    time_axes.plot([r["units"] for r in runs], [r["seconds"] for r in runs], "o-", label="wall")
    time_axes.plot([r["units"] for r in runs], [r["cpu_seconds"] for r in runs], "s--", label="processor")
    time_axes.set(xlabel="units", ylabel="seconds", title="Running", xlim=(0, None), ylim=(0, None))
    time_axes.legend()
    for run in runs:
        done, mib, _ = zip(*run["samples_units_mib_handles"], strict=True)
        memory_axes.plot(done, mib, label=f"{run['units']} units")
    top = 1.4 * max(mib for run in runs for _, mib, _ in run["samples_units_mib_handles"])
    memory_axes.set(xlabel="units stored", ylabel="MiB resident", title="Memory", ylim=(0, top))
    memory_axes.legend()
    stored = result["resumes"]
    for key, label in (
        ("first_resume_seconds", "first resume, digests read"),
        ("later_resume_seconds", "later resume"),
        ("planning_seconds", "planning"),
    ):
        resume_axes.plot([r["stored_units"] for r in stored], [r[key] for r in stored], "o-", label=label)
    resume_axes.set(xlabel="units stored", ylabel="seconds", title="Resuming", xlim=(0, None), ylim=(0, None))
    resume_axes.legend()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, nargs="+", default=[1000, 3000, 10000])
    parser.add_argument("--stored", type=int, nargs="+", default=[10000, 30000, 100000])
    parser.add_argument("-o", "--output", type=Path, help="folder for soak.json and soak.svg")
    parser.add_argument("--soak", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--resume", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.soak or options.resume:
        register()
        work, units = (soak, options.soak) if options.soak else (resume, options.resume)
        print(json.dumps(work(units, options.folder)))
        return
    runs = [measured("soak", units) for units in options.units]
    result = {
        "runs": [{**run, **flatness(run["samples_units_mib_handles"])} for run in runs],
        "resumes": [measured("resume", units) for units in options.stored],
        "python": platform.python_version(),
    }
    for run in result["runs"]:
        print({key: value for key, value in run.items() if not key.startswith("samples")})
    for found in result["resumes"]:
        print(found)
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "soak.json").write_text(json.dumps(result, indent=1) + "\n")
        draw(result, options.output / "soak.svg")


if __name__ == "__main__":
    main()
