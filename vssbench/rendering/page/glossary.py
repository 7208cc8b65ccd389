"""What the methods of a run are, a sentence for each: registered name, network, scale, and what the registry says."""

from __future__ import annotations

from vssbench.analysis.run import Run
from vssbench.registry import methods
from vssbench.rendering.tables.text_table import Looks
from vssbench.results.roster import MethodEntry


def glossary(run: Run, looks: Looks) -> dict[str, str]:
    """Name of every curve, in the order of the experiment -> what it is; methods of several seeds are told by the first.

    Plug-ins of other packages are not imported for it: a report reads run folders alone.
    """
    summaries = {entry.name: entry.summary for entry in methods.describe()}
    found: dict[str, str] = {}
    for group in run.groups:
        entry = run.roster.method(group.dataset, group.method)
        found.setdefault(looks[group.method][0], _sentence(entry, summaries.get(entry.name, "")))
    return found


def _sentence(entry: MethodEntry, summary: str) -> str:
    networks = [f"{n.name} width {n.width}" if n.width is not None else n.name for n in entry.networks]
    scale = f"scale {entry.lr_scale:g}" if entry.lr_scale != 1 else "full resolution"
    knobs = [f"{knob} {entry.options[knob]}" for knob in entry.budget_knob if knob in entry.options]
    parts = [entry.name, *networks, scale, *(knob for knob in knobs if not knob.startswith("lr_scale"))]
    told = ", ".join([*parts, *([entry.untrained_mark] if entry.untrained_mark else [])])
    return f"{told}: {summary.rstrip('.')}." if summary else f"{told}."
