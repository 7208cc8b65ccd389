"""`vssbench advise`: from one's own video to the method to run on it, and what a frame costs."""

from __future__ import annotations

import math
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vssbench.cli.video.options import (
    Classes,
    Device,
    KeyframeInterval,
    KeyframeKind,
    Orientation,
    Partial,
    Stream,
    Video,
    naming_partial,
)
from vssbench.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vssbench.analysis.run import Run
    from vssbench.engine.streams import Segmentation
    from vssbench.experiment.schema import Experiment
    from vssbench.rendering.tables.text_table import TextTable
    from vssbench.runner.advice import Candidate, StageTimes, Wish

SECONDS = 20.0
STAGES = {
    "decode": ("decode", "copy"),
    "motion": ("motion",),
    "network": ("network",),
    "upsample": ("upsample",),
}
"""Columns of the table, which together are the milliseconds of a frame."""


def advise(
    video: Video,
    candidates: Annotated[
        str, typer.Option(help="Packaged weights by name (their experiment's methods), or an experiment.")
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Run folder; default runs/advice-NAME.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.04, help=f"How much of the video is run; default {SECONDS:g}.")
    ] = None,
    share: Annotated[float | None, typer.Option(min=0.0001, max=1, help="The same as a share.")] = None,
    budget_ms: Annotated[float | None, typer.Option(min=0.001, help="Milliseconds a frame may take.")] = None,
    fps: Annotated[
        float | None, typer.Option(min=0.001, help="Frames a second; default: the video's.")
    ] = None,
    min_agreement: Annotated[
        float | None, typer.Option(min=0, max=100, help="Least agreement with the reference, percent.")
    ] = None,
    min_miou: Annotated[
        float | None, typer.Option(min=0, max=100, help="Least mIoU on --labels, percent.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Folder of label pictures; default: agreement.")] = None,
    classes: Classes = None,
    reference: Annotated[str, typer.Option(help="What to agree with; default: full resolution.")] = "",
    keyframes: KeyframeKind = "irap",
    keyframe_interval: KeyframeInterval = None,
    orientation: Orientation = "upright",
    stream: Stream = None,
    partial: Partial = False,
    device: Device = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of torch when timed; default: all cores.")
    ] = None,
    no_report: Annotated[bool, typer.Option("--no-report", help="Do not write the report.")] = False,
) -> None:
    """Say which method to run on VIDEO, and what a frame costs.

    The candidates run on a sample of the video as it is. They are held against labels, or against the answers of the reference, and timed on this machine from compressed bytes to labels. Exit code 1: no candidate meets the wish.
    """
    from vssbench.class_tables import read_class_table
    from vssbench.engine.memory import keep_freed_memory
    from vssbench.runner.advice import advice_experiment, candidates_of, usable

    keep_freed_memory()
    _refuse_contradictions(seconds, share, labels, min_agreement, min_miou)
    with naming_partial(partial):
        kept, left_out = usable(
            candidates_of(candidates), video, read_class_table(classes).names if classes else (),
            device=device, keyframes=keyframes, keyframe_interval=keyframe_interval, orientation=orientation, stream=stream,
            partial=partial,
        )  # fmt: skip
    source = kept[0].source
    rate = source.frame_rate_hz or 25.0
    length = (seconds or SECONDS) if share is None else share * source.frame_count / rate
    experiment = advice_experiment(kept, length, labels=labels, classes=classes, reference=reference)
    wish = _wish(budget_ms, fps, min_agreement if labels is None else min_miou, rate)
    with naming_partial(partial):
        _advise(kept, experiment, output, wish, device, threads, left_out, report=not no_report)


def _advise(
    kept: Sequence[Segmentation],
    experiment: Experiment,
    output: Path | None,
    wish: Wish,
    device: str,
    threads: int | None,
    left_out: Sequence[str],
    *,
    report: bool,
) -> None:
    """Run, time, print and write."""
    from rich.console import Console

    from vssbench.cli.run import run_with_progress
    from vssbench.engine.memory import set_threads
    from vssbench.rendering.report import write_report
    from vssbench.rendering.tables.terminal import terminal_table
    from vssbench.runner.advice import timed_stages, weigh

    console = Console(stderr=True, log_path=False)
    folder = output or Path("runs") / f"advice-{experiment.datasets[0].title}"
    run = run_with_progress(console, experiment, folder, (), device, None, 1, None, False, None)
    console.log(f"timing {len(kept)} candidates", highlight=False)
    set_threads(threads or len(os.sched_getaffinity(0)))
    times = timed_stages(experiment, run, None, device)
    weighed = weigh(run, times)
    for line in (*left_out, *run.roster.weights_warnings, *_busy()):
        typer.echo(f"vssbench: {line}", err=True)
    Console().print(terminal_table(_table(run, weighed, times)))
    chosen = _recommend(run, weighed, wish)
    if chosen is not None:
        typer.echo(_command(next(work for work in kept if work.spec.title == chosen.title)))
    if report:
        typer.echo(f"report: {write_report(run, run.path / 'report')}")
    typer.echo(f"run:    {run.path}")
    if chosen is None:
        raise typer.Exit(1)


def _refuse_contradictions(
    seconds: float | None,
    share: float | None,
    labels: Path | None,
    min_agreement: float | None,
    min_miou: float | None,
) -> None:
    if seconds is not None and share is not None:
        raise ConfigError("--seconds and --share both say how much of the video is run; give one of them")
    if labels is not None and min_agreement is not None:
        raise ConfigError("--min-agreement: with --labels candidates are scored by mIoU; give --min-miou")
    if labels is None and min_miou is not None:
        raise ConfigError("--min-miou: without --labels there is no mIoU; give --labels, or --min-agreement")


def _busy() -> list[str]:
    """A word of warning where others use the machine too; what this command starts loads it by one for each core."""
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    if load < cores + 1:
        return []
    told = f"others use this machine (load {load:.1f} on {cores} cores)"
    return [f"{told}: times are longer than they are alone, with --threads 1 the least"]


def _wish(budget_ms: float | None, fps: float | None, least: float | None, rate: float) -> Wish:
    """The video's own rate where nothing is asked for."""
    from vssbench.runner.advice import Wish

    budgets = [] if budget_ms is None else [budget_ms]
    budgets += [] if fps is None else [1000 / fps]
    if not budgets and least is None:
        budgets = [1000 / rate]
    return Wish(min(budgets, default=math.inf), (least or 0.0) / 100)


def _table(run: Run, found: Sequence[Candidate], times: StageTimes) -> TextTable:
    """A row per candidate, the fastest first."""
    from vssbench.rendering.tables.text_table import Cell, Column, TextRow, TextTable, text_column, texts

    columns = (
        text_column("method"),
        Column("score", run.roster.score, "%", scale=100, digits=1),
        Column("ms", "ms", digits=1),
        *(Column(stage, stage, digits=1, priority=1) for stage in STAGES),
        Column("gmacs", "GMACs", "", "lower", priority=1),
    )
    rows = []
    for one in found:
        stages = [sum(one.stages.get(part, 0.0) for part in parts) for parts in STAGES.values()]
        numbers = (one.score, one.ms, *stages, one.gmacs)
        cells = [column.cell(value) for column, value in zip(columns[1:], numbers, strict=True)]
        if one.is_reference:
            cells[0] = Cell("reference")
        rows.append(TextRow((*texts(f"{one.title} *" if one.on_front else one.title), *cells)))
    note = (
        f"{int(run.groups[0].frames.sum())} frames; ms a frame by stage on {times.device}; "
        "*: no other is both as fast and as good"
    )
    return TextTable(run.title, columns, (tuple(rows),), (note,))


def _recommend(run: Run, found: Sequence[Candidate], wish: Wish) -> Candidate | None:
    """Print the choice and why."""
    score = run.roster.score

    def said(one: Candidate) -> str:
        value = "the reference" if one.is_reference else f"{100 * one.score:.1f} % {score}"
        return f"{one.title} ({value}, {one.ms:.1f} ms a frame, {1000 / one.ms:.1f} frames/s)"

    limits = [f"at most {wish.budget_ms:.1f} ms a frame"] if math.isfinite(wish.budget_ms) else []
    limits += [f"at least {100 * wish.least:g} % {score}"] if wish.least else []
    chosen = wish.choose(found)
    if chosen is None:
        best = max(found, key=lambda one: one.score)
        typer.echo(f"recommended: none; no candidate has {' and '.join(limits)}")
        typer.echo(f"  fastest: {said(found[0])}")
        typer.echo(f"  best:    {said(best)}")
        return None
    typer.echo(f"recommended: {said(chosen)}")
    what = "the fastest" if math.isinf(wish.budget_ms) else "the best"
    typer.echo(f"  why: {what} with {' and '.join(limits)}")
    better = [one for one in found if one.on_front and one.score > chosen.score]
    if better:
        typer.echo(f"  the next better: {said(min(better, key=lambda one: one.score))}")
    return chosen


def _command(work: Segmentation) -> str:
    """The line that runs a candidate on the whole video."""
    options = work.spec.options()
    words = ["vssbench", "segment", str(work.source.file.path), "-o", "answers", "--method", work.spec.name]
    for part, reference in options.weights.items():
        words += ["--weights", f"{part}={reference}"]
    defaults = type(options).model_fields
    for key, value in options.model_dump(mode="json", exclude={"weights"}).items():
        if value != _plain(defaults[key].get_default(call_default_factory=True)):
            words += ["--set", f"{key}={value}"]
    settings = work.settings
    if settings.keyframes != "irap":
        words += ["--keyframes", settings.keyframes]
    if settings.keyframe_interval:
        words += ["--keyframe-interval", str(settings.keyframe_interval)]
    if work.source.file.orientation != "upright":
        words += ["--orientation", work.source.file.orientation]
    if work.source.file.stream is not None:
        words += ["--stream", str(work.source.file.stream)]
    if work.source.file.partial:
        words += ["--partial"]
    return "  run it: " + shlex.join(words)


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value
