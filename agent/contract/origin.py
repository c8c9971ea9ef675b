"""Who wrote a control document and how long it holds: what policies and commands have in common."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent.contract.documents import MAX_BYTES
from agent.contract.places import check_time
from agent.domain.errors import Code, RefusedError


@dataclass(frozen=True, slots=True)
class Origin:
    """`issuer` wrote it at `issued_s`, and from `expires_s` on it is refused; seconds since 1970."""

    issuer: str
    issued_s: float
    expires_s: float


def read_origin(body: bytes) -> Origin:
    """What a document says of its own origin. All of it has to be there.

    The rest is not looked at, but for keys that occur twice: readers could take them differently.

    Raises:
        RefusedError: it is no JSON object (E_JSON, E_DEPTH) of at most 64 KiB (E_SIZE), or does not say so
            (E_SCHEMA).
    """
    if len(body) > MAX_BYTES:
        raise RefusedError(f"it has {len(body)} bytes; at most {MAX_BYTES} are allowed", code=Code.SIZE)
    try:
        document = json.loads(body.decode(), object_pairs_hook=_each_once)
    except RecursionError as error:
        raise RefusedError("its brackets are nested too deeply", code=Code.DEPTH) from error
    except ValueError as error:
        raise RefusedError(f"what was signed is not JSON: {error}", code=Code.JSON) from error
    if not isinstance(document, Mapping):
        raise RefusedError("what was signed is no JSON object", code=Code.JSON)
    issuer = document.get("issuer")
    if not isinstance(issuer, str):
        raise _missing("issuer", "who wrote it")
    return Origin(
        issuer=issuer,
        issued_s=_moment(document, "issued_at", "when it was written"),
        expires_s=_moment(document, "expires_at", "from when it is refused"),
    )


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return members


def _moment(document: Mapping[str, Any], key: str, meaning: str) -> float:
    value = document.get(key)
    if not isinstance(value, str):
        raise _missing(key, meaning)
    try:
        return datetime.fromisoformat(check_time(value)).timestamp()
    except (ValueError, OverflowError) as error:
        raise RefusedError(f"{key} is wrong: {error}", code=Code.SCHEMA, path=f"/{key}") from error


def _missing(key: str, meaning: str) -> RefusedError:
    return RefusedError(
        f"a signed document has to say {meaning}: {key} is missing, or is no text",
        code=Code.SCHEMA,
        path=f"/{key}",
    )
