"""The session moves over to renewed certificates, and rivals are told of."""

import asyncio
from collections.abc import Iterator

import pytest
from blockbuster import blockbuster_ctx

from agent.domain.errors import Code
from agent.pipeline.renewal import Renewal
from agent.pipeline.rivalry import Rivalry
from agent.ports import CertificateCheck, Status
from tests.fakes.clock import FakeClock
from tests.fakes.delivery_node import DeliveryNode, seqs, states
from tests.fakes.metrics import FakeMetrics
from tests.polling import until

DAY_S = 86_400.0


@pytest.fixture(autouse=True)
def _nothing_blocks_the_loop() -> Iterator[None]:
    with blockbuster_ctx("agent"):
        yield


class FakeCertificates:
    """Fulfils `ports.Certificates`; `answer` is the next check's."""

    def __init__(self) -> None:
        self.answer = CertificateCheck(None, 30 * DAY_S, is_renewed=False)
        self.asked: list[bool] = []

    def check(self, *, connected: bool) -> CertificateCheck:
        self.asked.append(connected)
        return self.answer


async def test_what_the_files_say_is_told_and_a_renewal_is_passed_on() -> None:
    certificates, metrics, stop = FakeCertificates(), FakeMetrics(), asyncio.Event()
    conditions: list[tuple[str, Status, str | None, str | None]] = []
    renewed: list[bool] = []
    renewal = Renewal(
        certificates=certificates,
        connected=lambda: True,
        on_renewed=lambda: renewed.append(True),
        on_condition=lambda *told: conditions.append(told),
        metrics=metrics,
        every_s=0.01,
    )
    task = asyncio.create_task(renewal.run(stop))
    await until(lambda: bool(conditions))
    assert conditions == [("certificate", "ok", None, None)] * len(conditions)
    assert metrics.gauges["certificate_days_left"] == 30
    assert "certificate_life_left" not in metrics.gauges
    certificates.answer = CertificateCheck("the key is gone", 6 * DAY_S, is_renewed=False)
    await until(lambda: conditions[-1][1] == "degraded")
    assert ("certificate", "degraded", Code.TLS, "the key is gone") in conditions
    assert renewed == []
    certificates.answer = CertificateCheck(None, 90 * DAY_S, is_renewed=True, life_left=0.99)
    await until(lambda: bool(renewed))
    assert metrics.gauges["certificate_life_left"] == 0.99
    assert all(certificates.asked)
    stop.set()
    await asyncio.wait_for(task, 5)


async def test_the_session_moves_when_everything_on_its_way_is_answered() -> None:
    node = DeliveryNode()
    async with node.running():
        first = await node.session()
        await node.delivery.wait_drained()
        first.answer = lambda _publication: None
        node.commit(3)
        await until(lambda: len(first.in_flight) == 3)
        node.delivery.renew()
        node.commit(2)
        await asyncio.sleep(0)
        assert node.link.session is first
        for ticket in sorted(first.in_flight):
            first.acknowledge(ticket)
        second = await node.session(2)
        await node.delivery.wait_drained()
        assert first.left
        # Nothing is sent twice, nothing is left out, and it was no loss of the link.
        assert seqs(first) == [1, 2, 3]
        assert seqs(second) == [4, 5]
        assert [state["state"] for state in states(second)] == ["online"]
        assert not any(name.startswith("link_lost_total") for name in node.metrics.counts)
        last = node.offline[-1]
        assert last is not None
        assert last.causes == {"renewal": 1}


async def test_a_node_that_stops_while_it_moves_says_farewell() -> None:
    node = DeliveryNode()
    async with node.running():
        session = await node.session()
        await node.delivery.wait_drained()
        session.answer = lambda _publication: None
        node.commit()
        await until(lambda: len(session.in_flight) == 1)
        node.delivery.renew()
        node.delivery.stop(reason="signal", within_s=1)
        await until(lambda: states(session)[-1]["state"] == "offline")
        session.acknowledge(max(session.in_flight))
        await until(lambda: not node.delivery.connected)
        assert len(node.link.sessions) == 1


async def test_without_a_session_there_is_nothing_to_move() -> None:
    node = DeliveryNode()
    node.delivery.renew()
    async with node.running():
        await node.delivery.wait_drained()
        assert len(node.link.sessions) == 1


async def test_a_take_over_is_told_over_the_next_session_and_forgotten_after_a_quiet_time() -> None:
    clock = FakeClock()
    told: list[tuple[str, Status, str | None, str | None]] = []
    rivalry = Rivalry(clock=clock, on_condition=lambda *each: told.append(each))
    rivalry.look()
    assert told == []
    rivalry.note()
    assert told[-1][:3] == ("name", "degraded", Code.REFUSED)
    assert "look for a second agent with this node's certificate" in str(told[-1][3])
    clock.advance(599)
    rivalry.look()
    assert told[-1][1] == "degraded"
    clock.advance(1)
    rivalry.look()
    assert told[-1] == ("name", "ok", None, None)
