"""`vssbench check` and `vssbench baseline update`: the regression gate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

baseline_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def check(
    run: Annotated[Path, typer.Argument(help="Run folder of the change.")],
    baseline: Annotated[
        Path, typer.Option("--baseline", help="Baseline file, or the run folder it would be made from.")
    ],
    paired: Annotated[
        bool,
        typer.Option(
            "--paired", help="Both were measured in one job on one machine: compare step times too."
        ),
    ] = False,
    markdown: Annotated[Path | None, typer.Option(help="Write a summary for the CI page.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML.")] = None,
    miou_drop: Annotated[float | None, typer.Option(help="Accepted absolute drop of mIoU (0..1).")] = None,
    macs_rise: Annotated[float | None, typer.Option(help="Accepted relative rise of MACs.")] = None,
    latency_rise: Annotated[float | None, typer.Option(help="Accepted relative rise of step times.")] = None,
) -> None:
    """Fail if a run is worse than its baseline.

    mIoU, MACs, bits and decoded pixels are deterministic and held tightly; step times are held beyond noise.
    Exit code 0: fine; 1: a regression; 2: the runs cannot be compared; 3: a file is damaged.
    """
    from vssbench.rendering.verdicts import as_junit, as_markdown, as_table, headline
    from vssbench.results.compare import Limits, compare, regressed
    from vssbench.results.run import load_run
    from vssbench.results.store import write_atomically

    opened = load_run(run)
    given = {"miou_drop": miou_drop, "macs_rise": macs_rise, "latency_rise": latency_rise}
    wanted = {**opened.experiment.get("limits", {}), **{k: v for k, v in given.items() if v is not None}}
    rows = compare(opened, _read_baseline(baseline), Limits(**wanted), paired=paired)
    from rich.console import Console

    Console().print(as_table(rows))
    typer.echo(headline(rows))
    if markdown is not None:
        write_atomically(markdown, as_markdown(rows).encode())
    if junit is not None:
        write_atomically(junit, as_junit(rows).encode())
    if regressed(rows):
        raise typer.Exit(1)


def _read_baseline(path: Path) -> dict[str, Any]:
    from vssbench.errors import InputError
    from vssbench.results.compare import make_baseline
    from vssbench.results.run import load_run

    if path.is_dir():
        return make_baseline(load_run(path))
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
    from vssbench.results.compare import make_baseline
    from vssbench.results.run import load_run
    from vssbench.results.store import write_atomically

    text = json.dumps(make_baseline(load_run(run)), indent=1, sort_keys=True) + "\n"
    write_atomically(output, text.encode())
    typer.echo(f"baseline: {output}")


@baseline_app.callback()
def _baseline() -> None:
    """Baselines for `vssbench check`."""
