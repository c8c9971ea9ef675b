"""When work is due: as seldom as its promises allow."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.adapters.outbox.cadence import SETTLED_WITHIN_S, STRICT_WITHIN_S, Cadence
from agent.adapters.outbox.rows import size_of
from agent.adapters.outbox.work import Refusal, Work
from agent.adapters.system.clock import SystemClock
from agent.ports import Priority
from tests.adapters.outbox.rigs import draft, opened, waiting
from tests.fakes.clock import FakeClock
from tests.fakes.metrics import FakeMetrics
from tests.polling import until

CLOCK = FakeClock()
FULL: list[Priority] = ["detection"] * 256


def work_of(*priorities: Priority, keys: int = 0, size: int = 0) -> Work:
    work = Work()
    for priority in priorities:
        one = draft(CLOCK, priority, size=size)
        work.append(one, size_of(one))
    work.acknowledged.extend(range(keys))
    return work


def test_nothing_is_never_due() -> None:
    assert Cadence(0.25).due_s(Work(), 10.0) == float("inf")


def test_what_comes_after_a_pause_is_due_at_once() -> None:
    cadence = Cadence(0.25)
    assert cadence.due_s(work_of("detection"), 10.0) <= 10.0
    cadence.committed(10.0, synced=False)
    assert cadence.due_s(work_of("detection"), 10.3) <= 10.3


def test_what_follows_at_once_waits_for_the_interval() -> None:
    cadence = Cadence(0.25)
    cadence.committed(10.0, synced=False)
    assert cadence.due_s(work_of("detection", "telemetry"), 10.01) == pytest.approx(10.25)


def test_an_event_waits_for_syncs_only_not_for_commits_and_never_longer_than_its_bound() -> None:
    cadence = Cadence(1.0)
    cadence.committed(10.0, synced=False)
    assert cadence.due_s(work_of("detection", "event"), 10.01) <= 10.01
    cadence.committed(10.01, synced=True)
    assert cadence.due_s(work_of("event"), 10.02) == pytest.approx(10.01 + STRICT_WITHIN_S)
    refusal = Work()
    refusal.refuse(Refusal(key=1, reason="refused", code=0x87))
    assert cadence.due_s(refusal, 10.2) <= 10.2


def test_acknowledgements_wait_for_the_next_commit_but_not_for_ever() -> None:
    cadence = Cadence(0.25)
    work = work_of(keys=3)
    assert cadence.due_s(work, 10.0) == pytest.approx(10.0 + SETTLED_WITHIN_S)
    assert cadence.due_s(work, 10.9) == pytest.approx(10.0 + SETTLED_WITHIN_S)
    cadence.committed(11.0, synced=False)
    assert cadence.due_s(work_of(keys=1), 20.0) == pytest.approx(20.0 + SETTLED_WITHIN_S)


@pytest.mark.parametrize("work", [work_of(*FULL), work_of(keys=1_024), work_of("snapshot", size=2 << 20)])
def test_a_full_group_is_due_at_once(work: Work) -> None:
    cadence = Cadence(1.0)
    cadence.committed(10.0, synced=True)
    assert cadence.due_s(work, 10.001) <= 10.001


@given(
    interval_s=st.floats(0, 1),
    arrivals=st.lists(
        st.tuples(st.floats(0, 2), st.sampled_from(["event", "result", "detection", "telemetry"])),
        min_size=1,
        max_size=60,
    ),
)
def test_whatever_comes_when_each_kind_is_due_within_its_bound(
    interval_s: float, arrivals: list[tuple[float, Priority]]
) -> None:
    cadence, work, now_s = Cadence(interval_s), Work(), 0.0
    waits: list[tuple[float, Priority]] = []
    for pause_s, priority in arrivals:
        now_s += pause_s
        # Whatever is due before this one comes is committed when it is due.
        if (due_s := cadence.due_s(work, now_s)) <= now_s:
            assert_within_bounds(waits, max(due_s, waits[-1][0]), interval_s)
            cadence.committed(max(due_s, waits[-1][0]), synced=work.strict)
            work, waits = Work(), []
        one = draft(CLOCK, priority)
        work.append(one, size_of(one))
        waits.append((now_s, priority))
        due_s = cadence.due_s(work, now_s)
        assert_within_bounds(waits, due_s, interval_s)


def assert_within_bounds(waits: list[tuple[float, Priority]], due_s: float, interval_s: float) -> None:
    for came_s, priority in waits:
        strict = priority in {"event", "result"}
        assert due_s - came_s <= (min(STRICT_WITHIN_S, interval_s) if strict else interval_s) + 1e-9


async def test_messages_in_quick_succession_share_commits_with_their_acknowledgements(tmp_path: Path) -> None:
    """Every commit writes whole pages to the card: an acknowledgement must not cost one of its own."""
    metrics, clock = FakeMetrics(), SystemClock()
    outbox = await opened(tmp_path / "outbox.sqlite3", clock=clock, metrics=metrics, commit_interval_s=0.2)
    try:
        began_s = asyncio.get_running_loop().time()
        for number in range(60):
            await outbox.append(draft(clock, number=number))
            await asyncio.sleep(0.01)
            rows = await outbox.fetch(after={}, limit=100)
            outbox.acknowledge([row.key for row in rows])
        intervals = (asyncio.get_running_loop().time() - began_s) / 0.2
        # By themselves they would be 120. Where other processes slow the loop down, more intervals go by.
        assert len(metrics.observed["outbox_commit_seconds"]) <= intervals + 3
        await waiting(outbox)
    finally:
        await outbox.close()


async def test_an_acknowledgement_alone_is_committed_though_nothing_else_comes(tmp_path: Path) -> None:
    metrics, clock = FakeMetrics(), SystemClock()
    outbox = await opened(tmp_path / "outbox.sqlite3", clock=clock, metrics=metrics)
    try:
        await outbox.append(draft(clock))
        (row,) = await waiting(outbox)
        outbox.acknowledge([row.key])
        assert await outbox.fetch(after={}, limit=10) == []  # on its way out: not given a second time
        await until(lambda: metrics.gauges["outbox_rows"] == 0)
    finally:
        await outbox.close()


async def test_closing_commits_what_was_gathered(tmp_path: Path) -> None:
    clock = SystemClock()
    path = tmp_path / "outbox.sqlite3"
    outbox = await opened(path, clock=clock, commit_interval_s=1.0)
    for number in range(5):
        await outbox.append(draft(clock, number=number))
    rows = await waiting(outbox)
    outbox.acknowledge([rows[0].key])
    await outbox.append(draft(clock, number=5))
    await outbox.close()
    again = await opened(path, clock=clock)
    assert [row.seq for row in await waiting(again)] == [1, 2, 3, 4, 5]
    await again.close()
