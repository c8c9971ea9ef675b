"""Signing what nodes are told: a policy or a command, dated, and held against the contract."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from agent.contract.commands import read_command
from agent.contract.documents import Document
from agent.contract.json_text import read_json
from agent.contract.policy_text import parse_policy
from agent.contract.problems import FaultyDocumentError
from agent.contract.signed import ALGORITHM, TYPES, ControlKind, check_audience
from agent.contract.topics import CommandTopic
from agent.contract.yaml_text import read_yaml
from agent.domain.errors import Code, RefusedError
from agent.domain.stamp import rfc3339

if TYPE_CHECKING:
    from joserfc.jwk import OKPKey

_MAX_HEADER: Final = 8_192


def stamped(
    text: bytes, *, kind: ControlKind, issuer: str | None, signer: str, now_s: float, expires_in_s: float
) -> bytes:
    """The document in `text` (JSON, or a policy in YAML) as the JSON to sign: dated now, and checked.

    `issued_at` and `expires_at` are set. `issuer` is set where it is given; without, the document's own
    stands, or the `signer` where it has none.

    Raises:
        RefusedError: no node would take it, with everything that is wrong.
    """
    is_json = kind == "command" or text.lstrip().startswith(b"{")
    document = read_json(text) if is_json else read_yaml(text)
    if document.problems:
        raise FaultyDocumentError(document.problems)
    members = document.root.plain()
    if not isinstance(members, Mapping):
        raise RefusedError(f"a {kind} is a JSON object, and this is none", code=Code.SCHEMA)
    dated: dict[str, Any] = {
        **members,
        "issued_at": rfc3339(round(now_s * 1e9)),
        "expires_at": rfc3339(round((now_s + expires_in_s) * 1e9)),
        "issuer": issuer or members.get("issuer", signer),
    }
    body = json.dumps(dated, ensure_ascii=False, separators=(",", ":")).encode()
    _check(body, read_json(body), kind)
    return body


def sign(body: bytes, *, kind: ControlKind, key: OKPKey, key_id: str, audience: Sequence[str]) -> str:
    """The JWS over `body`, for the nodes that `audience` names (`site/node`, `site/*`).

    Raises:
        RefusedError: `audience` names nobody, or more than a header holds.
    """
    from joserfc.jws import JWSRegistry, serialize_compact
    from joserfc.registry import HeaderParameter

    try:
        nodes = [check_audience(one) for one in audience]
    except ValueError as error:
        raise RefusedError(str(error), code=Code.SCHEMA) from error
    if not nodes:
        raise RefusedError("for which nodes it is has to be said: SITE/NODE, or SITE/*", code=Code.SCHEMA)
    header: dict[str, Any] = {
        "alg": ALGORITHM,
        "kid": key_id,
        "typ": TYPES[kind],
        "aud": nodes[0] if len(nodes) == 1 else nodes,
    }
    registry = JWSRegistry(
        header_registry={"aud": HeaderParameter("Audience", lambda _: None)}, algorithms=[ALGORITHM]
    )
    jws = serialize_compact(header, body, key, registry=registry)
    if len(jws.partition(".")[0]) > _MAX_HEADER:
        raise RefusedError(
            f"{len(nodes)} nodes are too many for one header; sign for SITE/*, or more than once",
            code=Code.SIZE,
        )
    return jws


def _check(body: bytes, document: Document, kind: ControlKind) -> None:
    if kind == "policy":
        parse_policy(document)
        return
    members = document.root.plain()
    told = members if isinstance(members, Mapping) else {}
    # The topic will say both again; here the document is all there is.
    read_command(body, CommandTopic(op=str(told.get("op")), id=str(told.get("id"))))
