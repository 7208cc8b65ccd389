"""Writes docs/claims.md: each claim of the AR-Seg paper beside what the committed records say of it.

    python reports/results/claims.py

Numbers come from the records.tar.xz under reports/results; a verdict is the interval's, never a sentence of ours.
"""

from __future__ import annotations

import math
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from vssbench.analysis.differences import measured_against, paired_differences
from vssbench.analysis.run import Run, load_run
from vssbench.analysis.seeds import SeedRow

RESULTS = Path(__file__).resolve().parent
PAGE = RESULTS.parents[1] / "docs" / "claims.md"
TRAINED = {
    "CamVid": "camvid_alphas/l12",
    "streets, BiSeNet18": "streets_bise18/methods",
    "streets, PSPNet18": "streets_psp18/methods",
}
"""Columns of the first table -> records: three trainings of every method."""
SYSTEMS = {"CamVid": "table2_camvid/methods", "streets": "table2_synthetic/methods"}
"""Columns of the second table -> records: one training of every method."""
NO_LOSS_POINTS = -0.5


@dataclass(frozen=True)
class Found:
    """A number with its interval, both in the unit of the claim; NaN for ends that are not known."""

    value: float
    low: float = math.nan
    high: float = math.nan

    def verdict(self, least: float) -> bool | None:
        """Whether the claim 'at least so much' holds: None where the interval leaves it open."""
        if self.low >= least:
            return True
        return False if self.high < least else None


@dataclass(frozen=True)
class Claim:
    """One sentence of the paper that a difference of two methods, or one number, decides."""

    text: str
    where: str
    theirs: str
    """The paper's numbers as text."""
    method: str
    minus: str = ""
    """Method whose mIoU is taken off; '' for BD values."""
    kind: str = "points"
    """'points' of mIoU, 'BD-FLOPs %' (less is better) or 'BD-mIoU points'."""
    least: float = 0.0

    def found(self, records: Records) -> Found | None:
        """The number in these records; None where they lack a method or no number exists."""
        if self.kind.startswith("BD"):
            return records.bjontegaard(self.kind)
        return records.difference(self.method, self.minus)

    def holds(self, found: Found) -> bool | None:
        """Verdict on one number."""
        if self.kind == "BD-FLOPs %":
            return Found(-found.value, -found.high, -found.low).verdict(self.least)
        return found.verdict(self.least)


CLAIMS = (
    Claim("AR 0.5 is as accurate as full resolution (a loss of half a point is allowed)", "Table 1",
          "+1.05, -1.19 on CamVid; +0.03, +0.48 on Cityscapes", "AR 0.5", "constant 1.0x", least=NO_LOSS_POINTS),
    Claim("AR 0.7 is more accurate than full resolution", "Table 1",
          "+1.80, +0.21; +1.23, +0.77", "AR 0.7", "constant 1.0x"),
    Claim("AR 0.5 is more accurate than half resolution", "Table 3", "+3.97", "AR 0.5", "constant 0.5x"),
    Claim("At equal mIoU AR-Seg needs fewer MACs than constant resolution", "Figure 4",
          "BD-FLOPs -76.7 %, -51.1 %", "", kind="BD-FLOPs %"),
    Claim("At equal MACs AR-Seg is more accurate than constant resolution", "Figure 4",
          "BD-mIoU +3.67, +3.02", "", kind="BD-mIoU points"),
    Claim("Fusing is more accurate than warping the keyframe's feature alone", "Table 3", "+12.84", "AR 0.5", "warp-only"),
    Claim("Half resolution is more accurate than warping alone", "Table 3", "+8.87", "constant 0.5x", "warp-only"),
    Claim("Fusion needs warped features", "Table 3", "+2.55", "AR 0.5", "AR 0.5 unwarped"),
)  # fmt: skip
VIDEO = (
    Claim("AR-Seg is more accurate than Accel", "Table 2", "+5.45; +2.47", "AR 0.5", "Accel-DL18"),
    Claim("AR-Seg is more accurate than TD4", "Table 2", "+1.47; +0.61", "AR 0.5", "TD4-BiSe18"),
    Claim("AR-Seg is more accurate than BlockCopy", "Table 2", "+4.85; +3.03", "AR 0.5", "BlockCopy"),
    Claim("AR-Seg is more accurate than TapLab", "Table 2", "+4.03; +1.82", "AR 0.5", "TapLab-BL2"),
    Claim("AR-Seg is more accurate than Jain et al.", "Table 2", "+3.99; +2.15", "AR 0.5", "Jain et al."),
)  # fmt: skip
NOT_MEASURED = (
    ("Feature similarity training brings 1.27 points, the shared classifier 0.36 of them", "Table 3",
     "trainings with `fst: shared`, `mse`, `kl+shared` and `none` beside `mse+shared`"),
    ("A window of 7 is 0.18 points above one of 3 and as good as one of 11", "Table 3", "trainings with `window: 3` and `11`"),
    ("Without direct connection 1.34 points are lost", "Table 3", "trainings with the variant of `ar-seg/table3`"),
    ("Before the task network or the features fusion loses 1.88 and 2.17 points", "Table 3", "trainings with the variants of `ar-seg/table3`"),
    ("L = 15, 20 and 30 lose 0.20, 0.20 and 0.81 points without training anew", "Table 3", "runs of weights from L = 12 with `keyframe_interval: 30`"),
    ("The gain holds at 1 and 3 Mbit/s, for x265 medium and ultrafast and for H.264", "Table 4", "trainings and runs on these codecs"),
    ("AR 0.5 is 2.1 (CamVid) and 3.1 (Cityscapes) times as fast as full resolution on a GPU", "Table 5", "`tests/gpu/run_checks.py` on a machine with a GPU"),
)  # fmt: skip


class Records:
    """One committed archive."""

    def __init__(self, name: str, scratch: Path) -> None:
        self.name, self._folder = name, scratch / name.replace("/", "-")

    @cached_property
    def run(self) -> Run:
        """The run, unpacked."""
        with tarfile.open(RESULTS / self.name / "records.tar.xz") as packed:
            packed.extractall(self._folder, filter="data")
        return load_run(self._folder)

    def _rows(self, reference: str) -> Mapping[str, SeedRow]:
        return {row.method: row for row in measured_against(self.run, reference).over_seeds}

    def difference(self, method: str, minus: str) -> Found:
        """mIoU of one method minus another's in points, over seeds and sequences where the data have several."""
        row = self._rows(minus).get(method)
        if row is None or row.difference is None:
            return self._of_one_training(method, minus)
        seeds, both = row.difference, row.difference_both
        low, high = (both.low, both.high) if both and math.isfinite(both.low) else (seeds.low, seeds.high)
        return Found(100 * seeds.mean, 100 * low, 100 * high)

    def _of_one_training(self, method: str, minus: str) -> Found:
        (section,) = paired_differences(measured_against(self.run, minus))
        found = next(one.miou for one in section.differences if one.test == method)
        return Found(100 * found.centre, 100 * found.low, 100 * found.high)

    def bjontegaard(self, kind: str) -> Found | None:
        """BD value of AR-Seg against constant resolution, over sequences where there are several, else over seeds."""
        (found,) = (one for one in self.run.families if one.family == "ar-seg")
        flops = kind == "BD-FLOPs %"
        result, seeds = (found.flops, found.flops_seeds) if flops else (found.miou, found.miou_seeds)
        if result is None:
            return None
        low, high = result.interval or ((seeds.low, seeds.high) if seeds else (math.nan, math.nan))
        return Found(100 * result.value, 100 * low, 100 * high)


def cell(claim: Claim, found: Found | None) -> str:
    """Number, interval and verdict of one claim on one set of records."""
    if found is None:
        return "no common range"
    unit = " %" if claim.kind == "BD-FLOPs %" else ""
    ends = f" [{found.low:+.1f}, {found.high:+.1f}]" if math.isfinite(found.low) else ""
    text = f"{found.value:+.1f}{unit}{ends}"
    return f"{text} {({True: 'holds', False: 'fails', None: 'open'})[claim.holds(found)]}"


def verdict(claim: Claim, found: Sequence[Found | None]) -> str:
    """What all records together say."""
    decided = {claim.holds(one) for one in found if one is not None} - {None}
    return {
        frozenset(): "undecided",
        frozenset({True}): "reproduced",
        frozenset({False}): "not reproduced",
        frozenset({True, False}): "depends",
    }[frozenset(decided)]


def table(claims: Sequence[Claim], sources: Mapping[str, Records]) -> Iterator[str]:
    """Markdown lines of one table."""
    yield "| claim | paper | theirs | " + " | ".join(sources) + " | verdict |"
    yield "|---" * (4 + len(sources)) + "|"
    for claim in claims:
        found = [claim.found(records) for records in sources.values()]
        cells = " | ".join(cell(claim, one) for one in found)
        yield f"| {claim.text} | {claim.where} | {claim.theirs} | {cells} | {verdict(claim, found)} |"


def page() -> str:
    """The text of docs/claims.md."""
    with tempfile.TemporaryDirectory() as name:
        first, second = (
            {title: Records(records, Path(name)) for title, records in sources.items()}
            for sources in (TRAINED, SYSTEMS)
        )
        lines = [
            INTRODUCTION,
            *table(CLAIMS, first),
            SECOND,
            *table(VIDEO, second),
            THIRD,
            "| claim | paper | what would decide it |",
            "|---|---|---|",
            *(f"| {claim} | {where} | {how} |" for claim, where, how in NOT_MEASURED),
        ]
    return "\n".join(lines) + "\n"


INTRODUCTION = f"""# The claims of the AR-Seg paper

Each line is a claim of the paper, its number, and what the records in [reports/results](../reports/results/README.md) say of it.
Differences are in points of mIoU at L = 12, with 95 % intervals. A claim *holds* where the whole interval agrees with it, *fails*
where the whole interval contradicts it, and is *open* otherwise. It is *reproduced* if it holds wherever it is decided. The paper's
numbers are PSPNet18's and BiSeNet18's, first on CamVid, then on Cityscapes.

The networks here are narrower and were trained for minutes: the page tells where the claims stand for such networks. CamVid is one
sequence, so its intervals cover training seeds only, three of them; those of the streets (synthetic, six sequences) cover seeds and
sequences. Intervals are not adjusted for the number of claims, and "as accurate" allows a loss of {-NO_LOSS_POINTS} points. Costs need no
trial: the paper's MACs come out at its own sizes and widths, see [macs.md](macs.md).

The columns come from `vssbench run camvid-alphas/l12`, `streets-bise18` and `streets-psp18`, those of the second table from
`table2-camvid` and `table2-synthetic`; [training.md](training.md) and [table2.md](table2.md) list the commands of their trainings.
`python reports/results/claims.py` writes this page.
"""
SECOND = """
## Other video systems

One training of every system, at the same number of steps; on the streets the intervals cover sequences, on CamVid there are none. The
paper compares AR 0.6 with BiSeNet18.
"""
THIRD = """
## Not decided yet

No committed record speaks about these.
"""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
