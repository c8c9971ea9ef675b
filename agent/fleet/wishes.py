"""The policy that a node is wanted to have, from a file: a document, or one that was signed."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from agent.contract.documents import MAX_BYTES
from agent.contract.json_text import read_json
from agent.contract.policy import PolicyDocument
from agent.contract.policy_text import parse_policy
from agent.contract.reported import as_written, policy_sha256
from agent.contract.signed import MAX_SIGNED_BYTES, TYPES, is_meant_for, is_signed, read_header
from agent.domain.errors import Code, ConfigError, NanofleetError, RefusedError
from agent.domain.stamp import rfc3339
from agent.fleet.node_names import NodeName
from agent.settings.loading import load_policy


@dataclass(frozen=True, slots=True)
class Wish:
    """What `config/desired` of a node should say. `policy` is as it was written, without defaults."""

    version: int
    sha256: str
    policy: Mapping[str, Any]
    payload: bytes


def read_wishes(
    files: Mapping[NodeName, Path], *, issuer: str, now_s: float, judge_expiry: bool = True
) -> dict[NodeName, Wish]:
    """The policies in `files`: documents in YAML or JSON, or JWS, which are sent as they are. Blocking.

    A document that does not say so gets `issuer`, and `now_s` (seconds since 1970) as the time of issue.
    Whether a signature is true is the node's to judge.

    Raises:
        ConfigError: one cannot be read, no node would take it, or it was signed for others.
    """
    documents: dict[Path, Wish] = {}  # one for many nodes is read once
    wishes = {}
    expired_s = now_s if judge_expiry else float("-inf")
    for node, path in files.items():
        if path in documents:
            wishes[node] = documents[path]
            continue
        text = _read(path)
        try:
            if is_signed(text) and len(text.split()) == 1:
                wishes[node] = _signed(text.strip(), node, expired_s=expired_s)
            else:
                wishes[node] = documents[path] = _stamped(
                    load_policy(path, None), issuer=issuer, now_s=now_s, expired_s=expired_s
                )
        except RefusedError as error:
            raise ConfigError(f"{path}: {error.message}", code=error.code, path=error.path) from error
    return wishes


def version_and_hash(desired: bytes) -> tuple[int, str] | None:
    """Of the document on a `config/desired`, signed or not; None: it cannot be read."""
    try:
        document = parse_policy(read_json(_body(desired) if is_signed(desired) else desired))
    except NanofleetError:
        return None
    return document.version, policy_sha256(document.policy)


def _stamped(document: PolicyDocument, *, issuer: str, now_s: float, expired_s: float) -> Wish:
    written = document.model_dump(mode="json", by_alias=True, exclude_unset=True)
    head = {"v": 1, "issued_at": rfc3339(round(now_s * 1e9)), "issuer": issuer}
    body = {**head, **written, "policy": as_written(document.policy)}
    payload = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    return _wish(document, payload, expired_s=expired_s)


def _signed(jws: bytes, node: NodeName, *, expired_s: float) -> Wish:
    header = read_header(jws)
    if header.type != TYPES["policy"]:
        raise RefusedError(f"it was signed as {header.type[:60]!r}, which is no policy", code=Code.SIGNATURE)
    if not is_meant_for(header, site=node.site, node=node.node):
        signed_for = ", ".join(header.audience)
        raise RefusedError(f"it was signed for {signed_for}, and not for {node}", code=Code.SIGNATURE)
    return _wish(parse_policy(read_json(_body(jws))), jws, expired_s=expired_s)


def _body(jws: bytes) -> bytes:
    """Raises: RefusedError, if there is none."""
    try:
        body = jws.split(b".")[1]
        return base64.urlsafe_b64decode(body + b"=" * (-len(body) % 4))
    except (IndexError, binascii.Error) as error:
        raise RefusedError("what was signed is not base64url", code=Code.SIGNATURE) from error


def _wish(document: PolicyDocument, payload: bytes, *, expired_s: float) -> Wish:
    if (
        document.expires_at is not None
        and datetime.fromisoformat(document.expires_at).timestamp() <= expired_s
    ):
        raise RefusedError(f"it expired at {document.expires_at}", code=Code.EXPIRED, path="/expires_at")
    most = MAX_SIGNED_BYTES if is_signed(payload) else MAX_BYTES
    if len(payload) > most:
        raise RefusedError(f"it has {len(payload)} bytes; a node takes {most}", code=Code.SIZE)
    return Wish(document.version, policy_sha256(document.policy), as_written(document.policy), payload)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_SIGNED_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", code=Code.FILE) from error
