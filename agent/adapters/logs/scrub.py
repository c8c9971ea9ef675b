"""Taking credentials out of whatever is about to be written."""

import json
import re
import threading
from typing import Final
from urllib.parse import quote, quote_plus

HIDDEN: Final = "***"

_LEAST_CHARS: Final = 4
"""Shorter secrets are not looked for by value: every second word would be hidden."""

_NAMES: Final = (
    "password|passwd|passphrase|pwd|secret|token|authorization|credentials?|cookie"
    "|api[_-]?key|private[_-]?key"
)
_SECRET_KEY: Final = re.compile(rf"(?:^|[_.-])(?:{_NAMES})$", re.IGNORECASE)

# From the user name to the last '@' that could still belong to it: passwords with '/', '?' or '@' in them
# are common in camera addresses, and hiding a piece of the path too much harms nobody. The bounds keep the
# search linear on hostile text.
_USERINFO: Final = re.compile(
    r"([a-z][a-z0-9+.-]{0,20}://)(?:[^\s\"'<>/?#:@]{0,256}:[^\s\"'<>]{0,1024}|[^\s\"'<>/?#]{0,1024})@",
    re.IGNORECASE,
)
_HEADER: Final = re.compile(r"((?:proxy-)?authorization[\"']?\s*[:=]\s*)[^\r\n]+", re.IGNORECASE)
_ASSIGNMENT: Final = re.compile(
    rf"((?<![a-z0-9])(?:{_NAMES})[\"']?\s*[:=]\s*)(?:\"[^\"]*\"|'[^']*'|[^\s,;&\"'{{\[]+)", re.IGNORECASE
)
_ASSIGNED_NAME: Final = re.compile(rf"(?:{_NAMES})[\"']?\s*[:=]", re.IGNORECASE)


class Scrubber:
    """Knows the secrets of this process and what credentials look like. Every thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spellings: tuple[str, ...] = ()

    def register_secret(self, secret: str) -> None:
        """From now on hide `secret`, as it is and as URLs, JSON and Python's repr spell it."""
        lines = [line for line in secret.splitlines() if not line.startswith("-----")]
        spellings = {
            spelling
            for part in (secret, *lines)  # a key of many lines is printed line by line
            for spelling in _spellings(part)
            if len(spelling.strip()) >= _LEAST_CHARS
        }
        with self._lock:
            # Longest first: a secret that contains another one must go as a whole.
            self._spellings = tuple(sorted(spellings | set(self._spellings), key=len, reverse=True))

    def text(self, text: str) -> str:
        """`text` with `***` in the place of every credential.

        >>> Scrubber().text("rtsp://admin:p@ss/1@10.0.0.7:554/live: 401")
        'rtsp://***@10.0.0.7:554/live: 401'
        >>> Scrubber().text("GET /cgi?user=bob&password=hunter2&x=1")
        'GET /cgi?user=bob&password=***&x=1'
        """
        for spelling in self._spellings:
            if spelling in text:
                text = text.replace(spelling, HIDDEN)
        if "://" in text:
            text = _USERINFO.sub(rf"\1{HIDDEN}@", text)
        if (":" in text or "=" in text) and _ASSIGNED_NAME.search(text):
            text = _HEADER.sub(rf"\1{HIDDEN}", text)
            text = _ASSIGNMENT.sub(rf"\1{HIDDEN}", text)
        return text


def is_secret_key(key: str) -> bool:
    """Whether a value under this name is a credential by its name alone.

    >>> is_secret_key("mqtt_password"), is_secret_key("Authorization"), is_secret_key("secret_name")
    (True, True, False)
    """
    return _SECRET_KEY.search(key) is not None


def _spellings(secret: str) -> tuple[str, ...]:
    return (
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
        ascii(secret)[1:-1],
        repr(secret.encode("utf-8", "surrogatepass"))[2:-1],
    )
