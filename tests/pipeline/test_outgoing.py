"""Rows as publications, and what a reason code means."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.contract.topics import Topics
from agent.domain.stamp import Stamp
from agent.pipeline.outgoing import SUBTOPIC, Verdict, publication_of, remaining_expiry_s, verdict_of
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
    publication = publication_of(
        row_of(7, seq=184467), topics=TOPICS, now=at(0, 0), boot=BOOT, synced=True, replay=False
    )
    assert publication.topic == "edge/v1/plant/nano-42/detections/door"
    assert json.loads(publication.payload) == {"v": 1, "epoch": "01JC", "seq": 184467, "site": "plant"}
    assert (publication.qos, publication.retain) == (1, False)
    assert publication.properties == {}


def test_a_row_may_go_below_the_topic_of_its_stream() -> None:
    row = row_of(7, "result", stream="result", properties={SUBTOPIC: "ping/7f3a", "more": "1"})
    publication = publication_of(row, topics=TOPICS, now=at(0, 0), boot=BOOT, synced=True, replay=True)
    assert publication.topic == "edge/v1/plant/nano-42/result/ping/7f3a"
    assert publication.properties == {"more": "1", "replay": "1"}


def test_a_picture_carries_them_as_user_properties() -> None:
    row = row_of(
        7, "snapshot", seq=3, body=b"\xff\xd8", content_type="image/jpeg", properties={"source": "door"}
    )
    publication = publication_of(row, topics=TOPICS, now=at(0, 0), boot=BOOT, synced=True, replay=True)
    assert publication.payload == b"\xff\xd8"
    assert publication.properties == {"source": "door", "replay": "1", "epoch": "01JC", "seq": "3"}


def test_a_replay_says_so() -> None:
    publication = publication_of(row_of(1), topics=TOPICS, now=at(0, 0), boot=BOOT, synced=True, replay=True)
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
        # Of an earlier boot: the wall clocks know, and never more than configured.
        ("another", at(1_010, 3), 50),
        ("another", at(500, 3), 57),
        ("another", at(90_000, 3), 1),
    ],
)
def test_expiry_shrinks_by_the_time_spent_in_the_outbox(boot: str, now: Stamp, left_s: int) -> None:
    row = row_of(1, made=at(1_000, 100), expiry_s=60, boot=boot)
    assert remaining_expiry_s(row, now=now, boot=BOOT, synced=True) == left_s


@pytest.mark.parametrize(
    ("made_s", "then", "now_s", "synced", "left_s"),
    [
        (100, False, 1_700_000_000, True, 55),  # made in 1970, before the clock was set: older than the boot
        (1_700_000_000, True, 100, False, 55),  # now the clock is at 1970
        (1_700_000_000, True, 1_700_086_400, False, 55),  # a day ahead, and nobody vouches for it
        (1_700_000_000, True, 1_699_913_600, True, 55),  # a day back
        (1_700_000_000, True, 1_700_000_040, True, 20),
    ],
)
def test_a_wrong_clock_lets_no_message_of_an_earlier_boot_expire(
    made_s: float, then: bool, now_s: float, synced: bool, left_s: int
) -> None:
    row = row_of(1, made=at(made_s, 900), expiry_s=60, boot="another", synced=then)
    assert remaining_expiry_s(row, now=at(now_s, 5), boot=BOOT, synced=synced) == left_s


SECONDS = st.floats(0, 2e9)


@given(made=st.tuples(SECONDS, SECONDS), spent_s=st.floats(0, 1e6), step_s=st.floats(-2e9, 2e9))
def test_no_step_of_the_wall_clock_changes_what_is_left_within_a_boot(
    made: tuple[float, float], spent_s: float, step_s: float
) -> None:
    row = row_of(1, made=at(*made), expiry_s=10_000)
    steady = at(made[0] + spent_s, made[1] + spent_s)
    stepped = at(made[0] + spent_s + step_s, made[1] + spent_s)
    left_s = remaining_expiry_s(row, now=steady, boot=BOOT, synced=True)
    assert remaining_expiry_s(row, now=stepped, boot=BOOT, synced=False) == left_s
    assert left_s is not None
    assert 1 <= left_s <= 10_000


@given(
    made_s=SECONDS,
    off_s=st.floats(0, 1e5),
    up_s=st.floats(0, 1e5),
    wrong_then_s=st.floats(-2e9, 2e9),
    wrong_now_s=st.floats(-2e9, 2e9),
    synced=st.tuples(st.booleans(), st.booleans()),
)
def test_a_clock_known_to_be_wrong_never_makes_a_message_older_than_it_is(
    made_s: float,
    off_s: float,
    up_s: float,
    wrong_then_s: float,
    wrong_now_s: float,
    synced: tuple[bool, bool],
) -> None:
    """Whichever of the two clocks is right says so, and only then counts."""
    then, now = synced
    row = row_of(
        1, made=at(made_s + (0 if then else wrong_then_s), 50), expiry_s=300_000, boot="another", synced=then
    )
    moment = at(made_s + off_s + up_s + (0 if now else wrong_now_s), up_s)
    left_s = remaining_expiry_s(row, now=moment, boot=BOOT, synced=now)
    assert left_s is not None
    assert left_s >= 300_000 - (off_s + up_s) - 1


def test_what_never_expires_never_expires() -> None:
    assert remaining_expiry_s(row_of(1), now=at(1e6, 1e6), boot=BOOT, synced=True) is None
