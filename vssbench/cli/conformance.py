"""`vssbench conformance`: does a method keep its contract?"""

from __future__ import annotations

from typing import Annotated, Any

import typer


def conformance(
    method: Annotated[
        str, typer.Argument(help="Registered method, yours included (entry point group vssbench.methods).")
    ],
    option: Annotated[
        list[str] | None,
        typer.Option("--set", help="Option of the method, key=value (YAML value); repeatable."),
    ] = None,
    size: Annotated[str, typer.Option(help="Frame size HEIGHTxWIDTH.")] = "64x96",
    keyframe_interval: Annotated[
        int, typer.Option("--keyframe-interval", "-L", min=1, help="Pictures per GOP.")
    ] = 4,
    seed: Annotated[int, typer.Option(help="Seed of weights and clips.")] = 0,
) -> None:
    """Run the conformance suite on a method with random weights and random clips; exit code 1 if a check fails."""
    import re

    import torch

    from vssbench.conformance import Subject, run_checks
    from vssbench.errors import ConfigError
    from vssbench.experiment.overrides import apply_override

    options: dict[str, Any] = {}
    for setting in option or []:
        apply_override(options, setting.removeprefix("method."))
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", size)
    if match is None:
        raise ConfigError(f"--size {size!r}: expected HEIGHTxWIDTH, for example 64x96")
    torch.use_deterministic_algorithms(True)
    subject = Subject(
        method, options, (int(match[1]), int(match[2])), keyframe_interval=keyframe_interval, seed=seed
    )
    findings = run_checks(subject)
    for finding in findings:
        typer.echo(
            f"{'FAILED' if finding.problem else 'ok':<8}{finding.check}: {finding.problem or finding.summary}"
        )
    failed = sum(bool(finding.problem) for finding in findings)
    typer.echo(f"{method}: {len(findings) - failed} of {len(findings)} checks passed")
    if failed:
        raise typer.Exit(1)
