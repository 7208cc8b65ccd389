"""Where the time of a frame goes, from compressed bytes to labels: the stages that a stopwatch left in a run."""

from __future__ import annotations

from vssbench.analysis.run import Run
from vssbench.rendering.figures.charts import Waterfall
from vssbench.rendering.tables.latency import latency_records, unreadable

STAGES = ("decode", "motion", "copy", "network", "upsample")
"""The usual stages in the order in which a frame meets them; others follow."""


def waterfalls(run: Run) -> list[Waterfall]:
    """All waterfalls of a run in the order of the experiment; empty where none was measured.

    Raises InputError if a record cannot be understood.
    """
    order = {title: i for i, title in enumerate(run.roster.method_titles)}
    found = []
    for path, record in latency_records(run):
        try:
            held = {
                kind: {name: float(one["median_ms"]) for name, one in stages.items()}
                for kind, stages in record["waterfall"].items()
            }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise unreadable(path, error) from error
        for kind, stages in held.items():
            ordered = sorted(
                stages.items(), key=lambda one: STAGES.index(one[0]) if one[0] in STAGES else len(STAGES)
            )
            found.append(
                Waterfall(record["dataset"], record["method"], kind, tuple(ordered), str(record["device"]))
            )
    return sorted(found, key=lambda one: (one.dataset, order.get(one.method, len(order))))
