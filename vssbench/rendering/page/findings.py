"""What a run found, in sentences made from its numbers: the first paragraph of page and Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from vssbench.analysis.differences import SectionDifferences
from vssbench.analysis.run import Run
from vssbench.analysis.seeds import Seeded, seeded_methods
from vssbench.metrics.intervals import PairedDifference
from vssbench.rendering.text import percent, printable

MOST_NAMES = 6
"""More methods than this are counted instead of named."""
SAID = {
    "+": "more accurate than {}",
    "-": "less accurate than {}",
    "=": "as accurate as {} within the margin of {:g} points",
    "~": "not told apart from {}",
}


def findings(run: Run, sections: Sequence[SectionDifferences]) -> list[str]:
    """A paragraph for each dataset and codec: what was compared, which wins at which cost, what cannot be told apart."""
    places: dict[tuple[str, str], list[Seeded]] = {}
    for method in seeded_methods(run):
        places.setdefault((method.dataset, method.codec), []).append(method)
    tested = {(section.dataset, section.codec): section for section in sections}
    return [
        " ".join([_compared(run, methods), _leaders(run, methods), *_verdicts(run, tested.get(place))])
        for place, methods in places.items()
    ]


def _compared(run: Run, methods: Sequence[Seeded]) -> str:
    group = methods[0].groups[0]
    sequences = len({sequence for sequence, _ in group.labelled})
    seeds = max(len(method.seeds) for method in methods)
    trained = f", {seeds} training seeds each," if seeds > 1 else ""
    what = "frame" if run.roster.truth else "labelled frame"
    by = f", by agreement with the answers of {printable(run.roster.truth)}" if run.roster.truth else ""
    return (
        f"{printable(group.dataset)} coded as {printable(group.codec)}: {_count(len(methods), 'method')}{trained} on the same "
        f"bits, scored on {_count(len(group.labelled), what)} of {_count(sequences, 'sequence')}{by}."
    )


def _leaders(run: Run, methods: Sequence[Seeded]) -> str:
    """The most accurate method and the cheapest, with what each costs; the reference of an agreement is neither."""
    methods = [method for method in methods if method.title != run.roster.truth] or methods
    best = max(methods, key=_miou)
    text = f"Highest {run.roster.score}: {_with_cost(best)}"
    costed = [method for method in methods if math.isfinite(method.gmacs)]
    cheapest = min(costed, key=lambda method: method.gmacs, default=best)
    if cheapest is not best:
        text += f"; cheapest: {_with_cost(cheapest)}"
    return text + "."


def _with_cost(method: Seeded) -> str:
    cost = f" at {method.gmacs:.3g} GMACs a frame" if math.isfinite(method.gmacs) else ""
    return f"{printable(method.title)} with {percent(_miou(method))} %{cost}"


def _miou(method: Seeded) -> float:
    return sum(group.miou for group in method.groups) / len(method.groups)


def _verdicts(run: Run, section: SectionDifferences | None) -> Iterable[str]:
    """Methods by their verdict against the reference; seeds that disagree are not told apart."""
    if section is None:
        return
    if section.note:
        yield f"{section.note[0].upper()}{section.note[1:]}."
        return
    marks: dict[str, set[str]] = {}
    for found in section.differences:
        title = run.roster.method(section.dataset, found.test).title_without_seed
        marks.setdefault(title, set()).add(found.mark)
    reference = printable(section.reference)
    margin = 100 * (section.differences[0].margin or 0.0)
    for mark, words in SAID.items():
        named = [title for title, seen in marks.items() if (seen if len(seen) == 1 else {"~"}) == {mark}]
        if named:
            yield f"{_names(named)} {'is' if len(named) == 1 else 'are'} {words.format(reference, margin)}."
    if any(seen == {"?"} for seen in marks.values()):
        note = section.differences[0].miou.note
        yield f"Differences carry no interval ({note}): other sequences may order the methods otherwise."
    yield from _power([d for d in section.differences if not math.isnan(d.detectable)])


def _power(found: Sequence[PairedDifference]) -> Iterable[str]:
    if found and any(d.mark == "~" for d in found):
        least = max(d.detectable for d in found if d.mark == "~")
        yield f"Not told apart is not equal: a true difference below {100 * least:.1f} points could go unseen."


def _names(titles: Sequence[str]) -> str:
    if len(titles) > MOST_NAMES:
        return f"{', '.join(map(printable, titles[:MOST_NAMES]))} and {len(titles) - MOST_NAMES} more"
    *others, last = map(printable, titles)
    return f"{', '.join(others)} and {last}" if others else last


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")
