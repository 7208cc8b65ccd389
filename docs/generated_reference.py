"""Sphinx directives that write the reference from the code itself: commands, keys of experiments, options of plug-ins."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import typer.main
from click import Command, Context
from docutils import nodes
from pydantic import BaseModel
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from vssbench import registry
from vssbench.experiment.keys import rows_of_keys
from vssbench.experiment.schema import Experiment
from vssbench.experiment.training import TrainingExperiment

ROOT = Path(__file__).resolve().parent.parent
MODELS: dict[str, type[BaseModel]] = {"run": Experiment, "train": TrainingExperiment}
PLUG_INS = {"methods": registry.methods, "datasets": registry.datasets}


class Commands(SphinxDirective):
    """`{commands}`: what every command answers to --help."""

    def run(self) -> list[nodes.Node]:
        """One section a command."""
        from vssbench.cli import app

        return self.parse_text_to_nodes(
            "\n".join(_command_pages("vssbench", typer.main.get_command(app))), allow_section_headings=True
        )


def _command_pages(path: str, command: Command) -> Iterator[str]:
    os.environ["COLUMNS"] = "100"
    text = command.get_help(Context(command, info_name=path))
    yield f"## `{path}`\n\n```text\n{text.strip()}\n```\n"
    for name, inner in getattr(command, "commands", {}).items():
        if not inner.hidden:
            yield from _command_pages(f"{path} {name}", inner)


class ExperimentKeys(SphinxDirective):
    """`{experiment-keys} run`: every key of an experiment file."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """A table of keys."""
        return self.parse_text_to_nodes("\n".join(_table(MODELS[self.arguments[0]])))


class PlugInOptions(SphinxDirective):
    """`{plug-in-options} methods`: every option of every registered plug-in of a kind."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """One section with a table a plug-in."""
        kind = PLUG_INS[self.arguments[0]]
        lines: list[str] = []
        for entry in kind.describe():
            if entry.origin == "vssbench":
                lines += [
                    f"### `{entry.name}`",
                    "",
                    f"{entry.summary}.",
                    "",
                    *_table(kind.load(entry.name).Options),
                    "",
                ]
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def _table(model: type[BaseModel]) -> Iterable[str]:
    yield "| key | what it takes | default | meaning |"
    yield "|---|---|---|---|"
    for row in rows_of_keys(model):
        default = "required" if row.required else f"`{row.default}`" if row.default else ""
        cells = (f"`{row.name}`", f"`{row.kind}`", default, row.description)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def plain_docstring(
    _app: Sphinx, _what: str, _name: str, _object: Any, _options: Any, lines: list[str]
) -> None:
    """Docstrings are plain text with code in backticks; keep reStructuredText from reading more into them."""
    lines[:] = [
        "".join(
            part if part.startswith("`") else re.sub(r"([*|_\\])", r"\\\1", part)
            for part in re.split(r"(`[^`]*`)", line)
        )
        for line in lines
    ]


def link_to_repository(_app: Sphinx, _docname: str, source: list[str]) -> None:
    """Links that leave docs/ lead to files of the repository; the site shows their path instead."""
    source[0] = re.sub(r"\[([^\]]*)\]\(\.\./([^)#]+)(#[^)]*)?\)", r"\1 (`\2`)", source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("commands", Commands)
    app.add_directive("experiment-keys", ExperimentKeys)
    app.add_directive("plug-in-options", PlugInOptions)
    app.connect("autodoc-process-docstring", plain_docstring)
    app.connect("source-read", link_to_repository)
    return {"parallel_read_safe": True}
