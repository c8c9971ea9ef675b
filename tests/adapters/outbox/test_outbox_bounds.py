"""Bytes and age are bounded; what goes is the oldest of the lowest priority, and every drop is declared."""

import asyncio
from pathlib import Path

import pytest

from agent.adapters.outbox.bounds import Limit
from agent.adapters.outbox.refused import MOST_ROWS
from agent.adapters.outbox.rows import size_of
from agent.ports import Priority
from tests.adapters.outbox.rigs import draft, fill, losses, message, outbox_at, seqs, waiting
from tests.fakes.clock import FakeClock
from tests.fakes.metrics import FakeMetrics

HOUR_S = 3_600
DAY_S = 24 * HOUR_S


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.sqlite3"


async def test_a_full_outbox_keeps_the_newest_of_a_priority(path: Path, clock: FakeClock) -> None:
    one = size_of(draft(clock, number=10, size=1_000))
    metrics = FakeMetrics()
    async with outbox_at(path, clock=clock, metrics=metrics, max_bytes=10 * one) as outbox:
        await fill(outbox, clock, "detection", 25, size=1_000)
        clock.advance(2)
        rows = await waiting(outbox)
        kept = seqs(rows)
        assert kept == list(range(kept[0], 25))
        assert len(kept) in {9, 10}  # bodies of one-digit numbers are a byte shorter
        assert [loss for loss in losses(rows) if loss["reason"] != "evicted"] == []
        assert declared(losses(rows)) == list(range(kept[0]))
        assert metrics.counts["lost_total reason=evicted stream=detections/door"] == kept[0]


async def test_the_lowest_priority_goes_first_and_losses_last(path: Path, clock: FakeClock) -> None:
    one = size_of(draft(clock, size=1_000))
    async with outbox_at(path, clock=clock, max_bytes=11 * one) as outbox:
        for priority in ("event", "telemetry", "detection"):
            await fill(outbox, clock, priority, 4, size=1_000)
        rows = await waiting(outbox)
        assert (len(seqs(rows, "events/crowd")), len(seqs(rows, "telemetry/motor"))) == (4, 4)
        assert seqs(rows, "detections/door")[0] > 0
        await fill(outbox, clock, "event", 7, size=1_000)
        rows = await waiting(outbox)
        assert seqs(rows, "detections/door") == seqs(rows, "telemetry/motor") == []
        assert seqs(rows, "events/crowd")[-1] == 10
        assert losses(rows)


async def test_a_newcomer_of_low_priority_does_not_push_out_what_ranks_before_it(
    path: Path, clock: FakeClock
) -> None:
    one = size_of(draft(clock, "event", size=1_000))
    async with outbox_at(path, clock=clock, max_bytes=5 * one) as outbox:
        await fill(outbox, clock, "event", 5, size=1_000)
        await fill(outbox, clock, "detection", 3, size=1_000)
        rows = await waiting(outbox)
        assert seqs(rows, "events/crowd") == [0, 1, 2, 3, 4]
        assert declared(losses(rows)) == [0, 1, 2]
        assert (await outbox.statistics()).lost == 3


async def test_a_flood_of_detections_never_takes_what_is_kept_for_events(
    path: Path, clock: FakeClock
) -> None:
    one = size_of(draft(clock, number=100, size=1_000))
    async with outbox_at(path, clock=clock, max_bytes=20 * one, reserve_bytes=5 * one) as outbox:
        await fill(outbox, clock, "detection", 100, size=1_000)
        assert len(seqs(await waiting(outbox))) == 15
        await fill(outbox, clock, "event", 5, size=900)
        rows = await waiting(outbox)
        assert (len(seqs(rows, "events/crowd")), len(seqs(rows))) == (5, 15)
        await fill(outbox, clock, "detection", 100, size=1_000)
        assert seqs(await waiting(outbox), "events/crowd") == list(range(5))


async def test_events_may_take_more_than_what_is_kept_for_them(path: Path, clock: FakeClock) -> None:
    one = size_of(draft(clock, "event", number=10, size=1_000))
    async with outbox_at(path, clock=clock, max_bytes=20 * one, reserve_bytes=5 * one) as outbox:
        await fill(outbox, clock, "detection", 15, size=1_000)
        await fill(outbox, clock, "event", 12, size=1_000)
        rows = await waiting(outbox)
        assert seqs(rows, "events/crowd") == list(range(12))
        assert seqs(rows) == list(range(15 - len(seqs(rows)), 15))


async def test_snapshots_do_not_crowd_out_what_ranks_behind_them(path: Path, clock: FakeClock) -> None:
    one = size_of(draft(clock, number=10, size=1_000))
    limits: dict[Priority, Limit] = {"snapshot": Limit(max_bytes=5 * one, max_age_s=DAY_S)}
    async with outbox_at(path, clock=clock, max_bytes=20 * one, limits=limits) as outbox:
        await fill(outbox, clock, "telemetry", 8, size=900)
        await fill(outbox, clock, "detection", 5, size=900)
        await fill(outbox, clock, "snapshot", 50, size=900)
        rows = await waiting(outbox)
        assert seqs(rows, "snapshots/door") == list(range(45, 50))
        assert (seqs(rows, "telemetry/motor"), seqs(rows)) == (list(range(8)), list(range(5)))
        clock.advance(2)
        assert declared(losses(await waiting(outbox))) == list(range(45))


async def test_a_draft_larger_than_its_priority_may_be_is_dropped_as_oversize(
    path: Path, clock: FakeClock
) -> None:
    limits: dict[Priority, Limit] = {"snapshot": Limit(max_bytes=2_000, max_age_s=DAY_S)}
    async with outbox_at(path, clock=clock, max_bytes=20_000, limits=limits) as outbox:
        await fill(outbox, clock, "snapshot", 1, size=5_000)
        await fill(outbox, clock, "detection", 1, size=5_000)
        rows = await waiting(outbox)
        assert seqs(rows) == [0]
        assert [(loss["stream"], loss["reason"]) for loss in losses(rows)] == [("snapshots/door", "oversize")]


async def test_one_priority_may_have_to_go_sooner_than_the_others(path: Path, clock: FakeClock) -> None:
    limits: dict[Priority, Limit] = {"telemetry": Limit(max_bytes=1 << 20, max_age_s=60)}
    async with outbox_at(path, clock=clock, limits=limits) as outbox:
        await fill(outbox, clock, "telemetry", 2)
        await fill(outbox, clock, "detection", 2)
        clock.advance(61)
        await waiting(outbox)
        rows = await waiting(outbox)
        assert (seqs(rows, "telemetry/motor"), seqs(rows)) == ([], [0, 1])
        assert {loss["reason"] for loss in losses(rows)} == {"expired"}


async def test_bounds_that_were_narrowed_hold_from_the_first_commit_on(path: Path, clock: FakeClock) -> None:
    """The accounts of a file tell each priority's bytes after a restart."""
    one = size_of(draft(clock, number=10, size=1_000))
    async with outbox_at(path, clock=clock, max_bytes=40 * one) as outbox:
        await fill(outbox, clock, "telemetry", 10, size=1_000)
        await fill(outbox, clock, "detection", 10, size=1_000)
    limits: dict[Priority, Limit] = {"telemetry": Limit(max_bytes=4 * one, max_age_s=DAY_S)}
    async with outbox_at(path, clock=clock, max_bytes=40 * one, limits=limits) as outbox:
        await fill(outbox, clock, "detection", 1, size=1_000)
        rows = await waiting(outbox)
        assert (len(seqs(rows, "telemetry/motor")), len(seqs(rows))) == (4, 11)


async def test_a_draft_larger_than_the_bound_is_dropped_as_oversize_and_nothing_else(
    path: Path, clock: FakeClock
) -> None:
    async with outbox_at(path, clock=clock, max_bytes=20_000) as outbox:
        await fill(outbox, clock, "detection", 2)
        await fill(outbox, clock, "event", 1, size=30_000)
        await fill(outbox, clock, "event", 1)
        rows = await waiting(outbox)
        assert (seqs(rows), seqs(rows, "events/crowd")) == ([0, 1], [1])
        (loss,) = losses(rows)
        assert (loss["stream"], loss["from"], loss["to"], loss["reason"]) == (
            "events/crowd",
            0,
            0,
            "oversize",
        )


async def test_losses_under_pressure_are_gathered_for_a_second(path: Path, clock: FakeClock) -> None:
    one = size_of(draft(clock, size=500))
    async with outbox_at(path, clock=clock, max_bytes=10 * one) as outbox:
        for _ in range(20):
            await fill(outbox, clock, "detection", 10, size=500)
            clock.advance(0.04)
        clock.advance(2)
        await outbox.statistics()
        rows = await waiting(outbox)
        told = losses(rows)
        assert len(told) <= 4
        assert declared(told) == list(range(seqs(rows)[0]))
        assert all(loss["count"] == loss["to"] - loss["from"] + 1 for loss in told)


async def test_a_declared_range_never_covers_what_was_acknowledged(path: Path, clock: FakeClock) -> None:
    one = size_of(draft(clock, size=1_000))
    async with outbox_at(path, clock=clock, max_bytes=10 * one) as outbox:
        await fill(outbox, clock, "detection", 9, size=1_000)
        rows = await waiting(outbox)
        outbox.acknowledge([rows[2].key, rows[3].key])
        await fill(outbox, clock, "detection", 10, size=1_000)
        clock.advance(2)
        await outbox.statistics()
        told = losses(await waiting(outbox))
        assert {2, 3}.isdisjoint(declared(told))
        assert {0, 1, 4} <= set(declared(told))


async def test_rows_past_their_expiry_are_dropped_as_expired(path: Path, clock: FakeClock) -> None:
    async with outbox_at(path, clock=clock) as outbox:
        await outbox.append(draft(clock, "telemetry", number=0, expiry_s=60))
        await outbox.append(draft(clock, "telemetry", number=1, expiry_s=HOUR_S))
        await outbox.statistics()
        clock.advance(61)
        statistics = await outbox.statistics()
        assert (statistics.rows, statistics.lost) == (2, 1)  # one waits, and so does the loss
        rows = await waiting(outbox)
        assert seqs(rows, "telemetry/motor") == [1]
        assert [(loss["from"], loss["to"], loss["reason"]) for loss in losses(rows)] == [(0, 0, "expired")]


async def test_a_row_that_expires_behind_one_that_keeps_longer_is_never_fetched(
    path: Path, clock: FakeClock
) -> None:
    async with outbox_at(path, clock=clock) as outbox:
        await outbox.append(draft(clock, number=0, expiry_s=HOUR_S))
        await outbox.append(draft(clock, number=1, expiry_s=10))
        await outbox.append(draft(clock, number=2))
        await outbox.statistics()
        clock.advance(11)
        rows = await waiting(outbox)
        assert seqs(rows) == [0, 2]
        statistics = await outbox.statistics()
        assert statistics.produced == statistics.rows + statistics.lost
        assert declared(losses(await waiting(outbox))) == [1]


async def test_rows_older_than_the_outbox_keeps_them_are_dropped_but_losses_stay(
    path: Path, clock: FakeClock
) -> None:
    async with outbox_at(path, clock=clock, max_age_s=HOUR_S) as outbox:
        await outbox.append(draft(clock, "event", expiry_s=DAY_S))
        await outbox.append(draft(clock, "event"))
        await outbox.statistics()
        clock.advance(HOUR_S + 1)
        await outbox.statistics()
        clock.advance(10 * DAY_S)
        rows = await waiting(outbox)
        assert [row.stream for row in rows] == ["loss"]
        assert declared(losses(rows)) == [0, 1]


@pytest.mark.parametrize("step_s", [DAY_S, -DAY_S, -1_700_000_000])
async def test_a_step_of_the_wall_clock_neither_expires_nor_reorders(
    path: Path, clock: FakeClock, step_s: int
) -> None:
    async with outbox_at(path, clock=clock, max_age_s=HOUR_S) as outbox:
        await fill(outbox, clock, "detection", 3)
        clock.step_wall(step_s)
        clock.advance(2)
        await fill(outbox, clock, "detection", 3)
        clock.advance(2)
        assert seqs(await waiting(outbox)) == [0, 1, 2, 3, 4, 5]
        assert (await outbox.statistics()).lost == 0


@pytest.mark.parametrize(
    ("synced_then", "synced_now", "expired"),
    [(True, True, True), (True, False, False), (False, True, False)],
)
async def test_after_a_reboot_the_wall_clock_tells_ages_only_where_it_is_trusted(
    path: Path, clock: FakeClock, synced_then: bool, synced_now: bool, expired: bool
) -> None:
    clock.is_synced = synced_then
    async with outbox_at(path, clock=clock) as outbox:
        await outbox.append(draft(clock, "event", expiry_s=HOUR_S))
    after = rebooted(clock, off_for_s=DAY_S, up_for_s=30)
    after.is_synced = synced_now
    async with outbox_at(path, clock=after) as outbox:
        rows = await waiting(outbox)
        assert (seqs(rows, "events/crowd") == []) == expired


async def test_after_a_reboot_a_row_is_at_least_as_old_as_the_boot(path: Path, clock: FakeClock) -> None:
    async with outbox_at(path, clock=clock) as outbox:
        await outbox.append(draft(clock, "event", expiry_s=HOUR_S))
    after = rebooted(clock, off_for_s=-1_600_000_000, up_for_s=HOUR_S + 1)
    after.is_synced = False
    async with outbox_at(path, clock=after) as outbox:
        assert seqs(await waiting(outbox), "events/crowd") == []


async def test_refused_rows_are_kept_only_within_bounds(path: Path, clock: FakeClock) -> None:
    async with outbox_at(path, clock=clock) as outbox:
        await fill(outbox, clock, "detection", MOST_ROWS + 6)
        for row in await waiting(outbox):
            outbox.refuse(row.key, reason="refused", code=0x87)
        statistics = await outbox.statistics()
        assert (statistics.refused, statistics.lost) == (MOST_ROWS, MOST_ROWS + 6)


async def test_the_file_is_not_much_larger_than_what_waits(path: Path, clock: FakeClock) -> None:
    async with outbox_at(path, clock=clock) as outbox:
        await fill(outbox, clock, "detection", 5_000, size=400)
        counted = (await outbox.statistics()).bytes
    size = (await asyncio.to_thread(path.stat)).st_size
    assert 0.6 * counted < size < 1.25 * counted


def rebooted(clock: FakeClock, *, off_for_s: float, up_for_s: float) -> FakeClock:
    after = FakeClock(wall_ns=clock.wall_ns + int(off_for_s * 1e9), monotonic_ns=int(up_for_s * 1e9))
    after.boot = "b0074b00-0000-4000-8000-000000000002"
    return after


def declared(told: list[dict[str, int]]) -> list[int]:
    """The numbers that `told` covers, in order; every one once."""
    covered = [seq for loss in told for seq in range(loss["from"], loss["to"] + 1)]
    assert len(covered) == len(set(covered))
    return sorted(covered)


async def test_a_loss_message_carries_the_head_of_its_own_moment(path: Path, clock: FakeClock) -> None:
    clock.is_synced = False
    async with outbox_at(path, clock=clock) as outbox:
        await fill(outbox, clock, "detection", 1)
        clock.advance(100)
        (row,) = await waiting(outbox)
        outbox.refuse(row.key, reason="refused", code=None)
        await outbox.statistics()
        (loss,) = await waiting(outbox)
        told = message(loss)
        assert (told["site"], told["node"], told["clock"], told["boot"]) == (
            "plant",
            "nano-1",
            "unsynced",
            clock.boot,
        )
        assert told["monotonic_ms"] == clock.monotonic_ns // 1_000_000
