"""How many times faster AR-Seg's frames are than full resolution on the CPU, at full width and at slim widths.

    python tests/benchmarks/full_width.py -o reports/measurements/benchmarks/full_width.json [--threads 2] [--rounds 5]

One keyframe and one non-keyframe of each method are timed in turns (wall clock, so the machine should be quiet; the
load beside the run is written down). GOP mean = (key + 11 non-key) / 12. Networks are untrained: their speed is the same.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from vssbench.cost.latency import compare_latency, describe_device
from vssbench.engine.build import build_method
from vssbench.engine.memory import keep_freed_memory
from vssbench.experiment.schema import MethodSpec
from vssbench.method import BuildContext, Frame

INTERVAL = 12
CPU = torch.device("cpu")
CASES: tuple[tuple[str, int, tuple[int, int]], ...] = (
    ("pspnet18-camvid", 64, (720, 960)),
    ("bisenet18", 32, (360, 480)),
    ("bisenet18", 16, (360, 480)),
    ("bisenet18", 12, (360, 480)),
    ("bisenet18", 8, (360, 480)),
)


def steps(network: str, width: int, size: tuple[int, int]) -> dict[str, Callable[[], object]]:
    """Steps of constant 1.0x and of both frame kinds of AR0.5 on one random frame."""
    image = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8)
    flow = torch.randint(-20, 21, (1, 2, *size)).float()
    key, between = Frame(0, 0, image, "I", size), Frame(1, 1, image, "P", size, flow_key=flow)
    context = BuildContext(12, size, INTERVAL, CPU)
    constant, ar = (
        build_method(MethodSpec.model_validate({"network": network, "width": width, **values}), context)
        for values in ({"name": "constant"}, {"name": "ar-seg", "lr_scale": 0.5})
    )
    states = constant.start(1), ar.start(1)
    return {
        "1.0x": lambda: constant.step(states[0], key),
        "AR0.5 key": lambda: ar.step(states[1], key),
        "AR0.5 non-key": lambda: ar.step(states[1], between),
    }


def measure(network: str, width: int, size: tuple[int, int], rounds: int) -> dict[str, Any]:
    """One case: medians, and how many times faster a GOP of AR0.5 is."""
    with torch.inference_mode():
        timed = compare_latency(steps(network, width, size), CPU, warmup=1, repeats=rounds, min_seconds=2.0)
    full, key, between = (one.median_ms for one in timed.results.values())
    return {
        "network": network,
        "width": width,
        "size": list(size),
        "median_ms": {name: round(one.median_ms, 1) for name, one in timed.results.items()},
        "quartiles_ms": {
            name: [round(one.quartile_low_ms, 1), round(one.quartile_high_ms, 1)]
            for name, one in timed.results.items()
        },
        "n": next(iter(timed.results.values())).n,
        "non_key_over_key": round(between / key, 3),
        "gop_times_faster": round(INTERVAL * full / (key + (INTERVAL - 1) * between), 3),
    }


def main() -> None:
    """Measure all cases and write JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of torch (default: 2)")
    parser.add_argument("--rounds", type=int, default=5, help="timed turns of each step (default: 5)")
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    load_before = os.getloadavg()[0]
    results = []
    for case in CASES:
        results.append(measure(*case, options.rounds))
        print(json.dumps(results[-1]), flush=True)
    document = {
        "device": describe_device(CPU),
        "torch": str(torch.__version__),
        "load_before": round(load_before, 2),
        "keyframe_interval": INTERVAL,
        "cases": results,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
