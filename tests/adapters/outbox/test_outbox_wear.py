"""What the outbox writes a day, and how long a card would bear it."""

import asyncio
from pathlib import Path

import pytest

from agent.adapters.outbox.listing import open_listing
from agent.adapters.outbox.schema import connect, migrate, transaction
from agent.adapters.outbox.wear import DAY_S, Wear, Worn, read_worn
from tests.adapters.outbox.rigs import draft, fill, outbox_at, sql
from tests.fakes.clock import FakeClock
from tests.fakes.metrics import FakeMetrics

SECOND_NS = 1_000_000_000
GIB = 1 << 30


class Counters:
    """A stand-in for the kernel's file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.write(0)

    def write(self, total: int) -> None:
        self.path.write_text(f"rchar: 1\nwchar: 2\nwrite_bytes: {total}\ncancelled_write_bytes: 0\n")


@pytest.fixture
def counters(tmp_path: Path) -> Counters:
    return Counters(tmp_path / "io")


def at(seconds: float) -> int:
    return int((1_000 + seconds) * SECOND_NS)


def test_rates_are_a_days_and_the_life_is_the_cards(counters: Counters) -> None:
    metrics = FakeMetrics()
    wear = Wear(metrics=metrics, endurance_bytes=10e12, counters=counters.path)
    counters.write(5 * GIB)  # by whoever had the thread before
    wear.keep_due(at(0))
    counters.write(6 * GIB)
    for _ in range(30):
        wear.synced()
    assert not wear.keep_due(at(59))
    assert "outbox_written_bytes_per_day" not in metrics.gauges
    assert not wear.keep_due(at(3_600 / 12))
    assert metrics.gauges["outbox_written_bytes_per_day"] == pytest.approx(288 * GIB)
    assert metrics.gauges["outbox_syncs_per_day"] == 30 * 288
    assert metrics.gauges["outbox_card_life_years"] == pytest.approx(10e12 / (288 * GIB) / 365.25)
    assert metrics.counts["outbox_written_bytes_total"] == GIB


def test_the_rate_is_that_of_the_last_day_only(counters: Counters) -> None:
    metrics = FakeMetrics()
    wear = Wear(metrics=metrics, endurance_bytes=10e12, counters=counters.path)
    wear.keep_due(at(0))
    counters.write(100 * GIB)
    for step in range(1, 2 * 144 + 1):
        wear.keep_due(at(step * 600))
    assert metrics.gauges["outbox_written_bytes_per_day"] > 0 or metrics.gauges["outbox_syncs_per_day"] == 0
    counters.write(102 * GIB)
    wear.keep_due(at(2 * DAY_S + 60))
    assert metrics.gauges["outbox_written_bytes_per_day"] == pytest.approx(2 * GIB, rel=0.01)


@pytest.mark.parametrize("text", ["", "rchar: 1\n", "write_bytes: many\n", None])
def test_a_kernel_that_counts_nothing_leaves_the_figures_out(tmp_path: Path, text: str | None) -> None:
    metrics, file = FakeMetrics(), tmp_path / "io"
    if text is not None:
        file.write_text(text)
    wear = Wear(metrics=metrics, endurance_bytes=10e12, counters=file)
    wear.keep_due(at(0))
    wear.synced()
    wear.keep_due(at(100))
    assert metrics.gauges == {"outbox_syncs_per_day": DAY_S / 100}


def test_totals_go_on_over_restarts_and_damaged_ones_begin_anew(tmp_path: Path, counters: Counters) -> None:
    connection = connect(tmp_path / "outbox.sqlite3")
    migrate(connection)
    for run in (1, 2, 3):
        counters.write(0)
        wear = Wear(metrics=FakeMetrics(), endurance_bytes=10e12, counters=counters.path)
        wear.resume(connection)
        wear.keep_due(at(0))
        counters.write(GIB)
        wear.synced()
        assert wear.keep_due(at(600))
        with transaction(connection, durable=False):
            wear.keep(connection)
        everything, day = read_worn(connection)
        assert everything == Worn(600 * run, GIB * run, run)
        assert day == Worn(600, GIB, 1)
    connection.execute("UPDATE meta SET value = 'x' WHERE name = 'wear_all_bytes'")
    assert read_worn(connection)[0] == Worn(1_800, 0, 3)
    connection.close()


async def test_the_thread_counts_its_own_bytes_and_the_file_tells_them(tmp_path: Path) -> None:
    clock, metrics = FakeClock(), FakeMetrics()
    path = tmp_path / "outbox.sqlite3"
    async with outbox_at(path, clock=clock, metrics=metrics) as outbox:
        await outbox.statistics()
        await fill(outbox, clock, "event", 50, size=2_000)
        clock.advance(601)
        await outbox.statistics()
        with open_listing(path) as listing:
            everything, day = listing.worn()
    written = metrics.counts["outbox_written_bytes_total"]
    if not written:
        pytest.skip("this kernel or file system counts no bytes")
    assert 100_000 < written < 20_000_000
    assert everything.written_bytes == day.written_bytes
    assert everything.syncs == metrics.counts["outbox_syncs_total"] - 1  # the last is that of closing
    assert metrics.gauges["outbox_card_life_years"] > 0


async def test_what_a_process_writes_elsewhere_is_not_the_outboxs(tmp_path: Path) -> None:
    clock, metrics = FakeClock(), FakeMetrics()
    async with outbox_at(tmp_path / "outbox.sqlite3", clock=clock, metrics=metrics) as outbox:
        await outbox.append(draft(clock))
        await outbox.statistics()
        await asyncio.to_thread((tmp_path / "other").write_bytes, bytes(20 << 20))
        clock.advance(61)
        await outbox.statistics()
    assert metrics.counts["outbox_written_bytes_total"] < 10 << 20


async def test_an_older_files_totals_begin_at_nothing(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite3"
    async with outbox_at(path):
        pass
    await asyncio.to_thread(sql, path, "DELETE FROM meta WHERE name GLOB 'wear_*'")
    with open_listing(path) as listing:
        assert listing.worn() == (Worn(), Worn())
    async with outbox_at(path) as outbox:
        assert (await outbox.statistics()).rows == 0
