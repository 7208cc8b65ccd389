"""A zoo of methods, each of which breaks one sentence of the contract, and the check that must catch it."""

from __future__ import annotations

import random
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from vssbench.conformance import CHECKS, run_checks
from vssbench.method import Method, MethodOptions, Needs, Prediction, Stage


class Honest(Method):
    """A light network between keyframes, mixed with the scores of the frame before."""

    Options = MethodOptions

    def __init__(self, options, context):
        super().__init__(options, context)
        kinds = context.classes
        self.network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, kinds, 1))
        self.light = nn.Conv2d(3, kinds, 1)

    @property
    def needs(self):
        return Needs(flow_key=True, flow_previous=True, residual=True, block_types=True)

    def parts(self):
        return {"network": self.network, "light": self.light}

    def start(self, batch):
        return {}

    def step(self, state, frame):
        scores = self.scores(state, frame)
        kind = "key" if frame.is_key else "non_key"
        return [Prediction(frame.index, scores.argmax(1).to(torch.uint8), kind)]

    def scores(self, state, frame):
        image = frame.image / 255
        if frame.is_key or "scores" not in state:
            scores = self.network(image)
        else:
            scores = self.light(image) + state["scores"] / 2
        state["scores"] = scores
        return scores

    def stages(self):
        return [
            Stage("image", "image", ("network",), lambda b: {"loss": self.network(b.image).square().mean()}),
            Stage("light", "pair", ("light",), lambda b: {"loss": self.light(b.reference).square().mean()}),
        ]


ZOO = []


def caught_by(check, words=r"frame \d"):
    """Put a class into the zoo: the check that must catch it, and what it must say."""

    def put(kind):
        ZOO.append(pytest.param(kind, check, words, id=kind.__name__))
        return kind

    return put


def answer(frame, scores, kind="key", **more):
    return [Prediction(frame.index, scores.argmax(1).to(torch.uint8), kind, **more)]


# what leaks from clip to clip


@caught_by("clips do not mix")
class KeepsScoresOfTheClipBefore(Honest):
    kept = None

    def scores(self, state, frame):
        scores = super().scores(state, frame)
        before, self.kept = self.kept, scores
        return scores if before is None else scores + before


@caught_by("clips do not mix", "scores behind them differ|frame")
class WeakRunningMean(Honest):
    mean = 0.0

    def scores(self, state, frame):
        self.mean = (1 - 1e-4) * self.mean + 1e-4 * frame.image.float().mean()
        return super().scores(state, frame) + torch.tensor([1.0, 0, 0, 0]).reshape(1, 4, 1, 1) * self.mean


@caught_by("clips do not mix")
class ClassAttribute(Honest):
    seen = 0

    def scores(self, state, frame):
        type(self).seen += 1
        return super().scores(state, frame) * (1 + 1e-4 * self.seen)


SEEN = {"frames": 0}


@caught_by("clips do not mix")
class ModuleGlobal(Honest):
    def scores(self, state, frame):
        SEEN["frames"] += 1
        return super().scores(state, frame) * (1 + 1e-4 * SEEN["frames"])


@caught_by("clips do not mix")
class ModuleBuffer(Honest):
    def __init__(self, options, context):
        super().__init__(options, context)
        self.network.register_buffer("mean", torch.zeros(()))

    def scores(self, state, frame):
        self.network.mean.mul_(0.999).add_(1e-4 * frame.image.float().mean())
        return super().scores(state, frame) * (1 + self.network.mean)


@caught_by("clips do not mix")
class CacheByIndex(Honest):
    def __init__(self, options, context):
        super().__init__(options, context)
        self.cache = {}

    def scores(self, state, frame):
        if frame.index not in self.cache:
            self.cache[frame.index] = super().scores(state, frame)
        return self.cache[frame.index]


@caught_by("clips do not mix")
class StateOfAllClips(Honest):
    def __init__(self, options, context):
        super().__init__(options, context)
        self.state = {}

    def start(self, batch):
        return self.state

    def scores(self, state, frame):
        scores = super().scores(state, frame)
        state["all"] = state.get("all", 0) + scores
        return state["all"]


@caught_by("memory")
class MemoryOnTheMethod(Honest):
    def __init__(self, options, context):
        super().__init__(options, context)
        self.memory = {"frames": 0}

    @property
    def needs(self):
        return replace(super().needs, memory="sequence")

    def create_memory(self):
        return self.memory

    def scores(self, state, frame):
        self.memory["frames"] += 1
        return super().scores(state, frame) * (1 + 0.01 * self.memory["frames"])


@caught_by("memory", "needs.memory is 'clip', but create_memory returns NoneType")
class MemoryThatIsNotThere(Honest):
    @property
    def needs(self):
        return replace(super().needs, memory="clip")


@caught_by("memory", "needs.memory is 'none', but create_memory returns dict")
class MemoryUndeclared(Honest):
    def create_memory(self):
        return {}


@caught_by("keyframes alone", "L = 1")
class KeyframeBefore(Honest):
    def scores(self, state, frame):
        before = state.get("scores", 0)
        return super().scores(state, frame) + before


@caught_by("batch equals single")
class StatisticsOfTheBatch(Honest):
    def scores(self, state, frame):
        scores = super().scores(state, frame)
        return nn.functional.batch_norm(scores, None, None, training=True)


@caught_by("batch equals single")
class MeanOfTheBatch(Honest):
    def scores(self, state, frame):
        scores = super().scores(state, frame)
        return scores + scores.mean(0, keepdim=True).roll(1, 1)


@caught_by("batch refused", "batch of 2 was accepted")
class AcceptsABatch(Honest):
    @property
    def needs(self):
        return replace(super().needs, batchable=False)

    def begin(self, batch, memory=None):
        return self.start(batch)


# what depends on more than the frames so far


@caught_by("no future frame", "frame 0: the labels changed after they were handed out")
class LabelsInOneBuffer(Honest):
    def step(self, state, frame):
        (made,) = super().step(state, frame)
        state["buffer"] = state.get("buffer", made.labels).copy_(made.labels)
        return [replace(made, labels=state["buffer"])]


@caught_by("declared latency", r"frame 0 came with frame 1")
class WaitsForTheNextFrame(Honest):
    def step(self, state, frame):
        scores, before = self.scores(state, frame), state.get("owed")
        state["owed"] = frame
        return answer(before, scores) if before is not None else []

    def flush(self, state):
        return answer(state["owed"], state["scores"])


@caught_by("declared latency", r"frame 0 came with frame 2")
class WaitsLongerThanItSays(Honest):
    @property
    def needs(self):
        return replace(super().needs, lookahead=1, bridges_end=True)

    def step(self, state, frame):
        owed = state.setdefault("owed", [])
        owed.append(frame)
        scores = self.scores(state, frame)
        return answer(owed.pop(0), scores) if len(owed) > 2 else []

    def flush(self, state):
        return [one for frame in state["owed"] for one in answer(frame, state["scores"])]


@caught_by("declared latency", "no prediction came more than 0 frames late")
class AsksForFramesInVain(Honest):
    @property
    def needs(self):
        return replace(super().needs, lookahead=2, bridges_end=True)


@caught_by("declared latency", "flush returned")
class AnswersAllAtTheEnd(Honest):
    def step(self, state, frame):
        state.setdefault("made", []).extend(super().step(state, frame))
        return []

    def flush(self, state):
        return state["made"]


@caught_by("stateless")
class StatelessLie(Honest):
    @property
    def needs(self):
        return replace(super().needs, stateless=True)


@caught_by("skipping frames")
class EveryFrameLie(Honest):
    @property
    def needs(self):
        return replace(super().needs, every_frame=False)


@caught_by("short history", "KeyError")
class NeedsItsHistory(Honest):
    @property
    def needs(self):
        return replace(super().needs, history=2)

    def scores(self, state, frame):
        state[frame.index] = frame.image
        if frame.index == 0:
            return self.network((state[-2] + state[-1] + frame.image) / 255)
        return super().scores(state, frame)


@caught_by("deterministic")
class GlobalGenerator(Honest):
    def scores(self, state, frame):
        scores = super().scores(state, frame)
        return scores + 1e-3 * torch.rand_like(scores)


@caught_by("deterministic")
class PythonRandom(Honest):
    def scores(self, state, frame):
        return super().scores(state, frame) * (1 + random.random())


@caught_by("deterministic")
class Clock(Honest):
    def scores(self, state, frame):
        return super().scores(state, frame) * (1 + time.perf_counter_ns() % 1_000_003)


@caught_by("deterministic")
class Address(Honest):
    def scores(self, state, frame):
        return super().scores(state, frame) * (1 + id(self) % 1_000_003)


# what is written that must only be read


@caught_by("inputs untouched", r"frame \d: the method wrote into image")
class WritesImage(Honest):
    def scores(self, state, frame):
        scores = super().scores(state, frame)
        frame.image.clamp_(20, 200)
        return scores


@caught_by("inputs untouched", r"frame \d: the method wrote into flow_previous")
class WritesFlow(Honest):
    def scores(self, state, frame):
        if frame.flow_previous is not None:
            frame.flow_previous.mul_(0.5)
        return super().scores(state, frame)


@caught_by("inputs untouched", r"frame \d: the method wrote into residual")
class WritesResidual(Honest):
    def scores(self, state, frame):
        if frame.residual is not None:
            frame.residual.abs_()
        return super().scores(state, frame)


@caught_by("inputs untouched", r"frame \d: the method wrote into block_types")
class WritesBlockTypes(Honest):
    def scores(self, state, frame):
        frame.block_types.zero_()
        return super().scores(state, frame)


@caught_by("inputs untouched", r"frame 0: the method wrote into image")
class WritesAfterTheStep(Honest):
    def scores(self, state, frame):
        if "image" in state:
            state["image"].zero_()
        state["image"] = frame.image
        return super().scores(state, frame)


@caught_by("inputs untouched", "changed part 'light': weight")
class ChangesWeights(Honest):
    def scores(self, state, frame):
        self.light.weight.data.mul_(0.999)
        return super().scores(state, frame)


# what comes out


@caught_by("one output per frame", r"frame 0: labels are torch.uint8 \(1, 8, 12\)")
class HalfSize(Honest):
    def scores(self, state, frame):
        return super().scores(state, frame)[:, :, ::2, ::2]


@caught_by("one output per frame", "frame 0: labels are torch.int64")
class WrongType(Honest):
    def step(self, state, frame):
        return [replace(one, labels=one.labels.long()) for one in super().step(state, frame)]


@caught_by("one output per frame", "frame 0: labels are ndarray")
class NumpyLabels(Honest):
    def step(self, state, frame):
        return [replace(one, labels=one.labels.numpy()) for one in super().step(state, frame)]


@caught_by("one output per frame", "frame 0: labels are on meta")
class AnotherDevice(Honest):
    def step(self, state, frame):
        return [replace(one, labels=one.labels.to("meta")) for one in super().step(state, frame)]


@caught_by("one output per frame", r"frame 0: label 4, but classes are 0\.\.3")
class ClassOutOfRange(Honest):
    def step(self, state, frame):
        return [replace(one, labels=torch.full_like(one.labels, 4)) for one in super().step(state, frame)]


@caught_by("one output per frame", "frame 0: the scores .* NaN")
class NaNScores(Honest):
    def scores(self, state, frame):
        return super().scores(state, frame) * float("nan")


@caught_by("one output per frame", "step returns NoneType")
class ReturnsNothing(Honest):
    def step(self, state, frame):
        super().step(state, frame)


@caught_by("one output per frame", r"predictions came for \[0, 2, 3, 5\]")
class DropsFrames(Honest):
    def step(self, state, frame):
        return super().step(state, frame) if frame.keyframe_distance != 1 else []


@caught_by("one output per frame", r"predictions came for \[0, 0, ")
class AnswersTwice(Honest):
    def step(self, state, frame):
        return super().step(state, frame) * 2


@caught_by("one output per frame", r"executed_share 1\.5 is outside")
class ShareAboveOne(Honest):
    def step(self, state, frame):
        return answer(frame, self.scores(state, frame), executed_share=1.5)


# what it costs


@caught_by("kinds of steps", r"frame 1: a step of [\d,]+ MACs is called key")
class AllKey(Honest):
    def step(self, state, frame):
        return [replace(one, kind="key") for one in super().step(state, frame)]


@caught_by("kinds of steps", "frame 0 is a keyframe and its step is called non_key")
class AllNonKey(Honest):
    def step(self, state, frame):
        return [replace(one, kind="non_key") for one in super().step(state, frame)]


@caught_by("executed share", r"frame \d: executed_share 0\.90, but 0\.\d+ of the MACs")
class ShareFarOff(Honest):
    @property
    def needs(self):
        return replace(super().needs, adaptive=True)

    def step(self, state, frame):
        scores = self.scores(state, frame)
        return answer(frame, scores) if frame.is_key else answer(frame, scores, "partial", executed_share=0.9)


@caught_by("declared adaptive", r"frame \d: [\d,]+ MACs on .*needs.adaptive is False")
class WorksWhereItMoves(Honest):
    def scores(self, state, frame):
        scores = super().scores(state, frame)
        if frame.residual is not None:
            for row in (frame.residual.abs().amax((1, 3)) > 35).nonzero():
                scores[:, :, row[1]] += self.light(frame.image[:, :, row[1] : row[1] + 1] / 255)[:, :, 0]
        return scores


@caught_by("declared adaptive", r"frame 1: a partial step, but needs.adaptive is False")
class PartialUndeclared(Honest):
    def step(self, state, frame):
        made = super().step(state, frame)
        return made if frame.is_key else [replace(made[0], kind="partial", executed_share=0.1)]


@caught_by("flat memory", r"frame 11: [\d,]+ bytes are held")
class ListInTheState(Honest):
    def scores(self, state, frame):
        state.setdefault("images", []).append(frame.image.clone())
        return super().scores(state, frame)


@caught_by("flat memory", "bytes are held")
class ListOnTheMethod(Honest):
    def __init__(self, options, context):
        super().__init__(options, context)
        self.images = []

    def scores(self, state, frame):
        self.images.append(frame.image[:, :, ::2].clone())
        return super().scores(state, frame)


@caught_by("flat memory", "bytes are held")
class DictOfArrays(Honest):
    def scores(self, state, frame):
        state[frame.index] = np.zeros(10)
        return super().scores(state, frame)


@caught_by("flat memory", "bytes are held")
class ListOfNumbers(Honest):
    def scores(self, state, frame):
        state.setdefault("means", []).extend(frame.image.flatten()[:64].tolist())
        return super().scores(state, frame)


@caught_by("flat memory", r"frame 0: a tensor .* backward pass")
class KeepsGraphs(Honest):
    def scores(self, state, frame):
        with torch.enable_grad():
            return super().scores(state, frame)


# what it is made of


@caught_by("complete parts", "light.weight belongs to no part")
class PartMissing(Honest):
    def parts(self):
        return {"network": self.network}


@caught_by("complete parts", "scale belongs to no part")
class ParameterWithoutModule(Honest):
    def __init__(self, options, context):
        super().__init__(options, context)
        self.scale = nn.Parameter(torch.ones(()))


@caught_by("complete parts", "other modules when it is called again")
class NewModules(Honest):
    def parts(self):
        return {**super().parts(), "both": nn.Sequential(self.network, self.light)}


@caught_by("complete parts", "AttributeError: 'list' object")
class ListOfParts(Honest):
    def parts(self):
        return [self.network, self.light]


@caught_by("evaluation mode", "0, 1, 2 is in training mode|in training mode")
class TrainsWhileItRuns(Honest):
    def scores(self, state, frame):
        self.network.train()
        return super().scores(state, frame)


@caught_by("evaluation mode", "in training mode")
class HiddenDropout(Honest):
    def __init__(self, options, context):
        super().__init__(options, context)
        self.dropout = [nn.Dropout()]


@caught_by("budget knob", "budget_knob is 'width'")
class KnobIsText(Honest):
    budget_knob = "width"


@caught_by("budget knob", "budget_knob names .'width'")
class KnobIsUnknown(Honest):
    budget_knob = ("width",)


# how it trains


class OneStage(Honest):
    """`made` is the stage."""

    def stages(self):
        return [self.made()]

    def loss(self, batch):
        return {"loss": self.network(batch.image).square().mean()}


@caught_by("gradients", "stage 'image': gradients reach frozen parts: light")
class ForeignGradients(OneStage):
    def made(self):
        def loss(batch):
            return {"loss": (self.network(batch.image) + self.light(batch.image)).square().mean()}

        return Stage("image", "image", ("network",), loss)


@caught_by("gradients", "loss is nan")
class NaNLoss(OneStage):
    def made(self):
        return Stage("image", "image", ("network",), lambda b: {"loss": self.loss(b)["loss"] * float("nan")})


@caught_by("gradients", "unknown parts .'netwrok'")
class UnknownPart(OneStage):
    def made(self):
        return Stage("image", "image", ("netwrok",), self.loss)


@caught_by("gradients", "no parameter begins with 'network.head'")
class FreezesNothing(OneStage):
    def made(self):
        return Stage("image", "image", ("network",), self.loss, frozen=("network.head",))


@caught_by("gradients", "no gradient reaches 'light'")
class UnreachedPart(OneStage):
    def made(self):
        return Stage("image", "image", ("network", "light"), self.loss)


@caught_by("gradients", "no loss terms")
class NoLoss(OneStage):
    def made(self):
        return Stage("image", "image", ("network",), lambda batch: {})


@caught_by("gradients", "not unique")
class DoubledStages(OneStage):
    def stages(self):
        return [Stage("image", "image", ("network",), self.loss)] * 2


@pytest.mark.parametrize(("kind", "check", "words"), ZOO)
def test_a_wrong_method_is_caught(subject_of, assert_caught, kind, check, words):
    assert_caught(CHECKS[check], subject_of(kind), kind, words)


class HonestRecurrent(Honest):
    """One network, mixed with the frame before; its answers come one frame late, its last from the end."""

    @property
    def needs(self):
        return Needs(history=1, lookahead=1, bridges_end=True)

    def step(self, state, frame):
        owed, state["owed"] = state.get("owed"), (frame.index, self.scores(state, frame))
        return self._answer(owed) if owed is not None else []

    def flush(self, state):
        return self._answer(state["owed"])

    def _answer(self, owed):
        return [Prediction(owed[0], owed[1].argmax(1).to(torch.uint8), "key")]

    def scores(self, state, frame):
        scores = self.network(frame.image / 255)
        before, state["scores"] = state.get("scores", scores), scores
        return scores + before / 2


class HonestAlone(Honest):
    """Every frame from itself."""

    @property
    def needs(self):
        return Needs(stateless=True, every_frame=False)

    def step(self, state, frame):
        return answer(frame, self.network(frame.image / 255))


class HonestLearner(Honest):
    """Counts frames in a memory, and works more on bright pictures, as it says."""

    @property
    def needs(self):
        return Needs(memory="sequence", adaptive=True, batchable=False)

    def create_memory(self):
        return {"frames": 0}

    def start(self, batch):
        return self.start_with(batch, self.create_memory())

    def start_with(self, batch, memory):
        return {"memory": memory}

    def step(self, state, frame):
        state["memory"]["frames"] += 1
        image = frame.image / 255
        bright = image.mean((1, 2), keepdim=True) > 0.5
        rows = 1 if frame.is_key else float(bright.float().mean())
        scores = self.light(image) + 0.001 * state["memory"]["frames"]
        height = round(rows * image.shape[2])
        if height:
            scores[:, :, :height] += self.network(image[:, :, :height])
        return (
            answer(frame, scores) if frame.is_key else answer(frame, scores, "partial", executed_share=rows)
        )


@pytest.mark.parametrize("kind", [Honest, HonestRecurrent, HonestAlone, HonestLearner])
def test_an_honest_method_passes_every_check(subject_of, kind):
    assert {one.check: one.problem for one in run_checks(subject_of(kind)) if one.problem} == {}
