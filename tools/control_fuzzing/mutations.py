"""What may go wrong with a document, by accident and by intent: in its structure, and in its bytes."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

_NUMBERS: Final = (
    *(0, -0.0, 1, -1, 2**31, 2**53 - 1, 2**53, -(2**53), 2**63, 10**400, 10**4000),
    *(1e-320, 1e308, -1e308, 0.1 + 0.2, 5e-324, 255, 65_536, 86_401, 1e16),
)
_TEXTS: Final = (
    *(
        "",
        " ",
        "\0",
        "a\0b",
        "\u202eabc",
        "\ufeff",
        "\U0001f600" * 9,
        "é",
        "A",
        "-",
        "NaN",
        "null",
        "1",
        "{}",
    ),
    *(
        "..",
        "../../etc/passwd",
        "/etc/passwd",
        "models/../../x",
        "a" * 300,
        "a/" * 200,
        "x" * 5_000,
        "~",
        ".",
    ),
    *(
        "rtsp://10.1.20.7/x",
        "rtsp://evil.example/x",
        "file:///etc/passwd",
        "http://169.254.169.254/",
        "rtsp://[::1",
    ),
    *(
        "concat:a|b",
        "http://127.1/",
        "rtsp://user:pass@10.1.20.7/",
        "http://10.1.20.7\\@evil/",
        "rtsp://%31/",
    ),
    *("1900-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-02-30T00:00:00Z", "0001-01-01T00:00:00+23:59"),
    *(
        "count('part') > 0",
        "(" * 900,
        "!" * 199 + "true",
        "[1,2].all(x, [1].all(y, x > y))",
        "'a'" * 500,
        "1/0 > 0",
    ),
    *(
        "line",
        "board",
        "parts",
        "hall",
        "crowd",
        "part",
        "synthetic",
        "system",
        "rtsp",
        "stored",
        "Europe/Berlin",
    ),
    *("../zoneinfo", "\\u0000", "'", '"', "%s%n", "${x}", "{id}", "constructor", "__class__"),
)
_MOST_BYTES: Final = 100_000
"""Of what is made more of; above the limit of documents, and below what a broker may send to a node."""

_KEYS: Final = (
    "",
    "v",
    "version",
    "policy",
    "sources",
    "a" * 33,
    "A",
    "\0",
    "/",
    "~1",
    "k" * 3_000,
    "__proto__",
)


def mutated(document: dict[str, Any], random: Random) -> bytes:
    """`document` with one to four things done to it, and then, at times, to its text."""
    value: Any = copy.deepcopy(document)
    for _ in range(random.choice((0, 1, 1, 1, 2, 4))):
        value = _changed(value, random)
    text = _written(value, random)[: 3 * _MOST_BYTES]
    return text if random.random() < 0.6 else _broken(text, random)


def _changed(value: Any, random: Random) -> Any:
    """One place in it, at random, is another."""
    places = list(_places(value))
    if not places:
        return _hostile(random)
    owner, key = random.choice(places)
    change = random.choice(_CHANGES)
    owner[key] = change(owner[key], random)
    if isinstance(owner, dict) and random.random() < 0.25:
        moved = owner.pop(key)
        owner[random.choice(_KEYS)] = moved
    elif random.random() < 0.1:
        del owner[key]
    return value


def _places(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        one = waiting.pop()
        keys = list(one) if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else ()
        for key in keys:
            found.append((one, key))
            waiting.append(one[key])
    return found


def _hostile(random: Random) -> Any:
    return random.choice((None, True, [], {}, random.choice(_NUMBERS), random.choice(_TEXTS)))


def _nested(value: Any, random: Random) -> Any:
    for _ in range(random.choice((1, 3, 15, 16, 17, 60))):
        value = [value] if random.random() < 0.5 else {"a": value}
    return value


def _grown(value: Any, random: Random) -> Any:
    """Many of it: entries, names, characters."""
    many = min(random.choice((2, 17, 65, 1_000, 3_000)), _MOST_BYTES // (1 + len(json.dumps(value))))
    if isinstance(value, str):
        return (value or "x") * many
    if isinstance(value, dict) and value:
        first = next(iter(value.values()))
        return {**value, **{f"n{number}": copy.deepcopy(first) for number in range(many)}}
    return [copy.deepcopy(value) for _ in range(many)]  # or the next change would be one of each of them


def _near(value: Any, random: Random) -> Any:
    """Not quite what it was: a number beside it, a text with another character."""
    match value:
        case bool():
            return not value
        case int() if abs(value) > 2**64:
            return -value
        case int() | float():
            choices = (value + 1, value - 1, -value, value * 10, value / 3, float(value), str(value))
            return random.choice(choices)
        case str() if value:
            at = random.randrange(len(value))
            return value[:at] + random.choice("aZ0-_./\0é\U0001f600") + value[at + 1 :]
        case list() if value:
            return [*value, random.choice(value)] if random.random() < 0.5 else value[:-1]
        case _:
            return _hostile(random)


_CHANGES: Final[tuple[Callable[[Any, Random], Any], ...]] = (
    lambda _value, random: _hostile(random),
    lambda _value, random: random.choice(_TEXTS),
    lambda _value, random: random.choice(_NUMBERS),
    _near,
    _near,
    _near,
    _nested,
    _grown,
)


def _written(value: Any, random: Random) -> bytes:
    indent = random.choice((None, None, None, 1))
    text = json.dumps(value, ensure_ascii=random.random() < 0.5, indent=indent)
    if random.random() < 0.05:
        at = text.find("{") + 1
        text = text[:at] + '"v":1,"v":1,' + text[at:]
    if random.random() < 0.05:
        text = text.replace(
            ": 1", random.choice((": NaN", ": Infinity", ": 1e999", ": 01", ": +1", ": 0x1")), 1
        )
    return text.encode("utf-8", "surrogatepass")


def _broken(text: bytes, random: Random) -> bytes:
    """The bytes themselves: flipped, cut, doubled, filled, or something else altogether."""
    broken = bytearray(text)
    for _ in range(random.choice((1, 1, 2, 8))):
        at = random.randrange(len(broken) + 1)
        match random.randrange(7):
            case 0 if at < len(broken):
                broken[at] ^= 1 << random.randrange(8)
            case 1:
                broken[at:at] = random.choice(
                    (b"\xff", b"\0", b'"', b"\\", b"{", b"]", b"\xed\xa0\x80", b"\n", b",")
                )
            case 2:
                del broken[at : at + random.choice((1, 2, 16, 1_000))]
            case 3:
                broken[at:at] = bytes(broken[at : at + random.choice((1, 8, 200))])
            case 4:
                unit = random.choice(
                    (b"[", b'{"a":', b"\\", b'\\"', b" ", b"0", b"9", b"-", b"[],", b'"",', b"\xc3")
                )
                broken[at:at] = unit * random.choice((17, 1_000, 20_000))
            case 5 if random.random() < 0.05:
                broken[at:at] = bytes(random.randrange(256) for _ in range(256)) * random.choice(
                    (1, 300, 1_200)
                )
            case _:
                broken[at:at] = random.randbytes(random.choice((1, 4, 64)))
    return bytes(broken)
