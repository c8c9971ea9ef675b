"""The node's state, and who else says it."""

import json

import pytest

from agent.contract.topics import Topics
from agent.pipeline.presence import Presence
from agent.ports import Inbound, Publication
from tests.fakes.clock import FakeClock

TOPIC = "edge/v1/plant/nano-42/state"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def presence(clock: FakeClock) -> Presence:
    return Presence(topics=Topics("plant", "nano-42"), clock=clock)


def heard(publication: Publication | bytes, *, retained: bool) -> Inbound:
    payload = publication if isinstance(publication, bytes) else publication.payload
    return Inbound(TOPIC, payload, retained, None, {})


def test_will_birth_and_farewell_are_retained_and_numbered(presence: Presence) -> None:
    said = [presence.will(17), presence.online(17), presence.offline(17, "stopped")]
    assert all(p.retain and p.topic == TOPIC and p.qos == 1 and p.expiry_s is None for p in said)
    states = [json.loads(p.payload) for p in said]
    assert [state["session"] for state in states] == [17, 17, 17]
    assert [(state["state"], state["reason"]) for state in states] == [
        ("offline", "connection-lost"),
        ("online", None),
        ("offline", "stopped"),
    ]


def test_an_old_will_that_comes_late_overwrites(presence: Presence) -> None:
    late = presence.will(16)
    current = presence.online(17)
    assert presence.is_overwritten(heard(late, retained=False))
    assert presence.is_overwritten(heard(b"", retained=False))
    assert not presence.is_overwritten(heard(current, retained=False))


def test_what_was_there_before_does_not_overwrite(presence: Presence) -> None:
    before = presence.will(16)
    presence.online(17)
    assert not presence.is_overwritten(heard(before, retained=True))


def test_a_rival_is_known_by_what_it_left_when_we_come_back(clock: FakeClock, presence: Presence) -> None:
    presence.online(17)
    clock.advance(1)
    rival = Presence(topics=Topics("plant", "nano-42"), clock=clock).online(3)
    presence.online(18)
    assert presence.is_rivals(heard(rival, retained=True))


def test_what_we_or_our_predecessor_left_is_no_rivals(clock: FakeClock) -> None:
    predecessor = Presence(topics=Topics("plant", "nano-42"), clock=clock).online(16)
    clock.advance(10)
    presence = Presence(topics=Topics("plant", "nano-42"), clock=clock)
    will = presence.will(17)
    online = presence.online(17)
    assert not presence.is_rivals(heard(predecessor, retained=True))
    presence.online(18)
    found = (predecessor, will, online, b"", b"{")
    assert not any(presence.is_rivals(heard(state, retained=True)) for state in found)


def test_at_the_first_session_nobody_is_a_rival(clock: FakeClock, presence: Presence) -> None:
    clock.advance(1)
    other = Presence(topics=Topics("plant", "nano-42"), clock=clock).online(3)
    presence.online(17)
    assert not presence.is_rivals(heard(other, retained=True))
