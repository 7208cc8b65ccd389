"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from vssbench.analysis.run import Run, load_run
from vssbench.dataset import Dataset, Split, VideoSequence
from vssbench.engine.data_digests import FileDigests
from vssbench.experiment.schema import Experiment, load_experiment
from vssbench.records import ClassTable, Finding, HostConditions
from vssbench.results.costs import CostRecord, cost_path
from vssbench.results.documents import EnvironmentRecord, PlanSummary, describe_dataset
from vssbench.results.latency_records import LatencyRecord, latency_path
from vssbench.results.roster import make_roster
from vssbench.results.schema import UnitRecord
from vssbench.results.store import RunFolder
from vssbench.results.stored import write_start

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"

settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
settings.load_profile("fixed")  # the same examples everywhere; --hypothesis-profile=default draws new ones

LONGEST_FIRST = (
    "test_documentation.py",
    "test_quickstart.py",
    "faults/test_faults.py",
    "rendering/test_report.py",
    "runner/test_cluster.py",
    "cli/test_bad_input.py",
    "runner/test_run.py",
    "analysis/test_paper_costs.py",
    "faults/test_bad_input_table.py",
    "test_tutorial.py",
    "fuzz/motion/test_fuzz_motion.py",
    "rendering/page/test_browser.py",
    "baselines/test_tdnet.py",
)
"""Files of ten seconds and more: two workers that share out files end together only if the long ones do not come last."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long files; the order inside a file, and of all others, stays."""
    place = {Path(__file__).parent / name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The research data beside the repository; skips where it is absent."""
    if not (SHARED / "data").is_dir():
        if "shared" in os.environ.get("VSSBENCH_REQUIRE", ""):
            pytest.fail("VSSBENCH_REQUIRE names shared, but ../shared/data is absent")
        pytest.skip("needs the research data in ../shared")
    return SHARED


@pytest.fixture(scope="session")
def cuda() -> str:
    """A CUDA device; skips where there is none."""
    import torch

    if not torch.cuda.is_available():
        if "cuda" in os.environ.get("VSSBENCH_REQUIRE", ""):
            pytest.fail("VSSBENCH_REQUIRE names cuda, but torch finds no CUDA device")
        pytest.skip("needs a CUDA device")
    return "cuda"


TWO_CLASSES = ClassTable(("a", "b"), ((0, 0, 0), (9, 9, 9)))


class Fabricated(Dataset):
    """A dataset without pictures: classes and sequences of which a fabricated run tells."""

    def __init__(
        self, classes: ClassTable, sequences: Mapping[str, tuple[int, int]], protocol_mark: str
    ) -> None:
        self.classes, self.protocol_mark = classes, protocol_mark
        self._sequences = [_Take(name, *counts) for name, counts in sequences.items()]

    def sequences(self, split: Split = "val") -> Sequence[VideoSequence]:
        return self._sequences

    def verify(self, split: Split | None = None) -> Iterator[Finding]:
        yield from ()


class _Take(VideoSequence):
    frame_rate_hz = 30.0
    size = (144, 192)

    def __init__(self, name: str, frames: int, labelled: int) -> None:
        self.name, self._frames, self._labelled = name, frames, labelled

    def __len__(self) -> int:
        return self._frames

    @property
    def labelled(self) -> Sequence[int]:
        return range(self._labelled)

    def image(self, index: int) -> Any:
        raise NotImplementedError

    def label(self, index: int) -> Any:
        raise NotImplementedError

    def label_files(self) -> Sequence[Path]:
        return ()

    @property
    def identity(self) -> str:
        return self.name


def environment_of(
    experiment: Experiment, processor: str, forced: Sequence[Sequence[str]]
) -> EnvironmentRecord:
    """What a session writes of this machine, as if it had that processor."""
    import torch

    from vssbench.runner.environment import describe

    found = describe(experiment, torch.device("cpu"), 1)
    return EnvironmentRecord.model_validate(
        {**found, "machine": {**found["machine"], "processor": processor}, "forced": forced}
    )


def fabricate_run(
    path: Path,
    experiment: Mapping[str, Any],
    units: Iterable[UnitRecord] = (),
    *,
    gmacs: Mapping[str, float | tuple[float, float]] | None = None,
    classes: ClassTable = TWO_CLASSES,
    sequences: Mapping[str, tuple[int, int]] | None = None,
    planned: int | None = None,
    processor: str = "a processor",
    protocol_mark: str = "",
    forced: Sequence[Sequence[str]] = (),
) -> Run:
    """A run folder of given units, every file in it written by the product's own writers.

    experiment: as its YAML would say. gmacs: method title -> GOP mean, or key and non-key cost. sequences: name -> frames
    and labelled frames; default: 24 each of those that the units name. planned: units of the plan; default: as many as are given.
    """
    frozen = load_experiment(experiment)
    folder, records = RunFolder(path), list(units)
    named = {record.key.sequence: (24, 24) for record in records} or {"street": (24, 24)}
    basis = write_start(
        folder,
        frozen,
        make_roster(frozen),
        PlanSummary(
            jobs=1, units=len(records) if planned is None else planned, cases=1, encodes=1, encoded_frames=1
        ),
        {
            entry.title: describe_dataset(made, made.sequences(), FileDigests(path))
            for entry in frozen.datasets
            for made in [Fabricated(classes, sequences or named, protocol_mark)]
        },
        environment_of(frozen, processor, forced),
    )
    for record in records:
        folder.write_unit(replace(record, belongs=basis.of_unit(record.key)[-1]))
    interval = frozen.protocol.keyframe_interval
    for dataset in frozen.datasets:
        for title, given in (gmacs or {}).items():
            key, other = given if isinstance(given, tuple) else (given, given)
            cost = CostRecord(
                dataset=dataset.title, method=title, size=(144, 192), delay_frames=0, keyframe_interval=interval,
                key_gmacs=key, non_key_gmacs=other, gop_mean_gmacs=(key + (interval - 1) * other) / interval,
            )  # fmt: skip
            folder.write_record(cost_path(dataset.title, title), cost, basis.of_dataset(dataset.title)[-1])
    return load_run(path)


@pytest.fixture(scope="session")
def fabricated() -> Callable[..., Run]:
    """`fabricate_run`."""
    return fabricate_run


@pytest.fixture(scope="session")
def write_latency() -> Callable[..., None]:
    """Callable that stores what a stopwatch would: `ms` per frame, of a series that is stable or drifts."""
    from vssbench.cost.latency import LatencyResult

    def write(
        run: Run, method: str, *, ms: float = 10.0, stable: bool = True, device: str = "a GPU",
        waterfall: Mapping[str, Mapping[str, float]] | None = None, host: HostConditions | None = None,
    ) -> None:  # fmt: skip
        samples = tuple(ms * (1.0 if stable else 1 + 0.5 * (i - 5) / 5) for i in range(11))
        series = LatencyResult(device, ms, samples).as_dict()
        (dataset,), (codec, *_) = run.roster.datasets, run.roster.codecs
        record = LatencyRecord.model_validate(
            {
                "dataset": dataset.title, "codec": codec.title, "method": method, "size": (144, 192),
                "keyframe_interval": 12, "device": device, "torch": "2", "inference": {},
                "frame_kinds": {"key": series}, "gop_mean": series, "host": host, "worst_frame_ms": ms,
                "times_faster_than": {"method": method, "quartiles": (1.0, 1.0, 1.0)},
                "throughput": {"batch": 1, "frames_per_second": 1000 / ms},
                "waterfall": {
                    kind: {stage: {"median_ms": v} for stage, v in held.items()}
                    for kind, held in (waterfall or {}).items()
                },
                "energy_j_per_frame": None, "effects": (),
            }
        )  # fmt: skip
        run.folder.write_record(
            latency_path(dataset.title, method), record, run.basis.of_dataset(dataset.title)[-1]
        )

    return write
