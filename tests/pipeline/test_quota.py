"""How long rows wait after the broker said that they were too many."""

from random import Random

from agent.pipeline.quota import Quota

SECOND = 1_000_000_000


def wait_ns(quota: Quota, now_ns: int) -> int:
    """How long until a row may be sent, to a hundredth of a second."""
    waited = 0
    while not quota.allows(now_ns + waited, in_flight=0):
        waited += SECOND // 100
    return waited


def test_until_the_broker_complains_everything_goes() -> None:
    assert Quota(random=Random(1)).allows(0, in_flight=19)


def test_afterwards_one_goes_alone_until_one_is_taken() -> None:
    quota = Quota(random=Random(1))
    quota.exceeded(sent_ns=0, now_ns=SECOND)
    at_ns = SECOND + wait_ns(quota, SECOND)
    assert not quota.allows(at_ns, in_flight=1)
    quota.taken(sent_ns=at_ns)
    assert quota.allows(at_ns, in_flight=19)


def test_what_was_on_its_way_with_it_is_one_complaint() -> None:
    one, many = Quota(random=Random(1)), Quota(random=Random(1))
    for quota, count in ((one, 1), (many, 20)):
        for _ in range(count):
            quota.exceeded(sent_ns=0, now_ns=SECOND)
    assert wait_ns(one, SECOND) == wait_ns(many, SECOND) <= SECOND


def test_what_was_sent_before_the_complaint_does_not_end_it() -> None:
    quota = Quota(random=Random(1))
    quota.exceeded(sent_ns=0, now_ns=SECOND)
    quota.taken(sent_ns=0)
    assert not quota.allows(SECOND, in_flight=19)


def test_the_wait_grows_with_each_complaint_up_to_a_minute() -> None:
    quota, now_ns, waits_s = Quota(random=Random(1)), 0, []
    for _ in range(30):
        quota.exceeded(sent_ns=now_ns, now_ns=now_ns)
        waits_s.append(wait_ns(quota, now_ns) / SECOND)
        now_ns += int(waits_s[-1] * SECOND) + 1
    assert all(wait_s <= min(60, 2**place) + 0.01 for place, wait_s in enumerate(waits_s))
    assert max(waits_s) > 30
