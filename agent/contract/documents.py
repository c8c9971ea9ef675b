"""A document as a tree of values that know the line they stand in."""

from dataclasses import dataclass
from typing import Final

from agent.contract.problems import FaultyDocumentError, KeyPath, Problem
from agent.domain.errors import Code

MAX_BYTES: Final = 65_536

Scalar = None | bool | int | float | str


@dataclass(frozen=True, slots=True)
class Node:
    """A value and the line of its key, or its own where it has none. `size` counts all values in it."""

    line: int
    value: "Scalar | dict[str, Node] | list[Node]"
    size: int = 1
    depth: int = 0

    def child(self, part: str | int) -> "Node | None":
        """What stands under a key or an index, if there is such a thing."""
        if isinstance(self.value, dict):
            return self.value.get(part) if isinstance(part, str) else None
        if isinstance(self.value, list) and isinstance(part, int) and part < len(self.value):
            return self.value[part]
        return None

    def plain(self) -> object:
        """The value as dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value


@dataclass(frozen=True, slots=True)
class Document:
    """What was read. `problems` are such as leave the rest readable: keys that occur twice."""

    root: Node
    problems: tuple[Problem, ...] = ()
    file: str | None = None

    def line_of(self, path: KeyPath) -> int:
        """The line of what `path` leads to, or of the nearest that is there."""
        node = self.root
        for part in path:
            inner = node.child(part)
            if inner is None:
                break
            node = inner
        return node.line


def decode(body: bytes, file: str | None) -> str:
    """The text of a document of at most `MAX_BYTES`.

    Raises:
        FaultyDocumentError: it is too large, or not UTF-8.
    """
    if len(body) > MAX_BYTES:
        problem = Problem(
            message=f"it has {len(body)} bytes; at most {MAX_BYTES} are allowed", file=file, code=Code.SIZE
        )
        raise FaultyDocumentError([problem])
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        problem = Problem(message="this is not UTF-8 text", line=line, file=file, code=Code.JSON)
        raise FaultyDocumentError([problem]) from error
