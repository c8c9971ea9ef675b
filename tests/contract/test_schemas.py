"""The published schemas: what they accept is what goes over the wire."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from agent.contract.payloads import (
    Clock,
    Detections,
    FrameRef,
    LatencyMs,
    Loss,
    ModelRef,
    Object,
    encode,
    with_sequence,
)
from agent.contract.schemas import PAYLOADS, schema_hashes, wire_schemas

SCHEMAS = wire_schemas()


def detections() -> dict[str, Any]:
    clock: Clock = "synced"
    payload = Detections(
        site="plant",
        node="nano-42",
        time="2026-11-23T16:57:01.123Z",
        clock=clock,
        boot="b",
        monotonic_ms=1,
        source="door",
        model=ModelRef(
            name="people", version="1", sha256="ab", graph="exact", provider="cpu", precision="fp32"
        ),
        lane=0,
        config_version=1,
        frame=FrameRef(width=1280, height=720, number=0),
        objects=(Object(class_name="person", class_id=0, confidence=0.5, box=(0.1, 0.2, 0.3, 0.4)),),
        latency_ms=LatencyMs(capture_to_inference=1.0, inference=2.0, total=3.0),
    )
    message: dict[str, Any] = json.loads(with_sequence(encode(payload), epoch="01JC", seq=7))
    return message


def errors(name: str, message: dict[str, Any]) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(SCHEMAS[name]).iter_errors(message)]


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_schema_is_one(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])
    assert SCHEMAS[name]["$schema"].endswith("2020-12/schema")


def test_a_message_of_a_stream_fits_its_schema_as_it_goes_out() -> None:
    assert errors("detections", detections()) == []


def test_a_message_of_a_stream_needs_its_sequence_number() -> None:
    message = detections()
    del message["seq"]
    assert errors("detections", message) == ["'seq' is a required property"]


def test_readers_ignore_what_they_do_not_know() -> None:
    assert errors("detections", detections() | {"later": 1}) == []


def test_names_of_the_wire_are_used() -> None:
    assert {"from", "to"} <= set(SCHEMAS["loss"]["properties"])
    assert PAYLOADS["loss"] is Loss


def test_a_policy_is_closed_also_where_keys_are_names() -> None:
    document = {"version": 1, "policy": {"sources": {"Door": {"kind": "system"}}}}
    assert errors("policy", document)
    assert errors("policy", {"version": 1, "policy": {"sources": {"door": {"kind": "system"}}}}) == []


def test_every_schema_has_its_hash() -> None:
    hashes = schema_hashes()
    assert hashes.keys() == SCHEMAS.keys()
    assert len(set(hashes.values())) == len(hashes)
    assert hashes == schema_hashes()
    assert all(len(digest) == 64 for digest in hashes.values())
