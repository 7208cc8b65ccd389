"""MACs of every method of a run, measured by the ledger and stored per dataset and method."""

from __future__ import annotations

from collections.abc import Sequence

from vssbench.cost.steps import count_method_macs
from vssbench.errors import InputError
from vssbench.analysis.run import COUNTED_WHILE_RUNNING
from vssbench.results.store import RunFolder, slug
from vssbench.runner.plan import WorkItem
from vssbench.runner.thop import thop_gop_mean
from vssbench.runner.workshop import Workshop


def measure_costs(shop: Workshop, folder: RunFolder, items: Sequence[WorkItem]) -> None:
    """Store the cost of every (dataset, method) at the size of the dataset's first sequence.

    What does not depend on the pictures is counted once on blank frames. Adaptive methods were counted while they ran;
    their record sums up the stored units of all codecs and is written anew in every session.
    """
    interval = shop.experiment.protocol.keyframe_interval
    names = {spec.title: spec.name for spec in shop.experiment.methods}
    executed: dict[tuple[str, str], StepMacs] | None = None
    for item in {(i.dataset, i.codec): i for i in items}.values():
        size = shop.sequence(item.dataset, item.sequence).size
        for title, method in shop.methods(item.dataset, item.codec, size).items():
            relative = f"costs/{slug(item.dataset)}/{slug(title)}.json"
            figures: dict[str, float] | None = None
            if method.needs.adaptive:
                executed = _executed(folder) if executed is None else executed
                figures = gop_figures(executed.get((item.dataset, title), {}), interval)
            elif _is_stored(folder, relative):
                continue
            counted_on = COUNTED_WHILE_RUNNING
            if figures is None:
                cost, counted_on = count_method_macs(method, size, interval), "blank frames"
                figures = {
                    "key_gmacs": cost.key / 1e9,
                    "non_key_gmacs": cost.non_key / 1e9,
                    "gop_mean_gmacs": cost.gop_mean / 1e9,
                }
            thop = thop_gop_mean(names[title], method, size, interval)
            if thop is not None:
                figures = {**figures, "gop_mean_thop_gmacs": thop}
            known = {
                "dataset": item.dataset,
                "method": title,
                "size": list(size),
                "delay_frames": method.needs.lookahead,
                "budget_knob": list(method.budget_knob),
            }
            record = {**known, "keyframe_interval": interval, **figures, "rule": "exact"}
            folder.write_json(
                relative, record | ({"counted_on": counted_on} if method.needs.adaptive else {})
            )


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
    mean = (means[0] + (interval - 1) * non_key) / interval
    return {"key_gmacs": means[0], "non_key_gmacs": non_key, "gop_mean_gmacs": mean}


def _executed(folder: RunFolder) -> dict[tuple[str, str], StepMacs]:
    """Steps and MACs by distance over all stored units, by (dataset, method)."""
    found: dict[tuple[str, str], StepMacs] = {}
    for unit in folder.units():
        sums = found.setdefault((unit.key.dataset, unit.key.method), {})
        for distance, steps, macs in unit.step_macs or ():
            before = sums.get(distance, (0, 0))
            sums[distance] = (before[0] + steps, before[1] + macs)
    return found


def _is_stored(folder: RunFolder, relative: str) -> bool:
    """True if the record is there and whole; a damaged one is simply counted again."""
    try:
        stored = folder.read_json(relative)
    except InputError:
        return False
    return isinstance(stored, dict) and {"dataset", "method", "gop_mean_gmacs"} <= set(stored)
