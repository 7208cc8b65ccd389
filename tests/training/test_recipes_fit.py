"""Weights that a training recipe writes fit the methods of the run recipes beside it, without training anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from vssbench.cost.blank import building_on
from vssbench.experiment.schema import load_experiment
from vssbench.experiment.training import OutputSection, TrainingExperiment, load_training_experiment
from vssbench.experiment.validation import validate
from vssbench.method import BuildContext
from vssbench.networks.weights import training_only_prefixes
from vssbench.registry import methods

EXPERIMENTS = Path(__file__).parents[2] / "reports" / "experiments"
CONTEXT = BuildContext(11, (360, 480), 12, torch.device("meta"))
RUNS = [
    path
    for folder in ("table2_synthetic", "table2_camvid", "streets_bise18", "streets_psp18", "camvid_alphas")
    for path in sorted((EXPERIMENTS / folder).glob("*.yaml"))
    if not path.name.startswith("train")
]

Shapes = dict[str, tuple[int, ...]]


def shapes(method: str, options: dict[str, object], part: str) -> Shapes:
    """Tensors of a part that a weight file must hold."""
    method_class = methods.load(method)
    checked = validate(method_class.Options, options, where=method)
    with building_on(CONTEXT.device):
        module = method_class(checked, CONTEXT).parts()[part]
    optional = tuple(training_only_prefixes(module))
    return {
        name: tuple(value.shape)
        for name, value in module.state_dict().items()
        if not (optional and name.startswith(optional))
    }


def written(experiment: TrainingExperiment, output: OutputSection) -> Shapes:
    label, _, part = output.source.split("/")
    contestant = next(c for c in experiment.contestants if c.label == label)
    left_out = tuple(f"{name}." for name in output.leave_out)
    found = shapes(contestant.name, contestant.options, part)
    return {name: shape for name, shape in found.items() if not (left_out and name.startswith(left_out))}


def outputs_of(path: Path) -> dict[str, Shapes]:
    """Weight file, without folder and suffix, to what a training recipe writes there; of several seeds the first."""
    training = load_training_experiment(str(path))
    seed = training.seeds[0] if training.seeds else training.seed
    single = training.for_seed(seed)
    return {
        output.weights
        if str(seed) in output.weights or not training.seeds
        else f"{output.weights}-seed{seed}": written(single, output)
        for output in single.outputs
    }


@pytest.mark.parametrize("path", RUNS, ids=[f"{p.parent.name}/{p.name}" for p in RUNS])
def test_weights_of_the_training_fit_the_run(path: Path) -> None:
    outputs = {
        k: v for recipe in sorted(path.parent.glob("train*.yaml")) for k, v in outputs_of(recipe).items()
    }
    looked_at = set()
    for spec in load_experiment(str(path)).methods:
        options = dict(spec.option_values)
        for part, source in dict(options.pop("weights", {})).items():
            name = os.fspath(source).partition("/weights/")[2].removesuffix(".safetensors")
            if name in outputs:
                looked_at.add(name)
                assert shapes(spec.name, options, part) == outputs[name], (spec.title, part)
    assert len(looked_at) >= 5
