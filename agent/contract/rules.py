"""Rules as a policy states them: when something becomes an event."""

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from agent.contract.parts import Name, Part

_CLOSERS: Final = {")": "(", "]": "[", "}": "{"}
# Source: CEL language definition, "Syntax": string literals, with raw and bytes prefixes, and comments.
_TOKEN: Final = re.compile(
    r"""
    (?P<long>  [bBrR]{0,2} (?P<triple>\"{3}|'{3}) .*? (?P=triple) )
  | (?P<raw>   (?:[rR][bB]?|[bB][rR]) (?:"[^"\n]*"|'[^'\n]*') )
  | (?P<text>  [bB]? (?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*') )
  | (?P<note>  //[^\n]* )
  | (?P<word>  \w+ )
  | (?P<mark>  . )
    """,
    re.VERBOSE | re.DOTALL,
)


def check_condition(text: str) -> str:
    """`text`, if its quotes and brackets close; what they enclose is judged when the rule is compiled.

    Raises:
        ValueError: it is blank, or something in it does not close.

    >>> check_condition("count(objects, o, o.class == 'person') > 3")
    "count(objects, o, o.class == 'person') > 3"
    """
    if not text.strip():
        raise ValueError("a condition is wanted, e.g. size(objects) > 3")
    waiting: list[str] = []
    for token in _TOKEN.finditer(text):
        mark = token["mark"]
        place = f"at character {token.start() + 1}"
        if mark in {'"', "'"}:
            raise ValueError(f"the text that begins {place} has no closing {mark}")
        if mark in _CLOSERS.values():
            waiting.append(mark)
        elif mark in _CLOSERS and (not waiting or waiting.pop() != _CLOSERS[mark]):
            raise ValueError(f"the {mark!r} {place} closes nothing")
    if waiting:
        raise ValueError(f"a {waiting[-1]!r} is never closed")
    return text


class Rule(Part):
    """What makes an event."""

    when: Annotated[
        str,
        AfterValidator(check_condition),
        Field(min_length=1, max_length=2000, description="The condition, in CEL."),
    ]
    for_s: Annotated[
        float,
        Field(ge=0, le=86_400, description="It has to hold so many seconds before the event begins."),
    ] = 0.0
    cool_down_s: Annotated[
        float,
        Field(ge=0, le=86_400, description="Seconds after an event in which none begins."),
    ] = 0.0
    severity: Annotated[
        Literal["info", "warning", "critical"],
        Field(description="How grave it is."),
    ] = "info"
    message: Annotated[str, Field(max_length=500, description="A sentence for a person.")] = ""
    alarm: Annotated[bool, Field(description="Keep a retained alarm while it holds.")] = False
    snapshot: Annotated[
        tuple[Name, ...],
        Field(description="Names of the cameras whose picture goes with the event."),
    ] = ()
