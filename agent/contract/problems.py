"""What is wrong with a document, told so that a person finds the place and knows what would be right."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from agent.domain.errors import Code, RefusedError

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


class FaultyDocumentError(RefusedError):
    """A document that cannot be used: all of its `problems` at once; code and path are the first one's."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        first = problems[0]
        super().__init__("\n".join(map(str, problems)), code=first.code, path=first.pointer)
        self.problems = tuple(problems)
