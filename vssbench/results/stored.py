"""What a run folder holds, written when a run starts and read once: its documents, and its cases summed by dataset, codec and method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from vssbench.errors import InputError
from vssbench.experiment.schema import Experiment
from vssbench.results.basis import Basis, make_basis
from vssbench.results.costs import CostRecord, read_costs, read_source_costs
from vssbench.results.documents import (
    EXPERIMENT_FILE,
    DatasetRecord,
    DatasetRecords,
    EnvironmentRecord,
    FrozenExperiment,
    PlanSummary,
)
from vssbench.results.frames import FrameCase, read_frames
from vssbench.results.gather import gather_all
from vssbench.results.group import Group
from vssbench.results.roster import ROSTER_FILE, Roster, read_roster
from vssbench.results.schema import UnitRecord
from vssbench.results.store import RunFolder

ENVIRONMENT_FILE, PLAN_FILE, DATASETS_FILE = "environment.json", "plan.json", "datasets.json"


@dataclass(eq=False)
class StoredRun:
    """Everything in one run folder. What follows from it is `vssbench.analysis`."""

    folder: RunFolder
    roster: Roster
    """Who takes part, from the validated experiment: what is compared goes by this."""
    experiment: dict[str, Any]
    """The frozen experiment as it was given, for provenance alone."""
    environment: EnvironmentRecord
    datasets: dict[str, DatasetRecord]
    """By title."""
    plan: PlanSummary
    basis: Basis
    """What the records must belong to."""
    costs: dict[tuple[str, str], CostRecord]
    """(dataset, method) -> MACs under all settings that encode; absent where none were counted."""
    source_costs: dict[tuple[str, str, str], CostRecord]
    """(dataset, method, codec) -> MACs on streams as they are."""
    helper: Executor | None = None
    """Processes that read part of a large run (results/helper_processes.py)."""

    @classmethod
    def read(cls, path: Path, helper: Executor | None = None) -> Self:
        """Open a run folder. Raises InputError if it is none, or if files are damaged."""
        folder = RunFolder(path)
        if not (path / EXPERIMENT_FILE).exists():
            raise InputError(
                f"{path}: not a vssbench run folder (no experiment.json); `vssbench run` makes one"
            )
        roster = read_roster(folder)
        environment = folder.read_record(ENVIRONMENT_FILE, EnvironmentRecord)
        datasets = folder.read_record(DATASETS_FILE, DatasetRecords).datasets
        _require_same_titles(folder, roster, datasets)
        basis = make_basis(roster, datasets, environment.all_bits)
        return cls(
            folder=folder,
            roster=roster,
            experiment=folder.read_record(
                EXPERIMENT_FILE, FrozenExperiment, (basis.experiment,)
            ).model_dump(),
            environment=environment,
            datasets=datasets,
            plan=folder.read_record(PLAN_FILE, PlanSummary, (basis.of_run,)),
            basis=basis,
            costs=read_costs(folder, basis),
            source_costs=read_source_costs(folder, basis),
            helper=helper,
        )

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.folder.path

    @property
    def title(self) -> str:
        """The experiment's title, or the folder's name where it has none."""
        return self.roster.title or self.path.name

    def units(self) -> Iterator[UnitRecord]:
        """All stored units, read from disk one by one."""
        return self.folder.units(self.basis.of_unit)

    @cached_property
    def groups(self) -> list[Group]:
        """Cases summed by (dataset, codec, method), in the order of the experiment."""
        found = gather_all(self.folder, self.basis, self.helper)
        return [found[key] for key in self.roster.combinations() if key in found]

    @cached_property
    def kept_frames(self) -> tuple[list[FrameCase], list[str]]:
        """The frames that were kept to look at, and what is wrong with archives that are left out."""
        return read_frames(self.path, self.basis, self.roster.method_titles)

    def cost(self, dataset: str, method: str, codec: str = "") -> CostRecord | None:
        """MACs of a method under a codec setting, by default one that encodes; None where none were counted."""
        return self.source_costs.get((dataset, method, codec)) or self.costs.get((dataset, method))

    @property
    def all_costs(self) -> list[CostRecord]:
        """Every cost that was counted."""
        return [*self.costs.values(), *self.source_costs.values()]

    def gmacs(self, dataset: str, method: str, codec: str = "") -> float:
        """GOP mean in 1e9 MACs per frame, see `cost`; NaN where none were counted."""
        cost = self.cost(dataset, method, codec)
        return float("nan") if cost is None else cost.gop_mean_gmacs

    def pictures_per_keyframe(self, group: Group) -> float:
        """L of what is encoded; of a stream as it is the mean over the groups of pictures that were run."""
        if self.roster.codec(group.dataset, group.codec).settings.codec == "source":
            return group.pictures_per_keyframe
        return self.roster.protocol.keyframe_interval

    @property
    def unit_count(self) -> int:
        """Stored units."""
        return sum(group.units for group in self.groups)

    @property
    def complete(self) -> bool:
        """True when every planned unit is stored."""
        return self.unit_count == self.plan.units


def write_start(
    folder: RunFolder,
    experiment: Experiment,
    roster: Roster,
    plan: PlanSummary,
    datasets: Mapping[str, DatasetRecord],
    environment: EnvironmentRecord,
) -> Basis:
    """Store what is known of a run when it starts; what its records will belong to. datasets: by title.

    Raises StorageError.
    """
    basis = make_basis(roster, datasets, environment.all_bits)
    folder.write_record(EXPERIMENT_FILE, FrozenExperiment(**experiment.canonical()), basis.experiment)
    folder.write_record(ROSTER_FILE, roster)
    folder.write_record(ENVIRONMENT_FILE, environment)
    folder.write_record(PLAN_FILE, plan, basis.of_run)
    folder.write_record(DATASETS_FILE, DatasetRecords(datasets=dict(datasets)))
    return basis


def _require_same_titles(folder: RunFolder, roster: Roster, datasets: Mapping[str, DatasetRecord]) -> None:
    named = [entry.title for entry in roster.datasets]
    if sorted(named) != sorted(datasets):
        raise InputError(
            f"{folder.path}: roster.json and datasets.json are of different runs ({sorted(named)} and {sorted(datasets)}); "
            "`vssbench run` writes both anew"
        )
