"""The import direction of the house: modules import from their own layer's parts or from layers below only."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

LAYER = {
    "records": 0, "errors": 0,
    "method": 1, "dataset": 1, "pictures": 1, "class_tables": 1, "picture_folders": 1,
    "ops": 2,
    "registry": 3, "config": 3, "expansion": 3, "clips": 3, "results": 3, "codec": 3, "networks": 3, "metrics": 3, "cost": 3,
    "runner": 4, "rendering": 4, "training": 4, "conformance": 4,
    "cli": 5,
}  # fmt: skip
PLUG_IN_MAY_IMPORT = {
    "records",
    "errors",
    "method",
    "dataset",
    "pictures",
    "picture_folders",
    "class_tables",
    "codec",
    "metrics",
    "ops",
    "networks",
}
RENDERING_MAY_IMPORT = {"records", "errors", "results", "metrics", "reports", "rendering"}


def _imports(path: Path) -> set[str]:
    """Names below `vssbench.` that a module imports anywhere, type-checking imports included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module] if node.module != "vssbench" else [f"vssbench.{a.name}" for a in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {name.split(".", 1)[1] for name in names if name.startswith("vssbench.")}
    return found


def _core_modules() -> list[Path]:
    return [
        p
        for p in sorted((ROOT / "vssbench").rglob("*.py"))
        if p.parent != ROOT / "vssbench" or p.stem in LAYER
    ]


@pytest.mark.parametrize("path", _core_modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_core_modules_import_downwards_only(path):
    own = path.relative_to(ROOT / "vssbench").parts[0].removesuffix(".py")
    for name in _imports(path):
        head = name.split(".")[0]
        if head in ("__version__", "load_run", "run", "Run", "reports", "_version"):
            continue
        assert head not in ("baselines", "datasets"), (
            f"{path.name} imports the plug-in module {name}; use the registry"
        )
        assert LAYER[head] <= LAYER[own], f"{own} (layer {LAYER[own]}) imports {name} (layer {LAYER[head]})"
        if own == "rendering":
            assert head in RENDERING_MAY_IMPORT, f"rendering imports {name}"


def _plug_in_modules() -> list[Path]:
    return sorted(p for folder in ("baselines", "datasets") for p in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", _plug_in_modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_plug_ins_import_contracts_and_tools_but_never_one_another(path):
    kind, own = path.relative_to(ROOT).parts[:2]
    for name in _imports(path):
        head, *rest = name.split(".")
        if head == kind:
            assert rest[:1] == [own.removesuffix(".py")], f"{path} imports another plug-in: {name}"
        else:
            assert head in PLUG_IN_MAY_IMPORT, f"{path} imports {name}"
