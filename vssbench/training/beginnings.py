"""What the rows of a training experiment begin from decides how their pixels are normalised."""

from __future__ import annotations

from vssbench.experiment.training import ContestantSection, EvaluationSection, TrainingExperiment, is_stage
from vssbench.experiment.validation import validate
from vssbench.networks.agreement import Agreed, Said, agree
from vssbench.networks.weights import read_metadata
from vssbench.records import Normalisation
from vssbench.registry import methods

Row = ContestantSection | EvaluationSection


def pixels_of(row: Row, experiment: TrainingExperiment, default: Normalisation) -> Agreed:
    """How the pixels of a row are normalised: as its option says, else as what it begins from, else the default.

    Raises CheckpointError where weights are missing or what it begins from was trained on different pixels.
    """
    if isinstance(row, EvaluationSection):
        sources = {f"part {part}": source for part, source in row.parts.items()}
    else:
        sources = {
            f"{name}, part {part}": source
            for name, stage in row.stages.items()
            for part, source in stage.initialise_from.items()
        }
    said = {
        place: Said(source, _said(source, experiment, default))
        for place, source in sources.items()
        if not (is_stage(source) and source.split("/")[0] == row.label)  # an earlier stage of its own
    }
    options = validate(methods.load(row.name).Options, row.options, where=f"contestant {row.label}")
    return agree(
        row.label, said, getattr(options, "normalisation", None), options.own_normalisation or default
    )


def _said(source: str, experiment: TrainingExperiment, default: Normalisation) -> Normalisation | None:
    """What `source` was trained on; None where it does not say."""
    if not is_stage(source):
        metadata = read_metadata(source)
        return metadata.normalisation if metadata else None
    owner = next(c for c in experiment.contestants if c.label == source.split("/")[0])
    return pixels_of(owner, experiment, default).normalisation
