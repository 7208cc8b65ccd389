"""One thing, one name: no public class twice, no public name that nothing uses, no path in a docstring that is not there."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from .conftest import ROOT, SOURCES, sources, tree

TEXTS = ("README.md", "docs", "baselines", "datasets", "reports")


def _public(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    for node in tree(path).body:
        if isinstance(
            node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        ) and not node.name.startswith("_"):
            yield node


def test_public_classes_have_names_of_their_own() -> None:
    places = defaultdict(list)
    for path in sources():
        for node in _public(path):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(path.relative_to(ROOT)))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_functions_that_many_import_have_names_of_their_own() -> None:
    """Functions of one name in two rooms are two things unless every room keeps its own to itself."""
    places = defaultdict(set)
    for path in sources():
        for node in _public(path):
            command = "cli" in path.relative_to(ROOT).parts  # named after what a user types
            if not isinstance(node, ast.ClassDef) and not node.decorator_list and not command:
                places[node.name].add(str(path.relative_to(ROOT)))
    imported: Counter[tuple[str, str]] = Counter()
    for path in sources():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    imported[node.module.removeprefix("vssbench.").replace(".", "/"), alias.name] += 1
    doubled = {}
    for name, where in places.items():
        used = {w for w in where if imported[w.removeprefix("vssbench/").removesuffix(".py"), name]}
        if len(used) > 1:
            doubled[name] = sorted(used)
    assert doubled == {}


def test_every_public_name_is_used_or_documented() -> None:
    words: Counter[str] = Counter()
    for path in sources():
        words.update(re.findall(r"\w+", path.read_text(encoding="utf-8")))
    for text in _texts():
        words.update(re.findall(r"\w+", text))
    unused = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in sources()
        for node in _public(path)
        if words[node.name] < 2 and not node.decorator_list
    ]
    assert unused == []


def _texts() -> Iterator[str]:
    for place in TEXTS:
        found = [ROOT / place] if place.endswith(".md") else sorted((ROOT / place).rglob("*.md"))
        yield from (path.read_text(encoding="utf-8") for path in found)
    yield (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_paths_named_in_docstrings_exist() -> None:
    pattern = re.compile(r"(?<![\w/.-])((?:[a-z_0-9]+/)+[a-z_0-9]+\.(?:py|md|cpp|hpp|yaml|csv))(?!\w)")
    missing = []
    for path in sources():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            for name in (
                pattern.findall(line)
                if '"""' in line or "#" in line or not line.strip().endswith(",")
                else ()
            ):
                places = [ROOT / name, ROOT / "vssbench" / name, path.parent / name]
                if name.split("/")[0] in {*SOURCES, "docs", "tests", *_rooms()} and not any(
                    p.exists() for p in places
                ):
                    missing.append(f"{path.relative_to(ROOT)}:{number}: {name}")
    assert missing == []


def _rooms() -> set[str]:
    return {path.name for path in (ROOT / "vssbench").iterdir() if path.is_dir()}
