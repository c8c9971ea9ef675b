"""Signed control on the wire: a JWS in compact serialization over the very document.

Its protected header has four members, and no others: `alg` and `kid`, `typ` for the kind of document, and
`aud` for the nodes that it is meant for. Source: RFC 7515 (JWS), RFC 8037 and RFC 9864 (Ed25519 in it).
"""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final, Literal

from agent.contract.json_text import read_json
from agent.domain.errors import Code, RefusedError
from agent.domain.ids import NAME_RULE, is_name

ControlKind = Literal["policy", "command"]

TYPES: Final[dict[ControlKind, str]] = {
    "policy": "nanofleet-policy+jws",
    "command": "nanofleet-command+jws",
}
"""The header's `typ`, so that what was signed as a policy never passes for a command."""

ALGORITHM: Final = "Ed25519"

ALGORITHM_NAMES: Final = frozenset({ALGORITHM, "EdDSA"})
"""`EdDSA` is what libraries write that do not know RFC 9864; with an Ed25519 key both mean the same."""

MAX_SIGNED_BYTES: Final = 98_304
"""A document of 64 KiB as base64 has 87,382; the rest is for header and signature."""

MOST_AUDIENCES: Final = 100

_SHAPE: Final = re.compile(rb"([A-Za-z0-9_-]{4,8192})\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{86})")
"""Header, payload and the 64 bytes of a signature."""

_MEMBERS: Final = frozenset({"alg", "kid", "typ", "aud"})


@dataclass(frozen=True, slots=True)
class SignedHeader:
    """What the protected header says. Whether it is true, only the signature shows."""

    algorithm: str
    key_id: str
    type: str
    audience: tuple[str, ...]


def is_signed(payload: bytes) -> bool:
    """Whether a control message is meant as a JWS.

    The header is an object, so its base64 begins with `e`; no JSON does.

    >>> is_signed(b"eyJhbGciOiJFZDI1NTE5In0.e30.c2ln"), is_signed(b'{"v":1}')
    (True, False)
    """
    return payload.startswith(b"e")


def read_header(jws: bytes) -> SignedHeader:
    """The protected header of what is meant as a JWS of at most `MAX_SIGNED_BYTES`; nothing is verified.

    Raises:
        RefusedError: it is too large (E_SIZE), or no JWS of the form above (E_SIGNATURE).
    """
    if len(jws) > MAX_SIGNED_BYTES:
        raise RefusedError(
            f"the signed document has {len(jws)} bytes; at most {MAX_SIGNED_BYTES} are allowed",
            code=Code.SIZE,
        )
    shape = _SHAPE.fullmatch(jws)
    if shape is None:
        raise _unreadable(
            "it is no JWS in compact serialization with an Ed25519 signature (header.payload.signature)"
        )
    members = _json_object(shape[1])
    if unknown := members.keys() - _MEMBERS:
        raise _unreadable(f"its header has {min(unknown)[:40]!r}; only alg, kid, typ and aud may be there")
    audience = members.get("aud")
    return SignedHeader(
        algorithm=_text(members, "alg"),
        key_id=_text(members, "kid"),
        type=_text(members, "typ"),
        audience=_audiences([audience] if isinstance(audience, str) else audience),
    )


def check_audience(audience: str) -> str:
    """`audience`, if it names a node (`plant/nano-42`) or all nodes of a site (`plant/*`).

    Raises:
        ValueError: it does neither.

    >>> check_audience("plant/*")
    'plant/*'
    """
    site, slash, node = audience.partition("/")
    if not (slash and is_name(site) and (node == "*" or is_name(node))):
        raise ValueError(
            f"{audience[:80]!r} names no node; SITE/NODE, or SITE/* for all of a site, is wanted, each "
            f"{NAME_RULE}"
        )
    return audience


def is_meant_for(header: SignedHeader, *, site: str, node: str) -> bool:
    """Whether a document with this header was signed for this node.

    >>> header = SignedHeader("Ed25519", "ops", "nanofleet-policy+jws", ("plant/nano-1", "lab/*"))
    >>> [is_meant_for(header, site=site, node="nano-2") for site in ("plant", "lab")]
    [False, True]
    """
    return f"{site}/{node}" in header.audience or f"{site}/*" in header.audience


def _json_object(segment: bytes) -> dict[str, object]:
    try:
        text = base64.urlsafe_b64decode(segment + b"=" * (-len(segment) % 4))
        document = read_json(text)
    except (binascii.Error, RefusedError) as error:
        raise _unreadable("its header is not JSON in base64url") from error
    members = document.root.plain()
    if document.problems or not isinstance(members, dict):
        raise _unreadable("its header is no JSON object in which each key occurs once")
    return members


def _text(members: dict[str, object], name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str):
        raise _unreadable(f"its header has no {name!r}, or it is no text")
    return value


def _audiences(values: object) -> tuple[str, ...]:
    if not isinstance(values, list) or not 0 < len(values) <= MOST_AUDIENCES:
        raise _unreadable("its header says in `aud` for no node (SITE/NODE, or SITE/*), or for too many")
    try:
        return tuple(check_audience(value if isinstance(value, str) else "") for value in values)
    except ValueError as error:
        raise _unreadable(f"its header's `aud` is wrong: {error}") from error


def _unreadable(why: str) -> RefusedError:
    return RefusedError(f"this signed document cannot be used: {why}", code=Code.SIGNATURE)
