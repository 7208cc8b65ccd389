"""MACs of every method of a run, measured by the ledger and stored per dataset and method."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from vssbench.cost.steps import count_method_macs
from vssbench.errors import InputError
from vssbench.metrics.gop import gop_mean
from vssbench.results.basis import Basis
from vssbench.results.costs import COUNTED_WHILE_RUNNING, CostRecord, cost_path
from vssbench.results.latency_records import LatencyRecord
from vssbench.results.store import RunFolder, foreign, slug, what_is_wrong
from vssbench.runner.observers.thop import thop_gop_mean
from vssbench.runner.plan import Job
from vssbench.runner.workshop import Workshop


def measure_costs(
    shop: Workshop, folder: RunFolder, jobs: Sequence[Job], basis: Basis, on_stage: Callable[[str], None]
) -> None:
    """Store the cost of every (dataset, method) at the size of the dataset's first sequence.

    What does not depend on the pictures is counted once on blank frames. Adaptive methods were counted while they ran;
    their record sums up the stored units of all codecs and is written anew in every session. A record that is damaged or
    from elsewhere is set aside and told.
    """
    interval = shop.experiment.protocol.keyframe_interval
    names = {spec.title: spec.name for spec in shop.experiment.methods}
    executed: dict[tuple[str, str], StepMacs] | None = None
    for job in {(one.dataset, one.codec): one for one in jobs}.values():
        size = shop.sequence(job.dataset, job.sequence).size
        for title, method in shop.methods(job.dataset, job.codec, size).items():
            relative = cost_path(job.dataset, title)
            figures: dict[str, float] | None = None
            if method.needs.adaptive:
                executed = _executed(folder, basis) if executed is None else executed
                figures = gop_figures(executed.get((job.dataset, title), {}), interval)
            elif is_stored(folder, relative, CostRecord, basis.of_dataset(job.dataset), on_stage):
                continue
            # of an adaptive method blank frames tell what cannot be counted, not how much work there is
            cost = count_method_macs(method, size, interval if figures is None else min(interval, 2))
            if figures is None:
                figures = {
                    "key_gmacs": cost.key / 1e9,
                    "non_key_gmacs": cost.non_key / 1e9,
                    "gop_mean_gmacs": cost.gop_mean / 1e9,
                }
                counted_on = "blank frames"
            else:
                counted_on = COUNTED_WHILE_RUNNING
            record = CostRecord(
                dataset=job.dataset,
                method=title,
                size=size,
                delay_frames=method.needs.lookahead,
                keyframe_interval=interval,
                gop_mean_thop_gmacs=thop_gop_mean(names[title], method, size, interval),
                counted_on=counted_on,
                uncounted=cost.uncounted,
                **figures,
            )
            folder.write_record(relative, record, basis.of_dataset(job.dataset)[-1])


StepMacs = dict[int, tuple[int, int]]
"""Keyframe distance -> (steps, MACs)."""


def gop_figures(step_macs: StepMacs, interval: int) -> dict[str, float] | None:
    """Key, non-key and GOP-mean figures (1e9 MACs) of steps counted as they ran; None without a keyframe.

    Every distance weighs alike, however often clips that end early met it; a distance nobody met takes the mean of the
    others between keyframes.

    interval 3, {0: (2, 20), 1: (2, 8), 2: (1, 6)}:   key 10, others 4 and 6, mean (10 + 4 + 6) / 3
    """
    if 0 not in step_macs:
        return None
    means = {d: macs / steps / 1e9 for d, (steps, macs) in step_macs.items()}
    others = [mean for d, mean in means.items() if d > 0]
    non_key = sum(others) / len(others) if others else means[0]
    mean = gop_mean(means[0], non_key, interval)
    return {"key_gmacs": means[0], "non_key_gmacs": non_key, "gop_mean_gmacs": mean}


def _executed(folder: RunFolder, basis: Basis) -> dict[tuple[str, str], StepMacs]:
    """Steps and MACs by distance over all stored units, by (dataset, method)."""
    found: dict[tuple[str, str], StepMacs] = {}
    for unit in folder.units(basis.of_unit):
        sums = found.setdefault((unit.key.dataset, unit.key.method), {})
        for distance, steps, macs in unit.step_macs or ():
            before = sums.get(distance, (0, 0))
            sums[distance] = (before[0] + steps, before[1] + macs)
    return found


def is_stored(
    folder: RunFolder,
    relative: str,
    kind: type[CostRecord | LatencyRecord],
    belongs: Collection[str],
    on_stage: Callable[[str], None],
) -> bool:
    """True if a record is there, whole, in its place and belongs; any other is set aside and told."""
    path = folder.path / relative
    if not path.exists():
        return False
    try:
        record = folder.read_record(relative, kind, belongs)
        if f"{slug(record.dataset)}/{slug(record.method)}.json" != "/".join(path.parts[-2:]):
            raise foreign(path)
    except InputError as error:
        on_stage(f"{what_is_wrong(error)}; set aside as {folder.set_aside(path)}, it is made again")
        return False
    return True
