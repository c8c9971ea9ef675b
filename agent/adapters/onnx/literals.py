"""One value of a file's metadata: JSON or a Python literal, as exporters write them, of the type wanted."""

import ast
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

# Python's parser needs stack and memory in proportion to what it reads, and a model may come from anywhere.
_LONGEST_LITERAL = 262_144


def literal(said: Mapping[str, str], key: str) -> Any:
    """A value as JSON or as a Python literal (nothing is evaluated), None where it is absent.

    Raises:
        ValueError: it is neither.
    """
    text = said.get(key)
    if text is None:
        return None
    if len(text) > _LONGEST_LITERAL:
        raise ValueError(f"metadata {key} has {len(text)} characters, more than anybody's names need")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"metadata {key} is neither JSON nor a Python literal: {text[:80]!r}") from error


def is_count(value: object) -> bool:
    """Whether it is a whole number above 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def count(said: Mapping[str, str], key: str, *, wanted: str) -> int:
    """Raises: ValueError (it is no whole number above 0: `wanted` is)."""
    value = literal(said, key)
    if not is_count(value):
        raise ValueError(f"metadata {key} is {said[key]!r}; {wanted} is wanted")
    return int(value)


def number(said: Mapping[str, str], key: str) -> float:
    """Raises: ValueError (it is no finite number)."""
    value = literal(said, key)
    if not _is_number(value):
        raise ValueError(f"metadata {key} is {said[key]!r}; a number is wanted")
    return float(value)


def numbers(said: Mapping[str, str], key: str, length: int) -> tuple[float, ...]:
    """So many of them; one may stand without brackets.

    Raises:
        ValueError: it is no list of `length` finite numbers.
    """
    values = literal(said, key)
    values = values if isinstance(values, list | tuple) else [values]
    if len(values) != length or not all(map(_is_number, values)):
        raise ValueError(f"metadata {key} is {said[key]!r}; a list of {length} numbers is wanted")
    return tuple(float(value) for value in values)


def names(said: Mapping[str, str], key: str) -> tuple[str, ...]:
    """Raises: ValueError (it is no list of different names, or an empty one)."""
    values = literal(said, key)
    if (
        not isinstance(values, list | tuple)
        or not values
        or not all(isinstance(name, str) and name for name in values)
        or len(set(values)) != len(values)
    ):
        raise ValueError(f"metadata {key} is {said[key]!r}; a JSON list of different names is wanted")
    return tuple(values)


def word(said: Mapping[str, str], key: str) -> str | None:
    """A word, with or without quotes; None where it is absent."""
    text = said.get(key)
    return None if text is None else text.strip().strip("\"'")


def choice(said: Mapping[str, str], key: str, served: Sequence[str]) -> str | None:
    """Raises: ValueError (it is a word, but none of those `served`)."""
    found = word(said, key)
    if found is None or found in served:
        return found
    raise ValueError(f"metadata {key} is {said[key]!r}; one of {', '.join(served)} is wanted")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
