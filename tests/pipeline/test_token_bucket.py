"""A rate kept on average, with bounded bursts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.pipeline.token_bucket import TokenBucket

SECOND = 1_000_000_000


def takes(bucket: TokenBucket, now_ns: int, *, at_most: int = 10_000) -> int:
    """How many tokens there are now, by taking them."""
    bucket.fill(now_ns)
    count = 0
    while bucket.has_one and count < at_most:
        bucket.take()
        count += 1
    return count


def test_a_bucket_begins_full_and_fills_at_its_rate() -> None:
    bucket = TokenBucket(per_s=10, burst=5)
    assert [takes(bucket, int(t * SECOND)) for t in (0, 0, 0.1, 0.3, 60)] == [5, 0, 1, 2, 5]


def test_without_a_rate_there_is_no_bound() -> None:
    assert takes(TokenBucket(per_s=None), 0, at_most=1_000) == 1_000


def test_a_clock_that_stands_or_goes_back_gives_nothing() -> None:
    bucket = TokenBucket(per_s=10, burst=5)
    takes(bucket, 10 * SECOND)
    assert takes(bucket, 9 * SECOND) == 0
    assert takes(bucket, 10 * SECOND) == 0


@pytest.mark.parametrize(("per_s", "burst"), [(0.0, 1.0), (-1.0, 1.0), (5.0, 0.5)])
def test_a_bucket_that_never_has_a_token_is_refused(per_s: float, burst: float) -> None:
    with pytest.raises(ValueError, match="at least one token"):
        TokenBucket(per_s=per_s, burst=burst)


@given(
    per_s=st.floats(0.5, 1_000),
    burst=st.integers(1, 100),
    steps=st.lists(st.tuples(st.integers(0, 3 * SECOND), st.integers(0, 50)), max_size=50),
)
def test_no_interval_has_more_than_the_burst_and_what_the_rate_gives(
    per_s: float, burst: int, steps: list[tuple[int, int]]
) -> None:
    bucket, now_ns = TokenBucket(per_s=per_s, burst=burst), 0
    taken: list[tuple[int, int]] = []
    for wait_ns, wanted in steps:
        now_ns += wait_ns
        taken.append((now_ns, takes(bucket, now_ns, at_most=wanted)))
    for place, (since_ns, _count) in enumerate(taken):
        for end in range(place, len(taken)):
            elapsed_s = (taken[end][0] - since_ns) / SECOND
            assert sum(count for _, count in taken[place : end + 1]) <= burst + per_s * elapsed_s + 1e-6
