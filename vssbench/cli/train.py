"""`vssbench train`: run a training experiment and show how it goes."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

if TYPE_CHECKING:
    from vssbench.experiment.training import TrainingExperiment

PLAIN_SECONDS = 30.0
"""Between two progress lines where the output is no terminal."""


class ConsoleReporter:
    """Draws progress bars with the time left on a terminal, writes a line now and then elsewhere."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bars: Progress | None = None
        self._tasks: dict[str, Any] = {}
        self._lines: dict[str, tuple[float, float, int]] = {}
        if console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
            )
            self._bars = Progress(
                *columns, TimeRemainingColumn(), TextColumn("{task.fields[note]}"), console=console
            )

    def __enter__(self) -> ConsoleReporter:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def message(self, text: str) -> None:
        """Print one line with the time."""
        self.console.print(
            f"{time.strftime('%H:%M:%S')} {text}", markup=False, highlight=False, soft_wrap=True
        )

    def advance(self, task: str, done: int, total: int, note: str = "") -> None:
        """Move the bar of `task`."""
        if self._bars is None:
            self._advance_line(task, done, total, note)
            return
        if task not in self._tasks:
            self._tasks[task] = self._bars.add_task(task, total=total, note="")
        bar = self._bars.tasks[self._tasks[task]]
        if done < bar.completed:  # the next seed's training has the same name
            self._bars.reset(bar.id, total=total)
        self._bars.update(self._tasks[task], completed=done, note=note)

    def _advance_line(self, task: str, done: int, total: int, note: str) -> None:
        now = time.monotonic()
        started, shown, first = self._lines.get(task, (now, now, done))
        if done < first:  # the next seed's training has the same name
            started, shown, first = now, now, done
        if now - shown >= PLAIN_SECONDS or done == total:
            left = (now - started) / max(done - first, 1) * (total - done)
            self.message(f"{task} {done}/{total} {note} ({left:.0f} s left)")
            shown = now
        self._lines[task] = (started, shown, first)


def train(
    experiment: Annotated[str, typer.Argument(help="packaged name (quickstart) or a YAML file")],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="folder for logs, checkpoints and weights (default: training/NAME)"
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="change one key: dataset.root=PATH, contestants.LABEL.stages.image.steps=100"
        ),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda or cuda:N")] = "cpu",
    threads: Annotated[
        int, typer.Option("--threads", min=0, help="CPU threads; 0: as many as there are cores")
    ] = 0,
    seed: Annotated[
        list[int] | None,
        typer.Option(
            "--seed", min=0, help="train with this seed (repeatable), in seed-N; default: the file's `seeds`"
        ),
    ] = None,
    backbone_weights: Annotated[
        Path | None,
        typer.Option(
            "--backbone-weights",
            help="ImageNet weights to start from: 'imagenet' (lite0, extra `pretrained`) or a ResNet-18 file of torchvision's",
        ),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="train the contestants with these labels, nothing else")
    ] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="also write TensorBoard logs")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what would be trained and from what, and stop")
    ] = False,
) -> None:
    """Train the methods of an experiment.

    The same command continues after an interruption.
    """
    from vssbench.experiment.training import load_training_experiment

    loaded = load_training_experiment(experiment, settings or ())
    if backbone_weights is not None:
        loaded = loaded.model_copy(update={"backbone_weights": backbone_weights})
    seeds = list(dict.fromkeys(seed or loaded.seeds))
    folder = output or Path("training") / loaded.name
    if dry_run:
        _print_plan(_console(quiet=False), loaded, folder, seeds, only or ())
    else:
        _train(loaded, folder, seeds, only or (), device, threads, tensorboard=tensorboard)


def _train(
    loaded: TrainingExperiment,
    folder: Path,
    seeds: list[int],
    only: Sequence[str],
    device: str,
    threads: int,
    *,
    tensorboard: bool,
) -> None:
    from vssbench.engine.memory import set_threads
    from vssbench.training.distributed import joined_processes, local_device
    from vssbench.training.seeds import train_seeds
    from vssbench.training.trainer import Trainer

    set_threads(threads or os.cpu_count() or 1)
    device = local_device(device)
    with joined_processes(device) as processes:
        console = _console(quiet=processes.rank != 0)
        with ConsoleReporter(console) as reporter:

            def make(single: TrainingExperiment, place: Path) -> Trainer:
                return Trainer(
                    single,
                    place,
                    device=device,
                    reporter=reporter,
                    tensorboard=tensorboard,
                    processes=processes,
                    common=folder,
                )

            if seeds:
                summary = train_seeds(loaded, folder, seeds, make, only=only)
            else:
                summary = make(loaded.for_seed(loaded.seed), folder).run(only)
        if processes.rank == 0:
            _write_figures(loaded, folder, seeds)
            _print_summary(console, loaded, summary, folder)


def _print_plan(
    console: Console, loaded: TrainingExperiment, folder: Path, seeds: list[int], only: Sequence[str]
) -> None:
    """Contestants with their stages, what each begins as, and whether it is there."""
    from vssbench.training.seeds import seed_folder, single_trainings
    from vssbench.training.trainer import Trainer

    loaded.require_labels(only)
    console.print(f"{loaded.name}: would be trained in {folder}", markup=False, highlight=False)
    if seeds:
        console.print(f"seeds {', '.join(map(str, seeds))}, a folder each", highlight=False)
    table = Table()
    for head in ("contestant", "method", "stages x batch", "begins as", "state"):
        table.add_column(head, overflow="fold")
    places = [seed_folder(folder, seed) for seed in seeds] or [folder]
    for contestant in loaded.contestants:
        if only and contestant.label not in only:
            continue
        stages = ", ".join(f"{n} {s.words} x {s.batch}" for n, s in contestant.stages.items())
        done = sum((place / contestant.label / "final.json").exists() for place in places)
        state = "trained" if done == len(places) else f"{done} of {len(places)} trained" if done else "to do"
        begun = "\n".join(
            _beginning(part, source, seeds) for part, source in loaded.begins_as(contestant.label).items()
        )
        table.add_row(contestant.label, contestant.name, stages, begun, state)
    console.print(table)
    for single, place in single_trainings(loaded, folder, seeds):
        for remark in Trainer(single, place, common=folder).prepare(only):
            typer.echo(f"warning: {remark}")


def _beginning(part: str, source: str, seeds: list[int]) -> str:
    files = {source.replace("{seed}", str(seed)) for seed in seeds} or {source}
    missing = sorted(name for name in files if name.endswith(".safetensors") and not Path(name).is_file())
    if not missing:
        return f"{part}: {source}"
    return f"{part}: {source}  (NOT THERE: {', '.join(Path(name).name for name in missing)}; train it first)"


def _write_figures(loaded: TrainingExperiment, folder: Path, seeds: list[int]) -> None:
    """The training curves of all contestants, a figure for each seed."""
    from vssbench.rendering.figures.training import write_training_figure
    from vssbench.training.seeds import seed_folder

    stages = [(contestant.label, stage) for contestant in loaded.contestants for stage in contestant.stages]
    for place in [seed_folder(folder, seed) for seed in seeds] or [folder]:
        write_training_figure(place, stages)


def _console(*, quiet: bool) -> Console:
    """A log file has room for the whole table; rich would assume 80 columns."""
    console = Console(quiet=quiet)
    return console if console.is_terminal else Console(quiet=quiet, width=160)


def _print_summary(
    console: Console, experiment: TrainingExperiment, summary: dict[str, Any], folder: Path
) -> None:
    from vssbench.rendering.tables.terminal import terminal_table
    from vssbench.rendering.tables.trainings import contestant_table

    title = f"{experiment.name}: mIoU % on coded validation clips, by distance to the keyframe"
    console.print(terminal_table(contestant_table(title, summary["contestants"]), console.width))
    console.print(f"logs, curves, checkpoints and weights: {folder}", highlight=False)
