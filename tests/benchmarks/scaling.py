"""Scaling efficiency: how much of two cores two workers use. Needs two idle cores; about four minutes.

    python tests/benchmarks/scaling.py -o reports/measurements/soak/scaling.json [--cluster] [--sequences 16]

Efficiency is t1 / (2 t2) over work that has no threads of its own (one torch thread, one encoder thread), for the whole
session with its start-up and for the time between first and last stored unit. Both sides are measured in turn.
Processor seconds are recorded too: on a busy machine they still tell how much work the second worker adds.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"


def experiment(sequences: int) -> dict[str, Any]:
    """Equal jobs of a few seconds: encode, decode and segment one synthetic sequence each."""
    return {
        "title": "scaling",
        "datasets": [{"name": "synthetic", "sequences": sequences, "frames": 25, "size": [192, 320]}],
        "codecs": [{"label": "hevc", "codec": "hevc", "bitrate_kbps": 300, "preset": "medium"}],
        "protocol": {"kind": "stream", "keyframe_interval": 6, "phases": [0, 3]},
        "methods": [
            {"label": "1.0x", "name": "constant", "width": 16},
            {"label": "AR", "name": "ar-seg", "width": 16, "lr_scale": 0.5},
        ],
        "measure": {"macs": False},
        "pictures": {"per_codec": 0},
    }


def timed(sequences: int, workers: int, cluster: bool) -> dict[str, float]:
    """Seconds of one fresh run: from plan to end, and from its first to its last stored unit."""
    import vssbench
    from vssbench.runner.session import Listener

    stored: list[float] = []
    started: list[float] = []
    listener = Listener(
        on_plan=lambda *_: started.append(time.perf_counter()),
        on_unit=lambda: stored.append(time.perf_counter()),
    )
    where: dict[str, Any] = {"cluster": f"local:{workers}"} if cluster else {"workers": workers}
    used = _processor_seconds()
    with tempfile.TemporaryDirectory() as name:
        vssbench.run(
            experiment(sequences), Path(name) / "run", cache=Path(name) / "cache", device="cpu",
            listener=listener, **where,
        )  # fmt: skip
    seconds = {"session": time.perf_counter() - started[0], "steady": stored[-1] - stored[0]}
    return {**seconds, "processor": _processor_seconds() - used}


def _processor_seconds() -> float:
    """Of this process and of the children that have ended."""
    time.sleep(1)  # stopped workers end in this time
    multiprocessing.active_children()  # and are collected here
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--cluster", action="store_true", help="local:1 and local:2 instead of --workers 1 and 2"
    )
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    load = os.getloadavg()
    found: dict[int, list[dict[str, float]]] = {1: [], 2: []}
    timed(1, 1, False)  # imports and the encoder's first start
    for _ in range(options.repeats):
        for workers in (1, 2):
            found[workers].append(timed(options.sequences, workers, options.cluster))
    result: dict[str, Any] = {
        "cluster": options.cluster,
        "sequences": options.sequences,
        "repeats": options.repeats,
        "cores": os.cpu_count(),
        "load_average_before": [round(load, 1) for load in load],
        "system": platform.system(),
    }
    for kind in ("session", "steady", "processor"):
        one, two = (statistics.median(run[kind] for run in found[workers]) for workers in (1, 2))
        result[kind] = {
            "seconds_1": round(one, 2),
            "seconds_2": round(two, 2),
            "efficiency": round(one / two if kind == "processor" else one / (2 * two), 3),
        }
    text = json.dumps(result, indent=1) + "\n"
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
