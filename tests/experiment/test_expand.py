"""Entries that stand for several scales and seeds, in both kinds of experiments."""

from __future__ import annotations

from typing import Any

import pytest

from vssbench.errors import ConfigError
from vssbench.experiment.expand import expand
from vssbench.experiment.schema import RUN
from vssbench.experiment.training import TRAINING


def test_a_method_stands_for_scales_and_seeds() -> None:
    entry = {
        "name": "ar-seg",
        "label": "AR",
        "lr_scales": [0.5],
        "seeds": [1, 2],
        "weights": {"lr": "x/ar-{lr_scale}-seed{seed}"},
    }
    document = {"methods": [entry, {"name": "constant", "lr_scale": 0.5}]}
    expand(document, RUN.rules)
    assert document["methods"] == [
        {
            "name": "ar-seg", "label": f"AR 0.5 seed {seed}", "lr_scale": 0.5,
            "weights": {"lr": f"x/ar-0.5-seed{seed}"}, "training_seed": seed, "seeds_of": "AR 0.5",
        }
        for seed in (1, 2)
    ] + [{"name": "constant", "lr_scale": 0.5}]  # fmt: skip
    assert entry["label"] == "AR"  # the input is left alone


def test_a_contestant_stands_for_a_list_of_scales() -> None:
    document: dict[str, Any] = {
        "contestants": [
            {
                "label": "ar",
                "lr_scales": [0.3, 1],
                "options": {"width": 12},
                "stages": {"fusion": {"initialise_from": {"lr": "constant-{lr_scale}/image/network"}}},
            },
            {"label": "plain"},
        ],
        "evaluations": [{"label": "at-{lr_scale}-alone", "lr_scales": [0.5], "parts": {"n": "x-{lr_scale}"}}],
        "outputs": [{"weights": "w/ar", "source": "ar-{lr_scale}/fusion/lr", "lr_scales": [0.3]}],
    }
    expand(document, TRAINING.rules)
    assert [c["label"] for c in document["contestants"]] == ["ar-0.3", "ar-1.0", "plain"]
    assert document["contestants"][0]["options"] == {"width": 12, "lr_scale": 0.3}
    started = document["contestants"][1]["stages"]["fusion"]["initialise_from"]
    assert started == {"lr": "constant-1.0/image/network"}
    assert document["evaluations"] == [
        {"label": "at-0.5-alone", "parts": {"n": "x-0.5"}, "options": {"lr_scale": 0.5}}
    ]
    assert document["outputs"] == [{"weights": "w/ar-0.3", "source": "ar-0.3/fusion/lr"}]


@pytest.mark.parametrize("scales", [[], 0.5, ["half"], [0.5, 0.5], [True], [float("nan")], [-1]])
@pytest.mark.parametrize(("section", "kind"), [("contestants", TRAINING), ("methods", RUN)])
def test_a_list_of_scales_that_is_none_is_refused(section: str, kind: Any, scales: Any) -> None:
    with pytest.raises(ConfigError, match=rf"{section}\.ar\.lr_scales"):
        expand({section: [{"label": "ar", "lr_scales": scales}]}, kind.rules)


def test_seeds_are_whole_numbers() -> None:
    for seeds in ([1, 1], [1.5], [True]):
        with pytest.raises(ConfigError, match=r"methods\.AR\.seeds"):
            expand({"methods": [{"label": "AR", "seeds": seeds}]}, RUN.rules)
