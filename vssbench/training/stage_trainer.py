"""Training one stage of one contestant: the loop, exact resume, validation, and what stops it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vssbench.errors import OutOfMemoryError, VssbenchError, in_plugin, is_out_of_memory, out_of_memory
from vssbench.experiment.training import StageSection
from vssbench.method import Method, Stage
from vssbench.training.checkpoint import load_checkpoint, restore, save_checkpoint, state_of
from vssbench.training.data import BatchSource, NamedBatch, Prefetcher
from vssbench.training.ema import MovingAverage
from vssbench.training.log import Reporter, StageLog
from vssbench.training.schedule import Span, build_optimiser, parameter_groups, set_rate

CHECKPOINT_SECONDS = 120.0
"""A checkpoint is written at every validation, and in between when this much time has passed."""


class DivergedError(VssbenchError):
    """The loss or a gradient became NaN or infinite."""


@dataclass(frozen=True, slots=True, eq=False)
class Setup:
    """What surrounds a stage: place, identity, device, precision, listeners."""

    folder: Path
    experiment: str
    """Digest of the experiment."""
    title: str
    """'label/stage'."""
    seed: int
    device: torch.device
    precision: torch.dtype
    validate_every: int
    validate: Callable[[], dict[str, float]]
    """Returns 'miou' and 'miou_d<d>' in 0..1."""
    reporter: Reporter
    tensorboard: bool = False
    reduce_gradients: Callable[[list[Tensor]], None] | None = None
    """Averages gradients over processes in place (distributed training)."""
    span: Span | None = None
    """Place in a schedule that several stages share; None: a schedule of its own over `section.steps`."""
    before: tuple[Path, str] | None = None
    """Folder and title of the stage that this one goes on from."""
    is_main: bool = True
    """False in the processes of a distributed run that write nothing."""


class StageTrainer:
    """One stage. `run` continues from `last.pt` if there is one; the result does not depend on interruptions."""

    def __init__(
        self, method: Method, stage: Stage, section: StageSection, source: BatchSource, setup: Setup
    ) -> None:
        self.method, self.stage, self.section, self.source, self.setup = method, stage, section, source, setup
        self._prepare()
        self.trained = {name: method.parts()[name] for name in stage.parts}
        self.parameters = _select_parameters(method, stage)
        multipliers = {**stage.lr_multipliers, **section.lr_multipliers}
        self.optimiser = build_optimiser(parameter_groups(self.parameters, multipliers, section), section)
        self.average = MovingAverage(self.trained, section.ema_decay) if section.ema_decay else None
        self.steps = setup.span.steps if setup.span is not None else section.length
        self.step = 0
        self.best_miou = -1.0
        self.skipped_batches = 0

    def _prepare(self) -> None:
        if self.stage.prepare is not None:
            with in_plugin(self.method, f"{self.setup.title}, before the first step"):
                self.stage.prepare()

    def run(self) -> None:
        """Train to the last step. Raises DivergedError, StorageError, CheckpointError."""
        self._resume()
        log = self._log()
        reader = Prefetcher(self.source)
        saved = time.monotonic()
        try:
            if self.step == 0:
                self._validate(log)
            _set_modes(self.method, self.trained)
            while self.step < self.steps:
                values = self._train_step(reader)
                if log is not None:
                    log.step(self.step, values)
                self.step += 1
                note = f"loss {values['loss']:.3f}"
                self.setup.reporter.advance(self.setup.title, self.step, self.steps, note)
                if self.step % self.setup.validate_every == 0 or self.step == self.steps:
                    self._validate(log)
                    _set_modes(self.method, self.trained)
                    saved = time.monotonic()
                elif time.monotonic() - saved > CHECKPOINT_SECONDS:
                    self._save("last.pt")
                    saved = time.monotonic()
        except (RuntimeError, MemoryError, OutOfMemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise out_of_memory(
                f"{self.setup.title}: batch {self.section.batch}",
                str(self.setup.device),
                error,
                f"raise `accumulate` (now {self.section.accumulate}) or lower `batch` or `augmentation.crop`",
            ) from error
        finally:
            reader.close()
            if log is not None:
                log.close()

    def _log(self) -> StageLog | None:
        """None in processes that write nothing: they do not validate either."""
        if not self.setup.is_main:
            return None
        return StageLog(self.setup.folder, resumed_step=self.step, tensorboard=self.setup.tensorboard)

    def finish(self, checkpoint: str) -> None:
        """Put the weights of `checkpoint` ('last' or 'best', averaged where averaging is on) into the method."""
        path = self.setup.folder / f"{checkpoint}.pt"
        state = load_checkpoint(path, experiment=self.setup.experiment, stage=self.setup.title)
        restore(self.trained, state["average"] or state["parts"], path)

    def _train_step(self, reader: Prefetcher) -> dict[str, float]:
        started = time.perf_counter()
        # everything random inside the networks (dropout) hangs on seed, step and process alone: nothing to store
        process = (self.source.rank,) if self.source.rank else ()
        torch.manual_seed(hash_seed(self.setup.seed, self.source.stage_key, self.step, *process))
        rate = set_rate(self.optimiser, self.section, self.step, self.setup.span)
        self.optimiser.zero_grad(set_to_none=True)
        totals: dict[str, float] = {}
        learned = 0
        for part in range(self.section.accumulate):
            named = reader.take(self.step, part, following=self._following(part))
            empty = named.all_ignored and self.stage.recipe != "online"
            if empty:
                self.skipped_batches += 1
                if self.setup.reduce_gradients is None:
                    continue
            values = self._backward(_without_weight(named) if empty else named, weight=0.0 if empty else 1.0)
            if empty:
                continue
            learned += 1
            for name, value in values.items():
                totals[name] = totals.get(name, 0.0) + value / self.section.accumulate
        norm = self._update(learned)
        return {
            "loss": sum(totals.values()) if learned else 0.0,
            **totals,
            "learning_rate": rate,
            "gradient_norm": norm,
            "skipped_batches": self.skipped_batches,
            "seconds": time.perf_counter() - started,
        }

    def _following(self, part: int) -> tuple[int, int] | None:
        if part + 1 < self.section.accumulate:
            return self.step, part + 1
        return (self.step + 1, 0) if self.step + 1 < self.steps else None

    def _backward(self, named: NamedBatch, weight: float = 1.0) -> dict[str, float]:
        where = f"{self.setup.title}, step {self.step}, batch {', '.join(named.origins)}"
        with in_plugin(self.method, where), _autocast(self.setup):
            terms = self.stage.compute_loss(named.batch)
            loss = torch.stack([term.float() for term in terms.values()]).sum()
        values = {name: float(term.detach()) for name, term in terms.items()}
        if not math.isfinite(sum(values.values())):
            raise self._diverged(f"loss {values}", named)
        (weight * loss / self.section.accumulate).backward()  # type: ignore[no-untyped-call]
        self._last_origins = named.origins
        return values

    def _update(self, learned: int) -> float:
        if self.setup.reduce_gradients is not None:
            learned = self._share_gradients(learned, self.setup.reduce_gradients)
        if not learned:  # no process had a labelled pixel
            return 0.0
        trained = [p for p in self.parameters.values() if p.grad is not None]
        limit = self.section.clip_norm or math.inf
        norm = float(nn.utils.clip_grad_norm_(trained, limit))
        if not math.isfinite(norm):
            raise self._diverged(f"gradient norm {norm}", None)
        self.optimiser.step()
        if self.average is not None:
            self.average.update(self.trained)
        return norm

    def _share_gradients(self, learned: int, reduce: Callable[[list[Tensor]], None]) -> int:
        """Average what any process has a gradient of; the rest keeps none, so that the optimiser passes it over."""
        parameters = list(self.parameters.values())
        flags = [float(learned), *(float(p.grad is not None) for p in parameters)]
        used = torch.tensor(flags, device=self.setup.device)
        reduce([used])
        shared = [p for p, share in zip(parameters, used[1:].tolist(), strict=True) if share > 0]
        for parameter in shared:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        if used[0] > 0:
            reduce([p.grad for p in shared if p.grad is not None])
        return int(used[0] > 0)

    def _diverged(self, what: str, named: NamedBatch | None) -> DivergedError:
        origins = named.origins if named is not None else getattr(self, "_last_origins", ())
        kept = self.setup.folder / "last.pt"
        state = f"{kept} holds the last good state" if kept.exists() else "no checkpoint was written yet"
        return DivergedError(
            f"{self.setup.title}: {what} at step {self.step}, batch {', '.join(origins)}; {state}. Lower "
            "learning_rate, raise warmup_steps, set clip_norm, or choose precision=float32"
        )

    def _validate(self, log: StageLog | None) -> None:
        if log is None:
            return
        swapped = self.average.applied(self.trained) if self.average is not None else nullcontext()
        with swapped:
            with in_plugin(self.method, f"{self.setup.title}, validation at step {self.step}"):
                scores = self.setup.validate()
            monitors = self._monitors()
        log.validation(self.step, {**scores, **monitors})
        self.setup.reporter.message(
            f"{self.setup.title} step {self.step}: mIoU {100 * scores['miou']:.2f}  "
            + "  ".join(f"{k} {v:.4g}" for k, v in _in_percent(scores, monitors).items())
        )
        improved = scores["miou"] > self.best_miou and self.step > 0
        if improved:
            self.best_miou = scores["miou"]
        if improved:  # first: last.pt knows the new best, and a resume from it never writes best.pt again
            self._save("best.pt")
        self._save("last.pt")

    def _monitors(self) -> dict[str, float]:
        if self.stage.monitors is None:
            return {}
        for part in self.method.parts().values():
            part.eval()
        batch = self.source.monitor_batch()
        with torch.inference_mode(), in_plugin(self.method, f"{self.setup.title}, monitors"):
            return {name: float(value) for name, value in self.stage.monitors(batch).items()}

    def _save(self, name: str) -> None:
        if not self.setup.is_main:
            return
        state: dict[str, Any] = {
            "step": self.step,
            "parts": state_of(self.trained),
            "average": self.average.state() if self.average is not None else None,
            "optimiser": self.optimiser.state_dict(),
            "optimiser_names": self._optimiser_names(),
            "best_miou": self.best_miou,
            "skipped_batches": self.skipped_batches,
        }
        path = self.setup.folder / name
        save_checkpoint(path, state, experiment=self.setup.experiment, stage=self.setup.title)

    def _resume(self) -> None:
        path = self.setup.folder / "last.pt"
        if not path.exists():
            self._go_on()
            return
        state = load_checkpoint(path, experiment=self.setup.experiment, stage=self.setup.title)
        restore(self.trained, state["parts"], path)
        self.optimiser.load_state_dict(state["optimiser"])
        if self.average is not None:
            self.average.load(state["average"])
        self.step, self.best_miou = state["step"], state["best_miou"]
        self.skipped_batches = state["skipped_batches"]

    def _optimiser_names(self) -> list[str]:
        """'part.parameter' in the order in which the optimiser numbers them."""
        names = {id(parameter): name for name, parameter in self.parameters.items()}
        return [names[id(p)] for group in self.optimiser.param_groups for p in group["params"]]

    def _go_on(self) -> None:
        """Begin with the last weights, the optimiser's memory and the best mIoU of the stage before, if there is one."""
        if self.setup.before is None:
            return
        folder, title = self.setup.before
        path = folder / "last.pt"
        state = load_checkpoint(path, experiment=self.setup.experiment, stage=title)
        restore(self.trained, {k: v for k, v in state["parts"].items() if k in self.trained}, path)
        self._prepare()
        if self.section.ema_decay:
            self.average = MovingAverage(self.trained, self.section.ema_decay)
        remembered = dict(enumerate(state["optimiser_names"]))
        memory = {remembered[index]: value for index, value in state["optimiser"]["state"].items()}
        document = self.optimiser.state_dict()
        for index, name in enumerate(self._optimiser_names()):
            if name in memory:  # what trains for the first time here has no memory yet
                document["state"][index] = memory[name]
        self.optimiser.load_state_dict(document)
        self.best_miou = state["best_miou"]
        best = folder / "best.pt"
        if self.setup.is_main and best.exists():
            kept = load_checkpoint(best, experiment=self.setup.experiment, stage=title)
            body = {k: v for k, v in kept.items() if k not in ("format", "experiment", "stage")}
            save_checkpoint(
                self.setup.folder / "best.pt", body, experiment=self.setup.experiment, stage=self.setup.title
            )


def _in_percent(scores: dict[str, float], monitors: dict[str, float]) -> dict[str, float]:
    """What the line of a validation shows behind the mIoU."""
    return {**{k: 100 * v for k, v in scores.items() if k != "miou"}, **monitors}


def hash_seed(*numbers: int) -> int:
    """One 63-bit seed from several numbers, equal on every machine."""
    value = 0x9E3779B97F4A7C15
    for number in numbers:
        value = ((value ^ (number + 1)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        value ^= value >> 29
    return value >> 1


def _without_weight(named: NamedBatch) -> NamedBatch:
    """The batch with labels that give a finite loss, for a process whose share has no labelled pixel.

    Its loss counts nothing, but shared batch normalisation talks to the other processes in every pass.
    """
    return replace(named, batch=replace(named.batch, label=torch.zeros_like(named.batch.label)))


def _select_parameters(method: Method, stage: Stage) -> dict[str, nn.Parameter]:
    """'part.parameter' -> parameter for what trains; everything else loses requires_grad."""
    selected: dict[str, nn.Parameter] = {}
    for part, module in method.parts().items():
        for name, parameter in module.named_parameters():
            full = f"{part}.{name}"
            trains = part in stage.parts and not any(full.startswith(prefix) for prefix in stage.frozen)
            parameter.requires_grad_(trains)
            if trains:
                selected[full] = parameter
    return selected


def _set_modes(method: Method, trained: Mapping[str, nn.Module]) -> None:
    for name, module in method.parts().items():
        module.train(name in trained)


def _autocast(setup: Setup) -> AbstractContextManager[Any]:
    if setup.precision == torch.float32:
        return nullcontext()
    return torch.autocast(setup.device.type, setup.precision)
