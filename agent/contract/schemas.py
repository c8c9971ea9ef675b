"""JSON Schemas of what travels: the policy document, and each payload as it stands on the wire."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from agent.contract.canonical import sha256_of
from agent.contract.commands import Envelope
from agent.contract.payloads import (
    Alarm,
    Detections,
    Event,
    Health,
    Heartbeat,
    Info,
    Log,
    Loss,
    Result,
    State,
    StreamPayload,
    Telemetry,
)
from agent.contract.policy import PolicyDocument
from agent.contract.reported import ConfigReported
from agent.contract.stored import Ack

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

PAYLOADS: Final[Mapping[str, type[BaseModel]]] = {
    "detections": Detections,
    "telemetry": Telemetry,
    "events": Event,
    "alarms": Alarm,
    "loss": Loss,
    "result": Result,
    "state": State,
    "health": Health,
    "heartbeat": Heartbeat,
    "info": Info,
    "log": Log,
    "config": ConfigReported,
    "ack": Ack,
    "command": Envelope,
}
"""By the first level of their topic below the node's base."""

_SEQUENCE: Final = {
    "epoch": {
        "type": "string",
        "description": "The generation of the node's outbox; a new one: it was lost.",
    },
    "seq": {
        "type": "integer",
        "minimum": 0,
        "maximum": 2**53 - 1,
        "description": "Number of the message in its stream and epoch, without gaps.",
    },
}
"""What the outbox puts into a message of a stream when it commits it."""


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of a document that we read: unknown keys are refused everywhere."""
    return {"$schema": DIALECT, **_closed(model.model_json_schema(mode="validation"))}


def payload_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of a payload; readers ignore what they do not know, as we do, so it is open."""
    schema: dict[str, Any] = {
        "$schema": DIALECT,
        **_open(model.model_json_schema(mode="serialization", by_alias=True)),
    }
    if issubclass(model, StreamPayload):
        schema["properties"] = {**schema["properties"], **_SEQUENCE}
        schema["required"] = [*schema.get("required", ()), *_SEQUENCE]
    return schema


def wire_schemas() -> dict[str, dict[str, Any]]:
    """All of them by name: `policy`, and each payload."""
    return {
        "policy": schema_of(PolicyDocument),
        **{name: payload_schema(model) for name, model in PAYLOADS.items()},
    }


def schema_hashes() -> dict[str, str]:
    """SHA-256 of the canonical JSON (RFC 8785) of each schema, for `B/info`."""
    return {name: sha256_of(schema) for name, schema in wire_schemas().items()}


def _closed(node: Any) -> Any:
    """Also keys which no pattern allows are refused: pydantic leaves that to its own validation."""
    if isinstance(node, Mapping):
        inner = {key: _closed(value) for key, value in node.items()}
        return {**inner, "additionalProperties": False} if "patternProperties" in inner else inner
    return [_closed(each) for each in node] if isinstance(node, list) else node


def _open(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {
            key: _open(value)
            for key, value in node.items()
            if not (key == "additionalProperties" and value is False)
        }
    return [_open(each) for each in node] if isinstance(node, list) else node
