"""A disk that is full or takes no writes: a node goes on, says so, and is whole again without a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.e2e.outbox_rows import given_numbers
from tests.faults.asking import health_of, outbox_status, peak_memory_mb
from tests.faults.records import Record
from tests.faults.site import Site
from tests.faults.small_disk import SmallDisk, small_disk
from tests.polling import until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

# A megabyte a second, so that a small disk is soon full.
FLOOD = """\
v: 1
version: 1
policy:
  sources:
    motor: {kind: vibration, rate_hz: 5000, report_every_s: 0.05, report: all}
    pump: {kind: vibration, rate_hz: 5000, report_every_s: 0.05, report: all, seed: 2}
  publish: {heartbeat_s: 1, max_message_bytes: 1048576}
"""
DISK_MB = 32


def lose_broker(site: Site) -> None:
    """From now on nobody gets through to it."""
    site.proxy.refuse = True
    site.proxy.reset()


async def until_outbox_is(site: Site, status: str, *, within_s: float = 60.0) -> None:
    await until(lambda: outbox_status(site.agent) == status, within_s=within_s, every_s=0.1)


async def until_rows_flow(site: Site) -> float:
    """Seconds until one is acknowledged; what is retained goes out without a disk, too."""
    loop = asyncio.get_running_loop()
    began, before = loop.time(), site.acknowledged()
    await until(lambda: site.acknowledged() != before, within_s=60, every_s=0.05)
    return loop.time() - began


async def has_a_good_end(site: Site, record: Record, disk: SmallDisk) -> None:
    """The rest is sent, the process is the same, and what was produced is accounted for."""
    await site.wait_drained()
    memory_mb = await asyncio.to_thread(peak_memory_mb, site.agent)
    await site.finish()
    assert len(site.logged("agent.started")) == 1, "it was started again"
    record.take(audit := site.audit())
    record.note(f"{disk}; at most {memory_mb:.0f} MB of memory")
    assert audit.lost_count == 0, audit.lost
    messages = site.agent.report().messages
    assert messages.produced == messages.acknowledged + messages.waiting + messages.lost


@pytest.mark.faults("Disk", "full while the broker is away, then room again")
async def test_a_disk_that_is_full_evicts_and_declares_and_has_room_again(
    tmp_path: Path, record: Record
) -> None:
    with small_disk(tmp_path, megabytes=DISK_MB) as disk:
        async with Site(tmp_path, policy=FLOOD, state=disk.place / "state") as site:
            await site.start()
            await site.flow(40)
            lose_broker(site)
            await asyncio.to_thread(disk.use_up, but_bytes=4 << 20)
            await until_outbox_is(site, "degraded")
            await until(
                lambda: sum(line["count"] for line in site.logged("outbox.rows_dropped")) > 20,
                within_s=90,
                every_s=0.2,
            )
            assert {line["reason"] for line in site.logged("outbox.rows_dropped")} <= {"evicted", "disk"}
            await asyncio.to_thread(disk.free)
            loop = asyncio.get_running_loop()
            freed = loop.time()
            await until_outbox_is(site, "ok")
            record.note(f"health was ok {loop.time() - freed:.1f} s after there was room")
            site.proxy.refuse = False
            record.recovered_s = await site.recover()
            await has_a_good_end(site, record, disk)
            assert record.declared, "nothing had to go: the disk was not full"


@pytest.mark.faults("Disk", "full, and the broker comes back before there is room")
async def test_a_broker_that_is_back_empties_a_disk_that_stays_full(tmp_path: Path, record: Record) -> None:
    with small_disk(tmp_path, megabytes=DISK_MB) as disk:
        async with Site(tmp_path, policy=FLOOD, state=disk.place / "state") as site:
            await site.start()
            await site.flow(40)
            lose_broker(site)
            await asyncio.to_thread(disk.use_up, but_bytes=2 << 20)
            await until_outbox_is(site, "degraded")
            site.proxy.refuse = False
            record.recovered_s = await site.recover()
            await site.flow(100)
            await has_a_good_end(site, record, disk)


@pytest.mark.faults("Disk", "full already when the node starts")
async def test_a_node_starts_on_a_full_disk_and_works_once_there_is_room(
    tmp_path: Path, record: Record
) -> None:
    with small_disk(tmp_path, megabytes=DISK_MB) as disk:
        async with Site(tmp_path, policy=FLOOD, state=disk.place / "state") as site:
            await asyncio.to_thread(disk.use_up)
            await asyncio.to_thread(site.agent.start)
            await until_outbox_is(site, "degraded")
            await until(lambda: bool(site.consumer.of("state")), within_s=30)
            told = [health["stages"].get("outbox", {}) for health in site.consumer.of("health")]
            assert any((each.get("status"), each.get("code")) == ("degraded", "E_DISK") for each in told)
            await asyncio.to_thread(disk.free)
            record.recovered_s = await until_rows_flow(site)
            await until_outbox_is(site, "ok")
            await site.flow(40)
            await has_a_good_end(site, record, disk)


@pytest.mark.faults("Disk", "read-only when the node starts, then remounted to be written")
async def test_a_node_starts_on_a_read_only_disk_and_works_once_it_can_write(
    tmp_path: Path, record: Record
) -> None:
    with small_disk(tmp_path, megabytes=2 * DISK_MB) as disk:
        async with Site(tmp_path, policy=FLOOD, state=disk.place / "state") as site:
            await asyncio.to_thread(disk.remount, "ro")
            await asyncio.to_thread(site.agent.start)
            await until_outbox_is(site, "degraded")
            # More than memory may hold: the oldest have to go.
            await until(lambda: bool(site.logged("outbox.drafts_dropped")), within_s=60, every_s=0.2)
            await asyncio.to_thread(disk.remount, "rw")
            record.recovered_s = await until_rows_flow(site)
            await until_outbox_is(site, "ok")
            await has_a_good_end(site, record, disk)
            declared = site.consumer.of("loss")
            assert {loss["reason"] for loss in declared} == {"disk"}
            dropped = sum(loss["count"] for loss in declared)
            # The log leaves out what repeats itself too often.
            assert dropped >= sum(line["count"] for line in site.logged("outbox.drafts_dropped")) > 0
            record.note(f"{dropped} messages fell out of memory and were declared, without numbers")


@pytest.mark.faults("Disk", "read-only under open files: the file system found itself damaged")
async def test_a_file_system_that_fails_under_open_files_costs_nothing_that_was_committed(
    tmp_path: Path, record: Record
) -> None:
    """The kernel lets nobody write to it again; it is mended, and mounted again in the same place."""
    with small_disk(tmp_path, megabytes=DISK_MB, only_ext4=True) as disk:
        async with Site(tmp_path, policy=FLOOD, state=disk.place / "state") as site:
            await site.start()
            await site.flow(40)
            lose_broker(site)
            rows = sum(given_numbers(site.agent.outbox_file).values())
            await until(lambda: sum(given_numbers(site.agent.outbox_file).values()) > rows + 40, within_s=30)
            await asyncio.to_thread(disk.fail)
            await until_outbox_is(site, "degraded")
            given = given_numbers(site.agent.outbox_file)
            await until(lambda: bool(site.logged("outbox.drafts_dropped")), within_s=60, every_s=0.2)
            site.proxy.refuse = False
            # What is on the disk can still be read, and goes out.
            record.recovered_s = await site.recover()
            described = await asyncio.to_thread(health_of, site.agent)
            assert described["stages"]["outbox"]["code"] == "E_DISK"
            memory_mb = await asyncio.to_thread(peak_memory_mb, site.agent)
            with disk.kept_mounted():
                assert await asyncio.to_thread(site.agent.stop) == 0
                await asyncio.to_thread(disk.repair)
            await site.start()
            await site.flow(40)
            await site.wait_drained()
            await site.finish()
            assert all(given_numbers(site.agent.outbox_file)[stream] >= n for stream, n in given.items())
            record.take(audit := site.audit())
            record.note(f"{disk}; at most {memory_mb:.0f} MB of memory")
            assert audit.lost_count == 0, audit.lost
