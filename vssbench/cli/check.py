"""`vssbench check` and `vssbench baseline`: the regression gate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from vssbench.analysis.benchmark_json import Benchmarks
    from vssbench.analysis.gate import Limits, Verdict

LIMIT_HELP = "Limit of one metric by its printed name, iou.CLASS for one class; repeatable."
ALLOW_HELP = "Compare in spite of other classes, frames, labels, distances or bits; repeatable."
baseline_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def check(
    run: Annotated[
        Path, typer.Argument(help="Run folder of the change, or a JSON file of pytest-benchmark.")
    ],
    baseline: Annotated[
        Path,
        typer.Option(
            "--baseline", help="Baseline file, a run folder, or a JSON file of pytest-benchmark (times only)."
        ),
    ],
    paired: Annotated[
        bool,
        typer.Option(
            "--paired", help="Both were measured in one job on one machine: step times must be comparable."
        ),
    ] = False,
    markdown: Annotated[Path | None, typer.Option(help="Write a summary for the CI page.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML.")] = None,
    miou_drop: Annotated[float | None, typer.Option(help="Accepted absolute drop of mIoU (0..1).")] = None,
    macs_rise: Annotated[float | None, typer.Option(help="Accepted relative rise of MACs.")] = None,
    pixels: Annotated[
        int | None, typer.Option(help="Pixels of one method that may be classified otherwise.")
    ] = None,
    latency_rise: Annotated[float | None, typer.Option(help="Accepted relative rise of step times.")] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(metavar="METRIC=VALUE", help=LIMIT_HELP),
    ] = None,
    allow: Annotated[list[str] | None, typer.Option(metavar="KIND", help=ALLOW_HELP)] = None,
) -> None:
    """Fail if a run is worse than its baseline.

    mIoU and MACs are held tightly, step times beyond noise. Other frames, labels, classes, distances or bits are said
    first, and nothing is compared unless they are allowed. Summaries are written in any case.
    Exit code 0: fine; 1: a regression; 2: the runs cannot be compared; 3: a file is damaged.
    """
    from rich.console import Console

    from vssbench.analysis.gate import exit_code
    from vssbench.errors import VssbenchError
    from vssbench.rendering.tables.markdown import escape, section
    from vssbench.rendering.tables.terminal import terminal_table
    from vssbench.rendering.tables.verdicts import headline, junit_of_error, junit_xml, verdict_table

    given = {"miou_drop": miou_drop, "pixels": pixels, "macs_rise": macs_rise, "latency_rise": latency_rise}
    limits = {k: v for k, v in given.items() if v is not None}
    try:
        rows = _compared(run, baseline, limits, limit or [], paired, allow or [])
    except VssbenchError as error:
        said = str(error)
        _write({markdown: f"### vssbench check: no verdict\n\n{escape(said)}\n", junit: junit_of_error(said)})
        raise
    table = verdict_table(rows)
    _write({markdown: f"{section(table, 3)}\n", junit: junit_xml(rows)})
    if table.rows:
        Console().print(terminal_table(table))
    typer.echo(headline(rows))
    raise typer.Exit(exit_code(rows))


def _write(texts: dict[Path | None, str]) -> None:
    """Store the summaries that are wanted. Raises StorageError."""
    from vssbench.files import write_atomically

    for path, text in texts.items():
        if path is not None:
            write_atomically(path, text.encode())


def _compared(
    run: Path, baseline: Path, given: dict[str, float], single: list[str], paired: bool, allow: list[str]
) -> list[Verdict]:
    """The rows of a check, by what the two arguments are: times only where one is pytest-benchmark's."""
    from vssbench.analysis.baseline import make_baseline, read_baseline
    from vssbench.analysis.benchmark_json import (
        compare_benchmarks,
        is_benchmark_document,
        of_run,
        read_benchmarks,
    )
    from vssbench.analysis.gate import compare
    from vssbench.analysis.run import load_run
    from vssbench.files import read_json

    if run.is_file():
        return compare_benchmarks(
            read_benchmarks(run), _benchmarks_of(baseline), _limits({}, given, single), paired=paired
        )
    opened = load_run(run)
    limits = _limits(opened.roster.limits.model_dump(), given, single)
    if baseline.is_dir():
        return compare(opened, make_baseline(load_run(baseline)), limits, paired=paired, allow=allow)
    if is_benchmark_document(read_json(baseline, "make one with `vssbench baseline update`")):
        return compare_benchmarks(of_run(opened), read_benchmarks(baseline), limits, paired=paired)
    return compare(opened, read_baseline(baseline), limits, paired=paired, allow=allow)


def _benchmarks_of(path: Path) -> Benchmarks:
    from vssbench.analysis.benchmark_json import of_run, read_benchmarks
    from vssbench.analysis.run import load_run

    return of_run(load_run(path)) if path.is_dir() else read_benchmarks(path)


def _limits(stored: dict[str, Any], given: dict[str, float], single: list[str]) -> Limits:
    """The experiment's limits with those of the command line. Raises ConfigError for a malformed one."""
    from vssbench.analysis.gate import Limits
    from vssbench.errors import ConfigError

    metrics = dict(stored.get("metrics", {}))
    for text in single:
        name, separator, value = text.rpartition("=")
        try:
            metrics[name.strip()] = float(value)
        except ValueError:
            separator = ""
        if not separator or not name.strip() or not 0 <= metrics[name.strip()] < float("inf"):
            raise ConfigError(
                f"--limit {text!r}: expected METRIC=VALUE with a value of 0 or more, like miou_0=0.01"
            )
    return Limits(**{**stored, **given, "metrics": metrics})


@baseline_app.command()
def update(
    run: Annotated[Path, typer.Argument(help="Complete run folder.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Baseline file to write.")] = Path(
        "baseline.json"
    ),
) -> None:
    """Write the baseline that later runs are held against."""
    from vssbench.analysis.baseline import make_baseline, write_baseline
    from vssbench.analysis.run import load_run

    write_baseline(output, make_baseline(load_run(run)))
    typer.echo(f"baseline: {output}")


@baseline_app.command()
def benchmark(
    run: Annotated[Path, typer.Argument(help="Run folder whose step times are written.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="JSON file to write.")] = Path(
        "benchmark.json"
    ),
) -> None:
    """Write step times as pytest-benchmark's JSON.

    For `pytest-benchmark compare` and `vssbench check`.
    """
    from vssbench.analysis.benchmark_json import of_run, to_document
    from vssbench.analysis.run import load_run
    from vssbench.files import write_atomically

    write_atomically(output, (json.dumps(to_document(of_run(load_run(run))), indent=1) + "\n").encode())
    typer.echo(f"benchmarks: {output}")


@baseline_app.callback()
def _baseline() -> None:
    """Baselines for `vssbench check`."""
