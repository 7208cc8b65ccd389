"""Plain data into validated objects, with one form of error: `FILE:LINE:COLUMN: key: what is wrong (got ...)`."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from vssbench.errors import ConfigError, nearest
from vssbench.experiment.overrides import address
from vssbench.experiment.yaml import origin_of

Model = TypeVar("Model", bound=BaseModel)
Location = tuple[int | str, ...]


class Section(BaseModel):
    """Base of all sections of experiments: unknown keys are refused, objects are frozen, numbers are finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


def mistake(location: Location, text: str) -> PydanticCustomError:
    """An error about one key, for validators that look at several: mistake(('methods', 1, 'base'), 'no such method')."""
    return PydanticCustomError("mistake", "{text}", {"text": text, "location": location})


def validate(
    model: type[Model],
    values: Mapping[str, Any],
    *,
    where: str,
    document: Mapping[str, Any] | None = None,
    within: Location = (),
    known: Sequence[str] = (),
) -> Model:
    """Build `model` from plain values; every problem becomes one ConfigError that names the keys.

    where: how messages call what the values come from; document, within: the experiment they are a part of, and where in
    it; known: further keys that may stand beside them, for near misses. Unknown keys get a suggestion, and true or false
    is no number.
    """
    source: Mapping[str, Any] = values if document is None else document
    lines = [
        _line(source, (*within, *location), f"expected a number (got {value})", where)
        for location, value in _booleans(model, values)
    ]
    seen = {location for location, _ in _booleans(model, values)}
    try:
        built = model.model_validate(dict(values))
    except ValidationError as error:
        problems = error.errors()
        lines += [
            _line(source, (*within, *_location(problem)), _words(model, problem, known), where)
            for problem in problems
            if problem["loc"] not in seen and not _is_repeated(problem, problems)
        ]
    else:
        if not lines:
            return built
    raise ConfigError("; ".join(dict.fromkeys(lines)))


def _line(source: Mapping[str, Any], location: Location, words: str, where: str) -> str:
    key = address(source, location)
    return f"{origin_of(source, location, where)}: {key + ': ' if key else ''}{words}"


def _location(problem: ErrorDetails) -> Location:
    own: Location = problem.get("ctx", {}).get("location", ())
    return (*problem["loc"], *own)


def _is_repeated(problem: ErrorDetails, problems: Sequence[ErrorDetails]) -> bool:
    """A list that seems too short because the entry that is told of was left out of it."""
    here = problem["loc"]
    return problem["type"] == "too_short" and any(
        len(other["loc"]) > len(here) and other["loc"][: len(here)] == here for other in problems
    )


def _words(model: type[BaseModel], problem: ErrorDetails, known: Sequence[str]) -> str:
    if problem["type"] == "extra_forbidden":
        beside = sorted({*_known_keys(model, problem["loc"][:-1]), *known})
        return f"unknown key; {nearest(str(problem['loc'][-1]), beside)}"
    text = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "missing":
        return text
    given = problem["input"]
    if problem["type"] == "mistake" or (problem["type"] == "value_error" and isinstance(given, Mapping)):
        return text
    if problem["type"] == "string_type" and isinstance(given, (bool, int, float)):
        text += "; put it in quotes"
    return f"{text} (got {given!r:.80})"


def _known_keys(model: type[BaseModel], location: Sequence[int | str]) -> Iterator[str]:
    current: Any = model
    for part in location:
        if part not in getattr(current, "model_fields", {}):
            continue
        inner = [a for a in annotated_types(current.model_fields[part].annotation) if _is_model(a)]
        current = (inner or [current])[0]
    yield from current.model_fields


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _alternatives(annotation: Any) -> Iterator[Any]:
    """The types that an annotation allows: Annotated[int | None, ...] -> int, None."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _alternatives(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for one in get_args(annotation):
            yield from _alternatives(one)
    else:
        yield annotation


def annotated_types(annotation: Any) -> Iterator[Any]:
    """The types in an annotation, those of entries included: tuple[int, ...] | None -> tuple[int, ...], int, ..., None."""
    for one in _alternatives(annotation):
        yield one
        if get_origin(one) in (tuple, list, dict):
            for inner in get_args(one):
                yield from annotated_types(inner)


def _booleans(annotation: Any, value: Any, here: Location = ()) -> Iterator[tuple[Location, bool]]:
    """Where a truth value stands in the place of a number; Python counts with them, a reader of the file does not."""
    allowed = list(_alternatives(annotation))
    if isinstance(value, bool):
        numbers = [a for a in allowed if a in (int, float) or _is_number_literal(a)]
        if numbers and not any(a in (bool, Any) for a in allowed):
            yield here, value
        return
    for one in allowed:
        origin, inner = get_origin(one), get_args(one)
        if isinstance(value, Mapping) and _is_model(one):
            for key, field in one.model_fields.items():
                if key in value:
                    yield from _booleans(field.annotation, value[key], (*here, key))
        elif isinstance(value, Mapping) and origin is dict:
            for key, item in value.items():
                yield from _booleans(inner[1], item, (*here, key))
        elif isinstance(value, (list, tuple)) and origin in (tuple, list):
            repeated = origin is list or inner[-1:] == (Ellipsis,)
            for index, item in enumerate(value):
                if repeated or index < len(inner):
                    yield from _booleans(inner[0 if repeated else index], item, (*here, index))


def _is_number_literal(annotation: Any) -> bool:
    return get_origin(annotation) is Literal and any(
        type(one) in (int, float) for one in get_args(annotation)
    )
