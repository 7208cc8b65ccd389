"""`vssbench schema`: what experiment files may hold, for editors that check YAML as it is written."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer


def print_schema(
    kind: Annotated[
        Literal["run", "train"],
        typer.Argument(help="Experiments for `vssbench run` or for `vssbench train`."),
    ] = "run",
) -> None:
    """Print the JSON Schema of experiment files. The options of datasets and methods are left to them."""
    from vssbench.experiment.schema import Experiment
    from vssbench.experiment.training import TrainingExperiment

    model = Experiment if kind == "run" else TrainingExperiment
    typer.echo(json.dumps(model.model_json_schema(), indent=2, sort_keys=True))
