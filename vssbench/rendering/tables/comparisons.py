"""Comparisons as tables: paired differences, two runs, families and their Bjontegaard values, training seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from vssbench.analysis.differences import RunDifference, SectionDifferences
from vssbench.analysis.families import FamilyComparison
from vssbench.analysis.run import Run
from vssbench.metrics.bjontegaard import BDResult
from vssbench.metrics.intervals import PairedDifference
from vssbench.rendering.tables.text_table import (
    NO_LOOKS,
    PLACE,
    Cell,
    Column,
    Looks,
    TextRow,
    TextTable,
    row_about,
    text_column,
    texts,
)
from vssbench.rendering.text import MISSING, ends_text, percent, printable

VERDICTS = {"+": "better", "-": "worse", "=": "equivalent", "~": "not told apart", "?": "no interval"}
POINTS = Column("difference", "difference", "points", scale=100, signed=True)
DETECTABLE = Column("detectable", "detectable", "points", scale=100, priority=3)
SEEDS_NOTE = (
    "Mean over training seeds. Over seeds: 95 % Student's t, the randomness of training on these frames. Over both: 95 % "
    "for new trainings on new sequences, where there are sequences enough. Differences are seed by seed where both "
    "methods have the same seeds."
)


def difference_table(sections: Sequence[SectionDifferences], looks: Looks = NO_LOOKS) -> TextTable:
    """Method minus the reference of the same training seed on the same frames, with Holm-adjusted p-values.

    A verdict other than 'not told apart' needs an adjusted p-value below 1 - level of the interval.
    """
    columns = (*PLACE, text_column("reference"), *_tested("difference", ""), DETECTABLE)
    rows = [
        row_about(
            section.dataset,
            section.codec,
            found.test,
            (*texts(found.anchor), *_test_cells(found), DETECTABLE.cell(found.detectable)),
            looks,
        )
        for section in sections
        for found in section.differences
    ]
    return TextTable("Paired differences in mIoU", columns, (tuple(rows),), _notes(sections))


def _notes(sections: Sequence[SectionDifferences]) -> tuple[str, ...]:
    """What was tested, adjusted for how many tests, and why sections are missing."""
    found = [difference for section in sections for difference in section.differences]
    tested = sum(not math.isnan(difference.p_value) for difference in found)
    note = (
        "mIoU of the method minus mIoU of the reference on the same frames, seed against the same seed, in percentage "
        f"points; p-values adjusted once for the {tested} comparisons of this table (Holm). Detectable: the smallest true "
        "difference that these sequences would show with 80 % chance, before that adjustment."
    )
    margin = found[0].margin if found else None
    if margin is not None:
        note += (
            f" Equivalent: the difference lies within {100 * margin:g} points either way (two one-sided tests, adjusted "
            "likewise)."
        )
    reasons = dict.fromkeys(d.miou.method for d in found if d.miou.note)
    said = (f"{s.dataset}, {s.codec}: {s.note}" for s in sections if s.note)
    return (note, *reasons, *said)


def run_comparison_table(first: str, second: str, found: Sequence[RunDifference]) -> TextTable:
    """Second run minus first run, a row per dataset, codec and method that both hold."""
    gmacs = Column("gmacs", "GMACs change", "%", digits=1, scale=100, signed=True, short="GMACs %")
    bits, key, other = (
        Column(name, f"{title} change", "%", digits=1, scale=100, signed=True, short=f"{short} %", priority=3)
        for name, title, short in (
            ("kbps", "bit rate", "bits"),
            ("key_ms", "key step time", "key ms"),
            ("non_key_ms", "other step time", "other ms"),
        )
    )
    same = replace(text_column("same", "same pixels"), priority=4)
    columns = (*PLACE, *_tested("mIoU change", "points"), gmacs, bits, key, other, same)
    sections: dict[tuple[str, str], list[TextRow]] = {}
    for item in found:
        times = [item.step_ms.get(place, (math.nan, math.nan)) for place in ("key", "non_key")]
        changes = (item.gop_mean_gmacs, item.kbps, *times)
        cells = (
            *_test_cells(item.difference),
            *(c.cell(_rise(*pair)) for c, pair in zip((gmacs, bits, key, other), changes, strict=True)),
            *texts("yes" if item.same_pixels else "no"),
        )
        row = row_about(item.dataset, item.codec, item.method, cells)
        sections.setdefault((item.dataset, item.codec), []).append(row)
    note = (
        "Second run minus first; change of mIoU in percentage points, p adjusted for all comparisons (Holm). Step times stand "
        "only where both runs were made on the same CPU model with as many workers; noise is not judged here."
    )
    rows = tuple(map(tuple, sections.values()))
    return TextTable(f"{second} against {first}", columns, rows, (note,), shared=2)


def _rise(before: float, after: float) -> float:
    return after / before - 1 if before > 0 else math.nan


def _tested(heading: str, unit: str) -> tuple[Column, ...]:
    return (
        Column("difference", heading, unit, short="change"),
        Column("interval", "interval"),
        Column("p", "adjusted p", short="p"),
        text_column("verdict"),
    )


def _test_cells(found: PairedDifference) -> tuple[Cell, ...]:
    p_value = found.adjusted_p_value
    return (
        POINTS.cell(found.miou.estimate),
        POINTS.interval(found.miou.low, found.miou.high),
        Cell(MISSING if math.isnan(p_value) else "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"),
        Cell(VERDICTS[found.mark]),
    )


def family_table(comparisons: Sequence[FamilyComparison]) -> TextTable:
    """BD-FLOPs in percent and BD-mIoU in points of each family of methods, with intervals where they exist."""
    columns = (
        *PLACE[:2],
        text_column("methods", long=True),
        text_column("against", long=True),
        Column("bd_flops", "BD-FLOPs", "%"),
        Column("bd_miou", "BD-mIoU", "points"),
        text_column("note", long=True),
    )
    rows = []
    for one in comparisons:
        notes = (one.note, _overlap_note(one.flops), _other_flags(one), _seed_note(one))
        points = (", ".join(one.points), ", ".join(one.anchor_points))
        numbers = (_bd_text(one.flops), _bd_text(one.miou))
        cells = texts(one.dataset, one.codec, *points, *numbers, "; ".join(filter(None, notes)))
        rows.append(TextRow(cells, {"dataset": one.dataset, "codec": one.codec}))
    note = (
        "Curves of mIoU over GMACs per frame against the constant-resolution curve. BD-FLOPs: mean relative change of "
        "MACs at equal mIoU (negative is cheaper); BD-mIoU: mean change in percentage points at equal MACs."
    )
    return TextTable("Bjontegaard differences", columns, (tuple(rows),), (note,))


def _bd_text(result: BDResult | None) -> str:
    if result is None:
        return MISSING
    ends = ends_text(*result.interval, sign="+") if result.interval is not None else ""
    return f"{percent(result.value, sign='+')} {ends}".strip()


def _overlap_note(result: BDResult | None) -> str:
    return "" if result is None else f"{100 * result.overlap_share:.0f} % of the mIoU range is shared"


def _other_flags(comparison: FamilyComparison) -> str:
    """Few points and dominated points, of either number; the overlap is told anyway."""
    results = [result for result in (comparison.flops, comparison.miou) if result is not None]
    flags = dict.fromkeys(flag for result in results for flag in result.flags)
    return "; ".join(flag for flag in flags if not flag.startswith("overlap"))


def _seed_note(comparison: FamilyComparison) -> str:
    flops, miou = comparison.flops_seeds, comparison.miou_seeds
    if flops is None or miou is None:
        return ""
    return (
        f"over {flops.seeds} seeds: BD-FLOPs {percent(flops.mean, sign='+')} % "
        f"{ends_text(flops.low, flops.high, sign='+')}, "
        f"BD-mIoU {percent(miou.mean, sign='+')} {ends_text(miou.low, miou.high, sign='+')}"
    )


def over_seeds_table(run: Run, looks: Looks = NO_LOOKS) -> TextTable:
    """A row per method over its training seeds; empty for runs without seeds."""
    over_seeds = Column("over_seeds", "over seeds")
    columns = (
        *PLACE,
        text_column("seeds"),
        Column("miou", "mIoU", "%", scale=100),
        over_seeds,
        Column("over_both", "over seeds and sequences"),
        Column("difference", "difference, over seeds", "points"),
        Column("difference_both", "over both", "points"),
        text_column("reference"),
    )
    rows = []
    for row in run.over_seeds:
        named = ", ".join(str(seed) for seed in row.seeds if seed is not None) or MISSING
        gap, both = row.difference, row.difference_both
        cells = (
            *texts(named),
            Cell(percent(row.miou.mean), row.miou.mean),
            Cell(ends_text(row.miou.low, row.miou.high)),
            Cell(ends_text(row.both.low, row.both.high) if row.both else ""),
            Cell(
                f"{percent(gap.mean, sign='+')} {ends_text(gap.low, gap.high, sign='+')}".strip()
                if gap
                else ""
            ),
            Cell(ends_text(both.low, both.high, sign="+") if both else ""),
            Cell(printable(row.reference)),
        )
        rows.append(row_about(row.dataset, row.codec, row.method, cells, looks))
    return TextTable("Over training seeds", columns, (tuple(rows),) if rows else (), (SEEDS_NOTE,))
