"""MACs of every method of a run, measured by the ledger and stored per dataset and method."""

from __future__ import annotations

from collections.abc import Sequence

from vssbench.cost.steps import count_method_macs
from vssbench.errors import InputError
from vssbench.results.store import RunFolder, slug
from vssbench.runner.plan import WorkItem
from vssbench.runner.workshop import Workshop


def measure_costs(shop: Workshop, folder: RunFolder, items: Sequence[WorkItem]) -> None:
    """Count every (dataset, method) that has no cost record yet, at the size of the dataset's first sequence."""
    interval = shop.experiment.protocol.keyframe_interval
    for item in {(i.dataset, i.codec): i for i in items}.values():
        size = shop.sequence(item.dataset, item.sequence).size
        for title, method in shop.methods(item.dataset, item.codec, size).items():
            relative = f"costs/{slug(item.dataset)}/{slug(title)}.json"
            if _is_stored(folder, relative):
                continue
            cost = count_method_macs(method, size, interval)
            folder.write_json(
                relative,
                {
                    "dataset": item.dataset,
                    "method": title,
                    "size": list(size),
                    "keyframe_interval": interval,
                    "key_gmacs": cost.key / 1e9,
                    "non_key_gmacs": cost.non_key / 1e9,
                    "gop_mean_gmacs": cost.gop_mean / 1e9,
                    "rule": "exact",
                },
            )


def _is_stored(folder: RunFolder, relative: str) -> bool:
    """True if the record is there and whole; a damaged one is simply counted again."""
    try:
        stored = folder.read_json(relative)
    except InputError:
        return False
    return isinstance(stored, dict) and {"dataset", "method", "gop_mean_gmacs"} <= set(stored)
