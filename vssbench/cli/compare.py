"""`vssbench compare`: two runs, and which of their differences can be told from chance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def compare(
    first: Annotated[Path, typer.Argument(metavar="RUN_A", help="Run folder that is compared against.")],
    second: Annotated[Path, typer.Argument(metavar="RUN_B", help="Run folder whose change is shown.")],
    markdown: Annotated[Path | None, typer.Option(help="Also write the table as Markdown.")] = None,
) -> None:
    """Show the change of mIoU and MACs from RUN_A to RUN_B for every method that both hold.

    Both must have scored the same frames by the same protocol. Intervals are paired, p-values adjusted (Holm).
    Nothing fails here: use `vssbench check` as a gate.
    """
    from rich.console import Console

    from vssbench.rendering.run_comparison import comparison_markdown, comparison_of_runs
    from vssbench.results.differences import compare_runs
    from vssbench.results.run import load_run
    from vssbench.results.store import write_atomically

    found = compare_runs(load_run(first), load_run(second))
    names = (first.resolve().name, second.resolve().name)
    Console().print(comparison_of_runs(*names, found))
    if markdown is not None:
        write_atomically(markdown, comparison_markdown(*names, found).encode())
