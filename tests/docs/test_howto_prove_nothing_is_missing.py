"""docs/howto/prove-nothing-is-missing.md: its consumer, run as it stands there, against a real broker."""

import asyncio
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from agent.ports import OutboxStatistics
from tests.brokers import HOST, OPERATOR, Mosquitto
from tests.polling import until, until_blocking
from tests.programs import find_program
from tests.storing_node import StoringNode, storing_node

HOWTO: Final = Path(__file__).parents[2] / "docs/howto/prove-nothing-is-missing.md"

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]


def program() -> str:
    """As the document has it, but under the one name that a test's broker lets read and write everything."""
    (text,) = re.findall(r"^```python\n(.*?)^```", HOWTO.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert text.count('"dashboard"') == 1
    return str(text).replace('"dashboard"', f'"{OPERATOR}"')


@contextmanager
def consuming(folder: Path, broker: Mosquitto) -> Iterator[Path]:
    """The consumer at work, killed at the end; where it prints."""
    file, out = folder / "consumer.py", folder / "consumer.out"
    file.write_text(program())
    identity = broker.authority.issue(OPERATOR)
    arguments = [HOST, str(broker.port), identity.ca, identity.certificate, identity.key, folder / "store"]
    subscribed = broker.log.count(f"Sending SUBACK to {OPERATOR}")
    with out.open("ab") as printed:
        process = subprocess.Popen(
            [sys.executable, str(file), *map(str, arguments)],
            stdout=printed,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(HOWTO.parents[2])},
        )
    try:
        until_blocking(
            lambda: (
                broker.log.count(f"Sending SUBACK to {OPERATOR}") > subscribed or process.poll() is not None
            )
        )
        assert process.poll() is None, out.read_text()
        yield out
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=10)


async def all_stored(node: StoringNode, *, produced: int) -> None:
    async with asyncio.timeout(20):
        statistics: OutboxStatistics | None = None
        while statistics is None or statistics.rows or statistics.produced < produced:
            statistics = await node.statistics()
            await asyncio.sleep(0.02)


def stored(folder: Path) -> list[tuple[str, int]]:
    with sqlite3.connect(folder / "store") as store:
        return [
            (topic.split("/", 4)[4], seq)
            for topic, seq in store.execute("SELECT stream, seq FROM message ORDER BY stream, seq")
        ]


async def test_the_consumer_of_the_howto_stores_everything_and_the_node_lets_go_of_it(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    await asyncio.to_thread(broker.start)
    try:
        identity = await asyncio.to_thread(broker.authority.issue, "nano-1")
        async with storing_node(tmp_path / "outbox", identity=identity, port=broker.port) as node:
            for part in (1, 2):  # the second time it goes on with what it stored before it was killed
                running = consuming(tmp_path, broker)
                await asyncio.to_thread(running.__enter__)
                await node.append(10, stream="detections/door")
                await node.append(2, stream="events/crowd", priority="event")
                await all_stored(node, produced=12 * part)
                await asyncio.to_thread(running.__exit__, None, None, None)
        assert (tmp_path / "consumer.out").read_text() == ""
        expected = [("detections/door", n) for n in range(20)] + [("events/crowd", n) for n in range(4)]
        assert await asyncio.to_thread(stored, tmp_path) == expected
    finally:
        await asyncio.to_thread(broker.stop)


async def test_the_consumer_of_the_howto_names_what_is_missing(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    await asyncio.to_thread(broker.start)
    publisher = find_program("mosquitto_pub")
    assert publisher is not None
    node = await asyncio.to_thread(broker.authority.issue, "nano-7")
    head = '"v":1,"site":"plant","node":"nano-7","epoch":"01J","boot":"b"'
    running = consuming(tmp_path, broker)
    out = await asyncio.to_thread(running.__enter__)
    try:
        for seq in (0, 5):
            about = ["-t", "edge/v1/plant/nano-7/detections/door", "-q", "1", "-m", f'{{{head},"seq":{seq}}}']
            await asyncio.to_thread(
                subprocess.run, [publisher, *broker.client_arguments(node), *about], check=True, timeout=20
            )
        await until(lambda: out.read_text() == "missing nano-7 detections/door [(1, 4)]\n", within_s=20)
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)
        await asyncio.to_thread(broker.stop)
