"""`vssbench list`: what is registered and packaged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from vssbench.registry import Entry


def list_names(
    kind: Annotated[
        Literal["methods", "datasets", "networks", "experiments", "weights"],
        typer.Argument(help="What to list."),
    ],
    options: Annotated[
        bool, typer.Option("--options", help="Of methods and datasets: every option with its default.")
    ] = False,
) -> None:
    """List methods, datasets, networks, experiments or weights.

    Networks come with their size and cost; experiments and weights are those that ship with the package.
    """
    from rich.console import Console
    from rich.table import Table

    if options:
        _print_options(kind)
        return
    figures = ("M parameters", "GMACs", "origin") if kind == "networks" else ()
    table = Table("name", "what", *figures, box=None, pad_edge=False)
    for row in _entries(kind):
        table.add_row(*row)
    Console().print(table)
    if kind == "networks":
        typer.echo(
            "\nparameters and MACs with 19 classes on a frame of 512x1024, at width 64; '-': does not take these"
        )


def _print_options(kind: str) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from vssbench import registry
    from vssbench.errors import ConfigError
    from vssbench.experiment.keys import rows_of_keys

    if kind not in ("methods", "datasets"):
        raise ConfigError(f"{kind} have no options of their own; --options goes with methods and datasets")
    plug_ins = registry.methods if kind == "methods" else registry.datasets
    for entry in plug_ins.describe():
        table = Table("option", "what it takes", "default", "meaning", box=None, pad_edge=False)
        for row in rows_of_keys(plug_ins.load(entry.name).Options):
            table.add_row(*(escape(text) for text in (row.name, row.kind, row.default, row.description)))
        Console().print(f"[bold]{escape(entry.name)}[/bold]: {escape(entry.summary)}", table, "", sep="\n")


def _entries(kind: str) -> Iterator[tuple[str, ...]] | list[tuple[str, str]]:
    if kind == "experiments":
        return _experiments()
    if kind == "weights":
        return _weights()
    from vssbench import registry

    kinds = {"methods": registry.methods, "datasets": registry.datasets, "networks": registry.networks}
    return (
        (entry.name, kinds[kind].summary(entry), *(_figures(entry) if kind == "networks" else ()))
        for entry in kinds[kind].describe()
    )


def _figures(entry: Entry) -> tuple[str, str, str]:
    """Millions of parameters, GMACs, and the package that brings the network."""
    import torch

    from vssbench.cost import count_macs
    from vssbench.cost.blank import building_on
    from vssbench.networks import create

    try:
        with building_on("meta"):
            network = create(entry.name, 19).eval()
        total = count_macs(network, torch.empty(1, 3, 512, 1024, device="meta")).total
    except Exception:  # a plug-in's network may want another width, or values
        return "-", "-", entry.origin
    return f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f}", f"{total / 1e9:.2f}", entry.origin


def _experiments() -> list[tuple[str, str]]:
    from vssbench.experiment.yaml import packaged_experiments, read_yaml

    return [(name, str(read_yaml(file).get("title", ""))) for name, file in packaged_experiments().items()]


def _weights() -> list[tuple[str, str]]:
    import json
    from importlib.resources import files

    manifest = json.loads((files("vssbench.baselines.weights") / "manifest.json").read_text(encoding="utf-8"))
    known = [
        (
            name,
            "{network} width {width}, {classes} classes; {data}; ".format(**entry)
            + _score(entry["validation"]),
        )
        for name, entry in manifest["weights"].items()
    ]
    aliases = [
        (name, ", ".join(f"{part}: {target}" for part, target in parts.items()))
        for name, parts in manifest["aliases"].items()
    ]
    return sorted(known) + sorted(aliases)


def _score(validation: dict[str, float]) -> str:
    return f"mIoU {100 * validation['miou']:.1f} %"


def print_schema(
    kind: Annotated[
        Literal["run", "train"],
        typer.Argument(help="Experiments for `vssbench run` or for `vssbench train`."),
    ] = "run",
) -> None:
    """Print the JSON Schema of experiment files.

    The options of datasets and methods are left to them; `vssbench list methods --options` prints those.
    """
    from vssbench.experiment.schema import Experiment
    from vssbench.experiment.training import TrainingExperiment

    model = Experiment if kind == "run" else TrainingExperiment
    typer.echo(json.dumps(model.model_json_schema(), indent=2, sort_keys=True))
