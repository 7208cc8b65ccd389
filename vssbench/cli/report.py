"""`vssbench report`: a run folder as page, tables and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run folders, as `vssbench run` writes them.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Folder of the report; default: RUN/report. With several runs: one folder each below it.",
        ),
    ] = None,
    pictures: Annotated[
        bool,
        typer.Option(
            "--pictures/--no-pictures",
            help="Embed the stored frames. Leave them out to pass on numbers only.",
        ),
    ] = True,
    figures: Annotated[
        bool, typer.Option("--figures/--no-figures", help="Write figures as SVG and PDF besides the page.")
    ] = True,
) -> None:
    """Write the report of each run: index.html, report.md, summary.csv, table.csv, table.tex, figures.

    The page is one file, works offline and loads nothing. Only the run folder is read.
    Exit code 0: written; 3: a run folder is missing, empty or damaged, or the output cannot be written.
    """
    from vssbench.rendering.report import write_report
    from vssbench.results.run import load_run

    for path, folder in zip(runs, output_folders(runs, output), strict=True):
        written = write_report(load_run(path), folder, pictures=pictures, figure_files=figures)
        typer.echo(f"{written.page}  ({len(written.files)} files in {written.folder})")


def output_folders(runs: list[Path], output: Path | None) -> list[Path]:
    """Where the report of each run goes; runs of one name under one output are refused.

    Raises ConfigError.
    """
    from vssbench.errors import ConfigError

    if output is None:
        return [run / "report" for run in runs]
    if len(runs) == 1:
        return [output]
    names = [run.resolve().name for run in runs]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ConfigError(
            f"runs named {', '.join(doubled)} would share a folder under {output}; report them one by one with -o"
        )
    return [output / name for name in names]
