"""Weights that leave an experiment, with a manifest that says where they come from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vssbench.dataset import Dataset
from vssbench.errors import CheckpointError, ConfigError
from vssbench.experiment.training import ContestantSection, OutputSection, TrainingExperiment
from vssbench.files import digest_file, locked, write_atomically
from vssbench.method import Method
from vssbench.networks.weights import WeightsMetadata, find_network, save_weights
from vssbench.registry import nearest
from vssbench.training.checkpoint import load_checkpoint, restore


def write_weights(
    experiment: TrainingExperiment,
    folder: Path,
    common: Path,
    dataset: Dataset,
    build: Callable[[ContestantSection], Method],
    summary: dict[str, Any],
) -> None:
    """Save every output of the experiment below common/weights, without heads that only training uses.

    The manifest there keeps entries of other names (other seeds of the experiment).
    """
    entries: dict[str, Any] = {}
    for output in experiment.outputs:
        label, stage, part = output.source.split("/")
        contestant = next(c for c in experiment.contestants if c.label == label)
        method = build(contestant)
        path = folder / label / stage / f"{contestant.stages[stage].checkpoint}.pt"
        state = load_checkpoint(path, experiment=experiment.digest(label), stage=f"{label}/{stage}")
        weights = (state["average"] or state["parts"])[part]
        restore({part: method.parts()[part]}, {part: weights}, path)
        entries[output.weights] = _write(experiment, common, dataset, method, output, summary)
    if entries:
        manifest = common / "weights" / "manifest.json"
        with locked(manifest.with_name(".lock")):
            before = json.loads(manifest.read_text(encoding="utf-8"))["weights"] if manifest.exists() else {}
            document = {"schema": 1, "weights": {**before, **entries}}
            write_atomically(manifest, json.dumps(document, indent=1, sort_keys=True).encode())


def require_outputs(experiment: TrainingExperiment, contestant: ContestantSection, method: Method) -> None:
    """Raise ConfigError if an output's stage does not train its part, or the part holds no network to describe or lacks
    a module to leave out.

    To be asked before training.
    """
    trained = {stage.name: stage.parts for stage in method.stages()}
    for output in experiment.outputs:
        label, stage, part = output.source.split("/")
        if label != contestant.label:
            continue
        if part not in trained[stage]:
            raise ConfigError(
                f"outputs.{output.weights}.source: stage {stage!r} of {label!r} trains no part {part!r}; "
                f"{nearest(part, list(trained[stage]))}"
            )
        try:
            find_network(method.parts()[part])
        except CheckpointError as error:
            raise ConfigError(
                f"outputs.{output.weights}.source: {output.source}: {error}, and weights without a description cannot be "
                "stored; derive a module of the part from vssbench.networks.DescribedNetwork (its name, width and classes), "
                "or remove the output"
            ) from error
        modules = [name for name, _ in method.parts()[part].named_modules() if name]
        for name in output.leave_out:
            if name not in modules:
                raise ConfigError(
                    f"outputs.{output.weights}.leave_out: {output.source} has no module {name!r}; "
                    f"{nearest(name, [module for module in modules if '.' not in module])}"
                )


def _write(
    experiment: TrainingExperiment,
    folder: Path,
    dataset: Dataset,
    method: Method,
    output: OutputSection,
    summary: dict[str, Any],
) -> dict[str, Any]:
    label, _, part = output.source.split("/")
    module = method.parts()[part]
    own = next(c.seed for c in experiment.contestants if c.label == label)
    seed = experiment.seed if own is None else own
    final = summary["contestants"].get(label, {}).get("final", {})
    metadata = WeightsMetadata.describing(
        module,
        class_names=dataset.classes.names,
        experiment=f"{experiment.name} {experiment.digest()}",
        seed=seed,
        metrics={key: float(value) for key, value in final.items()},
        notes=output.source,
        data=f"{experiment.dataset.name}, {experiment.pairs.split}",
        normalisation=method.normalisation,
        size=dataset.sequences(experiment.pairs.split)[0].size,
        lr_scale=method.lr_scale_of(part),
    )
    path = folder / "weights" / f"{output.weights}.safetensors"
    save_weights(module, path, metadata, dtype=output.dtype, training_heads=False, leave_out=output.leave_out)
    return {
        "file": f"{output.weights}.safetensors",
        "sha256": digest_file(path),
        "bytes": path.stat().st_size,
        "network": metadata.network,
        "width": metadata.width,
        "classes": metadata.classes,
        "data": metadata.data,
        "dtype": output.dtype,
        "experiment": experiment.name,
        "experiment_digest": experiment.digest(),
        "data_digest": summary["data_digest"],
        "source": output.source,
        "seed": seed,
        "validation": final,
    }
