"""From a row to what goes on the wire, and from a reason code to what becomes of the row."""

from typing import Final, Literal

from agent.contract.payloads import with_sequence
from agent.contract.topics import Topics
from agent.domain.errors import Code, RefusedError
from agent.domain.stamp import Stamp, age_ns
from agent.ports import Publication, Row

Verdict = Literal["taken", "refused", "oversize", "later"]
"""taken: the broker has it; refused, oversize: it will never pass; later: try again after a while."""

NO_SUBSCRIBER: Final = 0x10
PACKET_TOO_LARGE: Final = 0x95
QUOTA_EXCEEDED: Final = 0x97

# Source: MQTT 5.0, 3.4.2.1, PUBACK reason codes: not authorized, topic name invalid, payload format invalid.
_REFUSED_FOR_GOOD: Final = frozenset({0x87, 0x90, 0x99})
_FAILURE: Final = 0x80
_LEAST_EXPIRY_S: Final = 1
_JSON: Final = "application/json"

SUBTOPIC: Final = "subtopic"
"""A row's property that says where below its stream's topic it goes; it is not sent itself."""


def verdict_of(reason: int) -> Verdict:
    """What a PUBACK with this reason code means for its message.

    >>> verdict_of(0x00), verdict_of(0x10), verdict_of(0x87), verdict_of(0x95), verdict_of(0x97)
    ('taken', 'taken', 'refused', 'oversize', 'later')
    """
    if reason < _FAILURE:
        return "taken"
    if reason == PACKET_TOO_LARGE:
        return "oversize"
    return "refused" if reason in _REFUSED_FOR_GOOD else "later"


def publication_of(
    row: Row, *, topics: Topics, now: Stamp, boot: str, synced: bool, replay: bool
) -> Publication:
    """`row` as it goes out now. What is not JSON carries epoch and seq as user properties.

    Raises:
        RefusedError: its body is no message of a stream. A bad row must not end the process again and again.
    """
    properties = dict(row.properties)
    subtopic = properties.pop(SUBTOPIC, None)
    if replay:
        properties["replay"] = "1"
    if row.content_type == _JSON:
        try:
            payload = with_sequence(row.body, epoch=row.epoch, seq=row.seq)
        except ValueError as error:
            raise RefusedError(str(error), code=Code.SCHEMA, path=row.stream) from error
    else:
        payload = row.body
        properties |= {"epoch": row.epoch, "seq": str(row.seq)}
    return Publication(
        topic=topics.below(row.stream if subtopic is None else f"{row.stream}/{subtopic}"),
        payload=payload,
        expiry_s=remaining_expiry_s(row, now=now, boot=boot, synced=synced),
        content_type=row.content_type,
        properties=properties,
    )


def remaining_expiry_s(row: Row, *, now: Stamp, boot: str, synced: bool) -> int | None:
    """The configured expiry minus the time spent in the outbox: at least 1 s, never more than configured.

    `synced`: the wall clock is right now.
    """
    if row.expiry_s is None:
        return None
    spent_ns = age_ns(row.made, now, same_boot=row.boot == boot, walls_right=row.synced and synced)
    return max(_LEAST_EXPIRY_S, row.expiry_s - spent_ns // 1_000_000_000)
