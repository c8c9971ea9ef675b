"""Verifying signed control documents; fulfils `ports.ControlVerifier` with joserfc.

The library is imported only where a key is trusted: a node without one pays nothing for it.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent.contract.origin import Origin, read_origin
from agent.contract.signed import (
    ALGORITHM,
    ALGORITHM_NAMES,
    TYPES,
    ControlKind,
    SignedHeader,
    is_meant_for,
    is_signed,
    read_header,
)
from agent.domain.errors import Code, ConfigError, RefusedError
from agent.domain.stamp import utc_text
from agent.ports import Clock, ExpiredError

if TYPE_CHECKING:
    from joserfc.jwk import OKPKey
    from joserfc.jws import JWSRegistry

CLOCK_TOLERANCE_S: Final = 60.0
"""How far ahead of this node's clock a document may be dated."""


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A key whose word this node takes: for documents of which `kinds`, and in whose names (None: anybody's).

    `public_key`: the 32 bytes of RFC 8032. From `ends_s` on (seconds since 1970) it is not trusted any more.
    """

    name: str
    public_key: bytes
    kinds: frozenset[ControlKind]
    issuers: frozenset[str] | None
    ends_s: float | None = None


class JwsVerifier:
    """Takes documents that a trusted key has signed for this node; unsigned ones unless `require_signed`."""

    def __init__(
        self,
        *,
        site: str,
        node: str,
        keys: Sequence[TrustedKey],
        require_signed: bool,
        max_age_s: Mapping[ControlKind, float],
        clock: Clock,
    ) -> None:
        """Blocks while the library is imported, if a key is given.

        Raises:
            ConfigError: joserfc is needed and not installed.
        """
        self._site = site
        self._node = node
        self._keys = {key.name: key for key in keys}
        self._require_signed = require_signed
        self._max_age_s = max_age_s
        self._clock = clock
        self._signatures = _Signatures(keys) if keys else None

    def open(self, payload: bytes, *, kind: ControlKind, also: Collection[ControlKind] = ()) -> bytes:
        if not is_signed(payload):
            if self._require_signed:
                raise _refused(f"this node takes a {kind} only if it is signed, and this one is not")
            return payload
        jws = payload.removesuffix(b"\n").removesuffix(b"\r")
        header = read_header(jws)
        if self._signatures is None:
            raise _refused(
                f"this {kind} is signed, and Settings of this node have no [control.keys] to verify it"
            )
        key = self._keys.get(header.key_id)
        if key is None:
            raise _refused(f"Settings of this node have no key [control.keys.{header.key_id[:40]}]")
        if header.algorithm not in ALGORITHM_NAMES:
            raise _refused(f"alg is {header.algorithm[:40]!r}; only {ALGORITHM} is taken")
        body = self._signatures.verified(jws, key)
        self._check_purpose(header, key, kind)
        _check_roles(key, kind, also)
        if not self._clock.synced():
            raise RefusedError(
                f"this {kind} is signed, and this node does not know the time: whether it is still good "
                "cannot be told",
                code=Code.CLOCK,
            )
        origin = read_origin(body)
        if key.issuers is not None and origin.issuer not in key.issuers:
            raise RefusedError(
                f"key {key.name} may not speak for {origin.issuer[:60]!r}; it may for: "
                f"{', '.join(sorted(key.issuers))}",
                code=Code.AUTH,
                path="/issuer",
            )
        self._check_age(origin, kind, body)
        return body

    def _check_purpose(self, header: SignedHeader, key: TrustedKey, kind: ControlKind) -> None:
        if header.type != TYPES[kind]:
            raise _refused(
                f"it was not signed as a {kind}: typ is {header.type[:60]!r}, {TYPES[kind]} is wanted"
            )
        if not is_meant_for(header, site=self._site, node=self._node):
            raise _refused(
                f"it was signed for {', '.join(header.audience)[:120]}, and this is {self._site}/{self._node}"
            )
        if key.ends_s is not None and self._now_s() >= key.ends_s:
            raise _refused(
                f"key {key.name} has not been trusted any more since {utc_text(key.ends_s)} (not_after)"
            )

    def _check_age(self, origin: Origin, kind: ControlKind, body: bytes) -> None:
        now_s, max_age_s = self._now_s(), self._max_age_s[kind]
        if origin.issued_s > now_s + CLOCK_TOLERANCE_S:
            raise RefusedError(
                f"it is dated {origin.issued_s - now_s:.0f} s ahead of this node's clock: one of the two is "
                "wrong",
                code=Code.CLOCK,
                path="/issued_at",
            )
        if now_s >= origin.expires_s:
            raise ExpiredError(
                f"it was good until {utc_text(origin.expires_s)}, {now_s - origin.expires_s:.0f} s ago",
                body=body,
                path="/expires_at",
            )
        if now_s >= origin.issued_s + max_age_s:
            raise ExpiredError(
                f"it was issued {now_s - origin.issued_s:.0f} s ago, and this node takes a {kind} for "
                f"{max_age_s:.0f} s at most, whatever it says itself",
                body=body,
                path="/issued_at",
            )

    def _now_s(self) -> float:
        return self._clock.now().wall_ns / 1e9


def _check_roles(key: TrustedKey, kind: ControlKind, also: Collection[ControlKind]) -> None:
    roles = ", ".join(sorted(key.kinds))
    if kind not in key.kinds:
        raise RefusedError(
            f"key {key.name} may sign no {kind}; its roles in Settings: {roles}", code=Code.AUTH
        )
    if missing := set(also) - key.kinds:
        raise RefusedError(
            f"key {key.name} may sign a {kind}, but none that is a {min(missing)} as well, as this one is; "
            f"its roles in Settings: {roles}",
            code=Code.AUTH,
        )


class _Signatures:
    """joserfc with our keys, and with one algorithm, whatever a header asks for."""

    def __init__(self, keys: Sequence[TrustedKey]) -> None:
        try:
            from joserfc import jws
            from joserfc.errors import JoseError
            from joserfc.jwk import OKPKey
        except ImportError as error:
            raise ConfigError(
                "Settings have [control.keys], and verifying signatures needs nanofleet with the extra "
                f"`signed` (joserfc): {error}",
                code=Code.FILE,
                path="control/keys",
            ) from error
        self._deserialize = jws.deserialize_compact
        self._error = JoseError
        self._registry = _pinned_registry()
        self._keys: dict[str, OKPKey] = {
            key.name: OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": _base64url(key.public_key)})
            for key in keys
        }

    def verified(self, jws: bytes, key: TrustedKey) -> bytes:
        """The payload. Raises: RefusedError (E_SIGNATURE)."""
        try:
            return self._deserialize(jws, self._keys[key.name], registry=self._registry).payload
        except self._error as error:
            raise _refused(f"the signature is not key {key.name}'s over this document") from error


def _pinned_registry() -> JWSRegistry:
    from joserfc.jwa import JWSAlgModel
    from joserfc.jws import JWSRegistry
    from joserfc.registry import HeaderParameter

    class Pinned(JWSRegistry):
        """Ed25519 for both of its names: under `EdDSA` the library would warn on each document."""

        max_header_length = 8_192

        def get_alg(self, name: str) -> JWSAlgModel:  # noqa: ARG002 - it has been compared
            return self.algorithms[ALGORITHM]

    return Pinned(header_registry={"aud": HeaderParameter("Audience", lambda _: None)})


def _base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _refused(why: str) -> RefusedError:
    return RefusedError(why, code=Code.SIGNATURE)
