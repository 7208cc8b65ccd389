"""All charts of a report, for page and files alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vssbench.analysis.run import Run
from vssbench.rendering.curves import Panel
from vssbench.rendering.figures import of_run
from vssbench.rendering.figures.charts import Chart, ClassChart, LineChart, LossChart, WaterfallChart
from vssbench.rendering.figures.files import FigureFile
from vssbench.rendering.figures.waterfall import waterfalls


@dataclass(frozen=True, slots=True)
class ReportCharts:
    """Charts by section of the report; empty where a run holds nothing to draw."""

    distances: Sequence[LineChart]
    costs: Sequence[LineChart]
    rates: Sequence[LineChart]
    qualities: Sequence[LineChart]
    budgets: Sequence[LineChart]
    """The curves behind Bjontegaard values."""
    waterfalls: Sequence[WaterfallChart]
    losses: Sequence[LossChart]
    classes: Sequence[ClassChart]
    score: str = "mIoU"
    """Or 'agreement' (`Roster.score`)."""

    def files(self) -> list[FigureFile]:
        """The figure files of the charts, in the order of the report."""
        named: list[tuple[str, str, Sequence[Chart]]] = [
            (
                "miou_d" if self.score == "mIoU" else f"{self.score}_d",
                f"{self.score} by keyframe distance",
                self.distances,
            ),
            ("cost", "Accuracy against cost", self.costs),
            ("bitrate", "Accuracy against bitrate", self.rates),
            ("quality", "Accuracy against quality", self.qualities),
            ("budget", "Accuracy against cost along each method's budget knob", self.budgets),
            ("latency", "Latency by stage", self.waterfalls),
            ("class_iou", "IoU by class", self.classes)
            if self.score == "mIoU"
            else ("class_agreement", "agreement by class", self.classes),
            ("loss", "Where the loss comes from", self.losses),
        ]
        return [FigureFile(stem, caption, charts) for stem, caption, charts in named if charts]


def report_charts(run: Run, panels: Sequence[Panel]) -> ReportCharts:
    """The charts of a run; `panels` holds its scores, over training seeds where there are several."""
    names = {name: dataset.class_names for name, dataset in run.datasets.items()}
    order = {title: i for i, title in enumerate(run.roster.method_titles)}
    losses = sorted(run.decompositions, key=lambda one: order.get(one.method, len(order)))
    return ReportCharts(
        of_run.distance_charts(panels),
        of_run.cost_charts(panels),
        [] if run.roster.truth else of_run.rate_charts(panels),  # the truth is another at every rate
        [] if run.roster.truth else of_run.quality_charts(panels),
        of_run.budget_charts(panels, run.families),
        of_run.waterfall_charts(waterfalls(run)),
        of_run.loss_charts(losses),
        of_run.class_charts(panels, names),
        run.roster.score,
    )
