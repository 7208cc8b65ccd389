"""Imports point down: a total order of packages, no circle of files, plug-ins apart from one another."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import ROOT, imported, module_name, modules, sources

ORDER = (
    ("records", "errors", "files", "registry"),
    ("method", "network", "dataset", "pictures", "class_tables", "picture_folders", "picture_layouts"),
    ("codec",),
    ("ops",),
    ("metrics",),
    ("networks",),
    ("cost",),
    ("experiment",),
    ("engine",),
    ("results",),
    ("analysis",),
    ("conformance",),
    ("training", "runner", "rendering"),
    ("pytest_latency",),
    ("cli",),
    ("__main__",),
)
"""From the ground up. A room imports itself and rooms below; rooms of one row do not import one another, but for the ground."""
GROUND = 1
"""Rows whose rooms may import one another: single files."""
LEVEL = {room: level for level, row in enumerate(ORDER) for room in row}
PLUG_IN_MAY_IMPORT = {"records", "errors", "files", "registry", "method", "network", "dataset", "pictures", "class_tables", "picture_folders", "picture_layouts"} | {
    "codec", "metrics", "ops", "networks", "cost",
}  # fmt: skip


def room(module: str) -> str:
    """vssbench.codec.decode -> codec; '' for the face of the product."""
    return module.split(".")[1] if "." in module else ""


def _core() -> list[Path]:
    return [p for p in sources() if p.relative_to(ROOT).parts[0] == "vssbench" and room(module_name(p))]


@pytest.mark.parametrize("path", _core(), ids=lambda p: str(p.relative_to(ROOT)))
def test_rooms_import_downwards_only(path: Path) -> None:
    own = room(module_name(path))
    for name in sorted(imported(path)):
        other = room(name)
        if other in ("", own, "reports"):  # the version number; data files
            continue
        assert other not in ("baselines", "datasets"), f"imports the plug-in {name}; use the registry"
        assert LEVEL[other] < LEVEL[own] or LEVEL[own] == LEVEL[other] <= GROUND, f"{own} imports {name}"


def test_rendering_does_not_import_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys, pkgutil, importlib, vssbench.rendering as r\n"
        "for m in pkgutil.walk_packages(r.__path__, r.__name__ + '.'): importlib.import_module(m.name)\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0


def test_no_files_import_one_another_in_a_circle() -> None:
    """Lazy and type-checking imports count; the face of the product (vssbench/__init__.py) is the one exception."""
    known = modules()
    arrows = {
        name: {other for other in imported(path) if other != "vssbench"}
        for name, path in known.items()
        if name != "vssbench"
    }
    circles = [sorted(found) for found in _strongly_connected(arrows) if len(found) > 1]
    assert circles == []


def _strongly_connected(arrows: dict[str, set[str]]) -> list[set[str]]:
    """Kosaraju's two passes, without recursion."""
    order: list[str] = []
    seen: set[str] = set()
    for start in arrows:
        stack = [(start, iter(sorted(arrows[start])))] if start not in seen else []
        seen.add(start)
        while stack:
            name, rest = stack[-1]
            following = next((n for n in rest if n not in seen), None)
            if following is None:
                order.append(name)
                stack.pop()
            else:
                seen.add(following)
                stack.append((following, iter(sorted(arrows[following]))))
    back: dict[str, set[str]] = {name: set() for name in arrows}
    for name, targets in arrows.items():
        for target in targets:
            back[target].add(name)
    found: list[set[str]] = []
    placed: set[str] = set()
    for start in reversed(order):
        group, waiting = set(), [start]
        while waiting:
            name = waiting.pop()
            if name not in placed:
                placed.add(name)
                group.add(name)
                waiting += back[name]
        if group:
            found.append(group)
    return found


@pytest.mark.parametrize("kind", ["baselines", "datasets"])
def test_plug_ins_import_contracts_and_tools_but_never_one_another(kind: str) -> None:
    for path in sorted((ROOT / kind).rglob("*.py")):
        own = path.relative_to(ROOT / kind).parts[0].removesuffix(".py")
        for name in sorted(imported(path)):
            if room(name) == kind:
                assert name.split(".")[2:3] in ([own], []), f"{path} imports another plug-in: {name}"
            else:
                assert room(name) in PLUG_IN_MAY_IMPORT, f"{path} imports {name}"
