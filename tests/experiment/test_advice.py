"""Every key that a message, a page or a packaged experiment tells the user to set exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from vssbench.experiment.schema import CodecSpec, DatasetSpec, Experiment, MethodSpec
from vssbench.experiment.training import TrainingExperiment
from vssbench.registry import datasets, methods

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = [
    path for room in ("vssbench", "baselines", "datasets") for path in sorted((ROOT / room).rglob("*.py"))
]
TEXTS = [
    ROOT / "README.md",
    *(
        path for path in sorted((ROOT / "docs").glob("*.md")) if path.name != "bad-input.md"
    ),  # mistakes on purpose
    *sorted((ROOT / "baselines").rglob("*.md")),
    *sorted((ROOT / "datasets").rglob("*.md")),
    *sorted((ROOT / "reports" / "experiments").glob("*/*.yaml")),
]
NO_KEYS = ("KEY", "key", "method.step", "method.needs")
"""What only looks like one: placeholders, parts of a class."""
ONE_KEY = re.compile(r"--set[ =]+['\"]?((?:\"[^\"]*\"|[\w.-])+)=")
DOTTED = re.compile(
    r"(?<![\w./-])((?:dataset|codec|method|protocol|measure|pictures|limits|pairs|validation|augmentation|contestant|"
    r"output|evaluation)s?(?:\.[a-z_0-9]+)+)(?![\w(/*.])"
)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from _models(field.annotation)
    for inner in get_args(annotation):
        yield from _models(inner)


def _options() -> set[str]:
    """Options of every registered dataset and method."""
    return {
        key
        for registry in (datasets, methods)
        for name in registry.names()
        if name not in ("boxes", "drives", "tiny")
        for key in registry.load(name).Options.model_fields
    }


@pytest.fixture(scope="module")
def known() -> set[str]:
    """The last steps of all keys."""
    found = {*_options(), *DatasetSpec.model_fields, *MethodSpec.model_fields, *CodecSpec.model_fields}
    for model in (*_models(Experiment), *_models(TrainingExperiment)):
        found |= set(model.model_fields)
    return {*found, "dataset", "codec", "method", "contestant", "evaluation", "output"}


def _exists(key: str, known: set[str]) -> bool:
    """The head is a section, and so is what is asked of it; options stand beside the keys of datasets and methods."""
    head, *rest = re.findall(r'"[^"]*"|[^."]+', key)
    last = rest[-1] if rest else head
    if {"weights", "args"} & {
        head,
        *rest[:-1],
    }:  # what stands below is named by a method or by somebody else's module
        return True
    nested = head in ("contestant", "contestants", "evaluation", "evaluations")
    return head in known and last in known and (nested or "options" not in rest)


def _missing(found: Iterator[tuple[Path, str]], known: set[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}: {key}"
        for path, key in found
        if key not in NO_KEYS and not _exists(key, known)
    ]


def _texts_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_keys_that_are_shown_behind_set_exist(known: set[str]) -> None:
    found = (
        (path, key)
        for path in (*SOURCES, *TEXTS)
        for key in ONE_KEY.findall(path.read_text(encoding="utf-8"))
    )
    assert _missing(found, known) == []


def test_keys_in_messages_exist(known: set[str]) -> None:
    found = (
        (path, key)
        for path in SOURCES
        for text in _texts_of(path)
        for key in DOTTED.findall(text)
        if not key.endswith((".py", ".json", ".yaml", ".csv", ".md", ".html", ".png"))
    )
    assert _missing(found, known) == []


def test_what_does_not_exist_is_found(known: set[str]) -> None:
    assert ONE_KEY.findall("vssbench run x --set dataset.options.root=PATH") == ["dataset.options.root"]
    assert not _exists("dataset.options.root", known)
    assert not _exists("protocol.keyframe_intervall", known)
    assert _exists('methods."AR 0.5".lr_scale', known)
