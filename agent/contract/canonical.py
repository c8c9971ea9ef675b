"""Canonical JSON and its hash: the same value gives the same bytes, whoever wrote it.

Source: RFC 8785 (JSON Canonicalization Scheme). Numbers are IEEE 754 doubles and are written as ECMAScript
does it. We rely on Python's `repr` for the digits: both give the fewest that mean this very double.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Final

_MAX_WHOLE: Final = 2**53 - 1


def canonical_json(value: object) -> bytes:
    """The one text of `value`, made of dicts, lists, text, numbers, booleans and None.

    Raises:
        ValueError: a number is not finite or beyond ±(2^53 - 1), a key is not text, a text is not Unicode, or
            something is not JSON at all.

    >>> canonical_json({"b": [1.0, 1e-7, 333333333.33333329], "a": None})
    b'{"a":null,"b":[1,1e-7,333333333.3333333]}'
    """
    try:
        return "".join(_parts(value)).encode()
    except UnicodeEncodeError as error:
        raise ValueError("half a surrogate pair is no character") from error


def sha256_of(value: object) -> str:
    """SHA-256 of the canonical JSON of `value`, in lower-case hexadecimal digits.

    Raises:
        ValueError: as `canonical_json`.
    """
    return hashlib.sha256(canonical_json(value)).hexdigest()


def _parts(value: object) -> Iterator[str]:
    match value:
        case None | bool() | str():
            yield json.dumps(value, ensure_ascii=False)
        case int() | float():
            yield _number(value)
        case Mapping():
            yield "{"
            for index, key in enumerate(sorted(value, key=_utf16)):
                yield ("," if index else "") + json.dumps(key, ensure_ascii=False) + ":"
                yield from _parts(value[key])
            yield "}"
        case list() | tuple():
            yield "["
            for index, item in enumerate(value):
                yield "," if index else ""
                yield from _parts(item)
            yield "]"
        case _:
            raise ValueError(f"{type(value).__name__} is nothing that JSON can say")


def _utf16(key: object) -> bytes:
    """Keys are sorted by their UTF-16 code units."""
    if not isinstance(key, str):
        raise ValueError(f"{key!r} is no key in JSON; text is wanted")
    return key.encode("utf-16-be")


def _number(value: float) -> str:
    """Source: ECMA-262, Number::toString, which RFC 8785, section 3.2.2.3, prescribes."""
    if isinstance(value, int):
        if abs(value) > _MAX_WHOLE:
            raise ValueError(f"{value} is beyond ±{_MAX_WHOLE}; not every reader would see the same number")
        return str(value)
    if not math.isfinite(value):
        raise ValueError(f"{value} is no number in JSON")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    return sign + _lay_out(digits, point)


def _lay_out(digits: str, point: int) -> str:
    """`digits` with the decimal point after the first `point` of them."""
    count = len(digits)
    if count <= point <= 21:
        return digits + "0" * (point - count)
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return "0." + "0" * -point + digits
    fraction = f".{digits[1:]}" if count > 1 else ""
    return f"{digits[0]}{fraction}e{point - 1:+d}"
