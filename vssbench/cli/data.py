"""`vssbench data`: list, check and look at datasets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from vssbench.errors import InputError, StorageError, escaped

if TYPE_CHECKING:
    from vssbench.dataset import Dataset, VideoSequence
    from vssbench.records import Finding

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)

SplitName = Literal["train", "val", "test"]
_SPLITS: tuple[SplitName, ...] = ("train", "val", "test")

DatasetName = Annotated[str, typer.Argument(metavar="DATASET", help="Name, see `vssbench data list`.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="An option of the dataset, e.g. root=DIR; repeatable."),
]


@app.command("list")
def list_datasets(
    dataset: Annotated[
        str | None, typer.Argument(metavar="[DATASET]", help="Count this dataset's splits instead.")
    ] = None,
    set_: Settings = None,
) -> None:
    """List the datasets, or the splits of one.

    With options, or with counts.
    """
    from rich.console import Console

    console = Console()
    if dataset is None:
        console.print(_overview())
        return
    opened = open_dataset(dataset, set_ or [])
    console.print(_counts(dataset, opened))


@app.command()
def verify(
    dataset: DatasetName,
    set_: Settings = None,
    split: Annotated[SplitName | None, typer.Option(help="Only this split.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what is fine too.")] = False,
) -> None:
    """Read every frame and label and say what is wrong.

    Exit code 3 if there are errors.
    """
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    opened = open_dataset(dataset, set_ or [])
    console = Console()
    counts = {"ok": 0, "warning": 0, "error": 0}
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reading")
        for finding in opened.verify(split):
            counts[finding.level] += 1
            progress.update(
                task,
                description=escaped(
                    f"{sum(counts.values())} checked, {counts['error']} errors: {finding.subject}"
                ),
            )
            if verbose or finding.level != "ok":
                console.print(_line(finding, console.encoding), markup=False, highlight=False, soft_wrap=True)
    console.print(f"{dataset}: {counts['ok']} fine, {counts['warning']} warnings, {counts['error']} errors")
    if counts["error"]:
        raise typer.Exit(InputError.exit_code)
    if not any(counts.values()):
        raise InputError(f"{dataset}: nothing to check was found; check its root")


def _line(finding: Finding, encoding: str) -> str:
    """What is printed about a finding, in characters that the terminal has."""
    remedy = f"; {finding.remedy}" if finding.remedy else ""
    text = escaped(f"{finding.level:7} {finding.subject}: {finding.message}{remedy}")
    return text.encode(encoding, "backslashreplace").decode(encoding)


@app.command()
def preview(
    dataset: DatasetName,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the pictures.")],
    set_: Settings = None,
    split: Annotated[SplitName, typer.Option(help="Split to show.")] = "val",
    sequences: Annotated[int, typer.Option(min=1, help="Sequences to show.")] = 4,
    frames: Annotated[int, typer.Option(min=1, help="Frames per sequence.")] = 4,
    width: Annotated[int, typer.Option(min=64, max=4096, help="Width of each picture in pixels.")] = 480,
) -> None:
    """Write a contact sheet per sequence.

    Frames, labels over them, exact motion where the dataset has it.
    """
    from PIL import Image

    from vssbench.rendering.images.contact_sheet import contact_sheet

    opened = open_dataset(dataset, set_ or [])
    chosen = _spread(list(opened.sequences(split)), sequences)
    try:
        output.mkdir(parents=True, exist_ok=True)
        for sequence in chosen:
            sheet = contact_sheet(_sheet_rows(sequence, frames), opened.classes, width)
            path = output / f"{dataset}-{split}-{sequence.name}.png"
            Image.fromarray(sheet).save(path)
            typer.echo(str(path))
    except OSError as error:
        raise StorageError(
            f"{output}: cannot be written ({error.strerror or error}); choose another folder"
        ) from error


def open_dataset(name: str, settings: list[str]) -> Dataset:
    """The dataset `name` with options from KEY=VALUE texts. Raises ConfigError for unknown names, keys and values."""
    from vssbench.experiment.overrides import apply_override
    from vssbench.experiment.paths import anchor_options
    from vssbench.experiment.validation import validate
    from vssbench.experiment.yaml import Keys
    from vssbench.registry import datasets

    kind = datasets.load(name)
    values = Keys()
    for text in settings:
        apply_override(values, text.removeprefix("dataset."))
    anchor_options(values, (), kind.Options)
    options = validate(kind.Options, values, where=f"dataset {name}")
    return cast("Dataset", kind(options))


def _overview() -> Any:
    from rich.table import Table

    from vssbench.registry import datasets

    table = Table("dataset", "what", "options", box=None, pad_edge=False)
    for entry in datasets.describe():
        fields = datasets.load(entry.name).Options.model_fields
        options = ", ".join(
            f"{key} (needed)" if field.is_required() else key for key, field in fields.items()
        )
        table.add_row(entry.name, entry.summary, options)
    return table


def _counts(name: str, dataset: Dataset) -> Any:
    from rich.table import Table
    from rich.text import Text

    mark = f" ({dataset.protocol_mark})" if dataset.protocol_mark else ""
    table = Table(
        "split",
        "sequences",
        "frames",
        "labelled",
        "size",
        "Hz",
        box=None,
        pad_edge=False,
        title=f"{name}: {len(dataset.classes)} classes{mark}",
        title_justify="left",
    )
    failures = []
    for split in _SPLITS:
        try:
            found = dataset.sequences(split)
            sizes = sorted({f"{s.size[1]}x{s.size[0]}" for s in _spread(list(found), 8)})
            rates = sorted({f"{s.frame_rate_hz:g}" for s in found})
            counts = (len(found), sum(len(s) for s in found), sum(len(s.labelled) for s in found))
            table.add_row(split, *(str(c) for c in counts), ", ".join(sizes), ", ".join(rates))
        except InputError as error:
            failures.append(error)
            table.add_row(split, "-", "-", "-", Text(str(error)), "")
    if len(failures) == len(_SPLITS):
        raise failures[0]
    return table


def _spread(items: list[Any], count: int) -> list[Any]:
    """`count` items at even distances: 10 items, 4 wanted -> 0 3 6 9."""
    if len(items) <= count:
        return items
    if count == 1:
        return items[:1]
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


def _sheet_rows(sequence: VideoSequence, count: int) -> list[Any]:
    """Rows for evenly spread frames, labelled ones where there are any."""
    from vssbench.engine.reading import exact_flow_of, image_of, label_of
    from vssbench.rendering.images.contact_sheet import SheetRow

    labelled = list(sequence.labelled)
    rows = []
    for index in _spread(labelled or list(range(len(sequence))), count):
        rows.append(
            SheetRow(
                f"{sequence.name}  frame {index} of {len(sequence)}",
                image_of(sequence, index),
                label_of(sequence, index) if labelled else None,
                exact_flow_of(sequence, index),
            )
        )
    return rows
