"""A broker that dies, forgets, or is not the one that was expected."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.faults.records import Record
from tests.faults.site import Site
from tests.polling import until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

_AWAY_S = 2.0


@pytest.mark.faults("Broker", "`kill -9` three times, each time back after 2 s")
async def test_a_broker_killed_and_back_costs_nothing(tmp_path: Path, record: Record) -> None:
    async with Site(tmp_path) as site:
        await site.start()
        slowest_s = 0.0
        for life in range(3):
            await site.flow(120)
            await asyncio.to_thread(site.broker.kill)
            await until(lambda life=life: len(site.logged("link.lost")) > life)  # type: ignore[misc]
            await asyncio.sleep(_AWAY_S)
            await asyncio.to_thread(site.broker.start)
            slowest_s = max(slowest_s, await site.recover())
        await site.flow(120)
        await site.finish()
        record.recovered_s = slowest_s
        record.take(audit := site.audit())
        assert audit.lost_count == 0, audit.lost
        assert audit.waiting == 0
        assert site.proxy.most_unacknowledged <= 20
