"""The unit record: what is stored per (dataset, codec, method, sequence, unit), as types.

Version history
1  first version; `step_macs` is optional and absent where it is None
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vssbench.errors import InputError

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class UnitKey:
    """What a unit is; together with the experiment it determines every stored number except timings."""

    dataset: str
    codec: str
    method: str
    sequence: str
    unit: str


@dataclass(frozen=True, slots=True)
class CaseRecord:
    """One labelled frame at one keyframe distance."""

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
    """How many steps of each kind were run to answer the cases."""
    executed_share: float
    """Mean share of the network executed over all steps (1 except for block-wise methods)."""
    achieved_kbps: float
    """Bits of the encodes behind the cases over their duration."""
    decoded_digest: str
    """SHA-256 over decoded pixels and motion of every GOP behind the cases."""
    timings: dict[str, float] = field(default_factory=dict)
    """Seconds by stage; the only part that may differ between two runs of one experiment."""
    step_macs: tuple[tuple[int, int, int], ...] | None = None
    """(keyframe distance, steps, MACs) of the steps behind the cases, counted while they ran on the real frames; only
    for methods whose work depends on the pictures."""

    def __post_init__(self) -> None:
        if self.counts.dtype != np.int64 or self.counts.ndim != 3 or len(self.counts) != len(self.cases):
            raise ValueError(
                f"UnitRecord.counts must be int64 [{len(self.cases)}, C, C], got {self.counts.dtype} {self.counts.shape}"
            )


def to_json(record: UnitRecord) -> str:
    """Text of a unit file. Its digest covers everything but the timings."""
    body = _body(record)
    digest = _digest(body, record.counts.astype("<i8").tobytes())
    return json.dumps({**body, "digest": digest, "timings": record.timings}, indent=1) + "\n"


def from_json(text: str, where: str) -> UnitRecord:
    """Parse a unit file. Raises InputError if it is damaged or of another schema version."""
    try:
        values = json.loads(text)
        version = values["schema"]
        if version != SCHEMA_VERSION:
            raise InputError(
                f"{where}: unit schema {version}, this vssbench reads {SCHEMA_VERSION}; rerun the experiment"
            )
        packed = values["counts"]
        raw = zlib.decompress(base64.b64decode(packed["zlib_int64"]))
        counts = np.frombuffer(raw, dtype="<i8")
        record = UnitRecord(
            key=UnitKey(**values["key"]),
            cases=tuple(CaseRecord(**case) for case in values["cases"]),
            counts=counts.astype(np.int64).reshape(packed["shape"]),
            steps=values["steps"],
            executed_share=values["executed_share"],
            achieved_kbps=values["achieved_kbps"],
            decoded_digest=values["decoded_digest"],
            timings=values["timings"],
            step_macs=tuple((int(d), int(n), int(m)) for d, n, m in values["step_macs"])
            if "step_macs" in values
            else None,
        )
        stored_digest = values.pop("digest")
        del values["timings"]
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise InputError(f"{where}: not a readable unit record ({type(error).__name__}: {error})") from error
    if (
        _digest(values, raw) != stored_digest
    ):  # of what was read: packing the counts again would cost most of the time
        raise InputError(f"{where}: the content does not match its digest; the file was damaged or edited")
    return record


def _body(record: UnitRecord) -> dict[str, Any]:
    raw = np.ascontiguousarray(record.counts, dtype="<i8").tobytes()
    measured = {} if record.step_macs is None else {"step_macs": [list(row) for row in record.step_macs]}
    return {
        **measured,
        "schema": SCHEMA_VERSION,
        "key": asdict(record.key),
        "cases": [asdict(case) for case in record.cases],
        "counts": {
            "shape": list(record.counts.shape),
            "zlib_int64": base64.b64encode(zlib.compress(raw, 6)).decode("ascii"),
        },
        "steps": dict(sorted(record.steps.items())),
        "executed_share": record.executed_share,
        "achieved_kbps": record.achieved_kbps,
        "decoded_digest": record.decoded_digest,
    }


def _digest(body: dict[str, Any], raw_counts: bytes) -> str:
    # The packed counts depend on the zlib build; the digest must not.
    canonical = json.dumps({**body, "counts": body["counts"]["shape"]}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode() + raw_counts).hexdigest()
