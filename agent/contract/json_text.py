"""Reading JSON so that each value knows its line. What is no JSON, or passes a limit, is refused."""

import json
import re
from typing import Final, NoReturn

from agent.contract.documents import Document, decode
from agent.contract.tree import MAX_DEPTH, Tree

_TOKEN: Final = re.compile(r'"(?:[^"\\]+|\\.)*"?|[{}\[\]]|[^\s{}\[\],:"]+', re.DOTALL)
"""Strings, brackets, and all other scalars of JSON. A string that does not close goes on to the end: to look
for the next one in it would make a hostile text take the square of its length.
"""


def read_json(body: bytes, *, file: str | None = None) -> Document:
    """The document that `body` holds.

    Raises:
        FaultyDocumentError: it is not JSON, or passes a limit of the contract.
    """
    text = decode(body, file)
    tree = Tree(file)
    # Before Python's reader sees it, which recurses.
    if (line := _too_deep_in(text)) is not None:
        raise tree.too_deep(line)
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise tree.fault(f"this is not JSON: {error.msg} at column {error.colno}", error.lineno) from error
    except ValueError as error:
        raise tree.fault(f"this is not JSON: {error}", None) from error
    line, seen = 1, 0
    for token in _TOKEN.finditer(text):
        line += text.count("\n", seen, token.start())
        seen = token.start()
        match token[0]:
            case "{":
                tree.begin({}, line)
            case "[":
                tree.begin([], line)
            case "}" | "]":
                tree.end()
            case scalar:
                tree.scalar(json.loads(scalar), line)
    return tree.finish()


def _too_deep_in(text: str) -> int | None:
    """The line in which brackets are nested deeper than the contract allows."""
    depth = 0
    for token in _TOKEN.finditer(text):
        if token[0] in {"{", "["}:
            depth += 1
            if depth > MAX_DEPTH:
                return text.count("\n", 0, token.start()) + 1
        elif token[0] in {"}", "]"}:
            depth -= 1
    return None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")
