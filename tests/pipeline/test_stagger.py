"""When the backlog begins after an outage."""

from dataclasses import replace
from random import Random

import pytest

from agent.domain.errors import Code, TransientError
from agent.pipeline.stagger import Stagger
from agent.ports import OutboxStatistics
from tests.fakes.clock import FakeClock
from tests.fakes.outbox import FakeOutbox


class FilledOutbox(FakeOutbox):
    """Says that it holds so many rows, the oldest so old."""

    def __init__(self, rows: int, oldest_s: float = 0.0, at_broker: int = 0) -> None:
        super().__init__(clock=FakeClock())
        self.fill = (rows, oldest_s, at_broker)

    async def statistics(self) -> OutboxStatistics:
        rows, oldest_s, at_broker = self.fill
        return replace(await super().statistics(), rows=rows, oldest_s=oldest_s, at_broker=at_broker)


async def delays(outbox: FakeOutbox, outage_s: float, *, nodes: int = 200) -> list[float]:
    """Of a fleet, in a session that is not each node's first."""
    found = []
    for node in range(nodes):
        stagger = Stagger(outbox=outbox, random=Random(node))
        await stagger.delay_s(0.0)
        found.append(await stagger.delay_s(outage_s))
    return found


@pytest.mark.parametrize(("outage_s", "bound_s"), [(60.0, 6.0), (720.0, 30.0), (86_400.0, 30.0)])
async def test_a_fleet_begins_spread_over_a_tenth_of_the_outage_and_half_a_minute_at_most(
    outage_s: float, bound_s: float
) -> None:
    found = await delays(FilledOutbox(20_000), outage_s)
    assert max(found) <= bound_s
    quarters = [sum(place <= 4 * d / bound_s < place + 1 for d in found) for place in range(4)]
    assert min(quarters) > 25


@pytest.mark.parametrize(
    ("outbox", "outage_s"),
    [
        (FilledOutbox(20_000), 9.0),
        (FilledOutbox(900), 720.0),
        (FilledOutbox(20_000, at_broker=19_500), 720.0),
    ],
    ids=["a short outage", "few rows", "few rows that are not at the broker"],
)
async def test_nothing_waits_where_no_flood_is_to_come(outbox: FilledOutbox, outage_s: float) -> None:
    assert set(await delays(outbox, outage_s, nodes=5)) == {0.0}


async def test_before_the_first_session_the_oldest_row_says_how_long_it_was() -> None:
    stagger = Stagger(outbox=FilledOutbox(20_000, oldest_s=3_600.0), random=Random(1))
    assert 0 < await stagger.delay_s(0.5) <= 30
    assert await stagger.delay_s(0.5) == 0.0


async def test_a_disk_that_does_not_answer_delays_nothing() -> None:
    class Silent(FakeOutbox):
        async def statistics(self) -> OutboxStatistics:
            raise TransientError("no answer", code=Code.TIMEOUT)

    assert await Stagger(outbox=Silent(clock=FakeClock()), random=Random(1)).delay_s(720.0) == 0.0
