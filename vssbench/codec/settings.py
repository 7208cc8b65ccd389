"""What a clip is encoded with: one frozen object that configuration files, the command line and caches share."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from vssbench.errors import ConfigError

Codec = Literal["hevc", "h264", "mpeg4", "source"]
Keyframes = Literal["irap", "idr", "every_i"]
Preset = Literal[
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
]
RateControl = Literal["bitrate_kbps", "crf", "qp"]

_FIELD_OF_OPTION = {
    "bitrate": "bitrate_kbps",
    "b": "bitrate_kbps",
    "crf": "crf",
    "qp": "qp",
    "q": "qp",
    "global_quality": "qp",
    "qmin": "qp",
    "qmax": "qp",
    "preset": "preset",
    "keyint": "keyframe_interval",
    "g": "keyframe_interval",
    "bframes": "b_frames",
    "bf": "b_frames",
    "ref": "references",
    "refs": "references",
}
"""Encoder options that have a field of their own here."""

_PINNED_OPTIONS = frozenset(
    {
        *(
            "min-keyint",
            "scenecut",
            "scenecut-bias",
            "hist-scenecut",
            "open-gop",
            "intra-refresh",
            "sc_threshold",
        ),
        *(
            "frame-threads",
            "pools",
            "numa-pools",
            "wpp",
            "pmode",
            "pme",
            "lookahead-slices",
            "lookahead-threads",
        ),
        *(
            "asm",
            "threads",
            "sliced-threads",
            "sync-lookahead",
            "deterministic",
            "slices",
            "frame-dup",
            "radl",
        ),
        *("log", "log-level", "info", "fps", "input-res", "input-csp", "flags", "annexb", "repeat-headers"),
        *(
            "pass",
            "stats",
            "csv",
            "recon",
            "range",
            "colormatrix",
            "zones",
            "zonefile",
            "qpfile",
            "interlace",
        ),
    }
)
"""Encoder options that vssbench fixes, because the GOP structure or the decoded pixels depend on them."""


class CodecSettings(BaseModel):
    """Encoder, rate control and GOP structure of a clip. Exactly one of bitrate_kbps, crf and qp is set.

    The codec "source" is no encoder: the bits of the sequence's own video file are taken as they are, and nothing but
    `keyframes` and `keyframe_interval` can be set.

    Threading is no setting: every encoder option that would let the number of processors change the decoded pixels is
    fixed (docs/codec.md lists them).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    codec: Codec = "hevc"
    """hevc (x265), h264 (x264), mpeg4 (FFmpeg's MPEG-4 Part 2), or source: the video file's own bits."""
    bitrate_kbps: int | None = Field(default=None, gt=0, le=1_000_000)
    """Average bit rate aimed at, one pass, 1000 bits per second."""
    crf: float | None = Field(default=None, ge=0, le=51)
    """Constant rate factor; not for mpeg4."""
    qp: int | None = Field(default=None, ge=0, le=51)
    """Constant quantiser: 0..51, for mpeg4 1..31."""
    preset: Preset = "medium"
    """Speed preset of x265 and x264; MPEG-4 Part 2 knows "medium" only."""
    keyframe_interval: int | None = Field(default=12, ge=1, le=10_000)
    """Pictures per closed GOP; the first of each is its only I picture. Of source: at most so many pictures from keyframe
    to keyframe, whatever their type; None leaves the GOPs as they are."""
    keyframes: Keyframes = "irap"
    """Of source: which pictures are keyframes. irap: those where decoding can start; idr: those that nothing refers
    across; every_i: all I pictures."""
    b_frames: int = Field(default=0, ge=0, le=16)
    """Most consecutive B pictures; always 0 for mpeg4."""
    references: int = Field(default=3, ge=1, le=16)
    """Reference pictures per list; always 1 for mpeg4."""
    extra: dict[str, str] = Field(default_factory=dict)
    """Further encoder options, by the encoder's own names, for example {"rect": "1", "amp": "1"} for x265."""

    @field_validator("extra", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        """YAML gives numbers and switches where encoders want text."""
        if not isinstance(value, dict):
            return value
        return {
            str(key): str(int(item)) if isinstance(item, bool) else str(item) for key, item in value.items()
        }

    @field_validator("extra")
    @classmethod
    def _only_free_options(cls, extra: dict[str, str]) -> dict[str, str]:
        for key, value in extra.items():
            name = key.lower().replace("_", "-") if key != "sc_threshold" else key
            plain = name.removeprefix("no-")
            if field := _FIELD_OF_OPTION.get(plain) or _FIELD_OF_OPTION.get(key):
                raise ValueError(
                    f"extra option {key!r} belongs in the setting {field!r}; set that one instead"
                )
            if plain in _PINNED_OPTIONS or key in _PINNED_OPTIONS:
                raise ValueError(
                    f"extra option {key!r} is fixed by vssbench, because the GOP structure or the decoded pixels "
                    "depend on it; leave it out"
                )
            if not key or any(letter in key + value for letter in ":=\n\0"):
                raise ValueError(
                    f"extra option {key!r}={value!r} may not be empty or contain ':', '=' or a line break"
                )
        return dict(sorted(extra.items()))

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_codec(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("codec") == "mpeg4":
            return {"references": 1, **values}
        if isinstance(values, dict) and values.get("codec") == "source":
            return {"keyframe_interval": None, **values}
        return values

    @model_validator(mode="after")
    def _fits_together(self) -> CodecSettings:
        if self.codec == "source":
            self._check_source()
            return self
        if self.keyframe_interval is None or self.keyframes != "irap":
            key = "keyframes" if self.keyframe_interval else "keyframe_interval"
            raise ValueError(f"{key}={getattr(self, key)} is for codec source; leave it out")
        given = [name for name in ("bitrate_kbps", "crf", "qp") if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(f"{name}={getattr(self, name):g}" for name in given) or "none"
            raise ValueError(f"exactly one of bitrate_kbps, crf and qp must be set, got {found}")
        if self.codec == "mpeg4":
            self._check_mpeg4()
        return self

    def _check_source(self) -> None:
        for name in ("bitrate_kbps", "crf", "qp", "preset", "b_frames", "references", "extra"):
            field = CodecSettings.model_fields[name]
            if getattr(self, name) != field.get_default(call_default_factory=True):
                raise ValueError(
                    f"codec source keeps the file's own bits, so {name} has no meaning; leave it out"
                )

    def _check_mpeg4(self) -> None:
        if self.references != 1:
            raise ValueError(
                f"MPEG-4 Part 2 predicts from one picture, got references={self.references}; set 1"
            )
        if self.b_frames:
            raise ValueError(
                f"b_frames={self.b_frames}: FFmpeg's MPEG-4 Part 2 encoder does not keep closed GOPs of exactly "
                f"{self.keyframe_interval} pictures with B pictures; set b_frames=0 or another codec"
            )
        if self.crf is not None:
            raise ValueError("MPEG-4 Part 2 has no crf; set bitrate_kbps or qp")
        if self.qp is not None and not 1 <= self.qp <= 31:
            raise ValueError(f"qp of MPEG-4 Part 2 must be 1 to 31, got {self.qp}")
        if self.preset != "medium":
            raise ValueError(f"MPEG-4 Part 2 has no presets, got preset={self.preset!r}; leave it out")

    @property
    def encoded_interval(self) -> int:
        """Pictures per GOP that is encoded. Raises ConfigError for the codec source, which encodes nothing."""
        if self.codec == "source" or self.keyframe_interval is None:
            raise ConfigError(
                "codec source keeps a file's own bits and encodes nothing; choose hevc, h264 or mpeg4"
            )
        return self.keyframe_interval

    @property
    def rate_control(self) -> RateControl:
        """Which of the three rate controls is set."""
        if self.bitrate_kbps is not None:
            return "bitrate_kbps"
        return "crf" if self.crf is not None else "qp"

    def canonical_json(self) -> str:
        """One text per meaning: all fields, sorted keys, no spaces."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))

    def digest(self) -> str:
        """SHA-256 of `canonical_json()`, hexadecimal."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()

    def describe(self) -> str:
        """Short text for tables and logs, for example 'hevc medium 3000 kb/s L=12' or 'source, keyframes irap'."""
        if self.codec == "source":
            limit = f" L={self.keyframe_interval}" if self.keyframe_interval else ""
            return f"source, keyframes {self.keyframes}{limit}"
        rate = {
            "bitrate_kbps": f"{self.bitrate_kbps} kb/s",
            "crf": f"crf {self.crf}",
            "qp": f"qp {self.qp}",
        }[self.rate_control]
        preset = "" if self.codec == "mpeg4" else f" {self.preset}"
        return f"{self.codec}{preset} {rate} L={self.keyframe_interval}"
