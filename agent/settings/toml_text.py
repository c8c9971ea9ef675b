"""Reading TOML so that each key knows its line, which the standard library's reader does not tell."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from agent.contract.documents import decode
from agent.contract.problems import FaultyDocumentError, KeyPath, Problem
from agent.domain.errors import Code

_PLACE: Final = re.compile(r" \(at line (\d+), column (\d+)\)$")
_AT_END: Final = " (at end of document)"
_PLAIN: Final = {
    "Illegal character '\\n'": "a text has no closing quote in its line",
    "Invalid value": "no value can be read here; text stands in quotes",
    "Cannot overwrite a value": "a key that was already given is given again",
}


@dataclass(frozen=True, slots=True)
class TomlDocument:
    """What a TOML file says, and in which line each key or table stands."""

    data: dict[str, Any]
    lines: Mapping[KeyPath, int]

    def line_of(self, path: KeyPath) -> int:
        """The line of what `path` leads to, or of the nearest that is there."""
        return next(
            (self.lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self.lines), 1
        )


def read_toml(body: bytes, *, file: str) -> TomlDocument:
    """The document that `body` holds.

    Raises:
        FaultyDocumentError: it is not TOML, or larger than 64 KiB.
    """
    text = decode(body, file).replace("\r\n", "\n")
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said = str(error)
        place = _PLACE.search(said)
        line = int(place[1]) if place else text.count("\n") + 1
        column = f" (column {place[2]})" if place else ""
        reason = _PLACE.sub("", said).removesuffix(_AT_END)
        message = f"this is not TOML: {_PLAIN.get(reason, reason)}{column}"
        problem = Problem(message=message, line=line, file=file, code=Code.SCHEMA)
        raise FaultyDocumentError([problem]) from error
    return TomlDocument(data, _find_lines(text))


def _find_lines(text: str) -> dict[KeyPath, int]:
    """The first line of each key and table in what is known to be TOML.

    A statement is as many lines as the reader needs to make sense of them, so that strings and lists over
    several lines hide nothing that looks like a key.
    """
    lines: dict[KeyPath, int] = {}
    table: KeyPath = ()
    for number, statement in _statements(text):
        said = tomllib.loads(statement)
        is_header = statement.lstrip().startswith("[")
        paths = list(_paths(said))
        if is_header and paths:
            table = paths[-1]
        for path in paths:
            lines.setdefault(path if is_header else table + path, number)
        if paths and statement.count("\n") > 1:
            lines |= {(*table, *path): number + down for path, down in _items(statement, paths[-1])}
    return lines


def _items(statement: str, path: KeyPath) -> Iterator[tuple[KeyPath, int]]:
    """Of a list that goes over several lines: each item, and how many lines below the key it stands."""
    begun, known = "", 0
    for down, line in enumerate(statement.split("\n")):
        begun += line + "\n"
        value = _parsed(begun + "]") or _parsed(begun)
        if value is None:
            continue
        for part in path:
            value = value[part]
        if not isinstance(value, list):
            return
        for index in range(known, len(value)):
            yield (*path, index), down
        known = len(value)


def _parsed(text: str) -> Any:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _statements(text: str) -> Iterator[tuple[int, str]]:
    begun, first = "", 1
    for number, line in enumerate(text.split("\n"), start=1):
        first = first if begun else number
        begun += line + "\n"
        if _parsed(begun) is not None:
            yield first, begun
            begun = ""


def _paths(said: Mapping[str, Any]) -> Iterator[KeyPath]:
    """Every key in a statement, outer ones first; arrays of tables do not occur in Settings."""
    for key, value in said.items():
        yield (key,)
        if isinstance(value, Mapping):
            for inner in _paths(value):
                yield (key, *inner)
