"""The keys of a pydantic model as plain rows: what `vssbench list --options` and the reference pages print."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel


@dataclass(frozen=True)
class KeyRow:
    """One key that a YAML file may hold."""

    name: str
    """Dotted below the model's own keys; `[]` stands for the entries of a list."""
    kind: str
    """What it holds: 'integer', '"paper" | "exact"', 'list of string'."""
    default: str
    """As JSON writes it; empty where the key must be given or is a section of keys."""
    required: bool
    description: str


def rows_of_keys(model: type[BaseModel]) -> list[KeyRow]:
    """Every key of `model` and of the sections inside it, in the order of their declaration."""
    schema = model.model_json_schema()
    return list(_rows(schema, schema.get("$defs", {}), ""))


def _rows(section: Mapping[str, Any], definitions: Mapping[str, Any], prefix: str) -> Iterator[KeyRow]:
    required = section.get("required", ())
    for name, entry in section.get("properties", {}).items():
        inner, suffix = _inner_section(entry, definitions)
        yield KeyRow(
            prefix + name,
            _kind(entry, definitions),
            "" if inner or "default" not in entry else json.dumps(entry["default"], ensure_ascii=False),
            name in required,
            str(entry.get("description") or (inner or {}).get("description", "")).replace("\n", " "),
        )
        if inner:
            yield from _rows(inner, definitions, f"{prefix}{name}{suffix}.")


def _inner_section(
    entry: Mapping[str, Any], definitions: Mapping[str, Any]
) -> tuple[Mapping[str, Any] | None, str]:
    """The section of keys behind an entry, if there is one, and what its name in a path ends with."""
    for candidate, suffix in ((entry, ""), (entry.get("items", {}), "[]")):
        for choice in (candidate, *candidate.get("anyOf", ())):
            if "$ref" in choice:
                section = definitions[choice["$ref"].rpartition("/")[2]]
                if "properties" in section:
                    return section, suffix
    return None, ""


def _kind(entry: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "$ref" in entry:
        target = definitions[entry["$ref"].rpartition("/")[2]]
        return "section" if "properties" in target else _kind(target, definitions)
    for several in ("anyOf", "oneOf"):
        if several in entry:
            return " | ".join(dict.fromkeys(_kind(choice, definitions) for choice in entry[several]))
    if "enum" in entry or "const" in entry:
        return " | ".join(json.dumps(value) for value in entry.get("enum", [entry.get("const")]))
    if entry.get("type") == "array":
        items: Mapping[str, Any] = entry.get("items") or next(iter(entry.get("prefixItems", ())), {})
        return f"list of {_kind(items, definitions)}"
    return {"object": "mapping"}.get(kind := str(entry.get("type", "any")), kind) + _bounds(entry)


def _bounds(entry: Mapping[str, Any]) -> str:
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    return "".join(f" {sign} {json.dumps(entry[key])}" for key, sign in signs.items() if key in entry)
