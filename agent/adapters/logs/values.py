"""Turning whatever was logged into plain, bounded, clean values."""

import math
import re
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, Final

from agent.adapters.logs.scrub import HIDDEN, is_secret_key

_MOST_CHARS: Final = 4_096
_MARGIN: Final = 2_048
"""Longer than anything that a scrubber hides."""
_MOST_ITEMS: Final = 100
_DEEPEST: Final = 8
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
"""Everything but tab and line feed: a terminal would obey it, and a reader of lines would miscount."""


def plain_text(
    text: str, clean: Callable[[str], str], *, most_chars: int = _MOST_CHARS, is_cut: bool = False
) -> str:
    r"""`text` without credentials (`clean` takes them out) and control characters, cut where it is too long.

    `is_cut` says that it was cut already.

    >>> plain_text("a" + chr(27) + "[31mb", str)
    'a\\x1b[31mb'
    """
    # Cut before cleaning, whose work grows with the length; then drop what may be left of a secret there.
    whole = clean(text[: most_chars + _MARGIN])
    if is_cut or len(text) > most_chars:
        whole = f"{whole[: min(most_chars, max(0, len(whole) - _MARGIN))]}… ({len(text)} characters)"
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", whole)


def plain_value(value: object, clean: Callable[[str], str], depth: int = 0) -> Any:
    """`value` as JSON knows it: None, bool, int, float, str, list or dict.

    Numbers that JSON lacks become text, unknown objects their `str`; what is too deep or too long is cut.
    """
    plain: Any
    match value:
        case None | bool():
            plain = value
        case int():
            plain = int(value)
        case float() if math.isfinite(value):
            plain = float(value)
        case Mapping() if depth < _DEEPEST:
            plain = plain_fields(value, clean, depth + 1)
        case list() | tuple() | set() | frozenset() if depth < _DEEPEST:
            plain = [plain_value(item, clean, depth + 1) for item in islice(value, _MOST_ITEMS)]
            if len(value) > _MOST_ITEMS:
                plain.append(f"… ({len(value)} items)")
        case bytes() | bytearray() | memoryview():
            plain = f"{len(value)} bytes"  # pictures and payloads do not belong into a log
        case _:
            plain = plain_text(str(value), clean)
    return plain


def plain_fields(fields: Mapping[Any, object], clean: Callable[[str], str], depth: int = 0) -> dict[str, Any]:
    """The same for a mapping; a value whose name says that it is secret is hidden, whatever it is."""
    plain: dict[str, Any] = {}
    for number, (key, value) in enumerate(fields.items()):
        if number == _MOST_ITEMS:
            plain["…"] = f"{len(fields)} items"
            break
        name = plain_text(str(key), clean)
        is_hidden = value is not None and not isinstance(value, bool) and is_secret_key(name)
        plain[name] = HIDDEN if is_hidden else plain_value(value, clean, depth)
    return plain
