"""`vssbench report`: a run folder as page, tables and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Runs = Annotated[
    list[Path], typer.Argument(metavar="RUN...", help="Run folders, as `vssbench run` writes them.")
]
Output = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        help="Folder of the report; default: RUN/report. With several runs: one folder each below it.",
    ),
]
Pictures = Annotated[
    bool,
    typer.Option(
        "--pictures/--no-pictures", help="Show the kept frames. Leave them out to pass on numbers only."
    ),
]
Embed = Annotated[
    bool, typer.Option("--embed", help="Put the frames into the page, not into a folder beside it.")
]
Figures = Annotated[
    bool, typer.Option("--figures/--no-figures", help="Write figures as SVG and PDF besides the page.")
]
Frames = Annotated[
    int | None,
    typer.Option(min=0, help="Frames per dataset and codec in the viewer; default: all that the run kept."),
]
Paper = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Write tables and figures in the arrangement of a paper (ar-seg) instead, ours beside theirs; "
        "several runs fill one set.",
    ),
]
Reference = Annotated[
    str | None,
    typer.Option(
        metavar="TITLE",
        help="Method that differences are taken against; default: the experiment's `reference`, else the dearest "
        "constant-resolution method.",
    ),
]
Compare = Annotated[
    bool,
    typer.Option(
        "--compare",
        help="Compare instead: every method's change from the first run to the others, with its significance; "
        "-o is the folder of comparison.md and comparison.csv.",
    ),
]


def report(
    runs: Runs,
    output: Output = None,
    pictures: Pictures = True,
    embed: Embed = False,
    figures: Figures = True,
    frames: Frames = None,
    paper: Paper = None,
    reference: Reference = None,
    compare: Compare = False,
) -> None:
    """Write a page, tables and figures of each run.

    They are index.html, report.md, summary.csv, table.csv, table.tex and figures. The page works offline; frames for its viewer are in media/ beside it. Only the run folder is read.
    Exit code 0: written; 3: a run folder is missing, empty or damaged, or the output cannot be written.
    """
    if reference is not None and (compare or paper is not None):
        from vssbench.errors import ConfigError

        raise ConfigError(
            "--reference belongs to a run's own report; leave it out with --compare and --paper"
        )
    if compare:
        return _compare(runs, output)
    if paper is not None:
        return _paper(runs, output, paper, pictures)
    from vssbench.analysis.differences import measured_against
    from vssbench.analysis.run import load_run
    from vssbench.rendering.figures.files import load_modules
    from vssbench.results.helper_processes import helper_processes

    folders = output_folders(runs, output)
    with helper_processes() as helper:
        if helper is not None and figures:
            helper.submit(load_modules)
        from vssbench.rendering.report import write_report  # while the other process gets ready

        for path, folder in zip(runs, folders, strict=True):
            run = load_run(path, helper=helper)
            written = write_report(
                run if reference is None else measured_against(run, reference),
                folder,
                pictures=pictures,
                figure_files=figures,
                embed=embed,
                frames=frames,
                helper=helper,
            )
            typer.echo(f"{written.page}  ({len(written.files)} files in {written.folder})")
    return None


def _compare(runs: list[Path], output: Path | None) -> None:
    from vssbench.cli.compare import compare
    from vssbench.errors import ConfigError

    if len(runs) < 2:
        raise ConfigError("--compare needs two runs or more")
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    names = ("comparison.md", "comparison.csv")
    markdown, csv = (None if output is None else output / name for name in names)
    compare(runs, markdown, csv)


def _paper(runs: list[Path], output: Path | None, name: str, pictures: bool) -> None:
    from vssbench.analysis.run import load_run
    from vssbench.errors import ConfigError
    from vssbench.rendering.paper.figures import write_paper
    from vssbench.rendering.paper.tables import PAPERS

    if name not in PAPERS:
        raise ConfigError(f"no layout of paper {name!r}; there is {', '.join(PAPERS)}")
    if output is None and len(runs) > 1:
        raise ConfigError("several runs fill one set of tables; say with -o where it goes")
    folder = output or runs[0] / "report" / "paper"
    written = write_paper([load_run(path) for path in runs], folder, name=name, pictures=pictures)
    typer.echo(f"{folder / 'paper.md'}  ({len(written)} files in {folder})")


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
