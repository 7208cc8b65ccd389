"""Command line: one file per sub-command. Only this layer prints and exits.

Exit codes: 0 fine, 1 regression, 2 wrong use, 3 broken input, 4 a plug-in failed, 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import functools
import io
import os
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
from vssbench.cli.list import list_names, print_schema
from vssbench.cli.motion import motion
from vssbench.cli.profile import profile
from vssbench.cli.report import report
from vssbench.cli.run import run
from vssbench.cli.train import train
from vssbench.cli.video.advise import advise
from vssbench.cli.video.segment import segment
from vssbench.cli.weights import export
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
app.command()(_resumable(advise))
app.command()(report)
app.command()(compare)
app.command()(check)
app.add_typer(baseline_app, name="baseline", help="Baselines for `vssbench check`.")
app.command()(_resumable(train))
app.command()(profile)
app.command()(export)
app.command()(motion)
app.command()(encode)
app.command(name="list")(list_names)
app.command()(doctor)
app.command()(conformance)
app.command(name="schema")(print_schema)
app.add_typer(data_command.app, name="data", help="Look at and check datasets.")
app.add_typer(weights_command.app, name="weights", help="Convert and describe network weights.")


class _Output:
    """Standard output whose reader may go away (`| head`): the rest is then written nowhere, and the command goes on."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """As of the stream."""
        try:
            return int(self._stream.write(text))
        except BrokenPipeError:
            self._give_up()
            return len(text)

    def flush(self) -> None:
        """As of the stream."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._give_up()

    def _give_up(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


def _prepare_output() -> None:
    """What the terminal's encoding cannot say is written as escapes; a closed pipe is no error."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
            setattr(sys, name, _Output(stream))


def main() -> None:
    """Entry point of the `vssbench` command."""
    _prepare_output()
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
