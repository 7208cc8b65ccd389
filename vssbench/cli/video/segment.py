"""`vssbench segment`: what a method sees in a video, as label pictures and a film to look at."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vssbench.cli.video.options import (
    Classes,
    Device,
    KeyframeInterval,
    KeyframeKind,
    Orientation,
    Partial,
    Stream,
    Video,
    naming_partial,
)
from vssbench.errors import ConfigError

if TYPE_CHECKING:
    from vssbench.engine.streams import Segmentation
    from vssbench.runner.answers import Answers

SECONDS_BETWEEN_LINES = 10


def segment(
    video: Video,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the answers.")],
    method: Annotated[str, typer.Option(help="Registered method, see `vssbench list methods`.")] = "constant",
    weights: Annotated[
        list[str] | None, typer.Option(help="Packaged weights by name, or PART=FILE; may be repeated.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="An option of the method.")
    ] = None,
    classes: Classes = None,
    overlay: Annotated[bool, typer.Option(help="Also write overlay.mp4, labels over the pictures.")] = True,
    label_video: Annotated[
        bool, typer.Option("--label-video", help="Also write labels.mkv, class indices without loss (FFV1).")
    ] = False,
    keyframes: KeyframeKind = "irap",
    keyframe_interval: KeyframeInterval = None,
    orientation: Orientation = "upright",
    stream: Stream = None,
    partial: Partial = False,
    device: Device = "auto",
    force: Annotated[
        bool, typer.Option("--force", help="Replace what another call wrote into the folder.")
    ] = False,
) -> None:
    """Write what a method sees in VIDEO: label maps and a film.

    They are labels/000000.png ... and overlay.mp4. Stopped, the same command goes on where it was. A folder that holds anything else is left alone without --force.
    """
    from vssbench.class_tables import coloured, read_class_table
    from vssbench.engine.memory import keep_freed_memory
    from vssbench.engine.streams import open_segmentation
    from vssbench.runner.answers import Answers

    keep_freed_memory()
    table = read_class_table(classes) if classes else None
    with naming_partial(partial):
        work = open_segmentation(
            video,
            _entry(method, weights or [], set_ or []),
            class_names=table.names if table else (),
            device=device,
            keyframes=keyframes,
            keyframe_interval=keyframe_interval,
            orientation=orientation,
            stream=stream,
            partial=partial,
        )
        _remark(work)
        _write(Answers(output, work, table or coloured(work.class_names)), force, overlay, label_video)
    typer.echo(f"{len(work.frames)} pictures ({work.frames[0]} to {work.frames[-1]}): {output}")


def _write(answers: Answers, force: bool, overlay: bool, label_video: bool) -> None:
    """Labels, then the films that are made of them."""
    from vssbench.engine.ownership import owned, sweep

    with owned(answers.path):
        sweep(answers.path)
        answers.claim(force)
        with _progress(len(answers.work.frames)) as step:
            answers.write_labels(step("labels"))
            if label_video:
                answers.write_label_film(step("labels.mkv"))
            if overlay:
                answers.write_overlay(step("overlay.mp4"))


def _remark(work: Segmentation) -> None:
    """What the reader of the answers must know."""
    lines = [*work.method.remarks]
    if work.method.untrained:
        lines.append(f"{work.spec.title} is untrained: no weights for {', '.join(work.method.untrained)}")
    if work.frames[0]:
        lines.append(f"the first {work.frames[0]} pictures come before the first keyframe and are left out")
    for line in lines:
        typer.echo(f"vssbench: {line}", err=True)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[str], Callable[[int], None]]]:
    """Bars on a terminal's stderr, with rate and time left; elsewhere a line now and then."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    rate = TextColumn("{task.fields[rate]:.1f} pictures/s")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        rate,
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:

        def step(name: str) -> Callable[[int], None]:
            task = bars.add_task(name, total=total, rate=0.0)
            started, told, first = time.monotonic(), time.monotonic(), -1

            def done(count: int) -> None:
                nonlocal told, first
                first = count if first < 0 else first
                now = time.monotonic()
                speed = (count - first) / max(now - started, 1e-9)
                bars.update(task, completed=count, rate=speed)
                if not console.is_terminal and now - told > SECONDS_BETWEEN_LINES and speed:
                    told = now
                    left = (total - count) / speed
                    typer.echo(
                        f"{name}: {count} of {total}, {speed:.1f} pictures/s, {left:.0f} s left", err=True
                    )

            return done

        yield step


def _entry(method: str, weights: list[str], options: list[str]) -> dict[str, Any]:
    """An entry of an experiment. Raises ConfigError for what is not KEY=VALUE."""
    import yaml

    entry: dict[str, Any] = {"name": method}
    if len(weights) == 1 and "=" not in weights[0]:
        entry["weights"] = weights[0]
    elif weights:
        entry["weights"] = dict(_pair("--weights", one) for one in weights)
    for one in options:
        key, value = _pair("--set", one)
        try:
            entry[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {one!r}: the value is no YAML ({error})") from error
    return entry


def _pair(option: str, text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign or not key:
        expected = (
            "key=value, like lr_scale=0.5" if option == "--set" else "one NAME, or PART=FILE for each part"
        )
        raise ConfigError(f"{option} {text!r}: expected {expected}")
    return key, value
