"""What two runs must share before their numbers may stand side by side, and what of it they do not."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from vssbench.errors import ConfigError, nearest
from vssbench.results.documents import DatasetRecord, Document
from vssbench.results.stored import StoredRun

Kind = Literal["experiment", "classes", "frames", "labels", "distances", "bits"]
ALLOWABLE = tuple(kind for kind in get_args(Kind) if kind != "experiment")
"""What a reader may wave through by name; another experiment has nothing to compare."""


class DatasetFacts(Document):
    """What decides the scores on a dataset, besides the codec."""

    rules: dict[str, Any]
    """Registered name, split, options and how clips end; 'truth' where the answers of a method stand for labels."""
    record: DatasetRecord
    """Class table, and digests of frames and labels by sequence."""


class PlaceFacts(Document):
    """What the methods saw on a dataset under a codec setting."""

    dataset: str
    codec: str
    settings: dict[str, Any]
    distances: tuple[int, ...]
    """Scored keyframe distances."""
    bits: str
    """Digest over decoded pixels and motion of all units."""
    achieved_kbps: float


class Facts(Document):
    """Everything about a run that two runs must share."""

    protocol: dict[str, Any]
    datasets: dict[str, DatasetFacts]
    """By title."""
    places: tuple[PlaceFacts, ...]


def facts_of(run: StoredRun) -> Facts:
    """The facts of a run. Raises InputError at a damaged record."""
    roster = run.roster.model_dump(mode="json", include={"datasets", "protocol"})
    rules = {
        one["title"]: {k: v for k, v in one.items() if k not in ("title", "paths")}
        for one in roster["datasets"]
    }
    if run.roster.truth:
        for one in rules.values():
            one["truth"] = run.roster.truth_name
    first = {(group.dataset, group.codec): group for group in reversed(run.groups)}
    return Facts(
        protocol=roster["protocol"],
        datasets={title: DatasetFacts(rules=rules[title], record=run.datasets[title]) for title in rules},
        places=tuple(
            PlaceFacts(
                dataset=dataset,
                codec=codec,
                settings=run.roster.codec(dataset, codec).settings.model_dump(mode="json"),
                distances=group.distances,
                bits=hashlib.sha256("\n".join(group.decoded_digests).encode()).hexdigest(),
                achieved_kbps=group.kbps,
            )
            for (dataset, codec), group in reversed(first.items())
        ),
    )


@dataclass(frozen=True, slots=True)
class Unlike:
    """One thing in which two runs differ so that their numbers are of different things."""

    kind: Kind
    dataset: str
    codec: str
    text: str


def unlike(there: Facts, here: Facts) -> list[Unlike]:
    """How runs differ in what both hold. Bits are told only where the same frames were cut alike, for they follow."""
    found = [
        Unlike("distances" if key == "distances" else "experiment", "", "", line)
        for key in there.protocol.keys() | here.protocol.keys()
        for line in _differing(there.protocol.get(key), here.protocol.get(key), f"protocol.{key}")
    ]
    for title in there.datasets.keys() & here.datasets.keys():
        found += _unlike_data(title, there.datasets[title], here.datasets[title])
    known = {(place.dataset, place.codec): place for place in there.places}
    for place in here.places:
        old = known.get((place.dataset, place.codec))
        if old is not None:
            found += _unlike_places(old, place, found)
    order = get_args(Kind)
    return sorted(found, key=lambda one: (order.index(one.kind), one.dataset, one.codec, one.text))


def _unlike_data(title: str, there: DatasetFacts, here: DatasetFacts) -> Iterator[Unlike]:
    for line in _differing(there.rules, here.rules, f"datasets.{title}"):
        yield Unlike("experiment", title, "", line)
    table = {"class_names", "palette", "ignore_index"}
    old, new = (one.record.model_dump(mode="json", include=table) for one in (there, here))
    for line in list(_differing(old, new, "class table"))[:1]:
        yield Unlike("classes", title, "", f"other class table: {line}")
    before, now = there.record.sequences, here.record.sequences
    kinds: tuple[Literal["frames", "labels"], ...] = ("frames", "labels")
    for kind in kinds:
        changed = [
            name
            for name in sorted(before.keys() | now.keys())
            if name not in before or name not in now or before[name].digest(kind) != now[name].digest(kind)
        ]
        if changed:
            which = f"{changed[0]}" + (f" and {len(changed) - 1} more" if len(changed) > 1 else "")
            named = here.rules.get("truth", kind) if kind == "labels" else kind
            yield Unlike(kind, title, "", f"other {named}: {which}")


def _unlike_places(there: PlaceFacts, here: PlaceFacts, found: Collection[Unlike]) -> Iterator[Unlike]:
    place = (here.dataset, here.codec)
    for line in _differing(there.settings, here.settings, f"codecs.{here.codec}"):
        yield Unlike("experiment", *place, line)
    if there.distances != here.distances:
        yield Unlike("distances", *place, f"scored distances {there.distances} there, {here.distances} here")
    elif any(one.kind in ("frames", "experiment", "distances") for one in found):
        return
    elif there.bits != here.bits:
        yield Unlike(
            "bits", *place, "other decoded pixels or motion: encoder, decoder or settings are others"
        )
    elif there.achieved_kbps != here.achieved_kbps:
        rates = f"{there.achieved_kbps:.3f} kb/s there, {here.achieved_kbps:.3f} here"
        yield Unlike("bits", *place, f"the same pixels from other bits: {rates}")


def _differing(old: Any, new: Any, path: str) -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted(set(old) | set(new)):
            yield from _differing(old.get(key), new.get(key), f"{path}.{key}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (a, b) in enumerate(zip(old, new, strict=True)):
            yield from _differing(a, b, f"{path}.{index}")
    elif old != new:
        yield f"{path} ({old!r:.80} there, {new!r:.80} here)"


def checked_kinds(allowed: Collection[str]) -> frozenset[str]:
    """The kinds of difference that are waved through. Raises ConfigError for one that may not be."""
    for kind in allowed:
        if kind not in ALLOWABLE:
            raise ConfigError(
                f"--allow {kind!r}: no difference of this kind; {nearest(kind, list(ALLOWABLE))}"
            )
    return frozenset(allowed)


def require_alike(first: StoredRun, second: StoredRun, allowed: Collection[str]) -> list[Unlike]:
    """The differences of two runs that are allowed. Raises ConfigError naming those that are not."""
    found, kinds = unlike(facts_of(first), facts_of(second)), checked_kinds(allowed)
    refused = [one for one in found if one.kind not in kinds]
    if refused:
        texts = "; ".join(f"{one.dataset}: {one.text}" if one.dataset else one.text for one in refused[:6])
        may = sorted({one.kind for one in refused if one.kind in ALLOWABLE})
        flag = f"; {' '.join(f'--allow {kind}' for kind in may)} compares nevertheless" if may else ""
        raise ConfigError(f"{first.path} and {second.path} are not comparable: {texts}{flag}")
    return found
