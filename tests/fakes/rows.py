"""Drafts and rows for tests that care about little of them."""

from collections.abc import Mapping

from agent.domain.ids import Stream
from agent.domain.stamp import Stamp
from agent.ports import Draft, Priority, Row

BOOT = "b0074b00-0000-4000-8000-000000000001"
"""The boot of `FakeClock`."""


def draft_of(
    stream: str = "detections/door",
    priority: Priority = "detection",
    *,
    made: Stamp,
    captured: Stamp | None = None,
    body: bytes = b'{"v":1,"site":"plant"}',
    expiry_s: int | None = None,
) -> Draft:
    return Draft(
        stream=Stream(stream),
        priority=priority,
        body=body,
        made=made,
        captured=captured,
        expiry_s=expiry_s,
    )


def row_of(
    key: int,
    priority: Priority = "detection",
    *,
    seq: int | None = None,
    stream: str = "detections/door",
    body: bytes = b'{"v":1,"site":"plant"}',
    content_type: str = "application/json",
    made: Stamp = Stamp(0, 0),  # noqa: B008 a frozen value
    expiry_s: int | None = None,
    properties: Mapping[str, str] | None = None,
    boot: str = BOOT,
    synced: bool = True,
) -> Row:
    return Row(
        key=key,
        epoch="01JC",
        seq=key if seq is None else seq,
        stream=Stream(stream),
        priority=priority,
        body=body,
        content_type=content_type,
        expiry_s=expiry_s,
        properties=properties or {},
        made=made,
        captured=None,
        committed_ns=made.monotonic_ns,
        boot=boot,
        synced=synced,
    )
