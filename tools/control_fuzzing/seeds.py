"""Documents as a fleet sends them, to be mutated: policies, commands of every operation, acks, signatures."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from agent.contract.command_args import ARGS
from agent.contract.yaml_text import read_yaml
from agent.domain.stamp import rfc3339
from agent.fleet.signing import sign
from tools.control_fuzzing.outside import NOW_NS

if TYPE_CHECKING:
    from joserfc.jwk import OKPKey

Kind = Literal["policy", "command", "ack"]

CONFIG: Final = Path(__file__).parents[2] / "config"

SITE: Final = "plant"
NODE: Final = "nano-42"
KEY_NAME: Final = "ops"

PATCH: Final[dict[str, Any]] = {
    "sources": {"line": {"fps": 3, "zones": {"hall": {"polygon": [[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]]}}}},
    "rules": {"crowd": {"when": "count('part', zone='hall') > 3", "for_s": 1.5}},
}

_ARGS: Final[dict[str, dict[str, Any]]] = {
    "patch-config": {"version": 2, "patch": PATCH},
    "snapshot": {"source": "roof", "quality": 80, "longest_side_px": 640},
    "restart-source": {"source": "board"},
    "replay": {"stream": "detections/line", "epoch": "01JC", "from": 1, "to": 9},
    "log-level": {"level": "info", "for_s": 60},
    "explain": {"source": "line"},
    "what-if": {"patch": PATCH, "minutes": 5},
}

SMALL: Final[dict[str, Any]] = {
    "v": 1,
    "version": 1,
    "issuer": "fleet",
    "policy": {
        "models": {"parts": {"file": "parts.onnx", "thresholds": {"classes": {"part": 0.4}}}},
        "sources": {
            "line": {
                "kind": "synthetic",
                "model": "parts",
                "tracking": {},
                "lines": {"gate": {"points": [[0, 0], [1, 1]]}},
            },
            "board": {"kind": "system", "every_s": 1},
        },
        "rules": {"hot": {"when": "reading('board/cpu') > 80", "severity": "critical", "alarm": True}},
        "publish": {"heartbeat_s": 5, "keep_until": "stored"},
    },
}


@dataclass(frozen=True, slots=True)
class Seed:
    """A document and where it goes, below the node's base; `{id}` in a topic becomes another each time."""

    kind: Kind
    topic: str
    document: dict[str, Any]


def seeds() -> list[Seed]:
    """Every kind of document that a node takes."""
    policies = [SMALL, *(_in_yaml(file) for file in sorted(CONFIG.glob("policy*.yaml")))]
    commands = [
        Seed(
            "command",
            f"command/{op}/{{id}}",
            {"v": 1, "op": op, "id": "{id}", "args": _ARGS.get(op, {}), "issuer": "fuzz"},
        )
        for op in ARGS
    ]
    acks = [Seed("ack", f"ack/{stream}", {"epoch": "01JC", "seq": 7}) for stream in ("result", "events/hot")]
    return [*(Seed("policy", "config/desired", each) for each in policies), *commands, *acks]


def dated(document: dict[str, Any]) -> dict[str, Any]:
    """As its issuer would date it, by the clock of the fuzzer."""
    return {
        **document,
        "issued_at": rfc3339(NOW_NS),
        "expires_at": rfc3339(NOW_NS + 3_600_000_000_000),
        "issuer": KEY_NAME,
    }


def signed(document: bytes, kind: Literal["policy", "command"], key: OKPKey) -> bytes:
    """Whatever it says: a key that signs also what no node would take."""
    return sign(document, kind=kind, key=key, key_id=KEY_NAME, audience=[f"{SITE}/{NODE}"]).encode()


def _in_yaml(file: Path) -> dict[str, Any]:
    document = read_yaml(file.read_bytes(), file=str(file)).root.plain()
    if not isinstance(document, dict):
        raise TypeError(f"{file} is no mapping")
    return json.loads(json.dumps(document))  # type: ignore[no-any-return]
