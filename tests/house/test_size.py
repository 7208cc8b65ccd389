"""Functions one can read without scrolling, rooms one can look over."""

from __future__ import annotations

import ast
from collections import Counter

from .conftest import ROOT, sources, tree

LONGEST_FUNCTION = 60
LONGEST_FILE = 600
MOST_FILES = 15
LARGE_ROOMS = {
    "vssbench/codec/hevc",
    "vssbench/codec/h264",
    "vssbench/training",
    "vssbench/networks",
    "vssbench/ops",
}


def test_functions_are_short() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {length} lines"
        for path in sources()
        for node in ast.walk(tree(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > LONGEST_FUNCTION
    ]
    assert long == []


def test_files_are_short() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in sources()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST_FILE
    }
    assert long == {}


def test_rooms_hold_few_files() -> None:
    rooms = Counter(str(path.parent.relative_to(ROOT)) for path in sources() if path.name != "__init__.py")
    assert {room: n for room, n in rooms.items() if n > MOST_FILES and room not in LARGE_ROOMS} == {}


def test_no_module_is_named_after_nothing() -> None:
    nameless = {"utils", "util", "helpers", "helper", "common", "misc", "tools"}
    assert [path for path in sources() if path.stem in nameless] == []
