"""Checks of what a method answers: which frames, when, from what, and whether anything leaks."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from vssbench.conformance.clips import (
    Stepper,
    Subject,
    another_random_state,
    answers,
    make_clip,
    require_same,
    run_clip,
    tensors_of,
)
from vssbench.conformance.outcome import Check, ConformanceError, require
from vssbench.errors import CapabilityError
from vssbench.method import Frame, Method, Prediction

ROUNDING = 0.002
"""Share of pixels that may differ between a clip in a batch and the same clip alone: other kernels round otherwise."""


def one_output_per_frame(subject: Subject) -> None:
    """One prediction per frame in order, each well formed, at every seed and size."""
    for one in subject.varied():
        method = one.build()
        frames = make_clip(one, method.needs, seed=1, gops=2)
        end = 2 * one.keyframe_interval  # what comes behind is lookahead only
        stepper = Stepper(method)
        for frame in frames:
            stepper.push(frame)
        found = stepper.end()
        predictions = [p for p in stepper.predictions if 0 <= p.index < end]
        wanted = [frame.index for frame in frames if 0 <= frame.index < end]
        got = [prediction.index for prediction in predictions]
        require(got == wanted, f"frames {wanted} were pushed, predictions came for {got}")
        for prediction in predictions:
            _well_formed(one, method, prediction)
            scores = found[prediction.index].scores
            require(
                scores is None or bool(torch.isfinite(scores).all()),
                f"frame {prediction.index}: the scores that labels are taken from hold NaN or infinity",
            )


def _well_formed(subject: Subject, method: Method, prediction: Prediction) -> None:
    labels, place = prediction.labels, f"frame {prediction.index}"
    require(
        labels.dtype == torch.uint8 and tuple(labels.shape) == (1, *subject.size),
        f"{place}: labels are {labels.dtype} {tuple(labels.shape)}, expected torch.uint8 {(1, *subject.size)}",
    )
    device = method.context.device
    require(
        labels.device.type == device.type, f"{place}: labels are on {labels.device}, the method on {device}"
    )
    require(
        int(labels.max()) < subject.classes,
        f"{place}: label {int(labels.max())}, but classes are 0..{subject.classes - 1}",
    )
    share = prediction.executed_share
    require(0 <= share <= 1, f"{place}: executed_share {share} is outside 0..1")
    require(
        share == 1 or prediction.kind == "partial",
        f"{place}: executed_share {share} of a {prediction.kind!r} step; only partial steps execute less",
    )


def declared_latency(subject: Subject) -> None:
    """No prediction later than the lookahead says; and some as late, or the declaration asks for frames in vain."""
    method = subject.build()
    needs, latest = method.needs, 0
    state = method.begin(1)
    for frame in make_clip(subject, needs, seed=2, gops=2):
        for prediction in method.step(state, frame):
            delay = frame.index - prediction.index
            require(
                0 <= delay <= needs.lookahead,
                f"the prediction of frame {prediction.index} came with frame {frame.index}; needs.lookahead is {needs.lookahead}",
            )
            latest = max(latest, delay)
    owed = method.flush(state)
    require(
        len(owed) <= needs.lookahead,
        f"flush returned {len(owed)} predictions; needs.lookahead is {needs.lookahead}",
    )
    require(
        bool(owed) or latest == needs.lookahead,
        f"needs.lookahead is {needs.lookahead}, but no prediction came more than {latest} frames late",
    )


def short_history(subject: Subject) -> None:
    """Frames are answered also where there is less history than asked for."""
    method = subject.build()
    frames = make_clip(subject, method.needs, seed=13)
    for kept in range(method.needs.history):
        short = frames[method.needs.history - kept :]
        first = replace(short[0], flow_previous=None)  # nothing was decoded before it
        got = [p.index for p in run_clip(method, [first, *short[1:]]) if p.index >= 0]
        wanted = list(range(subject.keyframe_interval))
        require(got[: len(wanted)] == wanted, f"with {kept} frames of history predictions came for {got}")


def batch_refused(subject: Subject) -> None:
    """A method that takes one clip at a time refuses more before it works, naming itself."""
    method = subject.build()
    if method.needs.batchable:
        method.begin(2)
        return
    try:
        method.begin(2)
    except CapabilityError as error:
        require(type(method).__name__ in str(error), f"the refusal does not name the method: {error}")
        return
    raise ConformanceError("needs.batchable is False, but a batch of 2 was accepted")


def memory(subject: Subject) -> None:
    """What outlives clips lives in the memory alone: a fresh one forgets, the same history gives the same answers."""
    for one in subject.varied():
        method = one.build()
        first, second = (make_clip(one, method.needs, seed=seed) for seed in (14, 15))
        alone = answers(method, second)
        lived = []
        for _ in range(2):
            kept = method.create_memory()
            require(
                (kept is None) == (method.needs.memory == "none"),
                f"needs.memory is {method.needs.memory!r}, but create_memory returns {type(kept).__name__}",
            )
            answers(method, first, kept)
            lived.append(answers(method, second, kept))
        require_same(lived[0], lived[1], "the same clips with a fresh memory each time")
        require_same(alone, answers(method, second), "a clip with a fresh memory, after other clips")


def clips_do_not_mix(subject: Subject) -> None:
    """A clip gives the same alone in a new instance, after another clip, and in turns with another."""
    for one in subject.varied():
        needs = one.build().needs
        clips = [make_clip(one, needs, seed=seed) for seed in (3, 4)]
        alone = [answers(one.build(), clip) for clip in clips]
        method = one.build()
        for which in (0, 1, 0):
            require_same(alone[which], answers(method, clips[which]), "after other clips")
        woven = [Stepper(method) for _ in clips]
        for pair in zip(*clips, strict=True):
            for stepper, frame in zip(woven, pair, strict=True):
                stepper.push(frame)
        for which, stepper in enumerate(woven):
            require_same(alone[which], stepper.end(), "in turns with another clip")


def batch_equals_single(subject: Subject) -> None:
    """Clips in lockstep give what each gives alone, up to rare rounding at class borders."""
    for one in subject.varied():
        method = one.build()
        if not method.needs.batchable:
            return
        clip = make_clip(one, method.needs, seed=5, batch=2)
        together = {p.index: p.labels for p in run_clip(method, clip) if p.index >= 0}
        for which in (0, 1):
            for index, answer in answers(method, [_pick(frame, which) for frame in clip]).items():
                share = float((answer.labels[0] != together[index][which]).float().mean())
                require(
                    share < ROUNDING,
                    f"frame {index}: clip {which} of a batch of 2 differs from the same clip alone in {share:.2%} of pixels",
                )


def _pick(frame: Frame, which: int) -> Frame:
    parts: dict[str, Any] = {name: one[which : which + 1] for name, one in tensors_of(frame).items()}
    return replace(frame, **parts)


def keyframes_alone(subject: Subject) -> None:
    """With L = 1 every frame is segmented as if it were the only one."""
    for varied in subject.varied():
        short = replace(varied, keyframe_interval=1)
        method = short.build()
        if method.needs.history or method.needs.lookahead or method.needs.memory != "none":
            return  # methods with memory across keyframes are not per-frame networks at L = 1
        frames = make_clip(short, method.needs, seed=6, gops=3)
        together = answers(method, frames)
        for frame in frames:
            only = answers(short.build(), [replace(frame, index=0)])[0]
            require_same(
                {frame.index: only}, {frame.index: together[frame.index]}, "at L = 1, after other keyframes"
            )


def stateless(subject: Subject) -> None:
    """Answers of a method that declares stateless=True do not depend on the frames pushed before."""
    for one in subject.varied():
        method = one.build()
        if not method.needs.stateless:
            return
        frames = make_clip(one, method.needs, seed=16)
        whole = answers(method, frames)
        for frame in frames:
            if frame.index >= 0:
                require_same(whole, answers(one.build(), [frame]), "pushed alone")


def no_future_frame(subject: Subject) -> None:
    """Predictions that are due stay the same when every later frame is replaced by noise."""
    for one in subject.varied():
        method = one.build()
        lookahead = method.needs.lookahead
        frames, noise = (make_clip(one, method.needs, seed=seed) for seed in (7, 8))
        stepper = Stepper(method)
        for frame in frames:
            stepper.push(frame)
        clean = stepper.end()
        for prediction in stepper.predictions:
            handed = clean.get(prediction.index)
            require(
                handed is None or torch.equal(handed.labels, prediction.labels),
                f"frame {prediction.index}: the labels changed after they were handed out",
            )
        for position, frame in enumerate(frames):
            if frame.index < 0:
                continue
            poisoned = [*frames[: position + 1], *noise[position + 1 :]]
            due = {i: a for i, a in answers(method, poisoned).items() if i <= frame.index - lookahead}
            require_same(clean, due, f"with noise after frame {frame.index}")


def skipping(subject: Subject) -> None:
    """A method that declares every_frame=False gives the same answers when frames between are skipped."""
    for one in subject.varied():
        method = one.build()
        if method.needs.every_frame:
            return
        frames = make_clip(one, method.needs, seed=9)
        whole = answers(method, frames)
        history, clip = frames[: method.needs.history], frames[method.needs.history :]
        for frame in clip[1:]:
            skipped = answers(method, [*history, clip[0], frame])
            require_same(whole, skipped, "with the frames between skipped")


def deterministic(subject: Subject) -> None:
    """Two builds with the same seed give the same answers, whatever the state of the global random generator."""
    for one in subject.varied():
        frames = make_clip(one, one.build().needs, seed=10)
        found = []
        for state in (101, 102):
            method = one.build()
            with another_random_state(state):
                found.append(answers(method, frames))
        require_same(found[0], found[1], "two builds with the same seed")


def inputs_untouched(subject: Subject) -> None:
    """Frames are shared by all methods of a clip, so a method must not write into them; nor may weights change."""
    method = subject.build()
    frames = make_clip(subject, method.needs, seed=11)
    copies = copy.deepcopy(frames)
    weights = {n: copy.deepcopy(part.state_dict()) for n, part in method.parts().items()}
    answers(method, frames)
    _same_frames(copies, frames)
    for name, part in method.parts().items():
        changed = [
            key for key, value in part.state_dict().items() if not torch.equal(value, weights[name][key])
        ]
        require(not changed, f"running a clip changed part {name!r}: {', '.join(changed[:4])}")


def _same_frames(before: Sequence[Frame], after: Sequence[Frame]) -> None:
    for first, second in zip(before, after, strict=True):
        found = tensors_of(second)
        for name, value in tensors_of(first).items():
            same = name in found and torch.equal(value, found[name])
            require(same, f"frame {second.index}: the method wrote into {name}")


CHECKS = (
    Check("one output per frame", "One prediction per frame in order: uint8 [N, H, W] on the method's device, classes in "
          "range, from finite scores; only partial steps execute less than all.", one_output_per_frame, "step"),
    Check("declared latency", "The prediction of frame t arrives with frame t + needs.lookahead at the latest.", declared_latency, "needs"),
    Check("short history", "At the start of a sequence there are fewer frames of history, or none.", short_history, "step"),
    Check("batch refused", "needs.batchable=False refuses more than one clip at a time.", batch_refused, "begin"),
    Check("memory", "What outlives a clip is in the memory that the runner owns, made anew as needs.memory says.", memory, "create_memory"),
    Check("clips do not mix", "Everything that belongs to a clip lives in the state that start returns: no attribute, global "
          "or statistic carries anything to another clip.", clips_do_not_mix, "step"),
    Check("batch equals single", "Clips in lockstep give what each gives alone.", batch_equals_single, "step"),
    Check("keyframes alone", "With L = 1 a method without history or memory is the per-frame network.", keyframes_alone, "step"),
    Check("stateless", "needs.stateless=True: every frame is answered from itself alone.", stateless, "needs"),
    Check("no future frame", "A prediction depends on no frame later than needs.lookahead.", no_future_frame, "step"),
    Check("skipping frames", "needs.every_frame=False: state depends on the last keyframe only.", skipping, "needs"),
    Check("deterministic", "The same options, seed and frames give the same answers.", deterministic, "step"),
    Check("inputs untouched", "Frames and weights are read, never written.", inputs_untouched, "step"),
)  # fmt: skip
