"""`vssbench check` and `vssbench baseline`: the regression gate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from vssbench.analysis.benchmark_json import Benchmarks
    from vssbench.analysis.gate import Limits, Verdict

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
    latency_rise: Annotated[float | None, typer.Option(help="Accepted relative rise of step times.")] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(metavar="METRIC=VALUE", help="Limit of one metric by its printed name; repeatable."),
    ] = None,
) -> None:
    """Fail if a run is worse than its baseline.

    mIoU, MACs, bits and decoded pixels are deterministic and held tightly; step times are held beyond noise.
    Exit code 0: fine; 1: a regression; 2: the runs cannot be compared; 3: a file is damaged.
    """
    from rich.console import Console

    from vssbench.analysis.gate import regressed
    from vssbench.files import write_atomically
    from vssbench.rendering.tables.markdown import section
    from vssbench.rendering.tables.terminal import terminal_table
    from vssbench.rendering.tables.verdicts import headline, junit_xml, verdict_table

    given = {"miou_drop": miou_drop, "macs_rise": macs_rise, "latency_rise": latency_rise}
    rows = _compared(run, baseline, {k: v for k, v in given.items() if v is not None}, limit or [], paired)
    table = verdict_table(rows)
    if table.rows:
        Console().print(terminal_table(table))
    typer.echo(headline(rows))
    if markdown is not None:
        write_atomically(markdown, f"{section(table, 3)}\n".encode())
    if junit is not None:
        write_atomically(junit, junit_xml(rows).encode())
    if regressed(rows):
        raise typer.Exit(1)


def _compared(
    run: Path, baseline: Path, given: dict[str, float], single: list[str], paired: bool
) -> list[Verdict]:
    """The rows of a check, by what the two arguments are: times only where one is pytest-benchmark's."""
    from vssbench.analysis.benchmark_json import (
        compare_benchmarks,
        is_benchmark_document,
        of_run,
        read_benchmarks,
    )
    from vssbench.analysis.gate import compare, make_baseline
    from vssbench.analysis.run import load_run

    if run.is_file():
        return compare_benchmarks(
            read_benchmarks(run), _benchmarks_of(baseline), _limits({}, given, single), paired=paired
        )
    opened = load_run(run)
    limits = _limits(opened.roster.limits.model_dump(), given, single)
    if baseline.is_dir():
        return compare(opened, make_baseline(load_run(baseline)), limits, paired=paired)
    if is_benchmark_document(_read_baseline(baseline)):
        return compare_benchmarks(of_run(opened), read_benchmarks(baseline), limits, paired=paired)
    return compare(opened, _read_baseline(baseline), limits, paired=paired)


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


def _read_baseline(path: Path) -> dict[str, Any]:
    from vssbench.errors import InputError

    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: not a readable baseline ({error}); make one with `vssbench baseline update`"
        ) from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: not a baseline; make one with `vssbench baseline update`")
    return values


@baseline_app.command()
def update(
    run: Annotated[Path, typer.Argument(help="Complete run folder.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Baseline file to write.")] = Path(
        "baseline.json"
    ),
) -> None:
    """Write the baseline file that `vssbench check` holds later runs against."""
    from vssbench.analysis.gate import make_baseline
    from vssbench.analysis.run import load_run
    from vssbench.files import write_atomically

    text = json.dumps(make_baseline(load_run(run)), indent=1, sort_keys=True) + "\n"
    write_atomically(output, text.encode())
    typer.echo(f"baseline: {output}")


@baseline_app.command()
def benchmark(
    run: Annotated[Path, typer.Argument(help="Run folder whose step times are written.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="JSON file to write.")] = Path(
        "benchmark.json"
    ),
) -> None:
    """Write the step times of a run as pytest-benchmark's JSON, for `pytest-benchmark compare` and `vssbench check`."""
    from vssbench.analysis.benchmark_json import of_run, to_document
    from vssbench.analysis.run import load_run
    from vssbench.files import write_atomically

    write_atomically(output, (json.dumps(to_document(of_run(load_run(run))), indent=1) + "\n").encode())
    typer.echo(f"benchmarks: {output}")


@baseline_app.callback()
def _baseline() -> None:
    """Baselines for `vssbench check`."""
