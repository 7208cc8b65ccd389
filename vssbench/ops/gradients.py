"""Gradients through a module but not into its parameters: what a frozen network behind a trained one needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Forward passes inside the block leave the modules' parameters out of the graph; their inputs stay in it."""
    switched = [p for module in modules for p in module.parameters() if p.requires_grad]
    for parameter in switched:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in switched:
            parameter.requires_grad_(True)
