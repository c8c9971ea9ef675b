"""What is committed outlives a crash, a restart, a power cut; what is damaged is replaced, and told."""

import asyncio
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from agent.adapters.outbox.ledger import UNKNOWN_STREAM
from agent.adapters.outbox.numbering import RESERVE, STRICT_RESERVE
from agent.domain.errors import ConfigError, TransientError
from tests.adapters.outbox.rigs import (
    copy_as_crash_leaves_it,
    draft,
    fill,
    losses,
    message,
    opened,
    outbox_at,
    seqs,
    sql,
    waiting,
)
from tests.fakes.clock import FakeClock

ULID = re.compile("[0-7][0-9A-HJKMNP-TV-Z]{25}")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "outbox.sqlite3"


def next_boot(clock: FakeClock) -> FakeClock:
    after = FakeClock(wall_ns=clock.wall_ns + 60_000_000_000, monotonic_ns=20_000_000_000)
    after.boot = "b0074b00-0000-4000-8000-000000000002"
    return after


async def test_everything_goes_on_where_it_was_after_a_restart(path: Path, clock: FakeClock) -> None:
    async with outbox_at(path, clock=clock) as outbox:
        await fill(outbox, clock, "detection", 5)
        rows = await waiting(outbox)
        outbox.acknowledge([rows[0].key, rows[1].key])
        outbox.refuse(rows[2].key, reason="refused", code=0x87)
        before = await outbox.statistics()
        session = await outbox.next_session()
        epoch = outbox.epoch
    assert ULID.fullmatch(epoch)
    async with outbox_at(path, clock=clock) as outbox:
        assert outbox.epoch == epoch
        assert await outbox.statistics() == before
        assert await outbox.next_session() == session + 1
        await fill(outbox, clock, "detection", 1)
        again = await waiting(outbox)
        assert seqs(again) == [3, 4, 5]
        assert again[-1].key > max(row.key for row in rows)


async def test_appended_drafts_are_committed_by_close(path: Path, clock: FakeClock) -> None:
    outbox = await opened(path, clock=clock)
    for number in range(200):
        await outbox.append(draft(clock, number=number))
    await outbox.close()
    async with outbox_at(path, clock=clock) as outbox:
        assert seqs(await waiting(outbox)) == list(range(200))


async def test_a_closed_outbox_says_so(path: Path, clock: FakeClock) -> None:
    outbox = await opened(path, clock=clock)
    await outbox.close()
    await outbox.close()
    await outbox.ended()
    for call in (outbox.append(draft(clock)), outbox.statistics(), outbox.next_session()):
        with pytest.raises(TransientError, match="closed"):
            await call


async def test_the_next_wait_for_news_is_over_at_once_where_rows_wait_from_before(
    path: Path, clock: FakeClock
) -> None:
    async with outbox_at(path, clock=clock) as outbox:
        await fill(outbox, clock, "event", 1)
    async with outbox_at(path, clock=clock) as outbox, asyncio.timeout(5):
        await outbox.committed()
        assert len(await waiting(outbox)) == 1


async def test_a_crash_within_one_boot_skips_no_number(path: Path, clock: FakeClock, tmp_path: Path) -> None:
    async with outbox_at(path, clock=clock) as outbox:
        await fill(outbox, clock, "detection", 3)
        left = copy_as_crash_leaves_it(path, tmp_path / "crashed")
    async with outbox_at(left, clock=clock) as outbox:
        await fill(outbox, clock, "detection", 1)
        assert seqs(await waiting(outbox)) == [0, 1, 2, 3]
        assert (await outbox.statistics()).lost == 0


async def test_a_power_cut_gives_no_number_twice_and_declares_what_it_may_have_undone(
    path: Path, clock: FakeClock, tmp_path: Path
) -> None:
    """The disk holds what was synced last; what was sent after that must never be contradicted."""
    async with outbox_at(path, clock=clock) as outbox:
        await fill(outbox, clock, "detection", 10)
        await fill(outbox, clock, "event", 1)  # synced, and all before it
        synced = copy_as_crash_leaves_it(path, tmp_path / "cut")
        await fill(outbox, clock, "detection", RESERVE // 2)
        sent = seqs(await waiting(outbox))
        epoch = outbox.epoch
    after = next_boot(clock)
    async with outbox_at(synced, clock=after) as outbox:
        await fill(outbox, after, "detection", 2)
        await fill(outbox, after, "event", 1)
        after.advance(2)
        rows = await waiting(outbox)
        kept, new = seqs(rows)[:10], seqs(rows)[10:]
        assert outbox.epoch == epoch
        assert kept == list(range(10))
        assert min(new) > max(sent)
        # Synced with its own commit; but who knows whether the card was truthful about that?
        assert seqs(rows, "events/crowd") == [0, STRICT_RESERVE + 1]
        told = {loss["stream"]: loss for loss in losses(rows)}
        assert (told["detections/door"]["from"], told["detections/door"]["to"]) == (10, min(new) - 1)
        assert (told["events/crowd"]["from"], told["events/crowd"]["to"]) == (1, STRICT_RESERVE)
        assert {(loss["lost_epoch"], loss["reason"]) for loss in losses(rows)} == {(epoch, "damaged")}
        statistics = await outbox.statistics()
        assert statistics.produced == statistics.rows + statistics.lost


async def test_an_orderly_reboot_skips_no_number(path: Path, clock: FakeClock) -> None:
    async with outbox_at(path, clock=clock) as outbox:
        await fill(outbox, clock, "detection", 3)
    after = next_boot(clock)
    async with outbox_at(path, clock=after) as outbox:
        await fill(outbox, after, "detection", 1)
        assert seqs(await waiting(outbox)) == [0, 1, 2, 3]


async def test_two_agents_cannot_have_the_same_outbox(path: Path, clock: FakeClock) -> None:
    async with outbox_at(path, clock=clock) as outbox:
        with pytest.raises(ConfigError, match="in use by another agent"):
            await opened(path, clock=clock)
        await fill(outbox, clock, "detection", 1)
        assert len(await waiting(outbox)) == 1
    async with outbox_at(path, clock=clock) as outbox:
        assert len(await waiting(outbox)) == 1


def no_database(path: Path) -> None:
    path.write_bytes(b"this is not a database at all" * 500)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def torn(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2 + 100])


def header_flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[20:60] = b"\xff" * 40
    path.write_bytes(content)


def pages_zeroed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096 * 4 :] = bytes(len(content) - 4096 * 4)
    path.write_bytes(content)


def foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()


@pytest.mark.parametrize("damage", [no_database, emptied, torn, header_flipped, pages_zeroed, foreign])
async def test_a_damaged_file_is_moved_aside_and_a_new_epoch_begins(
    path: Path, clock: FakeClock, damage: Any
) -> None:
    async with outbox_at(path, clock=clock) as outbox:
        await fill(outbox, clock, "detection", 500, size=200)
        lost_epoch = outbox.epoch
        session = await outbox.next_session()
    await asyncio.to_thread(damage, path)
    clock.advance(1)
    with capture_logs() as logs:
        outbox = await opened(path, clock=clock)
    assert [entry["log_level"] for entry in logs if entry["event"] == "outbox.store_lost"] == ["error"]
    assert await asyncio.to_thread(path.with_name("outbox.sqlite3.damaged").exists)
    try:
        assert outbox.epoch != lost_epoch
        assert await outbox.next_session() > session
        await fill(outbox, clock, "detection", 1)
        rows = await waiting(outbox)
        assert seqs(rows) == [0]
        told = losses(rows)
        assert {(loss["from"], loss["to"], loss["reason"]) for loss in told} == {(None, None, "damaged")}
        assert {loss["lost_epoch"] for loss in told} <= {lost_epoch, None}
        assert [(loss["stream"], loss["count"]) for loss in told] in (
            [("detections/door", 500)],
            [(UNKNOWN_STREAM, 0)],
        )
    finally:
        await outbox.close()


async def test_a_file_whose_accounts_can_be_read_tells_what_was_lost(path: Path, clock: FakeClock) -> None:
    async with outbox_at(path, clock=clock) as outbox:
        await fill(outbox, clock, "detection", 2_000, size=200)
        await fill(outbox, clock, "event", 2)
        lost_epoch = outbox.epoch
    await asyncio.to_thread(overwrite_with_noise, path, from_page=60)
    async with outbox_at(path, clock=clock) as outbox:
        told = losses(await waiting(outbox))
        assert {(loss["stream"], loss["lost_epoch"], loss["count"]) for loss in told} == {
            ("detections/door", lost_epoch, 2_000),
            ("events/crowd", lost_epoch, 2),
        }


async def test_a_log_without_its_file_is_moved_aside_too(path: Path, clock: FakeClock) -> None:
    async with outbox_at(path, clock=clock) as outbox:
        await fill(outbox, clock, "detection", 3)
        await asyncio.to_thread(copy_as_crash_leaves_it, path, path.parent / "crashed")
    crashed = path.parent / "crashed" / path.name
    await asyncio.to_thread(crashed.unlink)
    async with outbox_at(crashed, clock=clock) as outbox:
        assert [loss["stream"] for loss in losses(await waiting(outbox))] == [UNKNOWN_STREAM]
    assert await asyncio.to_thread(crashed.with_name("outbox.sqlite3.damaged-wal").exists)


async def test_a_row_that_was_altered_on_disk_is_declared_lost_and_never_sent(
    path: Path, clock: FakeClock
) -> None:
    async with outbox_at(path, clock=clock) as outbox:
        await fill(outbox, clock, "detection", 5)
    await asyncio.to_thread(
        sql, path, "UPDATE message SET body = replace(body, 'plant', 'plank') WHERE seq = 2"
    )
    async with outbox_at(path, clock=clock) as outbox:
        assert seqs(await waiting(outbox)) == [0, 1, 3, 4]
        await outbox.statistics()
        (loss,) = losses(await waiting(outbox))
        assert (loss["from"], loss["to"], loss["reason"]) == (2, 2, "damaged")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE stream SET next_seq = 1",
        "UPDATE meta SET value = 1 WHERE name = 'next_key'",
        "UPDATE meta SET value = 'x' WHERE name = 'epoch'",
        "DELETE FROM meta",
        "DROP TABLE ledger",
    ],
)
async def test_a_file_whose_figures_were_altered_is_not_trusted(
    path: Path, clock: FakeClock, change: str
) -> None:
    async with outbox_at(path, clock=clock) as outbox:
        await fill(outbox, clock, "detection", 3)
        lost_epoch = outbox.epoch
    await asyncio.to_thread(sql, path, change)
    clock.advance(1)
    async with outbox_at(path, clock=clock) as outbox:
        assert outbox.epoch != lost_epoch
        assert losses(await waiting(outbox))


async def test_a_file_that_breaks_in_use_is_replaced_without_a_restart(path: Path, clock: FakeClock) -> None:
    async with outbox_at(path, clock=clock) as outbox:
        await fill(outbox, clock, "detection", 200, size=400)
        lost_epoch = outbox.epoch
        keys = [row.key for row in await waiting(outbox)]
    async with outbox_at(path, clock=clock) as outbox:
        await asyncio.to_thread(overwrite_with_noise, path)
        clock.advance(1)
        async with asyncio.timeout(20):
            while outbox.epoch == lost_epoch:
                await fill(outbox, clock, "detection", 50, size=3_000)
                await waiting(outbox)
        outbox.acknowledge(keys)  # of the old file: they must not touch the new one's rows
        await outbox.append(draft(clock))
        statistics = await outbox.statistics()
        assert statistics.acknowledged == 0
        rows = await waiting(outbox)
        assert {row.epoch for row in rows} == {outbox.epoch}
        assert min(row.key for row in rows) > max(keys)
        assert "damaged" in {loss["reason"] for loss in losses(rows)}


async def test_an_interrupted_replacement_is_finished(path: Path, clock: FakeClock) -> None:
    async with outbox_at(path, clock=clock) as outbox:
        epoch = outbox.epoch
    await asyncio.to_thread(path.rename, path.with_name(path.name + ".new"))
    async with outbox_at(path, clock=clock) as outbox:
        assert outbox.epoch == epoch


def overwrite_with_noise(path: Path, *, from_page: int = 3) -> None:
    with path.open("r+b") as file:
        file.seek(4096 * from_page)
        file.write(b"\xaa" * (path.stat().st_size - 4096 * from_page))


async def test_a_log_that_has_forgotten_synced_events_in_this_boot_begins_a_new_generation(
    path: Path, clock: FakeClock, tmp_path: Path
) -> None:
    """SQLite ends a damaged log at its first bad frame, and says nothing."""
    async with outbox_at(path, clock=clock) as outbox:
        await fill(outbox, clock, "event", 5)
    async with outbox_at(path, clock=clock) as outbox:
        for _ in range(10):
            await fill(outbox, clock, "event", 1)
        epoch, session = outbox.epoch, await outbox.next_session()
        left = copy_as_crash_leaves_it(path, tmp_path / "torn")
    log = left.with_name(left.name + "-wal")
    log.write_bytes(log.read_bytes()[: log.stat().st_size // 2])
    async with outbox_at(left, clock=clock) as outbox:
        told = losses(await waiting(outbox))
        assert outbox.epoch != epoch
        assert {loss["lost_epoch"] for loss in told} == {epoch}
        assert sum(loss["count"] for loss in told) == 15
        assert await outbox.next_session() == session + 1
    assert left.with_name(left.name + ".damaged-wal").exists()


async def test_a_card_that_lied_about_a_sync_makes_no_number_of_an_event_be_given_twice(
    path: Path, clock: FakeClock, tmp_path: Path
) -> None:
    async with outbox_at(path, clock=clock) as outbox:
        for _ in range(STRICT_RESERVE + 5):
            await fill(outbox, clock, "event", 1)
        sent = seqs(await waiting(outbox), "events/crowd")
        left = copy_as_crash_leaves_it(path, tmp_path / "cut")
    left.with_name(left.name + "-wal").unlink()  # all that was synced is gone but what was moved to the file
    after = next_boot(clock)
    async with outbox_at(left, clock=after) as outbox:
        kept = seqs(await waiting(outbox), "events/crowd")
        await fill(outbox, after, "event", 3)
        new = set(seqs(await waiting(outbox), "events/crowd")) - set(kept)
        assert len(new) == 3
        assert min(new) > max(sent)


@pytest.mark.parametrize("wrong", [7_116, 3, 0])
async def test_a_row_with_a_number_that_its_stream_gave_to_another_gets_its_own_back(
    path: Path, clock: FakeClock, wrong: int
) -> None:
    async with outbox_at(path, clock=clock) as outbox:
        await fill(outbox, clock, "detection", 8)
        epoch = outbox.epoch
    sql(path, f"UPDATE message SET seq = {wrong} WHERE seq = 5")  # noqa: S608
    async with outbox_at(path, clock=clock) as outbox:
        rows = await waiting(outbox)
        assert outbox.epoch == epoch
        assert [message(row)["number"] for row in rows] == seqs(rows) == list(range(8))


async def test_a_row_that_may_have_had_any_of_several_numbers_begins_a_new_generation(
    path: Path, clock: FakeClock
) -> None:
    async with outbox_at(path, clock=clock) as outbox:
        await fill(outbox, clock, "detection", 8)
        rows = await waiting(outbox)
        outbox.acknowledge([rows[4].key])
        epoch = outbox.epoch
    sql(path, "UPDATE message SET seq = 70 WHERE seq = 5")
    async with outbox_at(path, clock=clock) as outbox:
        (loss,) = losses(await waiting(outbox))
        assert outbox.epoch != epoch
        assert (loss["lost_epoch"], loss["count"]) == (epoch, 7)
