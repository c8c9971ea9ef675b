"""What a policy may name: checks of form, before Settings say what is allowed."""

import re
from datetime import datetime
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from agent.domain.ids import NAME_RULE, is_name

_AMBIGUOUS = re.compile(r"[\s\\\x00-\x1f\x7f]")
"""What one reader of addresses drops, another takes for a slash, and a third for a part of the host."""

_HOST = re.compile(r"[\w.-]+")

_DEVICE = re.compile(r"(video\d{1,3}|v4l/by-(id|path)/[A-Za-z0-9._:+-]+)")


def check_name(text: str) -> str:
    """`text`, if it may name a source, model, rule, zone, pipe or secret.

    Raises:
        ValueError: it may not.
    """
    if not is_name(text):
        raise ValueError(f"{text[:60]!r} is no name; a name is {NAME_RULE}")
    return text


def check_time(text: str) -> str:
    """`text`, if it is a moment with its zone.

    Raises:
        ValueError: it is not.

    >>> check_time("2026-11-23T16:57:01.123Z")
    '2026-11-23T16:57:01.123Z'
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text[:60]!r} is no time; RFC 3339 is wanted: 2026-11-23T16:57:01Z") from error
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} says no zone; for UTC put a Z behind it")
    return text


def check_relative_path(text: str) -> str:
    """`text`, if it is a relative path that does not climb.

    Raises:
        ValueError: it is empty, absolute, climbs with '..' or holds a NUL byte.

    >>> check_relative_path("clips/door.mp4")
    'clips/door.mp4'
    """
    path = PurePosixPath(text)
    if not path.parts or "\0" in text:
        raise ValueError("a path below media_root is wanted, e.g. clips/door.mp4")
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{text!r} leaves media_root; give a path relative to it, without '..'")
    return text


def check_url(text: str) -> str:
    """`text`, if it is an address of a stream with a host and without credentials.

    Raises:
        ValueError: the scheme is not rtsp, rtsps, http or https, the host is missing, it has credentials, or
            it could be read in two ways. The message does not repeat the address, which may hold a password.
    """
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port
    except ValueError as error:
        raise ValueError("this is no address: its host or its port is not of the right form") from error
    if url.username is not None or url.password is not None:
        raise ValueError("credentials do not belong into a policy; name a secret of Settings with `secret`")
    if _AMBIGUOUS.search(text) or not (host is None or ":" in host or _HOST.fullmatch(host)):
        raise ValueError(
            "this address could be read in two ways; blanks and backslashes are written as %20 and %5C, and "
            "a host name has letters, digits, '-', '_' and '.' alone"
        )
    if url.scheme not in {"rtsp", "rtsps", "http", "https"} or not host:
        raise ValueError(
            "an address such as rtsp://camera.example:554/stream is wanted (rtsp, rtsps, http or https)"
        )
    return text


def check_device(text: str) -> str:
    """`text`, if it names a video device below /dev.

    Raises:
        ValueError: it is anything else.
    """
    if not _DEVICE.fullmatch(text):
        raise ValueError(
            f"{text[:60]!r} is no video device; give its name below /dev, e.g. video0 or v4l/by-id/usb-…"
        )
    return text
