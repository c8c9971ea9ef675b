"""`kill -9` of the agent at any instant: no committed row is lost, no number is given twice or skipped."""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random, SystemRandom
from statistics import median

import pytest

from tests.brokers import Mosquitto
from tests.faults.audit import audit
from tests.faults.consumer import Consumer, Received
from tests.faults.records import Form, Record
from tests.faults.victims import Victim
from tests.polling import until_blocking

KILLS = {"quick": 102, "long": 1_002}
NODES = 3


@pytest.mark.faults("Agent", "`kill -9` at random instants, of its start as well")
@pytest.mark.broker
@pytest.mark.timeout(2_400)
def test_an_agent_killed_at_random_loses_no_committed_row_and_gives_every_number_once(
    tmp_path: Path, form: Form, record: Record
) -> None:
    """Killed while it starts, opens its outbox, drains a backlog, commits, and evicts for want of room.

    `FAULTS_SEED` repeats the choices of a run, though not to the microsecond.
    """
    seed = int(os.environ.get("FAULTS_SEED") or SystemRandom().randrange(2**32))
    broker = Mosquitto(tmp_path, extra=["max_queued_messages 0"])
    with broker, Consumer(broker) as consumer, ThreadPoolExecutor(NODES) as threads:
        victims = [
            Victim(
                tmp_path / f"node-{number}",
                name=f"nano-{number}",
                broker=broker,
                random=Random(seed + number),
                small=number == 0,
            )
            for number in range(NODES)
        ]

        def kill(victim: Victim) -> None:
            for number in range(KILLS[form] // NODES):
                try:
                    victim.live_and_die()
                except AssertionError as error:
                    raise AssertionError(
                        f"{victim.name}, kill {number}, FAULTS_SEED={seed}: {error}"
                    ) from error
            victim.drain()

        list(threads.map(kill, victims))

        def everything_has_arrived() -> bool:
            before = len(messages)
            messages.extend(consumer.messages(since=before))
            return len(messages) == before

        messages: list[Received] = []
        until_blocking(everything_has_arrived, within_s=60, every_s=1.0)

    kills: Counter[str] = Counter()
    for victim in victims:
        own = [message for message in messages if message.node == victim.name]
        assert len({message.content["epoch"] for message in own if "seq" in message.content}) == 1
        victim.check(own)
        found = audit(victim.agent.outbox_file, own)
        record.take(found)
        assert found.lost == {}, f"{victim.name}, FAULTS_SEED={seed}"
        kills += victim.kills
    record.recovered_s = median(seconds for victim in victims for seconds in victim.connected_after_s)
    by_state = ", ".join(f"{count} {state}" for state, count in kills.most_common())
    record.note(f"{kills.total()} kills: {by_state}")
    record.note("recovered is the median from the start of a process to its session")
    assert kills.total() == KILLS[form] // NODES * NODES
    assert record.declared, "nothing was evicted: the small outbox was not small enough"
