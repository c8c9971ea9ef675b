"""A wall clock at 1970, a day ahead, a day behind, stepping: nothing expires, nothing changes its order."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.outbox_rows import count_waiting
from tests.faults.clocks import DAY_S, WrongClock, another_boot
from tests.faults.records import Record
from tests.faults.site import Site, telemetry_policy
from tests.polling import until

pytestmark = [pytest.mark.broker, pytest.mark.faketime, pytest.mark.timeout(240)]

MESSAGE_EXPIRY = 0x02
"""The property's identifier. Source: MQTT 5, 3.3.2.3.3."""

LONGEST_WAIT_S = 240
"""More than anything waits in these tests."""

EXPIRY_S = 100 * 86_400
"""A message of another boot is at least as old as this one is long, and that we cannot begin anew here."""

POLICY = telemetry_policy(publish=f"  publish: {{expiry_s: {{telemetry: {EXPIRY_S}}}}}\n")
LONG_KEPT = {"NANOFLEET_OUTBOX__MAX_AGE_S": str(EXPIRY_S)}

Setting = Callable[[WrongClock], None]


def right(clock: WrongClock) -> None:
    clock.set(0)


def at_1970(clock: WrongClock) -> None:
    clock.set_to_1970()


def a_day_ahead(clock: WrongClock) -> None:
    clock.set(DAY_S)


def a_day_behind(clock: WrongClock) -> None:
    clock.set(-DAY_S)


def lose_broker(site: Site) -> None:
    site.proxy.refuse = True
    site.proxy.reset()


async def until_rows_wait(site: Site, count: int) -> None:
    enough = count_waiting(site.agent.outbox_file) + count
    await until(lambda: count_waiting(site.agent.outbox_file) >= enough, within_s=60, every_s=0.1)


def is_as_it_was_made(site: Site, record: Record, *, waited_s: float = LONGEST_WAIT_S) -> None:
    """Nothing lost, nothing expired; numbers in the order of the monotonic clock; expiry on the wire sane."""
    record.take(audit := site.audit())
    assert audit.lost_count == 0, audit.lost
    assert audit.declared == 0, site.consumer.of("loss")
    streams: defaultdict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    for message in site.consumer.messages():
        if message.stream.startswith("telemetry/"):
            streams[message.stream][message.content["seq"]] = message.content
    assert streams
    for stream, contents in streams.items():
        moments = [contents[seq]["monotonic_ms"] for seq in sorted(contents)]
        assert moments == sorted(moments), f"{stream} was put into another order"
    left_s = [
        int(sent.properties.values[MESSAGE_EXPIRY])
        for sent in site.proxy.published
        if "/telemetry/" in sent.topic
    ]
    assert EXPIRY_S - waited_s <= min(left_s) <= max(left_s) <= EXPIRY_S


def clocks_of(site: Site) -> set[str]:
    """What telemetry said of the clock."""
    return {
        message.content["clock"]
        for message in site.consumer.messages()
        if message.stream.startswith("telemetry/")
    }


@pytest.mark.faults(
    "Clock", "steps while the node works, with and without the broker; nothing keeps it right"
)
async def test_an_unsynced_clock_that_steps_changes_nothing_but_what_messages_say_of_it(
    tmp_path: Path, record: Record
) -> None:
    clock = WrongClock(tmp_path, synced=False)
    await _step(tmp_path, record, clock, [a_day_ahead, a_day_behind, at_1970, right])


@pytest.mark.faults(
    "Clock", "steps while the node works, with and without the broker; it counts as kept right"
)
async def test_a_synced_clock_that_steps_expires_nothing(tmp_path: Path, record: Record) -> None:
    clock = WrongClock(tmp_path, synced=True)
    await _step(tmp_path, record, clock, [a_day_ahead, a_day_behind, right])


async def _step(tmp_path: Path, record: Record, clock: WrongClock, settings: list[Setting]) -> None:
    async with Site(tmp_path, policy=POLICY, environment=clock.environment) as site:
        await site.start()
        for setting in settings:
            await site.flow(30)
            lose_broker(site)
            await until_rows_wait(site, 20)
            setting(clock)
            await until_rows_wait(site, 20)
            site.proxy.refuse = False
            record.recovered_s = max(record.recovered_s or 0.0, await site.recover())
            await site.wait_drained()
        await site.finish()
        is_as_it_was_made(site, record)
        # A time before this version was released is wrong, whatever the kernel says.
        assert clocks_of(site) <= ({"unsynced"} if at_1970 in settings else {"synced", "unsynced"})
        assert at_1970 in settings or "synced" in clocks_of(site)


@pytest.mark.parametrize(
    ("before", "after"),
    [(at_1970, right), (a_day_ahead, right), (a_day_behind, right), (right, at_1970)],
    ids=lambda setting: setting.__name__,
)
@pytest.mark.faults("Clock", "wrong in one of two boots, over which messages wait")
async def test_a_clock_that_is_wrong_in_one_boot_expires_nothing_in_the_next(
    tmp_path: Path, record: Record, before: Setting, after: Setting
) -> None:
    clock = WrongClock(tmp_path, synced=before is right)
    before(clock)
    async with Site(
        tmp_path, policy=POLICY, environment=clock.environment | LONG_KEPT, wrapper=another_boot(tmp_path, 1)
    ) as site:
        await site.start()
        await site.flow(30)
        lose_broker(site)
        await until_rows_wait(site, 60)
        assert await asyncio.to_thread(site.agent.stop) == 0
        again = WrongClock(tmp_path, synced=after is right)
        after(again)
        site.agent.environment |= again.environment
        site.agent.wrapper = another_boot(tmp_path, 2)
        site.proxy.refuse = False
        await site.start()
        await site.flow(30)
        await site.wait_drained()
        await site.finish()
        record.note(f"{before.__name__.replace('_', ' ')}, then {after.__name__.replace('_', ' ')}")
        is_as_it_was_made(site, record, waited_s=LONGEST_WAIT_S + time.monotonic())
        assert clocks_of(site) == {"synced", "unsynced"}
        assert len({message["boot"] for message in site.consumer.of("telemetry/motor-1")}) == 2
