"""`vssbench run`: run an experiment, or what is missing of it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from vssbench.analysis.run import Run
    from vssbench.results.documents import PlanSummary


def run(
    experiment: Annotated[
        str, typer.Argument(help="Packaged name (see `vssbench list experiments`) or a YAML file.")
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Run folder; default runs/NAME.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key, e.g. dataset.root=DIR; repeatable."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    workers: Annotated[
        int | None, typer.Option(help="Worker processes; default one per core, one on a GPU.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS|local:N|FILE.yaml",
            help="Work on a Dask cluster: a scheduler's address, N processes here, or a batch system's YAML file.",
        ),
    ] = None,
    threads: Annotated[
        int, typer.Option(min=1, help="Torch threads per worker; more than one may change the last bits.")
    ] = 1,
    cache: Annotated[
        Path | None, typer.Option(help="Bitstream cache; default $VSSBENCH_CACHE or the user's cache folder.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Resume although encoder, packages or weights changed.")
    ] = False,
    no_report: Annotated[
        bool, typer.Option("--no-report", help="Do not write the report at the end.")
    ] = False,
) -> None:
    """Run an experiment and write its report.

    Finished units are kept: after a stop or a crash the same command goes on where it was and gives the same numbers.
    """
    overrides = tuple(set_ or ())
    if dry_run:
        _print_plan(experiment, overrides, cache, device)
        return
    from rich.console import Console

    console = Console(stderr=True, log_path=False)
    result = run_with_progress(
        console, experiment, output, overrides, device, workers, threads, cache, force, cluster
    )
    _show(console, result, report=not no_report)


def _show(console: Any, result: Run, *, report: bool) -> None:
    """The table and warnings of a run on the terminal; its report, where one is wanted."""
    from rich.console import Console

    from vssbench.rendering.tables.summary import titled_summary
    from vssbench.rendering.tables.terminal import terminal_table

    Console().print(terminal_table(titled_summary(result)))
    for warning in result.warnings:
        console.print(f"warning: {warning}", style="yellow", highlight=False, markup=False)
    if report:
        from vssbench.rendering.report import write_report

        page = write_report(result, result.path / "report")
        typer.echo(f"report: {page}")
    typer.echo(f"run:    {result.path}")


def _print_plan(experiment: str, overrides: tuple[str, ...], cache: Path | None, device: str) -> None:
    from vssbench.experiment.schema import load_experiment
    from vssbench.results.roster import make_roster
    from vssbench.runner.estimate import estimate
    from vssbench.runner.plan import summarise
    from vssbench.runner.session import prepare

    frozen = load_experiment(experiment, overrides)
    shop, jobs = prepare(frozen, cache, device)
    summary = summarise(jobs)
    typer.echo(f"experiment  {experiment}")
    typer.echo(f"datasets    {_once(job.dataset for job in jobs)}")
    typer.echo(f"codecs      {_once(job.codec for job in jobs)}")
    typer.echo(f"methods     {_once(title for job in jobs for title in job.methods)}")
    typer.echo(f"protocol    {frozen.protocol.kind}, keyframe interval {frozen.protocol.keyframe_interval}")
    typer.echo(f"jobs        {summary.jobs}")
    typer.echo(f"encodes     {summary.encodes} bitstreams, {summary.encoded_frames} frames")
    typer.echo(f"units       {summary.units}")
    typer.echo(f"cases       {summary.cases} scored frames")
    cost = estimate(shop, jobs)
    typer.echo(
        f"time        about {_duration(cost.seconds)} on one core of this machine: encode "
        f"{_duration(cost.encode_seconds)}, decode {_duration(cost.decode_seconds)}, "
        f"methods {_duration(cost.method_seconds)} (extrapolated from a few frames)"
    )
    typer.echo(f"disk        about {cost.disk_bytes / 2**20:.0f} MiB of bitstreams and records")
    for warning in shop.of_weights(make_roster(frozen)).weights_warnings:
        typer.echo(f"warning: {warning}")


def _once(titles: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(titles))


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def run_with_progress(
    console: Any, experiment: Any, output: Path | None, overrides: tuple[str, ...], *settings: Any
) -> Any:
    """`runner.session.run` with bars on a terminal. settings: device, workers, threads, cache, force, cluster."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from vssbench.runner.session import Listener
    from vssbench.runner.session import run as run_experiment

    device, workers, threads, cache, force, cluster = settings
    started = time.perf_counter()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("units"),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("running", total=None, rate="")
        done = 0

        def on_plan(summary: PlanSummary, owed: int) -> None:
            progress.update(task, total=summary.units, completed=summary.units - owed)
            console.log(
                f"{summary.units} units, {summary.units - owed} already stored; "
                f"{summary.encodes} bitstreams, {summary.encoded_frames} frames",
                highlight=False,
            )

        def on_unit() -> None:
            nonlocal done
            done += 1
            progress.update(task, advance=1, rate=f"{done / (time.perf_counter() - started):.1f}/s")

        listener = Listener(on_plan, on_unit, lambda stage: console.log(stage, highlight=False))
        result = run_experiment(
            experiment, output, overrides=overrides, device=device, workers=workers, threads=threads,
            cache=cache, force=force, cluster=cluster, listener=listener,
        )  # fmt: skip
    totals = listener.totals
    console.log(_stage_line(totals, time.perf_counter() - started), highlight=False)
    return result


def _stage_line(totals: Any, seconds: float) -> str:
    parts = [f"{totals.units} units in {seconds:.1f} s"]
    if totals.encoded_frames:
        parts.append(f"encode {totals.encoded_frames / totals.encode_seconds:.0f} frames/s per worker")
    if totals.decoded_frames:
        parts.append(f"decode {totals.decoded_frames / totals.decode_seconds:.0f} frames/s per worker")
    return ", ".join(parts)
