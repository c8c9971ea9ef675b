"""Why the broker was out of reach, and when to try again."""

from random import Random

import pytest

from agent.domain.stamp import rfc3339
from agent.pipeline.outage import Outage
from tests.fakes.clock import FakeClock


def outage_of(clock: FakeClock) -> Outage:
    return Outage(clock=clock, random=Random(1), backoff_base_s=1.0, backoff_cap_s=60.0)


def test_a_broker_that_is_there_at_once_leaves_nothing_to_tell() -> None:
    outage = outage_of(FakeClock())
    outage.end()
    assert outage.last is None


def test_failed_attempts_are_counted_by_cause_since_the_session_was_lost() -> None:
    clock = FakeClock()
    outage = outage_of(clock)
    outage.end()
    clock.advance(100)
    lost = rfc3339(clock.now().wall_ns)
    outage.begin("keepalive")
    for cause in ("tcp", "tcp", "tls"):
        clock.advance(10)
        outage.fail(cause)
    clock.advance(10)
    outage.end()
    assert outage.last is not None
    assert outage.last.model_dump(by_alias=True) == {
        "from": lost,
        "to": rfc3339(clock.now().wall_ns),
        "causes": {"keepalive": 1, "tcp": 2, "tls": 1},
    }


def test_each_outage_is_told_by_itself() -> None:
    outage = outage_of(FakeClock())
    outage.fail("dns")
    outage.end()
    outage.begin("closed")
    outage.end()
    assert outage.last is not None
    assert outage.last.causes == {"closed": 1}


@pytest.mark.parametrize(("away_s", "is_short"), [(0.0, True), (9.9, True), (10.0, False), (720.0, False)])
def test_a_break_between_two_sessions_is_short_below_ten_seconds(away_s: float, is_short: bool) -> None:
    clock = FakeClock()
    outage = outage_of(clock)
    outage.end()
    clock.advance(3_600)
    outage.begin("closed")
    clock.advance(away_s)
    outage.end()
    assert outage.was_short == is_short


def test_before_the_first_session_nothing_broke_off() -> None:
    clock = FakeClock()
    outage = outage_of(clock)
    clock.advance(1)
    outage.end()
    assert not outage.was_short


def test_waits_are_below_a_bound_that_doubles_up_to_a_minute() -> None:
    outage = outage_of(FakeClock())
    waits_s = [outage.fail("tcp") for _ in range(40)]
    assert all(wait_s <= min(60, 2**n) for n, wait_s in enumerate(waits_s))
    assert max(waits_s) > 30


def test_a_session_that_worked_starts_the_waits_anew_and_one_that_did_not_does_not() -> None:
    clock = FakeClock()
    outage = outage_of(clock)
    for _ in range(10):
        outage.fail("tcp")
    outage.end()
    clock.advance(0.5)
    outage.begin("closed")
    long_s = [outage.fail("tcp") for _ in range(5)]
    outage.end()
    clock.advance(3)
    assert outage.begin("closed") <= 1.0
    assert max(long_s) > 2


def test_a_rival_with_our_name_makes_for_a_long_wait() -> None:
    outage = outage_of(FakeClock())
    outage.end()
    assert all(60 <= outage.begin("taken-over") <= 120 for _ in range(20))
