"""The source tree as the tests of this folder see it."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("vssbench", "baselines", "datasets", "reports")


def sources() -> list[Path]:
    """Python files of the product, not of the tests."""
    return sorted(
        path
        for folder in SOURCES
        for path in (ROOT / folder).rglob("*.py")
        if "__pycache__" not in path.parts
    )


@cache
def tree(path: Path) -> ast.Module:
    """Syntax tree of a file, parsed once."""
    return ast.parse(path.read_text(encoding="utf-8"))


def module_name(path: Path) -> str:
    """baselines/constant.py -> vssbench.baselines.constant"""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "vssbench" else ("vssbench", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> dict[str, Path]:
    """Module name -> file."""
    return {module_name(path): path for path in sources()}


@cache
def imported(path: Path) -> frozenset[str]:
    """Modules of the product that a file imports anywhere, lazily and for types included.

    `from package import name` is the module package.name where there is one, else the package itself.
    """
    known = modules()
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                native = alias.name.startswith("_") and inner not in known
                found |= set() if native else {inner if inner in known else node.module}
    return frozenset(name for name in found if name in known) - {module_name(path)}
