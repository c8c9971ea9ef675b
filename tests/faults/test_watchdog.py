"""Something in the agent stands still: systemd's watchdog ends it, and the next life says why."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.faults.records import Record
from tests.faults.site import Site
from tests.faults.small_disk import small_disk
from tests.faults.supervisor import Supervisor
from tests.polling import until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]

INTRUDER = Path(__file__).with_name("intruder")
WATCHDOG_S = 4.0


async def until_watchdog_restarted(site: Site, supervisor: Supervisor) -> None:
    await until(lambda: bool(supervisor.results), within_s=60, every_s=0.05)
    await until(lambda: len(site.consumer.of("info")) >= 2, within_s=60, every_s=0.05)
    assert supervisor.results == ["watchdog"]
    assert site.consumer.of("info")[-1]["started"]["reason"] == "watchdog"


async def has_lost_nothing(site: Site, record: Record) -> None:
    await site.flow(30)
    await site.wait_drained()
    await site.finish()
    record.take(audit := site.audit())
    assert audit.lost_count == 0, audit.lost
    # Those of both lives: the same generation.
    assert len({message["epoch"] for message in site.consumer.of("telemetry/motor-1")}) == 1


@pytest.mark.faults("Agent", "its event loop blocked: ended by the watchdog, started again")
async def test_a_blocked_loop_is_ended_by_the_watchdog_and_the_next_life_says_so(
    tmp_path: Path, record: Record
) -> None:
    async with Site(tmp_path, environment={"PYTHONPATH": str(INTRUDER)}) as site:
        with Supervisor(site.agent, watchdog_s=WATCHDOG_S) as supervisor:
            await until(lambda: supervisor.told["WATCHDOG"] > 1, within_s=60, every_s=0.05)
            await site.flow(60)
            assert supervisor.results == []
            assert site.consumer.of("info")[-1]["started"]["reason"] == "first"
            os.kill(site.agent.pid, signal.SIGUSR1)
            blocked = asyncio.get_running_loop().time()
            await until_watchdog_restarted(site, supervisor)
            await site.flow(1)
            record.recovered_s = asyncio.get_running_loop().time() - blocked
            record.note(f"recovered counts from the block, with WatchdogSec={WATCHDOG_S:g}")
        await has_lost_nothing(site, record)
        # What stood where, for whoever has to find the cause.
        assert "Fatal Python error: Aborted" in site.agent.log
        assert "sitecustomize.py" in site.agent.log


@pytest.mark.faults("Agent", "its disk hangs for longer than the watchdog waits")
async def test_a_disk_that_hangs_is_told_as_the_outbox_standing_still(tmp_path: Path, record: Record) -> None:
    """Nobody can be killed who waits for such a disk: the restart comes when it goes on."""
    with small_disk(tmp_path, megabytes=32, only_ext4=True) as disk:
        async with Site(tmp_path, state=disk.place / "state") as site:
            with Supervisor(site.agent, watchdog_s=WATCHDOG_S) as supervisor:
                await until(lambda: supervisor.told["WATCHDOG"] > 1, within_s=60, every_s=0.05)
                await site.flow(60)
                with disk.frozen():
                    stalled = await site.until_logged("watchdog.stage_stalled", within_s=40)
                    assert "outbox" in stalled["stages"]
                    await until(lambda: "Aborted" in site.agent.log, within_s=40, every_s=0.05)
                thawed = asyncio.get_running_loop().time()
                await until_watchdog_restarted(site, supervisor)
                await site.flow(1)
                record.recovered_s = asyncio.get_running_loop().time() - thawed
            await has_lost_nothing(site, record)
