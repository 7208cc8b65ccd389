"""`vssbench profile`: what a frame costs, by module, and beside the paper's figures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from vssbench.analysis.paper_costs import CostRow
    from vssbench.cost.cross_check import ToolCount
    from vssbench.cost.steps import MethodCost
    from vssbench.experiment.schema import DatasetSpec, MethodSpec
    from vssbench.method import Method

PAPER_PREFIX = "ar-seg/"
DEFAULT_SIZE = "720x960"
DEFAULT_CLASSES = 12
DEFAULT_INTERVAL = 12


def profile(
    target: Annotated[
        str,
        typer.Argument(
            help="ar-seg/table1 ... table5, a registered method, a packaged experiment or a YAML file."
        ),
    ],
    json_: Annotated[
        str | None,
        typer.Option("--json", metavar="FILE", help="Write the rows as JSON; - for standard output."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Option of the method or key of the experiment."),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="HxW", help=f"Frame size; default {DEFAULT_SIZE}, of an experiment its datasets' own."
        ),
    ] = None,
    classes: Annotated[
        int | None,
        typer.Option(min=2, help=f"Classes; default {DEFAULT_CLASSES}, of an experiment its datasets' own."),
    ] = None,
    keyframe_interval: Annotated[
        int | None, typer.Option(min=1, help=f"L; default {DEFAULT_INTERVAL}, of an experiment its own.")
    ] = None,
    depth: Annotated[int, typer.Option(min=1, help="Module levels shown.")] = 2,
    cross_check: Annotated[
        bool,
        typer.Option("--cross-check", help="Also count with installed thop, ptflops and torch's counter."),
    ] = False,
) -> None:
    """Count multiply-accumulates (MACs) without computing anything.

    A method: key frame, non-key frame and GOP mean, by module; weights that it names must fit, as in a run. A table of
    the paper: published, by the paper's counter (thop 0.0.31), and exact.
    """
    from vssbench.registry import methods

    overrides = tuple(set_ or ())
    task = _Task(parse_size(size) if size else None, classes, keyframe_interval)
    if _is_paper_table(target):
        _refuse_options(target, size=size, classes=classes, keyframe_interval=keyframe_interval, set=set_)
        _paper_table(target.removeprefix(PAPER_PREFIX), json_, cross_check)
    elif target in methods.names():
        _methods([_of_method(target, overrides, task)], json_, depth, cross_check)
    else:
        _methods(list(_of_experiment(target, overrides, task)), json_, depth, cross_check)


@dataclass(frozen=True, slots=True)
class _Task:
    """What was asked for on the command line; None takes the default or the experiment's own."""

    size: tuple[int, int] | None
    classes: int | None
    keyframe_interval: int | None


def parse_size(text: str) -> tuple[int, int]:
    """'720x960' -> (720, 960). Raises ConfigError."""
    from vssbench.errors import ConfigError

    height, separator, width = text.partition("x")
    if not (separator and height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise ConfigError(f"--size {text!r}: expected height x width such as {DEFAULT_SIZE}")
    return int(height), int(width)


def _is_paper_table(target: str) -> bool:
    from vssbench.analysis.paper_costs import COST_TABLES

    return target.startswith(PAPER_PREFIX) and target.removeprefix(PAPER_PREFIX) in COST_TABLES


def _refuse_options(target: str, **given: object) -> None:
    """A table of the paper fixes its own settings; silently ignoring others would mislead."""
    from vssbench.errors import ConfigError

    named = [f"--{name.replace('_', '-')}" for name, value in given.items() if value]
    if named:
        raise ConfigError(
            f"{target} has the paper's settings; {', '.join(named)} would change them: profile a method instead"
        )


def method_spec(name: str, overrides: Sequence[str]) -> MethodSpec:
    """The registered method `name` with options of the command line. Raises ConfigError."""
    from vssbench.experiment.overrides import apply_override
    from vssbench.experiment.schema import MethodSpec, complete_options
    from vssbench.experiment.validation import validate
    from vssbench.experiment.yaml import Keys
    from vssbench.registry import methods

    values = Keys({"name": name})
    for override in overrides:
        apply_override(values, override.removeprefix("method."))
    where = f"method {name}"
    return complete_options(validate(MethodSpec, values, where=where), methods, values, (), where)


def _of_method(name: str, overrides: Sequence[str], task: _Task) -> tuple[str, Method]:
    spec = method_spec(name, overrides)
    frames = _Frames(task.size or parse_size(DEFAULT_SIZE), task.classes or DEFAULT_CLASSES)
    return spec.title, _build(spec, frames, task.keyframe_interval or DEFAULT_INTERVAL)


@dataclass(frozen=True, slots=True)
class _Frames:
    """What a method is built for."""

    size: tuple[int, int]
    classes: int
    class_names: tuple[str, ...] = ()


def _build(spec: MethodSpec, frames: _Frames, keyframe_interval: int) -> Method:
    """The method on torch's meta device: its weights are looked at, as in a run, and take no part in counting."""
    import torch

    from vssbench.engine.build import trained_method
    from vssbench.method import BuildContext

    context = BuildContext(frames.classes, frames.size, keyframe_interval, torch.device("meta"))
    return trained_method(
        spec.name, spec.options(), context, title=spec.title, class_names=frames.class_names
    )


def _of_experiment(target: str, overrides: Sequence[str], task: _Task) -> Iterable[tuple[str, Method]]:
    """Every method of an experiment, for each of its datasets."""
    from vssbench.errors import ConfigError
    from vssbench.experiment.schema import load_experiment
    from vssbench.experiment.yaml import packaged_experiments
    from vssbench.registry import methods, nearest

    if target not in packaged_experiments() and not Path(target).suffix and not Path(target).exists():
        known = [*methods.names(), *packaged_experiments()]
        raise ConfigError(f"{target!r} is neither a method nor an experiment; {nearest(target, known)}")
    experiment = load_experiment(target, overrides)
    interval = task.keyframe_interval or experiment.protocol.keyframe_interval
    for entry in experiment.datasets:
        frames = _frames_of(entry, task)
        specs = [
            spec for codec in experiment.codecs_of(entry) for spec in experiment.methods_on(entry, codec)
        ]
        for title, spec in {spec.title: spec for spec in specs}.items():
            yield f"{entry.title}: {title}", _build(spec, frames, interval)


def _frames_of(entry: DatasetSpec, task: _Task) -> _Frames:
    """Frame size and classes of a dataset, read from it unless both were given."""
    from vssbench.errors import InputError
    from vssbench.registry import datasets

    if task.size is not None and task.classes is not None:
        return _Frames(task.size, task.classes)
    try:
        dataset = datasets.load(entry.name)(entry.options())
        size = task.size or dataset.sequences(entry.split)[0].size
    except InputError as error:
        raise InputError(f"{error}; --size and --classes together profile without the dataset") from error
    if task.classes is not None:
        return _Frames(size, task.classes)
    return _Frames(size, len(dataset.classes), dataset.classes.names)


def _methods(built: Sequence[tuple[str, Method]], json_: str | None, depth: int, cross_check: bool) -> None:
    from vssbench.cost.cross_check import cross_check as check
    from vssbench.cost.steps import count_method_macs

    rows: list[dict[str, Any]] = []
    for title, method in built:
        cost = count_method_macs(method)
        counts = check(method, cost) if cross_check else {}
        rows.append(
            {"method": title, "classes": method.context.classes, **cost.as_dict(), **_tool_figures(counts)}
        )
        if json_ != "-":
            _print_method(title, method, cost, counts, depth)
    _write_json(rows, json_)


def _print_method(
    title: str, method: Method, cost: MethodCost, counts: dict[str, ToolCount], depth: int
) -> None:
    from rich.table import Table

    from vssbench.cost.cross_check import explain

    height, width = cost.size
    table = Table("module", box=None, pad_edge=False, title=None)
    ledgers = cost.ledgers
    steps = cost.step_counts
    for kind in ledgers:
        table.add_column(f"{kind} GMACs", justify="right")
    parts = {kind: ledger.per_part(depth) for kind, ledger in ledgers.items()}
    for module in dict.fromkeys(name for modules in parts.values() for name in modules):
        cells = [_number(parts[kind].get(module, 0) / steps[kind] / 1e9) for kind in ledgers]
        table.add_row(module or "(outside modules)", *cells)
    table.add_row(
        "total", *(_number(ledger.gmacs / steps[kind]) for kind, ledger in ledgers.items()), style="bold"
    )
    typer.echo(
        f"{title}: {height}x{width}, {method.context.classes} classes, L = {cost.keyframe_interval}, 1e9 MACs"
    )
    _print_table(table)
    typer.echo(
        f"GOP mean {_number(cost.gop_mean / 1e9)} GMACs per frame (key {_number(cost.key / 1e9)}, non-key {_number(cost.non_key / 1e9)})"
    )
    for column, count in counts.items():
        typer.echo(
            f"{count.tool}: GOP mean {_number(count.gop_mean)}, {explain(column, count, cost) or 'as exact'}"
        )
    _print_remarks(method, cost)


def _print_remarks(method: Method, cost: MethodCost) -> None:
    for remark in method.remarks:
        typer.echo(remark)
    if cost.uncounted:
        typer.echo(f"not counted and not known to be free: {', '.join(cost.uncounted)}")
    if cost.is_data_dependent:
        typer.echo(
            "the cost depends on the pictures; these are blank frames, see the run's own record for real ones"
        )
    if cost.measured_on != "meta":
        typer.echo(
            f"run on {cost.measured_on}: the method looks at values, so it could not run without computing"
        )
    typer.echo("")


def _paper_table(name: str, json_: str | None, cross_check: bool) -> None:
    from vssbench.analysis.paper_costs import build_ours, cost_of_ours, cost_table, notes
    from vssbench.cost.cross_check import cross_check as check

    rows = cost_table(name)
    counts: list[dict[str, ToolCount]] = [
        check(build_ours(row.ours), cost_of_ours(row.ours)) if cross_check and row.ours is not None else {}
        for row in rows
    ]
    if json_ != "-":
        _print_table(_paper_columns(rows, counts))
        typer.echo("")
        for line in (*_row_notes(rows), *notes(name, rows), *_reasons(rows, counts)):
            typer.echo(f"* {line}")
    _write_json(
        [{**row.as_dict(), **_tool_figures(count)} for row, count in zip(rows, counts, strict=True)], json_
    )


def _paper_columns(rows: Sequence[CostRow], counts: Sequence[dict[str, ToolCount]]) -> Table:
    from rich.table import Table

    tools = next((tuple(count) for count in counts if count), ())
    table = Table(box=None, pad_edge=False)
    for heading in ("dataset", "backbone", "method", "row"):
        table.add_column(heading, no_wrap=heading != "row")
    for heading in ("alpha", "L", "published GFLOPs", "thop rule", "rule - print", "exact GMACs", *tools):
        table.add_column(heading, justify="right")
    for row, count in zip(rows, counts, strict=True):
        table.add_row(
            row.dataset,
            row.backbone,
            row.method if row.ours is not None or not row.row else "",
            row.row,
            f"{row.lr_scale:.1f}" if row.lr_scale is not None else "",
            str(row.keyframe_interval or ""),
            f"{row.published_gflops:.2f}" if row.published_gflops is not None else "",
            _number(row.thop_gflops),
            f"{row.deviation:+.4f}" if row.deviation is not None else "",
            _number(row.exact_gmacs),
            *(_number(count[tool].gop_mean if count else None) for tool in tools),
        )
    return table


def _row_notes(rows: Iterable[CostRow]) -> list[str]:
    return [f"{row.dataset} {row.row or row.method}: {row.note}" for row in rows if row.note]


def _reasons(rows: Sequence[CostRow], counts: Sequence[dict[str, ToolCount]]) -> list[str]:
    """Per tool the explanation for the row where it is furthest from exact, relatively."""
    from vssbench.analysis.paper_costs import cost_of_ours
    from vssbench.cost.cross_check import TOOLS, explain

    lines = []
    for column in TOOLS:
        worst: tuple[float, str] | None = None
        for row, count in zip(rows, counts, strict=True):
            if row.ours is None or not count or not row.exact_gmacs:
                continue
            reason = explain(column, count[column], cost_of_ours(row.ours))
            distance = abs(count[column].gop_mean / row.exact_gmacs - 1)
            if reason and (worst is None or distance > worst[0]):
                worst = (
                    distance,
                    f"{count[column].tool}: {reason} (largest: {row.dataset} {row.backbone} {row.row or row.method})",
                )
        if worst is not None:
            lines.append(worst[1])
    return lines


def _tool_figures(counts: dict[str, ToolCount]) -> dict[str, float]:
    return {f"{column}_tool_gmacs": count.gop_mean for column, count in counts.items()}


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _print_table(table: Table) -> None:
    from rich.console import Console

    console = Console(markup=False, highlight=False)
    # piped output must not be cut to 80 columns
    Console(width=None if console.is_terminal else 220, markup=False, highlight=False).print(table)


def _write_json(rows: Sequence[dict[str, Any]], destination: str | None) -> None:
    from vssbench.errors import StorageError

    if destination is None:
        return
    text = json.dumps(rows, indent=1, allow_nan=False)
    if destination == "-":
        typer.echo(text)
        return
    try:
        Path(destination).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"--json {destination}: cannot be written ({error.strerror}); choose another file or - "
        ) from error
