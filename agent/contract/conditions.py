"""The text of a condition, cut into tokens: the language is CEL."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, cast

Kind = Literal["text", "number", "word", "mark"]

_CLOSERS: Final = {")": "(", "]": "[", "}": "{"}
# Source: CEL language definition, "Syntax": string literals, with raw and bytes prefixes, numbers, comments.
_TOKEN: Final = re.compile(
    r"""
    (?P<long>   [bBrR]{0,2} (?P<triple>\"{3}|'{3}) .*? (?P=triple) )
  | (?P<raw>    (?:[rR][bB]?|[bB][rR]) (?:"[^"\n]*"|'[^'\n]*') )
  | (?P<text>   [bB]? (?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*') )
  | (?P<note>   //[^\n]* )
  | (?P<number> 0[xX][0-9a-fA-F]+[uU]? | (?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[uU]? )
  | (?P<word>   [^\W\d]\w* )
  | (?P<mark>   &&|\|\||[=!<>]= | [^\s] )
  | (?P<space>  \s+ )
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Token:
    """One of a condition's words. `at`: its first character, 0-based."""

    kind: Kind
    text: str
    at: int

    @property
    def end(self) -> int:
        return self.at + len(self.text)


def tokens(text: str) -> Iterator[Token]:
    """All but spaces and comments; a quote that does not close is a mark."""
    for found in _TOKEN.finditer(text):
        kind = "text" if found.lastgroup in {"long", "raw", "triple"} else found.lastgroup
        if kind not in {"note", "space"}:
            yield Token(cast("Kind", kind), found.group(), found.start())


def check_condition(text: str) -> str:
    """`text`, if its quotes and brackets close; what they enclose is judged when the rule is compiled.

    Raises:
        ValueError: it is blank, or something in it does not close.

    >>> check_condition("count('person') > 3")
    "count('person') > 3"
    """
    if not text.strip():
        raise ValueError("a condition is wanted, e.g. count('person') > 3")
    waiting: list[str] = []
    for token in tokens(text):
        mark = token.text if token.kind == "mark" else ""
        place = f"at character {token.at + 1}"
        if mark in {'"', "'"}:
            raise ValueError(f"the text that begins {place} has no closing {mark}")
        if mark and mark in _CLOSERS.values():
            waiting.append(mark)
        elif mark in _CLOSERS and (not waiting or waiting.pop() != _CLOSERS[mark]):
            raise ValueError(f"the {mark!r} {place} closes nothing")
    if waiting:
        raise ValueError(f"a {waiting[-1]!r} is never closed")
    return text
