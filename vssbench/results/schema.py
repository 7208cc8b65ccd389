"""The unit record: what is stored per (dataset, codec, method, sequence, unit), as types.

Version history
1  first version; `step_macs`, `measured`, `coded_digest` and `quality` are optional and absent where they are None or empty
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from vssbench.errors import InputError
from vssbench.records import CodedQuality

SCHEMA_VERSION = 1
LARGEST_COUNTS = 1 << 28
"""Bytes of one array of counts; a unit of 500 cases of 255 classes has fewer."""


@dataclass(frozen=True, slots=True)
class UnitKey:
    """What a unit is; together with the experiment it determines every stored number except timings."""

    dataset: str
    codec: str
    method: str
    sequence: str
    unit: str


class CaseRecord(NamedTuple):
    """One labelled frame at one keyframe distance. A named tuple: a run has a hundred thousand of them."""

    frame: int
    """Index in the sequence."""
    distance: int
    """Keyframe distance d."""
    frame_type: str
    """As decoded: I, P or B."""
    clip_first: int
    clip_frames: int
    """Pictures in the GOP that was encoded."""
    coded_bytes: int | None
    """Bytes of the scored picture's packet."""
    kind: str
    """Kind of the step that answered: key, non_key or partial."""


@dataclass(frozen=True, slots=True, eq=False)
class UnitRecord:
    """The cases of one unit for one method."""

    key: UnitKey
    cases: tuple[CaseRecord, ...]
    counts: NDArray[np.int64]
    """[cases, classes, classes] pixels, indexed [case, truth, predicted]."""
    steps: dict[str, int]
    """Answered frames of the clips behind the cases, by kind of step."""
    executed_share: float
    """Mean share of the network executed over all steps (1 except for block-wise methods)."""
    achieved_kbps: float
    """Bits of the encodes behind the cases over their duration."""
    decoded_digest: str
    """SHA-256 over decoded pixels and motion of every GOP behind the cases."""
    timings: dict[str, float] = field(default_factory=dict)
    """Seconds by stage (`step_key`, `step_non_key`: inside the method, by place in the GOP) and the frames behind them
    (`steps_key`, `steps_non_key`), and how many `workers` ran side by side; the only part that may differ between two runs of one experiment."""
    step_macs: tuple[tuple[int, int, int], ...] | None = None
    """(keyframe distance, steps, MACs) of the steps behind the cases, counted while they ran on the real frames; only
    for methods whose work depends on the pictures."""
    belongs: str = ""
    """Digest of what decides the record: experiment, data, code, weights (results/basis.py)."""
    measured: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    """Counts of the experiment's further metrics and oracles by name, each [cases, ...] (metrics/further.py)."""
    coded_digest: str = ""
    """SHA-256 over the bits that the GOPs were decoded from: of the elementary stream, of a file's packets; '' unknown."""
    quality: CodedQuality | None = None
    """Of the bitstreams behind the cases, each once; None for a stream as it is, whose frames before coding are unknown."""

    def __post_init__(self) -> None:
        self._check_timings()
        for name, values in self.measured.items():
            if values.dtype != np.int64 or len(values) != len(self.cases):
                raise ValueError(
                    f"UnitRecord.measured[{name!r}] must be int64 [{len(self.cases)}, ...], got {values.dtype} {values.shape}"
                )
        if self.counts.dtype != np.int64 or self.counts.ndim != 3 or len(self.counts) != len(self.cases):
            raise ValueError(
                f"UnitRecord.counts must be int64 [{len(self.cases)}, C, C], got {self.counts.dtype} {self.counts.shape}"
            )

    def _check_timings(self) -> None:
        """What is divided by later is looked at when a record is made."""
        for name, value in self.timings.items():
            if type(value) not in (int, float) or not 0 <= value < math.inf:
                raise ValueError(f"timings[{name!r}] must be a finite number from 0, got {value!r}")
            if name.startswith("step_") and name.replace("step_", "steps_", 1) not in self.timings:
                raise ValueError(f"timings has {name!r}, but not the frames behind it")


def to_json(record: UnitRecord) -> str:
    """Text of a unit file, with its digests."""
    body, raw = _body(record), _raw(record)
    digest = _digest(json.dumps(_slim(body), sort_keys=True, separators=(",", ":")).encode(), raw)
    times = {"timings": record.timings, "timings_digest": _digest_of_times(digest, record.timings)}
    return json.dumps({**body, "digest": digest, **times}, indent=1) + "\n"


def _digest_of_times(digest: str, timings: Any) -> str:
    """Times have a digest of their own, so that those of equal runs are equal without them."""
    return _digest(json.dumps([digest, timings], sort_keys=True).encode(), [])


def from_json(text: str | bytes, where: str) -> UnitRecord:
    """Parse a unit file. Raises InputError if it is damaged or of another schema version."""
    try:
        values = _parse(text)
        version = values["schema"]
        if version != SCHEMA_VERSION:
            raise InputError(
                f"{where}: unit schema {version}, this vssbench reads {SCHEMA_VERSION}; rerun the experiment"
            )
        raw, counts = _unpack(values["counts"])
        measured = {name: _unpack(packed) for name, packed in values.get("measured", {}).items()}
        record = UnitRecord(
            key=UnitKey(**values["key"]),
            cases=tuple([CaseRecord(**case) for case in values["cases"]]),
            counts=counts,
            steps=values["steps"],
            executed_share=values["executed_share"],
            achieved_kbps=values["achieved_kbps"],
            decoded_digest=values["decoded_digest"],
            coded_digest=values.get("coded_digest", ""),
            quality=CodedQuality(**values["quality"]) if "quality" in values else None,
            timings=values["timings"],
            belongs=values["belongs"],
            step_macs=tuple((int(d), int(n), int(m)) for d, n, m in values["step_macs"])
            if "step_macs" in values
            else None,
            measured={name: array for name, (_, array) in measured.items()},
        )
        stored_digest = values.pop("digest")
        times = values.pop("timings_digest") == _digest_of_times(stored_digest, values.pop("timings"))
        # of what was read: packing the counts again would cost most of the time
        holds = _holds(stored_digest, _slim(values), [raw, *(measured[name][0] for name in sorted(measured))])
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        RecursionError,
        OverflowError,
        zlib.error,
    ) as error:
        raise InputError(f"{where}: not a readable unit record ({type(error).__name__}: {error})") from error
    if not (holds and times):
        raise InputError(f"{where}: the content does not match its digest; the file was damaged or edited")
    return record


def _parse(text: str | bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        # reads NaN too, and gives the reason where nothing can be read; of bytes it would guess UTF-16 and UTF-32
        return json.loads(text if isinstance(text, str) else text.decode())


def _body(record: UnitRecord) -> dict[str, Any]:
    optional: dict[str, Any] = {"coded_digest": record.coded_digest} if record.coded_digest else {}
    if record.quality is not None:
        optional["quality"] = asdict(record.quality)
    if record.step_macs is not None:
        optional["step_macs"] = [list(row) for row in record.step_macs]
    if record.measured:
        optional["measured"] = {name: _pack(values) for name, values in sorted(record.measured.items())}
    return {
        **optional,
        "schema": SCHEMA_VERSION,
        "belongs": record.belongs,
        "key": asdict(record.key),
        "cases": [case._asdict() for case in record.cases],
        "counts": _pack(record.counts),
        "steps": dict(sorted(record.steps.items())),
        "executed_share": record.executed_share,
        "achieved_kbps": record.achieved_kbps,
        "decoded_digest": record.decoded_digest,
    }


def _bytes(values: NDArray[np.int64]) -> bytes:
    return np.ascontiguousarray(values, dtype="<i8").tobytes()


def _pack(values: NDArray[np.int64]) -> dict[str, Any]:
    packed = base64.b64encode(zlib.compress(_bytes(values), 6)).decode("ascii")
    return {"shape": list(values.shape), "zlib_int64": packed}


def _unpack(packed: Mapping[str, Any]) -> tuple[bytes, NDArray[np.int64]]:
    """The bytes that the digest covers, and the array."""
    size = 8 * math.prod(packed["shape"])
    if size > LARGEST_COUNTS:
        raise ValueError(
            f"counts of shape {packed['shape']} would take {size} bytes, more than any unit does"
        )
    # never more than the shape promises: a few kB could unpack to gigabytes
    raw = zlib.decompressobj().decompress(base64.b64decode(packed["zlib_int64"]), size + 1)
    if len(raw) != size:
        raise ValueError(
            f"counts of shape {packed['shape']} need {size} bytes, found {'more' if len(raw) > size else len(raw)}"
        )
    return raw, np.frombuffer(raw, dtype="<i8").astype(np.int64).reshape(packed["shape"])


def _raw(record: UnitRecord) -> list[bytes]:
    return [_bytes(values) for values in (record.counts, *(v for _, v in sorted(record.measured.items())))]


def _slim(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body with shapes in place of packed counts: these depend on the zlib build, the digest must not."""
    slim = {**body, "counts": body["counts"]["shape"]}
    if "measured" in body:
        slim["measured"] = {name: packed["shape"] for name, packed in body["measured"].items()}
    return slim


def _digest(canonical: bytes, raw: list[bytes]) -> str:
    return hashlib.sha256(b"".join([canonical, *raw])).hexdigest()


def _holds(stored: str, slim: dict[str, Any], raw: list[bytes]) -> bool:
    """Whether the digest is that of the content.

    orjson writes most records as json does, ten times as fast; where it does not (an exponent, a letter beyond ASCII)
    the digest differs and json decides.
    """
    if _digest(orjson.dumps(slim, option=orjson.OPT_SORT_KEYS), raw) == stored:
        return True
    return _digest(json.dumps(slim, sort_keys=True, separators=(",", ":")).encode(), raw) == stored
