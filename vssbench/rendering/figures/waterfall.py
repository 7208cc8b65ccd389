"""Where the time of a frame goes, from compressed bytes to labels: the stages that a stopwatch left in a run."""

from __future__ import annotations

from vssbench.analysis.run import Run
from vssbench.rendering.figures.charts import Waterfall
from vssbench.results.latency_records import latency_records

STAGES = ("decode", "motion", "copy", "network", "upsample")
"""The usual stages in the order in which a frame meets them; others follow."""

KINDS = ("key", "non_key", "partial")


def waterfalls(run: Run) -> list[Waterfall]:
    """All waterfalls of a run in the order of the experiment; empty where none was measured.

    Raises InputError if a record cannot be understood.
    """
    order = {title: i for i, title in enumerate(run.roster.method_titles)}
    found = []
    for record in latency_records(run.folder, run.basis):
        for kind in sorted(record.waterfall, key=KINDS.index):
            stages = record.waterfall[kind]
            names = sorted(stages, key=lambda name: STAGES.index(name) if name in STAGES else len(STAGES))
            times = tuple((name, stages[name].median_ms) for name in names)
            found.append(Waterfall(record.dataset, record.method, kind, times, record.device))
    return sorted(found, key=lambda one: (one.dataset, order.get(one.method, len(order))))
