"""Growing a document from the beginnings, ends and scalars of its text, under the limits of the contract.

The limits hold while it grows, so that a small text which means something huge, or something deep, is
refused before it costs anything.
"""

import math
from dataclasses import replace
from typing import Final

from agent.contract.documents import Document, Node, Scalar
from agent.contract.problems import MOST_PROBLEMS, FaultyDocumentError, Problem
from agent.domain.errors import Code

MAX_DEPTH: Final = 16
MAX_VALUES: Final = 20_000
"""More than 64 KiB of sensible text hold; a text that refers to itself can mean any number."""

MAX_WHOLE: Final = 2**53 - 1
"""Source: RFC 7493 (I-JSON), section 2.2: larger ones mean different numbers to different readers."""


class _Open:
    """A mapping or list that has not ended yet."""

    __slots__ = ("children", "key", "key_line", "line", "name")

    def __init__(self, line: int, children: dict[str, Node] | list[Node], name: str | None) -> None:
        self.line = line
        self.children = children
        self.name = name
        self.key: str | None = None
        self.key_line = 0


class Tree:
    """Grows a `Document` from the beginnings, ends and scalars of a text, in their order.

    Raises:
        FaultyDocumentError: a limit of the contract is passed, or the text means what cannot be.
    """

    def __init__(self, file: str | None) -> None:
        self._file = file
        self._open: list[_Open] = []
        self._named: dict[str, Node] = {}
        self._problems: list[Problem] = []
        self._root: Node | None = None
        self._values = 0

    def begin(self, children: dict[str, Node] | list[Node], line: int, name: str | None = None) -> None:
        """A mapping or a list begins; `name` is what it can be repeated by."""
        self._key_is_text(line)
        self._open.append(_Open(line, children, name))
        self._stay_within(depth=len(self._open), line=line)

    def end(self) -> None:
        """The mapping or list that began last ends."""
        ended = self._open.pop()
        self._count(1, ended.line)
        inner = list(ended.children.values()) if isinstance(ended.children, dict) else ended.children
        node = Node(
            ended.line,
            ended.children,
            size=1 + sum(child.size for child in inner),
            depth=1 + max((child.depth for child in inner), default=0),
        )
        self._place(node, ended.name)

    def scalar(self, value: Scalar, line: int, name: str | None = None) -> None:
        """A single value, or the key of the next one. Keys are text."""
        if isinstance(value, str) and not _is_unicode(value):
            raise self.fault("half a surrogate pair is no character", line)
        if self.awaits_key:
            self._open[-1].key = value if isinstance(value, str) else _as_written(value)
            self._open[-1].key_line = line
            return
        if isinstance(value, float) and not math.isfinite(value):
            raise self.fault("a number has to be finite", line)
        if isinstance(value, int) and abs(value) > MAX_WHOLE:
            raise self.fault(f"a whole number has to stay within ±{MAX_WHOLE}", line)
        self._count(1, line)
        self._place(Node(line, value), name)

    def repeat(self, name: str, line: int) -> None:
        """What is known by `name` stands here again."""
        self._key_is_text(line)
        node = self._named.get(name)
        if node is None:
            raise self.fault(f"*{name} refers to nothing that stands before it", line)
        self._stay_within(depth=len(self._open) + node.depth, line=line)
        self._count(node.size, line)
        self._place(replace(node, line=line), None)

    @property
    def awaits_key(self) -> bool:
        """Whether the next scalar is a key."""
        return bool(self._open) and isinstance(self._open[-1].children, dict) and self._open[-1].key is None

    @property
    def is_complete(self) -> bool:
        """Whether the document's one value has ended."""
        return self._root is not None

    def finish(self) -> Document:
        """The document. Raises: FaultyDocumentError: there was none."""
        if self._root is None:
            raise self.fault("there is nothing in it", 1)
        return Document(self._root, tuple(self._problems), self._file)

    def fault(self, message: str, line: int | None, *, code: Code = Code.JSON) -> FaultyDocumentError:
        """The error that ends the reading here."""
        path = tuple(
            each.key if each.key is not None else len(each.children)
            for each in self._open
            if each.key is not None or isinstance(each.children, list)
        )
        return FaultyDocumentError(
            [*self._problems, Problem(message=message, path=path, line=line, file=self._file, code=code)]
        )

    def too_deep(self, line: int) -> FaultyDocumentError:
        """The error for what is nested deeper than the contract allows."""
        message = f"it is nested more than {MAX_DEPTH} levels deep"
        return FaultyDocumentError([Problem(message=message, line=line, file=self._file, code=Code.DEPTH)])

    def _place(self, node: Node, name: str | None) -> None:
        if name is not None:
            self._named[name] = node
        if not self._open:
            self._root = node
            return
        parent = self._open[-1]
        if isinstance(parent.children, list):
            parent.children.append(node)
            return
        key, parent.key = parent.key, None
        if key is None:
            raise AssertionError("a key is placed before its value")
        if key in parent.children:
            self._refuse_second(key, parent, first_line=parent.children[key].line)
        else:
            parent.children[key] = replace(node, line=parent.key_line)

    def _refuse_second(self, key: str, parent: _Open, *, first_line: int) -> None:
        if len(self._problems) >= MOST_PROBLEMS:
            return
        path = tuple(
            each.key if each.key is not None else len(each.children)
            for each in self._open
            if each is not parent
        )
        self._problems.append(
            Problem(
                message=f"the key {key!r} stands here twice, first in line {first_line}",
                path=(*path, key),
                hint="one of the two has to go",
                line=parent.key_line,
                file=self._file,
                code=Code.JSON,
            )
        )

    def _count(self, values: int, line: int) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            raise self.fault(f"it means more than {MAX_VALUES} values", line, code=Code.SIZE)

    def _key_is_text(self, line: int) -> None:
        if self.awaits_key:
            raise self.fault("a key has to be a single word or text", line)

    def _stay_within(self, *, depth: int, line: int) -> None:
        if depth > MAX_DEPTH:
            raise self.too_deep(line)


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _as_written(value: Scalar) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case _:
            return str(value)
