"""Rows as publications, and what a reason code means."""

import json

import pytest

from agent.contract.topics import Topics
from agent.domain.stamp import Stamp
from agent.pipeline.outgoing import Verdict, publication_of, remaining_expiry_s, verdict_of
from tests.fakes.rows import BOOT, row_of

TOPICS = Topics("plant", "nano-42")
SECOND = 1_000_000_000


def at(wall_s: float, monotonic_s: float) -> Stamp:
    return Stamp(int(wall_s * SECOND), int(monotonic_s * SECOND))


@pytest.mark.parametrize(
    ("reason", "verdict"),
    [
        (0x00, "taken"),
        (0x10, "taken"),
        (0x7F, "taken"),
        (0x87, "refused"),
        (0x90, "refused"),
        (0x99, "refused"),
        (0x95, "oversize"),
        (0x97, "later"),
        (0x80, "later"),
        (0x83, "later"),
        (0xFF, "later"),
    ],
)
def test_a_reason_code_decides_what_becomes_of_a_message(reason: int, verdict: Verdict) -> None:
    assert verdict_of(reason) == verdict


def test_json_goes_out_with_epoch_and_sequence_number() -> None:
    publication = publication_of(row_of(7, seq=184467), topics=TOPICS, now=at(0, 0), boot=BOOT, replay=False)
    assert publication.topic == "edge/v1/plant/nano-42/detections/door"
    assert json.loads(publication.payload) == {"v": 1, "epoch": "01JC", "seq": 184467, "site": "plant"}
    assert (publication.qos, publication.retain) == (1, False)
    assert publication.properties == {}


def test_a_picture_carries_them_as_user_properties() -> None:
    row = row_of(
        7, "snapshot", seq=3, body=b"\xff\xd8", content_type="image/jpeg", properties={"source": "door"}
    )
    publication = publication_of(row, topics=TOPICS, now=at(0, 0), boot=BOOT, replay=True)
    assert publication.payload == b"\xff\xd8"
    assert publication.properties == {"source": "door", "replay": "1", "epoch": "01JC", "seq": "3"}


def test_a_replay_says_so() -> None:
    publication = publication_of(row_of(1), topics=TOPICS, now=at(0, 0), boot=BOOT, replay=True)
    assert publication.properties == {"replay": "1"}


@pytest.mark.parametrize(
    ("boot", "now", "left_s"),
    [
        (BOOT, at(1_000, 100), 60),
        (BOOT, at(1_000, 110.9), 50),
        # The wall clock stepped; the time spent did not.
        (BOOT, at(90_000, 110), 50),
        (BOOT, at(-90_000, 110), 50),
        (BOOT, at(1_000, 159), 1),
        (BOOT, at(1_000, 5_000), 1),
        # Of an earlier boot: only the wall clocks know, and never more than configured.
        ("another", at(1_010, 3), 50),
        ("another", at(500, 3), 60),
        ("another", at(90_000, 3), 1),
    ],
)
def test_expiry_shrinks_by_the_time_spent_in_the_outbox(boot: str, now: Stamp, left_s: int) -> None:
    row = row_of(1, made=at(1_000, 100), expiry_s=60, boot=boot)
    assert remaining_expiry_s(row, now=now, boot=BOOT) == left_s


def test_what_never_expires_never_expires() -> None:
    assert remaining_expiry_s(row_of(1), now=at(1e6, 1e6), boot=BOOT) is None
