"""`vssbench weights`: convert released checkpoints, list and describe weight files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command()
def convert(
    folder: Annotated[
        Path, typer.Argument(help="Unpacked AR-Seg release: camvid-psp18/HR, .../LR, .../AR with .pth files.")
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder for the .safetensors files and manifest.json.")
    ],
    dtype: Annotated[str, typer.Option(help="float32, or float16 for half the size.")] = "float32",
) -> None:
    """Turn the released AR-Seg checkpoints into safetensors with a manifest.

    Of each scale the file with the highest epoch is taken. Nothing in the .pth files is executed, and nothing is
    written unless every file fits its network.
    """
    from vssbench.errors import ConfigError
    from vssbench.networks.release import convert_release

    if dtype not in ("float32", "float16"):
        raise ConfigError(f"--dtype {dtype}: expected float32 or float16")
    stored: Literal["float32", "float16"] = "float16" if dtype == "float16" else "float32"
    converted = convert_release(
        folder, out, dtype=stored, report=lambda one: typer.echo(f"{one.path} -> {one.name}")
    )
    for one in converted:
        if one.superseded:
            typer.echo(
                f"note: {one.name} comes from {one.source_file}; left out: {', '.join(one.superseded)}"
            )
    typer.echo(f"{len(converted)} files and manifest.json in {out}")


@app.command("list")
def list_packaged() -> None:
    """List the weights that ship with vssbench, and the names that stand for them."""
    from vssbench.networks.weights import packaged_weights, weight_aliases

    for name, entry in sorted(packaged_weights().items()):
        typer.echo(f"{name}  {entry.get('summary', entry['file'])}")
    for name, parts in sorted(weight_aliases().items()):
        typer.echo(f"{name}  = " + ", ".join(f"{part}: {target}" for part, target in parts.items()))


@app.command()
def show(
    reference: Annotated[str, typer.Argument(help="Packaged name or path of a .safetensors file.")],
) -> None:
    """Describe a weight file: network, width, classes, where it comes from, parameters."""
    from vssbench.networks.weights import locate_weights, read_weights

    tensors, metadata = read_weights(reference)
    typer.echo(f"file        {locate_weights(reference)}")
    if metadata is None:
        typer.echo("metadata    none: the file was not written by vssbench")
    else:
        typer.echo(f"network     {metadata.network}, width {metadata.width}, {metadata.classes} classes")
        for word, value in (
            ("classes", ", ".join(metadata.class_names)),
            ("experiment", metadata.experiment),
            ("seed", "" if metadata.seed is None else str(metadata.seed)),
            ("metrics", ", ".join(f"{name} {value:g}" for name, value in sorted(metadata.metrics.items()))),
            ("notes", metadata.notes),
        ):
            if value:
                typer.echo(f"{word:<12}{value}")
    typer.echo(f"parameters  {sum(t.numel() for t in tensors.values())} numbers in {len(tensors)} tensors")
