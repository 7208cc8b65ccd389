"""Every difference between AR-Seg's released code and its paper, as one named switch each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

from vssbench.errors import ConfigError, nearest
from vssbench.method import FlowRule
from vssbench.ops.local_attention import Border
from vssbench.ops.resize import Corners, SizeRule
from vssbench.ops.warp import Ratio, Resample, Sampling

Mode = Literal["paper", "corrected"]


@dataclass(frozen=True, slots=True)
class CReFFSettings:
    """The switches. Defaults reproduce the released code ('paper' mode), so that released weights work.

    `CReFFSettings.for_mode("corrected")` does what the paper's text says. Sections are those of the AR-Seg specification.
    """

    attention_scale: Literal["none", "sqrt-channels"] = "none"
    """Scores as they are, or divided by sqrt(C) as in the paper's Eq. 3. Sections 2 (step 4) and 8.1."""
    border: Border = "zero"
    """Neighbours outside the map: score and value 0 ('zero'), or left out ('exclude'). Sections 2 and 8.4."""
    warp_sampling: Sampling = "paper"
    """Half-pixel stretch with zero borders ('paper'), or a plain shift ('exact'). Sections 3.4 and 8.3."""
    flow_rule: FlowRule = "paper"
    """Integer hops, intra read as zero motion ('paper'), or sub-pel ('exact'). Section 3.2."""
    flow_resample: Resample = "bilinear"
    """How evaluation brings the flow to the feature's size. Sections 3.3 and 8.8."""
    training_flow_resample: Resample = "nearest"
    """How training does. Sections 3.3 and 8.8."""
    flow_ratio: Ratio = "paper"
    """Scale both flow components by the ratio of heights ('paper'), or each by its own ('exact'). Sections 3.3, 8.10."""
    global_key: Literal["value", "reference"] = "value"
    """Variant 'global-attention': key computed from the value map (released) or from the reference. Sections 2.1, 8.15."""
    location_output: Literal["reference-size", "image-size"] = "reference-size"
    """Variants before N_task and N_feat: the released code shrinks the output to the reference's size. Sections 2.1, 8.14."""
    lr_size: SizeRule = "truncate"
    """Size of the LR input: product truncated (720 * 0.7 = 503) or rounded. Section 1.1."""
    input_corners: Corners = "align-corners"
    """Convention of the LR input's bilinear resize. Section 1.1."""
    feature_corners: Corners = "align-corners"
    """Convention of the LR feature's enlargement. Section 2 (step 1)."""

    @classmethod
    def for_mode(cls, mode: Mode, switches: Mapping[str, str] | None = None) -> CReFFSettings:
        """The switches of a mode, some of them set otherwise.

        Raises ConfigError for an unknown switch or value, with near matches.
        """
        values: dict[str, Any] = dict(_CORRECTED) if mode == "corrected" else {}
        allowed = switch_values()
        for name, value in (switches or {}).items():
            if name not in allowed:
                raise ConfigError(f"ar-seg: unknown switch {name!r}; {nearest(name, list(allowed))}")
            if value not in allowed[name]:
                raise ConfigError(f"ar-seg: switch {name} = {value!r}; {nearest(value, list(allowed[name]))}")
            values[name] = value
        return cls(**values)


_CORRECTED: dict[str, str] = {
    "attention_scale": "sqrt-channels",
    "border": "exclude",
    "warp_sampling": "exact",
    "flow_rule": "exact",
    "flow_resample": "nearest",
    "training_flow_resample": "nearest",
    "flow_ratio": "exact",
    "global_key": "reference",
    "location_output": "image-size",
    "lr_size": "round",
    "input_corners": "half-pixel",
    "feature_corners": "half-pixel",
}


def switch_values() -> dict[str, tuple[str, ...]]:
    """Switch -> values it can take."""
    hints = get_type_hints(CReFFSettings)
    return {field.name: get_args(hints[field.name]) for field in fields(CReFFSettings)}
