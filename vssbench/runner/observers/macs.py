"""MACs of every method of a run, measured by the ledger and stored per dataset and method."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from vssbench.cost.steps import count_method_macs
from vssbench.errors import InputError
from vssbench.metrics.gop import gop_mean
from vssbench.results.basis import Basis
from vssbench.results.costs import COUNTED_WHILE_RUNNING, CostRecord, cost_path
from vssbench.results.latency_records import LatencyRecord, latency_path
from vssbench.results.store import RunFolder, foreign, what_is_wrong
from vssbench.runner.observers.thop import thop_gop_mean
from vssbench.runner.plan import Job
from vssbench.runner.workshop import Workshop


def measure_costs(
    shop: Workshop, folder: RunFolder, jobs: Sequence[Job], basis: Basis, on_stage: Callable[[str], None]
) -> None:
    """Store the cost of every (dataset, method) at the size of the dataset's first sequence; of streams as they are by codec.

    What does not depend on the pictures is counted once on blank frames. Adaptive methods were counted while they ran;
    their record sums up the stored units of all codecs that encode and is written anew in every session. A record that is
    damaged or from elsewhere is set aside and told.
    """
    executed: dict[tuple[str, str, str], StepMacs] | None = None
    for job in {(one.dataset, one.codec): one for one in jobs}.values():
        size = shop.sequence(job.dataset, job.sequence).size
        as_it_is = shop.codec(job.dataset, job.codec).codec == "source"
        lengths = _run_lengths(job, jobs) if as_it_is else [shop.experiment.protocol.keyframe_interval]
        for title, method in shop.methods(job.dataset, job.codec, size).items():
            relative = cost_path(job.dataset, title, job.codec if as_it_is else "")
            steps = None
            if method.needs.adaptive:
                executed = _executed(shop, folder, basis) if executed is None else executed
                steps = executed.get((job.dataset, job.codec if as_it_is else "", title), {})
            elif is_stored(folder, relative, CostRecord, basis.of_dataset(job.dataset), on_stage):
                continue
            record = _cost(shop, job, title, lengths, steps).model_copy(
                update={"codec": job.codec if as_it_is else ""}
            )
            folder.write_record(relative, record, basis.of_dataset(job.dataset)[-1])


def _cost(shop: Workshop, job: Job, title: str, lengths: Sequence[int], steps: StepMacs | None) -> CostRecord:
    """Of one method over groups of pictures of these lengths; steps: what was counted while it ran, of adaptive ones."""
    size = shop.sequence(job.dataset, job.sequence).size
    method = shop.methods(job.dataset, job.codec, size)[title]
    interval, mean_length = shop.experiment.protocol.keyframe_interval, sum(lengths) / len(lengths)
    figures = None if steps is None else gop_figures(steps, lengths)
    # of an adaptive method blank frames tell what cannot be counted, not how much work there is
    cost = count_method_macs(method, size, interval if figures is None else min(interval, 2))
    if figures is None:
        encoded = mean_length == interval
        figures = {
            "key_gmacs": cost.key / 1e9,
            "non_key_gmacs": cost.non_key / 1e9,
            "gop_mean_gmacs": (cost.gop_mean if encoded else gop_mean(cost.key, cost.non_key, mean_length))
            / 1e9,
        }
        counted_on = "blank frames"
    else:
        counted_on = COUNTED_WHILE_RUNNING
    name = next(spec.name for spec in shop.specs(job.dataset, job.codec) if spec.title == title)
    return CostRecord(
        dataset=job.dataset,
        method=title,
        size=size,
        delay_frames=method.needs.lookahead,
        keyframe_interval=mean_length,
        gop_mean_thop_gmacs=thop_gop_mean(name, method, size, mean_length),
        counted_on=counted_on,
        uncounted=cost.uncounted,
        **figures,
    )


def _run_lengths(job: Job, jobs: Sequence[Job]) -> list[int]:
    """Pictures of each group that is run of the job's dataset and codec."""
    own = [one for one in jobs if (one.dataset, one.codec) == (job.dataset, job.codec)]
    return [clip.length for one in own for clip in one.clips if clip.scored]


StepMacs = dict[int, tuple[int, int]]
"""Keyframe distance -> (steps, MACs)."""


def gop_figures(step_macs: StepMacs, lengths: Sequence[int] | int) -> dict[str, float] | None:
    """Key, non-key and GOP-mean figures (1e9 MACs) of steps counted as they ran; None without a keyframe.

    Every distance weighs as often as groups of `lengths` pictures have it, however often clips that end early met it; a
    distance nobody met takes the mean of the others between keyframes.

    lengths 3, {0: (2, 20), 1: (2, 8), 2: (1, 6)}:   key 10, others 4 and 6, mean (10 + 4 + 6) / 3
    """
    if 0 not in step_macs:
        return None
    lengths = [lengths] if isinstance(lengths, int) else lengths
    means = {d: macs / steps / 1e9 for d, (steps, macs) in step_macs.items()}
    weights = {d: sum(length > d for length in lengths) for d in means if d > 0}
    others = sum(weights.values())
    non_key = sum(means[d] * weight for d, weight in weights.items()) / others if others else means[0]
    mean = gop_mean(means[0], non_key, sum(lengths) / len(lengths))
    return {"key_gmacs": means[0], "non_key_gmacs": non_key, "gop_mean_gmacs": mean}


def _executed(shop: Workshop, folder: RunFolder, basis: Basis) -> dict[tuple[str, str, str], StepMacs]:
    """Steps and MACs by distance over all stored units, by (dataset, codec, method); codec '' for all that are encoded."""
    found: dict[tuple[str, str, str], StepMacs] = {}
    for unit in folder.units(basis.of_unit):
        key = unit.key
        as_it_is = shop.codec(key.dataset, key.codec).codec == "source"
        sums = found.setdefault((key.dataset, key.codec if as_it_is else "", key.method), {})
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
        place = record.dataset, record.method
        own = cost_path(*place, record.codec) if isinstance(record, CostRecord) else latency_path(*place)
        if own != relative:
            raise foreign(path)
    except InputError as error:
        on_stage(f"{what_is_wrong(error)}; set aside as {folder.set_aside(path)}, it is made again")
        return False
    return True
