"""Following a path through a JSON Schema: what may stand at a place, and which keys its surroundings know."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from agent.contract.problems import KeyPath

Schema = Mapping[str, Any]

_KEY: Final = "[key]"
"""What pydantic puts at the end of a location whose last part is a key that is wrong itself."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in a document. `path` is free of the labels that pydantic puts in for branches of unions.

    `schema` is what may stand there, None where nothing may; `keys` are those that its surroundings know.
    """

    path: KeyPath
    schema: Schema | None
    keys: tuple[str, ...]
    is_key: bool = False


def resolve(schema: Schema, root: Schema) -> Schema:
    """`schema` without references and without the choice of leaving it out (null)."""
    while True:
        beside = {key: value for key, value in schema.items() if key not in {"$ref", "anyOf"}}
        if "$ref" in schema:
            schema = {**root["$defs"][schema["$ref"].rpartition("/")[2]], **beside}
        elif len(others := [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]) == 1:
            schema = {**others[0], **beside}
        else:
            return schema


def locate(root: Schema, location: Sequence[str | int]) -> Spot:
    """The spot that pydantic means by an error's `location`.

    Labels of branches are dropped; inside a union of several values the spot is the union itself.
    """
    is_key = bool(location) and location[-1] == _KEY
    parts = list(location[:-1] if is_key else location)
    path: KeyPath = ()
    keys: tuple[str, ...] = ()
    schema: Schema | None = resolve(root, root)
    while parts and schema is not None and not is_choice(schema):
        part = parts.pop(0)
        if (branch := _branch(schema, part)) is not None:
            schema = resolve(branch, root)
            continue
        path, keys = (
            (*path, part),
            tuple(schema.get("properties", schema.get("propertyNames", {}).get("enum", ()))),
        )
        inner = _inner(schema, part)
        schema = None if inner is None else resolve(inner, root)
    if schema is None:
        path = (*path, *parts)
    return Spot(path, schema, keys, is_key)


def is_choice(schema: Schema) -> bool:
    """Whether several kinds of value may stand there, told apart by their own form."""
    return len([each for each in schema.get("anyOf", ()) if each != {"type": "null"}]) > 1


def inner_keys(schema: Schema, root: Schema) -> Iterator[tuple[str, frozenset[str]]]:
    """Of each key of an object that holds an object: the key, and those that the inner one knows."""
    for key, inner in schema.get("properties", {}).items():
        if known := resolve(inner, root).get("properties"):
            yield key, frozenset(known)


def _branch(schema: Schema, label: str | int) -> Schema | None:
    reference = schema.get("discriminator", {}).get("mapping", {}).get(label)
    return None if reference is None else {"$ref": reference}


def _inner(schema: Schema, part: str | int) -> Schema | None:
    if isinstance(part, int):
        fixed = schema.get("prefixItems", ())
        return fixed[part] if part < len(fixed) else schema.get("items")
    named: Schema | None = schema.get("properties", {}).get(part)
    if named is not None:
        return named
    for pattern in schema.get("patternProperties", {}).values():
        return pattern  # type: ignore[no-any-return]
    others = schema.get("additionalProperties")
    return others if isinstance(others, Mapping) else None
