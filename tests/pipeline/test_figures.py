"""How far delivery is, as it is told: what waits from before, and how old what is new is."""

from collections.abc import Iterator, Mapping

import pytest
from blockbuster import blockbuster_ctx

from agent.ports import Priority, Row
from tests.fakes.delivery_node import DOOR, DeliveryNode, seqs
from tests.polling import until

OFTEN_S = 0.01


@pytest.fixture(autouse=True)
def _nothing_blocks_the_loop() -> Iterator[None]:
    with blockbuster_ctx("agent"):
        yield


async def figures(node: DeliveryNode) -> tuple[float, float]:
    """Rows of the backlog and the lag of what is new, measured from now on."""
    node.metrics.gauges.clear()
    await until(lambda: "delivery_live_lag_s" in node.metrics.gauges)
    return node.metrics.gauges["delivery_backlog_rows"], node.metrics.gauges["delivery_live_lag_s"]


async def test_what_was_made_in_the_session_has_a_lag_and_is_no_backlog_also_when_it_is_late() -> None:
    node = DeliveryNode(window=5, figures_every_s=OFTEN_S)
    node.link.answer = lambda publication: None if publication.topic == DOOR else 0
    node.commit(30)
    async with node.running():
        session = await node.session()
        await until(lambda: len(seqs(session)) == 4)
        node.clock.advance(50)
        assert await figures(node) == (30, 0.0)
        node.commit(10)
        await until(lambda: len(seqs(session)) == 5)
        node.clock.advance(1)
        await until(lambda: node.metrics.gauges.get("delivery_live_lag_s") == 1.0)
        await until(lambda: node.delivery.statistics().in_flight == 5)
        assert await figures(node) == (30, 1.0)

        for sent in (session.sent[5], session.sent[1]):  # the live one; one of the past, which makes room
            session.acknowledge(sent.ticket)
        await until(lambda: len(seqs(session)) == 6)
        node.clock.advance(2)
        node.link.session.answer = lambda _publication: 0
        for ticket in sorted(session.in_flight):
            session.acknowledge(ticket)
        await until(lambda: not node.outbox.rows)
        assert await figures(node) == (0, 3.0)


@pytest.mark.parametrize("hidden", ["backlog", "live"])
async def test_what_a_failing_disk_did_not_give_is_found_without_anything_new(hidden: str) -> None:
    """Also while another lane still holds rows: of this backlog, one may go."""
    node = DeliveryNode(figures_every_s=OFTEN_S, backlog_per_s=1.0 if hidden == "live" else None)
    fetch = node.outbox.fetch
    blind = [True]

    async def fetch_some(*, after: Mapping[Priority, int], limit: int) -> list[Row]:
        rows = await fetch(after=after, limit=limit)
        return [row for row in rows if not blind or (hidden == "live" and row.key <= 5)]

    node.outbox.fetch = fetch_some  # type: ignore[method-assign]
    node.commit(5)
    async with node.running():
        session = await node.session()
        if hidden == "live":
            await until(lambda: seqs(session) == [1])
            node.commit()
        asked = len(node.outbox.fetches)
        await until(lambda: len(node.outbox.fetches) > asked + 3)
        blind.clear()
        await until(lambda: seqs(session) == ([1, 6] if hidden == "live" else [1, 2, 3, 4, 5]))
