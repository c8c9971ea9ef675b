"""What is wrong with a document, told so that a person finds the place and knows what would be right."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agent.domain.errors import Code, RefusedError

MOST_PROBLEMS: Final = 100
"""More of one document help nobody, and a hostile one has thousands."""

_MOST_CHARS: Final = 16_384
_MOST_POINTER_CHARS: Final = 512

KeyPath = tuple[str | int, ...]
"""Keys and indices from the root of a document to a place in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong. `line` is 1-based; `file` is a file, or the name of a variable with a `$`."""

    message: str
    path: KeyPath = ()
    hint: str = ""
    line: int | None = None
    file: str | None = None
    code: Code = Code.SCHEMA

    @property
    def dotted(self) -> str:
        """The path as a person writes it.

        >>> Problem(message="", path=("sources", "door", "zones", 0)).dotted
        'sources.door.zones[0]'
        """
        text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path)
        return text.removeprefix(".")

    @property
    def pointer(self) -> str:
        """The path as a JSON pointer.

        Source: RFC 6901, section 3.

        >>> Problem(message="", path=("classes", "a/b", 0)).pointer
        '/classes/a~1b/0'
        """
        return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in self.path)

    def __str__(self) -> str:
        """As compilers do it: file, line, path, what is wrong; below it, what would be right."""
        place = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        head = ": ".join(part for part in (place, self.dotted, self.message) if part)
        return f"{head}\n    {self.hint}" if self.hint else head

    def below(self, *path: str | int) -> "Problem":
        """The same, seen from where `path` leads to this document's root."""
        return replace(self, path=(*path, *self.path))


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """As they stand in the document: by line, then by path."""
    # Not by pointers: there may be hundreds below one key that is as long as the document.
    return sorted(problems, key=lambda each: (each.line or 0, [str(part) for part in each.path]))


class FaultyDocumentError(RefusedError):
    """A document that cannot be used: the first `MOST_PROBLEMS` of its `problems` at once.

    Code and path are the first one's. Whatever the document was, the message is bounded, and so is the path:
    one that would be too long leads to the nearest place above that has a shorter one.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        first = problems[0]
        super().__init__(_told(problems), code=first.code, path=_short_pointer(first))
        self.problems = tuple(problems[:MOST_PROBLEMS])


def _told(problems: Sequence[Problem]) -> str:
    told: list[str] = []
    room = _MOST_CHARS
    for text in map(str, problems):
        if told and len(text) > room:
            told.append(f"and {len(problems) - len(told)} more")
            break
        told.append(text if len(text) <= room else text[:room] + "…")
        room -= len(text)
    return "\n".join(told)


def _short_pointer(problem: Problem) -> str:
    path = problem.path
    while path and sum(len(str(part)) for part in path) > _MOST_POINTER_CHARS:
        path = path[:-1]
    return replace(problem, path=path).pointer
