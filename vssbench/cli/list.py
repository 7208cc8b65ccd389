"""`vssbench list`: what is registered and packaged."""

from __future__ import annotations

from typing import Annotated, Literal

import typer


def list_names(
    kind: Annotated[
        Literal["methods", "datasets", "networks", "experiments", "weights"],
        typer.Argument(help="What to list."),
    ],
    options: Annotated[
        bool, typer.Option("--options", help="Of methods and datasets: every option with its default.")
    ] = False,
) -> None:
    """List methods, datasets, networks, packaged experiments or packaged weights."""
    from rich.console import Console
    from rich.table import Table

    if options:
        _print_options(kind)
        return
    table = Table("name", "what", box=None, pad_edge=False)
    for name, text in _entries(kind):
        table.add_row(name, text)
    Console().print(table)


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


def _entries(kind: str) -> list[tuple[str, str]]:
    if kind == "experiments":
        return _experiments()
    if kind == "weights":
        return _weights()
    from vssbench import registry

    entries = {"methods": registry.methods, "datasets": registry.datasets, "networks": registry.networks}[
        kind
    ].describe()
    return [(e.name, e.summary if e.origin == "vssbench" else f"{e.summary} [{e.origin}]") for e in entries]


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
