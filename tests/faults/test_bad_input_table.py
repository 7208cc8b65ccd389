"""At least sixty bad inputs, and the message each gets: docs/bad-input.md is written by this test.

VSSBENCH_UPDATE=bad-input pytest tests/faults/test_bad_input_table.py     writes the page anew

The inputs stand in bad_input/, a module for each kind.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bad_input.case import CASES, EXECUTED, EXPERIMENT, Case
from typer.testing import CliRunner

from vssbench.cli import app
from vssbench.errors import VssbenchError

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "bad-input.md"

for kind in ("experiments", "datasets", "video", "weights", "runs"):  # the order of the page
    importlib.import_module(f"bad_input.{kind}")


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import vssbench

    place = tmp_path_factory.mktemp("finished") / "run"
    vssbench.run(EXPERIMENT, place, workers=1, cache=place.parent / "cache", device="cpu")
    return place


def answer(case: Case) -> tuple[int, str]:
    """Exit code and message that the command line gives."""
    result = CliRunner().invoke(app, [str(word) for word in case.make()])
    error = result.exception
    if isinstance(error, VssbenchError):
        return error.exit_code, str(error)
    if error is not None and not isinstance(error, SystemExit):
        pytest.fail(f"{case.title}: {type(error).__name__}: {error}")
    return result.exit_code, "\n".join(
        line for line in result.output.splitlines() if line.startswith("error")
    )


def readable(message: str, place: Path) -> str:
    """One line without what differs from machine to machine."""
    text = message.replace(f"{place.resolve()}/", "").replace(f"{place}/", "").replace(str(place), ".")
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r"0x[0-9a-f]{6,}", "0x...", text)
    text = re.sub(r"(torch|vssbench) \d+\.\d+\.\d+", r"\1 ...", text)
    text = re.sub(r"\bx?[0-9a-f]{16,64}\b", "(digest)", text)
    text = re.sub(
        r"(line|column|char|position|positions) [\d-]+", r"\1 N", text
    )  # moves with every new field
    text = re.sub(
        r"(JSONDecodeError): [^:]+:", r"\1: ...:", text
    )  # where a record is cut depends on its times
    text = re.sub(r"(\.yaml):\d+:\d+", r"\1:N:N", text)
    text = re.sub(r"known: [\w ,./+-]+", "known: ...", text)  # grows with every plug-in
    return text if len(text) <= 420 else text[:300] + " ... " + text[-100:]


MESSAGES: dict[int, str] = {}
IDS = [f"{case.group}: {case.title}" for case in CASES]


@pytest.mark.parametrize("number", range(len(CASES)), ids=IDS)
def test_a_bad_input_is_answered_with_one_message_and_code(number, tmp_path, monkeypatch, finished_run):
    case = CASES[number]
    monkeypatch.chdir(tmp_path)
    if case.group == "runs":
        shutil.copytree(finished_run, tmp_path / "run")
    code, message = answer(case)
    text = readable(message, tmp_path)
    assert code == case.exit_code, f"{code}: {text}"
    assert len(text) > 20, text
    assert "Traceback" not in message
    assert not (tmp_path / EXECUTED).exists(), "something in the file was executed"
    assert not (tmp_path.parent / "escaped.png").exists()
    if case.group != "runs":
        assert not (tmp_path / "run" / "units").exists(), "work began in spite of the mistake"
    MESSAGES[number] = text


def page() -> Iterator[str]:
    yield "# What vssbench answers to bad input"
    yield ""
    yield (
        f"{len(CASES)} mistakes and hostile files, and the message each gets. This page is written by "
        "`tests/faults/test_bad_input_table.py`, which also holds that nothing is executed, extracted or half-written. "
        "Exit code 2: the request cannot be served; 3: a file or folder is broken."
    )
    for group in dict.fromkeys(case.group for case in CASES):
        yield ""
        yield f"## {group.capitalize()}"
        yield ""
        yield "| input | code | message |"
        yield "|---|---|---|"
        for number, case in enumerate(CASES):
            if case.group == group:
                text = MESSAGES[number].replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
                yield f"| {case.title} | {case.exit_code} | {text} |"
    yield ""


def test_the_page_of_bad_inputs_is_current():
    if len(MESSAGES) < len(CASES):
        pytest.skip("some cases were not run, or failed")
    assert len(CASES) >= 60
    text = "\n".join(page())
    if "bad-input" in os.environ.get("VSSBENCH_UPDATE", ""):
        PAGE.write_text(text)
    assert PAGE.exists(), "run with VSSBENCH_UPDATE=bad-input"
    if sys.version_info[:2] == (3, 11):  # messages of the standard library change between versions
        assert PAGE.read_text() == text
