"""Command line: one file per sub-command. Only this layer prints and exits.

Exit codes: 0 fine, 1 regression, 2 wrong use, 3 broken input, 4 a plug-in failed, 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import functools
import sys
import traceback
from collections.abc import Callable
from typing import Annotated, Any

import typer

from vssbench import __version__
from vssbench.cli import data as data_command
from vssbench.cli import weights as weights_command
from vssbench.cli.check import baseline_app, check
from vssbench.cli.compare import compare
from vssbench.cli.conformance import conformance
from vssbench.cli.doctor import doctor
from vssbench.cli.encode import encode
from vssbench.cli.interrupt import EXIT_CODE, STOPPED, end_now, heard_interrupt
from vssbench.cli.list import list_names
from vssbench.cli.motion import motion
from vssbench.cli.profile import profile
from vssbench.cli.report import report
from vssbench.cli.run import run
from vssbench.cli.schema import print_schema
from vssbench.cli.segment import segment
from vssbench.cli.train import train
from vssbench.errors import PluginError, VssbenchError

app = typer.Typer(
    name="vssbench",
    help="Benchmark for video semantic segmentation on compressed video.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


_asked = {"traceback": False}


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vssbench {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show where in the code an error came from.")
    ] = False,
) -> None:
    """Options before the sub-command."""
    _asked["traceback"] = traceback


def _resumable(command: Callable[..., None]) -> Callable[..., None]:
    """Say after Ctrl-C that nothing is lost; Typer itself would end without a word."""

    @functools.wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> None:
        try:
            with heard_interrupt():
                command(*arguments, **options)
        except KeyboardInterrupt:
            typer.echo(STOPPED, err=True)
            raise typer.Exit(EXIT_CODE) from None

    return wrapped


app.command()(_resumable(run))
app.command()(_resumable(segment))
app.command()(report)
app.command()(compare)
app.command()(check)
app.add_typer(baseline_app, name="baseline", help="Baselines for `vssbench check`.")
app.command()(_resumable(train))
app.command()(profile)
app.command()(motion)
app.command()(encode)
app.command(name="list")(list_names)
app.command()(doctor)
app.command()(conformance)
app.command(name="schema")(print_schema)
app.add_typer(data_command.app, name="data", help="Look at and check datasets.")
app.add_typer(weights_command.app, name="weights", help="Convert and describe network weights.")


def main() -> None:
    """Entry point of the `vssbench` command."""
    try:
        app()
    except VssbenchError as error:
        if _asked["traceback"]:
            traceback.print_exception(error)
        typer.echo(f"vssbench: {error}", err=True)
        if isinstance(error, PluginError) and not _asked["traceback"]:
            typer.echo(
                "vssbench: `vssbench --traceback COMMAND ...` shows all calls that led there", err=True
            )
        raise SystemExit(error.exit_code) from None
    except SystemExit as finished:
        if finished.code == EXIT_CODE:
            end_now()
        raise
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output went away (| head); nothing to say and nobody to say it to
        raise SystemExit(0) from None
