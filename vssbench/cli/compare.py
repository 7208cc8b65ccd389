"""`vssbench compare`: runs as one long table, and which of their differences can be told from chance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vssbench.cli.check import ALLOW_HELP


def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run folders; the first is compared against.")
    ],
    markdown: Annotated[Path | None, typer.Option(help="Also write the changes as Markdown.")] = None,
    csv: Annotated[
        Path | None,
        typer.Option(
            help="Write every number of all runs as one long table (run, dataset, ..., value, low, high)."
        ),
    ] = None,
    allow: Annotated[list[str] | None, typer.Option(metavar="KIND", help=ALLOW_HELP)] = None,
) -> None:
    """Show what changed from the first run to the others.

    mIoU, MACs, bits and step times of every method that both hold. Both must have scored the same frames and labels by the same protocol. Intervals are paired, p-values adjusted (Holm).
    Nothing fails here: use `vssbench check` as a gate. With one run, --csv writes its table.
    """
    from rich.console import Console

    from vssbench.analysis.comparability import require_alike
    from vssbench.analysis.differences import compare_runs
    from vssbench.analysis.run import load_run
    from vssbench.analysis.table import long_table
    from vssbench.errors import ConfigError
    from vssbench.files import write_atomically
    from vssbench.rendering.tables.comparisons import run_comparison_table
    from vssbench.rendering.tables.csv_text import frame_csv
    from vssbench.rendering.tables.markdown import section
    from vssbench.rendering.tables.terminal import terminal_table
    from vssbench.rendering.tables.text_table import scored_by

    if len(runs) < 2 and csv is None:
        raise ConfigError("compare needs two runs or more, or one run and --csv FILE")
    opened = [load_run(path) for path in runs]
    if csv is not None:
        table = long_table(opened)
        write_atomically(csv, frame_csv(table).encode())
        typer.echo(f"table: {csv} ({len(table)} rows)")
    texts = []
    for path, other in zip(runs[1:], opened[1:], strict=True):
        names = (runs[0].resolve().name, path.resolve().name)
        for one in require_alike(opened[0], other, allow or []):
            typer.echo(f"allowed: {one.text}")
        found = run_comparison_table(*names, compare_runs(opened[0], other))
        found = scored_by(other.roster.score, found)
        Console().print(terminal_table(found.without_lone("dataset")))
        texts.append(section(found))
    if markdown is not None:
        write_atomically(markdown, ("\n\n".join(texts) + "\n").encode())
