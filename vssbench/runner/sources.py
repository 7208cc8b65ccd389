"""Which code a run rests on: the modules that decide pixels, motion and predictions, found by their imports."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from vssbench.experiment.schema import Experiment
from vssbench.registry import Registry, datasets, methods, networks

ROOTS = (
    "vssbench.experiment.clips",
    "vssbench.codec",
    "vssbench.metrics.confusion",
    "vssbench.ops",
    "vssbench.engine.evaluate",
    "vssbench.engine.feed",
)
"""Every run rests on these; datasets, methods and networks are added as the experiment names them."""

_WITHOUT_INFLUENCE = (
    "vssbench.cli",
    "vssbench.codec.cache",
    "vssbench.experiment.schema",
    "vssbench.cost",
    "vssbench.errors",
    "vssbench.networks.release",
    "vssbench.registry",
    "vssbench.rendering",
    "vssbench.results",
    "vssbench.training",
)
"""What these modules do cannot change a count: they check, store, time and draw."""


def code_digests(experiment: Experiment) -> dict[str, str]:
    """Module -> digest of its code without comments and docstrings (of the file, for compiled modules).

    Covers the modules below `ROOTS` and below the datasets, methods and networks of the experiment, plug-ins included.
    """
    pending = [*ROOTS, *_plug_in_modules(experiment)]
    found: dict[str, str] = {}
    while pending:
        name = pending.pop()
        if name in found or name.startswith(_WITHOUT_INFLUENCE):
            continue
        origin = _origin(name)
        if origin is None:
            continue
        found[name], imported = _digest(origin, name)
        own = name.split(".")[0]
        pending += [module for module in imported if module.split(".")[0] in (own, "vssbench")]
    return dict(sorted(found.items()))


def combined(digests: dict[str, str]) -> str:
    """One digest over all modules."""
    return hashlib.sha256(repr(sorted(digests.items())).encode()).hexdigest()[:16]


def _plug_in_modules(experiment: Experiment) -> Iterator[str]:
    for dataset in experiment.datasets:
        yield _module(datasets, dataset.name)
    for method in experiment.methods:
        yield _module(methods, method.name)
        for value in method.options().model_dump().values():
            if isinstance(value, str) and value in networks.entries:
                yield _module(networks, value)


def _module(registry: Registry, name: str) -> str:
    return registry.entries[name].target.partition(":")[0]


def _origin(name: str) -> Path | None:
    """File of a module; None if there is no such module (the name may be that of a function)."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec is not None and spec.origin and spec.has_location else None


@lru_cache(maxsize=512)
def _digest(origin: Path, name: str) -> tuple[str, tuple[str, ...]]:
    """Digest of a file, and the names it imports."""
    if origin.suffix != ".py":
        return hashlib.sha256(origin.read_bytes()).hexdigest()[:16], ()
    tree = ast.parse(origin.read_text(encoding="utf-8"))
    imported = tuple(_imports(tree, name if origin.name == "__init__.py" else name.rpartition(".")[0]))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node, clean=False
        ):
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16], imported


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                module = importlib.util.resolve_name("." * node.level + module, package)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
