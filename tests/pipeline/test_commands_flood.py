"""More commands than the node has time for."""

import json
import time

import pytest
from structlog.testing import capture_logs

from agent.pipeline.commands.admission import (
    BURST,
    BURST_BYTES,
    BURST_REFUSALS,
    BYTES_PER_S,
    PER_S,
    REFUSALS_PER_S,
    Gate,
)
from tests.fakes.commands_node import CommandsNode
from tests.polling import until

SECOND = 1_000_000_000


def admissions(gate: Gate, *, size: int, per_s: int, seconds: int) -> dict[str, int]:
    counts = {"taken": 0, "refused": 0, "ignored": 0}
    for number in range(per_s * seconds):
        counts[gate.admit(size, number * SECOND // per_s)] += 1
    return counts


def test_of_a_thousand_a_second_twenty_are_taken_and_five_more_are_answered() -> None:
    counts = admissions(Gate(), size=100, per_s=1_000, seconds=10)
    assert counts["taken"] == pytest.approx(BURST + 10 * PER_S, abs=2)
    assert counts["refused"] == pytest.approx(BURST_REFUSALS + 10 * REFUSALS_PER_S, abs=2)
    assert sum(counts.values()) == 10_000


def test_what_is_read_is_bounded_in_bytes_as_well() -> None:
    counts = admissions(Gate(), size=65_536, per_s=20, seconds=60)
    assert counts["taken"] * 65_536 <= BURST_BYTES + 60 * BYTES_PER_S + 65_536


def test_whoever_asks_within_bounds_is_never_refused() -> None:
    assert admissions(Gate(), size=800, per_s=20, seconds=30)["taken"] == 600


async def test_a_flood_is_answered_in_bounds_and_logged_in_a_line() -> None:
    async with CommandsNode().running() as node:
        with capture_logs() as logs:
            for number in range(1_000):
                node.send("ping", f"{number}")
        until_now = [line for line in logs if line["event"] == "commands.ignored"]
        await until(lambda: len(node.results()) == 32 + BURST_REFUSALS)
        node.clock.advance(10)
        node.send("ping", "afterwards")
        assert (await node.result("ping/afterwards"))["status"] == "done"
    codes = [result["code"] for result in node.results()]
    assert codes.count(None) == 33  # what the queue holds, and the one afterwards
    assert codes.count("E_BUSY") == BURST_REFUSALS
    assert len(until_now) == 1
    assert node.metrics.counts["commands_ignored_total reason=rate"] == 1_000 - 32 - BURST_REFUSALS


async def test_a_command_too_many_costs_next_to_nothing() -> None:
    """A thousand a second have to leave the loop free: far less than 5 % of it."""
    node = CommandsNode()
    payload = json.dumps({"v": 1, "op": "ping", "id": "x", "args": {"pad": "y" * 60_000}}).encode()
    for _ in range(200):
        node.send_bytes(payload)
    began_s = time.process_time()
    for _ in range(1_000):
        node.send_bytes(payload)
    assert time.process_time() - began_s < 0.05
