"""`vssbench weights`: convert released checkpoints, list and describe weight files; `vssbench export`: networks as ONNX."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from vssbench.networks.weights import WeightsMetadata

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command()
def convert(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Unpacked AR-Seg release (camvid-psp18/HR, .../LR, .../AR with .pth files), or ESPNetv2's .pth files."
        ),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder for the .safetensors files and manifest.json.")
    ],
    dtype: Annotated[str, typer.Option(help="float32, or float16 for half the size.")] = "float32",
) -> None:
    """Convert released checkpoints of AR-Seg or ESPNetv2.

    They become safetensors with a manifest. Of each scale the file with the highest epoch is taken. Nothing in the .pth files is executed, and nothing is
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
    """List the weights that ship with vssbench.

    And the names that stand for them; the same as `vssbench list weights`.
    """
    from vssbench.cli.list import list_names

    list_names("weights")


@app.command()
def show(
    reference: Annotated[str, typer.Argument(help="Packaged name or path of a .safetensors file.")],
) -> None:
    """Say all that a weight file tells about itself.

    Network, origin, licence, training, pixels, classes, digest, parameters.
    """
    from vssbench.files import digest_file
    from vssbench.networks.weights import locate_weights, read_weights

    tensors, metadata = read_weights(reference)
    path = locate_weights(reference)
    typer.echo(f"file           {path}")
    typer.echo(f"digest         sha256 {digest_file(path)}")
    numbers = sum(t.numel() for t in tensors.values())
    typer.echo(f"parameters     {numbers} numbers in {len(tensors)} tensors")
    if metadata is None:
        typer.echo("metadata       none: the file was not written by vssbench")
        return
    for word, value in _described(metadata):
        typer.echo(f"{word:<15}{value or 'not stated'}")


def _described(metadata: WeightsMetadata) -> Iterator[tuple[str, str]]:
    size, scale = metadata.size, metadata.lr_scale
    yield "network", f"{metadata.network}, width {metadata.width}, {metadata.classes} classes"
    yield "classes", ", ".join(metadata.class_names)
    yield "origin", ", ".join(filter(None, (metadata.experiment, metadata.notes)))
    yield "licence", metadata.licence
    yield "trained on", metadata.data
    yield "seed", "" if metadata.seed is None else str(metadata.seed)
    yield "normalisation", metadata.normalisation.describe() if metadata.normalisation else ""
    yield "frame size", f"{size[0]}x{size[1]}" if size else ""
    yield "lr_scale", f"{scale:g}" if scale is not None else ""
    yield (
        "scores",
        ", ".join(
            f"{name} {value:g}"
            for name, value in sorted(metadata.metrics.items(), key=lambda m: (len(m[0]), m[0]))
        ),
    )


def export(
    method: Annotated[str, typer.Argument(help="Registered method, e.g. constant.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the .onnx files.")],
    size: Annotated[str, typer.Option(help="Frame size HEIGHTxWIDTH.")] = "720x960",
    classes: Annotated[
        int | None, typer.Option(min=2, help="Number of classes; default: that of the weights, else 12.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Option of the method, e.g. network=lite0; weights.network=FILE; repeatable."
        ),
    ] = None,
) -> None:
    """Write a method's networks as ONNX files.

    Feature and classifier apart, each with what is known of it. Their inputs have the sides that the method gives its networks at this frame size, padding and lr_scale included.
    """
    import torch

    from vssbench.cli.profile import method_spec, parse_size
    from vssbench.engine.build import trained_method
    from vssbench.engine.onnx_runtime import networks_of, require_onnx, write_onnx
    from vssbench.method import BuildContext
    from vssbench.networks.weights import read_metadata

    require_onnx("export")
    spec = method_spec(method, tuple(set_ or ()))
    options = spec.options()
    known = {part: read_metadata(reference) for part, reference in options.weights.items()}
    told = next((metadata.classes for metadata in known.values() if metadata is not None), None)
    context = BuildContext(classes or told or 12, parse_size(size), 12, torch.device("cpu"))
    built = trained_method(spec.name, options, context, title=spec.title)
    about = {}
    for part, network in networks_of(built):
        metadata = known.get(part)
        about[part] = {
            "producer": "vssbench",
            "network": str(network.name),
            "width": str(network.width),
            "classes": json.dumps(list(metadata.class_names) if metadata else network.classes),
            "normalisation": built.normalisation.describe(),
            "frame_size": size,
            "lr_scale": f"{built.lr_scale_of(part):g}",
            "weights": options.weights.get(part, "untrained"),
            "licence": metadata.licence if metadata else "",
        }
    for path in write_onnx(built, out, f"export {method}", about):
        typer.echo(str(path))
