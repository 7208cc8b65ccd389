"""What the zoos share: a plug-in class becomes the subject of a check, and a failure tells all that it should."""

from __future__ import annotations

import inspect
import re

import pytest

from vssbench.conformance import Subject
from vssbench.conformance.outcome import examine
from vssbench.registry import methods


@pytest.fixture
def subject_of(monkeypatch):
    """Method class -> subject on tiny clips, as if the class were registered."""

    def make(kind):
        monkeypatch.setattr(methods, "load", lambda name: kind)
        return Subject("zoo", {}, (16, 24), keyframe_interval=3)

    return make


@pytest.fixture
def assert_caught():
    """One check on one plug-in: it fails, with these words, the contract's sentence and a line of the zoo's file."""

    def caught(check, subject, kind, words):
        (found,) = examine([check], subject, kind)
        assert found.problem, f"{check.name} found nothing"
        assert re.search(words, found.problem), found.problem
        assert check.contract in found.text
        file, line = re.match(r"(.+?\.py):(\d+)", found.where).groups()
        assert file == inspect.getsourcefile(kind)
        assert int(line) > 1

    return caught
