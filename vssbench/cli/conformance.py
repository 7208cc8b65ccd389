"""`vssbench conformance`: does a method, a network or a dataset keep its contract?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from vssbench.conformance import CheckResult


def conformance(
    method: Annotated[
        str | None,
        typer.Argument(help="Registered method, yours included (entry point group vssbench.methods)."),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(help="Check this registered network instead, or a factory package.module:function."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Check this registered dataset instead, on its files.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Option of the method, dataset or factory, key=value (YAML value); repeatable."
        ),
    ] = None,
    size: Annotated[str, typer.Option(help="Frame size HEIGHTxWIDTH.")] = "64x96",
    keyframe_interval: Annotated[
        int, typer.Option("--keyframe-interval", "-L", min=1, help="Pictures per GOP.")
    ] = 4,
    width: Annotated[int, typer.Option(min=1, help="Base channels of the network.")] = 8,
    split: Annotated[str, typer.Option(help="Split of the dataset: train, val or test.")] = "val",
    seed: Annotated[int, typer.Option(help="Seed of weights and clips.")] = 0,
) -> None:
    """Hold a method, network or dataset against its contract.

    A method on random clips, a network on random images, a dataset on its files; exit code 1 on failure.
    """
    import torch

    from vssbench.errors import ConfigError
    from vssbench.experiment.overrides import apply_override

    named = [name for name in (method, network, dataset) if name is not None]
    if len(named) != 1:
        raise ConfigError(f"name one method, --network or --dataset to check, got {named or 'none'}")
    options: dict[str, Any] = {}
    for setting in option or []:
        apply_override(options, setting.removeprefix("method.").removeprefix("dataset."))
    if network is not None and options and ":" not in network:
        raise ConfigError("--set: a registered network has no options; give --width")
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        if network is not None:
            results = _of_network(network, options, width, _size(size), seed)
        elif dataset is not None:
            results = _of_dataset(dataset, options, split)
        else:
            results = _of_method(str(method), options, _size(size), keyframe_interval, seed)
    finally:
        torch.use_deterministic_algorithms(before)
    _tell(named[0], results)


def _size(text: str) -> tuple[int, int]:
    import re

    from vssbench.errors import ConfigError

    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if match is None:
        raise ConfigError(f"--size {text!r}: expected HEIGHTxWIDTH, for example 64x96")
    return int(match[1]), int(match[2])


def _of_method(
    name: str, options: dict[str, Any], size: tuple[int, int], interval: int, seed: int
) -> list[CheckResult]:
    from vssbench.conformance import Subject, run_checks

    return run_checks(Subject(name, options, size, keyframe_interval=interval, seed=seed))


def _of_network(
    name: str, options: dict[str, Any], width: int, size: tuple[int, int], seed: int
) -> list[CheckResult]:
    from vssbench.conformance import NetworkSubject, run_network_checks
    from vssbench.experiment.validation import validate
    from vssbench.networks import NetworkFactory

    factory = (
        validate(NetworkFactory, {"factory": name, **options}, where="--network") if ":" in name else name
    )
    return run_network_checks(NetworkSubject(factory, width, size, seed=seed))


def _of_dataset(name: str, options: dict[str, Any], split: str) -> list[CheckResult]:
    from vssbench.conformance import DatasetSubject, run_dataset_checks
    from vssbench.errors import ConfigError

    if split not in ("train", "val", "test"):
        raise ConfigError(f"--split {split!r}: expected train, val or test")
    return run_dataset_checks(DatasetSubject(name, options, split))  # type: ignore[arg-type]


def _tell(name: str, results: list[CheckResult]) -> None:
    for result in results:
        typer.echo(f"{'FAILED' if result.problem else 'ok':<8}{result.check}: {result.text}")
    failed = sum(bool(result.problem) for result in results)
    typer.echo(f"{name}: {len(results) - failed} of {len(results)} checks passed")
    if failed:
        raise typer.Exit(1)
