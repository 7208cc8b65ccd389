"""Building methods: networks on a device in eval mode, weights loaded, inference options applied; and what is refused first."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from vssbench.codec import CodecSettings, SourceStream
from vssbench.codec.decode import PARSED_CODECS
from vssbench.cost.blank import construct
from vssbench.dataset import VideoSequence
from vssbench.engine.class_map import answer_in, mapped_indices
from vssbench.engine.inference import apply_inference
from vssbench.errors import CapabilityError, CheckpointError, in_plugin
from vssbench.experiment.clips import Encode
from vssbench.experiment.schema import MethodSpec
from vssbench.experiment.validation import validate
from vssbench.method import BuildContext, FlowRule, Method, MethodOptions
from vssbench.networks import load_weights
from vssbench.networks.agreement import Said, agree, other_pictures
from vssbench.networks.padding import padded_size
from vssbench.networks.weights import WeightsMetadata, read_metadata, require_classes
from vssbench.registry import methods


def choose_device(name: str) -> torch.device:
    """The torch device for 'auto', 'cpu', 'cuda' or 'cuda:N'. Raises CapabilityError if it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise CapabilityError(
            f"--device {name!r}: not a torch device ({error}); use auto, cpu, cuda or cuda:N"
        ) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise CapabilityError(f"--device {name}: torch finds no CUDA device here; use --device cpu")
    return device


def untrained_method(
    name: str,
    options: MethodOptions | Mapping[str, Any],
    context: BuildContext,
    *,
    where: str,
    seed: int | None = None,
) -> Method:
    """The method registered as `name`; all parts in eval mode on the context's device.

    options: validated ones, or plain data, about which errors say `where`. seed: of the initial values, default the
    context's. Raises ConfigError, and PluginError if its code does.
    """
    method_class: type[Method] = methods.load(name)
    if not isinstance(options, MethodOptions):
        options = validate(method_class.Options, dict(options), where=where)
    torch.manual_seed(context.seed if seed is None else seed)
    with in_plugin(method_class, f"{where}, while it was built"):
        method = construct(method_class, options, context)
    method.label = where
    return method


def trained_method(
    name: str, options: MethodOptions, context: BuildContext, *, title: str, class_names: Sequence[str] = ()
) -> Method:
    """The method registered as `name` with the weights that its options name.

    Pixels are normalised as the option `normalisation` says, else as the weights say, else as the context says.
    class_names: the dataset's, which the weights must have been trained for; () does not look. Sets `Method.untrained`
    and `Method.remarks`.
    Raises ConfigError, and CheckpointError naming method and part where weights are missing, do not fit or contradict
    one another.
    """
    found: dict[str, WeightsMetadata | None] = {}
    for part, reference in options.weights.items():
        with _naming(title, part):
            found[part] = read_metadata(reference)
    said = {part: Said(options.weights[part], m.normalisation if m else None) for part, m in found.items()}
    default = options.own_normalisation or context.normalisation
    agreed = agree(f"method {title}", said, getattr(options, "normalisation", None), default)
    context = dataclasses.replace(context, normalisation=agreed.normalisation)
    indices: list[int] = []
    if options.class_map is not None:
        theirs = next((m.class_names for m in found.values() if m is not None), ())
        indices = mapped_indices(options.class_map, theirs, class_names, f"method {title}")
        context, class_names = dataclasses.replace(context, classes=len(theirs)), theirs
    method = untrained_method(name, options, context, where=f"method {title}")
    if indices:
        answer_in(method, indices)
    parts = method.parts()
    unknown = sorted(set(options.weights) - set(parts))
    if unknown:
        raise CheckpointError(f"method {title}: weights name the parts {unknown}; it has {sorted(parts)}")
    for part, reference in options.weights.items():
        with _naming(title, part):
            require_classes(load_weights(parts[part], reference), class_names, reference)
    method.untrained = tuple(
        part
        for part, module in parts.items()
        if part not in found
        and any(True for _ in module.parameters())
        and not any(getattr(inner, "has_weights", False) for inner in module.modules())
    )
    method.remarks = (*agreed.remarks, *other_pictures(title, method, found, context.size))
    return method


@contextmanager
def _naming(title: str, part: str) -> Iterator[None]:
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"method {title}, part {part}: {error}") from error


def build_method(spec: MethodSpec, context: BuildContext, class_names: Sequence[str] = ()) -> Method:
    """`trained_method` of an entry of an experiment, with its inference options applied. Raises as that."""
    method = trained_method(spec.name, spec.options(), context, title=spec.title, class_names=class_names)
    return apply_inference(method, spec.inference, spec.title)


def check_source_motion(method: Method, title: str, source: SourceStream) -> None:
    """`check_motion` for a stream as it is. Raises CapabilityError naming method and file."""
    needs = method.needs
    if needs.qp:
        check_quantisers(title, source.codec)
    if needs.flow and needs.flow_rule == "paper" and "B" in source.frame_types:
        raise CapabilityError(
            f"method {title} follows motion by the rule 'paper', which is defined for P pictures only, and {source.file.path} "
            f"has {source.frame_types.count('B')} B pictures; set flow_rule: exact where the method has it, or re-encode"
        )


def check_quantisers(title: str, codec: str) -> None:
    """Raise CapabilityError naming the method if a codec's quantisers are not read by block."""
    if codec not in PARSED_CODECS:
        raise CapabilityError(
            f"method {title} needs the quantiser of every block, which is read of hevc and h264, not of {codec}"
        )


def check_motion(whose: str, settings: CodecSettings, rule: FlowRule) -> None:
    """Raise CapabilityError naming `whose` if the codec cannot give motion towards the keyframe by this rule."""
    if rule == "paper" and settings.b_frames:
        raise CapabilityError(
            f"{whose} follows motion by the rule 'paper', which is defined for P pictures only, and the codec makes B "
            f"pictures (b_frames={settings.b_frames}); set b_frames=0 or, where there is a choice, flow_rule: exact"
        )


def check_capabilities(
    method: Method, title: str, settings: CodecSettings, size: tuple[int, int], protocol: str
) -> None:
    """Refuse before any work what codec, size or protocol cannot give. Raises CapabilityError naming the method."""
    needs = method.needs
    if needs.motion:
        check_motion(f"method {title}", settings, needs.flow_rule if needs.flow_key else "exact")
    if needs.qp and settings.codec != "source":
        check_quantisers(title, settings.codec)
    if any(side % needs.size_multiple for side in padded_size(method, size)):
        raise CapabilityError(
            f"method {title} needs frame sides that are multiples of {needs.size_multiple}, got {size[0]}x{size[1]}"
        )
    if needs.memory == "sequence" and protocol == "clip":
        raise CapabilityError(
            f"method {title} keeps a memory over a sequence, but the protocol 'clip' encodes every clip on its own; "
            "use protocol.kind=stream, or a memory that is made anew for every clip"
        )


def check_lookahead(method: Method, title: str, sequence: VideoSequence, encodes: Sequence[Encode]) -> None:
    """Refuse clips whose last scored frame needs pictures behind the end of what is encoded.

    Keyframes answer themselves. Raises CapabilityError naming method, sequence and frame.
    """
    needs = method.needs
    if not needs.lookahead or needs.bridges_end:
        return
    for encode in encodes:
        for clip in encode.clips:
            waiting = [d for d in clip.scored if d > 0]
            last = clip.first + (waiting[-1] if waiting else 0) + needs.lookahead
            if waiting and last >= len(sequence):
                raise CapabilityError(
                    f"method {title} answers {needs.lookahead} frames late, but frame {clip.first + waiting[-1]} of "
                    f"sequence {sequence.name} is scored and the sequence ends at frame {len(sequence) - 1}; leave the "
                    "last frames unscored (protocol.labelled_stride, shorter splits) or choose the method's option "
                    "for the end of a sequence, if it has one"
                )
