"""What a PromQL expression asks for, as far as a test needs to know: names of metrics, and labels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_KEYWORDS: Final = frozenset({"and", "or", "unless", "bool", "offset", "inf", "nan"})
_TEXT: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_RANGE: Final = re.compile(r"\[[^\]]*\]|\boffset\s+\w+")
_GROUPING: Final = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR: Final = re.compile(r"\b([a-zA-Z_][\w:]*)\b(?!\s*\()(?:\s*\{([^}]*)\})?")
_MATCHER: Final = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")


@dataclass(frozen=True, slots=True)
class Asked:
    """Metrics with the labels by which each is chosen, and labels by which the whole is grouped."""

    metrics: tuple[tuple[str, frozenset[str]], ...]
    grouped_by: frozenset[str]


def asked_by(expression: str) -> Asked:
    """Take an expression apart; one that Prometheus refuses gives anything.

    >>> asked_by('sum by (node) (rate(up{job="x"}[5m] offset 1h)) > 1').metrics
    (('up', frozenset({'job'})),)
    """
    text = _RANGE.sub("", _TEXT.sub('""', expression))
    grouped_by = {label.strip() for found in _GROUPING.findall(text) for label in found.split(",")}
    text = _GROUPING.sub(" ", text)
    metrics = tuple(
        (name, frozenset(_MATCHER.findall(matchers)))
        for name, matchers in _SELECTOR.findall(text)
        if name not in _KEYWORDS
    )
    return Asked(metrics, frozenset(grouped_by))
