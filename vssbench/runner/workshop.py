"""What a worker builds once and uses for many jobs: datasets, methods with their weights, the bitstream cache."""

from __future__ import annotations

from pathlib import Path

from vssbench.codec import BitstreamCache, CodecSettings, read_source
from vssbench.codec.source import gop_lengths
from vssbench.dataset import Dataset, VideoSequence
from vssbench.engine.build import build_method, check_capabilities, choose_device
from vssbench.experiment.schema import CodecSpec, Experiment, MethodSpec
from vssbench.method import BuildContext, Method
from vssbench.networks.padding import unequal_sides
from vssbench.results.roster import Roster
from vssbench.runner.plan import chosen_sequences, load_dataset


class Workshop:
    """Lazily builds and keeps what jobs of one experiment need."""

    def __init__(self, experiment: Experiment, cache: Path | None, device: str) -> None:
        self.experiment = experiment
        self.device = choose_device(device)
        self.cache = BitstreamCache(cache)
        self._datasets: dict[str, tuple[Dataset, dict[str, VideoSequence]]] = {}
        self._methods: dict[tuple[str, str, tuple[int, int], int], Method] = {}

    def dataset(self, title: str) -> Dataset:
        """Dataset by title."""
        return self._dataset(title)[0]

    def sequence(self, dataset: str, name: str) -> VideoSequence:
        """Sequence by dataset title and name."""
        return self._dataset(dataset)[1][name]

    def codec(self, dataset: str, title: str) -> CodecSpec:
        """Codec entry of a dataset by title."""
        source = next(spec for spec in self.experiment.datasets if spec.title == dataset)
        return next(codec for codec in self.experiment.codecs_of(source) if codec.title == title)

    def specs(self, dataset: str, codec: str) -> list[MethodSpec]:
        """The method entries that run on one codec setting of a dataset."""
        source = next(spec for spec in self.experiment.datasets if spec.title == dataset)
        return list(self.experiment.methods_on(source, self.codec(dataset, codec)))

    def methods(self, dataset: str, codec: str, size: tuple[int, int]) -> dict[str, Method]:
        """All methods that run on one codec setting, by title, built for one frame size."""
        entry = self.codec(dataset, codec)
        settings = self.experiment.codec_settings(entry)
        source = next(spec for spec in self.experiment.datasets if spec.title == dataset)
        built = {}
        for spec in self.experiment.methods_on(source, entry):
            interval = self._interval(dataset, settings)
            key = (dataset, spec.title, size, interval)
            if key not in self._methods:
                names = self.dataset(dataset).classes.names
                self._methods[key] = build_method(spec, self._context(dataset, size, interval), names)
            check_capabilities(self._methods[key], spec.title, settings, size, self.experiment.protocol.kind)
            built[spec.title] = self._methods[key]
        return built

    def of_weights(self, roster: Roster) -> Roster:
        """`roster` with what the methods built so far say of their weights, and whether their frames have equal sides."""
        untrained = {(dataset, title): m.untrained for (dataset, title, *_), m in self._methods.items()}
        remarks = [text for m in self._methods.values() for text in m.remarks]
        for one, _, size, *_ in self._methods:
            beside = {
                title: m for (other, title, s, *_), m in self._methods.items() if (other, s) == (one, size)
            }
            remarks += unequal_sides(beside, size)
        return roster.with_weights(untrained, tuple(dict.fromkeys(remarks)))

    def _interval(self, dataset: str, settings: CodecSettings) -> int:
        """Most pictures from keyframe to keyframe: L, or the longest group of the dataset's files as they are."""
        if settings.codec != "source":
            return self.experiment.protocol.keyframe_interval
        files = [s.coded_file for s in self._dataset(dataset)[1].values()]
        sources = [read_source(file) for file in files if file is not None]
        return max(max(gop_lengths(one.keyframes(settings), one.frame_count)) for one in sources)

    def _context(self, dataset: str, size: tuple[int, int], interval: int) -> BuildContext:
        source = self.dataset(dataset)
        return BuildContext(
            classes=len(source.classes),
            size=size,
            keyframe_interval=interval,
            device=self.device,
            normalisation=source.normalisation,
            seed=self.experiment.seed,
        )

    def _dataset(self, title: str) -> tuple[Dataset, dict[str, VideoSequence]]:
        if title not in self._datasets:
            spec = next(spec for spec in self.experiment.datasets if spec.title == title)
            dataset = load_dataset(spec)
            self._datasets[title] = (dataset, {s.name: s for s in chosen_sequences(spec, dataset)})
        return self._datasets[title]
