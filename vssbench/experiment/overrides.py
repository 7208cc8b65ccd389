"""`--set KEY=VALUE`: one language for runs, trainings, datasets and methods.

KEY        a key of the file, nested ones after a dot: protocol.keyframe_interval
           datasets.camvid.root    an entry of a list by its label, or by its name or position; labels may hold dots
           dataset.root            that key of every entry (codec., method., contestant., evaluation., output. likewise)
           dataset                 the whole list, replaced by one entry; a bare name is enough
           methods."a.b".width     quotes keep what they hold together
VALUE      everything behind the first `=`: quoted text, [...] and {...} are YAML, anything else is one number, truth value,
           `null` or text, whatever it holds
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vssbench.errors import ConfigError, nearest
from vssbench.experiment.yaml import Entries, Keys, Place, parse_value

NAMED_BY = ("label", "name", "codec", "weights")
"""Keys that an entry of a list is called by, the first that it has."""
ONE_OF = {
    "datasets": "dataset",
    "codecs": "codec",
    "methods": "method",
    "contestants": "contestant",
    "evaluations": "evaluation",
    "outputs": "output",
}
"""Lists of experiments, and the word that stands for every entry of one."""

_KEY = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([^.=]+?))\s*([.=])""")


class UnknownEntryError(ConfigError):
    """No entry of a list has the label, name or position that a key asks for."""


def apply_override(values: dict[str, Any], override: str, lists: Sequence[str] = ()) -> None:
    """Apply one KEY=VALUE to plain data in place; `lists` names the lists whose singular word stands for all entries.

    Raises ConfigError if the text is none or the key cannot be followed, UnknownEntryError with near misses.
    """
    keys, text = _split(override)
    place = Place(f"--set {override!r}")
    value = parse_value(text, place.text)
    plural = next((name for name in lists if ONE_OF[name] == keys[0]), None)
    if plural is None:
        _assign(values, keys, value, place)
    elif len(keys) == 1:
        values[plural] = _as_entries(plural, value, place)
        _note(values, plural, place)
    else:
        entries = values.get(plural)
        if not isinstance(entries, list) or not entries:
            raise ConfigError(f"{place.text}: the experiment has no {plural}")
        for entry in entries:
            _assign(entry, keys[1:], value, place)


def entry_names(entries: Sequence[Any]) -> list[str]:
    """What each entry of a list is called by, '' where it has no name."""
    found = (
        [entry[key] for key in NAMED_BY if entry.get(key)] if isinstance(entry, Mapping) else []
        for entry in entries
    )
    return [str(names[0]) if names else "" for names in found]


def address(values: Any, location: Sequence[int | str]) -> str:
    """A place in an experiment as `--set` would call it: ('methods', 0, 'width') -> 'methods.m.width'."""
    parts = []
    for part in location:
        if isinstance(part, int) and isinstance(values, list) and part < len(values):
            name = entry_names(values)[part]
            unique = entry_names(values).count(name) == 1
            parts.append(_quoted(name) if name and unique else str(part))
            values = values[part]
        elif isinstance(values, Mapping) and part in values:
            parts.append(_quoted(str(part)))
            values = values[part]
        else:
            parts.append(str(part))
            values = None
    return ".".join(parts)


def _quoted(name: str) -> str:
    """The name as one step of a key: in quotes only where a reader would stumble."""
    return name if re.fullmatch(r"[^\s\"'=]+", name) else f'"{name}"'


def _split(override: str) -> tuple[list[str], str]:
    """The steps of the key, and the text behind the first `=` outside quotes."""
    keys, position = [], 0
    while match := _KEY.match(override, position):
        keys.append(next((part for part in match.groups()[:3] if part is not None), ""))
        position = match.end()
        if match[4] == "=":
            return keys, override[position:]
    raise ConfigError(f"--set {override!r}: expected key=value, like protocol.keyframe_interval=6")


def _as_entries(plural: str, value: Any, place: Place) -> Entries:
    """A name, a mapping or a list of them as the entries of a list."""
    field = "codec" if plural == "codecs" else "name"
    given = value if isinstance(value, list) else [value]
    entries = [one if isinstance(one, Mapping) else Keys({field: one}, {field: place}) for one in given]
    return Entries(entries, dict.fromkeys(range(len(entries)), place))


def _assign(target: Any, keys: Sequence[str], value: Any, place: Place) -> None:
    """Set what `keys` lead to below `target`; mappings on the way that the file leaves out are made."""
    for found, rest in _steps(target, keys, place):
        if not rest:
            target[found] = value
            _note(target, found, place)
            continue
        child = target[found] if isinstance(target, list) else target.get(found)
        if child is None:
            child = target[found] = Keys()
            _note(target, found, place)
        _assign(child, rest, value, place)


def _steps(target: Any, keys: Sequence[str], place: Place) -> Iterator[tuple[Any, Sequence[str]]]:
    """The keys or positions that the first step leads to, and the steps behind it; the longest name wins."""
    if isinstance(target, list):
        yield from _entries_called(target, keys, place)
    elif isinstance(target, dict):
        joined = (count for count in range(len(keys), 0, -1) if ".".join(keys[:count]) in target)
        count = next(joined, 1)
        yield ".".join(keys[:count]), keys[count:]
    else:
        raise ConfigError(f"{place.text}: {keys[0]!r} is below a plain value, which has no keys")


def _entries_called(
    entries: list[Any], keys: Sequence[str], place: Place
) -> Iterator[tuple[int, Sequence[str]]]:
    """Entries by label, else by name or by the entry of the file that they come from, else by position."""
    called = entry_names(entries)
    for count in range(len(keys), 0, -1):
        wanted, rest = ".".join(keys[:count]), keys[count:]
        found = [index for index, name in enumerate(called) if name == wanted]
        found = found or [index for index, entry in enumerate(entries) if wanted in _further_names(entry)]
        if not found and count == 1 and wanted.isdecimal() and int(wanted) < len(entries):
            found = [int(wanted)]
        if found:
            if rest[:1] in (["lr_scales"], ["seeds"]) and _origin(entries[found[0]]):
                raise ConfigError(
                    f"{place.text}: give this before the settings that name a single scale or seed"
                )
            yield from ((index, rest) for index in found)
            return
    raise UnknownEntryError(
        f"{place.text}: no entry {keys[0]!r}; {nearest(keys[0], [name for name in called if name])}"
    )


def _further_names(entry: Any) -> tuple[str, ...]:
    if not isinstance(entry, Mapping):
        return ()
    return tuple(str(name) for name in (entry.get("name"), entry.get("codec"), _origin(entry)) if name)


def _origin(entry: Any) -> str:
    return entry.origin if isinstance(entry, Keys) else ""


def _note(target: Any, key: Any, place: Place) -> None:
    if isinstance(target, (Keys, Entries)):
        target.places[key] = place
