"""Keys and signed documents that tests make up, without the code that is tested."""

from __future__ import annotations

import base64
import json
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

NOW_S: Final = 1_700_000_000
"""What `FakeClock` says at first: 2023-11-14T22:13:20Z."""

POLICY_TYPE: Final = "nanofleet-policy+jws"
COMMAND_TYPE: Final = "nanofleet-command+jws"

KEY: Final = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY: Final = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))


def raw(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def public_pem(key: Ed25519PrivateKey = KEY) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def private_pem(key: Ed25519PrivateKey = KEY) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_jwk(key: Ed25519PrivateKey = KEY) -> dict[str, str]:
    return {"kty": "OKP", "crv": "Ed25519", "x": base64url(raw(key)).decode()}


def base64url(value: bytes) -> bytes:
    return base64.urlsafe_b64encode(value).rstrip(b"=")


def document(**changes: Any) -> dict[str, Any]:
    """A policy document that is good for an hour at `NOW_S`; a change to None takes a key away."""
    whole = {
        "v": 1,
        "version": 7,
        "issued_at": "2023-11-14T22:13:20Z",
        "expires_at": "2023-11-14T23:13:20Z",
        "issuer": "operations",
        "policy": {},
        **changes,
    }
    return {key: value for key, value in whole.items() if value is not None}


def header(**changes: Any) -> dict[str, Any]:
    whole = {"alg": "Ed25519", "kid": "operations", "typ": POLICY_TYPE, "aud": "plant/nano-42", **changes}
    return {key: value for key, value in whole.items() if value is not None}


def jws(
    body: bytes | None = None,
    *,
    protected: dict[str, Any] | bytes | None = None,
    key: Ed25519PrivateKey = KEY,
    **header_changes: Any,
) -> bytes:
    """Header, payload and signature, put together as RFC 7515 (section 7.1) says."""
    head = header(**header_changes) if protected is None else protected
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    payload = json.dumps(document()).encode() if body is None else body
    signed = base64url(text) + b"." + base64url(payload)
    return signed + b"." + base64url(key.sign(signed))
