"""One training experiment under several seeds: a folder each, the same coded pairs, one summary with intervals.

out/pairs-<digest>/     shared by all seeds
out/seed-<n>/           what a training with one seed writes, weights excepted
out/weights/            NAME-seed<n>.safetensors of every finished seed, one manifest
out/summary.json        mean, deviation and interval over the seeds that are finished
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vssbench.errors import CheckpointError
from vssbench.experiment.training import TrainingExperiment
from vssbench.files import write_atomically
from vssbench.metrics.seeds import over_seeds
from vssbench.training.trainer import Trainer

MakeTrainer = Callable[[TrainingExperiment, Path], Trainer]
"""(experiment of one seed, its folder) -> trainer that keeps pairs and weights in the common folder."""


def seed_folder(folder: Path, seed: int) -> Path:
    """Where the training with `seed` lies below the common folder."""
    return folder / f"seed-{seed}"


def seed_experiment(experiment: TrainingExperiment, seed: int) -> TrainingExperiment:
    """`experiment.for_seed(seed)` whose packaged names tell the seed: those without `{seed}` get '-seed<n>' behind."""
    outputs = tuple(
        output
        if "{seed}" in output.weights
        else output.model_copy(update={"weights": f"{output.weights}-seed{seed}"})
        for output in experiment.outputs
    )
    return experiment.model_copy(update={"outputs": outputs}).for_seed(seed)


def single_trainings(
    experiment: TrainingExperiment, folder: Path, seeds: Sequence[int]
) -> list[tuple[TrainingExperiment, Path]]:
    """The experiment of each seed and its folder; without seeds the experiment's own."""
    if not seeds:
        return [(experiment.for_seed(experiment.seed), folder)]
    return [(seed_experiment(experiment, seed), seed_folder(folder, seed)) for seed in seeds]


def train_seeds(
    experiment: TrainingExperiment,
    folder: Path,
    seeds: Sequence[int],
    make_trainer: MakeTrainer,
    *,
    only: Sequence[str] = (),
) -> dict[str, Any]:
    """Train `seeds` one after another and return the summary over every finished seed in `folder`.

    Processes with other seeds may work in the same folder at the same time. Raises as `Trainer.run`.
    """
    for seed in seeds:
        trainer = make_trainer(seed_experiment(experiment, seed), seed_folder(folder, seed))
        trainer.run(only)
        trainer.processes.wait()
    summary = summarise_seeds(experiment, folder)
    if trainer.processes.rank == 0:
        write_atomically(folder / "summary.json", json.dumps(summary, indent=1).encode())
    return summary


def summarise_seeds(experiment: TrainingExperiment, folder: Path) -> dict[str, Any]:
    """Scores of every contestant over the seeds whose summary lies below `folder`, with intervals.

    Raises CheckpointError if a seed was trained by another version of the experiment.
    """
    found = {}
    for path in sorted(folder.glob("seed-*/summary.json"), key=lambda p: int(p.parent.name[5:])):
        seed = int(path.parent.name.removeprefix("seed-"))
        summary = json.loads(path.read_text(encoding="utf-8"))
        wanted = experiment.for_seed(seed).digest()
        if summary["digest"] != wanted:
            raise CheckpointError(
                f"{path}: belongs to experiment {summary['digest']}, expected {wanted}; the experiment changed "
                f"since: delete {path.parent} or choose another output folder with -o"
            )
        found[seed] = summary
    labels = dict.fromkeys(label for summary in found.values() for label in summary["contestants"])
    return {
        "experiment": experiment.name,
        "seeds": list(found),
        "data_digest": sorted({summary["data_digest"] for summary in found.values()}),
        "interval": "95 % Student's t over seeds: the randomness of training, not the choice of frames",
        "environment": next((summary["environment"] for summary in found.values()), {}),
        "contestants": {label: _row(label, found) for label in labels},
    }


def _row(label: str, found: dict[int, dict[str, Any]]) -> dict[str, Any]:
    rows = {seed: s["contestants"][label] for seed, s in found.items() if label in s["contestants"]}
    finals = [row["final"] for row in rows.values()]
    if any(final.keys() != finals[0].keys() for final in finals):
        raise CheckpointError(
            f"{label}: the closing validation of seeds {sorted(rows)} scored other distances; run all of them again to "
            "score them alike (nothing is trained again)"
        )
    return {
        "seeds": list(rows),
        "final": {key: _interval([final[key] for final in finals]) for key in finals[0]},
        "still_improving": [seed for seed, row in rows.items() if row.get("still_improving")],
        "steps": next(iter(rows.values())).get("steps"),
    }


def _interval(values: list[float]) -> dict[str, Any]:
    found = over_seeds(values)
    ends = {} if found.seeds == 1 else {"deviation": found.deviation, "low": found.low, "high": found.high}
    return {"mean": found.mean, **ends, "values": values}
