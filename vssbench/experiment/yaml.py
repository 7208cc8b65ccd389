"""Experiment files: YAML read as plain data that remembers where each key and entry was written.

A scalar means what YAML 1.2 says it means. What YAML 1.1 readers take for a date, a base-60 or an octal number is refused,
because nobody can tell which of the two was meant: `1:30` is 90 there, `010` is 8. `yes`, `no`, `on` and `off` are text, which
keys that hold true or false accept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml

from vssbench.errors import ConfigError, InputError, nearest

FILE_LIMIT_BYTES = 1_000_000
"""A YAML file larger than this is refused before it is parsed."""
DEPTH_LIMIT = 60
"""Levels of lists and mappings inside one another."""

ExperimentKind = Literal["run", "train"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value was written."""

    text: str
    """'my.yaml:3:7' or "--set 'seed=1'"."""
    folder: Path | None = None
    """Where relative paths written there begin; None: the working folder."""


class Keys(dict[str, Any]):
    """A mapping that knows where its keys were written."""

    origin = ""
    """Label of the entry of the file that this one was expanded from."""

    def __init__(
        self, values: Mapping[str, Any] | None = None, places: Mapping[str, Place] | None = None
    ) -> None:
        super().__init__(values or {})
        self.places: dict[Any, Place] = dict(places or {})


class Entries(list[Any]):
    """A list that knows where its entries were written."""

    def __init__(self, values: Iterable[Any] = (), places: Mapping[int, Place] | None = None) -> None:
        super().__init__(values)
        self.places: dict[Any, Place] = dict(places or {})


def place_of(values: Any, location: Iterable[int | str]) -> Place | None:
    """Where the value at `location` was written, or the innermost one around it whose place is known."""
    place: Place | None = None
    for part in location:
        known = isinstance(values, dict) or (
            isinstance(values, list) and isinstance(part, int) and part < len(values)
        )
        if not known or (isinstance(values, dict) and part not in values):
            continue  # a step that only the schema has, or a key that is missing
        place = getattr(values, "places", {}).get(part, place)
        values = values[part]
    return place


def origin_of(values: Any, location: Iterable[int | str], where: str) -> str:
    """How a message about the value at `location` begins: its place, or `where` if nobody knows that."""
    place = place_of(values, location)
    return place.text if place else where


def value_at(values: Any, location: Iterable[int | str]) -> Any:
    """What stands at a location that exists."""
    for part in location:
        values = values[part]
    return values


def packaged_experiments(kind: ExperimentKind = "run") -> dict[str, Path]:
    """Packaged experiments by name: 'quickstart' is quickstart/run.yaml (or train.yaml), 'ar-seg/x' is ar_seg/x.yaml (or
    train-x.yaml)."""
    found: dict[str, Path] = {}
    for folder in (files("vssbench.reports") / "experiments").iterdir():
        if not folder.is_dir():
            continue
        for entry in folder.iterdir():
            stem = entry.name.removesuffix(".yaml")
            trains = stem == "train" or stem.startswith("train-")
            if stem == entry.name or trains != (kind == "train"):
                continue
            stem = stem.removeprefix("train").removeprefix("-") if trains else stem.removeprefix("run-")
            name = folder.name.replace("_", "-")
            found[f"{name}/{stem}" if stem not in ("", "run") else name] = Path(str(entry))
    return dict(sorted(found.items()))


def read_experiment_file(name_or_path: str, kind: ExperimentKind) -> tuple[Keys, str]:
    """What a file or packaged experiment holds, and how messages call it.

    Raises ConfigError (unknown name, not a mapping, no YAML) or InputError (unreadable file).
    """
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml") or _is_file(path):
        return read_yaml(path), name_or_path
    packaged = packaged_experiments(kind)
    if name_or_path in packaged:
        # what it names lies where commands put it: below the working folder
        return parse_yaml(_read_text(packaged[name_or_path]), name_or_path, None), name_or_path
    other: ExperimentKind = "train" if kind == "run" else "run"
    if name_or_path in packaged_experiments(other):
        raise ConfigError(
            f"{name_or_path!r} is an experiment for `vssbench {other}`, not for `vssbench {kind}`"
        )
    what = "experiment" if kind == "run" else "training experiment"
    raise ConfigError(
        f"no {what} file or packaged {what} {name_or_path!r}; {nearest(name_or_path, list(packaged))}"
    )


def read_yaml(path: Path) -> Keys:
    """The mapping in a YAML file; relative paths in it begin in its folder.

    Raises ConfigError naming line and column, InputError if the file cannot be read.
    """
    return parse_yaml(_read_text(path), str(path), path.parent)


def parse_yaml(text: str, name: str, folder: Path | None) -> Keys:
    """The mapping in `text`, called `name` in messages. Raises ConfigError naming line and column."""
    values = _parse(text, lambda mark: Place(f"{name}:{mark.line + 1}:{mark.column + 1}", folder), name)
    if not isinstance(values, Keys):
        kind = {"NoneType": "nothing", "Entries": "a list"}.get(type(values).__name__, "a single value")
        raise ConfigError(f"{name}: expected a mapping of keys at the top level, got {kind}")
    return values


def parse_value(text: str, name: str) -> Any:
    """The value of one setting: quoted text and [...] or {...} are YAML, anything else is one scalar, `#` and `:` included.

    Raises ConfigError that begins with `name`.
    """
    bare = text.strip()
    if not bare:
        return text
    if bare[0] not in "[{\"'":
        try:
            value = _scalar(bare)
        except ValueError as error:
            raise ConfigError(f"{name}: {error}") from None
        return text if isinstance(value, str) else value
    place = Place(name)
    return _parse(bare, lambda mark: place, name, whole=True)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _read_text(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: is no file; expected an experiment in YAML")
        if path.stat().st_size > FILE_LIMIT_BYTES:
            raise ConfigError(f"{path}: an experiment file may have {FILE_LIMIT_BYTES} bytes at most")
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: cannot be read as an experiment file (byte {error.start} is no UTF-8); save it as UTF-8"
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read as an experiment file ({reason})") from error


class _Composer(yaml.SafeLoader):
    """Builds nodes only; refuses aliases, with which a small file can describe an exponentially large document."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise _problem("aliases (*name) are not allowed in an experiment file", mark)
        self.depth += 1
        if self.depth > DEPTH_LIMIT:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise _problem(f"more than {DEPTH_LIMIT} lists and mappings inside one another", mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
        """Plain scalars are told from quoted ones by a tag of our own; what they mean is `_scalar`'s decision."""
        if kind is yaml.ScalarNode and implicit[0]:
            return _PLAIN
        return str(super().resolve(kind, value, (False, True)))  # type: ignore[no-untyped-call]


_PLAIN = "plain"
_TAG = "tag:yaml.org,2002:"


class _RefusedError(yaml.MarkedYAMLError):
    """Valid YAML that is not taken."""


def _problem(text: str, mark: Any) -> _RefusedError:
    return _RefusedError(problem=text, problem_mark=mark)


def _parse(text: str, locate: Any, name: str, *, whole: bool = False) -> Any:
    composer = None
    try:
        composer = _Composer(text)
        node = composer.get_node() if whole and composer.check_node() else composer.get_single_node()
        if whole and node is not None and node.end_mark.index < len(text):
            raise _problem(
                f"{text[node.end_mark.index :].strip()!r} follows the value; quote the whole of it",
                node.end_mark,
            )
        return None if node is None else _build(node, locate)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        if "'\\t'" in problem:
            problem += "; YAML is indented with spaces, not with tabs"
        kind = "" if isinstance(error, _RefusedError) else "not valid YAML: "
        raise ConfigError(f"{locate(mark).text if mark else name}: {kind}{problem}") from None
    except yaml.reader.ReaderError as error:
        mark = _mark(text, error.position)
        raise ConfigError(
            f"{locate(mark).text}: not valid YAML: the character U+{ord(text[error.position]):04X} is not allowed"
        ) from None
    except (ValueError, OverflowError) as error:  # an escape such as "\UFFFFFFFF"
        mark = composer.get_mark() if composer is not None else _mark(text, 0)  # type: ignore[no-untyped-call]
        raise ConfigError(f"{locate(mark).text}: not valid YAML: {error}") from None


def _mark(text: str, index: int) -> yaml.Mark:
    before = text[:index]
    line = before.count("\n")
    return yaml.Mark("", index, line, index - before.rfind("\n") - 1, None, None)  # type: ignore[no-untyped-call, arg-type]


def _build(node: Any, locate: Any) -> Any:
    """Plain data of a node and all below it."""
    if isinstance(node, yaml.ScalarNode):
        return _scalar_of(node)
    kind = "map" if isinstance(node, yaml.MappingNode) else "seq"
    if node.tag != _TAG + kind:
        raise _problem(f"the tag {_tag_words(node.tag)} is not known here; leave it out", node.start_mark)
    if kind == "seq":
        places = {index: locate(item.start_mark) for index, item in enumerate(node.value)}
        return Entries((_build(item, locate) for item in node.value), places)
    found = Keys()
    for key, item in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _problem("a list or mapping cannot be a key; expected a word", key.start_mark)
        if key.value in found:
            raise _problem(f"the key {key.value} appears twice; keep one of them", key.start_mark)
        _require_text(key)
        found[key.value] = _build(item, locate)
        found.places[key.value] = locate(key.start_mark)
    return found


def _scalar_of(node: Any) -> Any:
    _require_text(node)
    name = node.tag.removeprefix(_TAG)
    if name == "str":
        return node.value
    try:
        value = _scalar(node.value)
    except ValueError as error:
        raise _problem(str(error), node.start_mark) from None
    if name == _PLAIN:
        return value
    if name == "float" and type(value) is int:
        return float(value)
    if type(value).__name__ != name:
        raise _problem(
            f"the tag {_tag_words(node.tag)} does not fit {node.value!r:.40} or is not known here; leave it out",
            node.start_mark,
        )
    return value


def _tag_words(tag: str) -> str:
    return f"!!{tag.removeprefix(_TAG)}" if tag.startswith(_TAG) else f"{tag:.60}"


def _require_text(node: Any) -> None:
    if "\0" in node.value or any("\ud800" <= letter <= "\udfff" for letter in node.value):
        raise _problem("NUL and half a surrogate pair are no text", node.start_mark)


_NULL = re.compile(r"~|null|Null|NULL|")
_TRUE, _FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
_TWO_WAYS = {
    "a date": re.compile(r"\d{4}-\d\d?-\d\d?([Tt ].*)?"),
    "a number to the base 60": re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"),
    "an octal number": re.compile(r"[-+]?0[0-9]+"),
    "a number with grouped digits": re.compile(r"[-+]?[0-9][0-9_]*_[0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9]+)?"),
    "a binary or hexadecimal number": re.compile(r"[-+]?0(b[01_]+|x[0-9a-fA-F_]+)"),
}
"""What YAML 1.1 readers make something else of than YAML 1.2 does."""


def _scalar(text: str) -> Any:
    """The value of an unquoted scalar. Raises ValueError for what has two readings."""
    if _NULL.fullmatch(text):
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INTEGER.fullmatch(text):
        if len(text) > 20 or not -(2**63) <= (number := int(text, 0)) < 2**63:
            raise ValueError(f"{text!r:.30}: a number of {len(text)} digits does not fit 64 bits")
        return number
    for words, pattern in _TWO_WAYS.items():
        if pattern.fullmatch(text):
            raise ValueError(
                f"{text!r:.40}: some readers of YAML take this for {words}; put it in quotes, or write a plain number"
            )
    if _FLOAT.fullmatch(text):
        plain = text.lower().replace(".inf", "inf").replace(".nan", "nan")
        return float(plain)
    return text
