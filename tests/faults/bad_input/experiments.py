"""Bad experiment files and settings."""

from __future__ import annotations

import json
from pathlib import Path

from bad_input.case import EXPERIMENT, Words, bad, changed, experiment

for title, text in {
    "an empty file": "",
    "a list instead of keys": "- 1\n- 2\n",
    "broken YAML": "dataset: {name: synthetic\n",
    "aliases that would grow without bound": "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
    "a tag that would run code": "title: !!python/object/apply:os.system ['touch the-file-was-executed']\n",
    "thousands of nested lists": "title: " + "[" * 20000,
    "a megabyte of notes": "notes: " + "x" * 1_000_000,
    "the same key twice": json.dumps(EXPERIMENT)[:-1] + ', "seed": 1, "seed": 2}',
    "an unknown key": json.dumps({**EXPERIMENT, "protocl": {}}),
    "a schema version of the future": json.dumps({**EXPERIMENT, "schema_version": 9}),
    "no method at all": json.dumps({**EXPERIMENT, "methods": []}),
}.items():
    bad("experiments", title, 2)(lambda text=text: experiment(text))
bad("experiments", "bytes that are no text", 3)(lambda: experiment(b"\xff\xfe\x00title"))
bad("experiments", "a file that is not there", 3)(lambda: ["run", "absent.yaml"])
bad("experiments", "a mistyped packaged name", 2)(lambda: ["run", "quickstrat"])

for override, title in {
    "dataset=camvids": "an unknown dataset",
    "method=ar-sec": "an unknown method",
    "method.network=bisenet": "an unknown network",
    "method.networc=bisenet18": "an unknown option of a method",
    "method.lr_scale=0": "a scale of 0",
    "method.lr_scale=.nan": "a scale that is no number",
    "codec.crf=20": "two rate controls",
    "codec.codec=av2": "an unknown codec",
    "codec.preset=fastest": "an unknown preset",
    "codec.extra={threads: 8}": "an encoder option that would change the bits",
    "codec.extra={qcomp: '0.5:threads=8'}": "an encoder option smuggled into another",
    "codec.extra={nonsense: 1}": "an option the encoder does not know",
    "protocol.keyframe_interval=0": "a keyframe interval of 0",
    "protocol.distances=[7]": "a distance beyond the keyframe interval",
    "protocol.distances=0-11": "a range in another notation",
    "dataset.frames=0": "a sequence without frames",
    "dataset.size=[64]": "half a frame size",
    "dataset.size=[100000, 100000]": "frames of ten gigapixels",
    "dataset.only=[nowhere]": "a sequence that the dataset lacks",
    "method.codecs=[hevc]": "a filter for a codec that is not there",
    "keyframe_interval": "--set without a value",
    "seed.deep=1": "--set below a plain value",
    "title=[": "--set with broken YAML",
}.items():
    bad("settings", title, 2)(lambda override=override: changed(override))
bad("settings", "two methods of one label", 2)(
    lambda: experiment(json.dumps({**EXPERIMENT, "methods": EXPERIMENT["methods"] * 2}))
)
bad("settings", "the paper's rule of motion on B pictures", 2)(
    lambda: changed(
        "method=warp-only", "method.width=4", "method.flow_rule=paper",
        "codec={codec: hevc, qp: 30, b_frames: 2}", "protocol.keyframe_interval=4",
    )
)  # fmt: skip
bad("settings", "motion of a stream with three references", 2)(
    lambda: changed("method=warp-only", "method.width=4", "codec.references=3")
)
bad("settings", "an even attention window", 2)(
    lambda: changed("method=ar-seg", "method.width=4", "method.window=6")
)
bad("settings", "no frame that could be scored", 3)(
    lambda: changed("protocol.kind=clip", "protocol.keyframe_interval=12", "protocol.distances=[11]")
)
bad("settings", "no workers", 2)(lambda: [*changed()[:4], "--workers", 0])
bad("settings", "an unknown device", 2)(lambda: [*changed()[:4], "--device", "tpu!"])
bad("settings", "a cluster that is none", 2)(lambda: [*changed()[:4], "--cluster", "my-cluster"])
bad("settings", "a cluster and local workers", 2)(lambda: [*changed(), "--cluster", "local:2"])


@bad("settings", "an unknown key in a cluster file", 2)
def _() -> Words:
    Path("cluster.yaml").write_text("scheduler: slurm\nworkers: 4\n")
    return [*changed()[:4], "--cluster", "cluster.yaml"]


@bad("settings", "an unknown batch system", 2)
def _() -> Words:
    Path("cluster.yaml").write_text("scheduler: slrum\n")
    return [*changed()[:4], "--cluster", "cluster.yaml"]
