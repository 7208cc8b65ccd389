"""The JSON of pytest-benchmark, both ways: step times of a run written in it, and files of it held against another.

A file holds `benchmarks`, each with a full name, a group and `stats` with summary and raw samples in seconds.
"""

from __future__ import annotations

import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from vssbench.analysis.gate import Limits, Verdict, judge_latency
from vssbench.errors import ConfigError, InputError
from vssbench.files import read_json
from vssbench.results.stored import StoredRun

FORMAT = "5.0.0"
"""The version of pytest-benchmark whose fields are written."""


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Benchmarks:
    """Raw samples by full name, and the processor they were taken on."""

    where: str
    """The file, or the run folder."""
    processor: str
    samples_ms: Mapping[str, Sequence[float]]


def of_run(run: StoredRun) -> Benchmarks:
    """Mean step time of every unit, one benchmark per dataset, codec, method and kind of step."""
    samples = {
        f"vssbench::{group.dataset}::{group.codec}::{group.method}::{kind}": values
        for group in run.groups
        for kind, values in sorted(group.unit_step_ms.items())
        if values
    }
    if not samples:
        raise InputError(f"{run.path}: no step time is stored; run it with measure.step_time=true")
    return Benchmarks(str(run.path), " and ".join(run.environment.processors), samples)


def to_document(benchmarks: Benchmarks) -> dict[str, Any]:
    """What pytest-benchmark writes with --benchmark-json; `pytest-benchmark compare` reads it."""
    return {
        "machine_info": {
            "node": "",
            "processor": benchmarks.processor,
            "machine": platform.machine(),
            "system": platform.system(),
            "python_version": platform.python_version(),
            "cpu": {"brand_raw": benchmarks.processor},
        },
        "commit_info": {"id": "", "time": "", "dirty": False, "branch": ""},
        "benchmarks": [
            {
                "group": name.rpartition("::")[0] or None,
                "name": name,
                "fullname": name,
                "params": None,
                "param": None,
                "extra_info": {},
                "options": {},
                "stats": stats_of(values),
            }
            for name, values in benchmarks.samples_ms.items()
        ],
        "datetime": datetime.now(UTC).isoformat(),
        "version": FORMAT,
    }


def stats_of(samples_ms: Sequence[float]) -> dict[str, Any]:
    """The `stats` of one benchmark: seconds; quartiles by linear interpolation, outliers by Tukey's fences."""
    seconds = [float(value) / 1000 for value in samples_ms]
    low, middle, high = (float(q) for q in np.percentile(seconds, (25, 50, 75)))
    fence = 1.5 * (high - low)
    inside = [s for s in seconds if low - fence <= s <= high + fence]
    mean = statistics.fmean(seconds)
    deviation = statistics.stdev(seconds) if len(seconds) > 1 else 0.0
    beyond = sum(abs(s - mean) > deviation for s in seconds)
    outliers = len(seconds) - len(inside)
    return {
        "min": min(seconds),
        "max": max(seconds),
        "mean": mean,
        "stddev": deviation,
        "rounds": len(seconds),
        "median": middle,
        "iqr": high - low,
        "q1": low,
        "q3": high,
        "iqr_outliers": outliers,
        "stddev_outliers": beyond,
        "outliers": f"{beyond};{outliers}",
        "ld15iqr": min(inside),
        "hd15iqr": max(inside),
        "ops": 1 / mean if mean else 0.0,
        "total": sum(seconds),
        "data": seconds,
        "iterations": 1,
    }


def is_benchmark_document(values: Any) -> bool:
    """Whether parsed JSON looks like pytest-benchmark's."""
    return isinstance(values, dict) and "benchmarks" in values and "machine_info" in values


def from_document(values: Mapping[str, Any], where: str) -> Benchmarks:
    """Read pytest-benchmark's JSON. Raises InputError naming the benchmark that lacks its samples."""
    samples: dict[str, list[float]] = {}
    try:
        machine = values["machine_info"]
        cpu = machine.get("cpu") or {}
        processor = str(cpu.get("brand_raw") or machine.get("processor") or machine.get("machine") or "")
        for entry in values["benchmarks"]:
            data = entry["stats"].get("data")
            if data is None:
                raise InputError(
                    f"{where}: benchmark {entry['fullname']} was saved without its samples; write it with "
                    "--benchmark-json, or save it with --benchmark-save-data"
                )
            if not data or not np.isfinite(data).all() or min(data) < 0:
                raise InputError(
                    f"{where}: benchmark {entry['fullname']} holds no samples, NaN or negative ones"
                )
            samples[str(entry["fullname"])] = [1000 * float(value) for value in data]
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise InputError(f"{where}: not pytest-benchmark's JSON ({type(error).__name__}: {error})") from error
    if not samples:
        raise InputError(f"{where}: holds no benchmark; did pytest run any?")
    return Benchmarks(where, processor, samples)


def read_benchmarks(path: Path) -> Benchmarks:
    """Read a file of pytest-benchmark. Raises InputError if it is none or damaged."""
    values = read_json(path, "expected pytest-benchmark's JSON, as --benchmark-json writes it")
    if not is_benchmark_document(values):
        raise InputError(f"{path}: not pytest-benchmark's JSON; write one with --benchmark-json")
    return from_document(values, str(path))


def compare_benchmarks(
    head: Benchmarks, base: Benchmarks, limits: Limits = DEFAULT_LIMITS, *, paired: bool = False
) -> list[Verdict]:
    """Hold every benchmark of `head` against the one of the same name in `base`, by the limits of step times.

    A benchmark that is missing from `head` is a regression, one that `base` lacks is told. Raises ConfigError if they
    share no name, or if paired files come from two processors.
    """
    common = head.samples_ms.keys() & base.samples_ms.keys()
    if not common:
        raise ConfigError(
            f"{head.where} and {base.where} share no benchmark; here for example {min(head.samples_ms)!r}, "
            f"there {min(base.samples_ms)!r}"
        )
    same = head.processor == base.processor and (paired or head.processor != "")
    if paired and head.processor != base.processor:
        raise ConfigError(
            f"{head.where}: unlike {base.where} in machine.processor ({base.processor!r} there, {head.processor!r} here); "
            "--paired is for two measurements of one job on one machine"
        )
    rows = []
    for name, old in base.samples_ms.items():
        key = ("", "", name)
        if name not in common:
            rows.append(
                Verdict(*key, "present", "yes", None, "regression", "the benchmark is missing from this file")
            )
        elif not same:
            where = [one.processor or "an unknown CPU" for one in (base, head)]
            reason = f"measured on {where[0]}, here {where[1]}; measure both in one job"
            rows.append(Verdict(*key, "time_ms", None, None, "skipped", reason))
        else:
            rows.append(judge_latency(key, "time_ms", old, head.samples_ms[name], limits))
    rows += [
        Verdict("", "", name, "present", None, "yes", "skipped", "not in the baseline; update it")
        for name in head.samples_ms
        if name not in common
    ]
    return rows
