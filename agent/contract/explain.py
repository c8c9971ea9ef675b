"""From pydantic's errors to problems in plain words, at their line, with what would be right."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from agent.contract.problems import MOST_PROBLEMS, KeyPath, Problem, in_order
from agent.contract.schema_walk import Schema, Spot, inner_keys, locate
from agent.contract.words import listed, named, nearest, wanted, written


def explain(
    error: ValidationError, *, schema: Schema, line_of: Callable[[KeyPath], int | None], file: str | None
) -> list[Problem]:
    """The first `MOST_PROBLEMS` that `error` tells of, one for each place, in the order of their lines.

    `schema` is the JSON Schema of what was validated; `line_of` finds a path's line in `file`.
    """
    problems: dict[KeyPath, Problem] = {}
    for details in _independent(error.errors(include_url=False)):
        problem = _in_words(details, locate(schema, details["loc"]), schema)
        problems.setdefault(problem.path, replace(problem, line=line_of(problem.path), file=file))
        if len(problems) == MOST_PROBLEMS:
            break
    return in_order(problems.values())


def _independent(errors: list[ErrorDetails]) -> Iterator[ErrorDetails]:
    """Those that do not merely follow from another: a list is too short also where an entry is wrong."""
    for details in errors:
        place = details["loc"]
        if details["type"] != "too_short" or not any(
            other["loc"][: len(place)] == place and len(other["loc"]) > len(place) for other in errors
        ):
            yield details


def unknown_key(spot: Spot, *, within: Schema, root: Schema) -> Problem:
    """The problem of a key that means nothing here. Its value may be a password: it is not told."""
    name = str(spot.path[-1])
    return Problem(
        message=f"there is no key {name!r} here",
        path=spot.path,
        hint=_where_it_belongs(name, spot, within, root),
    )


def _in_words(details: ErrorDetails, spot: Spot, root: Schema) -> Problem:
    if spot.is_key and details["type"] == "literal_error":
        return _extra(details, spot, root)
    make = _BY_TYPE.get(details["type"])
    if make is not None:
        return make(details, spot, root)
    if spot.schema is None:
        return Problem(message=details["msg"], path=spot.path)
    return _wrong_value(spot.path, details["input"], spot.schema, root)


def _extra(details: ErrorDetails, spot: Spot, root: Schema) -> Problem:
    return unknown_key(spot, within=locate(root, details["loc"][:-1]).schema or {}, root=root)


def _missing(_details: ErrorDetails, spot: Spot, root: Schema) -> Problem:
    schema = spot.schema or {}
    hint = ": ".join(part for part in (wanted(schema, root), _meaning(schema)) if part)
    return Problem(message=f"{spot.path[-1]!r} is missing", path=spot.path, hint=hint)


def _refused_by_us(details: ErrorDetails, spot: Spot, _root: Schema) -> Problem:
    hint = "" if spot.is_key else _meaning(spot.schema or {})
    return Problem(message=str(details["ctx"]["error"]), path=spot.path, hint=hint)


def _dangling(details: ErrorDetails, spot: Spot, _root: Schema) -> Problem:
    hint = _suggest(str(details["input"]), details["ctx"]["known"], "defined: ")
    return Problem(message=details["msg"], path=spot.path, hint=hint)


def _no_tag(_details: ErrorDetails, spot: Spot, _root: Schema) -> Problem:
    key, known = _tag_of(spot)
    return Problem(message=f"{key!r} is missing", path=(*spot.path, key), hint=listed(known))


def _wrong_tag(details: ErrorDetails, spot: Spot, root: Schema) -> Problem:
    key, known = _tag_of(spot)
    return _wrong_value((*spot.path, key), details["ctx"]["tag"], {"enum": known}, root)


def _tag_of(spot: Spot) -> tuple[str, tuple[str, ...]]:
    discriminator = (spot.schema or {})["discriminator"]
    return discriminator["propertyName"], tuple(discriminator["mapping"])


def _wrong_value(path: KeyPath, value: object, schema: Schema, root: Schema) -> Problem:
    shown = repr(written(value)) if isinstance(value, str) else written(value)
    choices = [each for each in _choices(schema) if isinstance(each, str)]
    close = nearest(value, choices) if isinstance(value, str) else None
    hint = " ".join(part for part in (f"did you mean {close}?" if close else "", _meaning(schema)) if part)
    return Problem(message=f"{wanted(schema, root)} is wanted here, not {shown}", path=path, hint=hint)


def _where_it_belongs(name: str, spot: Spot, within: Schema, root: Schema) -> str:
    if nearest(name, spot.keys) is None:
        for outer, keys in inner_keys(within, root):
            if name in keys:
                return f"it belongs below {outer!r}"
    return _suggest(name, spot.keys, "known here: ")


def _suggest(name: str, known: Sequence[str], introduction: str) -> str:
    if close := nearest(name, known):
        return f"did you mean {close!r}?"
    return introduction + (named(known) or "nothing")


def _choices(schema: Schema) -> Iterator[object]:
    yield from schema.get("enum", ())
    if "const" in schema:
        yield schema["const"]
    for branch in schema.get("anyOf", ()):
        yield from _choices(branch)


def _meaning(schema: Schema) -> str:
    return str(schema.get("description", ""))


def _wrong_length(details: ErrorDetails, spot: Spot, root: Schema) -> Problem:
    schema = spot.schema or {}
    context = details["ctx"]
    # Of what is far too long, pydantic does not say how long it is.
    has = context.get("actual_length")
    if has is None:
        has = f"more than {context.get('max_length', 'that')}"
    message = f"{wanted(schema, root)} is wanted here, and this has {has}"
    return Problem(message=message, path=spot.path, hint=_meaning(schema))


_BY_TYPE: Final[dict[str, Callable[[ErrorDetails, Spot, Schema], Problem]]] = {
    "extra_forbidden": _extra,
    "missing": _missing,
    "value_error": _refused_by_us,
    "dangling_reference": _dangling,
    "too_short": _wrong_length,
    "too_long": _wrong_length,
    "union_tag_not_found": _no_tag,
    "union_tag_invalid": _wrong_tag,
}
"""Errors with words of their own; all others are a value that is not what is wanted."""
