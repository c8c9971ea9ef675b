"""A JSON Schema in plain words: what may stand in a place, for messages and for the reference."""

from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from typing import Final

from agent.contract.schema_walk import Schema, resolve
from agent.domain.ids import NAME

_MOST_SHOWN: Final = 60
_MOST_NAMED: Final = 40
_LONGEST_WORD: Final = 100
_MOST_COMPARED: Final = 200

_BOUNDS: Final = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}

_OF_FORMAT: Final = {"path": "a path", "uri": "an address", "date-time": "a time"}


def wanted(schema: Schema, root: Schema) -> str:
    """What `schema` asks for.

    >>> wanted({"type": "number", "exclusiveMinimum": 0, "maximum": 240}, {})
    'a number, above 0 and at most 240'
    >>> wanted({"enum": ["tcp", "udp"], "type": "string"}, {})
    'tcp or udp'
    """
    schema = resolve(schema, root)
    if "const" in schema:
        return written(schema["const"])
    if "enum" in schema or "anyOf" in schema:
        return listed(list(_choices(schema, root)))
    if "oneOf" in schema:
        return "a mapping"
    return _OF_TYPE.get(schema.get("type", ""), _anything)(schema, root)


def _choices(schema: Schema, root: Schema) -> Iterator[str]:
    yield from map(written, schema.get("enum", ()))
    for branch in schema.get("anyOf", ()):
        if "enum" in branch:
            yield from _choices(branch, root)
        elif branch != {"type": "null"}:
            yield wanted(branch, root)


def written(value: object) -> str:
    """`value` as a person would write it, cut where it is long.

    >>> written(True), written([1, 2]), written("door"), written({})
    ('true', 'a list', 'door', 'a mapping')
    """
    match value:
        case None:
            text = "nothing"
        case bool():
            text = str(value).lower()
        case dict():
            text = "a mapping"
        case list() | tuple():
            text = "a list"
        case float() if value.is_integer():
            text = f"{value:.0f}"
        case _:
            text = str(value)
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "…"


def listed(choices: Sequence[str]) -> str:
    """Choices with commas and an `or`.

    >>> listed(["cpu", "cuda", "openvino"])
    'cpu, cuda or openvino'
    """
    return " or ".join((", ".join(choices[:-1]), choices[-1])) if len(choices) > 1 else "".join(choices)


def named(names: Sequence[str]) -> str:
    """Names with commas, as far as somebody would read them.

    >>> named(["people", "parts"])
    'people, parts'
    """
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def nearest(word: str, known: Sequence[str]) -> str | None:
    """The one of `known` that somebody meant who wrote `word`.

    >>> nearest("confidense", ["confidence", "iou"])
    'confidence'
    """
    if len(word) > _LONGEST_WORD or len(known) > _MOST_COMPARED:
        return None  # to compare them would take long, and who wrote that meant no good
    close = get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return close[0] if close else None


def _number(schema: Schema, _root: Schema) -> str:
    return "a number" + _bounds(schema)


def _whole(schema: Schema, _root: Schema) -> str:
    return "a whole number" + _bounds(schema)


def _bounds(schema: Schema) -> str:
    if "minimum" in schema and "maximum" in schema:
        return f" from {written(schema['minimum'])} to {written(schema['maximum'])}"
    bounds = [f"{word} {written(schema[key])}" for key, word in _BOUNDS.items() if key in schema]
    return ", " + " and ".join(bounds) if bounds else ""


def _text(schema: Schema, _root: Schema) -> str:
    if kind := _OF_FORMAT.get(schema.get("format", "")):
        return kind
    if schema.get("pattern") == f"^{NAME.pattern}$":
        return "a name"
    return "a text of the right form" if "pattern" in schema else "a text"


def _list(schema: Schema, root: Schema) -> str:
    fixed = schema.get("prefixItems", ())
    least = schema.get("minItems", 0)
    count = f" of {len(fixed) or f'at least {least}'}" if fixed or least else ""
    items = dict.fromkeys(wanted(each, root) for each in fixed or [schema.get("items", {})])
    return f"a list{count}, each {' and '.join(items)}"


def _mapping(_schema: Schema, _root: Schema) -> str:
    return "a mapping"


def _truth(_schema: Schema, _root: Schema) -> str:
    return "true or false"


def _anything(_schema: Schema, _root: Schema) -> str:
    return "something else"


_OF_TYPE: Final[dict[str, Callable[[Schema, Schema], str]]] = {
    "number": _number,
    "integer": _whole,
    "string": _text,
    "array": _list,
    "object": _mapping,
    "boolean": _truth,
}
