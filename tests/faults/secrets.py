"""What must never be seen, in every spelling that a program might give it, and where to look."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote, quote_plus

_LEAST_BYTES: Final = 8
"""Shorter pieces would be found by chance."""


@dataclass(frozen=True, slots=True)
class Secret:
    """`name` is for the message of a test that found it."""

    name: str
    spellings: frozenset[bytes]

    @classmethod
    def password(cls, name: str, text: str, *, user: str) -> Secret:
        """As it is, in URLs, JSON, Python's repr, and in the header of HTTP's Basic."""
        texts = {
            text,
            quote(text),
            quote(text, safe=""),
            quote(text, safe="").lower(),
            quote_plus(text),
            json.dumps(text)[1:-1],
            json.dumps(text, ensure_ascii=False)[1:-1],
            repr(text)[1:-1],
            ascii(text)[1:-1],
            repr(text.encode())[2:-1],
        }
        raw = {spelling.encode() for spelling in texts}
        raw |= {base64.b64encode(text.encode()), base64.b64encode(f"{user}:{text}".encode())}
        return cls(name, frozenset(each for each in raw if len(each) >= _LEAST_BYTES))

    @classmethod
    def key(cls, name: str, file: Path) -> Secret:
        """Every line of a PEM file, but for its frame."""
        lines = file.read_bytes().splitlines()
        return cls(
            name, frozenset(line for line in lines if b"-----" not in line and len(line) >= _LEAST_BYTES)
        )

    def is_in(self, content: bytes) -> bool:
        return any(spelling in content for spelling in self.spellings)


def found(secrets: Iterable[Secret], places: Mapping[str, bytes]) -> list[str]:
    """Where which secret stands; empty where all is well."""
    secrets = list(secrets)
    return [
        f"{secret.name} in {place}"
        for place, content in places.items()
        for secret in secrets
        if secret.is_in(content)
    ]


def processes_of(pid: int) -> dict[str, bytes]:
    """What `ps` shows anybody, and root, of a process and of its children: command lines and environments."""
    places: dict[str, bytes] = {}
    for each in (pid, *_children(pid)):
        for file in ("cmdline", "environ"):
            try:
                places[f"/proc/{each}/{file}"] = Path(f"/proc/{each}/{file}").read_bytes()
            except OSError:
                continue  # it has ended meanwhile
    return places


def _children(pid: int) -> list[int]:
    try:
        told = [task.read_text() for task in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return []
    return [int(child) for line in told for child in line.split()]
